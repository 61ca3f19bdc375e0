"""How the package spells numbers, names and tables: in pictures, in reports and in errors alike."""

import re
from textwrap import wrap

import numpy as np

LINE = 96  # characters of a line in a report


def rounded(value):
    """Return a value in words: three digits, and 0 for what rounding may have left of it."""
    return "0" if abs(value) < 1e-9 else short(float(f"{value:.3g}"))


def short(value, _=None):
    """Return a value with powers of ten as people write them, 1e-6; it can format ticks of matplotlib."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def magnitude(value):
    """Return the nearest power of ten in words, for rounding errors: their digits differ between CPUs."""
    return "0" if value == 0 else f"1e{round(np.log10(abs(value))):d}"


def fixed(value, digits):
    """Return a value with `digits` after the point, and no sign on what is rounded to 0."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def ratio(value):
    """Return two decimals; an order of magnitude where they say nothing."""
    if not np.isfinite(value):
        return "not finite"
    return f"{value:.2f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.0e}"


def names(items):
    """List the first four names."""
    return ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")


def features(mask):
    """List the features that a mask marks, the first five of them by number."""
    numbers = np.flatnonzero(mask)
    return ", ".join(map(str, numbers[:5])) + (" and more" if len(numbers) > 5 else "")


def reason(error):
    """Return what went wrong in one line; Keras writes several, TensorFlow all that led there."""
    told = re.sub(r"\x1b\[\d*m", "", str(error))
    told = re.sub(
        r'(?s)(Graph execution error|in user code):.*File "[^"]*", line \d+, in .*?\n.*?(\n|$)', "", told
    )
    told = " ".join(told.split())
    return f"{type(error).__name__}: {told[:300] or 'no reason given'}"


def table(rows):
    """Return rows of strings as lines of text, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def wrapped(sentence):
    """Return a sentence in lines of at most `LINE` characters; a longer word stays whole."""
    return "\n".join(wrap(sentence, LINE, break_long_words=False, break_on_hyphens=False))
