"""Every row of the illnesses: a patient that has nothing else, and is well once its line is followed."""

import ast
import re

import keras
import numpy as np
import pytest
from patients import Twice, dense_model, norm, problems, rows, settled
from placed import biased, deaf, dropped, flagged, rows_for_channels, silenced, step_by_step

from bnlab.checkup import checkup, recalibrate
from bnlab.doctor.illnesses import GROUPS, ILLNESSES

layers = keras.layers


def well(x, **options):
    return settled(dense_model(**options), x, steps=60)


def assign(variable, place, value):
    variable.assign(np.where(np.arange(variable.shape[-1]) == place, value, variable.numpy()))


def with_line(model, x):
    """Follow `recalibrate(model, batches)`."""
    recalibrate(model, np.split(x, 4))
    return model


def rebuilt(model, x, **options):
    """Build the model of `dense_model` with other options, load the weights and measure afresh."""
    other = dense_model(**options)
    other.set_weights(model.get_weights())
    return with_line(other, x)


# A patient is (x, model, what follows the line), and a batch size if that matters: the first layer has the
# illness, the others are well.


def spoilt_weights(rng):
    x = rows(rng)
    model = settled(keras.Sequential([keras.Input((8,)), norm()]), x)
    before = model.get_weights()
    assign(model.layers[0].gamma, 4, np.inf)
    return x, model, lambda: model.set_weights(before) or model


def beyond_float16(rng):
    x = 500 * rows(rng)

    def model(policy):
        return settled(keras.Sequential([keras.Input((8,)), norm(dtype=policy)]), x)

    return x, model("float16"), lambda: model("mixed_float16")


def nan_statistics(rng):
    x = rows(rng)
    model = well(x)
    assign(model.get_layer("bn").moving_mean, 4, np.nan)
    return x, model, lambda: with_line(model, x)


def negative_variance(rng):
    x = rows(rng)
    model = well(x)
    assign(model.get_layer("bn").moving_variance, 4, -0.5)
    return x, model, lambda: with_line(model, x)


def in_each_others_place(rng):
    x = rows(rng) * np.linspace(0.5, 2, 8) + 30
    model = settled(keras.Sequential([keras.Input((8,)), norm()]), x, steps=60)
    [layer] = model.layers
    gamma, beta, mean, variance = layer.get_weights()
    layer.set_weights([gamma, beta, variance, mean])
    return x, model, lambda: layer.set_weights([gamma, beta, mean, variance]) or model


def deviations(rng):
    x = 3 * rows(rng)
    model = well(x)
    layer = model.get_layer("bn")
    layer.moving_variance.assign(np.sqrt(layer.moving_variance))
    return x, model, lambda: layer.moving_variance.assign(layer.moving_variance**2) is None or model


def frozen_on_other_data(rng):
    x = rows(rng)
    model = well(x)
    model.get_layer("bn").trainable = False
    return 5 * x, model, lambda: with_line(model, 5 * x)


def momentum_one(rng):
    x = rows(rng)
    model = well(x)
    model.get_layer("bn").momentum = 1
    return x, model, lambda: rebuilt(model, x, momentum=0.99)


def fresh(rng):
    x = rows(rng)
    model = well(x)
    model.get_layer("bn").moving_mean.assign(np.zeros(20))
    model.get_layer("bn").moving_variance.assign(np.ones(20))
    return x, model, lambda: settled(model, x)  # y = model(x, training=True), in a loop


def two_domains(*norms):
    one, two = keras.Input((8,)), keras.Input((8,))
    return keras.Model([one, two], layers.Add()([norms[0](one), norms[-1](two)]))


def torn(rng):
    x = [rows(rng), 4 * rows(rng) + 10]
    return x, settled(two_domains(norm()), x), lambda: settled(two_domains(norm(), norm("bn_2")), x)


def one_picture_at_a_time(rng):
    x = rng.normal(1, 0.3, (200, 6, 6, 3)) + rng.normal(0, 1, (200, 1, 1, 3))
    model = keras.Sequential([keras.Input((6, 6, 3)), norm(momentum=0.95)])
    return x, settled(model, x, steps=150, batch_size=1), lambda: settled(model, x, steps=150)


def on_its_way(rng):
    x = rows(rng)
    model = well(x)
    model.get_layer("bn").moving_mean.assign_add(np.full(20, 9))
    return x, model, lambda: with_line(model, x)


def too_few(rng):
    x = rows(rng, 300)
    model = well(x)
    return x[:12], model, lambda: (model, x)


def died(rng):
    x = rows(rng)
    model = well(x)
    assign(model.layers[0].kernel, 4, 0)
    assign(model.layers[0].kernel, 6, 0)
    return x, model, lambda: well(x)


