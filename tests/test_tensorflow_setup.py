"""Each test is a fresh interpreter: what counts is the first import of a process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]

FIRST_OPERATIONS = """
import bnlab.tensorflow_setup
import tensorflow as tf
import keras

x = tf.zeros((3, 2))
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    v1 = tf.compat.v1.layers.batch_normalization(tf.zeros((3, 2)), training=True)
    step = tf.compat.v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(v1))
    session.run(tf.compat.v1.global_variables_initializer())
    session.run(step)
layer = keras.layers.BatchNormalization()
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(layer(x, training=True))
tape.gradient(loss, layer.trainable_variables)
tf.function(layer)(x)
model = keras.Sequential([layer])
model.compile("sgd", "mse")
model.fit(x, x, verbose=0)

assert tf.executing_eagerly()
assert {device.device_type for device in tf.config.get_visible_devices()} == {"CPU"}
assert keras.__version__.startswith("3.")
assert type(layer).__module__.startswith("keras.")
assert tf.compat.v1.layers.BatchNormalization.__module__.startswith("tf_keras.")
"""


GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def run(code, **environment):
    """Run code in a new interpreter, its file descriptor 2 being a file of its own."""
    ours = ("TF_USE_LEGACY_KERAS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", *GPU_VARIABLES)
    env = {name: value for name, value in os.environ.items() if name not in ours} | environment
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", timeout=120)


def fake_package(folder, name, code):
    """Put a package of that name before the real one; return the environment that finds it."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(textwrap.dedent(code), encoding="utf-8")
    others = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {"PYTHONPATH": os.pathsep.join([str(folder), *others])}


def test_first_operations_are_silent_and_importing_again_is_harmless():
    result = run(
        FIRST_OPERATIONS
        + """
import importlib, os, sys
importlib.reload(bnlab.tensorflow_setup)
assert tf is sys.modules["tensorflow"]
print("to stdout")
print("to sys.stderr", file=sys.stderr, flush=True)
os.write(2, b"to descriptor 2")
"""
    )
    assert (result.returncode, result.stdout) == (0, "to stdout\n"), result.stderr
    assert result.stderr == "to sys.stderr\nto descriptor 2"


def test_a_saved_notebook_has_no_stderr():
    notebook = nbformat.v4.new_notebook()
    sources = [FIRST_OPERATIONS, "import os\n_ = os.write(2, b'to descriptor 2')"]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    # ipykernel leaves descriptor 2 alone under pytest, and would hide what this test looks for.
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    NotebookClient(notebook, timeout=120).execute(env=env)
    quiet, control = notebook.cells
    assert quiet.outputs == []
    assert [output.text for output in control.outputs] == ["to descriptor 2"]


def test_python_does_not_walk_through_the_import_again_and_again():
    code = "import gc, bnlab.tensorflow_setup, keras; print(gc.isenabled(), gc.get_stats()[1]['collections'])"
    enabled, collections = run(code).stdout.split()
    assert enabled == "True"
    assert int(collections) < 10  # of the second generation; 80 at Python's own pace


def test_too_late_is_one_sentence():
    result = run(
        """
        import tensorflow as tf
        try:
            tf.compat.v1.layers.batch_normalization
        except AttributeError:
            import bnlab.tensorflow_setup
        """
    )
    last_line = result.stderr.splitlines()[-1]
    assert last_line.startswith("RuntimeError: TensorFlow was imported without its v1 layers: ")
    assert "restart the kernel and import bnlab.tensorflow_setup first" in last_line


