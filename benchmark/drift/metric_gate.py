"""The regression test of metrics: do the suite's numbers still come out of the same inputs?

Frozen images, features, logits and points (`benchmark.drift.frozen`) go through every metric, the quantisation, the
resizes and small networks. What comes out is compared with a baseline in git, and with closed forms and other
libraries, which need no baseline. It takes seconds, trains nothing and draws nothing at random, so any difference is
one of code, of a library or of the machine's arithmetic. `benchmark.drift.model_gate` is the test for what training
gives.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.core.files import require_writable, write_json
from benchmark.core.one_thread import torch_on_one_thread
from benchmark.drift import frozen
from benchmark.drift.frozen.expectations import EXPECTATIONS, Expectation
from benchmark.drift.frozen.measures import MEASURES, Fingerprint, Measure, Measured, Tolerance
from benchmark.drift.gates import (
    BASELINES,
    INCOMPARABLE,
    NO_BASELINE,
    PASSED,
    REGRESSION,
    Accepted,
    DriftError,
    clean_commit,
    gate_environment,
    other_environment,
    require_reason,
    worst,
)
from benchmark.drift.metric_baseline import METRIC_SET, Baseline, Stored, baseline_path, read_baseline

# ---- measuring and comparing ----------------------------------------------------------------------------------------


class CheckVerdict(StrEnum):
    """What became of one number."""

    PASS = "pass"
    MOVED = "MOVED"
    INCOMPARABLE = "INCOMPARABLE"
    NEW = "NO BASELINE"
    SKIPPED = "skipped"


_CODES = {CheckVerdict.MOVED: REGRESSION, CheckVerdict.INCOMPARABLE: INCOMPARABLE, CheckVerdict.NEW: NO_BASELINE}


@dataclass(frozen=True)
class Check:
    """One number with what it should be."""

    name: str
    against: str  # "baseline", "closed form" or a library
    expected: str
    now: str
    difference: float | None  # relative, or absolute where the tolerance is
    tolerance: float | None
    verdict: CheckVerdict
    note: str = ""

    @property
    def message(self) -> str:
        """A line for a check that did not pass."""
        if self.verdict is CheckVerdict.MOVED and self.difference is not None:
            return (
                f"{self.name} moved: {self.expected} ({self.against}) -> {self.now}, difference {self.difference:.2g}, "
                f"allowed {self.tolerance:.2g} ({self.note})"
            )
        return f"{self.name}: {self.verdict}, {self.note}"


@dataclass(frozen=True)
class Report:
    """What the test says."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    environment: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """0 all pass; 1 a number moved; 3 a baseline of other inputs; 4 a number without baseline."""
        return worst([_CODES.get(check.verdict, PASSED) for check in self.checks])

    def table(self) -> str:
        """All checks in Markdown."""
        head = ("| number | against | expected | now | difference | allowed | verdict |",
                "| :-- | :-- | --: | --: | --: | --: | :-- |")  # fmt: skip
        return "\n".join([*head, *(_line(check) for check in self.checks)]) + "\n"

    def text(self) -> str:
        """What a reader needs: the checks that did not pass, the notes, the counts."""
        counts = Counter(str(check.verdict) for check in self.checks)
        lines = [check.message for check in self.checks if check.verdict is not CheckVerdict.PASS]
        total = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), f"metric drift: {total}"])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "gate": "metric",
            "metric_set": METRIC_SET,
            "exit_code": self.exit_code,
            "notes": list(self.notes),
            "checks": [_finite(asdict(check)) for check in self.checks],
            "environment": dict(self.environment),
        }


def _line(check: Check) -> str:
    difference = "" if check.difference is None else f"{check.difference:.1e}"
    allowed = "" if check.tolerance is None else f"{check.tolerance:.0e}"
    return (
        f"| {check.name} | {check.against} | {check.expected} | {check.now} | {difference} | {allowed} "
        f"| {check.verdict} |"
    )


def _finite(plain: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: a difference that is none becomes null; the verdict says the rest."""
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in plain.items()}


def check_metrics(
    baselines: Path = BASELINES, inputs: frozen.Frozen | None = None, only: Sequence[str] | None = None
) -> Report:
    """Measure everything and compare. One thread, a few seconds; nothing is written.

    only: names of measures, the first part of a number's name; None: all of them.
    Raises BaselineMissing without a baseline, and UserErrors for frozen inputs or a baseline that are not whole.
    """
    inputs = inputs or frozen.load()
    path = baseline_path(baselines)
    baseline, environment = read_baseline(path), gate_environment()
    if baseline.metric_set != METRIC_SET or baseline.frozen != dict(inputs.sha256):
        note = f"{path} was made of other frozen inputs, or for metric set {baseline.metric_set}"
        check = Check("frozen inputs", "baseline", "", "", None, None, CheckVerdict.INCOMPARABLE, note)
        return Report((check,), (), environment)
    changed = other_environment(baseline.environment, environment)
    with torch_on_one_thread():
        checks = [
            *(
                c
                for m in MEASURES
                if _asked(m.name, only)
                for c in _against_baseline(m, inputs, baseline, bool(changed))
            ),
            *_vanished(baseline, only),
            *(_against_formula(e, inputs) for e in EXPECTATIONS if _asked(e.name, only)),
        ]
    notes = (f"the baseline was made elsewhere ({'; '.join(changed)}): wider tolerances hold",) if changed else ()
    return Report(tuple(checks), notes, environment)


