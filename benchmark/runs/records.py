"""The record of a run: one JSON file, written last. It exists: the run is over, done or failed.

Everything that a table, a figure or a drift check shows derives from records alone. A record's `result` is a function
of code, configuration, data and machine arithmetic: a run that was killed and resumed writes the same `result` as one
that was not. Clock times and the environment are kept apart from it.

In a program a record is a `Record`, whose fields have types. Records of other versions of the code stay readable: what
they lack has a default, and keys that are not known here are kept. `to_dict` gives back what was read, value for value
and in the order of the file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from benchmark.core.environment import environment
from benchmark.core.errors import ArgumentError, UserError
from benchmark.core.files import write_json
from benchmark.core.names import path_component, printable
from benchmark.metrics.catalogue import OWN_CLASSIFIER, row_of
from benchmark.metrics.extractors.hashes import network_hashes
from benchmark.runs.record_checks import (
    Changes,
    Config,
    Environment,
    Name,
    Time,
    check_name,
    copies,
    tree_problem,
)
from benchmark.runs.record_fields import Part, RecordedValue, Result

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


def request_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a recipe, less `eval.metrics`: it decides how many numbers a record has, and moves none of them.

    Records from before that setting lack it. They are of the same request as today's with all metrics.
    """
    evaluation = changes.get("eval")
    if not isinstance(evaluation, Mapping) or "metrics" not in evaluation:
        return dict(changes)
    rest = {key: value for key, value in evaluation.items() if key != "metrics"}
    return {key: rest if key == "eval" else value for key, value in changes.items() if key != "eval" or rest}


class Record(Part):
    """One run: what was requested, what came of it, how long it took and where.

    config: every setting. changes: what of it differs from the recipe. config_hash: of everything but the seed.
    result: None for a failed run. time: seconds of training, stages and evaluation, and when it was written.
    """

    def __repr__(self) -> str:
        """Its name and state: a notebook shows it after each call."""
        return f"Record({self.run!r}, {self.status})"

    __str__ = __repr__

    schema_version: int = Field(alias="schema")
    run: Name  # its name, and its file's
    status: Literal["done", "failed"]
    reason: str = ""  # why it failed
    method: Name
    dataset: Name
    recipe: Name
    seed: int = Field(ge=0)
    changes: Changes = {}
    config_hash: str = Field("", pattern=r"^[A-Za-z0-9_.-]{0,128}$")
    config: Config = {}
    result: Result | None = None
    time: Time = {}
    environment: Environment = {}

    _keys: tuple[str, ...] = PrivateAttr(())  # those that were given, in their order
    _results: Path | None = PrivateAttr(None)  # the results folder it lies in
    _own: bool = PrivateAttr(False)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, given: Any, validate: ModelWrapValidatorHandler[Record]) -> Record:
        record = validate(given)
        record._keys = tuple(given)
        return record

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what was given, value for value and in the same order."""
        plain = super().to_dict()
        plain["schema"] = plain.pop("schema_version")
        return {key: plain[key] for key in self._keys}

    @cached_property
    def values(self) -> dict[str, RecordedValue]:
        """The values by id; empty for a failed run."""
        return {value.id: value for value in self.result_or_empty.values}

    def network_of(self, value: RecordedValue) -> str:
        """The network behind a value that this run's method itself trained against; empty where there is none.

        Such a value says how well the method did what it was trained to do, and ranks it with no other. Networks are
        compared by hash. A value by the method's own classifier is one, too. Empty for records that do not say what
        their method trained against.
        """
        known = self.result_or_empty.trained_against
        if known is None:
            return ""
        if value.protocol.get("scorer") == OWN_CLASSIFIER:
            return "its own classifier"
        behind = network_hashes(value.protocol)
        return ", ".join(network.name for network in known if behind & set(network.hashes))

    @property
    def result_or_empty(self) -> Result:
        """The result; of a failed run one in which nothing is given."""
        return Result() if self.result is None else self.result

    @property
    def is_own(self) -> bool:
        """Whether it is one's own in a table of published records, where its row is marked (`mark_as_own`)."""
        return self._own

    @property
    def scored_on(self) -> str:
        """The dataset its images were compared with: of a transfer not the one its run learned from."""
        return str(self.config.get("transfer", {}).get("name", self.dataset))

    @property
    def folder(self) -> Path:
        """The folder of the run: configuration, log, weights and figures; `load_run` reads it.

        Raises ArgumentError for a record that was not read from, or written to, a results folder.
        """
        if self._results is None:
            raise ArgumentError(
                f"{self.run}: the record has no folder", "it was made in memory", "read it from a results folder"
            )
        return self.folder_in(self._results)

    def folder_in(self, results: Path) -> Path:
        """The folder of the run below a results folder: `runs/<dataset>/<method>/<recipe>-s<seed>-<hash>`."""
        leaf = self.run.removeprefix(f"{self.dataset}-{self.method}-")
        parts = (path_component(part) for part in (self.dataset, self.method, leaf))
        return results.joinpath("runs", *parts)

    @property
    def scores(self) -> pd.DataFrame:
        """The values as a table: a row a metric, by its id; a value that is not there is NaN, with its status.

        Columns: name, value, low and high (95 % interval of the measurement), better, status, reason, protocol_key,
        trained_against. Two values are comparable when their protocol keys are equal and neither run trained against
        the network behind them, which trained_against names.
        """
        import pandas as pd  # not needed to train, and slow to import

        columns = ["name", "value", "low", "high", "better", "status", "reason", "protocol_key"]
        lines = [[*(getattr(value, c) for c in columns), self.network_of(value)] for value in self.values.values()]
        frame = pd.DataFrame(
            lines, columns=[*columns, "trained_against"], index=pd.Index(self.values, name="metric", dtype=object)
        )
        return frame.astype({"value": float, "low": float, "high": float})


