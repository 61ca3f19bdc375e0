"""Imports TensorFlow once, quietly, with the v1 layers switched on.

    import bnlab.tensorflow_setup
    import tensorflow as tf

After these two lines `tf.compat.v1.layers` are the real v1 layers, `import keras` is Keras 3 beside
them, and eager mode is on as ever. What TensorFlow logs about the machine (no GPU, oneDNN) does not
end up in a saved notebook; it is kept in `held_back` for whoever looks for it.
"""

import contextlib
import gc
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import warnings

held_back = ""  # what TensorFlow wrote to file descriptor 2 while it was imported


@contextlib.contextmanager
def _quiet_stderr():
    """Send file descriptor 2 into a file; if an exception leaves the block, print it after all.

    TensorFlow's C++ code writes to the descriptor, past `sys.stderr`. A file takes any amount of
    text; a pipe that nobody reads would block the import once it is full.
    """
    global held_back
    real_stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(real_stderr)
            print(_text_of(file), end="", file=sys.stderr, flush=True)
            raise
        _restore(real_stderr)
        held_back = _text_of(file)


def _restore(real_stderr):
    with contextlib.suppress(AttributeError, OSError):
        sys.stderr.flush()  # a line still in Python's buffer belongs to the block that ends here
    os.dup2(real_stderr, 2)
    os.close(real_stderr)


def _text_of(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def _check_packages():
    mend = "run pip install -r requirements.txt and restart the kernel."
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(f"The v1 layers need the package tf-keras, which is missing: {mend}")
    version = importlib.metadata.version("keras")
    if not version.startswith("3."):
        raise ImportError(f"The notebooks need Keras 3, and {version} is installed: {mend}")


def _set_environment():
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # without it Keras 3 takes the v1 layers away
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # read at import; the lines before that need more
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever a keras.json at home prefers


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
        _run_first_operations(tf)
    tf.get_logger().setLevel("ERROR")
    # The notebooks use the v1 layers knowingly; all other warnings stay visible.
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.", category=UserWarning)


_import_tensorflow()
