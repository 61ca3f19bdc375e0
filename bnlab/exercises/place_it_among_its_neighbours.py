"""Exercises of the twelfth notebook, "Place it among its neighbours": a bias, padding and weight decay.

Keras is imported when an answer is judged, not before. The layers are small, new and always the same.
"""

import numpy as np

from bnlab.judging import judge, judge_proposal
from bnlab.judging.classic_bugs import with_hints

_EPSILON = 1e-3


def bias_taken_out(answer):
    """Judge how a bias is taken out of the dense layer in front of a batch norm.

    Args:
        answer: answer(dense, bn) sets the bias of the dense layer to 0 and changes what else must change, so
            that the pair answers as before in inference and in training mode. What it returns does not
            matter. The statistics of bn are not those of the data that it is asked about.
    """
    wrong = {
        "bias dropped": _take_out(),
        "bias still there": lambda dense, bn: None if np.isnan(dense.bias[0]) else dense.bias,
        "the wrong sign": _take_out(lambda bn, bias: bn.moving_mean.assign_add(bias)),
        "into beta as it is": _take_out(lambda bn, bias: bn.beta.assign_add(bias)),
        "into beta": _take_out(lambda bn, bias: bn.beta.assign_add(bias * _scale(bn))),
        "mean replaced": _take_out(lambda bn, bias: bn.moving_mean.assign(-bias)),
        "only the mean moved": lambda dense, bn: bn.moving_mean.assign_sub(dense.bias),
        "twice": _take_out(lambda bn, bias: bn.moving_mean.assign_sub(2 * bias)),
    }
    hints = {
        "bias dropped": "right in training mode; but the remembered mean is that of units with their bias",
        "bias still there": "the bias of the dense layer is not 0; a variable changes when it is assigned to",
        "the wrong sign": "the units have become smaller by the bias; so what becomes of their mean?",
        "into beta as it is": "beta is added after the division, and the bias came before it",
        "into beta": "right in inference; but in training mode the bias did nothing, and this beta does",
        "mean replaced": "the remembered mean was more than the bias; what of the rest?",
        "only the mean moved": "the mean has been mended for a bias of 0, and the bias is still there",
        "twice": "the mean has moved too far: by twice the bias",
    }
    rng, inputs = np.random.default_rng(12), []
    for _ in range(2):
        weights = [rng.normal(size=shape) for shape in ((3, 4), (4,), (4,), (4,), (4,))]
        inputs.append((rng.normal(size=(6, 3)), [*weights, rng.uniform(0.5, 2, size=4)]))
    return judge(
        answer,
        truth=_take_out(lambda bn, bias: bn.moving_mean.assign_sub(bias)),
        mistakes=with_hints(wrong, hints),
        inputs=inputs,
        observe=_answers_after,
        seconds=10.0,
    )


def _take_out(mend=lambda bn, bias: None):
    """Return a function of (dense, bn) that sets the bias to 0 and mends bn, given what the bias was."""

    def take_out(dense, bn):
        bias = dense.bias.numpy()
        dense.bias.assign(np.zeros_like(bias))
        mend(bn, bias)

    return take_out


def _scale(bn):
    return bn.gamma.numpy() / np.sqrt(bn.moving_variance.numpy() + _EPSILON)


def _answers_after(take_out, x, weights):
    """Return the outputs in both modes and the bias, after a bias has been taken out of a new pair."""
    layers = _layers()
    dense = layers.Dense(4, dtype="float64")
    bn = layers.BatchNormalization(epsilon=_EPSILON, dtype="float64")
    bn(dense(x))
    dense.set_weights(weights[:2])
    bn.set_weights(weights[2:])
    take_out(dense, bn)
    in_use = bn(dense(x), training=False).numpy()
    return in_use, bn(dense(x), training=True).numpy(), dense.bias.numpy()


def _layers():
    import bnlab.tensorflow_setup  # noqa: F401, I001, before TensorFlow is there
    from keras import layers

    return layers


