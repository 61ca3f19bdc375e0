"""Exercises of the seventh notebook, "Know its numbers": lost digits, and how many examples it takes."""

import numpy as np

from bnlab import batch_norm
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal


def saved_variance(answer):
    """Judge a variance that sees the data once and keeps its digits far away from 0.

    Args:
        answer: answer(x) -> the biased variance of each feature, shape (features,), right to 1%. x is float32
            of shape (examples, features), and lies 10,000 spreads and more from 0.

    Returns:
        Verdict.
    """

    def truth(x):
        return batch_norm.batch_moments(x.astype(np.float64))[1]

    def shifted_square(x):
        return ((x - x[0]).astype(np.float64) ** 2).mean(axis=0)

    def noise(found, x):
        """Differences of two large float32 squares are multiples of the step between such numbers."""
        step = np.spacing((0.9 * x.astype(np.float64).mean(axis=0) ** 2).astype(np.float32))
        return found.shape == step.shape and (found % step == 0).all()

    def near(found, x):
        return found.shape == truth(x).shape and np.allclose(found, truth(x), rtol=0.01)

    mistakes = {
        "standard deviation": (lambda x: np.sqrt(truth(x)), "the variance is asked for, not its root"),
        "Bessel": (
            lambda x: truth(x) * len(x) / (len(x) - 1),
            "the biased variance is asked for; by what is it divided?",
        ),
        "wrong axis": (
            lambda x: x.astype(np.float64).var(axis=1),
            "there should be one for each feature",
        ),
        "mean not taken out": (
            shifted_square,
            "you moved the data near 0; is their mean exactly 0 now?",
        ),
        "sum of squares": (lambda x: truth(x) * len(x), "is that a sum or a mean?"),
        "nothing but 0": (lambda x: np.zeros(x.shape[1]), "so much was cut off; the data do spread"),
    }
    symptoms = {
        "one-pass variance": (
            lambda found, xs: all(map(noise, found, xs)) and any(y.any() for y in found),
            "the difference of two large squares, and all digits are gone; when must the offset leave?",
        ),
        "a fixed offset": (
            lambda found, xs: near(found[0], xs[0]) and not any(map(near, found[1:], xs[1:])),
            "right for data near 10,000, and for no others; where do you get the offset from?",
        ),
    }
    rng = np.random.default_rng(11)
    inputs = [
        (rng.normal(offset, [0.6, 1.5, 3.0], (24, 3)).astype(np.float32),) for offset in (1e4, -4e4, 2e5)
    ]
    return judge(answer, truth=truth, mistakes=mistakes, symptoms=symptoms, inputs=inputs, tolerance=0.01)


def to_unbiased(answer):
    """Judge a translation of Keras 3's moving variance into the one a PyTorch layer would have stored.

    Args:
        answer: answer(variance, m) -> the variance that PyTorch stores, for batches of m examples. For the
            batch 1, 2, 3, 4, of which Keras 3 stores 1.25, it is 5/3.

    Returns:
        Verdict.
    """
    mistakes = {
        "the wrong way": (
            lambda variance, m: variance * (m - 1) / m,
            "which of the two variances is the larger one?",
        ),
        "one too many": (
            lambda variance, m: variance * (m + 1) / m,
            "the factor for batches of two is 2",
        ),
        "not multiplied back": (
            lambda variance, m: variance / (m - 1),
            "Keras has divided by m already; undo that first",
        ),
        "not divided": (lambda variance, m: variance * m, "that is the sum of squares"),
        "unchanged": (lambda variance, m: variance, "for large batches nearly; and for two?"),
        "root of the factor": (
            lambda variance, m: variance * np.sqrt(m / (m - 1)),
            "that would be right for standard deviations",
        ),
    }
    return judge(
        answer,
        truth=lambda variance, m: variance * m / (m - 1),
        mistakes=mistakes,
        inputs=[(1.25, 4), (0.25, 2), (3.0, 8), (2.0, 3)],
    )


