"""Writes a checkup for programs: the facts of the report as JSON that strict parsers accept."""

import json
from dataclasses import fields, is_dataclass

import numpy as np

from bnlab.doctor import report

VERSION = 1  # of the form; grows when a name goes or changes its meaning, not when one comes


def written(checkup):
    """Return one line of JSON of a Checkup, or of a dict of them."""
    return json.dumps(_plain(checkup), allow_nan=False)


def _plain(value):
    if is_dataclass(value):
        # Rows of the table of illnesses are code; their words and advice are told.
        told = {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.name != "found"}
        return _head(value) | told if hasattr(value, "layers") else told
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):  # JSON has no such numbers
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _head(checkup):
    advice = [
        {"word": sentence.partition(":")[0], "sentence": sentence, "line": line}
        for sentence, line in report.advice(checkup)
    ]
    return {"version": VERSION, "healthy": checkup.healthy, "advice": advice}
