"""Exercises of the notebook "Take it with you": what must come along, and what becomes of it elsewhere.

Keras is imported when an answer is judged, not before. The models are small, new and always the same.
"""

from functools import cache

import numpy as np

from bnlab.judging import UnfitError, judge
from bnlab.judging.classic_bugs import with_hints


def lost_memory(answer):
    """Judge a function that reads the names in a checkpoint and says which norms have lost their memory.

    Args:
        answer: answer(names) -> the scopes, such as "net/norm", in any order. names is a list of
            strings such as "net/norm/beta". Every norm has a beta, not every one a gamma; an optimizer may
            have added names such as "net/norm/beta/Adam"; other layers have names of their own.
    """
    wrong = {
        "those that kept it": _scopes(lambda scope, names: f"{scope}/moving_mean" in names),
        "all norms": _scopes(lambda scope, names: True),
        "gamma asked": _scopes(part="gamma"),
        "names that begin alike": _scopes(
            lambda scope, names: not any(name.startswith(scope) and "moving" in name for name in names)
        ),
        "optimizer counted": lambda names: (
            _scopes()(names) | {name.rpartition("/")[0] for name in names if "/beta/" in name}
        ),
    }
    hints = {
        "those that kept it": "these have a moving mean in the file; which have none?",
        "all norms": "these are all norms of the file; some of them have their memory",
        "gamma asked": "one of the norms was made with scale=False; what has every norm?",
        "names that begin alike": "net/norm and net/norm_1 begin alike, and are two layers",
        "optimizer counted": "an optimizer keeps something for each beta, under a longer name",
    }
    inputs = [
        (
            _names("a/norm", "gamma beta beta/Adam")
            + _names("a/norm_1", "gamma beta moving_mean moving_variance"),
        ),
        (
            _names("net/dense", "kernel bias")
            + _names("net/bn", "beta moving_mean moving_variance beta/Momentum")
            + _names("net/plain", "beta")
            + _names("net/late", "gamma beta gamma/Adam"),
        ),
    ]
    return judge(
        answer,
        truth=_scopes(),
        mistakes=with_hints(wrong, hints),
        inputs=inputs,
        observe=lambda function, names: _in_one_line(function(names)),
    )


def _names(scope, parts):
    return [f"{scope}/{part}" for part in parts.split()]


def _scopes(is_lost=lambda scope, names: f"{scope}/moving_mean" not in names, part="beta"):
    """Return a function of names: the scopes of those norms, told by a part of theirs, that are lost."""

    def found(names):
        scopes = {name.removesuffix(f"/{part}") for name in names if name.endswith(f"/{part}")}
        return {scope for scope in scopes if is_lost(scope, names)}

    return found


def _in_one_line(scopes):
    """Return the names in order, as one string; what is no collection of names is unfit."""
    if scopes is None:
        return None
    try:
        scopes = [scopes] if isinstance(scopes, str) else list(scopes)
    except TypeError:
        scopes = [None]
    if not all(isinstance(scope, str) for scope in scopes):
        raise UnfitError("wrong type", "a list or a set of names is expected")
    return " ".join(sorted({scope.strip("/") for scope in scopes}))


