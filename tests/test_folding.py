"""The fold is exact, so it is held against the two layers it replaces: in Keras, and by exact cases."""

import numpy as np
import pytest

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import keras

from bnlab import batch_norm
from bnlab.folding import affine, fold

LAYERS = keras.layers
GENERATOR = np.random.default_rng(5)


def statistics_of(features, rng):
    """Return the five arguments of a batch norm that has been through something."""
    return {
        "gamma": rng.normal(1, 0.5, features),
        "beta": rng.normal(0, 1, features),
        "moving_mean": rng.normal(0, 3, features),
        "moving_variance": rng.uniform(0.01, 4, features),
        "epsilon": float(rng.choice([1e-5, 1e-3, 0.1])),
    }


def normalized(x, statistics):
    """Return what a Keras layer with these statistics makes of x; gamma or beta None leaves it out."""
    x = np.asarray(x)
    given = {name: value for name, value in statistics.items() if value is not None}
    layer = LAYERS.BatchNormalization(
        epsilon=given.pop("epsilon"), scale="gamma" in given, center="beta" in given, dtype=str(x.dtype)
    )
    layer.build(x.shape)
    for name, value in given.items():
        getattr(layer, name).assign(value)
    return layer(x).numpy()


def random_layer(kind, rng, *, use_bias, dtype):
    """Return a Keras layer of random size, the shape of its input, and how many features go in and out."""
    inputs, outputs, multiplier = (int(rng.integers(1, 6)) for _ in range(3))
    options = {
        "use_bias": use_bias,
        "dtype": dtype,
        "bias_initializer": keras.initializers.RandomNormal(seed=int(rng.integers(1000))),
    }
    if kind == "dense":
        return LAYERS.Dense(outputs, **options), (7, inputs), inputs, outputs
    size = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    options |= {"strides": int(rng.integers(1, 3)), "padding": str(rng.choice(["valid", "same"]))}
    shape = 3, size[0] + int(rng.integers(0, 5)), size[1] + int(rng.integers(0, 5)), inputs
    if kind == "conv1d":
        options |= {"kernel_size": size[0]}
        return LAYERS.Conv1D(outputs, **options), (*shape[:2], inputs), inputs, outputs
    if kind == "conv2d":
        return LAYERS.Conv2D(outputs, size, **options), shape, inputs, outputs
    layer = LAYERS.DepthwiseConv2D(size, depth_multiplier=multiplier, **options)
    return layer, shape, inputs, inputs * multiplier


def kernel_and_bias(layer):
    bias = layer.bias.numpy() if layer.use_bias else None
    return layer.kernel.numpy(), bias


def folded_layer(layer, kernel, bias, shape):
    """Return the layer again, of the same kind, with a bias and with the folded weights."""
    twin = type(layer).from_config({**layer.get_config(), "use_bias": True, "name": None})
    twin.build(shape)
    twin.set_weights([kernel, bias])
    return twin


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kind", ["dense", "conv1d", "conv2d", "depthwise"])
def test_one_folded_layer_does_what_two_keras_layers_do(kind, before, dtype):
    rng, exact = np.random.default_rng([len(kind), before]), 0
    for trial in range(25):
        layer, shape, inputs, outputs = random_layer(kind, rng, use_bias=bool(trial % 2), dtype=dtype)
        layer.build(shape)
        statistics = statistics_of(inputs if before else outputs, rng)
        if trial % 5 == 0:
            statistics["gamma"] = None
        if trial % 3 == 0:
            statistics["beta"] = None
        padding = getattr(layer, "padding", None)
        if before and padding == "same":
            statistics |= {"beta": None, "moving_mean": np.zeros(inputs)}
        x = rng.normal(size=shape).astype(dtype)
        wanted = np.asarray(layer(normalized(x, statistics)) if before else normalized(layer(x), statistics))
        kernel, bias = fold(
            *kernel_and_bias(layer),
            **statistics,
            before=before,
            depthwise=kind == "depthwise",
            padding=padding if before else None,
        )
        assert (kernel.dtype, bias.dtype) == (dtype, dtype)
        assert (kernel.shape, bias.shape) == (layer.kernel.shape, (outputs,))
        found = folded_layer(layer, kernel, bias, shape)(x).numpy()
        scale = 1 + np.abs(wanted).max()
        assert np.abs(found - wanted).max() < scale * (1e-4 if dtype == "float32" else 1e-10)
        exact += 1
    assert exact == 25


