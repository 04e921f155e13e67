"""What running a suite would cost: time and disk of the cells that have no record yet, row by row and in all.

A row that has finished runs costs what they cost; any other gets a dry run, until these have taken four seconds, or one
second for one row: from then on a row costs as one of the same method, for as many images. Stages that several runs
share count once.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.core.engine import EAGER, Engine
from benchmark.core.errors import UserError
from benchmark.core.names import printable
from benchmark.runs.records import Record, read_records, record_path
from benchmark.runs.suites.suite import SuiteCell, find_suite, resolved_cells

if TYPE_CHECKING:
    from benchmark.runs.estimate import Estimator
    from benchmark.runs.spec import Paths, Resolved


REHEARSED_S = 4.0  # seconds of dry runs after which rows are estimated by others of the same method,
SLOW_ROW_S = 1.0  # or of the dry run of one such row


@dataclasses.dataclass(frozen=True)
class RowCost:
    """What the runs of a row on a dataset that are not done will cost."""

    row: int
    dataset: str
    n: int  # runs of the row
    n_todo: int
    seconds: float | None  # one run, without what runs share; None: it could not be tried
    bytes: int  # of the files of one run
    source: str  # finished runs, a dry run, or why there is none
    shared: Mapping[tuple[Any, ...], float] = dataclasses.field(default_factory=dict)  # seconds of stages by identity
    flops: float | None = None  # operations of one run's training, without its stages; None: not known


def suite_plan(
    name: str,
    size: str,
    paths: Paths,
    *,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    engine: Engine = EAGER,
    gpu: str | None = None,
) -> str:
    """What running a suite would do and cost, for a reader: a line for each row and dataset, then all of it.

    A row that has finished runs costs what they cost; any other gets a dry run, which takes seconds.
    Raises ConfigError for a cell that cannot be resolved.
    """
    from benchmark.runs.estimate import gpu_elsewhere
    from benchmark.runs.gpus import ASSUMPTIONS

    suite = find_suite(name)
    todo = resolved_cells(suite, size, paths, seeds, engine)
    costs = row_costs(todo, paths, device, threads, gpu)
    lines = [f"{suite.name}, {size}: {suite.title}", *budget_lines([run for _, run in todo])]
    for one in costs:
        labels = ", ".join(filter(None, (suite.rows[one.row].labels[column] for column in suite.columns)))
        lines.append(f"  {one.dataset}, {labels}: {_row_text(one)}")
    notes = dict.fromkeys(note for _, run in todo for note in run.notes)
    if (where := gpu_elsewhere(device, gpu)) is not None:
        notes[f"times on {where.name}, which is not here, follow from counted operations; {ASSUMPTIONS}"] = None
    return printable("\n".join([*lines, *(f"  note: {note}" for note in notes), f"  {total_text(costs, workers)}"]))


def budget_lines(runs: Sequence[Resolved]) -> list[str]:
    """What the rows may spend, and by whose evaluation they are scored: one line each where all rows agree."""
    budgets = dict.fromkeys(f"{run.config.steps:,} steps of {run.config.images_a_step:,} images" for run in runs)
    protocols = dict.fromkeys(run.evaluation.protocol for run in runs)
    unequal = " (rows differ)" if len(budgets) > 1 else " each"
    return [f"  budget: {'; '.join(budgets)}{unequal}", f"  protocol: {', '.join(protocols)}"]


def _row_text(one: RowCost) -> str:
    from benchmark.runs.plan import duration

    if not one.n_todo:
        return f"{one.n} of {one.n} done"
    each = "cost not known" if one.seconds is None else f"about {duration(one.seconds)} each"
    return f"{one.n_todo} of {one.n} to do, {each} ({one.source})"


def total_text(costs: Sequence[RowCost], workers: int) -> str:
    """`12 cells, 4 done, 8 to do: about 1.2 h, 40 MB`: in all, shared stages once, by so many workers."""
    from benchmark.runs.plan import duration

    n, n_todo = sum(one.n for one in costs), sum(one.n_todo for one in costs)
    text = f"{n} cells, {n - n_todo} done, {n_todo} to do"
    known = [one for one in costs if one.seconds is not None and one.n_todo]
    if known:
        shared: dict[tuple[Any, ...], float] = {}
        for one in known:
            shared.update(one.shared)
        seconds = sum((one.seconds or 0) * one.n_todo for one in known) + sum(shared.values())
        text += f": about {duration(seconds / min(workers, n_todo))}"
        text += f" by {workers} workers" if workers > 1 else ""
        text += f", {sum(one.bytes * one.n_todo for one in known) / 1e6:.0f} MB"
    unknown = sum(one.n_todo for one in costs if one.seconds is None)
    return text + (f"; {unknown} of them could not be estimated" if unknown else "")


def row_costs(
    todo: Sequence[tuple[SuiteCell, Resolved]], paths: Paths, device: str, threads: int | None, gpu: str | None = None
) -> list[RowCost]:
    """The costs of the rows of a suite, each on each dataset, in order. gpu: see `estimate`."""
    from benchmark.runs.estimate import Estimator

    estimator = Estimator(device, gpu)
    finished: dict[str, list[Record]] = defaultdict(list)
    for record in read_records(paths.results):
        if record.status == "done":
            finished[record.config_hash].append(record)
    rows: dict[tuple[int, str], list[Resolved]] = defaultdict(list)
    for cell, resolved in todo:
        rows[cell.row, cell.dataset].append(resolved)
    found: list[RowCost] = []
    rehearsed: list[tuple[Resolved, RowCost, float]] = []  # with the seconds that the dry run took
    began = time.perf_counter()
    for (row, dataset), runs in rows.items():
        n_todo = sum(not record_path(paths.results, run.run).exists() for run in runs)
        cost = RowCost(row, dataset, len(runs), n_todo, 0.0, 0, "")
        if n_todo and not estimator.elsewhere and (records := finished[runs[0].config_hash]):
            cost = _measured(cost, records)
        elif n_todo:
            now = time.perf_counter()
            slow = SLOW_ROW_S if now - began < REHEARSED_S else 0.0
            if (like := _like(cost, runs[0], [one for one in rehearsed if one[2] > slow])) is not None:
                cost = like
            else:
                cost = _rehearsed(cost, runs[0], paths, threads, estimator)
                rehearsed.append((runs[0], cost, time.perf_counter() - now))
        found.append(cost)
    return found


def _measured(cost: RowCost, records: Sequence[Record]) -> RowCost:
    """The mean cost of finished runs; what they share with others is made."""
    times = [record.time for record in records]
    seconds = sum(time.get("training_s", 0.0) + time.get("evaluation_s", 0.0) for time in times) / len(times)
    floats = sum(records[0].result_or_empty.parameters.values())
    source = f"as {len(records)} finished run{'s' * (len(records) > 1)}"
    result = records[0].result_or_empty
    flops = (result.flops_per_step or 0.0) * (result.steps or 0) or None
    return dataclasses.replace(cost, seconds=seconds, bytes=16 * floats, source=source, flops=flops)


def _like(cost: RowCost, resolved: Resolved, rehearsed: Sequence[tuple[Resolved, RowCost, float]]) -> RowCost | None:
    """The cost by the last tried row of the same method at the same side, for as many images; None: none is."""
    for other, known, _ in reversed(rehearsed):
        same = other.method.name == resolved.method.name and other.card.resolution == resolved.card.resolution
        if same and known.seconds is not None:
            images, others = (run.config.steps * run.config.images_a_step for run in (resolved, other))
            seconds, flops = known.seconds * images / others, known.flops and known.flops * images / others
            return dataclasses.replace(
                known,
                row=cost.row,
                dataset=cost.dataset,
                n=cost.n,
                n_todo=cost.n_todo,
                seconds=seconds,
                flops=flops,
                source="as another row of this method",
            )
    return None


def _rehearsed(cost: RowCost, resolved: Resolved, paths: Paths, threads: int | None, estimator: Estimator) -> RowCost:
    """The cost by a dry run. Its last part but the judges' is the method; all others are shared."""
    try:
        plan = estimator.plan(resolved, paths, threads, quick=True)
    except Exception as error:  # whatever is wrong, the run itself will say it; an estimate stops nothing
        why = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return dataclasses.replace(cost, seconds=None, source=f"no dry run: {why}")
    own = next(part for part in plan.parts if part.name == resolved.method.name)
    shared = {
        (cost.dataset, part.name, part.steps, *part.parameters.items()): part.seconds
        for part in plan.parts
        if part is not own
    }
    return dataclasses.replace(
        cost,
        seconds=own.seconds + plan.evaluation_s,
        bytes=own.bytes,
        source="counted" if own.counted else "timed",
        shared=shared,
        flops=own.flops * own.steps,
    )
