"""Holds what a notebook looks like, and how it is kept in git. Nothing is executed.

A check takes a Lesson and returns a sentence for each thing that is wrong. Below the checks each one
is shown a notebook that is broken in its way: a check that cannot fail would hold nothing.
"""

import ast
import copy
import itertools
import json
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import execute
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"

FIRST_SECTIONS = ["What you'll learn", "What you'll need"]
LAST_SECTIONS = [
    "Check",
    "Exercises",
    "In your own code",
    "What to remember",
    "Further reading",
]
GUIDE_SECTIONS = ["What you'll learn", "What to remember", "Further reading"]
CELL_METADATA = {"tags", "collapsed", "jupyter"}
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|tmp|work|Users|usr|opt|var)/|site-packages|\b[A-Z]:\\")


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


def code_lines(cell):
    # Blank lines are the formatter's: it wants two around a function.
    return [line for line in source(cell).splitlines() if line.strip()]


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


# The anatomy ---------------------------------------------------------------------------------------


def name_says_number_and_verb(lesson):
    if not re.fullmatch(r"\d\d(-[a-z0-9]+)+\.ipynb", lesson.path.name):
        return [f"is called {lesson.path.name}, not NN-verb-first-title.ipynb in lower case"]
    return []


def begins_with_its_only_title(lesson):
    titles = [title for level, title in headings(lesson.cells) if level == 1]
    wrong = [] if len(titles) == 1 else [f"has {len(titles)} titles of level 1: {titles}"]
    if not is_markdown(lesson.cells[0]) or not prose(lesson.cells[0]).startswith("# "):
        wrong.append("does not begin with its title")
    return wrong


def first_cell_asks_a_sourced_question(lesson):
    asking = [line for line in source(lesson.cells[0]).splitlines() if "?" in plain(line)]
    if lesson.is_guide or any(re.search(r"\]\(|`|[Ss]ource", line) for line in asking):
        return []
    return ["has no line with a question and its source in the first cell"]


def first_cell_says_the_minutes(lesson):
    if re.search(r"\b\d+\s+min(ute)?s?\b", source(lesson.cells[0])):
        return []
    return ["does not say in the first cell how many minutes it takes"]


def first_cell_links_its_neighbours(lesson):
    names = sorted(path.name for path in lesson.path.parent.glob("[0-9][0-9]-*.ipynb"))
    here = names.index(lesson.path.name)
    neighbours = names[max(0, here - 1) : here] + names[here + 1 : here + 2]
    linked = {link.partition("#")[0] for link in links(source(lesson.cells[0]))}
    return [f"does not link {name} in the first cell" for name in neighbours if name not in linked]


def sections_are_in_order(lesson):
    titles = [title for level, title in headings(lesson.cells) if level == 2]
    if lesson.is_guide:
        found = [title for title in titles if title in GUIDE_SECTIONS]
        return [] if found == GUIDE_SECTIONS else [f"has {found}, not {GUIDE_SECTIONS}"]
    wrong = []
    if titles[:2] != FIRST_SECTIONS:
        wrong.append(f"begins with the sections {titles[:2]}, not {FIRST_SECTIONS}")
    if titles[-5:] != LAST_SECTIONS:
        wrong.append(f"ends with the sections {titles[-5:]}, not {LAST_SECTIONS}")
    return wrong


def headings_skip_no_level(lesson):
    found = headings(lesson.cells)
    pairs = itertools.pairwise(found)
    return [f"jumps to level {m[0]} at {m[1]!r}" for n, m in pairs if m[0] > n[0] + 1]


def setup_is_short_and_imports(lesson):
    if not lesson.code:
        return [] if lesson.is_guide else ["has no code"]
    setup, wrong = lesson.code[0], []
    if len(code_lines(setup)) > 8:
        wrong.append(f"has {len(code_lines(setup))} lines in the first code cell, more than 8")
    if not nodes([setup], ast.Import | ast.ImportFrom) and not lesson.is_guide:
        wrong.append("imports nothing in the first code cell")
    return wrong


