"""What runs left behind, as a flat manifest {item: value} that two revisions of the code can be compared by.

An item is a file's path and, for a file that has parts, the way to one of them: `.../checkpoint.pt > state > G >
net.0.weight`. A value is text: a number in full, a hash of a tensor or a picture. What depends on the clock, the
machine or the commit is masked, so that its absence is noticed and its value is not: times and environment of records,
seconds of stages and checkpoints, the cost tables' columns of seconds and memory.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

BELOW = " > "  # between a file and its part, and between a part and its own
MASKED = "(masked)"
LONGEST = 200  # characters of a value; longer ones are cut, and end with their hash

Way = tuple[str, ...]  # to a part of a file
Leaf = tuple[Way, str]  # and its value

KEPT = ("device", "threads", "ranks")  # of a record's environment: these the code decides
_MEASURED = ("s a step", "Images a s", "Peak memory MB", "Machine")  # columns of cost tables, with all that end in " s"


def manifest(folder: Path) -> dict[str, str]:
    """Every file below a folder, and every part of those that have parts."""
    items: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        parts = reader_of(path)
        if parts is None:
            items[name] = sha256(path.read_bytes())
            continue
        try:
            items |= {name: "a file"} | {BELOW.join((name, *way)): value for way, value in parts(path)}
        except Exception as error:  # a broken file is a difference, whatever its reader says of it
            items[name] = cut(f"cannot be read: {type(error).__name__}, {sha256(path.read_bytes())}")
    return items


def reader_of(path: Path) -> Callable[[Path], Iterator[Leaf]] | None:
    """How a file's parts are read; None for a file that is compared by its bytes."""
    if path.name == "env.json":
        return lambda path: leaves(json.loads(path.read_text()), ("environment",), masked=of_environment)
    if path.parent.name == "records":
        return lambda path: leaves(json.loads(path.read_text()), masked=of_record)
    if path.parent.name == "tables" and path.stem.endswith("-cost"):
        return cost_table
    return _READERS.get(path.suffix)


def sha256(content: bytes) -> str:
    """The hash of some bytes, as far as anyone needs it."""
    return hashlib.sha256(content).hexdigest()[:32]


# ---- plain values ---------------------------------------------------------------------------------------------------


def leaves(value: Any, way: Way = (), masked: Callable[[Way], bool] = lambda way: False) -> Iterator[Leaf]:
    """The leaves of nested plain values. Entries of a list that have an `id` are named by it; numbers stay together."""
    if masked(way):
        yield way, MASKED
    elif isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, (*way, str(key)), masked)
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for key, part in zip(names_of(value), value):
            yield from leaves(part, (*way, key), masked)
    else:
        yield way, cut(json.dumps(value, ensure_ascii=False, default=str))


def names_of(entries: list[Any]) -> list[str]:
    """Names of a list's entries: their ids where each has one of its own, else their places."""
    ids = [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
    return ids if len(set(ids)) == len(entries) else [str(i) for i in range(len(entries))]


def cut(text: str) -> str:
    """A value that is short enough to be shown."""
    return text if len(text) <= LONGEST else f"{text[:60]}... {sha256(text.encode())}"


def of_environment(way: Way) -> bool:
    """Is this a leaf of a record's environment that the machine or the commit decides?"""
    inside = way[:1] == ("environment",) and way[-1] not in ("environment", "libraries")
    return inside and way[-1] not in KEPT


def of_record(way: Way) -> bool:
    """Is this a leaf of a record that the clock, the machine or the commit decides?"""
    return (way[:1] == ("time",) and len(way) == 2) or of_environment(way)


def of_clock(way: Way) -> bool:
    """Is this the seconds that an artefact or a checkpoint took, or the hash of entries that has them in it?"""
    return way in (("seconds",), ("entries_sha256",))


def json_leaves(path: Path) -> Iterator[Leaf]:
    """Of a JSON file that is no record: an artefact's, the prepared data's, a drift gate's."""
    return leaves(json.loads(path.read_text()), masked=lambda way: of_clock(way) or of_environment(way))


def yaml_leaves(path: Path) -> Iterator[Leaf]:
    """Of a YAML file."""
    return leaves(yaml.safe_load(path.read_text()))


def lines(path: Path) -> Iterator[Leaf]:
    """Of a log: each line as it stands."""
    return text_lines(path.read_text())


def text_lines(text: str) -> Iterator[Leaf]:
    """The lines of a text, by number."""
    for i, line in enumerate(text.splitlines()):
        yield (f"line {i + 1}",), cut(line)


def cost_table(path: Path) -> Iterator[Leaf]:
    """Of a cost table the columns that the machine does not decide; of its LaTeX and Markdown forms no more than that
    they are there. `together` has them whole: there the times are replaced by known ones."""
    if path.suffix != ".csv":
        return
    with open(path, newline="") as file:
        heads, *rows = csv.reader(file)
    yield ("heads",), cut(" | ".join(heads))
    kept = [
        k for k, head in enumerate(heads) if not head.endswith(" s") and head not in (*_MEASURED, "Evaluation share")
    ]
    for i, row in enumerate(rows):
        yield (f"row {i + 1}",), cut(" | ".join(row[k] for k in kept))


# ---- tensors --------------------------------------------------------------------------------------------------------


def tensors(path: Path) -> Iterator[Leaf]:
    """Every tensor and plain value of a file of torch's."""
    return saved(torch.load(path, map_location="cpu", weights_only=True), ())


def saved(value: Any, way: Way) -> Iterator[Leaf]:
    """The leaves of what torch saved: tensors by type, shape and hash."""
    if isinstance(value, torch.Tensor):
        yield way, tensor_text(value)
    elif isinstance(value, dict) and value:
        for key, part in value.items():
            yield from saved(part, (*way, str(key)))
    elif isinstance(value, list | tuple) and value:
        for i, part in enumerate(value):
            yield from saved(part, (*way, str(i)))
    else:
        yield way, MASKED if of_clock(way) else cut(repr(value))


def tensor_text(tensor: torch.Tensor) -> str:
    """Type, shape and hash of a tensor, in whichever order it lies in memory."""
    return f"{tensor.dtype} {list(tensor.shape)} {sha256(tensor.detach().contiguous().numpy().tobytes())}"


def arrays(path: Path) -> Iterator[Leaf]:
    """Of an .npz file; the file's own hash is in the provenance beside it."""
    with np.load(path) as found:
        for name in found.files:
            array = found[name]
            yield (name,), f"{array.dtype} {list(array.shape)} {sha256(np.ascontiguousarray(array).tobytes())}"


_READERS: dict[str, Callable[[Path], Iterator[Leaf]]] = {
    ".json": json_leaves,
    ".yaml": yaml_leaves,
    ".jsonl": lines,
    ".pt": tensors,
    ".npz": arrays,
}
