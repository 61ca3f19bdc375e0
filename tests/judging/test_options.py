"""Each option of the judges makes the difference it says, and a verdict has its attributes."""

import dataclasses

import numpy as np
import pytest

from bnlab.judging import UnfitError, Verdict, as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.outputs import is_close, is_unchanged

DOUBLED = {"doubled": (lambda x: 2 * x, "once is enough")}


def ask(answer, **changed):
    return judge(answer, **{"truth": abs, "mistakes": DOUBLED, "inputs": [(1.0,), (4.0,)]} | changed)


@pytest.mark.parametrize(
    ("more", "near", "far"),
    [({}, 1.0001, 1.0002), ({"tolerance": 0.1}, 1.1, 1.11), ({"tolerance": 0}, 1, 1 + 1e-8)],
)
def test_the_tolerance_is_a_share_and_its_edge_is_right(more, near, far):
    assert ask(lambda x: near * x, **more).right
    assert not ask(lambda x: far * x, **more).right
    assert ask(lambda x: 2 * near * x, **more).mistake == "doubled"
    assert ask(lambda x: 2 * far * x, **more).mistake is None
    assert judge_value(5 * near, truth=5.0, mistakes={}, **more).right
    assert not judge_value(5 * far, truth=5.0, mistakes={}, **more).right


def test_the_tolerance_is_one_of_the_largest_number():
    def pair(x):
        return np.array([x, 100 * x])

    assert ask(lambda x: np.array([1.009 * x, 100 * x]), truth=pair, mistakes={}).right
    assert not ask(lambda x: np.array([1.02 * x, 100 * x]), truth=pair, mistakes={}).right
    assert is_close(np.array(1e-11), np.array(0.0), 1e-4)
    assert not is_close(np.array(1e-9), np.array(0.0), 1e-4)


def test_mistakes_must_lie_three_tolerances_apart():
    for factor, apart in ((1.29, False), (1.45, True)):
        near = {"near": (lambda x, factor=factor: factor * x, "?")}
        if apart:
            assert ask(abs, mistakes=near, tolerance=0.1).right
        else:
            with pytest.raises(ValueError, match="'the right answer' and 'near' give the same outputs"):
                ask(abs, mistakes=near, tolerance=0.1)


def test_what_is_observed_is_compared_for_answer_truth_and_mistakes():
    asked = []

    def observe(function, x):
        asked.append(x)
        return function(x)["y"]

    def given(answer):
        mistakes = {"doubled": (lambda x: {"y": 2 * x}, "?")}
        return ask(answer, truth=lambda x: {"y": x}, mistakes=mistakes, observe=observe)

    assert given(lambda x: {"y": x, "z": 7}).right
    assert asked == [1.0, 4.0] * 3
    assert given(lambda x: {"y": 2 * x}).mistake == "doubled"
    assert "KeyError" in str(given(lambda x: {}))


def test_a_value_is_read():
    layer = {"momentum": 0.9}
    verdicts = [
        judge_value(layer, truth=0.9, mistakes={"a": (0.1, "?")}, read=read)
        for read in (lambda layer: layer["momentum"], lambda layer: 1 - layer["momentum"], None)
    ]
    assert [verdict.right for verdict in verdicts] == [True, False, False]
    assert [verdict.mistake for verdict in verdicts] == [None, "a", "wrong type"]
    assert judge_value(len, truth="len", mistakes={}, read=lambda function: function.__name__).right


def test_otherwise_is_said_of_a_wrong_value_that_nobody_thought_of():
    assert str(judge_value(2.0, truth=1.0, mistakes={}, otherwise="count again")) == "not yet: count again"


def test_all_inputs_are_asked_and_the_first_wrong_one_is_told():
    def late(x):
        return x if x < 3 else np.array([x + 1])

    assert str(ask(late)) == "not yet: for input 2 of 2 it gives 5, not 4"
    parts = judge(lambda x: [x, (x, x + 2)], truth=lambda x: (x, (x, x)), mistakes={}, inputs=[(1.0,)])
    assert str(parts) == "not yet: for input 1 of 1, result 2, result 2 it gives 3, not 1"
    worst = ask(lambda x: x + np.array([0.0, 0.5, -9.0]), truth=lambda x: x + np.zeros(3), mistakes={})
    assert str(worst) == "not yet: for input 1 of 2 it gives -8 at (2,), not 1"


def test_a_mistake_that_works_on_its_input_spoils_nobody_else_s():
    def in_place(x):
        x *= 3
        return x

    inputs = [(np.array([1.0, 2.0]),)]
    verdict = ask(
        lambda x: x + 0, truth=lambda x: abs(x), mistakes={"in place": (in_place, "?")}, inputs=inputs
    )
    assert verdict.right
    assert inputs[0][0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": np.array([1.0, np.nan])}, {"a": np.array([1.0, np.nan])}, True),
        ({"a": np.array([1.0])}, {"a": np.array([2.0])}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, [1], False),
        ((1, [2, 3]), (1, [2, 3]), True),
        ((1, [2, 3]), (1, [2]), False),
        ((1, [2, 3]), (1, [2, 4]), False),
        (np.array(["a"]), np.array(["a"]), True),
    ],
)
def test_arguments_are_unchanged_when_every_part_is(one, other, same):
    assert is_unchanged(one, other) is same


def test_a_verdict_tells_its_line_and_cannot_be_changed():
    right, wrong, unknown = ask(abs), ask(lambda x: 2 * x), ask(lambda x: 3 * x)
    assert [(v.right, v.mistake) for v in (right, wrong, unknown)] == [
        (True, None),
        (False, "doubled"),
        (False, None),
    ]
    assert [v.line for v in (right, wrong)] == ["right", "not yet (doubled): once is enough"]
    assert all(str(v) == v.line for v in (right, wrong, unknown))
    with pytest.raises(dataclasses.FrozenInstanceError):
        right.right = False
    assert right == Verdict("right", right=True)


def test_an_unfit_answer_has_a_name_and_words():
    def fault(idea):
        raise UnfitError("no pair", "two are expected")

    assert judge_proposal(1, fault_of=fault) == Verdict(
        "not yet (no pair): two are expected", mistake="no pair"
    )
    with pytest.raises(UnfitError, match="NaN or infinity") as unfit:
        as_numbers([1, np.inf])
    assert (unfit.value.mistake, unfit.value.words) == ("not finite", "it holds NaN or infinity")
    assert as_numbers([True, 2]).tolist() == [1.0, 2.0]


def test_long_words_of_an_exception_are_cut():
    def talks(x):
        raise ValueError("much\n" * 100)

    line = str(ask(talks))
    assert "ValueError: much much" in line
    assert " ..." in line
    assert len(line) < 350
