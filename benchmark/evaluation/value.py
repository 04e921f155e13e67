"""One number with the protocol that made it: what metrics give and records keep."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmark.core.config import content_hash
from benchmark.metrics.catalogue import row_named


@dataclass(frozen=True)
class MetricValue:
    """One number and the protocol that made it.

    id: machine name, unique in a record (`fd_judge`, `control_accuracy_judge`).
    name: what a table's column is called (`FD-judge`).
    value: None when status is not "ok".
    better: which direction is good; None where neither is.
    protocol: everything that decides the value apart from the model: extractor and weights, counts, reference split,
        resize, raw or average weights, seed of the evaluation.
    conditions: belongs to the model: each conditioning has its own kind of request; they still share a column, because
        all are compared with the same reference. Every number has it.
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
    conditions: dict[str, Any] = field(default_factory=dict)  # what the method is conditioned on, and from which split

    @classmethod
    def of_row(
        cls,
        id: str,
        value: float | None,
        protocol: dict[str, Any],
        low: float | None = None,
        high: float | None = None,
        *,
        of: str = "",
        **more: Any,
    ) -> MetricValue:
        """A value of the catalogue's row `id`, which gives name and direction.

        of: the value of the placeholder at the end of the id: `of_row("fd_X", 3.1, {}, of="lite0")`. more: further
        fields.
        """
        row = row_named(id)
        return cls(row.id_of(of), row.name_of(of), value, row.better, protocol, low, high, **more)

    @property
    def protocol_key(self) -> str:
        """Two values may share a column only if their keys are equal."""
        return content_hash({"id": self.id, **self.protocol})[:16]

    def to_dict(self) -> dict[str, Any]:
        """For JSON. A value that is not finite becomes `failed`."""
        plain = asdict(self) | {"protocol_key": self.protocol_key}
        if self.value is not None and not math.isfinite(self.value):
            plain |= {"value": None, "status": "failed", "reason": f"the value is {self.value}"}
        return plain
