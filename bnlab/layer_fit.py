"""Judges how well what a batch-norm layer remembers fits what comes into it, and names the cause if not.

Means are compared in standard deviations of the data, variances by the logarithm of their ratio. What
differs by less than two standard errors fits; what is left beyond them is judged by what it does to the
output, on the feature at the ninth decile.
"""

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from bnlab.layer_inputs import arrays, merged

# Judging is done on the feature at the ninth decile, in units that matter to the output: a gap of .55 is
# about half a standard deviation, a log ratio of .75 a variance wrong by a factor of 2. Calibrated on the
# 57 networks trained on digits in 13 architectures (Dense, convolutions, residual, depthwise, dropout; Adam
# and SGD; batches of 8, 32, 128; momentum .9, .99; mixed precision): of 534 layers, none without a shared
# layer came past 0.75 of these limits, while the same networks on inverted or brightened images, or after
# so few steps that a third of the initial values was left, came past both in at least one layer.
_GAP, _LOG_RATIO = 0.55, 0.75
# A layer that is called several times averages over calls that are rarely quite alike.
_CALLS_GAP, _CALLS_LOG_RATIO = 0.85, 1.4
# An average that is still on its way: this share of the initial values, where it is more than noise.
_SHARE, _NOTICED = 0.35, 0.25
# One feature alone, however many are right: beyond what the multiplicity of thousands of features explains.
_ONE_GAP, _ONE_LOG_RATIO = 3.0, 2.5
# Moving statistics that are exactly initial were not estimated, so only the sample's error excuses them.
_INITIAL = 0.05
_STANDARD_ERRORS = 2.0
_DEAD = 0.01  # of epsilon: such a feature leaves the layer with a tenth of its scale
_SELDOM = 3.0  # expected occurrences in the sample: none is seen with a probability of 5%
_TORCH = 0.5
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class _Fit:
    """How statistics compare with what came in; all of shape (features,).

    `beyond_gaps` and `beyond_ratios` are what is left of the sizes beyond sampling error. `scales` are the
    standard deviations of the normalized output: a feature with a variance far below epsilon leaves the
    layer as good as constant, whatever its ratio. `initial_share` is what seems to be left of the initial
    0 and 1, where means and variances agree on it.
    """

    gaps: np.ndarray
    log_ratios: np.ndarray
    beyond_gaps: np.ndarray
    beyond_ratios: np.ndarray
    scales: np.ndarray
    initial_share: float

    @property
    def badness(self):
        """1 is where a layer becomes ill."""
        # In the larger of the two deviations: what hardly ever fires has none in a small sample.
        one_gap = (self.beyond_gaps * np.minimum(1, np.exp(-self.log_ratios / 2))).max()
        blown_up = np.where(self.log_ratios < 0, self.beyond_ratios * self.scales, 0).max()
        initial = min(self.initial_share / _SHARE, self.beyond / _NOTICED)
        return max(_typical_badness([self]), one_gap / _ONE_GAP, blown_up / _ONE_LOG_RATIO, initial)

    @property
    def beyond(self):
        """What is left beyond sampling error at the ninth decile, of gaps or of log ratios."""
        return max(_decile(self.beyond_gaps), _decile(self.beyond_ratios))

    @property
    def differs(self):
        """True if these are not the statistics of the data, however little that matters."""
        return self.beyond > _INITIAL or self.badness > 1

    @property
    def summary(self):
        """The gap and the ratio that nine features of ten are as close as."""
        order = np.argsort(abs(self.log_ratios))
        return _decile(abs(self.gaps)), float(np.exp(self.log_ratios[order[int(0.9 * (len(order) - 1))]]))


def _typical_badness(fits, *, gap=_GAP, log_ratio=_LOG_RATIO):
    """Return how bad the feature at the ninth decile is."""
    gaps = np.concatenate([fit.beyond_gaps for fit in fits])
    ratios = np.concatenate([fit.beyond_ratios * fit.scales for fit in fits])
    return max(_decile(gaps) / gap, _decile(ratios) / log_ratio)


def _decile(values):
    return float(np.quantile(values, 0.9))


