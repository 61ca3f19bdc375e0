"""Exercises of the eleventh notebook, "Find the bug": which illness is it, and what cures it.

The patients are at the end, in `Ward`: who is solving the cases should not read that yet. TensorFlow and
Keras are imported when a patient is judged or made, not before.
"""

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from bnlab import batch_norm, data, moving_average
from bnlab.exercises.judging import UnfitError, judge, judge_proposal, judge_value


def new_statistics_alone(answer):
    """Judge eight booleans: is the patient well with new statistics alone, measured on its data?

    Args:
        answer: one boolean each for the patients A to H of the ward, as they came: forgotten updates, early
            collection, no flag in the loop, momentum 0.999, a frozen norm and a head that was trained behind
            it, one NaN batch, a norm shared by two domains, the wrong axis.

    Returns:
        Verdict.
    """
    mistakes = {
        "all of them": (
            [1, 1, 1, 1, 1, 1, 1, 1],
            "four of the eight have learned something that is in the way",
        ),
        "none": ([0, 0, 0, 0, 0, 0, 0, 0], "what else is wrong with D than its statistics?"),
        "turned round": ([0, 0, 1, 0, 1, 0, 1, 1], "of these four the weights, or the layers, are not right"),
        "C too": ([1, 1, 1, 1, 0, 1, 0, 0], "what do new statistics help where no unit fires any more?"),
        "E too": ([1, 1, 0, 1, 1, 1, 0, 0], "behind which statistics did the head of E learn?"),
        "G too": ([1, 1, 0, 1, 0, 1, 1, 0], "can one mean fit two scanners?"),
        "H too": ([1, 1, 0, 1, 0, 1, 0, 1], "what was wrong with the statistics of H?"),
        "E and G too": ([1, 1, 0, 1, 1, 1, 1, 0], "both were recalibrated in the notebook; what came of it?"),
        "not the graphs": ([0, 0, 0, 1, 0, 1, 0, 0], "what is wrong in A and B: a weight, or the memory?"),
        "not F": ([1, 1, 0, 1, 0, 0, 0, 0], "did the NaN of F reach a weight?"),
        "D alone": ([0, 0, 0, 1, 0, 0, 0, 0], "D is not the only one that has learned well"),
    }
    return judge_value(
        answer,
        truth=[1, 1, 0, 1, 0, 1, 0, 0],
        mistakes=mistakes,
        read=list,
        otherwise="whose weights are as good as the healthy ones, A to H?",
    )


def doctor(answer):
    """Judge a function that diagnoses one layer from its statistics and a sample of what comes into it.

    Args:
        answer: answer(moving_mean, moving_variance, x) -> a word. The statistics have shape (features,), x
            has shape (examples, features). "not finite" if any of the statistics is not finite; "healthy"
            if in every feature the means are at most 0.5 standard deviations of x apart and the variances
            at most a factor of 2; "never updated" if they do not fit and all are the initial 0 and 1; else
            "not converged".

    Returns:
        Verdict.
    """
    mistakes = {
        "fresh is always ill": (
            _doctor(fresh_first=True),
            "what if the data have mean 0 and variance 1 themselves?",
        ),
        "NaN called healthy": (
            _doctor(
                finite=False, gap_is_ill=lambda gap: gap > 0.5, ratio_is_ill=lambda r: (r > 2) | (r < 0.5)
            ),
            "is NaN > 0.5?",
        ),
        "NaN called not converged": (_doctor(finite=False), "more data will not mend a NaN"),
        "infinity overlooked": (
            _doctor(finite=lambda *statistics: not any(np.isnan(part).any() for part in statistics)),
            "NaN is not the only number that is not finite",
        ),
        "NaN in the variance overlooked": (
            _doctor(finite=lambda mean, variance: np.isfinite(mean).all()),
            "there are two statistics to look at",
        ),
        "means alone": (
            _doctor(ratio_is_ill=np.zeros_like),
            "the variance can be ill while the mean is well",
        ),
        "variances alone": (
            _doctor(gap_is_ill=np.zeros_like),
            "the mean can be ill while the variance is well",
        ),
        "not in standard deviations": (
            _doctor(unit=lambda variance: 1.0),
            "a distance of 0.4 is little for one feature and much for another",
        ),
        "in variances": (
            _doctor(unit=lambda variance: variance),
            "in which unit is the distance of the means?",
        ),
        "sign forgotten": (
            _doctor(gap_is_ill=lambda gap: gap > 0.5, size=lambda gap: gap),
            "a moving mean can also lie below the mean",
        ),
        "only variances that are too large": (
            _doctor(ratio_is_ill=lambda ratio: ratio > 2),
            "too small by a factor counts as much as too large",
        ),
        "only variances that are too small": (
            _doctor(ratio_is_ill=lambda ratio: ratio < 0.5),
            "too large by a factor counts as much as too small",
        ),
        "average over the features": (
            _doctor(over=lambda ill: ill.mean() > 0.5),
            "is one ill feature of many enough?",
        ),
        "a mean of 0 is enough": (
            _doctor(is_fresh=lambda mean, variance: (mean == 0).all()),
            "a layer that was never updated has two things in common with a fresh one",
        ),
        "a variance of 1 is enough": (
            _doctor(is_fresh=lambda mean, variance: (variance == 1).all()),
            "a layer that was never updated has two things in common with a fresh one",
        ),
        "one fresh feature is enough": (
            _doctor(is_fresh=lambda mean, variance: ((mean == 0) & (variance == 1)).any()),
            "a layer is updated as a whole; how many of its features stay at 0 and 1 then?",
        ),
        "never updated not known": (
            _doctor(is_fresh=lambda mean, variance: False),
            "how do you know a layer whose statistics have never moved?",
        ),
    }
    return judge(answer, truth=_doctor(), mistakes=mistakes, inputs=_statistics_and_samples())