def carried_epsilon(answer):
    """Judge the gamma with which a norm that was trained with epsilon 1e-5 gives the same with 1e-3.

    Args:
        answer: answer(gamma, variance) -> the new gamma, shape (features,). variance is the moving variance.
    """

    def carried(factor):
        return lambda gamma, variance: gamma * factor(variance + 1e-3, variance + 1e-5)

    wrong = {
        "upside down": carried(lambda new, old: np.sqrt(old / new)),
        "root forgotten": carried(lambda new, old: new / old),
        "epsilon alone": carried(lambda new, old: np.sqrt(1e-3 / 1e-5) * np.ones_like(new)),
        "nothing changed": carried(lambda new, old: np.ones_like(new)),
        "epsilon forgotten": carried(lambda new, old: np.sqrt(new / (old - 1e-5))),
    }
    hints = {
        "upside down": "a larger epsilon makes the output smaller; must gamma grow or shrink?",
        "root forgotten": "by what does the layer divide?",
        "epsilon alone": "right for a variance of 0; beside it epsilon counts for less",
        "nothing changed": "gamma is as it was, and a feature with little variance comes out too small",
        "epsilon forgotten": "the old layer had an epsilon too",
    }
    rng = np.random.default_rng(21)
    variances = np.array([4.0, 0.01, 1e-4]), np.array([1e-3, 0.2, 3e-5])
    inputs = [(rng.uniform(0.5, 2.0, 3) * [1, -1, 1], variance) for variance in variances]
    right = carried(lambda new, old: np.sqrt(new / old))
    return judge(answer, truth=right, mistakes=with_hints(wrong, hints), inputs=inputs)


def synced(answer):
    """Judge one soft update of a target network: its weights follow, its memory is copied whole.

    Args:
        answer: answer(target, online, tau) changes the variables of target. Both are Keras models of the same
            layers, a norm among them. Each trainable variable becomes 1 - tau times itself plus tau times the
            online one; the moving statistics become those of online. What it returns does not matter.
    """
    wrong = {
        "memory forgotten": _sync(memory=lambda slow, new, tau: slow),
        "memory softly": _sync(memory=_softly),
        "tau the other way": _sync(weights=lambda slow, new, tau: _softly(new, slow, tau)),
        "all copied": _sync(weights=lambda slow, new, tau: new),
        "nothing changed": lambda target, online, tau: None,
        "online changed": lambda target, online, tau: _sync()(online, target, tau),
    }
    hints = {
        "memory forgotten": "weights right, memory as it was; trainable_variables are not all variables",
        "memory softly": "the weights are right; the memory is to be copied whole here",
        "tau the other way": "with tau 0.1 the target should hardly move in one step",
        "all copied": "the memory is right; the weights are to follow slowly",
        "nothing changed": "the target is as it was; a variable changes when something is assigned to it",
        "online changed": "the target is to follow the online network, and not the other way round",
    }
    models = cache(lambda is_answers: (_network(), _network()))  # a pair for the answer, one for all mistakes
    rng, inputs = np.random.default_rng(22), []
    for tau in (0.1, 0.3):
        inputs.append(([[rng.random(shape) for shape in _SHAPES] for _ in range(2)], tau))
    return judge(
        answer,
        truth=_sync(),
        mistakes=with_hints(wrong, hints),
        inputs=inputs,
        observe=lambda sync, *given: _after_sync(sync, models(sync is answer), *given),
        seconds=10.0,
    )


_SHAPES = [(3, 2), (2,), (2,), (2,), (2,), (2,)]


def _softly(slow, new, tau):
    return (1 - tau) * slow + tau * new


def _sync(weights=_softly, memory=lambda slow, new, tau: new):
    """Return a soft update that treats weights and memory in these ways; without any, the right one."""

    def sync(target, online, tau):
        for slow, new in zip(target.variables, online.variables, strict=True):
            way = weights if slow.trainable else memory
            slow.assign(way(slow.numpy(), new.numpy(), tau))

    return sync


def _after_sync(sync, models, weights, tau):
    """Return all variables of both models, one behind the other, after the update."""
    for model, values in zip(models, weights, strict=True):
        model.set_weights(values)
    sync(*models, tau)
    return np.concatenate([array.ravel() for model in models for array in model.get_weights()])


def _network():
    import bnlab.tensorflow_setup  # noqa: F401, I001, before TensorFlow is there
    from keras import Sequential, layers

    parts = [layers.Dense(2, dtype="float64"), layers.BatchNormalization(dtype="float64")]
    return Sequential([layers.Input((3,), dtype="float64"), *parts])
