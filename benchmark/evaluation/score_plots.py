"""Scores at snapshots over the steps of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from benchmark.core.plotting import PALETTE, figure_with_panels, literal, save_figure


def save_scores(path: Path, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Write (step, score) pairs as a PNG, a panel for each name; nothing without curves.

    The panels have the same steps, so that one can see whether scores improve together (Durall et al., fig. 4).
    """
    if not curves:
        return
    figure, drawn = figure_with_panels(len(curves), width=4.6, height=3.2)
    last = max(step for curve in curves.values() for step, _ in curve)
    for axes, (name, curve), colour in zip(drawn, curves.items(), PALETTE):
        steps, scores = zip(*curve)
        axes.plot(steps, scores, color=colour, linewidth=1.5, marker="o", markersize=3.5)
        axes.set(title=literal(name), xlabel="step (one generator update)", xlim=(0, 1.03 * last))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
    save_figure(path, figure)
