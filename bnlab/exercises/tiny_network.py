"""Exercises of the fifth notebook, "Debug a tiny network": what printed numbers tell."""

from collections.abc import Mapping

import numpy as np

from bnlab import batch_norm
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal


def epsilon_of(answer):
    """Judge a function that finds the epsilon of a program in what it printed.

    Args:
        answer: answer(row) -> epsilon. row is a dictionary with the numbers gamma, beta, moving_mean and
            moving_variance and the lists hidden and bn, what went into batch norm in inference mode and what
            came out. For the print of the post it is 0.001.

    Returns:
        Verdict.
    """

    def found(row, use=lambda root, variance: root**2 - variance, gamma=None, beta=None, mean=None):
        gamma = row["gamma"] if gamma is None else gamma
        centred = row["hidden"][0] - (row["moving_mean"] if mean is None else mean)
        root = gamma * centred / (row["bn"][0] - (row["beta"] if beta is None else beta))
        return use(root, row["moving_variance"])

    mistakes = {
        "root not squared": (
            lambda row: found(row, lambda root, variance: root - np.sqrt(variance)),
            "to what is epsilon added: to the variance or to its root?",
        ),
        "variance left in": (
            lambda row: found(row, lambda root, variance: root**2),
            "that is all that stands under the root; what else is there?",
        ),
        "variance squared": (
            lambda row: found(row, lambda root, variance: root**2 - variance**2),
            "moving_variance is a square already",
        ),
        "gamma forgotten": (lambda row: found(row, gamma=1.0), "what stretches the output?"),
        "beta forgotten": (lambda row: found(row, beta=0.0), "what is added to the output?"),
        "mean of the batch": (
            lambda row: found(row, mean=np.mean(row["hidden"])),
            "which mean does inference mode subtract?",
        ),
        "upside down": (
            lambda row: found(row, lambda root, variance: root**-2 - variance),
            "which of the two is divided by the root?",
        ),
        "sign lost": (
            lambda row: found(row, lambda root, variance: variance - root**2),
            "epsilon is what is there beside the variance",
        ),
    }
    return judge(
        answer,
        truth=lambda row: found(row),
        mistakes=mistakes,
        inputs=[(row,) for row in _printed_rows()],
    )


def _printed_rows():
    rng, rows = np.random.default_rng(5), []
    for epsilon in (1e-3, 0.02, 0.3):
        hidden = rng.uniform(1.5, 3.0, 3)
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        row = dict(zip(names, rng.uniform(0.3, 0.9, 4).tolist(), strict=True))
        root = np.sqrt(row["moving_variance"] + epsilon)
        bn = row["gamma"] * (hidden - row["moving_mean"]) / root + row["beta"]
        rows.append(row | {"hidden": hidden.tolist(), "bn": bn.tolist()})
    return rows


def innocent_momentum(answer):
    """Judge a function that finds the momentum of an innocent program which prints what a guilty one does.

    Args:
        answer: answer(momentum, times) -> the momentum of a program that updates once a step and stores the
            same as one that updates `times` times a step with this momentum. For one time it is momentum.

    Returns:
        Verdict.
    """
    mistakes = {
        "the new share raised": (
            lambda momentum, times: 1 - (1 - momentum) ** times,
            "what happens to the old value at each update?",
        ),
        "multiplied": (
            lambda momentum, times: momentum * times,
            "can a momentum be larger than 1?",
        ),
        "the new share multiplied": (
            lambda momentum, times: 1 - times * (1 - momentum),
            "the second update takes its part of what the first one left",
        ),
        "root for power": (
            lambda momentum, times: momentum ** (1 / times),
            "do two updates remember more than one, or less?",
        ),
        "the share that arrives": (
            lambda momentum, times: 1 - momentum**times,
            "whom does momentum weigh, the old value or the new one?",
        ),
        "divided": (
            lambda momentum, times: momentum / times,
            "how much of the start is left after one update, and after two?",
        ),
        "unchanged": (lambda momentum, times: momentum, "with two updates a step it would lag behind"),
    }
    return judge(
        answer,
        truth=lambda momentum, times: momentum**times,
        mistakes=mistakes,
        inputs=[(0.9, 2), (0.99, 5), (0.5, 3), (0.8, 1)],
    )


