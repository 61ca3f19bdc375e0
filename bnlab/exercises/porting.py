"""Exercises of the sixth notebook, "Port it to your own library": gradients, and what others store."""

import numpy as np

from bnlab import batch_norm
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal


def inference_gradient(answer):
    """Judge the backward pass of inference mode, where mean and variance are constants.

    Args:
        answer: answer(dy, gamma, moving_variance) -> dx, with epsilon 0.001. dy and dx have shape (examples,
            features), gamma and moving_variance have shape (features,).

    Returns:
        Verdict.
    """

    def truth(dy, gamma, moving_variance):
        return dy * gamma / np.sqrt(moving_variance + 1e-3)

    mistakes = {
        "a way through the mean": (
            lambda dy, gamma, moving_variance: truth(dy - dy.mean(axis=0), gamma, moving_variance),
            "does the mean move when an input moves, in this mode?",
        ),
        "epsilon outside the root": (
            lambda dy, gamma, moving_variance: dy * gamma / (np.sqrt(moving_variance) + 1e-3),
            "to what is epsilon added on the way forward?",
        ),
        "epsilon forgotten": (
            lambda dy, gamma, moving_variance: dy * gamma / np.sqrt(moving_variance),
            "the way forward divides by a little more",
        ),
        "gamma forgotten": (
            lambda dy, gamma, moving_variance: truth(dy, 1.0, moving_variance),
            "what multiplies every output?",
        ),
        "divided by gamma": (
            lambda dy, gamma, moving_variance: truth(dy, 1 / gamma, moving_variance),
            "a larger gamma makes the output react more; so does the gradient",
        ),
        "divided by the variance": (
            lambda dy, gamma, moving_variance: dy * gamma / (moving_variance + 1e-3),
            "what stands in the denominator on the way forward?",
        ),
        "multiplied by the root": (
            lambda dy, gamma, moving_variance: dy * gamma * np.sqrt(moving_variance + 1e-3),
            "inputs that spread widely are scaled down; and their gradients?",
        ),
    }
    rng = np.random.default_rng(7)
    inputs = [
        (rng.normal(size=(m, 3)), rng.uniform(0.3, 2.0, 3), np.array([0.003, 0.2, 5.0])) for m in (2, 6, 9)
    ]
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs)


def hidden_bug(answer):
    """Judge a gradient of the reader's own from above that hides a bug: the mean term of dx dropped.

    Args:
        answer: dy, shape (8, 3), not all 0. With it, dx shall be the same with and without the mean term, for
            any batch of 8 examples with 3 features, and it shall not be 0.

    Returns:
        Verdict.
    """
    x = np.random.default_rng(8).normal(2.0, [0.5, 1.0, 3.0], (8, 3))
    mean, variance = batch_norm.batch_moments(x)
    x_hat = (x - mean) / np.sqrt(variance + 1e-3)

    def read(dy):
        dy = as_numbers(dy)
        if dy.shape != (8, 3):
            raise UnfitError("wrong shape", f"its shape is {dy.shape}, not (8, 3)")
        dx = batch_norm.batch_norm_gradients(dy, x)[0]
        noticed = np.abs(dy.mean(axis=0) / np.sqrt(variance + 1e-3)).max()
        return dy, dx, noticed

    def is_noticed(seen):
        dy, _, noticed = seen
        return noticed > 1e-6 * np.abs(dy).max()

    faults = {
        "all zeros": (lambda seen: not seen[0].any(), "nothing comes from above, so nothing can be seen"),
        "the same for all examples": (
            lambda seen: (np.ptp(seen[0], axis=0) < 1e-9).all(),
            "the right dx is 0 then, and without the mean term it is not: such a gradient shows the bug",
        ),
        "rows instead of columns": (
            lambda seen: is_noticed(seen) and np.allclose(seen[0].sum(axis=1), 0, atol=1e-9),
            "each example adds up to 0; over what does the mean term run?",
        ),
        "the sum of everything": (
            lambda seen: is_noticed(seen) and abs(seen[0].sum()) < 1e-9,
            "all of it adds up to 0; but every feature has a mean of its own",
        ),
        "one feature noticed": (
            lambda seen: is_noticed(seen) and (np.abs(seen[0].mean(axis=0)) < 1e-9).any(),
            "it is hidden in one feature, and seen in another",
        ),
        "hides the variance term": (
            lambda seen: is_noticed(seen) and np.abs((seen[0] * x_hat).mean(axis=0)).max() < 1e-6,
            "this one hides the other term",
        ),
        "noticed": (is_noticed, lambda seen: f"dx changes by {seen[2]:.2g}; what is the mean term made of?"),
    }
    return judge_proposal(answer, read=read, faults=faults)


