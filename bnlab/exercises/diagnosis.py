"""Exercises of the eleventh notebook, "Find the bug": which illness is it, and what cures it.

TensorFlow and Keras are imported when a patient is judged, not before.
"""

from dataclasses import dataclass

import numpy as np

from bnlab.exercises.judging import UnfitError, judge, judge_proposal, judge_value


def new_statistics_alone(answer):
    """Judge eight booleans: is the patient well with new statistics alone, measured on its data?

    Args:
        answer: one boolean each for the patients A to H of the ward, as they came: forgotten updates, early
            collection, no flag in the loop, momentum 0.999, a frozen norm and a head that was trained behind
            it, one NaN batch, a norm shared by two domains, the wrong axis.

    Returns:
        Verdict.
    """
    mistakes = {
        "all of them": (
            [1, 1, 1, 1, 1, 1, 1, 1],
            "four of the eight have learned something that is in the way",
        ),
        "none": ([0, 0, 0, 0, 0, 0, 0, 0], "what else is wrong with D than its statistics?"),
        "turned round": ([0, 0, 1, 0, 1, 0, 1, 1], "of these four the weights, or the layers, are not right"),
        "C too": ([1, 1, 1, 1, 0, 1, 0, 0], "what do new statistics help where no unit fires any more?"),
        "E too": ([1, 1, 0, 1, 1, 1, 0, 0], "behind which statistics did the head of E learn?"),
        "G too": ([1, 1, 0, 1, 0, 1, 1, 0], "can one mean fit two scanners?"),
        "H too": ([1, 1, 0, 1, 0, 1, 0, 1], "what was wrong with the statistics of H?"),
        "E and G too": ([1, 1, 0, 1, 1, 1, 1, 0], "both were recalibrated in the notebook; what came of it?"),
        "not the graphs": ([0, 0, 0, 1, 0, 1, 0, 0], "what is wrong in A and B: a weight, or the memory?"),
        "not F": ([1, 1, 0, 1, 0, 0, 0, 0], "did the NaN of F reach a weight?"),
        "D alone": ([0, 0, 0, 1, 0, 0, 0, 0], "D is not the only one that has learned well"),
    }
    return judge_value(
        answer,
        truth=[1, 1, 0, 1, 0, 1, 0, 0],
        mistakes=mistakes,
        read=list,
        otherwise="whose weights are as good as the healthy ones, A to H?",
    )


def doctor(answer):
    """Judge a function that diagnoses one layer from its statistics and a sample of what comes into it.

    Args:
        answer: answer(moving_mean, moving_variance, x) -> a word. The statistics have shape (features,), x
            has shape (examples, features). "not finite" if any of the statistics is not finite; "healthy"
            if in every feature the means are at most 0.5 standard deviations of x apart and the variances
            at most a factor of 2; "never updated" if they do not fit and all are the initial 0 and 1; else
            "not converged".

    Returns:
        Verdict.
    """
    mistakes = {
        "fresh is always ill": (
            _doctor(fresh_first=True),
            "what if the data have mean 0 and variance 1 themselves?",
        ),
        "NaN called healthy": (
            _doctor(
                finite=False, gap_is_ill=lambda gap: gap > 0.5, ratio_is_ill=lambda r: (r > 2) | (r < 0.5)
            ),
            "is NaN > 0.5?",
        ),
        "NaN called not converged": (_doctor(finite=False), "more data will not mend a NaN"),
        "infinity overlooked": (
            _doctor(finite=lambda *statistics: not any(np.isnan(part).any() for part in statistics)),
            "NaN is not the only number that is not finite",
        ),
        "NaN in the variance overlooked": (
            _doctor(finite=lambda mean, variance: np.isfinite(mean).all()),
            "there are two statistics to look at",
        ),
        "means alone": (
            _doctor(ratio_is_ill=np.zeros_like),
            "the variance can be ill while the mean is well",
        ),
        "variances alone": (
            _doctor(gap_is_ill=np.zeros_like),
            "the mean can be ill while the variance is well",
        ),
        "not in standard deviations": (
            _doctor(unit=lambda variance: 1.0),
            "a distance of 0.4 is little for one feature and much for another",
        ),
        "in variances": (
            _doctor(unit=lambda variance: variance),
            "in which unit is the distance of the means?",
        ),
        "sign forgotten": (
            _doctor(gap_is_ill=lambda gap: gap > 0.5, size=lambda gap: gap),
            "a moving mean can also lie below the mean",
        ),
        "only variances that are too large": (
            _doctor(ratio_is_ill=lambda ratio: ratio > 2),
            "too small by a factor counts as much as too large",
        ),
        "only variances that are too small": (
            _doctor(ratio_is_ill=lambda ratio: ratio < 0.5),
            "too large by a factor counts as much as too small",
        ),
        "average over the features": (
            _doctor(over=lambda ill: ill.mean() > 0.5),
            "is one ill feature of many enough?",
        ),
        "a mean of 0 is enough": (
            _doctor(is_fresh=lambda mean, variance: (mean == 0).all()),
            "a layer that was never updated has two things in common with a fresh one",
        ),
        "a variance of 1 is enough": (
            _doctor(is_fresh=lambda mean, variance: (variance == 1).all()),
            "a layer that was never updated has two things in common with a fresh one",
        ),
        "one fresh feature is enough": (
            _doctor(is_fresh=lambda mean, variance: ((mean == 0) & (variance == 1)).any()),
            "a layer is updated as a whole; how many of its features stay at 0 and 1 then?",
        ),
        "never updated not known": (
            _doctor(is_fresh=lambda mean, variance: False),
            "how do you know a layer whose statistics have never moved?",
        ),
    }
    return judge(answer, truth=_doctor(), mistakes=mistakes, inputs=_statistics_and_samples())


