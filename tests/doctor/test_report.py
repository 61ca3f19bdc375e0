"""What a checkup shows, in text and in HTML; a picture against its words."""

from xml.etree import ElementTree

import numpy as np
import pytest
from patients import dense_model, rows, settled

from bnlab.checkup import checkup


@pytest.fixture
def ill(rng):
    model = dense_model(momentum=0.1)
    model.layers[1].name = "<bn & co>"
    return checkup(model, rows(rng))


def test_fields_of_a_layer(ill):
    first = ill.layers[0]
    assert (first.features, first.momentum, first.epsilon, first.trainable) == (20, 0.1, 1e-3, True)
    assert first.problems == ("never updated", "torch momentum")
    assert first.mean_gap > 0.1
    assert first.gaps.shape == first.ratios.shape == (20,)


def test_text_is_a_table_and_a_sentence_with_a_line_per_problem(ill):
    text = str(ill)
    table, _, verdict, *advice = text.split("\n\n")
    head, *body = table.split("\n")
    assert head.split()[:3] == ["layer", "features", "momentum"]
    assert len(body) == 2
    assert body[0].endswith("never updated, torch momentum")
    assert verdict.startswith("2 of 2 batch-norm layers ill, on 200 examples in batches of 32.")
    assert [part.split(":")[0] for part in advice] == ["never updated", "torch momentum"]
    assert [part.split("\n")[-1][:4] for part in advice] == ["    "] * 2
    assert max(map(len, text.replace(table, "").split("\n"))) <= 96
    assert repr(ill) == text


def test_html_is_well_formed_and_has_words_for_every_picture(ill):
    page = ElementTree.fromstring(f"<div>{ill._repr_html_()}</div>")
    svg = "{http://www.w3.org/2000/svg}"
    pictures = page.findall(f".//{svg}svg")
    assert len(pictures) == len(ill.layers)
    for picture, layer in zip(pictures, ill.layers, strict=True):
        assert picture.get("role") == "img"
        words = picture.get("aria-label")
        assert words == picture.find(f"{svg}title").text
        assert words.startswith(f"{layer.name}, 20 features: moving means lie ")
        assert f"{layer.gaps.min():+.2f} to {layer.gaps.max():+.2f} standard deviations" in words
        marks = [mark for mark in picture if mark.tag != f"{svg}title"]
        # In the colour of the text, whatever the theme.
        assert {mark.get(key) for mark in marks for key in ("fill", "stroke")} <= {"currentColor", None}
        places = [float(mark.get(key)) for mark in marks for key in ("y1", "y2", "cy") if mark.get(key)]
        assert 0 <= min(places) <= max(places) <= 54
    assert [head.get("scope") for head in page.findall(".//thead/tr/th")] == ["col"] * 9
    assert [head.text for head in page.findall(".//tbody/tr/th")] == ["<bn & co>", "bn_2"]
    assert "never updated, torch momentum" in [cell.text for cell in page.findall(".//tbody/tr/td")]
    assert len(page.findall(".//pre/code")) == 2


def test_html_of_statistics_that_are_not_finite(rng):
    model = dense_model()
    model.get_layer("bn").moving_variance.assign(np.full(20, np.inf))
    page = checkup(model, rows(rng))._repr_html_()
    ElementTree.fromstring(f"<div>{page}</div>")
    assert "bn: nothing finite to compare." in page
    assert "nan" not in page


def test_healthy_has_no_advice(rng):
    x = rows(rng)
    found = checkup(settled(dense_model(), x), x)
    assert "All batch-norm layers healthy (2), on 200 examples" in str(found)
    assert str(found).count("\n\n") == 2
    assert "<pre>" not in found._repr_html_()
