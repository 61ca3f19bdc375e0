"""Reads a Keras model, says which of its batch-norm layers are ill, and puts right what they remember.

In inference a layer normalizes with its moving statistics. They go wrong silently: they were never
updated, or in too few steps, or the data are others than the model is used on now. `checkup` compares
them with what really comes into each layer; `recalibrate` measures them afresh.

On a saved model, from any folder (exit code 0: healthy, 1: ill, 2: it could not be looked at):

    python -m bnlab.checkup model.keras data.npz
"""

if __name__ == "__main__":  # before Keras, so that TensorFlow's log lines stay out of the output
    import bnlab.tensorflow_setup  # noqa: F401

import argparse
import math
import os
import re
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

import keras
import numpy as np

from bnlab import checkup_table
from bnlab.layer_fit import Case
from bnlab.layer_inputs import (
    VIEWS,
    Moments,
    arrays,
    batch_norm_layers,
    check_model,
    merged,
    type_name,
    watch,
)

PROBLEMS = (
    "never updated",
    "not converged",
    "not finite",
    "dead feature",
    "tiny batch",
    "torch momentum",
    "frozen but stale",
)

_LARGER_BATCH = 32
# Causes that have advice of their own, and the word of PROBLEMS they go by.
_WORDS = {"not one domain": "not converged", "not finite weights": "not finite"}


@dataclass(frozen=True, eq=False)
class LayerCheckup:
    """What `checkup` found in one batch-norm layer.

    Attributes:
        name, features, momentum, epsilon, trainable: as the layer has them.
        mean_gap: |moving_mean - mean| / sqrt(variance + epsilon), that is in standard deviations of the
            data; nine features of ten are as close or closer.
        variance_ratio: (moving_variance + epsilon) / (variance + epsilon), dimensionless; 1 fits. Nine
            features of ten are as close to 1 or closer, above or below it.
        problems: what is wrong, from PROBLEMS; () if nothing is.
        hint: what no statistic shows: "wrong axis", or "".
        gaps, ratios: the same of every feature with their signs, shape (features,), for the picture;
            empty if there is nothing finite to compare.
        dead: which features hardly vary.
        causes: which advice is given.
    """

    name: str
    features: int
    momentum: float
    epsilon: float
    trainable: bool
    mean_gap: float
    variance_ratio: float
    problems: tuple[str, ...]
    hint: str = ""
    gaps: np.ndarray = field(default=(), repr=False)
    ratios: np.ndarray = field(default=(), repr=False)
    dead: tuple[int, ...] = field(default=(), repr=False)
    causes: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Checkup:
    """What `checkup` found in a model; print it, or let Jupyter show it.

    Attributes:
        layers: a LayerCheckup a batch-norm layer, in the order of their first calls.
        disagreement: root mean square of (output in training mode - output in inference), in units of the
            standard deviation of the former; the largest if there are several outputs. Dropout is off in
            both, so this is batch norm's alone. infinity if an output is not finite.
        examples: how many there were in x.
        batch_size: as given.
        not_called: names of the layers that the model did not call on x; nothing is known about them.
    """

    layers: tuple[LayerCheckup, ...]
    disagreement: float
    examples: int
    batch_size: int
    not_called: tuple[str, ...] = ()

    @property
    def healthy(self):
        """True if no layer has a problem and none normalizes a wrong axis."""
        return not any(layer.problems or layer.hint for layer in self.layers)

    def __str__(self):
        """Return the table, the verdict, and per problem a sentence and the line to change."""
        return checkup_table.text(self)

    __repr__ = __str__

    def _repr_html_(self):
        return checkup_table.html(self)