def never_lived(rng):
    x = rows(rng)
    model = dense_model()
    assign(model.layers[0].kernel, 4, 0)
    return x, settled(model, x, steps=80), lambda: well(x)


def one_value_a_feature(rng):
    x = rows(rng, 64)
    model = keras.Sequential([keras.Input((8,)), norm()])
    return x, settled(model, x), lambda: model, 1


def from_torch(rng):
    x = rows(rng)
    model = well(x)
    model.get_layer("bn").momentum = 0.1
    return x, model, lambda: rebuilt(model, x, momentum=0.9)


def momentum_zero(rng):
    x = rows(rng)
    model = well(x)
    model.get_layer("bn").momentum = 0
    return x, model, lambda: rebuilt(model, x, momentum=0.99)


# By word, in the order of the rows that share it.
PATIENTS = {
    "not finite": [spoilt_weights, beyond_float16, nan_statistics],
    "swapped statistics": [in_each_others_place],
    "negative variance": [negative_variance],
    "deviation stored": [deviations],
    "frozen but stale": [frozen_on_other_data],
    "momentum one": [momentum_one],
    "never updated": [deaf, silenced, fresh],
    "not one domain": [step_by_step, torn],
    "single examples": [one_picture_at_a_time],
    "not converged": [on_its_way],
    "cannot tell": [too_few],
    "dead feature": [died, never_lived],
    "tiny batch": [one_value_a_feature],
    "torch momentum": [from_torch],
    "momentum zero": [momentum_zero],
    "wrong axis": [rows_for_channels],
    "flag fixed": [flagged],
    "useless bias": [biased],
    "dropout in front": [dropped],
}


def patient_of(row):
    number = [one for one in ILLNESSES if one.word == row.word].index(row)
    return PATIENTS[row.word][number]


def unwrapped(found):
    return re.sub(r"\s+", " ", str(found))


@pytest.mark.parametrize("row", ILLNESSES, ids=lambda row: f"{row.word}{', remark' * row.remark}")
def test_row(rng, row):
    x, model, followed, *size = patient_of(row)(rng)
    found = checkup(model, x, batch_size=size[0] if size else 32)
    first, *others = found.layers
    assert list(first.found) == [row]
    assert (first.problems, first.remarks) == (((), (row.word,)) if row.remark else ((row.word,), ()))
    assert found.healthy == row.remark
    assert not any(other.found for other in others) or row.word == "cannot tell"
    told, page = unwrapped(found), found._repr_html_()
    assert f" {row.word}: " in told
    assert not re.search(r"[{}]", told)
    assert f"<p>{row.word}: " in page
    [line] = re.findall(r"^    (\S.*)$", str(found), re.MULTILINE)
    ast.parse(line)
    model = followed()
    after = checkup(*model) if isinstance(model, tuple) else checkup(model, x)
    assert not any(layer.found for layer in after.layers), str(after)


def test_every_patient_is_of_a_row():
    assert {word: len(patients) for word, patients in PATIENTS.items()} == {
        row.word: [other.word for other in ILLNESSES].count(row.word) for row in ILLNESSES
    }


def test_the_most_likely_cause_comes_first():
    words = [row.word for group in GROUPS for row in group]
    assert words.index("not finite") == 0
    assert words.index("frozen but stale") < words.index("never updated") < words.index("not converged")


def test_never_updated_and_not_built(rng):
    for model in (dense_model(), keras.Sequential([layers.Dense(9), norm(), layers.Dense(9), norm("bn_2")])):
        found = checkup(model, rows(rng))
        assert [layer.problems for layer in found.layers] == [("never updated",)] * 2
        assert not found.healthy
    assert checkup(Twice(), rows(rng)).layers[0].problems == ("never updated",)


def test_never_updated_from_initial_values_of_its_own(rng):
    initial = {
        "moving_mean_initializer": keras.initializers.Constant(0.5),
        "moving_variance_initializer": "zeros",
    }
    assert problems(dense_model(**initial), rows(rng))["bn"] == ("never updated",)


@pytest.mark.parametrize(("momentum", "steps"), [(0.99, 20), (0.99, 60), (0.999, 100)])
def test_not_converged_and_cured(rng, momentum, steps):
    x = 3 * rows(rng)
    model = settled(dense_model(momentum=momentum), x, steps=steps)
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("not converged",)] * 2
    recalibrate(model, np.split(x, 5))
    after = checkup(model, x)
    assert after.healthy
    assert after.disagreement < found.disagreement


