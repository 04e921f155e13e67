"""The notes below a table of results: what its cells mean, how they were measured, and what is missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.core.config import difference
from benchmark.core.stats import ALPHA, CONFIDENCE
from benchmark.data.cards import split_note_of

if TYPE_CHECKING:
    from benchmark.report.tables import Column, RealDataRow, Row

OPEN = "~"  # behind a value that is not significantly worse than the column's best
TRAINED_AGAINST = "§"  # behind a number by a network that the row's method trained against
_MOST_DIFFERENCES = 8  # listed in a note; the records hold all


def table_notes(columns: Sequence[Column], rows: Sequence[Row], real_data: Sequence[RealDataRow]) -> list[str]:
    """What a reader must know: the meaning of ±, bold and the run counts, the protocols, and where they differ.

    real_data: the table's rows of real images.
    """
    return [
        "Cells are the mean over the runs of a row, which differ in the seed only; ± is half the width of the "
        f"{CONFIDENCE:.0%} t interval of that mean. A value without ± is of one run and has no interval.",
        f"Bold: the best row of a column, and rows equal to it within the metric's margin. {OPEN}: not significantly "
        f"worse than the best. Moderated t test over seeds, p < {ALPHA:.2g} for the column as a whole "
        "(docs/statistics.md). Where no row is significantly worse, nothing is marked. Rows of one seed are not "
        "tested. comparisons.csv has every test.",
        "Runs: finished runs behind a row; failed ones do not enter the mean, the CSV has their reasons "
        "and each cell's own n.",
        *_collapse_notes(rows),
        *_engine_notes(rows),
        *_machine_notes(rows),
        *_trained_against_notes(columns, rows),
        *_control_notes(real_data),
        *_protocol_notes(columns),
        *_split_notes(rows),
        *_difference_notes(columns),
        *_missing_notes(columns, rows),
    ]


def _collapse_notes(rows: Sequence[Row]) -> list[str]:
    """What collapsed means, where a run has."""
    if not any(row.collapsed for row in rows):
        return []
    return [
        "Collapsed: at most a fifth of the classes or modes seen, recall and coverage below 0.01, all samples "
        "identical, or losses that are constant at the end of training. Such runs enter the mean."
    ]


def _engine_notes(rows: Sequence[Row]) -> list[str]:
    """How steps of some rows were computed, where that is not the default."""
    found = {record.config.get("precision") for row in rows for record in row.records}
    captured = {record.config.get("capture") for row in rows for record in row.records}
    texts = {
        "bf16": "bf16: the networks were trained in bfloat16 with float32 weights, losses and penalties.",
        "tf32": "tf32: matrix products and convolutions were trained in TF32.",
        "compile": "compile: the training step was compiled, which rounds differently.",
        "graph": "graph: the training step was replayed as a CUDA graph.",
    }
    return [text for name, text in texts.items() if name in found | captured]


def _machine_notes(rows: Sequence[Row]) -> list[str]:
    """On what processors, or GPUs, and versions of torch the finished runs were made, where they differ."""
    found: Counter[str] = Counter()
    for record in (record for row in rows for record in row.done):
        here = record.environment
        device = here.get("cpu") if here.get("device", "cpu") == "cpu" else here.get("device")
        version = here.get("libraries", {}).get("torch")
        if device:
            found[f"{device}{f' with torch {version}' if version else ''}"] += 1
    if len(found) < 2:
        return []
    listed = ", ".join(f"{n} run{'s' if n > 1 else ''} on {name}" for name, n in found.items())
    return [f"Machines: {listed}. They round differently, so a run's bits differ; its values scatter as over seeds."]


def _trained_against_notes(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Which numbers are by a network that the row's method trained against, where there are any."""
    marked: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # by network: columns, rows; in order, each once
    for row in rows:
        for column in columns:
            if network := row.trained_against(column):
                names, labels = marked.setdefault(network, ({}, {}))
                names[column.name] = labels[_label(row)] = None
    if not marked:
        return []
    parts = [f"{network} ({', '.join(names)}): {some(list(labels))}" for network, (names, labels) in marked.items()]
    return [
        f"{TRAINED_AGAINST}: trained against this extractor, in the method's loss or as its condition. The number is "
        "shown, but left out of bold, comparisons, claims and rankings. By network, the columns and rows: "
        f"{'. '.join(parts)}."
    ]


