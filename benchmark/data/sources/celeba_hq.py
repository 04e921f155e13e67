"""CelebA-HQ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, added
from benchmark.core.errors import DataError
from benchmark.data.attributes import read_attributes
from benchmark.data.classes import ClassesFrom, with_classes
from benchmark.data.layout import below, resolve
from benchmark.data.sources._pictures import with_attributes
from benchmark.data.sources.base import Count, Seed, SourceImages, SourceKind
from benchmark.data.trees import FolderTree

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

PICTURES = "CelebA-HQ-img"
ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CelebAHQ(SourceKind):
    """CelebA-HQ as CelebAMask-HQ holds it: CelebA-HQ-img/ and, for attributes, CelebAMask-HQ-attribute-anno.txt."""

    kind: Literal["celeba_hq"] = "celeba_hq"
    path: str = "CelebAMask-HQ"  # folder
    n_test: Count = 3000  # images held out at random, of 30,000  [P: LT-GAN]
    seed: Seed = 0  # of the split  [ours: which images LT-GAN held out is not published]
    classes_from: ClassesFrom | None = added(None)  # classes made of attributes, instead of or with these

    path_keys = ("path",)
    serves = ("attributes",)

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """See SourceKind."""
        attributes = [ATTRIBUTES] if self._needs_attributes(card) else []
        return below(resolve(data_root, self.path), [f"{PICTURES}/*.jpg", *attributes])

    def files(self, data_root: Path) -> list[Path]:
        """The images and their attributes; the masks with them are not read."""
        return [resolve(data_root, self.path) / name for name in (PICTURES, ATTRIBUTES)]

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """A seeded random split of the sorted file names; attributes, or classes of them, where they are served."""
        import numpy as np

        folder = resolve(data_root, self.path)
        tree = FolderTree(folder / PICTURES, card.follow_links)
        if self.n_test >= len(tree.pictures):
            raise DataError(
                f"data set {card.name}: {len(tree.pictures):,} images, of which {self.n_test:,} are to be held out",
                "none is left to train on",
                "unpack all 30,000 images, or lower source.n_test",
            )
        if self._needs_attributes(card):
            names = {name: name for name in tree.pictures}
            opened = with_attributes(tree, names, read_attributes(folder / ATTRIBUTES))
        else:
            opened = SourceImages(
                names=tree.pictures,
                read=lambda i: tree.open(tree.pictures[i]),
                where=lambda i: str(tree.where / tree.pictures[i]),
                ignored=tree.ignored,
            )
        permutation = np.random.default_rng(self.seed).permutation(tree.pictures)
        held_out = set(permutation[: self.n_test].tolist())
        opened.is_test = np.array([name in held_out for name in opened.names], dtype=bool)
        opened.split_rule = f"{self.n_test} drawn at random, seed {self.seed}, are test"
        return opened if self.classes_from is None else with_classes(card, opened, self.classes_from)

    def _needs_attributes(self, card: DatasetCard) -> bool:
        return card.conditioning == "attributes" or self.classes_from is not None
