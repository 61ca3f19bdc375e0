"""Exercises of the sixth notebook, "Port it to your own library": gradients, and what others store."""

import numpy as np

from bnlab import batch_norm
from bnlab.judging import as_numbers, judge, judge_proposal
from bnlab.judging.classic_bugs import mutants, scale, spread, update, with_hints


def inference_gradient(answer):
    """Judge the backward pass of inference mode, where mean and variance are constants.

    Args:
        answer: answer(dy, gamma, moving_variance) -> dx, with epsilon 0.001. dy and dx have shape (examples,
            features), gamma and moving_variance have shape (features,).
    """

    def backward(**habits):
        return lambda dy, gamma, moving_variance: dy * scale(**habits)(gamma, moving_variance)

    def truth(dy, gamma, moving_variance):
        return dy * gamma / np.sqrt(moving_variance + 1e-3)

    classic = ["epsilon outside the root", "epsilon forgotten", "gamma forgotten", "divided by the variance"]
    wrong = mutants(backward, *classic) | {
        "a way through the mean": lambda dy, gamma, variance: truth(dy - dy.mean(axis=0), gamma, variance)
    }
    hints = {
        "epsilon outside the root": "to what is epsilon added on the way forward?",
        "epsilon forgotten": "the way forward divides by a little more",
        "divided by the variance": "what stands in the denominator on the way forward?",
        "a way through the mean": "does the mean move when an input moves, in this mode?",
    }
    rng = np.random.default_rng(7)
    inputs = [
        (rng.normal(size=(m, 3)), rng.uniform(0.3, 2.0, 3), np.array([0.003, 0.2, 5.0])) for m in (2, 6, 9)
    ]
    return judge(answer, truth=truth, mistakes=with_hints(wrong, hints), inputs=inputs)


def hidden_bug(answer):
    """Judge a gradient of the reader's own from above that hides a bug: the mean term of dx dropped.

    Args:
        answer: dy, shape (8, 3), not all 0. With it, dx shall be the same with and without the mean term, for
            any batch of 8 examples with 3 features.
    """
    x = np.random.default_rng(8).normal(2.0, [0.5, 1.0, 3.0], (8, 3))
    root = np.sqrt(batch_norm.batch_moments(x)[1] + 1e-3)

    def fault(dy):
        dy = as_numbers(dy)
        if dy.shape != (8, 3):
            return "wrong shape", f"its shape is {dy.shape}, not (8, 3)"
        if not dy.any():
            return "all zeros", "nothing comes from above, so nothing can be seen"
        if (np.ptp(dy, axis=0) < 1e-9).all():
            hint = (
                "the right dx is 0 then, and without the mean term it is not: such a gradient shows the bug"
            )
            return "the same for all examples", hint
        change = np.abs(dy.mean(axis=0) / root).max()
        if change <= 1e-6 * np.abs(dy).max():
            return None
        if np.allclose(dy.sum(axis=1), 0, atol=1e-9):
            return "rows instead of columns", "each example adds up to 0; over what does the mean term run?"
        return "noticed", f"dx changes by {change:.2g}; what is the mean term made of?"

    return judge_proposal(answer, fault_of=fault)


def running_variance(answer):
    """Judge what a PyTorch layer stores after one call in training mode.

    Args:
        answer: answer(batch, running_var, momentum) -> the new running_var, for a batch of shape (examples,)
            and PyTorch's momentum. For the batch 0 and 2, a fresh layer and the default momentum of 0.1 it is
            a little more than 1.
    """

    def stored(*, ddof=1, power=1.0, **habits):
        new, moved = spread(ddof=ddof, power=power), update(**habits)
        return lambda batch, running_var, momentum: moved(running_var, new(batch), 1 - momentum)

    wrong = mutants(stored, "momentum of the old value", "standard deviation") | {
        "biased": stored(ddof=0),
        "biased and swapped": stored(ddof=0, momentum=lambda momentum: 1 - momentum),
    }
    hints = {
        "standard deviation": "which of the two is stored, the variance or its root?",
        "biased": "it normalizes with this variance; does it store the same?",
        "biased and swapped": "so does a Keras layer; PyTorch differs in two things",
    }
    rng = np.random.default_rng(9)
    inputs = [
        (np.array([0.0, 2.0]), 1.0, 0.1),
        (rng.normal(size=5), 0.4, 0.3),
        (rng.normal(size=8), 2.0, 0.05),
    ]
    return judge(answer, truth=stored(), mistakes=with_hints(wrong, hints), inputs=inputs)


def gradient_from_output(answer):
    """Judge a backward pass in training mode for a library that throws the inputs away to save memory.

    Args:
        answer: answer(dy, y, gamma, beta, inverse_std) -> dx. Of the forward pass only the output y is left,
            and inverse_std, one over the root; x is gone. dy, y and dx have shape (examples, features), the
            others (features,).
    """

    wrong = mutants(_backward, "wrong axis", "gamma forgotten") | {
        "mean term missing": _backward(mean_term=0),
        "variance term missing": _backward(variance_term=0),
        "y taken for x_hat": _backward(x_hat=lambda y, gamma, beta: y),
        "sums for means": _backward(mean=np.sum),
    }
    hints = {
        "wrong axis": "does a mean run over the examples or over the features?",
        "gamma forgotten": "what multiplied the output on the way forward?",
        "mean term missing": "add up each column of your dx; what should come out?",
        "variance term missing": "the spread moves with every input as well",
        "y taken for x_hat": "what was done to the normalized values before they became y?",
        "sums for means": "how large is the share of one example in the mean?",
    }
    rng, inputs = np.random.default_rng(10), []
    for m in (4, 6, 9):
        x, gamma, beta = rng.normal(1.0, 2.0, (m, 3)), rng.uniform(0.5, 2.0, 3), rng.normal(size=3)
        mean, variance = batch_norm.batch_moments(x)
        y = batch_norm.normalize(x, mean, variance, gamma=gamma, beta=beta)
        inputs.append((rng.normal(size=x.shape), y, gamma, beta, 1 / np.sqrt(variance + 1e-3)))
    return judge(answer, truth=_backward(), mistakes=with_hints(wrong, hints), inputs=inputs)


def _backward(
    *,
    x_hat=lambda y, gamma, beta: (y - beta) / gamma,
    mean=np.mean,
    axis=0,
    mean_term=1,
    variance_term=1,
    gamma=lambda gamma: gamma,
):
    """Return a backward pass from the output with the given habits; without any, the right one."""
    learned = gamma

    def dx(dy, y, gamma, beta, inverse_std):
        normal = x_hat(y, gamma, beta)
        through_mean = mean(dy, axis=axis, keepdims=True)
        through_variance = normal * mean(dy * normal, axis=axis, keepdims=True)
        terms = mean_term * through_mean + variance_term * through_variance
        return learned(gamma) * inverse_std * (dy - terms)

    return dx
