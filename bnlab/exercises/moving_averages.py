"""Exercises of the second notebook, "Watch a moving average follow": what a layer remembers, and how long."""

import numpy as np

from bnlab import moving_average
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value


def largest_momentum(answer):
    """Judge a function that picks a momentum: after some steps at most a share of the start shall be left.

    Args:
        answer: answer(steps, share) -> the largest momentum that does it. For 500 steps and a share of 0.05
            it is 0.994.

    Returns:
        Verdict.
    """
    mistakes = {
        "momentum of the new value": (
            lambda steps, share: 1 - share ** (1 / steps),
            "momentum is the weight of one of two values here; of which?",
        ),
        "share of the batches": (
            lambda steps, share: (1 - share) ** (1 / steps),
            "is it the start or the batches of which so little shall be left?",
        ),
        "half-life": (
            lambda steps, share: 0.5 ** (1 / steps),
            "so much is left after these steps with any share that is asked for",
        ),
        "a straight line": (
            lambda steps, share: 1 - (1 - share) / steps,
            "each step takes a part of what is left, not of the whole",
        ),
        "power for root": (
            lambda steps, share: share**steps,
            "what would be left after as many steps with this momentum?",
        ),
        "share for momentum": (
            lambda steps, share: share,
            "so much is left after one step; after all of them?",
        ),
        "one step less": (
            lambda steps, share: share ** (1 / (steps - 1)),
            "how many updates are there in that many steps?",
        ),
    }
    inputs = [(500, 0.05), (20, 0.1), (7, 0.9), (100, 0.01)]
    return judge(
        answer,
        truth=lambda steps, share: share ** (1 / steps),
        mistakes=mistakes,
        inputs=inputs,
        tolerance=6e-4,
    )


def weights(answer):
    """Judge a function that returns the weight of each of the last values in a moving average.

    Args:
        answer: answer(momentum, steps) -> the weights, oldest value first, shape (steps,). For momentum 0.5
            and three steps they are 0.125, 0.25, 0.5.

    Returns:
        Verdict.
    """

    def ages(steps):
        return np.arange(steps)[::-1]

    mistakes = {
        "newest first": (
            lambda momentum, steps: (1 - momentum) * momentum ** np.arange(steps),
            "which value has the largest weight, and where should it stand?",
        ),
        "momentum swapped": (
            lambda momentum, steps: momentum * (1 - momentum) ** ages(steps),
            "which of the two weights does a value have that just came in?",
        ),
        "not scaled": (
            lambda momentum, steps: momentum ** ages(steps),
            "what do they add up to, and what is the weight of the newest value?",
        ),
        "rescaled to 1": (
            lambda momentum, steps: (1 - momentum) * momentum ** ages(steps) / (1 - momentum**steps),
            "a part of the average is still the start; these leave it none",
        ),
        "one step too old": (
            lambda momentum, steps: (1 - momentum) * momentum ** (ages(steps) + 1),
            "how often was the newest value multiplied by momentum?",
        ),
        "plain average": (
            lambda momentum, steps: np.full(steps, 1 / steps),
            "does an old value count as much as a new one?",
        ),
        "the start counted in": (
            lambda momentum, steps: (1 - momentum) * momentum ** ages(steps) + momentum**steps / steps,
            "what is left of the start belongs to none of the values",
        ),
    }
    inputs = [(0.8, 5), (0.5, 3), (0.99, 4), (0.3, 2)]
    return judge(answer, truth=moving_average.weights, mistakes=mistakes, inputs=inputs)


def follows_pytorch(answer):
    """Judge a Keras layer that shall follow as fast as a PyTorch layer with momentum=0.003.

    Args:
        answer: a `keras.layers.BatchNormalization`. A fresh copy of it sees one batch.

    Returns:
        Verdict.
    """
    mistakes = {
        "the number copied": (
            0.997,
            "one step moved it almost all of the way; whom does Keras's momentum weigh?",
        ),
        "the default": (0.01, "one step moved it by a hundredth; did you say any momentum?"),
        "it does not move": (0.0, "a layer that is frozen, or told momentum 1, remembers nothing"),
        "ten times too fast": (0.03, "one step moved it by 0.03; count the zeros"),
        "ten times too slow": (0.0003, "one step moved it by 0.0003; count the nines"),
        "half as fast": (0.0015, "one step moved it by half of that"),
    }
    return judge_value(
        answer,
        truth=0.003,
        read=_moved_by_one,
        mistakes=mistakes,
        tolerance=0.01,
        otherwise="one step moves it by another share than PyTorch's layer",
        seconds=10.0,
    )


def _moved_by_one(layer):
    if not hasattr(layer, "get_config") or not hasattr(layer, "momentum"):
        raise UnfitError("no layer", "a keras.layers.BatchNormalization is expected")
    fresh = type(layer).from_config(layer.get_config())
    fresh(np.ones((2, 1), np.float32), training=True)
    return float(np.asarray(fresh.moving_mean)[0])


def returns_to_zero(answer):
    """Judge a series of the reader's own, whose moving average comes back to where it began.

    Args:
        answer: ten batch means, each at least 0.1 away from 0. Their moving average begins at 0 and has the
            momentum 0.9; after the tenth it shall be 0 again, to three decimals.

    Returns:
        Verdict.
    """

    def read(series):
        values = as_numbers(series)
        if values.shape != (10,):
            raise UnfitError("not ten values", f"it has the shape {values.shape}, not (10,)")
        return values, moving_average.trace(values, momentum=0.9)

    def end(values, momentum):
        return moving_average.trace(values, momentum=momentum)[-1]

    faults = {
        "a value near 0": (
            lambda s: np.abs(s[0]).min() < 0.1,
            lambda s: f"one of them is {s[0][np.abs(s[0]).argmin()]:g}; keep away from 0",
        ),
        "adds up to 0": (
            lambda s: abs(s[0].sum()) < 1e-3 < abs(s[1][-1]),
            lambda s: f"the plain sum is 0, the moving average {s[1][-1]:.3f}; do all values count alike?",
        ),
        "newest first": (
            lambda s: abs(end(s[0][::-1], 0.9)) < 5e-4 < abs(s[1][-1]),
            lambda s: f"read backwards it would return; as it is it ends at {s[1][-1]:.3f}",
        ),
        "momentum swapped": (
            lambda s: abs(end(s[0], 0.1)) < 5e-4 < abs(s[1][-1]),
            lambda s: f"it ends at {s[1][-1]:.3f}; is 0.9 the weight of the old value or of the new one?",
        ),
        "too early": (
            lambda s: abs(s[1][-2]) < 5e-4,
            lambda s: f"after the ninth it is 0, and then the tenth takes it to {s[1][-1]:.3f}",
        ),
        "not scaled to the last weight": (
            lambda s: abs(s[0][-1] + s[1][-2]) < 1e-3,
            "the last value is minus the average before it; how much of it arrives?",
        ),
        "not at 0": (lambda s: abs(s[1][-1]) >= 5e-4, lambda s: f"it ends at {s[1][-1]:.4f}"),
    }
    return judge_proposal(answer, read=read, faults=faults)
