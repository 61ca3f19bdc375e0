"""Exercises of the first notebook, "Feed it identical inputs": the formula and its two modes."""

import numpy as np

from bnlab import batch_norm
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value


def pair(answer):
    """Judge a number: a batch holds just two examples, 0 and 100; what is the larger output?

    Args:
        answer: the larger output of a fresh layer in training mode, to two decimals.

    Returns:
        Verdict.
    """
    mistakes = {
        "only centred": (50.0, "that is the distance from the mean; what is it divided by?"),
        "not normalized": (100.0, "that is what goes in; where is the mean of the two?"),
        "divided by the whole distance": (0.5, "the spread of two values is not the distance between them"),
        "divided by the variance": (0.02, "what stands in the denominator, the variance or its root?"),
        "Bessel": (0.71, "a batch is normalized with the mean square; by how many examples is it divided?"),
        "the smaller output": (-1.0, "which of the two lies above the mean?"),
    }
    return judge_value(
        answer,
        truth=1.0,
        mistakes=mistakes,
        tolerance=0.005,
        otherwise="how far is each value from the mean?",
    )


def mode_of(answer):
    """Judge a function that reads the mode of a fresh layer (gamma 1, beta 0) off an output.

    Args:
        answer: answer(x, y) -> "training" or "inference", for input and output of shape (examples, features).

    Returns:
        Verdict.
    """

    def truth(x, y):
        return "inference" if np.allclose(y, x / np.sqrt(1.001)) else "training"

    def word(training):
        return "training" if training else "inference"

    mistakes = {
        "modes swapped": (
            lambda x, y: word(truth(x, y) == "inference"),
            "which of the two modes removes what the batch has in common?",
        ),
        "always training": (lambda x, y: "training", "it says the same of every output"),
        "always inference": (lambda x, y: "inference", "it says the same of every output"),
        "looks at the mean alone": (
            lambda x, y: word(np.allclose(y.mean(axis=0), 0, atol=1e-6)),
            "what would it say of inputs whose mean is 0 already?",
        ),
        "looks at the spread alone": (
            lambda x, y: word(np.allclose(y.std(axis=0), 1, atol=0.01)),
            "what is the spread when all inputs are the same?",
        ),
        "looks for zeros": (
            lambda x, y: word(np.allclose(y, 0, atol=1e-6)),
            "only identical inputs come out 0 in training mode",
        ),
    }
    return judge(answer, truth=truth, mistakes=mistakes, inputs=_seen_outputs())


def _seen_outputs():
    rng, seen = np.random.default_rng(1), []
    for center, spread in ((5.0, 0.0), (5.0, 3.0), (0.0, 3.0), (-2.0, 0.5)):
        x = rng.normal(size=(8, 2))
        x = center + spread * (x - x.mean(axis=0))
        seen += [(x, batch_norm.BatchNorm(2, dtype="float64")(x, training=mode)) for mode in (True, False)]
    return seen


def side_by_side(answer):
    """Judge a forward pass for data that lies on its side: each example is a column.

    Args:
        answer: answer(x, gamma, beta) -> y in training mode with epsilon 0.001. x and y have shape (features,
            examples), gamma and beta have shape (features,).

    Returns:
        Verdict.
    """

    def truth(x, gamma, beta):
        moments = batch_norm.batch_moments(x, axis=0)
        return batch_norm.normalize(x, *moments, gamma=gamma, beta=beta, axis=0)

    def by_hand(divide, axis=1):
        def forward(x, gamma, beta):
            centred = x - x.mean(axis=axis, keepdims=True)
            variance = x.var(axis=axis, keepdims=True)
            return gamma[:, None] * divide(centred, variance, x) + beta[:, None]

        return forward

    def usual(centred, variance, x):
        return centred / np.sqrt(variance + 1e-3)

    mistakes = {
        "wrong axis": (by_hand(usual, axis=0), "over what does the mean run: over examples or features?"),
        "one mean for all features": (by_hand(usual, axis=(0, 1)), "how many means should there be?"),
        "epsilon outside the root": (
            by_hand(lambda centred, variance, x: centred / (np.sqrt(variance) + 1e-3)),
            "to what is epsilon added?",
        ),
        "epsilon forgotten": (
            by_hand(lambda centred, variance, x: centred / np.sqrt(variance)),
            "what keeps the root away from 0?",
        ),
        "divided by the variance": (
            by_hand(lambda centred, variance, x: centred / (variance + 1e-3)),
            "the outputs should have a spread of about 1",
        ),
        "Bessel": (
            by_hand(
                lambda centred, variance, x: centred / np.sqrt(x.var(axis=1, ddof=1, keepdims=True) + 1e-3)
            ),
            "a batch is normalized with its own mean square; by what is the sum divided?",
        ),
        "gamma forgotten": (
            lambda x, gamma, beta: truth(x, np.ones(len(x)), beta),
            "do the outputs have the spread that was learned?",
        ),
        "beta forgotten": (
            lambda x, gamma, beta: truth(x, gamma, np.zeros(len(x))),
            "do the outputs have the mean that was learned?",
        ),
        "beta scaled too": (
            lambda x, gamma, beta: truth(x, gamma, gamma * beta),
            "feed it identical inputs: what should come out, and what does?",
        ),
    }
    rng = np.random.default_rng(2)
    spreads = np.array([[0.03], [0.2], [2.0]])
    inputs = [
        (rng.normal(3.0, spreads, (3, m)), rng.uniform(0.5, 2.0, 3), rng.normal(size=3)) for m in (4, 5, 8)
    ]
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs)


def half_spread(answer):
    """Judge a batch of the reader's own: its outputs shall have a spread between 0.45 and 0.55.

    Args:
        answer: two or more numbers, the examples of a batch with one feature. They are normalized in training
            mode by a fresh layer with epsilon 0.001.

    Returns:
        Verdict.
    """

    def read(batch):
        x = as_numbers(batch).reshape(-1, 1)
        if len(x) < 2:
            raise UnfitError("one example", "a single example has no spread; put more into the batch")
        return x.std(), batch_norm.normalize(x, *batch_norm.batch_moments(x)).std()

    faults = {
        "identical examples": (lambda s: s[0] == 0, "they all come out as beta, and nothing spreads"),
        "a spread of one half goes in": (
            lambda s: 0.45 < s[0] < 0.55,
            lambda s: f"{s[1]:.3f} comes out; what does batch norm do to such a spread?",
        ),
        "the root of epsilon": (
            lambda s: 0.68 < s[1] < 0.73,
            "there the outputs shrink to 0.707; a little further",
        ),
        "epsilon instead of its root": (
            lambda s: 0.0005 < s[0] < 0.002,
            lambda s: f"{s[1]:.3f} comes out; compare epsilon with the variance, not with the spread",
        ),
        "too wide": (lambda s: s[1] >= 0.55, lambda s: f"the outputs spread by {s[1]:.3f}"),
        "too narrow": (lambda s: s[1] <= 0.45, lambda s: f"the outputs spread by {s[1]:.3f}"),
    }
    return judge_proposal(answer, read=read, faults=faults)