def _fit(layer, statistics, inputs, size):
    """Return the _Fit of (mean, variance) to what came into a layer, or None if a number is not finite."""
    mean, raw = inputs.values.mean, inputs.values.variance
    # Of what hardly ever fires, the sample may have nothing, but the layer remembers how much it varies.
    between = np.where(_rare(layer, statistics, inputs), statistics[1], inputs.means.variance)
    squares = inputs.squares.variance
    if not _finite(mean, raw, between, squares, *statistics):
        return None
    variance = np.maximum(raw + layer.epsilon, _TINY)
    gaps = (statistics[0] - mean) / np.sqrt(variance)
    log_ratios = np.log(np.maximum(statistics[1] + layer.epsilon, _TINY) / variance)
    error, lacking = _sampling_error(layer, inputs.means.count, size), _lacking(between / variance, size)
    beyond_gaps = abs(gaps) - error * np.sqrt(between / variance)
    # Four moments of a small or heavy-tailed sample are unsure themselves: never less than a Gaussian's.
    kurtosis = np.maximum(squares, 2 * between**2) / variance**2
    beyond_ratios = abs(log_ratios) - np.where(log_ratios < 0, lacking, 0) - error * np.sqrt(kurtosis)
    beyond = np.maximum(0, beyond_gaps), np.maximum(0, beyond_ratios)
    return _Fit(gaps, log_ratios, *beyond, np.sqrt(raw / variance), _initial_share(statistics, mean, raw))


