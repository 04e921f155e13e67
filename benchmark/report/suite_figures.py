"""Figures of a suite's table, from records alone: metrics against a setting, and curves that a metric keeps.

A suite that names a label column in `plot` has its metrics drawn against the numbers of that column. A table with
LT-GAN's auxiliary accuracy has the curve of that accuracy over the size of moves at test time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.core.plotting import PALETTE, figure_png, figure_with_panels, is_wide, literal, name_log_ticks
from benchmark.core.stats import CONFIDENCE
from benchmark.metrics.catalogue import CONTROL
from benchmark.report.notes import TRAINED_AGAINST
from benchmark.report.tables import CURVE_OF, Column, Row, Table

_STYLES = ("-", "--", ":")  # with more rows than colours, the dashes tell them apart


def suite_figures(table: Table) -> dict[str, bytes]:
    """The figures of a suite's table as PNG bytes, by kind; those that can be drawn."""
    column = next((column for column in table.columns if column.id == CURVE_OF), None)
    drawn = {"plot": plot_figure(table), "curve": column and curve_figure(table, column)}
    return {kind: png for kind, png in drawn.items() if png}


# ---- metrics against a setting --------------------------------------------------------------------------------------


def plot_figure(table: Table) -> bytes | None:
    """A panel a metric: its mean against the numbers of the label column `table.plot`, with the interval of the mean.

    None without such a column, or with fewer than two rows that have runs. Rows of one number are told apart by their
    other labels: a line each. A number by a network that its row's method trained against has a mark.
    """
    if not table.plot or not table.columns:
        return None
    lines = _lines(table)
    if not any(len(line) > 1 for line in lines.values()):
        return None
    shown = _columns_of_panels(table.columns)
    figure, panels = figure_with_panels(len(shown), width=3.4, height=2.9)
    marked = [_draw_metric(axes, _x_name(table), columns, lines) for axes, columns in zip(panels, shown)]
    if len(lines) > 1:
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False, fontsize=8)
    title = f"{table.title}: mean of the seeds, bar: {CONFIDENCE:.0%} interval of the mean"
    if any(marked):
        title += f"; {TRAINED_AGAINST}: by a network that the row's method trained against, not comparable"
    figure.suptitle(literal("\n".join(textwrap.wrap(title, int(14 * figure.get_figwidth())))), fontsize=10)
    return figure_png(figure)