def _doctor(
    *,
    finite=lambda *statistics: all(np.isfinite(part).all() for part in statistics),
    fresh_first=False,
    unit=np.sqrt,
    size=np.abs,
    gap_is_ill=lambda gap: ~(gap <= 0.5),
    ratio_is_ill=lambda ratio: ~((ratio <= 2) & (ratio >= 0.5)),
    over=np.any,
    is_fresh=lambda mean, variance: (mean == 0).all() and (variance == 1).all(),
):
    """Return a doctor with the given habits; without any, the right one."""

    def word(moving_mean, moving_variance, x):
        if finite and not finite(moving_mean, moving_variance):
            return "not finite"
        if fresh_first and is_fresh(moving_mean, moving_variance):
            return "never updated"
        gaps = size((moving_mean - x.mean(axis=0)) / unit(x.var(axis=0)))
        ill = gap_is_ill(gaps).astype(bool) | ratio_is_ill(moving_variance / x.var(axis=0)).astype(bool)
        if not over(ill):
            return "healthy"
        return "never updated" if is_fresh(moving_mean, moving_variance) else "not converged"

    return word


def _statistics_and_samples():
    """Return (moving_mean, moving_variance, x) of layers with three features of very different width."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3))
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    center, spread = np.array([2.0, -3.0, 40.0]), np.array([0.1, 1.0, 30.0])
    x, one = center + spread * z, np.ones(3)
    first = np.array([1.0, 0.0, 0.0])
    nan, infinite = np.array([0, np.nan, 0]), np.array([0, 0, np.inf])
    return [
        (center + 0.3 * spread, 1.2 * spread**2, x),  # near enough
        (0 * one, one, x),  # never updated
        (0 * one, one, z),  # the same, but it fits
        (center + first * spread, spread**2, x),  # one mean too high, by little in its own unit
        (center - 2 * spread, spread**2, x),  # all means too low
        (center, 4 * spread**2, x),
        (center, 0.2 * spread**2, x),
        (0 * one, spread**2, x),
        (center, one, x),
        (center * (1 - first), np.where(first, 1, spread**2), x),  # one feature looks fresh
        (center + nan, spread**2, x),
        (center, spread**2 + nan, x),
        (center, spread**2 + infinite, x),
    ]


def new_patient(answer):
    """Judge a patient of the reader's own and its cure: `bnlab.checkup` finds one illness, then none.

    Args:
        answer: answer() -> (model, x, cure). model is a Keras model with two or more batch-norm layers, and x
            100 or more of its inputs. `checkup` finds exactly one of its layers ill, with one problem.
            cure(model) changes the model in place, but no weight that was learned; then it is healthy on x.

    Returns:
        Verdict.
    """
    faults = {
        "one layer": (lambda seen: len(seen.before) < 2, "build it with two batch-norm layers or more"),
        "few examples": (
            lambda seen: seen.examples < 100,
            "a hundred examples or more are needed to be sure",
        ),
        "nobody ill": (
            lambda seen: not any(seen.before),
            lambda seen: f"all {len(seen.before)} layers are healthy; what could befall one of them?",
        ),
        "an epidemic": (
            lambda seen: sum(map(bool, seen.before)) > 1,
            lambda seen: f"{sum(map(bool, seen.before))} layers are ill; make all but one fit first",
        ),
        "two illnesses": (
            lambda seen: max(map(len, seen.before)) > 1,
            lambda seen: f"one layer, but more than one illness: {', '.join(max(seen.before, key=len))}",
        ),
        "side effects": (
            lambda seen: seen.touched,
            "the cure has changed what was learned; statistics, flags and momentum are all it may touch",
        ),
        "not cured": (
            lambda seen: any(seen.after) and seen.after == seen.before,
            lambda seen: f"after the cure it has still: {', '.join(max(seen.after, key=len))}",
        ),
        "another illness": (
            lambda seen: any(seen.after),
            lambda seen: f"after the cure it has: {', '.join(max(seen.after, key=len))}",
        ),
    }
    return judge_proposal(answer, read=_examined, faults=faults, seconds=20.0)


@dataclass
class _Seen:
    """What came of a patient: what each layer had before and after the cure."""

    examples: int
    before: list
    after: list
    touched: bool  # whether the cure changed a weight that was learned


def _examined(build):
    if not callable(build):
        raise UnfitError("no function", "a function is expected that returns a model, inputs and a cure")
    from bnlab.checkup import checkup

    parts = build()
    if parts is None:
        raise UnfitError("returned None", "nothing came back; is a `return` missing?")
    if not isinstance(parts, tuple | list) or len(parts) != 3 or not callable(parts[2]):
        raise UnfitError("not three parts", "a model, inputs and a function that cures are expected")
    model, x, cure = parts
    try:
        found = checkup(model, x)
    except (TypeError, ValueError) as error:
        raise UnfitError("no patient", f"the check says: {str(error)[:120]}") from None
    learned = _learned(model)
    cure(model)
    return _Seen(
        examples=found.examples,
        before=_problems(found),
        after=_problems(checkup(model, x)),
        touched=not all(map(np.array_equal, learned, _learned(model))),
    )


def _learned(model):
    """Return the values of everything but the moving statistics, whether or not it is frozen."""
    return [variable.numpy() for variable in model.variables if "moving_" not in variable.name]


def _problems(found):
    return [[*layer.problems, *([layer.hint] if layer.hint else [])] for layer in found.layers]


# ---- the ward: do not read on before you have solved the cases ------------------------------


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
