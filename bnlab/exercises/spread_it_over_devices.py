"""Exercises of the ninth notebook, "Spread it over devices": moments of parts, and workers that fail."""

import re

import numpy as np

from bnlab import workers
from bnlab.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import mutants, with_hints


def stored_variances(answer):
    """Judge three numbers: the moving variance that a layer on two replicas stores, with momentum 0.

    The first replica gets 1 and 3, the second one 5 and 11.

    Args:
        answer: what a layer of Keras 3 says, what one of tf_keras says, and what one of Keras 3 says that is
            synchronized.
    """
    mistakes = {
        "average for merged": ([1, 5, 5], "the last one: how far do the two halves lie apart?"),
        "distances alone": ([1, 5, 9], "the last one: do the examples of a half not differ at all?"),
        "Keras averages too": ([5, 5, 14], "the first one: does Keras 3 put the copies together?"),
        "frameworks swapped": ([5, 1, 14], "which of the two takes an average?"),
        "Bessel": ([2, 10, 56 / 3], "by what does Keras divide the squares of two examples?"),
    }
    hint = "the variances of the halves are 1 and 9, their means 2 and 8"
    return judge_value(answer, truth=[1, 5, 14], mistakes=mistakes, tolerance=1e-3, otherwise=hint)


def fair_hand(answer):
    """Judge how the numbers 0 to 7 are dealt to two replicas.

    Args:
        answer: the four numbers of the first replica; the second one has the others. Both shall see the mean
            and the variance of all eight, 3.5 and 5.25.
    """

    def fault(hand):
        numbers = as_numbers(hand).reshape(-1)
        if len(numbers) != 4:
            return "not four", f"these are {len(numbers)} numbers; each replica gets four"
        if not np.isin(numbers, range(8)).all():
            return "not of the batch", "the batch holds the whole numbers from 0 to 7"
        if len(np.unique(numbers)) < 4:
            return "one number twice", "each number is there only once"
        if set(numbers) in ({0, 1, 2, 3}, {4, 5, 6, 7}):
            return "sorted", "that is the batch in its order; the means are 1.5 and 5.5"
        mean, variance = numbers.mean(), numbers.var()
        if mean != 3.5:
            return "means apart", f"the first mean is {mean:g}, the other one {7 - mean:g}"
        if variance < 5.25:
            return "too narrow", f"the means are right; the first variance is {variance:g}, too small"
        if variance > 5.25:
            return "too wide", f"the means are right; the first variance is {variance:g}, too large"
        return None

    return judge_proposal(answer, fault_of=fault)


def mended_layer(answer, *, replicate):
    """Judge a function that mends a layer whose replicas had parts of equal size and did not synchronize.

    Args:
        answer: answer(layer) assigns the moments of the whole batch to the moving statistics of the layer,
            which has a copy of them for each replica. What it returns does not matter.
        replicate: replicate(parts) -> (layer, outputs), a layer that has seen the parts, shape (replicas,
            examples, 1), with momentum 0.
    """

    def storing(mean, variance):
        """Return what is stored, from the means and the variances of the replicas."""
        return lambda layer: (mean(*layer), variance(*layer))

    def middle(means, variances):
        return means.mean(axis=0)

    def merged(means, variances, ddof=0):
        return variances.mean(axis=0) + means.var(axis=0, ddof=ddof)

    def mend(**habits):
        return storing(middle, lambda *moments: merged(*moments, **habits))

    wrong = mutants(mend, "Bessel") | {
        "nothing assigned": storing(lambda means, _: means[0], lambda _, variances: variances[0]),
        "average of the variances": storing(middle, lambda _, variances: variances.mean(axis=0)),
        "distances alone": storing(middle, lambda means, _: means.var(axis=0)),
        "mean left alone": storing(lambda means, _: means[0], merged),
    }
    hints = {
        "Bessel": "by what are the squared distances of the means divided?",
        "nothing assigned": "the layer says what it said before",
        "average of the variances": "how far do the means lie apart? Were they still there when you asked?",
        "distances alone": "do the examples of one replica not differ at all?",
        "mean left alone": "the variance is right; and the mean?",
    }

    def observe(function, parts):
        if function is not answer:
            return function((parts.mean(axis=1), parts.var(axis=1)))
        layer, _ = replicate(parts)
        answer(layer)
        return layer.moving_mean.numpy(), layer.moving_variance.numpy()

    rng, inputs, mistakes = np.random.default_rng(16), [], with_hints(wrong, hints)
    for count in (2, 4):
        means, spreads = rng.normal(0, 4, (count, 1, 1)), rng.uniform(0.5, 3, (count, 1, 1))
        inputs.append((rng.normal(means, spreads, (count, 3, 1)),))
    return judge(answer, truth=mend(), mistakes=mistakes, inputs=inputs, observe=observe, seconds=20.0)


def failing_worker(answer, *, time_limit=5.0):
    """Judge a way to fail of the reader's own, by the sentence that `workers.run` makes of it.

    Args:
        answer: a function without arguments, made with def, that imports all it uses. Worker 0 returns from
            it, also when it is alone. Worker 1 fails, and the sentence says why.
        time_limit: seconds in which the workers must have come to an end.
    """

    def fault(function):
        if not callable(function):
            return "no function", "a function without arguments is expected"
        alone = _sentence(function, 1, time_limit)
        together = "" if alone else _sentence(function, 2, time_limit)
        said = alone or together
        if "NameError" in said:
            hint = "a worker is a Python of its own: what your function uses it must import or define itself"
            return "name not defined", hint
        if " within " in said:
            return "too slow", f"after {time_limit:g} seconds it was still busy; that is to hang, not to fail"
        if alone:
            hint = f"worker 0 fails as well ({alone[:80]}); how does a worker know which it is?"
            return "worker 0 too", hint
        if not together:
            return "nobody fails", "both workers have returned"
        if re.search(r"ended with code -?\d+( and no result|: \w+:?)$", together):
            return "without a word", f"it says: {together[:80]}. Could a colleague mend that?"
        if "disk is full" in said or "in use" in said:
            return "shown above", "that one is shown above; what has happened to you?"
        return None

    return judge_proposal(answer, fault_of=fault, seconds=4 * time_limit)


def _sentence(function, count, time_limit):
    """Return what is said of a function that fails in so many workers, or nothing if all return from it."""
    try:
        workers.run(function, count, time_limit=time_limit)
    except TypeError as error:
        raise UnfitError("no source", "its source text is needed; make it with def") from error
    except workers.WorkerError as error:
        return str(error)
    return ""
