"""The exponential moving average by itself: how a layer remembers what its batches looked like.

    moving = momentum * moving + (1 - momentum) * batch

`momentum` is the weight of the old value, as in Keras; TensorFlow's `decay` is the same number, and
PyTorch's `momentum` is one minus it.
"""

import numpy as np

from bnlab import checks


def update(moving, batch, *, momentum):
    """Return momentum * moving + (1 - momentum) * batch.

    Args:
        moving, batch: numbers or arrays of one shape, in the same units.
        momentum: weight of the old value, dimensionless, in [0, 1].

    Returns:
        The new moving average; the arguments are not changed.

    Raises:
        TypeError, ValueError: momentum is no number in [0, 1]; the shapes differ or are not real numbers.

    Source: `keras.layers.BatchNormalization`; `tf.train.ExponentialMovingAverage`.
    """
    checks.momentum(momentum)
    old, new = checks.real("moving", moving), checks.real("batch", batch)
    if old.shape != new.shape:
        raise ValueError(f"batch has shape {new.shape}; expected {old.shape}, the shape of moving")
    return momentum * old + (1 - momentum) * new


def trace(values, *, momentum, initial=0.0, debias=False):
    """Return the moving average after each value.

    Args:
        values: one value a step, shape (steps,) or (steps, features).
        momentum: weight of the old value, dimensionless, in [0, 1].
        initial: the average before the first value; a number or an array of shape (features,).
        debias: take the initial value's share out and rescale, (average - m^t initial) / (1 - m^t). It
            then does not matter where the average started.

    Returns:
        An array of the shape of values, float64, in their units; row t is the average after t + 1 values.

    Raises:
        TypeError, ValueError: momentum outside [0, 1], or 1 with debias (nothing would be left to rescale);
            values without a step axis; initial of a shape that does not fit.

    Source: `keras.layers.BatchNormalization`; debias is `zero_debias_moving_mean` of `tf.contrib`, and the
    bias correction of Kingma & Ba (2015), section 3.
    """
    checks.momentum(momentum)
    values = checks.real("values", values).astype(np.float64)
    if values.ndim < 1:
        raise ValueError(f"values has shape {values.shape}; expected one value a step, such as (steps,)")
    initial = checks.real("initial", initial).astype(np.float64)
    if initial.shape not in ((), values.shape[1:]):
        raise ValueError(f"initial has shape {initial.shape}; expected () or {values.shape[1:]}")
    if debias and momentum == 1:
        raise ValueError("momentum is 1; expected less with debias, which divides by 1 - momentum**steps")
    averages, moving = np.empty_like(values), np.broadcast_to(initial, values.shape[1:])
    for step, value in enumerate(values):
        moving = update(moving, value, momentum=momentum)
        share = initial_share(momentum, step + 1) if debias else 0.0
        averages[step] = (moving - share * initial) / (1 - share)
    return averages


def weights(momentum, steps):
    """Return the weight of each of the last `steps` values in the average, oldest first.

        weight of the value k steps back = (1 - momentum) * momentum^k

    They add up to 1 - momentum^steps; the rest is `initial_share`.

    Args:
        momentum: weight of the old value, dimensionless, in [0, 1].
        steps: how many values were seen, 0 or more.

    Returns:
        Array of shape (steps,), float64, dimensionless.

    Raises:
        TypeError, ValueError: momentum outside [0, 1]; steps not a whole number or negative.

    Source: the update written out step by step.
    """
    checks.momentum(momentum)
    steps = checks.whole_number("steps", steps, least=0)
    return (1 - momentum) * np.power(float(momentum), np.arange(steps - 1, -1, -1))


def half_life(momentum):
    """Return the number of steps after which half of an old value is forgotten: ln(1/2) / ln(momentum).

    Args:
        momentum: weight of the old value, dimensionless, in [0, 1].

    Returns:
        Steps, a float: 0 for momentum 0 (forgotten at once), infinity for momentum 1 (never).

    Raises:
        TypeError, ValueError: momentum is no number in [0, 1].

    Source: momentum^steps = 1/2, solved for the steps.
    """
    checks.momentum(momentum)
    if momentum == 0:
        return 0.0
    return float("inf") if momentum == 1 else float(np.log(0.5) / np.log(momentum))


def initial_share(momentum, steps):
    """Return how much of the initial value is left in the average after `steps` updates: momentum^steps.

    Args:
        momentum: weight of the old value, dimensionless, in [0, 1].
        steps: 0 or more, a number or an array of them.

    Returns:
        A share between 0 and 1, dimensionless, of the shape of steps.

    Raises:
        TypeError, ValueError: momentum outside [0, 1]; steps negative or not a number.

    Source: the update written out step by step.
    """
    checks.momentum(momentum)
    steps = checks.real("steps", steps)
    if not (steps >= 0).all():
        raise ValueError(f"steps is {steps.min()}; expected 0 or more")
    share = np.power(float(momentum), steps)
    return share if share.ndim else float(share)


def from_pytorch(momentum):
    """Return Keras's momentum for PyTorch's: one minus it.

    Args:
        momentum: PyTorch's, the weight of the new value, dimensionless, in [0, 1].

    Returns:
        The weight of the old value, dimensionless.

    Raises:
        TypeError, ValueError: momentum is no number in [0, 1]. PyTorch's None, a plain average over all
            batches, has no counterpart.

    Source: `torch.nn.BatchNorm1d`.
    """
    checks.momentum(momentum)
    return 1 - momentum
