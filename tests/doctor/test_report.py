"""What a checkup shows, in text and in HTML; a picture against its words."""

import re
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from patients import dense_model, norm, rows, settled

from bnlab.checkup import Checkup, LayerCheckup, checkup
from bnlab.doctor import report

SVG = "{http://www.w3.org/2000/svg}"


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
    assert verdict.startswith("2 of 2 batch-norm layers are ill, on 200 examples in batches of 32.")
    assert [part.split(":")[0] for part in advice] == ["never updated", "torch momentum"]
    assert [part.split("\n")[-1][:4] for part in advice] == ["    "] * 2
    assert max(map(len, text.replace(table, "").split("\n"))) <= 96
    assert repr(ill) == text


def test_html_is_well_formed_and_has_words_for_every_picture(ill):
    page = ElementTree.fromstring(f"<div>{ill._repr_html_()}</div>")
    pictures = page.findall(f".//{SVG}svg")
    assert len(pictures) == len(ill.layers)
    for picture, layer in zip(pictures, ill.layers, strict=True):
        assert picture.get("role") == "img"
        words = picture.get("aria-label")
        assert words == picture.find(f"{SVG}title").text
        assert words.startswith(f"{layer.name}, 20 features: moving means lie ")
        assert f"{layer.gaps.min():+.2f} to {layer.gaps.max():+.2f} standard deviations" in words
        marks = [mark for mark in picture if mark.tag != f"{SVG}title"]
        # In the colour of the text, whatever the theme.
        assert {mark.get(key) for mark in marks for key in ("fill", "stroke")} <= {"currentColor", None}
        places = [float(mark.get(key)) for mark in marks for key in ("y1", "y2", "cy") if mark.get(key)]
        assert 0 <= min(places) <= max(places) <= 54
    assert [head.get("scope") for head in page.findall(".//thead/tr/th")] == ["col"] * 10
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
    assert "All batch-norm layers are healthy (2), on 200 examples" in str(found)
    assert str(found).count("\n\n") == 2
    assert "<pre>" not in found._repr_html_()


def layer_of(**values):
    """Return a LayerCheckup of numbers that no test has to compute."""
    usual = {"name": "bn", "features": 3, "momentum": 0.9, "epsilon": 1e-3, "trainable": True}
    usual |= {"mean_gap": 0.0, "variance_ratio": 1.0, "problems": ()}
    return LayerCheckup(**usual | values)


def bars(layer):
    """Return (x, dot or None, top, bottom, triangles at the top, at the bottom) a bar, from the SVG."""
    picture = ElementTree.fromstring(report.picture(layer))
    lines = [mark for mark in picture.findall(f"{SVG}line") if mark.get("x1") == mark.get("x2")]
    dots = {mark.get("cx"): float(mark.get("cy")) for mark in picture.findall(f"{SVG}circle")}
    paths = [mark.get("d") for mark in picture.findall(f"{SVG}path")]
    found = []
    for line in lines:
        x, ends = float(line.get("x1")), sorted([float(line.get("y1")), float(line.get("y2"))])
        tips = [float(path.split()[-2]) for path in paths if path.startswith(f"M{x - 3:.1f} ")]
        found.append((x, dots.get(line.get("x1")), *ends, tips.count(0), tips.count(54)))
    return found


def height(deviations):
    """Return where the picture puts this: 0 in the middle of 54 pixels, three deviations 2 from the edge."""
    return pytest.approx(27 - deviations * 25 / 3, abs=0.06)


def test_bars_are_drawn_where_the_words_say():
    gaps, ratios = np.array([1.5, -2.0, 0.25]), np.array([1.0, 0.25, 0.04])
    layer = layer_of(gaps=gaps, ratios=ratios)
    picture = ElementTree.fromstring(report.picture(layer))
    assert picture.get("aria-label") == (
        "bn, 3 features: moving means lie -2.00 to +1.50 standard deviations from those of the data; moving "
        "variances are 0.04 to 1.00 times the measured ones."
    )
    [band] = picture.findall(f"{SVG}rect")
    assert float(band.get("y")) == height(1)
    assert float(band.get("height")) == pytest.approx(50 / 3, abs=0.06)
    # In the order of their means, equally far apart; half as long as the root of the ratio, to either side.
    assert [bar[0] for bar in bars(layer)] == [37.5, 75, 112.5]
    assert [bar[1] for bar in bars(layer)] == [height(-2), height(0.25), height(1.5)]
    assert [bar[2] for bar in bars(layer)] == [height(-1.5), height(0.45), height(2.5)]
    assert [bar[3] for bar in bars(layer)] == [height(-2.5), height(0.05), height(0.5)]
    assert [bar[4:] for bar in bars(layer)] == [(0, 0)] * 3


