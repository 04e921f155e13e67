"""A folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.layout import below, resolve
from benchmark.data.sources._pictures import open_pictures
from benchmark.data.sources.base import SourceImages, SourceKind
from benchmark.data.trees import open_tree

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Folder(SourceKind):
    """Image files: one sub-folder a class, or flat; train/ and test/ above if any; StyleGAN's dataset.json."""

    kind: Literal["folder"] = "folder"
    path: str  # folder
    expect: tuple[str, ...] = ()  # patterns below `path` that must match a file; "a | b": either

    path_keys = ("path",)
    serves = ("class",)

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """See SourceKind."""
        return below(resolve(data_root, self.path), self.expect or ("",))

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        return open_pictures(card, open_tree(resolve(data_root, self.path), card.follow_links))
