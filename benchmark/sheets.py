"""Figures of several runs: pictures side by side, training curves with bands over seeds, quality against cost.

Curves and pictures come from run folders, numbers from records. A figure shows the methods at their recipes; rows that
change a recipe have a table of their own, and a figure of all would be unreadable. The same files give the same bytes.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image, ImageDraw, ImageFont

from benchmark.figures import PALETTE
from benchmark.files import atomic
from benchmark.records import Record, read_records
from benchmark.stats import summary
from benchmark.tables import Column, Row, Table, dataset_table

_STYLES = ("-", "--", ":")  # with more methods than colours, the dashes tell them apart
_MARKERS = ("o", "^", "s", "D", "v", "P")
_SHEET_COLUMNS = 3
_SHEET_WIDTH = 460  # px of one method's grid in a sheet
_TEXT = 15  # px, height of names in a sheet
_GAP = 16  # px between grids
_WIDE_RANGE = 20  # a ratio of largest to smallest from which an axis is logarithmic


def run_folder(results: Path, record: Record) -> Path:
    """Where a run's pictures and log lie: `runs/<dataset>/<method>/<recipe>-s<seed>-<hash>`."""
    dataset, method = record.plain["dataset"], record.plain["method"]
    return results / "runs" / dataset / method / record.run.removeprefix(f"{dataset}-{method}-")


def row_name(row: Row) -> str:
    """A row's name in figures: its labels, without the recipe."""
    return f"{row.labels[0]} {row.labels[-1]}".strip()


def at_recipe(rows: Sequence[Row]) -> list[Row]:
    """The rows that figures show: methods at their recipes, and of a method that has none of these, all its rows."""
    plain = [row for row in rows if any(not record.plain["changes"] for record in row.records)]
    has = {row.labels[0] for row in plain}
    return [row for row in rows if row in plain or row.labels[0] not in has]


def write_figures(results: Path) -> list[Path]:
    """Write `figures/<dataset>-{samples,curves,cost}.png` for every dataset with records. Returns the files.

    A figure that has nothing to show is not written: no run folder, or fewer than two values for quality against cost.
    Raises UserError for a record that cannot be read or a folder that cannot be written.
    """
    records = read_records(results)
    written = []
    for dataset in sorted({record.plain["dataset"] for record in records}):
        table = dataset_table(dataset, [record for record in records if record.plain["dataset"] == dataset])
        written += save_figures(results, dataset, figures_of(results, table))
    return written


def save_figures(results: Path, dataset: str, figures: Mapping[str, bytes]) -> list[Path]:
    """Write the figures of one dataset, PNG bytes by kind. Returns the files."""
    written = []
    for kind, png in figures.items():
        written.append(results / "figures" / f"{dataset}-{kind}.png")
        with atomic(written[-1]) as file:
            file.write(png)
    return written


def figures_of(results: Path, table: Table) -> dict[str, bytes]:
    """The figures of a dataset's table as PNG bytes, by kind: samples, curves, cost; those that can be drawn."""
    rows, quality = at_recipe(table.rows), quality_column(table)
    drawn = {
        "samples": samples_sheet([(row_name(row), path) for row in rows if (path := first_samples(results, row))]),
        "curves": curves_figure(table.name, curves(results, rows)),
        "cost": cost_figure(rows, quality) if quality else None,
    }
    return {kind: png for kind, png in drawn.items() if png is not None}


# ---- pictures -------------------------------------------------------------------------------------------------------


def first_samples(results: Path, row: Row) -> Path | None:
    """The grid of samples of the first seed that has one; never the best of several."""
    paths = (run_folder(results, record) / "samples.png" for record in row.done)
    return next((path for path in paths if path.is_file()), None)


def samples_sheet(grids: Sequence[tuple[str, Path]]) -> bytes | None:
    """A PNG of all methods' grids side by side under their names, each as wide as the others; None without grids.

    Nothing is chosen: each grid is the one that its run drew when it ended.
    """
    if not grids:
        return None
    cells = [(name, _to_width(path, _SHEET_WIDTH)) for name, path in grids]
    n_columns = min(_SHEET_COLUMNS, len(cells))
    lines = [cells[i : i + n_columns] for i in range(0, len(cells), n_columns)]
    head = _TEXT + 8
    heights = [head + max(grid.height for _, grid in line) + _GAP for line in lines]
    sheet = Image.new("RGB", (n_columns * (_SHEET_WIDTH + _GAP) + _GAP, sum(heights) + _GAP), "white")
    draw, font, top = ImageDraw.Draw(sheet), _font(), _GAP
    for line, height in zip(lines, heights):
        for i, (name, grid) in enumerate(line):
            left = _GAP + i * (_SHEET_WIDTH + _GAP)
            draw.text((left, top), _shortened(name, font), "black", font)
            sheet.paste(grid, (left, top + head))
        top += height
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


# ---- training curves ------------------------------------------------------------------------------------------------


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


def curves(results: Path, rows: Iterable[Row]) -> list[Curve]:
    """The curves of rows whose runs have a log, by row and quantity.

    Where a seed has no finite value at some number of images, the mean and range are those of the others.
    """
    found = []
    for row in rows:
        logs = [log for record in row.done if (log := _read_log(run_folder(results, record) / "log.jsonl"))]
        quantities = sorted({name for log in logs for line in log.values() for name in line})
        found += [_curve(row_name(row), quantity, logs) for quantity in quantities]
    return found


def _curve(row: str, quantity: str, logs: Sequence[dict[int, dict[str, float]]]) -> Curve:
    logs = [log for log in logs if any(quantity in line for line in log.values())]
    images = sorted({seen for log in logs for seen, line in log.items() if quantity in line})
    values = [[log[seen][quantity] for log in logs if quantity in log.get(seen, {})] for seen in images]
    mean, low, high = (np.array([f(column) for column in values]) for f in (np.mean, np.min, np.max))
    return Curve(row, quantity, np.array(images), mean, low, high, len(logs))


