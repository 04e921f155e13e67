"""Stacked-MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Count, Seed, SourceImages, SourceKind
from benchmark.data.sources.torchvision import TorchVision

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

MNIST = TorchVision(dataset="MNIST")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StackedMNIST(SourceKind):
    """Random triples of MNIST digits as the channels of an image (Stacked-MNIST); train of train, test of test."""

    kind: Literal["stacked_mnist"] = "stacked_mnist"
    n_train: Count = 100_000  # triples  [P: Self-Conditioned GAN, whose code draws them anew, unseeded, each run]
    n_test: Count = 10_000  # triples  [ours]
    seed: Seed = 0  # of the triples

    draw_keys = ("n_train", "n_test", "seed")
    serves = ("class",)
    is_stacked = True
    has_drawn_labels = True

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """See SourceKind."""
        return MNIST.required(card, data_root)

    def files(self, data_root: Path) -> list[Path]:
        """See SourceKind."""
        return MNIST.files(data_root)

    def check(self, card: DatasetCard, data_root: Path) -> None:
        """See SourceKind."""
        MNIST.check(card, data_root)

    def download(self, card: DatasetCard, data_root: Path) -> None:
        """See SourceKind."""
        MNIST.download(card, data_root)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        from benchmark.data.sources._stacked import open_stacked

        return open_stacked(MNIST.open(card, data_root), (self.n_train, self.n_test), self.seed)
