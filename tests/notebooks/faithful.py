"""What a translation owes its original: a check takes a Pair and returns a sentence for each fault."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

import execute
import translate
from lessons import Lesson, as_anchor, headings, is_local, is_markdown, load, section, source

START = execute.NOTEBOOKS / "00-start-here.ipynb"
PREDICT = {"en": "**Predict:**", "zh": "**预测：**", "ja": "**予想：**"}
CODE = re.compile(r"```.*?```|``.+?``|`[^`\n]+`", re.DOTALL)
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
LINK = re.compile(r"\]\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
LETTERS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
# English words of the glossary that have other forms or a homonym: "weight decay", "which should mean".
FORMS = {
    "batch normalization": r"batch[ -]norm(?:alization)?",
    "minibatch": r"mini-?batch(?:es)?",
    "mean": r"(?<!should )(?<!to )(?<!not )mean",
    "decay": r"(?<!weight )(?<!weights )decay",
    "scale": r"(?:a|new|the) scale",
    "update operation": r"update op(?:eration)?s?",
}


@dataclass
class Pair:
    """A notebook and its translation; the language is the name of the folder."""

    english: Lesson
    translation: Lesson

    @property
    def language(self):
        return self.translation.path.parent.name

    @property
    def prose(self):
        """Return (English cell, its translation), but for those that are known to be stale."""
        words = {cell["id"]: cell for cell in self.translation.cells if is_markdown(cell)}
        pairs = [(cell, words[cell["id"]]) for cell in self.english.cells if cell["id"] in words]
        return [(old, new) for old, new in pairs if new["metadata"].get("stale") != now(old)]


@cache
def both(path):
    """Return a translation, by the path of its file, with its original; who changes it takes a copy."""
    return Pair(load(translate.original(path)), load(path))


def now(cell):
    """Return the fingerprint of the prose of a cell."""
    return translate.fingerprint(source(cell))


def without(*patterns, text):
    """Return the text with what the patterns match left out."""
    for pattern in patterns:
        text = pattern.sub(" ", text)
    return text


def has_the_same_cells(pair):
    english, other = (
        [(cell["id"], cell["cell_type"]) for cell in lesson.cells]
        for lesson in (pair.english, pair.translation)
    )
    return [] if english == other else [f"has other cells or another order: {set(english) ^ set(other)}"]


def has_the_same_code_and_outputs(pair):
    wrong = (
        [] if pair.english.data["metadata"] == pair.translation.data["metadata"] else ["has other metadata"]
    )
    english = {cell["id"]: cell for cell in pair.english.code}
    return wrong + [
        f"{cell['id']} is not the code with the outputs of the original"
        for cell in pair.translation.code
        if cell != english.get(cell["id"])
    ]


def prose_is_translated(pair):
    wrong = []
    for _, cell in pair.prose:
        text = without(CODE, FORMULA, LINK, re.compile(r'"[^"]*"|\([^)]*\)'), text=source(cell))
        left = re.findall(r"(?:\b[A-Za-z]{2,}\b[ ,]*){6,}", text)
        if "translates" not in cell["metadata"] or not LETTERS.search(text) or left:
            wrong.append(f"{cell['id']} is not translated {left}")
    return wrong


def prose_is_up_to_date(pair):
    about = [(old, new["metadata"]) for old, new in pair.prose]
    wrong = [f"{old['id']} is stale" for old, its in about if its.get("translates") not in (None, now(old))]
    return wrong + [f"{old['id']} is marked stale for another text" for old, its in about if "stale" in its]


def differences(pair, kind, found):
    """Return a sentence for each prose cell in which something is found another number of times."""
    wrong = []
    for old, new in pair.prose:
        english, other = Counter(found(source(old))), Counter(found(source(new)))
        if english != other:
            wrong.append(
                f"{old['id']} has other {kind}: {dict(english - other)} became {dict(other - english)}"
            )
    return wrong


def has_the_same_code_spans(pair):
    return differences(pair, "code", CODE.findall)


def has_the_same_formulas(pair):
    def formulas(text):
        return [" ".join(formula.split()) for formula in FORMULA.findall(without(CODE, text=text))]

    return differences(pair, "formulas", formulas)


def has_the_same_numbers(pair):
    def numbers(text):
        return re.findall(r"\d(?:[\d,.]*\d)?", without(CODE, FORMULA, LINK, text=text))

    return differences(pair, "numbers", numbers)


def has_the_same_shape(pair):
    """Headings of the same levels, lists and tables of the same size."""

    def shape(text):
        lines = without(CODE, text=text).splitlines()
        lists = [line[:2] for line in lines if line.startswith("- ")]
        rows = [("columns", line.replace("\\|", "").count("|")) for line in lines if line.startswith("|")]
        levels = re.findall(r"^(#+) ", text, re.MULTILINE)
        return lists + rows + [("heading", number, level) for number, level in enumerate(levels)]

    return differences(pair, "headings, lists or tables", shape)


def asks_for_the_same_predictions(pair):
    marks = PREDICT["en"], PREDICT[pair.language]
    return [
        f"{old['id']} does not ask for its prediction by {marks[1]}"
        for old, new in pair.prose
        if source(old).count(marks[0]) != source(new).count(marks[1])
    ]


def anchors(lesson):
    return [as_anchor(title) for _, title in headings(lesson.cells)]


def headings_are_told_apart(pair):
    twice = [name for name, times in Counter(anchors(pair.translation)).items() if times > 1]
    return [f"has the heading {name!r} more than once" for name in twice]


def links_lead_to_the_same(pair):
    """To the same section of the translated sibling where there is one, else to the original."""
    wrong = []
    for old, new in pair.prose:
        wanted = Counter(translated(link, pair) for link in LINK.findall(without(CODE, text=source(old))))
        found = Counter(unquote(link) for link in LINK.findall(without(CODE, text=source(new))))
        if wanted != found:
            wrong.append(f"{old['id']} has other links: {dict(wanted - found)} became {dict(found - wanted)}")
    return wrong


def translated(link, pair):
    """Return where a link of the original leads in its translation."""
    file, _, anchor = unquote(link).partition("#")
    folder = pair.translation.path.parent
    if not is_local(link):
        return unquote(link)
    if file.startswith("../translations/"):  # its own language leads back to English
        _, _, language, name = file.split("/")
        return f"../../notebooks/{name}" if language == folder.name else f"../{language}/{name}"
    if file and not (folder / file).exists():
        return f"../../notebooks/{unquote(link)}"
    if anchor:
        there = both(folder / file) if file else pair
        at = anchors(there.english).index(as_anchor(anchor))
        return f"{file}#{anchors(there.translation)[at]}"
    return file


@cache
def glossary():
    """Return [(English, {language: word})] of the words in the table of the start page."""
    cells = section(load(START), "Words in three languages")
    rows = [line.strip("|").split("|")[:3] for line in source(cells[0]).splitlines() if line.startswith("| ")]
    words = []
    for row in rows[1:]:
        for english, *others in zip(*(re.split("[,、] *", part.strip()) for part in row), strict=True):
            # "scale gamma" goes word by word; of a letter with its name, the letter is enough.
            one_by_one = len(english.split()) == len(others[0].split()) > 1
            kept = [other.split()[0 if one_by_one else -1] for other in others]
            words.append(
                (english.split()[0] if one_by_one else english, dict(zip(("zh", "ja"), kept, strict=True)))
            )
    return words


def uses_the_glossary(pair):
    wrong = []
    for old, new in pair.prose:
        text = without(CODE, FORMULA, LINK, text=source(old))
        for english, words in glossary():
            said = re.search(rf"\b{FORMS.get(english, f'{english}s?')}\b", text, re.IGNORECASE)
            if said and words[pair.language] not in source(new):
                wrong.append(f"{old['id']} says {said[0]!r} and not {words[pair.language]!r}")
    return wrong


def emphasis_is_seen(pair):
    """Marks open and close where CommonMark (6.2) lets them; elsewhere they are printed as asterisks."""
    wrong = []
    for _, new in pair.prose:
        text = FORMULA.sub("$", CODE.sub("`", source(new)))
        marks = list(re.finditer(r"\*+", re.sub(r"^\* ", "- ", text, flags=re.MULTILINE)))
        for number, mark in enumerate(marks):
            outside, inside = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
            if number % 2:  # it closes
                outside, inside = inside, outside
            if inside.isspace() or (punctuation(inside) and not (outside.isspace() or punctuation(outside))):
                around = text[max(0, mark.start() - 12) : mark.end() + 12]
                wrong.append(f"{new['id']} has a mark of emphasis that is not seen as one: {around!r}")
    return wrong


def punctuation(letter):
    """Whether it is punctuation or a symbol, as CommonMark has it; nothing at all counts as well."""
    return not letter or unicodedata.category(letter)[0] in "PS"


CHECKS = [
    has_the_same_cells,
    has_the_same_code_and_outputs,
    prose_is_translated,
    prose_is_up_to_date,
    has_the_same_code_spans,
    has_the_same_formulas,
    has_the_same_numbers,
    has_the_same_shape,
    asks_for_the_same_predictions,
    headings_are_told_apart,
    links_lead_to_the_same,
    uses_the_glossary,
    emphasis_is_seen,
]