def growth(answer):
    """Judge a function that says by how much a moving mean grows when a bias in front starts elsewhere.

    Args:
        answer: answer(shift, momentum, steps) -> how much larger moving_mean is after so many steps, if the
            bias in front of batch norm starts higher by shift. For no step at all it is 0.

    Returns:
        Verdict.
    """
    mistakes = {
        "all of it": (
            lambda shift, momentum, steps: shift,
            "that is what each batch mean grows by; how much of them has arrived?",
        ),
        "nothing": (
            lambda shift, momentum, steps: 0.0,
            "batch norm removes the shift from its output; from its memory too?",
        ),
        "what is left of the start": (
            lambda shift, momentum, steps: shift * momentum**steps,
            "the start did not grow; the batches did",
        ),
        "momentum swapped": (
            lambda shift, momentum, steps: shift * (1 - (1 - momentum) ** steps),
            "which share does an old value keep at each step?",
        ),
        "one step": (
            lambda shift, momentum, steps: shift * (1 - momentum),
            "that is the first step alone",
        ),
        "steps added up": (
            lambda shift, momentum, steps: shift * (1 - momentum) * steps,
            "what arrived first has been fading since",
        ),
        "one step too many": (
            lambda shift, momentum, steps: shift * (1 - momentum ** (steps + 1)),
            "try it with a single step",
        ),
    }
    return judge(
        answer,
        truth=lambda shift, momentum, steps: shift * (1 - momentum**steps),
        mistakes=mistakes,
        inputs=[(4.0, 0.9, 9), (-2.0, 0.5, 3), (10.0, 0.99, 20)],
    )


def twin(answer):
    """Judge another network of the reader's own that cannot be told from the given one in training.

    The given one computes hidden = w x + b with w = 2, b = 1, and normalizes it in training mode with
    gamma = 1.5, beta = 0.25 and epsilon 0.001.

    Args:
        answer: a dictionary with w, b, gamma and beta; w and b differ from those given by 0.5 at least. For
            every batch of x its outputs shall be the same, to six decimals.

    Returns:
        Verdict.
    """
    given = {"w": 2.0, "b": 1.0, "gamma": 1.5, "beta": 0.25}
    batches = np.random.default_rng(6).normal(0.0, [[0.02], [0.2], [3.0]], (3, 5))

    def outputs(v):
        columns = v["w"] * batches.T + v["b"]
        scale, shift = np.full(3, v["gamma"]), np.full(3, v["beta"])
        return batch_norm.normalize(columns, *batch_norm.batch_moments(columns), gamma=scale, beta=shift)

    def read(network):
        if not isinstance(network, Mapping) or set(network) != set(given):
            raise UnfitError("not four variables", "a dictionary with w, b, gamma and beta is expected")
        network = {name: float(as_numbers(value).reshape(())) for name, value in network.items()}
        return network | {"gap": np.abs(outputs(network) - outputs(given)).max()}

    def moved(v, name):
        return abs(v[name] - given[name]) >= 0.5

    def same_with(v, **changed):
        return np.abs(outputs(v | changed) - outputs(given)).max() < 1e-6

    def off(v):
        return v["gap"] >= 1e-6

    faults = {
        "the given network": (
            lambda v: not moved(v, "w") and not moved(v, "b"),
            "w and b are those of the given network, or nearly",
        ),
        "the same w": (lambda v: not moved(v, "w"), "b may stand anywhere; find another w as well"),
        "the same b": (lambda v: not moved(v, "b"), "you have another w; let b move, too"),
        "mirror image": (
            lambda v: off(v) and same_with(v, gamma=-v["gamma"]),
            "each output lies as far from beta as it should, on the other side",
        ),
        "beta moved": (
            lambda v: off(v) and same_with(v, beta=given["beta"]),
            "beta need not make up for b: does batch norm see b at all?",
        ),
        "gamma makes up for w": (
            lambda v: off(v) and np.isclose(v["gamma"] * v["w"], given["gamma"] * given["w"]),
            "gamma times w is as it was; but batch norm divides by the spread, and so by w",
        ),
        "stretched": (
            lambda v: off(v) and np.isclose(abs(v["gamma"]), given["gamma"]),
            lambda v: f"the largest gap is {v['gap']:.2g}: epsilon does not stretch with w",
        ),
        "another function": (off, lambda v: f"the largest gap is {v['gap']:.2g}"),
    }
    return judge_proposal(answer, read=read, faults=faults)
