"""Right and wrong answers to the exercises of the eleventh notebook."""

import keras
import numpy as np
from keras import layers

from bnlab.checkup import recalibrate


def by_rules(moving_mean, moving_variance, x):
    mean, variance = x.mean(axis=0), x.var(axis=0)
    if not np.isfinite([moving_mean, moving_variance]).all():
        return "not finite"
    near = np.abs(moving_mean - mean) <= 0.5 * np.sqrt(variance)
    if (near & (moving_variance <= 2 * variance) & (variance <= 2 * moving_variance)).all():
        return "healthy"
    return "never updated" if not moving_mean.any() and set(moving_variance) == {1} else "not converged"


def by_feature(moving_mean, moving_variance, x):
    words = set()
    for mean, variance, column in zip(moving_mean, moving_variance, x.T, strict=True):
        if np.isnan(mean + variance) or np.isinf(mean + variance):
            return "not finite"
        far = (mean - column.mean()) ** 2 > column.var() / 4
        words.add("ill" if far or abs(np.log2(variance / column.var())) > 1 else "well")
    if "ill" not in words:
        return "healthy"
    fresh = np.allclose(moving_mean, 0) and np.allclose(moving_variance, 1)
    return "never updated" if fresh else "not converged"


def rules(mean, variance, x, *, finite=True, first=False, far=None, wide=None, fresh=None, count=1):
    """Say what a doctor says whose rules differ in one thing."""
    if finite and not np.isfinite(mean + variance).all():
        return "not finite"
    is_fresh = (mean == 0).all() and (variance == 1).all() if fresh is None else fresh
    if first and is_fresh:
        return "never updated"
    gap, ratio = np.abs(mean - x.mean(axis=0)) / x.std(axis=0), variance / x.var(axis=0)
    far = ~(gap <= 0.5) if far is None else far
    wide = ~((ratio <= 2) & (ratio >= 0.5)) if wide is None else wide
    if (far | wide).sum() < count:
        return "healthy"
    return "never updated" if is_fresh else "not converged"


def nan_is_well(mean, variance, x):
    gap, ratio = np.abs(mean - x.mean(axis=0)) / x.std(axis=0), variance / x.var(axis=0)
    return rules(mean, variance, x, finite=False, far=gap > 0.5, wide=(ratio > 2) | (ratio < 0.5))


def infinity_is_well(mean, variance, x):
    return "not finite" if np.isnan(mean + variance).any() else rules(mean, variance, x, finite=False)


def patient(*, spoil, cure, norms=2, examples=200, momentum=0.9, **more):
    """Return a function that builds a healthy network, spoils something in it, and returns it with a cure."""

    def build():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Input((5,))])
        for _ in range(norms):
            model.add(layers.Dense(6))
            model.add(layers.BatchNormalization(momentum=momentum))
        x = 3 * np.random.default_rng(0).normal(size=(examples, 5)) + 1
        recalibrate(model, [x])
        spoil(model)
        return model, x, lambda model: cure(model, x)

    return build


def shift(layer):
    layer.moving_mean.assign(layer.moving_mean + 5)


def shift_last(model):
    shift(model.layers[-1])


def shift_all(model):
    for layer in model.layers[1::2]:
        shift(layer)


def spoil_twice(model):
    model.layers[-1].momentum = 0.1
    shift_last(model)


def measure(model, x):
    recalibrate(model, [x])


def nothing(model, *x):
    pass


def unlearn(model, x):
    measure(model, x)
    model.layers[-1].gamma.assign(0.5 * model.layers[-1].gamma)


def poison(model, x):
    model.layers[-1].moving_mean.assign(np.full(6, np.nan))


def copied_momentum(model):
    model.layers[-1].momentum = 0.1


def mend_momentum(model, x):
    model.layers[-1].momentum = 0.9


ANSWERS = {
    "new_statistics_alone": {
        "right": [[True, True, False, True, False, True, False, False], (1, 1, 0, 1, 0, 1, 0, 0)],
        "wrong": {
            "all of them": [True] * 8,
            "C too": [True, True, True, True, False, True, False, False],
            "E too": [True, True, False, True, True, True, False, False],
            "G too": [True, True, False, True, False, True, True, False],
            "H too": [True, True, False, True, False, True, False, True],
            "not the graphs": [False, False, False, True, False, True, False, False],
            "not F": [True, True, False, True, False, False, False, False],
            "wrong type": [True, False],
        },
    },
    "doctor": {
        "right": [by_rules, by_feature],
        "wrong": {
            "fresh is always ill": lambda m, v, x: rules(m, v, x, first=True),
            "NaN called healthy": nan_is_well,
            "infinity overlooked": infinity_is_well,
            "means alone": lambda m, v, x: rules(m, v, x, wide=m != m),
            "variances alone": lambda m, v, x: rules(m, v, x, far=m != m),
            "not in standard deviations": lambda m, v, x: rules(m, v, x, far=abs(m - x.mean(0)) > 0.5),
            "sign forgotten": lambda m, v, x: rules(m, v, x, far=m - x.mean(0) > 0.5 * x.std(0)),
            "only variances that are too large": lambda m, v, x: rules(m, v, x, wide=v > 2 * x.var(0)),
            "average over the features": lambda m, v, x: rules(m, v, x, count=2),
            "a mean of 0 is enough": lambda m, v, x: rules(m, v, x, fresh=not m.any()),
            "wrong type": lambda m, v, x: 0,
            "wrong arguments": lambda layer: "healthy",
        },
    },
    "new_patient": {
        "right": [
            patient(spoil=shift_last, cure=measure),
            patient(spoil=copied_momentum, cure=mend_momentum, norms=3),
            patient(spoil=copied_momentum, cure=mend_momentum, norms=2, examples=100),
        ],
        "wrong": {
            "one layer": patient(spoil=shift_last, cure=measure, norms=1),
            "few examples": patient(spoil=shift_last, cure=measure, examples=99),
            "nobody ill": patient(spoil=nothing, cure=measure),
            "an epidemic": patient(spoil=shift_all, cure=measure),
            "two illnesses": patient(spoil=spoil_twice, cure=measure),
            "side effects": patient(spoil=shift_last, cure=unlearn),
            "not cured": patient(spoil=shift_last, cure=nothing),
            "another illness": patient(spoil=shift_last, cure=poison),
            "returned None": lambda: print(end=""),
            "not three parts": lambda: (keras.Sequential([layers.BatchNormalization()]), np.ones((200, 3))),
            "no patient": lambda: (keras.Sequential([layers.Dense(3)]), np.ones((200, 3)), nothing),
            "no function": 7,
        },
    },
}
