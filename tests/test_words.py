"""How numbers, names and tables are spelt."""

import numpy as np
import pytest

from bnlab import words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (9e-10, "0"),
        (-9e-10, "0"),
        (1.2345, "1.23"),
        (-1.2345, "-1.23"),
        (1234.5, "1230"),
        (1e-6, "1e-6"),
        (1234567, "1.23e6"),
    ],
)
def test_rounded(value, said):
    assert words.rounded(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (3e-7, "1e-7"), (-4e-7, "1e-6"), (2.0, "1e0"), (40, "1e2")]
)
def test_the_nearest_power_of_ten(value, said):
    assert words.magnitude(value) == said


@pytest.mark.parametrize(("value", "said"), [(-0.004, "0.00"), (1.005, "1.00"), (-1.5, "-1.50")])
def test_fixed(value, said):
    assert words.fixed(value, 2) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0.00"), (0.01, "0.01"), (-0.5, "-0.50"), (0.0099, "1e-02"), (999.4, "999.40"), (1000, "1e+03")]
    + [(value, "not finite") for value in (np.nan, np.inf, -np.inf)],
)
def test_ratio(value, said):
    assert words.ratio(value) == said


def test_lists_end_with_how_many_more():
    assert words.names(list("abcd")) == "a, b, c, d"
    assert words.names(list("abcdef")) == "a, b, c, d and 2 more"
    assert words.features([False, True, True]) == "1, 2"
    assert words.features([1, 1, 1, 1, 1]) == "0, 1, 2, 3, 4"
    assert words.features([1, 1, 1, 1, 1, 1]) == "0, 1, 2, 3, 4 and more"


def test_a_table_lines_up_and_ends_without_blanks():
    assert words.table([("a", "bb", "c"), ("aaa", "b", "")]) == "a    bb  c\naaa  b"


def test_a_sentence_is_wrapped_between_words():
    long = "x" * 120
    lines = words.wrapped(f"{'word ' * 30}moving-mean {long}").splitlines()
    assert lines[-1] == long
    assert max(map(len, lines[:-1])) <= 96 < len(" ".join(lines[:2]))
    assert any("moving-mean" in line for line in lines)


def test_a_reason_leaves_out_what_led_there():
    frame = 'File "/a/b.py", line 3, in call'
    graph = (
        f"Graph execution error:\n\nDetected at node x defined at:\n  {frame}\n\n  {frame}\n\n7 is too many\n"
    )
    assert words.reason(ValueError(graph)) == "ValueError: 7 is too many"
    traced = f"in user code:\n\n    {frame}  *\n        return model(x)\n    {frame}\n\n    TypeError: no\n"
    assert words.reason(ValueError(traced)) == "ValueError: TypeError: no"
    assert words.reason(ValueError("")) == "ValueError: no reason given"
