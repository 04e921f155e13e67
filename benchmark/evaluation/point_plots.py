"""Plots of 2-D points: generated ones next to, or over, real ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from benchmark.core.errors import DataError, UserError
from benchmark.core.plotting import PALETTE, figure_with_panels, literal, save_figure
from benchmark.data.arrays import read_npy

_REAL = "#CFCFCF"  # real points below generated ones


def read_points(path: Path) -> np.ndarray:
    """Points [N, 2] that a run kept for its figures, float32. Raises UserError when the file is damaged."""
    fix = f"remove {path}; its points are then left out of the figure"
    try:
        points = read_npy(path)
    except DataError as error:
        raise UserError(error.what, error.why, fix) from None
    if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] != 2 or not len(points):
        kind = f"{points.dtype} {list(points.shape)}"
        raise UserError(f"{path}: not the points of a run", f"it holds {kind} instead of float32 [N, 2]", fix)
    return points


def save_scatter(path: Path, points: Mapping[str, np.ndarray]) -> None:
    """2-D samples side by side on the axes of the first: one panel for each name, points (N, 2)."""
    figure, drawn = figure_with_panels(len(points), 4.2, 4.2)
    first = next(iter(points.values()))
    reach = 1.25 * float(np.abs(first).max())
    for axes, (name, xy) in zip(drawn, points.items()):
        axes.scatter(xy[:, 0], xy[:, 1], s=2, alpha=0.4, linewidths=0)
        axes.set(title=f"{name} ({len(xy):,})", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    save_figure(path, figure)


def save_scatters(path: Path, real: np.ndarray, panels: Mapping[str, np.ndarray]) -> None:
    """Generated 2-D points [N, 2] over the real ones [M, 2], a panel for each title, all on the real points' axes."""
    figure, drawn = figure_with_panels(len(panels), 2.7, 2.8)
    for axes, (title, xy) in zip(drawn, panels.items()):
        draw_points(axes, real, xy)
        axes.set_title(literal(title), fontsize=9)
    figure.suptitle("Generated points (colour) over real ones (grey)", fontsize=10)
    save_figure(path, figure)


def draw_points(axes: Axes, real: np.ndarray, generated: np.ndarray) -> None:
    """Generated 2-D points over real ones. The axes are the real points'; a corner says how many lie outside."""
    reach = 1.4 * float(np.abs(real).max())
    axes.scatter(real[:, 0], real[:, 1], s=30, c=_REAL, linewidths=0)  # larger: seen where the generated ones hit
    axes.scatter(generated[:, 0], generated[:, 1], s=2.5, c=PALETTE[0], alpha=0.6, linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color(_REAL)
    outside = 1 - float((np.abs(generated) <= reach).all(axis=1).mean())  # points that are not finite among them
    if outside:
        text = f"{outside:.0%} outside" if outside >= 0.005 else "< 1% outside"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        axes.text(0.02, 0.02, text, transform=axes.transAxes, fontsize=7, bbox=box)


def modes_text(modes: float | None, of: int) -> str:
    """`7 of 8 modes`; points that are not finite have none."""
    return "not finite" if modes is None else f"{modes:.0f} of {of} modes"
