"""What all plots share: colours, text that is no formula, panels, logarithmic axes, the same bytes every time."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmark.core.files import atomic

# Okabe and Ito (2008): eight colours that stay apart for colour-blind readers; the yellow is darkened for white paper.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#000000")
_MAX_PANELS = 4  # in a row of a plot with several panels
_WIDE_RANGE = 20  # a ratio of largest to smallest from which an axis is logarithmic


def literal(name: str) -> str:
    """A user's name as text: matplotlib reads what is between dollar signs as a formula."""
    return name.replace("$", r"\$")


def figure_with_panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with n panels, at most four in a row; width and height of one in inches."""
    n_columns = min(n, _MAX_PANELS)
    n_rows = math.ceil(n / n_columns)
    figure = Figure(figsize=(width * n_columns, height * n_rows + 0.4), layout="constrained")
    return figure, grid_of_panels(figure, n, n_rows, n_columns)


def grid_of_panels(figure: Figure, n: int, n_rows: int, n_columns: int, share: bool = False) -> list[Axes]:
    """The first n panels of a grid; the others are left white. share: common scales."""
    drawn = list(figure.subplots(n_rows, n_columns, squeeze=False, sharex=share, sharey=share).flat)
    for unused in drawn[n:]:
        unused.remove()
    return drawn[:n]


def is_wide(values: Sequence[float]) -> bool:
    """Whether values, all positive, spread too far for a linear axis."""
    return min(values) > 0 and max(values) > _WIDE_RANGE * min(values)


def name_log_ticks(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of every decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axis.set_minor_formatter(NullFormatter())


def figure_png(figure: Figure) -> bytes:
    """A PNG at 120 dots an inch. The software's name is left out: it would change bytes with every release."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as `figure_png` draws it."""
    png = figure_png(figure)
    with atomic(path) as file:
        file.write(png)
