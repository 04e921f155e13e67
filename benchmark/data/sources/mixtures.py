"""Two-dimensional mixtures of equal Gaussians whose modes are known exactly: the 2D-ring and the 2D-grid.

The data of Self-Conditioned GAN (Liu et al. 2020), there after VEEGAN and PacGAN: equal weights, equal round Gaussians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from benchmark.core.config import build
from benchmark.core.errors import DataError
from benchmark.data.kinds import KINDS, POINTS, Grid2D, Ring2D
from benchmark.data.opened import SourceImages

if TYPE_CHECKING:
    from PIL import Image

    from benchmark.data.cards import DatasetCard
    from benchmark.data.prepared import Dataset

Points: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float32]]"


class Mixture(NamedTuple):
    """Equal Gaussians with equal weights."""

    centres: np.ndarray  # float64 [M, 2]
    std: float  # of each Gaussian along each axis


def mixture_of(data: DatasetCard | Dataset) -> Mixture:
    """The mixture that a card, a prepared data set or a stand-in draws its points from.

    Mode m of the ring lies at the angle 2 pi m / M; mode m of the grid in column m // n_side, row m % n_side, from the
    lower left. Raises DataError for data that are no points.
    """
    source = data.source
    if isinstance(source, dict):
        if source.get("kind") not in POINTS:
            raise DataError(f"data set {data.name}: its rows are no points of a mixture", mend="use ring2d or grid2d")
        source = build(KINDS[source["kind"]], source, f"data set {data.name}: source")
    if isinstance(source, Ring2D):
        return Mixture(_ring(source), source.std)
    if isinstance(source, Grid2D):
        return Mixture(_grid(source), source.std)
    raise DataError(f"data set {data.name}: its rows are no points of a mixture", mend="use ring2d or grid2d")


def _ring(source: Ring2D) -> np.ndarray:
    """Centres [M, 2] on the circle, counter-clockwise from (radius, 0)."""
    angles = 2 * np.pi * np.arange(source.n_modes) / source.n_modes
    return source.radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _grid(source: Grid2D) -> np.ndarray:
    """Centres [M, 2] of the grid, whose middle is 0."""
    ticks = source.spacing * (np.arange(source.n_side) - (source.n_side - 1) / 2)
    return np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)


def draw_points(mixture: Mixture, n: int, rng: np.random.Generator) -> tuple[Points, np.ndarray]:
    """`n` points: float32 [n, 2], and their modes: int64 [n], uniform and independent."""
    modes = rng.integers(len(mixture.centres), size=n)
    points = mixture.centres[modes] + mixture.std * rng.standard_normal((n, 2))
    return points.astype(np.float32), modes


def open_points(card: DatasetCard) -> SourceImages:
    """A source of points; each split has a random stream of its own, so that one's size does not move the other."""
    source = card.source
    assert isinstance(source, Ring2D | Grid2D)
    mixture = mixture_of(card)
    counts = (source.n_train, source.n_test)
    drawn = [draw_points(mixture, n, np.random.default_rng([source.seed, part])) for part, n in enumerate(counts)]
    names = [f"point/{i}" for i in range(sum(counts))]
    return SourceImages(
        names=names,
        read=_no_picture,
        where=lambda i: names[i],
        is_test=np.repeat([False, True], counts),
        split_rule=f"drawn apart: {counts[0]} points are train, {counts[1]} test",
        labels=np.concatenate([modes for _, modes in drawn]),
        class_names=tuple(f"mode {m}" for m in range(len(mixture.centres))),
        points=np.concatenate([points for points, _ in drawn]),
    )


def _no_picture(row: int) -> Image.Image:
    raise AssertionError(f"row {row} is a point")
