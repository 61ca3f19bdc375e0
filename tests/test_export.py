import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import export
import ipywidgets
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

VIEW = export.execute.WIDGET_VIEW
NAMES = {"01-feed-it.ipynb": "01-feed-it.html", "README.md": "README.html"}
TITLE = "# Feed `it`\n\n*Why is it\nnot 0?* Asked somewhere.\n\n25 minutes · next: [that](02-that.ipynb)"


def model(name, **state):
    about = {"model_name": name, "model_module": "@jupyter-widgets/controls", "model_module_version": "2.0.0"}
    return about | {"state": state}


def explored():
    """Return a notebook with an explorer as ipywidgets saves it, and a second one like it."""
    models = {}
    for at in "ab":
        models |= {
            f"{at}box": model("VBoxModel", children=[f"IPY_MODEL_{at}slider", f"IPY_MODEL_{at}row"]),
            f"{at}row": model("HBoxModel", children=[f"IPY_MODEL_{at}choice"]),
            f"{at}slider": model("SelectionSliderModel", disabled=False, description="momentum", index=0),
            f"{at}choice": model("DropdownModel", disabled=False, description="epsilon", index=0),
            f"{at}stack": model("StackModel", children=[], selected_index=0),
            f"{at}link": model(
                "LinkModel",
                source=[f"IPY_MODEL_{at}slider", "index"],
                target=[f"IPY_MODEL_{at}stack", "selected_index"],
            ),
        }
    outputs = [
        new_output(
            "execute_result",
            data={
                VIEW: {"model_id": f"{at}box", "version_major": 2, "version_minor": 0},
                "image/png": "AAAA",
                "text/plain": 'A "curve" that falls <fast>.',
            },
            metadata={"image/png": {"width": 640, "height": 360}},
        )
        for at in "ab"
    ]
    state = {"version_major": 2, "version_minor": 0, "state": models}
    return new_notebook(
        cells=[new_markdown_cell(TITLE), *(new_code_cell("explore()", outputs=[out]) for out in outputs)],
        metadata={"widgets": {export.STATE: state}},
    )


def soup_of(*cells, names=NAMES, **metadata):
    notebook = new_notebook(cells=[new_markdown_cell(TITLE), *cells], metadata=metadata)
    return BeautifulSoup(export.page(notebook, names=names), "html.parser")


def picture(alt):
    data = {"image/png": "AAAA", "text/plain": alt}
    return new_output("display_data", data=data, metadata={"image/png": {"width": 640, "height": 360}})


def test_a_page_has_a_language_a_title_a_heading_and_a_width_for_phones():
    soup = soup_of(new_markdown_cell("## Then"))
    assert soup.html["lang"] == "en"
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
    export.relink(soup, NAMES)
    assert soup.text == "see the place"
    assert [tag["href"] for tag in soup.select("a")] == [expected] * bool(expected)


def test_a_heading_can_be_linked_as_in_jupyter():
    soup = soup_of(new_markdown_cell("## Feed it `once`, twice\n\nsee [above](#Feed-it-once,-twice)"))
    heading = soup.select_one("h2")
    assert heading["id"] == "Feed-it-once,-twice"
    assert heading.text == "Feed it once, twice"
    assert soup.select_one("h2 a")["aria-hidden"] == "true"


def test_controls_without_a_link_in_the_browser_are_disabled_and_said_once():
    before = explored()
    text = json.dumps(before)
    after = export.with_dead_controls_disabled(before)
    assert json.dumps(before) == text
    models = after.metadata.widgets[export.STATE]["state"]
    assert {key: m["state"]["disabled"] for key, m in models.items() if "disabled" in m["state"]} == {
        "aslider": False,
        "achoice": True,
        "bslider": False,
        "bchoice": True,
    }
    notes = [output.metadata.get("note") for output in export._outputs(after)]
    assert notes[0].endswith("needs a running notebook, here: epsilon.")
    assert notes[1] is None


def test_what_another_link_drives_stays_alive_and_a_notebook_without_widgets_is_left_alone():
    notebook = explored()
    models = notebook.metadata.widgets[export.STATE]["state"]
    models["more"] = model(
        "DirectionalLinkModel", source=["IPY_MODEL_bslider", "value"], target=["IPY_MODEL_achoice", "index"]
    )
    after = export.with_dead_controls_disabled(notebook).metadata.widgets[export.STATE]["state"]
    assert [after[key]["state"]["disabled"] for key in ("achoice", "bchoice")] == [False, True]
    plain = new_notebook(cells=[new_code_cell("1", outputs=[picture("x")])])
    assert export.with_dead_controls_disabled(plain) == plain


