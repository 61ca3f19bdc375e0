"""Folds a trained batch norm into the layer beside it, so that inference runs one layer, not two.

With its moving statistics fixed, a batch norm is one multiplication and one addition a feature. The
layer after it, or before it, multiplies and adds anyway, so it can do both at once:

    scale, shift = affine(...)                    y = scale * x + shift
    kernel, bias = fold(kernel, bias, ...)        one layer in place of two

Nothing here is approximate: what changes is the rounding alone.
"""

import numpy as np

from bnlab import checks, words

_PADDINGS = ("valid", "same")


def affine(*, gamma, beta, moving_mean, moving_variance, epsilon=1e-3):
    """Return the scale and the shift that a batch norm applies to each feature in inference.

        scale = gamma / sqrt(moving_variance + epsilon)
        shift = beta - scale * moving_mean

    Args:
        gamma, beta: shape (features,), the learned scale and offset; None for 1 and 0 (a layer built with
            scale=False or center=False). They have no default, as to forget them is an error of its own.
        moving_mean, moving_variance: shape (features,), the remembered statistics.
        epsilon: that of the layer: 1e-3 in Keras, 1e-5 in PyTorch; in the units of the variance.

    Returns:
        (scale, shift), each of shape (features,), float64 (or longer if the arguments are): per unit of x,
        and in the units of the output.

    Raises:
        TypeError, ValueError: what is not real, finite or of shape (features,); a negative variance, epsilon
            negative or not finite, or moving_variance + epsilon equal to 0.

    Source: algorithm 2 of Ioffe & Szegedy (2015), line 11.
    """
    mean = _vector("moving_mean", moving_mean)
    gamma, beta, mean, variance = _statistics(gamma, beta, mean, moving_variance, len(mean))
    scale = gamma / checks.root(variance, epsilon, name="moving_variance")
    return scale, beta - scale * mean


def fold(
    kernel,
    bias,
    *,
    gamma,
    beta,
    moving_mean,
    moving_variance,
    epsilon=1e-3,
    before=False,
    depthwise=False,
    padding=None,
):
    """Return the kernel and the bias of one layer that does what a layer and its batch norm do in inference.

    With scale = gamma / sqrt(moving_variance + epsilon), and o an output feature, i an input feature:

        after the layer     kernel'[.., i, o] = kernel[.., i, o] * scale[o]
                            bias'[o]          = (bias[o] - moving_mean[o]) * scale[o] + beta[o]
        before the layer    kernel'[.., i, o] = kernel[.., i, o] * scale[i]
                            bias'[o]          = bias[o] + sum kernel[.., i, o] * shift[i]

    where shift = beta - scale * moving_mean and the sum goes over i and all places of the kernel. There must
    be nothing between the two layers, no activation above all; and the layer must be used nowhere else.

    Args:
        kernel: that of a Dense layer, (in, out), or of a convolution, such as (height, width, in, out); of a
            depthwise one, (height, width, in, multiplier), with depthwise=True. Not of a transposed one,
            which Keras stores as (height, width, out, in).
        bias: shape (out,), for a depthwise layer (in * multiplier,); None for a layer without one.
        gamma, beta, moving_mean, moving_variance, epsilon: of the batch norm, as in `affine`; one value
            for each output feature, or for each input feature with before=True.
        before: the batch norm comes before the layer (its output is the layer's input), not after it.
        depthwise: the kernel is a depthwise one.
        padding: "valid" or "same", that of the convolution. Asked for with before=True only, and for a kernel
            of more than one place: the zeros that "same" adds come after the batch norm, which would have
            moved them, so at the border no kernel and bias can be equal unless every shift is 0.

    Returns:
        (kernel, bias) of the shape and dtype of kernel (float64 for integers), computed in float64. bias is
        an array also where None was given. The arguments are not changed.

    Raises:
        TypeError, ValueError: what is not real, finite or of a fitting shape; a negative variance, epsilon
            negative or not finite, or their sum 0; a flag that is no bool; padding missing, unknown, or
            "same" where the fold is not exact; a result that the dtype of kernel cannot hold.

    Source: Jacob et al. (2018), arXiv:1712.05877, section 3.2, for a batch norm after a convolution.
    """
    checks.flag("before", before)
    checks.flag("depthwise", depthwise)
    table, inputs, outputs = _as_table(kernel, depthwise)
    bias = np.zeros(outputs) if bias is None else _vector("bias", bias, outputs, "output feature of kernel")
    side = "input" if before else "output"
    gamma, beta, mean, variance = _statistics(
        gamma, beta, moving_mean, moving_variance, inputs if before else outputs, f"{side} feature of kernel"
    )
    scale = gamma / checks.root(variance, epsilon, name="moving_variance")
    shift = beta - scale * mean
    _check_padding(padding, shift, places=len(table), before=before)
    if not before:
        # The outputs of a depthwise layer are numbered as its last two axes are laid out.
        scales = scale.reshape(table.shape[1:]) if depthwise else scale
        return _as_layer(table * scales, (bias - mean) * scale + beta, kernel)
    moved = (table * shift[:, np.newaxis]).sum(axis=0)  # (in, out), or (in, multiplier) of a depthwise layer
    moved = moved.reshape(-1) if depthwise else moved.sum(axis=0)
    return _as_layer(table * scale[:, np.newaxis], bias + moved, kernel)


