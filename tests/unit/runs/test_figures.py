"""Figures: exact pixels read back, stable bytes, CSV beside the picture, gaps where a loss was not finite."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from benchmark.core.plotting import PALETTE
from benchmark.evaluation.point_plots import draw_points, modes_text, save_scatters
from benchmark.runs.figures.curves import save_curves
from benchmark.runs.figures.pictures import GAP, grid_layout, grid_of_rows, save_embedding, save_grid
from benchmark.training.measurements import Embedding, Grid


def a_grid(side: int = 16, channels: int = 1, rows: int = 2, columns: int = 3) -> Grid:
    images = torch.rand(rows, columns, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Grid(images, [f"row {i}" for i in range(rows)], [f"{i:+d}" for i in range(columns)])


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(("side", "scale"), [(8, 8), (16, 4), (32, 2), (64, 1), (128, 1)])
def test_cells_are_about_64_pixels(side: int, scale: int) -> None:
    layout = grid_layout(a_grid(side))
    assert layout.scale == scale
    assert layout.cell == side * scale


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_pixel_is_in_the_png_unchanged(tmp_path: Path, channels: int) -> None:
    grid = a_grid(channels=channels)
    save_grid(tmp_path / "grid.png", grid)
    layout, picture = grid_layout(grid), read(tmp_path / "grid.png")
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    for row in range(2):
        for column in range(3):
            left, top, right, bottom = layout.box(row, column)
            cell = picture[top:bottom, left:right]
            stored = torch.round((grid.images[row, column] + 1) * 127.5).numpy().transpose(1, 2, 0)
            assert cell.shape == (64, 64, 3)
            assert np.array_equal(cell[::4, ::4], np.broadcast_to(stored, (16, 16, 3)))
            assert np.array_equal(cell, cell[::4, ::4].repeat(4, 0).repeat(4, 1)), "nothing is interpolated"


def test_png_size_is_margins_cells_and_gaps(tmp_path: Path) -> None:
    bare = Grid(a_grid().images, [""] * 2, [""] * 3)
    save_grid(tmp_path / "grid.png", bare, scale=2)
    assert Image.open(tmp_path / "grid.png").size == (3 * 32 + 2 * GAP + 12, 2 * 32 + GAP + 12)


def test_names_are_drawn_in_the_margins_only(tmp_path: Path) -> None:
    grid = a_grid()
    save_grid(tmp_path / "grid.png", grid)
    layout, picture = grid_layout(grid), read(tmp_path / "grid.png")
    left, top, right, bottom = layout.box(1, 0)
    assert (picture[top:bottom, : layout.left] < 255).any(), "the row's name"
    left, _, right, _ = layout.box(0, 2)
    assert (picture[: layout.top, left:right] < 255).any(), "the column's name"
    assert (picture[:, layout.size[0] - 6 :] == 255).all(), "an empty right margin"


def test_a_column_name_wider_than_its_cell_is_turned(tmp_path: Path) -> None:
    grid = Grid(a_grid(columns=2).images, ["", ""], ["a very long column name", "b"])
    layout = grid_layout(grid)
    assert layout.upright
    save_grid(tmp_path / "grid.png", grid)
    dark = read(tmp_path / "grid.png").min(axis=2) < 128
    left, _, right, _ = layout.box(0, 0)
    assert dark[: layout.top, left:right].any(axis=1).sum() > 100, "the name runs upwards"
    assert not dark[: layout.top, right : right + GAP].any(), "and stays above its own column"


def test_values_outside_the_range_are_clamped(tmp_path: Path) -> None:
    grid = Grid(torch.tensor([-3.0, 3.0]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 4, 4), [""], ["", ""])
    save_grid(tmp_path / "grid.png", grid, scale=1)
    layout, picture = grid_layout(grid, 1), read(tmp_path / "grid.png")
    values = [picture[layout.box(0, c)[1], layout.box(0, c)[0], 0] for c in (0, 1)]
    assert values == [0, 255]


def test_a_grid_whose_names_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="1 row and 3 column names"):
        grid_layout(Grid(a_grid().images, ["one"], ["a", "b", "c"]))
    with pytest.raises(ValueError, match="C 1 or 3"):
        grid_layout(Grid(torch.zeros(1, 1, 2, 8, 8), [""], [""]))
    with pytest.raises(ValueError, match="scale is 0"):
        grid_layout(a_grid(), scale=0)


def test_grid_of_rows_fills_short_rows_with_white() -> None:
    grid = grid_of_rows({"cat": torch.zeros(3, 1, 8, 8), "dog": torch.zeros(2, 1, 8, 8)})
    assert grid.rows == ["cat", "dog"]
    assert grid.images.shape == (2, 3, 1, 8, 8)
    assert (grid.images[1, 2] == 1).all()
    assert (grid.images[1, :2] == 0).all()
    with pytest.raises(ValueError, match="one shape"):
        grid_of_rows({"a": torch.zeros(1, 1, 8, 8), "b": torch.zeros(1, 3, 8, 8)})


def clouds(n: int = 20, n_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n * n_classes) % n_classes
    centres = 20 * torch.randn(n_classes, 8, generator=generator)
    return centres[labels] + torch.randn(len(labels), 8, generator=generator), labels


def test_class_embedding_separates_clouds_and_lists_its_points(tmp_path: Path) -> None:
    features, labels = clouds()
    save_embedding(tmp_path / "e.png", Embedding(features, labels, ["cat", "dog", "wild"]))
    rows = list(csv.DictReader((tmp_path / "e.csv").open()))
    assert [row["label"] for row in rows] == [["cat", "dog", "wild"][label] for label in labels]
    points = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    centres = np.stack([points[labels.numpy() == c].mean(axis=0) for c in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == labels.numpy()).all()
    colours = {tuple(pixel) for pixel in read(tmp_path / "e.png").reshape(-1, 4)[:, :3]}
    assert len(colours) > 3


def test_attribute_embedding_has_a_panel_an_attribute(tmp_path: Path) -> None:
    features, labels = clouds()
    attributes = torch.stack([(labels == i).float() for i in range(2)], 1)
    save_embedding(tmp_path / "one.png", Embedding(features, attributes[:, :1], ["red"]))
    save_embedding(tmp_path / "two.png", Embedding(features, attributes, ["red", "large"]))
    one, two = Image.open(tmp_path / "one.png"), Image.open(tmp_path / "two.png")
    assert two.width == 2 * one.width
    assert two.height == one.height
    header, *rows = csv.reader((tmp_path / "two.csv").open())
    assert header == ["x", "y", "red", "large"]
    assert [row[2:] for row in rows[:3]] == [["1", "0"], ["0", "1"], ["0", "0"]]


@pytest.mark.parametrize("of_attributes", [False, True], ids=["classes", "attributes"])
def test_generated_points_have_markers_of_their_own(tmp_path: Path, of_attributes: bool) -> None:
    """The same points: what is generated changes the picture and the CSV's last column, and nothing else."""
    features, labels = clouds()
    names, generated = ["cat", "dog", "wild"], torch.arange(len(labels)) % 2 == 1
    if of_attributes:
        labels = torch.nn.functional.one_hot(labels)
    for name, flags in (("plain", None), ("none", torch.zeros_like(generated)), ("half", generated)):
        save_embedding(tmp_path / f"{name}.png", Embedding(features, labels, names, flags))
    plain, none, half = (list(csv.reader((tmp_path / f"{name}.csv").open())) for name in ("plain", "none", "half"))
    assert [row[:-1] for row in half] == [row[:-1] for row in none] == plain
    assert half[0][-1] == "image"
    assert [row[-1] for row in half[1:]] == ["generated" if flag else "real" for flag in generated]
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("plain", "none", "half")]
    assert len(set(pictures)) == 3


