"""The record of a run: one JSON file, written last. It exists: the run is over, done or failed.

Everything that a table, a figure or a drift check shows derives from records alone. A record's `result` is a function
of code, configuration, data and machine arithmetic: a run that was killed and resumed writes the same `result` as one
that was not. Clock times and the environment are kept apart from it.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from benchmark.config import content_hash
from benchmark.errors import UserError
from benchmark.files import read_json, write_json

SCHEMA = 1

_LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch-fidelity",
    "clean-fid",
    "pillow",
    "pandas",
)


@dataclass(frozen=True)
class Value:
    """One number and the protocol that made it.

    id: machine name, unique in a record (`fd_judge`, `control_accuracy_judge`).
    name: what a table's column is called (`FD-judge`).
    value: None when status is not "ok".
    better: which direction is good; None where neither is.
    protocol: everything that decides the value besides the model: extractor and weights, counts, reference split,
        resize, raw or average weights, seed of the evaluation.
    conditions: belongs to the model: unlike conditionings are asked for unlike things and still share a column, because
        all are compared with the same reference. It stands beside every number.
    """

    id: str
    name: str
    value: float | None
    better: Literal["lower", "higher"] | None
    protocol: dict[str, Any]
    low: float | None = None  # 95 % interval of the measurement, where the metric has one
    high: float | None = None
    status: Literal["ok", "unavailable", "failed"] = "ok"
    reason: str = ""  # why it is not ok
    details: dict[str, Any] = field(default_factory=dict)  # per class or attribute, the floor, chance
    conditions: dict[str, Any] = field(default_factory=dict)  # what the method was asked for, and from which split

    @property
    def protocol_key(self) -> str:
        """Two values may share a column only if their keys are equal."""
        return content_hash({"id": self.id, **self.protocol})[:16]

    def plain(self) -> dict[str, Any]:
        """For JSON. A value that is not finite becomes `failed`."""
        plain = asdict(self) | {"protocol_key": self.protocol_key}
        if self.value is not None and not math.isfinite(self.value):
            plain |= {"value": None, "status": "failed", "reason": f"the value is {self.value}"}
        return plain


@dataclass(frozen=True)
class Record:
    """One run, read back."""

    run: str
    plain: dict[str, Any]

    @property
    def status(self) -> str:
        """ "done" or "failed"."""
        return self.plain["status"]

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """The values by id; empty for a failed run."""
        return {value["id"]: value for value in (self.plain["result"] or {}).get("values", [])}

    @property
    def scored_on(self) -> str:
        """The dataset its images were compared with: of a transfer not the one its run learned from."""
        return self.plain.get("config", {}).get("transfer", {}).get("name", self.plain["dataset"])


def record_path(results: Path, run: str) -> Path:
    """Where the record of a run lies."""
    return results / "records" / f"{run}.json"


def write_record(
    results: Path,
    run: str,
    *,
    status: Literal["done", "failed"],
    reason: str,
    identity: dict[str, Any],
    result: dict[str, Any] | None,
    time: dict[str, Any],
    device: dict[str, Any],
) -> dict[str, Any]:
    """Write a run's record, atomically, and return it.

    identity: method, dataset, recipe, seed, changes (what differs from the recipe), config, config_hash, supervision.
    result: data, stages, parameters, steps, images_seen, weights_sha256, values; None for a failed run.
    time: seconds of training, stages and evaluation.
    """
    record = {
        "schema": SCHEMA,
        "run": run,
        "status": status,
        "reason": reason,
        **identity,
        "result": result,
        "time": {"utc": datetime.now(UTC).isoformat(timespec="seconds"), **time},
        "environment": environment() | device,
    }
    write_json(record_path(results, run), record)
    return record


def read_record(path: Path) -> Record:
    """Read one record. Raises UserError, naming the file, when it is of another schema or not whole."""
    plain = read_json(path)
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        found = plain.get("schema") if isinstance(plain, dict) else "none"
        raise UserError(f"{path}: not a record of this version", f"schema {found}, expected {SCHEMA}", "move it away")
    return Record(plain["run"], plain)


def read_records(results: Path) -> list[Record]:
    """All records under a results folder, by run name."""
    return [read_record(path) for path in sorted((results / "records").glob("*.json"))]


def environment() -> dict[str, Any]:
    """What a difference between two machines' numbers could come from."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpu": _cpu(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "gantlet": _version("gantlet"),
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The code's git commit, with `+changes` when the tree differs from it; None outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", os.fspath(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10)
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")) or None


def show(record: dict[str, Any], file: Any = None) -> None:
    """Print a run's row: one line a value."""
    file = file or sys.stdout
    title = f"{record['method']} on {record['dataset']}, recipe {record['recipe']}, seed {record['seed']}"
    if record["recipe"] == "pictures":  # not of a run
        title = f"{record['method']} against {record['dataset']}"
    print(f"\n{title}: {record['status']}{': ' + record['reason'] if record['reason'] else ''}", file=file)
    for value in (record["result"] or {}).get("values", []):
        arrow = {"lower": "v", "higher": "^", None: " "}[value["better"]]
        shown = f"{value['value']:.4g}" if value["value"] is not None else f"{value['status']}: {value['reason']}"
        interval = f"  [{value['low']:.4g}, {value['high']:.4g}]" if value["low"] is not None else ""
        print(f"  {value['name']:<34} {arrow} {shown}{interval}", file=file)


def show_protocol(record: dict[str, Any], file: Any = None) -> None:
    """Print what stands behind an evaluation's numbers: counts, extractors, control rows, a protocol's differences."""
    file = file or sys.stdout
    values = (record["result"] or {}).get("values", [])
    for text in dict.fromkeys(text for value in values for text in value["protocol"].get("differences", [])):
        print(f"  note: {text}", file=file)
    for value in values:
        controls = value["details"].get("controls")
        if controls and value["id"].startswith("fd_"):
            rows = ", ".join(f"{row}: {number:.4g}" for row, number in controls.items())
            print(f"  {value['name']} of {rows}", file=file)
