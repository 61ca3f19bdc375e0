"""The illnesses of a batch-norm layer, one row each; a new one is its row here and its test, and no more."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bnlab import words
from bnlab.doctor import readings
from bnlab.doctor.fit import finite

# A ratio of variances worth a remark: inference divides by a standard deviation that is 12% too large. On
# digits, in front of Dense, Dropout(0.3) gives 1.4 and Dropout(0.1) 1.1.
_SHIFTED = 1.25


@dataclass(frozen=True)
class Illness:
    """One row. Rows may share a word if they need different advice; a remark makes no layer ill.

    found(case) of a `bnlab.doctor.fit.Case` is true if it has this. A dict is true too, and fills further
    places of the sentence and the line; its "features", a mask, are named with the layer.
    """

    word: str
    found: Callable
    sentence: str  # behind the word and a colon, with places for {layers} and {batch_size}
    line: str  # of Python, that mends it
    remark: bool = False


def diagnosed(case):
    """Return {Illness: what its places hold}: of each group the first row that is found, if any."""
    told = {}
    for group in GROUPS:
        for row in group:
            if places := row.found(case):
                told[row] = places if isinstance(places, dict) else {}
                break
    return told


def _spoilt_weights(case):
    """NaN in the weights, or in what comes in although the statistics are finite."""
    return not finite(*case.norm.weights) or not (case.fits or not finite(*case.statistics))


def _negative_variance(case):
    negative = case.statistics[1] + case.norm.epsilon < 0
    return negative.any() and {"features": negative}


def _too_large(case):
    """What no training and no recalibration can mend, as the variables cannot hold it."""
    return readings.too_large(case) and (not finite(*case.statistics) or case.untouched or case.stale)


def _not_converged(case):
    outliers = case.fit.outliers if case.stale else None
    return {"features": outliers} if outliers is not None else case.stale


def _cannot_tell(case):
    needed = 0 if case.untouched else case.examples_needed
    return needed and {"examples": case.examples, "needed": needed}


def _dead_feature(case):
    """Remembered as alive, or too many to do without; inputs may be constant, such as a border."""
    died = case.dead & case.lived & (not case.examples_needed)
    most = case.dead.mean() > 0.5 and not case.place.raw
    return (most or died.any()) and {"features": case.dead if most else died}


def _torch_momentum(case):
    return 0 < case.norm.momentum < 0.5 and {"flipped": 1 - case.norm.momentum}


def _unmoved(case):
    return case.place.moves is False


def _wrong_axis(case):
    """The layers in front put their features on another axis."""
    dimensions, features = len(next(iter(case.views.values()))[0].shape), case.place.features_axis
    wrong = features is not None and (features - case.norm.axis) % dimensions
    return wrong and {"features_axis": features}


def _flag_fixed(case):
    """Written into the graph, and of some effect there."""
    place = case.place
    if not place.flag or place.deaf or not case.norm.trainable:
        return None
    return {"at": place.flag[0], "flag": place.flag[1]}


def _dropout_in_front(case):
    """With dropout the variance is another, by more than the sample leaves open."""
    on, off = map(case.merged.get, ("training", "batch"))
    if not (case.place.dropout and on and off):
        return None
    ratios = (on.values.variance + case.norm.epsilon) / (off.values.variance + case.norm.epsilon)
    ratio = float(np.median(ratios))
    return ratio > _SHIFTED and {"noted": f"{words.ratio(ratio)} times"}


# The most likely cause first. The rows of one group explain the same thing, so only the first of them that is
# found is told: never two words for one cause. Laid out by hand, to be read row by row.
# fmt: off
GROUPS = (
    (  # what is wrong with the statistics
        Illness("not finite", _spoilt_weights,
            "there is NaN or infinity in the weights of {layers} or in what comes in, so weights of the "
            "model are spoilt. Go back to those from before:",
            'model.load_weights("before.weights.h5")'),
        Illness("not finite", _too_large,
            "what comes into {layers} has moments above 65504, the largest number of float16, so the moving "
            "statistics overflow. Build the model with a policy that keeps them in float32:",
            'keras.config.set_dtype_policy("mixed_float16")'),
        Illness("not finite", lambda case: not finite(*case.statistics),
            "there is NaN or infinity in the moving statistics of {layers}. One bad batch is enough, and no "
            "good one mends it. Keep such batches out, and measure afresh:",
            "recalibrate(model, batches)"),
        Illness("swapped statistics", readings.swapped,
            "what {layers} remember fits far better with mean and variance in each other's place. This is "
            "the order in which weights are set:",
            "layer.set_weights([gamma, beta, moving_mean, moving_variance])"),
        Illness("negative variance", _negative_variance,
            "the moving variance is below -epsilon in {layers}, and the root of that is NaN. No training "
            "gives it: an initializer that draws it did, or weights that were loaded. Measure afresh:",
            "recalibrate(model, batches)"),
        Illness("deviation stored", readings.deviation_stored,
            "the square of what {layers} have for a moving variance fits the data far better, so it is the "
            "standard deviation. Square it, once:",
            "layer.moving_variance.assign(layer.moving_variance**2)"),
        Illness("frozen but stale", lambda case: not case.norm.trainable and (case.stale or case.untouched),
            "the moving statistics of {layers} do not fit these data, and trainable is False, so training "
            "will not move them. Measure them afresh (or set trainable to True before training):",
            "recalibrate(model, batches)"),
        Illness("momentum one", lambda case: case.norm.trainable and case.norm.momentum == 1,
            "momentum is the weight of the old value, so {layers} will remember for ever what they do now. "
            "Build the model with 0.9 to 0.99; then train it, or load the weights and recalibrate:",
            "BatchNormalization(momentum=0.99)"),
        Illness("never updated", lambda case: case.untouched and _unmoved(case) and case.place.deaf
            and {"model": case.place.deaf},
            "the moving statistics of {layers} are still the initial 0 and 1; the data differ. The `call` of "
            "{model} takes no `training`, so `fit` cannot ask for training mode. Let it take one (the layers "
            "that it calls get it from Keras), and train again:",
            "def call(self, x, training=None): ..."),
        Illness("never updated", lambda case: case.untouched and _unmoved(case),
            "the moving statistics of {layers} are still the initial 0 and 1; the data differ. `fit` asks "
            "for training mode, but a `call` on the way says training=False. Let it hand on what it is "
            "given, and train again:",
            "y = self.bn(x, training=training)"),
        Illness("never updated", lambda case: case.untouched,
            "the moving statistics of {layers} are still the initial 0 and 1; the data differ. They move "
            "only in training mode, which a loop of your own must ask for:",
            "y = model(x, training=True)"),
        Illness("not one domain", lambda case: case.stale and case.torn and case.place.steps,
            "TimeDistributed calls {layers} once a step, the data of the steps differ, and one set of "
            "statistics cannot remember all of them. Training uses those of each step: take TimeDistributed "
            "away, since batch norm takes its moments over steps too:",
            "y = BatchNormalization()(x)"),
        Illness("not one domain", lambda case: case.stale and case.torn,
            "the model calls {layers} several times, on data that differ. One mean and one variance cannot "
            "fit all of them; training uses those of each call. Give each a layer of its own:",
            "a, b = BatchNormalization()(a), BatchNormalization()(b)"),
        Illness("single examples", readings.single_examples,
            "the moving variances of {layers} are far too small, and just those within single examples, so "
            "it was trained with one a step. Recalibrating does not cure that: its weights are used to it. "
            "Train with larger batches (or build it with GroupNormalization):",
            "model.fit(x, y, batch_size=32)"),
        Illness("not converged", _not_converged,
            "the moving statistics of {layers} differ from the data beyond sampling error. Either training "
            "had too few steps for the momentum, or the model now gets other data. Measure them afresh:",
            "recalibrate(model, batches)"),
    ),
    (  # what a sample leaves open
        Illness("cannot tell", _cannot_tell,
            "{examples} examples are too few to tell whether the moving statistics of {layers} fit: as these "
            "vary, chance alone could do what makes a layer ill. It takes about {needed}:",
            "print(checkup(model, x[:{needed}]))", remark=True),
    ),
    (  # what comes in and does not vary
        Illness("dead feature", _dead_feature,
            "the data hardly vary (variance far below epsilon) in {layers}, so the output there is about "
            "beta for any input. If that is no constant input, look at the layer in front: a ReLU there can "
            "die, one behind batch norm hardly:",
            "x = ReLU()(BatchNormalization()(Dense(units)(x)))"),
        Illness("dead feature", lambda case: case.dead.any() and {"features": case.dead},
            "the data hardly vary (variance far below epsilon) in {layers}, and the layer remembers it so. A "
            "constant input does that, or a ReLU in front; one behind batch norm hardly dies:",
            "x = ReLU()(BatchNormalization()(Dense(units)(x)))", remark=True),
    ),
    (  # how the layer is used
        Illness("tiny batch", lambda case: case.tiny,
            "at batch_size {batch_size} there is one value a feature in {layers}, and training mode returns "
            "beta for it, whatever it is. Train with larger batches:",
            "model.fit(x, y, batch_size=32)"),
    ),
    (  # how the layer is built
        Illness("torch momentum", _torch_momentum,
            "in Keras momentum is the weight of the old value, and in PyTorch one minus that. The momentum "
            "of {layers} was probably copied from there:",
            "BatchNormalization(momentum={flipped:g})"),
        Illness("momentum zero", lambda case: case.norm.momentum == 0,
            "momentum is the weight of the old value, so {layers} remember nothing but the last batch. "
            "Build the model with 0.9 to 0.99; then train it, or load the weights and recalibrate:",
            "BatchNormalization(momentum=0.99)"),
    ),
    (
        Illness("wrong axis", _wrong_axis,
            "the layers in front of {layers} put their features (channels) on another axis than the one that "
            "is normalized, so rows of a picture, or steps, are taken for features:",
            "BatchNormalization(axis={features_axis})"),
    ),
    (
        Illness("flag fixed", _flag_fixed,
            "training={flag} is written into the model's graph at {layers}, or at a model around. `fit` and "
            "`predict` override it; `model(x)`, `export` and converters obey it. Leave it out (to keep "
            "statistics as they are, set trainable to False):",
            "y = {at}(x)", remark=True),
    ),
    (
        Illness("useless bias", lambda case: case.norm.trainable and case.place.bias
            and {"without": case.place.bias},
            "the layer in front of {layers} adds a bias, and batch norm subtracts it again with the mean. It "
            "costs memory and does nothing:",
            "y = {without}(x)", remark=True),
    ),
    (
        Illness("dropout in front", _dropout_in_front,
            "dropout in front multiplies the variance that comes in, in {layers}. It is on while the moving "
            "statistics are averaged and off when they are used. Put dropout behind the last batch norm:",
            "y = Dropout(0.5)(BatchNormalization()(x))", remark=True),
    ),
)
# fmt: on
ILLNESSES = tuple(row for group in GROUPS for row in group)
