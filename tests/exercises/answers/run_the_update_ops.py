"""Right and wrong answers to the exercises of the fourth notebook."""

import tensorflow as tf

import bnlab.tensorflow_setup  # noqa: F401, the v1 layers

v1 = tf.compat.v1
UPDATE_OPS = v1.GraphKeys.UPDATE_OPS


def placeholder():
    return v1.placeholder(tf.float32, (None, 3))


def layer(x=None, **more):
    return v1.layers.batch_normalization(placeholder() if x is None else x, **{"training": True} | more)


def updates(**scope):
    return v1.get_collection(UPDATE_OPS, **scope)


def minimize(y):
    return v1.train.AdamOptimizer().minimize(tf.reduce_mean(y**2))


def tied():
    y = layer()
    with tf.control_dependencies(updates()):
        return minimize(y)


def fetched():
    step = minimize(layer(layer(training=v1.placeholder(tf.bool, ()))))
    return [step, updates()]


def grouped():
    return tf.group(minimize(layer()), *updates())


def inference():
    y = layer(training=False)
    with tf.control_dependencies(updates()):
        return minimize(y)


def updates_alone():
    layer()
    return tf.group(*updates())


def one_update():
    y = layer()
    with tf.control_dependencies(updates()[:1]):
        return minimize(y)


def tied_to_loss():
    loss = tf.reduce_mean(layer() ** 2)
    with tf.control_dependencies(updates()):
        loss = tf.identity(loss)
    return v1.train.GradientDescentOptimizer(0.1).minimize(loss)


def too_early():
    found = updates()
    y = layer()
    with tf.control_dependencies(found):
        return minimize(y)


def unused():
    y = layer()
    found = updates()
    assert found
    return minimize(y)


def forgotten():
    return minimize(layer())


def gan(scope="front"):
    with v1.variable_scope("front"):
        made = layer()
    with v1.variable_scope("behind"):
        score = layer(made)
    found = updates(scope=scope)
    with tf.control_dependencies(found):
        return minimize(score)


def by_name():
    y = layer(layer(layer(layer(), name="a"), name="b"), name="c")
    found = [op for op in updates() if op.name.startswith(("a/", "b/"))]
    with tf.control_dependencies(found):
        return minimize(y)


def all_of_two():
    return gan(scope=None)


def crosswise():
    y = layer(layer(name="a"), name="b")
    found = updates()
    with tf.control_dependencies([found[0], found[2]]):
        return minimize(y)


def one_of_three():
    y = layer(layer(layer(name="a"), name="b"), name="c")
    with tf.control_dependencies(updates(scope="a/")):
        return minimize(y)


ANSWERS = {
    "mended_step": {
        "right": [tied, fetched, grouped],
        "wrong": {
            "nothing collected": inference,
            "no train step": updates_alone,
            "some forgotten": one_update,
            "tied to something else": tied_to_loss,
            "collected too early": too_early,
            "collected and not used": unused,
            "forgotten": forgotten,
            "no function": 7,
            "returned None": lambda: print(end=""),
        },
    },
    "where_to_tie": {
        "right": [[False, True, True, True], (0, 1, 1, 1)],
        "wrong": {
            "the loss too": [True] * 4,
            "the step alone": [False, False, False, True],
            "not the output": [False, False, True, True],
            "not the gradients": [False, True, False, True],
        },
    },
    "half_of_them": {
        "right": [gan, by_name],
        "wrong": {
            "nothing collected": inference,
            "no train step": updates_alone,
            "one layer": one_update,
            "all run": all_of_two,
            "half a layer": crosswise,
            "not half": one_of_three,
        },
    },
}
