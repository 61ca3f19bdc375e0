"""What a train step runs, what it trains and what it has to be fed, update by update."""

from dataclasses import dataclass

import tensorflow as tf

from bnlab.update_ops import graph as graphs


@dataclass(frozen=True)
class Update:
    """An update of moving statistics, as a train step sees it.

    Attributes:
        op, variables: the operation, and the names of what it writes to.
        name: what the collection calls it.
        runs: does the step run it?
        trained: does the step train the layer?
        unfed: the placeholders that it needs and the rest of the step does not.
        astray: the body of the loop or branch that it stands in, if nothing in there depends on it or
            something outside does; None if all is well.
    """

    op: tf.Operation
    variables: tuple[str, ...]
    name: str
    runs: bool
    trained: bool
    unfed: tuple[str, ...]
    astray: object


class Step:
    """A train step: the operations that are fetched, and what they depend on."""

    def __init__(self, fetches, graph):
        self.fetches = fetches
        self.graph = graph
        self.reached = graphs.reached(fetches)
        operations = self.graph.get_operations()
        names = [op.name for op in operations if op.type in graphs.VARIABLES]
        self.learned = [name for name in names if not graphs.MOVING.search(name)]
        self.moving = [name for name in names if graphs.MOVING.search(name)]
        written = {graphs.writes(op) for op in operations if op.name in self.reached}
        self.trained = written.intersection(self.learned)

    def collected(self, graph):
        """Return the updates in the collection of a graph."""
        items = graphs.collection(graph)
        spare = self._spare(items)
        return [
            Update(
                op=op,
                variables=graphs.targets(op),
                name=name,
                runs=graphs.runs(op, self.graph, self.reached),
                trained=self._trains(graphs.targets(op)),
                unfed=self._needed(op, spare),
                astray=self._astray(op),
            )
            for op, name in items.items()
        ]

    def uncollected(self):
        """Return the updates that the step's graph has, collected or not."""
        complete = graphs.uncollected(self.graph)
        moved = {op: tuple(filter(graphs.MOVING.search, graphs.targets(op))) for op in complete}
        # What moves a mean and a variance is the loop or branch around a layer, and not only an update.
        spare = self._spare(op for op in complete if len(moved[op]) == 1)
        return [
            Update(
                op=op,
                variables=moved[op],
                name=op.name,
                runs=complete[op] and op.name in self.reached,
                trained=self._trains(moved[op]),
                unfed=self._needed(op, spare),
                astray=None if complete[op] else op,
            )
            for op in complete
        ]

    def _spare(self, updates):
        """Return the placeholders that the step does not need but for these updates."""
        around = {op.name for op in updates if op.graph is self.graph}
        rest = graphs.reached(self.fetches, around=around)
        operations = self.graph.get_operations()
        if all(op.type == "NoOp" for op in operations if op.name in rest):
            return set()  # the updates are all that there is to it
        return {op.name for op in operations if op.type == "Placeholder"} - rest

    def _needed(self, op, spare):
        if not spare:
            return ()
        names = graphs.reached(graphs.in_home(op, self.graph)) & spare
        return tuple(other.name for other in self.graph.get_operations() if other.name in names)

    def _astray(self, op):
        body = graphs.body_of(op, self.graph)
        if op.graph is self.graph:
            held = body and graphs.held_from_outside(op, self.fetches, self.reached)
            return body if held or op.name not in self.reached else None
        inside = graphs.in_home(op, self.graph)
        return body if inside and not graphs.runs(op, self.graph, self.reached) else None

    def _trains(self, variables):
        """Say whether the layer of these variables is trained; a step trains one of the networks of a GAN.

        The layer's own gamma and beta tell. A layer without them is judged by the scope around it.
        """
        scope = "".join(variables[:1])
        while scope and self.trained:
            scope = scope.rpartition("/")[0]
            inside = {name for name in self.learned if name.startswith(scope + "/" if scope else "")}
            if inside:
                return bool(inside & self.trained)
        return True
