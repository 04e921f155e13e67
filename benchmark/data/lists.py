"""Text files that list the images of a split. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from benchmark.core.errors import DataError
from benchmark.core.text import read_text
from benchmark.data.layout import MAX_CLASSES, MAX_SHOWN


def read_list(path: Path) -> list[tuple[str, int]]:
    """(relative posix path, class number) of each line, as in "train/n01440764/n01440764_190.JPEG 0".

    Raises DataError naming the lines (counted from 1) that cannot be used.
    """
    lines = read_text(path).splitlines()
    rows: list[tuple[str, int]] = []
    bad: list[str] = []
    classes: dict[str, int] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name.strip() or not _is_class(label) or _leads_outside(name):
            bad.append(f"line {number}: {line[:100]}")
            continue
        name = PurePosixPath(name.strip()).as_posix()
        if classes.setdefault(name, int(label)) != int(label):
            bad.append(f"line {number}: {name[:100]} has class {label}, but class {classes[name]} above")
            continue
        if first.setdefault(name, number) != number:
            bad.append(f"line {number}: {name[:100]} is in line {first[name]}, too")
            continue
        rows.append((name, int(label)))
    if bad or not rows:
        raise DataError(
            f"{path}: {len(bad)} bad lines" if bad else f"{path}: it lists nothing",
            "\n        ".join(bad[:MAX_SHOWN]),
            f"a line is an image's relative path, a blank, and the number of its class, below {MAX_CLASSES:,}",
        )
    return rows


def _is_class(label: str) -> bool:
    return label.isdecimal() and len(label) < 20 and int(label) < MAX_CLASSES


def _leads_outside(name: str) -> bool:
    path = PurePosixPath(name.strip())
    return path.is_absolute() or ".." in path.parts