def test_settings_of_the_user_are_overruled(tmp_path):
    """A keras.json at home, or variables of the shell, may ask for another backend and other layers."""
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    code = """
        import os
        os.environ |= {"KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "0", "TF_CPP_MIN_LOG_LEVEL": "0"}
        import bnlab.tensorflow_setup
        import keras, tensorflow as tf
        assert keras.config.backend() == "tensorflow"
        assert tf.compat.v1.layers.BatchNormalization.__module__.startswith("tf_keras.")
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
        assert not tf.get_logger().isEnabledFor(30)
    """
    result = run(code, KERAS_HOME=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_home_of_keras_alone_does_not_choose_the_backend(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    code = "import bnlab.tensorflow_setup, keras; print(keras.config.backend())"
    assert run(code, KERAS_HOME=str(tmp_path)).stdout == "tensorflow\n"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts the open descriptors in /proc")
def test_no_descriptor_is_left_open():
    code = """
        import contextlib, os
        import bnlab.tensorflow_setup as setup
        before = os.listdir("/proc/self/fd")
        for divisor in (1, 0, 1, 0):
            with contextlib.suppress(ZeroDivisionError), setup._quiet_stderr():
                1 / divisor
        assert os.listdir("/proc/self/fd") == before, os.listdir("/proc/self/fd")
    """
    result = run(code)
    assert result.returncode == 0, result.stderr


FAILS = """
import os
os.write(2, b"cannot find libsomething.so" + b"." * 100_000 + b"end of log\\n")
raise ImportError("the library did not load")
"""


def test_a_failing_import_loses_nothing(tmp_path):
    environment = fake_package(tmp_path, "tensorflow", FAILS)
    result = run(
        """
        import os
        try:
            import bnlab.tensorflow_setup
        except ImportError as error:
            os.write(2, f"then {error}".encode())
        """,
        **environment,
    )
    assert result.returncode == 0
    assert result.stderr.startswith("cannot find libsomething.so.....")
    assert result.stderr.endswith("....end of log\nthen the library did not load")


LOGS_LATE = """
import os, sys
from unittest import mock
fake = mock.MagicMock()
fake.add.side_effect = lambda *_: os.write(2, b"looking for a GPU\\n")
fake.compat.v1.Session().__enter__().run.side_effect = lambda *_: os.write(2, b"no GPU\\n")
sys.modules["tensorflow"] = fake
"""


def test_what_the_first_operations_log_is_held_back(tmp_path):
    environment = fake_package(tmp_path, "tensorflow", LOGS_LATE)
    result = run("import bnlab.tensorflow_setup as setup; print(setup.held_back)", **environment)
    assert result.stderr == ""
    assert set(result.stdout.split("\n")) == {"looking for a GPU", "no GPU", ""}


@pytest.mark.parametrize("wish", [0, 90_000])
def test_a_wish_of_the_reader_for_less_collecting_is_kept(tmp_path, wish):
    environment = fake_package(tmp_path, "tensorflow", LOGS_LATE)
    code = f"import gc; gc.set_threshold({wish}); import bnlab.tensorflow_setup; print(gc.get_threshold()[0])"
    assert run(code, **environment).stdout == f"{wish}\n"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "import sys; sys.modules['tf_keras'] = None",
            "The v1 layers need the package tf-keras, which is missing",
        ),
        (
            "import importlib.metadata as m; m.version = {'keras': '2.15.0'}.get",
            "The notebooks need Keras 3, and 2.15.0 is installed",
        ),
    ],
)
def test_a_wrong_package_is_one_sentence_that_names_folder_and_interpreter(code, sentence):
    last_line = run(f"{code}\nimport bnlab.tensorflow_setup").stderr.splitlines()[-1]
    mend = f"in {ROOT} run {sys.executable} -m pip install -r requirements.txt and restart the kernel."
    assert last_line == f"ImportError: {sentence}: {mend}"
    assert (ROOT / "requirements.txt").exists()


@pytest.mark.parametrize("way", ["", "os.close(2)", "sys.stderr = None", "os.close(2); sys.stderr = None"])
def test_a_closed_stderr_is_no_error(tmp_path, way):
    """IDLE closes descriptor 2, pythonw has no sys.stderr besides."""
    environment = fake_package(tmp_path, "tensorflow", LOGS_LATE)
    code = f"import os, sys; {way}\nimport bnlab.tensorflow_setup as setup; print(setup.held_back)"
    code += "\nwith open(sys.executable, 'rb') as file: assert file.fileno() != 2"
    result = run(code, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert set(result.stdout.split("\n")) == {"looking for a GPU", "no GPU", ""}


def test_tensorflow_itself_needs_no_stderr():
    result = run("import os, sys; os.close(2); sys.stderr = None" + FIRST_OPERATIONS + "print('done')")
    assert (result.returncode, result.stdout) == (0, "done\n")


def test_a_failing_import_without_sys_stderr_keeps_off_standard_output(tmp_path):
    environment = fake_package(tmp_path, "tensorflow", FAILS)
    result = run("import sys; sys.stderr = None\nimport bnlab.tensorflow_setup", **environment)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("cannot find libsomething.so.....")


HAS_A_GPU = """
import os, sys
from unittest import mock
fake = mock.MagicMock()
fake.config.list_physical_devices = {"CPU": ["the CPU"], "GPU": ["a GPU"], None: ["the CPU", "a GPU"]}.get
fake.config.set_visible_devices.side_effect = lambda visible: print(visible)
fake.add.side_effect = lambda *_: print("first operation")
print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["HIP_VISIBLE_DEVICES"])
sys.modules["tensorflow"] = fake
"""


@pytest.mark.parametrize("value", ["", "0"])
def test_a_gpu_is_hidden_before_it_is_used(tmp_path, value):
    environment = fake_package(tmp_path, "tensorflow", HAS_A_GPU) | dict.fromkeys(GPU_VARIABLES, value)
    result = run("import bnlab.tensorflow_setup", **environment)
    assert result.stdout.splitlines()[:3] == ["-1 -1", "['the CPU']", "first operation"], result.stderr


def test_devices_in_use_stay(tmp_path):
    """Whoever used TensorFlow before has chosen them, and it refuses to change them."""
    late = HAS_A_GPU + "fake.config.set_visible_devices.side_effect = RuntimeError('already initialized')\n"
    environment = fake_package(tmp_path, "tensorflow", late)
    assert run("import bnlab.tensorflow_setup", **environment).returncode == 0
