"""Drawn colour shapes; `benchmark/data/drawn_shapes.py` draws them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, added
from benchmark.data.sources.base import Seed, SourceImages, SourceKind

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Shapes(SourceKind):
    """Drawn colour shapes, 32x32 RGB, with a known class and known attributes."""

    kind: Literal["shapes"] = "shapes"
    n_train: Annotated[int, Field(gt=0)] = 6000  # images
    n_test: Annotated[int, Field(gt=0)] = 2000  # images
    seed: Seed = 0  # of the drawing
    n_unseen: Annotated[int, Field(ge=0, lt=160)] = added(0)  # of the 160 kinds of image (class and attributes),
    # drawn with the seed, that training images never show; the parts of test are then `seen` and `unseen`

    serves = ("class", "attributes")
    known_attributes = ("red", "large", "filled", "dark_background", "frame")

    def parts(self) -> tuple[str, ...]:
        """Held-out images of kinds that training images show, and of other kinds; none where all are shown."""
        return ("seen", "unseen") if self.n_unseen else ()

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        import numpy as np

        from benchmark.data import drawn_shapes

        kinds = [(k, bits) for k in range(len(drawn_shapes.CLASSES)) for bits in product((0, 1), repeat=5)]
        drawn = np.random.default_rng(self.seed).permutation(len(kinds))[: self.n_unseen]
        unseen = {kinds[k] for k in drawn.tolist()}
        numbers: list[int] = []  # of the images, which decide what they show
        i = 0
        while len(numbers) < self.n_train + self.n_test:
            if len(numbers) >= self.n_train or drawn_shapes.truth(self.seed, i) not in unseen:
                numbers.append(i)
            i += 1
        truths = [drawn_shapes.truth(self.seed, i) for i in numbers]
        is_test = np.arange(len(numbers)) >= self.n_train
        is_unseen = np.array([found in unseen for found in truths])
        rule = f", of any of 160 kinds; {self.n_unseen} kinds are in no train" if self.n_unseen else ""
        return SourceImages(
            names=[f"shape/{i}" for i in numbers],
            read=lambda row: drawn_shapes.draw(self.seed, numbers[row]),
            where=lambda row: f"shape {numbers[row]}",
            is_test=is_test,
            split_rule=f"the first {self.n_train} drawn are train, the next {self.n_test} test{rule}",
            parts={"seen": is_test & ~is_unseen, "unseen": is_test & is_unseen} if self.n_unseen else {},
            labels=np.array([label for label, _ in truths], dtype=np.int64),
            class_names=drawn_shapes.CLASSES,
            attributes=np.array([bits for _, bits in truths], dtype=np.uint8),
            attribute_names=self.known_attributes,
        )
