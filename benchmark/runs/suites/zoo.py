"""Publish a model for each row of a suite: `python -m benchmark.runs.suites.zoo SUITE [--size SIZE] [--results DIR]`.

A maintainer's command (`make zoo`). Of each row, the finished run with the lowest seed becomes a compact export in
`results/reference/models`, from which `load_run("reference/<dataset>/<method>")` reads it. A model that is there, byte
for byte, is left alone; so the command can be called again whenever further runs have ended.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from benchmark.core import paths as own
from benchmark.core.errors import UserError
from benchmark.core.files import require_makeable
from benchmark.core.names import printable
from benchmark.runs.export import export_run
from benchmark.runs.exported import SAMPLING
from benchmark.runs.folder import is_run, run_name
from benchmark.runs.published_models import MODELS, PREFIX, published
from benchmark.runs.records import read_record, record_path
from benchmark.runs.spec import Paths, Resolved
from benchmark.runs.suites.suite import Suite, find_suite, resolved_cells

MOST_BYTES = 3_000_000  # of one model: a checkout has some forty


@dataclass(frozen=True)
class Published:
    """What became of a row."""

    row: str  # its labels and dataset
    kind: str  # written, unchanged, too large, no run, or failed
    text: str  # the model's name, or why there is none
    bytes: int = 0  # of the model's files; 0 where there is none

    def line(self) -> str:
        """For a reader."""
        size = f"{self.bytes / 1e6:.2f} MB" if self.bytes else ""
        return printable(f"{self.row:<36} {self.kind:<10} {size:>8}  {self.text}")


class TooLargeError(UserError):
    """A model that takes more than the limit."""


def publish_suite(
    name: str, size: str, paths: Paths, models: Path, most_bytes: int = MOST_BYTES, seeds: Sequence[int] | None = None
) -> list[Published]:
    """Publish each row's finished run with the lowest seed, and print a line a row. Returns what became of each.

    models: the folder of published models. most_bytes: of one model; a larger one is left out. seeds: None for the
    suite's own. A row whose run cannot be used is reported, and the others go on. Raises ConfigError for a suite that
    is not there or cannot be configured.
    """
    suite = find_suite(name)
    rows: dict[tuple[str, int], list[Resolved]] = {}
    for cell, resolved in resolved_cells(suite, size, paths, seeds):
        rows.setdefault((cell.dataset, cell.row), []).append(resolved)
    require_makeable(models)
    outcomes = []
    for (dataset, row), runs in rows.items():
        ordered = sorted(runs, key=lambda one: one.spec.seed)
        outcomes.append(_publish_row(_title(suite, row, dataset), ordered, paths, models, most_bytes))
        print(outcomes[-1].line(), flush=True)
    return outcomes


def _title(suite: Suite, row: int, dataset: str) -> str:
    labels = suite.rows[row].labels
    return ", ".join(labels[column] for column in suite.columns if labels[column]) + f" on {dataset}"


def _publish_row(title: str, runs: Sequence[Resolved], paths: Paths, models: Path, most_bytes: int) -> Published:
    """Publish the first of a row's runs that is finished. Models of its other runs are removed: one is for the row."""
    try:
        chosen = next((one for one in runs if _is_finished(one, paths)), None)
        if chosen is None:
            seeds = ", ".join(str(one.spec.seed) for one in runs)
            return Published(title, "no run", f"no finished run with seed {seeds} in {paths.results}")
        changed, n = publish_run(chosen.folder, models, most_bytes)
    except TooLargeError as error:
        return Published(title, "too large", f"{error.what}: {error.why}")
    except UserError as error:
        return Published(title, "failed", str(error))
    others = [models / one.run for one in runs if one is not chosen and (models / one.run).is_dir()]
    for folder in others:
        shutil.rmtree(folder)
    replaced = f" (in place of {', '.join(folder.name for folder in others)})" if others else ""
    return Published(title, "written" if changed else "unchanged", chosen.run + replaced, n)


def _is_finished(resolved: Resolved, paths: Paths) -> bool:
    """Is the run's folder there, and a record that says that it is done? A run under way has no record yet."""
    path = record_path(paths.results, resolved.run)
    return is_run(resolved.folder) and path.is_file() and read_record(path).status == "done"


def publish_run(folder: Path, models: Path, most_bytes: int = MOST_BYTES) -> tuple[bool, int]:
    """Write a finished run's compact export to `models/<run>`, whole or not at all.

    Returns whether it was written, False where the same bytes are there, and its bytes. Raises TooLargeError when it
    takes more than `most_bytes`, and UserError as `export_run`.
    """
    name = run_name(folder)
    target, begun = models / name, models / f".{name}.tmp"
    shutil.rmtree(begun, ignore_errors=True)  # what a kill left
    try:
        files = export_run(folder, begun, compact=True)
        n = sum(path.stat().st_size for path in files)
        if n > most_bytes:
            why = f"{n / 1e6:.1f} MB, {most_bytes / 1e6:.1f} MB at most; {_largest(files)}"
            raise TooLargeError(name, why, "publish a smaller model, or raise --most")
        if _content(target) == _content(begun):
            return False, n
        shutil.rmtree(target, ignore_errors=True)
        begun.rename(target)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return True, n


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def _largest(files: Sequence[Path]) -> str:
    """The largest tensor of an export's files, in words."""
    tensors = [
        (one.nbytes, name, list(one.shape), path.name)
        for path in files
        if path.suffix == ".safetensors"
        for name, one in load_file(path).items()
    ]
    n, name, shape, file = max(tensors)
    what = ", which sampling needs" if file == SAMPLING else ""
    return f"{name} {shape} in {file} takes {n / 1e6:.1f} MB{what}"


def total(models: Path) -> str:
    """How many models there are and what they take, for a reader; and which names several share."""
    found = published(models)
    n = sum(path.stat().st_size for path in models.rglob("*") if path.is_file())
    lines = [f"{sum(map(len, found.values()))} models, {n / 1e6:.1f} MB in {models}"]
    lines += [
        f"  {PREFIX}/{name} is of several, which are loaded by their records' names: {', '.join(runs)}"
        for name, runs in found.items()
        if len(runs) > 1
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish, and print what there is. Exit status: 0; 1 when a row has no finished run, or one that cannot be used.

    A model that is left out for its size is no failure.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="compare", help="a suite's name (default: compare)")
    parser.add_argument("--size", default="small", help="one of its sizes (default: small)")
    parser.add_argument("--seed", nargs="+", type=int, help="instead of the suite's")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="where datasets are; none is read")
    parser.add_argument("--models", type=Path, default=own.REFERENCE / MODELS, help="where the models go")
    parser.add_argument("--most", type=float, default=MOST_BYTES / 1e6, metavar="MB", help="of one model (default: 3)")
    given = parser.parse_args(arguments)
    try:
        paths = Paths(given.data_root, given.results)
        outcomes = publish_suite(given.suite, given.size, paths, given.models, int(given.most * 1e6), given.seed)
        print(total(given.models))
    except UserError as error:
        print(printable(f"gantlet: {error}"), file=sys.stderr)
        return error.exit_code
    counts = Counter(outcome.kind for outcome in outcomes)
    print("rows: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    return 1 if counts["failed"] or counts["no run"] else 0


if __name__ == "__main__":
    sys.exit(main())
