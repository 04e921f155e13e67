"""Which table or figure of which paper the suite reproduces: `docs/coverage.md`, made from `coverage.yaml`.

    python -m benchmark.report.coverage [--results DIR]     # or `make coverage`

The list says, for every table and figure of the papers, which suite or image reproduces it and what differs. What can
be computed is not written by hand. `coverage_state.json` keeps what takes minutes: which small sizes were run, on how
many seeds and for how long (from the records in --results), and what the paper sizes cost (a dry run of each row). An
entry is made again when its suite has changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core import paths
from benchmark.core.config import STRICT, build, content_hash, load_yaml
from benchmark.core.errors import ConfigError, suggest
from benchmark.core.files import read_json, write_json, write_text
from benchmark.report.reproduction import TOLERANCES, state_of
from benchmark.report.suite_tables import rows_with_records
from benchmark.runs.records import Record, read_records, request_of
from benchmark.runs.suites.suite import Suite, cells, find_suite, rows_of, scope_of

LINES = Path(__file__).with_name("coverage.yaml")
STATE = Path(__file__).with_name("coverage_state.json")
PAGE = paths.CHECKOUT / "docs" / "coverage.md"

FLOPS_PER_S = 2e13  # of one GPU, sustained: a cautious figure for a data-centre GPU in float32 with TF32 [ours]
NONE = "–"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Item:
    """One table or figure of a paper."""

    item: Annotated[str, Field(min_length=1)]  # its number, and what it shows
    suite: str | None = None  # the suite that reproduces it
    size: str = "paper"  # the suite's size that has the paper's budget
    dataset: str | None = None  # of that size, where it has several; None: all of them
    method: str | None = None  # whose row of the suite is meant; None: all rows
    published: bool = True  # whether the suite's published values are of this table
    image: str | None = None  # the file of a run, or of the report, that reproduces it
    made: str = "with every run"  # when the image is drawn, where no suite is named
    differs: str = ""  # what is not as in the paper
    why_not: str = ""  # why nothing reproduces it


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Paper:
    """A paper's tables and figures."""

    paper: str
    items: tuple[Item, ...]


def read_papers(path: Path = LINES) -> list[Paper]:
    """The list. Raises ConfigError for a line that names nothing and gives no reason, or what a suite does not have."""
    found = [build(Paper, plain, f"{path}: paper {i + 1}") for i, plain in enumerate(load_yaml(path)["papers"])]
    for paper in found:
        for item in paper.items:
            where = f"{path}: {paper.paper}, {item.item}"
            if not (item.suite or item.image or item.why_not):
                raise ConfigError(where, "nothing reproduces it", "name a suite or an image, or say why there is none")
            if item.suite:
                _check_part(find_suite(item.suite), item, where)
    return found


def _check_part(suite: Suite, item: Item, where: str) -> None:
    """Raise ConfigError unless the suite has the size, the size the dataset, and some size the method."""
    datasets = scope_of(suite, item.size).datasets
    if item.dataset not in (None, *datasets):
        why = suggest(item.dataset or "", datasets)
        raise ConfigError(f"{where}: no dataset {item.dataset!r}", why, "name one of the size's datasets")
    methods = sorted({row.method for row in suite.rows})
    if item.method not in (None, *methods):
        why = suggest(item.method or "", methods)
        raise ConfigError(f"{where}: no row of method {item.method!r}", why, "name a method of the suite")


# ---- the page -------------------------------------------------------------------------------------------------------

HEADS = (
    "Paper",
    "Table or figure",
    "Suite or image",
    "Ran at small size",
    "Paper-size budget",
    "GPU hours",
    "Reproduced",
    "What differs",
)


def page(papers: Sequence[Paper], state: dict[str, Any], records: Sequence[Record]) -> str:
    """docs/coverage.md."""
    lines = [_line(paper, item, state, records) for paper in papers for item in paper.items]
    table = [HEADS, tuple(":--" for _ in HEADS), *lines]
    return INTRODUCTION + "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"


