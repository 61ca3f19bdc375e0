"""Right and wrong answers to the exercises of the twelfth notebook."""

import keras
import numpy as np


def take_out(mend):
    def answer(dense, bn):
        bias = dense.bias.numpy()
        dense.bias.assign(0.0 * bias)
        mend(bn, bias)

    return answer


def by_weights(dense, bn):
    kernel, bias = dense.get_weights()
    gamma, beta, mean, variance = bn.get_weights()
    bn.set_weights([gamma, beta, mean - bias, variance])
    dense.set_weights([kernel, 0 * bias])


def scaled_into_beta(bn, bias):
    bn.beta.assign_add(bias * bn.gamma / (bn.moving_variance + 1e-3) ** 0.5)


def by_sums(x, mask):
    kept, count = mask[..., None], mask.sum()
    mean = (x * kept).sum(axis=(0, 1)) / count
    return mean, ((x - mean) ** 2 * kept).sum(axis=(0, 1)) / count


def in_loops(x, mask):
    rows = [
        row
        for example, real in zip(x, mask, strict=True)
        for row, is_real in zip(example, real, strict=True)
        if is_real
    ]
    return np.mean(rows, axis=0), np.var(rows, axis=0).tolist()


def zeroed(x, mask):
    return (x * mask[..., None]).mean(axis=(0, 1)), (x * mask[..., None]).var(axis=(0, 1))


def divided_by_all(x, mask):
    kept, steps = mask[..., None], mask.size
    mean = (x * kept).sum(axis=(0, 1)) / mask.sum()
    return (x * kept).sum(axis=(0, 1)) / steps, ((x - mean) ** 2 * kept).sum(axis=(0, 1)) / steps


def examples_averaged(x, mask):
    each = [(e[m].mean(axis=0), e[m].var(axis=0)) for e, m in zip(x, mask, strict=True)]
    return tuple(np.mean(each, axis=0))


def exclude(*names):
    return lambda optimizer: optimizer.exclude_from_weight_decay(var_names=list(names))


def one_by_one(optimizer):
    for name in ("gamma", "beta", "bias"):
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", name])
    return optimizer


def two_calls(optimizer):
    for name in ("gamma", "beta"):
        optimizer.exclude_from_weight_decay(var_names=[name])


def no_decay(optimizer):
    optimizer.weight_decay = None


def another(optimizer):
    other = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    other.exclude_from_weight_decay(var_names=["gamma", "beta"])
    return other


ANSWERS = {
    "bias_taken_out": {
        "right": [take_out(lambda bn, bias: bn.moving_mean.assign(bn.moving_mean - bias)), by_weights],
        "wrong": {
            "bias dropped": take_out(lambda bn, bias: bias),
            "bias still there": lambda dense, bn: bn.moving_mean - dense.bias,
            "the wrong sign": take_out(lambda bn, bias: bn.moving_mean.assign_add(bias)),
            "into beta as it is": take_out(lambda bn, bias: bn.beta.assign_add(bias)),
            "into beta": take_out(scaled_into_beta),
            "mean replaced": take_out(lambda bn, bias: bn.moving_mean.assign(-bias)),
            "only the mean moved": lambda dense, bn: bn.moving_mean.assign(bn.moving_mean - dense.bias),
            "twice": take_out(lambda bn, bias: bn.moving_mean.assign_sub(bias + bias)),
            "no function": True,
        },
    },
    "moments_without_padding": {
        "right": [by_sums, in_loops],
        "wrong": {
            "no mask": lambda x, mask: (x.reshape(-1, 3).mean(axis=0), x.reshape(-1, 3).var(axis=0)),
            "padding as zeros": zeroed,
            "divided by all": divided_by_all,
            "examples averaged": examples_averaged,
            "padding instead": lambda x, mask: by_sums(x, ~mask),
            "features together": lambda x, mask: (np.ones(3) * x[mask].mean(), np.ones(3) * x[mask].var()),
            "Bessel": lambda x, mask: (x[mask].mean(axis=0), x[mask].var(axis=0, ddof=1)),
            "standard deviation": lambda x, mask: (x[mask].mean(axis=0), x[mask].std(axis=0)),
        },
    },
    "spared_from_decay": {
        "right": [exclude("gamma", "beta"), exclude("beta", "bias", "gam"), one_by_one],
        "wrong": {
            "another optimizer": another,
            "nothing decays": no_decay,
            "the other way round": exclude("kernel"),
            "everything decays": exclude("batch_normalization"),
            "only one of them": two_calls,
            "no function": ["gamma", "beta"],
        },
    },
}
