"""ImageNet."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.core.errors import DataError
from benchmark.core.text import read_text
from benchmark.data.layout import MAX_SHOWN, below, resolve
from benchmark.data.sources._pictures import Part, match_names, open_parts
from benchmark.data.sources.base import SourceImages, SourceKind
from benchmark.data.trees import FolderTree

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

SOLUTION = "LOC_val_solution.csv"  # Kaggle's classes of the validation images


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageNet(SourceKind):
    """ILSVRC 2012: train/<wnid>/, and val/<wnid>/ or a flat val/ next to Kaggle's LOC_val_solution.csv."""

    kind: Literal["imagenet"] = "imagenet"
    path: str = "imagenet"  # folder

    path_keys = ("path",)
    serves = ("class",)

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """See SourceKind."""
        return below(resolve(data_root, self.path), ["train/n*", f"val/n* | {SOLUTION}", "val/*"])

    def files(self, data_root: Path) -> list[Path]:
        """Both splits; test/, which Kaggle's archive has, is not read."""
        return [resolve(data_root, self.path) / name for name in ("train", "val", SOLUTION)]

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """The validation images are held out; classes are numbered by their sorted WordNet ids.

        Raises DataError as `open_parts`, and for validation images that LOC_val_solution.csv does not name.
        """
        folder = resolve(data_root, self.path)
        train, val = (FolderTree(folder / name, card.follow_links) for name in ("train", "val"))
        listed = None if val.folders else _solution(folder / SOLUTION, val)
        return open_parts(card, [Part(train, "", False), Part(val, "", True, listed)])


def _solution(path: Path, val: FolderTree) -> dict[str, str]:
    """WordNet id of each validation image, from rows such as "ILSVRC2012_val_00000001,n01751748 111 108 ..."."""
    try:
        rows = [row for row in csv.reader(read_text(path).splitlines()) if row][1:]
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table", str(error), "fetch the file again") from None
    bad = [",".join(row)[:80] for row in rows if len(row) != 2 or not row[1].strip()]
    if bad or not rows:
        raise DataError(
            f"{path}: {len(bad)} bad rows" if bad else f"{path}: it has no rows",
            "\n        ".join(bad[:MAX_SHOWN]),
            "a row is ImageId,PredictionString, whose first word is the WordNet id; fetch the file again",
        )
    wnid: dict[str, str] = {}
    for image, prediction in rows:
        if wnid.setdefault(image, prediction.split()[0]) != prediction.split()[0]:
            raise DataError(f"{path}: {image} has two classes", "the rows contradict each other", "keep one of them")
    named = {PurePosixPath(name).stem: name for name in val.pictures}
    match_names(str(path), set(named), set(wnid))
    return {name: wnid[stem] for stem, name in named.items()}
