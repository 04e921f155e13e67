"""A table of plain cells, which are no metrics: costs, supervision, claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.core.stats import format_cell, summary

if TYPE_CHECKING:
    import pandas as pd

EMPTY = "–"  # what readers see of a value that is not there
PlainCell = str | float | int | None


@dataclass(frozen=True)
class PlainTable:
    """A table of plain cells, which are no metrics: no means, no bold."""

    name: str  # of its files
    title: str
    n_labels: int  # columns of text at the left
    heads: tuple[str, ...]
    lines: tuple[tuple[PlainCell, ...], ...]  # None: the records do not have it
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table as a data frame: a column a head, numbers as numbers, NaN where the records have none."""
        return self.cells().infer_objects()

    def cells(self) -> pd.DataFrame:
        """The cells as they are: whole numbers stay whole among others."""
        import pandas as pd  # half a second to import, and most readers of tables need none of it

        return pd.DataFrame(list(self.lines), columns=list(self.heads), dtype=object)


def cell_text(cell: PlainCell) -> str:
    """A cell for readers: whole numbers in full, others to four digits."""
    if cell is None:
        return EMPTY
    return f"{cell:,}" if isinstance(cell, int) else format_cell(summary([cell])) if isinstance(cell, float) else cell


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells for a terminal: each column as wide as its widest cell."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)).rstrip() for line in lines]
