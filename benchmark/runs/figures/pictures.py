"""Figures: grids of images with exact pixels, t-SNE of embeddings, loss curves.

A grid is a PNG in which every image pixel is one square of equal colour: nothing is interpolated, so the file can be
read back and compared. Plots go through matplotlib's Agg canvas, without pyplot and its global state. The same input
gives the same bytes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmark.core.files import atomic
from benchmark.core.one_thread import one_thread
from benchmark.core.plotting import PALETTE, figure_with_panels, literal, save_figure
from benchmark.data.stream import to_uint8
from benchmark.training.measurements import Embedding, Grid

_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")  # with more classes than colours, the shape tells them apart
_OF_REAL, _OF_GENERATED = ("o", "s", "D", "P"), ("^", "v", "<", ">")  # where a plot has both: triangles are generated
OFF, ON = "#9A9A9A", "#D55E00"  # attribute absent, present

CELL = 64  # px, about the side of a small image's cell
GAP = 2  # px between cells
_TEXT = 13  # px, height of row and column names
_MARGIN = 6  # px around everything


# ---- grids of images ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GridLayout:
    """Where a grid's cells lie in its PNG, in pixels."""

    left: int  # of the first column
    top: int  # of the first row
    cell: int  # side of a cell
    scale: int  # PNG pixels an image pixel becomes, in each direction
    size: tuple[int, int]  # width and height of the PNG
    upright: bool  # column names are turned by 90 degrees: at least one is wider than its cell

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """A cell's left, top, right and bottom, the last two exclusive."""
        x, y = self.left + column * (self.cell + GAP), self.top + row * (self.cell + GAP)
        return x, y, x + self.cell, y + self.cell


def grid_layout(grid: Grid, scale: int | None = None) -> GridLayout:
    """The layout `save_grid` uses. scale: PNG pixels an image pixel; None: cells of about 64 px, at least 1.

    Raises ValueError when names and images do not fit, or scale < 1.
    """
    _check_grid(grid)
    n_rows, n_columns, side = grid.images.shape[0], grid.images.shape[1], grid.images.shape[-1]
    scale = max(1, round(CELL / side)) if scale is None else scale
    if scale < 1:
        raise ValueError(f"scale is {scale}; an image pixel needs at least one PNG pixel")
    cell = side * scale
    widest = max((_text_width(name) for name in grid.columns), default=0)
    upright = widest > cell
    header = 0 if not widest else (widest if upright else _line_height()) + _MARGIN
    names = max((_text_width(name) for name in grid.rows), default=0)
    left, top = _MARGIN + (names + _MARGIN if names else 0), _MARGIN + header
    width = left + n_columns * (cell + GAP) - GAP + _MARGIN
    height = top + n_rows * (cell + GAP) - GAP + _MARGIN
    return GridLayout(left, top, cell, scale, (width, height), upright)


def save_grid(path: Path, grid: Grid, scale: int | None = None) -> None:
    """Write images [rows, columns, C, S, S] in [-1, 1] as a PNG with the rows' and columns' names in its margins.

    Values outside [-1, 1] are clamped. Pixels are repeated `scale` times, never interpolated; see `grid_layout`.
    Raises ValueError when names and images do not fit; UserError when the file cannot be written.
    """
    picture = grid_picture(grid, scale)
    with atomic(path) as file:
        picture.save(file, "PNG")


def grid_picture(grid: Grid, scale: int | None = None) -> Image.Image:
    """The image that `save_grid` writes, RGB."""
    layout = grid_layout(grid, scale)
    picture = Image.new("RGB", layout.size, "white")
    cells = to_uint8(grid.images.detach().float().cpu()).numpy()  # [rows, columns, C, S, S]
    for row in range(cells.shape[0]):
        for column in range(cells.shape[1]):
            picture.paste(_enlarged(cells[row, column], layout.scale), layout.box(row, column)[:2])
    _draw_names(picture, grid, layout)
    return picture


def grid_of_rows(images_by_row: Mapping[str, Tensor], columns: Sequence[str] = ()) -> Grid:
    """A grid from named rows of images, each [N, C, S, S] in [-1, 1]; N may differ, short rows end in white.

    columns: names of the columns, none by default.
    Raises ValueError without rows, or when rows differ in channels or size.
    """
    shapes = {tuple(images.shape[1:]) for images in images_by_row.values()}
    if len(shapes) != 1:
        raise ValueError(f"a grid needs rows of images of one shape; these have {sorted(shapes) or 'none'}")
    n_columns = max(len(images) for images in images_by_row.values())
    pages = torch.ones(len(images_by_row), n_columns, *shapes.pop())
    for page, images in zip(pages, images_by_row.values()):
        page[: len(images)] = images.detach().float().cpu()
    return Grid(pages, list(images_by_row), list(columns) or [""] * n_columns)