def _line(paper: Paper, item: Item, state: dict[str, Any], records: Sequence[Record]) -> tuple[str, ...]:
    stands = [f"`{item.suite}`"] if item.suite else []
    stands += [f"`{item.image}`"] if item.image else []
    small = paper_size = hours = reproduced = NONE
    if item.suite:
        suite = find_suite(item.suite)
        small = _small_text(state.get(key_of(item.suite, "small")), _n_rows(suite, "small", item.method))
        paper_size, hours = _paper_text(
            state.get(key_of(item.suite, item.size)), _n_rows(suite, item.size, item.method)
        )
        if item.published:
            reproduced = state_of(suite, item.size, records, item.dataset, item.method) or NONE
    elif item.image:
        small = item.made
    differs = item.differs or item.why_not or NONE
    return (paper.paper, item.item, ", ".join(stands) or NONE, small, paper_size, hours, reproduced, differs)


def _n_rows(suite: Suite, size: str, method: str | None) -> int | None:
    """How many rows of a size a method has; None where no method is named."""
    return None if method is None else sum(row.method == method for _, row in rows_of(suite, size))


def _small_text(found: dict[str, Any] | None, n: int | None) -> str:
    """n: rows that are meant; None: all."""
    if n == 0:
        return "no: it has no row at that size"
    if not found or not found["done"]:
        return "not run"
    seeds = f"{found['seeds']} seed{'s' * (found['seeds'] > 1)}"
    part = "" if found["done"] == found["rows"] else f"{found['done']} of {found['rows']} rows, "
    return f"yes: {part}{seeds}, {found['cpu_minutes']:.0f} CPU min a seed"


def _paper_text(found: dict[str, Any] | None, n: int | None) -> tuple[str, str]:
    """n: rows that are meant; None: all."""
    if not found:
        return NONE, NONE
    low, high = found["images"]
    images = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    rows = f"{found['rows']} rows" if n is None else f"{n} of {found['rows']} rows"
    text = f"{rows} x {found['seeds']} seeds, {images} images each; protocol {found['protocol']}"
    hours = (found["flops"] or 0.0) / FLOPS_PER_S / 3600
    return text, NONE if found["flops"] is None else "under 1" if hours < 1 else f"{hours:,.0f}"


INTRODUCTION = f"""# Coverage

Every table and figure of the five papers, tables of two baselines, and what reproduces each.
`make coverage` writes this page.

- **Suite or image**: `make suite SUITE=name SIZE=paper` runs the table; an image is a file in each run's folder.
- **Ran at small size**: whether the suite's small size was run on a CPU, on how many seeds. An image comes with every
  run of its method unless the column says otherwise, or with the runs of the suite that is named.
- **Paper-size budget**: rows, seeds, and real images that the discriminator sees in each run.
- **GPU hours**: an estimate for one seed of all rows of that size, from counted operations at
  {FLOPS_PER_S / 1e12:.0f} TFLOP/s. It is not a measurement; encoders, other stages and evaluation are not in it.
- **Reproduced**: the state of the values that were published for this line, by `make reproduce`. Tolerance:
  {TOLERANCES}.
  A dash: the source's values could not be read, or there are none.

"""


# ---- what takes minutes ---------------------------------------------------------------------------------------------


def key_of(suite: str, size: str) -> str:
    """The key of an entry of the state."""
    return f"{suite}:{size}"


def fingerprint(suite: Suite, size: str) -> str:
    """Of what the size of a suite runs, whatever its texts and claims say."""
    return content_hash(
        [
            [c.spec.method, c.spec.dataset, c.spec.seed, c.spec.recipe, request_of(c.spec.changes)]
            for c in cells(suite, size)
        ]
    )[:16]


