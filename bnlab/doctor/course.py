"""Watches a model while it trains: how what its batch-norm layers remember comes to fit the data.

A look takes some of the examples through the same rooms as `bnlab.checkup.checkup` and in the same three
views, so gap and ratio mean the same: an ill layer does not make those behind it look ill, and dropout or a
frozen layer in front is no alarm. It draws no random numbers but Keras's, which a look gives back.
"""

from dataclasses import replace
from html import escape

import keras
import numpy as np

from bnlab import checks, words
from bnlab.doctor import report
from bnlab.doctor.fit import Case
from bnlab.doctor.illnesses import diagnosed
from bnlab.doctor.inputs import watched
from bnlab.doctor.models.keras_model import KerasModel
from bnlab.doctor.ready import late, unfit
from bnlab.doctor.sample import sampled

_EXAMPLES = 64  # of a look: it is to cost no more than three steps of a hundred


class Watch(keras.callbacks.Callback):
    """Notes gap and ratio of every batch-norm layer while `fit` runs, and changes nothing of the training.

        model.fit(x, y, epochs=5, callbacks=[watch := checkup.Watch(x)])
        figures.show(*figures.course(watch.steps, watch.gaps, watch.ratios))
        print(watch)

    It looks before the first step, every so many steps, and at the end of each `fit`, which starts a new
    course. Each look calls the model on the same 64 examples of x, in the three views of `checkup`, and takes
    gap and ratio from it. It prints one line, at most once a `fit`, if a layer does not fit at the start and
    will not be ready at the end of the planned steps:

        what is left of the start = momentum^(steps * calls of the layer a step)

    That is at the start of the first epoch, or at its end if only then it is known how long an epoch is.

    Args:
        x: what the model is trained on, or some of it, as `checkup` takes it; not a dataset.
        every: steps from one look to the next, 1 or more. With `steps_per_execution` it looks after the first
            execution that has come so far.

    Attributes:
        steps: how many steps there had been at each look, shape (looks,).
        gaps, ratios: {layer: array of shape (looks,)}, the `mean_gap` and `variance_ratio` of `LayerCheckup`;
            NaN where a layer was not called or has nothing finite to compare.
        problems: {layer: words}, what is wrong at the last look, as in `checkup`.
        planned: steps that the last `fit` was to take; None as long as they are not known.
        warning: the line that was printed; "" if none was.

    Raises:
        TypeError, ValueError: every is no whole number or below 1. Before the first step of `fit`: x is none
            that the model can be called on, or the model has no batch-norm layer, as `checkup` says it.

    Source: `bnlab.checkup.checkup` for gap and ratio; `bnlab.moving_average.initial_share`.
    """

    def __init__(self, x, *, every=100):
        super().__init__()
        self.every = checks.whole_number("every", every, least=1)
        self._x, self._looks, self._cases = x, [], []
        self.planned, self.warning = None, ""

    def on_train_begin(self, logs=None):  # noqa: ARG002
        """Look for the first time."""
        sample = sampled(self.model, self._x)
        some = sample.part(0, max(_EXAMPLES, sample.fixed or 0))
        self._sample = replace(sample, x=some, order=np.arange(len(keras.tree.flatten(some)[0])))
        self._watched = KerasModel(self.model, some)
        self._looks, self._step, self._before = [], 0, 0
        self.planned, self.warning = None, ""
        self._look()
        self._unfit = [case for case in self._cases if unfit(case)]

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        """Warn, if it is known how many steps there will be."""
        self._before = self._step
        self._plan(epoch, self.params["steps"])

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        """Look, if it is time."""
        # The last execution of an epoch may have fewer steps than `batch` tells.
        self._step = self._before + min(batch + 1, self.params["steps"] or np.inf)
        if self._step // self.every > self._looks[-1][0] // self.every:
            self._look()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        """Warn, if it was not known before how many steps there are in an epoch."""
        self._plan(epoch, self._step)

    def on_train_end(self, logs=None):  # noqa: ARG002
        """Look for the last time."""
        if self._step > self._looks[-1][0]:
            self._look()

    @property
    def steps(self):
        """How many steps there had been at each look."""
        return np.array([step for step, _ in self._looks], int)

    @property
    def gaps(self):
        """The gap of each layer at each look."""
        return self._courses(0)

    @property
    def ratios(self):
        """The ratio of each layer at each look."""
        return self._courses(1)

    @property
    def problems(self):
        """What is wrong with each layer at the last look, in words; () if nothing is."""
        return {
            case.norm.name: tuple(row.word for row in diagnosed(case) if not row.remark)
            for case in self._cases
        }

    def __str__(self):
        """Return the table of the first and the last look, and what keeps layers from being ready."""
        if not self._looks:
            return "Watch: no fit yet."
        return "\n\n".join([words.table(self._rows()), *map(words.wrapped, self._told())])

    __repr__ = __str__

    def _repr_html_(self):
        if not self._looks:
            return f"<p>{self}</p>"
        heads, *rows = [list(map(escape, row)) for row in self._rows()]
        head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
        body = "".join(
            f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
            for name, *cells in rows
        )
        told = "".join(f"<p>{escape(sentence)}</p>" for sentence in self._told())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{told}"

    def _look(self):
        """Note gap and ratio of every layer that is called."""
        self._watched.forget()
        seen = watched(self._watched, self._sample, self._sample.examples)
        self._cases = [Case(norm, seen) for norm in seen.called]
        noted = {case.norm.name: case.fit.summary for case in self._cases if case.fit}
        self._looks.append((self._step, noted))

    def _plan(self, epoch, steps):
        """Say once who will not be ready, as soon as the number of steps of an epoch is known."""
        if self.planned is None and steps:
            self.planned = (self.params["epochs"] - epoch) * steps
            if told := late(self._unfit, self.planned):
                self.warning = f"Watch: not ready at the end: {'; '.join(told)}"
                print(self.warning)

    def _courses(self, part):
        """Return {layer: its gap or its ratio at each look}."""
        names = dict.fromkeys(name for _, noted in self._looks for name in noted)
        names |= dict.fromkeys(case.norm.name for case in self._cases)
        unknown = np.nan, np.nan
        return {
            name: np.array([noted.get(name, unknown)[part] for _, noted in self._looks]) for name in names
        }

    def _rows(self):
        """Return the cells of the table, its heads first."""
        first, last = self.steps[[0, -1]]
        heads = (f"{of} at {step}" for of in ("mean gap", "variance ratio") for step in (first, last))
        gaps, ratios, problems = self.gaps, self.ratios, self.problems
        return [("layer", "momentum", *heads, "problems")] + [
            (
                (name := case.norm.name),
                f"{case.norm.momentum:g}",
                *(words.ratio(values[name][at]) for values in (gaps, ratios) for at in (0, -1)),
                ", ".join(problems[name]) or "-",
            )
            for case in self._cases
        ]

    def _told(self):
        """Return sentences: how many layers are ill, and why, as far as the number of steps explains it."""
        ill, count = sum(map(bool, self.problems.values())), len(self._cases)
        found = report.counted(ill, count)
        told = [f"{found} at step {self._step}, on {self._sample.examples} examples of x."]
        told += late([case for case in self._cases if unfit(case)], self._step)
        return told + ["print(checkup(model, x)) says what to do."] * bool(ill)
