"""Some classes of scikit-learn's handwritten digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Seed, Share, SourceImages, SourceKind
from benchmark.data.sources.digits import Digits

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SomeDigits(SourceKind):
    """Some classes of the same digits, split as there: to ask a method for classes that it never saw."""

    kind: Literal["some_digits"] = "some_digits"
    classes: Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], Field(min_length=1)]  # in this order
    test_share: Share = 1 / 3  # held-out share
    seed: Seed = 0  # of the split

    serves = ("class",)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """The rows of these classes, numbered by their place in `classes`."""
        import numpy as np

        whole = Digits(test_share=self.test_share, seed=self.seed).open(card, data_root)
        assert whole.labels is not None
        assert whole.is_test is not None
        rows = np.flatnonzero(np.isin(whole.labels, self.classes))
        number = {k: i for i, k in enumerate(self.classes)}
        return replace(
            whole,
            names=[whole.names[i] for i in rows],
            read=lambda i: whole.read(int(rows[i])),
            where=lambda i: whole.where(int(rows[i])),
            is_test=whole.is_test[rows],
            labels=np.array([number[k] for k in whole.labels[rows].tolist()]),
            class_names=tuple(whole.class_names[k] for k in self.classes),
        )
