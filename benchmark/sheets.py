"""Figures of several runs: pictures side by side, curves over training with bands over seeds, quality against cost.

Loss curves, pictures and points come from run folders; scores during training and costs from records. A figure shows
the methods at their recipes; rows that change a recipe have a table of their own, and a figure of all would be
unreadable. The same files give the same bytes.
"""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image, ImageDraw, ImageFont

from benchmark.figures import PALETTE, draw_points, modes_text
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
_OTHERS = "#C4C4C4"  # the other methods' curves in a panel of one
_PANEL_COLUMNS = 4
_SHEET_SNAPSHOTS = 6  # at most, in a sheet of points: the last and evenly spaced ones before it
_OPERATIONS = "training, in $10^{12}$ floating-point operations"
_SECONDS = "training, in seconds, mean of the seeds"
_WIDE_RANGE = 20  # a ratio of largest to smallest from which an axis is logarithmic


def run_folder(results: Path, record: Record) -> Path:
    """Where a run's pictures and log lie: `runs/<dataset>/<method>/<recipe>-s<seed>-<hash>`."""
    dataset, method = record.plain["dataset"], record.plain["method"]
    return results / "runs" / dataset / method / record.run.removeprefix(f"{dataset}-{method}-")


def row_name(row: Row) -> str:
    """A row's name in figures: its labels, without the recipe."""
    return f"{row.labels[0]} {row.labels[-1]}".strip()


def figure_names(rows: Sequence[Row]) -> list[str]:
    """Names of the rows of one figure: without steps and settings of the evaluation, where these tell none apart."""
    short = [_without_budget(row_name(row)) for row in rows]
    return [name if short.count(name) == 1 else row_name(row) for row, name in zip(rows, short)]


def _without_budget(name: str) -> str:
    method, _, changes = name.partition(" ")
    kept = [change for change in changes.split(", ") if not change.startswith(("steps=", "eval."))]
    return f"{method} {', '.join(kept)}".strip()


def at_recipe(rows: Sequence[Row]) -> list[Row]:
    """The rows that figures show: methods at their recipes, and of a method that has none of these, all its rows."""
    plain = [row for row in rows if any(not record.plain["changes"] for record in row.records)]
    has = {row.labels[0] for row in plain}
    return [row for row in rows if row in plain or row.labels[0] not in has]


def write_figures(results: Path) -> list[Path]:
    """Write `figures/<dataset>-{samples,curves,snapshots,scatter,cost}.png` for every dataset with records.

    Returns the files. Snapshots of several scores or protocols are a file each; see `snapshot_figures`. A figure that
    has nothing to show is not written: no run folder, no snapshots, or fewer than two values for quality against cost.
    Raises UserError for a record that cannot be read or a folder that cannot be written.
    """
    records = read_records(results)
    written = []
    for dataset in sorted({record.scored_on for record in records}):
        table = dataset_table(dataset, [record for record in records if record.scored_on == dataset])
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


def curves(results: Path, rows: Sequence[Row]) -> list[Curve]:
    """The curves of rows whose runs have a log, by row and quantity.

    Where a seed has no finite value at some number of images, the mean and range are those of the others.
    """
    found = []
    for name, row in zip(figure_names(rows), rows):
        logs = [log for record in row.done if (log := _read_log(run_folder(results, record) / "log.jsonl"))]
        quantities = sorted({name for log in logs for line in log.values() for name in line})
        found += [_curve(name, quantity, logs) for quantity in quantities]
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


# ---- scores during training -----------------------------------------------------------------------------------------


def snapshot_curves(table: Table) -> list[tuple[str, Column, list[Curve]]]:
    """What snapshots measured, from records alone: the figure's kind, the column of late means, the rows' curves.

    One figure a column, because values of different protocols share no axis. The column that most rows have is
    `snapshots`, the others `snapshots-<id>`, with their protocol's key where the id is not enough. Of a method that has
    snapshots at its recipe, only that row is shown.
    """
    found = []
    for column in table.columns:
        if column.id.startswith("fd_late_") or column.id.endswith("_late"):
            rows = at_recipe([row for row in table.rows if _snapshot_logs(row, column)])
            found.append(
                (
                    column,
                    [
                        _curve(name, _quantity(column), _snapshot_logs(row, column))
                        for name, row in zip(figure_names(rows), rows)
                    ],
                )
            )
    found = sorted((pair for pair in found if pair[1]), key=lambda pair: -len(pair[1]))
    ids = [column.id for column, _ in found]
    kinds = [
        f"snapshots-{id}" if ids.count(id) == 1 else f"snapshots-{id}-{c.key[:8]}" for id, (c, _) in zip(ids, found)
    ]
    return [("snapshots" if i == 0 else kinds[i], column, lines) for i, (column, lines) in enumerate(found)]


def _quantity(column: Column) -> str:
    """What a column of late means has the mean of: `fd`, `high_quality`."""
    return "fd" if column.id.startswith("fd_late_") else column.id.removesuffix("_late")


def _snapshot_logs(row: Row, column: Column) -> list[dict[int, dict[str, float]]]:
    """The curves of a row's seeds as logs by images seen: those at the last step, shared evenly among the steps."""
    quantity, logs = _quantity(column), []
    for record in row.done:
        value, result = record.values.get(column.id), record.plain["result"]
        if value is not None and value["protocol_key"] == column.key and result.get("steps"):
            images = result["images_seen"] / result["steps"]
            logs.append(
                {round(images * line["step"]): {quantity: line[quantity]} for line in value["details"]["curve"]}
            )
    return [log for log in logs if log]