def code_is_plain_python(lesson):
    wrong = [
        f"has a magic, a shell line or an error in {source(cell)!r}"
        for cell in lesson.code
        if tree(cell) is None
    ]
    # Words about pip are welcome: they tell a reader how to install what is missing.
    for pattern in (r"import pip\b|\bsubprocess\b", r"\bplt\.|\bpyplot\b", r"\bget_ipython\b"):
        found = [cell for cell in lesson.code if re.search(pattern, source(cell))]
        wrong += [f"has {pattern} in {source(cell)!r}" for cell in found]
    stars = [n for n in nodes(lesson.code, ast.ImportFrom) if n.names[0].name == "*"]
    return wrong + [f"has `from {node.module} import *`" for node in stars]


def no_cell_is_empty(lesson):
    wrong = [f"cell {n} is empty" for n, c in enumerate(lesson.cells, 1) if not source(c).strip()]
    comments = [cell for cell in lesson.code if source(cell).strip() and tree(cell)]
    return wrong + [
        f"has nothing but comments in {source(cell)!r}" for cell in comments if not tree(cell).body
    ]


def code_cells_are_short(lesson):
    counts = [len(code_lines(cell)) for cell in lesson.code]
    wrong = [f"has a cell of {count} lines, more than 15" for count in counts if count > 15]
    if lesson.is_guide:
        return wrong
    if not 40 <= sum(counts) <= 180:
        wrong.append(f"has {sum(counts)} lines of code, not 40 to 180")
    if counts and statistics.median(counts) > 4:
        wrong.append(f"has a median of {statistics.median(counts)} lines a cell, more than 4")
    return wrong


def predictions_come_before_a_run(lesson):
    asks = re.compile(r"\*\*Predict\b")
    asking = [n for n, cell in enumerate(lesson.cells) if is_markdown(cell) and asks.search(prose(cell))]
    after = [lesson.cells[n + 1]["cell_type"] if n + 1 < len(lesson.cells) else "end" for n in asking]
    wrong = [
        f"cell {n + 1} asks for a prediction, but no code cell follows it"
        for n, kind in zip(asking, after, strict=True)
        if kind != "code"
    ]
    count = sum(len(asks.findall(prose(cell))) for cell in filter(is_markdown, lesson.cells))
    if count < 4 and not lesson.is_guide:
        wrong.append(f"asks for {count} predictions, fewer than 4")
    return wrong


def one_explorer_a_section(lesson):
    wrong = []
    for title, cells in sections(lesson.cells, 2):
        calls = re.findall(r"\bsliders\.\w+_explorer\(", "\n".join(map(source, cells)))
        if len(calls) > 1:
            wrong.append(f"has {len(calls)} explorers in {title!r}")
    return wrong


def check_section_asserts(lesson):
    count = len(nodes(section(lesson, "Check"), ast.Assert))
    if lesson.is_guide or 2 <= count <= 6:
        return []
    return [f"has {count} asserts in Check, not 2 to 6"]


def exercises_have_a_stub_and_a_hidden_solution(lesson):
    exercises = sections(section(lesson, "Exercises"), 3)
    if lesson.is_guide:
        return []
    wrong = [] if 3 <= len(exercises) <= 4 else [f"has {len(exercises)} exercises, not 3 or 4"]
    for title, cells in exercises:
        wrong += [f"exercise {title!r} {fault}" for fault in exercise_faults(cells)]
    return wrong


def exercises_are_checked_by_the_package(lesson):
    """Stub and solution go through one and the same check of `bnlab.exercises`, and none is made here."""
    if lesson.is_guide:
        return []
    cells, own = section(lesson, "Exercises"), lesson.path.stem[3:].replace("-", "_")
    imports = [ast.unparse(node) for node in nodes(cells, ast.ImportFrom) if node.module == "bnlab.exercises"]
    needed = f"from bnlab.exercises import {own} as exercises"
    wrong = [] if imports == [needed] else [f"imports its exercises by {imports}, not {needed!r}"]
    for title, parts in sections(cells, 3):
        code = [cell for cell in parts if cell["cell_type"] == "code"]
        checks = {name for cell in code for name in checks_called(cell)}
        if len(checks) != 1 or not all(checks_called(cell) for cell in (code[0], code[-1])):
            wrong.append(f"exercise {title!r} has the checks {sorted(checks)}, not one for stub and solution")
    return wrong


