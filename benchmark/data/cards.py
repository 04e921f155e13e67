"""Dataset configs: one YAML file says where images come from and what is served of them.

Nothing heavy is imported here: a missing data set is reported within a second of the start.

A config for one's own images, given to a command as its path:

    name: flowers
    title: My flowers, one folder a species
    source: {kind: folder, path: flowers}    # under the data root, or next to this file, or absolute
    resolution: 64                           # side in pixels
    channels: 3
    crop: center
    filter: lanczos
    conditioning: class
    flip_ok: true                            # a mirrored flower is still that flower

The defaults need no file: the path of a folder or of a zip file works where a dataset config's name does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, added, build, canonical, load_yaml, merge, to_dict
from benchmark.core.errors import ConfigError, DataError, suggest
from benchmark.core.paths import card_folder
from benchmark.data.kinds import KINDS, Source
from benchmark.data.layout import fingerprint, locate, user_path
from benchmark.data.sources.folder import Folder
from benchmark.data.sources.zip import Zip
from benchmark.data.stylegan import label_lists, n_listed_classes
from benchmark.data.trees import open_tree, own_split

__all__ = ["DatasetCard", "card_with", "find_card", "fingerprint", "list_cards", "load_card", "locate"]

MIN_SIDE = 8  # pixels, of images
MAX_NAME = 100  # characters of a dataset config's name: two of them and a hash fit into the name of a file

# `--set attribute_set=10` arrives as a number; the names of sets are text.
SetName = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DatasetCard:
    """What a data set is and how it is served. Checked as a whole by `check`."""

    # also names folders of the cache and of the results
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=MAX_NAME)]
    title: str  # one line
    source: Source  # loader and its parameters
    resolution: Annotated[int, Field(ge=1, le=1024)]  # side in pixels, at least 8; 1 for points
    channels: Literal[1, 2, 3]  # grey or RGB; 2 for points: their coordinates
    crop: Literal["none", "center"] = "none"  # none: squash to a square; center: cut the central square first
    filter: Literal["bicubic", "lanczos", "bilinear", "box", "nearest"] = "bicubic"  # of the resize; all antialias
    pad: Annotated[int, Field(ge=0, le=64)] = 0  # black pixels added at each side before the resize
    conditioning: Literal["class", "attributes", "none"]  # which labels are served
    attribute_sets: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # named choices of attributes
    attribute_set: SetName | None = None  # the one served; none: every attribute of the source
    n_classes: Annotated[int, Field(gt=0)] | None = None  # where it is known before the data is there
    imbalance: Annotated[float, Field(ge=1)] | None = added(None)  # first class's training images over the last one's
    flip_ok: bool = False  # does mirroring left-right keep the label, and the image plausible?
    # own: the source's train/test where it has one, else hash of the file name. all: train is every image, and the test
    # split is what it was, now a part of train: nothing is held out
    split: Literal["own", "hash", "all"] = "own"
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2  # held-out share of a split by hash
    follow_links: bool = added(False)  # also serve images that lie outside of the source's folder, reached by links?
    licence: str = ""  # of the images
    homepage: str = ""  # the official page; named when files are missing
    default_recipe: Literal["small", "paper"] = "small"  # of the methods' recipes

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes served, in order; empty when no attributes are served or only the source knows them."""
        if self.conditioning != "attributes":
            return ()
        if self.attribute_set is not None:
            return self.attribute_sets[self.attribute_set]
        return self.source.known_attributes or ()

    @property
    def split_note(self) -> str:
        """What a reader must know of the split before comparing numbers; empty where nothing is unusual."""
        if self.split == "all":
            return (
                "every image is trained on, those of the test split as well (data.split=all): nothing is held out, and "
                "the evaluation classifier learns from images that the method has seen"
            )
        return self.source.split_note() if self.split == "own" else ""


def check(card: DatasetCard, where: str) -> DatasetCard:
    """The dataset config itself when its parts fit together. Raises ConfigError naming `where` and the key."""
    possible = (*card.source.labels(), "none")
    if card.conditioning not in possible:
        raise ConfigError(
            f"{where}: conditioning: {card.conditioning!r}",
            f"a source of kind {card.source.kind!r} serves {' or '.join(possible)}",
            f"write conditioning: {possible[0]}",
        )
    _check_shape(card, where)
    if card.split == "hash" and (parts := card.source.parts()):
        raise ConfigError(
            f"{where}: split: hash",
            f"{' and '.join(parts)} are parts of the source's own test split, and hash would train on some of them",
            "write split: own",
        )
    if card.imbalance is not None and (card.conditioning != "class" or card.source.is_points):
        raise ConfigError(
            f"{where}: imbalance: {card.imbalance:g} given",
            "it leaves out images of classes, and no classes of images are served",
            "write conditioning: class, or leave imbalance out",
        )
    if card.attribute_set is not None and card.attribute_set not in card.attribute_sets:
        raise ConfigError(
            f"{where}: attribute_set: {card.attribute_set!r} is not one of attribute_sets",
            suggest(card.attribute_set, card.attribute_sets),
        )
    for key, names in card.attribute_sets.items():
        _check_attributes(card, f"{where}: attribute_sets.{key}", names)
    _check_classes(card, where)
    return card


def _check_classes(card: DatasetCard, where: str) -> None:
    """Classes made of attributes name attributes that there are, and are as many as the dataset config says."""
    choice = card.source.classes_from
    if choice is None:
        return
    for name, condition in choice.classes.items():
        _check_attributes(card, f"{where}: source.classes_from.classes.{name}", tuple(condition))
    n_classes = len(choice.classes)
    if card.conditioning == "class" and card.n_classes not in (None, n_classes):
        raise ConfigError(
            f"{where}: n_classes: {card.n_classes}",
            f"source.classes_from makes {n_classes} classes",
            f"write n_classes: {n_classes}",
        )


