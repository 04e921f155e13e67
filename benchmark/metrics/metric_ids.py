"""Which ids a metric may have: those of the catalogue, with an extractor, a transform, a number or labels filled in."""

from __future__ import annotations

from benchmark.core.errors import suggest
from benchmark.metrics.catalogue import METRICS, row_of
from benchmark.metrics.extractors.published import EXTRACTORS, TORCHVISION
from benchmark.metrics.metric_row import MetricRow

_OF_EXTRACTORS = tuple(name.replace("-", "_") for name in EXTRACTORS)  # as ids have them
_TORCHVISION = TORCHVISION.replace(":", "_")


def is_metric_id(id: str) -> bool:
    """Whether a record may have a value of this id: `fd_lite0`, `modes`, `neighbour_map_2`."""
    row = row_of(id)
    return bool(row.id) and (not row.placeholder or _fills(row, row.what(id)))


def is_metric(text: str) -> bool:
    """Whether a text is a metric's id or the beginning of one, up to an underscore: `fd`, `control_accuracy`."""
    return is_metric_id(text) or any(f"{row.head}_".startswith(f"{text}_") for row in METRICS)


def nearest_metric(text: str) -> str:
    """A hint for an id that is not known: the nearest one."""
    known = [id for row in METRICS for id in _examples(row)]
    return suggest(text, known) if len(suggest(text, known)) < 80 else "`list` shows the metrics"


def _fills(row: MetricRow, what: str) -> bool:
    """Whether a text can replace a row's placeholder."""
    if row.placeholder == "X":
        return what in _OF_EXTRACTORS or (what.startswith(_TORCHVISION) and what != _TORCHVISION)
    return what.isdecimal() if row.placeholder == "K" else bool(what)


def _examples(row: MetricRow) -> list[str]:
    return [row.id_of(what) for what in _OF_EXTRACTORS] if row.placeholder == "X" else [row.head.rstrip("_")]
