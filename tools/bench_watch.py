"""Measures what it costs to watch a training, beside a step of the same training.

A ResNet-20 on 32 x 32 x 3 pictures of noise, in batches of 128: its steps take as long as on CIFAR-10.
"""

import statistics
import time

from tables import table, verdict

EVERY = 100
_STEPS, _LOOK_EVERY, _BATCH = 100, 20, 128


def watch():
    """Return the table of the seconds of a step and of a look, and of what a look every 100 steps costs."""
    steps, looks = _seconds()
    step, look = statistics.median(steps), statistics.median(looks)
    ratio = (EVERY * step + look) / (EVERY * step)
    rows = [
        [f"step, median of {len(steps)}", f"{step:.2f}", "", "", ""],
        [f"look, median of {len(looks)}", f"{look:.2f}", "", "", ""],
        [f"{EVERY} steps and a look", f"{EVERY * step + look:.1f}", f"{ratio:.3f}", *verdict(ratio, 1.03)],
    ]
    return table(["checkup.Watch, ResNet-20", "s", "x without", "target", ""], rows)


def _seconds():
    """Return the seconds of each step and of each look in a training, of those after the first of each."""
    import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
    import keras
    import numpy as np
    from bnlab.checkup import Watch

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.starts, self.ends = [], []

        def on_train_batch_begin(self, batch, logs=None):  # noqa: ARG002
            self.starts.append(time.perf_counter())

        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            self.ends.append(time.perf_counter())

    rng = np.random.default_rng(0)
    x, y = rng.random((10 * _BATCH, 32, 32, 3), dtype="float32"), rng.integers(0, 10, 10 * _BATCH)
    model = _resnet_20(keras)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before, after = Clock(), Clock()  # a look is what lies between the two
    callbacks = [before, Watch(x, every=_LOOK_EVERY), after]
    model.fit(x, y, batch_size=_BATCH, epochs=_STEPS // 10, verbose=0, callbacks=callbacks)
    steps = [end - start for start, end in zip(before.starts, before.ends, strict=True)]
    spent = [end - start for start, end in zip(before.ends, after.ends, strict=True)]
    return steps[1:], spent[_LOOK_EVERY - 1 :: _LOOK_EVERY]  # the first step is also compiled


def _resnet_20(keras):
    """Return the network of section 4.2 of He et al. (2016), arXiv:1512.03385, with n = 3."""
    layers = keras.layers

    def normal(y, filters, strides=1):
        convolution = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)
        return layers.BatchNormalization(momentum=0.9)(convolution(y))

    def block(y, filters, strides):
        z = normal(layers.ReLU()(normal(y, filters, strides)), filters)
        if strides > 1:
            y = layers.Conv2D(filters, 1, strides=strides, use_bias=False)(y)
        return layers.ReLU()(layers.Add()([y, z]))

    x = keras.Input((32, 32, 3))
    y = layers.ReLU()(normal(x, 16))
    for filters, strides in ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)):
        y = block(y, filters, strides)
    return keras.Model(x, layers.Dense(10)(layers.GlobalAveragePooling2D()(y)))
