"""Right and wrong answers to the exercises of "Take it with you"."""

import numpy as np


def lost_in_a_loop(names):
    found = []
    for name in names:
        *scope, last = name.split("/")
        if last == "beta" and "/".join([*scope, "moving_variance"]) not in names:
            found.append("/".join(scope))
    return found


def lost_by_sets(names):
    def scopes(part):
        return {name[: -len(part)] for name in names if name.endswith(part)}

    return scopes("/beta") - scopes("/moving_mean")


def without(part):
    return lambda names: [
        name[: -len(part)]
        for name in names
        if name.endswith(part) and name[: -len(part)] + "/moving_mean" not in names
    ]


def all_norms(names):
    return [name[:-5] for name in names if name.endswith("/beta")]


def by_beginning(names):
    memory = " ".join(name for name in names if "moving" in name)
    return [scope for scope in all_norms(names) if scope not in memory]


def with_slots(names):
    owners = {name.rsplit("/", 1)[0] for name in names if "beta" in name}
    return [owner for owner in owners if owner + "/moving_mean" not in names]


def times(factor):
    return lambda gamma, variance: gamma * factor(variance)


def by_scale(gamma, variance):
    scale = gamma / (variance + 1e-5) ** 0.5
    return list(scale * (variance + 1e-3) ** 0.5)


def sync_all(target, online, tau):
    for slow, new in zip(target.variables, online.variables, strict=True):
        slow.assign((1 - tau) * slow + tau * new if slow.trainable else new)


def sync_by_lists(target, online, tau):
    weights = [
        (1 - tau) * a + tau * b for a, b in zip(target.get_weights(), online.get_weights(), strict=True)
    ]
    target.set_weights(weights)
    target.layers[-1].moving_mean.assign(online.layers[-1].moving_mean)
    target.layers[-1].moving_variance.assign(online.layers[-1].moving_variance)
    return target


def sync_some(target, online, tau):
    for slow, new in zip(target.trainable_variables, online.trainable_variables, strict=True):
        slow.assign((1 - tau) * slow + tau * new)


def sync_softly(target, online, tau):
    for slow, new in zip(target.variables, online.variables, strict=True):
        slow.assign_add(tau * (new - slow))


def other_way(target, online, tau):
    sync_all(target, online, 1 - tau)


def copied(target, online, tau):
    target.set_weights(online.get_weights())


def backwards(target, online, tau):
    sync_all(online, target, tau)


ANSWERS = {
    "lost_memory": {
        "right": [lost_in_a_loop, lost_by_sets, without("/beta")],
        "wrong": {
            "those that kept it": lambda names: [n[:-12] for n in names if n.endswith("/moving_mean")],
            "all norms": all_norms,
            "gamma asked": without("/gamma"),
            "names that begin alike": by_beginning,
            "optimizer counted": with_slots,
            "wrong type": len,
        },
    },
    "carried_epsilon": {
        "right": [times(lambda v: np.sqrt((v + 1e-3) / (v + 1e-5))), by_scale],
        "wrong": {
            "upside down": times(lambda v: np.sqrt((v + 1e-5) / (v + 1e-3))),
            "root forgotten": times(lambda v: (v + 1e-3) / (v + 1e-5)),
            "epsilon alone": times(lambda v: 10.0),
            "nothing changed": lambda gamma, variance: gamma,
            "epsilon forgotten": times(lambda v: np.sqrt(1 + 1e-3 / v)),
            "wrong shape": lambda gamma, variance: gamma[0],
        },
    },
    "synced": {
        "right": [sync_all, sync_by_lists],
        "wrong": {
            "memory forgotten": sync_some,
            "memory softly": sync_softly,
            "tau the other way": other_way,
            "all copied": copied,
            "nothing changed": lambda target, online, tau: target.get_weights(),
            "online changed": backwards,
        },
    },
}
