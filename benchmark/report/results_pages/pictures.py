"""Figures of a page: the sheet of samples, the first metric over training, quality against cost.

Curves and points are SVG text, so the same records give the same bytes; the sheet is a lossless WebP of the small grids
that are kept with the records.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from benchmark.report.results_pages.head import operations
from benchmark.report.site.boards import Board, Place, Ranking
from benchmark.report.site.plots import curves_of, front_of
from benchmark.report.site.svg import Point, scatter
from benchmark.report.tables import Column
from benchmark.runs.sample_files import COLUMNS, POINTS_SIDE, find_real, find_samples

REAL = "real images"  # name of their grid in the sheet
_TILE = 136  # px that a grid of samples is at least wide
_TEXT = 12  # px
_GAP = 24  # px between grids
_BETWEEN = 2  # px between the images of a grid
_LONGEST = 150  # px of a line of a name; longer names take two lines, and are cut after that
_SHEET = 7  # grids in a row
_STYLE = """<style>
svg { background: #fff; font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
text { font-size: 13px; fill: #1c2126; }
.tick, .axis { fill: #59636e; font-size: 12px; }
.other { fill: #59636e; font-size: 11px; }
.grid { stroke: #dfe3e6; stroke-width: 1; }
.line { fill: none; stroke-width: 2.2; } .grey { stroke: #bcc3c8; stroke-width: 1.1; }
.band { opacity: .14; stroke: none; }
.pt { opacity: .55; } .pt.front { opacity: 1; }
.k-none { fill: #3b3b3b; } .k-class { fill: #0072b2; } .k-attributes { fill: #cc79a7; } .k-cluster { fill: #009e73; }
.k-instance { fill: #d55e00; } .k-latent { fill: #b8890a; } .k-other { fill: #8a939b; }
COLOURS
</style>"""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#3a93c9", "#b8890a", "#6b5bb0", "#3b3b3b")


# ---- SVG ------------------------------------------------------------------------------------------------------------


def curves_svg(board: Board, ranking: Ranking) -> str:
    """The first metric over training, the best rows named; empty where no snapshot was scored."""
    ranked = [place for place in ranking.places if place.rank is not None]
    return standalone(curves_of(board, ranked))


def cost_svg(board: Board, column: Column) -> str:
    """Quality against the operations of a training; empty for fewer than two rows whose cost is known."""
    priced = [
        (place, flops)
        for place in board.ranking(column).places
        if place.rank is not None and (flops := operations(place.entry))
    ]
    front = front_of([(flops, place.summary.mean) for place, flops in priced], column.better)
    points = [
        Point(place.entry.name, flops, place.summary.mean, place.entry.conditioning, i in front)
        for i, (place, flops) in enumerate(priced)
    ]
    title = f"{column.name} against cost"
    return standalone(scatter(points, "FLOPs of a training run", column.name, title, name_all=True))


def standalone(plot: Markup | str) -> str:
    """A plot of the report as a file of its own, with size and colours; empty for none."""
    if not plot:
        return ""
    colours = "\n".join(
        f".c{k}.line {{ stroke: {colour}; }} .c{k}.band, .c{k}.end {{ fill: {colour}; }}"
        for k, colour in enumerate(_COLOURS)
    )
    head, _, body = str(plot).partition(">")
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="440" ', 1)
    return f"{head}>{_STYLE.replace('COLOURS', colours)}{body}\n"


# ---- samples --------------------------------------------------------------------------------------------------------


def sheet_files(results: Path, places: Sequence[Place]) -> tuple[int, list[tuple[str, Path]]] | None:
    """The seed that most rows have samples of, and the names and files of those rows; None without samples.

    One seed for all: no row shows the best of several. Real images come first, where they are kept.
    """
    names = _sheet_names(places)
    files: dict[int, list[tuple[str, Path]]] = {}
    for place in places:
        for record in place.entry.row.done:
            if (path := find_samples(results, record)) is not None:
                files.setdefault(record.seed, []).append((names[place.entry.name], path))
    if not files:
        return None
    seed = min(files, key=lambda one: (-len(files[one]), one))
    records = [record for place in places for record in place.entry.row.done]
    real = next((path for record in records if (path := find_real(results, record)) is not None), None)
    return seed, [*([(REAL, real)] if real else []), *files[seed]]


def _sheet_names(places: Sequence[Place]) -> dict[str, str]:
    """Short names of rows by their own: without the labels that all share, and with words before numbers."""
    labels = {place.entry.name: place.entry.row.labels for place in places}
    shared = [len(set(column)) == 1 for column in zip(*labels.values())]
    short = {}
    for name, row in labels.items():
        differ = [label for label, same in zip(row, shared) if not same and label not in ("", "-")]
        short[name] = ", ".join(sorted(differ, key=lambda label: label[:1].isdigit())) or name
    return short if len(set(short.values())) == len(short) else {name: name for name in labels}


def sheet_webp(grids: Sequence[tuple[str, Path]]) -> bytes:
    """Grids of samples under their names, each pixel magnified by a whole number; WebP without loss."""
    cells = [(name, _magnified(path)) for name, path in grids]
    n_columns = min(_SHEET, len(cells))
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _TEXT)
    longest = min(_LONGEST, math.ceil(max(font.getlength(name) for name, _ in cells)))
    inner = max(longest, *(picture.width for _, picture in cells))
    names = [_wrapped(name, font, inner) for name, _ in cells]
    width, text_height = inner + _GAP, (_TEXT + 4) * max(map(len, names)) + 2
    height = max(picture.height for _, picture in cells) + text_height + _GAP
    n_rows = -(-len(cells) // n_columns)
    sheet = Image.new("RGB", (n_columns * width + _GAP, n_rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (_, picture) in enumerate(cells):
        left, top = _GAP + i % n_columns * width, _GAP + i // n_columns * height
        for k, line in enumerate(names[i]):
            draw.text((left, top + (_TEXT + 4) * k), line, "black", font)
        sheet.paste(picture, (left, top + text_height))
    file = io.BytesIO()
    sheet.save(file, "WEBP", lossless=True, quality=100, method=6)
    return file.getvalue()


def _magnified(path: Path) -> Image.Image:
    """A small grid with larger pixels, its images apart; a scatter of points is one image."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    side = picture.width // COLUMNS
    if picture.size == (POINTS_SIDE, POINTS_SIDE) or picture.width % COLUMNS or picture.height % side:
        return picture
    times = max(1, round(_TILE / picture.width))
    large, step = side * times, side * times + _BETWEEN
    n_rows = picture.height // side
    apart = Image.new("RGB", (COLUMNS * step - _BETWEEN, n_rows * step - _BETWEEN), "white")
    for row in range(n_rows):
        for column in range(COLUMNS):
            image = picture.crop((column * side, row * side, (column + 1) * side, (row + 1) * side))
            apart.paste(image.resize((large, large), Image.Resampling.NEAREST), (column * step, row * step))
    return apart


def _wrapped(name: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A name on one line, or on two, of which the first ends after a comma where it can."""
    if font.getlength(name) <= width:
        return [name]
    ends = [i for between in (" ", ", ") for i in range(1, len(name)) if name.startswith(between, i)]
    fitting = [name[: i + 1].rstrip() for i in ends if font.getlength(name[: i + 1]) <= width]
    if not fitting:
        return [_shortened(name, font, width)]
    first = fitting[-1]
    return [first, _shortened(name[len(first) :].lstrip(), font, width)]


def _shortened(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A name cut to the width of its grid."""
    if font.getlength(name) <= width:
        return name
    return next(f"{name[:n]}…" for n in range(len(name), -1, -1) if font.getlength(f"{name[:n]}…") <= width)
