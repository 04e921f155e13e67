"""The command line: `python -m benchmark VERB`, also installed as `gantlet`.

Names and files are checked before anything heavy is imported, so that a missing dataset is reported at once.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import __version__
from benchmark.core.errors import UserError
from benchmark.core.registry import check_method, method_names
from benchmark.core.signals import Ended, signals_raised
from benchmark.evaluation.protocols import PROTOCOLS

if TYPE_CHECKING:
    from benchmark.runs.spec import Paths, RunSpec


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="gantlet", description="Train and compare GANs in one harness, by one protocol.")
    top.add_argument("--version", action="version", version=f"gantlet {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    paths = argparse.ArgumentParser(add_help=False)
    paths.add_argument("--data-root", type=Path, default=Path(os.environ.get("GANTLET_DATA") or "data"), metavar="DIR",
                        help="where datasets lie (default: $GANTLET_DATA, else data)")  # fmt: skip
    paths.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where runs and tables go")
    paths.add_argument("--quiet", action="store_true", help="no progress, only the outcome")

    what = argparse.ArgumentParser(add_help=False)
    what.add_argument("--method", nargs="+", default=["infoscc"], help="one or more; `list` shows them")
    what.add_argument("--dataset", default="digits", help="a card's name, a card's file, a folder or zip of pictures")
    what.add_argument("--seed", nargs="+", type=int, help="one or more (default: 0, or a suite's own)")
    what.add_argument("--recipe", help="settings to start from: small or paper (default: the dataset's)")
    what.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
                      help="change a setting; eval.KEY the evaluation's, data.KEY the dataset card's")  # fmt: skip
    what.add_argument("--protocol", choices=list(PROTOCOLS), help="a paper's evaluation instead of the suite's")
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    device.add_argument("--threads", type=positive, metavar="N", help="of CPU kernels (default: $OMP_NUM_THREADS, "
                        "else 1 for the small recipes and all cores for others)")  # fmt: skip

    verb = verbs.add_parser("list", help="methods, datasets, metrics and suites, a line each")
    verb.set_defaults(do=do_list)
    verb = verbs.add_parser("plan", parents=[what, device, paths], help="what a run, or a suite, would do and cost")
    verb.add_argument("--suite", metavar="NAME", help="a suite instead of a run")
    verb.add_argument("--size", default="small", help="of the suite (default: small)")
    verb.set_defaults(do=do_plan)
    verb = verbs.add_parser("prepare", parents=[paths], help="make a dataset's arrays")
    verb.add_argument("--dataset", nargs="+", required=True)
    verb.set_defaults(do=do_prepare)
    verb = verbs.add_parser("run", parents=[what, device, paths], help="train, evaluate, write the record")
    verb.set_defaults(do=do_run)
    verb = verbs.add_parser("suite", parents=[device, paths], help="all runs of a suite, then its table")
    verb.add_argument("name", help="`list` shows them")
    verb.add_argument("--size", default="small", help="one of the suite's sizes (default: small)")
    verb.add_argument("--seed", nargs="+", type=int, help="instead of the suite's")
    verb.add_argument("--workers", type=positive, metavar="N", help="runs at a time (default: one a core for runs of "
                      "one thread on the CPU, else 1)")  # fmt: skip
    verb.add_argument("--executor", choices=["local", "slurm"], default="local", help="where runs run, with --workers")
    verb.add_argument(
        "--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="options of sbatch, by submitit's names"
    )
    verb.set_defaults(do=do_suite)
    verb = verbs.add_parser("sample", parents=[what, device, paths], help="pictures from a finished run")
    verb.add_argument("--n", type=int, default=64, help="how many (default: 64)")
    verb.add_argument("--instances", metavar="DATASET", help="ask for images of this dataset, not of the run's own "
                      "(transfer; methods conditioned on images)")  # fmt: skip
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    verb.set_defaults(do=do_sample)
    verb = verbs.add_parser(
        "eval", parents=[device, paths], help="score anyone's pictures, or a run by another protocol"
    )
    verb.add_argument("pictures", type=Path, metavar="PATH", help="a folder, zip, .npz or .npy file of pictures, or "
                      "the folder of a finished run")  # fmt: skip
    verb.add_argument("--reference", metavar="DATASET|PATH", help="what they are compared with: a dataset's name, or "
                      "pictures as PATH; a run has its own dataset")  # fmt: skip
    verb.add_argument("--extractors", nargs="+", metavar="NAME", help="judge, lite0, inception, inception-clean, "
                      "torchvision:MODEL (default: the judge where the reference has labels, else lite0)")  # fmt: skip
    verb.add_argument("--protocol", choices=list(PROTOCOLS), help="a paper's evaluation (default: suite)")
    verb.add_argument("--n", type=positive, metavar="N", help="score this many of the pictures (default: all)")
    verb.add_argument("--resolution", type=positive, metavar="SIDE", help="bring pictures and reference to this side "
                      "in pixels (default: as they are)")  # fmt: skip
    verb.add_argument("--name", help="of the row in tables (default: the path's)")
    verb.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
                      help="change a setting of the evaluation, such as k=3 or half_samples=0")  # fmt: skip
    verb.set_defaults(do=do_eval)
    verb = verbs.add_parser("table", parents=[paths], help="CSV, LaTeX and Markdown tables from the records")
    verb.set_defaults(do=do_table)
    verb = verbs.add_parser("report", parents=[paths], help="one HTML page of all results")
    verb.add_argument("--out", type=Path, metavar="FILE", help="the page (default: report.html in the results)")
    verb.set_defaults(do=do_report)
    verb = verbs.add_parser(
        "drift", parents=[paths], help="do metrics, or a method's results, still give what they gave?"
    )
    verb.add_argument("--model", metavar="METHOD", help="compare new records of this method with its baseline")
    verb.add_argument("--dataset", help="with --model")
    verb.add_argument("--accept", metavar="REASON", help="make the present numbers the baseline")
    verb.add_argument("--records", type=Path, default=Path("results/reference"), metavar="DIR",
                      help="with --model --accept: whose records become the baseline")  # fmt: skip
    verb.add_argument("--config", metavar="HASH", help="beginning of a configuration's hash, where there are several")
    verb.add_argument("--metrics", nargs="+", metavar="ID", help="only these (default: all)")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    verb.add_argument("--allow-inconclusive", action="store_true", help="too few seeds to tell is no failure")
    verb.set_defaults(do=do_drift)
    return top


def positive(text: str) -> int:
    """An argument that is a whole number above 0."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def specs(arguments: argparse.Namespace) -> list[RunSpec]:
    """The runs a command asks for, its names and files checked first and fast."""
    from benchmark.core.config import merge, parse_overrides
    from benchmark.data.cards import find_card, locate

    changes = parse_overrides(arguments.changes)
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


