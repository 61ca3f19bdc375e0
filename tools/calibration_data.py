"""What the healthy zoo is trained on: digits, and made-up tables, series, words and pictures of many kinds.

Each function takes a NumPy generator and returns (x, y) for EXAMPLES examples.
"""

import numpy as np

from bnlab.data import digits

EXAMPLES = 2000
DIGITS = digits()


def images(rng):
    """Return digits as pictures of 8 x 8 x 1, and which they are."""
    order = rng.permutation(len(DIGITS.x_train))
    return DIGITS.x_train[order].reshape(-1, 8, 8, 1), DIGITS.y_train[order]


def pixels(rng):
    """Return digits as rows of 64 pixels."""
    x, y = images(rng)
    return x.reshape(len(x), -1), y


def framed(rng):
    """Return digits with a constant pixel all around, as rows of 100."""
    x, y = images(rng)
    return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(len(x), -1), y


def masks(rng):
    """Return noisy digits, and which of their pixels were ink."""
    x, _ = images(rng)
    return x + rng.normal(0, 0.2, x.shape).astype("float32"), (x > 0.5).astype("float32")


def themselves(rng):
    """Return digits, and the same to be made of them."""
    x, _ = pixels(rng)
    return x, x


def scenes(rng):
    """Return smooth random pictures of 24 x 24 x 3, and which of four slopes they have."""
    y = rng.integers(0, 4, EXAMPLES)
    across, down = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24))
    slopes = np.stack([across, -across, down, -down])[y][..., None] * rng.uniform(0.1, 0.6, (len(y), 1, 1, 3))
    waves = rng.normal(size=(len(y), 3, 3, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return (0.5 + 0.2 * waves + slopes).astype("float32"), y


def _classes(rng, x, classes=4):
    """Return which of the sums of x, each with weights of its own, is the largest."""
    standard = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    return np.argmax(standard @ rng.normal(size=(x.shape[1], classes)), axis=1)


def table(rng):
    """Return 20 columns of numbers, each of another scale and origin."""
    x = rng.normal(size=(EXAMPLES, 20)) * 10 ** rng.uniform(-1, 2, 20) + rng.normal(0, 10, 20)
    return x.astype("float32"), _classes(rng, x)


def heavy_tails(rng):
    """Return 20 lognormal columns, of standard deviation 1.5 in the logarithm, as incomes and counts have."""
    x = np.exp(1.5 * rng.normal(size=(EXAMPLES, 20)))
    return x.astype("float32"), _classes(rng, np.log(x))


def words(rng):
    """Return how often each of 200 words is in a text of 30, most of them hardly ever."""
    topics = rng.dirichlet(np.full(200, 0.1) / np.arange(1, 201) ** 0.7, 4)
    common = (1 / np.arange(1, 201)) / (1 / np.arange(1, 201)).sum()
    y = rng.integers(0, 4, EXAMPLES)
    return np.stack([rng.multinomial(30, 0.3 * topics[k] + 0.7 * common) for k in y]).astype("float32"), y


def flags(rng):
    """Return 100 columns of 0 and 1, that are 1 in .2% to 10% of the examples."""
    x = rng.random((EXAMPLES, 100)) < np.geomspace(0.002, 0.1, 100)
    return x.astype("float32"), _classes(rng, x + 0.0)


def sentences(rng):
    """Return texts of 20 words as numbers below 150."""
    y = rng.integers(0, 4, EXAMPLES)
    usual = rng.dirichlet(1 / np.arange(1, 151), 4)
    return np.stack([rng.choice(150, 20, p=usual[k]) for k in y]).astype("int32"), y


def series(rng):
    """Return waves of 32 steps on 2 channels, and which of four frequencies they have."""
    y = rng.integers(0, 4, EXAMPLES)
    time = np.arange(32) * (1 + y[:, None]) / 6 + rng.uniform(0, 6, (len(y), 1))
    x = np.stack([np.sin(time), 3 + np.cos(time)], axis=-1) * rng.uniform(0.5, 2, (len(y), 1, 1))
    return (x + rng.normal(0, 0.2, x.shape)).astype("float32"), y


def drifting(rng):
    """Return random walks of 32 steps, whose steps differ in scale, and which way they went."""
    x = rng.normal(0.1, 1, (EXAMPLES, 32, 2)).cumsum(axis=1)
    return x.astype("float32"), (x[:, -1] > 0).astype(int) @ [1, 2]


def volumes(rng):
    """Return small volumes of 6 x 6 x 6 x 1 with a ball in one of four places."""
    y, x = rng.integers(0, 4, EXAMPLES), rng.normal(0, 0.3, (EXAMPLES, 6, 6, 6, 1))
    for k, (i, j) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3)]):
        x[y == k, i : i + 3, j : j + 3, 1:4] += 1
    return x.astype("float32"), y


def noise(rng):
    """Return what a generator makes pictures of, and pictures that are to be told from its own."""
    x, _ = images(rng)
    return rng.normal(size=(len(x), 16)).astype("float32"), x
