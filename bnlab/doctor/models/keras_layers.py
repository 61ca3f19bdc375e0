"""What is the same for layers of Keras 3 and of tf_keras.

How they are named, what they start from, and which of them come to the `call` in which moments are taken.
"""


def names(model, layers, inside):
    """Return {layer: name}, with the names around it, as in "encoder/bn", where two share one.

    inside(layer) are those directly in a layer.
    """
    paths, ahead = {}, [(model, "")]
    while ahead:
        outer, prefix = ahead.pop()
        for layer in inside(outer):
            if layer not in paths:
                paths[layer] = prefix + layer.name
                ahead.append((layer, f"{paths[layer]}/"))
    plain = [layer.name for layer in layers]
    return {one: one.name if plain.count(one.name) == 1 else paths[one] for one in layers}


def initial(layer):
    """Return the moving mean and variance from before any step; the usual ones if they are drawn."""
    return (
        _constant(layer.moving_mean_initializer, 0.0),
        _constant(layer.moving_variance_initializer, 1.0),
    )


def _constant(initializer, usual):
    known = {"Zeros": 0.0, "Ones": 1.0, "Constant": getattr(initializer, "value", usual)}
    return known.get(type(initializer).__name__, usual)


class Notes:
    """What the batch-norm layers of a model note while it is called, or the part of it that is the same.

    Attributes:
        kind: the class of the library, in whose `call` the moments are taken.
        layers: those that note; all others are left alone.
        lend: whether a layer is to normalize with what it noted.
        entered, reached: the layers whose own `call` was made, and those that came to that of the library.
    """

    kind = None

    def __init__(self, layers, *, lend):
        self.layers, self.lend = set(layers), lend
        self.entered, self.reached = set(), set()

    def replacements(self):
        """Return what to replace: the `call` in which moments are taken, and those in front of it."""
        kinds = {kind for layer in self.layers for kind in type(layer).__mro__} - {self.kind}
        own = [kind for kind in kinds if issubclass(kind, self.kind) and "call" in vars(kind)]
        return {(kind, "call"): self._enter for kind in own} | {(self.kind, "call"): self._note}

    def _enter(self, call, layer, *arguments, **options):
        self.entered.add(layer)
        return call(layer, *arguments, **options)


def made_by_tensorflow(function):
    """Say whether TensorFlow made a `tf.function` for itself, such as in `tf.vectorized_map`."""
    return getattr(function.python_function, "__module__", "").startswith("tensorflow.")
