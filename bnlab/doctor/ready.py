"""Says which layers will not be ready at the end of a training, from their momentum and its steps."""

import math

from bnlab import words
from bnlab.doctor.fit import LIMITS
from bnlab.moving_average import half_life, initial_share

_LEFT = 0.05  # of the start, where the advice is followed


def unfit(case):
    """Say whether the statistics do not fit, or nobody has measured them."""
    return case.stale or case.untouched


def late(cases, steps):
    """Return a clause a reason, for the layers that keep too much of what they remember over the steps.

    kept = momentum^(steps * calls of the layer a step)
    """
    reasons = {}
    for case in cases:
        norm, calls = case.norm, max(map(len, case.views.values()))
        reason = _kept(norm.momentum, steps, calls) if norm.trainable else _FROZEN
        if reason:
            reasons.setdefault(reason, []).append(norm.name)
    return [f"{words.names(names)}: {reason}" for reason, names in reasons.items()]


_FROZEN = "frozen with statistics that do not fit, so no step moves them (recalibrate first)"


def _kept(momentum, steps, calls):
    """Return what is kept and what would keep less; "" if it is little enough."""
    share = initial_share(momentum, steps * calls)
    if share <= LIMITS["share"]:
        return ""
    many = f"{steps} step{'s' * (steps != 1)}"
    return (
        f"momentum {momentum:g} keeps {words.fixed(share, 2)} of the start over {many} "
        f"({_advice(momentum, steps * calls, calls)} would keep {_LEFT})"
    )


def _advice(momentum, updates, calls):
    """Return the momentum and the number of steps that keep little."""
    told = []
    new = 1 - _LEFT ** (1 / max(1, updates))  # the weight of a batch, rounded up to two digits
    digits = 1 - math.floor(math.log10(new))
    fitting = 1 - math.ceil(new * 10**digits) / 10**digits
    if fitting >= 0.5:  # less is the momentum of another library
        told.append(f"momentum {round(fitting, digits)}")
    if momentum < 1:
        told.append(f"{math.ceil(half_life(momentum) * math.log2(1 / _LEFT) / calls)} steps")
    return " or ".join(told)
