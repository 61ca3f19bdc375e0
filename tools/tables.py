"""Tables of measurements as text: each figure beside its target."""

from bnlab import words


def table(header, rows):
    """Return the rows as lines of text under their header, each column as wide as its widest cell."""
    lines = words.table([[str(cell) for cell in row] for row in [header, *rows]]).splitlines()
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def verdict(value, limit):
    """Return the two last cells of a row: the target, at most the limit, and whether it is met."""
    return f"<= {limit:.4g}", "met" if value <= limit else "missed"
