"""The small grids of images that go with records: `samples/<run>.webp`, and `samples/real/` for each dataset.

They lie outside the run folders, are a few KB each, survive `make clean`, and are committed with the published records,
so that a report can show images where the run folders are gone.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from benchmark.core.files import atomic
from benchmark.core.names import path_component
from benchmark.data.prepared import Dataset
from benchmark.data.stream import to_uint8
from benchmark.runs.records import Record, record_path
from benchmark.training.measurements import Grid

ROWS, COLUMNS = 8, 4  # of a small grid
MOST_SIDE = 64  # px of an image; larger ones are reduced
MOST_BYTES = 9_000  # of a file with images of 32 px or less; more in proportion to the pixels
POINTS_SIDE = 160  # px of a scatter of 2-D points
_QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20, 10, 1)  # lossy, when the lossless file is too large
_REAL, _GENERATED = (176, 176, 176), (0, 114, 178)  # Okabe-Ito blue


def samples_path(results: Path, run: str) -> Path:
    """Where the small grid of a run's samples lies."""
    return results / "samples" / f"{record_path(results, run).stem}.webp"


def real_path(results: Path, dataset: str, sha256: str) -> Path:
    """Where the small grid of a dataset's real images lies; data that changed have another."""
    return results / "samples" / "real" / f"{path_component(dataset)}-{path_component(sha256[:8])}.webp"


def find_samples(results: Path, record: Record) -> Path | None:
    """The small grid of a record's samples; None where it was not kept."""
    path = samples_path(results, record.run)
    return path if path.is_file() else None


def find_real(results: Path, record: Record) -> Path | None:
    """The small grid of the real images that a record was compared with; None where it was not kept."""
    result = record.result_or_empty
    data = result.transfer or result.data
    path = real_path(results, record.scored_on, data.sha256) if data.sha256 else None
    return path if path is not None and path.is_file() else None


def save_small_grid(path: Path, grid: Grid) -> None:
    """Write at most 8 x 4 images of a grid at native size, without names or gaps; rows are spread over the grid's.

    The instances that the grid shows left of their samples are left out. Raises UserError when it cannot be written.
    """
    images = small_grid(grid)  # [rows, columns, C, S, S]
    cells = to_uint8(images.detach().float().cpu()).numpy()
    rows, columns, channels, side, _ = cells.shape
    pixels = cells.transpose(0, 3, 1, 4, 2).reshape(rows * side, columns * side, channels)
    picture = Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())  # grey becomes RGB
    if side > MOST_SIDE:
        picture = picture.resize((columns * MOST_SIDE, rows * MOST_SIDE), Image.Resampling.LANCZOS)
    _write(path, picture, round(MOST_BYTES * max(1.0, (min(side, MOST_SIDE) / 32) ** 2)))


def small_grid(grid: Grid) -> Tensor:
    """The images of a grid that its small one has: [rows, columns, C, S, S]."""
    first = int(grid.columns[:1] == ["asked"])  # real instances, see `of_run.instance_grid`
    n = len(grid.rows)
    kept = [i * n // min(n, ROWS) for i in range(min(n, ROWS))]
    return grid.images[kept, first : first + COLUMNS]


def save_small_scatter(path: Path, real: np.ndarray, generated: np.ndarray | None = None) -> None:
    """Write 2-D points (N, 2), real ones grey and generated ones over them, on the axes of the real ones."""
    reach = 1.25 * float(np.abs(real).max()) or 1.0
    pixels = np.full((POINTS_SIDE, POINTS_SIDE, 3), 255, np.uint8)
    for points, colour in ((real, _REAL), (generated, _GENERATED)):
        if points is not None:
            at = np.floor((points[np.isfinite(points).all(1)] / reach + 1) / 2 * POINTS_SIDE).astype(int)
            at = at[((at >= 0) & (at < POINTS_SIDE)).all(1)]
            pixels[POINTS_SIDE - 1 - at[:, 1], at[:, 0]] = colour
    _write(path, Image.fromarray(pixels), MOST_BYTES)


def save_small_real(results: Path, data: Dataset, grid: Grid | None) -> None:
    """Write the dataset's small grid where it is not there yet; grid None: of points."""
    path = real_path(results, data.name, data.sha256)
    if path.is_file():
        return
    if grid is None:
        save_small_scatter(path, data.train.images[:5000])
    else:
        save_small_grid(path, grid)


def _write(path: Path, picture: Image.Image, most: int) -> None:
    """As WebP: lossless where that is small enough, else at the best quality that is."""
    encoded = _encoded(picture, lossless=True, quality=100)
    for quality in _QUALITIES:
        if len(encoded) <= most:
            break
        encoded = _encoded(picture, lossless=False, quality=quality)
    with atomic(path) as file:
        file.write(encoded)


def _encoded(picture: Image.Image, lossless: bool, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=lossless, quality=quality, method=6)
    return file.getvalue()