def test_a_separable_convolution_is_folded_into_its_pointwise_kernel():
    layer = LAYERS.SeparableConv2D(4, 3, padding="same", depth_multiplier=2, dtype="float64")
    x = GENERATOR.normal(size=(2, 5, 5, 3))
    layer.build(x.shape)
    statistics = statistics_of(4, GENERATOR)
    wanted = normalized(layer(x), statistics)
    depthwise, pointwise, bias = layer.get_weights()
    layer.set_weights([depthwise, *fold(pointwise, bias, **statistics)])
    assert np.abs(layer(x).numpy() - wanted).max() < 1e-12


def test_a_grouped_convolution_is_folded_after_but_not_before():
    layer = LAYERS.Conv2D(6, 3, groups=2, dtype="float64")
    x = GENERATOR.normal(size=(2, 5, 5, 4))
    layer.build(x.shape)
    statistics = statistics_of(6, GENERATOR)
    wanted = normalized(layer(x), statistics)
    kernel, bias = layer.get_weights()
    layer.set_weights(fold(kernel, bias, **statistics))
    assert np.abs(layer(x).numpy() - wanted).max() < 1e-12
    with pytest.raises(ValueError, match=r"moving_mean has shape \(4,\); expected \(2,\)"):
        fold(kernel, bias, **statistics_of(4, GENERATOR), before=True, padding="valid")


def test_same_padding_before_is_wrong_at_the_border_and_only_there():
    """What is refused would indeed be wrong: the reason for the refusal, measured."""
    x, statistics = GENERATOR.normal(size=(2, 6, 7, 3)), statistics_of(3, GENERATOR)
    layer = LAYERS.Conv2D(4, 3, padding="same", dtype="float64")
    layer.build(x.shape)
    wanted = layer(normalized(x, statistics)).numpy()
    weights = fold(*layer.get_weights(), **statistics, before=True, padding="valid")
    error = np.abs(folded_layer(layer, *weights, x.shape)(x).numpy() - wanted).max(axis=(0, 3))
    assert error[1:-1, 1:-1].max() < 1e-12
    error[1:-1, 1:-1] = 1
    assert error.min() > 0.01


def test_same_padding_before_is_exact_for_a_kernel_of_one_place():
    x, statistics = GENERATOR.normal(size=(2, 4, 4, 3)), statistics_of(3, GENERATOR)
    layer = LAYERS.Conv2D(2, 1, padding="same", dtype="float64")
    layer.build(x.shape)
    wanted = layer(normalized(x, statistics)).numpy()
    for padding in ("same", "valid", None):
        layer_weights = fold(*layer.get_weights(), **statistics, before=True, padding=padding)
        found = folded_layer(layer, *layer_weights, x.shape)(x).numpy()
        assert np.abs(found - wanted).max() < 1e-12


def test_numbers_that_can_be_done_in_the_head():
    statistics = {"gamma": [6.0], "beta": [1.0], "moving_mean": [5.0], "moving_variance": [8.0], "epsilon": 1}
    assert [values.tolist() for values in affine(**statistics)] == [[2.0], [-9.0]]
    after = fold([[3.0]], [7.0], **statistics)  # 2 * (3 x + 7) - 9
    assert [values.tolist() for values in after] == [[[6.0]], [5.0]]
    before = fold([[3.0]], [7.0], **statistics, before=True)  # 3 * (2 x - 9) + 7
    assert [values.tolist() for values in before] == [[[6.0]], [-20.0]]


def test_affine_is_the_inference_formula():
    x, statistics = GENERATOR.normal(size=(20, 4)), statistics_of(4, GENERATOR)
    scale, shift = affine(**statistics)
    moments = statistics.pop("moving_mean"), statistics.pop("moving_variance")
    assert np.allclose(scale * x + shift, batch_norm.normalize(x, *moments, **statistics), atol=1e-12)


