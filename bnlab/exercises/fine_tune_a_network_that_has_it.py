"""Exercises of the eighth notebook, "Fine-tune a network that has it": frozen layers and stale statistics.

Keras is imported when an answer is judged, not before. The models are small, new and always the same.
"""

from functools import cache

import numpy as np

from bnlab import batch_norm, data
from bnlab.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.classic_bugs import with_hints


def normalizes_with_batch(answer):
    """Judge four booleans: does the layer normalize with the batch, rather than with its memory?

    Args:
        answer: one boolean each for a Keras 3 layer with trainable=True and training=True, a Keras 3 layer
            with trainable=False and training=True, a v1 layer with trainable=False and training=True, and a
            Keras 3 layer with trainable=True and training=False.
    """
    flag_alone = "one of the two frameworks does not listen to the flag once a layer is frozen"
    frozen = "the two frameworks do not agree; what does trainable=False mean to the older one?"
    word_alone = "a layer that is not frozen and is told training=False: which of the two losses has it?"
    mistakes = {
        "the flag alone": ([1, 1, 1, 0], flag_alone),
        "frozen is frozen": ([1, 0, 0, 0], frozen),
        "frameworks swapped": ([1, 1, 0, 0], "in which of the two is one word enough?"),
        "the word alone in Keras": ([1, 0, 1, 1], word_alone),
    }
    hint = "look at the losses of the table once more: 0.06 is that of the batch"
    return judge_value(answer, truth=[1, 0, 1, 0], mistakes=mistakes, read=list, otherwise=hint)


def mended_inversion(answer):
    """Judge a mended model: its images were inverted, and its statistics are those of the inverted images.

    Args:
        answer: answer(model) changes one variable of the model, so that it makes of inverted images what it
            made of the images before. model.layers are a dense layer, a batch norm, a ReLU and a dense layer;
            each of its normalized units has the wrong sign. What it returns does not matter.
    """
    wrong = {
        "nothing changed": _negate(),
        "beta too": _negate("gamma", "beta"),
        "mean instead": _negate("moving_mean"),
        "kernel alone": _negate("kernel"),
        "head instead": _negate("head"),
        "more than one variable": _negate("kernel", "bias", "moving_mean"),
        "gamma overwritten": _gamma_becomes(lambda old: -np.ones_like(old)),
    }
    hints = {
        "nothing changed": "the model is as it was; a variable changes when something is assigned to it",
        "beta too": "one of the two is added after the sign has been put right",
        "mean instead": "the mean is that of the new images already; is the place wrong?",
        "kernel alone": "the units have changed, and the memory still knows the old ones",
        "head instead": "the ReLU has cut off the wrong half before the head sees anything",
        "more than one variable": "the outputs are right; but one variable is enough for it",
        "gamma overwritten": "right for a fresh layer; this one has learned its gamma",
    }
    model = cache(lambda is_answers: _network(5, 4, 3, "float64"))  # one for the answer, one for all mistakes
    rng, inputs = np.random.default_rng(14), []
    for _ in range(2):
        shapes = [(5, 4), (4,), (4,), (4,), (4, 3), (3,)]
        inputs.append((rng.random((12, 5)), [rng.normal(size=shape) for shape in shapes]))
    return judge(
        answer,
        truth=_negate("gamma"),
        mistakes=with_hints(wrong, hints),
        inputs=inputs,
        observe=lambda mend, *given: _after_mending(mend, model(mend is answer), *given),
        seconds=10.0,
    )


_VARIABLES = ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "head", "head_bias"]


def _negate(*names):
    def mend(model):
        for name in names:
            variable = model.variables[_VARIABLES.index(name)]
            variable.assign(-variable)

    return mend


def _gamma_becomes(change):
    return lambda model: model.layers[1].gamma.assign(change(model.layers[1].gamma.numpy()))


def _after_mending(mend, model, inverted, weights):
    """Return what a mended model makes of its images, and which variables have been changed."""
    kernel, bias, gamma, beta, head, head_bias = weights
    moments = batch_norm.batch_moments(inverted @ kernel + bias)
    model.set_weights([kernel, bias, gamma, beta, *moments, head, head_bias])
    before = model.get_weights()
    mend(model)
    return np.array(model(inverted, training=False)), _changed(before, model.get_weights())


def _changed(before, after):
    return np.array([not np.array_equal(*pair) for pair in zip(before, after, strict=True)])