def test_an_embedding_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    features, labels = clouds()
    for name, seed in (("a", 3), ("b", 3)):
        save_embedding(tmp_path / f"{name}.png", Embedding(features, labels, ["a $x$", "b_c", "d"]), seed)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_more_classes_than_colours_still_differ(tmp_path: Path) -> None:
    features, labels = clouds(n=2, n_classes=len(PALETTE) + 2)
    save_embedding(tmp_path / "e.png", Embedding(features, labels, [str(i) for i in range(10)]))
    assert len({row["label"] for row in csv.DictReader((tmp_path / "e.csv").open())}) == 10


@pytest.mark.parametrize(
    "features", [torch.rand(4, 3), torch.rand(9, 1), torch.zeros(9, 3), torch.full((9, 3), torch.nan)]
)
def test_features_that_cannot_be_placed_give_a_picture_that_says_so(tmp_path: Path, features: torch.Tensor) -> None:
    labels = torch.zeros(len(features), dtype=torch.int64)
    save_embedding(tmp_path / "e.png", Embedding(features, labels, ["only"]))
    assert Image.open(tmp_path / "e.png").width > 100
    rows = list(csv.DictReader((tmp_path / "e.csv").open()))
    assert [row["x"] for row in rows] == ["nan"] * len(features)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for labels, message in ((torch.ones(9, dtype=torch.int64), "1 names"), (torch.zeros(8), r"labels \[8\]")):
        with pytest.raises(ValueError, match=message):
            save_embedding(tmp_path / "e.png", Embedding(torch.rand(9, 3), labels, ["only"]))
    with pytest.raises(ValueError, match=r"\[N, d\]"):
        save_embedding(tmp_path / "e.png", Embedding(torch.rand(9), torch.zeros(9), ["only"]))
    assert not list(tmp_path.iterdir())


