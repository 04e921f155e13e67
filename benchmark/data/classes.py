"""Classes made from binary attributes: `classes_from` of every kind of source that has attributes.

    source:
      kind: celeba
      path: celeba
      classes_from:
        classes: {blond: {Blond_Hair: 1}, black: {Black_Hair: 1}, bald: {Bald: 1}}
        balance: true

A class is a condition on attributes, 1 for present and 0 for absent. An image belongs to a class if it meets the
condition of that class and of no other; images that meet none, or several, are left out. Nothing heavy is imported
here before a source is opened.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, NonNegativeInt
from benchmark.core.errors import DataError, suggest

if TYPE_CHECKING:
    import numpy as np

    from benchmark.data.cards import DatasetCard
    from benchmark.data.sources.base import SourceImages

Condition = Annotated[dict[str, Literal[0, 1]], Field(min_length=1)]  # attribute -> 1 present, 0 absent


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassesFrom:
    """Which classes there are, and how many of their images are kept."""

    classes: Annotated[dict[str, Condition], Field(min_length=2)]  # by name; numbered in alphabetical order
    balance: bool = False  # keep as many images of each class as the rarest has, in each split
    seed: NonNegativeInt = 0  # of the images that are kept

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their numbers, as class folders would have it."""
        return tuple(sorted(self.classes))


def with_classes(card: DatasetCard, opened: SourceImages, choice: ClassesFrom) -> SourceImages:
    """The images of exactly one class each, with its number as label; balanced in each split if that is chosen.

    opened: with attributes, and with the split if the source has one of its own. A choice of images is a function of
    their order in `opened` and of the seed. Raises DataError for attributes that the source lacks, and for a class
    without any image in a split.
    """
    import numpy as np

    assert opened.attributes is not None
    meets = np.stack([_meets(card, opened, choice.classes[name]) for name in choice.names], 1)  # bool [N, K]
    rows = np.flatnonzero(meets.sum(1) == 1)
    labels, is_test = meets[rows].argmax(1), opened.held_out(card)[rows]
    _require_every_class(card, choice, labels, is_test)
    n_left_out = len(meets) - len(rows)
    rule = f"classes {', '.join(choice.names)} of attributes; {n_left_out:,} images of none, or of several, left out"
    if choice.balance:
        kept = _balanced(labels, is_test, len(choice.names), choice.seed)
        rule += f"; {len(rows) - len(kept):,} more left out, so that each class has as many images, seed {choice.seed}"
        rows, labels = rows[kept], labels[kept]
    chosen = subset(opened, rows)
    return replace(
        chosen,
        labels=labels.astype(np.int64),
        class_names=choice.names,
        split_rule="; ".join(filter(None, (opened.split_rule, rule))),
    )


def subset(opened: SourceImages, rows: np.ndarray) -> SourceImages:
    """Only some rows of an opened source of images."""

    def of(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[rows]

    return replace(
        opened,
        names=[opened.names[i] for i in rows],
        read=lambda i: opened.read(int(rows[i])),
        where=lambda i: opened.where(int(rows[i])),
        is_test=of(opened.is_test),
        labels=of(opened.labels),
        attributes=of(opened.attributes),
        parts={name: part[rows] for name, part in opened.parts.items()},
    )


def _meets(card: DatasetCard, opened: SourceImages, condition: Condition) -> np.ndarray:
    """Which images meet a condition: bool [N]."""
    import numpy as np

    assert opened.attributes is not None
    met = np.ones(len(opened.names), dtype=bool)
    for name, value in condition.items():
        if name not in opened.attribute_names:
            raise DataError(
                f"data set {card.name}: source.classes_from: no attribute {name!r}",
                suggest(name, opened.attribute_names),
            )
        met &= opened.attributes[:, opened.attribute_names.index(name)] == value
    return met


def _require_every_class(card: DatasetCard, choice: ClassesFrom, labels: np.ndarray, is_test: np.ndarray) -> None:
    for part, mine in (("training", labels[~is_test]), ("held-out", labels[is_test])):
        present = set(mine.tolist())
        absent = [name for k, name in enumerate(choice.names) if k not in present]
        if absent:
            raise DataError(
                f"data set {card.name}: no {part} image of class {', '.join(absent)}",
                "an image belongs to a class if it meets the condition of that class and of no other",
                "change source.classes_from so that no condition holds wherever another does",
            )


def _balanced(labels: np.ndarray, is_test: np.ndarray, n_classes: int, seed: int) -> np.ndarray:
    """Rows [M], in their order, with as many of each class as the rarest has in the same split."""
    import numpy as np

    kept = []
    for part in (False, True):
        groups = [np.flatnonzero((labels == k) & (is_test == part)) for k in range(n_classes)]
        fewest = min(map(len, groups))
        for k, group in enumerate(groups):
            rng = np.random.Generator(np.random.PCG64([seed, int(part), k]))
            kept.append(rng.permutation(group)[:fewest])
    return np.sort(np.concatenate(kept))
