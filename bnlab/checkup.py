"""Reads a Keras model, says which of its batch-norm layers are ill, and puts right what they remember.

In inference a layer normalizes with its moving statistics. They go wrong silently: they were never
updated, or in too few steps, or the data are others than the model is used on now. `checkup` compares
them with what really comes into each layer; `recalibrate` measures them afresh.

On a saved model, from any folder (exit code 0: healthy, 1: ill, 2: it could not be looked at):

    python -m bnlab.checkup model.keras data.npz

This line uses the CPU, so it takes nothing from a training that runs on the GPU meanwhile. In a program of
your own, `checkup` uses the devices that the program uses.
"""

from bnlab.doctor.terminal import command

if __name__ == "__main__":
    # Before Keras: what is wrong in the line costs no seconds, and an interrupt is heard.
    def door():
        """Return this module, as an import gives it."""
        import bnlab.tensorflow_setup  # noqa: F401
        from bnlab import checkup

        return checkup

    command.process(door)  # and ends it

import sys
from dataclasses import dataclass, field

import numpy as np

from bnlab import checks
from bnlab.doctor import cure, report
from bnlab.doctor.course import Watch  # noqa: F401, of this door
from bnlab.doctor.fit import Case
from bnlab.doctor.illnesses import diagnosed
from bnlab.doctor.inputs import watched
from bnlab.doctor.models.makers import check_model, watchable
from bnlab.doctor.sample import sampled


@dataclass(frozen=True, eq=False)
class LayerCheckup:
    """What `checkup` found in one batch-norm layer.

    Attributes:
        name, features, momentum, epsilon, trainable: as the layer has them.
        mean_gap: |moving_mean - mean| / sqrt(variance + epsilon), that is in standard deviations of the
            data; nine features of ten are as close or closer.
        variance_ratio: (moving_variance + epsilon) / (variance + epsilon), dimensionless; 1 fits. Nine
            features of ten are as close to 1 or closer, above or below it.
        problems: what is wrong, a word each, the most likely cause first; () if nothing is.
        remarks: what is worth knowing and makes no layer ill, a word each.
        gaps, ratios: the same of every feature with their signs, shape (features,), for the picture;
            empty if there is nothing finite to compare.
        worst: the number of the feature that is furthest off; None if there is nothing finite to compare.
        dead: which features hardly vary.
        found: the rows of `bnlab.doctor.illnesses` that the words are from, with what their sentences need.
    """

    name: str
    features: int
    momentum: float
    epsilon: float
    trainable: bool
    mean_gap: float
    variance_ratio: float
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    gaps: np.ndarray = field(default=(), repr=False)
    ratios: np.ndarray = field(default=(), repr=False)
    worst: int | None = None
    dead: tuple[int, ...] = field(default=(), repr=False)
    found: dict = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Checkup:
    """What `checkup` found in a model; print it, or let Jupyter show it.

    Attributes:
        layers: a LayerCheckup a batch-norm layer, in the order of their first calls.
        disagreement: root mean square of (output in training mode - output in inference), in units of the
            standard deviation of the former; the largest if there are several outputs. Dropout is off in
            both, so this is batch norm's alone. infinity if an output is not finite.
        examples: how many of x were used.
        batch_size: as given, or the model's own.
        not_called: names of the layers that the model did not call on x; nothing is known about them.
        by_themselves: names of those that normalize in a `call` of their own and not in Keras's; nothing is
            known about them either.
        read_only: where to follow the advice, if the model cannot be changed; else empty.
    """

    layers: tuple[LayerCheckup, ...]
    disagreement: float
    examples: int
    batch_size: int
    not_called: tuple[str, ...] = ()
    by_themselves: tuple[str, ...] = ()
    read_only: str = ""

    @property
    def healthy(self):
        """True if no layer has a problem."""
        return not any(layer.problems for layer in self.layers)

    def __str__(self):
        """Return the table, the verdict, and per word a sentence and the line to change."""
        return report.text(self)

    __repr__ = __str__

    def _repr_html_(self):
        return report.html(self)


