"""The pages of `make html`, made of small notebooks; the real ones are read in browsers."""

import re
from pathlib import Path

import export
import nbformat
import pages
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NAMES = {"01-feed-it.ipynb": "01-feed-it.html", "README.md": "README.html"}
TITLE = "# Feed `it`\n\n*Why is it\nnot 0?* Asked somewhere.\n\n25 minutes · next: [that](02-that.ipynb)"


def soup_of(*cells, names=NAMES, **how):
    notebook = new_notebook(cells=[new_markdown_cell(TITLE), *cells])
    return BeautifulSoup(pages.page(notebook, names=names, folder=Path(), **how), "html.parser")


def picture(alt):
    data = {"image/png": "AAAA", "text/html": "<img>", "text/plain": alt}
    return new_output("display_data", data=data, metadata={"image/png": {"width": 640, "height": 360}})


def test_a_page_has_a_language_a_title_a_heading_and_a_width_for_phones():
    soup = soup_of(new_markdown_cell("## Then"))
    assert soup.html["lang"] == "en"
    assert soup_of(language="ja").html["lang"] == "ja"
    assert [tag.text for tag in soup.select("title")] == ["Feed it"]
    assert [tag.text for tag in soup.select("h1")] == ["Feed it"]
    assert soup.select_one("meta[name=viewport]")["content"].startswith("width=device-width")
    assert len(soup.select("main")) == 1


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("01-feed-it.ipynb", "01-feed-it.html"),
        ("./01-feed-it.ipynb", "01-feed-it.html"),
        ("01-feed-it.ipynb#Feed-it-once", "01-feed-it.html#Feed-it-once"),
        ("README.md", "README.html"),
        ("#Then", "#Then"),
        ("index.html", "index.html"),
        ("https://keras.io/02-that.ipynb#x", "https://keras.io/02-that.ipynb#x"),
        ("02-that.ipynb#x", None),  # no page of it
        ("../bnlab/batch_norm.py", None),
    ],
)
def test_links_lead_to_pages_or_become_words(link, expected):
    soup = BeautifulSoup(f'<p>see <a href="{link}">the place</a></p>', "html.parser")
    pages.relink(soup, NAMES)
    assert soup.text == "see the place"
    assert [tag["href"] for tag in soup.select("a")] == [expected] * bool(expected)


def test_a_heading_can_be_linked_as_in_jupyter():
    soup = soup_of(new_markdown_cell("## Feed it `once`, twice\n\nsee [above](#Feed-it-once,-twice)"))
    heading = soup.select_one("h2")
    assert heading["id"] == "Feed-it-once,-twice"
    assert heading.text == "Feed it once, twice"
    assert soup.select_one("h2 a")["aria-hidden"] == "true"


@pytest.mark.parametrize(
    ("source", "kind"),
    [("so $x^2$ is", None), ("$$\\frac{a}{b}$$", "block"), ("| a |\n|---|\n| $\\gamma$ |", None)],
)
def test_formulas_are_mathml(source, kind):
    soup = soup_of(new_markdown_cell(source))
    (formula,) = soup.select("math")
    assert formula.get("display") == (kind or "inline")
    assert bool(formula.find_parent(class_="formula")) == (kind == "block")
    assert "$" not in soup.main.text


def test_a_formula_in_code_stays_as_it_is():
    soup = soup_of(new_markdown_cell("`$x$` and\n\n```\n$y$\n```"))
    assert not soup.select("math")
    assert [code.text.strip() for code in soup.select("code")] == ["it", "$x$", "$y$"]


def test_a_figure_has_its_words_as_alternative():
    soup = soup_of(new_code_cell("show()", outputs=[picture('Bars: "a" > b & c.')]))
    image = soup.select_one("img")
    assert image["alt"] == 'Bars: "a" > b & c.'
    assert (image["width"], image["height"]) == ("640", "360")
    assert image["src"] == "data:image/png;base64,AAAA"
    assert "style" not in image.attrs  # so that it shrinks with the page


