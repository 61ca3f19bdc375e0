"""Second controls, which ask the kernel for other pictures: one live notebook for each kind of explorer."""

import front_ends
import pytest
from front_ends import FRONT_ENDS, second_controls
from servers import NOTEBOOKS

FIRST = {kind: path for path in reversed(NOTEBOOKS) for kind in second_controls(path)}
CASES = [(front_end, path) for front_end in FRONT_ENDS for path in sorted(set(FIRST.values()))]


@pytest.fixture(params=CASES, ids=[f"{front_end}-{path.stem}" for front_end, path in CASES])
def opened(request, reading, serve):
    """Yield a notebook that was opened and run in a kernel of its own."""
    front_end, path = request.param
    with front_ends.opened(front_end, path, serve(front_end, live=True), reading) as notebook:
        yield notebook
    reading.pages[0].goto("about:blank")


def test_a_second_control_changes_the_frames_and_leaves_the_slider_alive(opened):
    assert any(explorer.controls for explorer in opened.explorers)
    for explorer in opened.in_turn():
        for control in explorer.controls:
            label = control.evaluate("c => c.closest('.widget-inline-hbox').innerText.trim().split('\\n')[0]")
            name = f"{explorer.name}, control '{label}'"
            options = control.evaluate("c => c.options ? [...c.options].map((o) => o.label) : [true, false]")
            start = control.evaluate("c => c.options ? c.selectedOptions[0].label : c.checked")
            before = explorer.states
            for option in [*(option for option in options if option != start), start]:
                explorer.handle.focus()
                old = [explorer.press("Home"), explorer.press("End")]
                with explorer.watched():
                    if isinstance(option, bool):
                        control.set_checked(option)
                    else:
                        control.select_option(label=option)
                    came = explorer.wait_for_another(old[1]["picture"])
                    assert came, f"{name} set to '{option}': the picture stays as it was at the last value"
                    explorer.handle.focus()
                    explorer.press("Home")
                    came = explorer.wait_for_another(old[0]["picture"])
                    assert came, f"{name} set to '{option}': the picture stays as it was at the first value"
                    shown = [explorer.look(), explorer.press(f"{explorer.arrow}Right"), explorer.press("End")]
                for state in shown:
                    explorer.check_words(state)
                assert [state["readout"] for state in shown] == [before[k]["readout"] for k in (0, 1, -1)], (
                    f"{name} set to '{option}': the slider is not where the keys put it"
                )
                assert len({state["picture"] for state in shown}) == len({0, 1, explorer.values - 1}), (
                    f"{name} set to '{option}': the slider moves, the picture does not"
                )
            assert shown[-1]["picture"] == before[-1]["picture"], f"{name}: set back, another picture"