def checkup(model, x, *, batch_size=32):
    """Find what is wrong with the batch-norm layers of a model, without changing it.

        mean_gap       = |moving_mean - mean| / sqrt(variance + epsilon)
        variance_ratio = (moving_variance + epsilon) / (variance + epsilon)

    mean and variance are those of what comes into the layer when the model is called on x. That depends on
    what the layers in front do, so it is measured in three ways (see `bnlab.doctor.inputs`): as training sees
    it, with dropout; without dropout; and as inference sees it, with the moving statistics in front. A layer
    is judged by the one that its statistics fit best. So an ill layer does not make those behind it look ill,
    and statistics count as right if they were averaged under dropout, and if they were measured without it.

    What differs by less than two standard errors fits: those of x, counted in examples and not in pixels,
    and those of a moving average over batches of batch_size; both are larger where a few examples make most
    of the variance. Where they excuse more than makes a layer ill, the remark is "cannot tell". The rest is
    judged on the feature at the ninth decile, so that one of hundreds which hardly ever fires says nothing,
    while one alone is enough if its data lie three standard deviations off or the layer blows it up or
    silences it, and a few are if they lie two off. An array in the wrong place, or the root of one, is told
    by its shape over the features, however close it comes (`bnlab.doctor.readings`).

    Args:
        model: a Keras 3 or tf_keras model (or layer) with batch norm: Sequential, functional, nested,
            subclassed; if it has no weights yet, the first batch builds it. Or a SavedModel, from
            `bnlab.doctor.models.saved_model.load(folder)`.
        x: inputs that the model should do well on, of its training data best: an array, a list of numbers,
            a tensor, text, or for several inputs a list or dict of them, in the structure of the model's;
            (x, y) as for `fit` will do. Two examples or more; 100 to 600 tell. They are mixed before they
            are cut into batches, the same way every time.
        batch_size: examples a call, as in training; a whole number, 1 or more. A model that is built for a
            size of its own (`Input(batch_shape=...)`, a stateful RNN) is called with that, and a rest of
            x is left.

    Returns:
        Checkup. Nothing of the model has changed, nor after an error: no variable (also a plain
        `tf.Variable` that it holds), loss, flag, optimizer or random generator of TensorFlow or Keras. Only
        what a call does in Python stays done: a counter that is a Python number, draws from the generators
        of Python and NumPy, entries in a lookup table. Other threads may use the model meanwhile; what they
        assign to a plain `tf.Variable` during a call is lost.

    Raises:
        TypeError: model is none of these; x is a dataset or generator, ragged or sparse; batch_size is
            no whole number.
        ValueError: model has no batch-norm layer, calls none, or cannot be called on x; x has fewer than two
            examples (or fewer than a batch of the model's own size), parts of different lengths, or NaN,
            infinity or masked values in it; batch_size is below 1.

    Source: section 3.1 of Ioffe & Szegedy (2015) for what inference needs; Li et al. (2018),
    arXiv:1801.05134, for the shift of variance that dropout makes.
    """
    check_model(model)
    size = checks.whole_number("batch_size", batch_size, least=1)
    sample = sampled(model, x)
    size = sample.fixed or size
    seen = watched(watchable(model, sample.part(0, size)), sample, size)
    return Checkup(
        tuple(_layer_checkup(Case(norm, seen)) for norm in seen.called),
        seen.disagreement,
        sample.examples,
        size,
        tuple(seen.model.not_called),
        tuple(seen.model.by_themselves),
        seen.model.read_only,
    )


def _layer_checkup(case):
    norm, found = case.norm, diagnosed(case)
    gap, ratio = case.fit.summary if case.fit else (np.nan, np.nan)
    return LayerCheckup(
        **{name: getattr(norm, name) for name in ("name", "momentum", "epsilon", "trainable")},
        features=len(case.statistics[0]),
        mean_gap=gap,
        variance_ratio=ratio,
        problems=tuple(row.word for row in found if not row.remark),
        remarks=tuple(row.word for row in found if row.remark),
        gaps=case.fit.gaps if case.fit else np.empty(0),
        ratios=np.exp(case.fit.log_ratios) if case.fit else np.empty(0),
        worst=case.fit.worst if case.fit else None,
        dead=tuple(map(int, np.flatnonzero(case.dead))),
        found=found,
    )


def recalibrate(model, batches):
    """Put the moments of the data in place of the moving statistics of every batch-norm layer.

        moving_mean     = mean of everything that came into the layer
        moving_variance = mean of (everything - moving_mean)^2

    The model is called once on each batch. Its batch-norm layers normalize with the moments of the batch, as
    in training, also those that are frozen or called with training=False: what they remember is in doubt.
    Everything else is as in inference, where the statistics will be used, so dropout is off. The moments of
    the batches are merged exactly, so their order and sizes do not matter to a first layer. A layer behind
    another one sees inputs that were normalized batch by batch, and in inference it will not quite; the
    larger the batches, the closer.

    Only the moving statistics change, with the exceptions that `checkup` names: no weight, flag, momentum
    or optimizer. A frozen layer stays frozen. A layer that inference does not reach keeps its statistics, as
    does one that normalizes in a `call` of its own and not in Keras's. Labels are not needed. The batches are
    taken as they come: mix them as for training, since in one that has a single class a layer behind
    another one sees what it never sees otherwise.

    Args:
        model: a Keras 3 or tf_keras model (or layer) with batch norm: Sequential, functional, nested,
            subclassed; if it has no weights yet, the first batch builds it.
        batches: iterable of inputs of the model, also a generator; read once, any number of batches. A tuple
            is (x, y) or (x, y, sample_weight), as for `model.fit`, and only its x is used. Masked time
            steps do not count.

    Raises:
        TypeError: model is none of these, or a SavedModel, which cannot be changed; batches cannot be
            iterated over.
        ValueError: model has no batch-norm layer or cannot be called on a batch; batches is empty, or has
            a batch without examples or with NaN or infinity; the input of a layer is not finite or is one
            value a feature. After an error the model is as it was.

    Source: algorithm 2 of Ioffe & Szegedy (2015), lines 8 to 11, with the biased variance, which Keras
    stores; `torch.optim.swa_utils.update_bn`.
    """
    for variable, value in cure.measured(model, batches):
        variable.assign(value)


def main(arguments=None):
    """Check up a saved model on saved inputs, print what was found, and return the exit code."""
    return command.main(lambda: sys.modules[__name__], arguments)
