"""The commands of the command line, a short function each. The grammar is in `__main__`, the work in the rooms below.

Names and files are checked before anything heavy is imported, so that a missing dataset is reported at once.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import benchmark
from benchmark.core.errors import UserError
from benchmark.core.names import path_component, printable
from benchmark.core.registry import check_method, method_names
from benchmark.core.signals import preemption_raised, signals_raised
from benchmark.runs.logs import require_log

if TYPE_CHECKING:
    import torch

    from benchmark.runs.spec import Paths, RunSpec


def specs(arguments: argparse.Namespace) -> list[RunSpec]:
    """The runs a command requests, its names and files checked first and fast."""
    from benchmark.core.config import merge, parse_overrides
    from benchmark.data.cards import find_card, locate

    changes = parse_overrides(arguments.changes)
    changes |= asked_engine(arguments)
    if arguments.protocol is not None:
        changes = merge(changes, {"eval": {"protocol": arguments.protocol}})
    for method in arguments.method:
        check_method(method)
    card = find_card(arguments.dataset)
    if arguments.verb != "plan":  # a plan lists what is missing
        locate(card, arguments.data_root)

    from benchmark.runs.spec import RunSpec

    return [
        RunSpec(method, arguments.dataset, seed, arguments.recipe, changes)
        for method in arguments.method
        for seed in arguments.seed or [0]
    ]


def asked_engine(arguments: argparse.Namespace) -> dict[str, str]:
    """Precision and capture, where the command line names them."""
    named = {"precision": arguments.precision, "capture": arguments.capture}
    return {key: value for key, value in named.items() if value is not None}


def check_suite(name: str, size: str) -> None:
    """Raise ConfigError unless there is such a suite and it has this size."""
    from benchmark.runs.suites.suite import find_suite, scope_of

    scope_of(find_suite(name), size)


def paths_of(arguments: argparse.Namespace) -> Paths:
    """Where the command reads and writes."""
    from benchmark.runs.spec import Paths

    return Paths(arguments.data_root, arguments.results)


def require_results(arguments: argparse.Namespace) -> None:
    """Raise UserError where the results could not be written: before anything heavy is imported, and any work."""
    from benchmark.core.files import require_makeable

    require_makeable(arguments.results)


def list_all(arguments: argparse.Namespace) -> int:
    """Methods, datasets, metrics and suites, a line each."""
    from benchmark.data.cards import list_cards
    from benchmark.metrics.catalogue import listed
    from benchmark.runs.suites.suite import list_suites

    sections: dict[str, dict[str, str]] = {
        "methods": {name: summary_of(name) for name in method_names()},
        "datasets": {name: card.title for name, card in list_cards().items()},
        "metrics": listed(),
        "suites": {name: suite.title for name, suite in list_suites().items()},
    }
    for section, lines in sections.items():
        print(f"{section}:")
        for name, line in lines.items():
            print(f"  {name:<22} {line}")
    return 0


def describe(arguments: argparse.Namespace) -> int:
    """What is known of methods, datasets, metrics and suites."""
    print("\n\n".join(printable(benchmark.describe(name, arguments.results)) for name in arguments.name))
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Two methods, or two runs, against each other."""
    from benchmark.report.head_to_head import head_to_head

    print(printable(head_to_head(arguments.a, arguments.b, arguments.results, arguments.dataset).text()))
    return 0


def summary_of(name: str) -> str:
    """The first line of the docstring of a method file's class, read from its text: importing it would import torch."""
    spec = importlib.util.find_spec(f"methods.{name}")
    assert spec is not None
    assert spec.origin is not None
    try:
        body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    except SyntaxError as error:
        return f"cannot be used: line {error.lineno}: {error.msg}"
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    docs = [ast.get_docstring(c) for c in classes if any(ast.unparse(base) == "Method" for base in c.bases)]
    if len(docs) == 1 and docs[0]:
        return docs[0].splitlines()[0]
    from benchmark.training.method import find_method  # a file that is laid out in another way

    try:
        return find_method(name).summary
    except UserError as error:  # one file that is broken does not hide the others
        return f"cannot be used: {error.what}"


