"""The small grids that go with records: what they show, how large they are, and where they are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_records import write
from PIL import Image

from benchmark.runs.records import read_records
from benchmark.runs.sample_files import (
    POINTS_SIDE,
    find_real,
    find_samples,
    real_path,
    samples_path,
    save_small_grid,
    save_small_scatter,
    small_grid,
)
from benchmark.training.measurements import Grid


def grid_of(rows: int, columns: int, side: int, channels: int = 3, first: str = "") -> Grid:
    """Random smooth images, about as hard to compress as photographs."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(rows * columns, channels, max(2, side // 4), max(2, side // 4), generator=generator) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")
    names = [first, *[""] * (columns - 1)]
    return Grid(images.unflatten(0, (rows, columns)), [f"row {i}" for i in range(rows)], names)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_small_grid_has_the_first_columns_of_rows_spread_over_all_classes() -> None:
    grid = grid_of(20, 10, 8)
    kept = [0, 2, 5, 7, 10, 12, 15, 17]
    assert torch.equal(small_grid(grid), grid.images[kept, :4])


def test_of_few_classes_all_are_kept() -> None:
    assert small_grid(grid_of(3, 10, 8)).shape[:2] == (3, 4)


def test_the_instances_that_were_asked_for_are_left_out() -> None:
    grid = grid_of(8, 11, 8, first="asked")
    assert torch.equal(small_grid(grid), grid.images[:, 1:5])


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_kept_to_the_pixel(channels: int, tmp_path: Path) -> None:
    grid = Grid(torch.zeros(2, 4, channels, 16, 16), ["a", "b"], [""] * 4)
    grid.images[1, 2] = 1.0
    save_small_grid(tmp_path / "a.webp", grid)
    pixels = read(tmp_path / "a.webp")
    assert pixels.shape == (32, 64, 3)
    assert (pixels[16:, 32:48] == 255).all()
    assert (pixels[:16] == 128).all()


def test_a_grid_of_32_px_takes_less_than_10_kb(tmp_path: Path) -> None:
    save_small_grid(tmp_path / "a.webp", grid_of(8, 4, 32))
    assert (tmp_path / "a.webp").stat().st_size < 10_000
    assert read(tmp_path / "a.webp").shape == (256, 128, 3)


def test_noise_of_32_px_takes_less_than_10_kb(tmp_path: Path) -> None:
    noise = torch.rand(8, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    save_small_grid(tmp_path / "a.webp", Grid(noise, [""] * 8, [""] * 4))
    assert (tmp_path / "a.webp").stat().st_size < 10_000


def test_large_images_are_reduced(tmp_path: Path) -> None:
    save_small_grid(tmp_path / "a.webp", grid_of(2, 4, 128))
    assert read(tmp_path / "a.webp").shape == (128, 256, 3)


def test_points_are_drawn_over_the_real_ones_and_those_outside_are_left_out(tmp_path: Path) -> None:
    real = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    generated = np.array([[1.0, 0.0], [50.0, 0.0], [np.nan, 0.0]], np.float32)
    save_small_scatter(tmp_path / "a.webp", real, generated)
    pixels = read(tmp_path / "a.webp")
    assert pixels.shape == (POINTS_SIDE, POINTS_SIDE, 3)
    coloured = (pixels != 255).any(-1)
    assert coloured.sum() == 2
    right = coloured.nonzero()[1].argmax()
    row, column = (axis[right] for axis in coloured.nonzero())
    assert tuple(pixels[row, column]) == (0, 114, 178)


def test_the_grids_of_a_record_are_found_beside_it(tmp_path: Path) -> None:
    run = write(tmp_path, {"fd_judge": 1.0})
    (record,) = read_records(tmp_path)
    assert find_samples(tmp_path, record) is None
    assert find_real(tmp_path, record) is None
    save_small_grid(samples_path(tmp_path, run), grid_of(2, 4, 8))
    assert find_samples(tmp_path, record) == tmp_path / "samples" / f"{run}.webp"


def test_real_images_are_those_of_the_data_that_a_record_names(tmp_path: Path) -> None:
    run = write(tmp_path, {"fd_judge": 1.0})
    path = tmp_path / "records" / f"{run}.json"
    plain = json.loads(path.read_text())
    for sha256 in ("a" * 64, "b" * 64):
        save_small_grid(real_path(tmp_path, "digits", sha256), grid_of(2, 4, 8))
    plain["result"]["data"] = {"sha256": "b" * 64}
    path.write_text(json.dumps(plain))
    (record,) = read_records(tmp_path)
    assert find_real(tmp_path, record) == tmp_path / "samples" / "real" / f"digits-{'b' * 8}.webp"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", "a/b"])
def test_names_that_are_paths_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    assert real_path(tmp_path, name, name).parent == tmp_path / "samples" / "real"
    assert samples_path(tmp_path, name).parent == tmp_path / "samples"
