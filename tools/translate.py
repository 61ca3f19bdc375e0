"""Keeps the translated notebooks beside their originals: the same code and outputs, in other words.

    python tools/translate.py                          copy code and outputs, list prose that lags behind
    python tools/translate.py --done NOTEBOOK CELL...  this prose now says what the English says
    python tools/translate.py --stale                  mark what lags behind, for a translator to find

Each prose cell of a translation has in its metadata the fingerprint of the English text that it translates.
It is missing if it has none, and stale if the English has another one now; the exit code is 1 if there is
any. Prose itself is never changed: only a cell that is new in the original is put in, in English.
"""

import argparse
import copy
import hashlib
import sys
from pathlib import Path

import execute

TRANSLATIONS = Path(__file__).resolve().parent.parent / "translations"


def original(path):
    """Return the file that a translated notebook translates."""
    return execute.NOTEBOOKS / path.name


def fingerprint(text):
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prose(notebook):
    """Return {id: cell} of the prose of a notebook."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "markdown"}


def renewed(english, translation):
    """Return the translation with the code and outputs of the original.

    Raises:
        ValueError: the original has no cell any more for some of the translated prose.
    """
    words = prose(translation)
    if left_over := words.keys() - prose(english).keys():
        raise ValueError(
            f"has no English any more for {', '.join(sorted(left_over))}; move the words, or delete them"
        )
    notebook = copy.deepcopy(english)
    notebook.cells = [words.get(cell.id, cell) for cell in notebook.cells]
    return notebook


def lagging(english, translation):
    """Return {id: what is the matter} of the prose that is missing or stale, and whether it is marked so."""
    words, found = prose(translation), {}
    for name, cell in prose(english).items():
        now, about = fingerprint(cell.source), words[name].metadata
        if about.get("translates") != now:
            what = "stale" if "translates" in about else "missing"
            found[name] = f"{what}, marked" if about.get("stale") == now else what
    return found


def mark(english, translation, names, *, done):
    """Write into cells of a translation that they are done, or that they are known to lag behind."""
    texts, words = prose(english), prose(translation)
    if unknown := [name for name in names if name not in texts]:
        raise ValueError(f"has no prose {', '.join(unknown)}")
    for name in names:
        about, now = words[name].metadata, fingerprint(texts[name].source)
        about.pop("stale", None)
        about["translates" if done else "stale"] = now


def renew(path, *, done=(), stale=False):
    """Bring one translated notebook up to date; return a sentence for each of its cells that lags behind."""
    english = execute.read(original(path))
    translation = renewed(english, execute.read(path))
    mark(english, translation, done, done=True)
    if stale:
        mark(english, translation, lagging(english, translation), done=False)
    execute.write(path, translation)
    return [f"{name} is {what}" for name, what in lagging(english, translation).items()]


def main(arguments):
    """Renew all translations; return the exit code."""
    parser = argparse.ArgumentParser(description="Copy code and outputs into translations; list stale prose.")
    parser.add_argument(
        "--done", nargs="+", metavar=("NOTEBOOK", "CELL"), help="cells that are translated now"
    )
    parser.add_argument("--stale", action="store_true", help="mark what lags behind")
    chosen = parser.parse_args(arguments)
    paths = sorted(TRANSLATIONS.glob("*/*.ipynb"))
    named, *cells = chosen.done or [None]
    if named and (Path(named).resolve() not in paths or not cells):
        print(f"--done needs a translated notebook and its cells, not {' '.join(chosen.done)}")
        return 1
    wrong = []
    for path in paths:
        try:
            done = cells if named and path == Path(named).resolve() else ()
            said = renew(path, done=done, stale=chosen.stale)
        except (ValueError, OSError) as error:
            said = [str(error)]
        wrong += [f"{path.relative_to(TRANSLATIONS.parent)}: {sentence}" for sentence in said]
    print("\n".join(wrong) or "every translation says what the English says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
