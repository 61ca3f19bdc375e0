"""Both sides of every limit of the doctor, a tenth away, on statistics that are set by hand."""

import keras
import numpy as np
import pytest
from patients import norm, problems

from bnlab.checkup import checkup
from bnlab.doctor import fit, inputs, sample
from bnlab.doctor.models.keras_model import KerasModel

BELOW, ABOVE = 0.9, 1.1
EPSILON = 1e-3


def exact(examples, features=4, *, mean=0.0, variance=1.0):
    """Return x whose features have just these moments, in float64."""
    x = np.random.default_rng(0).normal(size=(examples, features))
    return (x - x.mean(axis=0)) / x.std(axis=0) * np.sqrt(variance) + mean


def layer_with(features, moving_mean, moving_variance, **options):
    """Return a model of one layer that remembers this; its inputs pass in float64."""
    layer = norm(**{"momentum": 0.99, "dtype": "float64"} | options)
    model = keras.Sequential([keras.Input((features,), dtype="float64"), layer])
    layer.moving_mean.assign(np.broadcast_to(moving_mean, features))
    layer.moving_variance.assign(np.broadcast_to(moving_variance, features))
    return model


def words(x, moving_mean, moving_variance, *, batch_size=4000, **options):
    model = layer_with(x.shape[1], moving_mean, moving_variance, **options)
    return problems(model, x, batch_size=batch_size)["bn"]


def one_of(features, value, usual):
    return np.where(np.arange(features) == 2, value, usual)


# So many examples that sampling explains less than .015 of a gap and .02 of a log ratio.
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ()), (ABOVE, ("not converged",))])
def test_gap_and_log_ratio(factor, expected, sign):
    x = exact(20_000, mean=5.0, variance=4.0)
    gap = sign * factor * 0.55 * np.sqrt(4 + EPSILON)
    assert words(x, 5 + gap, 4.0) == expected
    ratio = np.exp(sign * factor * 0.75)
    assert words(x, 5.0, (4 + EPSILON) * ratio - EPSILON) == expected


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ()), (ABOVE, ("not converged",))])
def test_one_feature_alone(factor, expected, sign):
    x = exact(20_000, 120)
    assert words(x, one_of(120, sign * factor * 3, 0), 1.0) == expected
    # Too small a variance blows the feature up, too large a one silences it.
    ratio = np.exp(sign * factor * (2.5 if sign < 0 else 2.2))
    assert words(x, 0.0, one_of(120, ratio, 1.0)) == expected


@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ()), (ABOVE, ("not converged",))])
def test_a_few_features(factor, expected):
    gap = 0.55 + factor * 0.3 * np.sqrt(40 / 3)  # of three in forty
    found = checkup(layer_with(40, np.where(np.arange(40) < 3, gap, 0), 1.0), exact(20_000, 40)).layers[0]
    assert found.problems == expected
    assert found.worst < 3


@pytest.mark.parametrize(
    ("share", "gap", "expected"),
    [
        (BELOW * 0.35, 0.4, ()),
        (ABOVE * 0.35, 0.4, ("not converged",)),
        (0.7, BELOW * 0.25, ()),
        (0.7, ABOVE * 0.25, ("not converged",)),
        (BELOW * 0.35, BELOW * 0.25, ()),
    ],
)
def test_an_average_on_its_way_is_ill_where_both_signs_are_seen(share, gap, expected):
    variance = 1.2
    mean = gap * np.sqrt(variance + EPSILON) / share
    x = exact(20_000, mean=mean, variance=variance)
    assert words(x, (1 - share) * mean, (1 - share) * variance + share) == expected


def shared(pooled_variance):
    one, two = (keras.Input((4,), dtype="float64") for _ in range(2))
    layer = norm(dtype="float64", momentum=0.99)
    model = keras.Model([one, two], [layer(one), layer(two)])
    layer.moving_variance.assign(np.full(4, pooled_variance))
    return model


@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ()), (ABOVE, ("not one domain",))])
def test_calls_of_one_layer(factor, expected):
    gap = factor * 0.85 * np.sqrt(1 + EPSILON)
    apart = [exact(20_000, mean=gap), exact(20_000, mean=-gap)]
    assert problems(shared(1 + gap**2), apart, batch_size=4000)["bn"] == expected
    pooled = np.exp(factor * 1.4) * (1 + EPSILON) - EPSILON
    wide = [exact(20_000), exact(20_000, variance=2 * pooled - 1)]
    assert problems(shared(pooled), wide, batch_size=4000)["bn"] == expected