def _asked(name: str, only: Sequence[str] | None) -> bool:
    return only is None or name.split(".")[0] in only


def _against_baseline(measure: Measure, inputs: frozen.Frozen, baseline: Baseline, elsewhere: bool) -> Iterator[Check]:
    """The checks of one measure; one that cannot be taken fails all its numbers, by name."""
    known = {name: stored for name, stored in baseline.numbers.items() if name.split(".")[0] == measure.name}
    try:
        found = measured(measure, inputs)
    except Exception as error:  # whatever a changed library raises, the number is gone
        skip = measure.optional and isinstance(error, UserError | ImportError)
        verdict, reason = (CheckVerdict.SKIPPED if skip else CheckVerdict.MOVED), _said(error)
        for name in known or [measure.name]:
            yield Check(name, "baseline", "", "", None, None, verdict, reason)
        return
    for name, value in found.items():
        if name not in known:
            yield Check(name, "baseline", "", _show(value), None, None, CheckVerdict.NEW, "accept a new baseline")
            continue
        stored = known[name]
        allowed = stored.other if elsewhere else stored.same
        difference = distance(stored.measured, value)
        verdict = CheckVerdict.PASS if difference <= allowed else CheckVerdict.MOVED
        expected = _show(stored.measured)
        yield Check(name, "baseline", expected, _show(value), difference, allowed, verdict, stored.why)
    for name in known.keys() - found.keys():
        yield Check(name, "baseline", "", "", None, None, CheckVerdict.MOVED, "it is no longer measured")


def _vanished(baseline: Baseline, only: Sequence[str] | None) -> Iterator[Check]:
    """Numbers of a baseline whose measure the code no longer has."""
    names = {measure.name for measure in MEASURES}
    for name in baseline.numbers:
        if name.split(".")[0] not in names and _asked(name, only):
            yield Check(name, "baseline", "", "", None, None, CheckVerdict.MOVED, "it is no longer measured")


def _against_formula(expectation: Expectation, inputs: frozen.Frozen) -> Check:
    """A check that needs no baseline. Where the other library itself breaks, its part is skipped, and said so."""
    allowed = expectation.tolerance.same

    def outcome(expected: str, now: str, difference: float | None, verdict: CheckVerdict, note: str) -> Check:
        return Check(expectation.name, expectation.source, expected, now, difference, allowed, verdict, note)

    try:
        expected = np.asarray(expectation.expected(inputs), dtype=np.float64)
    except Exception as error:
        return outcome("", "", None, CheckVerdict.SKIPPED, f"{expectation.source}: {_said(error)}")
    try:
        now = np.asarray(expectation.now(inputs), dtype=np.float64)
    except Exception as error:
        return outcome(_mean(expected), "", None, CheckVerdict.MOVED, _said(error))
    difference = _largest(expected, now, expectation.tolerance.absolute)
    verdict = CheckVerdict.PASS if difference <= allowed else CheckVerdict.MOVED
    return outcome(_mean(expected), _mean(now), difference, verdict, expectation.tolerance.why)


def measured(measure: Measure, inputs: frozen.Frozen) -> dict[str, Measured]:
    """The numbers of one measure by their full names."""
    return {f"{measure.name}.{key}": value for key, value in measure.take(inputs).items()}


def distance(expected: Measured, now: Measured) -> float:
    """Relative difference of two numbers, absolute from 0; infinite for NaN. Of arrays 0 for the same bits.

    Arrays of other bits differ by their probes' largest difference over the root mean square, and never by 0.
    """
    if isinstance(expected, Fingerprint) and isinstance(now, Fingerprint):
        if expected.sha256 == now.sha256:
            return 0.0
        was, has = np.array(expected.probe), np.array(now.probe)
        if was.shape != has.shape or not np.isfinite(has).all():
            return math.inf
        return max(float(np.abs(was - has).max()) / (was[0] or 1.0), np.finfo(np.float64).eps)
    if isinstance(expected, Fingerprint) or isinstance(now, Fingerprint):
        return math.inf
    return _largest(np.asarray(expected), np.asarray(now), absolute=False)


def _largest(expected: np.ndarray, now: np.ndarray, absolute: bool) -> float:
    if expected.shape != now.shape or not np.isfinite(now).all():
        return math.inf
    scale = 1.0 if absolute else (float(np.abs(expected).max()) or 1.0)
    return float(np.abs(now - expected).max()) / scale


