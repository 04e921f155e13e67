"""A prepared data set: uint8 images, or float32 points, that the trainer and the metrics read alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.config import build, content_hash, to_dict
from benchmark.core.errors import DataError, UserError
from benchmark.core.files import read_json
from benchmark.core.sealed import check_entries
from benchmark.data.cards import DatasetCard
from benchmark.data.kinds import kind_of
from benchmark.data.layout import FORMAT, check_prepared
from benchmark.data.mixtures import Mixture, draw_points
from benchmark.data.sources.base import SourceKind

TINY = 64  # images a split of a synthetic stand-in


@dataclass
class Split:
    """One split. labels are there for class data, attributes for attribute data, never both."""

    name: str  # "train", "test", or of a part of the test split
    images: np.ndarray  # uint8 [N, H, W, C], or float32 [N, 2] for points; a read-only memory map if from a file
    labels: np.ndarray | None = None  # int64 [N]
    attributes: np.ndarray | None = None  # uint8 [N, A], 0 or 1

    def __len__(self) -> int:
        return len(self.images)


REPEATED = "test_images_in_train"  # of meta.json: how many images of the test split are in train, byte for byte


@dataclass
class Dataset:
    """What methods and metrics know of the data."""

    name: str
    sha256: str  # of the contents: arrays and names, not of paths or times
    resolution: int  # side in pixels; 1 for points
    channels: int  # 1 or 3; 2 for points
    conditioning: str  # "class", "attributes" or "none"
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    flip_ok: bool  # does mirroring left-right keep the label?
    train: Split
    test: Split
    meta: dict[str, Any] = field(default_factory=dict)  # meta.json; empty for a stand-in
    parts: dict[str, np.ndarray] = field(default_factory=dict)  # rows of the test split that make up a named part
    source: dict[str, Any] = field(default_factory=dict)  # the dataset config's source; its kind's class says its keys

    @property
    def is_points(self) -> bool:
        """Are its rows 2-D points? Then `images` are float32 [N, 2], and no image's metric applies."""
        kind = kind_of(self.source)
        return kind is not None and kind.is_points

    @property
    def is_stacked(self) -> bool:
        """Are its channels independent digits, and its class d0 * 100 + d1 * 10 + d2?"""
        kind = kind_of(self.source)
        return kind is not None and kind.is_stacked

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 where no classes are served."""
        return len(self.class_names)

    @property
    def n_labels(self) -> int:
        """Width of the condition: number of classes or of attributes, 0 without labels."""
        return self.n_classes or len(self.attribute_names)

    @property
    def split_note(self) -> str:
        """What a reader must know of the split, in words (`DatasetCard.split_note`); empty for a stand-in."""
        card = self.meta.get("card")
        return "" if card is None else build(DatasetCard, card, f"data set {self.name}").split_note

    @property
    def repeated_note(self) -> str:
        """How many held-out images are training images to the byte, in words; empty where none is, or it is not known.

        Data prepared by earlier versions do not know it.
        """
        n = self.meta.get(REPEATED)
        if not isinstance(n, int) or n < 1:
            return ""
        return f"{n:,} of {len(self.test):,} held-out images are equal to a training image, byte for byte"

    @property
    def holds_out(self) -> bool:
        """Are the images of the test split not trained on?"""
        return self.meta.get("card", {}).get("split") != "all"

    def split(self, name: str) -> Split:
        """The split called "train" or "test", or a named part of the test split, as a split of its own.

        Raises DataError for a part that the prepared data do not have.
        """
        if name in ("train", "test"):
            return self.train if name == "train" else self.test
        if name not in self.parts:
            known = ", ".join(["train", "test", *self.parts])
            raise DataError(
                f"data set {self.name}: it has no part {name!r}",
                f"prepared are {known}",
                "delete its folder among the prepared data, if its source has this part, and prepare it again",
            )
        rows = self.parts[name]
        labels, attributes = (y if y is None else y[rows] for y in (self.test.labels, self.test.attributes))
        return Split(name, self.test.images[rows], labels, attributes)

    @classmethod
    def load(cls, folder: Path, card: DatasetCard | None = None) -> Dataset:
        """Open a prepared folder and check every byte; images stay on the disk until they are used.

        card: what it was prepared of. Raises DataError when the folder is damaged, incomplete or of other data.
        """
        try:
            meta = read_json(folder / "meta.json")
            check_entries(meta, "meta.json")
            if meta["format"] != FORMAT:
                raise ValueError(f"its format is {meta['format']}, this version reads {FORMAT}")
            check_prepared(folder, meta, card)
            own = meta["card"]
            return cls(
                name=own["name"],
                sha256=meta["sha256"],
                resolution=own["resolution"],
                channels=own["channels"],
                conditioning=own["conditioning"],
                class_names=tuple(meta["class_names"]),
                attribute_names=tuple(meta["attribute_names"]),
                flip_ok=own["flip_ok"],
                train=_load_split(folder, "train", meta),
                test=_load_split(folder, "test", meta),
                meta=meta,
                parts={name: np.array(rows, np.int64) for name, rows in meta.get("parts", {}).items()},
                source=own["source"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            reason = f"meta.json has no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{folder}: not a whole prepared data set", reason, "delete the folder and prepare it again"
            ) from None

    @classmethod
    def tiny(cls, card: DatasetCard, n: int = TINY) -> Dataset:
        """A stand-in of n random images a split (or true points) with the dataset's shapes and labels, made in memory.

        Its costs a step are those of the real data. What only the source knows is guessed: ten classes or attributes.
        """
        rng = np.random.default_rng(0)
        names = tuple(f"class {k}" for k in range(card.n_classes or 10)) if card.conditioning == "class" else ()
        attributes: tuple[str, ...] = ()
        if card.conditioning == "attributes":
            attributes = card.attribute_names or tuple(f"attribute {k}" for k in range(10))

        mixture, names_of = card.source.mixture(), card.source.parts()

        def split(name: str) -> Split:
            if mixture is not None:
                points, modes = draw_points(mixture, n, rng)
                return Split(name, points, modes if names else None)
            images = rng.integers(256, size=(n, card.resolution, card.resolution, card.channels), dtype=np.uint8)
            labels = np.arange(n) % len(names) if names else None
            values = rng.integers(2, size=(n, len(attributes)), dtype=np.uint8) if attributes else None
            return Split(name, images, labels, values)

        return cls(
            name=card.name,
            sha256=content_hash({"tiny": to_dict(card)}),
            resolution=card.resolution,
            channels=card.channels,
            conditioning=card.conditioning,
            class_names=names,
            attribute_names=attributes,
            flip_ok=card.flip_ok,
            train=split("train"),
            test=split("test"),
            parts={name: np.arange(n)[i :: len(names_of)] for i, name in enumerate(names_of)},
            source=to_dict(card)["source"],
        )

    def outline(self) -> dict[str, Any]:
        """Everything about the data but the images, as plain values and arrays: what a saved run needs to be sampled.

        Names, shapes, labels and attributes of both splits; `from_outline` is the inverse.
        """
        plain = {key: getattr(self, key) for key in _OUTLINE}
        splits = {
            split.name: {"shape": split.images.shape, "labels": split.labels, "attributes": split.attributes}
            for split in (self.train, self.test)
        }
        return plain | {"dtype": self.train.images.dtype.name, "splits": splits}

    @classmethod
    def from_outline(cls, outline: Mapping[str, Any]) -> Dataset:
        """Data of the same shapes, names and labels whose images are all zero and take no memory."""

        def split(name: str) -> Split:
            part = outline["splits"][name]
            images = np.broadcast_to(np.zeros((), outline["dtype"]), part["shape"])
            return Split(name, images, part["labels"], part["attributes"])

        plain = {key: outline[key] for key in _OUTLINE}
        return cls(**plain, train=split("train"), test=split("test"), meta={"outline": True})


def mixture_of(data: DatasetCard | Dataset) -> Mixture:
    """The mixture that a dataset config, a prepared data set or a stand-in draws its points from.

    Raises DataError for data that are no points.
    """
    source = _source_of_points(data) if isinstance(data, Dataset) else data.source
    mixture = None if source is None else source.mixture()
    if mixture is None:
        raise DataError(f"data set {data.name}: its rows are no points of a mixture", mend="use ring2d or grid2d")
    return mixture


def _source_of_points(data: Dataset) -> SourceKind | None:
    """The source that a data set of points came from; None for images."""
    kind = kind_of(data.source)
    if kind is None or not kind.is_points:
        return None
    return build(kind, data.source, f"data set {data.name}: source")


# What an outline holds in addition to the splits.
_OUTLINE = (
    "name", "sha256", "resolution", "channels", "conditioning", "class_names", "attribute_names", "flip_ok", "source",
)  # fmt: skip


def _load_split(folder: Path, name: str, meta: dict[str, Any]) -> Split:
    images = np.load(folder / f"{name}.npy", mmap_mode="r")
    labels = folder / f"{name}_labels.npy"
    attributes = folder / f"{name}_attributes.npy"
    split = Split(
        name,
        images,
        np.load(labels) if labels.exists() else None,
        np.load(attributes) if attributes.exists() else None,
    )
    for part, array in (("labels", split.labels), ("attributes", split.attributes)):
        if array is not None and len(array) != len(images):
            raise ValueError(f"{name}: {len(images)} images, but {len(array)} {part}")
    if len(images) != meta["counts"][name]:
        raise ValueError(f"{name}: {len(images)} images, but meta.json says {meta['counts'][name]}")
    return split
