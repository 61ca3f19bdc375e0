"""Trains the networks that the limits of the doctor come from, spoils them, and writes down what it measures.

    python tools/calibrate.py                        all of them, into tests/calibration.csv: minutes
    python tools/calibrate.py dense "two halves"     those of some architectures, printed only

A row is a layer of a network, seen by a sample of digits. `state` says how it was spoilt, if it is not
"healthy"; `role` is "ill" for the layer that was spoilt and "bystander" for the others of that network;
`tells` is the limit that an ill row is for; `lost` is the accuracy on the sample in training mode minus that
in inference. Behind that are the quantities that the limits are about.
"""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
import csv
import sys
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
from calibration_networks import ARCHITECTURES, DIGITS, NETWORKS, inputs, trained
from calibration_spoils import ANY_LAYER, FIRST_LAYER, SPECIAL

from bnlab.doctor import fit
from bnlab.doctor.inputs import watched
from bnlab.doctor.models.keras_model import KerasModel
from bnlab.doctor.sample import sampled

FILE = Path(__file__).parents[1] / "tests" / "calibration.csv"
COLUMNS = [
    *("architecture", "setting", "layer", "sample", "state", "role", "tells", "lost"),
    *(*fit.LIMITS, "initial", "standard_errors", "dead", "seldom", "momentum"),
]
# As many as the doctor asks for, a few, very few, and those that no network was trained on.
MANY, FEW, VERY_FEW, UNSEEN = "240", "60", "10", "240 unseen"
SAMPLES = {
    MANY: (DIGITS.x_train[:240], DIGITS.y_train[:240]),
    FEW: (DIGITS.x_train[240:300], DIGITS.y_train[240:300]),
    VERY_FEW: (DIGITS.x_train[300:310], DIGITS.y_train[300:310]),
    UNSEEN: (DIGITS.x_test[:240], DIGITS.y_test[:240]),
}


def measured(model, x, batch_size):
    """Return {name of a layer: {quantity: value}}, under the names of the doctor."""
    sample = sampled(model, x)
    seen = watched(KerasModel(model, sample.part(0, batch_size)), sample, batch_size)
    return {norm.name: _quantities(norm, seen) for norm in seen.called}


def _quantities(norm, seen):
    case = fit.Case(norm, seen)
    mean, variance = case.statistics
    found = case.quantities() | _of_dead_features(case)
    if not mean.any() and (variance == 1).all():
        found["initial"] = max(one.quantities()["noticed"] for one in case.fits.values())
    found["standard_errors"] = _standard_errors(norm, seen)
    return found | {"momentum": norm.momentum}


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
    """Of the features that are remembered as alive: the smallest variance, in epsilons, of those that vary in
    the sample; and how often the most frequent of those that are 0 in all of it is remembered to occur in it.
    """
    mean, variance = case.statistics
    sample = case.merged["batch"]
    alive = ~case.hardly_varies(mean, variance)
    absent = (sample.values.variance == 0) & (sample.values.mean == 0)
    found = {}
    if (alive & ~absent).any():
        found["dead"] = sample.values.variance[alive & ~absent].min() / case.norm.epsilon
    if (alive & absent).any():
        found["seldom"] = (mean**2 / variance)[alive & absent].max() * sample.means.count
    return found


def rows(architecture, setting):
    """Yield the rows of a network: first as it was trained, by some samples, then spoilt in some ways."""
    model, young = trained(architecture, setting)
    state, tells = _as_trained(architecture, setting)
    note = Notes(model, architecture, setting)
    for sample in (MANY, UNSEEN) if tells else (MANY, UNSEEN, VERY_FEW):
        yield from note.rows(sample, state, tells)
    if not tells:
        yield from _spoilt(note, np.random.default_rng(NETWORKS.index((architecture, setting))), young)


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

    def __init__(self, model, architecture, setting):
        self.model, self.architecture, self.setting = model, architecture, setting
        self.layers = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]

    def rows(self, sample, state, tells, change=None):
        """Return a row a layer."""
        x, y = SAMPLES[sample]
        x = inputs(self.architecture, change(x) if change else x)
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


def main(architectures):
    """Write the rows of all networks to the file, or those of some architectures to the screen."""
    unknown = set(architectures) - set(ARCHITECTURES)
    if unknown:
        sys.exit(f"no such architecture: {', '.join(sorted(unknown))}; there are {', '.join(ARCHITECTURES)}")
    chosen = [(name, setting) for name, setting in NETWORKS if not architectures or name in architectures]
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


if __name__ == "__main__":
    main(sys.argv[1:])
