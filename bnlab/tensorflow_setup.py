"""Imports TensorFlow once, quietly, on the CPU, with the v1 layers switched on.

    import bnlab.tensorflow_setup
    import tensorflow as tf

After these two lines `tf.compat.v1.layers` are the real v1 layers, `import keras` is Keras 3 beside
them, and eager mode is on as ever. What TensorFlow logs about the machine (no GPU, oneDNN) does not
end up in a saved notebook; it is kept in `held_back` for whoever looks for it.

Stored outputs are compared, and a GPU adds up in another order: so this process, and those that it
starts, use the CPU, also where `CUDA_VISIBLE_DEVICES` is set (clusters set it for everyone). TensorFlow
keeps a GPU that it has used before this import. For an experiment on a GPU, import TensorFlow without
this module, in a notebook or script of its own; `TF_USE_LEGACY_KERAS=1` in the environment is what
brings the v1 layers. `import bnlab.checkup` leaves all devices to the program that says it.

On a Mac this import may hang: since TensorFlow 2.20 its C++ libraries and those of pyarrow, which pandas
imports wherever it is installed, get into each other's way. With pyarrow first, TensorFlow waits for a
lock for ever; the only line about it, "mutex.cc ... RAW: Lock blocking", is held back here. With pyarrow
second, the process ends with "mutex lock failed". So no order helps; an environment does that has only
what requirements.txt asks for. Source: https://github.com/tensorflow/tensorflow/issues/99464.
"""

import contextlib
import gc
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import warnings
from pathlib import Path

from bnlab.doctor.terminal import exits

held_back = ""  # what TensorFlow wrote to file descriptor 2 while it was imported


@contextlib.contextmanager
def _quiet_stderr():
    """Send file descriptor 2 into a file; if an exception leaves the block, print it after all.

    TensorFlow's C++ code writes to the descriptor, past `sys.stderr`. A file takes any amount of
    text; a pipe that nobody reads would block the import once it is full. Where the descriptor is closed
    (IDLE, pythonw) it leads nowhere from now on, so that no file of the reader's gets that number.
    """
    global held_back
    exits.open_closed_streams()
    real_stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(real_stderr)
            _print_error(_text_of(file))
            raise
        _restore(real_stderr)
        held_back = _text_of(file)


def _restore(real_stderr):
    with contextlib.suppress(AttributeError, OSError):
        sys.stderr.flush()  # a line still in Python's buffer belongs to the block that ends here
    os.dup2(real_stderr, 2)
    os.close(real_stderr)


def _print_error(text):
    if sys.stderr:
        print(text, end="", file=sys.stderr, flush=True)
    else:  # for None, print would take standard output
        with open(2, "w", encoding="utf-8", closefd=False) as stream:
            stream.write(text)


def _text_of(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def _check_packages():
    # A kernel starts in notebooks/, and the pip on the path may be another interpreter's.
    root, python = Path(__file__).parents[1], sys.executable
    mend = f"in {root} run {python} -m pip install -r requirements.txt and restart the kernel."
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(f"The v1 layers need the package tf-keras, which is missing: {mend}")
    version = importlib.metadata.version("keras")
    if not version.startswith("3."):
        raise ImportError(f"The notebooks need Keras 3, and {version} is installed: {mend}")


def _set_environment():
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # without it Keras 3 takes the v1 layers away
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # read at import; the lines before that need more
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever a keras.json at home prefers
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # read when TensorFlow first looks for devices
    os.environ["HIP_VISIBLE_DEVICES"] = "-1"  # AMD's libraries prefer it to the one above


def _hide_gpus(tf):
    """Leave TensorFlow the CPU alone; Apple's Metal has no environment variable."""
    with contextlib.suppress(RuntimeError):  # devices are in use, so somebody has chosen them
        tf.config.set_visible_devices(tf.config.list_physical_devices("CPU"))


def _collect_seldom():
    """Let Python look for cycles of dead objects every 50,000 new ones, not every 700.

    TensorFlow and Keras make half a million objects while they are imported, and nearly all of them stay.
    To walk through them again and again takes a seventh of the seconds of the import, and later a part of
    every trace.
    """
    if 0 < gc.get_threshold()[0] < 50_000:  # 0 is a reader's own wish
        gc.set_threshold(50_000, *gc.get_threshold()[1:])


def _check_v1_layers(tf):
    try:
        tf.compat.v1.layers.batch_normalization  # noqa: B018, it is resolved by being asked for
    except AttributeError:
        raise RuntimeError(
            "TensorFlow was imported without its v1 layers: restart the kernel and import "
            "bnlab.tensorflow_setup first."
        ) from None


def _run_first_operations(tf):
    """Run one operation each way: the first of a process looks for devices and may log of it."""
    tf.add(1.0, 1.0)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        session.run(tf.add(1.0, 1.0))


def _import_tensorflow():
    _check_packages()
    _set_environment()
    _collect_seldom()
    with _quiet_stderr():
        import tensorflow as tf

        _check_v1_layers(tf)
        _hide_gpus(tf)
        _run_first_operations(tf)
    tf.get_logger().setLevel("ERROR")
    # The notebooks use the v1 layers knowingly; all other warnings stay visible.
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.", category=UserWarning)


_import_tensorflow()