def _doctor(
    *,
    finite=lambda *statistics: all(np.isfinite(part).all() for part in statistics),
    fresh_first=False,
    unit=np.sqrt,
    size=np.abs,
    gap_is_ill=lambda gap: ~(gap <= 0.5),
    ratio_is_ill=lambda ratio: ~((ratio <= 2) & (ratio >= 0.5)),
    over=np.any,
    is_fresh=lambda mean, variance: (mean == 0).all() and (variance == 1).all(),
):
    """Return a doctor with the given habits; without any, the right one."""

    def word(moving_mean, moving_variance, x):
        if finite and not finite(moving_mean, moving_variance):
            return "not finite"
        if fresh_first and is_fresh(moving_mean, moving_variance):
            return "never updated"
        gaps = size((moving_mean - x.mean(axis=0)) / unit(x.var(axis=0)))
        ill = gap_is_ill(gaps).astype(bool) | ratio_is_ill(moving_variance / x.var(axis=0)).astype(bool)
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
        (center + 0.3 * spread, 1.2 * spread**2, x),  # near enough
        (0 * one, one, x),  # never updated
        (0 * one, one, z),  # the same, but it fits
        (center + first * spread, spread**2, x),  # one mean too high, by little in its own unit
        (center - 2 * spread, spread**2, x),  # all means too low
        (center, 4 * spread**2, x),
        (center, 0.2 * spread**2, x),
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

    Returns:
        Verdict.
    """
    faults = {
        "one layer": (lambda seen: len(seen.before) < 2, "build it with two batch-norm layers or more"),
        "few examples": (
            lambda seen: seen.examples < 100,
            "a hundred examples or more are needed to be sure",
        ),
        "nobody ill": (
            lambda seen: not any(seen.before),
            lambda seen: f"all {len(seen.before)} layers are healthy; what could befall one of them?",
        ),
        "an epidemic": (
            lambda seen: sum(map(bool, seen.before)) > 1,
            lambda seen: f"{sum(map(bool, seen.before))} layers are ill; make all but one fit first",
        ),
        "two illnesses": (
            lambda seen: max(map(len, seen.before)) > 1,
            lambda seen: f"one layer, but more than one illness: {', '.join(max(seen.before, key=len))}",
        ),
        "side effects": (
            lambda seen: seen.touched,
            "the cure has changed what was learned; statistics, flags and momentum are all it may touch",
        ),
        "not cured": (
            lambda seen: any(seen.after) and seen.after == seen.before,
            lambda seen: f"after the cure it has still: {', '.join(max(seen.after, key=len))}",
        ),
        "another illness": (
            lambda seen: any(seen.after),
            lambda seen: f"after the cure it has: {', '.join(max(seen.after, key=len))}",
        ),
    }
    return judge_proposal(answer, read=_examined, faults=faults, seconds=20.0)


@dataclass
class _Seen:
    """What came of a patient: what each layer had before and after the cure."""

    examples: int
    before: list
    after: list
    touched: bool  # whether the cure changed a weight that was learned


def _examined(build):
    if not callable(build):
        raise UnfitError("no function", "a function is expected that returns a model, inputs and a cure")
    from bnlab.checkup import checkup

    parts = build()
    if parts is None:
        raise UnfitError("returned None", "nothing came back; is a `return` missing?")
    if not isinstance(parts, tuple | list) or len(parts) != 3 or not callable(parts[2]):
        raise UnfitError("not three parts", "a model, inputs and a function that cures are expected")
    model, x, cure = parts
    try:
        found = checkup(model, x)
    except (TypeError, ValueError) as error:
        raise UnfitError("no patient", f"the check says: {str(error)[:120]}") from None
    learned = _learned(model)
    cure(model)
    return _Seen(
        examples=found.examples,
        before=_problems(found),
        after=_problems(checkup(model, x)),
        touched=not all(map(np.array_equal, learned, _learned(model))),
    )


def _learned(model):
    """Return the values of everything but the moving statistics, whether or not it is frozen."""
    return [variable.numpy() for variable in model.variables if "moving_" not in variable.name]


def _problems(found):
    return [list(layer.problems) for layer in found.layers]
