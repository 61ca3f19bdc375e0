"""BatchNorm against the ONNX backend suite: the node cases, and the models converted from PyTorch.

Both come with the onnx package. The node cases are generated when their module is imported (seeded; there are
no files of them), in both modes, with the default epsilon and one of 1e-2, momentum .9. The converted models
lie there with their inputs and outputs: 1-D, 2-D and 3-D inputs of PyTorch layers in inference, whose momenta
of .2 and .3 must make no difference. Large networks converted from Caffe2 ("light") have lost their longer
weights, but 23 layers of batch norm are left, with variances from 1e-45 to 600 and more: ONNX's own evaluator
runs them on random pixels.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest

from bnlab.batch_norm import BatchNorm, batch_moments

pytestmark = pytest.mark.outside

NODE_CASES = {
    "test_batchnorm_example",
    "test_batchnorm_epsilon",
    "test_batchnorm_example_training_mode",
    "test_batchnorm_epsilon_training_mode",
}
CONVERTED = {
    "test_BatchNorm1d_3d_input_eval",
    "test_BatchNorm2d_eval",
    "test_BatchNorm2d_momentum_eval",
    "test_BatchNorm3d_eval",
    "test_BatchNorm3d_momentum_eval",
}
LIGHT = {
    "densenet121": 2,
    "inception_v2": 13,
    "resnet50": 7,
    "shufflenet": 1,
}  # layers that have their weights
DEFAULTS = {"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0}


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx", reason="ONNX is optional: pip install onnx")


@pytest.fixture(scope="module")
def node_cases(onnx):
    # The module of this one operator; the suite's own collector would build those of all, in ten seconds.
    importlib.import_module("onnx.backend.test.case.node.batch_normalization")
    cases = onnx.backend.test.case.node._NodeTestCases
    return {case.name: case for case in cases if "_batchnorm_" in case.name}


@pytest.fixture(scope="module")
def converted(onnx):
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "pytorch-converted"
    return {path.name: path for path in folder.glob("test_BatchNorm*")}


def _run(onnx, node, inputs):
    """Return what our layer makes of a BatchNormalization node: y and the two moving statistics."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = DEFAULTS | given
    x, gamma, beta, mean, variance = inputs
    options = {"momentum": attributes["momentum"], "epsilon": attributes["epsilon"]}
    layer = BatchNorm(x.shape[1], axis=1, dtype=x.dtype, **options)
    layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance = gamma, beta, mean, variance
    training = bool(attributes["training_mode"])
    statistics = batch_moments(x, axis=1) if training else (mean, variance)
    y = layer(x, training=training)
    return [y, layer.moving_mean, layer.moving_variance], _bound(
        x, *statistics, gamma, beta, options["epsilon"]
    )


def _bound(x, mean, variance, gamma, beta, epsilon):
    """Return by how much two float32 results of one feature may differ.

    Each goes through some eight roundings of numbers no larger than `largest`: x and the mean as gamma /
    sqrt(variance + epsilon) magnifies them, and beta. So 2 results * 8 roundings * 2**-24 * largest.
    """
    axes = tuple(a for a in range(x.ndim) if a != 1)
    size = np.abs(x).max(axes) + np.abs(mean)
    largest = np.abs(gamma) * size / np.sqrt(variance + epsilon) + np.abs(beta)
    return np.expand_dims(2 * 8 * 2**-24 * largest, tuple(range(1, x.ndim - 1)))


def _assert_close(ours, theirs, bounds):
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    worst = np.max(np.abs(ours - theirs) / bounds)
    assert worst <= 1, f"off by {worst:.3g} times the bound"


def test_the_suite_has_the_cases_that_are_run_here(node_cases, converted):
    assert set(node_cases) == NODE_CASES
    assert set(converted) == CONVERTED


@pytest.mark.parametrize("name", sorted(NODE_CASES))
def test_node_case(onnx, node_cases, name):
    case = node_cases[name]
    (node,) = case.model.graph.node
    assert node.op_type == "BatchNormalization"
    for inputs, outputs in case.data_sets:
        ours, bound = _run(onnx, node, inputs)
        assert len(outputs) == (3 if name.endswith("training_mode") else 1)
        _assert_close(ours[0], outputs[0], bound)
        for mine, theirs in zip(ours, outputs, strict=False):
            np.testing.assert_allclose(mine, theirs, rtol=case.rtol, atol=case.atol)  # the suite's own
        for mine, theirs in zip(ours[1:], outputs[1:], strict=False):
            # Means of 40 numbers of size 1, or of their squares: 8 roundings each that do not all go one way.
            _assert_close(mine, theirs, 2 * 8 * 2**-24)


@pytest.mark.parametrize("name", sorted(CONVERTED))
def test_model_converted_from_pytorch(onnx, converted, name):
    model = onnx.load(converted[name] / "model.onnx")
    (node,) = model.graph.node
    assert node.op_type == "BatchNormalization"
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    x, y = (
        onnx.numpy_helper.to_array(onnx.load_tensor(converted[name] / "test_data_set_0" / f"{which}_0.pb"))
        for which in ("input", "output")
    )
    ours, bound = _run(onnx, node, [x, *(weights[input_name] for input_name in node.input[1:])])
    _assert_close(ours[0], y, bound)
    np.testing.assert_array_equal(ours[1], weights[node.input[3]])  # inference keeps its statistics
    np.testing.assert_array_equal(ours[2], weights[node.input[4]])


@pytest.mark.parametrize(("name", "layers"), LIGHT.items(), ids=LIGHT)
def test_layers_of_a_large_network(onnx, name, layers):
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    graph = onnx.load(folder / f"light_{name}.onnx").graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "BatchNormalization"]
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
    rng = np.random.default_rng(0)
    nodes = [node for node in nodes if all(input_name in weights for input_name in node.input[1:])]
    assert len(nodes) == layers
    for node in nodes:
        gamma, beta, mean, variance = (weights[input_name] for input_name in node.input[1:])
        spread = np.sqrt(variance + 1e-5)[:, None, None]
        x = (mean[:, None, None] + spread * rng.normal(size=(2, len(mean), 3, 3))).astype("float32")
        inputs = [x, gamma, beta, mean, variance]
        (theirs,) = evaluator(node).run(None, dict(zip(node.input, inputs, strict=True)))
        ours, bound = _run(onnx, node, inputs)
        _assert_close(ours[0], theirs, bound)
