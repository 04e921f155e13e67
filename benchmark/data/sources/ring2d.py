"""The 2D-ring."""

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
class Ring2D(SourceKind):
    """2-D points of equal Gaussians on a circle (Self-Conditioned GAN, 2D-ring)."""

    kind: Literal["ring2d"] = "ring2d"
    n_modes: Annotated[int, Field(ge=2)] = 8  # Gaussians  [P]
    radius: Positive = 1.0  # of the circle  [P]; the authors' code has 2
    std: Positive = 0.01  # of each Gaussian along each axis  [P] [C]
    n_train: Count = 100_000  # points  [P]
    n_test: Count = 10_000  # points  [ours: the paper holds none out]
    seed: Seed = 0  # of the drawing

    serves = ("class",)
    is_points = True
    has_drawn_labels = True

    def mixture(self) -> Mixture:
        """Mode m of the M lies at the angle 2 pi m / M, counter-clockwise from (radius, 0)."""
        import numpy as np

        from benchmark.data.mixtures import Mixture

        angles = 2 * np.pi * np.arange(self.n_modes) / self.n_modes
        return Mixture(self.radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), self.std)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        from benchmark.data.mixtures import open_mixture

        return open_mixture(self.mixture(), (self.n_train, self.n_test), self.seed)
