"""What a notebook looks like: a check takes a Lesson and returns a sentence for each thing that is wrong."""

import ast
import itertools
import re
import statistics
from urllib.parse import unquote

from lessons import (
    SOLUTION,
    code_lines,
    headings,
    is_local,
    is_markdown,
    is_solution,
    links,
    load,
    minutes,
    nodes,
    output_text,
    outputs,
    plain,
    prose,
    section,
    sections,
    source,
    text,
    tree,
    under,
)

FIRST_SECTIONS = ["What you'll learn", "What you'll need"]
LAST_SECTIONS = [
    "Check",
    "Exercises",
    "In your own code",
    "What to remember",
    "Further reading",
]
GUIDE_SECTIONS = ["What you'll learn", "What to remember", "Further reading"]


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
    return [] if minutes(lesson) else ["does not say in the first cell how many minutes it takes"]


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
    if not 40 <= sum(counts) <= 200:
        wrong.append(f"has {sum(counts)} lines of code, not 40 to 200")
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


def solutions_say_that_they_are(lesson):
    """VS Code, Colab and GitHub's view of a notebook fold nothing, so the first line warns."""
    solutions = [source(cell) for cell in lesson.code if is_solution(cell)]
    return [
        f"has a solution that begins {words.splitlines()[0]!r}, not {SOLUTION!r}"
        for words in solutions
        if not words.startswith(f"{SOLUTION}\n")
    ]


def exercise_faults(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    solutions = [cell for cell in code if is_solution(cell)]
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
    return "" if under(cells, anchor) else "there is no such heading"


def pictures_have_words(lesson):
    return [
        f"cell {number} shows a picture whose words are {words!r}: 80 characters with a number are needed"
        for number, output in outputs(lesson)
        if "image/png" in output.get("data", {})
        and (len(words := text(output["data"].get("text/plain", ""))) < 80 or not re.search(r"\d", words))
    ]


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
    solutions_say_that_they_are,
    remember_three_things,
    local_links_resolve,
    pictures_have_words,
]