def plan(arguments: argparse.Namespace) -> int:
    """What each run, or a suite, would do and cost."""
    if arguments.suite is not None:
        check_suite(arguments.suite, arguments.size)
        from benchmark.core.engine import engine_of
        from benchmark.runs.suites.cost import suite_plan

        paths, settings = paths_of(arguments), {"device": arguments.device, "threads": arguments.threads}
        settings["gpu"] = arguments.gpu
        engine = engine_of(asked_engine(arguments))[0]
        print(suite_plan(arguments.suite, arguments.size, paths, seeds=arguments.seed, engine=engine, **settings))
        return 0
    wanted, paths = specs(arguments), paths_of(arguments)
    from benchmark.runs.device import pick_device, threads_alone
    from benchmark.runs.estimate import estimate, gpu_elsewhere, other_gpus
    from benchmark.runs.recipe_choice import RecipeChoice, choose_recipe
    from benchmark.runs.spec import resolve

    elsewhere = gpu_elsewhere(arguments.device, arguments.gpu) is not None
    for spec in wanted:
        choice = (
            RecipeChoice(spec)
            if elsewhere
            else choose_recipe(spec, paths, pick_device(arguments.device), arguments.threads)
        )
        if choice.note:
            print(choice.note, flush=True)
        plan = choice.plan
        if plan is None:
            resolved = resolve(choice.spec, paths)
            threads = threads_alone(resolved, arguments.threads)
            plan = estimate(resolved, paths, arguments.device, threads, arguments.gpu)
        print("\n".join(filter(None, [plan.text(), other_gpus(plan)])))
        if plan.warning():
            print(f"note: {plan.warning()}")
    return 0


