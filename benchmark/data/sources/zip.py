"""Zip files of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.layout import resolve
from benchmark.data.sources._pictures import open_pictures
from benchmark.data.sources.base import SourceImages, SourceKind
from benchmark.data.trees import open_tree

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Zip(SourceKind):
    """What a folder may hold, inside a zip file; images are read from it directly, nothing is unpacked."""

    kind: Literal["zip"] = "zip"
    path: str  # zip file
    test_path: str | None = None  # second zip file that holds the test split

    path_keys = ("path", "test_path")
    serves = ("class",)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        test = open_tree(resolve(data_root, self.test_path)) if self.test_path else None
        return open_pictures(card, open_tree(resolve(data_root, self.path)), test)
