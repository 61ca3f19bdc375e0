"""Exercises of the third notebook, "Set the training flag": who reads and who writes the statistics."""

import numpy as np

from bnlab import batch_norm
from bnlab.judging import as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import mutants, scale, spread, update, with_hints


def writers(answer):
    """Judge four booleans: which of these calls of a Keras model change the moving mean?

    Args:
        answer: one boolean each for `fit`, `evaluate`, `model(x)` and `model(x, training=True)`.
    """
    mistakes = {
        "evaluate too": ([1, 1, 0, 1], "is an error measured with the flag on or off?"),
        "fit alone": ([1, 0, 0, 0], "what does the last call say, word for word?"),
        "all but evaluate": ([1, 0, 1, 1], "in which mode is a layer that is simply called?"),
        "the spoken flag alone": ([0, 0, 0, 1], "who sets the flag while a model is fitted?"),
    }
    hint = "go through the four once more: in which mode is each?"
    return judge_value(answer, truth=[1, 0, 0, 1], mistakes=mistakes, otherwise=hint)


def one_call(answer):
    """Judge one call of a batch-norm layer, in either mode, with momentum 0.9 and epsilon 0.001.

    Args:
        answer: answer(x, moving_mean, moving_variance, training) -> (y, moving_mean, moving_variance), the
            output and the statistics after the call. x and y have shape (examples, features), gamma is 1 and
            beta 0, the variance is the biased one.
    """
    wrong = mutants(_call, "epsilon outside the root", "momentum of the new value", "Bessel") | {
        "updated in inference": _call(writes=lambda training: True),
        "never updated": _call(writes=lambda training: False),
        "reads the memory in training": _call(reads=lambda training: False),
        "reads the batch in inference": _call(reads=lambda training: True),
        "flag turned round": _call(reads=np.logical_not, writes=np.logical_not),
    }
    hints = {
        "momentum of the new value": (
            "how far does one batch move the statistics: a tenth of the way, or nine tenths?"
        ),
        "Bessel": "the variance that is stored is too large by m / (m - 1)",
        "updated in inference": "is a mere look allowed to change what is remembered?",
        "never updated": "what will inference find after a long training?",
        "reads the memory in training": "whose moments normalize the batch while the network learns?",
        "reads the batch in inference": "may the answer for one image depend on the others?",
        "flag turned round": "follow one call with training=True through your function",
    }
    rng = np.random.default_rng(3)
    inputs = [
        (rng.normal(2.0, [0.05, 1.0, 3.0], (m, 3)), rng.normal(size=3), rng.uniform(0.02, 3.0, 3), training)
        for m in (4, 7)
        for training in (True, False)
    ]
    return judge(answer, truth=_call(), mistakes=with_hints(wrong, hints), inputs=inputs)


def _call(*, reads=bool, writes=bool, ddof=0, momentum=lambda momentum: momentum, **habits):
    """Return a call that reads the batch if reads(training), and writes the memory if writes(training)."""

    def call(x, moving_mean, moving_variance, training):
        batch, moving = (x.mean(axis=0), x.var(axis=0)), (moving_mean, moving_variance)
        mean, variance = batch if reads(training) else moving
        y = (x - mean) * scale(**habits)(1.0, variance)
        if not writes(training):
            return y, *moving
        stored = zip(moving, (batch[0], spread(ddof=ddof)(x)), strict=True)
        return y, *(update(momentum=momentum)(*pair, 0.9) for pair in stored)

    return call


def mates(answer):
    """Judge a batch of the reader's own, in which a large value comes out small.

    Args:
        answer: the examples of a batch with one feature; the first one is 5. A fresh layer in inference mode
            makes 4.998 of it. In training mode it shall come out at -1.5 or below.
    """

    def fault(batch):
        x = as_numbers(batch).reshape(-1, 1)
        if len(x) == 0 or x[0, 0] != 5:
            return "5 is not the first", "the first example of the batch must be 5"
        if len(x) == 1:
            return "alone", "a single example is its own mean; give it mates"
        y = batch_norm.normalize(x, *batch_norm.batch_moments(x))[0, 0]
        comes_out = f"it comes out at {y:.2f}"
        if y.round(9) <= -1.5:  # by the formula, whatever the last digits are
            return None
        if y > 0:
            hint = f"{comes_out}, above the mean of the batch; on which side must the mates be?"
            return "mates below it", hint
        if len(x) < 4:
            return "too few mates", f"{comes_out}, and with {len(x)} examples none can lie much lower"
        if x.std() < 0.3:
            return "too close together", f"{comes_out}; beside so small a spread epsilon counts"
        return "mates apart from each other", f"{comes_out}; its mates lie too far apart from each other"

    return judge_proposal(answer, fault_of=fault)


def mended_test(answer, *, accuracy):
    """Judge the statistics that are handed to the two layers of a trained network for testing.

    Args:
        answer: a pair, for the first and for the second layer; each is (mean, variance), or None for a layer
            that is left out.
        accuracy: accuracy(first, second) -> the share of right answers with them. More than 0.95 is right.
    """

    def is_fresh(mean, variance):
        return not mean.any() and (variance == 1).all()

    def fault(pair):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            return "no pair", "two are expected, one for each layer"
        if any(layer is None for layer in pair):
            return "a layer left out", "the network learned with both layers; so it must be tested with both"
        layers = [[as_numbers(part) for part in layer] for layer in pair]
        if any(len(layer) != 2 or layer[0].shape != layer[1].shape for layer in layers):
            return "no mean and variance", "a mean and a variance are expected for each layer"
        if len(layers[0][0]) >= len(layers[1][0]):
            hint = "the first layer has one value for each pixel, the second one for each hidden unit"
            return "layers swapped", hint
        if all(is_fresh(*layer) for layer in layers):
            return "never updated", "these are the statistics of a fresh layer"
        if any((variance < 0).any() for _, variance in layers):
            return "mean and variance swapped", "a variance is never negative"
        share = accuracy(*layers)
        if share <= 0.95:
            return "not arrived", f"{share:.2f} are right; are these near the moments of the training set?"
        return None

    return judge_proposal(answer, fault_of=fault, seconds=10.0)
