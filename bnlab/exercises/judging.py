"""Judges an answer by what it does: right, or which mistake it makes, recognised from its output.

A mistake is given as a function that makes it. The learner's function, the right one and all the mistaken
ones get the same inputs, and the outputs are compared. So the answer may be written in any way, and a
mistake is known by its numbers.
"""

import copy
import dis
import inspect
import linecache
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bnlab.exercises.deadline import FailedError, TooLateError, within

_IDLE = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "COPY_FREE_VARS"}


@dataclass(frozen=True)
class Verdict:
    """What came of an answer; `str()` is the line to print.

    Attributes:
        line: one line of plain text.
        right: whether the answer is right.
        mistake: the name of the mistake that was recognised, or None.
    """

    line: str
    right: bool = False
    mistake: str | None = None

    def __str__(self):
        """Return the line."""
        return self.line


class UnfitError(Exception):
    """An answer that cannot be judged by its numbers; `mistake` names why, `words` tell the learner."""

    def __init__(self, mistake, words):
        super().__init__(words)
        self.mistake = mistake
        self.words = words


NOT_ATTEMPTED = Verdict("not attempted yet")


def judge(answer, *, truth, mistakes, inputs, observe=None, symptoms=None, tolerance=1e-4, seconds=3.0):
    """Judge a function by its outputs.

    Right is an output as close to the truth's as tolerance says, for all inputs. An answer that is as close
    to a mistake's, for all inputs, makes that mistake.

    Args:
        answer: the learner's function. None, `...` and a function without a body are not attempted yet.
        truth: the right function. It returns numbers, an array, words, or a tuple of them.
        mistakes: name -> (function that makes this mistake, hint).
        inputs: tuples of arguments. Each function gets copies of them.
        observe: observe(function, *arguments) -> what is compared; function(*arguments) if None.
        symptoms: name -> (test, hint) for mistakes without one output, such as rounding errors:
            test(outputs, *arguments), on lists with an entry for each of inputs, says whether it is this.
        tolerance: largest difference, as a share of the largest number in the right output.
        seconds: how long the answer may take for all inputs together.

    Returns:
        Verdict. Its mistake is one of the names, or "an exception", "an endless loop", "no function",
        "wrong arguments", "returned None", "wrong type", "wrong shape", "not finite", "changed its input",
        or None if the answer is wrong in a way that nobody thought of.

    Raises:
        ValueError: the exercise is at fault: two of the mistakes, or a mistake and the truth, give the same
            outputs for all inputs.
    """
    if _is_blank(answer):
        return NOT_ATTEMPTED
    cases = [tuple(case) for case in inputs]
    ask = observe or _call
    with np.errstate(all="ignore"):
        outputs = {name: _outputs(recipe, cases, ask) for name, (recipe, _) in mistakes.items()}
        wanted = _outputs(truth, cases, ask)
    _prove_told_apart({"the right answer": wanted} | outputs, symptoms or {}, cases, tolerance)
    try:
        _check_signature(answer, truth)
        found = _run(answer, lambda: _answers(answer, cases, wanted, ask), seconds)
    except UnfitError as unfit:
        return _not_yet(unfit.mistake, unfit.words)
    if known := _recognised(found, wanted, outputs, mistakes, tolerance):
        return known
    for name, (test, hint) in (symptoms or {}).items():
        if _fits(test, found, cases):
            return _not_yet(name, hint)
    return _unknown(found, wanted, tolerance)


def judge_value(answer, *, truth, mistakes, read=None, tolerance=1e-4, otherwise="try again", seconds=3.0):
    """Judge an answer that is no function: a number, a word, or several of them.

    Args:
        answer: the learner's. None, `...` and a list of nothing else are not attempted yet.
        truth: the right value.
        mistakes: name -> (wrong value that comes of this mistake, hint).
        read: read(answer) -> the value that is compared, for answers that are objects, such as a layer.
        tolerance: largest difference, as a share of the largest number in the value.
        otherwise: hint for a wrong answer that is not among the mistakes.
        seconds: how long reading may take.

    Returns:
        Verdict; the names of mistakes as in `judge`, and "no value" for a function.

    Raises:
        ValueError: the exercise is at fault: two of the values are the same.
    """
    if all(map(_is_blank, answer if isinstance(answer, list) and answer else [answer])):
        return NOT_ATTEMPTED
    values = {name: [_like(value, value)] for name, (value, _) in mistakes.items()}
    wanted = [_like(truth, truth)]
    _prove_told_apart({"the right answer": wanted} | values, {}, [()], tolerance)
    try:
        if callable(answer) and read is None:
            raise UnfitError("no value", "a value is expected here, not a function")
        found = _run(answer, lambda: [_like(read(answer) if read else answer, truth)], seconds)
    except UnfitError as unfit:
        if unfit.mistake == "returned None":
            return _not_yet("incomplete", "a part of it is still None")
        return _not_yet(unfit.mistake, unfit.words)
    if known := _recognised(found, wanted, values, mistakes, tolerance):
        return known
    shapes = _shapes(found[0]), _shapes(wanted[0])
    if shapes[0] != shapes[1]:
        return _not_yet("wrong shape", f"its shape is {shapes[0]}, not {shapes[1]}")
    return Verdict(f"not yet: {otherwise}")


