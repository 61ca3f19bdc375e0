"""Exercises of the thirteenth notebook, "Follow the flag through Keras": who hands it on, and who obeys.

Keras is imported when an answer is judged, not before. The models are small and new.
"""

import numpy as np

from bnlab.judging import UnfitError, as_numbers, judge, judge_proposal, judge_value

_DRAWS = 20


def uses_the_batch(answer):
    """Judge five booleans: does batch norm in a functional model of Keras 3 normalize with the batch?

    Args:
        answer: one boolean each for training=False written in and fit; training=True written in and predict;
            training=True written in and model(x); training=False written in and a served export; and
            nothing written in, trainable=False and model(x, training=True).
    """
    mistakes = {
        "the model's word wins": (
            [0, 1, 1, 0, 0],
            "so it was in Keras 2; who wins in Keras 3, if both speak?",
        ),
        "the model's word is nothing": (
            [1, 0, 0, 0, 0],
            "what is written counts where the caller says nothing",
        ),
        "an export trains": ([1, 0, 1, 1, 0], "what does an export say: True, False or nothing?"),
        "frozen and listening": ([1, 0, 1, 0, 1], "the last one is frozen; does it hear a flag at all?"),
    }
    hint = "look at the rows of the third table once more: fit, predict, model(x), export"
    return judge_value(answer, truth=[1, 0, 1, 0, 0], mistakes=mistakes, read=list, otherwise=hint)


def momentum_of_parts(answer):
    """Judge the momentum for a step of several passes, with which a step forgets as much as one pass did.

    Args:
        answer: answer(momentum, parts) -> the momentum; parts is the number of passes a step.
    """
    mistakes = {
        "unchanged": (
            lambda momentum, parts: momentum,
            "each pass is an update; how much of the old is left after all of them?",
        ),
        "power for root": (
            lambda momentum, parts: momentum**parts,
            "that is what is left after the step; which momentum leaves as much as before?",
        ),
        "divided": (
            lambda momentum, parts: momentum / parts,
            "with this the memory forgets faster still; should it be nearer to 1 or to 0?",
        ),
        "share divided": (
            lambda momentum, parts: 1 - (1 - momentum) / parts,
            "nearly right close to 1; try 0.5 and 2 parts: what is left of the old after two updates?",
        ),
        "root of the new": (
            lambda momentum, parts: 1 - (1 - momentum) ** (1 / parts),
            "which weight is multiplied at each update: that of the old value or of the new one?",
        ),
    }
    inputs = [(0.5, 2), (0.9, 4), (0.99, 16), (0.7, 1)]
    return judge(
        answer, truth=lambda momentum, parts: momentum ** (1 / parts), mistakes=mistakes, inputs=inputs
    )


def doubt(answer):
    """Judge a function that asks a model many times, with dropout on and batch norm in inference mode.

    Args:
        answer: answer(model, x) -> 20 answers for each input, shape (20, len(x), 1). model is a Keras 3 model
            with batch norm and dropout; its weights, and which layers are trainable, shall stay as they are.
    """

    def fault(ask):
        if not callable(ask):
            return "no function", "a function of a model and its inputs is expected"
        for frozen in ([], [0], [1]):
            model, x, memory, batch = _model(frozen)
            flags, weights = _trainable(model), model.get_weights()
            answers = _shaped(ask(model, x.copy()), len(x))
            if any(map(np.any, map(np.not_equal, weights, model.get_weights()))):
                return "weights changed", "the memory of the model, or a weight, is not what it was before"
            if _trainable(model) != flags:
                return (
                    "left frozen",
                    "which layers are trainable is not as before; some had been frozen already",
                )
            if np.allclose(answers, memory, atol=1e-5):
                return "no dropout", "these are the answers of predict: every time the same"
            if (answers == answers[0]).all():
                return "one answer repeated", "the dice are thrown once, and the answer is given 20 times"
            if _is_either(answers, memory):
                continue
            if _is_either(answers, batch):
                return (
                    "batch used",
                    "the answers depend on the other inputs; whose mean does batch norm subtract?",
                )
            return "other answers", "these are no answers of this model with some units dropped"
        return None

    return judge_proposal(answer, fault_of=fault, seconds=60.0)


def _model(frozen):
    """Return a model of one hidden unit, inputs, and its outputs without dropout by memory and by batch.

    The last layer has the bias 0, so with half of the units dropped an answer is 0 or twice the output.
    """
    import bnlab.tensorflow_setup  # noqa: F401, I001, before TensorFlow is there
    from keras import Sequential, layers

    norm = layers.BatchNormalization()
    first, last = (layers.Dense(1, kernel_initializer="ones") for _ in range(2))
    model = Sequential([layers.Input((1,)), first, norm, layers.Dropout(0.5), last])
    norm.set_weights([np.array([value], np.float32) for value in (2.0, 1.0, 3.0, 4.0)])
    for number in frozen:
        model.layers[number].trainable = False
    x = np.array([[1.0], [4.0], [6.0], [9.0], [13.0]], np.float32)
    moments = (3.0, 4.0), (x.mean(), x.var())
    memory, batch = (2 * (x - mean) / np.sqrt(variance + norm.epsilon) + 1 for mean, variance in moments)
    return model, x, memory, batch


def _trainable(model):
    return [layer.trainable for layer in (model, *model.layers)]


def _shaped(answers, count):
    numbers = as_numbers(answers)
    if numbers.shape != (_DRAWS, count, 1):
        raise UnfitError("wrong shape", f"its shape is {numbers.shape}, not {(_DRAWS, count, 1)}")
    return numbers


def _is_either(answers, outputs):
    """Say whether every answer is 0 or twice the output, and both occur."""
    dropped = np.isclose(answers, 0, atol=1e-5)
    return bool((dropped | np.isclose(answers, 2 * outputs, atol=1e-4)).all() and dropped.any())
