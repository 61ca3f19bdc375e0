"""The engine of the exercises: what it says to right, wrong, broken and endless answers."""

import functools
import sys

import numpy as np
import pytest

from bnlab.judging import UnfitError, Verdict, as_numbers, judge, judge_proposal, judge_value

BATCHES = [(np.array([[1.0, 2.0], [3.0, 8.0], [4.0, 5.0]]), 0.5), (np.array([[7.0, 1.0], [2.0, 2.0]]), 2.0)]


def centred(x, scale):
    return scale * (x - x.mean(axis=0))


MISTAKES = {
    "wrong axis": (lambda x, scale: scale * (x - x.mean(axis=1, keepdims=True)), "which one is kept?"),
    "transposed": (lambda x, scale: centred(x, scale).T, "look at the shape"),
    "scale forgotten": (lambda x, scale: x - x.mean(axis=0), "something is not used"),
}


def ask(answer, **changed):
    arguments = {"truth": centred, "mistakes": MISTAKES, "inputs": BATCHES} | changed
    return judge(answer, **arguments)


def test_right_is_one_word_whatever_the_form():
    for answer in (centred, lambda x, s: ((x - np.mean(x, 0)) * s).tolist(), functools.partial(centred)):
        assert ask(answer) == Verdict("right", right=True)
        assert str(ask(answer)) == "right"


def test_an_answer_in_float32_is_right():
    assert ask(lambda x, s: centred(x.astype(np.float32), np.float32(s))).right


def test_a_mistake_is_named_with_its_hint():
    assert ask(lambda x, _: x - x.mean(0)) == Verdict(
        "not yet (scale forgotten): something is not used", mistake="scale forgotten"
    )
    assert ask(lambda x, s: (s * (x - x.mean(0))).T).mistake == "transposed"


def test_right_by_luck_on_one_input_is_not_right():
    verdict = ask(lambda x, _: 0.5 * (x - x.mean(0)))
    assert (verdict.right, verdict.mistake) == (False, None)
    assert str(verdict) == "not yet: for input 2 of 2 it gives 1.25 at (0, 0), not 5"


def blank(x, scale): ...


def documented(x, scale):
    """Return something, some day."""


def returns_ellipsis(x, scale):
    return ...


@pytest.mark.parametrize("answer", [None, ..., blank, documented, returns_ellipsis, lambda x, s: None])
def test_an_empty_answer_is_not_attempted_yet(answer):
    verdict = ask(answer)
    assert (str(verdict), verdict.right, verdict.mistake) == ("not attempted yet", False, None)


def test_a_blank_value_or_proposal_is_not_attempted_yet():
    assert str(judge_value(None, truth=1.0, mistakes={})) == "not attempted yet"
    assert str(judge_value([None, None], truth=[1, 0], mistakes={})) == "not attempted yet"
    assert judge_value([1, None], truth=[1, 0], mistakes={}).mistake == "incomplete"
    assert str(judge_proposal(..., fault_of=as_numbers)) == "not attempted yet"


def no_return(x, scale):
    x.mean()


def in_place(x, scale):
    x -= x.mean(axis=0)
    x *= scale
    return x


def nan(x, scale):
    return centred(x, scale) * np.nan


@pytest.mark.parametrize(
    ("answer", "mistake", "words"),
    [
        (no_return, "returned None", "is a `return` missing?"),
        (in_place, "changed its input", "leave that as it came"),
        (nan, "not finite", "NaN"),
        (lambda x, s: "twelve", "wrong type", "not a str"),
        (lambda x, s: {"y": x}, "wrong type", "not a dict"),
        (lambda x, s: (x, x.mean(0)), "wrong type", "2 parts that do not fit"),
        (lambda x, s: centred, "wrong type", "not a function"),
        (lambda x, s: x + 1j, "wrong type", "numbers are expected"),
        (lambda x, s: x.mean(0), "wrong shape", "shape (2,), not (3, 2)"),
        (lambda x: x, "wrong arguments", "called with (x, scale)"),
        (0.5, "no function", "not a float"),
        (BATCHES[0][0], "no function", "without brackets"),
    ],
)
def test_what_cannot_be_right_is_told_kindly(answer, mistake, words):
    verdict = ask(answer)
    assert verdict.mistake == mistake
    assert not verdict.right
    assert words in str(verdict)
    assert "\n" not in str(verdict)


def test_a_learner_cannot_change_the_inputs_of_the_check():
    ask(in_place)
    assert ask(centred).right


def divides(x, scale):
    return x / (scale // 10_000 or int("0") / 1 or 1 / int(scale * 0))


def leaves(x, scale):
    sys.exit("good\nbye")


def interrupts(x, scale):
    raise KeyboardInterrupt


def falls(x, scale):
    return falls(x, scale)


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError


def mute(x, scale):
    raise MuteError


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (divides, "ZeroDivisionError"),
        (leaves, "SystemExit: good bye, at line"),
        (interrupts, "KeyboardInterrupt, at line"),
        (falls, "RecursionError"),
        (mute, "MuteError, at line"),
        (lambda x, s: x @ x @ x, "of your code: (lambda x, s: x @ x @ x,"),
    ],
)
def test_an_exception_is_told_with_its_line(answer, words):
    verdict = ask(answer)
    assert verdict.mistake == "an exception"
    assert words in str(verdict)
    assert "\n" not in str(verdict)
    assert ".py" not in str(verdict)


