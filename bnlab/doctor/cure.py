"""Measures what `bnlab.checkup.recalibrate` puts in place of the moving statistics."""

from functools import reduce

import keras
import numpy as np
import tensorflow as tf

from bnlab import words
from bnlab.doctor.inputs import none_called
from bnlab.doctor.models.keras_model import arrays
from bnlab.doctor.models.makers import check_writable, watchable
from bnlab.doctor.norm import Inputs
from bnlab.doctor.sample import type_name


def measured(model, batches):
    """Return [(variable, its new value)] of all layers that the model calls on these batches."""
    check_writable(model)
    if isinstance(batches, (str, dict)) or not hasattr(batches, "__iter__"):
        raise TypeError(f"batches is a {type_name(batches)}; expected an iterable of batches, such as [x]")
    aside = "; batches is one array: should it be [batches]?" if hasattr(batches, "shape") else ""
    watched, seen = None, {}
    for number, batch in enumerate(batches, start=1):
        name = f"batch {number}"
        x = _checked(batch[0] if isinstance(batch, tuple) else batch, name)
        watched = watched or watchable(model, x, name=name, aside=aside)
        found, _ = watched.watch(x, "batch", name=name, aside=aside)
        inputs = {norm: reduce(Inputs.merged, calls) for norm, calls in found.items()}
        _check_finite(watched, inputs, name)
        seen |= {norm: seen[norm].merged(one) if norm in seen else one for norm, one in inputs.items()}
    if watched is None:
        raise ValueError("batches is empty; expected one batch or more (a generator can be read only once)")
    _check_enough(watched, seen)
    return [pair for norm, inputs in seen.items() for pair in watched.replacements(norm, inputs)]


def _checked(x, name):
    """Return x, the inputs of one batch, if there is something in it and all of it is finite."""
    for part in keras.tree.flatten(x):
        if isinstance(part, tf.SparseTensor | tf.RaggedTensor):
            continue  # NumPy has none: what comes into a layer will tell
        array = np.asarray(part)
        if array.size == 0 or array.ndim == 0:
            raise ValueError(f"{name} has shape {array.shape}; expected at least one example")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has NaN or infinity in it; expected finite values")
    return x


def _check_finite(watched, found, name):
    for norm, inputs in found.items():
        for variable, value in watched.replacements(norm, inputs):
            # As stored: the variance of values around 1000 is infinite in float16.
            stored = arrays(keras.ops.cast(value, variable.dtype))[0]
            bad = ~np.isfinite(stored)
            if bad.any():
                raise ValueError(
                    f"{name} gives layer {norm.name!r} NaN, infinity or too large values in feature "
                    f"{words.features(bad)}; expected inputs whose moments {norm.dtype} can hold"
                )


def _check_enough(model, seen):
    if not seen:
        raise ValueError(none_called(model, "these batches"))
    for norm, inputs in seen.items():
        if inputs.values.count == 1 or (inputs.largest == 1 and len(seen) > 1):
            raise ValueError(
                f"batches have one value a feature each for layer {norm.name!r}, which normalizes it to "
                "beta whatever it is; expected two or more, that is larger batches"
            )
