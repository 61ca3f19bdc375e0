import json

import execute
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

WIDGET = {"model_id": "f00", "version_major": 2, "version_minor": 0}


def normalized(*cells, **metadata):
    return execute.normalized(new_notebook(cells=list(cells), metadata=metadata))


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def write(path, *sources):
    cells = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_notebook_metadata_is_the_kernel_and_the_language_without_a_version():
    notebook = normalized(
        widgets={"state": {}},
        jupytext={"formats": "ipynb,py"},
        kernelspec={"name": "mine", "display_name": "Mine", "language": "python"},
        language_info={"name": "python", "version": "3.11.4"},
    )
    assert notebook.metadata == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


def test_cell_metadata_keeps_tags_and_what_is_collapsed():
    kept = {"tags": ["solution"], "jupyter": {"source_hidden": True}, "collapsed": True}
    noisy = {"scrolled": True, "execution": {"iopub.status.busy": "now"}, "editable": True}
    hidden = {"jupyter": {"source_hidden": True, "outputs_hidden": False}}
    cells = normalized(
        new_code_cell(metadata=kept | noisy),
        new_markdown_cell(metadata=noisy | {"tags": [], "jupyter": {}}),
        new_code_cell(metadata=hidden),
    ).cells
    assert [cell.metadata for cell in cells] == [kept, {}, {"jupyter": {"source_hidden": True}}]


def test_code_cells_are_counted_from_one_and_markdown_is_not():
    result = new_output("execute_result", data={"text/plain": "2"}, execution_count=9)
    cells = normalized(
        new_code_cell("1", execution_count=7),
        new_markdown_cell("words"),
        new_code_cell("2", execution_count=9, outputs=[result]),
    ).cells
    assert [cell.get("execution_count") for cell in cells] == [1, None, 2]
    assert cells[2].outputs[0].execution_count == 2


def test_a_widget_leaves_its_picture_and_its_words():
    data = {execute.WIDGET_VIEW: WIDGET, "image/png": "AAAA", "text/plain": "words"}
    size = {"width": 9, "height": 5}
    about = {"image/png": size | {"mood": "good"}, "text/plain": {"lang": "en"}}
    shown = new_output("display_data", data=data, metadata=about)
    bare = new_output("display_data", data={execute.WIDGET_VIEW: WIDGET})
    (cell,) = normalized(new_code_cell("show()", outputs=[shown, bare])).cells
    (output,) = cell.outputs
    assert output.data == {"image/png": "AAAA", "text/plain": "words"}
    assert output.metadata == {"image/png": size}


def test_streams_merge_only_with_the_one_before():
    between = new_output("display_data", data={"text/plain": "picture"})
    outputs = [stream("a\n"), stream("b\n"), between, stream("c\n"), stream("d\n", "stderr")]
    (cell,) = normalized(new_code_cell("print()", outputs=outputs)).cells
    assert [output.get("text") for output in cell.outputs] == ["a\nb\n", None, "c\n", "d\n"]


def test_normalizing_leaves_its_argument_alone_and_twice_is_once():
    data = {execute.WIDGET_VIEW: WIDGET, "text/plain": "words"}
    outputs = [stream("a"), stream("b"), new_output("display_data", data=data)]
    notebook = new_notebook(cells=[new_code_cell("1", outputs=outputs)], metadata={"x": 1})
    before = json.dumps(notebook)
    once = execute.normalized(notebook)
    assert json.dumps(notebook) == before
    assert execute.normalized(once) == once
    nbformat.validate(once)


def test_text_is_laid_out_as_jupyterlab_saves_it():
    text = execute.as_text(normalized(new_markdown_cell("ε · 平均", id="a")))
    assert text.startswith('{\n "cells": [\n')
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    assert "ε · 平均" in text


def test_ids_are_kept_and_missing_or_doubled_ones_are_the_same_in_every_run(tmp_path):
    path = tmp_path / "01-läßt sich lesen.ipynb"
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["a\n", "b"], **given}
        for given in ({"id": "mine"}, {}, {"id": "mine"}, {})
    ]
    old = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    path.write_text(json.dumps(old), encoding="utf-8")
    ids = [cell.id for cell in execute.read(path).cells]
    assert ids == ["mine", "01-l--t-sich-lesen-1", "mine-2", "01-l--t-sich-lesen-3"]
    assert ids == [cell.id for cell in execute.read(path).cells]


def test_running_twice_changes_nothing(tmp_path):
    source = "import os\nprint('a', flush=True)\nos.path.exists('here.txt')"
    path = write(tmp_path / "01-tiny.ipynb", "x = 1", source)
    (tmp_path / "here.txt").touch()
    assert execute.main([str(path)]) == 0
    first = path.read_bytes()
    cells = json.loads(first)["cells"]
    assert cells[1]["outputs"][1]["data"]["text/plain"] == ["True"]  # it ran in its own folder
    assert [cell["execution_count"] for cell in cells] == [1, 2]
    assert execute.main([str(path)]) == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("1 / 0", "cell 2 raised ZeroDivisionError: division by zero"),
        ("import sys; print('oh', file=sys.stderr)", "cell 2 wrote to stderr: oh"),
        ("import os; os._exit(1)", "Kernel died"),
    ],
)
def test_a_bad_notebook_is_refused_and_its_file_untouched(tmp_path, capsys, source, sentence):
    path = write(tmp_path / "01-bad.ipynb", "x = 1", source, "x")
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    printed = capsys.readouterr()
    assert "01-bad.ipynb: refused, file unchanged" in printed.out
    assert sentence in printed.err
    assert path.read_bytes() == before
