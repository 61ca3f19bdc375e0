import bench
import bench_speed
import nbformat
import numpy as np
import pytest
import tables

KINDS = bench_speed.FORWARD, bench_speed.GRADIENTS


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


def test_all_that_is_timed_computes_the_same():
    calls = bench_speed._calls(*bench_speed._inputs((64, 5)))
    kinds = {kind: [c for name, c in calls.items() if name.startswith(kind)] for kind in KINDS}
    assert min(map(len, kinds.values())) >= 4
    first, *others = (np.asarray(call()).reshape(64, 5) for call in kinds[bench_speed.FORWARD])
    for other in others:
        np.testing.assert_allclose(other, first, rtol=0, atol=1e-5)
    (_, (dx, dgamma, dbeta)), *others = (call() for call in kinds[bench_speed.GRADIENTS])
    for other in others:
        for mine, theirs in zip((dx, dgamma, dbeta), other, strict=True):
            np.testing.assert_allclose(np.reshape(theirs, mine.shape), mine, rtol=0, atol=1e-4)
