"""The regression test of trained models: does training still give what it gave?

Several seeds of a method trained now are compared with the stored seeds of a baseline. The unit is the run: a score
varies far more between training runs than with the sampling of one run's images. Every metric gets one of

    PASS          no change that counts
    REGRESSED     worse by more than chance allows and by more than the practical margin
    IMPROVED      the same, better
    MOVED         another value for the baseline's very weights: the metric has changed
    INCONCLUSIVE  the limit that chance sets is so wide that a change that matters could hide below it
    INCOMPARABLE  other settings or another protocol; no number is compared
    NO BASELINE   the baseline does not have the metric

`model_comparison` compares, `statistics` says what chance allows, `model_baseline` holds and accepts baselines, and
`model_report` shows what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.core.files import require_writable, write_json
from benchmark.drift.gates import BASELINES, PASSED, worst
from benchmark.drift.model_baseline import accept_model, model_baseline_path, read_model_baseline, select
from benchmark.drift.model_comparison import compare
from benchmark.runs.records import find_records


def model_gate(
    method: str,
    dataset: str,
    results: Path = Path("results"),
    *,
    json_file: Path | None = None,
    accept: str | None = None,
    source: Path = Path("results/reference"),
    allow_inconclusive: bool = False,
    config: str | None = None,
    metrics: Sequence[str] | None = None,
    baselines: Path = BASELINES,
) -> int:
    """Compare the records of a results folder with the baseline, or accept a new baseline. Returns the exit status.

    results: folder with the new runs' `records/`. source: folder whose records become the baseline with `accept`, the
    reason. config: beginning of a configuration's hash, where several were run. metrics: ids; None: all.
    0 pass or improved; 1 regressed or moved; 3 incomparable; 4 a metric without baseline; 5 inconclusive (0 if
    allowed); 2 where a record could not be used. Raises UserErrors with their exit codes: 2 for bad input, 4 without a
    baseline.
    """
    if accept is not None:
        found = find_records(source)
        found.warn()
        path = accept_model(accept, method, dataset, source, config=config, baselines=baselines, records=found.records)
        print(f"{path}: commit it")
        return found.exit_code or PASSED
    if json_file is not None:
        require_writable(json_file.parent)
    baseline = read_model_baseline(model_baseline_path(method, dataset, baselines))
    found = find_records(results)
    found.warn()
    runs = select(found.records, method, dataset, like=baseline, config=config)
    report = compare(baseline, runs, metrics=metrics)
    if json_file is not None:
        write_json(json_file, report.to_dict(allow_inconclusive))
    print(report.table())
    print(report.text())
    return worst([report.exit_code(allow_inconclusive), found.exit_code])
