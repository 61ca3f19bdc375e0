"""Right and wrong answers to the exercises of the second notebook."""

import math

import numpy as np


def by_logarithm(steps, share):
    return math.exp(math.log(share) / steps)


def by_trial(steps, share):
    return max(m for m in (n / 10_000 for n in range(10_000)) if m**steps <= share)


def by_loop(momentum, steps):
    weights = []
    for age in range(steps):
        weights.insert(0, (1 - momentum) * momentum**age)
    return weights


def by_impulse(momentum, steps):
    found = np.zeros(steps)
    for place in range(steps):
        average = 0.0
        for step in range(steps):
            average = momentum * average + (1 - momentum) * (step == place)
        found[place] = average
    return found


class Layer:
    """What the check needs of a Keras layer; a test with the real one is in test_exercises_with_keras."""

    def __init__(self, momentum=0.99, *, frozen=False):
        self.momentum, self.frozen, self.moving_mean = momentum, frozen, [0.0]

    def get_config(self):
        return {"momentum": self.momentum, "frozen": self.frozen}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __call__(self, x, training):
        share = 0 if self.frozen or not training else 1 - self.momentum
        self.moving_mean = [(1 - share) * self.moving_mean[0] + share * x.mean()]


def returning(momentum=0.9, count=10):
    """One a step, and a last value that takes the average back."""
    before = 1 - momentum ** (count - 1)
    return np.array([1.0] * (count - 1) + [-momentum * before / (1 - momentum)])


def rising():
    values = np.arange(1.0, 11.0)
    weights = 0.9 ** np.arange(9, -1, -1)
    values[0] = -(values[1:] * weights[1:]).sum() / weights[0]
    return values.tolist()


ANSWERS = {
    "largest_momentum": {
        "right": [by_logarithm, by_trial],
        "wrong": {
            "momentum of the new value": lambda steps, share: 1 - by_logarithm(steps, share),
            "share of the batches": lambda steps, share: by_logarithm(steps, 1 - share),
            "a straight line": lambda steps, share: 1 - 1 / steps + share / steps,
            "one step less": lambda steps, share: by_logarithm(steps - 1, share),
            "wrong arguments": lambda steps: 0.994,
            "no function": 0.994,
        },
    },
    "weights": {
        "right": [by_loop, by_impulse],
        "wrong": {
            "newest first": lambda m, n: by_loop(m, n)[::-1],
            "momentum swapped": lambda m, n: by_loop(1 - m, n),
            "not scaled": lambda m, n: np.array(by_loop(m, n)) / (1 - m),
            "rescaled to 1": lambda m, n: np.array(by_loop(m, n)) / sum(by_loop(m, n)),
            "wrong shape": lambda m, n: by_loop(m, n + 1),
        },
    },
    "follows_pytorch": {
        "right": [Layer(0.997), Layer(1 - 0.003)],
        "wrong": {
            "the number copied": Layer(0.003),
            "the default": Layer(),
            "it does not move": Layer(0.997, frozen=True),
            "ten times too slow": Layer(0.9997),
            "no layer": 0.997,
        },
    },
    "returns_to_zero": {
        "right": [returning(), rising()],
        "wrong": {
            "a value near 0": [0.0] * 10,
            "adds up to 0": [1.0] * 9 + [-9.0],
            "momentum swapped": returning(0.1),
            "not at 0": np.arange(1, 11),
            "not ten values": [1.0, -0.9],
        },
    },
}
