"""Made-up records, written as runs write theirs: what tests of tables, suites and claims need."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from benchmark.core.config import content_hash
from benchmark.evaluation.value import MetricValue
from benchmark.runs.records import write_record

BETTER = {
    "recall_judge": "higher",
    "fd_judge": "lower",
    "score_judge": "higher",
    "control_accuracy_judge": "higher",
    "odd": None,
}
NAMES = {"fd_judge": "FD-judge", "score_judge": "CS-judge", "control_accuracy_judge": "control accuracy by the judge"}


def protocol(**changes: Any) -> dict[str, Any]:
    identity = {"extractor": "judge", "weights": {"file": "judge ab", "sha256": "c0ffee" * 10, "verified": True}}
    return {
        "dataset": "digits",
        "reference": "train",
        "n_reference": 1198,
        "n_fake": 2000,
        "conditions": "empirical",
        "extractor": identity,
        **changes,
    }


def write(
    results: Path,
    values: dict[str, float | None] | None,
    *,
    method: str = "infoscc",
    seed: int = 0,
    changes: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    reason: str = "",
    dataset: str = "digits",
    recipe: str = "small",
    details: dict[str, Any] | None = None,
    trained_against: list[dict[str, Any]] | None = None,
    config_hash: str | None = None,
    again: str = "",
    utc: str | None = None,
    **protocol_changes: Any,
) -> str:
    """Write a record as a run does. values None: the run failed. Returns the run's name.

    trained_against: as a record keeps it; None: a record of a version that did not. config_hash: None: of `config`.
    again: ends the name of a further record of the same run. utc: when it was written; None: now.
    """
    changes = changes or {}
    config = {"method": method, "recipe": recipe, "data": {"name": dataset}, "config": changes, **(config or {})}
    digest = config_hash or content_hash(config)
    run = f"{dataset}-{method}-{recipe}-s{seed}-{digest[:8]}{again}"
    plain = [
        MetricValue(
            id,
            NAMES.get(id, id),
            value,
            BETTER.get(id, "lower"),  # type: ignore[arg-type]
            protocol(**protocol_changes),
            status="ok" if value is not None else "unavailable",
            reason="" if value is not None else "no attribute was asked both on and off",
            details=details or {},
        ).to_dict()
        for id, value in (values or {}).items()
    ]
    write_record(
        results,
        run,
        status="failed" if values is None else "done",
        reason=reason,
        identity={
            "method": method,
            "dataset": dataset,
            "recipe": recipe,
            "seed": seed,
            "changes": changes,
            "config_hash": digest,
            "config": config,
        },
        result=None
        if values is None
        else {
            "steps": 10,
            "values": plain,
            **({} if trained_against is None else {"trained_against": trained_against}),
        },
        time={"training_s": 1.0} | ({} if utc is None else {"utc": utc}),
        device={"device": "cpu"},
    )
    return run


def check_inert(path: Path) -> None:
    """Assert that nothing in a written table is a command of LaTeX, a formula of a spreadsheet, or a tag."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".tex":
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        assert r"\input{/" not in body, path
        assert r"\write18" not in body, path
    if path.suffix == ".csv":
        cells = [cell for line in csv.reader(text.splitlines()) for cell in line]
        assert not [c for c in cells if re.match(r"[=+@]|-[A-Za-z(]", c)], path
    if path.suffix == ".md":
        assert "](javascript" not in text, path
        assert not re.search(r"(?<!\\)<(script|img)", text), path