def test_gamma_and_beta_none_are_one_and_zero():
    statistics = statistics_of(3, GENERATOR)
    kernel, bias = GENERATOR.normal(size=(4, 3)), GENERATOR.normal(size=3)
    left_out = fold(kernel, None, **{**statistics, "gamma": None, "beta": None})
    written = fold(kernel, np.zeros(3), **{**statistics, "gamma": np.ones(3), "beta": np.zeros(3)})
    assert all(map(np.array_equal, left_out, written))
    assert np.array_equal(fold(kernel, bias, **statistics)[0], fold(kernel, None, **statistics)[0])


def test_an_untrained_batch_norm_without_epsilon_changes_nothing():
    kernel, bias = GENERATOR.normal(size=(4, 3)).astype("float32"), np.ones(3, "float32")
    fresh = {"gamma": None, "beta": None, "moving_mean": np.zeros(3), "moving_variance": np.ones(3)}
    folded = fold(kernel, bias, **fresh, epsilon=0)
    assert all(map(np.array_equal, folded, (kernel, bias)))


@pytest.mark.parametrize(
    ("given", "returned"),
    [("float16", "float16"), ("float32", "float32"), ("float64", "float64"), ("int8", "float64")],
)
def test_it_is_computed_in_float64_and_returned_in_the_dtype_of_the_kernel(given, returned):
    statistics = statistics_of(3, GENERATOR)
    kernel, bias = np.ones((2, 3), given), GENERATOR.normal(size=3)
    exact = fold(kernel.astype("float64"), bias, **statistics)
    for found, wanted in zip(fold(kernel, bias, **statistics), exact, strict=True):
        assert found.dtype == returned
        assert np.array_equal(found, wanted.astype(returned))


def test_the_arguments_are_left_alone_and_the_result_is_new():
    statistics = {name: np.array(value) for name, value in statistics_of(3, GENERATOR).items()}
    statistics["epsilon"] = 1e-3
    kernel, bias = GENERATOR.normal(size=(3, 3)), GENERATOR.normal(size=3)
    arrays = [kernel, bias, *(value for value in statistics.values() if isinstance(value, np.ndarray))]
    copies = [array.copy() for array in arrays]
    for before in (False, True):
        for result in fold(kernel, bias, **statistics, before=before):
            assert not any(np.shares_memory(result, array) for array in arrays)
            result += 1
    assert all(map(np.array_equal, arrays, copies))


# Bad input ------------------------------------------------------------------------------------------