def _check_shape(card: DatasetCard, where: str) -> None:
    """Points have one shape and no image's handling; images need a side and a channel or three."""
    if card.source.is_points:
        allowed = {"resolution": 1, "channels": 2, "crop": "none", "pad": 0, "flip_ok": False, "split": "own"}
        reason = f"a source of kind {card.source.kind!r} makes 2-D points, not images"
    else:
        allowed = {"resolution": max(card.resolution, MIN_SIDE), "channels": 1 if card.channels == 1 else 3}
        reason = f"an image has a side of at least {MIN_SIDE} pixels, and one channel or three"
    for key, value in allowed.items():
        if getattr(card, key) != value:
            raise ConfigError(
                f"{where}: {key}: {getattr(card, key)} given", reason, f"write {key}: {str(value).lower()}"
            )


def _check_attributes(card: DatasetCard, where: str, names: tuple[str, ...]) -> None:
    if not names or len(set(names)) != len(names):
        raise ConfigError(where, "a set names at least one attribute, each of them once")
    known = card.source.known_attributes
    for name in names:
        if known is not None and name not in known:
            raise ConfigError(f"{where}: unknown attribute {name!r}", suggest(name, known))


def list_cards() -> dict[str, DatasetCard]:
    """Every dataset config of the suite by its name. Raises ConfigError naming file and key of a bad one."""
    return {path.stem: load_card(path) for path in sorted(card_folder().glob("*.yaml"))}


def load_card(path: Path) -> DatasetCard:
    """Read one dataset config. Raises ConfigError naming file and key."""
    card = _build(load_yaml(path), str(path))
    if path.parent == card_folder() and card.name != path.stem:
        raise ConfigError(
            f"{path}: name: {card.name!r}",
            "a dataset config of the suite is named as its file",
            f"write name: {path.stem}",
        )
    return card


def _build(values: Mapping[str, Any], where: str) -> DatasetCard:
    """Validate the source by its own kind first: its errors then name the keys of that kind."""
    source = values.get("source")
    if isinstance(source, Mapping):
        kind = source.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise ConfigError(f"{where}: source.kind: {kind!r} is not a kind of source", suggest(str(kind), KINDS))
        build(KINDS[kind], source, f"{where}: source")
    return check(build(DatasetCard, values, where), where)


def find_card(name_or_path: str) -> DatasetCard:
    """The dataset config of this name, of this .yaml file, or made for this folder or zip file of images.

    Raises DataError for a name that is not known, offering the nearest; ConfigError for a dataset config with errors.
    """
    if not name_or_path.strip():  # as a path it would be the present folder
        raise DataError(
            "the name of a data set is empty", "nothing is called so", "`python -m benchmark list` shows all"
        )
    path = user_path(name_or_path)
    own = card_folder() / f"{name_or_path}.yaml"
    if path.name == name_or_path and own.is_file():
        return load_card(own)
    if path.suffix in (".yaml", ".yml"):
        return _beside(load_card(path), path.absolute().parent)
    if path.is_dir() or path.suffix.lower() == ".zip":
        return card_for(path.absolute())
    raise DataError(
        f"unknown data set {name_or_path!r}",
        suggest(name_or_path, [card.stem for card in card_folder().glob("*.yaml")]),
        "give a dataset's name, the path of a .yaml dataset config, or the path of a folder or zip file of images",
    )


def _beside(card: DatasetCard, folder: Path) -> DatasetCard:
    """A user's dataset config with those paths of its source made absolute that exist next to its file."""
    paths = {key: getattr(card.source, key) for key in card.source.path_keys}
    found = {key: str(folder / path) for key, path in paths.items() if path and (folder / user_path(path)).exists()}
    return card_with(card, {"source": found})


def card_for(path: Path) -> DatasetCard:
    """A dataset config made on the fly for a folder or zip file: 32 pixels, RGB.

    Several sub-folders are its classes, unless StyleGAN's dataset.json says them. Raises DataError for a file that is
    no zip, links that lead outside, and a dataset.json that cannot be read.
    """
    tree = open_tree(path)
    below = own_split(tree)[0][0]
    listed = label_lists(tree, below)
    n_classes = n_listed_classes(tree, listed) if listed else len(tree.children(below))
    source = Zip(path=str(path)) if path.is_file() else Folder(path=str(path))
    stem = path.stem if path.is_file() else path.name
    return DatasetCard(
        name=re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).lstrip("_.-")[:MAX_NAME] or "pictures",
        title=f"pictures of {path.name}",
        source=source,
        resolution=32,
        channels=3,
        crop="center",
        conditioning="class" if n_classes > 1 else "none",
    )


def split_note_of(card: Any) -> str:
    """`DatasetCard.split_note` of plain values, as a record holds them; empty for those of another version."""
    if not isinstance(card, Mapping):
        return ""
    key = canonical(card)
    if key not in _SPLIT_NOTES:
        try:
            _SPLIT_NOTES[key] = build(DatasetCard, card, "record").split_note
        except ConfigError:
            _SPLIT_NOTES[key] = ""
    return _SPLIT_NOTES[key]


_SPLIT_NOTES: dict[str, str] = {}  # a table needs those of hundreds of records


def card_with(card: DatasetCard, changes: Mapping[str, Any]) -> DatasetCard:
    """The same with some fields changed (`--set data.resolution=64`). Raises ConfigError as `load_card` does."""
    return _build(merge(to_dict(card), changes), f"dataset config {card.name}")
