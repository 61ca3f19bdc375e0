"""Explorers: pictures with a moving part, one file each, and what they are all made of.

`explorer` is the slider with its picture, `marks` are what moves. Every other module is an explorer: what
stands still, what moves, and the words. They are found here, not listed: `__all__` says what each gives.
"""

from importlib import import_module
from pkgutil import iter_modules

__all__ = []  # filled below

for _found in iter_modules(__path__):
    _module = import_module(f"{__name__}.{_found.name}")
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = getattr(_module, _name)
        __all__ += [_name]
