"""One run's losses over its steps, from its log."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from benchmark.core.files import JsonLines
from benchmark.core.plotting import PALETTE, figure_with_panels, literal, save_figure


def save_curves(path: Path, log_path: Path) -> None:
    """Write a run's losses over steps as a PNG, one panel a loss.

    log_path: as `read_log` describes it; a value that is not finite leaves a gap in its curve. Without lines nothing is
    drawn: a log that is lost costs a finished training no more than this picture.
    """
    lines = read_log(log_path)
    names = [name for name in dict.fromkeys(key for line in lines for key in line) if name not in ("step", "images")]
    if not names:
        return
    figure, drawn = figure_with_panels(len(names), width=3.6, height=2.7)
    for axes, name, colour in zip(drawn, names, cycle(PALETTE)):
        steps = [line["step"] for line in lines if name in line]
        values = [math.nan if line[name] is None else line[name] for line in lines if name in line]
        axes.plot(steps, values, color=colour, linewidth=1.3, marker="o" if len(steps) < 10 else None, markersize=3)
        axes.set_title(literal(name))
        axes.set_xlabel("step (one generator update)")
        axes.set_ylabel("loss (no unit)")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
    figure.suptitle(f"Training losses, {lines[-1]['images']:,} images seen")
    save_figure(path, figure)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log: {"step", "images", name: mean since the last line}; null is not finite.

    A line torn by a kill ends the reading. Without a file there are none.
    """
    return JsonLines(path).read()
