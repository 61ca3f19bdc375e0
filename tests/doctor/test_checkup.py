"""The doctor on healthy models of every kind, on every illness, and what it must leave as it was."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split
import re
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
import tensorflow as tf

from bnlab.checkup import checkup, recalibrate
from bnlab.data import digits

layers = keras.layers
DIGITS = digits()


@pytest.fixture(autouse=True)
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)


def norm(name="bn", **options):
    return layers.BatchNormalization(**{"momentum": 0.8, "name": name} | options)


def dense_model(*, units=20, **options):
    """Two batch-norm layers behind Dense layers, on rows of 8."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(units),
            norm("bn", **options),
            layers.ReLU(),
            layers.Dense(units),
            norm("bn_2", **options),
            layers.Dense(3),
        ]
    )


def rows(rng, examples=200, features=8):
    return rng.normal(1, 2, (examples, features)).astype("float32")


def settled(model, x, *, steps=25, batch_size=32, seed=1):
    """Let the moving statistics settle, without changing a weight: what training does to them."""
    rng, parts = np.random.default_rng(seed), keras.tree.flatten(x)
    for _ in range(steps):
        chosen = rng.permutation(len(parts[0]))[:batch_size]
        model(keras.tree.map_structure(lambda part, rows=chosen: part[rows], x), training=True)
    return model


def problems(model, x, **options):
    return {layer.name: layer.problems for layer in checkup(model, x, **options).layers}


# ---- healthy ---------------------------------------------------------------------------------


def trained(inner, *, seed, shape, steps=5, **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input(shape), *inner, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(DIGITS.x_train.reshape(-1, *shape), DIGITS.y_train, epochs=steps, verbose=0, **options)
    return model


@pytest.mark.parametrize("seed", range(3))
def test_trained_behind_dropout_is_healthy(seed):
    inner = [layers.Dropout(0.4), layers.Dense(32), norm(), layers.ReLU(), layers.Dropout(0.4)]
    model = trained([*inner, layers.Dense(24), norm("bn_2"), layers.ReLU()], seed=seed, shape=(64,))
    for x in (DIGITS.x_train[:100], DIGITS.x_train[::4], DIGITS.x_test[:200]):
        found = checkup(model, x)
        assert found.healthy, str(found)
    inverted = checkup(model, 1 - DIGITS.x_train[:100])
    assert inverted.layers[0].problems == ("not converged",)


@pytest.mark.parametrize("seed", range(2))
def test_trained_convolutions_are_healthy(seed):
    inner = [layers.Conv2D(8, 3, use_bias=False), norm(momentum=0.95), layers.ReLU(), layers.Conv2D(12, 3)]
    inner += [norm("bn_2", momentum=0.95), layers.ReLU(), layers.GlobalAveragePooling2D()]
    model = trained(inner, seed=seed, shape=(8, 8, 1), steps=4, batch_size=16)
    x = DIGITS.x_train.reshape(-1, 8, 8, 1)
    for part in (x[:100], x[200:500]):
        found = checkup(model, part)
        assert found.healthy, str(found)
        assert found.disagreement < 1


def test_statistics_that_were_averaged_under_dropout_fit(rng):
    x = rows(rng)
    model = keras.Sequential([keras.Input((8,)), layers.Dropout(0.8), norm()])
    found = checkup(settled(model, x, batch_size=200), x, batch_size=200)
    assert found.healthy, str(found)
    recalibrate(model, [x])  # and so do those without it
    assert checkup(model, x).healthy


def test_statistics_behind_a_layer_that_was_frozen_fit(rng):
    model, x = dense_model(), rows(rng)
    first = model.get_layer("bn")
    first.moving_mean.assign(rng.normal(0, 9, 20))
    first.trainable = False
    settled(model, x)
    assert problems(model, x) == {"bn": ("frozen but stale",), "bn_2": ()}
    first.trainable = True
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}


class Twice(keras.Model):
    """Calls one layer on two halves that are alike, and another one only in training."""

    def __init__(self):
        super().__init__()
        self.dense, self.bn, self.aside = layers.Dense(6), norm(), norm("aside")

    def call(self, x, training=None):
        y = self.bn(self.dense(x[:, :4]), training=training) * self.bn(
            self.dense(x[:, 4:]), training=training
        )
        return self.aside(y, training=True) if training else y


def functional():
    first, second = keras.Input((8,), name="first"), keras.Input((4, 2), name="second")
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(9), norm("inner", scale=False), layers.ReLU()])
    shared = norm("shared", center=False)
    y = layers.Add()([shared(inner(first)), shared(inner(layers.Flatten()(second)))])
    return keras.Model([first, second], layers.Dense(2)(y))


