"""Exercises of the tenth notebook, "Fold it away for inference": two numbers a feature, and where they go.

Keras is imported when an answer is judged, not before.
"""

import numpy as np

from bnlab.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import mutants, scale, with_hints


def forgotten_epsilon(answer):
    """Judge the variance at which a fold that forgets epsilon makes the scale twice as large as it should be.

    Args:
        answer: a moving variance, for a layer with epsilon 0.001 that is folded with 0.
    """
    epsilon, beside = 1e-3, "there it is 2.24 times as large; what stands beside epsilon under the root?"
    mistakes = {
        "root forgotten": (epsilon, "there it is 1.41 times as large; what stands over the denominator?"),
        "epsilon alone": (epsilon / 4, beside),
        "standard deviation": (np.sqrt(epsilon / 3), "the variance is asked for, not its root"),
        "PyTorch's epsilon": (1e-5 / 3, "with another epsilon; which one did the layer have?"),
    }
    hint = "what is the scale with epsilon, and what without? Divide one by the other"
    return judge_value(answer, truth=epsilon / 3, mistakes=mistakes, tolerance=0.015, otherwise=hint)


def rim(answer):
    """Judge the numbers that an image is padded with, so that a norm in front can be folded for "same" too.

    Args:
        answer: answer(norm) -> one number for each feature. norm is a built Keras batch norm; an image that
            is padded with these numbers and sent through it has zeros at the rim.
    """

    def affine(norm, **habits):
        gamma, beta, mean, variance = norm.get_weights()
        factor = scale(**habits)(gamma, variance, norm.epsilon)
        return factor, beta - factor * mean

    def number(of=lambda factor, shift: -shift / factor, **habits):
        return lambda norm: of(*affine(norm, **habits))

    wrong = mutants(number, "epsilon forgotten", "gamma forgotten") | {
        "minus the shift": number(lambda factor, shift: -shift),
        "sign lost": number(lambda factor, shift: shift / factor),
        "the mean": lambda norm: norm.get_weights()[2],
    }
    hints = {
        "epsilon forgotten": "nearly; under the root there is something beside the variance",
        "gamma forgotten": "right for a layer whose gamma is 1",
        "minus the shift": "the norm does not only add; send your number through it by hand",
        "sign lost": (
            "send your number through the norm by hand; does the shift go away, or is it there twice?"
        ),
        "the mean": "a pixel at the mean comes out as beta; is beta 0 here?",
    }
    inputs = [
        (np.array([[1.0, 2.0, 0.5], [0.5, -1.0, 3.0], [4.0, 0.7, -2.0], [9.0, 0.003, 1.0]]),),
        (np.array([[-0.8, 1.5, 0.3], [2.0, 0.4, -0.9], [0.2, -1.0, 5.0], [0.002, 4.0, 0.3]]),),
    ]
    return judge(
        answer,
        truth=number(),
        mistakes=with_hints(wrong, hints),
        inputs=inputs,
        observe=lambda function, weights: function(_norm(weights)),
        seconds=10.0,
    )


def _norm(weights):
    """Return a Keras batch norm for images with these gamma, beta, moving mean and moving variance."""
    import bnlab.tensorflow_setup  # noqa: F401, I001, before TensorFlow is there
    import keras

    norm = keras.layers.BatchNormalization(dtype="float64")
    norm.build((None, 5, 5, weights.shape[1]))
    norm.set_weights(weights)
    return norm


def fold_torch(answer):
    """Judge a fold of a PyTorch convolution, whose output features are the first axis of its kernel.

    Args:
        answer: answer(weight, bias, gamma, beta, mean, variance, epsilon) -> (weight, bias) of the one layer
            that does the work of the convolution and of the batch norm behind it. weight has shape (out, in,
            height, width), the others (out,), and epsilon is a number.
    """

    wrong = mutants(_fold, "gamma forgotten", "epsilon forgotten", "epsilon outside the root") | {
        "Keras's axis": _fold(axis=3),
        "input features": _fold(axis=1),
        "bias not scaled": _fold(shift=lambda bias, factor, mean, beta: bias - factor * mean + beta),
        "bias dropped": _fold(shift=lambda bias, factor, mean, beta: beta - factor * mean),
        "Keras's epsilon": _fold(divisor=lambda variance, epsilon: np.sqrt(variance + 1e-3)),
    }
    hints = {
        "epsilon forgotten": "one of the arguments was not used, and it is small",
        "epsilon outside the root": "to what is epsilon added: to the variance or to its root?",
        "Keras's axis": "the last axis holds the output features in Keras; which one does here?",
        "input features": "each input is scaled; but the norm stands behind the convolution",
        "bias not scaled": "the bias goes through the norm as well",
        "bias dropped": "right for a convolution without a bias; this one has one",
        "Keras's epsilon": "that is the default of another library; take the one you are given",
    }
    rng, inputs = np.random.default_rng(12), []
    for epsilon in (1e-5, 0.02):
        weight, bias = rng.normal(size=(3, 3, 3, 3)), rng.normal(size=3)
        gamma, beta, mean = rng.uniform(0.5, 2.0, 3), rng.normal(size=3), rng.normal(size=3)
        inputs.append((weight, bias, gamma, beta, mean, np.array([0.004, 0.2, 2.0]), epsilon))
    return judge(answer, truth=_fold(), mistakes=with_hints(wrong, hints), inputs=inputs)


