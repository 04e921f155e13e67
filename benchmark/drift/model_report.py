"""The report of the test of trained models: the comparison of each metric, as a table, as text and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import scipy.special

from benchmark.core.stats import Scale
from benchmark.drift.gates import INCOMPARABLE, INCONCLUSIVE, NO_BASELINE, PASSED, REGRESSION, worst
from benchmark.drift.statistics import DriftVerdict, Settings

_CODES = {
    DriftVerdict.REGRESSED: REGRESSION,
    DriftVerdict.MOVED: REGRESSION,
    DriftVerdict.INCONCLUSIVE: INCONCLUSIVE,
    DriftVerdict.INCOMPARABLE: INCOMPARABLE,
    DriftVerdict.NO_BASELINE: NO_BASELINE,
}


@dataclass(frozen=True)
class MetricComparison:
    """One metric's comparison. Numbers in the metric's own unit unless said otherwise; None where not compared."""

    id: str
    name: str
    verdict: DriftVerdict
    note: str = ""
    better: str = ""  # "lower" or "higher"
    scale: Scale | None = None
    baseline: float | None = None  # mean on the scale, brought back
    new: float | None = None
    n_baseline: int = 0  # values
    n_new: int = 0
    failed_baseline: int = 0  # runs without a value
    failed_new: int = 0
    delta: float | None = None  # on the scale, positive: worse
    limit: float | None = None  # h, on the scale
    margin: float | None = None  # on the scale
    sd: float | None = None  # between baseline runs, on the scale
    half_sampling_sd: float | None = None  # within a run
    level: float | None = None
    power_margin: float | None = None  # probability that a worsening by the margin is called
    power_three_sd: float | None = None  # the same by three standard deviations between runs


@dataclass(frozen=True)
class ModelReport:
    """What the test says of a method on a dataset."""

    method: str
    dataset: str
    rows: tuple[MetricComparison, ...]
    notes: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def exit_code(self, allow_inconclusive: bool = False) -> int:
        """0 pass or improved; 1 regressed, or moved; 3 incomparable; 4 a metric without baseline; 5 inconclusive."""
        return worst([_CODES.get(row.verdict, PASSED) for row in self.rows], allow_inconclusive)

    def table(self) -> str:
        """All metrics in Markdown."""
        columns = (
            "metric", "verdict", "baseline", "new", "change", "chance allows", "margin", "sd of runs",
            "sd within a run", "runs (failed)", "power: margin", "power: 3 sd",
        )  # fmt: skip
        head = ["| " + " | ".join(columns) + " |", "| :-- | :-- |" + " --: |" * (len(columns) - 2)]
        return "\n".join([*head, *("| " + " | ".join(_cells(row)) + " |" for row in self.rows)]) + "\n"

    def text(self) -> str:
        """Notes of the rows, of the whole, and the counts."""
        counts = Counter(str(row.verdict) for row in self.rows)
        return "\n".join(
            [
                *(f"{row.name}: {row.verdict}{', ' + row.note if row.note else ''}" for row in self.rows
                  if row.note or row.verdict is not DriftVerdict.PASS),
                *(f"note: {note}" for note in self.notes),
                f"model drift of {self.method} on {self.dataset}: {', '.join(f'{n} {v}' for v, n in counts.items())}",
            ]
        )  # fmt: skip

    def to_dict(self, allow_inconclusive: bool = False) -> dict[str, Any]:
        """For JSON."""
        return {
            "gate": "model",
            "method": self.method,
            "dataset": self.dataset,
            "exit_code": self.exit_code(allow_inconclusive),
            "settings": asdict(self.settings),
            "notes": list(self.notes),
            "metrics": [asdict(row) for row in self.rows],
        }


def _step(row: MetricComparison, worsening: float | None) -> str:
    """A step towards worse as readers know it: signed per cent of a distance, points of a share, else plain."""
    if worsening is None or row.baseline is None or row.scale is None:
        return ""
    step = worsening if row.better == "lower" else -worsening
    if row.scale == "log":
        return f"{math.expm1(step):+.1%}"
    if row.scale == "logit":
        moved = float(scipy.special.expit(scipy.special.logit(row.baseline) + step))
        return f"{100 * (moved - row.baseline):+.2f} points"
    return f"{step:+.3g}"


def _cells(row: MetricComparison) -> list[str]:
    return [
        row.name,
        str(row.verdict),
        "" if row.baseline is None else f"{row.baseline:.4g}",
        "" if row.new is None else f"{row.new:.4g}",
        _step(row, row.delta),
        _step(row, row.limit),
        _step(row, row.margin),
        "" if row.sd is None else f"{row.sd:.3g} ({row.scale})",
        "" if row.half_sampling_sd is None else f"{row.half_sampling_sd:.3g}",
        f"{row.n_baseline} ({row.failed_baseline}) / {row.n_new} ({row.failed_new})",
        "" if row.power_margin is None else f"{row.power_margin:.0%}",
        "" if row.power_three_sd is None else f"{row.power_three_sd:.0%}",
    ]
