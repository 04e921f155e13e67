"""StyleGAN's dataset.json: {"labels": [[path, class number], ...]}, paths relative to the folder of the file."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from benchmark.core.errors import DataError
from benchmark.core.text import parse_json
from benchmark.data.layout import MAX_CLASSES
from benchmark.data.trees import DATASET_JSON, Tree, base

UNLABELLED = "write conditioning: none in the dataset config"


def label_lists(tree: Tree, below: str) -> list[str]:
    """The dataset.json that says the classes in the folder `below`: its own, or that of the tree; none, or one."""
    choices = (below + DATASET_JSON, base(tree) + DATASET_JSON)
    return [name for name in dict.fromkeys(choices) if name in tree.label_files][:1]


def n_listed_classes(tree: Tree, lists: list[str]) -> int:
    """How many classes these files list; 0 where they say that there are no labels."""
    found = [read_labels(tree, name) for name in lists]
    return len({label for labels in found if labels is not None for label in labels.values()})


def read_labels(tree: Tree, name: str) -> dict[str, str] | None:
    """The class of each image that a dataset.json lists, by its path in the tree; None for {"labels": null}.

    Raises DataError for wrong types, paths that lead outside, an image with two classes, and class numbers that are
    negative or not below MAX_CLASSES.
    """
    where, below = f"{tree.where}/{name}", name.removesuffix(DATASET_JSON)
    plain = parse_json(tree.text(name), where, mend='it holds {"labels": [[path, class number], ...]}')
    pairs = plain.get("labels", ()) if isinstance(plain, dict) else ()
    if pairs is None:
        return None
    if not isinstance(pairs, list):
        raise DataError(f"{where}: cannot be read", "it is no object with a list `labels`", 'write {"labels": [...]}')
    labels: dict[str, str] = {}
    for pair in pairs:
        file, label = _entry(where, pair)
        path = below + PurePosixPath(file).as_posix()
        if labels.setdefault(path, label) != label:
            raise DataError(f"{where}: {file}", f"it has two classes, {labels[path]} and {label}", "keep one of them")
    return labels


def _entry(where: str, pair: object) -> tuple[str, str]:
    match pair:
        case [str(file), int(label)] if not isinstance(label, bool) and 0 <= label < MAX_CLASSES:
            return file, str(label)
    raise DataError(
        f"{where}: {json.dumps(pair)[:80]}",
        f"an entry is [path, class number], and class numbers are 0 to {MAX_CLASSES - 1:,}",
        "correct the entry",
    )