def _said(error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else ""
    return f"raised {type(error).__name__}: {first}"


def _mean(values: np.ndarray) -> str:
    return f"{float(values.mean()):.12g}"


def _show(value: Measured) -> str:
    return f"{value.sha256[:8]} rms {value.probe[0]:.8g}" if isinstance(value, Fingerprint) else f"{value:.12g}"


# ---- accepting ------------------------------------------------------------------------------------------------------


def accept_metrics(reason: str, baselines: Path = BASELINES, commit: Callable[[], str] | None = None) -> Path:
    """Make what is measured now the baseline, with the reason, the commit and what changed. Returns the file.

    commit: names the code's commit; `clean_commit` by default, which refuses a changed tree.
    Raises DriftError without a reason, for a changed tree, and when a closed form or a library contradicts a metric or
    a measure cannot be taken: such numbers must not become the truth.
    """
    head = require_reason(reason, commit or clean_commit)
    inputs, path = frozen.load(), baseline_path(baselines)
    require_writable(path.parent)
    old = read_baseline(path) if path.is_file() else None
    with torch_on_one_thread():
        _require_formulas(inputs)
        numbers = {name: number for measure in MEASURES for name, number in _stored(measure, inputs)}
    before = {} if old is None else old.numbers
    changed = {name: (_plain(before.get(name)), _plain(numbers.get(name))) for name in sorted({*before, *numbers})}
    accepted = Accepted(
        reason=reason, commit=head, changed={n: pair for n, pair in changed.items() if pair[0] != pair[1]}
    )
    baseline = {
        "metric_set": METRIC_SET,
        "frozen": dict(inputs.sha256),
        "environment": gate_environment(),
        "numbers": {name: asdict(number) for name, number in numbers.items()},
        "accepted": [asdict(entry) for entry in (*(old.accepted if old else ()), accepted)],
    }
    write_json(path, baseline)
    return path


def _require_formulas(inputs: frozen.Frozen) -> None:
    wrong = [check for e in EXPECTATIONS if (check := _against_formula(e, inputs)).verdict is CheckVerdict.MOVED]
    if wrong:
        raise DriftError(
            "these numbers cannot become a baseline\n" + "\n".join(f"  {check.message}" for check in wrong),
            "they contradict a closed form or another library",
            "fix the metric first",
        )


def _stored(measure: Measure, inputs: frozen.Frozen) -> Iterator[tuple[str, Stored]]:
    tolerance: Tolerance = measure.tolerance
    bounds = {"same": tolerance.same, "other": tolerance.other, "why": tolerance.why}
    try:
        found = measured(measure, inputs)
    except UserError as error:
        mend = "install what it needs (see pyproject.toml), then accept again" if measure.optional else ""
        raise DriftError(f"{measure.name}: cannot be measured", str(error), mend) from None
    for name, value in found.items():
        if isinstance(value, Fingerprint):
            yield name, Stored(sha256=value.sha256, probe=value.probe, **bounds)  # type: ignore[arg-type]
        else:
            yield name, Stored(value=float(value), **bounds)  # type: ignore[arg-type]


def _plain(stored: Stored | None) -> Any:
    return None if stored is None else (stored.value if stored.sha256 is None else stored.sha256)


# ---- the command ----------------------------------------------------------------------------------------------------


def metric_gate(
    json_file: Path | None = None,
    accept: str | None = None,
    quiet: bool = False,
    baselines: Path = BASELINES,
    metrics: Sequence[str] | None = None,
) -> int:
    """Run the test, or accept a new baseline; print the table and what moved. Returns the exit status.

    json_file: where the report goes as JSON. accept: the reason of a new baseline. quiet: no table of all checks.
    metrics: names of measures, the first part of a number's name; None: all.
    0 pass; 1 a number moved; 3 the baseline is of other inputs; 4 a number has no baseline. Raises UserErrors with
    their exit codes: 2 for files that are not whole, 4 without a baseline.
    """
    known = sorted({name.split(".")[0] for name in [*(m.name for m in MEASURES), *(e.name for e in EXPECTATIONS)]})
    if unknown := [name for name in metrics or () if name not in known]:
        raise DriftError(f"--metrics {', '.join(unknown)}", f"known: {', '.join(known)}", "name some of these")
    if accept is not None and metrics is not None:
        raise DriftError("--metrics with --accept", "a baseline holds all measures", "leave --metrics out")
    if accept is not None:
        path = accept_metrics(accept, baselines)
        print(f"{path}: {len(read_baseline(path).accepted[-1].changed)} numbers changed; commit it with the code")
        return PASSED
    if json_file is not None:
        require_writable(json_file.parent)
    report = check_metrics(baselines, only=metrics)
    if json_file is not None:
        write_json(json_file, report.to_dict())
    if not quiet:
        print(report.table())
    print(report.text())
    return report.exit_code
