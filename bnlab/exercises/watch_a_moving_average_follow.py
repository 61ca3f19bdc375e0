"""Exercises of the second notebook, "Watch a moving average follow": what a layer remembers, and how long."""

import numpy as np

from bnlab import moving_average
from bnlab.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import mutants, with_hints


def largest_momentum(answer):
    """Judge a function that picks a momentum: after some steps at most a share of the start shall be left.

    Args:
        answer: answer(steps, share) -> the largest momentum that does it. For 500 steps and a share of 0.05
            it is 0.994.
    """

    def pick(momentum=lambda momentum: momentum):
        return lambda steps, share: momentum(share ** (1 / steps))

    wrong = mutants(pick, "momentum of the new value") | {
        "share of the batches": lambda steps, share: (1 - share) ** (1 / steps),
        "a straight line": lambda steps, share: 1 - (1 - share) / steps,
        "one step less": lambda steps, share: share ** (1 / (steps - 1)),
    }
    hints = {
        "share of the batches": "is it the start or the batches of which so little shall be left?",
        "a straight line": "each step takes a part of what is left, not of the whole",
        "one step less": "how many updates are there in that many steps?",
    }
    inputs, mistakes = [(500, 0.05), (20, 0.1), (7, 0.9), (100, 0.01)], with_hints(wrong, hints)
    return judge(answer, truth=pick(), mistakes=mistakes, inputs=inputs, tolerance=6e-4)


def weights(answer):
    """Judge a function that returns the weight of each of the last values in a moving average.

    Args:
        answer: answer(momentum, steps) -> the weights, oldest value first, shape (steps,). For momentum 0.5
            and three steps they are 0.125, 0.25, 0.5.
    """
    truth = moving_average.weights
    wrong = {
        "momentum swapped": lambda momentum, steps: truth(1 - momentum, steps),
        "newest first": lambda momentum, steps: truth(momentum, steps)[::-1],
        "not scaled": lambda momentum, steps: truth(momentum, steps) / (1 - momentum),
        "rescaled to 1": lambda momentum, steps: truth(momentum, steps) / (1 - momentum**steps),
    }
    hints = {
        "momentum swapped": "which of the two weights does a value have that just came in?",
        "newest first": "which value has the largest weight, and where should it stand?",
        "not scaled": "what do they add up to, and what is the weight of the newest value?",
        "rescaled to 1": "a part of the average is still the start; these leave it none",
    }
    inputs = [(0.8, 5), (0.5, 3), (0.99, 4), (0.3, 2)]
    return judge(answer, truth=truth, mistakes=with_hints(wrong, hints), inputs=inputs)


def follows_pytorch(answer):
    """Judge a Keras layer that shall follow as fast as a PyTorch layer with momentum=0.003.

    Args:
        answer: a `keras.layers.BatchNormalization`. A fresh copy of it sees one batch.
    """
    copied = "one step moved it almost all of the way; whom does Keras's momentum weigh?"
    mistakes = {
        "the number copied": (0.997, copied),
        "the default": (0.01, "one step moved it by a hundredth; did you say any momentum?"),
        "it does not move": (0.0, "a layer that is frozen, or told momentum 1, remembers nothing"),
        "ten times too slow": (0.0003, "one step moved it by 0.0003; count the nines"),
    }

    def moved_by_one(layer):
        if not hasattr(layer, "get_config") or not hasattr(layer, "momentum"):
            raise UnfitError("no layer", "a keras.layers.BatchNormalization is expected")
        fresh = type(layer).from_config(layer.get_config())
        fresh(np.ones((2, 1), np.float32), training=True)
        return float(np.asarray(fresh.moving_mean)[0])

    return judge_value(
        answer,
        truth=0.003,
        read=moved_by_one,
        mistakes=mistakes,
        tolerance=0.01,
        otherwise="one step moves it by another share than PyTorch's layer",
        seconds=10.0,
    )


def returns_to_zero(answer):
    """Judge a series of the reader's own, whose moving average comes back to where it began.

    Args:
        answer: ten batch means, each at least 0.1 away from 0. Their moving average begins at 0 and has the
            momentum 0.9; after the tenth it shall be 0 again, to three decimals.
    """

    def end(values, momentum=0.9):
        return moving_average.trace(values, momentum=momentum)[-1]

    def fault(series):
        values = as_numbers(series)
        if values.shape != (10,):
            return "not ten values", f"it has the shape {values.shape}, not (10,)"
        nearest = values[np.abs(values).argmin()]
        if abs(nearest).round(9) < 0.1:  # 0.3 - 0.2 is a little less
            return "a value near 0", f"one of them is {nearest:g}; keep away from 0"
        last = end(values)
        if abs(last) < 5e-4:
            return None
        if abs(values.sum()) < 1e-3:
            hint = f"the plain sum is 0, the moving average {last:.3f}; do all values count alike?"
            return "adds up to 0", hint
        if abs(end(values, 0.1)) < 5e-4:
            hint = f"it ends at {last:.3f}; is 0.9 the weight of the old value or of the new one?"
            return "momentum swapped", hint
        return "not at 0", f"it ends at {last:.4f}"

    return judge_proposal(answer, fault_of=fault)