def _read_log(path: Path) -> dict[int, dict[str, float]]:
    """A log's finite values by images seen; empty without a log. A line torn by a kill ends the reading."""
    lines: dict[int, dict[str, float]] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            break
        seen = line.pop("images")
        line.pop("step", None)
        lines[seen] = {name: value for name, value in line.items() if value is not None and math.isfinite(value)}
    return lines


def curves_figure(dataset: str, drawn: Sequence[Curve]) -> bytes | None:
    """A PNG with a panel for each logged quantity of at least two rows, or of the only row; None without curves."""
    rows = list(dict.fromkeys(curve.row for curve in drawn))
    if not rows:
        return None
    by_quantity = {
        quantity: [curve for curve in drawn if curve.quantity == quantity]
        for quantity in sorted({curve.quantity for curve in drawn}, key=lambda name: (name not in ("D", "G"), name))
    }
    panels = {name: lines for name, lines in by_quantity.items() if len(lines) > 1} or by_quantity
    n_columns = min(3, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    legend_lines = math.ceil(len(rows) / 4)
    figure = Figure(figsize=(3.7 * n_columns + 0.4, 2.7 * n_rows + 0.6 + 0.25 * legend_lines), layout="constrained")
    axes_list = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for unused in axes_list[len(panels) :]:
        unused.remove()
    looks = {row: (PALETTE[i % len(PALETTE)], _STYLES[i // len(PALETTE) % len(_STYLES)]) for i, row in enumerate(rows)}
    handles = {}
    for axes, (quantity, lines) in zip(axes_list, panels.items()):
        for curve in lines:
            colour, style = looks[curve.row]
            (handles[curve.row],) = axes.plot(
                curve.images, curve.mean, color=colour, linestyle=style, linewidth=1.3, label=_literal(curve.row)
            )
            if curve.n > 1:
                axes.fill_between(curve.images, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.set_title(_literal(quantity), fontsize=10)
        axes.set_xlabel("images seen")
        _loss_scale(axes, lines)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
    shown = [handles[row] for row in rows if row in handles]
    figure.legend(handles=shown, loc="outside lower center", ncols=min(4, len(shown)), frameon=False, fontsize=8)
    figure.suptitle(
        f"Training on {_literal(dataset)}: mean of the seeds, band from the lowest to the highest", fontsize=11
    )
    return _figure_png(figure)


def _loss_scale(axes: Axes, lines: Sequence[Curve]) -> None:
    """One method's outlier must not flatten all others: positive quantities of very different size get a log axis."""
    if min(curve.low.min() for curve in lines) > 0 and _wide([float(np.median(curve.mean)) for curve in lines]):
        axes.set_yscale("log")


# ---- quality against cost -------------------------------------------------------------------------------------------


def quality_column(table: Table) -> Column | None:
    """The column that stands for quality: the first Frechet distance, else the first distance or divergence, else the
    first column with a direction; None where there is none."""
    directed = [column for column in table.columns if column.better]
    return min(directed, key=lambda column: (not column.id.startswith("fd_"), column.better != "lower"), default=None)


def cost(row: Row, column: Column) -> tuple[float, float] | None:
    """Mean seconds of training and mean value over the finished runs that have both; None where none has."""
    pairs = [
        (record.plain["time"]["training_s"], value["value"])
        for record in row.done
        if (value := record.values.get(column.id))
        and value["protocol_key"] == column.key
        and value["value"] is not None
        and record.plain["time"].get("training_s")
    ]
    if not pairs:
        return None
    seconds, values = zip(*pairs)
    return summary(seconds).mean, summary(values).mean


def cost_figure(rows: Sequence[Row], column: Column) -> bytes | None:
    """A PNG: a point a row with its name; seconds of training to the right, the column's mean upwards.

    None for fewer than two points. Seconds are of the machines the runs had, as the records say.
    """
    points = [(row_name(row), point) for row in rows if (point := cost(row, column))]
    if len(points) < 2:
        return None
    figure = Figure(figsize=(8.6, 5.2), layout="constrained")
    axes = figure.subplots()
    for i, (_, point) in enumerate(points):
        marker = _MARKERS[i // len(PALETTE) % len(_MARKERS)]
        axes.scatter(*point, s=46, color=PALETTE[i % len(PALETTE)], marker=marker)
    seconds, values = zip(*(point for _, point in points))
    for axis, set_scale, numbers in ((axes.xaxis, axes.set_xscale, seconds), (axes.yaxis, axes.set_yscale, values)):
        if _wide(numbers):
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.16, y=0.1)
    arrow = {"lower": "lower is better", "higher": "higher is better"}.get(column.better or "", "")
    axes.set_xlabel("seconds of training, mean of the seeds")
    axes.set_ylabel(f"{_literal(column.name)} ({arrow})" if arrow else _literal(column.name))
    axes.grid(alpha=0.25, linewidth=0.6)
    _name_points(figure, axes, points)
    return _figure_png(figure)


def _wide(values: Sequence[float]) -> bool:
    """Whether values, all positive, spread too far for a linear axis."""
    return min(values) > 0 and max(values) > _WIDE_RANGE * min(values)


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
            _literal(name),
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


def _literal(name: str) -> str:
    """A name as text: matplotlib reads what stands between dollar signs as a formula."""
    return name.replace("$", r"\$")


def _figure_png(figure: Figure) -> bytes:
    """A figure as a PNG at 120 dots an inch, without the software's name, which changes with every release."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
