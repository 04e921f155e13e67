"""Commands that train nothing: what there is, what it means, what a run would do and cost."""

from __future__ import annotations

import argparse
import ast
import importlib.util
from pathlib import Path

import benchmark
from benchmark.commands.requests import asked_engine, check_suite, paths_of, require_results, specs
from benchmark.core.errors import UserError
from benchmark.core.names import printable
from benchmark.core.registry import method_names


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
        refuse_beside_a_suite(arguments)
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


def refuse_beside_a_suite(arguments: argparse.Namespace) -> None:
    """Raise UserError for options of a single run: a suite's file says what its runs are."""
    for name, default in {
        "method": ["infoscc"],
        "dataset": "digits",
        "changes": [],
        "recipe": None,
        "protocol": None,
    }.items():
        if getattr(arguments, name) != default:
            option = {"changes": "set"}.get(name, name)
            raise UserError(f"plan --suite {arguments.suite}: --{option}", "the suite's file says it", "leave it out")


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
        colours = {1: " grey", 3: " RGB"}.get(data.channels, "")
        counts = f"{len(data.train)} train, {len(data.test)} test"
        print(f"{data.name}: {counts}, {data.resolution} px{colours}, {labels}, {data.sha256[:12]}")
        if data.repeated_note:
            print(f"  note: {data.repeated_note}")
    return 0
