"""Turns a notebook that has been run into one page: styles, script, formulas and pictures are all inside."""

import copy
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from jinja2 import FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat.v4 import new_markdown_cell, new_notebook
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from bnlab.sliders import page as second_face

SITE_PARTS = Path(__file__).resolve().parent / "site"
# What a page says by itself; its language as HTML names it.
WORDS = {
    "en": {"tag": "en", "name": "English", "all": "All notebooks", "solution": "Solution", "code": "Code"},
    "zh": {"tag": "zh-Hans", "name": "中文", "all": "全部笔记本", "solution": "参考答案", "code": "代码"},
    "ja": {"tag": "ja", "name": "日本語", "all": "ノートブック一覧", "solution": "解答例", "code": "コード"},
}


class About(NamedTuple):
    """What the start page says of a notebook."""

    title: str
    question: str
    minutes: str


def about(notebook):
    """Return title, question and minutes of a notebook, read from its first cell."""
    paragraphs = notebook.cells[0].source.split("\n\n")
    asked = paragraphs[1] if len(paragraphs) > 1 else ""
    in_italics = re.match(r"\*(.+?)\*", asked, re.DOTALL)
    minutes = re.search(r"^(\d+) minutes", notebook.cells[0].source, re.MULTILINE)
    return About(
        paragraphs[0].removeprefix("# ").strip(),
        " ".join((in_italics[1] if in_italics else asked).split()),
        minutes[1] if minutes else "",
    )


def start_page(rows):
    """Return the start page as a notebook; rows are (file, About, bytes, {language: file}).

    A row without minutes is of another text. The first with translations leads to those who read them.
    """
    text = [
        "# Understand batch normalization in TensorFlow",
        "Predict, look, drag a slider. Each page is one file and works without a network. To run the "
        "experiments, to change them and to do the exercises, open the notebooks themselves.",
    ]
    text += [_in_other_languages(others) for *_, others in rows if others][:1]
    for file, it, size, others in rows:
        if it.minutes:
            number = file.partition("-")[0]
            text += [f"## [{number} {it.title}]({file})"]
            about = [f"*{it.minutes} minutes · {kilobytes(size)}*", _in_other_languages(others)]
            text += [it.question, " · ".join(filter(None, about))]
    if more := [f"[{it.title}]({file})" for file, it, *_ in rows if not it.minutes]:
        text += [f"## More\n\n{', '.join(more)}"]
    return new_notebook(cells=[new_markdown_cell("\n\n".join(text))], metadata={"start": True})


def _in_other_languages(files):
    return " · ".join(f"[{WORDS[language]['name']}]({file})" for language, file in files.items())


def kilobytes(size):
    """Return a number of bytes in words, in thousands."""
    return f"{size / 1000:,.0f} kB"


class _Renderer(IPythonRenderer):
    """Markdown with formulas as MathML, which browsers draw by themselves."""

    def inline_math(self, body):
        return convert(body)

    def block_math(self, body):
        return f'<span class="formula">{convert(body, display="block")}</span>'


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source):
        folder = context["resources"]["metadata"]["path"]
        renderer = _Renderer(escape=False, embed_images=True, path=folder, anchor_link_text="")
        return MarkdownWithMath(renderer=renderer).render(source)


def page(notebook, *, names, folder, language="en", others=None, start="index.html"):
    """Return the page of a notebook that has been run with the second face of its explorers.

    Args:
        notebook: with its outputs.
        names: {file: page} of all pages, for links between them.
        folder: where the notebook lies, for pictures it names.
        language: of its prose, one of WORDS.
        others: {language: page} of the same notebook.
        start: the start page.

    Raises:
        ValueError: the page would load something from outside.
    """
    notebook = copy.deepcopy(notebook)
    moving = [
        output for output in outputs(notebook) if "explorer" in output.get("data", {}).get("text/html", "")
    ]
    for output in moving:
        output.data.pop("image/png", None)  # a notebook shows it where there are no widgets
    kinds = ["image/png", "text/html", "text/markdown", "text/plain"]  # of a figure, its PNG with its words
    exporter = _Exporter(
        template_file="page.html.j2",
        extra_loaders=[FileSystemLoader(SITE_PARTS)],
        config=Config(NbConvertBase={"display_data_priority": kinds}),
    )
    parts = {
        "title": re.sub(r"[`*]", "", about(notebook).title),
        "words": WORDS[language],
        "others": [(WORDS[other], file) for other, file in (others or {}).items()],
        "all": start,
        "style": _style() + (second_face.STYLE if moving else ""),
        "script": second_face.SCRIPT if moving else "",
        "start": notebook.metadata.get("start", False),
    }
    html, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"path": str(folder)}, "page": parts}
    )
    soup = BeautifulSoup(html, "html.parser")
    relink(soup, names | {start: start} | {file: file for file in (others or {}).values()})
    for heading in soup.select("[id*='%']"):
        heading["id"] = unquote(heading["id"])  # as it is written in a link; nbconvert encodes other letters
    for anchor in soup.select("a.anchor-link"):
        anchor.attrs |= {"aria-hidden": "true", "tabindex": "-1"}
    if loaded := outside(soup):
        raise ValueError(f"the page would load {', '.join(loaded)}; expected nothing from outside")
    return str(soup)


def outputs(notebook):
    """Return the outputs of all cells."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _style():
    light, dark = (
        HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark")
    )
    own = (SITE_PARTS / "page.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def relink(soup, names):
    """Turn links to notebooks into links to their pages; of one to a file without a page, keep the words."""
    for link in soup.select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc or not parts.path:
            continue
        file = unquote(parts.path).removeprefix("./")
        if file in names:
            link["href"] = parts._replace(path=names[file]).geturl()
        elif file not in {"index.html", *names.values()}:
            link.unwrap()


def outside(soup):
    """Return what the page would load from elsewhere; a link that the reader may follow is no such thing."""
    sources = [tag[name] for name in ("src", "href", "data") for tag in soup.select(f"[{name}]:not(a)")]
    return [source for source in sources if not source.startswith(("data:", "#"))]
