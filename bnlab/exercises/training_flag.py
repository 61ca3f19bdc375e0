"""Exercises of the third notebook, "Set the training flag": who reads and who writes the statistics."""

import numpy as np

from bnlab import batch_norm, moving_average
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value


def writers(answer):
    """Judge four booleans: which of these calls of a Keras model change the moving mean?

    Args:
        answer: one boolean each for `fit`, `evaluate`, `model(x)` and `model(x, training=True)`.

    Returns:
        Verdict.
    """
    mistakes = {
        "evaluate too": ([1, 1, 0, 1], "is an error measured with the flag on or off?"),
        "all of them": ([1, 1, 1, 1], "two of the four are in inference mode"),
        "none of them": ([0, 0, 0, 0], "where should the moving mean come from then?"),
        "fit alone": ([1, 0, 0, 0], "what does the last call say, word for word?"),
        "all but evaluate": ([1, 0, 1, 1], "in which mode is a layer that is simply called?"),
        "the spoken flag alone": ([0, 0, 0, 1], "who sets the flag while a model is fitted?"),
        "turned round": ([0, 1, 1, 0], "these are the calls that only read"),
    }
    return judge_value(
        answer,
        truth=[1, 0, 0, 1],
        mistakes=mistakes,
        otherwise="go through the four once more: in which mode is each?",
    )


def one_call(answer):
    """Judge one call of a batch-norm layer, in either mode, with momentum 0.9 and epsilon 0.001.

    Args:
        answer: answer(x, moving_mean, moving_variance, training) -> (y, moving_mean, moving_variance), the
            output and the statistics after the call. x and y have shape (examples, features), gamma is 1 and
            beta 0, the variance is the biased one.

    Returns:
        Verdict.
    """

    def call(x, mean, variance, *, reads, writes, momentum=0.9, factor=1.0):
        batch = batch_norm.batch_moments(x)
        y = batch_norm.normalize(x, *(batch if reads else (mean, variance)))
        if not writes:
            return y, mean, variance
        moved = moving_average.update(mean, batch[0], momentum=momentum)
        return y, moved, moving_average.update(variance, factor * batch[1], momentum=momentum)

    def told(training):
        return training

    def always(training):
        return True

    def never(training):
        return False

    def turned(training):
        return not training

    def by(reads, writes, **how):
        return lambda x, moving_mean, moving_variance, training: call(
            x, moving_mean, moving_variance, reads=reads(training), writes=writes(training), **how
        )

    def after_the_update(x, mean, variance, training):
        _, mean, variance = call(x, mean, variance, reads=training, writes=training)
        return batch_norm.normalize(x, mean, variance), mean, variance

    def epsilon_outside(x, mean, variance, training):
        used = batch_norm.batch_moments(x) if training else (mean, variance)
        y = (x - used[0]) / (np.sqrt(used[1]) + 1e-3)
        return y, *call(x, mean, variance, reads=training, writes=training)[1:]

    mistakes = {
        "updated in inference": (
            by(told, always),
            "is a mere look allowed to change what is remembered?",
        ),
        "never updated": (
            by(told, never),
            "what will inference find after a long training?",
        ),
        "reads the memory in training": (
            by(never, told),
            "whose moments normalize the batch while the network learns?",
        ),
        "reads the batch in inference": (
            by(always, told),
            "may the answer for one image depend on the others?",
        ),
        "flag turned round": (
            by(turned, turned),
            "follow one call with training=True through your function",
        ),
        "flag ignored": (
            by(always, always),
            "both modes do the same",
        ),
        "momentum of the new value": (
            by(told, told, momentum=0.1),
            "how far does one batch move the statistics: a tenth of the way, or nine tenths?",
        ),
        "Bessel": (
            lambda x, mean, variance, training: call(
                x, mean, variance, reads=training, writes=training, factor=len(x) / (len(x) - 1)
            ),
            "the variance that is stored is too large by m / (m - 1)",
        ),
        "reads after it has written": (
            after_the_update,
            "the output of training mode should not know the moving statistics at all",
        ),
        "epsilon outside the root": (epsilon_outside, "to what is epsilon added?"),
    }
    rng = np.random.default_rng(3)
    inputs = [
        (rng.normal(2.0, [0.05, 1.0, 3.0], (m, 3)), rng.normal(size=3), rng.uniform(0.02, 3.0, 3), training)
        for m in (4, 7)
        for training in (True, False)
    ]
    return judge(
        answer,
        truth=by(told, told),
        mistakes=mistakes,
        inputs=inputs,
    )


