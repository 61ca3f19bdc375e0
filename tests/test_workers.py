"""Workers that come, fail, hang and are given up; and that nothing of them is left in any case."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from bnlab import workers

posix = pytest.mark.skipif(os.name != "posix", reason="process groups and signals of POSIX")
SOON = 30  # seconds; far more than a plain Python takes, far less than the limits given to run


def who():
    import json
    import os

    return json.loads(os.environ["TF_CONFIG"]), os.getpid()


def gpus():
    import os

    return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["HIP_VISIBLE_DEVICES"]


def add(a, b):
    return a + b


def fail_if_second(folder):
    import json
    import os
    import pathlib
    import time

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    (pathlib.Path(folder) / str(index)).write_text(str(os.getpid()), encoding="utf-8")
    if index == 1:
        while not (pathlib.Path(folder) / "0").exists():
            time.sleep(0.01)
        os._exit(3)
    time.sleep(600)


def listen_if_first():
    import json
    import os
    import socket
    import time

    config = json.loads(os.environ["TF_CONFIG"])
    if config["task"]["index"] == 0:
        place, port = config["cluster"]["worker"][0].split(":")
        server = socket.socket()
        server.bind((place, int(port)))
        server.listen()
    time.sleep(600)


def start_a_child(folder):
    import os
    import pathlib
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (pathlib.Path(folder) / "child").write_text(str(child.pid), encoding="utf-8")
    os._exit(4)


def speak():
    import os
    import sys

    print("to the reader")
    os.write(2, b"I0000 00:00:1 port.cc:1] a log line\n")
    print("WARNING: All log messages before absl", file=sys.stderr)
    return float("inf")


def last_words(how):
    import os
    import sys

    os.write(2, b"the disk is full\nI0000 00:00:1 port.cc:1] a log line\n\n")
    if how == "exit":
        os._exit(9)
    if how == "nothing":
        os._exit(0)
    if how == "system exit":
        sys.exit("no such device")
    if how == "error":
        raise ValueError("not good\nand more")
    return object()


def sleep():
    import time

    time.sleep(600)


def statistics(parts):
    import json
    import os

    import keras
    import numpy as np
    import tensorflow as tf

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        layer = keras.layers.BatchNormalization(momentum=0.0, synchronized=True, dtype="float64")
        layer.build((None, 1))
    part = np.array(parts[index])[:, np.newaxis]
    y = strategy.run(lambda: layer(part, training=True))
    return y.numpy()[:, 0], layer.moving_mean.numpy(), layer.moving_variance.numpy()


def is_there(pid):
    """Tell whether a process is there, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
    return is_there(pid)


def until_gone(pid, *, seconds=SOON):
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_running(pid)


