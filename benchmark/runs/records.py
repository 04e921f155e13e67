"""The record of a run: one JSON file, written last. It exists: the run is over, done or failed.

Everything that a table, a figure or a drift check shows derives from records alone. A record's `result` is a function
of code, configuration, data and machine arithmetic: a run that was killed and resumed writes the same `result` as one
that was not. Clock times and the environment are kept apart from it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from benchmark.core.environment import environment
from benchmark.core.errors import UserError
from benchmark.core.files import read_json, write_json
from benchmark.metrics.catalogue import row_of

SCHEMA = 1


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
        if controls and row_of(value["id"]).frechet:
            rows = ", ".join(f"{row}: {number:.4g}" for row, number in controls.items())
            print(f"  {value['name']} of {rows}", file=file)
