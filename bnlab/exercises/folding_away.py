"""Exercises of the tenth notebook, "Fold it away for inference": two numbers a feature, and where they go.

Keras is imported when an answer is judged, not before.
"""

from dataclasses import dataclass

import numpy as np

from bnlab import folding
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value


def forgotten_epsilon(answer):
    """Judge the variance at which a fold that forgets epsilon makes the scale twice as large as it should be.

    Args:
        answer: a moving variance, for a layer with epsilon 0.001 that is folded with 0.

    Returns:
        Verdict.
    """
    epsilon = 1e-3
    mistakes = {
        "root forgotten": (epsilon, "there it is 1.41 times as large; what stands over the denominator?"),
        "squared twice": (epsilon / 15, "there it is four times as large"),
        "epsilon alone": (
            epsilon / 4,
            "there it is 2.24 times as large; what stands beside epsilon under the root?",
        ),
        "upside down": (3 * epsilon, "does epsilon count more where the variance is large?"),
        "epsilon outside the root": (epsilon**2, "to what is epsilon added: to the variance or to its root?"),
        "standard deviation": (np.sqrt(epsilon / 3), "the variance is asked for, not its root"),
        "PyTorch's epsilon": (1e-5 / 3, "with another epsilon; which one did the layer have?"),
    }
    return judge_value(
        answer,
        truth=epsilon / 3,
        mistakes=mistakes,
        tolerance=0.015,
        otherwise="what is the scale with epsilon, and what without? Divide one by the other",
    )


