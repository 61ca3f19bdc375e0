"""What an exercise states with a number: an answer exactly there is right, one just beyond it is not."""

import numpy as np
import pytest
from test_exercises import MODULES, TABLED, check, public_functions

from bnlab.exercises import fine_tune_a_network_that_has_it, set_the_training_flag


def spread_to(after, *, start=0.0):
    """Return a batch of two whose outputs spread by this: s / sqrt(s^2 + 0.001) solved for s."""
    return [start, start + 2 * after * np.sqrt(1e-3 / (1 - after**2))]


def series(nearest=1.0, end=0.0):
    """Return ten values, the first one as near to 0 as this, whose moving average ends there."""
    values = np.array([nearest, *[1.0] * 8, 0.0])
    values[-1] = (end - 0.1 * (values * 0.9 ** np.arange(9, -1, -1)).sum()) / 0.1
    return values


def crowd(share=1.0):
    """Return 5 and three mates, so far above it (times share) that it comes out at -1.5."""
    return [5.0, *[5.0 + share * np.sqrt(0.016)] * 3]


def smallest_batch(more):
    return lambda scatter: int(np.ceil(round(1 / scatter**2, 6))) + more


def limits(gap=0.5, ratio=2.0, at_most=np.less_equal):
    """Return a doctor with these limits."""

    def doctor(mean, variance, x):
        if not np.isfinite(mean + variance).all():
            return "not finite"
        ratios = variance / x.var(axis=0)
        near = at_most(abs(mean - x.mean(axis=0)), gap * x.std(axis=0))
        if (near & at_most(np.maximum(ratios, 1 / ratios), ratio)).all():
            return "healthy"
        return "never updated" if not mean.any() and (variance == 1).all() else "not converged"

    return doctor


def variance_times(factor):
    return lambda x: factor * x.var(axis=0, dtype=np.float64)


def momentum_to(digits):
    return lambda steps, share: round(share ** (1 / steps), digits)


Layer = type(TABLED["watch_a_moving_average_follow"]["follows_pytorch"]["right"][0])
TWIN = {"w": -2.0, "b": 7.0, "gamma": -1.5, "beta": 0.25}
CENTRED = np.random.default_rng(0).normal(size=(8, 3))
CENTRED -= CENTRED.mean(axis=0)
EDGES = {  # exercise: the answers at the edge, those beyond it
    "feed_it_identical_inputs.pair": ([0.995, 1.005], [0.9949, 1.0051]),
    "feed_it_identical_inputs.half_spread": (
        [spread_to(0.45), spread_to(0.55), spread_to(0.55, start=-0.3), spread_to(0.45, start=7.7)],
        [spread_to(0.4499), spread_to(0.5501)],
    ),
    "watch_a_moving_average_follow.largest_momentum": ([momentum_to(3)], [momentum_to(2)]),
    "watch_a_moving_average_follow.returns_to_zero": (
        [series(0.1), series(0.3 - 0.2), series(0.2 - 0.3), series(end=0.000499), series(end=-0.000499)],
        [series(0.0999), series(-0.0999), series(end=0.000501), series(end=-0.000501), series()[1:]],
    ),
    "watch_a_moving_average_follow.follows_pytorch": (
        [Layer(0.99702), Layer(0.99698)],
        [Layer(0.9971), Layer(0.9969)],
    ),
    "set_the_training_flag.mates": ([crowd(), crowd(1.001)], [crowd(0.999)]),
    "debug_a_tiny_network.twin": (
        [TWIN | {"b": 1.5}, TWIN | {"b": 0.5}, TWIN | {"b": 4.1 - 2.6}, TWIN | {"beta": 0.25 + 0.99e-6}],
        [TWIN | {"b": 1.4999}, TWIN | {"b": 0.5001}, TWIN | {"beta": 0.25 - 1.01e-6}],
    ),
    "port_it_to_your_own_library.hidden_bug": ([CENTRED.astype(np.float32)], [CENTRED + 1e-5]),
    "know_its_numbers.saved_variance": (
        [variance_times(1.01), variance_times(0.99)],
        [variance_times(1.011), variance_times(0.989)],
    ),
    "know_its_numbers.batch_size": ([smallest_batch(0)], [smallest_batch(1), smallest_batch(-1)]),
    "know_its_numbers.loses_beta": (
        # The factored form is off by 0.1007, and the centred one by 0.00099; then 0.0988, and 0.00103.
        [[14120691.0, 14120695.0, 14120699.0, 14120691.0], [3e5] * 499 + [3e5 + 1 / 32]],
        [[14081778.0, 14081794.0, 14081794.0, 14081790.0], [3e5] * 479 + [3e5 + 1 / 32]],
    ),
    "fold_it_away_for_inference.forgotten_epsilon": ([0.00033], [0.00034, 0.00032]),
    "find_the_bug.doctor": (
        [limits(), limits(at_most=np.less)],
        [limits(gap=0.48), limits(gap=0.52), limits(ratio=1.9), limits(ratio=2.1)],
    ),
}


def cases(side):
    return [(name, n) for name, answers in EDGES.items() for n in range(len(answers[side]))]


def judged(exercise, answer):
    module, _, title = exercise.partition(".")
    return check(module, title, answer)


@pytest.mark.parametrize(("exercise", "number"), cases(0))
def test_an_answer_at_the_edge_is_right(exercise, number):
    verdict = judged(exercise, EDGES[exercise][0][number])
    assert verdict.right, str(verdict)


@pytest.mark.parametrize(("exercise", "number"), cases(1))
def test_an_answer_beyond_the_edge_is_not(exercise, number):
    verdict = judged(exercise, EDGES[exercise][1][number])
    assert not verdict.right
    assert str(verdict).startswith("not yet")


def test_w_of_a_twin_may_be_half_away():
    names = [judged("debug_a_tiny_network.twin", TWIN | {"w": w}).mistake for w in (2.5, 1.5, 2.4999, 1.5001)]
    assert names == ["stretched", "stretched", "the same w", "the same w"]


@pytest.mark.parametrize(("share", "right"), [(0.95, False), (0.9501, True)])
def test_a_mended_test_has_more_than_so_many_right(share, right):
    pair = TABLED["set_the_training_flag"]["mended_test"]["right"][0]
    verdict = set_the_training_flag.mended_test(pair, accuracy=lambda first, second: share)
    assert verdict.right is right


@pytest.mark.parametrize(
    ("lost", "back", "mistake"),
    [
        (0.7 - 0.5, 0.5 - 0.4, None),
        (0.3, 0.15, None),
        (0.1999, 0.15, "hardly any loss"),
        (0.3, 0.1499, "not brought back"),
    ],
)
def test_a_shift_costs_so_much_and_half_comes_back(lost, back, mistake, monkeypatch):
    monkeypatch.setattr(fine_tune_a_network_that_has_it, "_lost_and_back", lambda kept, new: (lost, back))
    assert fine_tune_a_network_that_has_it.shift_of_your_own(lambda images: 0.5 * images).mistake == mistake


def test_the_edges_are_those_of_exercises():
    for exercise in EDGES:
        module, _, title = exercise.partition(".")
        assert title in public_functions(MODULES[module])
