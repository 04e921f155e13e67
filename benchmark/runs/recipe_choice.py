"""Which recipe a run starts from when none is requested.

A dataset's default recipe may be the paper's, which a CPU cannot train in a reasonable time. There the small recipe is
taken, and the caller says so. A run that was begun is continued, whatever the estimate says today.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from benchmark.core import distributed
from benchmark.core.registry import recipes_of
from benchmark.runs.device import threads_alone
from benchmark.runs.estimate import estimate
from benchmark.runs.folder import GENERATOR
from benchmark.runs.plan import Plan, duration
from benchmark.runs.records import record_path
from benchmark.runs.spec import Paths, Resolved, RunSpec, resolve

TOO_LONG_S = 2 * 86_400.0  # a CPU run longer than this starts from the small recipe unless the paper's is requested


@dataclass(frozen=True)
class RecipeChoice:
    """A request with its recipe, and what to tell the user where it is not the dataset's default."""

    spec: RunSpec
    note: str = ""
    plan: Plan | None = field(default=None, compare=False)  # of this run, where the choice made one in this process


def choose_recipe(spec: RunSpec, paths: Paths, device: torch.device, threads: int | None = None) -> RecipeChoice:
    """The request with the recipe that is sensible on this device; one that names a recipe is returned as it is.

    On a CPU the small recipe replaces a default that is estimated to take more than two days (`TOO_LONG_S`), where the
    method has one for the dataset. Every rank gets the same choice. Raises ConfigError as `resolve` and `estimate` do.
    """
    if spec.recipe is not None or device.type != "cpu":
        return RecipeChoice(spec)
    choice = None
    if distributed.is_main():
        with distributed.alone():
            choice = _choose(spec, paths, device, threads)
    if distributed.world() > 1:
        choice = distributed.agree(None if choice is None else replace(choice, plan=None))
    assert choice is not None  # rank 0 has chosen
    return choice


def _choose(spec: RunSpec, paths: Paths, device: torch.device, threads: int | None) -> RecipeChoice:
    default = resolve(spec, paths)
    if default.recipe == "small" or not _has_small(default) or _is_begun(default, paths):
        return RecipeChoice(spec)
    small = resolve(replace(spec, recipe="small"), paths)
    full = estimate(default, paths, device.type, threads_alone(default, threads))
    if full.seconds <= TOO_LONG_S and not _is_unfinished(small, paths):
        return RecipeChoice(spec, plan=full)
    plan = estimate(small, paths, device.type, threads_alone(small, threads))
    note = (
        f"{spec.method} on {default.card.name}: recipe small, about {duration(plan.seconds)} on this CPU; recipe "
        f"{default.recipe} would take about {duration(full.seconds)} (RECIPE={default.recipe} with "
        f"make, --recipe {default.recipe}, or recipe={default.recipe!r} in Python runs it)"
    )
    return RecipeChoice(replace(spec, recipe="small"), note, plan)


def trained_recipe(spec: RunSpec, paths: Paths) -> RunSpec:
    """The request with the recipe of a finished run: the dataset's default, or else the small one where that exists."""
    if spec.recipe is not None:
        return spec
    default = resolve(spec, paths)
    if (default.folder / GENERATOR).exists() or not _has_small(default):
        return spec
    small = resolve(replace(spec, recipe="small"), paths)
    return small.spec if (small.folder / GENERATOR).exists() else spec


def _has_small(resolved: Resolved) -> bool:
    """Whether the method has a small recipe for the dataset."""
    rows = resolved.method.RECIPES.get("small", {})
    return recipes_of(resolved.card.name) in rows or "default" in rows


def _is_begun(resolved: Resolved, paths: Paths) -> bool:
    return record_path(paths.results, resolved.run).exists() or (resolved.folder / "config.yaml").exists()


def _is_unfinished(resolved: Resolved, paths: Paths) -> bool:
    return _is_begun(resolved, paths) and not record_path(paths.results, resolved.run).exists()