def judge_proposal(answer, *, read, faults, seconds=3.0):
    """Judge an idea of the reader's own by what comes of it: many answers are right.

    Args:
        answer: the learner's; anything that read understands. None and `...` are not attempted yet.
        read: read(answer) -> what the tests look at. It may raise `UnfitError`; see `as_numbers`.
        faults: name -> (test, hint), in the order in which they are looked for. test(what was read) says
            whether the idea has this fault; the hint is a text, or a function of what was read.
        seconds: how long reading and testing may take.

    Returns:
        Verdict: right if there is none of the faults, else the first of them; or as in `judge`.
    """
    if _is_blank(answer):
        return NOT_ATTEMPTED

    def first_fault():
        with np.errstate(all="ignore"):
            subject = read(answer)
            for name, (test, hint) in faults.items():
                if test(subject):
                    return name, hint(subject) if callable(hint) else hint
        return None

    try:
        fault = _run(answer, first_fault, seconds)
    except UnfitError as unfit:
        return _not_yet(unfit.mistake, unfit.words)
    return _not_yet(*fault) if fault else Verdict("right", right=True)


def as_numbers(value):
    """Return value as a float64 array of finite numbers.

    Raises:
        UnfitError: it is None, holds no real numbers, or some that are not finite.
    """
    array = _like(value, 0.0)
    if not np.isfinite(array).all():
        raise UnfitError("not finite", "it holds NaN or infinity")
    return array


def _call(function, *arguments):
    return function(*arguments)


def _outputs(function, cases, ask):
    values = [ask(function, *copy.deepcopy(case)) for case in cases]
    return [_like(value, value) for value in values]


def _answers(answer, cases, wanted, ask):
    found = []
    for case, right in zip(cases, wanted, strict=True):
        arguments = copy.deepcopy(case)
        found.append(_like(ask(answer, *arguments), right))
        if not _same(arguments, case):
            raise UnfitError("changed its input", "it works on the caller's array; leave that as it came")
    return found


def _recognised(found, wanted, outputs, mistakes, tolerance):
    """Return the verdict on outputs that are right or those of a mistake, or None."""
    if _alike(found, wanted, tolerance):
        return Verdict("right", right=True)
    for name, (_, hint) in mistakes.items():
        if _alike(found, outputs[name], tolerance):
            return _not_yet(name, hint)
    return None


def _run(answer, call, seconds):
    """Return call(); what goes wrong in it becomes an UnfitError with words about the learner's code."""
    try:
        return within(seconds, call)
    except TooLateError as late:
        frames = []
        while late.frame:
            frames.append((late.frame, late.frame.f_lineno))
            late.frame = late.frame.f_back
        where = _place(answer, frames)
        raise UnfitError(
            "an endless loop", f"it was still running after {seconds:g} seconds{where}"
        ) from None
    except FailedError as failed:
        if isinstance(failed.error, UnfitError):
            raise failed.error from None
        frames, trace = [], failed.error.__traceback__
        while trace:
            frames.insert(0, (trace.tb_frame, trace.tb_lineno))
            trace = trace.tb_next
        where = _place(answer, frames)
        raise UnfitError("an exception", f"{_told(failed.error)}{where}") from None


def _place(answer, frames):
    """Say which line of the learner's code it was: the innermost in the file or the cell of the answer."""
    file = getattr(_code(answer), "co_filename", None)
    for frame, line in frames:
        if frame.f_code.co_filename == file:
            text = linecache.getline(file, line).strip()
            return f", at line {line} of your code" + (f": {text}" if text else "")
    return ""


def _told(error):
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


def _is_blank(answer):
    if answer is None or answer is ...:
        return True
    return inspect.isfunction(answer) and _does_nothing(answer.__code__)


def _does_nothing(code):
    steps = list(dis.get_instructions(code))
    loaded = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {step.opname for step in steps} <= _IDLE and loaded in ([None], [...])