def _initial_share(statistics, mean, variance):
    """Return the share s that fits moving_mean = (1 - s) mean and moving_variance = (1 - s) variance + s.

    Each is the median over the features; the smaller of the two counts. It tells an average that is
    still on its way from one that follows weights, and there are weaker signs of it than large gaps.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = 1 - statistics[0] / mean, (statistics[1] - variance) / (1 - variance)
    known = [share[np.isfinite(share)] for share in shares]
    share = min(float(np.median(share)) if share.size else 0.0 for share in known)
    return share if share <= 1 else 0.0


def _sampling_error(layer, count, size):
    """Return how many standard deviations of the examples a difference of means may have by chance.

    The sample has `count` examples, the average is over about (1 + momentum) / (1 - momentum) batches. In a
    sample of few, deviations are unsure too, as Student's t says.
    """
    momentum = min(max(layer.momentum, 0), 1)
    share = 1 / count + (1 - momentum) / (1 + momentum) / size
    return _STANDARD_ERRORS * np.sqrt(share) * (1 + 4 / max(count - 1, 1))


def _lacking(share, size):
    """Return the log ratio that is missing because the variance within a batch lacks that of its mean.

    `share` is the part of the variance that lies between examples; of that, half is missing in batches
    of two.
    """
    return -np.log1p(-np.minimum(share, 1) / max(size, 2))


def _rare(layer, statistics, inputs):
    """Features that are 0 in the sample and remembered as firing too seldom to be sure to be in it.

    What is a with probability p has mean p a and variance about p a^2, so mean^2 / variance is p.
    """
    mean, variance = statistics
    remembered = (mean > 0) & (variance > _DEAD * layer.epsilon)
    absent = (inputs.values.mean == 0) & (inputs.values.variance == 0)
    return remembered & absent & (mean**2 / np.maximum(variance, _TINY) <= _SELDOM / inputs.means.count)


class Case:
    """One layer and what came into it, {view: [Inputs a call]}; what follows from that."""

    def __init__(self, layer, views, size, *, tiny):
        self.layer, self.size, self.tiny = layer, size, tiny
        self.views = {view: calls for view, calls in views.items() if calls}
        self.statistics = arrays(layer.moving_mean, layer.moving_variance)
        self.merged = {view: merged(calls) for view, calls in self.views.items()}
        fits = {view: self._fit(self.statistics, inputs) for view, inputs in self.merged.items()}
        self.fits = {view: fit for view, fit in fits.items() if fit}
        self.view = min(self.fits, key=self._badness, default=None)
        self.fit = self.fits.get(self.view)

    def _fit(self, statistics, inputs):
        return _fit(self.layer, statistics, inputs, self.size)

    def _badness(self, view):
        return max(self.fits[view].badness, self._badness_of_calls(view, self.statistics))

    def _badness_of_calls(self, view, statistics):
        """Training normalizes each call by itself, inference all alike: do these statistics fit every one?"""
        calls = self.views[view]
        fits = [self._fit(statistics, call) for call in calls]
        if len(calls) < 2 or not all(fits):
            return 0.0
        return _typical_badness(fits, gap=_CALLS_GAP, log_ratio=_CALLS_LOG_RATIO)

    def causes(self):
        """Return what is wrong, by the keys of the advice."""
        found = self._misfit() if _finite(*self.statistics) else ["not finite"]
        if (not self.fits and not found) or not _finite(*_weights(self.layer)):
            found = ["not finite weights"]
        found += ["dead feature"] * bool(self.dead) + ["tiny batch"] * self.tiny
        return tuple(found + ["torch momentum"] * (self.layer.momentum < _TORCH))

    def _misfit(self):
        """Return at most one cause, and whether a frozen layer has it: one cause, one word."""
        frozen = ["frozen but stale"] * (not self.layer.trainable)
        if not self.fit:
            return []
        # In any view: behind a layer that normalizes, fresh weights may happen to give about 0 and 1.
        if self._is_initial() and any(fit.differs for fit in self.fits.values()):
            return ["never updated", *frozen]
        if self._badness(self.view) <= 1 or self._starved():
            return []
        if len(self.views[self.view]) > 1 and self._badness_of_calls(self.view, self._pooled()) > 1:
            return frozen or ["not one domain"]
        return frozen or ["not converged"]

    def _is_initial(self):
        layer = self.layer
        initial = (layer.moving_mean_initializer, 0), (layer.moving_variance_initializer, 1)
        return all(
            (values == _constant(initializer, usual)).all()
            for values, (initializer, usual) in zip(self.statistics, initial, strict=True)
        )

    def _starved(self):
        """Training with one value a feature gives variances of 0: no second illness."""
        low = np.median(self.fit.log_ratios) < -_LOG_RATIO and _decile(self.fit.beyond_gaps) < 2 * _GAP
        return self.tiny and low

    def _pooled(self):
        values = self.merged[self.view].values
        return [values.mean, values.variance]

    @cached_property
    def dead(self):
        """Features that hardly vary, also if nothing in front normalizes with what it remembers."""
        views = [view for view in ("training", "batch") if view in self.fits] or list(self.fits)
        seen = [self.merged[view] for view in views]
        if not seen:
            return ()
        low = [one.values.variance < self._least_variance(one.values.mean) for one in seen]
        dead = np.all(low, axis=0) & ~_rare(self.layer, self.statistics, seen[0])
        return tuple(map(int, np.flatnonzero(dead)))

    def _least_variance(self, mean):
        rounding = (1e-7 * mean) ** 2  # all there is of a constant input, if epsilon is 0
        return np.maximum(_DEAD * self.layer.epsilon, rounding + _TINY)

    def hint(self, convolutions):
        """Return "wrong axis" if the channels of a convolution in this model are last and this axis is 1."""
        shape = next(iter(self.views.values()))[0].shape
        filters = {one.filters for one in convolutions}
        last = all(one.data_format == "channels_last" for one in convolutions)
        normalizes_1 = len(shape) > 2 and self.layer.axis % len(shape) == 1
        return (
            "wrong axis" if normalizes_1 and last and shape[-1] in filters and shape[1] not in filters else ""
        )


def _constant(initializer, usual):
    """Return the value an initializer gives to all features; the usual one if it draws them."""
    if isinstance(initializer, keras.initializers.Constant):
        return initializer.value
    return {"Zeros": 0, "Ones": 1}.get(type(initializer).__name__, usual)


def _weights(layer):
    return arrays(*(weight for weight in (layer.gamma, layer.beta) if weight is not None))


def _finite(*arrays):
    return all(np.isfinite(array).all() for array in arrays)
