"""Every illness in models built in every way: found, its word first, and gone once its advice is followed."""

import ast

import keras
import numpy as np
import pytest
from patients import norm, settled

from bnlab.checkup import checkup, recalibrate
from bnlab.doctor.illnesses import ILLNESSES

layers = keras.layers


def inputs(front, examples=200, seed=4):
    """Return rows of 8, or pictures that differ in brightness."""
    rng = np.random.default_rng(seed)
    if front == "dense":
        return rng.normal(1, 2, (examples, 8)).astype("float32")
    return (rng.normal(1, 0.3, (examples, 5, 5, 2)) + rng.normal(0, 2, (examples, 1, 1, 2))).astype("float32")


@keras.saving.register_keras_serializable("everywhere")
class Twice(layers.Layer):
    """Calls one norm, or one for each, on what comes in and on something else."""

    def __init__(self, apart=False, **options):
        super().__init__(**options)
        self.apart, self.bn = apart, norm("bn")
        self.other = norm("bn_other") if apart else self.bn

    def call(self, x):
        return self.bn(x) + self.other(4 * x + 30)

    def get_config(self):
        return super().get_config() | {"apart": self.apart}


def parts(front, part=None, **options):
    """Return the layers of a model: something in front, a norm (or `part`), and a healthy norm behind."""
    first = layers.Dense(12, name="first") if front == "dense" else layers.Conv2D(12, 2, name="first")
    middle = part or norm("bn", **options)
    return [first, middle, layers.Flatten(), layers.Dense(9), norm("bn_2"), layers.Dense(2)]


def sequential(front, **options):
    return keras.Sequential([keras.Input(inputs(front, 2).shape[1:]), *parts(front, **options)])


def functional(front, **options):
    x = y = keras.Input(inputs(front, 2).shape[1:])
    for part in parts(front, **options):
        y = part(y)
    return keras.Model(x, y)


def nested(front, **options):
    first, middle, *others = parts(front, **options)
    inner = keras.Sequential([keras.Input(inputs(front, 2).shape[1:]), first, keras.Sequential([middle])])
    return keras.Sequential([inner, *others])


class Own(keras.Model):
    def __init__(self, front, **options):
        super().__init__()
        self.parts = parts(front, **options)

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x, training=training) if "bn" in part.name else part(x)
        return x


def subclassed(front, **options):
    model = Own(front, **options)
    model(inputs(front, 2))
    return model


def loaded(front, **options):
    """A functional model through a file."""
    model = functional(front, **options)
    model.save("model.keras")
    return keras.models.load_model("model.keras")


WAYS = [sequential, functional, nested, subclassed, loaded]


def layer_of(model, name="bn"):
    return next(one for one in model._flatten_layers() if one.name == name)


def well(model, x):
    recalibrate(model, np.split(x, 4))
    return model


def change(variable, place, value):
    variable.assign(np.where(np.arange(variable.shape[-1]) == place, value, variable.numpy()))


# An illness is (options of the model, what is done to it, what following the advice does). `build` makes one
# like it with other options, with its weights if it is asked to.


class Patient:
    def __init__(self, way, front, scale=1, **options):
        self.way, self.front, self.x = way, front, scale * inputs(front)
        self.model = way(front, **options)
        self.layer = layer_of(self.model)

    def rebuilt(self, **options):
        weights = self.model.get_weights()
        self.model = self.way(self.front, **options)
        self.model.set_weights(weights)
        self.well()

    def well(self):
        well(self.model, self.x)


def spoilt(patient, variable, place, value):
    patient.well()
    change(variable, place, value)


def untrained(_):
    """Leave both layers as they are."""


def gamma_spoilt(patient):
    """Spoil what comes into the next layer, too."""
    spoilt(patient, patient.layer.gamma, 4, np.inf)


def shifted(patient):
    patient.well()
    patient.layer.moving_mean.assign_add(np.full(12, 30))


def swapped(patient):
    first = layer_of(patient.model, "first")
    first.bias.assign(np.linspace(25, 60, 12))
    patient.well()
    gamma, beta, mean, variance = patient.layer.get_weights()
    patient.layer.set_weights([gamma, beta, variance, mean])


