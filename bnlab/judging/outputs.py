"""What an answer gave: brought into the form of the right output, and compared with it."""

from collections.abc import Mapping

import numpy as np

from bnlab.judging.verdicts import UnfitError


def in_form_of(right, value):
    """Return value in the form of the right one: a word, an array of float64, or a list of them."""
    if value is None:
        raise UnfitError("returned None", "nothing came back; is a `return` missing?")
    if isinstance(right, str):
        if not isinstance(value, str):
            raise UnfitError("wrong type", f"a word is expected, not a {type(value).__name__}")
        return str(value)
    if isinstance(right, tuple | list):
        return [in_form_of(*pair) for pair in zip(right, _parts(value, len(right)), strict=True)]
    try:
        array = np.asarray(value)
    except Exception:
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        ragged = (
            f" of {len(value)} parts that do not fit into one array"
            if isinstance(value, tuple | list)
            else ""
        )
        raise UnfitError("wrong type", f"numbers are expected, not a {type(value).__name__}{ragged}")
    array = np.array(array, np.float64)
    return array.reshape(np.shape(right)) if array.size == 1 and np.size(right) == 1 else array


def _parts(value, count):
    try:
        parts = list(value) if not isinstance(value, str | Mapping) else None
    except TypeError:
        parts = None
    if parts is None or len(parts) != count:
        given = f"{len(parts)}" if parts is not None else f"a {type(value).__name__}"
        raise UnfitError("wrong type", f"{count} results are expected, not {given}")
    return parts


def all_close(found, wanted, tolerance):
    """Say whether all of several outputs are as close as `is_close` asks."""
    return all(is_close(*pair, tolerance) for pair in zip(found, wanted, strict=True))


def is_close(found, wanted, tolerance):
    """Say whether an output differs by at most this share of the largest number that is wanted."""
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all_close(found, wanted, tolerance)
    if isinstance(wanted, str):
        return found == wanted
    if found.shape != wanted.shape:
        return False
    # 0.995 is 0.005 away from 1, and a little more in floating point.
    largest = tolerance * np.abs(wanted).max(initial=1e-6) * (1 + 1e-9)
    return bool((np.abs(found - wanted) <= largest).all())


def shape_of(value):
    """Return the shape of an array, or a tuple of the shapes of several."""
    return tuple(map(shape_of, value)) if isinstance(value, list) else np.shape(value)


def is_unchanged(one, other):
    """Say whether arguments are what their copy is: numbers, arrays, and mappings or sequences of them."""
    if isinstance(one, Mapping):
        same_keys = isinstance(other, Mapping) and one.keys() == other.keys()
        return same_keys and all(is_unchanged(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(is_unchanged, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other