def write_log(path: Path, names: list[str], n: int = 30) -> None:
    lines = [{"step": i, "images": 32 * i, **dict.fromkeys(names, 1 / i)} for i in range(1, n)]
    lines[5][names[0]] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 31, "ima')


def test_curves_have_a_panel_a_loss_and_survive_null_and_torn_lines(tmp_path: Path) -> None:
    write_log(tmp_path / "one.jsonl", ["D"])
    write_log(tmp_path / "three.jsonl", ["D", "G", "R1"])
    save_curves(tmp_path / "one.png", tmp_path / "one.jsonl")
    save_curves(tmp_path / "three.png", tmp_path / "three.jsonl")
    one, three = Image.open(tmp_path / "one.png"), Image.open(tmp_path / "three.png")
    assert abs(three.width - 3 * one.width) <= 2
    assert three.height == one.height
    before = (tmp_path / "three.png").read_bytes()
    save_curves(tmp_path / "three.png", tmp_path / "three.jsonl")
    assert (tmp_path / "three.png").read_bytes() == before


def test_a_log_that_is_lost_costs_the_picture_alone(tmp_path: Path) -> None:
    save_curves(tmp_path / "c.png", tmp_path / "log.jsonl")
    (tmp_path / "log.jsonl").write_text("")
    save_curves(tmp_path / "c.png", tmp_path / "log.jsonl")
    assert not (tmp_path / "c.png").exists()


# ---- points ---------------------------------------------------------------------------------------------------------


def ring(n: int = 800, radius: float = 1.0) -> np.ndarray:
    angles = 2 * np.pi * np.arange(n) / 8
    return (radius * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("radius", "lost", "text"),
    [(1.0, 0, []), (1.0, 200, ["25% outside"]), (1.0, 1, ["< 1% outside"]), (50.0, 0, ["100% outside"])],
)
def test_points_outside_of_a_panel_are_counted(radius: float, lost: int, text: list[str]) -> None:
    generated = ring(radius=radius)
    generated[:lost] = np.nan
    axes = Figure().subplots()
    draw_points(axes, ring(), generated)
    assert [label.get_text() for label in axes.texts] == text
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-1.4, 1.4)), "the axes are the real points'"


def test_modes_in_words() -> None:
    assert [modes_text(modes, 8) for modes in (8, 2.0, None)] == ["8 of 8 modes", "2 of 8 modes", "not finite"]


def test_every_snapshot_of_points_has_a_panel(tmp_path: Path) -> None:
    """Seven panels stand in two lines; what is drawn changes the picture, and the same points do not."""
    panels = {f"step {step}": ring(radius=1 - step / 10) for step in range(7)}
    for name, shown in (("a", panels), ("b", panels), ("c", panels | {"step 6": ring()})):
        save_scatters(tmp_path / f"{name}.png", ring(), shown)
    save_scatters(tmp_path / "four.png", ring(), dict(list(panels.items())[:4]))
    a, b, c, four = ((tmp_path / f"{name}.png").read_bytes() for name in ("a", "b", "c", "four"))
    assert a == b != c
    assert read(tmp_path / "a.png").shape[0] > 1.8 * read(tmp_path / "four.png").shape[0]
    assert four != a
