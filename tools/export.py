"""Writes the notebooks as pages whose sliders work with no kernel and no network.

    python tools/export.py [--to FOLDER] [notebook ...]      site/ and all of notebooks/ without arguments

Each notebook runs from the top in a fresh kernel, and the state of its widgets goes into its page. What a
page needs besides (the widget manager, require.js, MathJax) lies in assets/ beside it, fetched once with
npm. The folder can be copied to a school server or a USB stick: it works from file:// as well.

The new pages replace the old ones at the very end. If a notebook is refused, as tools/execute.py would
refuse it, or npm is missing, the old ones stay as they were, and the exit code is 1.
"""

import argparse
import base64
import copy
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import execute
from bs4 import BeautifulSoup
from jinja2 import DictLoader
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook
from pygments.formatters import HtmlFormatter

SITE = Path(__file__).resolve().parent.parent / "site"
CACHE = Path(sys.prefix) / "var" / "bnlab-npm"
STATE = "application/vnd.jupyter.widget-state+json"
MARK = "assets/page.js"  # a folder with this file was written here, and may be replaced


class Package(NamedTuple):
    """An npm package: its version, the SHA-512 of its archive, and {file in it: name in assets/}."""

    version: str
    sha512: str
    files: dict


PACKAGES = {
    "@jupyter-widgets/html-manager": Package(
        "1.0.15",
        "5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        {
            "dist/embed-amd.js": "embed-amd.js",
            "dist/embed.js.LICENSE.txt": "embed-amd.LICENSE.txt",
            # Font Awesome, for the widgets' icons; the manager asks for them under these names.
            "dist/7a3337626410ca2f4071.woff2": "7a3337626410ca2f4071.woff2",
            "dist/1551f4f60c37af51121f.woff2": "1551f4f60c37af51121f.woff2",
            "dist/d878b0a6a1144760244f.woff2": "d878b0a6a1144760244f.woff2",
        },
    ),
    "requirejs": Package(
        "2.3.8",
        "7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        {"require.js": "require.js"},
    ),
    # The build that draws with SVG has its glyphs inside: browsers refuse fonts to pages from file://.
    "mathjax": Package(
        "3.2.2",
        "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        {"es5/tex-svg-full.js": "tex-svg-full.js", "LICENSE": "mathjax.LICENSE.txt"},
    ),
}