def prepare(arguments: argparse.Namespace) -> int:
    """Make the arrays of datasets."""
    from benchmark.data.cards import find_card, locate

    for name in arguments.dataset:
        locate(find_card(name), arguments.data_root)
    require_results(arguments)
    where = {"results": arguments.results, "data_root": arguments.data_root}
    for name in arguments.dataset:
        data = benchmark.prepare(name, **where, progress=not arguments.quiet)
        labels = f"{data.n_labels} {data.conditioning}" if data.n_labels else "no labels"
        counts = f"{len(data.train)} train, {len(data.test)} test"
        print(f"{data.name}: {counts}, {data.resolution} px, {labels}, {data.sha256[:12]}")
        if data.repeated_note:
            print(f"  note: {data.repeated_note}")
    return 0


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
    """Run what a suite lacks, then write its table."""
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
        status = run_suite(
            arguments.name,
            paths_of(arguments),
            size=arguments.size,
            seeds=arguments.seed,
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


def sample(arguments: argparse.Namespace) -> int:
    """Write images from a finished run or a published model, with a list of the condition of each."""
    from benchmark.core.files import require_writable

    if arguments.run is not None:
        return sample_folder(arguments)
    wanted, paths = specs(arguments), paths_of(arguments)
    require_writable(arguments.out)
    from benchmark.runs.device import pick_device
    from benchmark.runs.finished import Request, write_samples
    from benchmark.runs.recipe_choice import trained_recipe
    from benchmark.runs.spec import resolve

    request = Request(arguments.label, arguments.attributes, arguments.instance)
    for spec in (trained_recipe(spec, paths) for spec in wanted):
        folder = arguments.out if len(wanted) == 1 else arguments.out / f"{spec.method}-s{spec.seed}"
        device = pick_device(arguments.device)
        write_samples(resolve(spec, paths), paths, device, arguments.n, folder, arguments.instances, request)
        print(f"{arguments.n} images in {folder}")
    return 0


def sample_folder(arguments: argparse.Namespace) -> int:
    """Write pictures from the folder of a run or an export, or from a published model: no dataset is read."""
    asked = ["dataset", "seed", "recipe", "changes", "protocol", "precision", "capture", "instances"]
    given = [name for name in ("method", *asked) if getattr(arguments, name) != SAMPLED.get(name)]
    if given:
        option = {"changes": "set"}.get(given[0], given[0])
        reason = "the run has its own settings, and neither dataset nor encoder is read"
        raise UserError(f"sample {arguments.run}: --{option}", reason, "leave it out, or leave the run out")
    from benchmark.runs.finished import Request, save_samples

    run = benchmark.load_run(arguments.run, device=arguments.device)
    save_samples(run, arguments.n, arguments.out, Request(arguments.label, arguments.attributes, arguments.instance))
    print(f"{arguments.n} pictures of {run.name} in {arguments.out}")
    return 0


SAMPLED = {"method": ["infoscc"], "dataset": "digits", "changes": []}  # these options of `sample` where none is given


def export(arguments: argparse.Namespace) -> int:
    """Write a finished run to a folder of the Hugging Face layout."""
    asked = arguments
    for path in benchmark.export_run(
        asked.run, asked.out, license=asked.license, sampler=asked.sampler, compact=asked.compact
    ):
        print(path)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Score images, or a finished run once more."""
    from benchmark.core.config import merge, parse_overrides

    changes = parse_overrides(arguments.changes)
    require_results(arguments)
    asked = {"protocol": arguments.protocol, "n_fake": arguments.n, "extractors": arguments.extractors}
    asked["metrics"] = "all" if arguments.all else None
    changes = merge({key: value for key, value in asked.items() if value is not None}, changes)
    if arguments.threads is not None:
        import torch

        from benchmark.runs.limits import require_threads

        require_threads(arguments.threads)
        torch.set_num_threads(arguments.threads)
    from benchmark.runs.records import show, show_protocol

    record = benchmark.score(
        arguments.pictures,
        arguments.reference,
        name=arguments.name,
        resolution=arguments.resolution,
        results=arguments.results,
        data_root=arguments.data_root,
        device=arguments.device,
        quiet=arguments.quiet,
        eval=changes,
    )
    show(record)
    show_protocol(record)
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write the page of all results."""
    from benchmark.report.report import write_report
    from benchmark.runs.records import find_records

    if arguments.out is not None:
        require_file(arguments.out, "--out")
    found = find_records(arguments.results)
    found.warn()
    print(write_report(arguments.results, arguments.out, found.records))
    return found.exit_code


def drift(arguments: argparse.Namespace) -> int:
    """Run a regression test, or accept a baseline."""
    a = arguments
    if (a.model is None) != (a.dataset is None):
        raise UserError("drift: --model and --dataset", "each needs the other", "give both or neither")
    if a.json is not None:
        require_file(a.json, "--json")
    if a.model is None:
        from benchmark.drift.metric_gate import metric_gate

        return metric_gate(a.json, a.accept, a.quiet, metrics=a.metrics)
    from benchmark.drift.model_gate import model_gate

    return model_gate(
        a.model,
        a.dataset,
        a.results,
        json_file=a.json,
        accept=a.accept,
        source=a.records,
        allow_inconclusive=a.allow_inconclusive,
        config=a.config,
        metrics=a.metrics,
    )


def table(arguments: argparse.Namespace) -> int:
    """Write all tables from the records, and print the best rows of one of them.

    With the published rows only those of datasets and suites of one's own.
    """
    from benchmark.report.find import find_table
    from benchmark.report.table_summary import latest_dataset, summary_text

    if arguments.beside == "reference":
        from benchmark.report.beside_reference import find_beside_reference, write_tables_beside_reference

        found = find_beside_reference(arguments.results)
        found.warn()
        paths = write_tables_beside_reference(arguments.results, found.records)
    else:
        from benchmark.report.table_files import write_tables
        from benchmark.runs.records import find_records

        found = find_records(arguments.results)
        found.warn()
        paths = write_tables(arguments.results, records=found.records)
    if not paths:
        raise UserError(
            f"{arguments.results / 'records'}: no records", "tables are made of records alone", "make bench"
        )
    if not arguments.quiet:
        name = arguments.name or latest_dataset([one for one in found.records if one.is_own] or found.records)
        shown = find_table(name, arguments.results, arguments.size, records=found.records)
        print(printable(summary_text(shown, arguments.columns, arguments.rows)))
        stem = path_component(shown.name)
        names = [path.name for path in paths if path.stem == stem or path.stem.startswith(f"{stem}-")]
        print(f"\nthis table in full: {', '.join(names)}")
    print(f"{len(paths)} files of tables and figures: {arguments.results / 'tables'}")
    return found.exit_code


def require_file(path: Path, option: str) -> None:
    """Raise UserError unless a file can be written at `path`: before the work whose outcome it takes."""
    from benchmark.core.files import require_writable

    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {path}", str(error), "give the path of a file") from None
    if is_folder:
        raise UserError(f"{option} {path}", "it is a folder", "give the path of a file in it")
    require_writable(path.parent)


def say(error: UserError) -> None:
    """Print what a user can fix."""
    print(printable(f"gantlet: {error}"), file=sys.stderr, flush=True)