def checkup(model, x, *, batch_size=32):
    """Find what is wrong with the batch-norm layers of a model, without changing it.

        mean_gap       = |moving_mean - mean| / sqrt(variance + epsilon)
        variance_ratio = (moving_variance + epsilon) / (variance + epsilon)

    mean and variance are those of what comes into the layer when the model is called on x. That depends
    on what the layers in front do, so it is measured in three ways (see `bnlab.layer_inputs`): as training
    sees it, with dropout; without dropout; and as inference sees it, with the moving statistics in front.
    A layer is judged by the one that its statistics fit best. So an ill layer does not make those behind
    it look ill, statistics that were averaged under dropout count as right, and so do those that were
    measured without it.

    What differs by less than two standard errors fits: those of x, counted in examples and not in pixels,
    and those of a moving average over batches of batch_size. The rest is judged on the feature at the
    ninth decile, so that one of hundreds which hardly ever fires says nothing, while one feature alone is
    enough if its data lie three standard deviations off or the layer blows it up.

    Args:
        model: a Keras 3 model (or layer) with batch norm: Sequential, functional, nested, subclassed. If
            it has no weights yet, the first batch builds it.
        x: inputs that the model should do well on, of its training data best: an array, a list of numbers,
            a tensor, or for several inputs a list or dict of them. Two examples or more; 100 to 600 tell.
        batch_size: examples a call, as in training; a whole number, 1 or more.

    Returns:
        Checkup. Nothing of the model has changed: no variable, flag or optimizer, nor after an error.

    Raises:
        TypeError: model is no Keras 3 model; x is a dataset or generator; batch_size is no whole number.
        ValueError: model has no batch-norm layer, calls none, or cannot be called on x; x has fewer than two
            examples, parts of different lengths, or NaN or infinity in it; batch_size is below 1.

    Source: section 3.1 of Ioffe & Szegedy (2015) for what inference needs; Li et al. (2018),
    arXiv:1801.05134, for the shift of variance that dropout makes.
    """
    check_model(model)
    _check_batch_size(batch_size)
    x, examples = _sample(model, x)
    layers = _built_layers(model, _part(x, slice(0, batch_size)), "x")
    tiny, size = (), int(batch_size)
    if size == 1:  # what follows a layer with one value a feature would be constant: measure it otherwise
        seen, _ = _pass(model, layers, [_part(x, slice(0, 1))])
        tiny = {layer for layer, calls in seen["batch"].items() if calls[0].largest == 1}
        size = _LARGER_BATCH if tiny else size
    seen, disagreement = _pass(model, layers, _batches(x, examples, size))
    called = list(dict.fromkeys(layer for view in reversed(VIEWS) for layer in seen[view]))
    if not called:
        raise ValueError(
            f"model {model.name!r} calls none of its batch-norm layers on x; expected one or more"
        )
    cases = [
        Case(layer, {view: seen[view].get(layer) for view in VIEWS}, size, tiny=layer in tiny)
        for layer in called
    ]
    convolutions = _convolutions(model)
    return Checkup(
        tuple(_diagnosed(case, convolutions) for case in cases),
        disagreement,
        examples,
        int(batch_size),
        tuple(layer.name for layer in layers if layer not in called),
    )


# ---- the sample ------------------------------------------------------------------------------


def _check_batch_size(batch_size):
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral):
        raise TypeError(f"batch_size is {batch_size!r}; expected a whole number")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected 1 or more")


def _sample(model, x):
    """Return x with arrays or tensors as its parts, and the number of examples."""
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
    return x, lengths[0]


def _structured(model, x):
    """Return x as the model takes it: a list of numbers becomes an array, a list of arrays stays."""
    if isinstance(x, dict):
        return {name: _array(part) for name, part in x.items()}
    if isinstance(x, (list, tuple)) and all(hasattr(part, "shape") for part in x) and len(x):
        inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
        return _array([np.asarray(part) for part in x]) if len(inputs) == 1 and len(x) > 1 else type(x)(x)
    if isinstance(x, (list, tuple)) and len(keras.tree.flatten(getattr(model, "inputs", None) or [])) > 1:
        return [_array(part) for part in x]
    return _array(x)


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


def _part(x, rows):
    return keras.tree.map_structure(lambda part: part[rows], x)


