"""Commands that train: `run`, `reproduce`, `suite`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmark.commands.requests import asked_engine, check_suite, paths_of, require_results, say, specs
from benchmark.core.errors import UserError
from benchmark.core.names import printable
from benchmark.core.registry import check_method
from benchmark.core.signals import leaving_after, preemption_raised, signals_raised
from benchmark.runs.logs import require_log

if TYPE_CHECKING:
    import torch

    from benchmark.runs.spec import RunSpec


def run(arguments: argparse.Namespace) -> int:
    """Train and evaluate; one run after the other. The exit status is the worst run's."""
    require_log(arguments.log)
    wanted = specs(arguments)
    require_results(arguments)
    return run_all(wanted, arguments)


def run_all(wanted: Sequence[RunSpec], arguments: argparse.Namespace) -> int:
    """Train and evaluate these runs, or show the records of those that are done. The exit status is the worst run's.

    Raises UserError for settings or files of any of them before the first one starts.
    """
    paths = paths_of(arguments)
    from benchmark.core import distributed
    from benchmark.core.errors import RunFailed
    from benchmark.runs import records
    from benchmark.runs.device import threads_alone
    from benchmark.runs.recipe_choice import choose_recipe
    from benchmark.runs.run import run
    from benchmark.runs.spec import require_files, resolve

    status = 0
    with taking_part(arguments.device) as device:
        choices = [choose_recipe(spec, paths, device, arguments.threads) for spec in wanted]
        if distributed.is_main():
            for note in dict.fromkeys(choice.note for choice in choices if choice.note):
                print(note, flush=True)
        resolved = [resolve(choice.spec, paths) for choice in choices]
        for one in resolved:
            require_files(one, paths)
        for one in resolved:
            found = records.record_path(paths.results, one.run).exists()
            try:
                record = run(
                    one,
                    paths,
                    device=arguments.device,
                    quiet=arguments.quiet,
                    threads=threads_alone(one, arguments.threads),
                    log=arguments.log,
                )
            except RunFailed as error:
                say(error)
                status = error.exit_code
                continue
            if distributed.is_main():
                records.show(record)
                if found:
                    print(f"  found: its record is of {str(record.time.get('utc', ''))[:10]}; nothing was trained")
                again = f"  to try again, remove {records.record_path(paths.results, record.run)}"
                grid = f"  images: {one.folder}{os.sep}samples.png and next to it"
                print(grid if record.status == "done" else again)
                status = status if record.status == "done" else RunFailed.exit_code
    return status


@contextmanager
def taking_part(device: str) -> Iterator[torch.device]:
    """Be one of the processes of a run, or the only one. Signals are raised, so that what is open is closed.

    torchrun ends its processes together by SIGTERM, and one that waits for another could not close anything: there only
    the request to leave is taken.
    """
    from benchmark.core import distributed
    from benchmark.runs.device import pick_device

    picked = pick_device(device)
    distributed.start(picked)
    try:
        with signals_raised() if distributed.world() == 1 else preemption_raised():
            yield picked
    finally:
        distributed.stop()


def reproduce(arguments: argparse.Namespace) -> int:
    """Run what a paper published at paper size, unless it was run, and compare its values with ours."""
    check_method(arguments.method)
    require_log(arguments.log)
    require_results(arguments)
    from benchmark.core import distributed
    from benchmark.report.reproduction import cells_of, compare, listing, targets
    from benchmark.report.table_files import write_listing
    from benchmark.report.writers import listing_markdown
    from benchmark.runs.records import find_records

    wanted = targets(arguments.method, arguments.dataset, arguments.table)
    status = 0
    if not arguments.records_only:
        status = run_all([cell.spec for cell in cells_of(wanted, arguments.seed)], arguments)
    if distributed.is_main():
        found_records = find_records(arguments.results)
        found_records.warn()
        status = status or found_records.exit_code
        found = listing(compare(wanted, found_records.records), f"reproduction-{arguments.method}-{arguments.dataset}")
        write_listing(arguments.results, found)
        print(printable(listing_markdown(found)))
    return status


def suite(arguments: argparse.Namespace) -> int:
    """Run what a suite lacks, then write its table. Its minutes over, it saves the steps and raises Preempted."""
    check_suite(arguments.name, arguments.size)
    require_log(arguments.log)
    require_results(arguments)
    from benchmark.core import distributed
    from benchmark.core.config import parse_overrides
    from benchmark.core.engine import engine_of
    from benchmark.report.table_files import write_suite_table
    from benchmark.runs.records import find_records
    from benchmark.runs.suites.running import default_workers, run_suite

    with taking_part(arguments.device) as device:
        workers = arguments.workers or default_workers(arguments.name, arguments.size, device.type, arguments.threads)
        if (workers > 1 or arguments.executor == "slurm") and distributed.world() > 1:
            raise UserError("--workers under torchrun", "its processes share one run at a time", "use one of the two")
        with leaving_after(60 * arguments.minutes if arguments.minutes else None):
            status = run_suite(
                arguments.name,
                paths_of(arguments),
                size=arguments.size,
                seeds=arguments.seed,
                rows=arguments.rows,
                device=arguments.device,
                quiet=arguments.quiet,
                threads=arguments.threads,
                workers=workers,
                executor=arguments.executor,
                slurm=parse_overrides(arguments.slurm),
                engine=engine_of(asked_engine(arguments))[0],
                log=arguments.log,
            )
        if distributed.is_main():
            found = find_records(arguments.results)
            found.warn()
            status = status or found.exit_code
            for path in write_suite_table(arguments.name, arguments.size, arguments.results, found.records):
                if path.suffix == ".md":
                    print(f"table: {path}", flush=True)
        return status
