"""Reads a v1 graph and says which collected update operations a train step really runs.

A v1 batch-norm layer does not update its moving statistics by itself. It puts the updates into the
collection `tf.compat.v1.GraphKeys.UPDATE_OPS`, and `session.run` executes what its fetches depend on,
no more. So the question has an answer before any training: is the update among the things that
`train_op` depends on? `audit` walks the graph and sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent

import tensorflow as tf

from bnlab import words
from bnlab.update_ops import verdicts
from bnlab.update_ops.step import Step


@dataclass(frozen=True)
class UpdateAudit:
    """What `audit` found. All names are operation names, in collection order, without duplicates.

    Attributes:
        collected: the operations in the collection.
        run: those of them that `session.run(train_op)` executes if it is fed all that they need.
        forgotten: the others.
        variables: what each of `collected` writes to, such as "bn/moving_mean"; "?" if it is unclear.
        unfed: the placeholders that a session must be fed for the updates that train_op runs, collected or
            not, and for nothing else in train_op.
        verdict: one sentence, what will go wrong.
        mend: the lines of code that mend it, or "".

    `str()` is a table, the verdict and the lines.
    """

    collected: tuple[str, ...]
    run: tuple[str, ...]
    forgotten: tuple[str, ...]
    variables: tuple[str, ...]
    unfed: tuple[str, ...]
    verdict: str
    mend: str = ""

    def __str__(self):
        """Return the table, the verdict and the lines that mend it."""
        runs = ("yes" if name in self.run else "no" for name in self.collected)
        rows = zip(self.collected, self.variables, runs, strict=True)
        table = words.table([("update operation", "variable", "runs"), *rows])
        parts = [table] * bool(self.collected) + [words.wrapped(self.verdict)]
        if self.mend:
            parts.append(indent(self.mend, "    "))
        return "\n\n".join(parts)


def audit(train_op, *, graph=None):
    """Say which of the collected update operations `session.run(train_op)` executes, without running it.

    The data and control inputs of train_op are followed to the end. An update runs if it is among them.
    An update inside a `tf.cond` counts as run if the `tf.cond` is; it writes only where `training` is fed
    True, and the verdict says so. An update in the body of a loop or branch runs if what comes out of it does
    and needs it; nothing outside may depend on it, and the verdict names one that is tied from there.

    A session must be fed every placeholder without a default that train_op depends on. What the step needs
    without the updates is taken as fed; what they alone need is in `unfed`.

    Args:
        train_op: an operation, a tensor, a variable's assignment or the name of one; or a list, tuple
            or dict of them, as `session.run` takes it, such as `[train_op, update_ops]`.
        graph: where the collection is read, a `tf.Graph`; that of train_op if None.

    Returns:
        UpdateAudit; print it.

    Raises:
        TypeError: train_op is eager, None, a Keras model or something else that no session can run;
            graph is not a graph.
        ValueError: train_op is empty, names nothing, or its parts are in different graphs.

    Source: the pruning of `tf.compat.v1.Session.run`; the note on `training` in the documentation of
    `tf.compat.v1.layers.batch_normalization`.
    """
    if graph is not None and not isinstance(graph, tf.Graph):
        raise TypeError(f"graph is {_shown(graph)}; expected a tf.Graph or None")
    fetches = list(_operations(train_op, graph))
    step = Step(fetches, _only_graph(fetches))
    updates = step.collected(step.graph if graph is None else graph)
    others = [] if updates else step.uncollected()
    verdict, mend = verdicts.judged(updates, step.graph) if updates else verdicts.judged_empty(step, others)
    needed = [name for update in updates + others if update.runs for name in update.unfed]
    return UpdateAudit(
        collected=tuple(update.op.name for update in updates),
        run=tuple(update.op.name for update in updates if update.runs),
        forgotten=tuple(update.op.name for update in updates if not update.runs),
        variables=tuple(", ".join(update.variables) or "?" for update in updates),
        unfed=tuple(dict.fromkeys(needed)),
        verdict=verdict,
        mend=mend,
    )


def _operations(train_op, graph):
    """Yield the operations of everything that a session would fetch for train_op."""
    if isinstance(train_op, (list, tuple, Mapping)):
        parts = train_op.values() if isinstance(train_op, Mapping) else train_op
        for part in parts:
            yield from _operations(part, graph)
    elif isinstance(train_op, str):
        yield _named_operation(train_op, graph or tf.compat.v1.get_default_graph())
    else:
        yield _operation(train_op)


def _operation(value):
    op = value if isinstance(value, tf.Operation) else getattr(value, "op", None)
    if not isinstance(op, tf.Operation):  # an eager tensor has no op, that of an eager variable is None
        raise TypeError(
            f"train_op is {_shown(value)}; expected an operation, a tensor or a variable's assignment "
            "of a v1 graph"
        )
    return op


def _named_operation(name, graph):
    try:
        element = graph.as_graph_element(name)
    except (KeyError, ValueError):
        raise ValueError(
            f"train_op is {name!r}, which names nothing in the graph; expected the name of an operation"
        ) from None
    return _operation(element)


def _only_graph(fetches):
    graphs = {id(op.graph): op.graph for op in fetches}
    if len(graphs) != 1:
        raise ValueError(
            f"train_op has operations of {len(graphs)} graphs; expected one, as a session runs one graph"
            if graphs
            else "train_op is empty; expected at least one operation"
        )
    return fetches[0].graph


def _shown(value):
    text = " ".join(repr(value).split())
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({type(value).__name__})"