def rim(answer):
    """Judge the numbers that an image is padded with, so that a norm in front can be folded for "same" too.

    Args:
        answer: answer(norm) -> one number for each feature. norm is a built Keras batch norm; an image that
            is padded with these numbers and sent through it has zeros at the rim.

    Returns:
        Verdict.
    """

    def affine(norm, epsilon=None, gamma=None):
        found, beta, mean, variance = norm.get_weights()
        scale = (found if gamma is None else gamma) / np.sqrt(
            variance + (norm.epsilon if epsilon is None else epsilon)
        )
        return scale, beta - scale * mean

    def from_affine(number, **wrong):
        return lambda norm: number(*affine(norm, **wrong))

    mistakes = {
        "zeros": (
            lambda norm: np.zeros(3),
            "that is the trouble: the norm would have made something else of these zeros",
        ),
        "the shift": (
            from_affine(lambda scale, shift: shift),
            "that is what the norm makes of 0; of which number does it make 0?",
        ),
        "minus the shift": (
            from_affine(lambda scale, shift: -shift),
            "the norm does not only add; send your number through it by hand",
        ),
        "sign lost": (
            from_affine(lambda scale, shift: shift / scale),
            "send your number through the norm by hand; does the shift go away, or is it there twice?",
        ),
        "multiplied by the scale": (
            from_affine(lambda scale, shift: -scale * shift),
            "the norm will multiply it by the scale; so before it must be ...?",
        ),
        "upside down": (
            from_affine(lambda scale, shift: -scale / shift),
            "which of the two is divided by the other?",
        ),
        "the mean": (
            lambda norm: norm.get_weights()[2],
            "a pixel at the mean comes out as beta; is beta 0 here?",
        ),
        "epsilon forgotten": (
            from_affine(lambda scale, shift: -shift / scale, epsilon=0.0),
            "nearly; under the root there is something beside the variance",
        ),
        "gamma forgotten": (
            from_affine(lambda scale, shift: -shift / scale, gamma=1.0),
            "right for a layer whose gamma is 1",
        ),
    }
    inputs = [
        (np.array([[1.0, 2.0, 0.5], [0.5, -1.0, 3.0], [4.0, 0.7, -2.0], [9.0, 0.003, 1.0]]),),
        (np.array([[-0.8, 1.5, 0.3], [2.0, 0.4, -0.9], [0.2, -1.0, 5.0], [0.002, 4.0, 0.3]]),),
    ]
    return judge(
        answer,
        truth=from_affine(lambda scale, shift: -shift / scale),
        mistakes=mistakes,
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

    Returns:
        Verdict.
    """

    def truth(weight, bias, gamma, beta, mean, variance, epsilon):
        scale, shift = folding.affine(
            gamma=gamma, beta=beta, moving_mean=mean, moving_variance=variance, epsilon=epsilon
        )
        return weight * scale[:, None, None, None], bias * scale + shift

    def with_statistics(**wrong):
        def folded(weight, bias, gamma, beta, mean, variance, epsilon):
            given = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance, "epsilon": epsilon}
            return truth(weight, bias, **given | {name: change(given) for name, change in wrong.items()})

        return folded

    def along(axis):
        def folded(weight, bias, *statistics):
            shape = np.roll([-1, 1, 1, 1], axis)
            ones = np.ones((len(bias), 1, 1, 1))
            scales = truth(ones, bias, *statistics)[0].reshape(shape)
            return weight * scales, truth(weight, bias, *statistics)[1]

        return folded

    def with_bias(change):
        def folded(weight, bias, *statistics):
            kernel, shift = truth(weight, np.zeros_like(bias), *statistics)
            scaled = truth(weight, bias, *statistics)[1] - shift
            return kernel, change(bias, scaled, shift)

        return folded

    mistakes = {
        "Keras's axis": (
            along(3),
            "the last axis holds the output features in Keras; which one does here?",
        ),
        "input features": (
            along(1),
            "each input is scaled; but the norm stands behind the convolution",
        ),
        "bias not scaled": (
            with_bias(lambda bias, scaled, shift: bias + shift),
            "the bias goes through the norm as well",
        ),
        "bias dropped": (
            with_bias(lambda bias, scaled, shift: shift),
            "right for a convolution without a bias; this one has one",
        ),
        "bias left alone": (
            with_bias(lambda bias, scaled, shift: bias),
            "where does the shift of the norm go?",
        ),
        "bias scaled alone": (
            with_bias(lambda bias, scaled, shift: scaled),
            "the kernel is right; where does the shift of the norm go?",
        ),
        "shift scaled too": (
            lambda weight, bias, gamma, beta, mean, variance, epsilon: (
                truth(weight, bias, gamma, beta, mean, variance, epsilon)[0],
                (bias - mean + beta) * gamma / np.sqrt(variance + epsilon),
            ),
            "beta is added after all the rest; is it scaled?",
        ),
        "mean not scaled": (
            lambda weight, bias, gamma, beta, mean, variance, epsilon: (
                truth(weight, bias, gamma, beta, mean, variance, epsilon)[0],
                bias * gamma / np.sqrt(variance + epsilon) + beta - mean,
            ),
            "the mean is taken off before the scale is applied, not after it",
        ),
        "epsilon forgotten": (
            with_statistics(epsilon=lambda given: 0.0),
            "one of the arguments was not used, and it is small",
        ),
        "Keras's epsilon": (
            with_statistics(epsilon=lambda given: 1e-3),
            "that is the default of another library; take the one you are given",
        ),
        "epsilon outside the root": (
            with_statistics(
                variance=lambda given: (np.sqrt(given["variance"]) + given["epsilon"]) ** 2,
                epsilon=lambda given: 0.0,
            ),
            "to what is epsilon added: to the variance or to its root?",
        ),
        "gamma forgotten": (with_statistics(gamma=lambda given: None), "what multiplies every output?"),
        "no root": (
            with_statistics(
                variance=lambda given: (given["variance"] + given["epsilon"]) ** 2,
                epsilon=lambda given: 0.0,
            ),
            "a norm divides by the root of the variance",
        ),
    }
    rng = np.random.default_rng(12)
    inputs = [
        (
            rng.normal(size=(3, 3, 3, 3)),
            rng.normal(size=3),
            rng.uniform(0.5, 2.0, 3),
            rng.normal(size=3),
            rng.normal(size=3),
            np.array([0.004, 0.2, 2.0]),
            epsilon,
        )
        for epsilon in (1e-5, 0.02)
    ]
    return judge(answer, truth=truth, mistakes=mistakes, inputs=inputs)


def may_stand_between(answer):
    """Judge an idea of the reader's own: a layer across which a norm can be folded back into a convolution.

    Args:
        answer: a Keras layer, or a function, from images of shape (2, 8, 8, 3) to something with 3 features.
            It shall change the images and yet let every scale and every shift of the features pass.

    Returns:
        Verdict.
    """
    faults = {
        "does nothing": (lambda seen: seen.idle, "it hands on what it gets; a layer that does something?"),
        "chance": (lambda seen: seen.random, "it gave two outputs for one input; that is for training"),
        "features mixed": (
            lambda seen: seen.mixes,
            "one feature of its input reaches another of its output, and they have different scales",
        ),
        "gamma negative": (
            lambda seen: seen.passes_positive and not seen.passes_negative,
            "right as long as gamma is positive; turn all signs, and it picks other values",
        ),
        "zeros of its own": (
            lambda seen: seen.linear and seen.adds_zeros,
            "the zeros that it adds have not been through the norm, and the norm would move them",
        ),
        "another scale": (
            lambda seen: seen.linear and not seen.keeps_constants,
            lambda seen: (
                f"of an image that is 1 everywhere it makes {seen.of_one:.4g}; then what of the shift?"
            ),
        ),
        "another shift": (
            lambda seen: seen.affine and not seen.passes_positive,
            "it adds something of its own; will that be scaled by the norm, too?",
        ),
        "an activation": (
            lambda seen: not seen.passes_positive,
            "it bends: what it makes of a sum is not the sum of what it makes of the parts",
        ),
    }
    return judge_proposal(answer, read=_across, faults=faults, seconds=10.0)


@dataclass
class _Across:
    """What a layer lets pass; each is True or False but of_one, what an image of ones becomes."""

    idle: bool
    random: bool
    mixes: bool
    passes_positive: bool
    passes_negative: bool
    linear: bool
    affine: bool
    adds_zeros: bool
    keeps_constants: bool
    of_one: float


def _across(between):
    if isinstance(between, type):
        raise UnfitError("a class", "that is a class; make a layer of it, with brackets")
    if not callable(between):
        raise UnfitError("no layer", f"a Keras layer is expected, not a {type(between).__name__}")

    def through(x):
        y = as_numbers(_called(between, x.copy()))
        if y.ndim == 0 or y.shape[-1] != 3:
            raise UnfitError(
                "other features",
                f"3 features go in and the output has shape {y.shape}; the norm has 3 scales",
            )
        return y

    def same(one, other):
        return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-4)

    def passes(scale):
        shift = np.array([3.0, -2.0, 1.0])
        return same(through(x * scale + shift), y * scale + shift)

    x, other = np.random.default_rng(13).normal(size=(2, 2, 8, 8, 3))
    y, of_zero, of_one = through(x), through(np.zeros_like(x)), through(np.ones_like(x))
    first_alone = through(x * [1.0, 0.0, 0.0] + other * [0.0, 1.0, 1.0])
    ones = np.isclose(of_one, 1, atol=1e-4)
    affine = same(through(2 * x - other) - of_zero, 2 * y - through(other) - of_zero)
    return _Across(
        idle=same(y, x),
        random=not same(through(x), y),
        mixes=not same(first_alone[..., 0], y[..., 0]),
        passes_positive=passes(np.array([0.5, 2.0, 3.0])),
        passes_negative=passes(np.array([-0.5, 2.0, -3.0])),
        linear=affine and not of_zero.any(),
        affine=affine,
        adds_zeros=bool(ones.any() and (of_one[~ones] == 0).all() and not ones.all()),
        keeps_constants=bool(ones.all()),
        of_one=float(of_one.reshape(-1)[np.abs(of_one - 1).argmax()]),
    )


def _called(between, x):
    try:
        return between(x)
    except Exception as error:
        if not hasattr(between, "get_config"):
            raise
        name = type(error).__name__
        raise UnfitError("not for images", f"a {name} for images of shape {x.shape}") from error
