import pytest

import bnlab.tensorflow_setup  # noqa: F401

# isort: split
import tensorflow as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=[True, False], ids=["today", "old-style"])
def control_flow(request):
    """Build tf.cond and tf.while_loop in both ways that a v1 graph may have them."""
    v1 = tf.compat.v1
    was_today = v1.control_flow_v2_enabled()
    (v1.enable_control_flow_v2 if request.param else v1.disable_control_flow_v2)()
    yield request.param
    (v1.enable_control_flow_v2 if was_today else v1.disable_control_flow_v2)()