def record_path(results: Path, run: str) -> Path:
    """Where the record of a run lies."""
    return results / "records" / f"{path_component(run) if len(run) < 120 else run}.json"


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
) -> Record:
    """Write a run's record, atomically, and return it.

    identity: method, dataset, recipe, seed, changes (what differs from the recipe), config, config_hash.
    result: the fields of `Result`, as JSON has them; None for a failed run.
    time: seconds of training, stages and evaluation. The time of writing, utc, is added where it is not given.
    """
    record = Record.model_validate(
        {
            "schema": SCHEMA,
            "run": run,
            "status": status,
            "reason": reason,
            **identity,
            "result": result,
            "time": {"utc": datetime.now(UTC).isoformat(timespec="seconds")} | time,
            "environment": environment() | device,
        }
    )
    write_json(record_path(results, run), record.to_dict())
    record._results = results
    return record


def read_record(path: Path) -> Record:
    """Read one record. Raises UserError, naming the file, when it is of another schema, not whole, or not the run that
    its file is named after.
    """
    mend = "move it away; the run can be made again"
    try:
        plain = from_json(path.read_bytes(), allow_inf_nan=False, cache_strings="keys")  # twice as fast as `json`
    except OSError as error:
        raise UserError(f"{path}: cannot be read", error.strerror or str(error), "check the permissions") from None
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON", str(error), mend) from None
    if not isinstance(plain, dict) or type(plain.get("schema")) is not int or plain["schema"] != SCHEMA:
        found = str(plain.get("schema"))[:40] if isinstance(plain, dict) else "none"
        raise UserError(f"{path}: not a record of this version", f"schema {found}, expected {SCHEMA}", "move it away")
    if problem := tree_problem(plain):
        raise UserError(f"{path}: not a whole record", problem, mend)
    try:
        record = Record.model_validate(plain)
    except ValidationError as error:
        bad = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:MOST_PROBLEMS])
        raise UserError(f"{path}: not a whole record", bad, mend) from None
    if problem := check_name(record, path.name.removesuffix(".json")):
        raise UserError(f"{path}: not the record of the run that it is named after", problem, mend)
    record._results = path.parent.parent
    return record


MOST_PROBLEMS = 5  # of one record that a message names


@dataclass(frozen=True)
class FoundRecords:
    """The records of a results folder that can be used, by run name, and why others cannot."""

    records: list[Record]
    left_out: list[UserError]

    def warn(self) -> None:
        """Name on standard error what is left out."""
        for error in self.left_out:
            print(printable(f"left out: {error}"), file=sys.stderr, flush=True)

    @property
    def exit_code(self) -> int:
        """Of a command that shows these records: 2 where some are left out, else 0."""
        return UserError.exit_code if self.left_out else 0


