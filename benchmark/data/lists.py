"""Text files that list the pictures of a split. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from benchmark.core.errors import DataError
from benchmark.data.layout import MAX_SHOWN


def read_list(path: Path) -> list[tuple[str, int]]:
    """(relative posix path, class number) of each line, as in "train/n01440764/n01440764_190.JPEG 0".

    Raises DataError naming the lines (counted from 1) that cannot be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read", str(error), "fetch it again") from None
    rows: list[tuple[str, int]] = []
    bad: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name.strip() or not label.isdecimal() or _leads_outside(name):
            bad.append(f"line {number}: {line[:100]}")
            continue
        rows.append((name.strip(), int(label)))
    if bad or not rows:
        raise DataError(
            f"{path}: {len(bad)} bad lines" if bad else f"{path}: it lists nothing",
            "\n        ".join(bad[:MAX_SHOWN]),
            "a line is a picture's relative path, a blank, and the number of its class",
        )
    return rows


def _leads_outside(name: str) -> bool:
    path = PurePosixPath(name.strip())
    return path.is_absolute() or ".." in path.parts
