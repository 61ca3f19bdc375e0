"""Trains the networks that the limits of the doctor come from, spoils them, and writes down what it measures.

    python tools/calibrate.py                           all of them, into tests/calibration.csv: minutes
    python tools/calibrate.py dense "two halves"        those of some architectures, printed only
    python tools/calibrate.py healthy [KIND ...]        what the doctor says of healthy networks of 46 kinds
    python tools/calibrate.py applications [NAME ...]   the same of keras.applications, healthy and spoilt
    python tools/calibrate.py wheels FOLDER             the same of models in wheels from PyPI

A row is a layer of a network, seen by a sample. `state` says how it was spoilt, if it is not
"healthy"; `role` is "ill" for the layer that was spoilt and "bystander" for the others of that network;
`tells` is the limit that an ill row is for; `lost` is the accuracy on the sample in training mode minus that
in inference. Behind that are the quantities that the limits are about.
"""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
import csv
import sys
from pathlib import Path
from unittest.mock import patch

import calibration_applications
import calibration_healthy
import calibration_wheels
import calibration_zoo as zoo
import keras
import numpy as np
from calibration_networks import ARCHITECTURES, DIGITS, NETWORKS, trained
from calibration_spoils import ANY_LAYER, FIRST_LAYER, SPECIAL

from bnlab.doctor import fit, readings
from bnlab.doctor.inputs import watched
from bnlab.doctor.models.makers import watchable
from bnlab.doctor.sample import sampled

FILE = Path(__file__).parents[1] / "tests" / "calibration.csv"
COLUMNS = [
    *("architecture", "setting", "layer", "sample", "state", "role", "tells", "lost"),
    *(*fit.LIMITS, "initial", "standard_errors", "dead", "alive", "seldom", "counting"),
    *("misfit", "if_swapped", "if_squared", "momentum"),
]
# As many as the doctor asks for, a few, very few, and those that no network was trained on.
MANY, FEW, VERY_FEW, UNSEEN = "240", "60", "10", "240 unseen"
SAMPLES = {
    MANY: (DIGITS.x_train[:240], DIGITS.y_train[:240]),
    FEW: (DIGITS.x_train[240:300], DIGITS.y_train[240:300]),
    VERY_FEW: (DIGITS.x_train[300:310], DIGITS.y_train[300:310]),
    UNSEEN: (DIGITS.x_test[:240], DIGITS.y_test[:240]),
}
# Of the healthy zoo, those whose data are the hardest to judge by.
HARD = "heavy tails", "heavy tails in Dense", "bag of words", "seldom flags", "framed", "wide ReLU in front"
ALL = NETWORKS + [(name, setting) for name, setting in zoo.ZOO if name in HARD]


def measured(model, x, batch_size):
    """Return {name of a layer: {quantity: value}}, under the names of the doctor."""
    sample = sampled(model, x)
    seen = watched(watchable(model, sample.part(0, batch_size)), sample, batch_size)
    return {norm.name: _quantities(norm, seen) for norm in seen.called}


def _quantities(norm, seen):
    case = fit.Case(norm, seen)
    mean, variance = case.statistics
    found = case.quantities() | _of_dead_features(case) | _readings(case)
    if not mean.any() and (variance == 1).all():
        found["initial"] = max(one.quantities()["noticed"] for one in case.fits.values())
    found["standard_errors"] = _standard_errors(norm, seen)
    return found | {"counting": float(np.median(case.fit.counting)), "momentum": norm.momentum}


def _standard_errors(norm, seen):
    """Return how many standard errors it takes to excuse a layer from all of LIMITS, 64 at most."""
    low, high = 0.0, 64.0
    if not _ill(norm, seen, low):
        return low
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if _ill(norm, seen, middle) else (low, middle)
    return high


def _ill(norm, seen, standard_errors):
    with patch.object(fit, "_STANDARD_ERRORS", standard_errors):
        return fit.badness(fit.Case(norm, seen).quantities()) > 1


def _of_dead_features(case):
    """Where the sample can tell: the smallest variance, in epsilons, of features that are remembered as
    alive; how alive, in epsilons, those are remembered that hardly vary; and how often, in what makes sure
    of it, the most frequent of those that are 0 in all of the sample is remembered to occur.
    """
    sample, found = case.merged["batch"], {}
    if case.examples_needed:
        return found
    mean, variance = case.statistics
    absent = (sample.values.variance == 0) & (sample.values.mean == 0)
    if (case.lived & ~absent).any():
        found["dead"] = sample.values.variance[case.lived & ~absent].min() / case.norm.epsilon
    if case.dead.any():
        found["alive"] = (variance - variance.min())[case.dead].max() / case.norm.epsilon
    if (case.lived & absent).any():
        sure = 1 / sample.means.count + (1 - case.norm.momentum) / case.size
        found["seldom"] = (mean**2 / variance)[case.lived & absent].max() / sure
    return found


def _readings(case):
    """How far what is stored misses half of the features, and nine of ten if it is read in other ways."""
    mean, variance = case.statistics
    found = {"misfit": readings._misfit(case, (mean, variance), 0.5)}
    if (mean >= 0).all() and readings._uneven(mean):
        found["if_swapped"] = readings._misfit(case, (variance, mean), 0.9)
    if (variance >= 0).all() and readings._uneven(variance):
        found["if_squared"] = readings._misfit(case, (mean, variance**2), 0.9)
    return found