def _batches(x, examples, size):
    """Yield batches of `size`. A rest of less than half of it joins the last one: few have odd moments."""
    starts = list(range(0, examples, size))
    if len(starts) > 1 and examples - starts[-1] < size / 2:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], examples], strict=True):
        yield _part(x, slice(start, end))


# ---- what comes in ---------------------------------------------------------------------------


def _built_layers(model, x, name, hint=""):
    """Return the batch-norm layers; a model without weights gets them from its first call."""
    layers = batch_norm_layers(model) if model.built else []
    if not model.built or not all(layer.built for layer in layers):
        with _told(model, name, x, hint):
            model(x, training=False)
        layers = batch_norm_layers(model)
    return layers


def _pass(model, layers, batches):
    """Return ({view: {layer: [Inputs a call]}}, disagreement) over all batches."""
    seen, apart = {view: {} for view in VIEWS}, _Apart()
    for x in batches:
        outputs = {}
        for view in VIEWS:
            with _told(model, "x", x):
                found, outputs[view] = watch(model, layers, x, view)
            for layer, calls in found.items():
                before = seen[view].get(layer, [])
                seen[view][layer] = [a.merged(b) for a, b in zip(before, calls, strict=False)] + (
                    before[len(calls) :] + calls[len(before) :]
                )
        apart.add(outputs["batch"], outputs["inference"])
    return seen, apart.largest()


class _Apart:
    """Adds up, batch by batch, how far two sets of outputs lie apart and how far the first spreads."""

    def __init__(self):
        self.spreads, self.squares = {}, {}

    def add(self, ours, theirs):
        pairs = zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True)
        for number, pair in enumerate(pairs):
            if all(part is not None and np.ndim(part) for part in pair):
                self._add(number, *(_rows(part) for part in pair))

    def _add(self, number, ours, theirs):
        with np.errstate(over="ignore", invalid="ignore"):
            mean = ours.mean(axis=0)
            spread = Moments(len(ours), mean, ((ours - mean) ** 2).mean(axis=0))
            self.squares[number] = self.squares.get(number, 0) + ((ours - theirs) ** 2).sum()
        if np.isfinite(spread.variance).all():
            before = self.spreads.get(number)
            same = before is not None and before.mean.shape == mean.shape
            self.spreads[number] = before.merged(spread) if same else before or spread
        else:
            self.squares[number] = np.nan

    def largest(self):
        return max(map(self._ratio, self.squares), default=0.0)

    def _ratio(self, number):
        square, spread = self.squares[number], self.spreads.get(number)
        if spread is None or not np.isfinite(square):
            return math.inf
        total = spread.count * spread.variance.sum()
        return float(np.sqrt(square / total)) if total else (math.inf if square else 0.0)


def _rows(output):
    values = keras.ops.convert_to_numpy(keras.ops.cast(output, "float64"))
    return values.reshape(len(values), -1)


# ---- the diagnosis ---------------------------------------------------------------------------


def _diagnosed(case, convolutions):
    """Return the LayerCheckup of a case."""
    causes, hint, fit, layer = case.causes(), case.hint(convolutions), case.fit, case.layer
    gap, ratio = fit.summary if fit else (math.nan, math.nan)
    return LayerCheckup(
        name=layer.name,
        features=len(case.statistics[0]),
        momentum=layer.momentum,
        epsilon=layer.epsilon,
        trainable=layer.trainable,
        mean_gap=gap,
        variance_ratio=ratio,
        problems=tuple(dict.fromkeys(_WORDS.get(cause, cause) for cause in causes)),
        hint=hint,
        gaps=fit.gaps if fit else np.empty(0),
        ratios=np.exp(fit.log_ratios) if fit else np.empty(0),
        dead=case.dead,
        causes=(*causes, hint) if hint else causes,
    )


def _convolutions(model):
    return [one for one in model._flatten_layers() if hasattr(one, "data_format") and hasattr(one, "filters")]


