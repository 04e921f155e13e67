"""Curves over training: one run's losses, several runs' with bands over seeds, and scores at snapshots.

Losses come from the logs in run folders, scores at snapshots from records.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from benchmark.core.plotting import PALETTE, figure_png, grid_of_panels, is_wide, literal, name_log_ticks
from benchmark.metrics.catalogue import row_of
from benchmark.report.figure_rows import at_recipe, figure_names
from benchmark.report.notes import TRAINED_AGAINST
from benchmark.report.tables import Column, Row, Table
from benchmark.runs.figures.curves import read_log

_STYLES = ("-", "--", ":")  # with more methods than colours, the dashes tell them apart
_OTHERS = "#C4C4C4"  # the other methods' curves in a panel of one
_PANEL_COLUMNS = 4


# ---- losses of several runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """One logged quantity of one row: the mean over its seeds, and the range they span."""

    row: str
    quantity: str
    images: np.ndarray  # [S] images seen
    mean: np.ndarray  # [S]
    low: np.ndarray  # [S] the smallest of the seeds
    high: np.ndarray  # [S] the largest
    n: int  # seeds


def curves(results: Path, rows: Sequence[Row]) -> list[Curve]:
    """The curves of rows whose runs have a log, by row and quantity.

    Where a seed has no finite value at some number of images, the mean and range are those of the others.
    """
    found = []
    for name, row in zip(figure_names(rows), rows):
        logs = [log for record in row.done if (log := _finite(record.folder_in(results) / "log.jsonl"))]
        quantities = sorted({name for log in logs for line in log.values() for name in line})
        found += [_curve(name, quantity, logs) for quantity in quantities]
    return found


def _curve(row: str, quantity: str, logs: Sequence[dict[int, dict[str, float]]]) -> Curve:
    logs = [log for log in logs if any(quantity in line for line in log.values())]
    images = sorted({seen for log in logs for seen, line in log.items() if quantity in line})
    values = [[log[seen][quantity] for log in logs if quantity in log.get(seen, {})] for seen in images]
    mean, low, high = (np.array([f(column) for column in values]) for f in (np.mean, np.min, np.max))
    return Curve(row, quantity, np.array(images), mean, low, high, len(logs))


def _finite(path: Path) -> dict[int, dict[str, float]]:
    """A log's finite values by images seen; empty without a log."""
    lines = read_log(path)
    return {
        line["images"]: {
            name: value
            for name, value in line.items()
            if name not in ("step", "images") and value is not None and math.isfinite(value)
        }
        for line in lines
    }


