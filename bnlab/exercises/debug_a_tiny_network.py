"""Exercises of the fifth notebook, "Debug a tiny network": what printed numbers tell."""

from collections.abc import Mapping

import numpy as np

from bnlab import batch_norm
from bnlab.judging import as_numbers, judge, judge_proposal
from bnlab.judging.classic_bugs import mutants, with_hints


def epsilon_of(answer):
    """Judge a function that finds the epsilon of a program in what it printed.

    Args:
        answer: answer(row) -> epsilon. row is a dictionary with the numbers gamma, beta, moving_mean and
            moving_variance and the lists hidden and bn, what went into batch norm in inference mode and what
            came out. For the print of the post it is 0.001.
    """

    def root(row, **changed):
        row = row | changed
        return row["gamma"] * (row["hidden"][0] - row["moving_mean"]) / (row["bn"][0] - row["beta"])

    def solve(**habits):
        return lambda row: (
            root(row, **{name: of(row) for name, of in habits.items()}) ** 2 - row["moving_variance"]
        )

    wrong = mutants(solve, "gamma forgotten", "beta forgotten") | {
        "root not squared": lambda row: root(row) - np.sqrt(row["moving_variance"]),
        "variance left in": lambda row: root(row) ** 2,
        "mean of the batch": solve(moving_mean=lambda row: np.mean(row["hidden"])),
    }
    hints = {
        "gamma forgotten": "what stretches the output?",
        "beta forgotten": "what is added to the output?",
        "root not squared": "to what is epsilon added: to the variance or to its root?",
        "variance left in": "that is all that stands under the root; what else is there?",
        "mean of the batch": "which mean does inference mode subtract?",
    }
    inputs = [(row,) for row in _printed_rows()]
    return judge(answer, truth=solve(), mistakes=with_hints(wrong, hints), inputs=inputs)


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
    """
    wrong = {
        "the new share raised": lambda momentum, times: 1 - (1 - momentum) ** times,
        "multiplied": lambda momentum, times: momentum * times,
        "the new share multiplied": lambda momentum, times: 1 - times * (1 - momentum),
        "root for power": lambda momentum, times: momentum ** (1 / times),
    }
    hints = {
        "the new share raised": "what happens to the old value at each update?",
        "multiplied": "can a momentum be larger than 1?",
        "the new share multiplied": "the second update takes its part of what the first one left",
        "root for power": "do two updates remember more than one, or less?",
    }
    inputs, mistakes = [(0.9, 2), (0.99, 5), (0.5, 3), (0.8, 1)], with_hints(wrong, hints)
    return judge(answer, truth=lambda momentum, times: momentum**times, mistakes=mistakes, inputs=inputs)


def growth(answer):
    """Judge a function that says by how much a moving mean grows when a bias in front starts elsewhere.

    Args:
        answer: answer(shift, momentum, steps) -> how much larger moving_mean is after so many steps, if the
            bias in front of batch norm starts higher by shift. For no step at all it is 0.
    """

    def truth(shift, momentum, steps):
        return shift * (1 - momentum**steps)

    wrong = {
        "all of it": lambda shift, momentum, steps: shift,
        "what is left of the start": lambda shift, momentum, steps: shift * momentum**steps,
        "momentum swapped": lambda shift, momentum, steps: truth(shift, 1 - momentum, steps),
        "steps added up": lambda shift, momentum, steps: shift * (1 - momentum) * steps,
    }
    hints = {
        "all of it": "that is what each batch mean grows by; how much of them has arrived?",
        "what is left of the start": "the start did not grow; the batches did",
        "momentum swapped": "which share does an old value keep at each step?",
        "steps added up": "what arrived first has been fading since",
    }
    inputs = [(4.0, 0.9, 9), (-2.0, 0.5, 3), (10.0, 0.99, 20)]
    return judge(answer, truth=truth, mistakes=with_hints(wrong, hints), inputs=inputs)


_GIVEN = {"w": 2.0, "b": 1.0, "gamma": 1.5, "beta": 0.25}


def twin(answer):
    """Judge another network of the reader's own that cannot be told from the given one in training.

    The given one computes hidden = w x + b with w = 2, b = 1, and normalizes it in training mode with
    gamma = 1.5, beta = 0.25 and epsilon 0.001.

    Args:
        answer: a dictionary with w, b, gamma and beta; w and b differ from those given by 0.5 at least. For
            every batch of x its outputs shall be the same, to six decimals.
    """

    def is_near(v, name):
        return round(abs(v[name] - _GIVEN[name]), 9) < 0.5  # 4.1 - 2.6 is a little less than 1.5

    def fault(network):
        if not isinstance(network, Mapping) or set(network) != set(_GIVEN):
            return "not four variables", "a dictionary with w, b, gamma and beta is expected"
        v = {name: float(as_numbers(value).reshape(())) for name, value in network.items()}
        if is_near(v, "w"):
            return "the same w", "b may stand anywhere; find another w as well"
        if is_near(v, "b"):
            return "the same b", "you have another w; let b move, too"
        gap = _gap(v)
        if gap < 1e-6:
            return None
        if _gap(v | {"gamma": -v["gamma"]}) < 1e-6:
            return "mirror image", "each output lies as far from beta as it should, on the other side"
        if _gap(v | {"beta": _GIVEN["beta"]}) < 1e-6:
            return "beta moved", "beta need not make up for b: does batch norm see b at all?"
        if np.isclose(v["gamma"] * v["w"], _GIVEN["gamma"] * _GIVEN["w"]):
            hint = "gamma times w is as it was; but batch norm divides by the spread, and so by w"
            return "gamma makes up for w", hint
        if np.isclose(abs(v["gamma"]), _GIVEN["gamma"]):
            return "stretched", f"the largest gap is {gap:.2g}: epsilon does not stretch with w"
        return "another function", f"the largest gap is {gap:.2g}"

    return judge_proposal(answer, fault_of=fault)


def _gap(network):
    """Return by how much the outputs of a network differ at most from those of the given one."""
    batches = np.random.default_rng(6).normal(0.0, [[0.02], [0.2], [3.0]], (3, 5))

    def outputs(v):
        columns = v["w"] * batches.T + v["b"]
        scale, shift = np.full(3, v["gamma"]), np.full(3, v["beta"])
        return batch_norm.normalize(columns, *batch_norm.batch_moments(columns), gamma=scale, beta=shift)

    return np.abs(outputs(network) - outputs(_GIVEN)).max()
