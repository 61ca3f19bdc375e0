"""Exercises of the seventh notebook, "Know its numbers": lost digits, and how many examples it takes."""

import numpy as np

from bnlab import batch_norm
from bnlab.judging import as_numbers, judge, judge_proposal
from bnlab.judging.classic_bugs import mutants, spread, with_hints


def saved_variance(answer):
    """Judge a variance that sees the data once and keeps its digits far away from 0.

    Args:
        answer: answer(x) -> the biased variance of each feature, shape (features,), right to 1%. x is float32
            of shape (examples, features), and lies 10,000 spreads and more from 0.
    """

    def truth(x):
        return batch_norm.batch_moments(x.astype(np.float64))[1]

    def wide(**habits):
        return lambda x: spread(**habits)(x.astype(np.float64))

    def one_pass(x):
        return (x**2).mean(axis=0) - x.mean(axis=0) ** 2

    def observe(function, x):
        """Return the variance, or 0 for noise: multiples of the step between two large float32 squares."""
        found = as_numbers(function(x))
        step = np.spacing((0.9 * x.astype(np.float64).mean(axis=0) ** 2).astype(np.float32))
        return 0 * found if found.shape == step.shape and (found % step == 0).all() else found

    wrong = mutants(wide, "standard deviation", "Bessel", "wrong axis") | {
        "mean not taken out": lambda x: ((x - x[0]).astype(np.float64) ** 2).mean(axis=0),
        "one-pass variance": one_pass,
        "a fixed offset": lambda x: one_pass(x - np.float32(10_000)),
    }
    hints = {
        "Bessel": "the biased variance is asked for; by what is it divided?",
        "wrong axis": "there should be one for each feature",
        "mean not taken out": "you moved the data near 0; is their mean exactly 0 now?",
        "one-pass variance": (
            "the difference of two large squares, and all digits are gone; when must the offset leave?"
        ),
        "a fixed offset": (
            "right for data near 10,000, and for no others; where do you get the offset from?"
        ),
    }
    mistakes = with_hints(wrong, hints)
    rng = np.random.default_rng(11)
    inputs = [
        (rng.normal(offset, [0.6, 1.5, 3.0], (24, 3)).astype(np.float32),) for offset in (1e4, -4e4, 2e5)
    ]
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs, observe=observe, tolerance=0.01)


def to_unbiased(answer):
    """Judge a translation of Keras 3's moving variance into the one a PyTorch layer would have stored.

    Args:
        answer: answer(variance, m) -> the variance that PyTorch stores, for batches of m examples. For the
            batch 1, 2, 3, 4, of which Keras 3 stores 1.25, it is 5/3.
    """
    wrong = {
        "the wrong way": lambda variance, m: variance * (m - 1) / m,
        "not multiplied back": lambda variance, m: variance / (m - 1),
        "unchanged": lambda variance, m: variance,
    }
    hints = {
        "the wrong way": "which of the two variances is the larger one?",
        "not multiplied back": "Keras has divided by m already; undo that first",
        "unchanged": "for large batches nearly; and for two?",
    }
    inputs, mistakes = [(1.25, 4), (0.25, 2), (3.0, 8), (2.0, 3)], with_hints(wrong, hints)
    return judge(answer, truth=lambda variance, m: variance * m / (m - 1), mistakes=mistakes, inputs=inputs)


def batch_size(answer):
    """Judge the smallest batch whose means scatter little enough.

    Args:
        answer: answer(scatter) -> the smallest m, for means of batches of m that scatter by this share of the
            spread of the data. For a scatter of 0.1 it is 100.
    """

    def truth(scatter):
        return 1 / scatter**2

    wrong = {
        "no root": lambda scatter: 1 / scatter,
        "root twice": lambda scatter: 1 / np.sqrt(scatter),
        "twice as many": lambda scatter: 2 * truth(scatter),
    }
    hints = {
        "no root": "with how many examples is the noise a half, a quarter?",
        "root twice": "the scatter is 1 over the root of m; solve for m",
        "twice as many": "so many it takes for the variance, not for the mean",
    }
    inputs, mistakes = [(0.05,), (0.02,), (0.025,), (0.1,)], with_hints(wrong, hints)
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs, tolerance=0.004)


def loses_beta(answer):
    """Judge a batch of the reader's own, for which one way of writing the formula loses beta.

    Both ways normalize it in float32 with gamma = 0.5, beta = -0.3 and epsilon = 0.001: factored,
    x s + (beta - mean s), and centred, (x - mean) s + beta, where s = gamma / sqrt(variance + epsilon).

    Args:
        answer: two or more numbers, the examples of a batch with one feature. The factored form shall be off
            by 0.1 or more, and the centred one by less than 0.001.
    """

    def fault(batch):
        x = as_numbers(batch).reshape(-1)
        if len(x) < 2:
            return "one example", "put two or more into the batch"
        if np.abs(x).max() > np.finfo(np.float32).max:
            return "too large for float32", "float32 ends at 3.4e38"
        x = x.astype(np.float32)
        factored, centred = _errors(x)
        if factored >= 0.1:
            hint = f"the centred form is off by {centred:.2g}, too; is the mean itself exact in float32?"
            return ("both lose it", hint) if centred >= 1e-3 else None
        only = f"off by {factored:.1g} only"
        if np.abs(x).max() <= 1000:
            return "near 0", f"the factored form is {only}; how large are its two summands?"
        if _errors(np.full(2, x.mean(dtype=np.float64), np.float32))[0] >= 0.1:
            return "spread too wide", f"it is far enough from 0, but {only}; what makes the factor s small?"
        return "not far enough", f"the factored form is {only}; go further"

    return judge_proposal(answer, fault_of=fault)


def _errors(x):
    """Return by how much the factored and the centred form of `loses_beta` are off."""
    gamma, beta, wide = np.float32(0.5), np.float32(-0.3), x.astype(np.float64)
    root = np.sqrt(wide.var() + 1e-3)
    exact = gamma * (wide - wide.mean()) / root + np.float64(beta)
    mean, scale = np.float32(wide.mean()), np.float32(gamma / root)
    factored, centred = x * scale + (beta - mean * scale), (x - mean) * scale + beta
    return np.abs(factored - exact).max(), np.abs(centred - exact).max()
