"""An opened source: its pictures with their labels, none of them decoded yet; or its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


@dataclass
class SourceImages:
    """A source whose pictures can be read one by one."""

    names: list[str]  # N, relative paths; the split by hash looks at them
    read: Callable[[int], Image.Image]  # picture of a row; may raise whatever Pillow raises
    where: Callable[[int], str]  # its full path, for messages
    is_test: np.ndarray | None = None  # bool [N], the source's own split; None: it has none
    split_rule: str = ""  # the own split in words
    labels: np.ndarray | None = None  # int64 [N]
    class_names: tuple[str, ...] = ()
    attributes: np.ndarray | None = None  # uint8 [N, A]
    attribute_names: tuple[str, ...] = ()
    ignored: int = 0  # files that are no pictures
    points: np.ndarray | None = None  # float32 [N, 2] of a source of points, which has no pictures to read
