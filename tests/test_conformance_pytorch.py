"""Batch norm against the samples that PyTorch tests its own operators and modules with.

They are in the wheel: `op_db` (OpInfo) has a list of calls for each batch-norm operator, `module_db`
(ModuleInfo) one of constructor arguments and inputs for BatchNorm1d, 2d and 3d. Each sample runs through
PyTorch and through BatchNorm, forward, backward and what is stored. Where the two differ by design, the
difference is asserted: PyTorch weighs the new value and stores the unbiased variance; it lets an empty batch
pass, and momenta outside of 0 to 1.
"""

import warnings

import numpy as np
import pytest

from bnlab.batch_norm import BatchNorm, batch_moments, batch_norm_gradients, normalize

pytestmark = pytest.mark.outside

OPERATORS = (
    "nn.functional.batch_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_batch_norm_with_update",
)
MODULES = ("nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is optional: pip install torch")


@pytest.fixture(scope="module")
def samples(torch):
    """Return the lists of PyTorch's samples: one function for operators, one for modules."""
    pytest.importorskip("expecttest", reason="PyTorch's own tests need it: pip install expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
        from torch.testing._internal.common_modules import module_db

    def of_operator(name, dtype):
        torch.manual_seed(0)
        found = [op for op in op_db if op.name == name]
        assert found, f"PyTorch has no operator {name}"
        return [(op, sample) for op in found for sample in op.sample_inputs("cpu", getattr(torch, dtype))]

    def of_module(name, dtype, training):
        torch.manual_seed(0)
        (info,) = [info for info in module_db if info.name == name]
        return info, info.module_inputs_func(info, "cpu", getattr(torch, dtype), False, training)

    return of_operator, of_module


def _array(tensor):
    return None if tensor is None else tensor.detach().numpy().copy()


def _tolerance(x, theirs, *factors):
    """Return by how much one result may differ that both compute in some ten roundings.

    That is 2 * 10 roundings of the largest number, which is a result or, before a subtraction, a product of
    `factors`. A rounding of x is one of x_hat too, magnified by 1 / sqrt(variance + epsilon).
    """
    unit = np.finfo(x.dtype).eps / 2
    return 2 * 10 * unit * max(np.abs(theirs).max(), np.prod([np.max(np.abs(f)) for f in factors]))


def _ours(x, dy, mean, variance, gamma, beta, *, by_batch, epsilon):
    """Return y and the three gradients."""
    features = x.shape[1]
    if by_batch:
        y = normalize(x, *batch_moments(x, axis=1), gamma=gamma, beta=beta, epsilon=epsilon, axis=1)
        return y, *batch_norm_gradients(dy, x, gamma=gamma, epsilon=epsilon, axis=1)
    layer = BatchNorm(features, axis=1, epsilon=epsilon, dtype=x.dtype)
    layer.gamma = np.ones(features) if gamma is None else gamma
    layer.beta = np.zeros(features) if beta is None else beta
    layer.moving_mean, layer.moving_variance = mean, variance
    return layer(x, training=False), *layer.backward(dy)


def _assert_equal_to_pytorch(torch, call, x, mean, variance, gamma, beta, *, by_batch, epsilon):
    """Compare the output and the gradients of call(x, gamma, beta) with ours."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in (x, gamma, beta)]
    y = call(*leaves)
    dy = torch.from_numpy(np.random.default_rng(0).normal(size=y.shape)).to(y.dtype)
    wanted = [leaf for leaf in leaves if leaf is not None]
    gradients = iter(torch.autograd.grad(y, wanted, dy))
    expected = [y, *(None if leaf is None else next(gradients) for leaf in leaves)]
    arrays = [_array(t) for t in (x, dy, mean, variance, gamma, beta)]
    results = _ours(*arrays, by_batch=by_batch, epsilon=epsilon)
    x, dy, _, variance, gamma, _ = arrays
    smallest = (batch_moments(x, axis=1)[1] if by_batch else variance).min() + epsilon
    # x in units of the spread, the slope of y, and dy: what y, dx and dgamma are made of.
    factors = 1 + np.abs(x).max() / smallest**0.5, 1 if gamma is None else gamma, dy
    factors_of_dx = *factors, max(1, smallest**-0.5)
    for ours, theirs, factors_of in zip(
        results, map(_array, expected), (factors, factors_of_dx, factors, factors), strict=True
    ):
        if theirs is not None:
            assert ours.dtype == theirs.dtype
            tolerance = _tolerance(x, theirs, *factors_of)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def _assert_stored(x, before, after, momentum, epsilon):
    """Compare the running statistics after one training step of PyTorch with the moving ones of BatchNorm."""
    x, mean, variance, new_mean, new_variance = map(_array, (x, *before, *after))
    layer = BatchNorm(x.shape[1], axis=1, momentum=1 - momentum, epsilon=epsilon, dtype=x.dtype)
    layer.moving_mean, layer.moving_variance = mean, variance
    layer(x, training=True)
    examples = x.size // x.shape[1]
    bessel = momentum * batch_moments(x, axis=1)[1] / (examples - 1)  # v * n / (n - 1) is v + v / (n - 1)
    for ours, theirs in ((layer.moving_mean, new_mean), (layer.moving_variance + bessel, new_variance)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=_tolerance(x, theirs, x))


def _refuses(x):
    with pytest.raises(ValueError, match=r"^x has shape"):
        batch_moments(_array(x), axis=1 if x.ndim > 1 else 0)


DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


def _operands(name, sample):
    """Return the statistics, gamma, beta, training, momentum and epsilon of a sample, whatever its order."""
    values = list(sample.args)
    if name == "nn.functional.batch_norm":
        mean, variance, gamma, beta = (
            values + [sample.kwargs.get(key) for key in ("weight", "bias")][len(values) - 2 :]
        )
        options = {"training": False, "momentum": 0.1, "eps": 1e-5} | sample.kwargs
        return mean, variance, gamma, beta, options["training"], options["momentum"], options["eps"]
    if name == "_batch_norm_with_update":
        values.insert(4, True)
    elif len(values) == 5:  # the overload of the legit operator without running statistics
        values[2:2] = [None, None]
    gamma, beta, mean, variance, *rest = values
    return mean, variance, gamma, beta, *rest


@DTYPES
@pytest.mark.parametrize("name", OPERATORS)
def test_samples_of_the_operator(torch, samples, name, dtype):
    compared = stored = 0
    for op, sample in samples[0](name, dtype):
        x = sample.input
        mean, variance, gamma, beta, training, momentum, epsilon = _operands(name, sample)
        if x.numel() == 0:
            _refuses(x)
            continue
        by_batch = training or mean is None
        running = [None if t is None else t.clone() for t in (mean, variance)]

        def call(x, gamma, beta, op=op, sample=sample, running=running):
            if name == "nn.functional.batch_norm":
                return op(x, *running, gamma, beta, **sample.kwargs)
            after_statistics = [a for a in sample.args if not torch.is_tensor(a) and a is not None]
            statistics = [] if running[0] is None and name == "_native_batch_norm_legit" else running
            return op(x, gamma, beta, *statistics, *after_statistics, **sample.kwargs)[0]

        _assert_equal_to_pytorch(
            torch, call, x, mean, variance, gamma, beta, by_batch=by_batch, epsilon=epsilon
        )
        compared += 1
        if not (training and mean is not None):
            continue
        if 0 <= momentum <= 1:
            _assert_stored(x, (mean, variance), running, momentum, epsilon)
            stored += 1
        else:
            with pytest.raises(ValueError, match=r"^momentum is"):
                BatchNorm(x.shape[1], momentum=1 - momentum)
    assert compared >= 8
    assert stored >= 2


@DTYPES
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("name", MODULES)
def test_samples_of_the_module(torch, samples, name, training, dtype):
    compared = stored = 0
    rng = np.random.default_rng(1)
    info, found = samples[1](name, dtype, training)
    for sample in found:
        arguments, (x,) = sample.constructor_input, sample.forward_input.args
        module = info.module_cls(*arguments.args, **arguments.kwargs).to(x.dtype).train(training)
        if x.numel() == 0:
            _refuses(x)
            continue
        with torch.no_grad():  # nothing that is 0 or 1 and so would go unnoticed
            for parameter in module.parameters():
                parameter.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, len(parameter))))
            for running in (module.running_mean, module.running_var):
                if running is not None:
                    running.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, len(running))))
        tracked = module.running_mean is not None
        before = [t.clone() for t in (module.running_mean, module.running_var)] if tracked else [None, None]
        gamma, beta = module.weight, module.bias

        def call(x, gamma, beta, module=module):
            given = {"weight": gamma, "bias": beta}
            return torch.func.functional_call(module, {k: v for k, v in given.items() if v is not None}, (x,))

        _assert_equal_to_pytorch(
            torch, call, x, *before, gamma, beta, by_batch=training or not tracked, epsilon=module.eps
        )
        compared += 1
        after = module.running_mean, module.running_var
        if training and tracked:
            # momentum None is a simple average: the first batch replaces what was there.
            momentum = 1.0 if module.momentum is None else module.momentum
            _assert_stored(x, before, after, momentum, module.eps)
            stored += 1
        elif tracked:
            assert all(map(torch.equal, before, after))
    assert compared >= 5
    assert stored >= 4 or not training