# ---- the cure --------------------------------------------------------------------------------


def recalibrate(model, batches):
    """Put the moments of the data in place of the moving statistics of every batch-norm layer.

        moving_mean     = mean of everything that came into the layer
        moving_variance = mean of (everything - moving_mean)^2

    The model is called once on each batch. Its batch-norm layers normalize with the moments of the batch,
    as in training, also those that are frozen or called with training=False: what a layer remembers now
    is just what is in doubt. Everything else is as in inference, where the statistics will be used, so
    dropout is off. The moments of the batches are merged exactly, so their order and sizes do not matter
    to a first layer. A layer behind another one sees inputs that were normalized batch by batch, and in
    inference it will not quite; the larger the batches, the closer.

    Only the moving statistics change: no weight, flag, momentum or optimizer. A frozen layer stays frozen.
    A layer that inference does not reach keeps its statistics. Labels are not needed.

    Args:
        model: a Keras 3 model (or layer) with batch norm: Sequential, functional, nested, subclassed. If
            it has no weights yet, the first batch builds it.
        batches: iterable of inputs of the model, also a generator; read once, any number of batches. A tuple
            is (x, y) or (x, y, sample_weight), as for `model.fit`, and only its x is used. Masked time
            steps do not count.

    Raises:
        TypeError: model is no Keras 3 model; batches cannot be iterated over.
        ValueError: model has no batch-norm layer or cannot be called on a batch; batches is empty, or has
            a batch without examples or with NaN or infinity; the input of a layer is not finite or is one
            value a feature. After an error the model is as it was.

    Source: algorithm 2 of Ioffe & Szegedy (2015), lines 8 to 11, with the biased variance, which Keras
    stores; `torch.optim.swa_utils.update_bn`.
    """
    for layer, inputs in _measured(model, batches).items():
        for variable, value in _new_statistics(layer, inputs):
            variable.assign(value)


def _measured(model, batches):
    """Return {layer: Inputs} of the batch-norm layers that the model calls, in the order of the calls."""
    check_model(model)
    if isinstance(batches, (str, dict)) or not hasattr(batches, "__iter__"):
        raise TypeError(f"batches is a {type_name(batches)}; expected an iterable of batches, such as [x]")
    layers, seen, number = batch_norm_layers(model) if model.built else [], {}, 0
    hint = "; batches is one array: should it be [batches]?" if hasattr(batches, "shape") else ""
    for number, batch in enumerate(batches, start=1):
        name = f"batch {number}"
        x = _checked(batch[0] if isinstance(batch, tuple) else batch, name)
        if number == 1:
            layers = _built_layers(model, x, name, hint)
        with _told(model, name, x, hint):
            found, _ = watch(model, layers, x, "batch")
        inputs = {layer: merged(calls) for layer, calls in found.items()}
        _check_finite(inputs, name)
        seen |= {layer: seen[layer].merged(one) if layer in seen else one for layer, one in inputs.items()}
    if not number:
        raise ValueError("batches is empty; expected one batch or more (a generator can be read only once)")
    _check_enough(model, seen)
    return seen


def _new_statistics(layer, inputs):
    """Return (variable, value) of what the layer will remember."""
    mean, variance = inputs.values.mean, inputs.values.variance
    pairs = [(layer.moving_mean, mean), (layer.moving_variance, variance)]
    if getattr(layer, "renorm", False):  # its next update starts from these, not from the variance
        std = np.sqrt(variance + layer.epsilon)
        pairs += [(layer.moving_stddev, std), (layer.renorm_mean, mean), (layer.renorm_stddev, std)]
    return pairs


def _checked(x, name):
    """Return x, the inputs of one batch, if there is something in it and all of it is finite."""
    for part in keras.tree.flatten(x):
        array = np.asarray(part)
        if array.size == 0 or array.ndim == 0:
            raise ValueError(f"{name} has shape {array.shape}; expected at least one example")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has NaN or infinity in it; expected finite values")
    return x


