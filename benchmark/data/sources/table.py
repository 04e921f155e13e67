"""Images with a table of attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, added
from benchmark.data.attributes import read_attributes
from benchmark.data.classes import ClassesFrom, with_classes
from benchmark.data.layout import resolve
from benchmark.data.sources._pictures import with_attributes
from benchmark.data.sources.base import SourceImages, SourceKind
from benchmark.data.trees import open_tree

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Table(SourceKind):
    """Image files and a table of binary attributes: first column the file's name, the others 0/1 or -1/1."""

    kind: Literal["table"] = "table"
    path: str  # folder or zip file of the images
    table: str  # CSV file, or TXT file in CelebA's form
    classes_from: ClassesFrom | None = added(None)  # classes made of attributes, instead of or with these

    path_keys = ("path", "table")
    serves = ("attributes",)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """Every image with its attributes, or those of `classes_from` alone."""
        tree = open_tree(resolve(data_root, self.path), card.follow_links)
        table = read_attributes(resolve(data_root, self.table))
        names = {name: name for name in tree.pictures}  # name in the table -> name in the tree
        top = tree.children()
        if len(top) == 1 and not any(file.startswith(f"{top[0]}/") for file in table.files):
            names = {name.removeprefix(f"{top[0]}/"): name for name in tree.pictures}  # a folder zipped as a whole
        opened = with_attributes(tree, names, table)
        return opened if self.classes_from is None else with_classes(card, opened, self.classes_from)
