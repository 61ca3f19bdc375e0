"""Answers that do not end: they are stopped, told with their line, and leave nothing behind."""

import subprocess
import sys
import textwrap
import threading
import time

import pytest

from bnlab.judging import judge, judge_proposal, judge_value
from bnlab.judging.deadline import FailedError, TooLateError, within


def ask(answer, **more):
    return judge(answer, truth=abs, mistakes={}, inputs=[(1.0,), (2.0,), (3.0,), (4.0,)], **more)


def spins(x):
    while True:
        pass


def swallows(x):
    while True:
        try:
            while True:
                x = x + 1
        except:  # noqa: E722
            pass


def sleeps(x):
    time.sleep(1e9)


@pytest.fixture
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("answer", [spins, swallows])
def test_an_endless_loop_ends_and_is_told_with_its_line(answer, no_thread_left):
    verdict = ask(answer, seconds=0.3)
    assert (verdict.right, verdict.mistake) == (False, "an endless loop")
    assert "still running after 0.3 seconds, at line" in str(verdict)


def test_what_waits_in_c_is_left_behind():
    verdict = ask(sleeps, seconds=0.3)
    assert verdict.mistake == "an endless loop"
    assert str(verdict).endswith("of your code: time.sleep(1e9)")


def test_an_endless_loop_takes_three_seconds_when_nothing_else_is_said(no_thread_left):
    assert "after 3 seconds" in str(ask(spins))


@pytest.mark.parametrize(
    "verdict_in",
    [
        lambda seconds: ask(spins, seconds=seconds),
        lambda seconds: judge_value(1.0, truth=1.0, mistakes={}, read=spins, seconds=seconds),
        lambda seconds: judge_proposal(1.0, fault_of=spins, seconds=seconds),
    ],
)
def test_every_judge_waits_as_long_as_it_is_told(verdict_in, no_thread_left):
    for seconds in (0.1, 0.3):
        assert f"after {seconds} seconds" in str(verdict_in(seconds))


def test_the_time_is_for_all_inputs_together():
    def naps(x):
        time.sleep(0.2)
        return x

    assert ask(naps, seconds=0.5).mistake == "an endless loop"
    assert ask(naps, seconds=20).right


def test_an_endless_loop_ends_off_the_main_thread_too():
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(ask(spins, seconds=0.3)))
    thread.start()
    thread.join(5)
    assert verdicts[0].mistake == "an endless loop"


def test_python_ends_although_an_answer_sleeps_on():
    code = """
        import time
        from bnlab.judging import judge
        print(judge(lambda x: time.sleep(1e6), truth=abs, mistakes={}, inputs=[(1.0,)], seconds=0.2))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, encoding="utf-8", timeout=30
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "endless" in run.stdout


def test_the_user_s_interrupt_passes_through(monkeypatch, no_thread_left):
    def pressed(done, seconds):
        time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr("bnlab.judging.deadline._finished", pressed)
    with pytest.raises(KeyboardInterrupt):
        ask(spins)


def test_within_gives_the_value_or_says_what_happened(no_thread_left):
    assert within(5, lambda: 7) == 7
    with pytest.raises(FailedError) as failed:
        within(5, lambda: [][0])
    assert isinstance(failed.value.error, IndexError)
    with pytest.raises(TooLateError, match=r"still running after 0.1 seconds") as late:
        within(0.1, lambda: spins(1))
    assert late.value.frame.f_code.co_name == "spins"


def test_nothing_that_was_raised_stays_in_the_thread_s_tracing(no_thread_left):
    assert within(5, sys.gettrace) is None
    ask(swallows, seconds=0.2)
    assert within(5, sys.gettrace) is None
