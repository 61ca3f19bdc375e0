"""What is asked of an argument before anything is done with it, and the sentence if it is not so.

A `TypeError` is about the kind of a value, a `ValueError` about the value; both name the parameter.
"""

from numbers import Integral, Real

import numpy as np

from bnlab import words


def whole_number(name, value, *, least=None, what="a whole number"):
    """Check for a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; expected {what}")
    if least is not None and value < least:
        raise ValueError(f"{name} is {value}; expected {least} or more")
    return int(value)


def number(name, value):
    """Check for a real number that is no boolean."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; expected a number")
    return value


def momentum(value):
    """Check for a momentum, the weight of the old value."""
    if not 0 <= number("momentum", value) <= 1:
        raise ValueError(f"momentum is {value}; expected 0 to 1, the weight of the old value")
    return value


def epsilon(value):
    """Check for an epsilon; its sum with a variance is the business of `root`."""
    if not 0 <= number("epsilon", value) < np.inf:  # false for NaN too
        raise ValueError(f"epsilon is {value}; expected a finite number, 0 or more")
    return value


def flag(name, value):
    """Check for True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; expected True or False")
    return bool(value)


def real(name, value, *, booleans=True):
    """Return value as an array of real numbers; booleans count as 0 and 1, or are refused."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} has rows of different lengths; expected an array") from None
    if array.dtype.kind not in ("fiub" if booleans else "fiu"):
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers")
    return array


def finite(name, value, *, axes=None):
    """Return value as an array of finite numbers, booleans apart; with `axes`, of so many and not empty."""
    array = real(name, value, booleans=False)
    if axes is not None and (array.ndim != axes or array.size == 0):
        raise ValueError(f"{name} has shape {array.shape}; expected {axes} axes and at least one value")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    return array


def per_feature(name, value, features, *, whose="feature of x"):
    """Return value as an array of shape (features,)."""
    array = real(name, value)
    if array.shape != (features,):
        expected = f"({features},), one value for each {whose}"
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    return array


def none_negative(name, array):
    """Check that no feature of an array is negative; NaN is let through."""
    negative = np.asarray(array) < 0
    if negative.any():
        raise ValueError(f"{name} is negative in feature {words.features(negative)}; expected 0 or more")
    return array


def root(variance, eps, *, name="variance", dtype=None):
    """Return sqrt(variance + epsilon), at least in float64, if it is above 0 in every feature.

    A sum that is 0 in `dtype`, in which it will be divided by, counts as 0.
    """
    epsilon(eps)
    none_negative(name, variance)
    under_root = variance.astype(np.promote_types(variance.dtype, np.float64)) + eps
    zero = under_root.astype(dtype or under_root.dtype) == 0
    if zero.any():
        raise ValueError(
            f"epsilon is {eps} and {name} is 0 in feature {words.features(zero)}; expected their sum above 0"
        )
    return np.sqrt(under_root)
