import bench
import nbformat
import pytest
import tables


def test_columns_line_up_and_a_missed_target_says_so():
    rows = [["a", "1.0", *tables.verdict(1.0, 1.5)], ["longer", "10.0", *tables.verdict(10.0, 1.5)]]
    assert tables.table(["what", "s", "target", ""], rows).splitlines() == [
        "what    s     target",
        "----------------------------",
        "a       1.0   <= 1.5  met",
        "longer  10.0  <= 1.5  missed",
    ]


@pytest.mark.parametrize(
    ("source", "truth"),
    [
        ("import bnlab.tensorflow_setup", True),
        ("import numpy\nfrom tensorflow import nn", True),
        ("from bnlab import update_ops", True),
        ("from bnlab import batch_norm  # not tensorflow's", False),
        ("from bnlab import batch_norm\nx = 'import tensorflow'", False),
    ],
)
def test_tensorflow_is_found_by_its_imports(tmp_path, source, truth):
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert bench.uses_tensorflow(tmp_path / "a.ipynb") is truth


def test_an_unknown_part_is_refused():
    with pytest.raises(SystemExit, match="no part lunch; choose from notebooks, speed"):
        bench.main(["lunch"])
