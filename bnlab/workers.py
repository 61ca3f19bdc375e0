"""Starts a function in several processes that know of one another, as on a cluster of one machine.

Each worker is a Python of its own. It finds in the environment variable `TF_CONFIG` who the workers are
and which of them it is; that is all `tf.distribute.MultiWorkerMirroredStrategy` needs. Workers wait for
one another, so one that fails leaves the others waiting for ever. Here the first failure ends them all,
with one sentence on its cause, and whatever happens no worker is left behind.

Workers of one machine would fight over its GPU, so they see none. A function that wants one sets
`CUDA_VISIBLE_DEVICES` in `os.environ` before it imports TensorFlow. Apple's Metal cannot be hidden from
here: on such a Mac the function imports `bnlab.tensorflow_setup` first.

TensorFlow is not imported here: the function does that, in the worker.
"""

import contextlib
import inspect
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from bnlab import checks

HOST = "127.0.0.1"
LOOK_EVERY = 0.05  # seconds between two looks at the workers
GRACE = 5.0  # seconds after the limit in which a worker ends by itself, if nobody has ended it
# The function, then this. The alarm is set in C: a worker that waits inside TensorFlow runs no Python, and
# if this process is killed no one else would end it. TensorFlow's import makes half a million objects that
# stay: to look for dead ones every 700, as Python does by itself, would take a seventh of its seconds.
_FRAME = """
if __name__ == "__main__":
    import faulthandler, gc, json, pathlib, sys
    gc.set_threshold(50_000)
    faulthandler.dump_traceback_later({seconds!r}, exit=True)
    folder = pathlib.Path({folder!r})
    arguments = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
    try:
        answer = json.dumps({name}(*arguments), default=lambda value: value.tolist())
    except Exception as error:
        sentence = (type(error).__name__ + ": " + str(error)).strip().splitlines()[0]
        (folder / (sys.argv[1] + ".error")).write_text(sentence, encoding="utf-8")
        raise
    (folder / (sys.argv[1] + ".json")).write_text(answer, encoding="utf-8")
"""
_LOG_LINE = re.compile(r"[IWEF]\d{4} |\d{4}-\d\d-\d\d |WARNING: All log messages")


class WorkerError(RuntimeError):
    """A worker failed or did not come; the message is one sentence that says which one, and why."""


def run(function, workers, *, arguments=(), time_limit, ports=None):
    """Run a function once in each of several processes and return what each of them returned.

    The workers have free ports of this machine's loopback address, and process groups of their own. What
    they print is not shown. When this returns or raises, in whatever way, all of them have ended, and so has
    what they have started; on Windows, which has no process groups to end, only they themselves.

    Args:
        function: a plain function, sent as source text. So it imports and defines inside itself all it uses,
            and what it returns must fit into JSON (arrays come back as lists, tuples too).
        workers: how many, 1 or more.
        arguments: positional arguments of the function, the same for all, that fit into JSON.
        time_limit: seconds until all must have returned, more than 0. It may be generous: a worker that
            ends badly is seen within a tenth of a second.
        ports: a port for each worker, or None for free ones.

    Returns:
        A list with the result of each worker, in order.

    Raises:
        WorkerError: a port is in use; a worker ended without a result (its exit code and the last line of
            its error are in the message); a worker did not come to its port, or did not finish, in time.
        TypeError, ValueError: a function without source text, arguments or numbers that cannot be.

    Source: `TF_CONFIG` is described in https://www.tensorflow.org/guide/distributed_training.
    """
    script = _script_of(function)
    checks.whole_number("workers", workers, least=1)
    if not 0 < checks.number("time_limit", time_limit) < math.inf:
        raise ValueError(f"time_limit is {time_limit}; expected a finite number of seconds above 0")
    ports = _free_ports(workers) if ports is None else _checked_ports(ports, workers)
    for port in ports:
        if not _is_free(port):
            raise WorkerError(f"port {port} is in use by another program; no worker was started")
    given = _as_json(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "arguments.json").write_text(given, encoding="utf-8")
        frame = _FRAME.format(seconds=time_limit + GRACE, folder=name, name=function.__name__)
        (folder / "worker.py").write_text(script + frame, encoding="utf-8")
        processes = []
        stack.callback(_end, processes)
        for index in range(workers):
            processes.append(_started(folder, ports, index))
        _watch(processes, folder, ports, time_limit)
        return [_result(folder, index) for index in range(workers)]