def _check_grid(grid: Grid) -> None:
    shape = list(grid.images.shape)
    if len(shape) != 5 or shape[2] not in (1, 3) or 0 in shape:
        raise ValueError(f"a grid's images are [rows, columns, C, S, S] with C 1 or 3; these are {shape}")
    if shape[:2] != [len(grid.rows), len(grid.columns)]:
        raise ValueError(f"{len(grid.rows)} row and {len(grid.columns)} column names for images {shape}")


def _enlarged(image: np.ndarray, scale: int) -> Image.Image:
    """One image [C, S, S] uint8 with each pixel repeated scale x scale times."""
    pixels = np.repeat(np.repeat(image.transpose(1, 2, 0), scale, axis=0), scale, axis=1)  # [S * scale, S * scale, C]
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())  # grey becomes RGB


def _draw_names(picture: Image.Image, grid: Grid, layout: GridLayout) -> None:
    draw, font = ImageDraw.Draw(picture), _font()
    for row, name in enumerate(grid.rows):
        _, top, _, bottom = layout.box(row, 0)
        draw.text((layout.left - _MARGIN, (top + bottom) / 2), name, "black", font, anchor="rm")
    for column, name in enumerate(grid.columns):
        left, _, right, _ = layout.box(0, column)
        if not layout.upright:
            draw.text(((left + right) / 2, layout.top - _MARGIN), name, "black", font, anchor="mb")
        elif name:
            text = _upright_text(name)
            picture.paste(text, ((left + right - text.width) // 2, layout.top - _MARGIN - text.height))


def _upright_text(name: str) -> Image.Image:
    """A name to be read from bottom to top; its last letter is at the image's top."""
    flat = Image.new("RGB", (_text_width(name), _line_height()), "white")
    ImageDraw.Draw(flat).text((0, 0), name, "black", _font(), anchor="la")
    return flat.transpose(Image.Transpose.ROTATE_90)


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships: the same letters on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _TEXT)


def _text_width(text: str) -> int:
    return math.ceil(_font().getlength(text))


def _line_height() -> int:
    return sum(_font().getmetrics())


# ---- embeddings ---------------------------------------------------------------------------------------------------


def save_embedding(path: Path, embedding: Embedding, seed: int = 0) -> None:
    """Write a 2-D t-SNE figure of features [N, d], and its points as a CSV next to it.

    Class labels [N] give one panel with a colour a class; attributes [N, A] one panel an attribute. Where some images
    are generated, these are triangles. The CSV has x, y, then the class name, or one 0/1 column an attribute, then,
    where some are generated, `real` or `generated`. t-SNE: perplexity 30 (a third of the points, if fewer than 90),
    init pca, learning rate auto. Its axes have no unit, and neither distances between groups nor their sizes mean much.
    Features that t-SNE cannot place (fewer than 5 points, one dimension, all equal, not finite) give a figure that
    says so and a CSV of NaN: a collapsed encoder must not cost a finished run.
    Raises ValueError for features that are not [N, d], or labels that have no name.
    """
    features = embedding.features.detach().float().cpu().numpy()
    labels = embedding.labels.detach().cpu().numpy()
    _check_embedding(features, labels, embedding.names)
    points, obstacle = placed(features, seed)
    generated, counts = None, f"{len(points)} images"
    if embedding.generated is not None:
        generated = embedding.generated.cpu().numpy()
        counts = f"{(~generated).sum()} real and {generated.sum()} generated images (triangles)"
    title = f"no t-SNE: {obstacle}" if obstacle else f"t-SNE of {counts}"
    draw = _embedding_classes if labels.ndim == 1 else _embedding_attributes
    save_figure(path, draw(points, labels, embedding.names, title, generated))
    _save_points(path.with_suffix(".csv"), points, labels, embedding.names, generated)


def _check_embedding(features: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"an embedding's features are [N, d]; these are {list(features.shape)}")
    if labels.ndim not in (1, 2) or len(labels) != len(features):
        raise ValueError(f"labels {list(labels.shape)} for features {list(features.shape)}")
    highest = labels.max() if labels.ndim == 1 else labels.shape[1] - 1
    if labels.min() < 0 or highest >= len(names):
        raise ValueError(f"labels up to {highest}, but {len(names)} names")


def _obstacle(features: np.ndarray) -> str:
    """Why t-SNE cannot place these points; empty where it can."""
    if not np.isfinite(features).all():
        return "some features are not finite"
    if len(features) < 5 or features.shape[1] < 2:
        return f"{len(features)} points of {features.shape[1]} features are too few"
    return "all features are equal" if np.ptp(features, axis=0).max() == 0 else ""


def placed(features: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Points [N, 2] of features [N, d], or NaN with the reason why t-SNE cannot place them."""
    if obstacle := _obstacle(features):
        return np.full((len(features), 2), np.nan), obstacle
    return _tsne(features, seed), ""


def _tsne(features: np.ndarray, seed: int) -> np.ndarray:
    """Every setting written out: scikit-learn has changed its defaults before."""
    from sklearn.manifold import TSNE

    settings = {"n_components": 2, "init": "pca", "learning_rate": "auto", "max_iter": 1000}
    tsne = TSNE(**settings, perplexity=min(30.0, (len(features) - 1) / 3), random_state=seed)
    with one_thread():
        return tsne.fit_transform(features)


def _embedding_classes(
    points: np.ndarray, labels: np.ndarray, names: Sequence[str], title: str, generated: np.ndarray | None
) -> Figure:
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    axes = figure.subplots()
    if generated is None:
        scatter_classes(axes, points, labels, names)
    else:
        _scatter_both(axes, points, labels, names, generated)
    axes.set_title(title)
    name_tsne_axes(axes)
    figure.legend(loc="outside right upper", frameon=False, markerscale=1.8)
    return figure


def _embedding_attributes(
    points: np.ndarray, labels: np.ndarray, names: Sequence[str], title: str, generated: np.ndarray | None
) -> Figure:
    figure, drawn = figure_with_panels(labels.shape[1], width=3.6, height=3.3)
    for axes, name, present in zip(drawn, names, labels.T > 0.5):
        if generated is None:
            scatter(axes, points[~present], OFF, "absent", "o")
            scatter(axes, points[present], ON, "present", "^")
            share = f" {present.mean():.0%}"
        else:
            for colour, what, rows in ((OFF, "absent", ~present), (ON, "present", present)):
                scatter(axes, points[rows & ~generated], colour, f"{what}, real", _OF_REAL[0])
                scatter(axes, points[rows & generated], colour, f"{what}, generated", _OF_GENERATED[0])
            kinds = [(what, present[rows]) for what, rows in (("real", ~generated), ("generated", generated))]
            share = "\n" + ", ".join(f"{having.mean():.0%} of {what}" for what, having in kinds if len(having))
        axes.set_title(f"{literal(name)}:{share}", fontsize=10)
        name_tsne_axes(axes)
    handles, texts = drawn[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2, frameon=False, markerscale=1.8)
    figure.suptitle(f"{title}, by attribute (share that has it)")
    return figure


def scatter_classes(axes: Axes, points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    """Points [N, 2], a colour and a shape for each class."""
    for label in np.unique(labels):
        colour, marker = PALETTE[label % len(PALETTE)], _MARKERS[label // len(PALETTE) % len(_MARKERS)]
        scatter(axes, points[labels == label], colour, literal(names[label]), marker)


def _scatter_both(
    axes: Axes, points: np.ndarray, labels: np.ndarray, names: Sequence[str], generated: np.ndarray
) -> None:
    """A colour a class, a marker a kind; each class is named once, by its real images where it has some."""
    for label in np.unique(labels):
        colour, shape = PALETTE[label % len(PALETTE)], label // len(PALETTE) % len(_OF_REAL)
        name = literal(names[label])
        for rows, markers in ((~generated, _OF_REAL), (generated, _OF_GENERATED)):
            mine = points[rows & (labels == label)]
            if len(mine):
                scatter(axes, mine, colour, name, markers[shape])
                name = "_nolegend_"


def scatter(axes: Axes, points: np.ndarray, colour: str, name: str, marker: str) -> None:
    """Points [N, 2] of one kind."""
    axes.scatter(points[:, 0], points[:, 1], s=14, c=colour, label=name, marker=marker, alpha=0.8, linewidths=0)


def name_tsne_axes(axes: Axes) -> None:
    """Say what axes without a unit are."""
    axes.set_xlabel("t-SNE axis 1 (no unit)")
    axes.set_ylabel("t-SNE axis 2 (no unit)")


def _save_points(
    path: Path, points: np.ndarray, labels: np.ndarray, names: Sequence[str], generated: np.ndarray | None
) -> None:
    kinds = [[]] * len(points) if generated is None else [["generated" if one else "real"] for one in generated]
    header = [] if generated is None else ["image"]
    with atomic(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        of_label = (lambda label: [names[label]]) if labels.ndim == 1 else (lambda row: [int(value) for value in row])
        writer.writerow(["x", "y", *(["label"] if labels.ndim == 1 else names[: labels.shape[1]]), *header])
        for (x, y), label, kind in zip(points, labels, kinds):
            writer.writerow([f"{x:.6g}", f"{y:.6g}", *of_label(label), *kind])
