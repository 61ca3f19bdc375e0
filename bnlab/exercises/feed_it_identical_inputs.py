"""Exercises of the first notebook, "Feed it identical inputs": the formula and its two modes."""

import numpy as np

from bnlab import batch_norm
from bnlab.judging import as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import forward, mutants, with_hints


def pair(answer):
    """Judge a number: a batch holds just two examples, 0 and 100; what is the larger output?

    Args:
        answer: the larger output of a fresh layer in training mode, to two decimals.
    """
    mistakes = {
        "only centred": (50.0, "that is the distance from the mean; what is it divided by?"),
        "not normalized": (100.0, "that is what goes in; where is the mean of the two?"),
        "divided by the whole distance": (0.5, "the spread of two values is not the distance between them"),
        "divided by the variance": (0.02, "what stands in the denominator, the variance or its root?"),
        "Bessel": (0.71, "a batch is normalized with the mean square; by how many examples is it divided?"),
    }
    hint = "how far is each value from the mean?"
    return judge_value(answer, truth=1.0, mistakes=mistakes, tolerance=0.005, otherwise=hint)


def mode_of(answer):
    """Judge a function that reads the mode of a fresh layer (gamma 1, beta 0) off an output.

    Args:
        answer: answer(x, y) -> "training" or "inference", for input and output of shape (examples, features).
    """

    def truth(x, y):
        return "inference" if np.allclose(y, x / np.sqrt(1.001)) else "training"

    def word(training):
        return "training" if training else "inference"

    wrong = {
        "modes swapped": lambda x, y: word(truth(x, y) == "inference"),
        "looks at the mean alone": lambda x, y: word(np.allclose(y.mean(axis=0), 0, atol=1e-6)),
        "looks at the spread alone": lambda x, y: word(np.allclose(y.std(axis=0), 1, atol=0.01)),
        "looks for zeros": lambda x, y: word(np.allclose(y, 0, atol=1e-6)),
    }
    hints = {
        "modes swapped": "which of the two modes removes what the batch has in common?",
        "looks at the mean alone": "what would it say of inputs whose mean is 0 already?",
        "looks at the spread alone": "what is the spread when all inputs are the same?",
        "looks for zeros": "only identical inputs come out 0 in training mode",
    }
    return judge(answer, truth=truth, mistakes=with_hints(wrong, hints), inputs=_seen_outputs())


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
    """

    def truth(x, gamma, beta):
        moments = batch_norm.batch_moments(x, axis=0)
        return batch_norm.normalize(x, *moments, gamma=gamma, beta=beta, axis=0)

    def sideways(**habits):
        return lambda x, gamma, beta: forward(**habits)(x.T, gamma, beta).T

    classic = ["wrong axis", "epsilon outside the root", "epsilon forgotten", "divided by the variance"]
    wrong = mutants(sideways, *classic, "Bessel", "gamma forgotten", "beta forgotten") | {
        "one mean for all features": sideways(axis=(0, 1))
    }
    hints = {
        "gamma forgotten": "do the outputs have the spread that was learned?",
        "one mean for all features": "how many means should there be?",
    }
    rng, spreads = np.random.default_rng(2), np.array([[0.03], [0.2], [2.0]])
    inputs = [
        (rng.normal(3.0, spreads, (3, m)), rng.uniform(0.5, 2.0, 3), rng.normal(size=3)) for m in (4, 5, 8)
    ]
    return judge(answer, truth=truth, mistakes=with_hints(wrong, hints), inputs=inputs)


def half_spread(answer):
    """Judge a batch of the reader's own: its outputs shall have a spread between 0.45 and 0.55.

    Args:
        answer: two or more numbers, the examples of a batch with one feature. They are normalized in training
            mode by a fresh layer with epsilon 0.001.
    """

    def fault(batch):
        x = as_numbers(batch).reshape(-1, 1)
        if len(x) < 2:
            return "one example", "a single example has no spread; put more into the batch"
        # What is 0.55 by the formula may be a little more when it is computed.
        before, after = x.std(), batch_norm.normalize(x, *batch_norm.batch_moments(x)).std().round(9)
        if before == 0:
            return "identical examples", "they all come out as beta, and nothing spreads"
        if 0.45 < before < 0.55:
            hint = f"{after:.3f} comes out; what does batch norm do to such a spread?"
            return "a spread of one half goes in", hint
        if 0.68 < after < 0.73:
            return "the root of epsilon", "there the outputs shrink to 0.707; a little further"
        if 0.0005 < before < 0.002:
            hint = f"{after:.3f} comes out; compare epsilon with the variance, not with the spread"
            return "epsilon instead of its root", hint
        if after > 0.55:
            return "too wide", f"the outputs spread by {after:.3f}"
        if after < 0.45:
            return "too narrow", f"the outputs spread by {after:.3f}"
        return None

    return judge_proposal(answer, fault_of=fault)
