"""What is the same for layers of Keras 3 and of tf_keras: how they are named, and what they start from."""


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
