"""Drawn colour shapes; `benchmark/data/drawn_shapes.py` draws them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Seed, SourceImages, SourceKind

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Shapes(SourceKind):
    """Drawn colour shapes, 32x32 RGB, with a known class and known attributes."""

    kind: Literal["shapes"] = "shapes"
    n_train: Annotated[int, Field(gt=0)] = 6000  # pictures
    n_test: Annotated[int, Field(gt=0)] = 2000  # pictures
    seed: Seed = 0  # of the drawing

    serves = ("class", "attributes")
    known_attributes = ("red", "large", "filled", "dark_background", "frame")

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        import numpy as np

        from benchmark.data import drawn_shapes

        n = self.n_train + self.n_test
        truths = [drawn_shapes.truth(self.seed, i) for i in range(n)]
        return SourceImages(
            names=[f"shape/{i}" for i in range(n)],
            read=lambda i: drawn_shapes.draw(self.seed, i),
            where=lambda i: f"shape {i}",
            is_test=np.arange(n) >= self.n_train,
            split_rule=f"the first {self.n_train} drawn are train, the next {self.n_test} test",
            labels=np.array([label for label, _ in truths], dtype=np.int64),
            class_names=drawn_shapes.CLASSES,
            attributes=np.array([bits for _, bits in truths], dtype=np.uint8),
            attribute_names=self.known_attributes,
        )
