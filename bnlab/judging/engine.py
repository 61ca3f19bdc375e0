"""Judges functions, values and ideas; `bnlab.judging` says how."""

import copy
from itertools import combinations

import numpy as np

from bnlab.judging.attempts import check_signature, is_blank, run
from bnlab.judging.outputs import all_close, in_form_of, is_close, is_unchanged, shape_of
from bnlab.judging.verdicts import NOT_ATTEMPTED, RIGHT, UnfitError, Verdict, not_yet


def judge(answer, *, truth, mistakes, inputs, observe=None, tolerance=1e-4, seconds=3.0):
    """Judge a function by its outputs.

    Right is an output as close to the truth's as tolerance says, for all inputs. An answer that is as close
    to a mistake's, for all inputs, makes that mistake.

    Args:
        answer: the learner's function. None, `...` and a function without a body are not attempted yet.
        truth: the right function. It returns numbers, an array, words, or a tuple of them.
        mistakes: name -> (function that makes this mistake, hint).
        inputs: tuples of arguments. Each function gets copies of them.
        observe: observe(function, *arguments) -> what is compared; function(*arguments) if None.
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
    if is_blank(answer):
        return NOT_ATTEMPTED
    cases = [tuple(case) for case in inputs]
    ask = observe or _call
    with np.errstate(all="ignore"):
        outputs = {name: _outputs(recipe, cases, ask) for name, (recipe, _) in mistakes.items()}
        wanted = _outputs(truth, cases, ask)
    _prove_told_apart({"the right answer": wanted} | outputs, tolerance)
    try:
        check_signature(answer, truth)
        found = run(answer, lambda: _answers(answer, cases, wanted, ask), seconds)
    except UnfitError as unfit:
        return not_yet(unfit.mistake, unfit.words)
    known = _recognised(found, wanted, outputs, mistakes, tolerance)
    return known or _unknown(found, wanted, tolerance)


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
    if all(map(is_blank, answer if isinstance(answer, list) and answer else [answer])):
        return NOT_ATTEMPTED
    values = {name: [in_form_of(value, value)] for name, (value, _) in mistakes.items()}
    wanted = [in_form_of(truth, truth)]
    _prove_told_apart({"the right answer": wanted} | values, tolerance)
    try:
        if callable(answer) and read is None:
            raise UnfitError("no value", "a value is expected here, not a function")
        found = run(answer, lambda: [in_form_of(truth, read(answer) if read else answer)], seconds)
    except UnfitError as unfit:
        if unfit.mistake == "returned None":
            return not_yet("incomplete", "a part of it is still None")
        return not_yet(unfit.mistake, unfit.words)
    if known := _recognised(found, wanted, values, mistakes, tolerance):
        return known
    shapes = shape_of(found[0]), shape_of(wanted[0])
    if shapes[0] != shapes[1]:
        return not_yet("wrong shape", f"its shape is {shapes[0]}, not {shapes[1]}")
    return Verdict(f"not yet: {otherwise}")


def judge_proposal(answer, *, fault_of, seconds=3.0):
    """Judge an idea of the reader's own by what comes of it: many answers are right.

    Args:
        answer: the learner's; anything that fault_of understands. None and `...` are not attempted yet.
        fault_of: fault_of(answer) -> (name, hint) of the first fault that the idea has, or None. It may raise
            `UnfitError`; see `as_numbers`.
        seconds: how long that may take.

    Returns:
        Verdict: right if there is no fault; or as in `judge`.
    """
    if is_blank(answer):
        return NOT_ATTEMPTED

    def examine():
        with np.errstate(all="ignore"):
            return fault_of(answer)

    try:
        fault = run(answer, examine, seconds)
    except UnfitError as unfit:
        return not_yet(unfit.mistake, unfit.words)
    return not_yet(*fault) if fault else RIGHT


def as_numbers(value):
    """Return value as a float64 array of finite numbers.

    Raises:
        UnfitError: it is None, holds no real numbers, or some that are not finite.
    """
    array = in_form_of(0.0, value)
    if not np.isfinite(array).all():
        raise UnfitError("not finite", "it holds NaN or infinity")
    return array


def _call(function, *arguments):
    return function(*arguments)


def _outputs(function, cases, ask):
    values = [ask(function, *copy.deepcopy(case)) for case in cases]
    return [in_form_of(value, value) for value in values]


def _answers(answer, cases, wanted, ask):
    found = []
    for case, right in zip(cases, wanted, strict=True):
        arguments = copy.deepcopy(case)
        found.append(in_form_of(right, ask(answer, *arguments)))
        if not is_unchanged(arguments, case):
            raise UnfitError("changed its input", "it works on the caller's array; leave that as it came")
    return found


def _recognised(found, wanted, outputs, mistakes, tolerance):
    """Return the verdict on outputs that are right or those of a mistake, or None."""
    if all_close(found, wanted, tolerance):
        return RIGHT
    for name, (_, hint) in mistakes.items():
        if all_close(found, outputs[name], tolerance):
            return not_yet(name, hint)
    return None


def _prove_told_apart(outputs, tolerance):
    for (one, first), (other, second) in combinations(outputs.items(), 2):
        if all_close(first, second, 3 * tolerance) or all_close(second, first, 3 * tolerance):
            same = f"{one!r} and {other!r} give the same outputs"
            raise ValueError(f"{same}; expected inputs that tell them apart")


def _unknown(found, wanted, tolerance):
    """Say where a wrong answer, of which no more is known, departs from the right one."""
    wrong = [n for n, pair in enumerate(zip(found, wanted, strict=True)) if not is_close(*pair, tolerance)]
    one, right, part = _first_wrong(found[wrong[0]], wanted[wrong[0]], tolerance)
    at = f"for input {wrong[0] + 1} of {len(wanted)}{part}"
    if isinstance(right, str):
        return Verdict(f"not yet: {at} it says {one!r}, and {right!r} is right")
    if one.shape != right.shape:
        return not_yet("wrong shape", f"{at} its output has shape {one.shape}, not {right.shape}")
    if not np.isfinite(one).all():
        return not_yet("not finite", f"{at} its output holds NaN or infinity")
    place = np.unravel_index(np.abs(one - right).argmax(), one.shape)
    where = f" at {tuple(map(int, place))}" if place else ""
    return Verdict(f"not yet: {at} it gives {one[place]:.4g}{where}, not {right[place]:.4g}")


def _first_wrong(one, right, tolerance):
    """Return the first result of several that is wrong, the right one and which it is in words."""
    if not isinstance(right, list):
        return one, right, ""
    wrong = [n for n, pair in enumerate(zip(one, right, strict=True)) if not is_close(*pair, tolerance)]
    inner = _first_wrong(one[wrong[0]], right[wrong[0]], tolerance)
    return *inner[:2], f", result {wrong[0] + 1}{inner[2]}"