def test_an_explorer_brings_the_style_and_the_script_of_all_explorers_once():
    html = '<figure class="explorer"><input type="range"></figure>'
    shown = [new_output("display_data", data={"image/png": "", "text/html": html, "text/plain": "Slider."})]
    plain, moving = soup_of(), soup_of(*(new_code_cell("explore()", outputs=shown) for _ in range(2)))
    assert len(moving.select("figure.explorer")) == 2
    assert not plain.select("script")
    assert ".explorer" not in plain.style.string
    (script,) = moving.select("script")
    assert script.string.strip() == pages.second_face.SCRIPT.strip()
    assert pages.second_face.STYLE in moving.style.string


def test_a_solution_is_folded_with_its_output_and_other_cells_are_not():
    printed = [new_output("stream", text="right\n")]
    soup = soup_of(
        new_code_cell("print(1)", outputs=printed),
        new_code_cell("answer()", outputs=printed, metadata={"tags": ["solution"]}),
        new_code_cell("hidden()", metadata={"jupyter": {"source_hidden": True}}),
    )
    folded = soup.select("details.folded")
    assert [fold.summary.text for fold in folded] == ["Solution", "Code"]
    assert "answer" in folded[0].select_one(".code").text
    assert folded[0].select_one(".output").text.strip() == "right"
    assert not any(fold.has_attr("open") for fold in folded)
    assert len(soup.select(".output")) == 2


