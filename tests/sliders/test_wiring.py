"""The wiring explorer: the boxes that ran are lit, and what made the updates run is drawn."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pictures import SVG, centre, corners, painted, panels, points, read, shown, status

from bnlab import figures, sliders

# What session.run executes for one training step: names from a run of the notebook on update operations.
FORWARD = (
    "_SOURCE",
    "hidden/ReadVariableOp",
    "hidden",
    "batch_normalization/moments/mean",
    "batch_normalization/cond/Identity",
    "batch_normalization/batchnorm/add_1",
    "SparseSoftmaxCrossEntropyWithLogits/SparseSoftmaxCrossEntropyWithLogits",
    "gradients/loss_grad/truediv",
    "gradients/batch_normalization/moments/mean_grad/truediv",
    "gradients/batch_normalization/batchnorm/add_1_grad/Sum",
    "train_op/update_Variable/ResourceApplyGradientDescent",
    "train_op",
)
UPDATES = (
    "batch_normalization/cond_2/then/_18/AssignMovingAvg/AssignSubVariableOp",
    "batch_normalization/cond_3/then/_32/AssignMovingAvg/AssignSubVariableOp",
)
WIRINGS = {  # name: runs the updates, tied, fetched
    "tied": (True, True, False),
    "fetched": (True, False, True),
    "both": (True, True, True),
    "forgotten": (False, False, False),
    "early": (False, False, False),
}


def wirings():
    return {
        name: sliders.Wiring(FORWARD + (UPDATES if runs else ()), tied=tied, fetched=fetched)
        for name, (runs, tied, fetched) in WIRINGS.items()
    }


BUILD = {"wiring": lambda: sliders.wiring_explorer(wirings())}
ONE_WIRING = {"tied": sliders.Wiring(FORWARD, tied=True, fetched=False)}
BAD = [
    (lambda: sliders.wiring_explorer({}), "wirings"),
    (lambda: sliders.wiring_explorer(ONE_WIRING), "wirings"),
    (
        lambda: sliders.wiring_explorer(ONE_WIRING | {"x": sliders.Wiring((), False, False)}),
        r"wirings\['x'\]",
    ),
    (
        lambda: sliders.wiring_explorer(ONE_WIRING | {"x": sliders.Wiring(("a", "xloss"), False, False)}),
        r"wirings\['x'\]",
    ),
]
# What depends on what in a training step, from the first box to the second.
DEPENDS = {
    ("hidden layer", "batch statistics"),
    ("hidden layer", "normalize"),
    ("batch statistics", "normalize"),
    ("normalize", "cross-entropy"),
    ("cross-entropy", "loss, their mean"),
    ("cross-entropy", "gradients"),
    ("gradients", "train_op"),
    ("batch statistics", "2 update operations"),
    ("2 update operations", "moving_mean, moving_variance"),
}


@pytest.fixture(scope="module")
def built():
    return BUILD["wiring"]()


def boxes(axes):
    """Return {label: window extent} of the boxes of the picture, each with its words inside."""
    axes.figure.canvas.draw()  # a picture in a file has left its words where they are there
    found = {}
    for patch in axes.patches:
        box = patch.get_window_extent()
        words = [text for text in axes.texts if text.get_text() and box.contains(*middle(text))]
        (text,) = words
        extent = text.get_window_extent()
        assert box.x0 < extent.x0 < extent.x1 < box.x1
        assert box.y0 < extent.y0 < extent.y1 < box.y1
        found[text.get_text().replace("\n", " ")] = box
    return found


def middle(text):
    return text.axes.transData.transform(text.get_position())


def lit_boxes(explorer):
    """Return {label: rectangle} of the boxes that are lit in the frame that is shown now."""
    (rectangles,) = read(explorer, "rect").values()
    found = {}
    for label, box in boxes(explorer._figure.axes[0]).items():
        for rectangle in rectangles:
            x, y = centre(rectangle)
            if box.contains(x, 360 - y):
                found[label] = rectangle
    assert len(found) == len(rectangles)
    return found


@pytest.mark.parametrize("name", WIRINGS)
def test_the_operations_that_ran_are_lit_and_ticked(name, built):
    explorer = built
    explorer.slider.value = name
    runs, tied, fetched = WIRINGS[name]
    root, lit = shown(explorer), lit_boxes(explorer)
    always = {"hidden layer", "batch statistics", "normalize", "cross-entropy", "gradients", "train_op"}
    updates = {"2 update operations", "moving_mean, moving_variance"}
    assert set(lit) == always | (updates if runs else set())
    words = [element.text for element in root.iter(SVG + "text")]
    ticks = [text for text in root.iter(SVG + "text") if text.text == "✓"]
    for rectangle in lit.values():
        (tick,) = [text for text in ticks if np.abs(place(text) - corners(rectangle)[0]).max() < 8]
        ticks.remove(tick)
    assert not ticks
    assert ("control dependency" in words) == tied
    assert ("asked for in session.run" in words) == fetched
    assert len(list(root.iter(SVG + "polyline"))) == tied + fetched
    assert status(root).startswith(f"Wiring '{name}': the update operations ")
    assert ("did not run" in status(root)) == (not runs)
    assert ("stay 0 and 1" in explorer.alt) == (not runs)


def place(text):
    return np.array([float(text.get("x")), float(text.get("y"))])


def test_lit_boxes_cover_the_boxes_of_the_picture(built):
    built.slider.value = "both"
    all_boxes, lit = boxes(built._figure.axes[0]), lit_boxes(built)
    assert len(all_boxes) == 9
    assert len(lit) == 8
    for label, rectangle in lit.items():
        box = all_boxes[label]
        expected = [[box.x0, 360 - box.y1], [box.x1, 360 - box.y0]]
        np.testing.assert_allclose(corners(rectangle), expected, atol=1)


def test_what_makes_the_updates_run_leaves_their_box_and_its_words_lie_beside_it(built):
    built.slider.value = "both"
    lines = painted(panels(shown(built))[0], "polyline")
    ((tied,), (fetched,)) = lines[to_hex(figures.GREEN)], lines[to_hex(figures.VERMILLION)]
    all_boxes = boxes(built._figure.axes[0])
    update, train = all_boxes["2 update operations"], all_boxes["train_op"]
    starts = [points(line)[0] for line in (tied, fetched)]
    for x, y in starts:
        assert x == pytest.approx(update.x1, abs=1)
        assert update.y0 < 360 - y < update.y1
    x, y = points(tied)[-1]
    assert x == pytest.approx(train.x0, abs=1)
    assert train.y0 < 360 - y < train.y1
    texts = {text.text: place(text) for text in shown(built).iter(SVG + "text")}
    above = points(fetched)[-1] - texts["asked for in session.run"]
    assert np.abs(above).max() < 12
    x, y = texts["control dependency"]
    assert np.interp(x, *points(tied).T) < y < np.interp(x, *points(tied).T) + 60
    assert tied.get("stroke-dasharray") != fetched.get("stroke-dasharray")


def test_arrows_go_from_box_to_box_as_the_operations_depend_on_each_other(built):
    (axes,) = built._figure.axes
    all_boxes, found = boxes(axes), set()
    arrows = [text for text in axes.texts if not text.get_text()]
    for arrow in arrows:
        ends = [axes.transData.transform(end) for end in (arrow.xyann, arrow.xy)]
        around = [[label for label, box in all_boxes.items() if on_edge(box, end)] for end in ends]
        ((start,), (end,)) = around
        found.add((start, end))
        # Straight from middle to middle.
        middles = [np.mean(all_boxes[label].get_points(), axis=0) for label in (start, end)]
        run, whole = ends[1] - ends[0], middles[1] - middles[0]
        assert run @ whole == pytest.approx(np.linalg.norm(run) * np.linalg.norm(whole))
    assert found == DEPENDS
    assert len(arrows) == len(DEPENDS)


def on_edge(box, point):
    return box.padded(1).contains(*point) and not box.padded(-1).contains(*point)


@pytest.mark.parametrize(
    ("operations", "count"),
    [
        (("loss",), 1),
        (("loss/reduction_indices",), 0),
        (("gradients/batch_normalization/moments/mean_grad/Shape",), 1),  # of the gradients, not the moments
        (("batch_normalization/AssignMovingAvg/AssignSubVariableOp",), 2),  # the update and what it writes
        (("scope/batch_normalization_7/AssignMovingAvg_1/AssignSubVariableOp",), 2),
        (("batch_normalization/AssignMovingAvg/ReadVariableOp",), 0),  # a reader is no update
    ],
)
def test_a_box_is_lit_by_its_own_operations_only(operations, count):
    forward = ("hidden",)
    explorer = sliders.wiring_explorer(
        {
            "one": sliders.Wiring(forward + operations, False, False),
            "two": sliders.Wiring(forward, False, False),
        }
    )
    assert len(list(shown(explorer).iter(SVG + "rect"))) == 1 + count


def test_a_wiring_may_be_called_anything():
    names = ["<b>&\"'$x$", "two"]
    explorer = sliders.wiring_explorer(dict(zip(names, wirings().values(), strict=False)))
    assert names[0] in shown(explorer).get("aria-label")
    assert names[0] in explorer._repr_mimebundle_()[0]["text/plain"]
