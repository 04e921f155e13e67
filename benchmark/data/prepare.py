"""Turn a source once into arrays on the disk, keyed by its content; everything later reads those bytes.

Images become uint8, points float32.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmark.core.config import content_hash, to_dict
from benchmark.core.environment import n_cores
from benchmark.core.errors import ConfigError, DataError, suggest
from benchmark.core.files import lock, not_writable, require_space, require_writable, sha256_file, write_json
from benchmark.core.sealed import seal_entries
from benchmark.data.cards import DatasetCard, fingerprint, locate
from benchmark.data.images import explain, to_array
from benchmark.data.imbalance import long_tail
from benchmark.data.layout import FORMAT, MAX_SHOWN
from benchmark.data.prepared import REPEATED, Dataset
from benchmark.data.sources.base import SourceImages

CHUNK_BYTES = 16 * 2**20  # decoded images held in memory at a time
CHUNK_IMAGES = 128  # at most so many images in a chunk


def prepare(card: DatasetCard, data_root: Path, cache: Path, progress: bool = True) -> Dataset:
    """The prepared data set, made now if it is not in `cache` yet.

    A second process that wants the same data waits. A killed one leaves nothing that looks complete.
    Raises DataError naming what is missing or cannot be read (up to ten files at once), UserError when the disk is
    full or `cache` is not writable.
    """
    locate(card, data_root)
    folder = _folder(card, data_root, cache)
    if _complete(folder):
        return Dataset.load(folder, card)
    require_writable(cache)
    with lock(cache / f"{card.name}.lock", f"data set {card.name}", wait=True):
        card.source.download(card, data_root)
        folder = _folder(card, data_root, cache)  # downloaded files count
        if not _complete(folder):
            _make(card, open_source(card, data_root), folder, progress)
    return Dataset.load(folder, card)


def find_prepared(card: DatasetCard, data_root: Path, cache: Path) -> Dataset | None:
    """The prepared data set if it is in `cache` already. Reads no images."""
    try:
        folder = _folder(card, data_root, cache)
    except DataError:
        return None  # the source's files are missing
    return Dataset.load(folder, card) if _complete(folder) else None


def _folder(card: DatasetCard, data_root: Path, cache: Path) -> Path:
    return cache / f"{card.name}-{fingerprint(card, data_root)[:12]}"


def _complete(folder: Path) -> bool:
    """meta.json is written last, and the folder gets its name after that."""
    return (folder / "meta.json").is_file()


def open_source(card: DatasetCard, data_root: Path) -> SourceImages:
    """The source with the labels that the dataset config serves, and no others.

    Raises ConfigError for a test share that the source's own split makes no use of; DataError naming what is missing,
    what cannot be read, or which labels do not fit the images.
    """
    opened = card.source.open(card, data_root)
    own = opened.is_test is not None and card.split != "hash"
    if own and card.test_share != DatasetCard.test_share:
        raise ConfigError(
            f"data set {card.name}: test_share: {card.test_share:g}",
            f"it is the share of a split by hash, and the source has a split of its own ({opened.split_rule})",
            "write split: hash to split anew, or leave test_share out",
        )
    if card.conditioning != "class":
        opened.labels, opened.class_names = None, ()
    elif card.n_classes is not None and len(opened.class_names) != card.n_classes:
        raise DataError(
            f"data set {card.name}: {len(opened.class_names)} classes, but its dataset config says {card.n_classes}",
            f"found: {', '.join(opened.class_names[:MAX_SHOWN])}",
            "correct n_classes in the dataset config, or the folders",
        )
    if card.conditioning == "attributes":
        _choose(card, opened)
    else:
        opened.attributes, opened.attribute_names = None, ()
    return opened


def _choose(card: DatasetCard, opened: SourceImages) -> None:
    """Keep only the attributes that the dataset config serves, in its order."""
    wanted = card.attribute_names or opened.attribute_names
    for name in wanted:
        if name not in opened.attribute_names:
            raise DataError(f"data set {card.name}: no attribute {name!r}", suggest(name, opened.attribute_names))
    assert opened.attributes is not None
    opened.attributes = opened.attributes[:, [opened.attribute_names.index(name) for name in wanted]]
    opened.attribute_names = wanted


def _make(card: DatasetCard, source: SourceImages, folder: Path, progress: bool) -> None:
    """Write the arrays into a temporary folder next to `folder`, then give it the final name."""
    splits = split(card, source)
    bytes_per_image = card.resolution**2 * card.channels * (1 if source.points is None else 4)
    n = sum(len(rows) for rows in splits.values())
    require_space(
        folder.parent, n * (bytes_per_image + 8 + len(source.attribute_names)) + 2**20, f"data set {card.name}"
    )
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed process; we hold the lock
    try:
        temporary.mkdir(parents=True)
        _write(card, source, splits, temporary, progress)
        shutil.rmtree(folder, ignore_errors=True)  # an incomplete one, left by hand
        os.replace(temporary, folder)
    except OSError as error:
        raise not_writable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def split(card: DatasetCard, source: SourceImages) -> dict[str, np.ndarray]:
    """Rows of the source that make up each split; with `split: all` every row is in train, and some in test as well.

    Raises DataError when a split, or a class in train, is empty.
    """
    is_test = source.held_out(card)
    in_train = np.ones_like(is_test) if card.split == "all" else ~is_test
    splits = {"train": np.flatnonzero(in_train), "test": np.flatnonzero(is_test)}
    if card.imbalance is not None and source.labels is not None and len(source.class_names) > 1:
        labels = source.labels[splits["train"]]
        splits["train"] = splits["train"][long_tail(labels, len(source.class_names), card.imbalance)]
    for name, rows in splits.items():
        if len(rows) == 0:
            raise DataError(
                f"data set {card.name}: no image falls in {name}",
                f"it has {len(source.names)} image{'s' * (len(source.names) != 1)} in all",
                "add images, or put them into train/ and test/ sub-folders",
            )
    if source.labels is not None and not card.source.has_drawn_labels:
        seen = set(source.labels[splits["train"]].tolist())
        absent = [name for k, name in enumerate(source.class_names) if k not in seen]
        if absent:
            raise DataError(
                f"data set {card.name}: no training image of {', '.join(absent[:MAX_SHOWN])}",
                "every image of it falls in the test split",
                "add images, or put them into train/ and test/ sub-folders",
            )
    return splits


def _write(
    card: DatasetCard, source: SourceImages, splits: dict[str, np.ndarray], folder: Path, progress: bool
) -> None:
    converted: Counter[str] = Counter()
    marks: dict[str, array[int]] = {name: array("Q") for name in splits}
    bad: list[str] = []
    n = sum(len(rows) for rows in splits.values())
    with tqdm(total=n, desc=f"preparing {card.name}", unit=" images", disable=not progress) as bar:
        for name, rows in splits.items():
            if len(bad) == MAX_SHOWN:
                break
            if source.points is not None:
                np.save(folder / f"{name}.npy", source.points[rows])
                bar.update(len(rows))
            else:
                _write_images(folder / f"{name}.npy", card, source, rows, converted, marks[name], bad, bar)
            if source.labels is not None:
                np.save(folder / f"{name}_labels.npy", source.labels[rows].astype(np.int64))
            if source.attributes is not None:
                np.save(folder / f"{name}_attributes.npy", source.attributes[rows].astype(np.uint8))
    if bad:
        more = " (there may be more)" if len(bad) == MAX_SHOWN else ""
        raise DataError(
            f"data set {card.name}: {len(bad)} image{'s' * (len(bad) > 1)} cannot be read{more}",
            "\n        ".join(bad),
            "replace them by whole files, or delete them",
        )
    meta = _meta(card, source, splits, folder, converted)
    if source.points is None and card.split != "all":  # else the rule of the split says that nothing is held out
        meta[REPEATED] = int(np.isin(np.array(marks["test"]), np.array(marks["train"])).sum())
    write_json(folder / "meta.json", seal_entries(meta))


def _write_images(
    path: Path,
    card: DatasetCard,
    source: SourceImages,
    rows: np.ndarray,
    converted: Counter[str],
    marks: array[int],
    bad: list[str],
    bar: Any,
) -> None:
    """Write one array of images, piece by piece, as numpy's `save` would, and add the hash of each to `marks`.

    Written front to back rather than through a memory map: on a full disk that is an error, not a killed process.
    """
    with open(path, "wb") as file:
        shape = (len(rows), card.resolution, card.resolution, card.channels)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for pixels, done, problem in _decoded(card, source, rows):
            bar.update()
            if pixels is None:
                bad.append(problem)
                if len(bad) == MAX_SHOWN:
                    return
                continue
            converted.update(done)
            content = pixels.tobytes()
            marks.append(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()))
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _decoded(
    card: DatasetCard, source: SourceImages, rows: np.ndarray
) -> Iterator[tuple[np.ndarray | None, list[str], str]]:
    """For each row its array and conversions, or None and the problem; decoded by a few threads, in order."""

    def decode(row: int) -> tuple[np.ndarray | None, list[str], str]:
        try:
            with source.read(row) as image:
                return (*to_array(image, card), "")
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise errors of any kind on broken files
            return None, [], f"{source.where(row)}: {explain(error)}"

    chunk = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (card.resolution**2 * card.channels)))
    with ThreadPoolExecutor(max_workers=min(8, n_cores())) as pool:  # Pillow decodes outside of the GIL
        for start in range(0, len(rows), chunk):
            yield from pool.map(decode, map(int, rows[start : start + chunk]))


def _meta(
    card: DatasetCard, source: SourceImages, splits: dict[str, np.ndarray], folder: Path, converted: Counter[str]
) -> dict[str, Any]:
    """What meta.json says."""
    files = {path.name: sha256_file(path) for path in sorted(folder.glob("*.npy"))}
    contents: dict[str, Any] = {
        "files": files,
        "conditioning": card.conditioning,
        "class_names": source.class_names,
        "attribute_names": source.attribute_names,
    }
    if source.parts:  # as rows of the test split
        row = {int(k): i for i, k in enumerate(splits["test"])}
        parts = {name: [row[k] for k in np.flatnonzero(part).tolist()] for name, part in source.parts.items()}
        contents["parts"] = parts
    own = source.is_test is not None and card.split != "hash"
    rule = source.split_rule if own else f"by hash of the file name, test share {card.test_share}"
    if card.split == "all":
        rule += f"; train is all {len(splits['train']):,} images, those of test as well: nothing is held out"
    if card.imbalance is not None:
        rule += f"; training classes thinned out to 1/{card.imbalance:g}"
    return {
        "format": FORMAT,
        "sha256": content_hash(contents),
        **contents,
        "card": to_dict(card),
        "crop": card.crop,
        "filter": card.filter,
        "split": rule,
        "counts": {name: len(rows) for name, rows in splits.items()},
        "converted": dict(sorted(converted.items())),
        "ignored_files": source.ignored,
        "versions": {package: version(package) for package in ("numpy", "pillow")},
    }
