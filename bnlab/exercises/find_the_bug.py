"""Exercises of the eleventh notebook, "Find the bug": which illness is it, and what cures it.

TensorFlow and Keras are imported when a patient is judged, not before.
"""

import numpy as np

from bnlab.judging import judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import with_hints


def new_statistics_alone(answer):
    """Judge eight booleans: is the patient well with new statistics alone, measured on its data?

    Args:
        answer: one boolean each for the patients A to H of the ward, as they came: forgotten updates, early
            collection, no flag in the loop, momentum 0.999, a frozen norm and a head that was trained behind
            it, one NaN batch, a norm shared by two domains, the wrong axis.
    """
    all_of_them = "four of the eight have learned something that is in the way"
    mistakes = {
        "all of them": ([1, 1, 1, 1, 1, 1, 1, 1], all_of_them),
        "C too": ([1, 1, 1, 1, 0, 1, 0, 0], "what do new statistics help where no unit fires any more?"),
        "E too": ([1, 1, 0, 1, 1, 1, 0, 0], "behind which statistics did the head of E learn?"),
        "G too": ([1, 1, 0, 1, 0, 1, 1, 0], "can one mean fit two scanners?"),
        "H too": ([1, 1, 0, 1, 0, 1, 0, 1], "what was wrong with the statistics of H?"),
        "not the graphs": ([0, 0, 0, 1, 0, 1, 0, 0], "what is wrong in A and B: a weight, or the memory?"),
        "not F": ([1, 1, 0, 1, 0, 0, 0, 0], "did the NaN of F reach a weight?"),
    }
    truth, hint = [1, 1, 0, 1, 0, 1, 0, 0], "whose weights are as good as the healthy ones, A to H?"
    return judge_value(answer, truth=truth, mistakes=mistakes, read=list, otherwise=hint)


def doctor(answer):
    """Judge a function that diagnoses one layer from its statistics and a sample of what comes into it.

    Args:
        answer: answer(moving_mean, moving_variance, x) -> a word. The statistics have shape (features,), x
            has shape (examples, features). "not finite" if any of the statistics is not finite; "healthy"
            if in every feature the means are at most 0.5 standard deviations of x apart and the variances
            at most a factor of 2; "never updated" if they do not fit and all are the initial 0 and 1; else
            "not converged".
    """
    wrong = {
        "fresh is always ill": _doctor(fresh_first=True),
        "NaN called healthy": _doctor(finite=False, is_beyond=np.greater),
        "infinity overlooked": _doctor(finite=lambda mean, variance: not np.isnan(mean + variance).any()),
        "means alone": _doctor(ratio=np.ones_like),
        "variances alone": _doctor(gap=np.zeros_like),
        "not in standard deviations": _doctor(unit=lambda variance: 1.0),
        "sign forgotten": _doctor(gap=lambda gap: gap),
        "only variances that are too large": _doctor(ratio=lambda ratio: ratio),
        "average over the features": _doctor(over=lambda ill: ill.mean() > 0.5),
        "a mean of 0 is enough": _doctor(is_fresh=lambda mean, variance: (mean == 0).all()),
    }
    hints = {
        "fresh is always ill": "what if the data have mean 0 and variance 1 themselves?",
        "NaN called healthy": "is NaN > 0.5?",
        "infinity overlooked": "NaN is not the only number that is not finite",
        "means alone": "the variance can be ill while the mean is well",
        "variances alone": "the mean can be ill while the variance is well",
        "not in standard deviations": "a distance of 0.4 is little for one feature and much for another",
        "sign forgotten": "a moving mean can also lie below the mean",
        "only variances that are too large": "too small by a factor counts as much as too large",
        "average over the features": "is one ill feature of many enough?",
        "a mean of 0 is enough": "a layer that was never updated has two things in common with a fresh one",
    }
    return judge(answer, truth=_doctor(), mistakes=with_hints(wrong, hints), inputs=_statistics_and_samples())


