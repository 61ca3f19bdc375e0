"""How the command ends: the exit code, and one line on what is left of stderr, never a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bnlab

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the streams are closed and filled by a POSIX shell")

WORK = """
import os, sys
from bnlab.doctor.terminal import command, exits
def raises(error): raise error
exits.process(lambda: {work})
"""


def process(work, redirected=""):
    """Run the work as a whole process, in a shell that redirects its streams."""
    if "/dev/full" in redirected and not Path("/dev/full").exists():
        pytest.skip("this system has no file that is always full")
    line = f"'{sys.executable}' -c \"$WORK\" {redirected}"
    environment = os.environ | {
        "PYTHONPATH": str(Path(bnlab.__file__).parents[1]),
        "PYTHONIOENCODING": "ascii",
    }
    environment["WORK"] = WORK.format(work=work)
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("work", "redirected", "code", "told"),
    [
        ("1", "", 1, ""),
        ("sys.exit(0)", "", 0, ""),
        ("raises(KeyError('a\\nb'))", "", 2, "error: KeyError: 'a\\nb'"),
        ("raises(RuntimeError('odd\\n  lines'))", "", 2, "error: RuntimeError: odd lines"),
        ("raises(AssertionError())", "", 2, "error: AssertionError:"),
        ("raises(ValueError('x is 1; expected 2'))", "", 2, "error: x is 1; expected 2"),
        ("raises(MemoryError())", "", 2, "error: out of memory; expected a smaller"),
        ("raises(KeyboardInterrupt())", "", 130, "error: interrupted"),
        ("raises(ValueError('no'))", "2>&-", 2, ""),
        ("raises(ValueError('no'))", ">&-", 2, "error: no"),
        ("raises(ValueError('no'))", "2>/dev/full", 2, ""),
        ("print('x') or 0", "2>&-", 0, ""),
        ("print('x') or 0", ">/dev/full", 2, "error: [Errno 28]"),
        ("command._print('x') or 0", ">/dev/full", 2, "error: the report cannot be written ([Errno 28]"),
        ("command._print('sch\\xf6n') or 0", "", 2, "error: the report has '\\xf6' in it"),
        (
            "command._print('x' * 10**6) or 0",
            "| true; exit ${PIPESTATUS[0]}",
            2,
            "error: the report cannot be",
        ),
        ("command.main(None)", ">&-", 2, "error: standard output is closed; expected a place"),
        ("command.main(None, ['--help'])", ">/dev/full", 2, "error: [Errno 28]"),
        ("command.main(None, ['--help'])", "2>&-", 0, ""),
        ("command.main(None, ['a'])", ">&- 2>&-", 2, ""),
        ("exits.quiet().__enter__() or 0", "<&- 2>&-", 0, ""),
        ("[os.close(n) for n in (0, 2)] and exits.quiet().__enter__() or 0", "", 0, ""),
    ],
)
def test_each_end_has_its_code_and_at_most_one_line(work, redirected, code, told):
    ended = process(work, redirected)
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.startswith(told)
    assert ended.stderr.count("\n") == bool(told)
    assert code == 0 or ended.stdout == ""


def test_no_file_takes_the_place_of_a_closed_stream():
    ended = process("os.write(1, b'%d' % os.open(os.devnull, 0)) * 0", "2>&- <&-")
    assert ended.returncode == 0
    assert int(ended.stdout) > 2


def test_a_number_that_is_taken_and_leads_nowhere_gets_the_void():
    """As in pythonw, where os.fstat fails and the next file gets another number."""
    work = (
        "setattr(os, 'fstat', lambda n, real=os.fstat: real(99 if n == 2 else n)) or "
        "exits.open_closed_streams() or os.write(2, b'lost') * 0 or os.write(1, b'%d' % os.dup(1)) * 0"
    )
    ended = process(work)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "3"


@pytest.mark.parametrize("handler", ["default", "ignored"])
def test_an_interrupt_is_heard_unless_it_is_to_be_ignored(handler):
    ignoring = "trap '' INT; " if handler == "ignored" else ""
    work = "print('there', flush=True) or __import__('time').sleep(1) or 0"
    line = f"{ignoring}exec '{sys.executable}' -c \"$WORK\""
    environment = os.environ | {
        "PYTHONPATH": str(Path(bnlab.__file__).parents[1]),
        "WORK": WORK.format(work=work),
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(["bash", "-c", line], env=environment, **streams) as running:
        assert running.stdout.readline() == "there\n"
        running.send_signal(signal.SIGINT)
        told = running.communicate(timeout=60)[1]
    expected = (0, "") if ignoring else (130, "error: interrupted\n")
    assert (running.returncode, told) == expected


def test_an_interrupt_that_a_library_swallows_still_ends_with_its_code():
    swallowed = "[os.kill(os.getpid(), 2) for _ in [0]]"
    work = f"exec('try: {swallowed}\\nexcept BaseException: pass') or 0"
    assert process(work).returncode == 130