def _columns_of_panels(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns of each panel: one, or those of `CONTROL`, of which a row has one."""
    panels: dict[str, list[Column]] = {}
    for column in columns:
        panels.setdefault("together" if column.id in CONTROL else column.id + column.key, []).append(column)
    return list(panels.values())


def _x_name(table: Table) -> str:
    """The label column's name, with the unit that its labels have: `40 %`."""
    place = table.label_names.index(table.plot)
    words = (row.labels[place].split() for row in table.rows)
    units = {more[0] for _, *more in words if more and not more[0].startswith("[")}
    return f"{table.plot} ({units.pop()})" if len(units) == 1 else table.plot


def _lines(table: Table) -> dict[str, list[tuple[float, Row]]]:
    """Rows with runs by their other labels, in order of the number."""
    place, lines = table.label_names.index(table.plot), dict[str, list[tuple[float, Row]]]()
    for row in table.rows:
        number = row.labels[place].partition(" ")[0]  # a row of another configuration has its hash after it
        if row.done:
            others = [label for k, label in enumerate(row.labels) if k != place]
            lines.setdefault(", ".join(others), []).append((float(number), row))
    return {name: sorted(line, key=lambda pair: pair[0]) for name, line in lines.items()}


def _draw_metric(axes: Axes, x_name: str, columns: Sequence[Column], lines: dict[str, list[tuple[float, Row]]]) -> bool:
    """A line for each name; a row is shown by the first of the columns that it has. Returns whether a number is marked.

    Marked are numbers by a network that the row's method trained against.
    """
    any_marked = False
    for i, (name, line) in enumerate(lines.items()):
        found = [(x, [cell for column in columns if (cell := row.summary(column))]) for x, row in line]
        cells = [(x, first) for x, (first, *_) in ((x, cells) for x, cells in found if cells)]
        if not cells:
            continue
        x, means = [x for x, _ in cells], [cell.mean for _, cell in cells]
        ends = [
            (cell.mean, cell.mean) if cell.low is None or cell.high is None else (cell.low, cell.high)
            for _, cell in cells
        ]
        reach = [
            [mean - low for mean, (low, _) in zip(means, ends)],
            [high - mean for mean, (_, high) in zip(means, ends)],
        ]
        look: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "ls": _STYLES[i // len(PALETTE) % len(_STYLES)]}
        axes.errorbar(x, means, reach, label=literal(name), marker="o", markersize=4, capsize=3, linewidth=1.3, **look)
        marked = {x for x, row in line for column in _first_with(row, columns) if row.trained_against(column)}
        for place, mean in zip(x, means):
            if place in marked:
                axes.annotate(TRAINED_AGAINST, (place, mean), (4, 3), textcoords="offset points", fontsize=8)
        any_marked = any_marked or bool(marked)
    axes.set_xlabel(literal(x_name))
    name, direction = " or\n".join(column.name for column in columns), columns[0].direction
    axes.set_ylabel(f"{literal(name)} ({direction})" if direction else literal(name), fontsize=8.5)
    axes.grid(alpha=0.25, linewidth=0.6)
    return any_marked


def _first_with(row: Row, columns: Sequence[Column]) -> list[Column]:
    """The first of the columns that the row has a number in; none where it has none."""
    return [column for column in columns if row.summary(column)][:1]


# ---- a curve that a metric keeps ------------------------------------------------------------------------------------


def curve_figure(table: Table, column: Column) -> bytes | None:
    """The auxiliary network's accuracy over the size of moves at test time: a line a row, a band over its seeds.

    The size that a row was trained with is marked. None without runs that have the curve.
    """
    rows = [(row, curves) for row in table.rows if (curves := _curves(row, column))]
    if not rows:
        return None
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    sizes: list[float] = []
    for i, (row, curves) in enumerate(rows):
        colour, style = PALETTE[i % len(PALETTE)], _STYLES[i // len(PALETTE) % len(_STYLES)]
        x = sorted(curves[0])
        values = np.array([[curve[size] for size in x] for curve in curves])  # [seeds, sizes]
        mean, trained = values.mean(0), _trained_size(row, column)
        axes.plot(x, mean, style, color=colour, linewidth=1.4, label=literal(" ".join(filter(None, row.labels))))
        if len(curves) > 1:
            axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
        if trained in x:
            axes.plot(trained, mean[x.index(trained)], "o", color=colour, markersize=6)
        sizes += x
    axes.axhline(0.5, color="#888888", linewidth=0.9, linestyle=":")
    axes.annotate("chance", (1, 0.5), (-2, 2), axes.get_yaxis_transform(), "offset points", ha="right", fontsize=8)
    if is_wide(sizes):
        axes.set_xscale("log")
        name_log_ticks(axes.xaxis)
    axes.set_xlabel("standard deviation of the moves at test time (dot: in training)")
    axes.set_ylabel(f"{literal(column.name)} ({column.direction})")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8, title=literal(", ".join(table.label_names)), title_fontsize=8)
    axes.set_title(f"{literal(table.title)}\nmean of the seeds, band from the lowest to the highest", fontsize=9)
    return figure_png(figure)


def _curves(row: Row, column: Column) -> list[dict[float, float]]:
    """Accuracy by size of moves, of each run; runs whose sizes are not the first one's are left out."""
    found = [
        {point["sigma"]: point["accuracy"] for point in value.details["curve"]}
        for value in row.values(column)
        if value.details.get("curve")
        and all("sigma" in point and point.get("accuracy") is not None for point in value.details["curve"])
    ]
    return [curve for curve in found if curve.keys() == found[0].keys()]


def _trained_size(row: Row, column: Column) -> float | None:
    values: Sequence[float] = [
        value.details["sigma_eps"] for value in row.values(column) if "sigma_eps" in value.details
    ]
    return values[0] if values else None
