"""The 2D-grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Count, Positive, Seed, SourceImages, SourceKind

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard
    from benchmark.data.mixtures import Mixture


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Grid2D(SourceKind):
    """2-D points of equal Gaussians on a square grid about 0 (Self-Conditioned GAN, 2D-grid)."""

    kind: Literal["grid2d"] = "grid2d"
    n_side: Annotated[int, Field(ge=2)] = 5  # Gaussians along each side  [P] [C]
    spacing: Positive = 2.0  # between neighbouring centres  [P] [C]
    std: Positive = 0.05  # of each Gaussian along each axis  [P] [C]
    n_train: Count = 100_000  # points  [P]
    n_test: Count = 10_000  # points  [ours: the paper holds none out]
    seed: Seed = 0  # of the drawing

    serves = ("class",)
    is_points = True
    has_drawn_labels = True

    def mixture(self) -> Mixture:
        """Mode m lies in column m // n_side, row m % n_side, from the lower left; the grid's middle is 0."""
        import numpy as np

        from benchmark.data.mixtures import Mixture

        ticks = self.spacing * (np.arange(self.n_side) - (self.n_side - 1) / 2)
        return Mixture(np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2), self.std)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        from benchmark.data.mixtures import open_mixture

        return open_mixture(self.mixture(), (self.n_train, self.n_test), self.seed)
