"""Judges how well what a batch-norm layer remembers fits what comes into it.

Means are compared in standard deviations of the data, variances by the logarithm of their ratio. What
differs by less than two standard errors fits; what is left beyond them is judged by what it does to the
output, on the feature at the ninth decile.
"""

from functools import cached_property, partial, reduce
from typing import NamedTuple

import numpy as np

from bnlab.doctor.norm import Inputs

# Where a layer becomes ill, by what `Case.quantities` measures, in units that matter to the output: a gap of
# .55 is about half a standard deviation, a log ratio of .75 a variance wrong by a factor of 2. Calibrated on
# the 71 networks of tools/calibrate.py, in 20 architectures: no healthy layer comes past .6 of a limit, and
# every limit has spoilt layers beyond it that nothing else tells (tests/calibration.csv).
LIMITS = {
    "gap": 0.55,  # of the means, at the ninth decile of the features
    "log_ratio": 0.75,  # of the variances, there too
    "calls_gap": 0.85,  # a layer that is called several times averages over calls that are rarely quite
    "calls_log_ratio": 1.4,  # alike: the same over each call by itself
    "share": 0.35,  # of the initial values that is left in an average still on its way, and ...
    "noticed": 0.25,  # ... where that is more than noise: both must be past their limits
    "few_gaps": 0.3,  # a few of many: root mean square over all of what is past the limit of a gap
    "one_gap": 3.0,  # one feature alone, however many are right: beyond what the multiplicity of
    "one_log_ratio": 2.5,  # thousands of features explains; the log ratio of one that is blown up, ...
    "one_silenced": 2.2,  # ... or silenced by too large a variance
}
# Moving statistics that are exactly initial were not estimated, so only the sample's error excuses them.
_INITIAL = 0.05
_STANDARD_ERRORS = 2.0
_USUAL_MOMENTUM = 0.99  # where a file does not say
_DEAD = 0.01  # of epsilon: such a feature leaves the layer with a tenth of its scale
_ALIVE = 4.0  # of epsilon: one that is remembered so has lived
_SELDOM = 3.0  # expected occurrences in the sample: none is seen with a probability of 5%
_ENOUGH, _FEWEST = 8.0, 3.0  # examples that make a variance: to trust that of one feature, and any at all
_TINY = float(np.finfo(np.float32).tiny)


def badness(quantities):
    """Return how far the worst of some quantities is past its limit; 1 is where a layer becomes ill."""
    past = {name: value / LIMITS[name] for name, value in quantities.items()}
    on_its_way = min(past.pop("share", 0.0), past.pop("noticed", 0.0))
    return max(on_its_way, *past.values())


class Fit(NamedTuple):
    """How statistics compare with what came in; arrays of shape (features,)."""

    gaps: np.ndarray
    log_ratios: np.ndarray
    beyond_gaps: np.ndarray  # what is left of their sizes beyond sampling error
    beyond_ratios: np.ndarray
    scales: np.ndarray  # standard deviations of the output: a small one is as good as constant
    errors: np.ndarray  # how far a gap and a log ratio may be off by chance, shape (2, features)
    counting: np.ndarray  # the sample is as good as one of so many examples
    initial_share: float  # what seems left of the initial 0 and 1, where means and variances agree on it

    def quantities(self):
        """Return what is held against LIMITS."""
        singles = self._singles()
        return self.typical | {
            "share": self.initial_share,
            "noticed": max(_decile(self.beyond_gaps), _decile(self.beyond_ratios)),
            "few_gaps": float(np.sqrt(np.mean(np.maximum(0, singles["one_gap"] - LIMITS["gap"]) ** 2))),
            **{name: float(values.max()) for name, values in singles.items()},
        }

    def _singles(self):
        """Return what is held against those of LIMITS that are about one feature, for each of them."""
        ratios = self.beyond_ratios * self.scales
        return {
            # In the larger of the two deviations: what hardly ever fires has none in a small sample.
            "one_gap": self.beyond_gaps * np.minimum(1, np.exp(-self.log_ratios / 2)),
            "one_log_ratio": np.where(self.log_ratios < 0, ratios, 0),
            # The tail of one whose variance few examples make may be missing, and then it is no smaller.
            "one_silenced": np.where((self.log_ratios > 0) & (self.counting >= _ENOUGH), ratios, 0),
        }

    @property
    def typical(self):
        """The gap and the log ratio of the feature at the ninth decile."""
        return _typical([self])

    @property
    def worst(self):
        """The feature that is furthest off, by its number, in shares of the limits for one."""
        return int(np.argmax(self._shares()))

    @property
    def outliers(self):
        """Which features are off, if it is a few only that make the layer ill; None if it is many."""
        if badness(self.typical) > 1:
            return None
        off = (self._shares() > 1) | (self.beyond_gaps > LIMITS["gap"])
        return off if off.any() else None

    def _shares(self):
        return sum(values / LIMITS[name] for name, values in self._singles().items())

    @property
    def summary(self):
        """The gap and the ratio that nine features of ten are as close as."""
        order = np.argsort(abs(self.log_ratios))
        return _decile(abs(self.gaps)), float(np.exp(self.log_ratios[order[int(0.9 * (len(order) - 1))]]))