def batch_size(answer):
    """Judge the smallest batch whose means scatter little enough.

    Args:
        answer: answer(scatter) -> the smallest m, for means of batches of m that scatter by this share of the
            spread of the data. For a scatter of 0.1 it is 100.

    Returns:
        Verdict.
    """
    mistakes = {
        "no root": (lambda scatter: 1 / scatter, "with how many examples is the noise a half, a quarter?"),
        "root twice": (
            lambda scatter: 1 / np.sqrt(scatter),
            "the scatter is 1 over the root of m; solve for m",
        ),
        "per cent": (
            lambda scatter: (100 / (100 * scatter)) ** 2 / 1e4,
            "the scatter is a share, not per cent",
        ),
        "twice as many": (
            lambda scatter: 2 / scatter**2,
            "so many it takes for the variance, not for the mean",
        ),
        "half as many": (lambda scatter: 0.5 / scatter**2, "these batches scatter by 1.4 times as much"),
        "a quarter": (lambda scatter: 0.25 / scatter**2, "these batches scatter by twice as much"),
        "upside down": (lambda scatter: scatter**2, "can a batch hold less than one example?"),
    }
    return judge(
        answer,
        truth=lambda scatter: 1 / scatter**2,
        mistakes=mistakes,
        inputs=[(0.05,), (0.02,), (0.025,), (0.1,)],
        tolerance=0.004,
    )


def loses_beta(answer):
    """Judge a batch of the reader's own, for which one way of writing the formula loses beta.

    Both ways normalize it in float32 with gamma = 0.5, beta = -0.3 and epsilon = 0.001: factored,
    x s + (beta - mean s), and centred, (x - mean) s + beta, where s = gamma / sqrt(variance + epsilon).

    Args:
        answer: two or more numbers, the examples of a batch with one feature. The factored form shall be off
            by 0.1 or more, and the centred one by less than 0.001.

    Returns:
        Verdict.
    """
    gamma, beta = np.float32(0.5), np.float32(-0.3)

    def off(x):
        """Return by how much the factored and the centred form are off."""
        wide = x.astype(np.float64)
        exact = gamma * (wide - wide.mean()) / np.sqrt(wide.var() + 1e-3) + np.float64(beta)
        mean = np.float32(wide.mean())
        scale = np.float32(gamma / np.sqrt(wide.var() + 1e-3))
        factored, centred = x * scale + (beta - mean * scale), (x - mean) * scale + beta
        return np.abs(factored - exact).max(), np.abs(centred - exact).max()

    def read(batch):
        x = as_numbers(batch).reshape(-1)
        if len(x) < 2:
            raise UnfitError("one example", "put two or more into the batch")
        if np.abs(x).max() > np.finfo(np.float32).max:
            raise UnfitError("too large for float32", "float32 ends at 3.4e38")
        x = x.astype(np.float32)
        return x, *off(x), off(np.full(2, x.mean(dtype=np.float64), np.float32))[0]

    faults = {
        "both lose it": (
            lambda seen: seen[1] >= 0.1 and seen[2] >= 1e-3,
            lambda seen: (
                f"the centred form is off by {seen[2]:.2g}, too; is the mean itself exact in float32?"
            ),
        ),
        "near 0": (
            lambda seen: seen[1] < 0.1 and np.abs(seen[0]).max() <= 1000,
            lambda seen: f"the factored form is off by {seen[1]:.1g} only; how large are its two summands?",
        ),
        "spread too wide": (
            lambda seen: seen[1] < 0.1 <= seen[3],
            lambda seen: (
                f"it is far enough from 0, but off by {seen[1]:.1g} only; what makes the factor s small?"
            ),
        ),
        "centred about 0": (
            lambda seen: seen[1] < 0.1 and abs(seen[0].mean(dtype=np.float64)) < 1000,
            "its numbers are large, and its mean is not",
        ),
        "not far enough": (
            lambda seen: seen[1] < 0.1,
            lambda seen: f"the factored form is off by {seen[1]:.1g} only; go further",
        ),
    }
    return judge_proposal(answer, read=read, faults=faults)
