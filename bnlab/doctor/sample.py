"""Takes what a reader gives as x, checks it and hands it out in batches."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from bnlab import words

_EXPECTED = "expected an array of inputs, or a list or dict of arrays"


@dataclass(frozen=True)
class Sample:
    """Inputs of a model: arrays or tensors with an example a row, in any structure, as many rows in each.

    They are handed out in an order of their own, the same every time: what is sorted by its label has batches
    that training, which mixes, never sees.
    """

    x: object
    order: np.ndarray  # the numbers of the rows
    fixed: int | None = None  # the only batch size that the model can be called with

    @property
    def examples(self):
        """How many there are."""
        return len(self.order)

    def part(self, start, end):
        """Return some of the examples, in the same structure."""
        rows = self.order[start:end]
        return keras.tree.map_structure(
            lambda part: tf.gather(part, rows) if tf.is_tensor(part) else part[rows], self.x
        )

    def batches(self, size):
        """Yield batches of `size`; a rest of less than half joins the last one: few have odd moments."""
        starts = list(range(0, self.examples, self.fixed or size))
        if len(starts) > 1 and self.examples - starts[-1] < size / 2 and not self.fixed:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], self.examples], strict=True):
            yield self.part(start, end)


def type_name(value):
    """Return the full name of a value's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def sampled(model, x):
    """Return x as a Sample; a TypeError or ValueError if it is none, or of fewer than two examples."""
    _check_kind(x)
    x = _structured(model, x)
    parts = keras.tree.flatten(x)
    for part in parts:
        _check_part(part)
    lengths = sorted({len(part) for part in parts})
    if len(lengths) != 1:
        raise ValueError(f"x has parts of {', '.join(map(str, lengths))} examples; expected as many in each")
    if lengths[0] < 2:
        raise ValueError(f"x has {lengths[0]} example{'s' * (lengths[0] != 1)}; expected two or more")
    order, fixed = np.random.default_rng(0).permutation(lengths[0]), _fixed_batch_size(model)
    if fixed and lengths[0] < fixed:
        raise ValueError(
            f"x has {lengths[0]} examples; expected {fixed} or more, a batch of the model's own size"
        )
    return Sample(x, order[: len(order) // (fixed or 1) * (fixed or 1)], fixed)


def _fixed_batch_size(model):
    """Return the batch size that is written into the inputs or the states of a model, or None.

    A Sequential notes the size of the batch that it was built on, and takes others as well.
    """
    tensors = [] if isinstance(model, keras.Sequential) else list(getattr(model, "inputs", None) or [])
    for layer in getattr(model, "_flatten_layers", list)():
        if getattr(layer, "stateful", False):
            tensors += keras.tree.flatten(getattr(layer, "states", None))
    return next((int(one.shape[0]) for one in tensors if one is not None and one.shape[0]), None)


def _check_kind(x):
    """Raise a TypeError for what has no rows that could be chosen from, and say how to get some."""
    how = None
    if hasattr(x, "element_spec"):
        how = "x, y = next(iter(dataset.unbatch().batch(300))), or without unbatch() if it has no batches yet"
    elif isinstance(x, keras.utils.PyDataset):
        how = "x, y = dataset[0]"
    elif hasattr(x, "__next__"):
        how = "x, y = next(generator)"
    elif hasattr(x, "__iter__") and not (hasattr(x, "shape") or hasattr(x, "__getitem__")):
        how = "x, y = next(iter(loader))"
    if how or x is None or isinstance(x, str | bytes):
        aside = f", such as the x of one batch: {how}" if how else ""
        raise TypeError(f"x is a {type_name(x)}; {_EXPECTED}{aside}")


def _structured(model, x):
    """Return x as the model takes it: a list of numbers becomes an array, a structure of arrays stays one."""
    inputs = getattr(model, "inputs", None) or []
    structure = getattr(model, "input", None) if len(inputs) > 1 else None
    if not isinstance(x, list | tuple) or not len(x):
        return _like(structure, x)
    if len(inputs) == 1:
        return _single(len(inputs[0].shape), x)
    if _a_dict_an_example(inputs, x):
        return {name: _array([row[name] for row in x]) for name in x[0]}
    if len(inputs) > 1:
        return _several(structure, len(inputs), x)
    several = all(hasattr(part, "shape") for part in x) or any(isinstance(part, dict) for part in x)
    return _like([None] * len(x), x) if several else _array(x)


def _like(structure, x):
    """Return x with an array wherever the structure goes no deeper."""
    if isinstance(x, dict):
        inner = structure if isinstance(structure, dict) else {}
        return {name: _like(inner.get(name), part) for name, part in x.items()}
    if not isinstance(x, list | tuple) or not isinstance(structure, list | tuple):
        return _array(x)
    parts = [_like(one, part) for one, part in zip(structure, x, strict=True)]
    return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)


def _several(structure, inputs, x):
    """Return x for a model of several inputs: in its structure, or one after the other; without labels."""
    if isinstance(x, tuple) and isinstance(x[0], dict | list | tuple):
        x = x[0] if len(keras.tree.flatten(x[0])) == inputs != len(keras.tree.flatten(x)) else x
    flat = not isinstance(structure, list | tuple) or len(structure) != len(x)
    if flat and not isinstance(x, dict) and len(x) != inputs:
        raise ValueError(f"x has {len(x)} parts; expected {inputs}, one for each input of the model")
    return _like([None] * inputs if flat and not isinstance(x, dict) else structure, x)


def _a_dict_an_example(inputs, x):
    if not all(isinstance(row, dict) and row.keys() == x[0].keys() for row in x):
        return False
    leaves = keras.tree.flatten(x)
    return len(leaves) != len(inputs) if inputs else not any(map(np.ndim, leaves))


def _single(rank, x):
    """Return the array for the one input of a model: of a list of rows, of [x] or of (x, y) as for `fit`."""
    whole = hasattr(x[0], "shape") and np.ndim(x[0]) == rank
    return _array(x[0] if whole and (len(x) == 1 or isinstance(x, tuple)) else x)


def _array(part):
    if isinstance(part, tf.RaggedTensor):
        raise TypeError("x is ragged; expected rows of one length, as x.to_tensor() makes them")
    if isinstance(part, tf.SparseTensor) or hasattr(part, "toarray"):
        raise TypeError("x is sparse; expected a dense array, from tf.sparse.to_dense(x) or x.toarray()")
    if keras.ops.is_tensor(part):
        return tf.convert_to_tensor(part)  # a variable has no rows to gather
    if np.ma.is_masked(part):
        raise ValueError(
            "x has masked values; expected an array with a number for each, as x.filled(0) gives"
        )
    try:
        return np.asarray(part)
    except Exception as error:
        kind = "ragged" if isinstance(error, ValueError) else "no array"
        raise ValueError(f"x is {kind} ({words.reason(error)}); expected an array") from None


def _check_part(part):
    if np.ndim(part) == 0:
        raise TypeError(f"x has a {type_name(part)} in it; expected an array with an example a row")
    values = np.asarray(part)
    text = values.dtype.kind in "SU" or (
        values.dtype.kind == "O" and all(isinstance(one, str | bytes) for one in values.flat)
    )
    if values.dtype.kind == "O" and not text:
        raise TypeError("x has objects in it; expected numbers")
    if values.dtype.kind in "mM" or values.dtype.type is np.void:
        raise TypeError(f"x has dtype {values.dtype}; expected numbers or text")
    if values.size == 0:
        raise ValueError(f"x has shape {values.shape}; expected two examples or more with something in them")
    if not text and not _all_finite(values):
        raise ValueError("x has NaN or infinity in it; expected finite values")


def _all_finite(values):
    """Say whether all numbers are finite, also of types that NumPy does not know, such as bfloat16."""
    if values.dtype.kind in "iub":
        return True
    wide = np.complex128 if values.dtype.kind == "c" else np.float64
    # A block at a time, so that a large x is not copied as a whole.
    return all(
        np.isfinite(block.astype(wide)).all() for block in np.array_split(values, 1 + len(values) // 1024)
    )
