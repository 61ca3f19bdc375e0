"""What the audit takes, what it refuses, and what it prints."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from wiring import (
    UPDATE_OPS,
    collection,
    forgotten,
    layer,
    placeholder,
    tied,
)

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import keras
import tensorflow as tf

from bnlab.update_ops import audit

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:`tf.layers")
EAGER = tf.Variable(1.0)
EAGER_VALUES = [EAGER, EAGER + 1.0, EAGER.assign_sub(1.0), keras.Sequential()]


def test_an_update_collected_twice_is_listed_once():
    train_op = forgotten()
    before = audit(train_op).collected
    for op in collection():
        v1.add_to_collection(UPDATE_OPS, op)
    assert audit(train_op).collected == before


@pytest.mark.parametrize("use_resource", [True, False])
def test_assignments_tensors_and_names_are_train_ops(use_resource):
    with v1.variable_scope("scope", use_resource=use_resource):
        y = layer(placeholder())
        step = v1.get_variable("step", (), use_resource=use_resource)
    with tf.control_dependencies(collection()):
        assignment, without_value = step.assign_sub(1.0), step.assign(1.0, read_value=False)
    for train_op in (assignment, without_value, [assignment], assignment.op.name):
        assert len(audit(train_op).run) == 2
    v1.add_to_collection(UPDATE_OPS, assignment)
    assert audit([y, assignment]).variables[-1] == "scope/step"
    assert audit([y, y.name, step]).run == ()


def test_a_deep_graph_needs_no_recursion():
    y = layer(placeholder())
    for _ in range(3000):
        y = tf.identity(y)
    with tf.control_dependencies([*collection(), y]):
        assert len(audit(tf.no_op()).run) == 2


def test_nothing_is_added_to_the_graph(graph):
    train_op = tied()
    graph.finalize()
    assert len(audit(train_op).run) == 2


def test_the_text_is_a_table_and_a_verdict():
    text = str(audit(forgotten()))
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "update operation"
    assert lines[1].split() == [
        "batch_normalization/AssignMovingAvg/AssignSubVariableOp",
        "batch_normalization/moving_mean",
        "no",
    ]
    assert lines[2].split()[1:] == ["batch_normalization/moving_variance", "no"]
    assert text.endswith(
        "    with tf.control_dependencies(update_ops):\n        train_op = optimizer.minimize(loss)"
    )
    assert max(map(len, lines)) < 110


def test_the_result_cannot_be_changed():
    found = audit(forgotten())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.run = ()


@pytest.mark.parametrize(
    "train_op",
    [None, 3, np.ones(2), SimpleNamespace(op=3), *EAGER_VALUES, keras.Input((3,)), {"train": None}],
)
def test_what_no_session_runs_is_a_type_error(train_op):
    with pytest.raises(TypeError, match=r"^train_op is .*; expected an operation, .* of a v1 graph$"):
        audit(train_op)


@pytest.mark.parametrize("name", ["no/such/operation", "none:0", "none:0:0", "", "^none"])
def test_a_name_of_nothing_is_a_value_error(name):
    with pytest.raises(ValueError, match=r"^train_op is '.*', which names nothing in the graph; expected"):
        audit(name)


@pytest.mark.parametrize("nothing", [[], (), {}, {"train": []}])
def test_nothing_is_a_value_error(nothing):
    with pytest.raises(ValueError, match=r"^train_op is empty; expected at least one"):
        audit(nothing)


def test_two_graphs_are_a_value_error():
    here = tf.no_op()
    with tf.Graph().as_default(), pytest.raises(ValueError, match=r"^train_op has operations of 2 graphs"):
        audit([here, tf.no_op()])


@pytest.mark.parametrize("bad_graph", ["graph", 3, tf.Graph])
def test_a_bad_graph_is_a_type_error(bad_graph):
    with pytest.raises(TypeError, match=r"^graph is .*; expected a tf.Graph or None$"):
        audit(tf.no_op(), graph=bad_graph)