def snapshots_figure(dataset: str, column: Column, lines: Sequence[Curve]) -> bytes:
    """A PNG with a panel a row on common axes: its mean over the seeds and their range, all other rows in grey."""
    n_columns = min(_PANEL_COLUMNS, len(lines))
    n_rows = math.ceil(len(lines) / n_columns)
    titles = [textwrap.wrap(line.row.partition(" ")[2], 44, break_on_hyphens=False) for line in lines]
    height = 2.1 + 0.14 * max(map(len, titles))
    figure = Figure(figsize=(max(5.0, 2.9 * n_columns + 0.4), height * n_rows + 0.5), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).flat)
    for unused in panels[len(lines) :]:
        unused.remove()
    for axes, line, changes in zip(panels, lines, titles):
        for other in lines:
            if other is not line:
                axes.plot(other.images, other.mean, color=_OTHERS, linewidth=0.8, zorder=1)
        axes.plot(line.images, line.mean, color=PALETTE[0], linewidth=1.6, marker="o", markersize=3)
        if line.n > 1:
            axes.fill_between(line.images, line.low, line.high, color=PALETTE[0], alpha=0.2, linewidth=0)
        axes.set_title("\n".join(map(_literal, changes)), fontsize=6.5, loc="left", color="#555555")
        axes.annotate(
            _literal(line.row.partition(" ")[0]),
            (0, 1),
            (0, 5 + 8.5 * len(changes)),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9.5,
        )
        axes.tick_params(labelsize=7.5, labelbottom=True)
        axes.grid(alpha=0.25, linewidth=0.6)
    _snapshot_axes(panels[0], lines, may_be_log=column.better == "lower")  # a share stays on its own scale
    figure.supxlabel("images seen", fontsize=9)
    figure.supylabel(_literal(snapshot_name(column)), fontsize=9)
    figure.suptitle(f"{_literal(snapshot_name(column))} during training on {_literal(dataset)}", fontsize=11)
    return _figure_png(figure)


def _snapshot_axes(axes: Axes, lines: Sequence[Curve], may_be_log: bool) -> None:
    """Scales that all panels share: a distance that begins far from where it ends gets a logarithmic axis."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if may_be_log and _wide([float(edge) for line in lines for edge in (*line.low, *line.high)]):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def snapshot_name(column: Column) -> str:
    """The score that a column of late means has the mean of, with the mark of its protocol where it has one."""
    before, _, after = column.name.partition(", last ")
    return f"{before} {after[mark:]}" if (mark := after.find("[")) >= 0 else before


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
        part.suptitle(_literal(name), fontsize=10, x=0.01, ha="left")
        panels = part.subplots(1, n_columns, squeeze=False)[0]
        for unused in panels[: n_columns - len(cells)]:
            unused.remove()
        for axes, (title, real, points) in zip(panels[n_columns - len(cells) :], cells):
            draw_points(axes, real, points)
            axes.set_title(title, fontsize=8)
    return _figure_png(figure)


def _mode_curve(record: Record) -> dict[int, float]:
    """Modes found at each snapshot of points, by its step; empty without snapshots."""
    value = record.values.get("modes_late")
    return {} if value is None else {line["step"]: line["modes"] for line in value["details"]["curve"]}


def _scatters(results: Path, record: Record) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Title, real and generated points of a run's snapshots; empty where the run folder lacks any of them."""
    modes, folder = _mode_curve(record), run_folder(results, record) / "snapshots"
    kept = sorted(int(path.stem) for path in folder.glob("[0-9]*.npy"))
    if not kept or not (folder / "real.npy").is_file():
        return []
    real, of = np.load(folder / "real.npy"), record.values["modes_late"]["protocol"]["n_modes"]
    return [
        (f"step {step:,}: {modes_text(modes.get(step), of)}", real, np.load(folder / f"{step}.npy"))
        for step in _spread(kept, _SHEET_SNAPSHOTS)
    ]


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """All, or `most` of them at equal distances, the last among them."""
    n = min(most, len(steps))
    return [steps[(i + 1) * len(steps) // n - 1] for i in range(n)]


# ---- quality against cost -------------------------------------------------------------------------------------------


def quality_column(table: Table) -> Column | None:
    """The column that stands for quality: the first Frechet distance, else the first distance or divergence, else the
    first column with a direction; None where there is none."""
    directed = [column for column in table.columns if column.better]
    return min(directed, key=lambda column: (not column.id.startswith("fd_"), column.better != "lower"), default=None)


def _operations(record: Record) -> float:
    """10^12 floating-point operations of a run's training; 0 where they were not counted."""
    result = record.plain["result"]
    return float(result.get("flops_per_step", 0)) * result.get("steps", 0) / 1e12


def _seconds(record: Record) -> float:
    return float(record.plain["time"].get("training_s", 0))


def cost(row: Row, column: Column, of_record: Callable[[Record], float] = _seconds) -> tuple[float, float] | None:
    """Mean cost of training and mean value over the finished runs that have both; None where none has."""
    pairs = [
        (of_record(record), value["value"])
        for record in row.done
        if (value := record.values.get(column.id))
        and value["protocol_key"] == column.key
        and value["value"] is not None
        and of_record(record)
    ]
    if not pairs:
        return None
    costs, values = zip(*pairs)
    return summary(costs).mean, summary(values).mean


def cost_figure(rows: Sequence[Row], column: Column) -> bytes | None:
    """A PNG: a point a row with its name; the cost of training to the right, the column's mean upwards.

    The cost is in operations, which no machine's load moves, where all rows know theirs; else in seconds of the
    machines the runs had. None for fewer than two points.
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
        if _wide(numbers):
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.16, y=0.1)
    arrow = {"lower": "lower is better", "higher": "higher is better"}.get(column.better or "", "")
    axes.set_xlabel(unit)
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
