"""Shows a checkup: as a table of text with advice, and as a table of HTML with a small picture a layer.

Pictures are inline SVG drawn in the text's own colour, so they are as readable in a dark theme. What they
show also stands beside them in words and numbers.
"""

from html import escape
from textwrap import indent, wrap

import numpy as np

# What is wrong, with a place for the layers' names, and the line that mends it.
_ADVICE = {
    "never updated": (
        "never updated: the moving statistics of {layers} are still the initial 0 and 1; the data differ. "
        "They move only in training mode, which a loop of your own must ask for:",
        "y = model(x, training=True)",
    ),
    "not converged": (
        "not converged: the moving statistics of {layers} differ from the data beyond sampling error. They "
        "had too few steps for the momentum, or other data came in. Measure them afresh:",
        "recalibrate(model, batches)",
    ),
    "not one domain": (
        "not converged: {layers}, called several times a pass on data that differ, cannot remember all of "
        "them in one set of statistics. Training uses those of each call: give each a layer of its own:",
        "a, b = BatchNormalization()(a), BatchNormalization()(b)",
    ),
    "not finite": (
        "not finite: there is NaN or infinity in the moving statistics of {layers}. One bad batch is enough, "
        "and no good one mends it. Keep such batches out, and measure afresh:",
        "recalibrate(model, batches)",
    ),
    "not finite weights": (
        "not finite: there is NaN or infinity in the weights of {layers} or in what comes in, so weights of "
        "the model are spoilt. Go back to those from before:",
        'model.load_weights("before.weights.h5")',
    ),
    "dead feature": (
        "dead feature: the data hardly vary (variance far below epsilon) in {layers}, so the output there is "
        "about beta for any input. If that is no constant input, look at the layer in front: a ReLU there "
        "can die, one behind batch norm hardly:",
        "x = ReLU()(BatchNormalization()(Dense(units)(x)))",
    ),
    "tiny batch": (
        "tiny batch: at batch_size {batch_size} there is one value a feature in {layers}, and training mode "
        "returns beta for it, whatever it is. Train with larger batches:",
        "model.fit(x, y, batch_size=32)",
    ),
    "torch momentum": (
        "torch momentum: in Keras momentum is the weight of the old value, and in PyTorch one minus that. "
        "The momentum of {layers} was probably copied from there:",
        "BatchNormalization(momentum={flipped:g})",
    ),
    "frozen but stale": (
        "frozen but stale: the moving statistics of {layers} do not fit these data, and trainable is False, "
        "so training will not move them. Measure them afresh (or set trainable to True before training):",
        "recalibrate(model, batches)",
    ),
    "wrong axis": (
        "wrong axis: axis 1 is normalized in {layers}, but the convolutions in the model have their channels "
        "last, so the rows of a picture are taken for its features:",
        "BatchNormalization(axis=-1)",
    ),
}
_HEADS = "layer", "features", "momentum", "epsilon", "trainable", "mean gap", "variance ratio", "problems"
_LEGEND = (
    "mean gap: how far moving means lie from those of the data, in standard deviations; variance ratio: "
    "moving over measured. Nine features of ten are as close or closer."
)


def text(checkup):
    """Return the table, what it means and the advice, as lines of at most 96 characters but for the table."""
    parts = [_table([_HEADS, *map(_cells, checkup.layers)]), _wrapped(_LEGEND), _wrapped(verdict(checkup))]
    for sentence, line in advice(checkup):
        parts.append(f"{_wrapped(sentence)}\n{indent(line, '    ')}")
    return "\n\n".join(parts)


def html(checkup):
    """Return the same as HTML, with a picture a layer."""
    heads = "".join(f'<th scope="col">{head}</th>' for head in (*_HEADS[:-1], "picture", _HEADS[-1]))
    rows = "".join(map(_row, checkup.layers))
    told = "".join(
        f"<p>{escape(sentence)}</p><pre><code>{escape(line)}</code></pre>"
        for sentence, line in advice(checkup)
    )
    return (
        f"<table><caption>{escape(verdict(checkup))}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table><p>{escape(_LEGEND)} {_PICTURE_LEGEND}</p>{told}"
    )


def verdict(checkup):
    """Return one or two sentences: how many are ill, and how far training mode and inference lie apart."""
    count = len(checkup.layers)
    ill = sum(bool(layer.problems or layer.hint) for layer in checkup.layers)
    found = f"{ill} of {count} batch-norm layers ill" if ill else f"All batch-norm layers healthy ({count})"
    apart = checkup.disagreement
    told = f"{_number(apart)} of their standard deviation apart" if np.isfinite(apart) else "not finite"
    aside = f" Not called on these inputs: {_names(checkup.not_called)}." if checkup.not_called else ""
    return (
        f"{found}, on {checkup.examples} examples in batches of {checkup.batch_size}. The outputs in "
        f"training mode and in inference are {told}.{aside}"
    )


