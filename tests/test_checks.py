"""Each check lets good values through and names the parameter of a bad one, with what was expected."""

import re

import numpy as np
import pytest

from bnlab import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_a_whole_number_comes_back_as_int(value):
    assert type(checks.whole_number("steps", value)) is int
    assert checks.whole_number("steps", value, least=3) == 3


@pytest.mark.parametrize("value", [True, 3.0, "3", None, np.ones(1)])
def test_no_whole_number(value):
    with pytest.raises(TypeError, match=rf"^steps is {re.escape(repr(value))}; expected a whole number$"):
        checks.whole_number("steps", value)


def test_a_whole_number_that_is_too_small():
    with pytest.raises(ValueError, match=r"^steps is 2; expected 3 or more$"):
        checks.whole_number("steps", 2, least=3)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25)])
def test_numbers_from_0_to_1_are_momenta_and_epsilons(value):
    assert checks.momentum(value) == checks.epsilon(value) == checks.number("any", value) == value


@pytest.mark.parametrize("check", [checks.momentum, checks.epsilon])
@pytest.mark.parametrize("value", [True, "0.9", None, 1j])
def test_no_number(check, value):
    with pytest.raises(TypeError, match=rf"^{check.__name__} is .*; expected a number$"):
        check(value)


@pytest.mark.parametrize("value", [-1e-9, 1 + 1e-9, np.nan, np.inf])
def test_no_momentum(value):
    with pytest.raises(ValueError, match="expected 0 to 1, the weight of the old value"):
        checks.momentum(value)


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf])
def test_no_epsilon(value):
    with pytest.raises(ValueError, match="expected a finite number, 0 or more"):
        checks.epsilon(value)


def test_a_flag_is_true_or_false_and_nothing_like_it():
    assert checks.flag("training", np.True_) is True
    for value in (1, 0, "False", None):
        with pytest.raises(TypeError, match=r"^training is .*; expected True or False$"):
            checks.flag("training", value)


@pytest.mark.parametrize("value", [[1, 2], [True], np.float16([1.5]), np.longdouble([1])])
def test_real_arrays(value):
    np.testing.assert_array_equal(checks.real("x", value), value)


@pytest.mark.parametrize("value", [["1"], [1j], [None], np.array(["2020"], "M8[Y]")])
def test_no_real_array(value):
    with pytest.raises(TypeError, match=r"^x has dtype .*; expected real numbers$"):
        checks.real("x", value)


def test_booleans_and_ragged_rows_may_be_refused():
    with pytest.raises(TypeError, match=r"^x has dtype bool; expected real"):
        checks.real("x", [True], booleans=False)
    with pytest.raises(ValueError, match=r"^x has rows of different lengths; expected an array$"):
        checks.real("x", [[1], [1, 2]])


def test_finite_arrays():
    np.testing.assert_array_equal(checks.finite("x", [[1.5]], axes=2), [[1.5]])
    with pytest.raises(ValueError, match=r"^x holds NaN or infinity; expected finite numbers$"):
        checks.finite("x", [1, -np.inf])
    for value in ([1.0], [[]]):
        with pytest.raises(ValueError, match=r"^x has shape .*; expected 2 axes and at least one value$"):
            checks.finite("x", value, axes=2)


def test_one_value_a_feature():
    np.testing.assert_array_equal(checks.per_feature("gamma", [1, 2], 2), [1, 2])
    for value in ([1], 1.0, [[1, 2]]):
        with pytest.raises(
            ValueError, match=r"^gamma has shape .*; expected \(2,\), one value for each unit$"
        ):
            checks.per_feature("gamma", value, 2, whose="unit")


def test_none_negative_lists_the_features_and_lets_nan_through():
    checks.none_negative("variance", [0.0, np.nan, 1.0])
    with pytest.raises(ValueError, match=r"^variance is negative in feature 1, 2; expected 0 or more$"):
        checks.none_negative("variance", [0.0, -1.0, -1e-30])


def test_the_root_is_that_of_the_sum():
    root = checks.root(np.float32([0.25, 0]), 0.75)
    assert root.dtype == np.float64
    np.testing.assert_allclose(root, [1, np.sqrt(0.75)])
    np.testing.assert_array_equal(checks.root(np.array([4.0]), 0), 2)
    with pytest.raises(
        ValueError, match=r"^epsilon is 0 and v is 0 in feature 1; expected their sum above 0$"
    ):
        checks.root(np.array([1.0, 0.0]), 0, name="v")
    with pytest.raises(ValueError, match="expected their sum above 0"):
        checks.root(np.array([1e-60]), 0, dtype=np.float32)
