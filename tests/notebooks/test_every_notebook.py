"""Holds every notebook to its anatomy and to the form in which git keeps it. Nothing is executed."""

from pathlib import Path

import anatomy
import in_git
import pytest
from lessons import load

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHECKS = anatomy.CHECKS + in_git.CHECKS


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
