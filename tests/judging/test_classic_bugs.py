"""The classic bugs: without habits the functions are right, and each name is the bug that it says."""

from pathlib import Path

import numpy as np
import pytest

from bnlab import batch_norm, moving_average
from bnlab.judging import classic_bugs
from bnlab.judging.classic_bugs import BUGS, HINTS, forward, mutants, scale, spread, update, with_hints

RNG = np.random.default_rng(0)
X = RNG.normal(
    3.0, [0.05, 1.0, 4.0, 0.3], (4, 4)
)  # as many examples as features: a wrong axis has the same shape
GAMMA, BETA = RNG.uniform(0.5, 2.0, 4), RNG.normal(size=4)
CENTRED, VARIANCE = X - X.mean(axis=0), X.var(axis=0)


def test_without_habits_they_are_what_the_package_computes():
    y = batch_norm.normalize(X, *batch_norm.batch_moments(X), gamma=GAMMA, beta=BETA)
    np.testing.assert_allclose(forward()(X, GAMMA, BETA), y, rtol=1e-12)
    np.testing.assert_allclose(spread()(X), batch_norm.batch_moments(X)[1], rtol=1e-12)
    np.testing.assert_allclose(scale()(GAMMA, VARIANCE, 0.02), GAMMA / np.sqrt(VARIANCE + 0.02), rtol=1e-12)
    assert update()(2.0, 7.0, 0.9) == moving_average.update(2.0, 7.0, momentum=0.9)


FORWARD = {
    "Bessel": GAMMA * CENTRED / np.sqrt(VARIANCE * 4 / 3 + 1e-3) + BETA,
    "beta forgotten": GAMMA * CENTRED / np.sqrt(VARIANCE + 1e-3),
    "divided by the variance": GAMMA * CENTRED / (VARIANCE + 1e-3) + BETA,
    "epsilon forgotten": GAMMA * CENTRED / np.sqrt(VARIANCE) + BETA,
    "epsilon outside the root": GAMMA * CENTRED / (np.sqrt(VARIANCE) + 1e-3) + BETA,
    "gamma forgotten": CENTRED / np.sqrt(VARIANCE + 1e-3) + BETA,
    "wrong axis": GAMMA * ((X.T - X.mean(axis=1)) / np.sqrt(X.var(axis=1) + 1e-3)).T + BETA,
}


@pytest.mark.parametrize("name", FORWARD)
def test_a_forward_pass_has_the_bug_of_its_name(name):
    found = mutants(forward, name)[name](X, GAMMA, BETA)
    np.testing.assert_allclose(found, FORWARD[name], rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in BUGS if name.startswith("momentum")])
def test_momentum_weighs_the_wrong_value(name):
    assert mutants(update, name)[name](2.0, 7.0, 0.9) == pytest.approx(0.1 * 2 + 0.9 * 7)


def test_a_deviation_is_a_root():
    np.testing.assert_allclose(mutants(spread, "standard deviation")["standard deviation"](X), X.std(axis=0))


def test_every_bug_is_tested_here_and_has_a_hint():
    others = {name for name in BUGS if name.startswith("momentum")} | {"standard deviation"}
    assert set(BUGS) == set(FORWARD) | others
    assert BUGS.keys() == HINTS.keys()


def test_a_hint_is_the_exercise_s_or_the_usual_one():
    functions = mutants(forward, "Bessel", "gamma forgotten") | {"own": abs}
    told = with_hints(functions, {"gamma forgotten": "what stretches?", "own": "?"})
    assert list(told) == ["Bessel", "gamma forgotten", "own"]
    assert [hint for _, hint in told.values()] == [HINTS["Bessel"], "what stretches?", "?"]
    assert told["own"][0] is abs
    with pytest.raises(KeyError, match="own"):
        with_hints({"own": abs}, {})


def test_every_bug_is_used_by_an_exercise():
    folder = Path(classic_bugs.__file__).parents[1] / "exercises"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert [name for name in BUGS if f'"{name}"' not in text] == []