def swapped_back(patient):
    gamma, beta, variance, mean = patient.layer.get_weights()
    patient.layer.set_weights([gamma, beta, mean, variance])


def root_stored(patient):
    patient.well()
    patient.layer.moving_variance.assign(np.sqrt(patient.layer.moving_variance))


def squared(patient):
    patient.layer.moving_variance.assign(patient.layer.moving_variance**2)


def frozen(patient):
    shifted(patient)
    patient.layer.trainable = False


def trained(patient, **options):
    settled(patient.model, patient.x, steps=60, **options)


def one_at_a_time(patient):
    trained(patient, batch_size=1)


def shared(patient):
    recalibrate(patient.model, [patient.x])


def split(patient):
    patient.model = patient.way(patient.front, part=Twice(apart=True, name="bn_twice"))
    patient.well()


def died(patient):
    patient.well()
    patient.kernel = layer_of(patient.model, "first").kernel
    patient.before = patient.kernel.numpy()
    change(patient.kernel, 4, 0)


CASES = {
    "not finite": [
        ({}, gamma_spoilt, lambda p: p.layer.gamma.assign(np.ones(12))),
        ({"dtype": "float16", "scale": 400}, trained, lambda p: p.rebuilt(dtype="mixed_float16")),
        ({}, lambda p: spoilt(p, p.layer.moving_mean, 4, np.nan), Patient.well),
    ],
    "swapped statistics": [({}, swapped, swapped_back)],
    "negative variance": [({}, lambda p: spoilt(p, p.layer.moving_variance, 4, -0.5), Patient.well)],
    "deviation stored": [({"scale": 5}, root_stored, squared)],
    "frozen but stale": [({}, frozen, Patient.well)],
    "momentum one": [({"momentum": 1.0}, trained, lambda p: p.rebuilt(momentum=0.99))],
    "never updated": [({}, untrained, trained)],
    "not one domain": [({"part": "twice"}, shared, split)],
    "single examples": [({}, one_at_a_time, trained)],
    "not converged": [
        ({}, shifted, Patient.well),
        ({}, lambda p: spoilt(p, p.layer.moving_variance, 4, 3e4), Patient.well),
    ],
    "dead feature": [({}, died, lambda p: p.kernel.assign(p.before))],
    "torch momentum": [({"momentum": 0.1}, Patient.well, lambda p: p.rebuilt(momentum=0.9))],
    "momentum zero": [({"momentum": 0.0}, Patient.well, lambda p: p.rebuilt(momentum=0.99))],
    "wrong axis": [({"axis": 1, "front": "convolution"}, Patient.well, lambda p: split_axis(p))],
}
BEHIND = {  # what the layer behind has, too
    untrained: ("never updated",),
    gamma_spoilt: ("not finite",),
    one_at_a_time: ("single examples",),
}
ELSEWHERE = {"tiny batch"}  # is about the call, not about the model


def split_axis(patient):
    patient.model = patient.way("convolution")
    patient.well()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("word", "number"), [(word, n) for word in CASES for n in range(len(CASES[word]))])
def test_illness(tmp_path, monkeypatch, word, number, way):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(3)
    options, spoil, follow = CASES[word][number]
    fronts = "dense", "convolution"
    front = options.get("front", fronts[(list(CASES).index(word) + WAYS.index(way)) % 2])
    options = {name: value for name, value in options.items() if name != "front"}
    if options.get("part") == "twice":
        options["part"] = Twice(name="bn_twice")
    patient = Patient(way, front, **options)
    spoil(patient)
    found = checkup(patient.model, patient.x)
    told = {layer.name.rpartition("/")[2]: layer.problems for layer in found.layers}
    assert told["bn"][:1] == (word,), str(found)
    if options.get("dtype") != "float16":  # there the layer behind learned from an overflow
        assert told["bn_2"] == BEHIND.get(spoil, ()), str(found)
    row = next(iter(next(one for one in found.layers if one.problems).found))
    ast.parse(row.line)
    follow(patient)
    after = checkup(patient.model, patient.x)
    assert after.healthy, str(after)


def test_every_problem_is_here():
    assert {row.word for row in ILLNESSES if not row.remark} == CASES.keys() | ELSEWHERE