def rows(architecture, setting):
    """Yield the rows of a network: first as it was trained, by some samples, then spoilt in some ways."""
    if architecture in zoo.KINDS:
        network = zoo.trained(architecture, setting)
        note = Notes(network.model, architecture, setting, _samples(network), network.x.shape[1:])
        for sample in (MANY, UNSEEN, FEW, VERY_FEW):
            yield from note.rows(sample, "healthy", "")
        return
    model, young = trained(architecture, setting)
    state, tells = _as_trained(architecture, setting)
    note = Notes(model, architecture, setting, SAMPLES, ARCHITECTURES[architecture].shape)
    for sample in (MANY, UNSEEN) if tells else (MANY, UNSEEN, VERY_FEW):
        yield from note.rows(sample, state, tells)
    if not tells:
        yield from _spoilt(note, np.random.default_rng(NETWORKS.index((architecture, setting))), young)


def _samples(network):
    x, y, known = network.x, network.y, network.known
    parts = {
        MANY: slice(240),
        FEW: slice(240, 300),
        VERY_FEW: slice(300, 310),
        UNSEEN: slice(known, known + 240),
    }
    return {name: (x[rows], y[rows]) for name, rows in parts.items()}


def _as_trained(architecture, setting):
    if ARCHITECTURES[architecture].tells:
        return "two domains", ARCHITECTURES[architecture].tells
    return ("momentum as in PyTorch", "momentum") if setting.momentum < 0.5 else ("healthy", "")


def _spoilt(note, rng, young):
    """Yield rows after few steps, with a layer spoilt in three ways, and with the first one in others."""
    first, chosen = note.layers[0], rng.choice(note.layers)
    if len(first._inbound_nodes) == 1:  # what is called twice a step needs half as many
        yield max(note.spoilt("few steps", "share", lambda: note.model.set_weights(young)), key=_on_its_way)
    for state in rng.choice(list(ANY_LAYER), 3, replace=False):
        yield from note.of_layer(chosen, state, ANY_LAYER[state])
    one = str(rng.choice(list(FIRST_LAYER)))
    for state, spoil in {one: FIRST_LAYER[one], **SPECIAL.get(note.architecture, {})}.items():
        yield next(iter(note.of_layer(first, state, spoil)))


def _on_its_way(row):
    return min(row["share"] / fit.LIMITS["share"], row["noticed"] / fit.LIMITS["noticed"])


class Notes:
    """Takes down the rows of one network; what is done to it for some of them is undone."""

    def __init__(self, model, architecture, setting, samples, shape):
        self.model, self.architecture, self.setting = model, architecture, setting
        self.samples, self.shape = samples, shape  # {name: (x, y)}, and what the network takes
        self.layers = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]

    def rows(self, sample, state, tells, change=None):
        """Return a row a layer."""
        x, y = self.samples[sample]
        x = (change(x) if change else x).reshape(-1, *self.shape)
        known = {"architecture": self.architecture, "setting": str(self.setting), "sample": sample}
        known |= {"state": state, "tells": tells, "role": "ill" if tells else "healthy"}
        known["lost"] = self._accuracy(x, y, training=True) - self._accuracy(x, y, training=False)
        found = measured(self.model, x, self.setting.batch_size)
        return [{**known, "layer": layer, **quantities} for layer, quantities in found.items()]

    def spoilt(self, state, tells, spoil, sample=MANY, change=None):
        """Return the rows of the model after spoil()."""
        weights = self.model.get_weights()
        try:
            spoil()
            return self.rows(sample, state, tells, change)
        finally:
            self.model.set_weights(weights)

    def of_layer(self, layer, state, spoil):
        """Return the rows of a model of which one layer was spoilt, that one first."""
        found = self.spoilt(
            state,
            spoil.tells,
            lambda: spoil.model and spoil.model(self.model, layer),
            FEW if spoil.few else MANY,
            spoil.pixels,
        )
        others = [row | {"role": "bystander", "tells": ""} for row in found if row["layer"] != layer.name]
        return [row for row in found if row["layer"] == layer.name] + others

    def _accuracy(self, x, y, *, training):
        with keras.StatelessScope():  # no moving statistic moves
            return float(np.mean(np.argmax(self.model(x, training=training), axis=-1) == y))


def _text(row):
    return {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in row.items()}


def _written(architectures):
    """Write the rows of all networks to the file, or those of some architectures to the screen."""
    names = {name for name, _ in ALL}
    if unknown := set(architectures) - names:
        sys.exit(f"no such architecture: {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    chosen = [(name, setting) for name, setting in ALL if not architectures or name in architectures]
    table = []
    for number, (architecture, setting) in enumerate(chosen, start=1):
        print(f"{number} of {len(chosen)}: {architecture}, {setting}", file=sys.stderr)
        table += map(_text, rows(architecture, setting))
        keras.backend.clear_session()
    file = sys.stdout if architectures else FILE.open("w", encoding="utf-8", newline="")
    with file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def main(arguments):
    """Do what the first word asks for."""
    others = {
        "healthy": calibration_healthy.main,
        "applications": calibration_applications.main,
        "wheels": calibration_wheels.main,
    }
    if arguments and arguments[0] in others:
        others[arguments[0]](arguments[1:])
    else:
        _written(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
