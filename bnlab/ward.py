"""The eight patients of the eleventh notebook, "Find the bug", each a network or a graph with one bug.

Who is solving the cases should not read on. TensorFlow and Keras are imported when a patient is made.
"""

from functools import cached_property
from types import SimpleNamespace

import numpy as np

from bnlab import batch_norm, data, moving_average


class Ward:
    """Makes the eight patients of the notebook, each with one bug.

    Args:
        train: train(model, x, labels, steps=, training=) -> the model's weights before each step and after
            the last.
        trail: what it gave for the healthy network, of 200 steps or more: Dense, batch norm, ReLU, Dense.
        picks: the rows of the training images of each step, shape (steps, examples).
    """

    def __init__(self, train, trail, picks):
        self.train, self.trail, self.picks, self.digits = train, trail, picks, data.digits()
        self.x_train = self.digits.x_train.astype(float)

    def a(self):
        """Return a v1 program that ties its train step to no update at all."""
        return self.graph(list)

    def b(self):
        """Return a v1 program that reads the collection of updates before it builds the layer."""
        return self.graph(_collection, early=True)

    def c(self):
        """Return a model and its trail: its loop calls it without the flag. Its images are negatives."""
        model = _dense_network()
        return model, self.train(model, 1 - self.x_train, self.digits.y_train, training=False)

    def d(self):
        """Return a model that was trained for 200 steps with a momentum of 0.999."""
        model, weights = _dense_network(momentum=0.999), self.trail[200]
        model.set_weights([*weights[:4], *self.slow_memories[200], *weights[6:]])
        return model

    def e(self):
        """Return a model that was trained for 200 steps and then frozen, but for its head."""
        model = self._after_200_steps()
        model.layers[0].trainable = model.layers[1].trainable = False
        return model

    def f(self):
        """Return a model that was called on one batch with one NaN, by a loop that then skipped the step."""
        model, bad = self._after_200_steps(), self.x_train[:32].copy()
        bad[7, 20] = np.nan
        model(bad, training=True)
        return model

    def g(self, view):
        """Return a model whose one norm serves images and what view(images) makes of them, recalibrated."""
        from keras import layers

        from bnlab.checkup import recalibrate

        model = self.for_two([layers.BatchNormalization(momentum=0.9)] * 2)
        both = np.stack([self.x_train, view(self.x_train)], axis=1)
        self.train(model, both, np.stack([self.digits.y_train] * 2, axis=1), steps=200)
        recalibrate(model, [both])
        return model

    def h(self):
        """Return (the original, a copy that normalizes the rows of a picture instead of its channels)."""
        original, model = self.convolutional(), self.convolutional(axis=1)
        for each in (original, model):
            self.train(each, self.x_train, self.digits.y_train, steps=200)
        return original, model

    @cached_property
    def slow_memories(self):
        """The (moving mean, moving variance) with a momentum of 0.999 before each step and at the end."""
        batches = [
            batch_norm.batch_moments(x @ weights[0] + weights[1])
            for weights, x in zip(self.trail, self.x_train[self.picks], strict=False)
        ]
        means, variances = (np.array(moments) for moments in zip(*batches, strict=True))
        start = np.zeros_like(means[0]), np.ones_like(means[0])
        slow_means = moving_average.trace(means, momentum=0.999)
        slow_variances = moving_average.trace(variances, momentum=0.999, initial=1.0)
        return [start, *zip(slow_means, slow_variances, strict=True)]

    def graph(self, updates, *, early=False):
        """Return a v1 program after 200 steps, which start like those of the healthy network.

        Args:
            updates: updates() -> the operations that the train step is tied to.
            early: whether it is called before the layers are built, or after.

        Returns:
            A namespace with train_op; tied_to and collected, lists of operations; moving, the two statistics;
            and for the test images in inference and in training mode, in this order: hidden and normal, what
            goes into the norm and what comes out, and accuracy.
        """
        import tensorflow as tf

        import bnlab.tensorflow_setup  # noqa: F401

        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            program = _program(tf, updates, early)
            for variable, value in zip(v1.global_variables(), self.trail[0], strict=True):
                variable.load(value, session)
            step = session.make_callable(program.train_op, program.inputs)
            for pick in self.picks[:200]:
                batch = self.x_train[pick], self.digits.y_train[pick], True  # in training mode
                step(*batch)
            moving = session.run([one for one in v1.global_variables() if "moving" in one.name])
            seen = [self._looks(session, program, mode) for mode in (False, True)]
            hidden, normal, accuracy = zip(*seen, strict=True)
            return SimpleNamespace(
                train_op=program.train_op,
                tied_to=program.tied_to,
                collected=_collection(),
                moving=moving,
                hidden=hidden,
                normal=normal,
                accuracy=accuracy,
            )

    @staticmethod
    def for_two(norms):
        """Return a model for pairs of images, shape (2, 64): all layers are shared, but for these norms."""
        import keras
        from keras import layers

        keras.utils.set_random_seed(0)
        images, dense, head = layers.Input((2, 64)), layers.Dense(32), layers.Dense(10)
        parts = [head(layers.ReLU()(norm(dense(images[:, k])))) for k, norm in enumerate(norms)]
        return keras.Model(images, keras.ops.stack(parts, axis=1))

    @staticmethod
    def convolutional(axis=-1):
        """Return a model with a convolution of 8 filters and batch norm over this axis."""
        import keras
        from keras import layers

        keras.utils.set_random_seed(0)
        norm = layers.BatchNormalization(axis=axis, momentum=0.9)
        front = [layers.Input((64,)), layers.Reshape((8, 8, 1)), layers.Conv2D(8, 3), norm]
        return keras.Sequential([*front, layers.ReLU(), layers.Flatten(), layers.Dense(10)])

    def _after_200_steps(self):
        model = _dense_network()
        model.set_weights(self.trail[200])
        return model

    def _looks(self, session, program, mode):
        x, _, training = program.inputs
        hidden, normal, logits = session.run(program.looks, {x: self.digits.x_test, training: mode})
        return hidden, normal, (logits.argmax(axis=1) == self.digits.y_test).mean()


def _dense_network(momentum=0.9):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    norm = layers.BatchNormalization(momentum=momentum)
    return keras.Sequential([layers.Input((64,)), layers.Dense(32), norm, layers.ReLU(), layers.Dense(10)])


def _collection():
    import tensorflow as tf

    return tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)


def _program(tf, updates, early):
    """Build the graph; return its train step, inputs and what can be looked at."""
    v1 = tf.compat.v1
    x, labels = v1.placeholder(tf.float64, (None, 64)), v1.placeholder(tf.int64, (None,))
    training = v1.placeholder(tf.bool, ())
    tied_to = updates() if early else None
    hidden = v1.layers.dense(x, 32)
    normal = v1.layers.batch_normalization(hidden, training=training, momentum=0.9)
    logits = v1.layers.dense(tf.nn.relu(normal), 10)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    if not early:
        tied_to = updates()
    with tf.control_dependencies(tied_to):
        train_op = v1.train.GradientDescentOptimizer(0.5).minimize(loss)
    looks = [hidden, normal, logits]
    return SimpleNamespace(train_op=train_op, tied_to=tied_to, inputs=[x, labels, training], looks=looks)
