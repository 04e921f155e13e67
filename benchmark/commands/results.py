"""Commands on finished runs: their samples, scores, tables, pages and drift."""

from __future__ import annotations

import argparse

import benchmark
from benchmark.commands.requests import paths_of, require_file, require_results, specs
from benchmark.core.errors import UserError
from benchmark.core.names import path_component, printable


def compare(arguments: argparse.Namespace) -> int:
    """Two methods, or two runs, against each other."""
    from benchmark.report.head_to_head import head_to_head

    print(printable(head_to_head(arguments.a, arguments.b, arguments.results, arguments.dataset).text()))
    return 0


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
        write_samples(
            resolve(spec, paths), paths, device, arguments.n, folder, arguments.instances, request, arguments.latents
        )
        print(f"{arguments.n} images in {folder}")
    return 0


SAMPLED = {"method": ["infoscc"], "dataset": "digits", "changes": []}  # these options of `sample` where none is given


def sample_folder(arguments: argparse.Namespace) -> int:
    """Write images from the folder of a run or an export, or from a published model: no dataset is read."""
    asked = ["dataset", "seed", "recipe", "changes", "protocol", "precision", "capture", "instances"]
    given = [name for name in ("method", *asked) if getattr(arguments, name) != SAMPLED.get(name)]
    if given:
        option = {"changes": "set"}.get(given[0], given[0])
        reason = "the run has its own settings, and neither dataset nor encoder is read"
        raise UserError(f"sample {arguments.run}: --{option}", reason, "leave it out, or leave the run out")
    from benchmark.runs.finished import Request, save_samples

    run = benchmark.load_run(arguments.run, device=arguments.device)
    request = Request(arguments.label, arguments.attributes, arguments.instance)
    save_samples(run, arguments.n, arguments.out, request, arguments.latents)
    print(f"{arguments.n} images of {run.name} in {arguments.out}")
    return 0


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
        run_seed=arguments.run_seed,
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
