"""Values that papers publish: `published.csv`, with the source and the certainty of each."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.core import paths
from benchmark.core.errors import DataError

PUBLISHED_FIELDS = (
    "paper",
    "year",
    "table",
    "method",
    "dataset",
    "resolution",
    "metric",
    "value",
    "spread",
    "n_samples",
    "protocol",
    "certainty",
    "source",
)
CERTAINTY = {
    "read": "read in the paper, or in the repository that is named as the source",
    "quoted": "read in another text that quotes it",
}


@dataclass(frozen=True)
class PublishedValue:
    """One published value; see results/reference/published.csv."""

    paper: str
    method: str
    dataset: str
    metric: str
    value: float
    fields: Mapping[str, str]  # all as the file has them

    @property
    def text(self) -> str:
        """The value as it was published, with its spread."""
        return self.fields["value"] + (f" ± {self.fields['spread']}" if self.fields["spread"] else "")


def find_published(results: Path) -> Path | None:
    """The file of published values: next to the records, in `reference/`, or in the checkout; None where none is."""
    places = (results, results / "reference", paths.REFERENCE)
    return next((place / "published.csv" for place in places if (place / "published.csv").is_file()), None)


def read_published(path: Path | None) -> list[PublishedValue]:
    """All published values of a file, in its order; none for None.

    Raises DataError naming the line for other columns, an unknown certainty, or a value that is no number.
    """
    if path is None:
        return []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            if tuple(columns) != PUBLISHED_FIELDS:
                raise DataError(f"{path}: columns", f"they are {columns}", f"use {', '.join(PUBLISHED_FIELDS)}")
            return [_published(path, line, plain) for line, plain in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read", str(error), "write it as CSV in UTF-8") from None


def _published(path: Path, line: int, plain: dict[str, str]) -> PublishedValue:
    if None in plain or None in plain.values():
        what = f"{path}, line {line}: {'too many' if None in plain else 'too few'} cells"
        raise DataError(what, f"{len(PUBLISHED_FIELDS)} are expected", "write one for each column")
    value = number(plain["value"] or "")
    if value is None:
        raise DataError(
            f"{path}, line {line}: value {plain['value']!r}", "not a number, or not finite", "write a number"
        )
    if plain["certainty"] not in CERTAINTY:
        raise DataError(
            f"{path}, line {line}: certainty {plain['certainty']!r}", f"known: {', '.join(CERTAINTY)}", "use one"
        )
    return PublishedValue(plain["paper"], plain["method"], plain["dataset"], plain["metric"], value, plain)


def number(text: str) -> float | None:
    """The finite number that a text is; None when it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