def _label(row: Row) -> str:
    """A row's labels in one text."""
    return " ".join(filter(None, row.labels))


def _control_notes(real_data: Sequence[RealDataRow]) -> list[str]:
    """What the rows of real images are, where there are any."""
    if not real_data:
        return []
    return [
        "Rows of real images say what the metrics see: one half of the reference against the other (fewer images, so a "
        "Frechet distance lies too high), and damaged copies of reference images against the whole. They are no floor "
        "for a generator: their images are those of the reference."
    ]


def _protocol_notes(columns: Sequence[Column]) -> list[str]:
    """One line for each distinct protocol, as far as words can say it."""
    names: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        names[protocol_text(column.protocol)].append(column.name)
    return [f"Protocol of {', '.join(names)}: {text}." for text, names in names.items() if text]


def _split_notes(rows: Sequence[Row]) -> list[str]:
    """What is unusual of the data's splits, and the rows it is true of where it is not true of all."""
    found: dict[str, list[str]] = defaultdict(list)
    finished = [row for row in rows if row.done]
    for row in finished:
        for note in dict.fromkeys(split_note_of(record.config.get("data")) for record in row.done):
            found[note].append(" ".join(filter(None, row.labels)))
    of_all = {note for note, labels in found.items() if len(labels) == len(finished)}
    return [
        f"Data: {note}." if note in of_all else f"Data of {', '.join(labels)}: {note}."
        for note, labels in found.items()
        if note
    ]


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """The main points of a protocol in words: extractor, counts, reference, conditions."""
    extractor, parts = extractor_of(protocol), []
    if name := extractor.get("extractor") or extractor.get("name"):
        sha = extractor.get("weights", {}).get("sha256")
        parts.append(f"extractor {name}" + (f" (weights {sha[:8]})" if sha else ""))
    if "n_fake" in protocol:
        parts.append(f"{protocol['n_fake']} generated images")
    if "images_per_attribute" in protocol:
        parts.append(f"{protocol['images_per_attribute']} generated images an attribute")
    if "chamfer_points" in protocol:
        parts.append(f"{protocol['chamfer_points']} points of each kind")
    if "reference" in protocol:
        n = protocol.get("n_reference")
        parts.append(f"reference: {protocol['reference']} split" + (f", {n} images" if n else ""))
    if "conditions" in protocol:
        parts.append(f"conditions {protocol['conditions']}")
    return ", ".join(parts)


def extractor_of(protocol: Mapping[str, Any]) -> Mapping[str, Any]:
    """The identity of the network behind a value, where the protocol has one."""
    identity = protocol.get("extractor", protocol.get("scorer"))
    if isinstance(identity, str):
        return {"extractor": identity}
    return identity if isinstance(identity, Mapping) else {}


def _difference_notes(columns: Sequence[Column]) -> list[str]:
    """For a metric with several protocols: what differs from the first."""
    notes = []
    for id in dict.fromkeys(column.id for column in columns):
        first, *others = [column for column in columns if column.id == id]
        for other in others:
            lines = difference(first.protocol, other.protocol)
            notes.append(f"{first.name} and {other.name} are not comparable; what differs: {some(lines)}.")
    return notes


def _missing_notes(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Values that finished runs lack, with the reason."""
    notes = []
    for row in rows:
        label = _label(row)
        for column in columns:
            lacking = [value for value in row.values(column) if value.value is None]
            if lacking:
                reasons = "; ".join(sorted({f"{value.status}, {value.reason}" for value in lacking}))
                notes.append(f"{column.name}, {label}: no value in {len(lacking)} of {len(row.done)} runs ({reasons}).")
    return notes


def some(lines: Sequence[str]) -> str:
    """The first differences, or whatever else, and how many more there are."""
    more = len(lines) - _MOST_DIFFERENCES
    return "; ".join(lines[:_MOST_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