@pytest.mark.parametrize(("gap", "expected"), [(0.045, ()), (0.075, ("never updated",))])
def test_initial_statistics_are_excused_by_the_error_of_the_sample_only(gap, expected):
    assert words(exact(20_000, mean=gap), 0.0, 1.0) == expected
    assert words(exact(20_000, mean=gap), 1e-9, 1.0) == ()  # something moved


def error(x, momentum, size):
    """Return two standard errors of a mean, in a sample as unsure as one of the examples that count."""
    squares = (x - x.mean(axis=0)) ** 2
    counting = np.median(squares.sum(axis=0) ** 2 / (squares**2).sum(axis=0))
    share = 1 / len(x) + (1 - momentum) / (1 + momentum) / size
    return 2 * np.sqrt(share) * (1 + 4 / (counting - 1))


@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ()), (ABOVE, ("not converged",))])
def test_two_standard_errors_of_a_small_sample(factor, expected):
    x = exact(16, variance=4.0)
    gap = factor * (0.55 + error(x, 0.9, 16))
    assert words(x, gap * np.sqrt(4 + EPSILON), 4.0, momentum=0.9, batch_size=16) == expected


def lognormal(examples, seed):
    return np.exp(np.random.default_rng(seed).normal(0, 1.5, (examples, 4)))


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_with_heavy_tails_cannot_tell(seed):
    x, all_of_them = lognormal(100, seed), lognormal(100_000, 99)
    found = checkup(layer_with(4, all_of_them.mean(axis=0), all_of_them.var(axis=0)), x)
    assert found.healthy
    assert found.layers[0].remarks == ("cannot tell",)
    assert "of 1 of 1 this sample cannot tell" in str(found).replace("\n", " ")


@pytest.mark.parametrize(("examples", "remarks"), [(4, ("cannot tell",)), (16, ("cannot tell",)), (64, ())])
def test_few_examples_cannot_tell(examples, remarks):
    found = checkup(layer_with(4, 0.0, 1.0001), exact(examples), batch_size=16)
    assert found.layers[0].remarks == remarks
    assert ("All batch-norm layers are healthy" in str(found)) == (not remarks)


@pytest.mark.parametrize(("momentum", "expected"), [(0.98, ("not converged",)), (0.5, ())])
def test_a_short_memory_is_unsure(momentum, expected):
    x = exact(4000, variance=4.0)
    # Batches of 8: the error is .08 with .98 and .41 with .5.
    assert words(x, 1.6, 4.0, momentum=momentum, batch_size=8) == expected


@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ("dead feature",)), (ABOVE, ())])
def test_variance_of_a_dead_feature(factor, expected):
    x = exact(4000, 40)
    x[:, 2] *= np.sqrt(factor * 0.01 * EPSILON)
    assert words(x, 0.0, np.where(np.arange(40) == 3, 0.5, 1.0)) == expected


@pytest.mark.parametrize(("factor", "kind"), [(BELOW, "remarks"), (ABOVE, "problems")])
@pytest.mark.parametrize("left", [0, 0.05])  # of the initial variance
def test_a_feature_that_is_remembered_as_dead_is_a_remark(factor, kind, left):
    x = exact(4000, 40)
    x[:, 2:4] = 0
    variance = np.where(np.arange(40) == 3, 0.0, one_of(40, factor * 4 * EPSILON, 1.0)) + left
    found = checkup(layer_with(40, 0.0, variance), x).layers[0]
    other = {"remarks": "problems", "problems": "remarks"}[kind]
    assert getattr(found, kind) == ("dead feature",)
    assert getattr(found, other) == ()
    assert found.dead == (2, 3)


@pytest.mark.parametrize(("dead", "expected"), [(1, ()), (2, ()), (3, ("dead feature",))])
def test_more_than_half_dead_is_ill_however_it_is_remembered(dead, expected):
    few = np.arange(4) < dead
    x, variance = np.where(few, 0, exact(4000)), np.where(few, 0.0, 1.0)
    model = layer_with(4, 0.0, variance)
    found = checkup(model, x, batch_size=4000).layers[0]
    assert (found.problems, found.remarks) == ((), ("dead feature",))  # constant inputs are no illness
    learned = [keras.Input((4,)), keras.layers.Dense(4, kernel_initializer="identity"), *model.layers]
    assert problems(keras.Sequential(learned), x, batch_size=4000)["bn"] == expected