def _fold(*, axis=0, shift=lambda bias, factor, mean, beta: factor * (bias - mean) + beta, **habits):
    """Return a fold of a PyTorch convolution with the given habits; without any, the right one."""

    def folded(weight, bias, gamma, beta, mean, variance, epsilon):
        factor = scale(**habits)(gamma, variance, epsilon) * np.ones(len(bias))
        return weight * factor.reshape(np.roll([-1, 1, 1, 1], axis)), shift(bias, factor, mean, beta)

    return folded


def may_stand_between(answer):
    """Judge an idea of the reader's own: a layer across which a norm can be folded back into a convolution.

    Args:
        answer: a Keras layer, or a function, from images of shape (2, 8, 8, 3) to something with 3 features.
            It shall change the images and yet let every scale and every shift of the features pass.
    """

    def fault(between):
        if isinstance(between, type):
            return "a class", "that is a class; make a layer of it, with brackets"
        if not callable(between):
            return "no layer", f"a Keras layer is expected, not a {type(between).__name__}"
        x, other = np.random.default_rng(13).normal(size=(2, 2, 8, 8, 3))
        y, of_zero, of_one = (_through(between, images) for images in (x, 0 * x, 0 * x + 1))
        if _is_same(y, x):
            return "does nothing", "it hands on what it gets; a layer that does something?"
        if not _is_same(_through(between, x), y):
            return "chance", "it gave two outputs for one input; that is for training"
        alone = _through(between, x * [1.0, 0.0, 0.0] + other * [0.0, 1.0, 1.0])
        if not _is_same(alone[..., 0], y[..., 0]):
            hint = "one feature of its input reaches another of its output, and they have different scales"
            return "features mixed", hint
        passes = _passes(between, x, y, [0.5, 2.0, 3.0])
        if passes and not _passes(between, x, y, [-0.5, 2.0, -3.0]):
            hint = "right as long as gamma is positive; turn all signs, and it picks other values"
            return "gamma negative", hint
        mixed = _through(between, 2 * x - other) - of_zero
        is_affine = _is_same(mixed, 2 * y - _through(between, other) - of_zero)
        ones, is_linear = np.isclose(of_one, 1, atol=1e-4), is_affine and not of_zero.any()
        if is_linear and ones.any() and not ones.all() and (of_one[~ones] == 0).all():
            hint = "the zeros that it adds have not been through the norm, and the norm would move them"
            return "zeros of its own", hint
        if is_linear and not ones.all():
            worst = of_one.reshape(-1)[np.abs(of_one - 1).argmax()]
            hint = f"of an image that is 1 everywhere it makes {worst:.4g}; then what of the shift?"
            return "another scale", hint
        if passes:
            return None
        if is_affine:
            return "another shift", "it adds something of its own; will that be scaled by the norm, too?"
        hint = "it bends: what it makes of a sum is not the sum of what it makes of the parts"
        return "an activation", hint

    return judge_proposal(answer, fault_of=fault, seconds=10.0)


def _through(between, x):
    try:
        y = between(x.copy())
    except Exception as error:
        if not hasattr(between, "get_config"):
            raise
        words = f"a {type(error).__name__} for images of shape {x.shape}"
        raise UnfitError("not for images", words) from error
    y = as_numbers(y)
    if y.ndim == 0 or y.shape[-1] != 3:
        words = f"3 features go in and the output has shape {y.shape}; the norm has 3 scales"
        raise UnfitError("other features", words)
    return y


def _is_same(one, other):
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-4)


def _passes(between, x, y, scales):
    """Say whether scales and shifts of the features come out as they went in."""
    shift = np.array([3.0, -2.0, 1.0])
    return _is_same(_through(between, x * scales + shift), y * scales + shift)
