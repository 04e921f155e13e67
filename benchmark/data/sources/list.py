"""Images that text files list."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.core.errors import DataError
from benchmark.data.layout import MAX_SHOWN, LinkGuard, resolve
from benchmark.data.lists import read_list
from benchmark.data.sources.base import Count, SourceImages, SourceKind
from benchmark.data.trees import open_picture

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Listed(SourceKind):
    """Images that two text files list, a line an image: its path below `path`, a blank, its class number."""

    kind: Literal["list"] = "list"
    path: str  # folder of the images
    train_list: str  # text file
    test_list: str  # text file
    n_train: Count | None = None  # lines of the whole train list, where it is known

    path_keys = ("path", "train_list", "test_list")
    serves = ("class",)

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """The folder and the lists; `open` looks for each image."""
        return [str(resolve(data_root, path)) for path in (self.path, self.train_list, self.test_list)]

    def files(self, data_root: Path) -> list[Path]:
        """The lists and the images that they name."""
        lists = [resolve(data_root, path) for path in (self.train_list, self.test_list)]
        folder = resolve(data_root, self.path)
        return [*lists, *(folder / name for path in lists if path.exists() for name, _ in read_list(path))]

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """Raises DataError naming images that are not there, and classes that a split lacks."""
        import numpy as np

        folder = resolve(data_root, self.path)
        train, test = (read_list(resolve(data_root, path)) for path in (self.train_list, self.test_list))
        if self.n_train is not None and len(train) != self.n_train:
            raise DataError(
                f"{resolve(data_root, self.train_list)}: it lists {len(train):,} images instead of {self.n_train:,}",
                "it is not the published list, or not the whole one",
                f"fetch it again from {card.homepage}, or change source.n_train",
            )
        both = sorted({name for name, _ in train} & {name for name, _ in test})
        if both:
            raise DataError(
                f"data set {card.name}: {len(both)} images are in both lists",
                "\n        ".join(both[:MAX_SHOWN]),
                "keep each in one list: a method must not be scored on what it was trained on",
            )
        rows = [*train, *test]
        guard = LinkGuard(folder, card.follow_links)
        for name, _ in rows:
            guard.check(str(folder / name), (folder / name).is_symlink())
        lost = [name for name, _ in rows if not (folder / name).is_file()]
        if lost:
            raise DataError(
                f"data set {card.name}: {len(lost)} listed images are missing in {folder}",
                "\n        ".join(lost[:MAX_SHOWN]),
                "put them there, or correct the list",
            )
        return SourceImages(
            names=[name for name, _ in rows],
            read=lambda i: open_picture(folder / rows[i][0]),
            where=lambda i: str(folder / rows[i][0]),
            is_test=np.repeat([False, True], (len(train), len(test))),
            split_rule=f"listed: {PurePosixPath(self.train_list).name} is train, "
            f"{PurePosixPath(self.test_list).name} is test",
            labels=np.array([label for _, label in rows], dtype=np.int64),
            class_names=_class_names(card, train, test),
        )


def _class_names(card: DatasetCard, train: list[tuple[str, int]], test: list[tuple[str, int]]) -> tuple[str, ...]:
    """A name for each class number: its folder where every class has one of its own, else the number."""
    n_classes = 1 + max(label for _, label in (*train, *test))
    for part, rows in (("train", train), ("test", test)):
        absent = sorted(set(range(n_classes)) - {label for _, label in rows})
        if absent and card.conditioning == "class":
            raise DataError(
                f"data set {card.name}: the {part} list lacks classes",
                ", ".join(map(str, absent[:MAX_SHOWN])),
                "both lists need an image of every class number from 0",
            )
    folders: dict[int, set[str]] = {}
    for name, label in (*train, *test):
        folders.setdefault(label, set()).add(PurePosixPath(name).parent.name)
    names = {next(iter(found)) for found in folders.values() if len(found) == 1}
    if len(names) == n_classes:
        return tuple(next(iter(folders[label])) for label in range(n_classes))
    return tuple(map(str, range(n_classes)))
