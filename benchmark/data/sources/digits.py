"""scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Seed, Share, SourceImages, SourceKind

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Digits(SourceKind):
    """scikit-learn's 1,797 handwritten digits, 8x8 grey; they come with the library."""

    kind: Literal["digits"] = "digits"
    test_share: Share = 1 / 3  # share of each class that is held out  [ours: 1,797 images are few]
    seed: Seed = 0  # of the stratified split

    serves = ("class",)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        import numpy as np
        from PIL import Image
        from sklearn.datasets import load_digits

        bunch = load_digits()
        arrays = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], from 0..16
        labels = bunch.target.astype(np.int64)
        is_test = np.zeros(len(labels), dtype=bool)
        rng = np.random.default_rng(self.seed)
        for k in range(10):
            rows = rng.permutation(np.flatnonzero(labels == k))
            is_test[rows[: round(self.test_share * len(rows))]] = True
        return SourceImages(
            names=[f"digit/{i}" for i in range(len(labels))],
            read=lambda i: Image.fromarray(arrays[i]),
            where=lambda i: f"digit {i}",
            is_test=is_test,
            split_rule=f"stratified by class, seed {self.seed}, test share {self.test_share:.4g}",
            labels=labels,
            class_names=tuple(str(k) for k in range(10)),
        )