GOOD = {
    "kernel": np.ones((3, 3, 2, 4)),
    "bias": np.zeros(4),
    "gamma": np.ones(4),
    "beta": np.zeros(4),
    "moving_mean": np.ones(4),
    "moving_variance": np.ones(4),
}
TWO = {name: np.ones(2) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
BAD = [
    ({"kernel": np.ones(4)}, ValueError, r"kernel has shape \(4,\); expected that of a layer"),
    ({"kernel": np.ones((2, 4)), "depthwise": True}, ValueError, r"kernel has shape \(2, 4\).*depthwise"),
    ({"kernel": np.ones((0, 4))}, ValueError, r"kernel has shape \(0, 4\); expected at least one"),
    ({"kernel": np.ones((2, 4), complex)}, TypeError, "kernel has dtype complex128; expected real"),
    ({"kernel": [["a"] * 4]}, TypeError, "kernel has dtype <U1; expected real"),
    ({"kernel": [[1.0], [1.0, 2.0]]}, ValueError, "kernel has rows of different lengths"),
    ({"kernel": np.full((2, 4), np.nan)}, ValueError, "kernel holds NaN or infinity"),
    ({"bias": np.zeros(3)}, ValueError, r"bias has shape \(3,\); expected \(4,\), one value for each output"),
    ({"bias": np.zeros((1, 4))}, ValueError, r"bias has shape \(1, 4\); expected \(4,\)"),
    ({"bias": 0.0}, ValueError, r"bias has shape \(\); expected \(4,\)"),
    ({"bias": np.full(4, np.inf)}, ValueError, "bias holds NaN or infinity"),
    ({"gamma": np.ones(2)}, ValueError, r"gamma has shape \(2,\); expected \(4,\)"),
    ({"gamma": np.ones(4, bool)}, TypeError, "gamma has dtype bool; expected real"),
    ({"beta": np.ones(2)}, ValueError, r"beta has shape \(2,\); expected \(4,\)"),
    ({"beta": np.full(4, np.nan)}, ValueError, "beta holds NaN"),
    ({"moving_mean": None}, TypeError, "moving_mean has dtype object; expected real"),
    ({"moving_mean": np.ones(2)}, ValueError, r"moving_mean has shape \(2,\); expected \(4,\)"),
    ({"moving_mean": np.full(4, np.nan)}, ValueError, "moving_mean holds NaN"),
    ({"moving_variance": np.ones(2)}, ValueError, r"moving_variance has shape \(2,\); expected \(4,\)"),
    ({"moving_variance": [1, -1, 1, -2]}, ValueError, "moving_variance is negative in feature 1, 3;"),
    ({"moving_variance": np.full(4, np.inf)}, ValueError, "moving_variance holds NaN or infinity"),
    ({"moving_variance": np.zeros(4), "epsilon": 0}, ValueError, "epsilon is 0 and moving_variance is 0"),
    ({"epsilon": -1e-3}, ValueError, "epsilon is -0.001; expected a finite number, 0 or more"),
    ({"epsilon": np.nan}, ValueError, "epsilon is nan; expected"),
    ({"epsilon": "1e-3"}, TypeError, "epsilon is '1e-3'; expected a number"),
    ({"epsilon": True}, TypeError, "epsilon is True; expected a number"),
    ({"before": 1}, TypeError, "before is 1; expected True or False"),
    ({"depthwise": None}, TypeError, "depthwise is None; expected True or False"),
    ({"padding": "full"}, ValueError, "padding is 'full'; expected 'valid' or 'same'"),
    ({"before": True, "padding": "valid"}, ValueError, r"gamma has shape|moving_mean has shape \(4,\)"),
    ({**TWO, "before": True}, ValueError, "padding is None; expected that of the layer"),
    ({**TWO, "before": True, "padding": "same"}, ValueError, "padding is 'same' and the batch norm moves"),
    (  # one feature that moves is enough
        {**TWO, "before": True, "padding": "same", "beta": [0.0, 0.5], "moving_mean": np.zeros(2)},
        ValueError,
        "the batch norm moves feature 1: the zeros",
    ),
    ({"kernel": np.full((2, 4), 6e4, "float16"), "gamma": np.full(4, 9.0)}, ValueError, "cannot hold"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_names_the_parameter(change, error, message):
    arguments = GOOD | change
    with pytest.raises(error, match=message) as raised:
        fold(arguments.pop("kernel"), arguments.pop("bias"), **arguments)
    assert "\n" not in str(raised.value)


def test_good_input_passes():
    arguments = dict(GOOD)
    kernel, bias = fold(arguments.pop("kernel"), arguments.pop("bias"), **arguments)
    assert (kernel.shape, bias.shape) == ((3, 3, 2, 4), (4,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moving_mean": 1.0}, r"moving_mean has shape \(\); expected \(features,\)"),
        (
            {"gamma": np.ones(3)},
            r"gamma has shape \(3,\); expected \(4,\), one value for each feature of mov",
        ),
        ({"moving_variance": -np.ones(4)}, "moving_variance is negative in feature 0, 1, 2, 3;"),
        ({"epsilon": np.inf}, "epsilon is inf"),
    ],
)
def test_affine_names_the_parameter_too(change, message):
    arguments = {name: GOOD[name] for name in TWO} | change
    with pytest.raises(ValueError, match=message):
        affine(**arguments)


@pytest.mark.parametrize("name", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_no_statistic_can_be_forgotten(name):
    arguments = {other: GOOD[other] for other in TWO if other != name}
    with pytest.raises(TypeError, match=name):
        fold(GOOD["kernel"], GOOD["bias"], **arguments)