def test_an_explorer_keeps_its_view_its_picture_and_its_words():
    soup = BeautifulSoup(export.page(explored(), names=NAMES), "html.parser")
    assert len(soup.select(".note")) == 1
    for explorer in soup.select(".explorer"):
        view = json.loads(explorer.select_one(f'script[type="{VIEW}"]').string)
        assert view["model_id"] in ("abox", "bbox")
        words = soup.select_one(f"#{explorer['aria-describedby']}")
        assert words.text == 'A "curve" that falls <fast>.'
        assert explorer.select_one("noscript img")["alt"] == words.text
    assert len(soup.select(".explorer")) == 2
    (state,) = soup.select(f'script[type="{export.STATE}"]')
    assert json.loads(state.string)["state"]["achoice"]["state"]["disabled"] is True


def test_a_figure_has_its_words_as_alternative():
    soup = soup_of(new_code_cell("show()", outputs=[picture('Bars: "a" > b & c.')]))
    image = soup.select_one("img")
    assert image["alt"] == 'Bars: "a" > b & c.'
    assert (image["width"], image["height"]) == ("640", "360")
    assert image["src"] == "data:image/png;base64,AAAA"


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


@pytest.mark.parametrize("notebook", [explored(), new_notebook(cells=[new_markdown_cell(TITLE)])])
def test_a_page_loads_nothing_but_the_files_beside_it(notebook):
    soup = BeautifulSoup(export.page(notebook, names=NAMES), "html.parser")
    sources = [tag["src"] for tag in soup.select("[src]")] + [tag["href"] for tag in soup.select("link")]
    written = {name for package in export.PACKAGES.values() for name in package.files.values()}
    for source in sources:
        name = source.removeprefix("assets/")
        assert name in {*written, "page.css", "page.js"} or source.startswith("data:"), source
    assert ("assets/require.js" in sources) == ("widgets" in notebook.metadata)
    for script in soup.select("script:not([src], [type])"):
        assert "http" not in script.text
    for text in (export.STYLE, export.SCRIPT):
        assert not re.search(r"https?:|//\w+\.|@import|url\(", text)


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


def test_the_start_page_names_questions_minutes_and_sizes():
    about = export.about(new_notebook(cells=[new_markdown_cell(TITLE)]))
    assert about == ("Feed `it`", "Why is it not 0?", "25")
    teachers = export.about(
        new_notebook(cells=[new_markdown_cell("# For teachers\n\nTwo.\n\n## 45 minutes: a")])
    )
    assert teachers.minutes == ""
    rows = [("01-feed-it.ipynb", about, 123_456), ("README.md", teachers, 7_000)]
    soup = BeautifulSoup(export.page(export.start_page(rows), names=NAMES), "html.parser")
    assert [link["href"] for link in soup.select("main a:not(.anchor-link)")] == [
        "01-feed-it.html",
        "README.html",
    ]
    for words in ("01 Feed it", "Why is it not 0?", "25 minutes · 123 kB", "For teachers"):
        assert words in soup.text
    assert not soup.select("nav")


def test_every_notebook_has_what_the_start_page_says():
    for path in sorted(export.execute.NOTEBOOKS.glob("*.ipynb")):
        about = export.about(export.execute.read(path))
        assert all(about), path.name
        assert len(about.question) < 300, path.name


def test_the_widget_manager_is_of_the_family_that_ipywidgets_asks_for():
    wanted = ipywidgets._version.__html_manager_version__.lstrip("^~")
    ours = export.PACKAGES["@jupyter-widgets/html-manager"].version
    assert ours.split(".")[0] == wanted.split(".")[0]
    assert tuple(map(int, ours.split("."))) >= tuple(map(int, wanted.split(".")))


# The build, with packages made up here: no npm, no network.