def refused(port):
    with socket.socket() as probe:
        return probe.connect_ex((workers.HOST, port)) != 0


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path, monkeypatch):
    """Hold for every test: no child of ours, alive or zombie, and no file."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(workers.tempfile, "tempdir", str(folder))
    started = []
    popen = subprocess.Popen

    def remember(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", remember)
    yield
    assert all(process.returncode is not None for process in started)
    if os.name == "posix":
        assert not any(is_there(process.pid) for process in started)
    assert list(folder.iterdir()) == []


def test_each_worker_knows_who_it_is():
    found = workers.run(who, 3, time_limit=60)
    assert [config["task"] for config, _ in found] == [{"type": "worker", "index": i} for i in range(3)]
    clusters = [config["cluster"]["worker"] for config, _ in found]
    assert clusters[0] == clusters[1] == clusters[2]
    places = [place.split(":") for place in clusters[0]]
    assert {place for place, _ in places} == {"127.0.0.1"}
    assert len({port for _, port in places}) == 3
    assert len({pid for _, pid in found} | {os.getpid()}) == 4
    assert all(refused(int(port)) for _, port in places)


def test_workers_do_not_share_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0")
    assert workers.run(gpus, 2, time_limit=60) == [["-1", "-1"]] * 2


def test_arguments_go_there_and_results_come_back():
    assert workers.run(add, 1, arguments=(2, 0.5), time_limit=60) == [2.5]
    assert workers.run(add, 2, arguments=(np.array([1.5]).tolist(), [2]), time_limit=60) == [[1.5, 2]] * 2
    assert workers.run(add, 1, arguments=(np.arange(2), [2]), time_limit=60) == [[0, 1, 2]]


def test_what_workers_print_stays_with_them(capfd):
    assert workers.run(speak, 2, time_limit=60) == [float("inf")] * 2
    assert capfd.readouterr() == ("", "")


@posix
def test_a_dead_worker_ends_the_others_at_once(tmp_path):
    start = time.monotonic()
    with pytest.raises(workers.WorkerError, match=r"^worker 1 ended with code 3 and no result$"):
        workers.run(fail_if_second, 2, arguments=(str(tmp_path),), time_limit=600)
    assert time.monotonic() - start < SOON
    assert not any(is_there(int((tmp_path / name).read_text(encoding="utf-8"))) for name in "01")


@posix
def test_what_a_worker_started_ends_with_it(tmp_path):
    with pytest.raises(workers.WorkerError, match=r"worker 0 ended with code 4"):
        workers.run(start_a_child, 1, arguments=(str(tmp_path),), time_limit=600)
    assert until_gone(int((tmp_path / "child").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("exit", "worker 0 ended with code 9: the disk is full"),
        ("nothing", "worker 0 ended with code 0: the disk is full"),
        ("system exit", "worker 0 ended with code 1: no such device"),
        ("error", "worker 0 ended with code 1: ValueError: not good"),
        ("object", "worker 0 ended with code 1: AttributeError: 'object' object has no attribute 'tolist'"),
    ],
)
def test_the_last_words_are_told(how, sentence):
    with pytest.raises(workers.WorkerError) as caught:
        workers.run(last_words, 1, arguments=(how,), time_limit=600)
    assert str(caught.value) == sentence


def test_a_worker_that_never_comes_is_named():
    with pytest.raises(workers.WorkerError, match=r"^worker 1 did not come within 4 s$"):
        workers.run(listen_if_first, 2, time_limit=4)
    with pytest.raises(workers.WorkerError, match=r"^workers 0 and 1 did not come within 0\.5 s$"):
        workers.run(sleep, 2, time_limit=0.5)


def test_a_worker_that_comes_but_does_not_finish_is_named():
    with pytest.raises(workers.WorkerError, match=r"^worker 0 did not finish within 4 s$"):
        workers.run(listen_if_first, 1, time_limit=4)


def test_a_port_in_use_is_named_before_anything_starts(monkeypatch):
    monkeypatch.setattr(workers, "_started", None)
    with socket.socket() as taken:
        taken.bind((workers.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = port - 1 if port > 50_000 else port + 1
        with pytest.raises(workers.WorkerError, match=rf"^port {port} is in use by another program"):
            workers.run(who, 2, ports=(port, other), time_limit=60)


class Lenient(socket.socket):
    """Binds wherever it is told to, as Windows and macOS do beside a listener on all addresses."""

    def bind(self, address):
        pass


def test_a_port_is_in_use_where_somebody_listens_on_all_addresses(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(workers.socket, "socket", Lenient)
        assert not workers._is_free(port)
    assert workers._is_free(port)


def test_a_probe_that_meets_itself_has_met_nobody(monkeypatch):
    """A free port may be the one that the system gives to the probe, which then connects to itself."""
    port = workers._free_ports(1)[0]

    class Unlucky(socket.socket):
        def connect_ex(self, address):
            self.bind(address)
            return super().connect_ex(address)

    monkeypatch.setattr(workers.socket, "socket", Unlucky)
    assert not workers._listens(port)


def test_a_port_that_was_taken_meanwhile_is_named(monkeypatch):
    started = workers._started
    with socket.socket() as taken:

        def take_and_start(folder, ports, index):
            taken.bind((workers.HOST, ports[0]))
            taken.listen()
            return started(folder, ports, index)

        monkeypatch.setattr(workers, "_started", take_and_start)
        with pytest.raises(workers.WorkerError, match=r"^port \d+ of worker 0 is in use by another program$"):
            workers.run(listen_if_first, 1, time_limit=600)


def test_ports_can_be_used_again_at_once():
    ports = workers._free_ports(2)
    for _ in range(2):
        found = workers.run(who, 2, ports=ports, time_limit=60)
        assert found[0][0]["cluster"]["worker"] == [f"127.0.0.1:{port}" for port in ports]


def test_an_interrupt_ends_the_workers(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        workers.run(sleep, 2, time_limit=600)


@posix
def test_workers_end_by_themselves_when_this_process_is_killed(tmp_path):
    """Nobody is left to end them, and inside TensorFlow they run no Python."""
    (tmp_path / "start.py").write_text(
        textwrap.dedent("""
        import sys
        from bnlab import workers

        workers.GRACE = -597.0

        def wait(folder):
            import ctypes, os, pathlib
            (pathlib.Path(folder) / "pid").write_text(str(os.getpid()), encoding="utf-8")
            ctypes.PyDLL(None).sleep(600)  # keeps the lock of the interpreter

        workers.run(wait, 1, arguments=(sys.argv[1],), time_limit=600)
        """),
        encoding="utf-8",
    )
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "start.py"), str(tmp_path)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="utf-8"):
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert until_gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (TypeError, {"function": lambda: 1}),
        (TypeError, {"function": print}),
        (TypeError, {"function": "who"}),
        (TypeError, {"workers": True}),
        (TypeError, {"workers": 2.0}),
        (ValueError, {"workers": 0}),
        (TypeError, {"time_limit": "5"}),
        (ValueError, {"time_limit": 0}),
        (ValueError, {"time_limit": float("nan")}),
        (ValueError, {"time_limit": float("inf")}),
        (TypeError, {"arguments": (object(),)}),
        (ValueError, {"ports": (1, 1)}),
        (ValueError, {"ports": (45_000,)}),
        (ValueError, {"ports": (0, 70_000)}),
        (ValueError, {"ports": ("a", "b")}),
    ],
)
def test_bad_input_is_refused_by_name(error, options, monkeypatch):
    monkeypatch.setattr(workers, "_started", None)
    given = {"function": who, "workers": 2, "time_limit": 60} | options
    with pytest.raises(error, match=next(iter(options))):
        workers.run(given.pop("function"), given.pop("workers"), **given)


def test_a_function_without_source_is_refused():
    names = {}
    exec("def made(): return 1", names)
    with pytest.raises(TypeError, match="source text"):
        workers.run(names["made"], 1, time_limit=60)


def test_two_workers_of_tensorflow_store_the_statistics_of_the_whole_batch(capfd):
    parts = [[0.0, 2.0], [10.0, 14.0]]
    found = workers.run(statistics, 2, arguments=(parts,), time_limit=240)
    outputs, means, variances = map(list, zip(*found, strict=True))
    np.testing.assert_allclose(np.ravel(outputs), [-1.1358, -0.7863, 0.6116, 1.3105], atol=1e-4)
    np.testing.assert_allclose([means, variances], [[[6.5]] * 2, [[32.75]] * 2])
    assert capfd.readouterr() == ("", "")
    assert json.dumps(found)