def find_records(results: Path) -> FoundRecords:
    """All records under a results folder, by run name.

    One that cannot be read, or is a copy of another under another seed, is left out with the reason.
    """
    records, left_out = [], []
    for path in _files(results / "records"):
        try:
            records.append(read_record(path))
        except UserError as error:
            left_out.append(error)
    copied = copies(records)
    for copy, original in copied.items():
        what = f"{record_path(results, copy)}: a copy of {original}"
        left_out.append(UserError(what, "its weights and samples are the same to the bit", "remove one of the two"))
    return FoundRecords([record for record in records if record.run not in copied], left_out)


def _files(folder: Path) -> list[Path]:
    """The files of records in a folder; none where it is not there. Raises UserError when it cannot be read."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(".json")]
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{folder}: cannot be read", reason, "check the path and its permissions") from None


def read_records(results: Path) -> list[Record]:
    """All records under a results folder that can be used, by run name; others are named on standard error."""
    found = find_records(results)
    found.warn()
    return found.records


def one_a_run(records: Iterable[Record]) -> list[Record]:
    """Each run once, in the order of its first record.

    A run that is scored again by the same settings, because a file of weights is there now, gets a second record with
    the same hash and seed. It is still one run: see `_joined`.
    """
    found: dict[tuple[str, int, bool], list[Record]] = {}
    for record in records:
        found.setdefault((record.config_hash or record.run, record.seed, record.is_own), []).append(record)
    return [same[0] if len(same) == 1 else _joined(same) for same in found.values()]


def _joined(records: Sequence[Record]) -> Record:
    """The first record of a run with the newest number of every metric; where none has one, the newest reason."""
    done = [record for record in records if record.status == "done"]
    first, *later = sorted(done or records, key=lambda record: str(record.time.get("utc", "")))
    if first.result is None or not later:
        return first
    values, networks = dict(first.values), first.result.trained_against
    for record in later:
        for id, value in record.values.items():
            if value.value is not None or id not in values or values[id].value is None:
                values[id] = value
        if record.result_or_empty.trained_against is not None:
            networks = record.result_or_empty.trained_against
    result = first.result.to_dict() | {"values": [value.to_dict() for value in values.values()]}
    if networks is not None:
        result["trained_against"] = [network.to_dict() for network in networks]
    joined = Record.model_validate(first.to_dict() | {"result": result})
    joined._results, joined._own = first._results, first._own
    return joined


def mark_as_own(record: Record) -> Record:
    """The record, marked as other than the published ones that a table shows it with."""
    record._own = True
    return record


def show(record: Record, file: Any = None) -> None:
    """Print a run's row: one line a value."""
    file = file or sys.stdout
    title = f"{record.method} on {record.dataset}, recipe {record.recipe}, seed {record.seed}"
    if record.recipe == "pictures":  # not of a run
        title = f"{record.method} against {record.dataset}"
    print(printable(f"\n{title}: {record.status}{': ' + record.reason if record.reason else ''}"), file=file)
    if (step := record.result_or_empty.stalled_since) is not None:
        why = "the discriminator tells no images apart, and nothing is learned"
        print(f"  note: from step {step} on the losses of D and G are constant: {why}", file=file)
    for value in record.values.values():
        arrow = {"lower": "v", "higher": "^", None: " "}[value.better]
        shown = f"{value.value:.4g}" if value.value is not None else f"{value.status}: {value.reason}"
        interval = f"  [{value.low:.4g}, {value.high:.4g}]" if None not in (value.low, value.high) else ""
        network = record.network_of(value)
        marked = f"  (trained against {network})" if network else ""
        print(printable(f"  {value.name:<34} {arrow} {shown}{interval}{marked}"), file=file)


def show_protocol(record: Record, file: Any = None) -> None:
    """Print how an evaluation's numbers were measured: counts, extractors, control rows, a protocol's differences."""
    file = file or sys.stdout
    values = record.values.values()
    for text in dict.fromkeys(text for value in values for text in value.protocol.get("differences", [])):
        print(printable(f"  note: {text}"), file=file)
    for value in values:
        controls = value.details.get("controls")
        if controls and row_of(value.id).frechet:
            rows = ", ".join(f"{row}: {number:.4g}" for row, number in controls.items())
            print(f"  {value.name} of {rows}", file=file)
