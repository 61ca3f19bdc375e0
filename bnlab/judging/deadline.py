"""Runs somebody's code for some seconds and no longer, on any platform and in any thread.

The code runs in a daemon thread of its own, which does not keep Python from ending. When the time is up, an
exception is put into that thread. Code that waits in C (`time.sleep`) cannot be reached: it is left behind.
"""

import contextvars
import ctypes
import sys
import threading
import time
from contextlib import suppress


class TooLateError(Exception):
    """The code was still running when its time was up; `frame` is the innermost one then, or None."""

    def __init__(self, seconds, frame):
        super().__init__(f"still running after {seconds:g} seconds")
        self.frame = frame


class FailedError(Exception):
    """The code raised something, which is kept as `error`; SystemExit and KeyboardInterrupt as well."""

    def __init__(self, error):
        super().__init__(repr(error))
        self.error = error


class _Stop(SystemExit):
    """Ends the thread in which it is raised from outside. Threads end by a SystemExit in silence.

    A bare `except:` in a loop would swallow it. So making one, which happens in that thread, also has the
    next line raise, and that is the first one of the handler.
    """

    def __init__(self):
        super().__init__()
        frame = sys._getframe(1)
        while frame and frame.f_globals is not globals():
            frame.f_trace = _raise
            frame = frame.f_back
        sys.settrace(_raise)


def _raise(_frame, event, _argument):
    if event == "line":
        raise SystemExit
    return _raise


def within(seconds, call):
    """Return call(), which runs in a thread with the context variables of this one.

    Args:
        seconds: how long it may take.
        call: a function without arguments.

    Raises:
        TooLateError: it was still running after so many seconds.
        FailedError: it raised an exception of any kind.
        KeyboardInterrupt: the user stopped the waiting; the code is stopped too.
    """
    outcome, done = [], threading.Event()

    def work():
        with suppress(_Stop):
            try:
                outcome.append((call(), None))
            except BaseException as error:
                outcome.append((None, error))
            finally:
                sys.settrace(None)
                done.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        late = not _finished(done, seconds)
        frame = sys._current_frames().get(thread.ident) if late else None
    finally:
        if not done.is_set():
            _stop(thread, done)
    if late:
        raise TooLateError(seconds, frame)
    value, error = outcome[0]
    if error is not None:
        raise FailedError(error)
    return value


def _finished(done, seconds):
    """Wait in short turns: on Windows a long wait does not hear Ctrl-C."""
    end = time.monotonic() + seconds
    while not done.wait(0.1):
        if time.monotonic() >= end:
            return False
    return True


def _stop(thread, done, patience=0.5):
    end = time.monotonic() + patience
    while not done.wait(0.002) and time.monotonic() < end:
        identity = ctypes.c_ulong(thread.ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(_Stop))