def _script_of(function):
    if not inspect.isfunction(function) or not function.__name__.isidentifier():
        raise TypeError(f"function is {function!r}; expected a function made with def")
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise TypeError(f"function is {function!r}, whose source text cannot be found") from None


def _checked_ports(ports, workers):
    ports = list(ports)
    if len(set(ports)) != workers or len(ports) != workers:
        raise ValueError(f"ports is {ports}; expected {workers} different ones, one a worker")
    if not all(isinstance(port, int) and 0 < port < 65536 for port in ports):
        raise ValueError(f"ports is {ports}; expected whole numbers from 1 to 65535")
    return ports


def _as_json(arguments):
    try:
        return json.dumps(list(arguments), default=lambda value: value.tolist())
    except (TypeError, ValueError, AttributeError):
        raise TypeError(f"arguments is {arguments!r}; expected a tuple of what fits into JSON") from None


def _free_ports(count):
    with contextlib.ExitStack() as stack:  # all open at once, so that no port comes twice
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _is_free(port):
    with socket.socket() as probe:
        if os.name == "posix":  # there it allows for what a closed connection leaves, and no more
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    # Windows and macOS let an address be bound beside a program that listens on all of them.
    return not _listens(port)


def _listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        came = probe.connect_ex((HOST, port)) == 0
        return came and probe.getsockname() != (HOST, port)  # the system may give the probe that port


def _started(folder, ports, index):
    """Start one worker, the leader of its own process group, with its words going into files."""
    cluster = {"worker": [f"{HOST}:{port}" for port in ports]}
    environment = os.environ | {
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "HIP_VISIBLE_DEVICES": "-1",  # AMD's libraries prefer it to the one above, if both are there
        "no_grpc_proxy": HOST,  # a proxy for the web would take the workers' talk as well
        "PYTHONIOENCODING": "utf-8",
    }
    with open(folder / f"{index}.stderr", "wb") as words:
        return subprocess.Popen(
            [sys.executable, str(folder / "worker.py"), str(index)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            start_new_session=True,  # Windows passes over it and takes the flag
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )


def _watch(processes, folder, ports, time_limit):
    """Return once all workers have a result; raise as soon as one has ended without."""
    end = time.monotonic() + time_limit
    while True:
        late = time.monotonic() > end
        ended = {index: one.returncode for index, one in enumerate(processes) if one.poll() is not None}
        for index, code in ended.items():
            if code != 0 or not (folder / f"{index}.json").exists():
                _end(processes)
                raise WorkerError(_said_of_end(folder, ports[index], index, code))
        if len(ended) == len(processes):
            return
        if late:
            missing = [index for index in range(len(processes)) if index not in ended]
            raise WorkerError(_said_of_lateness(missing, ports, time_limit))
        time.sleep(LOOK_EVERY)


def _said_of_end(folder, port, index, code):
    if not _is_free(port):  # ours have ended, so it is someone else's
        return f"port {port} of worker {index} is in use by another program"
    words = _last_words(folder, index)
    return f"worker {index} ended with code {code}" + (f": {words}" if words else " and no result")


def _said_of_lateness(missing, ports, time_limit):
    absent = [index for index in missing if not _listens(ports[index])]
    who = absent or missing
    names = ("worker " if len(who) == 1 else "workers ") + " and ".join(map(str, who))
    return f"{names} did not {'come' if absent else 'finish'} within {time_limit:g} s"


def _last_words(folder, index):
    """Return the sentence of the exception, or else the last line of stderr that is no log line."""
    told = folder / f"{index}.error"
    if told.exists():
        return told.read_text(encoding="utf-8")[:200]
    lines = (folder / f"{index}.stderr").read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not _LOG_LINE.match(line)]
    return lines[-1][:200] if lines else ""


def _result(folder, index):
    return json.loads((folder / f"{index}.json").read_text(encoding="utf-8"))


def _end(processes):
    """End the workers and, but for Windows, what they have started; wait until the workers are gone."""
    for one in processes:
        if os.name == "posix":
            with contextlib.suppress(OSError):  # the whole group has ended already
                os.killpg(one.pid, signal.SIGKILL)
        else:
            one.kill()
    for one in processes:
        one.wait()
    processes.clear()
