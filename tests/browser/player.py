"""A kernel that plays a recorded notebook: what its cells gave comes out again, and nothing is computed.

    python tests/browser/player.py -f CONNECTION_FILE --Player.recording=FILE

It is what a front end has to do with a notebook, less the waiting: *Run all* sends the cells, outputs arrive,
widgets open and their sliders move in the browser. What a kernel does for a second control, it cannot do.
"""

import json
import re
from pathlib import Path

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
from traitlets import Unicode

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
CONTROL = "jupyter.widget.control"  # where a page that comes later asks for all widgets at once


class Player(Kernel):
    """Gives what was recorded of a cell for the same text, as often as it is asked."""

    implementation, implementation_version, banner = "player", "1", ""
    language_info = {"name": "python", "mimetype": "text/x-python", "file_extension": ".py"}  # noqa: RUF012
    msg_types = [*Kernel.msg_types, "comm_open", "comm_msg", "comm_close"]  # noqa: RUF012
    recording = Unicode(help="file of the notebook that has been run").tag(config=True)

    def __init__(self, **options):
        super().__init__(**options)
        notebook = json.loads(Path(self.recording).read_text(encoding="utf-8"))
        cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        self.outputs = {cell["source"]: cell["outputs"] for cell in cells}
        self.widgets = made_in_order(notebook["metadata"].get("widgets", {}).get(STATE, {}).get("state", {}))
        self.opened = False

    async def do_execute(self, code, silent, *_, **__):
        """Send the outputs of the cell with this text; any other text is an error."""
        answer = {"status": "ok", "execution_count": self.execution_count, "user_expressions": {}}
        if silent or not code.strip():
            return answer
        if code not in self.outputs:
            told = {"ename": "LookupError", "evalue": "no such cell was recorded", "traceback": []}
            self.send("error", told)
            return answer | told | {"status": "error"}
        for output in self.outputs[code]:
            self.play(output)
        return answer

    def play(self, output):
        """Send one output; widgets come before the first of their views."""
        content = {key: value for key, value in output.items() if key != "output_type"}
        if VIEW in output.get("data", {}) and not self.opened:
            self.opened = True
            for name, widget in self.widgets.items():
                data = {"state": widget["state"], "buffer_paths": []}
                opening = {"comm_id": name, "target_name": "jupyter.widget", "data": data}
                self.send("comm_open", opening, metadata={"version": "2.1.0"})
        self.send(output["output_type"], content)

    def send(self, kind, content, **options):
        """Send a message to all who listen."""
        self.send_response(self.iopub_socket, kind, content, **options)

    def comm_open(self, _, __, message):
        """Let a page open the one line that we answer, and close any other."""
        if message["content"]["target_name"] != CONTROL:
            self.send("comm_close", {"comm_id": message["content"]["comm_id"], "data": {}})

    def comm_msg(self, _, __, message):
        """Say what all widgets are, if that is asked; where a slider stands is the page's own affair."""
        if message["content"]["data"]["method"] == "request_states":
            data = {"method": "update_states", "states": self.widgets, "buffer_paths": []}
            self.send("comm_msg", {"comm_id": message["content"]["comm_id"], "data": data})

    def comm_close(self, *_):
        """Take note of nothing."""


def made_in_order(widgets):
    """Return the widgets with those first that others are made of; a file has them in no order."""
    ordered = {}

    def add(name):
        for part in re.findall(r"IPY_MODEL_(\w+)", json.dumps(widgets[name]["state"])):
            if part not in ordered:
                add(part)
        ordered[name] = widgets[name]

    for name in widgets:
        add(name)
    return ordered


if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=Player)
