"""The learner's code: whether there is any, how it is called, and what is said when it fails."""

import dis
import inspect
import linecache

from bnlab.judging.deadline import FailedError, TooLateError, within
from bnlab.judging.verdicts import UnfitError

_IDLE = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "COPY_FREE_VARS"}


def is_blank(answer):
    """Say whether an answer is None, `...` or a function without a body."""
    if answer is None or answer is ...:
        return True
    return inspect.isfunction(answer) and _does_nothing(answer.__code__)


def _does_nothing(code):
    steps = list(dis.get_instructions(code))
    loaded = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {step.opname for step in steps} <= _IDLE and loaded in ([None], [...])


def check_signature(answer, truth):
    """Raise UnfitError if an answer is no function, or none that takes the arguments of the right one."""
    if not callable(answer):
        expected = f"a function is expected, not a {type(answer).__name__}"
        raise UnfitError("no function", f"{expected}; give its name, without brackets")
    names = list(inspect.signature(truth).parameters)
    try:
        inspect.signature(answer).bind(*names)
    except ValueError:
        return  # some functions in C do not tell
    except TypeError:
        given = ", ".join(names)
        raise UnfitError("wrong arguments", f"your function is called with ({given})") from None


def run(answer, call, seconds):
    """Return call(); what goes wrong in it becomes an UnfitError with words about the learner's code."""
    try:
        return within(seconds, call)
    except TooLateError as late:
        frames = []
        while late.frame:
            frames.append((late.frame, late.frame.f_lineno))
            late.frame = late.frame.f_back
        still = f"it was still running after {seconds:g} seconds"
        raise UnfitError("an endless loop", still + _place(answer, frames)) from None
    except FailedError as failed:
        if isinstance(failed.error, UnfitError):
            raise failed.error from None
        frames, trace = [], failed.error.__traceback__
        while trace:
            frames.insert(0, (trace.tb_frame, trace.tb_lineno))
            trace = trace.tb_next
        raise UnfitError("an exception", _in_words(failed.error) + _place(answer, frames)) from None


def _place(answer, frames):
    """Say which line of the learner's code it was: the innermost in the file or the cell of the answer."""
    file = getattr(_code(answer), "co_filename", None)
    for frame, line in frames:
        if frame.f_code.co_filename == file:
            text = linecache.getline(file, line).strip()
            return f", at line {line} of your code" + (f": {text}" if text else "")
    return ""


def _in_words(error):
    try:
        words = " ".join(str(error).split())
    except Exception:
        words = ""
    words = words if len(words) <= 200 else words[:200] + " ..."
    return type(error).__name__ + (f": {words}" if words else "")


def _code(answer):
    try:
        function = inspect.unwrap(getattr(answer, "func", answer))
    except ValueError:
        return None
    own = getattr(function, "__code__", None)
    if own or type(function).__module__.partition(".")[0] in ("keras", "tf_keras", "tensorflow"):
        return own  # the call of a layer is not the learner's code
    return getattr(type(function).__call__, "__code__", None)