def test_functional_nested_shared_and_two_inputs(rng):
    x = [rows(rng), rows(rng).reshape(-1, 4, 2)]
    model = settled(functional(), x)
    found = checkup(model, x)
    assert [layer.name for layer in found.layers] == ["inner", "shared"]
    assert [layer.features for layer in found.layers] == [9, 9]
    assert found.healthy, str(found)
    assert checkup(model, {"first": x[0], "second": x[1]}).healthy


def test_subclassed_and_a_layer_for_training_only(rng):
    x = rows(rng)
    found = checkup(settled(Twice(), x), x)
    assert [layer.name for layer in found.layers] == ["bn", "aside"]
    assert found.healthy, str(found)


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
@pytest.mark.parametrize("axis", [-1, 1])
def test_two_to_five_dimensions_and_channels_first(rng, dimensions, axis):
    x = rng.normal(2, 3, (200, *(6, 5, 4, 3)[: dimensions - 1])).astype("float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), norm(axis=axis)])
    assert checkup(settled(model, x), x).healthy
    assert problems(model, 5 * x)["bn"] == ("not converged",)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_precision(rng, policy):
    x = rows(rng)
    keras.config.set_dtype_policy(policy)
    try:
        model = settled(dense_model(), x)
        fresh = dense_model()
    finally:
        keras.config.set_dtype_policy("float32")
    assert checkup(model, x).healthy
    assert set(problems(fresh, x).values()) == {("never updated",)}


def test_wrappers_renorm_steps_and_whole_numbers(rng):
    x = rng.integers(0, 9, (300, 5))
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 6),
            layers.TimeDistributed(keras.Sequential([layers.Dense(7), norm("steps")])),
            layers.Flatten(),
            norm("renorm", renorm=True),
            layers.Dense(2),
        ]
    )
    assert checkup(settled(model, x), x).healthy


def test_data_that_are_standard_need_no_update(rng):
    model = keras.Sequential([keras.Input((6,)), norm()])
    assert checkup(model, rng.normal(size=(200, 6))).healthy
    assert problems(model, rng.normal(0.6, 1, (200, 6)))["bn"] == ("never updated",)


def test_what_may_be_given_as_x(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    for given in (
        x[:50].tolist(),
        list(x[:50]),
        tf.constant(x[:50]),
        x[:50].astype("float64"),
        x[:33],
        x[:9],
    ):
        assert checkup(model, given).healthy
    assert checkup(model, tf.cast(x[:50], "bfloat16")).healthy
    for size in (2, 7, 1000):
        assert checkup(model, x[:60], batch_size=size).healthy


def test_a_rest_of_one_example_is_no_tiny_batch(rng):
    x = rows(rng, 65)
    assert checkup(settled(dense_model(), x), x).healthy


def test_features_that_hardly_ever_fire_are_not_called_dead(rng):
    x = np.where(rng.random((2000, 40)) < 0.01, rng.uniform(1, 3, (2000, 40)), 0).astype("float32")
    model = keras.Sequential([keras.Input((40,)), norm(momentum=0.99)])
    settled(model, x, steps=400)
    sample = x[:100]
    assert (sample.max(axis=0) == 0).any()
    assert checkup(model, sample).healthy


# ---- ill -------------------------------------------------------------------------------------


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
    kernel = model.layers[0].kernel
    kernel.assign(kernel.numpy() * (np.arange(20) != 4))
    settled(model, x, steps=50)
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


def test_an_ill_layer_does_not_infect_the_next(rng):
    x = rows(rng)
    model = settled(dense_model(), x)
    model.get_layer("bn").moving_mean.assign_add(np.full(20, 50))
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}


@pytest.mark.parametrize("which", ["moving_mean", "moving_variance"])
def test_one_feature_of_many_is_enough(rng, which):
    x = rows(rng)
    model = settled(dense_model(units=200), x)
    variable = getattr(model.get_layer("bn"), which)
    wrong = np.where(np.arange(200) == 7, 40 if which == "moving_mean" else 1e-4, variable.numpy())
    variable.assign(wrong)
    assert problems(model, x) == {"bn": ("not converged",), "bn_2": ()}


def test_a_shared_layer_on_two_domains(rng):
    one, two = keras.Input((8,)), keras.Input((8,))
    shared = norm("shared")
    model = keras.Model([one, two], layers.Add()([shared(one), shared(two)]))
    alike = [rows(rng), rows(rng)]
    assert checkup(settled(model, alike), alike).healthy
    apart = [rows(rng), 4 * rows(rng) + 10]
    found = checkup(settled(model, apart), apart)
    assert found.layers[0].problems == ("not one domain",)
    assert "give each a layer of its own" in re.sub(r"\s+", " ", str(found))
    recalibrate(model, [apart])
    assert not checkup(model, apart).healthy  # no one set of statistics fits both


