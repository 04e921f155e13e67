"""The baseline of the test of metrics: its file, and the numbers in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic.dataclasses
from pydantic import Field

from benchmark.core.config import STRICT, build
from benchmark.core.files import read_json
from benchmark.drift.frozen.measures import Fingerprint, Measured
from benchmark.drift.gates import BASELINES, Accepted, BaselineMissing, DriftError, Finite
from benchmark.runs.record_checks import Environment

METRIC_SET = 1  # raised when frozen inputs or the meaning of a measured number change on purpose


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class Stored:
    """One number of a baseline, or the hash and probe of an array, with how far a later one may lie from it."""

    value: Finite | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    probe: tuple[Finite, ...] = ()
    same: Annotated[
        float, Field(ge=0, allow_inf_nan=False)
    ]  # relative tolerance, under the same libraries and processor
    other: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # under others
    why: str

    @property
    def measured(self) -> Measured:
        """As it was measured."""
        if self.sha256 is not None:
            return Fingerprint(self.sha256, self.probe)
        assert self.value is not None  # `read_baseline` refuses it
        return self.value


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class Baseline:
    """The file `baselines/metric/<metric set>.json`."""

    metric_set: int
    frozen: dict[str, str]  # hashes of the inputs
    environment: Environment
    numbers: dict[str, Stored]
    accepted: Annotated[tuple[Accepted, ...], Field(min_length=1)]  # oldest first


def baseline_path(baselines: Path = BASELINES) -> Path:
    """Where the baseline of the present metric set lies."""
    return baselines / "metric" / f"{METRIC_SET}.json"


def read_baseline(path: Path) -> Baseline:
    """Read a baseline. Raises BaselineMissing, or ConfigError / UserError naming file and key when it is not whole."""
    if not path.is_file():
        raise BaselineMissing(
            f"{path}: there is no baseline", "numbers have nothing to be compared with", 'make baseline REASON="..."'
        )
    plain = read_json(path)
    if not isinstance(plain, dict):
        raise DriftError(f"{path}: not a baseline", f"its top level is {type(plain).__name__}", "git restore it")
    baseline = build(Baseline, plain, str(path))
    empty = [name for name, number in baseline.numbers.items() if number.value is None and not number.sha256]
    if empty:
        raise DriftError(
            f"{path}: {empty[0]} has neither value nor sha256", "the file was cut or edited", "git restore it"
        )
    return baseline
