"""The parts of a record that have fields with types."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.runs.record_checks import Conditions, Details, Name, Protocol


class Part(BaseModel):
    """A mapping of a record with typed fields. Frozen; numbers and texts are never converted."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what was given, in the order of the fields, then unknown keys. Mappings without type are shared."""
        given = {name: self.__dict__[name] for name in type(self).model_fields if name in self.model_fields_set}
        return {key: _to_plain(value) for key, value in (given | (self.model_extra or {})).items()}


def _to_plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_dict()
    return [_to_plain(one) for one in value] if isinstance(value, list) else value


class DataSummary(Part):
    """What a record says of a dataset."""

    sha256: str | None = None
    n_train: int | None = None
    n_test: int | None = None


class StageArtifact(Part):
    """A stage that a run used, and the key of what it made."""

    name: str
    key: str


class TrainedAgainst(Part):
    """A frozen network that a run's method trained against, in its loss or as its condition."""

    name: str  # of its stage, or of the extractor
    hashes: list[str]  # sha256 of its weights; the key of its artefact, of one that was trained here


class RecordedValue(Part):
    """A `MetricValue` as it was written down, with the protocol key that it had then."""

    id: Name
    name: Name
    value: int | float | None
    better: Literal["lower", "higher"] | None = None
    protocol: Protocol = {}
    low: int | float | None = None
    high: int | float | None = None
    status: Literal["ok", "unavailable", "failed"] = "ok"
    reason: str = ""
    details: Details = {}
    conditions: Conditions = {}
    protocol_key: str = ""


class Result(Part):
    """What a run gave. Of images that no run made (`eval` of a folder) only `data`, their hash and number, `values`."""

    data: DataSummary = DataSummary()  # what it learned from, or was compared with
    transfer: DataSummary | None = None  # what it was scored on, where that is another dataset
    stages: list[StageArtifact] = []
    trained_against: list[TrainedAgainst] | None = None  # None: not known, of a version that did not write it down
    parameters: dict[str, int] = {}  # by network
    steps: int | None = None
    images_seen: int | None = None  # real images that the discriminator's updates were given
    stalled_since: int | None = None  # step from which on the losses of D and G are constant; None: they change
    weights_sha256: str | None = None
    samples_sha256: str | None = None
    distinct_samples: int | None = None
    conditions: Conditions = {}  # what the generator is conditioned on, and from which split
    n_pictures: int | None = None
    side_px: list[int] | None = None
    values: list[RecordedValue] = []
    flops_per_step: int | float | None = None  # 0 where they were not counted
