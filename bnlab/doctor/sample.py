"""Takes what a reader gives as x, checks it and hands it out in batches."""

from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Sample:
    """Inputs of a model: arrays or tensors with an example a row, in any structure, as many rows in each."""

    x: object
    examples: int

    def part(self, start, end):
        """Return some of the examples, in the same structure."""
        return keras.tree.map_structure(lambda part: part[start:end], self.x)

    def batches(self, size):
        """Yield batches of `size`; a rest of less than half joins the last one: few have odd moments."""
        starts = list(range(0, self.examples, size))
        if len(starts) > 1 and self.examples - starts[-1] < size / 2:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], self.examples], strict=True):
            yield self.part(start, end)


def check_model(model):
    """Raise a TypeError if this is no Keras 3 model or layer."""
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model is a {type_name(model)}; expected a Keras 3 model")


def type_name(value):
    """Return the full name of a value's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def sampled(model, x):
    """Return x as a Sample; a TypeError or ValueError if it is none, or of fewer than two examples."""
    if hasattr(x, "element_spec") or hasattr(x, "__next__") or isinstance(x, (str, bytes)) or x is None:
        raise TypeError(f"x is a {type_name(x)}; expected an array of inputs, or a list or dict of arrays")
    x = _structured(model, x)
    parts = keras.tree.flatten(x)
    for part in parts:
        _check_part(part)
    lengths = sorted({len(part) for part in parts})
    if len(lengths) != 1:
        raise ValueError(f"x has parts of {', '.join(map(str, lengths))} examples; expected as many in each")
    if lengths[0] < 2:
        raise ValueError(f"x has {lengths[0]} example{'s' * (lengths[0] != 1)}; expected two or more")
    return Sample(x, lengths[0])


def _structured(model, x):
    """Return x as the model takes it: a list of numbers becomes an array, a list of arrays stays."""
    if isinstance(x, dict):
        return {name: _array(part) for name, part in x.items()}
    if not isinstance(x, (list, tuple)):
        return _array(x)
    inputs = len(keras.tree.flatten(getattr(model, "inputs", None) or []))
    if len(x) and all(hasattr(part, "shape") for part in x):
        return _array([np.asarray(part) for part in x]) if inputs == 1 and len(x) > 1 else type(x)(x)
    return [_array(part) for part in x] if inputs > 1 else _array(x)


def _array(part):
    if keras.ops.is_tensor(part):
        return part
    try:
        return np.asarray(part)
    except ValueError as error:
        raise ValueError(f"x is ragged ({error}); expected an array") from None


def _check_part(part):
    if np.ndim(part) == 0:
        raise TypeError(f"x has a {type_name(part)} in it; expected an array with an example a row")
    values = np.asarray(part)
    if values.dtype.kind == "O":
        raise TypeError("x has objects in it; expected numbers")
    if values.size == 0:
        raise ValueError(f"x has shape {values.shape}; expected two examples or more with something in them")
    if not _all_finite(values):
        raise ValueError("x has NaN or infinity in it; expected finite values")


def _all_finite(values):
    """Say whether all numbers are finite, also of types that NumPy does not know, such as bfloat16."""
    if values.dtype.kind in "iubSU":
        return True
    # A block at a time, so that a large x is not copied as a whole.
    return all(
        np.isfinite(block.astype(np.float64)).all()
        for block in np.array_split(values, 1 + len(values) // 1024)
    )