def checks_called(cell):
    calls = [node.func for node in nodes([cell], ast.Call) if isinstance(node.func, ast.Attribute)]
    return {ast.unparse(call) for call in calls if ast.unparse(call.value) == "exercises"}


def exercise_faults(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    solutions = [cell for cell in code if "solution" in cell["metadata"].get("tags", [])]
    if not code or code[0] in solutions or not says_unattempted(code[0]):
        return ["has no stub whose output says 'not attempted yet'"]
    if len(solutions) != 1 or code[-1] is not solutions[0]:
        return ["does not end in one code cell tagged solution"]
    wrong = []
    if solutions[0]["metadata"].get("jupyter", {}).get("source_hidden") is not True:
        wrong.append("has a solution that is not hidden (jupyter.source_hidden)")
    if says_unattempted(solutions[0]):
        wrong.append("has a solution whose output says 'not attempted yet'")
    return wrong


def says_unattempted(cell):
    return "not attempted yet" in "".join(map(output_text, cell["outputs"]))


def remember_three_things(lesson):
    words = "\n".join(map(prose, filter(is_markdown, section(lesson, "What to remember"))))
    count = len(re.findall(r"^[-*] ", words, flags=re.MULTILINE))
    return [] if count == 3 else [f"has {count} bullets in What to remember, not 3"]


def local_links_resolve(lesson):
    found = [link for cell in filter(is_markdown, lesson.cells) for link in links(prose(cell))]
    return [f"links {link}: {fault}" for link in filter(is_local, found) if (fault := broken(lesson, link))]


def broken(lesson, link):
    file, _, anchor = unquote(link).partition("#")
    target = lesson.path.parent / file if file else lesson.path
    if not target.exists():
        return "there is no such file"
    if not anchor or target.suffix != ".ipynb":
        return ""
    cells = lesson.cells if not file else load(target).cells
    # JupyterLab makes the anchor of a heading from its text, with hyphens for spaces.
    anchors = {title.replace(" ", "-") for _, title in headings(cells)}
    return "" if anchor.replace("’", "'") in anchors else "there is no such heading"


def pictures_have_words(lesson):
    return [
        f"cell {number} shows a picture whose words are {words!r}: 80 characters with a number are needed"
        for number, output in outputs(lesson)
        if "image/png" in output.get("data", {})
        and (len(words := text(output["data"].get("text/plain", ""))) < 80 or not re.search(r"\d", words))
    ]


# In git --------------------------------------------------------------------------------------------


def has_the_format_and_ids(lesson):
    version = lesson.data["nbformat"], lesson.data["nbformat_minor"]
    ids = [cell.get("id") for cell in lesson.cells]
    wrong = [] if version == (4, 5) else [f"has format {version}, not 4.5"]
    return (
        wrong
        if len(set(ids)) == len(ids) and None not in ids
        else [*wrong, "has cells without an id of their own"]
    )


def was_run_from_the_top(lesson):
    counts = [cell["execution_count"] for cell in lesson.code]
    wrong = [] if counts == list(range(1, len(counts) + 1)) else [f"has execution counts {counts}"]
    for cell in lesson.code:
        given = {output.get("execution_count", cell["execution_count"]) for output in cell["outputs"]}
        if given - {cell["execution_count"]}:
            wrong.append(f"has an output counted {given} in cell [{cell['execution_count']}]")
    return wrong


def metadata_is_lean(lesson):
    metadata = lesson.data["metadata"]
    wrong = [] if metadata == execute.METADATA else [f"has notebook metadata {metadata}"]
    for number, cell in enumerate(lesson.cells, start=1):
        extra = set(cell["metadata"]) - CELL_METADATA
        extra |= set(cell["metadata"].get("jupyter", {})) - {"source_hidden"}
        wrong += [f"cell {number} has metadata {sorted(extra)}"] if extra else []
    return wrong


def outputs_are_fit_to_store(lesson):
    wrong = []
    for number, output in outputs(lesson):
        if output["output_type"] == "error":
            wrong.append(f"cell {number} stores an error")
        if output.get("name") == "stderr":
            wrong.append(f"cell {number} stores stderr")
        if any("widget" in kind for kind in output.get("data", {})):
            wrong.append(f"cell {number} stores the view of a widget that is gone")
        about = output.get("metadata", {})
        if set(about) - {"image/png"} or set(about.get("image/png", {})) - {"width", "height"}:
            wrong.append(f"cell {number} stores more metadata of an output than the size of a picture")
    return wrong


def names_no_machine(lesson):
    texts = [(n, source(cell)) for n, cell in enumerate(lesson.cells, start=1)]
    texts += [(n, output_text(output)) for n, output in outputs(lesson)]
    return [
        f"cell {number} names a path of a machine, {found[0]!r}"
        for number, words in texts
        if (found := MACHINE_PATH.search(words))
    ]


def file_is_small(lesson):
    size = lesson.path.stat().st_size
    return [] if size < 1_000_000 else [f"is {size} bytes, more than 1 MB"]


def file_is_as_executed(lesson):
    stored = lesson.path.read_text(encoding="utf-8")
    wanted = execute.as_text(execute.normalized(execute.read(lesson.path)))
    return [] if stored == wanted else ["is not in the form that `make execute` writes"]


CHECKS = [
    name_says_number_and_verb,
    begins_with_its_only_title,
    first_cell_asks_a_sourced_question,
    first_cell_says_the_minutes,
    first_cell_links_its_neighbours,
    sections_are_in_order,
    headings_skip_no_level,
    setup_is_short_and_imports,
    code_is_plain_python,
    no_cell_is_empty,
    code_cells_are_short,
    predictions_come_before_a_run,
    one_explorer_a_section,
    check_section_asserts,
    exercises_have_a_stub_and_a_hidden_solution,
    exercises_are_checked_by_the_package,
    remember_three_things,
    local_links_resolve,
    pictures_have_words,
    has_the_format_and_ids,
    was_run_from_the_top,
    metadata_is_lean,
    outputs_are_fit_to_store,
    names_no_machine,
    file_is_small,
    file_is_as_executed,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook(path, check):
    wrong = check(load(path))
    assert not wrong, "\n".join(f"{path.name} {sentence}" for sentence in wrong)


def second_sources(folder):
    """Return the files that say again what a notebook says: paired scripts and the like."""
    kinds = {".py", ".md", ".Rmd", ".qmd"}
    return [p.name for p in folder.rglob("*") if p.suffix in kinds and p.name != "README.md"]


def test_notebooks_have_no_second_source(tmp_path):
    assert second_sources(NOTEBOOKS) == []
    (tmp_path / "README.md").touch()
    (tmp_path / "01-feed-it-zeros.py").touch()
    assert second_sources(tmp_path) == ["01-feed-it-zeros.py"]


# The checks themselves -----------------------------------------------------------------------------


def markdown(words):
    return {"cell_type": "markdown", "metadata": {}, "source": words}


def code(lines, *outputs, **metadata):
    return {"cell_type": "code", "metadata": metadata, "source": lines, "outputs": list(outputs)}


def printed(words, name="stdout"):
    return {"output_type": "stream", "name": name, "text": words}


def picture(words):
    data = {"image/png": "AAAA", "text/plain": words}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def exercise(title):
    hidden = {"tags": ["solution"], "jupyter": {"source_hidden": True}}
    return [
        markdown(f"### {title}\n\nWhat is one and one?"),
        code(f"answer = None\nprint(exercises.{title.lower()}(answer))", printed("not attempted yet\n")),
        code(f"print(exercises.{title.lower()}(2))", printed("right\n"), **hidden),
    ]


def good_cells():
    words = "A line plot of y from 0 to 10 against x from 0 to 5: it rises from 0 at 0 to 10 at 5."
    step = "a = 1\nb = 2\nc = 3\na + b + c"
    return [
        markdown(
            "# Feed it zeros\n\n*Why is it 0?* From [a thread](https://example.org/1).\n\n"
            "20 minutes · [back](00-start.ipynb) · [on](02-next.ipynb#What-is-it?)"
        ),
        markdown("## What you'll learn\n\nThat 0 is 0."),
        markdown("## What you’ll need\n\n```sh\n# no heading\n```"),
        code("import numpy as np"),
        markdown("## Look\n\n### Closer\n\nSee [the check](#Check).\n\n**Predict** what comes out?"),
        code("sliders.zero_explorer(np.zeros(3))", picture(words)),
        *[cell for _ in range(11) for cell in (markdown("**Predict** it?"), code(step))],
        markdown("## Check"),
        code("assert a == 1\nassert b == 2"),
        markdown("## Exercises"),
        code("from bnlab.exercises import feed_it_zeros as exercises"),
        *exercise("Add"),
        *exercise("Double"),
        *exercise("Square"),
        markdown("## In your own code\n\nLook for zeros."),
        markdown("## What to remember\n\n- One.\n- Two.\n  And a half.\n- Three."),
        markdown("## Further reading\n\n[A page](https://example.org/home/page), which says so."),
    ]


def write(folder, cells, name="01-feed-it-zeros.ipynb"):
    """Write the cells as an executed notebook and return its path."""
    cells, count = copy.deepcopy(cells), 0
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
    data = {"nbformat": 4, "nbformat_minor": 5, "metadata": execute.METADATA, "cells": cells}
    path = folder / name
    path.write_text(json.dumps(data))
    path.write_text(execute.as_text(execute.nbformat.reads(path.read_text(), as_version=4)))
    return path


@pytest.fixture
def shelf(tmp_path):
    """A folder with neighbours for the notebook that a test puts between them."""
    write(tmp_path, [markdown("# Start")], "00-start.ipynb")
    write(tmp_path, [markdown("# Next\n\n## What `is` it?")], "02-next.ipynb")
    return tmp_path


def put(value, *keys):
    """Return an edit of a notebook that sets what is found under the keys."""

    def edit(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return edit


def swap(old, new):
    """Return an edit of a notebook that swaps words wherever they occur in a cell."""

    def edit(data):
        cells = [cell for cell in data["cells"] if old in source(cell)]
        assert cells, old
        for cell in cells:
            cell["source"] = source(cell).replace(old, new)

    return edit


def insert(place, *cells):
    """Return an edit of a notebook that inserts cells."""
    return lambda data: data["cells"].__setitem__(slice(place, place), copy.deepcopy(cells))


def remove(start, stop):
    """Return an edit of a notebook that removes cells."""
    return lambda data: data["cells"].__delitem__(slice(start, stop))


def nothing(data):
    """Edit nothing: the file is saved again, not as `make execute` does."""


PREDICT, SETUP, EXPLORER, STEP, SOLUTION = 4, 3, 5, 7, 34
BROKEN = [
    (begins_with_its_only_title, swap("# Feed", "Feed")),
    (begins_with_its_only_title, insert(9, markdown("# Another title"))),
    (begins_with_its_only_title, insert(0, code("1"))),
    (first_cell_asks_a_sourced_question, swap("it 0?", "it 0.")),
    (first_cell_asks_a_sourced_question, swap("[a thread](https://example.org/1)", "a thread")),
    (first_cell_says_the_minutes, swap("20 minutes", "A while")),
    (first_cell_links_its_neighbours, swap("00-start", "02-next")),
    (first_cell_links_its_neighbours, swap("02-next", "00-start")),
    (sections_are_in_order, swap("## What you'll learn", "## Aims")),
    (sections_are_in_order, swap("## In your own code", "## Code")),
    (sections_are_in_order, swap("## Check", "Check")),
    (sections_are_in_order, insert(99, markdown("## Postscript"))),
    (headings_skip_no_level, swap("### Closer", "#### Closer")),
    (setup_is_short_and_imports, remove(SETUP, None)),
    (setup_is_short_and_imports, put("a = 1", "cells", SETUP, "source")),
    (setup_is_short_and_imports, put("import numpy\n" * 9, "cells", SETUP, "source")),
    (code_is_plain_python, put("%matplotlib inline", "cells", SETUP, "source")),
    (code_is_plain_python, put("!ls", "cells", STEP, "source")),
    (code_is_plain_python, put("import pip", "cells", STEP, "source")),
    (code_is_plain_python, put("subprocess.run(['ls'])", "cells", STEP, "source")),
    (code_is_plain_python, put("plt.plot(a)", "cells", STEP, "source")),
    (code_is_plain_python, put("from matplotlib import pyplot", "cells", STEP, "source")),
    (code_is_plain_python, put("from numpy import *", "cells", STEP, "source")),
    (no_cell_is_empty, insert(99, markdown(" "))),
    (no_cell_is_empty, insert(99, code(""))),
    (no_cell_is_empty, put("# later", "cells", STEP, "source")),
    (code_cells_are_short, put("a = 1\n" * 16, "cells", STEP, "source")),
    (code_cells_are_short, swap("a = 1\nb = 2\nc = 3\na + b + c", "6")),
    (code_cells_are_short, swap("a = 1\n", "a = 1\na += 0\n")),
    (code_cells_are_short, insert(9, *[code("a = 1\nb = 2\nc = 3\nd = 4")] * 60)),
    (predictions_come_before_a_run, swap("**Predict**", "Predict")),
    (predictions_come_before_a_run, insert(PREDICT + 1, markdown("Well?"))),
    (predictions_come_before_a_run, insert(99, markdown("**Predict** the end?"))),
    (one_explorer_a_section, insert(9, code("sliders.decay_explorer(means)"))),
    (check_section_asserts, swap("assert b == 2", "b == 2")),
    (check_section_asserts, swap("assert b == 2", "assert b == 2\n" * 6)),
    (exercises_have_a_stub_and_a_hidden_solution, swap("### Double", "Double")),
    (exercises_have_a_stub_and_a_hidden_solution, remove(SOLUTION + 1, SOLUTION + 4)),
    (exercises_have_a_stub_and_a_hidden_solution, insert(SOLUTION + 1, *exercise("Add") * 2)),
    (exercises_have_a_stub_and_a_hidden_solution, put([], "cells", SOLUTION - 1, "outputs")),
    (exercises_have_a_stub_and_a_hidden_solution, put({}, "cells", SOLUTION, "metadata")),
    (
        exercises_have_a_stub_and_a_hidden_solution,
        put({"tags": ["solution"]}, "cells", SOLUTION, "metadata"),
    ),
    (
        exercises_have_a_stub_and_a_hidden_solution,
        put([printed("not attempted yet")], "cells", SOLUTION, "outputs"),
    ),
    (exercises_are_checked_by_the_package, swap("exercises.add(2)", "2")),
    (exercises_are_checked_by_the_package, swap("feed_it_zeros as exercises", "add as exercises")),
    (exercises_are_checked_by_the_package, swap("feed_it_zeros as exercises", "feed_it_zeros")),
    (exercises_are_checked_by_the_package, swap("exercises.add(2)", "exercises.double(2)")),
    (
        exercises_are_checked_by_the_package,
        swap("print(exercises.add(answer))", "print('not attempted yet')"),
    ),
    (remember_three_things, swap("- Three.", "Three.")),
    (remember_three_things, swap("- Three.", "- Three.\n- Four.")),
    (local_links_resolve, swap("(#Check)", "(#Checks)")),
    (local_links_resolve, swap("(#Check)", "(missing.md)")),
    (local_links_resolve, swap("(#Check)", "(02-next.ipynb#what-is-it?)")),
    (local_links_resolve, swap("See", "<img src='missing.png'> See")),
    (pictures_have_words, put([picture("A line plot.")], "cells", EXPLORER, "outputs")),
    (pictures_have_words, put([picture("It rises. " * 9)], "cells", EXPLORER, "outputs")),
    (has_the_format_and_ids, put(4, "nbformat_minor")),
    (has_the_format_and_ids, put("cell-1", "cells", 0, "id")),
    (has_the_format_and_ids, insert(9, markdown("No id."))),
    (was_run_from_the_top, put(9, "cells", STEP, "execution_count")),
    (was_run_from_the_top, put(None, "cells", STEP, "execution_count")),
    (
        was_run_from_the_top,
        put([{"output_type": "execute_result", "execution_count": 99}], "cells", STEP, "outputs"),
    ),
    (metadata_is_lean, put({"state": {}}, "metadata", "widgets")),
    (metadata_is_lean, put("3.11.4", "metadata", "language_info", "version")),
    (metadata_is_lean, put(True, "cells", STEP, "metadata", "scrolled")),
    (metadata_is_lean, put({"outputs_hidden": True}, "cells", STEP, "metadata", "jupyter")),
    (outputs_are_fit_to_store, put([{"output_type": "error"}], "cells", STEP, "outputs")),
    (outputs_are_fit_to_store, put([printed("oh", "stderr")], "cells", STEP, "outputs")),
    (outputs_are_fit_to_store, put({execute.WIDGET_VIEW: {}}, "cells", EXPLORER, "outputs", 0, "data")),
    (outputs_are_fit_to_store, put({"x": 1}, "cells", EXPLORER, "outputs", 0, "metadata")),
    (names_no_machine, swap("Look for zeros", "Look into /home/me/zeros")),
    (names_no_machine, put([printed("File /tmp/x.py")], "cells", STEP, "outputs")),
    (names_no_machine, put([printed("lib/site-packages/x.py")], "cells", STEP, "outputs")),
    (file_is_as_executed, nothing),
    (file_is_small, insert(9, markdown("long " * 250_000))),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_good_notebook_passes(shelf, check):
    assert check(load(write(shelf, good_cells()))) == []


@pytest.mark.parametrize(("check", "edit"), BROKEN, ids=lambda value: value.__name__)
def test_a_broken_notebook_fails(shelf, check, edit):
    path = write(shelf, good_cells())
    data = load(path).data
    edit(data)
    path.write_text(json.dumps(data))
    wrong = check(Lesson(path, data))
    assert wrong
    assert all(isinstance(sentence, str) for sentence in wrong)


def test_names_are_lower_case_with_a_number():
    for name in ("1-feed.ipynb", "01_feed.ipynb", "01-Feed.ipynb", "feed.ipynb", "01-.ipynb"):
        assert name_says_number_and_verb(Lesson(Path(name), {}))


def test_every_check_is_seen_to_fail():
    assert {check for check, _ in BROKEN} | {name_says_number_and_verb} == set(CHECKS)


def test_the_start_page_needs_no_examination_but_the_rest(shelf):
    start = [
        markdown("# Start here\n\n5 minutes · [on](01-feed-it-zeros.ipynb)"),
        markdown("## What you'll learn\n\n## A table\n\n## What to remember\n\n- a\n- b\n- c"),
        code("1 + 1"),
        markdown("## Further reading\n\nNothing."),
    ]
    write(shelf, good_cells())
    lesson = load(write(shelf, start, "00-start.ipynb"))
    assert [fault for check in CHECKS for fault in check(lesson)] == []
    lesson.cells[1]["source"] = "## What to remember\n\n- a"
    assert sections_are_in_order(lesson)
    assert remember_three_things(lesson)
