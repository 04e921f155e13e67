"""Tables of binary attributes: CSV, or TXT in CelebA's form. Nothing heavy is imported before one is read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError
from benchmark.core.text import read_text
from benchmark.data.layout import MAX_SHOWN

if TYPE_CHECKING:
    import numpy as np


@dataclass
class AttributeTable:
    """One row an image."""

    path: Path
    attribute_names: tuple[str, ...]
    files: list[str]  # N relative posix paths
    values: np.ndarray  # uint8 [N, A], 0 or 1


def read_attributes(path: Path) -> AttributeTable:
    """Read a table whose first column is a file name and whose others are all 0/1 or all -1/1 (-1 becomes 0).

    Raises DataError naming the rows (counted from 1, the first line of the file) that cannot be used.
    """
    import numpy as np

    header, rows = _read(path)
    files: list[str] = []
    values: list[bytes] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    levels: set[str] = set()
    for line, row in rows:
        problem = _problem(row, header, seen)
        if problem:
            problems.append(f"row {line}: {problem}")
            if len(problems) == MAX_SHOWN:
                break
            continue
        seen[row[0]] = line
        levels.update(row[1:])
        files.append(row[0])
        values.append(bytes(value.strip() == "1" for value in row[1:]))
    if problems:
        raise DataError(
            f"{path}: {len(problems)} bad row{'s' * (len(problems) > 1)}",
            "\n        ".join(problems),
            "the first column is the file's name, every other value 0 or 1 (or -1 or 1)",
        )
    if {"0", "-1"} <= {level.strip() for level in levels}:
        raise DataError(f"{path}: both 0 and -1 occur", "either could mean no, or not known", "write 0/1 or -1/1")
    if not files:
        raise DataError(f"{path}: the table has no rows", mend="give it one row an image")
    table = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(files), len(header))
    return AttributeTable(path, tuple(header), files, table)


def _problem(row: list[str], header: list[str], seen: dict[str, int]) -> str:
    """Why a row cannot be used; empty when it can."""
    if len(row) != len(header) + 1:
        return f"{len(row) - 1} values for {len(header)} attributes"
    if row[0] in seen:
        return f"{row[0]} was already given in row {seen[row[0]]}"
    for name, value in zip(header, row[1:]):
        if value.strip() not in ("0", "1", "-1"):
            return f"{row[0]}: {name} is {value!r}, not 0, 1 or -1"
    return ""


def read_partition(path: Path) -> dict[str, int]:
    """CelebA's list_eval_partition: file name -> 0 train, 1 validation, 2 test. Raises DataError naming a bad row."""
    partition: dict[str, int] = {}
    for line, row in _lines(path):
        if line == 1 and path.suffix == ".csv":
            continue  # its header
        if len(row) != 2 or row[1].strip() not in ("0", "1", "2"):
            raise DataError(
                f"{path}: row {line}", f"{' '.join(row)!r} is not a file name and 0, 1 or 2", "fetch the file again"
            )
        if partition.setdefault(row[0], int(row[1])) != int(row[1]):
            raise DataError(f"{path}: row {line}", f"{row[0]} is in two partitions", "fetch the file again")
    return partition


def _read(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the attributes, and the rows with their line numbers."""
    rows = _lines(path)
    _, first = next(rows, (0, []))
    if path.suffix.lower() != ".csv" and len(first) == 1 and first[0].isdigit():  # CelebA: count, names, rows
        _, names = next(rows, (0, []))
        return _distinct(path, names), _counted(path, rows, int(first[0]))
    return _distinct(path, first[1:]), rows


def _distinct(path: Path, names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    if not names or len(set(names)) != len(names):
        raise DataError(
            f"{path}: the header does not name the attributes",
            f"it reads {names}",
            "name each attribute once in the first line",
        )
    return names


def _counted(path: Path, rows: Iterator[tuple[int, list[str]]], count: int) -> Iterator[tuple[int, list[str]]]:
    """The rows, checked to be as many as the first line says: a download that broke off is noticed."""
    n = 0
    for row in rows:
        n += 1
        yield row
    if n != count:
        raise DataError(
            f"{path}: {n:,} rows, but its first line says {count:,}", "it is not whole", "fetch the file again"
        )


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows with line numbers of a CSV (comma, semicolon or tab) or TXT (white space); empty lines are left out."""
    try:
        with io.StringIO(read_text(path, mend="save it as UTF-8 text"), newline="") as file:
            if path.suffix.lower() == ".csv":
                header = file.readline()
                file.seek(0)
                delimiter = max(",;\t", key=header.count)
                reader = csv.reader(file, delimiter=delimiter)
                rows: Iterator[list[str]] = ([cell.strip() for cell in row] for row in reader)
            else:
                rows = (line.split() for line in file)
            yield from ((line, row) for line, row in enumerate(rows, start=1) if any(row))
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table", str(error), "save it as UTF-8 text") from None