def _typical(fits, prefix=""):
    """Return the gap and the log ratio of the feature at the ninth decile, over all fits."""
    gaps = np.concatenate([fit.beyond_gaps for fit in fits])
    ratios = np.concatenate([fit.beyond_ratios * fit.scales for fit in fits])
    return {f"{prefix}gap": _decile(gaps), f"{prefix}log_ratio": _decile(ratios)}


def _decile(values):
    return float(np.quantile(values, 0.9))


def _fit(norm, size, statistics, inputs):
    """Return the Fit of (mean, variance) to what came into a layer, or None if a number is not finite."""
    mean, raw = inputs.values.mean, inputs.values.variance
    # Of what hardly ever fires, the sample may have nothing, but the layer remembers how much it varies.
    between = np.where(_rare(norm, statistics, inputs, size), statistics[1], inputs.means.variance)
    squares = inputs.squares.variance
    if not finite(mean, raw, between, squares, *statistics):
        return None
    variance = np.maximum(raw + norm.epsilon, _TINY)
    gaps, log_ratios = apart(norm, statistics, (mean, raw))
    # Four moments of a small or heavy-tailed sample are unsure themselves: never less than a Gaussian's, nor
    # than is usual in this layer, as its features are alike. The heavier a tail, the more of it is missing.
    kurtosis = np.maximum(squares, 2 * between**2) / variance**2
    kurtosis = np.maximum(kurtosis, np.median(kurtosis)) * np.maximum(1, kurtosis / 2)
    counting = _counting(inputs)
    errors = _sampling_error(norm, counting, inputs.means.count, size) * np.sqrt(
        [between / variance, kurtosis]
    )
    lacking = np.where(log_ratios < 0, _lacking(between / variance, size), 0)
    beyond = np.maximum(0, [abs(gaps), abs(log_ratios) - lacking] - errors)
    share = _initial_share(statistics, mean, raw)
    return Fit(gaps, log_ratios, *beyond, np.sqrt(raw / variance), errors, counting, share)


def apart(norm, statistics, moments):
    """Return how far statistics lie from moments: the gaps of means and the log ratios of variances."""
    remembered, variance = (np.maximum(one[1] + norm.epsilon, _TINY) for one in (statistics, moments))
    return (statistics[0] - moments[0]) / np.sqrt(variance), np.log(remembered / variance)


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


def _counting(inputs):
    """Return how many examples make the variance of each feature: (sum of d^2)^2 / sum of d^4 over them.

    It is a third of all for a Gaussian, and few where the tails are heavy.
    """
    squares = np.maximum(inputs.squares.mean**2, _TINY)
    return inputs.means.count * squares / (squares + inputs.squares.variance)


def _sampling_error(norm, counting, count, size):
    """Return how many standard deviations of the examples a difference of means may have by chance.

    The sample has `count` examples, the average is over about (1 + momentum) / (1 - momentum) batches. In a
    sample of few, deviations are unsure too, as Student's t says; and the features of a layer are alike.
    """
    few = np.minimum(counting, np.median(counting))
    share = 1 / count + (1 - _momentum(norm)) / (1 + _momentum(norm)) / size
    return _STANDARD_ERRORS * np.sqrt(share) * (1 + 4 / np.maximum(few - 1, 0.1))


def _momentum(norm):
    return min(max(norm.momentum, 0), 1) if np.isfinite(norm.momentum) else _USUAL_MOMENTUM


def _lacking(share, size):
    """Return the log ratio that is missing because the variance within a batch lacks that of its mean.

    `share` is the part of the variance between examples; of that, half is missing in batches of two.
    """
    return -np.log1p(-np.minimum(share, 1) / max(size, 2))


def _rare(norm, statistics, inputs, size):
    """Features that are 0 in the sample and remembered as firing too seldom to be sure to be in it.

    What is a with probability p has mean p a and variance about p a^2, so mean^2 / variance is p.
    """
    mean, variance = statistics
    fires = (mean >= 0).all() and (inputs.values.mean >= 0).all()  # what comes from a ReLU is never negative
    remembered = fires & (mean > 0) & (variance > _DEAD * norm.epsilon)
    # One occurrence weighs (1 - momentum) / size in the memory, however seldom it is.
    seldom = _SELDOM * (1 / inputs.means.count + (1 - _momentum(norm)) / size)
    absent = (inputs.values.mean == 0) & (inputs.values.variance == 0)
    return remembered & absent & (mean**2 / np.maximum(variance, _TINY) <= seldom)


