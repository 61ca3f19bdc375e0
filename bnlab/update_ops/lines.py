"""The lines of code that mend a train step."""

import re

from bnlab import words

V1_LAYER = "y = tf.compat.v1.layers.batch_normalization(x, training=True)"
KERAS_CALL = "y = layer(x, training=True)"
KERAS_STEP = "train_op = tf.group(optimizer.minimize(loss), layer.get_updates_for(x))"
KERAS_GROUP = "train_op = tf.group(train_op, layer.updates)"
PLAIN_STEP = "train_op = optimizer.minimize(loss)"
PARTIAL_STEP = "train_op = optimizer.minimize(loss, var_list=variables)"
KERAS_INSIDE = (
    "# in the body or branch, on the y that the layer returns:\n"
    "with tf.control_dependencies(layer.updates):\n"
    "    y = tf.identity(y)"
)
_COLLECTION = "tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS"


def step(wanted, updates, plain=PLAIN_STEP):
    """Return the lines of a train step with the wanted ones of the collected updates."""
    return _tied(wanted, updates, plain) if wanted else plain


def inside(wanted, updates, after):
    """Return the lines that tie the wanted updates in the body they stand in, and those after it."""
    within = _tied(wanted, updates, "y = tf.identity(y)")
    body = f"# in the body or branch, on the y that it returns:\n{within}\n# outside, after it:\n{after}"
    return body if within and after else ""


def _tied(wanted, updates, what):
    chosen = _chosen([update.name for update in wanted], [update.name for update in updates])
    return chosen and f"update_ops = {chosen}\nwith tf.control_dependencies(update_ops):\n    {what}"


def _chosen(wanted, names):
    """Return the expression for the wanted ones of what is in the collection, "" if names do not tell."""
    if len(wanted) == len(names):
        return f"{_COLLECTION})"
    for scope in _scopes(wanted[0]):
        if [name for name in names if re.match(scope, name)] == wanted:
            return f"{_COLLECTION}, scope={scope!r})"
    prefixes = _prefixes([name for name in names if name not in wanted], wanted)
    if not prefixes or len(set(names)) < len(names):
        return ""
    left_out = words.wrapped(repr(tuple(prefixes))).replace("\n", "\n        ")
    return f'[\n    op\n    for op in {_COLLECTION})\n    if not f"{{op.name}}/".startswith({left_out})\n]'


def _scopes(name):
    """Return the scopes around a name, as the collection takes them.

    It compares the beginning of the name, so that "critic" also finds "critic_1/...", a second use of the
    layers.
    """
    parts = name.split("/")
    stems = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    return [scope for stem in stems for scope in (stem, f"{stem}/")]


def _prefixes(left_out, wanted):
    """Return the widest scopes, or else the names, that hold what is left out and nothing that is wanted."""
    found = {}
    for name in left_out:
        around = [scope for scope in _scopes(name) if scope.endswith("/")] + [f"{name}/"]
        found |= dict.fromkeys(
            [scope for scope in around if not any(f"{other}/".startswith(scope) for other in wanted)][:1]
        )
    return list(found)
