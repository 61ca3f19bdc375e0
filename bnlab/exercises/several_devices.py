"""Exercises of the ninth notebook, "Spread it over devices": moments of parts, and workers that fail."""

import re
from dataclasses import dataclass

import numpy as np

from bnlab import workers
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value


def stored_variances(answer):
    """Judge three numbers: the moving variance that a layer on two replicas stores, with momentum 0.

    The first replica gets 1 and 3, the second one 5 and 11.

    Args:
        answer: what a layer of Keras 3 says, what one of tf_keras says, and what one of Keras 3 says that is
            synchronized.

    Returns:
        Verdict.
    """
    mistakes = {
        "average for merged": ([1, 5, 5], "the last one: how far do the two halves lie apart?"),
        "distances alone": ([1, 5, 9], "the last one: do the examples of a half not differ at all?"),
        "the other replica": ([9, 5, 14], "the first one: whose copy is it that you get when you ask?"),
        "Keras averages too": ([5, 5, 14], "the first one: does Keras 3 put the copies together?"),
        "frameworks swapped": ([5, 1, 14], "which of the two takes an average?"),
        "all merged": ([14, 14, 14], "what does the second half know of the first, without a word between?"),
        "turned round": ([14, 5, 1], "these are the right numbers; whose is which?"),
        "Bessel": ([2, 10, 56 / 3], "by what does Keras divide the squares of two examples?"),
        "standard deviations": ([1, 2, np.sqrt(14)], "the variances are asked for, not their roots"),
    }
    return judge_value(
        answer,
        truth=[1, 5, 14],
        mistakes=mistakes,
        tolerance=1e-3,
        otherwise="the variances of the halves are 1 and 9, their means 2 and 8",
    )


def fair_hand(answer):
    """Judge how the numbers 0 to 7 are dealt to two replicas.

    Args:
        answer: the four numbers of the first replica; the second one has the others. Both shall see the mean
            and the variance of all eight, 3.5 and 5.25.

    Returns:
        Verdict.
    """

    def read(hand):
        numbers = as_numbers(hand).reshape(-1)
        if len(numbers) != 4:
            raise UnfitError("not four", f"these are {len(numbers)} numbers; each replica gets four")
        if not np.isin(numbers, range(8)).all():
            raise UnfitError("not of the batch", "the batch holds the whole numbers from 0 to 7")
        if len(np.unique(numbers)) < 4:
            raise UnfitError("one number twice", "each number is there only once")
        return numbers

    def is_one_of(*hands):
        return lambda hand: set(hand) in [set(one) for one in hands]

    faults = {
        "sorted": (
            is_one_of(range(4), range(4, 8)),
            "that is the batch in its order; the means are 1.5 and 5.5",
        ),
        "every other one": (
            is_one_of((0, 2, 4, 6), (1, 3, 5, 7)),
            "the variances are equal, and too small; the means are 3 and 4",
        ),
        "means apart": (
            lambda hand: hand.mean() != 3.5,
            lambda hand: f"the first mean is {hand.mean():g}, the other one {7 - hand.mean():g}",
        ),
        "too narrow": (
            lambda hand: hand.var() < 5.25,
            lambda hand: f"the means are right; the first variance is {hand.var():g}, too small",
        ),
        "too wide": (
            lambda hand: hand.var() > 5.25,
            lambda hand: f"the means are right; the first variance is {hand.var():g}, too large",
        ),
    }
    return judge_proposal(answer, read=read, faults=faults)


