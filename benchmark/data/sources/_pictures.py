"""Sources made of image files: class folders, StyleGAN's dataset.json, tables of attributes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError
from benchmark.data.attributes import AttributeTable
from benchmark.data.layout import MAX_SHOWN
from benchmark.data.sources.base import SourceImages
from benchmark.data.stylegan import UNLABELLED, label_lists, read_labels
from benchmark.data.trees import DATASET_JSON, Tree, base, own_split

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass
class Part:
    """A folder of a tree that holds one split, or all images."""

    tree: Tree
    below: str  # the folder, ending with "/"; "" is the root
    is_test: bool | None  # None: no split of its own
    listed: dict[str, str] | None = None  # class of each image, where a file next to the images says it

    @property
    def where(self) -> str:
        """Its full path, for messages."""
        return str(self.tree.where / self.below)


def open_pictures(card: DatasetCard, tree: Tree, test_tree: Tree | None = None) -> SourceImages:
    """Images in class folders, flat, or labelled by StyleGAN's dataset.json; `test_tree` holds the test split.

    Raises DataError naming empty class folders, images outside of any, and classes that only one split has.
    """
    if test_tree is not None:
        parts = [Part(tree, base(tree), False), Part(test_tree, base(test_tree), True)]
    elif card.split != "hash":
        parts = [Part(tree, below, is_test) for below, is_test in own_split(tree)]
    else:
        parts = [Part(tree, base(tree), None)]
    return open_parts(card, parts)


def open_parts(card: DatasetCard, parts: list[Part]) -> SourceImages:
    """The images of all parts. Raises DataError as `open_pictures` does."""
    import numpy as np

    rows: list[tuple[Part, str]] = []
    classes: dict[tuple[str, str], str] = {}  # (tree, name) -> class
    for part in parts:
        names = [name for name in part.tree.pictures if name.startswith(part.below)]
        if not names:
            raise DataError(f"{part.where}: no images", "no file in it has the extension of an image", "add images")
        rows += [(part, name) for name in names]
        if card.conditioning == "class":
            classes |= {(str(part.tree.where), name): label for name, label in _classes(part, names).items()}
    # By hash of the name: the first n images are then a fair sample, not one class.
    rows.sort(key=lambda row: _name_hash(row[1]))
    labels = [classes[str(part.tree.where), name] for part, name in rows] if classes else []
    class_names = _common_classes(card, rows, labels)
    number = {name: k for k, name in enumerate(class_names)}
    own = parts[0].is_test is not None
    return SourceImages(
        names=[name for _, name in rows],
        read=lambda i: rows[i][0].tree.open(rows[i][1]),
        where=lambda i: str(rows[i][0].tree.where / rows[i][1]),
        is_test=np.array([part.is_test for part, _ in rows], dtype=bool) if own else None,
        split_rule="its own: "
        + ", ".join(f"{p.tree.where.name}/{p.below} is {'test' if p.is_test else 'train'}" for p in parts)
        if own
        else "",
        labels=np.array([number[label] for label in labels], dtype=np.int64) if labels else None,
        class_names=class_names,
        ignored=sum(tree.ignored for tree in {id(part.tree): part.tree for part in parts}.values()),
    )


def _name_hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _classes(part: Part, names: list[str]) -> dict[str, str]:
    """Class of each image of a part: as a list says where there is one, else its folder directly in the part."""
    listed = part.listed or _dataset_json(part, names)
    if listed is not None:
        return listed
    inside = {name: name[len(part.below) :] for name in names}
    outside = [name for name in names if "/" not in inside[name]]
    if outside:
        raise DataError(
            f"{part.where}: {len(outside)} images lie outside of any class folder",
            "\n        ".join(outside[:MAX_SHOWN]),
            "move them into one sub-folder a class, or write conditioning: none",
        )
    labels = {name: inside[name].split("/")[0] for name in names}
    empty = sorted(set(part.tree.children(part.below)) - set(labels.values()))
    if empty:
        raise DataError(
            f"{part.where}: class folders without an image",
            "\n        ".join(empty[:MAX_SHOWN]),
            "add images, or delete the folders",
        )
    return labels


def _dataset_json(part: Part, names: list[str]) -> dict[str, str] | None:
    """Labels of StyleGAN's dataset.json, in the part or in the folder of all parts; None when there is no such file."""
    found = label_lists(part.tree, part.below)
    if not found:
        return None
    where = f"{part.tree.where}/{found[0]}"
    labels = read_labels(part.tree, found[0])
    if labels is None:
        raise DataError(f"{where}: it has no labels", mend=UNLABELLED)
    if found[0] == part.below + DATASET_JSON:  # else it also lists images of other parts
        match_names(where, set(names), set(labels))
    else:
        match_names(where, set(part.tree.pictures), set(labels))
    return {name: labels[name] for name in names}


def match_names(table: str, pictures: set[str], listed: set[str]) -> None:
    """Raise DataError unless exactly the images are listed, naming up to ten of those that are not."""
    problems = []
    for what, names in (("no row for", pictures - listed), ("no image for the row of", listed - pictures)):
        problems += [f"{what} {name}" for name in sorted(names)[:MAX_SHOWN]]
        if len(names) > MAX_SHOWN:
            problems.append(f"... and {len(names) - MAX_SHOWN:,} more")
    if problems:
        raise DataError(
            f"{table}: its rows and the images do not match",
            "\n        ".join(problems),
            "add what is missing, or delete what is too much",
        )


def _common_classes(card: DatasetCard, rows: list[tuple[Part, str]], labels: list[str]) -> tuple[str, ...]:
    """Names of the classes, by number where all are numbers. Raises DataError when one split lacks a class."""
    found: dict[bool | None, set[str]] = {}
    for (part, _), label in zip(rows, labels):
        found.setdefault(part.is_test, set()).add(label)
    names = set().union(*found.values())
    for is_test, present in found.items():
        if present != names:
            raise DataError(
                f"data set {card.name}: the {'test' if is_test else 'train'} split lacks classes",
                ", ".join(sorted(names - present)[:MAX_SHOWN]),
                "both splits need an image of every class",
            )
    return tuple(sorted(names, key=int if all(name.isdecimal() for name in names) else None))


def with_attributes(tree: Tree, names: dict[str, str], table: AttributeTable) -> SourceImages:
    """The images of a tree, each with its row of the table."""
    match_names(str(table.path), set(names), set(table.files))
    row = {file: i for i, file in enumerate(table.files)}
    order = sorted(names, key=_name_hash)
    return SourceImages(
        names=order,
        read=lambda i: tree.open(names[order[i]]),
        where=lambda i: str(tree.where / names[order[i]]),
        attributes=table.values[[row[name] for name in order]],
        attribute_names=table.attribute_names,
        ignored=tree.ignored,
    )