@pytest.mark.parametrize(("factor", "expected"), [(BELOW, ()), (ABOVE, ("dead feature",))])
def test_a_feature_too_rare_for_the_sample_is_not_called_dead(factor, expected):
    x = exact(100, 40, mean=1.0)
    x[:, 2] = 0
    # The probability; a mean of 1 then has a variance of about 1 / firing.
    firing = factor * 3 * (1 / 100 + 0.01 / 100)
    assert words(x, 1.0, one_of(40, 1 / firing, 1.0), batch_size=100) == expected
    # What is negative on the average, in any feature, does not come from something that fires.
    shifted = exact(100, 40, mean=np.where(np.arange(40) == 3, -1.0, 1.0))
    shifted[:, 2] = 0
    means = one_of(40, 1.0, shifted.mean(axis=0))
    assert words(shifted, means, one_of(40, 1 / firing, 1.0), batch_size=100) == ("dead feature",)


@pytest.mark.parametrize(
    ("momentum", "expected"),
    [
        (0, ("momentum zero",)),
        (1e-6, ("torch momentum",)),
        (0.49, ("torch momentum",)),
        (0.5, ()),
        (0.99, ()),
        (1 - 1e-6, ()),
        (1, ("momentum one",)),
    ],
)
def test_momentum(momentum, expected):
    assert words(exact(1000), 0.0, 1.0001, momentum=momentum) == expected


@pytest.mark.parametrize(
    ("gap", "log_ratio", "expected"),
    [
        (1.0, -5.0, ()),
        (1.0, -ABOVE * 0.75, ()),
        (1.0, -BELOW * 0.75, ("not converged",)),
        (1.25, -5.0, ("not converged",)),
    ],
)
def test_batches_of_one_explain_small_variances_and_half_a_gap(gap, log_ratio, expected):
    x = exact(2000)
    variance = np.exp(log_ratio) * (1 + EPSILON) - EPSILON
    assert words(x, gap, variance, batch_size=1) == (*expected, "tiny batch")


def cases(model, x, batch_size=4000):
    seen = inputs.watched(KerasModel(model, x), sample.sampled(model, x), batch_size)
    return [fit.Case(layer, seen) for layer in seen.called]


def test_quantities_have_the_names_of_the_limits():
    [case] = cases(layer_with(4, 0.0, 1.0), exact(100))
    assert set(case.quantities()) == set(fit.LIMITS)
    [case] = cases(layer_with(4, np.nan, 1.0), exact(100))
    assert case.quantities() == {}
    assert not case.stale


def test_quantities_by_hand():
    """Ten features, so that the ninth decile lies a tenth of the way from the ninth to the tenth."""
    x = exact(20_000, 10)
    gaps = np.array([0, 0, 0, 0.1, 0.1, -0.2, 0.2, 0.3, -0.4, 0.6])
    [case] = cases(layer_with(10, gaps * np.sqrt(1 + EPSILON), 1.0), x)
    found = case.quantities()
    shrunk = error(x, 0.99, 4000) * np.sqrt(1 / (1 + EPSILON))
    assert found["gap"] == pytest.approx(0.42 - shrunk, abs=1e-6)
    assert found["noticed"] == pytest.approx(found["gap"])
    assert found["one_gap"] == pytest.approx(0.6 - shrunk, abs=1e-6)
    assert found["log_ratio"] == found["one_log_ratio"] == found["calls_gap"] == found["calls_log_ratio"] == 0
    np.testing.assert_allclose(case.fit.gaps, gaps, atol=1e-6)


@pytest.mark.parametrize(("factor", "word"), [(BELOW, "not converged"), (ABOVE, "negative variance")])
def test_a_variance_is_negative_below_minus_epsilon(factor, word):
    assert words(exact(4000), 0.0, one_of(4, -factor * EPSILON, 1.0)) == (word,)


@pytest.mark.parametrize(("spread", "expected"), [(0.35, ()), (4.0, ("deviation stored",))])
def test_a_root_that_is_close_to_its_square_is_no_illness(spread, expected):
    variance = np.exp(np.linspace(-spread, spread, 8))
    x = exact(20_000, 8, mean=3.0, variance=variance)
    assert words(x, 3.0, np.sqrt(variance)) == expected
