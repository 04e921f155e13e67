"""CelebA."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, added
from benchmark.core.errors import DataError
from benchmark.data.attributes import read_attributes, read_partition
from benchmark.data.classes import ClassesFrom, subset, with_classes
from benchmark.data.layout import MAX_SHOWN, below, find, missing_files, resolve
from benchmark.data.sources._pictures import with_attributes
from benchmark.data.sources.base import SourceImages, SourceKind
from benchmark.data.trees import open_tree

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

PICTURES = "img_align_celeba/*.jpg | img_align_celeba.zip"
ATTRIBUTE_TABLE = "list_attr_celeba.txt | list_attr_celeba.csv"
PARTITION_TABLE = "list_eval_partition.txt | list_eval_partition.csv"

Partition = Literal[0, 1, 2]  # of list_eval_partition.txt: train, validation, test

# In the order of list_attr_celeba.txt.
# fmt: off
CELEBA_ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)
# fmt: on


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CelebA(SourceKind):
    """CelebA in its official layout: img_align_celeba/ (or .zip), list_attr_celeba.txt, list_eval_partition.txt."""

    kind: Literal["celeba"] = "celeba"
    path: str = "celeba"  # folder
    train_partitions: tuple[Partition, ...] = (0, 1)  # validation joins train: nothing is tuned on it here  [ours]
    test_partitions: tuple[Partition, ...] = (2,)  # those of the held-out images
    classes_from: ClassesFrom | None = added(None)  # classes made of attributes, instead of or with these

    path_keys = ("path",)
    serves = ("attributes",)
    known_attributes = CELEBA_ATTRIBUTES

    def split_note(self) -> str:
        """See SourceKind."""
        if self.classes_from is not None or (self.train_partitions, self.test_partitions) != ((0, 1), (2,)):
            return ""
        return (
            "trained on and compared with CelebA's training and validation partitions, 182,637 of 202,599 images; "
            "InfoSCC-GAN's authors used all of them (data.split=all)"
        )

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """See SourceKind."""
        return below(resolve(data_root, self.path), (PICTURES, ATTRIBUTE_TABLE, PARTITION_TABLE))

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """The official split. Attributes -1/1 become 0/1, and classes where `classes_from` names some."""
        import numpy as np

        folder = resolve(data_root, self.path)
        attributes, partitions = (_find(card, folder, table) for table in (ATTRIBUTE_TABLE, PARTITION_TABLE))
        pictures = _find(card, folder, PICTURES)
        tree = open_tree(pictures if pictures.suffix == ".zip" else pictures.parent, card.follow_links)
        names = {PurePosixPath(name).name: name for name in tree.pictures}
        if len(names) < len(tree.pictures):
            raise DataError(f"{pictures}: images of the same name", "the tables go by name", "keep one of each name")
        opened = with_attributes(tree, names, read_attributes(attributes))
        partition = read_partition(partitions)
        lost = [name for name in names if name not in partition]
        if lost:
            raise DataError(f"{partitions}: no row for", "\n        ".join(lost[:MAX_SHOWN]), "fetch the file again")
        part = np.array([partition[PurePosixPath(name).name] for name in opened.names])
        used = np.flatnonzero(np.isin(part, [*self.train_partitions, *self.test_partitions]))
        kept = subset(opened, used)
        kept.is_test = np.isin(part[used], self.test_partitions)
        kept.split_rule = f"official partitions: train {self.train_partitions}, test {self.test_partitions}"
        return kept if self.classes_from is None else with_classes(card, kept, self.classes_from)


def _find(card: DatasetCard, folder: Path, pattern: str) -> Path:
    for choice in pattern.split(" | "):
        path = find(str(folder / choice))
        if path is not None:
            return path
    raise missing_files(card, [str(folder / pattern)])