def check_suite(name: str, size: str) -> None:
    """Raise ConfigError unless there is such a suite and it has this size."""
    from benchmark.runs.suites.suite import find_suite, scope_of

    scope_of(find_suite(name), size)


def paths_of(arguments: argparse.Namespace) -> Paths:
    """Where the command reads and writes."""
    from benchmark.runs.spec import Paths

    return Paths(arguments.data_root, arguments.results)


def do_list(arguments: argparse.Namespace) -> int:
    """Methods, datasets, metrics and suites, a line each."""
    from benchmark.data.cards import list_cards
    from benchmark.metrics import CATALOGUE
    from benchmark.runs.suites.suite import list_suites

    sections: dict[str, dict[str, str]] = {
        "methods": {name: summary_of(name) for name in method_names()},
        "datasets": {name: card.title for name, card in list_cards().items()},
        "metrics": CATALOGUE,
        "suites": {name: suite.title for name, suite in list_suites().items()},
    }
    for section, lines in sections.items():
        print(f"{section}:")
        for name, line in lines.items():
            print(f"  {name:<22} {line}")
    return 0


def summary_of(name: str) -> str:
    """The first line of the docstring of a method file's class, read from its text: importing it would import torch."""
    spec = importlib.util.find_spec(f"methods.{name}")
    assert spec is not None
    assert spec.origin is not None
    classes = [node for node in ast.parse(Path(spec.origin).read_text()).body if isinstance(node, ast.ClassDef)]
    docs = [ast.get_docstring(c) for c in classes if any(ast.unparse(base) == "Method" for base in c.bases)]
    if len(docs) == 1 and docs[0]:
        return docs[0].splitlines()[0]
    from benchmark.training.method import find_method  # a file that is laid out in another way

    return find_method(name).summary