@pytest.mark.parametrize(
    "html",
    [
        '<img src="https://example.org/a.png" alt="">',
        '<img src="//example.org/a.png" alt="">',
        '<script src="http://example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_a_page_that_would_load_something_from_outside_is_refused(html):
    with pytest.raises(ValueError, match=r"the page would load \S+example.org"):
        soup_of(new_markdown_cell(html))


def test_a_page_is_one_file():
    soup = soup_of(new_code_cell("show()", outputs=[picture("Bars.")]))
    sources = [tag["src"] for tag in soup.select("[src]")] + [tag["href"] for tag in soup.select("link")]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"https?:|@import|url\(", soup.style.string)


def test_the_start_page_names_questions_minutes_and_sizes():
    about = pages.about(new_notebook(cells=[new_markdown_cell(TITLE)]))
    assert about == ("Feed `it`", "Why is it not 0?", "25")
    teachers = pages.about(
        new_notebook(cells=[new_markdown_cell("# For teachers\n\nTwo.\n\n## 45 minutes: a")])
    )
    assert teachers.minutes == ""
    rows = [("01-feed-it.ipynb", about, 123_456, {}), ("README.md", teachers, 7_000, {})]
    soup = BeautifulSoup(pages.page(pages.start_page(rows), names=NAMES, folder=Path()), "html.parser")
    assert [link["href"] for link in soup.select("main a:not(.anchor-link)")] == [
        "01-feed-it.html",
        "README.html",
    ]
    for words in ("01 Feed it", "Why is it not 0?", "25 minutes · 123 kB", "For teachers"):
        assert words in soup.text
    assert not soup.select("nav")


def test_a_translation_becomes_a_page_of_its_language_with_the_same_outputs(tmp_path):
    output = new_output("stream", name="stdout", text="42")
    cells = [new_markdown_cell(TITLE, id="words"), new_code_cell("print(6 * 7)", outputs=[output], id="code")]
    words = [
        new_markdown_cell(
            "# 喂给它\n\n[英文](../../notebooks/01-feed-it.ipynb) [下一篇](02-that.ipynb)", id="words"
        )
    ]
    for place, parts in (("notebooks", cells), ("translations/zh", words)):
        (tmp_path / place).mkdir(parents=True)
        nbformat.write(new_notebook(cells=parts), tmp_path / place / "01-feed-it.ipynb")
    site = tmp_path / "site"
    site.mkdir()
    english = [tmp_path / "notebooks" / name for name in ("01-feed-it.ipynb", "08-only-english.ipynb")]
    nbformat.write(new_notebook(cells=cells), english[1])
    assert export.write_pages(english, site, run=export.execute.read) == []
    page = BeautifulSoup((site / "zh" / "01-feed-it.html").read_text(encoding="utf-8"), "html.parser")
    assert page.html["lang"] == "zh-Hans"
    assert page.h1.text == "喂给它"
    assert "42" in page.text
    assert "下一篇" in page.text
    up = "../01-feed-it.html"
    assert [link["href"] for link in page.select("a:not(.anchor-link)")] == ["../index.html", up, up]
    for name in ("index.html", "01-feed-it.html", "08-only-english.html"):
        soup = BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")
        assert "zh/01-feed-it.html" in [link["href"] for link in soup.select("a")], name
    assert [line.split()[0] for line in export.sizes(site)] == [
        "01-feed-it.html",
        "08-only-english.html",
        "index.html",
        "zh/01-feed-it.html",
        "together",
    ]


def test_every_notebook_has_what_the_start_page_says():
    for path in sorted(export.execute.NOTEBOOKS.glob("*.ipynb")):
        about = pages.about(export.execute.read(path))
        assert all(about), path.name
        assert len(about.question) < 300, path.name


def notebook_at(path, *sources):
    cells = [new_markdown_cell(TITLE), *(new_code_cell(source) for source in sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_build_replaces_the_last_one_and_leaves_nothing_else(tmp_path, capsys):
    path = notebook_at(tmp_path / "01-feed-it.ipynb", "import os\nprint('hello', os.environ['BNLAB_FACE'])")
    (tmp_path / "README.md").write_text("# For teachers\n\nSee [01](01-feed-it.ipynb).\n", encoding="utf-8")
    target = tmp_path / "pages" / "site"
    for _ in range(2):
        assert export.main(["--to", str(target), str(path)]) == 0
        (target / "stale.html").touch()
    assert export.main(["--to", str(target), str(path)]) == 0
    assert set(files_in(target)) == {"01-feed-it.html", "README.html", "index.html"}
    assert [path.name for path in target.parent.iterdir()] == ["site"]
    assert "hello page" in (target / "01-feed-it.html").read_text(encoding="utf-8")
    assert 'href="01-feed-it.html"' in (target / "README.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    for name in ("01-feed-it.html", "README.html", "index.html", "together"):
        assert re.search(rf"^{re.escape(name)} +\S+ kB$", said, re.MULTILINE)
    assert path.read_text(encoding="utf-8").count("hello") == 1  # the notebook itself is as it was


@pytest.fixture
def old_site(tmp_path):
    target = tmp_path / "site"
    target.mkdir()
    (target / "index.html").write_text(f"<meta {export.MARK}/>old", encoding="utf-8")
    return target


def refused(target, *paths, capsys):
    before = files_in(target)
    assert export.main(["--to", str(target), *map(str, paths)]) == 1
    assert files_in(target) == before
    assert not list(target.parent.glob(".site-*"))
    return capsys.readouterr().err


def test_a_notebook_that_raises_is_refused_by_name_and_cell(tmp_path, old_site, capsys):
    good = notebook_at(tmp_path / "01-good.ipynb", "1")
    bad = notebook_at(tmp_path / "02-bad.ipynb", "x = 1", "x / 0")
    said = refused(old_site, good, bad, capsys=capsys)
    assert "02-bad.ipynb: cell 3 raised ZeroDivisionError: division by zero" in said
    assert "site/ is as it was" in said


def test_a_notebook_that_is_not_there_is_named(tmp_path, old_site, capsys):
    assert "no notebook 07-lost.ipynb" in refused(old_site, tmp_path / "07-lost.ipynb", capsys=capsys)


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path, capsys):
    target = tmp_path / "site"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work", encoding="utf-8")
    said = refused(target, notebook_at(tmp_path / "01-a.ipynb", "1"), capsys=capsys)
    assert "site holds something else than these pages" in said
