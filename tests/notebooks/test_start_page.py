"""The start page leads to all notebooks, and each row of its index to a section that prints an answer."""

import re
from pathlib import Path
from urllib.parse import unquote

from anatomy import broken
from lessons import is_markdown, links, load, minutes, prose, section, under

ROOT = Path(__file__).parents[2]
START = ROOT / "notebooks" / "00-start-here.ipynb"
INDEX = ("Find your question", "Find your message")


def rows(cells):
    """Return the rows of all tables in the cells, without their heads."""
    lines = "\n".join(prose(cell) for cell in cells if is_markdown(cell)).splitlines()
    ruled = [n for n, line in enumerate(lines) if re.match(r"\|[-| ]+\|$", line)]
    heads = {n - 1 for n in ruled} | set(ruled)
    return [line for n, line in enumerate(lines) if line.startswith("|") and n not in heads]


def prints(lesson, anchor):
    return any(cell.get("outputs") for cell in under(lesson.cells, anchor))


def unanswered(lesson):
    """Return a sentence for each row of the index that leads to no section with an output."""
    wrong = []
    for row in [row for name in INDEX for row in rows(section(lesson, name))]:
        targets = [link.partition("#") for link in links(row)]
        if not targets or not all(anchor for _, _, anchor in targets):
            wrong.append(f"{row!r} leads to no section")
        for file, _, anchor in targets:
            target = load(lesson.path.parent / file) if file else lesson
            if broken(lesson, f"{file}#{anchor}") or not prints(target, unquote(anchor)):
                wrong.append(f"{row!r} leads to {file}#{anchor}, where nothing is printed")
    return wrong


def promised(lesson):
    """Return (file, minutes) of each row of the table of notebooks."""
    found = rows(section(lesson, "How to use these notebooks"))
    return [(links(row)[0], int(re.search(r"\| *(\d+) *\|$", row)[1])) for row in found]


def test_every_row_of_the_index_leads_to_a_section_that_prints_an_answer():
    lesson = load(START)
    assert all(len(rows(section(lesson, name))) > 10 for name in INDEX)
    assert unanswered(lesson) == []


def test_a_row_that_leads_nowhere_is_found():
    head, lesson = "## Find your question\n\n| you see | answer |\n|---|---|\n", load(START)
    question = section(lesson, "Find your question")[0]
    for row in (
        "| a | nothing |",
        "| a | [01](01-feed-it-identical-inputs.ipynb) |",
        "| a | [01](01-feed-it-identical-inputs.ipynb#No-such-heading) |",
        "| a | [01](01-feed-it-identical-inputs.ipynb#Further-reading) |",
        "| a | [below](#What-to-remember) |",
    ):
        question["source"] = head + row
        assert any(repr(row) in sentence for sentence in unanswered(lesson)), row


def test_the_table_of_notebooks_has_each_with_its_minutes():
    others = sorted(START.parent.glob("[0-9]*.ipynb"))[1:]
    assert promised(load(START)) == [(path.name, minutes(load(path))) for path in others]


def test_the_minutes_of_the_ways_are_those_of_their_notebooks():
    """A learner's groups of notebooks are followed by their minutes; those of the first three stand ahead."""
    each = {file[:2]: taken for file, taken in promised(load(START))}
    way = next(row for row in rows(section(load(START), "Choose your way")) if "I learn it" in row)
    groups = re.findall(r"(\d\d(?:, \d\d)*(?: and \d\d)?)[^\d(]*\((\d+)\)", way)
    assert len(groups) == 4
    assert re.search(r"\| (\d+), then", way)[1] == str(sum(each[name] for name in ("01", "02", "03")))
    for names, taken in groups:
        assert int(taken) == sum(each[name] for name in re.findall(r"\d\d", names)), names


def test_the_readme_has_a_row_for_each_notebook():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\|.*\(notebooks/(\d\d-[^)]*)\) \|$", text, flags=re.MULTILINE)
    assert found == [path.name for path in sorted(START.parent.glob("*.ipynb"))]