def test_one_bad_batch_is_not_finite_in_its_layers_only(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    mean = model.get_layer("bn").moving_mean
    mean.assign(np.where(np.arange(20) == 4, np.nan, mean.numpy()))
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("not finite",), ()]
    assert found.disagreement == np.inf
    assert "recalibrate(model, batches)" in str(found)
    recalibrate(model, np.split(x, 4))
    assert checkup(model, x).healthy


def test_spoilt_weights_are_not_finite_and_not_curable(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.arange(20) == 4, np.inf, kernel.numpy()))
    found = checkup(model, x)
    assert [layer.problems for layer in found.layers] == [("not finite",)] * 2
    assert "load_weights" in str(found)


def test_dead_features_are_named(rng):
    x = rows(rng)
    model = dense_model()
    settled(model, x, steps=50)
    kernel = model.layers[0].kernel
    kernel.assign(kernel.numpy() * (np.arange(20) != 4))
    found = checkup(model, x)
    assert found.layers[0].problems == ("dead feature",)
    assert found.layers[0].dead == (4,)
    assert found.layers[1].problems == ()
    assert "feature 4 of bn" in re.sub(r"\s+", " ", str(found))


def test_tiny_batch(rng):
    x = rows(rng, 64)
    model = settled(dense_model(), x)
    assert problems(model, x, batch_size=1) == {"bn": ("tiny batch",), "bn_2": ("tiny batch",)}
    pictures = rng.normal(size=(40, 4, 4, 3)).astype("float32")
    conv = settled(keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(4, 2), norm()]), pictures)
    assert problems(conv, pictures, batch_size=1) == {"bn": ()}
    starved = settled(dense_model(), x, batch_size=1, steps=60)
    assert problems(starved, x, batch_size=1)["bn"] == ("tiny batch",)


def test_torch_momentum_is_told_with_the_number_to_write(rng):
    x = rows(rng)
    found = checkup(settled(dense_model(momentum=0.1), x), x)
    assert [layer.problems for layer in found.layers] == [("torch momentum",)] * 2
    assert "BatchNormalization(momentum=0.9)" in str(found)


@pytest.mark.parametrize("change", [lambda x: -x, lambda x: x + 6, lambda x: 5 * x])
def test_frozen_on_other_data(rng, change):
    x = rows(rng)
    model = settled(dense_model(), x)
    model.get_layer("bn").trainable = False
    assert checkup(model, x).healthy
    found = problems(model, change(x))
    assert found["bn"] == ("frozen but stale",)
    model.trainable = False
    recalibrate(model, np.split(change(x), 4))
    assert checkup(model, change(x)).healthy


def test_of_a_layer_frozen_from_the_start_nothing_else_is_said(rng):
    model = dense_model()
    model.trainable = False
    assert problems(model, rows(rng))["bn"] == ("frozen but stale",)


def test_a_shared_layer_on_two_domains(rng):
    one, two = keras.Input((8,)), keras.Input((8,))
    shared = norm("shared")
    model = keras.Model([one, two], layers.Add()([shared(one), shared(two)]))
    alike = [rows(rng), rows(rng)]
    assert checkup(settled(model, alike), alike).healthy
    apart = [rows(rng), 4 * rows(rng) + 10]
    found = checkup(settled(model, apart), apart)
    assert found.layers[0].problems == ("not one domain",)
    assert "Give each a layer of its own" in re.sub(r"\s+", " ", str(found))
    recalibrate(model, [apart])
    assert not checkup(model, apart).healthy  # no one set of statistics fits both


def test_two_words_for_two_causes_and_one_for_one(rng):
    x = rows(rng)
    model = dense_model(momentum=0.1)
    model.layers[0].kernel.assign(np.zeros((8, 20)))
    found = checkup(model, x).layers[0]
    assert found.problems == ("never updated", "dead feature", "torch momentum")
    model.get_layer("bn").trainable = False
    assert checkup(model, x).layers[0].problems == ("frozen but stale", "dead feature", "torch momentum")
    model.get_layer("bn").moving_mean.assign(np.full(20, np.nan))
    assert checkup(model, x).layers[0].problems[0] == "not finite"


def test_only_features_that_died_are_named_as_ill(rng):
    x = rows(rng)
    model = dense_model()
    assign(model.layers[0].kernel, 4, 0)
    settled(model, x, steps=80)
    assign(model.layers[0].kernel, 6, 0)
    found = checkup(model, x)
    assert (found.layers[0].problems, found.layers[0].remarks) == (("dead feature",), ())
    assert found.layers[0].dead == (4, 6)
    assert "in feature 6 of bn, so the output" in unwrapped(found)