PAGE = """
{%- extends 'display_priority.j2' -%}
{%- block header -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ nb.metadata.title | e }}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/page.css">
<script src="assets/page.js" defer></script>
{%- if nb.metadata.widgets %}
<script src="assets/require.js" defer></script>
<script src="assets/embed-amd.js" data-jupyter-widgets-cdn="assets/" defer></script>
{%- endif %}
<script src="assets/tex-svg-full.js" defer></script>
</head>
<body>
{%- if not nb.metadata.start %}
<nav><a href="index.html">All notebooks</a></nav>
{%- endif %}
<main>
{%- endblock header -%}

{%- block markdowncell scoped -%}
<section class="prose">
{{ cell.source | markdown2html }}
</section>
{%- endblock -%}

{%- block codecell scoped -%}
{%- set solution = 'solution' in cell.metadata.get('tags', []) -%}
{%- set folded = solution or cell.metadata.get('jupyter', {}).get('source_hidden') -%}
{%- if folded %}
<details class="folded"><summary>{{ 'Solution' if solution else 'Code' }}</summary>
{%- endif -%}
{{ super() }}
{%- if folded %}</details>{% endif -%}
{%- endblock -%}

{%- block input -%}
<div class="code">{{ cell.source | highlight_code(metadata=cell.metadata) }}</div>
{%- endblock -%}

{%- block outputs -%}<div class="output">{{ super() }}</div>{%- endblock -%}
{%- block execute_result -%}
{%- block data_priority scoped -%}{{ super() }}{%- endblock -%}
{%- endblock -%}
{%- block stream_stdout -%}<pre>{{ output.text | ansi2html }}</pre>{%- endblock -%}
{%- block data_text scoped -%}<pre>{{ output.data['text/plain'] | ansi2html }}</pre>{%- endblock -%}
{%- block data_html scoped -%}<div>{{ output.data['text/html'] }}</div>{%- endblock -%}
{%- block data_markdown scoped -%}
<div class="prose">{{ output.data['text/markdown'] | markdown2html }}</div>
{%- endblock -%}
{%- block data_latex scoped -%}<div>{{ output.data['text/latex'] | e }}</div>{%- endblock -%}
{%- block data_svg scoped -%}<div>{{ output.data['image/svg+xml'] }}</div>{%- endblock -%}

{%- macro picture(output) -%}
{%- set size = output.metadata.get('image/png', {}) -%}
<img src="data:image/png;base64,{{ output.data['image/png'] | replace('\\n', '') }}"
 alt="{{ output.data.get('text/plain', '') | e }}"
 {%- if size %} width="{{ size.width }}" height="{{ size.height }}"{% endif %}>
{%- endmacro -%}
{%- block data_png scoped -%}{{ picture(output) }}{%- endblock -%}

{%- block data_widget_view scoped -%}
{%- set view = output.data['application/vnd.jupyter.widget-view+json'] -%}
{%- set words = output.data.get('text/plain', '') if 'image/png' in output.data else '' -%}
{%- set height = output.metadata.get('image/png', {}).get('height', 0) -%}
<div class="explorer mathjax_ignore" style="min-height: {{ height + 32 }}px" role="group"
 aria-label="Explorer" {%- if words %} aria-describedby="words-{{ view.model_id }}"{% endif %}>
<script type="application/vnd.jupyter.widget-view+json">{{ view | json_dumps | escape_html_script }}</script>
{%- if words %}<noscript>{{ picture(output) }}</noscript>{% endif %}
</div>
{%- if words %}<p class="now mathjax_ignore" aria-live="polite"></p>{% endif %}
{%- if output.metadata.note %}<p class="note">{{ output.metadata.note | e }}</p>{% endif %}
{%- if words %}
<details class="words"><summary>The picture in words, as it stands at first</summary>
<p id="words-{{ view.model_id }}">{{ words | e }}</p></details>
{%- endif %}
{%- endblock -%}

{%- block footer -%}
</main>
{%- if nb.metadata.widgets %}
<script type="application/vnd.jupyter.widget-state+json">
{{- nb.metadata.widgets['application/vnd.jupyter.widget-state+json'] | json_dumps | escape_html_script -}}
</script>
{%- endif %}
</body>
</html>
{%- endblock -%}
"""

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #5a5a5a; --line: #d9d9d9; --link: #005a8c; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: white; overflow-wrap: anywhere;
  font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