def _network(features, hidden, outputs, dtype):
    import bnlab.tensorflow_setup  # noqa: F401, I001, before TensorFlow is there
    from keras import Sequential, layers

    return Sequential(
        [
            layers.Input((features,), dtype=dtype),
            layers.Dense(hidden, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.ReLU(dtype=dtype),
            layers.Dense(outputs, dtype=dtype),
        ]
    )


def thawed(answer):
    """Judge a function that thaws a model: in its next `fit` the moving statistics shall move again.

    Args:
        answer: answer(model) gets a model whose first two layers, a dense one and its batch norm, are frozen;
            it has been compiled and fitted like that. Labels are classes, 0 to 2, and there are three logits.
            What it returns does not matter.
    """

    def fault(thaw):
        if not callable(thaw):
            return "no function", "the function itself is expected, not what it returns"
        model, fit = _fitted_frozen()
        norm = model.layers[1]
        before, returned, after = model.get_weights(), thaw(model), model.get_weights()
        changed, is_new_step = _changed(before, after), model.train_function is None
        try:
            fit()
        except Exception as error:
            hint = "is it compiled for these layers, and with a loss for classes?"
            return "it no longer fits", f"the next fit ends in a {type(error).__name__}; {hint}"
        if changed[[0, 1, 2, 3, 6, 7]].any():
            hint = "the weights are not the same as before; nothing should be learned or lost by thawing"
            return "weights changed", hint
        if changed.any():
            return "written by hand", "you have written the memory yourself; the next fit should do that"
        if not np.array_equal(after[4], norm.moving_mean):
            return None
        if hasattr(returned, "layers") and returned is not model:
            return "another model", "a new model came back, and the one that was given is frozen as before"
        if norm.trainable and not is_new_step:
            hint = "the layer is trainable now, but the training step was built before it was"
            return "not compiled again", hint
        if norm.trainable:
            return "momentum 1", "a layer with this momentum never moves"
        if is_new_step:
            hint = "the training step will be built anew, for a layer that is frozen still; ask for its flag"
            return "only compiled", hint
        return "still frozen", "the layer is frozen as before"

    return judge_proposal(answer, fault_of=fault, seconds=30.0)


def _fitted_frozen():
    """Return a model that was fitted with its first two layers frozen, and what fits it again."""
    model, rng = _network(2, 3, 3, "float32"), np.random.default_rng(15)
    from keras import losses

    model.set_weights([rng.normal(size=variable.shape) ** 2 for variable in model.variables])
    for layer in model.layers[:2]:
        layer.trainable = False
    batch = rng.normal(size=(8, 2)).astype(np.float32), rng.integers(0, 3, 8)
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))

    def fit():
        model.fit(*batch, batch_size=8, shuffle=False, verbose=0)

    fit()
    return model, fit


def shift_of_your_own(answer):
    """Judge a change of the world of the reader's own, which recalibration mends.

    A small network has been trained on digits. The change shall cost it 0.2 of its accuracy or more, and
    statistics of 200 changed images shall bring at least half of that back.

    Args:
        answer: answer(images) -> the changed images. Both have shape (m, 64), with pixels from 0 to 1 before.
    """

    def fault(shift):
        if not callable(shift):
            return "no function", "a function of images is expected"
        digits, shifted = data.digits(), _checked(shift)
        kept, unseen = (x.astype(np.float64) for x in (digits.x_train[997:], digits.x_test))
        new = shifted(unseen)
        copies = shifted(np.repeat(unseen[:1], 8, axis=0))
        by_chance = (np.ptp(copies, axis=0) > 1e-9).any() or not np.allclose(shifted(unseen), new)
        if not by_chance and not np.allclose(shifted(unseen[:8]), new[:8], atol=1e-9):
            hint = "what becomes of an image depends on the others in the array; treat each by itself"
            return "neighbours asked", hint
        if np.allclose(new, unseen, atol=1e-9):
            return "nothing changed", "the images are as they were"
        if (np.ptp(new, axis=0) < 1e-9).all():
            return "all images alike", "nothing is left of the images; no statistics can bring it back"
        lost, back = _lost_and_back(shifted(kept), new)
        if round(lost - 0.2, 9) < 0:  # 0.7 - 0.5 is a little less than 0.2
            return "hardly any loss", f"{lost:.2f} lost; it does so little harm that there is nothing to mend"
        if round(back - lost / 2, 9) >= 0:
            return None
        told = f"{lost:.2f} lost, {back:.2f} back;"
        together = ((unseen - unseen.mean(axis=0)) * (new - new.mean(axis=0))).mean(axis=0)
        if (together < 0).mean() > 0.5:
            hint = "light and dark have changed places; do a mean and a variance know?"
            return "signs turned", f"{told} {hint}"
        if by_chance:
            return "chance", f"{told} one image twice, and two different ones come out"
        return "not brought back", f"{told} is each unit still the old one, but for place and width?"

    return judge_proposal(answer, fault_of=fault, seconds=10.0)


def _checked(shift):
    def shifted(images):
        found = as_numbers(shift(images.copy()))
        if found.shape != images.shape:
            raise UnfitError("wrong shape", f"images of shape {images.shape} came back as {found.shape}")
        return found

    return shifted


def _lost_and_back(kept, new):
    """Return the accuracy that a network loses on new images, and what moments of kept ones bring back.

    Its hidden layer is left at random, and its head is found in one step, by least squares.
    """
    digits, rng = data.digits(), np.random.default_rng(0)
    kernel, beta = rng.normal(size=(64, 100)), rng.normal(size=100)
    hidden = digits.x_train[:997].astype(np.float64) @ kernel

    def active(hidden, moments):
        y = np.maximum(batch_norm.normalize(hidden, *moments, beta=beta), 0)
        return np.column_stack([y, np.ones(len(y))])

    moments = batch_norm.batch_moments(hidden)
    y = active(hidden, moments)
    head = np.linalg.solve(y.T @ y + np.eye(101), y.T @ np.eye(10)[digits.y_train[:997]])

    def accuracy(x, moments):
        return float(((active(x @ kernel, moments) @ head).argmax(axis=1) == digits.y_test).mean())

    worse = accuracy(new, moments)
    back = accuracy(new, batch_norm.batch_moments(kept @ kernel)) - worse
    return accuracy(digits.x_test.astype(np.float64), moments) - worse, back
