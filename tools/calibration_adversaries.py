"""A generator and a discriminator that are trained against each other, for the healthy zoo."""

import keras
import numpy as np
import tensorflow as tf
from keras.layers import Conv2D, Conv2DTranspose, Dense, Flatten, LeakyReLU, ReLU, Reshape


class Adversaries(keras.Model):
    """Both of them; the discriminator gets real and made pictures in one batch."""

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def compile(self, *_, **__):
        """Give each an optimizer of its own, whatever others are trained with."""
        super().compile(keras.optimizers.Adam(5e-4, beta_1=0.5))
        self.other = keras.optimizers.Adam(5e-4, beta_1=0.5)

    def train_step(self, batch):
        """Move the discriminator, then the generator; a batch is (noise, real pictures)."""
        z, real = batch
        labels = tf.repeat([[1.0], [0.0]], tf.shape(real)[0], axis=0)
        made = self.generator(z, training=True)
        with tf.GradientTape() as tape:
            judged = self.discriminator(tf.concat([tf.cast(real, "float32"), made], 0), training=True)
            loss = keras.losses.binary_crossentropy(labels, judged)
        _moved(self.discriminator, self.optimizer, tape, loss)
        with tf.GradientTape() as tape:
            judged = self.discriminator(self.generator(z, training=True), training=False)
            loss = keras.losses.binary_crossentropy(tf.ones_like(judged), judged)
        _moved(self.generator, self.other, tape, loss)
        return {"loss": tf.reduce_mean(loss)}


def _moved(model, optimizer, tape, loss):
    weights = model.trainable_variables
    optimizer.apply(tape.gradient(loss, weights), weights)


def adversaries(n, shape):
    """Return both, untrained, for pictures of 8 x 8 x 1; n() is batch norm."""
    return Adversaries(_generator(n, shape), _discriminator(n))


def _generator(n, shape):
    doubled = {"strides": 2, "padding": "same", "use_bias": False}
    inner = [Dense(2 * 2 * 32, use_bias=False), n(), ReLU(), Reshape((2, 2, 32))]
    inner += [Conv2DTranspose(16, 3, **doubled), n(), ReLU(), Conv2DTranspose(8, 3, **doubled), n(), ReLU()]
    return keras.Sequential([keras.Input(shape), *inner, Conv2D(1, 3, padding="same", activation="sigmoid")])


def _discriminator(n):
    inner = [Conv2D(16, 3, 2, padding="same"), LeakyReLU(0.2), Conv2D(32, 3, 2, padding="same"), n()]
    inner += [LeakyReLU(0.2), Flatten(), Dense(32), n(), LeakyReLU(0.2)]
    return keras.Sequential([keras.Input((8, 8, 1)), *inner, Dense(1, "sigmoid")])


def generator_of(network):
    """Return the network with the generator for its model."""
    return network._replace(model=network.model.generator)


def discriminator_of(network):
    """Return the network with the discriminator for its model, on real and made pictures in turn."""
    real = network.y
    made = network.model.generator.predict(network.x, verbose=0)
    mixed = np.stack([real, made], axis=1).reshape(-1, *real.shape[1:])
    labels = np.tile([[1.0], [0.0]], (len(real), 1)).astype("float32")
    return type(network)(network.model.discriminator, mixed, labels)
