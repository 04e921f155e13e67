"""Figures of several runs: images side by side, curves over training with bands over seeds, quality against cost.

Loss curves, images and points come from run folders; scores during training and costs from records. A figure shows
the methods at their recipes; rows that change a recipe have a table of their own, and a figure of all would be
unreadable. The same files give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from benchmark.core.files import atomic
from benchmark.core.names import path_component
from benchmark.core.plotting import PALETTE, figure_png, is_wide, literal, name_log_ticks
from benchmark.core.stats import summary
from benchmark.evaluation.point_plots import draw_points, modes_text, read_points
from benchmark.metrics.catalogue import row_of
from benchmark.report.curves import curves, curves_figure, snapshot_curves, snapshots_figure
from benchmark.report.figure_rows import at_recipe, figure_names
from benchmark.report.tables import Column, Row, Table
from benchmark.runs.records import Record

_MARKERS = ("o", "^", "s", "D", "v", "P")
_SHEET_COLUMNS = 3
_SHEET_WIDTH = 460  # px of one method's grid in a sheet
_TEXT = 15  # px, height of names in a sheet
_GAP = 16  # px between grids
_SHEET_SNAPSHOTS = 6  # at most, in a sheet of points: the last and evenly spaced ones before it
_OPERATIONS = "training, in $10^{12}$ floating-point operations"
_SECONDS = "training, in seconds, mean of the seeds"


def save_figures(results: Path, dataset: str, figures: Mapping[str, bytes]) -> list[Path]:
    """Write the figures of one dataset, PNG bytes by kind. Returns the files."""
    written = []
    for kind, png in figures.items():
        written.append(results / "figures" / f"{path_component(dataset)}-{kind}.png")
        with atomic(written[-1]) as file:
            file.write(png)
    return written


def figures_of(results: Path, table: Table) -> dict[str, bytes]:
    """The figures of a dataset's table as PNG bytes, by kind: samples, curves, snapshots (one or several), scatter,
    cost; those that can be drawn."""
    rows, quality = at_recipe(table.rows), quality_column(table)
    drawn = {
        "samples": samples_sheet(
            [(name, path) for name, row in zip(figure_names(rows), rows) if (path := first_samples(results, row))]
        ),
        "curves": curves_figure(table.name, curves(results, rows)),
        **{kind: snapshots_figure(table.name, column, lines) for kind, column, lines in snapshot_curves(table)},
        "scatter": scatter_sheet(results, table),
        "cost": cost_figure(rows, quality) if quality else None,
    }
    return {kind: png for kind, png in drawn.items() if png is not None}


# ---- images ---------------------------------------------------------------------------------------------------------


def first_samples(results: Path, row: Row) -> Path | None:
    """The grid of samples of the first seed that has one; never the best of several."""
    paths = (record.folder_in(results) / "samples.png" for record in row.done)
    return next((path for path in paths if path.is_file()), None)


def samples_sheet(grids: Sequence[tuple[str, Path]]) -> bytes | None:
    """A PNG of all methods' grids side by side under their names, each as wide as the others; None without grids.

    Nothing is chosen: each grid is the one that its run drew when it ended.
    """
    if not grids:
        return None
    cells = [(name, _to_width(path, _SHEET_WIDTH)) for name, path in grids]
    head, filled = _TEXT + 8, [_GAP] * min(_SHEET_COLUMNS, len(cells))
    places = []
    for _, grid in cells:
        column = filled.index(min(filled))  # grids are of unlike heights: each goes where there is most room
        places.append((_GAP + column * (_SHEET_WIDTH + _GAP), filled[column]))
        filled[column] += head + grid.height + _GAP
    sheet = Image.new("RGB", (len(filled) * (_SHEET_WIDTH + _GAP) + _GAP, max(filled)), "white")
    draw, font = ImageDraw.Draw(sheet), _font()
    for (name, grid), (left, top) in zip(cells, places):
        draw.text((left, top), _shortened(name, font), "black", font)
        sheet.paste(grid, (left, top + head))
    return _png(sheet)


def _to_width(path: Path, width: int) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((width, max(1, round(picture.height * width / picture.width))))


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _TEXT)


def _shortened(name: str, font: ImageFont.FreeTypeFont) -> str:
    """A name cut to the width of a grid."""
    if font.getlength(name) <= _SHEET_WIDTH:
        return name
    return next(f"{name[:n]}…" for n in range(len(name), -1, -1) if font.getlength(f"{name[:n]}…") <= _SHEET_WIDTH)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def scatter_sheet(results: Path, table: Table) -> bytes | None:
    """A PNG of points over training: a line of panels a row, of the first seed whose run folder has its points.

    Columns are snapshots, in order, the last at the right; all panels have the same axes. None without points.
    """
    rows = at_recipe([row for row in table.rows if any(map(_mode_curve, row.done))])
    lines = [
        (name, cells)
        for name, row in zip(figure_names(rows), rows)
        if (cells := next(filter(None, (_scatters(results, record) for record in row.done)), None))
    ]
    if not lines:
        return None
    n_columns = max(len(cells) for _, cells in lines)
    figure = Figure(figsize=(2.0 * n_columns + 0.4, 2.35 * len(lines) + 0.4), layout="constrained")
    parts = figure.subfigures(len(lines), 1, squeeze=False)[:, 0]
    for (name, cells), part in zip(lines, parts):
        part.suptitle(literal(name), fontsize=10, x=0.01, ha="left")
        panels = part.subplots(1, n_columns, squeeze=False)[0]
        for unused in panels[: n_columns - len(cells)]:
            unused.remove()
        for axes, (title, real, points) in zip(panels[n_columns - len(cells) :], cells):
            draw_points(axes, real, points)
            axes.set_title(title, fontsize=8)
    return figure_png(figure)


def _mode_curve(record: Record) -> dict[int, float]:
    """Modes found at each snapshot of points, by its step; empty without snapshots."""
    value = record.values.get("modes_late")
    lines = [] if value is None else value.details.get("curve") or []
    return {line["step"]: line["modes"] for line in lines if "step" in line and line.get("modes") is not None}


def _scatters(results: Path, record: Record) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Title, real and generated points of a run's snapshots; empty where the run folder lacks any of them."""
    modes, folder = _mode_curve(record), record.folder_in(results) / "snapshots"
    kept = sorted(int(path.stem) for path in folder.glob("[0-9]*.npy"))
    if not modes or not kept or not (folder / "real.npy").is_file():
        return []
    real, of = read_points(folder / "real.npy"), record.values["modes_late"].protocol.get("n_modes")
    if of is None:
        return []
    return [
        (f"step {step:,}: {modes_text(modes.get(step), of)}", real, read_points(folder / f"{step}.npy"))
        for step in _spread(kept, _SHEET_SNAPSHOTS)
    ]


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """All, or `most` of them at equal distances, the last among them."""
    n = min(most, len(steps))
    return [steps[(i + 1) * len(steps) // n - 1] for i in range(n)]


# ---- quality against cost -------------------------------------------------------------------------------------------


def quality_column(table: Table) -> Column | None:
    """The column that measures quality: the first Frechet distance, else the first distance or divergence, else the
    first column with a direction; None where there is none.

    Of several such columns it is one by whose network the fewest rows trained.
    """

    def place(column: Column) -> tuple[bool, bool, int]:
        n_marked = sum(bool(row.trained_against(column)) for row in table.rows)
        return not row_of(column.id).frechet, column.better != "lower", n_marked

    return min((column for column in table.columns if column.better), key=place, default=None)


def _operations(record: Record) -> float:
    """10^12 floating-point operations of a run's training; 0 where they were not counted."""
    result = record.result_or_empty
    return float(result.flops_per_step or 0) * (result.steps or 0) / 1e12


def _seconds(record: Record) -> float:
    return float(record.time.get("training_s", 0))


def cost(row: Row, column: Column, of_record: Callable[[Record], float] = _seconds) -> tuple[float, float] | None:
    """Mean cost of training and mean value over the finished runs that have both; None where none has.

    None, too, where the row's method trained against the network behind the column: that value ranks it with no other.
    """
    if row.trained_against(column):
        return None
    pairs = [
        (of_record(record), value.value)
        for record in row.done
        if (value := column.value_of(record)) and value.value is not None and of_record(record)
    ]
    if not pairs:
        return None
    costs, values = zip(*pairs)
    return summary(costs).mean, summary(values).mean


def cost_figure(rows: Sequence[Row], column: Column) -> bytes | None:
    """A PNG: a point a row with its name; the cost of training to the right, the column's mean upwards.

    The cost is in operations, which no machine's load moves, where all rows know theirs; else in seconds of the
    machines the runs had. Rows that trained against the network behind the column are named below and have no point.
    None for fewer than two points.
    """
    counted = all(cost(row, column, _operations) for row in rows if cost(row, column))
    of_record, unit = (_operations, _OPERATIONS) if counted else (_seconds, _SECONDS)
    points = [(name, point) for name, row in zip(figure_names(rows), rows) if (point := cost(row, column, of_record))]
    if len(points) < 2:
        return None
    figure = Figure(figsize=(8.6, 5.2), layout="constrained")
    axes = figure.subplots()
    for i, (_, point) in enumerate(points):
        marker = _MARKERS[i // len(PALETTE) % len(_MARKERS)]
        axes.scatter(*point, s=46, color=PALETTE[i % len(PALETTE)], marker=marker)
    costs, values = zip(*(point for _, point in points))
    for axis, set_scale, numbers in ((axes.xaxis, axes.set_xscale, costs), (axes.yaxis, axes.set_yscale, values)):
        if is_wide(numbers):
            set_scale("log")
            name_log_ticks(axis)
    axes.margins(x=0.16, y=0.1)
    axes.set_xlabel(unit)
    axes.set_ylabel(f"{literal(column.name)} ({column.direction})" if column.direction else literal(column.name))
    axes.grid(alpha=0.25, linewidth=0.6)
    if left_out := [name for name, row in zip(figure_names(rows), rows) if row.trained_against(column)]:
        figure.supxlabel(f"left out, trained against this extractor: {literal(', '.join(left_out))}", fontsize=8)
    _name_points(figure, axes, points)
    return figure_png(figure)


def _name_points(figure: Figure, axes: Axes, points: Sequence[tuple[str, tuple[float, float]]]) -> None:
    """Names right of their points; one that would cover another is moved up or down until it does not."""
    figure.draw_without_rendering()  # fixes the scale: names are placed in pixels
    height = 13.0  # px of a line
    taken: list[tuple[float, ...]] = []
    for name, point in sorted(points, key=lambda pair: pair[1][::-1]):
        x, y = axes.transData.transform(point)
        width = 6.2 * len(name)
        shifts = [sign * step * height / 2 for step in range(60) for sign in (1, -1)]
        free = [dy for dy in shifts if not any(_overlap((x, y + dy, width, height), box) for box in taken)]
        dy = free[0] if free else 0.0
        taken.append((x, y + dy, width, height))
        axes.annotate(
            literal(name),
            point,
            (7, dy * 72 / figure.dpi),
            textcoords="offset points",
            fontsize=8.5,
            va="center",
            annotation_clip=False,
        )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two boxes (left, middle, width, height) share a point."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and abs(a[1] - b[1]) < (a[3] + b[3]) / 2