def mates(answer):
    """Judge a batch of the reader's own, in which a large value comes out small.

    Args:
        answer: the examples of a batch with one feature; the first one is 5. A fresh layer in inference mode
            makes 4.998 of it. In training mode it shall come out at -1.5 or below.

    Returns:
        Verdict.
    """

    def read(batch):
        x = as_numbers(batch).reshape(-1, 1)
        if len(x) == 0 or x[0, 0] != 5:
            raise UnfitError("5 is not the first", "the first example of the batch must be 5")
        return x[:, 0], batch_norm.normalize(x, *batch_norm.batch_moments(x))[0, 0]

    faults = {
        "alone": (lambda b: len(b[0]) == 1, "a single example is its own mean; give it mates"),
        "all the same": (lambda b: np.ptp(b[0]) == 0, "they all come out as beta"),
        "mates below it": (
            lambda b: b[1] > 0,
            lambda b: (
                f"it comes out at {b[1]:.2f}, above the mean of the batch; on which side must the mates be?"
            ),
        ),
        "too few mates": (
            lambda b: b[1] > -1.5 and len(b[0]) < 4,
            lambda b: f"it comes out at {b[1]:.2f}, and with {len(b[0])} examples none can lie much lower",
        ),
        "too close together": (
            lambda b: b[1] > -1.5 and b[0].std() < 0.3,
            lambda b: f"it comes out at {b[1]:.2f}; beside so small a spread epsilon counts",
        ),
        "others as low as it": (
            lambda b: b[1] > -1.5 and (b[0][1:] <= 5).any(),
            lambda b: f"it comes out at {b[1]:.2f}; some of its mates are as low as 5",
        ),
        "mates apart from each other": (
            lambda b: b[1] > -1.5,
            lambda b: f"it comes out at {b[1]:.2f}; its mates lie too far apart from each other",
        ),
    }
    return judge_proposal(answer, read=read, faults=faults)


def mended_test(answer, *, accuracy):
    """Judge the statistics that are handed to the two layers of a trained network for testing.

    Args:
        answer: a pair, for the first and for the second layer; each is (mean, variance), or None for a layer
            that is left out.
        accuracy: accuracy(first, second) -> the share of right answers with them. More than 0.95 is right.

    Returns:
        Verdict.
    """

    def read(pair):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UnfitError("no pair", "two are expected, one for each layer")
        layers = [layer if layer is None else [as_numbers(part) for part in layer] for layer in pair]
        for layer in layers:
            if layer is not None and (len(layer) != 2 or np.shape(layer[0]) != np.shape(layer[1])):
                raise UnfitError("no mean and variance", "a mean and a variance are expected for each layer")
        return layers

    def usable(layers):
        first, second = layers
        return len(first[0]) < len(second[0])

    def share(layers):
        return accuracy(*layers)

    faults = {
        "a layer left out": (
            lambda layers: None in layers,
            "the network learned with both layers; so it must be tested with both",
        ),
        "layers swapped": (
            lambda layers: not usable(layers),
            "the first layer has one value for each pixel, the second one for each hidden unit",
        ),
        "never updated": (
            lambda layers: all(not layer[0].any() and (layer[1] == 1).all() for layer in layers),
            "these are the statistics of a fresh layer",
        ),
        "one layer never updated": (
            lambda layers: any(not layer[0].any() and (layer[1] == 1).all() for layer in layers),
            "one of the two layers has the statistics of a fresh one",
        ),
        "mean and variance swapped": (
            lambda layers: any((layer[1] < 0).any() for layer in layers),
            "a variance is never negative",
        ),
        "not arrived": (
            lambda layers: share(layers) <= 0.95,
            lambda layers: f"{share(layers):.2f} are right; are these near the moments of the training set?",
        ),
    }
    return judge_proposal(answer, read=read, faults=faults, seconds=10.0)
