"""Ways to spoil a trained network, each for one limit of the doctor: the calibration rows on its ill side."""

from functools import partial
from typing import NamedTuple

import numpy as np
from calibration_networks import AVERAGE, DIGITS


class Spoil(NamedTuple):
    """The limit it is for ("" if the layer stays healthy), what is done to the model, or to the pixels."""

    tells: str
    model: object = None  # of (model, layer)
    pixels: object = None  # of x
    few: bool = False  # if it shows in a sample of few


def _replaced(change, _, layer):
    """Put other statistics in place of a layer's: change(mean, variance, the feature that varies most)."""
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    mean, variance = change(mean, variance, variance == variance.max())
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)


def _most_varied(change, mean, variance, _):
    """Change the means of one feature of twelve, those that vary most."""
    most = np.argsort(-variance)[: max(1, len(variance) // 12)]
    mean[most] = change(mean[most], np.sqrt(variance[most]))
    return mean, variance


def _silenced(model, layer, *, rate=0.075):
    """Never let a unit in front fire again; the layer remembers that it did at this rate."""
    kernel, bias, unit = _front(model, layer)
    kernel[:, unit], bias[unit] = 0, -1
    model.layers[1].set_weights([kernel, bias])
    amplitude = 10 * np.sqrt(layer.epsilon)
    _remembered(layer, unit, rate * amplitude, rate * amplitude**2)


def _faded(model, layer, *, epsilons, remembered=None):
    """Let a unit in front vary by so many epsilons only; the layer remembers it as it was, or by so many."""
    kernel, bias, unit = _front(model, layer)
    kernel[:, unit] *= np.sqrt(epsilons * layer.epsilon / (DIGITS.x_train @ kernel[:, unit]).var())
    model.layers[1].set_weights([kernel, bias])
    if remembered:
        least = layer.moving_variance.numpy().min()
        now = DIGITS.x_train @ kernel[:, unit] + bias[unit]
        _remembered(layer, unit, now.mean(), least + remembered * layer.epsilon)


def _front(model, layer):
    """Return the kernel and the bias in front of a first layer, and which unit varies most."""
    return *model.layers[1].get_weights(), layer.moving_variance.numpy().argmax()


def _remembered(layer, unit, mean, variance):
    """Put other statistics of one feature into a layer."""
    for variable, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        values = variable.numpy()
        values[unit] = value
        variable.assign(values)


def _standardized(x):
    """Return pixels with mean 0 and variance 1 over all digits that networks are trained on.

    With a little noise, as some pixels are white in all of them.
    """
    noise = np.random.default_rng(0).normal(0, 0.4, DIGITS.x_train.shape).astype("float32")
    noisy = DIGITS.x_train + noise
    return (x + noise[: len(x)] - noisy.mean(axis=0)) / noisy.std(axis=0)


_untouched = partial(_replaced, lambda mean, variance, _: (0 * mean, 0 * variance + 1))
_half_way = partial(_replaced, lambda mean, variance, _: (0 * mean + 0.55, 0 * variance + 1.345))
_shifted = partial(_replaced, lambda mean, variance, _: (mean + np.sqrt(variance), variance))
ANY_LAYER = {
    "never updated": Spoil("initial", _untouched),
    "means off": Spoil("gap", _shifted),
    "means off, few examples": Spoil("standard_errors", _shifted, few=True),
    "variances too large": Spoil("log_ratio", partial(_replaced, lambda m, v, _: (m, v * 4))),
    "variances too small": Spoil("log_ratio", partial(_replaced, lambda m, v, _: (m, v / 4.5))),
    "one mean off": Spoil("one_gap", partial(_replaced, lambda m, v, one: (m + one * 4.5 * np.sqrt(v), v))),
    "one variance too small": Spoil(
        "one_log_ratio", partial(_replaced, lambda m, v, one: (m, v / 40.0**one))
    ),
    "one variance too large": Spoil("one_silenced", partial(_replaced, lambda m, v, one: (m, v * 20.0**one))),
    "a few means off": Spoil(
        "few_gaps", partial(_replaced, partial(_most_varied, lambda m, deviation: m + 2.2 * deviation))
    ),
}
FIRST_LAYER = {
    "inverted images": Spoil("gap", pixels=lambda x: 1 - x),
    "brightened images": Spoil("gap", pixels=lambda x: (1 + x) / 2),
    "paler images": Spoil("log_ratio", pixels=lambda x: (x - AVERAGE) / 2 + AVERAGE),
}
_OTHERWISE = {
    "swapped": Spoil("if_swapped", partial(_replaced, lambda m, v, _: (v, m))),
    "deviation stored": Spoil("if_squared", partial(_replaced, lambda m, v, _: (m, np.sqrt(v)))),
}
# Of the first layer of some architectures only.
SPECIAL = {
    "pixels": {
        "untouched, and right": Spoil("", _untouched, _standardized),
        "untouched, and nearly right": Spoil("initial", _untouched, lambda x: _standardized(x) + 0.15),
        # Of data with mean 1.1 and variance 1.69, so that little is wrong with what is half way to them.
        "half way": Spoil("noticed", _half_way, lambda x: 1.3 * _standardized(x) + 1.1),
    },
    "dense": {
        "one unit faded": Spoil("dead", partial(_faded, epsilons=0.007)),
        "one unit faint": Spoil("", partial(_faded, epsilons=0.015, remembered=6)),
        "one unit lost": Spoil("alive", partial(_faded, epsilons=0.001, remembered=6)),
        **_OTHERWISE,
    },
    "rows": _OTHERWISE,
    "tanh": {
        "a few means a little off": Spoil(
            "", partial(_replaced, partial(_most_varied, lambda m, deviation: m + 1.3 * deviation))
        )
    },
    "wide": {"one unit silenced": Spoil("seldom", _silenced), **_OTHERWISE},
}