def advice(checkup):
    """Return (sentence, line of code) for each kind of problem, in the order of `_ADVICE`."""
    told = []
    for kind, (sentence, line) in _ADVICE.items():
        layers = [layer for layer in checkup.layers if kind in layer.causes]
        if layers:
            names = _names([_with_features(layer, kind) for layer in layers])
            sentence = sentence.format(layers=names, batch_size=checkup.batch_size)
            told.append((sentence, line.format(flipped=1 - layers[0].momentum)))
    return told


def _with_features(layer, kind):
    if kind != "dead feature":
        return layer.name
    return f"feature {_names([str(feature) for feature in layer.dead])} of {layer.name}"


def _names(names):
    """List the first four names."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _cells(layer):
    words = ", ".join([*layer.problems, *([layer.hint] if layer.hint else [])]) or "-"
    return (
        layer.name,
        str(layer.features),
        f"{layer.momentum:g}",
        f"{layer.epsilon:g}",
        "yes" if layer.trainable else "no",
        _number(layer.mean_gap),
        _number(layer.variance_ratio),
        words,
    )


def _number(value):
    """Return two decimals; an order of magnitude where they say nothing."""
    if not np.isfinite(value):
        return "not finite"
    return f"{value:.2f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.0e}"


def _table(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _wrapped(sentence):
    return "\n".join(wrap(sentence, 96, break_long_words=False, break_on_hyphens=False))


# ---- the picture of a layer ------------------------------------------------------------------

_WIDTH, _HEIGHT, _MOST, _REACH = 150, 54, 24, 3.0
_PICTURE_LEGEND = (
    f"In a picture the band is the data, from one standard deviation below their mean to one above; each "
    f"bar is a feature as the layer remembers it, with a dot at the moving mean ({_MOST} of them at most, "
    "in the order of their means). Bars should fill the band; a triangle marks one that goes on outside."
)


def _row(layer):
    name, *cells, words = map(escape, _cells(layer))
    data = "".join(f"<td>{cell}</td>" for cell in (*cells, picture(layer), words))
    return f'<tr><th scope="row">{name}</th>{data}</tr>'


def picture(layer):
    """Return an SVG of the moving statistics in units of the measured ones, with a text alternative."""
    words = escape(_alternative(layer), quote=True)
    band = _y(1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{words}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{words}</title>'
        f'<rect x="0" y="{band:.1f}" width="{_WIDTH}" height="{_y(-1) - band:.1f}" fill="currentColor" '
        f'fill-opacity="0.18"/><line x1="0" x2="{_WIDTH}" y1="{_y(0):.1f}" y2="{_y(0):.1f}" '
        f'stroke="currentColor" stroke-width="0.5" stroke-dasharray="2 2"/>{_bars(layer)}</svg>'
    )


def _alternative(layer):
    if not layer.gaps.size:
        return f"{layer.name}: nothing finite to compare."
    return (
        f"{layer.name}, {layer.features} features: moving means lie {layer.gaps.min():+.2f} to "
        f"{layer.gaps.max():+.2f} standard deviations from those of the data; moving variances are "
        f"{_number(layer.ratios.min())} to {_number(layer.ratios.max())} times the measured ones."
    )


def _bars(layer):
    order = np.argsort(layer.gaps, kind="stable")
    places = np.linspace(0, len(order) - 1, min(_MOST, len(order))).astype(int)
    shown = order[places] if len(order) else order
    step = _WIDTH / (len(shown) + 1)
    return "".join(
        _bar(step * (place + 1), layer.gaps[feature], np.sqrt(layer.ratios[feature]))
        for place, feature in enumerate(shown)
    )


def _bar(x, center, half):
    low, high = (float(np.clip(end, -_REACH, _REACH)) for end in (center - half, center + half))
    line = (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(high):.1f}" y2="{_y(low):.1f}" stroke="currentColor" '
        'stroke-width="1.5"/>'
    )
    dot = f'<circle cx="{x:.1f}" cy="{_y(center):.1f}" r="2" fill="currentColor"/>'
    return line + (dot if abs(center) <= _REACH else "") + _triangles(x, center - half, center + half)


def _triangles(x, low, high):
    """Mark the ends of a bar that are cut off."""
    shapes = ((high > _REACH, 0, 4), (low < -_REACH, _HEIGHT, _HEIGHT - 4))
    return "".join(
        f'<path d="M{x - 3:.1f} {base} L{x + 3:.1f} {base} L{x:.1f} {tip} Z" fill="currentColor"/>'
        for cut, tip, base in shapes
        if cut
    )


def _y(value):
    """Return the height of a number of standard deviations in the picture, in pixels from above."""
    return _HEIGHT / 2 - value / _REACH * (_HEIGHT / 2 - 2)
