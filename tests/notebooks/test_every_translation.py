"""Holds every translation to its original. Nothing is executed: code and outputs are the original's own."""

import warnings

import execute
import export
import faithful
import in_git
import pytest
import translate
from lessons import headings, load

PATHS = sorted(translate.TRANSLATIONS.glob("*/*.ipynb"))
IN_GIT = [in_git.has_the_format_and_ids, in_git.names_no_machine, in_git.file_is_small]
CORE = [path.name for path in sorted(execute.NOTEBOOKS.glob("0[0-5]-*.ipynb"))]


def name(path):
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("check", faithful.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", PATHS, ids=name)
def test_translation(path, check):
    wrong = check(faithful.both(path))
    assert not wrong, "\n".join(f"{name(path)}: {sentence}" for sentence in wrong)


@pytest.mark.parametrize("check", IN_GIT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", PATHS, ids=name)
def test_file(path, check):
    assert check(load(path)) == []


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_nothing_is_left_to_copy(path):
    english, translation = execute.read(translate.original(path)), execute.read(path)
    wanted = execute.as_text(translate.renewed(english, translation))
    assert path.read_text(encoding="utf-8") == wanted, "run `make translate`"
    for cell, what in translate.lagging(english, translation).items():
        warnings.warn(f"{name(path)}: {cell} is {what}; a translator is welcome", stacklevel=1)


@pytest.mark.parametrize("language", export.LANGUAGES)
def test_the_readme_leads_to_each_by_its_title(language):
    text = (translate.TRANSLATIONS.parent / f"README.{language}.md").read_text(encoding="utf-8")
    for path in (path for path in PATHS if path.parent.name == language):
        title = headings(load(path).cells)[0][1]
        assert f"[{path.name[:2]} {title}](translations/{language}/{path.name})" in text
    assert f"README.{language}.md" in (translate.TRANSLATIONS.parent / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("language", export.LANGUAGES)
def test_the_core_is_there_and_what_recurs_is_called_the_same(language):
    paths = [path for path in PATHS if path.parent.name == language]
    assert [path.name for path in paths] == CORE
    called = {}
    for path in paths:
        pair = faithful.both(path)
        titles = zip(headings(pair.english.cells), headings(pair.translation.cells), strict=True)
        for (_, english), (_, other) in titles:
            called.setdefault(english, set()).add(other)
    assert {english: names for english, names in called.items() if len(names) > 1} == {}