def archive_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Put one small package into the cache, in the place of all."""
    data = archive_of({"a.js": b"let a;\n//# sourceMappingURL=a.js.map\n", "b.woff2": b"\x00font"})
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "@us-small-1.2.3.tgz").write_bytes(data)
    digest = export._sha512(cache / "@us-small-1.2.3.tgz")
    small = export.Package("1.2.3", digest, {"a.js": "a.js", "b.woff2": "b.woff2"})
    monkeypatch.setattr(export, "PACKAGES", {"@us/small": small})
    monkeypatch.setattr(export, "CACHE", cache)
    return cache


def notebook_at(path, *sources):
    cells = [new_markdown_cell(TITLE), *(new_code_cell(source) for source in sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("packages")
def test_a_build_replaces_the_last_one_and_leaves_nothing_else(tmp_path, capsys):
    path = notebook_at(tmp_path / "01-feed-it.ipynb", "print('hello')")
    (tmp_path / "README.md").write_text("# For teachers\n\nSee [01](01-feed-it.ipynb).\n")
    target = tmp_path / "pages" / "site"
    for _ in range(2):
        assert export.main(["--to", str(target), str(path)]) == 0
        (target / "stale.html").touch()
    assert export.main(["--to", str(target), str(path)]) == 0
    pages = ["01-feed-it.html", "README.html", "index.html"]
    assets = ["a.js", "b.woff2", "page.css", "page.js"]
    assert set(files_in(target)) == {*pages, *(f"assets/{name}" for name in assets)}
    assert [path.name for path in target.parent.iterdir()] == ["site"]
    assert (target / "assets" / "a.js").read_bytes() == b"let a;\n\n"
    assert "hello" in (target / "01-feed-it.html").read_text()
    assert 'href="01-feed-it.html"' in (target / "README.html").read_text()
    said = capsys.readouterr().out
    for name in (*pages, "assets/", "together"):
        assert re.search(rf"^{re.escape(name)} +\S+ kB$", said, re.MULTILINE)
    assert path.read_text().count("hello") == 1  # the notebook itself is as it was


@pytest.fixture
def old_site(tmp_path):
    target = tmp_path / "site"
    (target / "assets").mkdir(parents=True)
    (target / export.MARK).touch()
    (target / "index.html").write_text("old")
    return target


def refused(target, *paths, capsys):
    before = files_in(target)
    assert export.main(["--to", str(target), *map(str, paths)]) == 1
    assert files_in(target) == before
    assert not list(target.parent.glob(".site-*"))
    return capsys.readouterr().err


@pytest.mark.usefixtures("packages")
def test_a_notebook_that_raises_is_refused_by_name_and_cell(tmp_path, old_site, capsys):
    good = notebook_at(tmp_path / "01-good.ipynb", "1")
    bad = notebook_at(tmp_path / "02-bad.ipynb", "x = 1", "x / 0")
    said = refused(old_site, good, bad, capsys=capsys)
    assert "02-bad.ipynb: cell 3 raised ZeroDivisionError: division by zero" in said
    assert "site/ is as it was" in said


@pytest.mark.usefixtures("packages")
def test_a_notebook_that_is_not_there_is_named(tmp_path, old_site, capsys):
    assert "no notebook 07-lost.ipynb" in refused(old_site, tmp_path / "07-lost.ipynb", capsys=capsys)


def test_without_npm_one_line_says_so(tmp_path, packages, old_site, capsys, monkeypatch):
    (packages / "@us-small-1.2.3.tgz").unlink()
    monkeypatch.setattr(export.shutil, "which", lambda _: None)
    said = refused(old_site, notebook_at(tmp_path / "01-a.ipynb", "1"), capsys=capsys)
    expected = "npm, which fetches @us/small@1.2.3, was not found; it comes with Node.js"
    assert said.splitlines() == [expected, "site/ is as it was"]


def npm(code, *, stderr="", data=None):
    def run(_, cwd, **__):
        if data is not None:
            (Path(cwd) / "small-1.2.3.tgz").write_bytes(data)
        return subprocess.CompletedProcess([], code, "", stderr)

    return run


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            npm(
                1,
                stderr="npm warn x\nnpm error code ENOTFOUND\nnpm error network request failed\nnpm error z",
            ),
            "npm could not fetch @us/small@1.2.3: code ENOTFOUND; network request failed",
        ),
        (npm(0), "npm could not fetch @us/small@1.2.3: no archive came"),
        (npm(0, data=b"other"), "npm brought another @us/small@1.2.3 than the one pinned here"),
    ],
)
def test_a_package_that_does_not_come_is_one_line(
    tmp_path, packages, old_site, capsys, monkeypatch, answer, sentence
):
    (packages / "@us-small-1.2.3.tgz").write_bytes(b"cut off")  # a broken cache is not used
    monkeypatch.setattr(export.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(export.subprocess, "run", answer)
    said = refused(old_site, notebook_at(tmp_path / "01-a.ipynb", "1"), capsys=capsys)
    assert said.splitlines() == [sentence, "site/ is as it was"]
    assert [path.name for path in packages.iterdir()] == ["@us-small-1.2.3.tgz"]


@pytest.mark.usefixtures("packages")
def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path, capsys):
    target = tmp_path / "site"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    said = refused(target, notebook_at(tmp_path / "01-a.ipynb", "1"), capsys=capsys)
    assert "site holds something else than these pages" in said
