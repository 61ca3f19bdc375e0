"""What Watch notes and says while a model trains, and that the training is the same to the last bit."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from patients import dense_model, norm, rows

from bnlab.checkup import Watch, checkup

layers = keras.layers


def images():
    """A model that its first batch builds, with augmentation and dropout."""
    front = [layers.Reshape((4, 4, 1)), layers.RandomFlip(), layers.Conv2D(3, 3), norm(), layers.Dropout(0.3)]
    return keras.Sequential([*front, layers.Flatten(), layers.Dense(1, activity_regularizer="l2")])


def nested():
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(6), norm("inner"), layers.ReLU()])
    x = keras.Input((16,))
    return keras.Model(x, layers.Dense(1)(norm("outer")(layers.GaussianNoise(0.5)(inner(x)))))


class Subclassed(keras.Model):
    """Has a layer that it never calls."""

    def __init__(self):
        super().__init__()
        self.dense, self.bn, self.dropout = layers.Dense(5), norm(), layers.Dropout(0.5)
        self.head, self.unused = layers.Dense(1), norm("unused")

    def call(self, x, training=None):
        return self.head(self.dropout(self.bn(self.dense(x), training=training), training=training))


class Adversarial(keras.Model):
    """Has a step of its own, with two optimizers and noise."""

    def __init__(self):
        super().__init__()
        self.maker = keras.Sequential([keras.Input((3,)), layers.Dense(16), norm("makes")])
        self.critic = keras.Sequential([keras.Input((16,)), layers.Dense(6), norm("judges"), layers.Dense(1)])
        self.seeds, self.other = keras.random.SeedGenerator(5), keras.optimizers.SGD(0.1)

    def call(self, x, training=None):
        return self.critic(x, training=training)

    def train_step(self, data):
        noise = keras.random.normal((8, 3), seed=self.seeds)
        with tf.GradientTape(persistent=True) as tape:
            made = self.critic(self.maker(noise, training=True), training=True)
            critic_loss = tf.reduce_mean(made) - tf.reduce_mean(self.critic(data[0], training=True))
            maker_loss = -tf.reduce_mean(made)
        pairs = (self.optimizer, self.critic, critic_loss), (self.other, self.maker, maker_loss)
        for optimizer, part, loss in pairs:
            optimizer.apply(tape.gradient(loss, part.trainable_variables), part.trainable_variables)
        return {"loss": critic_loss}


def stopping():
    return keras.callbacks.EarlyStopping("val_loss", patience=0, baseline=0.0, restore_best_weights=True)


TRAININGS = {  # model, what `compile` and `fit` are given, and further callbacks
    "augmented, validated, stopped early": (images, {}, {"epochs": 3, "validation_split": 0.25}, [stopping]),
    "by XLA, several steps an execution": (nested, {"jit_compile": True, "steps_per_execution": 3}, {}, []),
    "eager": (Subclassed, {"run_eagerly": True, "metrics": ["mae"]}, {"epochs": 2}, []),
    "a step of its own": (Adversarial, {}, {"epochs": 2}, []),
}


def trained(make, compiled, fitted, others, *, every=None):
    """Return everything that two trainings, one after the other, leave behind, watched or not."""
    keras.utils.set_random_seed(8)
    x, y = np.random.default_rng(0).normal(size=(2, 40, 16)).astype("float32")
    model = make()
    model.compile(**{"optimizer": keras.optimizers.Adam(0.01), "loss": "mse"} | compiled)
    callbacks = [other() for other in others] + ([Watch(x, every=every)] if every else [])
    options = {"batch_size": 8, "verbose": 0, "callbacks": callbacks} | fitted
    courses = [model.fit(x, y[:, :1], **options).history for _ in range(2)]
    optimizers = [getattr(model, name) for name in ("optimizer", "other") if hasattr(model, name)]
    variables = [
        *model.variables,
        *model.metrics_variables,
        *(v for one in optimizers for v in one.variables),
    ]
    draws = random.random(), np.random.random(), keras.random.uniform((3,)), tf.random.uniform((3,))
    return courses, list(map(keras.ops.convert_to_numpy, [*variables, *draws]))


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_the_same_to_the_last_bit(name):
    alone, watched = trained(*TRAININGS[name]), trained(*TRAININGS[name], every=2)
    assert len(alone[1]) > 12
    np.testing.assert_equal(watched, alone)


def taught(model, x, *, every=100, **options):
    """Fit at a rate of 0, so that nothing but the moving statistics moves, and return what watched it."""
    watch = Watch(x, every=every)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((len(x), *model.output_shape[1:]), "float32")
    model.fit(x, y, verbose=0, callbacks=[watch], **options)
    return watch


def test_gaps_and_ratios_are_those_of_a_checkup(rng):
    x, model = rows(rng, 64), dense_model()
    fresh = checkup(model, x, batch_size=64)
    watch = taught(model, x, every=2, epochs=5, batch_size=32)
    assert watch.steps.tolist() == [0, 2, 4, 6, 8, 10]
    assert watch.planned == 10
    for at, found in ((0, fresh), (-1, checkup(model, x, batch_size=64))):
        for layer in found.layers:  # of the same examples in another order
            assert watch.gaps[layer.name][at] == pytest.approx(layer.mean_gap, rel=1e-4)
            assert watch.ratios[layer.name][at] == pytest.approx(layer.variance_ratio, rel=1e-4)
    assert (np.diff(watch.gaps["bn"]) < 0).all()


@pytest.mark.parametrize(
    ("every", "execution", "steps"),
    [
        (4, 1, [0, 4, 8, 10]),
        (4, 3, [0, 5, 8, 10]),
        (1, 1, [*range(11)]),
        (5, 1, [0, 5, 10]),
        (99, 1, [0, 10]),
    ],
)
def test_it_looks_at_the_start_at_the_end_and_every_so_many_steps(rng, monkeypatch, every, execution, steps):
    watch, looked = Watch(rows(rng), every=every), []
    monkeypatch.setattr(
        watch, "_look", lambda: looked.append(watch._step) or watch._looks.append(looked[-1:])
    )
    monkeypatch.setattr(watch, "_cases", [])
    model = dense_model()
    callbacks = keras.callbacks.CallbackList([watch], model=model, epochs=2, steps=5)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for first in range(0, 5, execution):
            callbacks.on_train_batch_end(first + execution - 1)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    assert looked == steps


def test_one_line_says_who_will_not_be_ready_and_what_would_help(rng, capsys):
    x, model = rows(rng), dense_model(momentum=0.999)
    model.get_layer("bn_2").momentum = 0.5
    watch = taught(model, x, epochs=4, batch_size=20)
    told = capsys.readouterr().out
    assert told == watch.warning + "\n"
    assert watch.warning == (
        "Watch: not ready at the end: bn: momentum 0.999 keeps 0.96 of the start over 40 steps "
        "(momentum 0.927 or 2995 steps would keep 0.05)"
    )
    assert watch.problems == {"bn": ("not converged",), "bn_2": ()}
    advised = taught(dense_model(momentum=0.927), x, epochs=4, batch_size=20)
    assert advised.warning == ""
    assert advised.problems == {"bn": (), "bn_2": ()}
    assert capsys.readouterr().out == ""


def test_a_layer_that_fits_already_is_ready(rng, capsys):
    x = rows(rng)
    model = dense_model(momentum=0.5)
    taught(model, x, epochs=3)
    for layer in model.layers:
        layer.momentum = 0.999
    assert taught(model, x).warning == capsys.readouterr().out == ""


def test_the_start_counts_in_calls_and_from_the_epoch_that_is_the_first(rng):
    x, shared = keras.Input((8,)), norm("shared", momentum=0.9)
    model = keras.Model(x, layers.Add()([shared(x), shared(2 * x + 1)]))
    watch = taught(model, rows(rng), epochs=7, initial_epoch=5, batch_size=50)
    assert watch.planned == 8
    assert watch.warning == ""  # .9^16 is .19, and .9^8 were .43
    assert (
        "shared: momentum 0.9 keeps 0.66 of the start over 2 steps (15 steps"
        in taught(
            keras.Model(x, layers.Add()([shared(x), shared(2 * x + 1)])), 50 * rows(rng), batch_size=100
        ).warning
    )


def test_how_long_an_epoch_is_may_be_known_only_at_its_end(rng, capsys):
    model, x = dense_model(momentum=0.99), rows(rng, 32)
    model.compile("sgd", "mse")
    batches = tf.data.Dataset.from_generator(
        lambda: iter([(x, np.zeros((32, 3)))] * 3),
        output_signature=(tf.TensorSpec((32, 8)), tf.TensorSpec((32, 3))),
    )
    watch = Watch(x)
    model.fit(batches, epochs=2, verbose=0, callbacks=[watch])
    assert watch.planned == 6
    assert capsys.readouterr().out.count("over 6 steps") == 1


def test_frozen_layers_and_a_momentum_of_one_are_named_by_their_reasons(rng):
    model = dense_model()
    model.get_layer("bn").trainable = False
    model.get_layer("bn_2").momentum = 1.0
    watch = taught(model, rows(rng))
    assert watch.warning == (
        "Watch: not ready at the end: bn: frozen with statistics that do not fit, so no step moves them "
        "(recalibrate first); bn_2: momentum 1 keeps 1.00 of the start over 7 steps (momentum 0.65 would "
        "keep 0.05)"
    )
    assert watch.problems == {"bn": ("frozen but stale",), "bn_2": ("momentum one",)}
    assert (watch.gaps["bn"][-1], watch.ratios["bn"][-1]) == (watch.gaps["bn"][0], watch.ratios["bn"][0])


def test_it_can_be_printed_and_shown(rng):
    watch = Watch(rows(rng))
    assert str(watch) == "Watch: no fit yet."
    assert watch._repr_html_() == "<p>Watch: no fit yet.</p>"
    model = keras.Sequential([keras.Input((8,)), norm("a->b", momentum=0.99)])
    watch = taught(model, rows(rng), every=5)
    table, verdict, reason, further = str(watch).split("\n\n")
    assert table.splitlines()[0].split("  ") == [
        *["layer", "momentum", "mean gap at 0", "mean gap at 7"],
        *["variance ratio at 0", "variance ratio at 7", "problems"],
    ]
    name, momentum, *numbers = table.splitlines()[1].split()[:6]
    assert (name, momentum) == ("a->b", "0.99")
    shown = [watch.gaps[name][0], watch.gaps[name][-1], watch.ratios[name][0], watch.ratios[name][-1]]
    assert numbers == [f"{number:.2f}" for number in shown]
    assert verdict == "1 of 1 batch-norm layers is ill at step 7, on 64 examples of x."
    assert reason.startswith("a->b: momentum 0.99 keeps 0.93 of the start over 7 steps (momentum 0.65 or 299")
    assert further == "print(checkup(model, x)) says what to do."
    assert '<th scope="row">a-&gt;b</th><td>0.99</td>' in watch._repr_html_()
    assert f"<p>{verdict}</p>" in watch._repr_html_()


def test_every_fit_starts_a_course_of_its_own(rng):
    x, model = rows(rng), dense_model()
    watch = taught(model, x, epochs=2)
    first = watch.gaps["bn"][0]
    model.fit(x, np.zeros((200, 3)), verbose=0, callbacks=[watch])
    assert watch.steps.tolist() == [0, 7]
    assert watch.planned == 7
    assert watch.gaps["bn"][0] < first


def test_statistics_that_are_not_finite_are_noted_so(rng):
    model, x = dense_model(), rows(rng)
    model.get_layer("bn").moving_mean.assign(np.full(20, np.nan))
    watch = taught(model, x)
    assert np.isnan(watch.gaps["bn"]).all()
    assert np.isfinite(watch.gaps["bn_2"]).all()
    assert watch.problems["bn"] == ("not finite",)
    assert "not finite" in str(watch)


@pytest.mark.parametrize(
    ("x", "every", "error", "message"),
    [
        (np.ones((9, 8)), 0, ValueError, "every is 0; expected 1 or more"),
        (np.ones((9, 8)), 2.5, TypeError, "every is 2.5; expected a whole number"),
        (np.ones((9, 5)), 1, ValueError, r"model '.*' cannot be called on x of shape \(9, 5\)"),
        (np.ones((1, 8)), 1, ValueError, "x has 1 example; expected two or more"),
        (np.full((9, 8), np.nan), 1, ValueError, "x has NaN or infinity in it"),
        (None, 1, TypeError, "x is a .*NoneType; expected an array of inputs"),
    ],
)
def test_unusable_arguments_stop_a_training_before_its_first_step(rng, x, every, error, message):
    model = dense_model()
    before = model.get_weights()
    model.compile("sgd", "mse")
    with pytest.raises(error, match=f"^{message}"):
        model.fit(rows(rng), np.zeros((200, 3)), verbose=0, callbacks=[Watch(x, every=every)])
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_model_without_batch_norm_has_nothing_to_watch(rng):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3)], name="plain")
    with pytest.raises(ValueError, match=r"^model 'plain' has no batch-norm layer"):
        taught(model, rows(rng))