def moments_without_padding(answer):
    """Judge the moments of padded sequences: those of the real steps.

    Args:
        answer: answer(x, mask) -> (mean, variance), each of shape (features,). x has the shape (examples,
            steps, features) and mask (examples, steps), True for a real step. What stands in the padding is
            not always 0.
    """

    wrong = {
        "no mask": lambda x, mask: _moments(x, (0, 1)),
        "padding as zeros": _padding_as_zeros,
        "divided by all": _divided_by_all,
        "examples averaged": _examples_averaged,
        "padding instead": lambda x, mask: _moments(x[~mask]),
        "features together": lambda x, mask: (np.full(3, x[mask].mean()), np.full(3, x[mask].var())),
        "Bessel": lambda x, mask: (x[mask].mean(axis=0), x[mask].var(axis=0, ddof=1)),
        "standard deviation": lambda x, mask: (x[mask].mean(axis=0), x[mask].std(axis=0)),
    }
    hints = {
        "no mask": "these are the moments with the padding",
        "padding as zeros": "times the mask, the padding is 0, and a 0 still counts in a mean",
        "divided by all": "the sums are right; by how many steps are they divided?",
        "examples averaged": "a short example would weigh as much as a long one; each real step counts once",
        "padding instead": "these are the moments of the padding; True is a real step",
        "features together": "each feature has a mean and a variance of its own",
    }
    rng, inputs = np.random.default_rng(13), []
    for _ in range(3):
        mask = np.arange(6) < np.array([[6], [2], [3], [5]])
        inputs.append(
            (rng.normal(2, 1, size=(4, 6, 3)) * [1, 2, 3] + 0.5 * np.arange(4).reshape(4, 1, 1), mask)
        )
    return judge(
        answer,
        truth=lambda x, mask: _moments(x[mask]),
        mistakes=with_hints(wrong, hints),
        inputs=inputs,
    )


def _padding_as_zeros(x, mask):
    return _moments(x * mask[..., None], (0, 1))


def _divided_by_all(x, mask):
    mean, kept = x[mask].mean(axis=0), mask[..., None]
    return (x * kept).mean(axis=(0, 1)), (((x - mean) * kept) ** 2).mean(axis=(0, 1))


def _examples_averaged(x, mask):
    each = [_moments(rows[real]) for rows, real in zip(x, mask, strict=True)]
    return tuple(np.mean(each, axis=0))


def _moments(values, axis=0):
    return values.mean(axis=axis), values.var(axis=axis)


def spared_from_decay(answer):
    """Judge how gamma and beta are spared from weight decay.

    Args:
        answer: answer(optimizer) gets a new AdamW with a weight decay of 0.1 and sees to it that no gamma
            and no beta of any model decays, and every kernel does. What it returns does not matter. The
            model, which the answer does not get, has two dense layers and two batch norms.
    """

    def fault(spare):
        if not callable(spare):
            return "no function", "the function itself is expected, not what it returns"
        optimizer, model = _adamw_and_model()
        returned = spare(optimizer)
        shrunk = _what_shrinks(optimizer, model)
        if shrunk["kernel"] and not shrunk["gamma"] and not shrunk["beta"]:
            return None
        if hasattr(returned, "exclude_from_weight_decay") and returned is not optimizer:
            return "another optimizer", "a new optimizer came back, and the one that was given is as before"
        if not any(shrunk.values()):
            return "nothing decays", "now the kernels are spared as well; they shall decay"
        if not shrunk["kernel"]:
            return "the other way round", "the kernels are spared, and gamma or beta decays; who is excluded?"
        if all(shrunk.values()):
            return (
                "everything decays",
                "gamma and beta decay as before; are the names those of the variables?",
            )
        left = "beta" if shrunk["beta"] else "gamma"
        return (
            "only one of them",
            f"{left} still decays; if there are two calls, the second forgets the first",
        )

    return judge_proposal(answer, fault_of=fault, seconds=20.0)


def _adamw_and_model():
    layers = _layers()
    from keras import Sequential, optimizers

    kinds = [layers.Dense, layers.BatchNormalization] * 2
    givens = [{"units": 4}, {}, {"units": 3}, {}]
    stack = [kind(name=name, **given) for kind, name, given in zip(kinds, "abcd", givens, strict=True)]
    model = Sequential([layers.Input((2,)), *stack])
    model.set_weights([np.ones(variable.shape) for variable in model.variables])
    return optimizers.AdamW(0.1, weight_decay=0.1), model


def _what_shrinks(optimizer, model):
    """Return name -> whether a variable of that name shrinks in one step without gradients."""
    variables = model.trainable_variables
    optimizer.apply([np.zeros(variable.shape, "float32") for variable in variables], variables)
    names = ("kernel", "bias", "gamma", "beta")
    return {name: any(float(np.min(v)) < 1 for v in variables if v.name == name) for name in names}
