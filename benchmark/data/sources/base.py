"""What every kind of source says of itself, and what an opened one gives.

Each module of this folder is one kind of source and bears its name, its `kind` in a dataset config. Exceptions are
this module and those whose names begin with `_`: code that several kinds share. A kind's module defines one subclass of
`SourceKind`, and no other file names it, so that a new kind is a new file.

Configs are checked before anything heavy is loaded. A kind therefore imports numpy, Pillow and other libraries in its
methods, not at the top of its file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from benchmark.data.classes import ClassesFrom
from benchmark.data.layout import in_test, resolve

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from benchmark.data.cards import DatasetCard
    from benchmark.data.mixtures import Mixture

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]


@dataclass
class SourceImages:
    """An opened source: its images with their labels, none of them decoded yet; or its points."""

    names: list[str]  # N, relative paths; the split by hash looks at them
    read: Callable[[int], Image.Image]  # image of a row; may raise whatever Pillow raises
    where: Callable[[int], str]  # its full path, for messages
    is_test: np.ndarray | None = None  # bool [N], the source's own split; None: it has none
    split_rule: str = ""  # the own split in words
    labels: np.ndarray | None = None  # int64 [N]
    class_names: tuple[str, ...] = ()
    attributes: np.ndarray | None = None  # uint8 [N, A]
    attribute_names: tuple[str, ...] = ()
    ignored: int = 0  # files that are no images
    parts: dict[str, np.ndarray] = field(default_factory=dict)  # bool [N]: named parts of the source's own test split
    points: np.ndarray | None = None  # float32 [N, 2] of a source of points, which has no images to read

    def held_out(self, card: DatasetCard) -> np.ndarray:
        """Which rows are in the test split, bool [N]: by the source's own split, or by hash of the names."""
        import numpy as np

        if self.is_test is not None and card.split != "hash":
            return self.is_test
        return np.array([in_test(name, card.test_share) for name in self.names], dtype=bool)


class SourceKind:
    """A kind of source: a strict pydantic dataclass whose fields are the keys of `source` in a dataset config.

    The fields are part of the key of the prepared data: their names, order and defaults do not change. Paths among them
    are relative to the data root unless they are absolute; `~` is the home folder.
    """

    kind: str  # the module's name, as a Literal with itself as the default
    path_keys: ClassVar[tuple[str, ...]] = ()  # fields that name files or folders
    draw_keys: ClassVar[tuple[str, ...]] = ()  # fields that may change, and train still shows nothing held out
    serves: ClassVar[tuple[Literal["class", "attributes"], ...]] = ()  # labels it can serve, other than "none"
    known_attributes: ClassVar[tuple[str, ...] | None] = None  # every attribute, where they are known beforehand
    is_points: ClassVar[bool] = False  # its rows are points [2] of `mixture`, not images
    is_stacked: ClassVar[bool] = False  # its channels are independent digits
    has_drawn_labels: ClassVar[bool] = False  # labels are drawn at random: one split may lack a class by chance
    classes_from: ClassesFrom | None = None  # classes made of its attributes; a field of the kinds that have attributes

    def labels(self) -> tuple[Literal["class", "attributes"], ...]:
        """Labels that this source can serve, other than "none"."""
        return self.serves if self.classes_from is None else ("class", *self.serves)

    def split_note(self) -> str:
        """What a reader must know of the source's own split; empty where it is the one that everybody uses."""
        return ""

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """Absolute paths or glob patterns that must be there; "a | b": one of them is enough.

        Files that `download` can fetch are not required.
        """
        return [str(path) for path in self.files(data_root)]

    def files(self, data_root: Path) -> list[Path]:
        """Every file and folder that is read, as absolute paths. The prepared data are made anew when one changes."""
        return [resolve(data_root, path) for key in self.path_keys if (path := getattr(self, key))]

    def check(self, card: DatasetCard, data_root: Path) -> None:
        """Raise DataError for a file that is there, but not whole; nothing is decoded."""

    def download(self, card: DatasetCard, data_root: Path) -> None:
        """Fetch what is missing, where a source can be downloaded. Raises DataError when that fails."""

    def parts(self) -> tuple[str, ...]:
        """Names of parts of its held-out images that an evaluation can compare with; `open` says which images."""
        return ()

    def mixture(self) -> Mixture | None:
        """The mixture that the points are drawn from; None for images."""
        return None

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """List the images, with all labels that are known; no image is decoded.

        Raises DataError naming what is missing, what cannot be read, or which labels do not fit the images.
        """
        raise NotImplementedError
