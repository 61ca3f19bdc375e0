"""Reads a notebook's file: its cells, headings, sections, links and outputs. Nothing is executed."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

SOLUTION = "# One solution. Try your own first: the cell above says whether it is right."


@dataclass
class Lesson:
    """A notebook's file and what is in it."""

    path: Path
    data: dict

    @property
    def cells(self):
        return self.data["cells"]

    @property
    def code(self):
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    @property
    def is_guide(self):
        """The start page explains how to use the others: it teaches, but it examines nothing."""
        return self.path.name.startswith("00-")


def load(path):
    return Lesson(path, json.loads(path.read_text(encoding="utf-8")))


def text(value):
    return value if isinstance(value, str) else "".join(value)


def source(cell):
    return text(cell["source"])


def is_markdown(cell):
    return cell["cell_type"] == "markdown"


def is_solution(cell):
    return "solution" in cell["metadata"].get("tags", [])


def code_lines(cell):
    # Blank lines are the formatter's: it wants two around a function. A solution's first line is no code.
    return [line for line in source(cell).splitlines() if line.strip() and line != SOLUTION]


def prose(cell):
    """The text of a markdown cell without its fenced code, in which # begins no heading."""
    return re.sub(r"^(```|~~~).*?^\1", "", source(cell), flags=re.DOTALL | re.MULTILINE)


def headings(cells):
    """Return (level, text) of every heading, as a reader sees them."""
    found = [
        match
        for cell in filter(is_markdown, cells)
        for match in re.findall(r"^(#{1,6}) +(.+?)[ #]*$", prose(cell), flags=re.MULTILINE)
    ]
    return [(len(marks), plain(title)) for marks, title in found]


def plain(markdown):
    without_links = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown)
    return re.sub(r"[`*]", "", without_links).replace("’", "'").strip()


def sections(cells, level):
    """Return (heading, cells) of every section; its first cell is the one with the heading."""
    found = []
    for cell in cells:
        titles = [title for depth, title in headings([cell]) if depth == level]
        if titles:
            found.append((titles[-1], []))
        if found:
            found[-1][1].append(cell)
    return found


def section(lesson, title):
    return next((cells for name, cells in sections(lesson.cells, 2) if name == title), [])


def as_anchor(title):
    """Return the anchor that JupyterLab makes of a heading: its text, with hyphens for spaces."""
    return title.replace(" ", "-").replace("’", "'")


def under(cells, anchor):
    """Return the cells of the section with this anchor, up to the next heading of its level or above."""
    marks = [(number, *mark) for number, cell in enumerate(cells) for mark in headings([cell])]
    for place, (start, level, title) in enumerate(marks):
        if as_anchor(title) == as_anchor(anchor):
            ends = (number for number, other, _ in marks[place + 1 :] if other <= level)
            return cells[start : max(next(ends, len(cells)), start + 1)]
    return []


def minutes(lesson):
    """Return the minutes that the first cell names, or None."""
    named = re.search(r"\b(\d+)\s+min(ute)?s?\b", source(lesson.cells[0]))
    return int(named[1]) if named else None


def tree(cell):
    try:
        return ast.parse(source(cell))
    except SyntaxError:
        return None  # `plain_python` tells


def nodes(cells, kind):
    return [
        node
        for cell in cells
        if cell["cell_type"] == "code" and tree(cell)
        for node in ast.walk(tree(cell))
        if isinstance(node, kind)
    ]


def outputs(lesson):
    """Return (number of the cell, output) of every output."""
    cells = enumerate(lesson.cells, start=1)
    return [(number, output) for number, cell in cells for output in cell.get("outputs", [])]


def output_text(output):
    data = output.get("data", {})
    texts = [text(output.get("text", ""))] + [
        text(data[kind]) for kind in ("text/plain", "text/html", "text/markdown") if kind in data
    ]
    return re.sub(r"data:image/[^\"')]*", "", "\n".join(texts))  # random letters may spell a path


def links(markdown):
    inline = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", markdown)
    return inline + re.findall(r"""(?:href|src)=["']([^"']+)""", markdown)


def is_local(link):
    return not re.match(r"[a-z]+:|//", link)
