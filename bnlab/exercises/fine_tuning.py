"""Exercises of the eighth notebook, "Fine-tune a network that has it": frozen layers and stale statistics.

Keras is imported when an answer is judged, not before. The models are small, new and always the same.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from bnlab import batch_norm, data
from bnlab.exercises.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value


def normalizes_with_batch(answer):
    """Judge four booleans: does the layer normalize with the batch, rather than with its memory?

    Args:
        answer: one boolean each for a Keras 3 layer with trainable=True and training=True, a Keras 3 layer
            with trainable=False and training=True, a v1 layer with trainable=False and training=True, and a
            Keras 3 layer with trainable=True and training=False.

    Returns:
        Verdict.
    """
    mistakes = {
        "the flag alone": (
            [1, 1, 1, 0],
            "one of the two frameworks does not listen to the flag once a layer is frozen",
        ),
        "frozen is frozen": (
            [1, 0, 0, 0],
            "the two frameworks do not agree; what does trainable=False mean to the older one?",
        ),
        "frameworks swapped": ([1, 1, 0, 0], "in which of the two is one word enough?"),
        "the word alone": (
            [1, 0, 0, 1],
            "the table above has a loss for trainable=True, training=False; is it that of the batch?",
        ),
        "the word alone in Keras": (
            [1, 0, 1, 1],
            "a layer that is not frozen and is told training=False: which of the two losses has it?",
        ),
        "none of them": ([0, 0, 0, 0], "then no layer ever would; how does fit train?"),
        "all of them": ([1, 1, 1, 1], "one of them is told training=False and is not frozen"),
        "turned round": ([0, 1, 0, 1], "these are the layers that normalize with their memory"),
    }
    return judge_value(
        answer,
        truth=[1, 0, 1, 0],
        mistakes=mistakes,
        read=list,
        otherwise="look at the losses of the table once more: 0.06 is that of the batch",
    )


def mended_inversion(answer):
    """Judge a mended model: its images were inverted, and its statistics are those of the inverted images.

    Args:
        answer: answer(model) changes one variable of the model, so that it makes of inverted images what it
            made of the images before. model.layers are a dense layer, a batch norm, a ReLU and a dense layer;
            each of its normalized units has the wrong sign. What it returns does not matter.

    Returns:
        Verdict.
    """

    @cache
    def model(is_answers):
        """Building takes time: the answer has a model of its own, and all the mistakes share one."""
        return _network(features=5, hidden=4, outputs=3)

    def negate(*numbers):
        def mend(model):
            for number in numbers:
                model.variables[number].assign(-model.variables[number])

        return mend

    def gamma_becomes(change):
        return lambda model: model.layers[1].gamma.assign(change(model.layers[1].gamma.numpy()))

    kernel, gamma, beta, mean, head = 0, 2, 3, 4, 6
    mistakes = {
        "nothing changed": (
            negate(),
            "the model is as it was; a variable changes when something is assigned to it",
        ),
        "beta too": (negate(gamma, beta), "one of the two is added after the sign has been put right"),
        "beta instead": (negate(beta), "beta moves a unit; what turns it round?"),
        "mean instead": (negate(mean), "the mean is that of the new images already; is the place wrong?"),
        "kernel alone": (negate(kernel), "the units have changed, and the memory still knows the old ones"),
        "head instead": (
            negate(head),
            "the ReLU has cut off the wrong half before the head sees anything",
        ),
        "gamma overwritten": (
            gamma_becomes(lambda old: -np.ones_like(old)),
            "right for a fresh layer; this one has learned its gamma",
        ),
        "gamma made negative": (
            gamma_becomes(lambda old: -np.abs(old)),
            "some of them have been negative before",
        ),
        "gamma upside down": (
            gamma_becomes(lambda old: 1 / old),
            "the size was right, only the sign was not",
        ),
    }

    def outputs_right(found, images, weights):
        return all(
            np.allclose(outputs, _made_of(1 - x, w), rtol=1e-4, atol=1e-4)
            for (outputs, _), x, w in zip(found, images, weights, strict=True)
        )

    symptoms = {
        "more than one variable": (
            lambda found, images, weights: (
                outputs_right(found, images, weights) and all(changed.sum() > 1 for _, changed in found)
            ),
            "the outputs are right; but one variable is enough for it",
        ),
    }
    rng, inputs = np.random.default_rng(14), []
    for _ in range(2):
        shapes = [(5, 4), (4,), (4,), (4,), (4, 3), (3,)]
        inputs.append((rng.random((12, 5)), [rng.normal(size=shape) for shape in shapes]))
    return judge(
        answer,
        truth=negate(gamma),
        mistakes=mistakes,
        symptoms=symptoms,
        inputs=inputs,
        observe=lambda function, *given: _after_mending(function, model(function is answer), *given),
        seconds=10.0,
    )


def _made_of(x, weights):
    """Return what the network makes of images, if its statistics are theirs."""
    kernel, bias, gamma, beta, head, head_bias = weights
    hidden = x @ kernel + bias
    normal = batch_norm.normalize(hidden, *batch_norm.batch_moments(hidden), gamma=gamma, beta=beta)
    return np.maximum(normal, 0) @ head + head_bias


def _after_mending(mend, model, inverted, weights):
    """Return what a mended model makes of its images, and which variables have been changed."""
    kernel, bias, gamma, beta, head, head_bias = weights
    moments = batch_norm.batch_moments(inverted @ kernel + bias)
    model.set_weights([kernel, bias, gamma, beta, *moments, head, head_bias])
    before = model.get_weights()
    mend(model)
    changed = [not np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True)]
    return np.array(model(inverted, training=False)), np.array(changed)


def _network(*, features, hidden, outputs, dtype="float64"):
    import bnlab.tensorflow_setup  # noqa: F401, I001, before TensorFlow is there
    import keras

    return keras.Sequential(
        [
            keras.layers.Input((features,), dtype=dtype),
            keras.layers.Dense(hidden, dtype=dtype),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.ReLU(dtype=dtype),
            keras.layers.Dense(outputs, dtype=dtype),
        ]
    )


def thawed(answer):
    """Judge a function that thaws a model: in its next `fit` the moving statistics shall move again.

    Args:
        answer: answer(model) gets a model whose first two layers, a dense one and its batch norm, are frozen;
            it has been compiled and fitted like that. Labels are classes, 0 to 2, and there are three logits.
            What it returns does not matter.

    Returns:
        Verdict.
    """

    def stuck(test):
        return lambda seen: not seen.moves and test(seen)

    faults = {
        "weights changed": (
            lambda seen: seen.weights_changed,
            "the weights are not the same as before; nothing should be learned or lost by thawing",
        ),
        "written by hand": (
            lambda seen: seen.memory_changed,
            "you have written the memory yourself; the next fit should do that",
        ),
        "another model": (
            stuck(lambda seen: seen.returns_another),
            "a new model came back, and the one that was given is frozen as before",
        ),
        "not compiled again": (
            stuck(lambda seen: seen.trainable and not seen.rebuilt),
            "the layer is trainable now, but the training step was built before it was",
        ),
        "momentum 1": (
            stuck(lambda seen: seen.trainable and seen.momentum == 1),
            "a layer with this momentum never moves",
        ),
        "another layer": (
            stuck(lambda seen: seen.other_trainable),
            "a layer is thawed, but not the one that remembers",
        ),
        "only compiled": (
            stuck(lambda seen: seen.rebuilt),
            "the training step will be built anew, for a layer that is frozen still; ask for its flag",
        ),
        "still frozen": (stuck(lambda seen: True), "the layer is frozen as before"),
    }
    return judge_proposal(answer, read=_fit_after, faults=faults, seconds=30.0)


@dataclass
class _Thawed:
    """What a function has done to a frozen model, and whether the memory moved in the fit after it."""

    weights_changed: bool
    memory_changed: bool
    returns_another: bool
    trainable: bool
    other_trainable: bool
    rebuilt: bool
    momentum: float
    moves: bool


def _fit_after(thaw):
    if not callable(thaw):
        raise UnfitError("no function", "the function itself is expected, not what it returns")
    model = _network(features=2, hidden=3, outputs=3, dtype="float32")
    from keras import losses

    rng = np.random.default_rng(15)
    model.set_weights([rng.normal(size=variable.shape) ** 2 for variable in model.variables])
    dense, norm = model.layers[:2]
    dense.trainable = norm.trainable = False
    batch = rng.normal(size=(8, 2)).astype(np.float32), rng.integers(0, 3, 8)
    settings = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*batch, **settings)
    before = model.get_weights()
    returned = thaw(model)
    after = model.get_weights()
    changed = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    seen = _Thawed(
        weights_changed=any(changed[:4] + changed[6:]),
        memory_changed=any(changed[4:6]),
        returns_another=hasattr(returned, "layers") and returned is not model,
        trainable=norm.trainable,
        other_trainable=dense.trainable and not norm.trainable,
        rebuilt=model.train_function is None,
        momentum=norm.momentum,
        moves=False,
    )
    try:
        model.fit(*batch, **settings)
    except Exception as error:
        name = type(error).__name__
        words = (
            f"the next fit ends in a {name}; is it compiled for these layers, and with a loss for classes?"
        )
        raise UnfitError("it no longer fits", words) from error
    seen.moves = not np.array_equal(after[4], norm.moving_mean)
    return seen


def shift_of_your_own(answer):
    """Judge a change of the world of the reader's own, which recalibration mends.

    A small network has been trained on digits. The change shall cost it 0.2 of its accuracy or more, and
    statistics of 200 changed images shall bring at least half of that back.

    Args:
        answer: answer(images) -> the changed images. Both have shape (m, 64), with pixels from 0 to 1 before.

    Returns:
        Verdict.
    """

    def fails(test):
        return lambda seen: (seen.lost < 0.2 or seen.back < seen.lost / 2) and test(seen)

    def told(seen):
        return f"{seen.lost:.2f} lost, {seen.back:.2f} back; "

    faults = {
        "neighbours asked": (
            lambda seen: seen.asks_neighbours,
            "what becomes of an image depends on the others in the array; treat each by itself",
        ),
        "nothing changed": (lambda seen: seen.same, "the images are as they were"),
        "all images alike": (
            lambda seen: seen.alike,
            "nothing is left of the images; no statistics can bring it back",
        ),
        "hardly any loss": (
            fails(lambda seen: seen.lost < 0.2),
            lambda seen: f"{seen.lost:.2f} lost; it does so little harm that there is nothing to mend",
        ),
        "signs turned": (
            fails(lambda seen: seen.turned),
            lambda seen: told(seen) + "light and dark have changed places; do a mean and a variance know?",
        ),
        "chance": (
            fails(lambda seen: seen.chance),
            lambda seen: told(seen) + "one image twice, and two different ones come out",
        ),
        "pixels elsewhere": (
            fails(lambda seen: seen.elsewhere),
            lambda seen: told(seen) + "each unit now sees other pixels than those it was made for",
        ),
        "not brought back": (
            fails(lambda seen: True),
            lambda seen: told(seen) + "is each unit still the old one, but for place and width?",
        ),
    }
    return judge_proposal(answer, read=_before_and_after, faults=faults, seconds=10.0)


@dataclass
class _Shifted:
    """What a change of the images costs the network and does to the pixels."""

    lost: float
    back: float
    same: bool
    alike: bool
    turned: bool
    chance: bool
    elsewhere: bool
    asks_neighbours: bool


def _before_and_after(shift):
    if not callable(shift):
        raise UnfitError("no function", "a function of images is expected")

    def shifted(images):
        found = as_numbers(shift(images.copy()))
        if found.shape != images.shape:
            raise UnfitError(
                "wrong shape",
                f"images of shape {images.shape} came back as {found.shape}",
            )
        return found

    digits, (hidden, moments, accuracy) = data.digits(), _trained()
    kept, unseen = (x.astype(np.float64) for x in (digits.x_train[997:], digits.x_test))
    new_kept, new_unseen = shifted(kept), shifted(unseen)
    worse = accuracy(new_unseen, *moments)
    back = accuracy(new_unseen, *batch_norm.batch_moments(hidden(new_kept))) - worse
    copies = shifted(np.repeat(unseen[:1], 8, axis=0))
    chance = bool((np.ptp(copies, axis=0) > 1e-9).any()) or not np.allclose(shifted(unseen), new_unseen)
    few = slice(0, 8)
    towards = _correlation(unseen, new_unseen)
    return _Shifted(
        lost=accuracy(unseen, *moments) - worse,
        back=back,
        same=np.allclose(new_unseen, unseen, atol=1e-9),
        alike=bool((np.ptp(new_unseen, axis=0) < 1e-9).all()),
        turned=bool((np.diag(towards) < 0).mean() > 0.5),
        chance=chance,
        elsewhere=_from_elsewhere(towards),
        asks_neighbours=not chance and not np.allclose(shifted(unseen[few]), new_unseen[few], atol=1e-9),
    )


def _correlation(old, new):
    """Return the correlation of each old pixel with each new one, NaN for pixels that never change."""
    old, new = ((x - x.mean(axis=0)) / x.std(axis=0) for x in (old, new))
    return old.T @ new / len(old)


def _from_elsewhere(towards):
    """Say whether most of the new pixels go with another old pixel than with the one at their place."""
    known = ~np.isnan(towards).all(axis=0) & ~np.isnan(np.diag(towards))
    if not known.any():
        return False
    nearest = np.where(np.isnan(towards), -1, towards).argmax(axis=0)
    return bool((nearest != np.arange(len(towards)))[known].mean() > 0.5)


@cache
def _trained():
    """Return the hidden units of a network for digits, their moments, and what measures its accuracy.

    Its hidden layer is left at random, and its head is found in one step, by least squares.
    """
    digits, rng = data.digits(), np.random.default_rng(0)
    kernel, beta = rng.normal(size=(64, 100)), rng.normal(size=100)
    old = digits.x_train[:997].astype(np.float64)

    def hidden(x):
        return x @ kernel

    def active(x, mean, variance):
        y = np.maximum(batch_norm.normalize(hidden(x), mean, variance, beta=beta), 0)
        return np.column_stack([y, np.ones(len(y))])

    moments = batch_norm.batch_moments(hidden(old))
    y = active(old, *moments)
    head = np.linalg.solve(y.T @ y + np.eye(101), y.T @ np.eye(10)[digits.y_train[:997]])

    def accuracy(x, mean, variance):
        return float(((active(x, mean, variance) @ head).argmax(axis=1) == digits.y_test).mean())

    return hidden, moments, accuracy