@contextmanager
def _told(model, name, x, hint=""):
    """Say on which batch the model failed, in one sentence; the cause is kept for the traceback."""
    try:
        yield
    except Exception as error:
        shapes = ", ".join(str(np.shape(part)) for part in keras.tree.flatten(x))
        raise ValueError(
            f"model {model.name!r} cannot be called on {name} of shape {shapes}{hint} ({_reason(error)})"
        ) from error


def _reason(error):
    """Return what went wrong in one line; Keras writes several, some of them bold."""
    words = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())
    return f"{type(error).__name__}: {words[:300] or 'no reason given'}"


def _check_finite(found, name):
    for layer, inputs in found.items():
        for variable, value in _new_statistics(layer, inputs):
            # As stored: the variance of values around 1000 is infinite in float16.
            stored = arrays(keras.ops.cast(value, variable.dtype))[0]
            bad = np.flatnonzero(~np.isfinite(stored))
            if bad.size:
                features = ", ".join(map(str, bad[:5])) + (" and more" if bad.size > 5 else "")
                raise ValueError(
                    f"{name} gives layer {layer.name!r} NaN, infinity or too large values in feature "
                    f"{features}; expected inputs whose moments {variable.dtype} can hold"
                )


def _check_enough(model, seen):
    if not seen:
        raise ValueError(
            f"model {model.name!r} calls none of its batch-norm layers on these batches; expected one or more"
        )
    for layer, inputs in seen.items():
        if inputs.values.count == 1 or (inputs.largest == 1 and len(seen) > 1):
            raise ValueError(
                f"batches have one value a feature each for layer {layer.name!r}, which normalizes it to "
                "beta whatever it is; expected two or more, that is larger batches"
            )


# ---- the command -----------------------------------------------------------------------------


def main(arguments=None):
    """Check up a saved model on saved inputs, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bnlab.checkup",
        description="Say which batch-norm layers of a saved Keras model are ill. "
        "Exit code 0: healthy, 1: ill, 2: it could not be looked at.",
    )
    parser.add_argument("model", help="a model.keras file (or .h5), loaded in safe mode")
    parser.add_argument("data", help="an .npz or .npy file with a sample of the inputs")
    parser.add_argument("--array", help="the array of the .npz to use, if there are several")
    parser.add_argument("--batch-size", type=int, default=32, help="examples a call, as in training (32)")
    given = parser.parse_args(arguments)
    try:
        with _quiet():
            model, x = _loaded_model(given.model), None
            x = _loaded_inputs(given.data, given.array, model)
            found = checkup(model, x, batch_size=given.batch_size)
    except (OSError, TypeError, ValueError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    print(found)
    return 0 if found.healthy else 1


@contextmanager
def _quiet():
    """Keep warnings and TensorFlow's log lines out of the output."""
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nothing:
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)


def _loaded_model(path):
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file; expected a saved Keras model, such as model.keras")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded as a Keras model ({_reason(error)})") from error


def _loaded_inputs(path, name, model):
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file; expected an .npz with a sample of the inputs")
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        arrays = {key: stored[key] for key in stored.files}
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an .npz ({_reason(error)})") from error
    return _chosen(arrays, path, name, model)


def _chosen(arrays, path, name, model):
    """Return the array that was asked for, the only one, x, or one for each input of the model."""
    if not arrays:
        raise ValueError(f"{path} has no array in it; expected one, as np.savez(path, x=x) writes it")
    inputs = [one.name for one in keras.tree.flatten(getattr(model, "inputs", None) or [])]
    if name is None and len(inputs) > 1 and set(inputs) <= set(arrays):
        return {key: arrays[key] for key in inputs}
    key = name or (next(iter(arrays)) if len(arrays) == 1 else "x")
    if key not in arrays:
        raise ValueError(f"{path} has the arrays {', '.join(arrays)}; choose one with --array, or call it x")
    return arrays[key]


if __name__ == "__main__":
    sys.exit(main())