def running_variance(answer):
    """Judge what a PyTorch layer stores after one call in training mode.

    Args:
        answer: answer(batch, running_var, momentum) -> the new running_var, for a batch of shape (examples,)
            and PyTorch's momentum. For the batch 0 and 2, a fresh layer and the default momentum of 0.1 it is
            a little more than 1.

    Returns:
        Verdict.
    """

    def truth(batch, running_var, momentum):
        return (1 - momentum) * running_var + momentum * batch.var(ddof=1)

    mistakes = {
        "biased": (
            lambda batch, running_var, momentum: (1 - momentum) * running_var + momentum * batch.var(),
            "it normalizes with this variance; does it store the same?",
        ),
        "momentum of the old value": (
            lambda batch, running_var, momentum: truth(batch, running_var, 1 - momentum),
            "that is Keras's momentum; whom does PyTorch's weigh?",
        ),
        "biased and swapped": (
            lambda batch, running_var, momentum: momentum * running_var + (1 - momentum) * batch.var(),
            "so does a Keras layer; PyTorch differs in two things",
        ),
        "the batch alone": (
            lambda batch, running_var, momentum: batch.var(ddof=1),
            "what becomes of the variance that was stored before?",
        ),
        "standard deviation": (
            lambda batch, running_var, momentum: (1 - momentum) * running_var + momentum * batch.std(ddof=1),
            "which of the two is stored, the variance or its root?",
        ),
        "nothing fades": (
            lambda batch, running_var, momentum: running_var + momentum * batch.var(ddof=1),
            "with such an update it grows with every batch",
        ),
        "Bessel the wrong way": (
            lambda batch, running_var, momentum: (
                (1 - momentum) * running_var + momentum * batch.var() * (len(batch) - 1) / len(batch)
            ),
            "is the unbiased variance larger or smaller than the mean square?",
        ),
    }
    rng = np.random.default_rng(9)
    inputs = [
        (np.array([0.0, 2.0]), 1.0, 0.1),
        (rng.normal(size=5), 0.4, 0.3),
        (rng.normal(size=8), 2.0, 0.05),
    ]
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs)


def gradient_from_output(answer):
    """Judge a backward pass in training mode for a library that throws the inputs away to save memory.

    Args:
        answer: answer(dy, y, gamma, beta, inverse_std) -> dx. Of the forward pass only the output y is left,
            and inverse_std, one over the root; x is gone. dy, y and dx have shape (examples, features), the
            others (features,).

    Returns:
        Verdict.
    """

    def gradient(dy, x_hat, scale, mean_term=1, variance_term=1, m=None, axis=0):
        m = len(dy) if m is None else m
        through_mean = dy.sum(axis=axis, keepdims=True) / m
        through_variance = x_hat * (dy * x_hat).sum(axis=axis, keepdims=True) / m
        return scale * (dy - mean_term * through_mean - variance_term * through_variance)

    def with_bug(scale=lambda gamma, inverse_std: gamma * inverse_std, **bug):
        return lambda dy, y, gamma, beta, inverse_std: gradient(
            dy, (y - beta) / gamma, scale(gamma, inverse_std), **bug
        )

    mistakes = {
        "mean term missing": (with_bug(mean_term=0), "add up each column of your dx; what should come out?"),
        "variance term missing": (with_bug(variance_term=0), "the spread moves with every input as well"),
        "both terms missing": (
            with_bug(mean_term=0, variance_term=0),
            "that is inference mode; here an input moves the mean and the spread, too",
        ),
        "y taken for x_hat": (
            lambda dy, y, gamma, beta, inverse_std: gradient(dy, y, gamma * inverse_std),
            "what was done to the normalized values before they became y?",
        ),
        "beta left in": (
            lambda dy, y, gamma, beta, inverse_std: gradient(dy, y / gamma, gamma * inverse_std),
            "your normalized values do not have the mean 0",
        ),
        "gamma left in": (
            lambda dy, y, gamma, beta, inverse_std: gradient(dy, y - beta, gamma * inverse_std),
            "your normalized values do not have the spread 1",
        ),
        "gamma forgotten": (
            with_bug(scale=lambda gamma, inverse_std: inverse_std),
            "what multiplied the output on the way forward?",
        ),
        "inverse_std forgotten": (
            with_bug(scale=lambda gamma, inverse_std: gamma),
            "in which unit is dx: in that of x, or of x_hat?",
        ),
        "sums for means": (with_bug(m=1), "how large is the share of one example in the mean?"),
        "wrong axis": (with_bug(axis=1, m=3), "does a mean run over the examples or over the features?"),
    }

    def truth(dy, y, gamma, beta, inverse_std):
        return gradient(dy, (y - beta) / gamma, gamma * inverse_std)

    rng, inputs = np.random.default_rng(10), []
    for m in (4, 6, 9):
        x, gamma, beta = rng.normal(1.0, 2.0, (m, 3)), rng.uniform(0.5, 2.0, 3), rng.normal(size=3)
        mean, variance = batch_norm.batch_moments(x)
        y = batch_norm.normalize(x, mean, variance, gamma=gamma, beta=beta)
        inputs.append((rng.normal(size=x.shape), y, gamma, beta, 1 / np.sqrt(variance + 1e-3)))
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs)
