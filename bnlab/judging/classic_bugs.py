"""The bugs that nearly everybody writes once, as habits of a few small functions.

Without habits these functions are right. `forward(ddof=1)` is a forward pass that divides by one example too
few. `BUGS` has the habits behind each name, which `mutants` applies to the function of an exercise; `HINTS`
has what is usually said of it.
"""

import numpy as np


def _itself(value):
    return value


def _root(variance, epsilon):
    return np.sqrt(variance + epsilon)


def scale(*, gamma=_itself, divisor=_root):
    """Return a function of (gamma, variance, epsilon): gamma / sqrt(variance + epsilon)."""
    return lambda given, variance, epsilon=1e-3: gamma(given) / divisor(variance, epsilon)


def forward(*, axis=0, ddof=0, beta=_itself, **habits):
    """Return a function of (x, gamma, beta): the output of training mode, with epsilon 0.001.

    x and the output have shape (examples, features), gamma and beta (features,).
    """

    def output(x, gamma, given):
        variance = x.var(axis=axis, ddof=ddof, keepdims=True)
        centred = x - x.mean(axis=axis, keepdims=True)
        return centred * scale(**habits)(gamma, variance) + beta(given)

    return output


def spread(*, axis=0, ddof=0, power=1.0):
    """Return a function of x: the variance of each feature."""
    return lambda x: x.var(axis=axis, ddof=ddof) ** power


def update(*, momentum=_itself):
    """Return a function of (moving, batch, momentum): the moving statistic after the batch."""
    return lambda moving, batch, given: momentum(given) * moving + (1 - momentum(given)) * batch


_SWAPPED = {"momentum": lambda momentum: 1 - momentum}
BUGS = {
    "Bessel": {"ddof": 1},
    "beta forgotten": {"beta": lambda _: 0.0},
    "divided by the variance": {"divisor": lambda variance, epsilon: variance + epsilon},
    "epsilon forgotten": {"divisor": lambda variance, _: np.sqrt(variance)},
    "epsilon outside the root": {"divisor": lambda variance, epsilon: np.sqrt(variance) + epsilon},
    "gamma forgotten": {"gamma": lambda _: 1.0},
    "momentum of the new value": _SWAPPED,
    "momentum of the old value": _SWAPPED,
    "standard deviation": {"power": 0.5},
    "wrong axis": {"axis": 1},
}
HINTS = {
    "Bessel": "a batch is normalized with its own mean square; by what is the sum divided?",
    "beta forgotten": "do the outputs have the mean that was learned?",
    "divided by the variance": "the outputs should have a spread of about 1",
    "epsilon forgotten": "what keeps the root away from 0?",
    "epsilon outside the root": "to what is epsilon added?",
    "gamma forgotten": "what multiplies every output?",
    "momentum of the new value": "momentum is the weight of one of two values here; of which?",
    "momentum of the old value": "that is Keras's momentum; whom does PyTorch's weigh?",
    "standard deviation": "the variance is asked for, not its root",
    "wrong axis": "over what does the mean run: over examples or features?",
}


def mutants(make, *names):
    """Return name -> function with that bug, for a make(**habits) that is right without habits."""
    return {name: make(**BUGS[name]) for name in names}


def with_hints(functions, hints):
    """Return name -> (function, hint), as `bnlab.judging.judge` takes it; classic bugs have a usual hint."""
    return {name: (function, (HINTS | hints)[name]) for name, function in functions.items()}