def curves_figure(dataset: str, drawn: Sequence[Curve]) -> bytes | None:
    """A PNG with a panel for each logged quantity of at least two rows, or of the only row; None without curves."""
    rows = list(dict.fromkeys(curve.row for curve in drawn))
    if not rows:
        return None
    by_quantity = {
        quantity: [curve for curve in drawn if curve.quantity == quantity]
        for quantity in sorted({curve.quantity for curve in drawn}, key=lambda name: (name not in ("D", "G"), name))
    }
    by_panel = {name: lines for name, lines in by_quantity.items() if len(lines) > 1} or by_quantity
    n_columns = min(3, len(by_panel))
    n_rows = math.ceil(len(by_panel) / n_columns)
    legend_lines = math.ceil(len(rows) / 4)
    figure = Figure(figsize=(3.7 * n_columns + 0.4, 2.7 * n_rows + 0.6 + 0.25 * legend_lines), layout="constrained")
    drawn_on = grid_of_panels(figure, len(by_panel), n_rows, n_columns)
    looks = {row: (PALETTE[i % len(PALETTE)], _STYLES[i // len(PALETTE) % len(_STYLES)]) for i, row in enumerate(rows)}
    handles = {}
    for axes, (quantity, lines) in zip(drawn_on, by_panel.items()):
        for curve in lines:
            colour, style = looks[curve.row]
            (handles[curve.row],) = axes.plot(
                curve.images, curve.mean, color=colour, linestyle=style, linewidth=1.3, label=literal(curve.row)
            )
            if curve.n > 1:
                axes.fill_between(curve.images, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.set_title(literal(quantity), fontsize=10)
        axes.set_xlabel("images seen")
        _loss_scale(axes, lines)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
    shown = [handles[row] for row in rows if row in handles]
    figure.legend(handles=shown, loc="outside lower center", ncols=min(4, len(shown)), frameon=False, fontsize=8)
    figure.suptitle(
        f"Training on {literal(dataset)}: mean of the seeds, band from the lowest to the highest", fontsize=11
    )
    return figure_png(figure)


def _loss_scale(axes: Axes, lines: Sequence[Curve]) -> None:
    """One method's outlier must not flatten all others: positive quantities of very different size get a log axis."""
    if min(curve.low.min() for curve in lines) > 0 and is_wide([float(np.median(curve.mean)) for curve in lines]):
        axes.set_yscale("log")


# ---- scores during training -----------------------------------------------------------------------------------------


def snapshot_curves(table: Table) -> list[tuple[str, Column, list[Curve]]]:
    """What snapshots measured, from records alone: the figure's kind, the column of late means, the rows' curves.

    One figure a column, because values of different protocols share no axis. The column that most rows have is
    `snapshots`, the others `snapshots-<id>`, with their protocol's key where the id is not enough. Of a method that has
    snapshots at its recipe, only that row is shown.
    """
    found = []
    for column in table.columns:
        if _quantity(column):
            rows = at_recipe([row for row in table.rows if _snapshot_logs(row, column)])
            names = [
                f"{name} ({TRAINED_AGAINST} trained against this extractor)" if row.trained_against(column) else name
                for name, row in zip(figure_names(rows), rows)
            ]
            lines = [_curve(name, _quantity(column), _snapshot_logs(row, column)) for name, row in zip(names, rows)]
            found.append((column, lines))
    found = sorted((pair for pair in found if pair[1]), key=lambda pair: -len(pair[1]))
    ids = [column.id for column, _ in found]
    kinds = [
        f"snapshots-{id}" if ids.count(id) == 1 else f"snapshots-{id}-{c.key[:8]}" for id, (c, _) in zip(ids, found)
    ]
    return [("snapshots" if i == 0 else kinds[i], column, lines) for i, (column, lines) in enumerate(found)]


def row_curve(row: Row, column: Column, name: str) -> Curve | None:
    """The curve of a row's scores at snapshots, of which a column of late means is the end; None where it has none."""
    quantity = _quantity(column)
    logs = _snapshot_logs(row, column) if quantity else []
    return _curve(name, quantity, logs) if logs else None


def _quantity(column: Column) -> str:
    """What a column of late means has the mean of: `fd`, `high_quality`; empty for all other columns."""
    return row_of(column.id).curve


def _snapshot_logs(row: Row, column: Column) -> list[dict[int, dict[str, float]]]:
    """The curves of a row's seeds as logs by images seen: those at the last step, shared evenly among the steps."""
    quantity, logs = _quantity(column), []
    for record in row.done:
        value, result = column.value_of(record), record.result_or_empty
        if value is not None and result.steps and result.images_seen:
            images = result.images_seen / result.steps
            curve = [line for line in value.details.get("curve") or [] if "step" in line and quantity in line]
            logs.append({round(images * line["step"]): {quantity: line[quantity]} for line in curve})
    return [log for log in logs if log]


def snapshots_figure(dataset: str, column: Column, lines: Sequence[Curve]) -> bytes:
    """A PNG with a panel a row on common axes: its mean over the seeds and their range, all other rows in grey."""
    n_columns = min(_PANEL_COLUMNS, len(lines))
    n_rows = math.ceil(len(lines) / n_columns)
    titles = [textwrap.wrap(line.row.partition(" ")[2], 44, break_on_hyphens=False) for line in lines]
    height = 2.1 + 0.14 * max(map(len, titles))
    figure = Figure(figsize=(max(5.0, 2.9 * n_columns + 0.4), height * n_rows + 0.5), layout="constrained")
    drawn = grid_of_panels(figure, len(lines), n_rows, n_columns, share=True)
    for axes, line, changes in zip(drawn, lines, titles):
        for other in lines:
            if other is not line:
                axes.plot(other.images, other.mean, color=_OTHERS, linewidth=0.8, zorder=1)
        axes.plot(line.images, line.mean, color=PALETTE[0], linewidth=1.6, marker="o", markersize=3)
        if line.n > 1:
            axes.fill_between(line.images, line.low, line.high, color=PALETTE[0], alpha=0.2, linewidth=0)
        axes.set_title("\n".join(map(literal, changes)), fontsize=6.5, loc="left", color="#555555")
        axes.annotate(
            literal(line.row.partition(" ")[0]),
            (0, 1),
            (0, 5 + 8.5 * len(changes)),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9.5,
        )
        axes.tick_params(labelsize=7.5, labelbottom=True)
        axes.grid(alpha=0.25, linewidth=0.6)
    _snapshot_axes(drawn[0], lines, may_be_log=column.better == "lower")  # a share stays on its own scale
    figure.supxlabel("images seen", fontsize=9)
    figure.supylabel(literal(snapshot_name(column)), fontsize=9)
    figure.suptitle(f"{literal(snapshot_name(column))} during training on {literal(dataset)}", fontsize=11)
    return figure_png(figure)


def _snapshot_axes(axes: Axes, lines: Sequence[Curve], may_be_log: bool) -> None:
    """Scales that all panels share: a distance that begins far from where it ends gets a logarithmic axis."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if may_be_log and is_wide([float(edge) for line in lines for edge in (*line.low, *line.high)]):
        axes.set_yscale("log")
        name_log_ticks(axes.yaxis)


def snapshot_name(column: Column) -> str:
    """The score that a column of late means has the mean of, with the mark of its protocol where it has one."""
    before, _, after = column.name.partition(", last ")
    return f"{before} {after[mark:]}" if (mark := after.find("[")) >= 0 else before
