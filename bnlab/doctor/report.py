"""Shows a checkup: as a table of text with advice, and as a table of HTML with a small picture a layer.

Pictures are inline SVG drawn in the text's own colour, so they are as readable in a dark theme. What they
show also stands beside them in words and numbers.
"""

from html import escape
from textwrap import indent

import numpy as np

from bnlab import words
from bnlab.doctor.illnesses import ILLNESSES

_HEADS = (
    "layer",
    "features",
    "momentum",
    "epsilon",
    "trainable",
    "mean gap",
    "variance ratio",
    "worst",
    "problems",
)
_LEGEND = (
    "mean gap: how far a moving mean lies from the mean of the data, in standard deviations (0 fits). "
    "variance ratio: moving variance over that of the data (1 fits). In both, nine features of ten are as "
    "close or closer. worst: the number of the feature that is furthest off, its gap and its ratio."
)
_APART = 0.7  # of a standard deviation: what healthy layers rarely reach together


def text(checkup):
    """Return the table, what it means and the advice, as lines of at most 96 characters but for the table."""
    table = words.table([_HEADS, *map(_cells, checkup.layers)])
    parts = [table, words.wrapped(_LEGEND), words.wrapped(verdict(checkup))]
    told = advice(checkup)
    parts += [f"{words.wrapped(sentence)}\n{indent(line, '    ')}" for sentence, line in told]
    if checkup.read_only and told:
        parts.append(words.wrapped(checkup.read_only))
    return "\n\n".join(parts)


def html(checkup):
    """Return the same as HTML, with a picture a layer."""
    heads = "".join(f'<th scope="col">{head}</th>' for head in (*_HEADS[:-1], "picture", _HEADS[-1]))
    rows = "".join(map(_row, checkup.layers))
    paragraph = "<p>{}</p><pre><code>{}</code></pre>"
    told = "".join(paragraph.format(*map(escape, pair)) for pair in advice(checkup))
    told += f"<p>{escape(checkup.read_only)}</p>" if checkup.read_only and told else ""
    return (
        f"<table><caption>{escape(verdict(checkup))}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table><p>{escape(_LEGEND)} {_PICTURE_LEGEND}</p>{told}"
    )


def verdict(checkup):
    """Return one or two sentences: how many are ill, and how far training mode and inference lie apart."""
    found = _found(checkup.layers)
    apart = words.ratio(checkup.disagreement)
    told = f"The outputs in training mode and in inference are {apart} of their standard deviation apart."
    if apart == "not finite":
        told = "In training mode or in inference the outputs are not finite."
    aside = f" Not called on these inputs: {words.names(checkup.not_called)}." if checkup.not_called else ""
    if checkup.by_themselves:
        aside += f" Not looked at, as their own call normalizes: {words.names(checkup.by_themselves)}."
    return (
        f"{found}, on {checkup.examples} examples in batches of {checkup.batch_size}. {told}"
        f"{_unexplained(checkup)}{aside}"
    )


def _found(layers):
    count, ill = len(layers), sum(bool(layer.problems) for layer in layers)
    open_ones = sum("cannot tell" in layer.remarks for layer in layers)
    if open_ones and not ill:
        return f"No batch-norm layer was found ill, but of {open_ones} of {count} this sample cannot tell"
    return counted(ill, count)


def counted(ill, count):
    """Return in words how many of the layers are ill."""
    if ill:
        return f"{ill} of {count} batch-norm layers {'are' if ill > 1 else 'is'} ill"
    return f"All batch-norm layers are healthy ({count})"


def _unexplained(checkup):
    """Return what to say of outputs that lie apart although no layer is ill."""
    if not (checkup.healthy and checkup.disagreement > _APART):
        return ""
    return (
        " No layer by itself explains that. Small batches do, as each has other moments: ask again with a "
        "larger batch_size. If it stays, many small gaps add up: recalibrate(model, batches) closes them."
    )