def _doctor(
    *,
    finite=lambda mean, variance: np.isfinite(mean + variance).all(),
    fresh_first=False,
    unit=np.sqrt,
    gap=np.abs,
    ratio=lambda ratio: np.maximum(ratio, 1 / ratio),
    is_beyond=lambda value, limit: ~(value <= limit),
    over=np.any,
    is_fresh=lambda mean, variance: (mean == 0).all() and (variance == 1).all(),
):
    """Return a doctor with the given habits; without any, the right one."""

    def word(moving_mean, moving_variance, x):
        if finite and not finite(moving_mean, moving_variance):
            return "not finite"
        if fresh_first and is_fresh(moving_mean, moving_variance):
            return "never updated"
        gaps = gap((moving_mean - x.mean(axis=0)) / unit(x.var(axis=0)))
        ill = is_beyond(gaps, 0.5) | is_beyond(ratio(moving_variance / x.var(axis=0)), 2)
        if not over(ill):
            return "healthy"
        return "never updated" if is_fresh(moving_mean, moving_variance) else "not converged"

    return word


def _statistics_and_samples():
    """Return (moving_mean, moving_variance, x) of layers with three features of very different width."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3))
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    center, spread = np.array([2.0, -3.0, 40.0]), np.array([0.1, 1.0, 30.0])
    x, one = center + spread * z, np.ones(3)
    first = np.array([1.0, 0.0, 0.0])
    nan, infinite = np.array([0, np.nan, 0]), np.array([0, 0, np.inf])
    return [
        (center + 0.49 * spread, 1.96 * spread**2, x),  # near enough
        (center - 0.49 * spread, 0.51 * spread**2, x),
        (0 * one, one, x),  # never updated
        (0 * one, one, z),  # the same, but it fits
        (center + 0.51 * first * spread, spread**2, x),  # one mean too high, by little in its own unit
        (center - 0.51 * spread, spread**2, x),  # all means too low
        (center, 2.04 * spread**2, x),
        (center, 0.49 * spread**2, x),
        (0 * one, spread**2, x),
        (center, one, x),
        (center * (1 - first), np.where(first, 1, spread**2), x),  # one feature looks fresh
        (center + nan, spread**2, x),
        (center, spread**2 + nan, x),
        (center, spread**2 + infinite, x),
    ]


def new_patient(answer):
    """Judge a patient of the reader's own and its cure: `bnlab.checkup` finds one illness, then none.

    Args:
        answer: answer() -> (model, x, cure). model is a Keras model with two or more batch-norm layers, and x
            100 or more of its inputs. `checkup` finds exactly one of its layers ill, with one problem.
            cure(model) changes the model in place, but no weight that was learned; then it is healthy on x.
    """

    def fault(build):
        if not callable(build):
            return "no function", "a function is expected that returns a model, inputs and a cure"
        parts = build()
        if parts is None:
            return "returned None", "nothing came back; is a `return` missing?"
        if not isinstance(parts, tuple | list) or len(parts) != 3 or not callable(parts[2]):
            return "not three parts", "a model, inputs and a function that cures are expected"
        model, x, cure = parts
        try:
            before, examples = _problems(model, x)
        except (TypeError, ValueError) as error:
            return "no patient", f"the check says: {str(error)[:120]}"
        learned = _learned(model)
        cure(model)
        after, _ = _problems(model, x)
        ill = sum(map(bool, before))
        if len(before) < 2:
            return "one layer", "build it with two batch-norm layers or more"
        if examples < 100:
            return "few examples", "a hundred examples or more are needed to be sure"
        if ill == 0:
            return "nobody ill", f"all {len(before)} layers are healthy; what could befall one of them?"
        if ill > 1:
            return "an epidemic", f"{ill} layers are ill; make all but one fit first"
        illness, left = (max(problems, key=len) for problems in (before, after))
        if len(illness) > 1:
            return "two illnesses", f"one layer, but more than one illness: {', '.join(illness)}"
        if not all(map(np.array_equal, learned, _learned(model))):
            hint = (
                "the cure has changed what was learned; statistics, flags and momentum are all it may touch"
            )
            return "side effects", hint
        if after == before:
            return "not cured", f"after the cure it has still: {', '.join(left)}"
        if left:
            return "another illness", f"after the cure it has: {', '.join(left)}"
        return None

    return judge_proposal(answer, fault_of=fault, seconds=20.0)


def _problems(model, x):
    """Return what `checkup` finds in each layer, and how many examples it looked at."""
    from bnlab.checkup import checkup

    found = checkup(model, x)
    return [list(layer.problems) for layer in found.layers], found.examples


def _learned(model):
    """Return the values of everything but the moving statistics, whether or not it is frozen."""
    return [variable.numpy() for variable in model.variables if "moving_" not in variable.name]
