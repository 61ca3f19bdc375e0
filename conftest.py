"""Tells nbval how to compare pictures, wherever pytest is started, and which tests begin."""

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Compare the words of a picture in HTML, not its bytes, which differ between versions of libraries."""
    if getattr(config.option, "nbval_sanitize_with", "") is None:
        config.option.nbval_sanitize_with = str(Path(__file__).parent / "tests" / "sanitize.cfg")


def pytest_collection_modifyitems(items):
    """Begin with the browsers: their files take longest, and short ones fill up the workers at the end."""
    items.sort(key=lambda item: "browser" not in item.path.parts)
