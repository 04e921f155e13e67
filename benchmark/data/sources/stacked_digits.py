"""Stacked digits of scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Count, Seed, SourceImages, SourceKind
from benchmark.data.sources.digits import Digits

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StackedDigits(SourceKind):
    """Stacked-MNIST's triples of scikit-learn's digits, with their split: no train triple shows a held-out digit."""

    kind: Literal["stacked_digits"] = "stacked_digits"
    n_train: Count = 6000  # triples  [ours]
    n_test: Count = 2000  # triples  [ours]
    seed: Seed = 0  # of the triples

    draw_keys = ("n_train", "n_test", "seed")
    serves = ("class",)
    is_stacked = True
    has_drawn_labels = True

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        from benchmark.data.sources._stacked import open_stacked

        return open_stacked(Digits().open(card, data_root), (self.n_train, self.n_test), self.seed)
