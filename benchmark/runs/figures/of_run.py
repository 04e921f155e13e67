"""The figures that a run leaves in its folder: samples, real images to compare, the method's own, the loss curves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.data.stream import images_to_float
from benchmark.evaluation.point_plots import save_scatter
from benchmark.runs.figures.curves import save_curves
from benchmark.runs.figures.pictures import grid_of_rows, save_embedding, save_grid
from benchmark.runs.sample_files import samples_path, save_small_grid, save_small_real, save_small_scatter
from benchmark.training.measurements import Grid, Picture
from benchmark.training.method import Method
from benchmark.training.progress import LOG

MOST_ROWS = 20  # of a grid of samples
SCATTERED = 5000  # points of a scatter plot


def save_pictures(
    method: Method, G: nn.Module, data: Dataset, folder: Path, results: Path, run: str, shown: Dataset | None = None
) -> None:
    """The run folder's figures: real and generated samples by condition, the method's own, the loss curves.

    The first rows and columns of both grids are also written where the run's record goes, a few KB each.
    data: what the method learned from. shown: what it is conditioned on, where that is another dataset.
    """
    shown = shown or data
    torch.manual_seed(derive_seed(0x91C5))
    if data.is_points:
        fake = method.sample(G, SCATTERED).images.cpu().numpy()
        real = data.train.images[:SCATTERED]
        save_scatter(folder / "samples.png", {"real": real, "generated": fake})
        save_small_scatter(samples_path(results, run), real, fake)
        save_small_real(results, data, None)
    else:
        samples, real_images = sample_grid(method, G, shown), real_grid(shown)
        save_grid(folder / "samples.png", samples)
        save_grid(folder / "real.png", real_images)
        save_small_grid(samples_path(results, run), samples)
        save_small_real(results, shown, real_images)
    save_each(method.pictures(G, data), folder)
    save_curves(folder / "curves.png", folder / LOG)


def save_each(pictures: Iterable[Picture], folder: Path) -> None:
    """Grids and embeddings under their names, which may name folders: `edits/Smiling` is `edits/Smiling.png`."""
    for name, picture in pictures:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, Grid):
            save_grid(path, picture)
        else:
            save_embedding(path, picture)


def sample_grid(method: Method, G: nn.Module, data: Dataset, columns: int = 10) -> Grid:
    """Uncurated samples: one row a class, cluster or instance; for attributes one row for each on and one all off."""
    if method.conditioning == "attributes":
        on = torch.cat([torch.eye(data.n_labels, dtype=torch.int64), torch.zeros(1, data.n_labels, dtype=torch.int64)])
        rows, names = on[:, None].expand(-1, columns, -1), [*data.attribute_names, "none"]
    elif method.conditioning == "none":
        images = method.sample(G, 8 * columns).images
        return Grid(images.unflatten(0, (8, columns)), [""] * 8, [""] * columns)
    else:
        numbers, names = shown_rows(method, data)
        if method.conditioning in ("instance", "latent"):
            return instance_grid(method, G, data, numbers, names, columns)
        rows = torch.tensor(numbers)[:, None].expand(-1, columns)
    conditions = rows.flatten(0, 1)
    images = torch.cat([method.sample(G, len(part), part).images for part in conditions.split(250)])
    return Grid(images.unflatten(0, (len(rows), columns)), names, [""] * columns)


def instance_grid(
    method: Method, G: nn.Module, data: Dataset, numbers: list[int], names: list[str], columns: int
) -> Grid:
    """Training images of these numbers, the bank's, each left of its samples."""
    conditions = torch.tensor(numbers)[:, None].expand(-1, columns).flatten()
    images = method.sample(G, len(conditions), conditions).images.cpu().unflatten(0, (len(numbers), columns))
    real = images_to_float(data.train.images[numbers]).expand(-1, images.shape[2], -1, -1)  # grey next to colour
    return Grid(torch.cat([real[:, None], images], 1), names, ["asked", *[""] * columns])


def shown_rows(method: Method, data: Dataset) -> tuple[list[int], list[str]]:
    """The classes, clusters or training images that a grid shows, at most `MOST_ROWS`, and their names."""
    if method.conditioning == "class":
        numbers = spread(data.n_classes)
        return numbers, [data.class_names[k] for k in numbers]
    if method.conditioning == "cluster":
        numbers = spread(method.n_labels)
        return numbers, [f"cluster {k}" for k in numbers]
    if data.train.labels is None:
        return spread(len(data.train), 10), [""] * min(10, len(data.train))
    kinds = spread(data.n_classes)
    first = {k: np.flatnonzero(data.train.labels == k)[:1] for k in kinds}  # stacked data need not have every class
    return [int(i[0]) for i in first.values() if len(i)], [data.class_names[k] for k, i in first.items() if len(i)]


def spread(n: int, most: int = MOST_ROWS) -> list[int]:
    """0..n-1, or `most` of them at equal distances."""
    return [i * n // min(n, most) for i in range(min(n, most))]


def real_grid(data: Dataset, columns: int = 10) -> Grid:
    """Training images to compare with `sample_grid`: one row a class, else eight rows as they come."""
    labels = data.train.labels
    if labels is None or data.is_stacked:  # 1,000 classes of a few images each say nothing in rows
        rows = {" " * i: np.arange(i * columns, min((i + 1) * columns, len(data.train))) for i in range(8)}
    else:
        rows = {data.class_names[k]: np.flatnonzero(labels == k)[:columns] for k in spread(data.n_classes)}
    images = {name: images_to_float(data.train.images[index]) for name, index in rows.items() if len(index)}
    return grid_of_rows(images)
