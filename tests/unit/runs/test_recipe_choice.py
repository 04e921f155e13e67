"""The recipe of a run that names none: the dataset's default, but nothing that a CPU could never finish."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.core.files import write_text
from benchmark.runs import recipe_choice
from benchmark.runs.folder import GENERATOR
from benchmark.runs.recipe_choice import TOO_LONG_S, RecipeChoice, choose_recipe, trained_recipe
from benchmark.runs.records import record_path
from benchmark.runs.spec import Paths, Resolved, RunSpec, resolve

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CELEBA = RunSpec("infoscc", "celeba", 0)
SMALL = RunSpec("infoscc", "celeba", 0, "small")


@pytest.fixture
def full_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a plan of a paper recipe says; a small one takes 27 minutes. Every plan is appended as its recipe."""
    seconds = [300 * 86_400.0]

    def plan(resolved: Resolved, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(seconds=27 * 60.0 if resolved.recipe == "small" else seconds[0])

    monkeypatch.setattr(recipe_choice, "estimate", plan)
    return seconds


def test_a_cpu_gets_the_small_recipe_and_is_told_what_the_paper_s_would_take(paths: Paths, full_s: list[float]) -> None:
    choice = choose_recipe(CELEBA, paths, CPU)
    assert choice.spec == SMALL
    assert choice.note.startswith("infoscc on celeba: recipe small, about 27.0 min on this CPU")
    assert "recipe paper would take about 300.0 days" in choice.note
    assert "RECIPE=paper" in choice.note


@pytest.mark.parametrize(
    ("spec", "device"),
    [(RunSpec("infoscc", "celeba", 0, "paper"), CPU), (CELEBA, CUDA), (RunSpec("sngan", "digits", 0), CPU)],
)
def test_nothing_changes_where_paper_is_requested_or_a_gpu_is_there_or_small_is_the_default(
    spec: RunSpec, device: torch.device, paths: Paths, full_s: list[float]
) -> None:
    assert choose_recipe(spec, paths, device) == RecipeChoice(spec)


def test_what_a_cpu_can_train_in_two_days_is_trained(paths: Paths, full_s: list[float]) -> None:
    full_s[0] = TOO_LONG_S
    assert choose_recipe(CELEBA, paths, CPU) == RecipeChoice(CELEBA)
    full_s[0] = TOO_LONG_S + 1
    assert choose_recipe(CELEBA, paths, CPU).spec == SMALL


def test_a_begun_run_is_continued_whatever_today_s_estimate_is(paths: Paths, full_s: list[float]) -> None:
    write_text(resolve(SMALL, paths).folder / "config.yaml", "begun")
    full_s[0] = TOO_LONG_S - 1
    assert choose_recipe(CELEBA, paths, CPU).spec == SMALL, "an unfinished small run"
    write_text(record_path(paths.results, resolve(SMALL, paths).run), "{}")
    assert choose_recipe(CELEBA, paths, CPU).spec == CELEBA, "it is finished"
    full_s[0] = 300 * 86_400.0
    write_text(resolve(CELEBA, paths).folder / "config.yaml", "begun")
    assert choose_recipe(CELEBA, paths, CPU).spec == CELEBA, "the paper's run was begun"


def test_samples_are_of_the_run_that_is_there(paths: Paths) -> None:
    assert trained_recipe(CELEBA, paths) == CELEBA, "neither is there: the message names the default"
    write_text(resolve(SMALL, paths).folder / GENERATOR, "")
    assert trained_recipe(CELEBA, paths) == SMALL
    write_text(resolve(CELEBA, paths).folder / GENERATOR, "")
    assert trained_recipe(CELEBA, paths) == CELEBA
    assert trained_recipe(SMALL, paths) == SMALL


def test_the_choice_by_a_real_estimate(paths: Paths) -> None:
    """Nothing is substituted: EigenGAN's published settings take a CPU far more than two days, two steps of it not."""
    assert choose_recipe(RunSpec("eigengan", "celeba", 0), paths, CPU).spec.recipe == "small"
    two = RunSpec("eigengan", "celeba", 0, None, {"steps": 2, "eval": {"encoder": None, "n_fake": 100}})
    assert choose_recipe(two, paths, CPU) == RecipeChoice(two)
