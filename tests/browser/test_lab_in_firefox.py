"""One notebook in JupyterLab in Firefox: the slider moves its picture there, too."""

import pytest
import recorded
from explorers import SCRIPT, Explorer, promised
from front_ends import FRONT_ENDS
from readers import firefox
from servers import NOTEBOOKS

from conftest import missing

(NOTEBOOK,) = (path for path in NOTEBOOKS if path.name.startswith("02-"))


@pytest.fixture
def page(playwright):
    """Yield a page of Firefox."""
    if firefox() is None:
        missing("Firefox was not found")
    browser = playwright.firefox.launch(executable_path=firefox(), channel="moz-firefox")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(SCRIPT)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    browser.close()


def test_each_value_has_a_picture_of_its_own(page, serve, tmp_path_factory):
    front_end = FRONT_ENDS[0]
    recorded.notebook(NOTEBOOK, tmp_path_factory)
    server = serve(front_end)
    front_end.open(page, server, NOTEBOOK)
    page.wait_for_function("(count) => explorers.find().length >= count", arg=promised(NOTEBOOK))
    for part in page.evaluate_handle("() => explorers.find()").get_properties().values():
        explorer = Explorer(page, part.as_element(), "Firefox", front_end.arrow).ready()
        with explorer.watched():
            assert len(explorer.states) == explorer.values
            assert explorer.press("Home") == explorer.states[0]
    front_end.leave(page, server)
    assert not page.errors
