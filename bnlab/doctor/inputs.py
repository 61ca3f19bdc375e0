"""Watches what comes into the batch-norm layers of a model while it is called on a sample.

A layer meets its data in up to three ways, and they differ as soon as there is dropout or a layer behind
another one:

    "training"    training=True, so dropout and augmentation are on; layers normalize with the batch
    "batch"       training=False, but layers normalize with the batch all the same
    "inference"   training=False; layers normalize with their moving statistics

In the first two every layer takes the moments of the batch, also one that is frozen or called with
training=False: what the layers remember cannot spoil what comes into the next one.
"""

from typing import NamedTuple

from bnlab import words
from bnlab.doctor.outputs import Disagreement

_LARGER_BATCH = 32
VIEWS = "training", "batch", "inference"


class Watched(NamedTuple):
    """What `watched` saw of a model."""

    model: object  # a KerasModel or its like
    views: dict  # {view: {Norm: [Inputs of its first call a pass, of its second, ...]}}
    disagreement: float  # of the outputs in training mode and in inference, as in `Checkup`
    size: int  # examples a call
    tiny: set  # the layers that get one value a feature at the batch size asked for

    @property
    def called(self):
        """The layers that were called, in the order of their first calls."""
        return list(dict.fromkeys(norm for view in reversed(VIEWS) for norm in self.views[view]))


def watched(model, sample, batch_size):
    """Call the model on all batches of a sample in all views; a ValueError if no layer is called."""
    tiny, size = set(), batch_size
    if size == 1:  # what follows a layer with one value a feature would be constant: measure it otherwise
        views, _ = _pass(model, [sample.part(0, 1)])
        tiny = {norm for norm, calls in views["batch"].items() if calls[0].largest == 1}
        size = _LARGER_BATCH if tiny and not sample.fixed else size
    seen = Watched(model, *_pass(model, sample.batches(size)), size, tiny)
    if not seen.called:
        raise ValueError(none_called(model, "x"))
    return seen


def none_called(model, inputs):
    """Return the sentence for a model of whose layers nothing is known on these inputs."""
    if model.by_themselves:
        return (
            f"layers {words.names(model.by_themselves)} of model {model.name!r} normalize in a call of their "
            "own; expected one that calls BatchNormalization.call, where the moments are taken"
        )
    return f"model {model.name!r} calls none of its batch-norm layers on {inputs}; expected one or more"


def _pass(model, batches):
    """Return ({view: {Norm: [Inputs a call]}}, disagreement) over all batches."""
    views, apart = {view: {} for view in VIEWS}, Disagreement()
    for x in batches:
        outputs = {}
        for view in VIEWS:
            found, outputs[view] = model.watch(x, view)
            for norm, calls in found.items():
                before = views[view].get(norm, [])
                views[view][norm] = [a.merged(b) for a, b in zip(before, calls, strict=False)] + (
                    before[len(calls) :] + calls[len(before) :]
                )
        apart.add(outputs["batch"], outputs["inference"])
    return views, apart.largest()
