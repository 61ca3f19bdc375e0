"""Replaces functions for the calling thread alone: a model may be in use elsewhere while it is watched."""

import threading
from contextlib import contextmanager
from functools import wraps

_LOCK = threading.RLock()  # replaced by one thread at a time: each puts back what it found
_OURS = threading.local()  # {(owner, name): replacement} of this thread


@contextmanager
def replaced(replacements):
    """Let this thread call other functions than all others do.

    Args:
        replacements: {(owner, name): replacement}; owner is the class or module that holds the function
            under this name. This thread calls replacement(original, *what the original was called with).

    A second thread that wants to replace something waits until the first has put it back.
    """
    with _LOCK:
        before, originals = _replacements(), {key: vars(key[0])[key[1]] for key in replacements}
        _OURS.replacements = before | replacements
        try:
            for key, original in originals.items():
                setattr(*key, _branching(key, original))
            yield
        finally:
            for key, original in originals.items():
                setattr(*key, original)
            _OURS.replacements = before


def _replacements():
    return getattr(_OURS, "replacements", {})


def _branching(key, original):
    """Return the function for all threads. Whoever keeps it has the original again afterwards."""

    @wraps(original)
    def either(*arguments, **options):
        replacement = _replacements().get(key)
        if replacement:
            return replacement(original, *arguments, **options)
        return original(*arguments, **options)

    return either