def test_what_is_outside_is_cut_off_and_marked():
    layer = layer_of(gaps=np.array([-2.9, 0.0, 2.9, 5.0]), ratios=np.array([0.25, 16.0, 0.25, 0.25]))
    low, both, high, outside = bars(layer)
    assert low[1:] == (height(-2.9), height(-2.4), height(-3), 0, 1)
    assert both[1:] == (height(0), height(3), height(-3), 1, 1)
    assert high[1:] == (height(2.9), height(3), height(2.4), 1, 0)
    assert outside[1:] == (None, height(3), height(3), 1, 0)


def test_of_many_features_24_are_drawn_with_both_extremes():
    gaps = np.random.default_rng(0).permutation(np.linspace(-2, 2, 100))
    drawn = bars(layer_of(gaps=gaps, ratios=np.ones(100), features=100))
    assert len(drawn) == 24
    dots = [bar[1] for bar in drawn]
    assert dots == sorted(dots, reverse=True)  # from low to high, and up is less
    assert (dots[0], dots[-1]) == (height(-2), height(2))


def test_the_sign_of_a_gap_is_that_of_the_moving_mean(rng):
    x = rng.normal(5, 1, (200, 2)).astype("float32")
    layer = norm()
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.moving_mean.assign(x.mean(axis=0) + np.array([2, -1]))
    found = checkup(model, x).layers[0]
    np.testing.assert_allclose(found.gaps, [2, -1] / np.sqrt(x.var(axis=0) + 1e-3), rtol=1e-5)
    low, high = bars(found)
    assert low[1] > 27 > high[1]
    words = ElementTree.fromstring(report.picture(found)).get("aria-label")
    assert f"lie {found.gaps[1]:+.2f} to {found.gaps[0]:+.2f} standard" in words


def test_a_remark_is_told_and_counts_as_healthy(rng):
    x = rows(rng)
    model = dense_model()
    kernel = model.layers[0].kernel
    kernel.assign(kernel.numpy() * (np.arange(20) != 4))
    found = checkup(settled(model, x, steps=80), x)
    table, _, verdict, advice = str(found).split("\n\n")
    assert table.split("\n")[1].endswith("  (remark: dead feature)")
    assert verdict.startswith("All batch-norm layers are healthy (2), on 200 examples")
    assert advice.startswith("dead feature: ")
    page = ElementTree.fromstring(f"<div>{found._repr_html_()}</div>")
    assert [row[-1].text for row in page.findall(".//tbody/tr")] == ["(remark: dead feature)", "-"]
    assert page.find(".//caption").text.startswith("All batch-norm layers are healthy (2)")
    assert len(page.findall(".//pre/code")) == 1
    model.get_layer("bn").momentum = 0.1
    found = checkup(model, x)
    assert "  torch momentum (remark: dead feature)" in str(found)
    assert "1 of 2 batch-norm layers is ill" in str(found)


def test_numbers_names_and_line_of_a_row():
    rows_found = [layer_of(name=f"bn_{k}", mean_gap=k * 1000.0, trainable=k > 0) for k in range(6)]
    found = Checkup(tuple(rows_found), 0.125, 50, 7, tuple(f"aside_{k}" for k in range(6)))
    lines = str(found).split("\n")
    assert lines[1].split() == ["bn_0", "3", "0.9", "0.001", "no", "0.00", "1.00", "-", "-"]
    assert lines[3].split() == ["bn_2", "3", "0.9", "0.001", "yes", "2e+03", "1.00", "-", "-"]
    verdict = " ".join(str(found).split("\n\n")[2].split())
    assert verdict == (
        "All batch-norm layers are healthy (6), on 50 examples in batches of 7. The outputs in training mode "
        "and in inference are 0.12 of their standard deviation apart. Not called on these inputs: aside_0, "
        "aside_1, aside_2, aside_3 and 2 more."
    )
    assert "In training mode or in inference the outputs are not finite." in " ".join(
        str(Checkup((), np.inf, 50, 7)).split()
    )


def test_the_worst_feature_stands_in_the_table(rng):
    x = rows(rng, 300)
    model = settled(dense_model(momentum=0.9), x, steps=80)
    layer = model.get_layer("bn")
    layer.moving_variance.assign(np.where(np.arange(20) == 6, 3e4, 1) * layer.moving_variance.numpy())
    found = checkup(model, x)
    assert found.layers[0].worst == 6
    assert re.search(r"  6: -?0\.\d\d, 3e\+04  not converged\n", str(found))
    assert "not converged: the moving statistics of feature 6 of bn differ" in " ".join(str(found).split())


def test_outputs_far_apart_are_never_healthy_without_a_word():
    text = " ".join(str(Checkup((layer_of(),), 0.75, 50, 7)).split())
    assert "All batch-norm layers are healthy (1)" in text
    assert "0.75 of their standard deviation apart. No layer by itself explains that." in text
    assert "explains" not in str(Checkup((layer_of(),), 0.65, 50, 7))
