"""Carrying out the runs of `same_runs.py` with the code of a tree: what they print and leave behind, as a manifest."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import same_runs
from same_files import BELOW, KEPT, manifest, text_lines
from same_revision import benchmark
from same_runs import Group

AT_ONCE = 2  # processes
LONGEST = ("shapes", "verbs", "papers")  # groups that begin first, so that none is still running alone at the end
STATUS = "exit status"  # the item of how a command ended


def left_by(tree: Path, name: str, kept: Path | None, only: Sequence[str] = ()) -> dict[str, str]:
    """The manifest of everything that the code of a tree leaves behind.

    kept: where the files stay; None: nowhere. only: names of some groups, which then make no tables; none named: all.
    """
    began, worked = time.perf_counter(), cpu_seconds()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if kept is not None:
            folder = kept.absolute() / name.replace(" ", "-")
            folder.mkdir(parents=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            wanted = [group for group in same_runs.groups() if group.name in only or not only]
            wanted.sort(key=lambda group: group.name not in LONGEST)
            parts = list(pool.map(lambda group: carry_out(group, tree, folder), wanted))
        items = {item: value for part in parts for item, value in part.items()}
        if len(wanted) == len(same_runs.groups()):
            items |= put_together(tree, folder)
    seconds = f"{time.perf_counter() - began:.0f} s, {cpu_seconds() - worked:.0f} s of CPU time"
    print(f"{name}: {seconds}", file=sys.stderr, flush=True)
    return items


def cpu_seconds() -> float:
    """What all processes that have ended took: wall clock says little beside other work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def carry_out(group: Group, tree: Path, folder: Path) -> dict[str, str]:
    """Run a group's commands, one after the other. What they printed and left behind, under the group's name."""
    here, files = folder / group.name, folder / "files" / group.name
    here.mkdir(exist_ok=True)
    files.mkdir(parents=True)
    for name, text in group.files.items():
        (files / f"{name}.yaml").write_text(text)
    items, began = {}, time.perf_counter()
    for i, command in enumerate(group.commands):
        place = f"{group.name}/command {i + 1}, {command.arguments[0]}"
        done = benchmark(tree, [in_place(argument, here, files) for argument in command.arguments], folder / "scratch")
        items |= printed(place, command.status, done, folder)
        if done.returncode != command.status:
            break  # the others need what this one should have made
    print(f"  {group.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return items | {f"{group.name}/{item}": value for item, value in manifest(here).items()}


def in_place(argument: str, here: Path, files: Path) -> str:
    """An argument with the names of folders, and of the one path that a star stands for."""
    text = argument.replace("{here}", str(here)).replace("{files}", str(files))
    if "*" not in text:
        return text
    found = sorted(here.glob(str(Path(text).relative_to(here))))
    return str(found[0]) if len(found) == 1 else text


def printed(place: str, status: int, done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, str]:
    """How a command ended, and what it printed, without the names of temporary folders. status: the expected one."""
    ended = str(done.returncode)
    if done.returncode != status:
        last = (done.stderr.strip() or "nothing on standard error").splitlines()[-1]
        ended = f"{done.returncode}, not {status} as it should be: {last}"
    items = {f"{place}{BELOW}{STATUS}": ended.replace(str(folder), "FOLDER")}
    text = done.stdout.replace(str(folder), "FOLDER")
    return items | {BELOW.join((place, "output", *way)): value for way, value in text_lines(text)}


# ---- tables and the report ------------------------------------------------------------------------------------------


def put_together(tree: Path, folder: Path) -> dict[str, str]:
    """The suite's tables, all tables, and the report of all groups' runs in one results folder.

    Times and environments of the records are replaced by known ones before, so that every byte can be compared.
    """
    results = folder / same_runs.TOGETHER.name / "results"
    for group in same_runs.groups():
        own = folder / group.name / "results"
        for path in [*own.glob("records/*.json"), *(own.glob("runs/*/*/*") if group.pictured else ())]:
            move(path, results / path.relative_to(own))
    for path in (results / "records").glob("*.json"):
        path.write_text(json.dumps(timeless(json.loads(path.read_text())), ensure_ascii=False))
    items = carry_out(same_runs.TOGETHER, tree, folder)
    compared_before = tuple(f"{same_runs.TOGETHER.name}/results/{kind}/" for kind in ("records", "runs"))
    return {item: value for item, value in items.items() if not item.startswith(compared_before)}


def move(path: Path, target: Path) -> None:
    """Move a record or a run's folder. Two groups must not have the same one."""
    assert not target.exists(), f"{target.name} is a run of two groups"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record as if every machine were the same and every time known: a number that its run and its name decide."""

    def known(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: known(name, part) for name, part in value.items()}
        if key in KEPT:
            return value
        if isinstance(value, str):
            return f"its {key}"
        return None if value is None else (1 + zlib.crc32(f"{record['run']} {key}".encode()) % 4000) / 8

    utc = {"utc": "2000-01-01T00:00:00+00:00"}
    return record | {"time": known("time", record["time"]) | utc, "environment": known("", record["environment"])}
