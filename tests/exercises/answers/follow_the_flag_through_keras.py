"""Right and wrong answers to the exercises of the thirteenth notebook."""

import keras
import numpy as np


def draws(model, x, **word):
    return np.stack([model(x, **word) for _ in range(20)])


def norms_of(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def copy_frozen(model, x):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.trainable = False
    return draws(copy, x, training=True)


def freeze_and_thaw(model, x):
    norms = [norm for norm in norms_of(model) if norm.trainable]
    for norm in norms:
        norm.trainable = False
    answers = draws(model, x, training=True)
    for norm in norms:
        norm.trainable = True
    return answers


def layer_by_layer(model, x):
    def one(h):
        for layer in model.layers:
            h = layer(h, training=True) if isinstance(layer, keras.layers.Dropout) else layer(h)
        return h

    return [keras.ops.convert_to_numpy(one(x)) for _ in range(20)]


def all_on_and_restored(model, x):
    weights = model.get_weights()
    answers = []
    for _ in range(20):
        answers.append(model(x, training=True).numpy())
        model.set_weights(weights)
    return np.array(answers)


def norms_left_frozen(model, x):
    for norm in norms_of(model):
        norm.trainable = False
    return draws(model, x, training=True)


def all_thawed(model, x):
    model.trainable = False
    answers = draws(model, x, training=True)
    model.trainable = True
    return answers


def one_repeated(model, x):
    return np.repeat(copy_frozen(model, x)[:1], 20, axis=0)


def own_dropout(model, x):
    answers = draws(model, x, training=False)
    return answers * np.random.default_rng(0).integers(0, 4, answers.shape)


ANSWERS = {
    "uses_the_batch": {
        "right": [[True, False, True, False, False], np.array([1, 0, 1, 0, 0])],
        "wrong": {
            "the model's word wins": [False, True, True, False, False],
            "the model's word is nothing": [True, False, False, False, False],
            "an export trains": [True, False, True, True, False],
            "frozen and listening": [True, False, True, False, True],
            "incomplete": [True, False, None, False, False],
        },
    },
    "momentum_of_parts": {
        "right": [
            lambda momentum, parts: momentum ** (1 / parts),
            lambda momentum, parts: np.exp(np.log(momentum) / parts),
        ],
        "wrong": {
            "unchanged": lambda momentum, parts: momentum,
            "power for root": lambda momentum, parts: momentum**parts,
            "divided": lambda momentum, parts: momentum / parts,
            "share divided": lambda momentum, parts: 1 - (1 - momentum) / parts,
            "root of the new": lambda momentum, parts: 1 - (1 - momentum) ** (1 / parts),
        },
    },
    "doubt": {
        "right": [copy_frozen, freeze_and_thaw, layer_by_layer],
        "wrong": {
            "no function": 0.5,
            "weights changed": lambda model, x: draws(model, x, training=True),
            "left frozen": norms_left_frozen,
            "no dropout": draws,
            "one answer repeated": one_repeated,
            "batch used": all_on_and_restored,
            "other answers": own_dropout,
            "wrong shape": lambda model, x: copy_frozen(model, x)[..., 0],
        },
    },
}