def outer(x, scale):
    return inner(x)


def inner(x):
    return x.no_such_name


def test_the_innermost_line_of_the_learner_is_told():
    assert str(ask(outer)).endswith("of your code: return x.no_such_name")


def test_an_answer_sees_the_callers_error_state():
    with np.errstate(all="raise"):
        assert ask(lambda x, s: x / np.float64(0)).mistake == "an exception"


def test_mistakes_that_cannot_be_told_apart_are_the_exercises_fault():
    twice = MISTAKES | {"again": (lambda x, s: x - x.mean(axis=0), "?")}
    with pytest.raises(ValueError, match="'scale forgotten' and 'again' give the same outputs"):
        ask(centred, mistakes=twice)
    with pytest.raises(ValueError, match="'the right answer' and 'no mistake'"):
        ask(centred, mistakes={"no mistake": (centred, "?")})
    with pytest.raises(ValueError, match="the same outputs"):
        judge_value(1.0, truth=1.0, mistakes={"one": (1.0, "?")})
    assert ask(None, mistakes=twice).mistake is None


def test_several_results_and_words_are_compared_one_by_one():
    def both(x):
        return x.mean(axis=0), "odd" if len(x) % 2 else "even"

    inputs, mistakes = [(BATCHES[0][0],), (BATCHES[1][0],)], {"odd": (lambda x: (x[0], "odd"), "?")}
    verdicts = [
        judge(answer, truth=both, mistakes=mistakes, inputs=inputs)
        for answer in (
            lambda x: list(both(x)),
            lambda x: (both(x)[0], "odd"),
            lambda x: x,
            lambda x: (1, 2, 3),
        )
    ]
    assert [verdict.right for verdict in verdicts] == [True, False, False, False]
    assert "'odd'" in str(verdicts[1])
    assert verdicts[3].mistake == "wrong type"
    assert "3 results" not in str(verdicts[3])
    assert str(verdicts[3]).endswith("2 results are expected, not 3")
    swapped = judge(lambda x: both(x)[::-1], truth=both, mistakes=mistakes, inputs=inputs)
    assert swapped.mistake == "wrong type"


def test_one_number_may_come_in_any_shape():
    assert judge(lambda x: np.array([[x]]), truth=float, mistakes={}, inputs=[(2.0,)]).right


def test_a_value_is_right_known_or_unknown():
    mistakes = {"halved": (0.5, "twice?"), "forgotten": (0.0, "and the rest?")}
    told = [judge_value(value, truth=1.0, mistakes=mistakes) for value in (1, np.float32(0.5), 0, 7)]
    assert [verdict.mistake for verdict in told] == [None, "halved", "forgotten", None]
    assert [verdict.right for verdict in told] == [True, False, False, False]
    assert str(told[3]) == "not yet: try again"
    assert judge_value(abs, truth=1.0, mistakes=mistakes).mistake == "no value"
    assert judge_value("one", truth=1.0, mistakes=mistakes).mistake == "wrong type"
    assert judge_value([1, 2], truth=1.0, mistakes=mistakes).mistake == "wrong shape"
    assert judge_value((1, 2), truth=[1, 2], mistakes={}).right
    assert judge_value([3], truth=1.0, mistakes={}, read=len).right


def test_a_proposal_has_the_fault_that_is_found():
    def fault(idea):
        x = as_numbers(idea)
        if x.size == 0:
            return "empty", "it holds nothing"
        return ("negative", f"the smallest is {x.min():g}") if (x < 0).any() else None

    told = [judge_proposal(idea, fault_of=fault) for idea in ([1, 2], [], [-1, 3])]
    assert [verdict.mistake for verdict in told] == [None, "empty", "negative"]
    assert [verdict.right for verdict in told] == [True, False, False]
    assert str(told[2]) == "not yet (negative): the smallest is -1"


def test_a_proposal_that_is_no_number_or_endless_is_told_kindly():
    def look(idea):
        return judge_proposal(idea, fault_of=as_numbers)

    assert [look(idea).mistake for idea in ("a", abs, [np.nan], [1, [2]])] == [
        "wrong type",
        "wrong type",
        "not finite",
        "wrong type",
    ]

    def run(idea):
        return idea()

    def loops():
        while True:
            pass

    assert judge_proposal(loops, fault_of=run, seconds=0.2).mistake == "an endless loop"
    assert judge_proposal(len, fault_of=run).mistake == "an exception"
    with pytest.raises(UnfitError, match="a `return`"):
        as_numbers(None)