class Case:
    """One layer and what came into it, for `bnlab.doctor.illnesses` to judge by."""

    def __init__(self, norm, seen):
        self.norm, self.tiny = norm, norm in seen.tiny
        self.statistics = norm.statistics
        self.views = {view: calls[norm] for view, calls in seen.views.items() if norm in calls}
        self.merged = {view: reduce(Inputs.merged, calls) for view, calls in self.views.items()}
        self.size, self.place = seen.size, seen.model.place(norm)
        self._fit = partial(_fit, norm, seen.size)
        fits = {view: self._fit(self.statistics, inputs) for view, inputs in self.merged.items()}
        self.fits = {view: fit for view, fit in fits.items() if fit}  # where all is finite
        self.view = min(self.fits, key=lambda view: badness(self.quantities(view)), default=None)
        self.fit = self.fits.get(self.view)  # the best one

    def quantities(self, view=None):
        """Return {name of LIMITS: how far off}, in a view or else the best one; {} if nothing is finite."""
        view = view or self.view
        return self.fits[view].quantities() | self._of_calls(view, self.statistics) if view else {}

    def _of_calls(self, view, statistics):
        """Training normalizes each call by itself, inference all alike: do these statistics fit every one?"""
        calls = self.views[view]
        fits = [self._fit(statistics, call) for call in calls]
        if len(calls) < 2 or not all(fits):
            return {"calls_gap": 0.0, "calls_log_ratio": 0.0}
        return _typical(fits, "calls_")

    @cached_property
    def stale(self):
        """True if the statistics do not fit the data."""
        if not self.fit or np.median(self.fit.counting) < _FEWEST or badness(self.quantities()) <= 1:
            return False
        # Training with one value a feature gives variances of 0: no second illness.
        low = np.median(self.fit.log_ratios) < -LIMITS["log_ratio"]
        return not (self.tiny and low and _decile(self.fit.beyond_gaps) < 2 * LIMITS["gap"])

    @property
    def examples_needed(self):
        """How many examples it would take to tell whether the statistics fit; 0 if these can.

        They cannot if chance alone explains more, in most features, than makes a layer ill.
        """
        if not self.fit or self.stale:
            return 0
        gap, log_ratio = np.median(self.fit.errors, axis=1)
        past = max(gap / LIMITS["gap"], log_ratio / LIMITS["log_ratio"])
        return int(np.ceil(past**2 * self.examples / 10)) * 10 if past > 1 else 0

    @property
    def examples(self):
        """How many came in."""
        return max(one.means.count for one in self.merged.values())

    @property
    def torn(self):
        """True if the statistics of all calls together do not fit every call."""
        return badness(self._of_calls(self.view, self.merged[self.view].values[1:])) > 1

    @property
    def untouched(self):
        """True if the statistics are those from before any step, while the data differ, however little."""
        fresh = np.equal(self.statistics, np.reshape(self.norm.initial, (2, -1)))
        # In any view: behind a layer that normalizes, fresh weights may happen to give about 0 and 1.
        seen = [fit.quantities() for fit in self.fits.values()]
        return fresh.all() and any(one["noticed"] > _INITIAL or badness(one) > 1 for one in seen)

    @cached_property
    def dead(self):
        """Which features hardly vary, also if nothing in front normalizes with what it remembers."""
        views = [view for view in ("training", "batch") if view in self.fits] or list(self.fits)
        seen = [self.merged[view] for view in views]
        if not seen:
            return np.zeros(len(self.statistics[0]), bool)
        low = [self.hardly_varies(one.values.mean, one.values.variance) for one in seen]
        return np.all(low, axis=0) & ~_rare(self.norm, self.statistics, seen[0], self.size)

    @property
    def lived(self):
        """Which features are remembered as alive."""
        (mean, variance), least = self.statistics, _ALIVE * self.norm.epsilon
        # Of the initial variance every feature has the same left, so no more than the least of them has. Of
        # that one the mean tells: it is on its way from the initial one, and else it comes from data.
        still = mean == np.reshape(self.norm.initial, (2, -1))[0]
        return (variance > least) & (
            (variance - variance.min() > least) | (variance == variance.min()) & ~still
        )

    def hardly_varies(self, mean, variance):
        """Which features of such moments do."""
        rounding = (1e-7 * mean) ** 2  # all there is of a constant input, if epsilon is 0
        return variance < np.maximum(_DEAD * self.norm.epsilon, rounding + _TINY)


def finite(*arrays):
    """Say whether there is neither NaN nor infinity in any of the arrays."""
    return all(np.isfinite(array).all() for array in arrays)