def test_channels_first_axis_on_channels_last_data(rng):
    x = rng.normal(size=(100, 8, 8, 1)).astype("float32")
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(16, 3), norm(axis=1)])
    found = checkup(settled(model, x), x)
    assert found.layers[0].problems == ("wrong axis",)
    assert not found.healthy
    assert "axis=-1" in str(found)


def test_recalibration_in_small_batches_and_in_depth(rng):
    deep = [keras.Input((8,))]
    for number in range(6):
        deep += [layers.Dense(16), norm(f"bn_{number}"), layers.ReLU(), layers.Dropout(0.3)]
    model, x = keras.Sequential([*deep, layers.Dense(2)]), rows(rng)
    assert set(problems(model, x).values()) == {("never updated",)}
    recalibrate(model, np.split(x, 25))
    found = checkup(model, x)
    assert found.healthy, str(found)


# ---- what stays as it was --------------------------------------------------------------------


def state(model):
    values = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    flags = [(one.name, one.trainable, sorted(vars(one))) for one in model._flatten_layers()]
    return values, flags, model.compiled, tf.config.functions_run_eagerly()


def fitted(rng):
    inner = [keras.Input((8,)), layers.Dropout(0.5), layers.Dense(6), norm(), layers.GaussianNoise(1.0)]
    model = keras.Sequential([*inner, norm("frozen"), layers.Dense(1, activity_regularizer="l2")])
    model.compile("adam", "mse")
    model.get_layer("frozen").trainable = False
    model.fit(rows(rng, 32), np.ones(32), verbose=0)
    return model


@pytest.fixture(scope="module")
def unharmed():
    return fitted(np.random.default_rng(4))


