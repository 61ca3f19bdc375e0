"""Other ways to read what a layer remembers: if one of them fits far better, that is what went wrong.

Within the limits of `bnlab.doctor.fit` a wrong array may pass. Its shape over the features gives it away.
"""

import numpy as np

from bnlab.doctor.fit import LIMITS, apart, finite

# So many times better must another reading be, in nearly all features. A square comes near many a variance.
_MARGINS = {"swapped": 1.5, "squared": 3.0}
_MISFIT = 0.2  # what lies closer needs no other reading, ...
_GOOD = 1.6  # ... and what lies further off is none
_UNEVEN = 0.1


def swapped(case):
    """Say whether the mean and the variance stand in each other's place."""
    mean, variance = case.norm.statistics
    return (mean >= 0).all() and _uneven(mean) and _better(case, (variance, mean), _MARGINS["swapped"])


def deviation_stored(case):
    """Say whether the square of what is stored fits the variance; an average on its way looks similar."""
    mean, variance = case.norm.statistics
    if (variance < 0).any() or not case.fit or case.fit.initial_share > LIMITS["share"]:
        return False
    return _uneven(variance) and _better(case, (mean, variance**2), _MARGINS["squared"])


def single_examples(case):
    """Say whether the variance is the one within an example, where batch norm takes that of a batch."""
    if not case.stale or case.fit.typical["gap"] > LIMITS["gap"]:
        return False
    inputs = case.merged[case.view]
    within = np.maximum(inputs.values.variance - inputs.means.variance, 0)
    log_ratios = [
        apart(case.norm, case.statistics, (inputs.values.mean, variance))[1]
        for variance in (inputs.values.variance, within)
    ]
    of_batches, of_examples = (np.median(abs(one)) for one in log_ratios)
    return np.median(log_ratios[0]) < -LIMITS["log_ratio"] and of_examples < of_batches / 3


def too_large(case):
    """Say whether the moments of the data are beyond what the variables of the layer can hold."""
    most = np.finfo(case.norm.dtype).max if case.norm.dtype == "float16" else np.inf
    return any(
        finite(*one.values[1:]) and max(abs(one.values.mean).max(), one.values.variance.max()) > most
        for one in case.merged.values()
    )


def _uneven(values):
    """Say whether features differ: if not, nothing has a shape."""
    return np.std(values) > _UNEVEN * abs(np.mean(values))


def _better(case, statistics, margin):
    """Say whether these fit nearly all features where those that are stored misfit half of them."""
    own, other = _misfit(case, case.norm.statistics, 0.5), _misfit(case, statistics, 0.9)
    return own > _MISFIT and other < min(own / margin, _GOOD)


def _misfit(case, statistics, share):
    """Return gap plus log ratio of the feature at this share, in the view where that is least; 0 if NaN."""
    if not finite(*statistics):
        return 0.0
    misfits = [
        sum(np.quantile(abs(one), share) for one in apart(case.norm, statistics, inputs.values[1:]))
        for inputs in case.merged.values()
        if finite(*inputs.values[1:])
    ]
    return min(misfits, default=0.0)