def advice(checkup):
    """Return (sentence, line of code) for each illness and remark, in the order of `ILLNESSES`."""
    told = []
    for illness in ILLNESSES:
        if layers := [layer for layer in checkup.layers if illness in layer.found]:
            names = words.names([_with_features(layer, illness) for layer in layers])
            places = {"layers": names, "batch_size": checkup.batch_size} | layers[0].found[illness]
            sentence = f"{illness.word}: {illness.sentence.format(**places)}"
            told.append((sentence, illness.line.format(**places)))
    return told


def _with_features(layer, illness):
    mask, noted = map(layer.found[illness].get, ("features", "noted"))
    name = f"{layer.name} ({noted})" if noted else layer.name
    return name if mask is None else f"feature {words.features(mask)} of {name}"


def _cells(layer):
    remarks = f"(remark: {', '.join(layer.remarks)})" if layer.remarks else ""
    return (
        layer.name,
        str(layer.features),
        "-" if np.isnan(layer.momentum) else f"{layer.momentum:g}",
        f"{layer.epsilon:g}",
        "yes" if layer.trainable else "no",
        words.ratio(layer.mean_gap),
        words.ratio(layer.variance_ratio),
        _worst(layer),
        " ".join(filter(None, [", ".join(layer.problems), remarks])) or "-",
    )


def _worst(layer):
    if layer.worst is None:
        return "-"
    gap, ratio = (words.ratio(float(values[layer.worst])) for values in (layer.gaps, layer.ratios))
    return f"{layer.worst}: {gap}, {ratio}"


_WIDTH, _HEIGHT, _MOST, _REACH = 150, 54, 24, 3.0
_PICTURE_LEGEND = (
    f"In a picture the band is the data, from one standard deviation below their mean to one above; each "
    f"bar is a feature as the layer remembers it, with a dot at the moving mean ({_MOST} of them at most, "
    "in the order of their means). Bars should fill the band; a triangle marks one that goes on outside."
)


def _row(layer):
    name, *cells, last = map(escape, _cells(layer))
    data = "".join(f"<td>{cell}</td>" for cell in (*cells, picture(layer), last))
    return f'<tr><th scope="row">{name}</th>{data}</tr>'


def picture(layer):
    """Return an SVG of the moving statistics in units of the measured ones, with a text alternative."""
    told = escape(_alternative(layer), quote=True)
    band = _y(1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{told}</title>'
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
        f"{words.ratio(layer.ratios.min())} to {words.ratio(layer.ratios.max())} times the measured ones."
    )


def _bars(layer):
    order = np.argsort(layer.gaps, kind="stable")
    places = np.linspace(0, len(order) - 1, min(_MOST, len(order))).astype(int)
    gaps, halves = layer.gaps[order[places]].tolist(), np.sqrt(layer.ratios[order[places]]).tolist()
    xs = _WIDTH / (len(gaps) + 1) * np.arange(1, len(gaps) + 1)
    return "".join(map(_bar, xs, gaps, halves))


def _bar(x, center, half):
    low, high = (np.clip(end, -_REACH, _REACH) for end in (center - half, center + half))
    dot = f'<circle cx="{x:.1f}" cy="{_y(center):.1f}" r="2" fill="currentColor"/>'
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(high):.1f}" y2="{_y(low):.1f}" stroke="currentColor" '
        f'stroke-width="1.5"/>{dot * (abs(center) <= _REACH)}{_triangles(x, center - half, center + half)}'
    )


def _triangles(x, low, high):
    """Mark the ends of a bar that are cut off."""
    ends = [(0, 4)] * (high > _REACH) + [(_HEIGHT, _HEIGHT - 4)] * (low < -_REACH)
    return "".join(
        f'<path d="M{x - 3:.1f} {base} L{x + 3:.1f} {base} L{x:.1f} {tip} Z" fill="currentColor"/>'
        for tip, base in ends
    )


def _y(value):
    """Return the height of a number of standard deviations in the picture, in pixels from above."""
    return _HEIGHT / 2 - value / _REACH * (_HEIGHT / 2 - 2)
