"""Writes the notebooks as pages whose sliders work with no kernel and no network.

    python tools/export.py [--to FOLDER] [notebook ...]      site/ and all of notebooks/ without arguments

Each notebook runs from the top in a fresh kernel and becomes one file with everything in it, to be opened
from a folder, a USB stick or a school's server.

The new pages replace the old ones at the very end. If a notebook is refused, as tools/execute.py would
refuse it, the old ones stay as they were, and the exit code is 1.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import execute
import pages
import translate
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_markdown_cell, new_notebook

from bnlab.sliders.explorer import FACE

LANGUAGES = [language for language in pages.WORDS if language != "en"]
SITE = Path(__file__).resolve().parent.parent / "site"
MARK = 'content="bnlab" name="generator"'  # an index.html with it was written here, and may be replaced


def run(path, *, environment=os.environ, **how):
    """Return the notebook in a file, run from the top in a fresh kernel, its explorers with both faces.

    environment is that of the kernel, but for the faces; how else it is run is for `execute.run`.
    """
    environment = environment | {FACE: "page"}
    return execute.run(execute.read(path), path.resolve().parent, environment=environment, **how)


def write_pages(paths, folder, *, run=run):
    """Run the notebooks; write their pages, the teachers' page and a start page; return what is wrong.

    A translation becomes a page in the folder of its language, with the outputs of the same run.
    run is the function that gives the notebook in a file with its outputs.
    """
    texts = [path.parent / "README.md" for path in paths[:1] if (path.parent / "README.md").exists()]
    names = addresses([*paths, *texts])
    rows, wrong = [], []
    for path in [*paths, *texts]:
        try:
            if path in texts:
                notebook = new_notebook(cells=[new_markdown_cell(path.read_text(encoding="utf-8"))])
            else:
                notebook = run(path)
            found = execute.faults(notebook)
            if not found:
                write_page(notebook, path, folder, names)
        except (CellTimeoutError, DeadKernelError, ValueError) as error:
            found = [str(error).strip().splitlines()[0]]
        wrong += [f"{path.name}: {sentence}" for sentence in found]
        print(f"{path.name}: {'refused' if found else 'ok'}", flush=True)
        if not found:
            here = pages_of(path, names)
            size = (folder / here.pop("en")).stat().st_size
            rows.append((path.name, pages.about(notebook), size, here))
    start = pages.page(pages.start_page(rows), names=seen_from("", names), folder=folder)
    _write(folder / "index.html", start)
    return wrong


def addresses(paths):
    """Return {(language, file): page in the site} of the notebooks and texts and of their translations."""
    names = {("en", path.name): f"{path.stem}.html" for path in paths}
    for path in paths:
        names |= {(language, path.name): f"{language}/{path.stem}.html" for language in translated(path)}
    return names


def pages_of(path, names):
    """Return {language: page} of one notebook."""
    return {language: page for (language, file), page in names.items() if file == path.name}


def translated(path):
    """Return {language: file} of the translations of a notebook."""
    files = {language: path.parent.parent / "translations" / language / path.name for language in LANGUAGES}
    return {language: file for language, file in files.items() if file.exists()}


def seen_from(folder, names):
    """Return {link in a notebook: link in its page} for one whose page is in this folder of the site."""
    links = {}
    for (language, file), page in names.items():
        there = "" if language == "en" else f"{language}/"
        if there == folder:
            links[file] = page.removeprefix(folder)
        elif not folder:
            links[f"../translations/{there}{file}"] = page
        else:
            links[f"../{there or '../notebooks/'}{file}"] = f"../{page}"
    return links


def write_page(notebook, path, folder, names):
    """Write the page of a notebook that has been run, and of its translations."""
    here = pages_of(path, names)
    # Where a notebook has no translation, its page leads to the first that has one.
    starts = {language: page for (language, _), page in reversed(names.items()) if language != "en"}
    every = starts | here
    for language, page in here.items():
        inside, up = ("", "") if language == "en" else (f"{language}/", "../")
        html = pages.page(
            translate.renewed(notebook, execute.read(translated(path)[language])) if inside else notebook,
            names=seen_from(inside, names),
            folder=path.parent,
            language=language,
            others={
                other: up + every[other] for other in pages.WORDS if other in every and other != language
            },
            start=f"{up}index.html",
        )
        (folder / inside).mkdir(exist_ok=True)
        _write(folder / page, html)


def _write(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")


def sizes(folder):
    """Return a line for each page and one for the whole folder."""
    found = sorted(folder.rglob("*.html"))
    rows = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}
    rows["together"] = sum(rows.values())
    width = max(map(len, rows))
    return [f"{name:{width}}  {pages.kilobytes(size):>9}" for name, size in rows.items()]


def build(paths, target):
    """Build the site in a new folder and put it in the target's place; return what is wrong, then nothing."""
    target = target.resolve()
    if target.exists() and not _is_ours(target):
        return [f"{target.name} holds something else than these pages; name an empty folder or a new one"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        if wrong := write_pages(paths, new):
            return wrong
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            old.rename(target)
            raise
    return []


def _is_ours(folder):
    if not folder.is_dir():
        return False
    start = folder / "index.html"
    return not any(folder.iterdir()) or (start.is_file() and MARK in start.read_text(encoding="utf-8"))


def main(arguments):
    """Build the pages of the notebooks named, or of all; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the notebooks as pages that need no kernel.")
    parser.add_argument("--to", type=Path, default=SITE, metavar="FOLDER", help="where to; default: site/")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="notebook", help="default: all")
    chosen = parser.parse_args(arguments)
    paths = chosen.notebooks or sorted(execute.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
    if absent := [path.name for path in paths if not path.is_file()]:
        wrong = [f"no notebook {', '.join(absent)}"]
    else:
        wrong = build(paths, chosen.to)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if wrong:
        print(f"{chosen.to.name}/ is as it was", file=sys.stderr)
        return 1
    print("\n".join(["", *sizes(chosen.to), "", f"Open {chosen.to.name}/index.html in a browser."]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
