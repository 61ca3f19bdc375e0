"""What a batch comes out as when its values draw together."""

import numpy as np

from bnlab import batch_norm, checks, figures
from bnlab.figures import BLUE, GREY, VERMILLION
from bnlab.sliders.explorer import Explorer, choice
from bnlab.sliders.marks import Dots, Frame, Marker
from bnlab.words import fixed, rounded

__all__ = ["spread_explorer"]


def spread_explorer(batch):
    """Explore what a batch comes out as when its values draw together.

    The batch is moved and stretched to every spread from 0 to 10, keeping its mean, and normalized.

    Args:
        batch: the values of one feature, shape (m,), two or more and not all the same.

    Returns:
        An `Explorer` over the spread, with epsilon as second control.

    Raises:
        ValueError: batch has another shape, is not finite or has no spread to begin with.
        TypeError: batch holds no numbers.
    """
    batch = checks.finite("batch", batch, axes=1).astype(float)
    if np.ptp(batch) == 0:
        raise ValueError("batch has no spread; expected two or more values that differ")
    shape = (batch - batch.mean()) / batch.std()
    spreads = np.concatenate([[0.0], np.logspace(-4, 1, 51)])
    limit = 1.15 * np.abs(shape).max()

    def draw(epsilon):
        batches = [(batch.mean() + spread * shape)[:, np.newaxis] for spread in spreads]
        outputs = [
            batch_norm.normalize(x, *batch_norm.batch_moments(x), epsilon=epsilon)[:, 0] for x in batches
        ]
        curve = spreads / np.sqrt(spreads**2 + epsilon)
        frames = [_frame(*row, epsilon) for row in zip(spreads, curve, outputs, strict=True)]
        about = (
            "Left, a curve: spread of the outputs against spread of the inputs, s / sqrt(s^2 + epsilon); "
            f"it passes 0.707 at s = {rounded(np.sqrt(epsilon))}. Right: the {len(batch)} outputs as dots."
        )
        return _background(spreads, curve, limit, len(batch)), frames, about

    epsilons = [("0.1", 0.1), ("0.001", 0.001), ("0.00001", 0.00001)]
    return Explorer(
        "spread of the batch (unit of x)",
        [rounded(spread) for spread in spreads],
        int(np.argmin(np.abs(spreads - 1))),
        draw,
        {"epsilon": choice("epsilon (squared unit of x)", epsilons, 0.001)},
    )


@figures.style()
def _background(spreads, curve, limit, examples):
    """Draw the curve of output spread, and room for the outputs from -limit to limit."""
    figure = figures.blank(panels=2, ratios=(3, 2))
    left, right = figure.axes
    left.set_xscale("symlog", linthresh=float(spreads[1]), linscale=0.8)
    left.plot(spreads, curve, color=GREY, lw=1.6)
    left.set(xlabel="spread of the inputs (their unit)", ylabel="spread of the outputs (no unit)")
    left.set_ylim(-0.05, 1.1)
    left.set_xticks([0, 1e-4, 1e-3, 1e-2, 0.1, 1, 10], ["0", ".0001", ".001", ".01", ".1", "1", "10"])
    left.minorticks_off()
    right.axhline(0, color=GREY, lw=1)
    right.set(xlabel="example in the batch", xlim=(0.3, examples + 0.7), ylim=(-limit, limit))
    right.set_ylabel("output (no unit)", labelpad=1)
    right.set_xticks(range(1, examples + 1) if examples <= 10 else [1, examples])
    return figure


def _frame(spread, output_spread, outputs, epsilon):
    marks = (
        Marker(VERMILLION, x=spread),
        Dots([spread], [output_spread], VERMILLION, size=12),
        Dots(np.arange(1, len(outputs) + 1), outputs, BLUE, "s", panel=1),
    )
    return Frame.captioned(
        marks,
        f"Spread of the inputs {rounded(spread)}, of the outputs {output_spread:.3f}: "
        f"from {fixed(outputs.min(), 2)} to {fixed(outputs.max(), 2)} "
        f"(epsilon {np.format_float_positional(epsilon)}).",
    )
