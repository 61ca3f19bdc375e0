"""Right and wrong answers to the exercises of the eighth notebook."""

import keras
import numpy as np


def by_weights(model):
    weights = model.layers[1].get_weights()
    model.layers[1].set_weights([-weights[0], *weights[1:]])


def turned(*names):
    def mend(model):
        dense, norm, _, head = model.layers
        for layer, name in ((dense, "kernel"), (dense, "bias"), (head, "head")):
            if name in names:
                variable = layer.kernel if name != "bias" else layer.bias
                variable.assign(-1.0 * variable)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            if name in names:
                getattr(norm, name).assign(-1.0 * getattr(norm, name))

    return mend


def gamma(change):
    return lambda model: model.layers[1].gamma.assign(change(model.layers[1].gamma.numpy()))


def compile_again(model):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def thaw(model):
    model.layers[1].trainable = True
    compile_again(model)


def thaw_all(model):
    for layer in model.layers:
        layer.trainable = True
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


def thaw_norms(model):
    compile_again(model)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = True


def thaw_without_compiling(model):
    model.layers[1].trainable = True


def thaw_and_stop(model):
    thaw(model)
    model.layers[1].momentum = 1.0


def thaw_a_copy(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    thaw(copy)
    return copy


def thaw_and_fit(model):
    thaw(model)
    model.fit(np.ones((8, 2)), np.zeros(8), verbose=0)


def write_memory(model):
    model.layers[1].moving_mean.assign([1.0, 2.0, 3.0])


def thaw_for_nothing(model):
    model.layers[1].trainable = True
    model.compile("sgd", "no such loss")


def training_flag(model):
    model.layers[1].training = True


def dim(images):
    return 0.5 * images + 0.4 + 0.01 * np.arange(64) / 8


def vignette(images):
    return [[0.1 * pixel + 0.05 for pixel in image] for image in images]


def moved(images):
    square = np.pad(images.reshape(-1, 8, 8), ((0, 0), (0, 0), (1, 0)))
    return square[:, :, :-1].reshape(-1, 64)


def noisy(images):
    return np.clip(images + np.random.default_rng(len(images)).normal(0, 0.4, images.shape), 0, 1)


ANSWERS = {
    "normalizes_with_batch": {
        "right": [[True, False, True, False], np.array([1, 0, 1, 0])],
        "wrong": {
            "the flag alone": [True, True, True, False],
            "frozen is frozen": [True, False, False, False],
            "frameworks swapped": [True, True, False, False],
            "the word alone in Keras": [True, False, True, True],
            "incomplete": [True, None, True, False],
        },
    },
    "mended_inversion": {
        "right": [turned("gamma"), by_weights],
        "wrong": {
            "nothing changed": lambda model: -model.layers[1].gamma,
            "beta too": turned("gamma", "beta"),
            "mean instead": turned("moving_mean"),
            "kernel alone": turned("kernel"),
            "head instead": turned("head"),
            "gamma overwritten": gamma(lambda old: 0 * old - 1),
            "more than one variable": turned("kernel", "bias", "moving_mean"),
            "not finite": turned("moving_variance"),
        },
    },
    "thawed": {
        "right": [thaw, thaw_all, thaw_norms],
        "wrong": {
            "weights changed": thaw_and_fit,
            "written by hand": write_memory,
            "another model": thaw_a_copy,
            "not compiled again": thaw_without_compiling,
            "momentum 1": thaw_and_stop,
            "only compiled": compile_again,
            "still frozen": training_flag,
            "it no longer fits": thaw_for_nothing,
            "no function": True,
        },
    },
    "shift_of_your_own": {
        "right": [dim, vignette],
        "wrong": {
            "neighbours asked": lambda images: images / (10 + images.mean(axis=0)),
            "nothing changed": lambda images: images,
            "all images alike": np.zeros_like,
            "hardly any loss": lambda images: 0.95 * images,
            "signs turned": lambda images: 1 - images,
            "chance": noisy,
            "not brought back": lambda images: np.maximum(images, moved(images)),
            "wrong shape": lambda images: images.reshape(-1, 8, 8),
            "not finite": lambda images: images / 0,
            "no function": 0.5,
        },
    },
}
