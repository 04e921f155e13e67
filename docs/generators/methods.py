"""The reference of methods: what their files say, their recipes, their published results and samples."""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from generators.places import ROOT
from generators.samples import samples_text
from generators.settings import ConfigClass, fields_table, inherited
from generators.text import code, escaped, prose, table

from benchmark.core.config import to_dict
from benchmark.core.registry import method_names
from benchmark.runs.suites.suite import find_suite
from benchmark.training.method import find_method


def methods_page(classes: list[ConfigClass], out: Path) -> str:
    """Paper, settings and recipes of each method."""
    shared = {cls.name for cls in classes if cls.path.parts[0] == "benchmark"}
    own = {cls.path.stem: cls for cls in classes if cls.path.parts[0] == "methods" and cls.name == "Config"}
    names = method_names()
    parts = [
        "# Method reference",
        "From the method files. [Methods](../methods.md) has a line for each and what they are conditioned on.",
        table(["method", "what it is"], ([f"[{name}](#{name})", escaped(find_method(name).summary)] for name in names)),
    ]
    for name in names:
        file, cls = find_method(name), own[name]
        docstring = ast.get_docstring(ast.parse((ROOT / cls.path).read_text())) or ""
        parts += [f"## {name}", prose(docstring), f"File: `{cls.path}`. Data: {', '.join(file.cls.accepts)}."]
        parts += [f"### Settings of {name}", prose(cls.about), inherited(cls, shared, "config.md")]
        parts += [fields_table(cls, shared, "config.md"), f"### Recipes of {name}", recipes_table(file.RECIPES)]
        parts += [f"### Results of {name}", results_text(name)]
        if samples := samples_text(name, out):
            parts += [f"### Samples of {name}", samples]
    return "\n\n".join(part for part in parts if part)


TABLES = ROOT / "results" / "reference" / "tables"
_RESULTS = ("FD-judge ↓", "Recall-judge ↑", "Coverage-judge ↑", "Authenticity-judge ↑")
_COSTS = ("Parameters", "FLOPs a step", "Training s")


def results_text(method: str) -> str:
    """What the published suite `compare` has of a method: values and cost, by dataset."""
    (row,) = [row for row in find_suite("compare").rows if row.method == method]
    found = []
    for dataset, size in {"digits": "small", "coloured shapes": "shapes"}.items():
        values, costs = (published(f"compare-{size}{end}.md").get(row.labels["Method"]) for end in ("", "-cost"))
        if values and costs:
            shown = [values[name].replace(" ", "\N{NO-BREAK SPACE}") for name in _RESULTS]  # a mean with its interval
            found.append([dataset, *shown, values["Runs"], *(costs[c] for c in _COSTS)])
    if not found:
        return "No published runs in the suite `compare`."
    return (
        "Suite `compare`, recipe `small`, 64,000 training images of 16 px, mean ± half the 95 % interval over seeds. "
        "Bold: best of all methods; ~: not significantly worse. [All results](../results/index.md).\n\n"
    ) + table(["dataset", *_RESULTS, "seeds", "parameters", "FLOPs a step", "training, s"], found)


def published(name: str) -> dict[str, dict[str, str]]:
    """A published table: by its first column, the other cells by the names of their columns."""
    lines = [
        line.strip("| ").split(" | ") for line in (TABLES / name).read_text().splitlines() if line.startswith("| ")
    ]
    head, _, *rows = lines
    return {row[0]: dict(zip(head, (cell.strip() for cell in row))) for row in rows}


def recipes_table(recipes: dict[str, dict[str, Any]]) -> str:
    """Each recipe: dataset, steps, batch, and what else differs from the defaults."""
    rows = [
        [recipe, code(dataset), f"{cfg.steps:,}", str(cfg.batch), ", ".join(code(one) for one in differing(cfg))]
        for recipe, by_dataset in recipes.items()
        for dataset, cfg in by_dataset.items()
    ]
    return table(["recipe", "dataset", "steps", "batch", "other settings that differ from the defaults"], rows)


def differing(cfg: Any) -> list[str]:
    """`key=value` of the plain settings whose value is not the default; nested ones by their name alone."""
    plain, found = to_dict(cfg), []
    for one in fields(cfg):
        default: Any = one.default
        default = getattr(default, "default", default)
        if one.name in ("steps", "batch", "log_every", "checkpoint_every") or getattr(cfg, one.name) == default:
            continue
        if isinstance(plain.get(one.name), dict):
            found += [f"{one.name}: its own"] if default is not MISSING else []
        elif one.name in plain:
            found.append(f"{one.name}={str(plain[one.name]).replace(' ', '')}")
    return found
