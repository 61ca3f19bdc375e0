"""How the command line ends: each exit code means one thing, and what could not be looked at is one line.

Nothing but the standard library is imported here, so an interrupt is one line from the start.
"""

import os
import signal
import sys
import warnings
from contextlib import contextmanager, suppress

FAILED, INTERRUPTED = 2, 130


def process(work):
    """Do the work of a whole process, which returns the exit code, and end with it.

    It ends at once: neither the last flush of a broken pipe nor the end of TensorFlow may change the code.
    """
    open_closed_streams()
    interrupts = _heed_interrupts()
    code = answered(lambda: _ended(work))
    os._exit(INTERRUPTED if interrupts else code)


def answered(work):
    """Return the exit code that work returns; if it raises, say why in one line and return that code."""
    try:
        return work()
    except KeyboardInterrupt:
        return refused("interrupted", INTERRUPTED)
    except MemoryError:
        return refused("out of memory; expected a smaller sample or a smaller --batch-size")
    except Exception as error:
        ours = isinstance(error, (OSError, TypeError, ValueError)) and str(error)
        told = str(error) if ours else f"{type(error).__name__}: {error}"
        return refused(told, script=getattr(error, "script", ""))


def refused(told, code=FAILED, *, script=""):
    """Say in one line why it could not be looked at, if there is a stream for it, and return the code.

    Below the line stands the script that can, if there is one.
    """
    if sys.stderr:  # print would take standard output for None
        with suppress(OSError, ValueError):
            line = " ".join(told.split())[:1000]
            print(f"error: {line}", *script.splitlines(), sep="\n    ", file=sys.stderr, flush=True)
    return code


def open_closed_streams():
    """Let nothing but the void stand where a stream was closed: the next file opened would take its place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            void = os.open(os.devnull, os.O_RDWR)
            if void != descriptor:  # in pythonw the number is taken, and leads nowhere
                os.dup2(void, descriptor)
                os.close(void)


@contextmanager
def quiet():
    """Keep warnings and TensorFlow's log lines out of the output."""
    open_closed_streams()
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nothing:
        warnings.simplefilter("ignore")
        _flush_stderr()
        real = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            _flush_stderr()
            os.dup2(real, 2)
            os.close(real)


def _flush_stderr():
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


def _heed_interrupts():
    """Return a list that grows with each Ctrl-C: the first raises KeyboardInterrupt, the second ends all."""
    interrupts = []

    def heed(*_):
        interrupts.append(None)
        if len(interrupts) > 1:
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background it may be ignored
        signal.signal(signal.SIGINT, heed)
    return interrupts


def _ended(work):
    """Return the exit code, with all that was printed written; from here on it is too late to interrupt."""
    try:
        code = work()
    except SystemExit as leaving:
        code = leaving.code or 0
    if sys.stdout:
        sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code