main, nav { max-width: 47rem; margin: 0 auto; padding: 0 1rem; }
nav { padding-top: 1rem; font-size: 0.9375rem; }
main { padding-bottom: 4rem; }
a { color: var(--link); }
h1, h2, h3 { line-height: 1.25; margin: 2.2em 0 0.6em; }
h1 { font-size: 2rem; margin-top: 0.8em; }
h2 { font-size: 1.45rem; padding-top: 0.6em; border-top: 1px solid var(--line); }
h3 { font-size: 1.15rem; }
.anchor-link { margin-left: 0.3em; text-decoration: none; opacity: 0; }
.anchor-link::after { content: "#"; }
:is(h1, h2, h3, h4):hover .anchor-link { opacity: 1; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.85em; }
p code, li code, td code { padding: 0.1em 0.25em; border-radius: 3px; background: #f3f3f3; }
pre { margin: 0; line-height: 1.45; overflow-x: auto; }
pre code { font-size: 1em; }
.code pre, .prose pre { padding: 0.7em 0.9em; border-left: 3px solid #0072b2; background: #f8f8f8; }
.code { margin: 1rem 0 0.4rem; }
@media (min-width: 52rem) {  /* a long line may leave the column before it scrolls */
  .code { width: max-content; min-width: 100%; max-width: min(60rem, calc(50vw + 22rem)); }
}
.output { margin: 0.4rem 0 1.2rem; overflow-x: auto; }
.output > pre { padding: 0.3em 0.9em; }
.output pre { font-size: 0.85em; }
.output img { display: block; max-width: 100%; height: auto; }
table { display: block; width: fit-content; max-width: 100%; overflow-x: auto; overflow-wrap: normal;
  border-collapse: collapse; font-size: 0.9375rem; }
th, td { padding: 0.35em 0.7em; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
blockquote { margin: 1em 0; padding-left: 1em; border-left: 3px solid var(--line); color: var(--soft); }
summary { cursor: pointer; color: var(--link); width: fit-content; }
.folded { margin: 1rem 0; }
.words, .note { margin: 0.4rem 0; font-size: 0.9375rem; color: var(--soft); }
.words p { margin: 0.4rem 0; }
.now { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }
mjx-container[display="true"] { overflow: auto hidden; padding: 2px 0; }
:focus-visible, .noUi-handle:focus { outline: 3px solid #d55e00; outline-offset: 2px; }

/* The widgets come with sizes for JupyterLab; here a picture shrinks with the page, as a whole. */
.explorer .lm-Widget { max-width: 100%; }
.explorer .widget-gridbox { grid-template-columns: minmax(0, 1fr); }
.explorer .widget-gridbox, .explorer .widget-gridbox .lm-Widget { height: auto !important; }
.explorer .widget-gridbox :is(img, svg[role="img"]) { max-width: 100% !important; height: auto; }
.explorer .widget-gridbox .widget-html-content { width: 100%; line-height: 0; }
.explorer .widget-hbox { flex-wrap: wrap; }
.explorer :disabled { cursor: not-allowed; }
@media (max-width: 700px) {
  .explorer { min-height: 0 !important; }
  .explorer .widget-hslider { flex-wrap: wrap; height: auto; }
  .explorer .widget-hslider .widget-label { width: 100% !important; text-align: left; }
  .explorer .widget-hslider .slider-container { margin-left: 10px; }
  .now { position: static; width: auto; height: auto; min-height: 4.8em; margin: 0.4rem 0; clip-path: none;
    font-size: 0.9375rem; }
}
@media print { nav, .anchor-link { display: none; } }
"""

SCRIPT = """
// Settings for what is loaded after this file; names for the sliders, which have none of their own; and the
// words of the frame that is shown, for screen readers, and for phones, where the picture's own are small.
window.require = {  // the widget manager looks for its fonts beside these two of its modules
  paths: {
    "@jupyter-widgets/html-manager": "assets/html-manager",
    "@jupyter-widgets/html-manager/dist/libembed-amd": "assets/libembed-amd",
  },
};
const hub = { Queue() {} };  // the widgets call MathJax 2 on every label; there are no formulas in ours
window.MathJax = {
  tex: { inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]], processEscapes: true },
  options: { enableMenu: false },
  svg: { scale: 0.92 },
  startup: { ready() { MathJax.Hub = hub; MathJax.startup.defaultReady(); } },
  Hub: hub,
};
function nameSlider(handle) {
  const slider = handle.closest(".widget-slider");
  const label = slider && slider.querySelector(".widget-label");
  const readout = slider && slider.querySelector(".widget-readout");
  if (!label || !readout) return;
  handle.setAttribute("aria-label", label.textContent);
  const say = () => {
    const text = readout.textContent;
    if (handle.getAttribute("aria-valuetext") !== text) handle.setAttribute("aria-valuetext", text);
  };
  const watch = new MutationObserver(say);
  watch.observe(readout, { childList: true, characterData: true, subtree: true });
  watch.observe(handle, { attributeFilter: ["aria-valuetext"] });
  say();
}
document.querySelectorAll(".explorer").forEach((explorer) => {
  const now = explorer.parentElement.querySelector(".now");
  new MutationObserver(() => {
    explorer.querySelectorAll(".noUi-handle:not([aria-label])").forEach(nameSlider);
    const frame = explorer.querySelector("svg[role='img'][aria-label]");
    if (now && frame && now.textContent !== frame.getAttribute("aria-label")) {
      now.textContent = frame.getAttribute("aria-label");
    }
  }).observe(explorer, { childList: true, subtree: true });
});
"""


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
    """Return the start page as a notebook; rows are (file, About, bytes), other texts without minutes."""
    text = [
        "# Understand batch normalization in TensorFlow",
        "Predict, look, drag a slider. The sliders on these pages work without a network. To run the "
        "experiments, to change them and to do the exercises, open the notebooks themselves.",
    ]
    for file, it, size in rows:
        if it.minutes:
            number = file.partition("-")[0]
            text += [f"## [{number} {it.title}]({file})"]
            text += [it.question, f"*{it.minutes} minutes · {kilobytes(size)}*"]
    if more := [f"[{it.title}]({file})" for file, it, _ in rows if not it.minutes]:
        text += [f"## More\n\n{', '.join(more)}"]
    text += [
        "In `assets/`: Jupyter Widgets (BSD licence), Require.js (MIT), MathJax (Apache 2.0), Font Awesome "
        "(CC BY 4.0, OFL 1.1)."
    ]
    return new_notebook(cells=[new_markdown_cell("\n\n".join(text))], metadata={"start": True})


def with_dead_controls_disabled(notebook):
    """Return a copy in which a control that needs a kernel is disabled, and a note says so, once.

    A control works without a kernel if a link in the browser (jslink, jsdlink) starts or ends at it.
    """
    notebook = copy.deepcopy(notebook)
    models = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    linked = {
        model_id
        for model in models.values()
        if model["model_name"] in ("LinkModel", "DirectionalLinkModel")
        for model_id in _named([model["state"]["source"], model["state"]["target"]])
    }
    dead = {key for key, model in models.items() if "disabled" in model["state"] and key not in linked}
    for key in dead:
        models[key]["state"]["disabled"] = True
    for output in _outputs(notebook):
        view = output.get("data", {}).get(execute.WIDGET_VIEW)
        family = _family(models, view["model_id"]) if view else []
        names = [models[key]["state"].get("description") or "a control" for key in family if key in dead]
        if names:
            output.metadata["note"] = (
                "On these pages the slider works. Greyed out is what needs a running notebook, here: "
                f"{', '.join(names)}."
            )
            break
    return notebook


def _outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _named(value):
    return re.findall(r"IPY_MODEL_(\w+)", str(value))


def _family(models, model_id):
    """Return a model and its children, theirs too, in order."""
    state = models.get(model_id, {}).get("state", {})
    return [model_id, *(key for child in _named(state.get("children", [])) for key in _family(models, child))]


def page(notebook, *, names, folder=execute.NOTEBOOKS):
    """Return the page of a notebook that has been run.

    Args:
        notebook: with its outputs, and the state of its widgets in the metadata.
        names: {file: page} of all pages, for links between them.
        folder: where the notebook lies, for pictures it names.

    Raises:
        ValueError: the page would load something from outside.
    """
    notebook = with_dead_controls_disabled(notebook)
    notebook.metadata["title"] = re.sub(r"[`*]", "", about(notebook).title)
    exporter = HTMLExporter(
        template_file="page.html.j2",
        extra_loaders=[DictLoader({"page.html.j2": PAGE})],
        anchor_link_text="",
        embed_images=True,
    )
    # A picture comes as PNG with its words, and for JupyterLab as HTML with both.
    kinds = ["image/png", "text/html", "text/markdown", "text/plain"]
    exporter.display_data_priority = [execute.WIDGET_VIEW, *kinds]
    html, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"path": str(folder)}})
    soup = BeautifulSoup(html, "html.parser")
    relink(soup, names)
    for anchor in soup.select("a.anchor-link"):
        anchor.attrs |= {"aria-hidden": "true", "tabindex": "-1"}
    if loaded := outside(soup):
        raise ValueError(f"the page would load {', '.join(loaded)}; expected nothing from outside")
    return str(soup)


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
    return [source for source in sources if re.match(r"(?!data:)\w+:|//", source)]


def run(path):
    """Return the notebook in a file, run from the top in a fresh kernel, with the state of its widgets."""
    return execute.run(execute.read(path), path.resolve().parent, keep_widgets=True)


def fetch(name):
    """Return the archive of an npm package, from the cache or with npm.

    Raises:
        OSError: npm is missing, could not fetch it, or brought something else than was pinned.
    """
    package = PACKAGES[name]
    archive = CACHE / f"{name.replace('/', '-')}-{package.version}.tgz"
    if archive.exists() and _sha512(archive) == package.sha512:
        return archive
    wanted = f"{name}@{package.version}"
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(f"npm, which fetches {wanted}, was not found; it comes with Node.js")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        command = [npm, "pack", wanted, "--fetch-retries=1", "--fetch-timeout=60000"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        fetched = list(Path(folder).glob("*.tgz"))
        if done.returncode or not fetched:
            said = re.findall(r"^npm (?:error|ERR!) +(.*)", done.stderr, re.MULTILINE)
            raise OSError(f"npm could not fetch {wanted}: {'; '.join(said[:2]) or 'no archive came'}")
        if _sha512(fetched[0]) != package.sha512:
            raise OSError(f"npm brought another {wanted} than the one pinned here")
        fetched[0].replace(archive)
    return archive


def _sha512(path):
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def write_assets(folder):
    """Write what the pages need besides themselves; raises as `fetch` does."""
    folder.mkdir(parents=True)
    for name, package in PACKAGES.items():
        with tarfile.open(fetch(name)) as archive:
            for inside, file in package.files.items():
                text = archive.extractfile(f"package/{inside}").read()
                # Browsers with open tools would ask for a map that is not there.
                text = re.sub(rb"//# sourceMappingURL=\S+", b"", text) if file.endswith(".js") else text
                (folder / file).write_bytes(text)
    colors = HtmlFormatter(style="default").get_style_defs(".highlight")
    (folder / "page.css").write_text(colors + STYLE, encoding="utf-8")
    (folder / "page.js").write_text(SCRIPT, encoding="utf-8")


def write_pages(paths, folder):
    """Run the notebooks; write their pages, the teachers' page and a start page; return what is wrong."""
    texts = [path.parent / "README.md" for path in paths[:1] if (path.parent / "README.md").exists()]
    names = {path.name: f"{path.stem}.html" for path in [*paths, *texts]}
    rows, wrong = [], []
    for path in [*paths, *texts]:
        try:
            if path in texts:
                notebook = new_notebook(cells=[new_markdown_cell(path.read_text(encoding="utf-8"))])
            else:
                notebook = run(path)
            found = execute.faults(notebook)
            html = "" if found else page(notebook, names=names, folder=path.parent)
        except (CellTimeoutError, DeadKernelError, ValueError) as error:
            found = [str(error).strip().splitlines()[0]]
        wrong += [f"{path.name}: {sentence}" for sentence in found]
        print(f"{path.name}: {'refused' if found else 'ok'}", flush=True)
        if not found:
            rows.append((path.name, about(notebook), _write(folder / names[path.name], html)))
    _write(folder / "index.html", page(start_page(rows), names=names))
    return wrong


def _write(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")
    return path.stat().st_size


def sizes(folder):
    """Return a line for each page, one for all assets and one for the whole folder."""
    assets = sum(path.stat().st_size for path in (folder / "assets").iterdir())
    pages = {path.name: path.stat().st_size for path in sorted(folder.glob("*.html"))}
    rows = {**pages, "assets/": assets, "together": assets + sum(pages.values())}
    width = max(map(len, rows))
    return [f"{name:{width}}  {kilobytes(size):>9}" for name, size in rows.items()]


def kilobytes(size):
    """Return a number of bytes in words, in thousands."""
    return f"{size / 1000:,.0f} kB"


def build(paths, target):
    """Build the site in a new folder and put it in the target's place; return what is wrong, then nothing."""
    target = target.resolve()
    if target.exists() and not (target / MARK).exists() and (target.is_file() or any(target.iterdir())):
        return [f"{target.name} holds something else than these pages; name an empty folder or a new one"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        try:
            write_assets(new / "assets")
        except (OSError, tarfile.TarError, KeyError) as error:
            return [str(error)]
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