def _check_signature(answer, truth):
    if not callable(answer):
        kind = type(answer).__name__
        raise UnfitError(
            "no function", f"a function is expected, not a {kind}; give its name, without brackets"
        )
    names = list(inspect.signature(truth).parameters)
    try:
        inspect.signature(answer).bind(*names)
    except ValueError:
        return  # some functions in C do not tell
    except TypeError:
        told = ", ".join(names)
        raise UnfitError("wrong arguments", f"your function is called with ({told})") from None


def _like(value, right):
    """Return value in the form of the right one: a word, an array of float64, or a list of them."""
    if value is None:
        raise UnfitError("returned None", "nothing came back; is a `return` missing?")
    if isinstance(right, str):
        if not isinstance(value, str):
            raise UnfitError("wrong type", f"a word is expected, not a {type(value).__name__}")
        return str(value)
    if isinstance(right, tuple | list):
        return [_like(*pair) for pair in zip(_parts(value, len(right)), right, strict=True)]
    try:
        array = np.asarray(value)
    except Exception:
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        raise UnfitError("wrong type", f"numbers are expected, not a {type(value).__name__}{_inside(value)}")
    array = np.array(array, np.float64)
    wanted = np.shape(right)
    return array.reshape(wanted) if array.size == 1 and np.size(right) == 1 else array


def _inside(value):
    if isinstance(value, tuple | list):
        return f" of {len(value)} parts that do not fit into one array"
    return ""


def _parts(value, count):
    try:
        parts = list(value) if not isinstance(value, str | Mapping) else None
    except TypeError:
        parts = None
    if parts is None or len(parts) != count:
        given = f"{len(parts)}" if parts is not None else f"a {type(value).__name__}"
        raise UnfitError("wrong type", f"{count} results are expected, not {given}")
    return parts


def _same(one, other):
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(_same(one[k], other[k]) for k in one)
        )
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


def _alike(found, wanted, tolerance):
    return all(_near(*pair, tolerance) for pair in zip(found, wanted, strict=True))


def _near(found, wanted, tolerance):
    if isinstance(wanted, list):
        return len(found) == len(wanted) and _alike(found, wanted, tolerance)
    if isinstance(wanted, str):
        return found == wanted
    if found.shape != wanted.shape:
        return False
    scale = np.abs(wanted).max(initial=1e-6)
    return bool((np.abs(found - wanted) <= tolerance * scale).all())


def _prove_told_apart(outputs, symptoms, cases, tolerance):
    for (one, first), (other, second) in combinations(outputs.items(), 2):
        if _alike(first, second, 3 * tolerance) or _alike(second, first, 3 * tolerance):
            raise ValueError(
                f"{one!r} and {other!r} give the same outputs; expected inputs that tell them apart"
            )
    for name, (test, _) in symptoms.items():
        for one, found in outputs.items():
            if _fits(test, found, cases):
                raise ValueError(
                    f"the outputs of {one!r} have the symptom of {name!r}; expected another test"
                )


def _fits(test, found, cases):
    with np.errstate(all="ignore"):
        return bool(test(found, *map(list, zip(*cases, strict=True))))


def _unknown(found, wanted, tolerance):
    """Say where a wrong answer, of which no more is known, departs from the right one."""
    wrong = [n for n, pair in enumerate(zip(found, wanted, strict=True)) if not _near(*pair, tolerance)]
    one, right, part = _first_wrong(found[wrong[0]], wanted[wrong[0]], tolerance)
    at = f"for input {wrong[0] + 1} of {len(wanted)}{part}"
    if isinstance(right, str):
        return Verdict(f"not yet: {at} it says {one!r}, and {right!r} is right")
    if one.shape != right.shape:
        return _not_yet("wrong shape", f"{at} its output has shape {one.shape}, not {right.shape}")
    if not np.isfinite(one).all():
        return _not_yet("not finite", f"{at} its output holds NaN or infinity")
    place = np.unravel_index(np.abs(one - right).argmax(), one.shape)
    where = f" at {tuple(map(int, place))}" if place else ""
    return Verdict(f"not yet: {at} it gives {one[place]:.4g}{where}, not {right[place]:.4g}")


def _first_wrong(one, right, tolerance):
    """Return the first result of several that is wrong, the right one and which it is in words."""
    if not isinstance(right, list):
        return one, right, ""
    wrong = [n for n, pair in enumerate(zip(one, right, strict=True)) if not _near(*pair, tolerance)]
    inner = _first_wrong(one[wrong[0]], right[wrong[0]], tolerance)
    return *inner[:2], f", result {wrong[0] + 1}{inner[2]}"


def _shapes(value):
    return tuple(map(_shapes, value)) if isinstance(value, list) else np.shape(value)


def _not_yet(name, hint):
    return Verdict(f"not yet ({name}): {hint}", mistake=name)