def _as_table(kernel, depthwise):
    """Return the kernel as (places, in, out) in the dtype to compute in, and how many go in and come out."""
    array, least = _finite("kernel", kernel), 3 if depthwise else 2
    if array.ndim < least:
        kind, shape = ("depthwise ", "(height, width, in, multiplier)") if depthwise else ("", "(in, out)")
        raise ValueError(
            f"kernel has shape {array.shape}; expected that of a {kind}layer, such as {shape}, with {least} "
            "axes or more"
        )
    if array.size == 0:
        raise ValueError(f"kernel has shape {array.shape}; expected at least one number on each axis")
    inputs, last = array.shape[-2:]
    return array.reshape(-1, inputs, last), inputs, inputs * last if depthwise else last


def _as_layer(table, bias, kernel):
    given = np.asarray(kernel)
    dtype = given.dtype if given.dtype.kind == "f" else table.dtype
    with np.errstate(over="ignore"):
        folded = table.reshape(given.shape).astype(dtype), bias.astype(dtype)
    for name, array in zip(("kernel", "bias"), folded, strict=True):
        if not np.isfinite(array).all():
            raise ValueError(
                f"kernel has dtype {dtype}, which cannot hold the folded {name}; expected a wider dtype"
            )
    return folded


def _check_padding(padding, shift, *, places, before):
    if padding is not None and padding not in _PADDINGS:
        raise ValueError(f"padding is {padding!r}; expected 'valid' or 'same'")
    if not before or places == 1:
        return  # after the layer, or without neighbours, the border is like all the rest
    if padding is None:
        raise ValueError(
            f"padding is None; expected that of the layer, 'valid' or 'same', as a kernel of {places} places "
            "with a batch norm before it can meet a border"
        )
    if padding == "same" and shift.any():
        raise ValueError(
            f"padding is 'same' and the batch norm moves feature {words.features(shift != 0)}: the zeros at "
            "the border are added after it and do not move, so no kernel and bias is equal there; expected "
            "'valid', or a batch norm whose shift is 0"
        )


def _statistics(gamma, beta, moving_mean, moving_variance, features, whose="feature of moving_mean"):
    mean = _vector("moving_mean", moving_mean, features, whose)
    variance = _vector("moving_variance", moving_variance, features, whose)
    gamma = np.ones(features) if gamma is None else _vector("gamma", gamma, features, whose)
    beta = np.zeros(features) if beta is None else _vector("beta", beta, features, whose)
    return gamma, beta, mean, variance


def _vector(name, value, features=None, whose="feature"):
    array = _finite(name, value)
    if features is None and array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected (features,), one value for each {whose}")
    return checks.per_feature(name, array, array.size if features is None else features, whose=whose)


def _finite(name, value):
    """Return a finite array in the dtype to compute in: float64, or longer if the array is."""
    array = checks.finite(name, value)
    return array.astype(np.promote_types(array.dtype, np.float64), copy=False)
