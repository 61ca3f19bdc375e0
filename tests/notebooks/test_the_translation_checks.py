"""Each check of a translation is shown a broken one and finds it; `make translate` copies and lists."""

import copy
import json

import execute
import faithful
import nbformat
import pytest
import translate
from lessons import source

PATH = translate.TRANSLATIONS / "zh" / "02-watch-a-moving-average-follow.ipynb"


def broken(change):
    """Return a translation with a change made to it, which is a function of its list of cells."""
    pair = copy.deepcopy(faithful.both(PATH))
    change(pair.translation.cells)
    return faithful.Pair(pair.english, pair.translation)


def prose(cells, part):
    """Return the first prose cell with this text in it."""
    return next(cell for cell in cells if cell["cell_type"] == "markdown" and part in source(cell))


def put(part, other):
    """Return a change that puts another text into the first prose cell that has a part."""

    def change(cells):
        cell = prose(cells, part)
        cell["source"] = source(cell).replace(part, other, 1)

    return change


def put_into_all(part, other):
    def change(cells):
        for cell in cells:
            if cell["cell_type"] == "markdown":
                cell["source"] = source(cell).replace(part, other)

    return change


def change_code(cells):
    next(cell for cell in cells if cell["cell_type"] == "code")["source"] = ["import numpy"]


def change_an_output(cells):
    next(cell for cell in cells if cell.get("outputs"))["outputs"] = []


def leave_in_english(cells):
    english = {cell["id"]: source(cell) for cell in faithful.both(PATH).english.cells}
    cell = prose(cells, "**预测：**")
    cell["source"] = english[cell["id"]]


def forget_whose_it_is(cells):
    del cells[0]["metadata"]["translates"]


def translate_another_text(cells):
    cells[0]["metadata"]["translates"] = "0" * 16


def mark_for_another_text(cells):
    cells[0]["metadata"] = {"translates": "0" * 16, "stale": "1" * 16}


BROKEN = [
    (faithful.has_the_same_cells, lambda cells: cells.pop(3)),
    (faithful.has_the_same_cells, lambda cells: cells.insert(1, cells.pop(3))),
    (faithful.has_the_same_code_and_outputs, change_code),
    (faithful.has_the_same_code_and_outputs, change_an_output),
    (faithful.prose_is_translated, leave_in_english),
    (faithful.prose_is_translated, forget_whose_it_is),
    (faithful.prose_is_up_to_date, translate_another_text),
    (faithful.prose_is_up_to_date, mark_for_another_text),
    (faithful.has_the_same_code_spans, put("`", "`x")),
    (faithful.has_the_same_formulas, put("$", "$2")),
    (faithful.has_the_same_numbers, put("0.99", "0.9")),
    (faithful.has_the_same_shape, put("## ", "### ")),
    (faithful.has_the_same_shape, put("\n- ", "\n")),
    (faithful.asks_for_the_same_predictions, put("**预测：**", "预测：")),
    (faithful.headings_are_told_apart, lambda cells: cells.append(prose(cells, "## "))),
    (faithful.links_lead_to_the_same, put("](01-", "](../../notebooks/01-")),
    (faithful.links_lead_to_the_same, put(".ipynb#", ".ipynb#No-such-")),
    (faithful.uses_the_glossary, put_into_all("移动平均", "滑动平均")),
    (faithful.emphasis_is_seen, put("**预测：** ", "**预测：**")),
]


@pytest.mark.parametrize(("check", "change"), BROKEN, ids=lambda part: getattr(part, "__name__", ""))
def test_a_broken_translation_is_found(check, change):
    assert check(faithful.both(PATH)) == []
    assert check(broken(change))


def test_every_check_is_shown_a_broken_translation():
    assert {check for check, _ in BROKEN} == set(faithful.CHECKS)


def test_a_cell_that_is_marked_stale_may_differ_until_it_is_translated():
    pair = copy.deepcopy(faithful.both(PATH))
    cell = pair.english.cells[0]
    cell["source"] = source(cell) + " Now with 17 more words and `code`."
    assert faithful.prose_is_up_to_date(pair)
    assert faithful.has_the_same_numbers(pair)
    pair.translation.cells[0]["metadata"]["stale"] = faithful.now(cell)
    assert faithful.prose_is_up_to_date(pair) == []
    assert faithful.has_the_same_numbers(pair) == []


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Yield the paths of a notebook and of its translation, each a copy in a folder of its own."""
    folder = tmp_path / "translations" / "zh"
    for place, file in ((tmp_path, translate.original(PATH)), (folder, PATH)):
        place.mkdir(parents=True, exist_ok=True)
        (place / PATH.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(translate, "TRANSLATIONS", tmp_path / "translations")
    return tmp_path / PATH.name, folder / PATH.name


def edit(path, change):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook["cells"])
    path.write_text(execute.as_text(nbformat.from_dict(notebook)), encoding="utf-8")


def lists(capsys, *arguments):
    """Return the exit code of `make translate` and the lines it prints."""
    code = translate.main(list(arguments))
    return code, capsys.readouterr().out.splitlines()


def test_code_is_copied_and_prose_is_not_touched(files, capsys):
    _, path = files
    before = path.read_bytes()
    assert lists(capsys) == (0, ["every translation says what the English says"])
    assert path.read_bytes() == before
    edit(path, change_code)
    assert translate.main([]) == 0
    assert path.read_bytes() == before


def test_what_lags_behind_is_listed_until_it_is_done(files, capsys):
    original, path = files
    new = {"cell_type": "markdown", "id": "brand-new", "metadata": {}, "source": ["Something new."]}
    edit(original, lambda cells: (cells[1].update(source="## Other words"), cells.insert(2, new)))
    first = json.loads(original.read_text(encoding="utf-8"))["cells"][1]["id"]
    where = path.relative_to(path.parents[2])
    words = source(json.loads(path.read_text(encoding="utf-8"))["cells"][1])
    assert lists(capsys) == (1, [f"{where}: {first} is stale", f"{where}: brand-new is missing"])
    put_in = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert source(put_in[1]) == words
    assert source(put_in[2]) == "Something new."
    assert lists(capsys, "--stale")[1] == [
        f"{where}: {first} is stale, marked",
        f"{where}: brand-new is missing, marked",
    ]
    assert lists(capsys, "--done", str(path), first, "brand-new")[0] == 0
    assert "stale" not in json.loads(path.read_text(encoding="utf-8"))["cells"][1]["metadata"]


def test_words_without_an_original_are_kept_and_named(files, capsys):
    original, path = files
    before = path.read_bytes()
    edit(original, lambda cells: cells.pop(1))
    code, (line,) = lists(capsys)
    assert code == 1
    assert "has no English any more" in line
    assert path.read_bytes() == before


def test_what_cannot_be_done_is_said(files, capsys):
    _, path = files
    before = path.read_bytes()
    where = path.relative_to(path.parents[2])
    refused = (1, [f"{where}: has no prose no-such-cell"])
    assert lists(capsys, "--done", str(path), "no-such-cell") == refused
    for arguments in ([str(path)], [str(path.parent / "no-such.ipynb"), "cell"]):
        code, (line,) = lists(capsys, "--done", *arguments)
        assert code == 1
        assert line.endswith(" ".join(arguments))
    assert path.read_bytes() == before
