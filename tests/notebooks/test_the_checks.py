"""Each check is shown a notebook that is broken in its way: a check that cannot fail would hold nothing."""

import copy
import json
from pathlib import Path

import anatomy
import execute
import in_git
import pytest
from lessons import SOLUTION, Lesson, load, source

CHECKS = anatomy.CHECKS + in_git.CHECKS


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
        code(f"{SOLUTION}\nprint(exercises.{title.lower()}(2))", printed("right\n"), **hidden),
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
    path.write_text(json.dumps(data), encoding="utf-8")
    path.write_text(
        execute.as_text(execute.nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)),
        encoding="utf-8",
    )
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


PREDICT, SETUP, EXPLORER, STEP, SOLVED = 4, 3, 5, 7, 34
BROKEN = [
    (anatomy.begins_with_its_only_title, swap("# Feed", "Feed")),
    (anatomy.begins_with_its_only_title, insert(9, markdown("# Another title"))),
    (anatomy.begins_with_its_only_title, insert(0, code("1"))),
    (anatomy.first_cell_asks_a_sourced_question, swap("it 0?", "it 0.")),
    (anatomy.first_cell_asks_a_sourced_question, swap("[a thread](https://example.org/1)", "a thread")),
    (anatomy.first_cell_says_the_minutes, swap("20 minutes", "A while")),
    (anatomy.first_cell_links_its_neighbours, swap("00-start", "02-next")),
    (anatomy.first_cell_links_its_neighbours, swap("02-next", "00-start")),
    (anatomy.sections_are_in_order, swap("## What you'll learn", "## Aims")),
    (anatomy.sections_are_in_order, swap("## In your own code", "## Code")),
    (anatomy.sections_are_in_order, swap("## Check", "Check")),
    (anatomy.sections_are_in_order, insert(99, markdown("## Postscript"))),
    (anatomy.headings_skip_no_level, swap("### Closer", "#### Closer")),
    (anatomy.setup_is_short_and_imports, remove(SETUP, None)),
    (anatomy.setup_is_short_and_imports, put("a = 1", "cells", SETUP, "source")),
    (anatomy.setup_is_short_and_imports, put("import numpy\n" * 9, "cells", SETUP, "source")),
    (anatomy.code_is_plain_python, put("%matplotlib inline", "cells", SETUP, "source")),
    (anatomy.code_is_plain_python, put("!ls", "cells", STEP, "source")),
    (anatomy.code_is_plain_python, put("import pip", "cells", STEP, "source")),
    (anatomy.code_is_plain_python, put("subprocess.run(['ls'])", "cells", STEP, "source")),
    (anatomy.code_is_plain_python, put("plt.plot(a)", "cells", STEP, "source")),
    (anatomy.code_is_plain_python, put("from matplotlib import pyplot", "cells", STEP, "source")),
    (anatomy.code_is_plain_python, put("from numpy import *", "cells", STEP, "source")),
    (anatomy.no_cell_is_empty, insert(99, markdown(" "))),
    (anatomy.no_cell_is_empty, insert(99, code(""))),
    (anatomy.no_cell_is_empty, put("# later", "cells", STEP, "source")),
    (anatomy.code_cells_are_short, put("a = 1\n" * 16, "cells", STEP, "source")),
    (anatomy.code_cells_are_short, swap("a = 1\nb = 2\nc = 3\na + b + c", "6")),
    (anatomy.code_cells_are_short, swap("a = 1\n", "a = 1\na += 0\n")),
    (anatomy.code_cells_are_short, insert(9, *[code("a = 1\nb = 2\nc = 3\nd = 4")] * 60)),
    (anatomy.predictions_come_before_a_run, swap("**Predict**", "Predict")),
    (anatomy.predictions_come_before_a_run, insert(PREDICT + 1, markdown("Well?"))),
    (anatomy.predictions_come_before_a_run, insert(99, markdown("**Predict** the end?"))),
    (anatomy.one_explorer_a_section, insert(9, code("sliders.decay_explorer(means)"))),
    (anatomy.check_section_asserts, swap("assert b == 2", "b == 2")),
    (anatomy.check_section_asserts, swap("assert b == 2", "assert b == 2\n" * 6)),
    (anatomy.exercises_have_a_stub_and_a_hidden_solution, swap("### Double", "Double")),
    (anatomy.exercises_have_a_stub_and_a_hidden_solution, remove(SOLVED + 1, SOLVED + 4)),
    (anatomy.exercises_have_a_stub_and_a_hidden_solution, insert(SOLVED + 1, *exercise("Add") * 2)),
    (anatomy.exercises_have_a_stub_and_a_hidden_solution, put([], "cells", SOLVED - 1, "outputs")),
    (anatomy.exercises_have_a_stub_and_a_hidden_solution, put({}, "cells", SOLVED, "metadata")),
    (
        anatomy.exercises_have_a_stub_and_a_hidden_solution,
        put({"tags": ["solution"]}, "cells", SOLVED, "metadata"),
    ),
    (
        anatomy.exercises_have_a_stub_and_a_hidden_solution,
        put([printed("not attempted yet")], "cells", SOLVED, "outputs"),
    ),
    (anatomy.exercises_are_checked_by_the_package, swap("exercises.add(2)", "2")),
    (anatomy.exercises_are_checked_by_the_package, swap("feed_it_zeros as exercises", "add as exercises")),
    (anatomy.exercises_are_checked_by_the_package, swap("feed_it_zeros as exercises", "feed_it_zeros")),
    (anatomy.exercises_are_checked_by_the_package, swap("exercises.add(2)", "exercises.double(2)")),
    (
        anatomy.exercises_are_checked_by_the_package,
        swap("print(exercises.add(answer))", "print('not attempted yet')"),
    ),
    (anatomy.solutions_say_that_they_are, put("print(exercises.square(2))", "cells", SOLVED, "source")),
    (anatomy.solutions_say_that_they_are, swap(SOLUTION, f"1\n{SOLUTION}")),
    (anatomy.remember_three_things, swap("- Three.", "Three.")),
    (anatomy.remember_three_things, swap("- Three.", "- Three.\n- Four.")),
    (anatomy.local_links_resolve, swap("(#Check)", "(#Checks)")),
    (anatomy.local_links_resolve, swap("(#Check)", "(missing.md)")),
    (anatomy.local_links_resolve, swap("(#Check)", "(02-next.ipynb#what-is-it?)")),
    (anatomy.local_links_resolve, swap("See", "<img src='missing.png'> See")),
    (anatomy.pictures_have_words, put([picture("A line plot.")], "cells", EXPLORER, "outputs")),
    (anatomy.pictures_have_words, put([picture("It rises. " * 9)], "cells", EXPLORER, "outputs")),
    (in_git.has_the_format_and_ids, put(4, "nbformat_minor")),
    (in_git.has_the_format_and_ids, put("cell-1", "cells", 0, "id")),
    (in_git.has_the_format_and_ids, insert(9, markdown("No id."))),
    (in_git.was_run_from_the_top, put(9, "cells", STEP, "execution_count")),
    (in_git.was_run_from_the_top, put(None, "cells", STEP, "execution_count")),
    (
        in_git.was_run_from_the_top,
        put([{"output_type": "execute_result", "execution_count": 99}], "cells", STEP, "outputs"),
    ),
    (in_git.metadata_is_lean, put({"state": {}}, "metadata", "widgets")),
    (in_git.metadata_is_lean, put("3.11.4", "metadata", "language_info", "version")),
    (in_git.metadata_is_lean, put(True, "cells", STEP, "metadata", "scrolled")),
    (in_git.metadata_is_lean, put({"outputs_hidden": True}, "cells", STEP, "metadata", "jupyter")),
    (in_git.outputs_are_fit_to_store, put([{"output_type": "error"}], "cells", STEP, "outputs")),
    (in_git.outputs_are_fit_to_store, put([printed("oh", "stderr")], "cells", STEP, "outputs")),
    (
        in_git.outputs_are_fit_to_store,
        put({execute.WIDGET_VIEW: {}}, "cells", EXPLORER, "outputs", 0, "data"),
    ),
    (in_git.outputs_are_fit_to_store, put({"x": 1}, "cells", EXPLORER, "outputs", 0, "metadata")),
    (in_git.names_no_machine, swap("Look for zeros", "Look into /home/me/zeros")),
    (in_git.names_no_machine, put([printed("File /tmp/x.py")], "cells", STEP, "outputs")),
    (in_git.names_no_machine, put([printed("lib/site-packages/x.py")], "cells", STEP, "outputs")),
    (in_git.file_is_as_executed, nothing),
    (in_git.file_is_small, insert(9, markdown("long " * 250_000))),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_good_notebook_passes(shelf, check):
    assert check(load(write(shelf, good_cells()))) == []


@pytest.mark.parametrize(("check", "edit"), BROKEN, ids=lambda value: value.__name__)
def test_a_broken_notebook_fails(shelf, check, edit):
    path = write(shelf, good_cells())
    data = load(path).data
    edit(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    wrong = check(Lesson(path, data))
    assert wrong
    assert all(isinstance(sentence, str) for sentence in wrong)


def test_names_are_lower_case_with_a_number():
    for name in ("1-feed.ipynb", "01_feed.ipynb", "01-Feed.ipynb", "feed.ipynb", "01-.ipynb"):
        assert anatomy.name_says_number_and_verb(Lesson(Path(name), {}))


def test_every_check_is_seen_to_fail():
    assert {check for check, _ in BROKEN} | {anatomy.name_says_number_and_verb} == set(CHECKS)


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
    assert anatomy.sections_are_in_order(lesson)
    assert anatomy.remember_three_things(lesson)