def mended_layer(answer, *, replicate):
    """Judge a function that mends a layer whose replicas had parts of equal size and did not synchronize.

    Args:
        answer: answer(layer) assigns the moments of the whole batch to the moving statistics of the layer,
            which has a copy of them for each replica. What it returns does not matter.
        replicate: replicate(parts) -> (layer, outputs), a layer that has seen the parts, shape (replicas,
            examples, 1), with momentum 0.

    Returns:
        Verdict.
    """

    def from_moments(mean, variance):
        """Return what is stored, from the means and the variances of the replicas."""
        return lambda layer: (mean(*layer), variance(*layer))

    def middle(means, variances):
        return means.mean(axis=0)

    def merged(means, variances):
        return variances.mean(axis=0) + means.var(axis=0)

    mistakes = {
        "nothing assigned": (
            from_moments(lambda means, variances: means[0], lambda means, variances: variances[0]),
            "the layer says what it said before",
        ),
        "average of the variances": (
            from_moments(middle, lambda means, variances: variances.mean(axis=0)),
            "how far do the means lie apart? Were they still there when you asked?",
        ),
        "distances alone": (
            from_moments(middle, lambda means, variances: means.var(axis=0)),
            "do the examples of one replica not differ at all?",
        ),
        "distances not squared": (
            from_moments(
                middle,
                lambda means, variances: (variances + np.abs(means - means.mean(axis=0))).mean(axis=0),
            ),
            "a distance and a variance do not have the same unit",
        ),
        "Bessel": (
            from_moments(middle, lambda means, variances: variances.mean(axis=0) + means.var(axis=0, ddof=1)),
            "by what are the squared distances of the means divided?",
        ),
        "averaged standard deviations": (
            from_moments(
                middle,
                lambda means, variances: np.sqrt(variances).mean(axis=0) ** 2 + means.var(axis=0),
            ),
            "it is squares that add up, not their roots",
        ),
        "sums for means": (
            from_moments(
                middle, lambda means, variances: (variances + (means - means.mean(axis=0)) ** 2).sum(axis=0)
            ),
            "how large is the share of one replica in the whole?",
        ),
        "mean left alone": (
            from_moments(lambda means, variances: means[0], merged),
            "the variance is right; and the mean?",
        ),
        "variance left alone": (
            from_moments(middle, lambda means, variances: variances[0]),
            "the mean is right; and the variance?",
        ),
        "mean and variance swapped": (
            from_moments(merged, middle),
            "the numbers are right; which belongs where?",
        ),
    }

    def observe(function, parts):
        if function is not answer:
            return function((parts.mean(axis=1), parts.var(axis=1)))
        layer, _ = replicate(parts)
        answer(layer)
        return layer.moving_mean.numpy(), layer.moving_variance.numpy()

    rng = np.random.default_rng(16)
    parts = [
        rng.normal(rng.normal(0, 4, (count, 1, 1)), rng.uniform(0.5, 3, (count, 1, 1)), (count, 3, 1))
        for count in (2, 4)
    ]
    return judge(
        answer,
        truth=from_moments(middle, merged),
        mistakes=mistakes,
        inputs=[(part,) for part in parts],
        observe=observe,
        seconds=20.0,
    )


def failing_worker(answer, *, time_limit=5.0):
    """Judge a way to fail of the reader's own, by the sentence that `workers.run` makes of it.

    Args:
        answer: a function without arguments, made with def, that imports all it uses. Worker 0 returns from
            it, also when it is alone. Worker 1 fails, and the sentence says why.
        time_limit: seconds in which the workers must have come to an end.

    Returns:
        Verdict.
    """

    def said(pattern):
        return lambda seen: any(re.search(pattern, sentence) for sentence in (seen.alone, seen.together))

    faults = {
        "name not defined": (
            said("NameError"),
            "a worker is a Python of its own: what your function uses it must import or define itself",
        ),
        "too slow": (
            said(" within "),
            f"after {time_limit:g} seconds it was still busy; that is to hang, not to fail",
        ),
        "worker 0 too": (
            lambda seen: seen.alone,
            lambda seen: f"worker 0 fails as well ({seen.alone[:80]}); how does a worker know which it is?",
        ),
        "nobody fails": (lambda seen: not seen.together, "both workers have returned"),
        "without a word": (
            said(r"ended with code -?\d+( and no result|: \w+:?)$"),
            lambda seen: f"it says: {seen.together[:80]}. Could a colleague mend that?",
        ),
        "shown above": (
            said("disk is full|in use"),
            "that one is shown above; what has happened to you?",
        ),
    }

    def read(function):
        if not callable(function):
            raise UnfitError("no function", "a function without arguments is expected")
        alone = _sentence(function, 1, time_limit)
        return _Failed(alone, "" if alone else _sentence(function, 2, time_limit))

    return judge_proposal(answer, read=read, faults=faults, seconds=4 * time_limit)


@dataclass
class _Failed:
    """The sentences about a function in one worker and, if that returned, in two; empty if all returned."""

    alone: str
    together: str


def _sentence(function, count, time_limit):
    try:
        workers.run(function, count, time_limit=time_limit)
    except TypeError as error:
        raise UnfitError("no source", "its source text is needed; make it with def") from error
    except workers.WorkerError as error:
        return str(error)
    return ""