def do_plan(arguments: argparse.Namespace) -> int:
    """What each run, or a suite, would do and cost."""
    if arguments.suite is not None:
        check_suite(arguments.suite, arguments.size)
        from benchmark.runs.suites.cost import suite_plan

        paths, settings = paths_of(arguments), {"device": arguments.device, "threads": arguments.threads}
        print(suite_plan(arguments.suite, arguments.size, paths, seeds=arguments.seed, **settings))
        return 0
    wanted, paths = specs(arguments), paths_of(arguments)
    from benchmark.runs.plan import make_plan
    from benchmark.runs.run import pick_device, use_threads
    from benchmark.runs.spec import resolve

    for spec in wanted:
        resolved = resolve(spec, paths)
        use_threads(resolved, arguments.threads)
        plan = make_plan(resolved, paths, pick_device(arguments.device))
        print(plan.text())
        if plan.warning():
            print(f"note: {plan.warning()}")
    return 0


def do_prepare(arguments: argparse.Namespace) -> int:
    """Make the arrays of datasets."""
    from benchmark.data.cards import find_card, locate

    for name in arguments.dataset:
        locate(find_card(name), arguments.data_root)
    from benchmark.data.prepare import prepare

    for name in arguments.dataset:
        data = prepare(
            find_card(name), arguments.data_root, paths_of(arguments).artifacts / "data", not arguments.quiet
        )
        labels = f"{data.n_labels} {data.conditioning}" if data.n_labels else "no labels"
        counts = f"{len(data.train)} train, {len(data.test)} test"
        print(f"{data.name}: {counts}, {data.resolution} px, {labels}, {data.sha256[:12]}")
    return 0


def do_run(arguments: argparse.Namespace) -> int:
    """Train and evaluate; one run after the other. The exit status is the worst run's."""
    wanted, paths = specs(arguments), paths_of(arguments)
    from benchmark.core import distributed
    from benchmark.core.errors import RunFailed
    from benchmark.runs import records
    from benchmark.runs.run import pick_device, run
    from benchmark.runs.spec import require_files, resolve

    distributed.start(pick_device(arguments.device))
    status = 0
    try:
        for spec in wanted:  # every run's settings and files are checked before the first one starts
            require_files(resolve(spec, paths), paths)
        for spec in wanted:
            try:
                record = run(spec, paths, device=arguments.device, quiet=arguments.quiet, threads=arguments.threads)
            except RunFailed as error:
                say(error)
                status = error.exit_code
                continue
            if distributed.is_main():
                records.show(record)
                again = f"  to try again, remove {records.record_path(paths.results, record.run)}"
                grid = f"  pictures: {resolve(spec, paths).folder}{os.sep}samples.png and beside it"
                print(grid if record.status == "done" else again)
                status = status if record.status == "done" else RunFailed.exit_code
    finally:
        distributed.stop()
    return status


def do_suite(arguments: argparse.Namespace) -> int:
    """Run what a suite lacks, then write its table."""
    check_suite(arguments.name, arguments.size)
    from benchmark.core import distributed
    from benchmark.core.config import parse_overrides
    from benchmark.report.table_files import write_suite_table
    from benchmark.runs.run import pick_device
    from benchmark.runs.suites.running import default_workers, run_suite

    device = pick_device(arguments.device)
    distributed.start(device)
    workers = arguments.workers or default_workers(arguments.name, arguments.size, device.type, arguments.threads)
    if (workers > 1 or arguments.executor == "slurm") and distributed.world() > 1:
        raise UserError("--workers under torchrun", "its processes share one run at a time", "use one of the two")
    try:
        # torchrun ends its processes together; one that waits inside a collective operation could not close anything
        with signals_raised() if distributed.world() == 1 else nullcontext():
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
            )
        if distributed.is_main():
            for path in write_suite_table(arguments.name, arguments.size, arguments.results):
                if path.suffix == ".md":
                    print(f"table: {path}", flush=True)
        return status
    finally:
        distributed.stop()