def test_nothing_of_the_model_changes(rng):
    model, x = fitted(rng), rows(rng, 70)
    before, given = state(model), x.copy()
    first = checkup(model, x)
    for old, new in zip(before[0], state(model)[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1:] == state(model)[1:]
    np.testing.assert_array_equal(x, given)
    assert str(checkup(model, x)) == str(first)
    model.fit(x, np.ones(70), verbose=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda x: x[:, :5],
            ValueError,
            r"model '.*' cannot be called on x of shape \(32, 5\) \(ValueError: ",
        ),
        (lambda x: np.where(x > 3, np.nan, x), ValueError, "x has NaN or infinity in it; expected finite"),
        (lambda x: x[:0], ValueError, r"x has shape \(0, 8\); expected two examples or more"),
        (lambda x: x[:1], ValueError, "x has 1 example; expected two or more"),
        (lambda x: [x[:1], x[:2]], ValueError, "x is ragged"),
        (lambda x: {"a": x[:4], "b": x[:5]}, ValueError, "x has parts of 4, 5 examples; expected as many"),
        (lambda _: 3.0, TypeError, "x has a .* in it; expected an array with an example a row"),
        (lambda _: None, TypeError, "x is a .*NoneType; expected an array of inputs"),
        (lambda _: "x.npz", TypeError, "x is a builtins.str; expected an array of inputs"),
        (iter, TypeError, "x is a .*; expected an array of inputs"),
        (
            lambda x: tf.data.Dataset.from_tensor_slices(x),
            TypeError,
            "x is a .*; expected an array of inputs",
        ),
        (lambda x: x.astype(object), TypeError, "x has objects in it; expected numbers"),
    ],
)
def test_unusable_x_changes_nothing(rng, unharmed, make, error, message):
    model, before = unharmed, state(unharmed)
    with pytest.raises(error, match=f"^{message}") as caught:
        checkup(model, make(rows(rng, 70)))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    for old, new in zip(before[0], state(model)[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1:] == state(model)[1:]


class Failing(keras.Model):
    """Fails in training mode, behind its batch norm."""

    def __init__(self):
        super().__init__()
        self.bn = norm()

    def call(self, x, training=None):
        y = self.bn(x, training=training)
        if training and len(x) == 6:
            raise KeyboardInterrupt
        return y


def test_an_error_in_the_call_changes_nothing(rng):
    model, x = Failing(), rows(rng, 38)
    model(x)
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        checkup(model, x[:6])
    assert all(map(np.array_equal, before[0], state(model)[0]))
    assert before[1:] == state(model)[1:]


@pytest.mark.parametrize("batch_size", [0, -3, 2.5, True, "32"])
def test_unusable_batch_size(rng, batch_size):
    with pytest.raises((TypeError, ValueError), match=r"^batch_size is .*; expected "):
        checkup(dense_model(), rows(rng), batch_size=batch_size)


def test_no_model_no_batch_norm_and_none_called(rng):
    with pytest.raises(TypeError, match=r"^model is a builtins.str; expected a Keras 3 model$"):
        checkup("model.keras", rows(rng))
    plain = keras.Sequential([keras.Input((8,)), layers.Dense(2)], name="plain")
    with pytest.raises(ValueError, match=r"^model 'plain' has no batch-norm layer"):
        checkup(plain, rows(rng))

    class Aside(Twice):
        def call(self, x):
            return self.dense(x)

    with pytest.raises(ValueError, match="calls none of its batch-norm layers on x; expected one or more"):
        checkup(Aside(), rows(rng))


def test_a_layer_that_is_not_called_is_named(rng):
    class Half(Twice):
        def call(self, x, training=None):
            return self.bn(x, training=training)

    found = checkup(settled(Half(), rows(rng)), rows(rng))
    assert [layer.name for layer in found.layers] == ["bn"]
    assert found.not_called == ("aside",)
    assert "Not called on these inputs: aside." in re.sub(r"\s+", " ", str(found))


# ---- what is shown ---------------------------------------------------------------------------


@pytest.fixture
def ill(rng):
    model = dense_model(momentum=0.1)
    model.layers[1].name = "<bn & co>"
    return checkup(model, rows(rng))


def test_fields_of_a_layer(ill):
    first = ill.layers[0]
    assert (first.features, first.momentum, first.epsilon, first.trainable) == (20, 0.1, 1e-3, True)
    assert first.problems == ("never updated", "torch momentum")
    assert first.mean_gap > 0.1
    assert first.gaps.shape == first.ratios.shape == (20,)


def test_gap_and_ratio_are_those_of_the_formula(rng):
    x = rows(rng, 64, 1)
    found = checkup(keras.Sequential([keras.Input((1,)), norm(epsilon=0.5)]), x).layers[0]
    assert found.mean_gap == pytest.approx(abs(x.mean()) / np.sqrt(x.var() + 0.5), rel=1e-5)
    assert found.variance_ratio == pytest.approx(1.5 / (x.var() + 0.5), rel=1e-5)


def test_text_is_a_table_and_a_sentence_with_a_line_per_problem(ill):
    text = str(ill)
    table, _, verdict, *advice = text.split("\n\n")
    head, *body = table.split("\n")
    assert head.split()[:3] == ["layer", "features", "momentum"]
    assert len(body) == 2
    assert body[0].endswith("never updated, torch momentum")
    assert verdict.startswith("2 of 2 batch-norm layers ill, on 200 examples in batches of 32.")
    assert [part.split(":")[0] for part in advice] == ["never updated", "torch momentum"]
    assert [part.split("\n")[-1][:4] for part in advice] == ["    "] * 2
    assert max(map(len, text.replace(table, "").split("\n"))) <= 96
    assert repr(ill) == text


def test_html_is_well_formed_and_has_words_for_every_picture(ill):
    page = ElementTree.fromstring(f"<div>{ill._repr_html_()}</div>")
    svg = "{http://www.w3.org/2000/svg}"
    pictures = page.findall(f".//{svg}svg")
    assert len(pictures) == len(ill.layers)
    for picture, layer in zip(pictures, ill.layers, strict=True):
        assert picture.get("role") == "img"
        words = picture.get("aria-label")
        assert words == picture.find(f"{svg}title").text
        assert words.startswith(f"{layer.name}, 20 features: moving means lie ")
        assert f"{layer.gaps.min():+.2f} to {layer.gaps.max():+.2f} standard deviations" in words
        marks = [mark for mark in picture if mark.tag != f"{svg}title"]
        # In the colour of the text, whatever the theme.
        assert {mark.get(key) for mark in marks for key in ("fill", "stroke")} <= {"currentColor", None}
        places = [float(mark.get(key)) for mark in marks for key in ("y1", "y2", "cy") if mark.get(key)]
        assert 0 <= min(places) <= max(places) <= 54
    assert [head.get("scope") for head in page.findall(".//thead/tr/th")] == ["col"] * 9
    assert [head.text for head in page.findall(".//tbody/tr/th")] == ["<bn & co>", "bn_2"]
    assert "never updated, torch momentum" in [cell.text for cell in page.findall(".//tbody/tr/td")]
    assert len(page.findall(".//pre/code")) == 2


def test_html_of_statistics_that_are_not_finite(rng):
    model = dense_model()
    model.get_layer("bn").moving_variance.assign(np.full(20, np.inf))
    page = checkup(model, rows(rng))._repr_html_()
    ElementTree.fromstring(f"<div>{page}</div>")
    assert "bn: nothing finite to compare." in page
    assert "nan" not in page


def test_healthy_has_no_advice(rng):
    x = rows(rng)
    found = checkup(settled(dense_model(), x), x)
    assert "All batch-norm layers healthy (2), on 200 examples" in str(found)
    assert str(found).count("\n\n") == 2
    assert "<pre>" not in found._repr_html_()