def wanted(papers: Sequence[Paper]) -> list[tuple[str, str]]:
    """The suites and sizes that the page shows, each once."""
    found = [
        (item.suite, size) for paper in papers for item in paper.items if item.suite for size in (item.size, "small")
    ]
    return list(dict.fromkeys(found))


def stale(papers: Sequence[Paper], state: dict[str, Any]) -> list[tuple[str, str]]:
    """The entries that are absent, or of another state of their suite."""
    return [
        (name, size)
        for name, size in wanted(papers)
        if state.get(key_of(name, size), {}).get("of") != fingerprint(find_suite(name), size)
    ]


def small_entry(suite: Suite, records: Sequence[Record]) -> dict[str, Any]:
    """What was run of a suite's small size: rows, seeds of the row with fewest, CPU minutes of one seed of all rows."""
    scope = scope_of(suite, "small")
    rows = [
        [record for record in found if record.status == "done"]
        for dataset in scope.datasets
        for found in rows_with_records(suite, "small", records, dataset).values()
    ]
    done = [found for found in rows if found]
    minutes = sum(_minutes(found) for found in done)
    seeds = min((len({record.seed for record in found}) for found in done), default=0)
    of = fingerprint(suite, "small")
    return {"of": of, "rows": len(rows), "done": len(done), "seeds": seeds, "cpu_minutes": round(minutes, 1)}


def _minutes(found: Sequence[Record]) -> float:
    times = [record.time.get("training_s", 0.0) + record.time.get("evaluation_s", 0.0) for record in found]
    return sum(times) / len(times) / 60


def paper_entry(suite: Suite, size: str, results: Path) -> dict[str, Any]:
    """What a paper size would cost: operations of training one seed of all rows; of stages none are counted."""
    from benchmark.runs.spec import Paths, resolve
    from benchmark.runs.suites.cost import row_costs

    scope, where = scope_of(suite, size), Paths(Path("data"), results)
    todo = [(cell, resolve(cell.spec, where)) for cell in cells(suite, size, scope.seeds[:1])]
    costs = row_costs(todo, where, "cpu", 1)
    flops = [cost.flops for cost in costs]
    images = [r.config.steps * r.config.images_a_step for _, r in todo]
    protocols = sorted({r.evaluation.protocol for _, r in todo})
    return {
        "of": fingerprint(suite, size),
        "rows": len(rows_of(suite, size)) * len(scope.datasets),
        "seeds": len(scope.seeds),
        "images": [min(images), max(images)],
        "protocol": ", ".join(protocols),
        "flops": None if None in flops else float(f"{sum(filter(None, flops)):.3g}"),
    }


def updated(papers: Sequence[Paper], state: dict[str, Any], results: Path) -> dict[str, Any]:
    """The state with every stale entry made again, and every small size counted in the records of `results`."""
    records = read_records(results)
    old = dict(state)
    for name, size in stale(papers, state):
        suite = find_suite(name)
        if size != "small":
            print(f"{name}, {size}: dry run", flush=True)
            old[key_of(name, size)] = paper_entry(suite, size, results)
    for name, size in wanted(papers):
        if size == "small":
            entry = small_entry(find_suite(name), records)
            before = old.get(key_of(name, size), {})
            if entry["done"] >= before.get("done", 0) or before.get("of") != entry["of"]:
                old[key_of(name, size)] = entry
    known = {key_of(*one) for one in wanted(papers)}
    return {key: old[key] for key in sorted(known)}


def read_state() -> dict[str, Any]:
    """`coverage_state.json`; empty where there is none."""
    return read_json(STATE) if STATE.exists() else {}


def main(arguments: Iterable[str] | None = None) -> int:
    """Write the state and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--results", type=Path, default=paths.REFERENCE, help="whose records count (default: published)"
    )
    options = parser.parse_args(None if arguments is None else list(arguments))
    papers = read_papers()
    state = updated(papers, read_state(), options.results)
    write_json(STATE, state)
    write_text(PAGE, page(papers, state, read_records(paths.REFERENCE)))
    print(PAGE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