def do_sample(arguments: argparse.Namespace) -> int:
    """Write pictures from a finished run, with a list of what each was asked to be."""
    wanted, paths = specs(arguments), paths_of(arguments)
    from benchmark.runs.finished import write_samples
    from benchmark.runs.run import pick_device
    from benchmark.runs.spec import resolve

    for spec in wanted:
        folder = arguments.out if len(wanted) == 1 else arguments.out / f"{spec.method}-s{spec.seed}"
        device = pick_device(arguments.device)
        write_samples(resolve(spec, paths), paths, device, arguments.n, folder, arguments.instances)
        print(f"{arguments.n} pictures in {folder}")
    return 0


def do_eval(arguments: argparse.Namespace) -> int:
    """Score pictures, or a finished run once more."""
    from benchmark.core.config import merge, parse_overrides
    from benchmark.runs.records import show, show_protocol
    from benchmark.runs.run import pick_device

    paths, changes = paths_of(arguments), parse_overrides(arguments.changes)
    asked = {"protocol": arguments.protocol, "n_fake": arguments.n, "extractors": arguments.extractors}
    changes = merge({key: value for key, value in asked.items() if value is not None}, changes)
    if arguments.threads is not None:
        import torch

        torch.set_num_threads(arguments.threads)
    from benchmark.runs.finished import is_run, rescore

    if is_run(arguments.pictures):
        if arguments.reference or arguments.resolution or arguments.name:
            raise UserError(
                f"{arguments.pictures}: --reference, --resolution and --name",
                "a run is scored against its own dataset",
                "leave them out, or write its pictures with `sample` and score these",
            )
        record = rescore(arguments.pictures, paths, changes, pick_device(arguments.device), quiet=arguments.quiet)
    else:
        from benchmark.runs.standalone import request_for, score_pictures

        request = request_for(arguments.pictures, arguments.reference, changes, arguments.resolution, arguments.name)
        record = score_pictures(request, paths, pick_device(arguments.device), quiet=arguments.quiet)
    show(record)
    show_protocol(record)
    return 0


def do_report(arguments: argparse.Namespace) -> int:
    """Write the page of all results."""
    from benchmark.report.report import write_report

    print(write_report(arguments.results, arguments.out))
    return 0


def do_drift(arguments: argparse.Namespace) -> int:
    """Run a drift gate, or accept a baseline."""
    a = arguments
    if (a.model is None) != (a.dataset is None):
        raise UserError("drift: --model and --dataset", "each needs the other", "give both or neither")
    if a.model is None:
        from benchmark.drift.metric_gate import metric_gate

        return metric_gate(a.json, a.accept, a.quiet)
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


def do_table(arguments: argparse.Namespace) -> int:
    """Write all tables from the records."""
    from benchmark.report.table_files import write_tables

    paths = write_tables(arguments.results)
    if not paths:
        raise UserError(
            f"{arguments.results / 'records'}: no records", "tables are made of records alone", "make bench"
        )
    for path in paths:
        print(path)
        if path.suffix == ".md" and not arguments.quiet:
            print(path.read_text())
    return 0


def say(error: UserError) -> None:
    """Print what a user can mend."""
    print(f"gantlet: {error}", file=sys.stderr, flush=True)


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    state = select.poll()
    state.register(sys.stdout.fileno(), 0)  # an error is reported unasked
    return bool(state.poll(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. Exit status: 0 done, 1 a run failed, 2 bad input, 3 busy, 130 interrupted, 143 or 129 terminated.

    141: whatever reads the output has closed it.
    """
    parsed: Any = parser().parse_args(arguments)
    try:
        status = parsed.do(parsed)
        sys.stdout.flush()  # here, where a closed pipe is seen
        return status
    except UserError as error:
        say(error)
        return error.exit_code
    except (KeyboardInterrupt, Ended) as stop:
        with suppress(OSError):  # the terminal may be what was closed
            print("gantlet: stopped; the same command continues from the last checkpoint", file=sys.stderr, flush=True)
        return stop.exit_code if isinstance(stop, Ended) else 130
    except BrokenPipeError:  # who reads the output has enough of it, as `| head` has
        if not _reader_is_gone():
            raise  # it was another pipe: an error like any other
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
