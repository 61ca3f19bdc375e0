"""The command line of `bnlab.checkup`: what it is given, and what is done and printed then.

NumPy and Keras are imported only when they are needed: what is wrong in the line itself is told at once.
"""

import argparse
import sys
from fractions import Fraction

from bnlab.doctor.terminal import exits


def process(door):
    """Be the whole of `python -m bnlab.checkup`; door() returns the module `bnlab.checkup`."""
    exits.process(lambda: main(door))


def main(door, arguments=None):
    """Do what the command line asks for, and return the exit code."""
    return exits.answered(lambda: _run(door, arguments))


def _run(door, arguments):
    if sys.stdout is None:
        raise OSError("standard output is closed; expected a place for the report")
    asked = given(arguments)
    with exits.quiet():
        found, cured, complete = _looked_at(asked, door())
    _print(_told(asked, found, cured, complete))
    return 0 if (cured or found).healthy else 1


def given(arguments=None):
    """Return what is on the command line; leave with exit code 2 if it is no use."""
    asked = _parser().parse_args(arguments)
    from bnlab.doctor.terminal import data_files, model_files

    refusals = [
        model_files.refusal(asked.model),
        data_files.refusal(asked.data),
        asked.cure is not None and model_files.cure_refusal(asked.cure, asked.model),
    ]
    for told in filter(None, refusals):
        sys.exit(exits.refused(told))
    return asked


class _Parser(argparse.ArgumentParser):
    def print_help(self, file=None):
        """Print the help; argparse itself would keep silent about a full disk."""
        print(self.format_help(), end="", file=file, flush=True)


def _parser():
    parser = _Parser(
        prog="python -m bnlab.checkup",
        description="Say which batch-norm layers of a saved Keras model are ill. "
        "Exit code 0: healthy, 1: ill, 2: it could not be looked at.",
    )
    parser.add_argument("model", help="a .keras file, an .h5 or a SavedModel folder, loaded in safe mode")
    parser.add_argument(
        "data", help="a sample of the inputs: an .npz, an .npy or a folder of PNG or JPEG images"
    )
    parser.add_argument("--array", help="the array of the .npz to use, if there are several")
    parser.add_argument(
        "--scale", type=_factor, default=1.0, help="multiply the inputs by this, such as 1/255"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="examples a call, as in training (32)")
    parser.add_argument(
        "--cure", metavar="OUT.keras", help="recalibrate on the data and save under a new name"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _factor(text):
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number or fraction") from None


def _looked_at(asked, door):
    """Return the Checkup, the one after the cure or None, and whether the cured file is complete."""
    from bnlab.doctor.terminal import data_files, model_files

    load = model_files.loaded_to_be_saved if asked.cure else lambda path: (model_files.loaded(path), True)
    model, complete = load(asked.model)
    x = data_files.loaded(asked.data, asked.array, model, asked.scale)
    found = door.checkup(model, x, batch_size=asked.batch_size)
    if not asked.cure:
        return found, None, complete
    door.recalibrate(model, _batches(model, x, asked.batch_size))
    cured = door.checkup(model, x, batch_size=asked.batch_size)
    model_files.write(model, asked.cure)
    return found, cured, complete


def _batches(model, x, size):
    """Return x in batches, mixed: those of sorted examples would not be alike."""
    from bnlab.doctor.sample import sampled

    return sampled(model, x).batches(size)


def _told(asked, found, cured, complete):
    if asked.json:
        from bnlab.doctor.terminal import json_report

        return json_report.written({"before": found, "after": cured} if cured else found)
    if not cured:
        return found
    lost = "" if complete else ", without its loss and optimizer"
    return f"Before:\n\n{found}\n\nAfter, in {asked.cure}{lost}:\n\n{cured}"


def _print(told):
    try:
        print(told, flush=True)
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise ValueError(
            f"the report has {letter!a} in it, which standard output in {error.encoding} cannot write; set "
            "PYTHONIOENCODING=utf-8, or take --json"
        ) from error
    except OSError as error:
        raise OSError(f"the report cannot be written ({error})") from error
