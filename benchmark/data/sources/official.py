"""Published data sets in the layout of their official archives: STL-10, CelebA-HQ, ImageNet, and lists of pictures."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.data.attributes import MAX_SHOWN, read_attributes
from benchmark.data.cards import DatasetCard
from benchmark.data.kinds import STL10, CelebAHQ, ImageNet, Listed
from benchmark.data.layout import (
    CELEBA_HQ_ATTRIBUTES,
    CELEBA_HQ_PICTURES,
    IMAGENET_SOLUTION,
    STL10_SIDE,
    resolve,
    stl10_files,
)
from benchmark.data.lists import read_list
from benchmark.data.opened import SourceImages
from benchmark.data.sources.pictures import Part, match_names, open_parts, with_attributes
from benchmark.data.trees import FolderTree, open_picture


def open_stl10(source: STL10, data_root: Path) -> SourceImages:
    """STL-10's pictures, 96x96 RGB, without labels."""
    files = list(stl10_files(source, data_root))  # the last one is the test split
    arrays = [np.memmap(path, np.uint8, "r").reshape(-1, 3, STL10_SIDE, STL10_SIDE) for path in files]
    rows = [(k, i) for k, array in enumerate(arrays) for i in range(len(array))]

    def read(i: int) -> Image.Image:
        k, row = rows[i]
        return Image.fromarray(arrays[k][row].transpose(2, 1, 0))  # stored as [C, column, row]

    names = [f"{files[k].stem}/{row}" for k, row in rows]
    return SourceImages(
        names=names,
        read=read,
        where=lambda i: f"{files[rows[i][0]]}, picture {rows[i][1]}",
        is_test=np.array([k == len(files) - 1 for k, _ in rows], dtype=bool),
        split_rule=f"official: {' and '.join(source.train_parts)} is train, test is test",
    )


def open_celeba_hq(card: DatasetCard, source: CelebAHQ, data_root: Path) -> SourceImages:
    """CelebA-HQ with a seeded random split of its sorted file names; attributes where the card serves them."""
    folder = resolve(data_root, source.path)
    tree = FolderTree(folder / CELEBA_HQ_PICTURES)
    if source.n_test >= len(tree.pictures):
        raise DataError(
            f"data set {card.name}: {len(tree.pictures):,} pictures, of which {source.n_test:,} are to be held out",
            "none is left to train on",
            "unpack all 30,000 pictures, or lower source.n_test",
        )
    if card.conditioning == "attributes":
        names = {name: name for name in tree.pictures}
        opened = with_attributes(tree, names, read_attributes(folder / CELEBA_HQ_ATTRIBUTES))
    else:
        opened = SourceImages(
            names=tree.pictures,
            read=lambda i: tree.open(tree.pictures[i]),
            where=lambda i: str(tree.where / tree.pictures[i]),
            ignored=tree.ignored,
        )
    permutation = np.random.default_rng(source.seed).permutation(tree.pictures)
    held_out = set(permutation[: source.n_test].tolist())
    opened.is_test = np.array([name in held_out for name in opened.names], dtype=bool)
    opened.split_rule = f"{source.n_test} drawn at random, seed {source.seed}, are test"
    return opened


def open_imagenet(card: DatasetCard, source: ImageNet, data_root: Path) -> SourceImages:
    """ImageNet with its validation pictures held out; classes are numbered by their sorted WordNet ids.

    Raises DataError as `open_folder`, and for validation pictures that LOC_val_solution.csv does not name.
    """
    folder = resolve(data_root, source.path)
    train, val = FolderTree(folder / "train"), FolderTree(folder / "val")
    listed = None if val.folders else _solution(folder / IMAGENET_SOLUTION, val)
    return open_parts(card, [Part(train, "", False), Part(val, "", True, listed)])


def _solution(path: Path, val: FolderTree) -> dict[str, str]:
    """WordNet id of each validation picture, from rows such as "ILSVRC2012_val_00000001,n01751748 111 108 ..."."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row][1:]
    bad = [",".join(row)[:80] for row in rows if len(row) != 2 or not row[1].strip()]
    if bad or not rows:
        raise DataError(
            f"{path}: {len(bad)} bad rows" if bad else f"{path}: it has no rows",
            "\n        ".join(bad[:MAX_SHOWN]),
            "a row is ImageId,PredictionString, whose first word is the WordNet id; fetch the file again",
        )
    wnid = {image: prediction.split()[0] for image, prediction in rows}
    named = {PurePosixPath(name).stem: name for name in val.pictures}
    match_names(str(path), set(named), set(wnid))
    return {name: wnid[stem] for stem, name in named.items()}


def open_listed(card: DatasetCard, source: Listed, data_root: Path) -> SourceImages:
    """Pictures of two lists. Raises DataError naming pictures that are not there, and classes that a split lacks."""
    folder = resolve(data_root, source.path)
    train, test = (read_list(resolve(data_root, path)) for path in (source.train_list, source.test_list))
    if source.n_train is not None and len(train) != source.n_train:
        raise DataError(
            f"{resolve(data_root, source.train_list)}: it lists {len(train):,} pictures instead of {source.n_train:,}",
            "it is not the published list, or not the whole one",
            f"fetch it again from {card.homepage}, or change source.n_train",
        )
    rows = [*train, *test]
    lost = [name for name, _ in rows if not (folder / name).is_file()]
    if lost:
        raise DataError(
            f"data set {card.name}: {len(lost)} listed pictures are missing in {folder}",
            "\n        ".join(lost[:MAX_SHOWN]),
            "put them there, or correct the list",
        )
    return SourceImages(
        names=[name for name, _ in rows],
        read=lambda i: open_picture(folder / rows[i][0]),
        where=lambda i: str(folder / rows[i][0]),
        is_test=np.repeat([False, True], (len(train), len(test))),
        split_rule=f"listed: {PurePosixPath(source.train_list).name} is train, "
        f"{PurePosixPath(source.test_list).name} is test",
        labels=np.array([label for _, label in rows], dtype=np.int64),
        class_names=_listed_classes(card, train, test),
    )


def _listed_classes(card: DatasetCard, train: list[tuple[str, int]], test: list[tuple[str, int]]) -> tuple[str, ...]:
    """A name for each class number: its folder where every class has one of its own, else the number."""
    n_classes = 1 + max(label for _, label in (*train, *test))
    for part, rows in (("train", train), ("test", test)):
        absent = sorted(set(range(n_classes)) - {label for _, label in rows})
        if absent and card.conditioning == "class":
            raise DataError(
                f"data set {card.name}: the {part} list lacks classes",
                ", ".join(map(str, absent[:MAX_SHOWN])),
                "both lists need a picture of every class number from 0",
            )
    folders: dict[int, set[str]] = {}
    for name, label in (*train, *test):
        folders.setdefault(label, set()).add(PurePosixPath(name).parent.name)
    names = {next(iter(found)) for found in folders.values() if len(found) == 1}
    if len(names) == n_classes:
        return tuple(next(iter(folders[label])) for label in range(n_classes))
    return tuple(map(str, range(n_classes)))
