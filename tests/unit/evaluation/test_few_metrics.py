"""The few metrics of a small run: which they are, that they move no number, and that names of the past stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import DIGITS, TINY, TSNE, outcome, run_arguments

from benchmark.__main__ import main
from benchmark.evaluation.config import EvalConfig
from benchmark.runs.records import request_of
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.runs.suites.suite import cells, list_suites


def values(results: Path) -> dict[str, dict[str, Any]]:
    return {value["id"]: value for value in outcome(results).result["values"]}


PATHS = Paths(Path("data"), Path("results"))


def resolved(recipe: str, **evaluation: object) -> EvalConfig:
    return resolve(RunSpec("sngan", "cifar10", 0, recipe, {"eval": evaluation}), PATHS).evaluation


def test_small_recipes_have_few_metrics_and_papers_all() -> None:
    assert resolved("small").metrics == "few"
    assert resolved("paper").metrics == "all"
    assert resolved("small", metrics="all").metrics == "all"
    assert resolved("small", protocol="ltgan").metrics == "all", "a paper's evaluation is whole"


def test_all_is_what_a_configuration_without_the_setting_means() -> None:
    """So that runs from before it keep their names."""
    every = resolve(RunSpec("sngan", "digits", 0, "small", {"eval": {"metrics": "all"}}), PATHS)
    assert "metrics" not in every.plain["eval"]
    few = resolve(RunSpec("sngan", "digits", 0, "small"), PATHS)
    assert few.plain["eval"]["metrics"] == "few"
    assert few.run != every.run


def test_every_suite_computes_all() -> None:
    for name, suite in list_suites().items():
        if name == "compare-search":  # its trials are compared by one metric
            continue
        for size in suite.sizes:
            cell = cells(suite, size)[0]
            assert cell.spec.changes["eval"]["metrics"] == "all", name


def test_the_encoder_is_embedded_with_for_all_only() -> None:
    assert not resolved("small").embeds
    assert resolved("small", metrics="all").embeds
    assert not resolved("small", metrics="all", encoder=None).embeds


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"loss": "hinge"}, {"loss": "hinge"}),
        ({"eval": {"metrics": "all"}}, {}),
        ({"eval": {"metrics": "few", "k": 3}, "steps": 5}, {"eval": {"k": 3}, "steps": 5}),
        ({"eval": {"k": 3}}, {"eval": {"k": 3}}),
    ],
)
def test_a_request_is_the_same_with_any_set_of_metrics(changes: dict[str, object], expected: dict[str, object]) -> None:
    before = repr(changes)
    assert request_of(changes) == expected
    assert repr(changes) == before


@pytest.mark.slow
def test_a_run_of_few_is_a_part_of_a_run_of_all(tmp_path: Path) -> None:
    """Same networks, same images, same numbers; no t-SNE."""
    every, few = tmp_path / "all", tmp_path / "few"
    settings = [*TINY, *DIGITS, *TSNE, "z_dim=8", "width=4"]
    assert main(run_arguments(every, settings, method="sngan")) == 0
    assert (
        main(
            run_arguments(
                few,
                ["eval.metrics=few" if setting == "eval.metrics=all" else setting for setting in settings],
                method="sngan",
            )
        )
        == 0
    )
    of_all, of_few = values(every), values(few)
    assert set(of_few) == {f"{stem}_judge" for stem in ("fd", "score", "kd", "precision", "recall", "coverage",
                                                        "chamfer", "authenticity")}  # fmt: skip
    assert {"chamfer_tsne_suite", "vendi_judge", "clipped_density_judge", "modes_judge"} <= set(of_all)
    for id, value in of_few.items():
        assert value["value"] == of_all[id]["value"], id
        assert value["protocol_key"] == of_all[id]["protocol_key"], id
        controls = {row: of_all[id]["details"]["controls"][row] for row in value["details"].get("controls", ())}
        assert value["details"].get("controls", {}) == controls, id
    assert (outcome(every).folder / "samples.png").read_bytes() == (outcome(few).folder / "samples.png").read_bytes()
