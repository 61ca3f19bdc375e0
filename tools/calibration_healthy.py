"""What the doctor says of networks that are healthy: it should have no problem with any, on any sample.

Prints the false alarms, each by its name, and a table by kind of network.
"""

import bnlab.tensorflow_setup  # noqa: F401, I001 - it has to come first
import sys
from collections import Counter

import calibration_networks as small
import calibration_zoo as zoo
import keras
import numpy as np

from bnlab import words
from bnlab.checkup import checkup

# Of what a network has seen, and of what it has not.
SAMPLES = {"240": slice(240), "100": slice(240, 340), "32": slice(340, 372), "10": slice(372, 382)}
UNSEEN = "240 unseen"
NETWORKS = zoo.ZOO + [
    (name, setting)
    for name, setting in small.NETWORKS
    if setting.momentum >= 0.5 and not small.ARCHITECTURES[name].tells
]


def trained(name, setting):
    """Return a healthy network of either list as Trained."""
    if name in zoo.KINDS:
        return zoo.trained(name, setting)
    model, _ = small.trained(name, setting)
    x = np.concatenate([small.DIGITS.x_train, small.DIGITS.x_test[:399]])
    y = np.concatenate([small.DIGITS.y_train, small.DIGITS.y_test[:399]])
    return zoo.Trained(model, small.inputs(name, x), y)


def samples(network):
    """Yield (name, inputs) for each sample of a network's examples."""
    for name, rows in SAMPLES.items():
        yield name, network.x[rows]
    yield UNSEEN, network.x[network.known :][:240]


def main(names):
    """Train the networks of these names, or all, and print what the doctor says of them."""
    kinds = {}
    for name, setting in NETWORKS:
        if not names or name in names:
            counts = kinds.setdefault(name, Counter())
            counts.update({"networks": 1})
            counts.update(_words(f"{name}, {setting}", trained(name, setting), setting.batch_size))
            keras.backend.clear_session()
    said = sorted({word for counts in kinds.values() for word in counts} - {"networks", "judged"})
    heads = ["networks", "judged", *said]
    total = sum(kinds.values(), Counter())
    rows = [
        [name, *(str(counts[head]) for head in heads)] for name, counts in [*kinds.items(), ("all", total)]
    ]
    print(words.table([["kind", *heads], *rows]))


def _words(network, trained, batch_size):
    """Yield a word a layer and sample, remarks in brackets, and print the problems."""
    for sample, x in samples(trained):
        found = checkup(trained.model, x, batch_size=batch_size)
        for layer in found.layers:
            yield "judged"
            yield from layer.problems
            yield from (f"({remark})" for remark in layer.remarks)
            if layer.problems:
                print(f"{network}, {layer.name}, {sample}: {layer.problems}, {found.disagreement:.2f} apart")
        sys.stdout.flush()
