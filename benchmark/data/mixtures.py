"""Two-dimensional mixtures of equal Gaussians whose modes are known exactly, and points drawn from them.

The data of Self-Conditioned GAN (Liu et al. 2020), there after VEEGAN and PacGAN: equal weights, equal round Gaussians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from benchmark.data.sources.base import SourceImages

if TYPE_CHECKING:
    from PIL import Image

Points: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float32]]"


class Mixture(NamedTuple):
    """Equal Gaussians with equal weights."""

    centres: np.ndarray  # float64 [M, 2]
    std: float  # of each Gaussian along each axis


def draw_points(mixture: Mixture, n: int, rng: np.random.Generator) -> tuple[Points, np.ndarray]:
    """`n` points: float32 [n, 2], and their modes: int64 [n], uniform and independent."""
    modes = rng.integers(len(mixture.centres), size=n)
    points = mixture.centres[modes] + mixture.std * rng.standard_normal((n, 2))
    return points.astype(np.float32), modes


def open_mixture(mixture: Mixture, counts: tuple[int, int], seed: int) -> SourceImages:
    """A source of points; each split has a random stream of its own, so that one's size does not move the other.

    counts: train and test points.
    """
    drawn = [draw_points(mixture, n, np.random.default_rng([seed, part])) for part, n in enumerate(counts)]
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
