"""How git keeps a notebook: a check takes a Lesson and returns a sentence for each thing that is wrong."""

import re

import execute
from lessons import (
    output_text,
    outputs,
    source,
)

CELL_METADATA = {"tags", "collapsed", "jupyter"}
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|tmp|work|Users|usr|opt|var)/|site-packages|\b[A-Z]:\\")


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
    has_the_format_and_ids,
    was_run_from_the_top,
    metadata_is_lean,
    outputs_are_fit_to_store,
    names_no_machine,
    file_is_small,
    file_is_as_executed,
]
