"""STL-10."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.layout import check_sizes, resolve
from benchmark.data.sources.base import SourceImages, SourceKind

if TYPE_CHECKING:
    from PIL import Image

    from benchmark.data.cards import DatasetCard

# Images of 3 x 96 x 96 bytes in each of the binary files.
SIDE = 96
PICTURES = {"unlabeled": 100_000, "train": 5_000, "test": 8_000}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class STL10(SourceKind):
    """STL-10's binary files: unlabeled_X.bin and train_X.bin to train on, test_X.bin held out."""

    kind: Literal["stl10"] = "stl10"
    path: str = "stl10_binary"  # folder
    # files that are trained on
    train_parts: Annotated[tuple[Literal["unlabeled", "train"], ...], Field(min_length=1)] = ("unlabeled",)

    path_keys = ("path",)

    def files(self, data_root: Path) -> list[Path]:
        """See SourceKind."""
        return list(self.sizes(data_root))

    def sizes(self, data_root: Path) -> dict[Path, int | None]:
        """The binary files that are read, the test split last, with their sizes in bytes."""
        folder = resolve(data_root, self.path)
        return {folder / f"{part}_X.bin": PICTURES[part] * 3 * SIDE**2 for part in (*self.train_parts, "test")}

    def check(self, card: DatasetCard, data_root: Path) -> None:
        """See SourceKind."""
        check_sizes(self.sizes(data_root), f"fetch it again from {card.homepage}")

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """The images, 96x96 RGB, without labels."""
        import numpy as np
        from PIL import Image

        files = self.files(data_root)
        arrays = [np.memmap(path, np.uint8, "r").reshape(-1, 3, SIDE, SIDE) for path in files]
        rows = [(k, i) for k, array in enumerate(arrays) for i in range(len(array))]

        def read(i: int) -> Image.Image:
            k, row = rows[i]
            return Image.fromarray(arrays[k][row].transpose(2, 1, 0))  # stored as [C, column, row]

        names = [f"{files[k].stem}/{row}" for k, row in rows]
        return SourceImages(
            names=names,
            read=read,
            where=lambda i: f"{files[rows[i][0]]}, image {rows[i][1]}",
            is_test=np.array([k == len(files) - 1 for k, _ in rows], dtype=bool),
            split_rule=f"official: {' and '.join(self.train_parts)} is train, test is test",
        )
