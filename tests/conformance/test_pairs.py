"""Every pair of a method and a dataset config that a recipe names can be asked for without another word.

What cannot work must be known before training: names, settings, labels that the evaluation would need.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.core.config import parse_overrides
from benchmark.core.errors import ConfigError, DataError, WeightsError
from benchmark.core.registry import method_names
from benchmark.data.cards import find_card, list_cards
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.runs.plan import make_plan
from benchmark.runs.run import require_shares
from benchmark.runs.spec import Paths, RunSpec, missing, resolve
from benchmark.training.method import find_method

PAIRS = [
    (name, recipe, dataset)
    for name in method_names()
    for recipe, rows in find_method(name).RECIPES.items()
    for dataset in rows
    if dataset != "default"
]
UNLABELLED = [name for name, card in list_cards().items() if card.conditioning == "none"]


def spec_of(name: str, dataset: str, recipe: str | None = None, *changes: str) -> RunSpec:
    return RunSpec(name, dataset, 0, recipe, parse_overrides(list(changes)))


@pytest.mark.parametrize("name", method_names())
def test_every_pair_that_a_recipe_names_resolves(name: str, tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    pairs = {(recipe, dataset) for method, recipe, dataset in PAIRS if method == name}
    for recipe, dataset in sorted(pairs):
        for asked in (recipe, None):
            resolved = resolve(spec_of(name, dataset, asked), paths)
            extractors = resolved.evaluation.extractors
            assert bool(extractors) != resolved.card.source.is_points, f"{name} on {dataset}"
            assert resolved.card.conditioning != "none" or "judge" not in extractors
            require_shares(resolved, 1)
            for problem in missing(resolved, paths):  # files alone: no setting that does not fit
                assert isinstance(problem, DataError | WeightsError), f"{name} on {dataset}: {problem}"


def test_pairs_of_every_kind_are_named() -> None:
    datasets = {dataset for _, _, dataset in PAIRS}
    assert datasets <= set(list_cards())
    assert datasets & set(UNLABELLED), "some have no labels"
    assert {("ltgan", "celeba_hq"), ("icgan", "coco_stuff128"), ("ltgan", "stl10")} <= {(m, d) for m, _, d in PAIRS}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dataset", UNLABELLED)
def test_no_protocol_asks_unlabelled_data_for_a_classifier(dataset: str, protocol: str, tmp_path: Path) -> None:
    spec, paths = spec_of("sngan", dataset, "small", f"eval.protocol={protocol}"), Paths(tmp_path, tmp_path)
    lacking = _lacking(dataset, protocol)
    if lacking:
        with pytest.raises(ConfigError, match=lacking):  # and says nothing of a classifier
            resolve(spec, paths)
        return
    resolved = resolve(spec, paths)
    assert resolved.evaluation.extractors
    assert "judge" not in resolved.evaluation.extractors
    assert resolved.evaluation.extractors == ("lite0",) or protocol != "suite"


def _lacking(dataset: str, protocol: str) -> str:
    """The setting of a protocol that asks for what an unlabelled dataset does not have; empty where it has all."""
    settings, parts = PROTOCOLS[protocol].settings, {"train", "test", *find_card(dataset).source.parts()}
    if not set(settings.get("references", ())) <= parts:
        return f"eval.references: {dataset} has no part"
    return "eval.strata" if "strata" in settings else ""


def test_every_protocol_fits_some_unlabelled_dataset_or_is_of_classes() -> None:
    fitting = {protocol for protocol in PROTOCOLS for dataset in UNLABELLED if not _lacking(dataset, protocol)}
    assert set(PROTOCOLS) - fitting == {"icgan_lt"}, "which is by the frequency of classes"


def test_a_classifier_that_the_user_asks_for_is_an_error(tmp_path: Path) -> None:
    for extractors in ("[judge]", "[lite0, judge]"):
        with pytest.raises(ConfigError, match="celeba_hq has none"):
            resolve(spec_of("ltgan", "celeba_hq", None, f"eval.extractors={extractors}"), Paths(tmp_path, tmp_path))


@pytest.mark.parametrize("dataset", UNLABELLED)
def test_a_small_run_on_unlabelled_data_plans_and_says_what_is_left_out(dataset: str, tmp_path: Path) -> None:
    """A real dry run on synthetic images: `dcgan` is the quickest to build."""
    tiny = ("data.resolution=16", "batch=8", "eval.encoder=null", "eval.n_fake=100")
    resolved = resolve(spec_of("dcgan", dataset, "small", *tiny), Paths(tmp_path, tmp_path))
    text = make_plan(resolved, Paths(tmp_path, tmp_path), torch.device("cpu")).text()
    assert f"no evaluation classifier (the extractor judge): {dataset} has no labels" in text
    assert "extractors: lite0" in text


@pytest.mark.parametrize(
    ("method", "dataset", "recipe", "extractors"),
    [
        ("infoscc", "digits", "small", ("judge",)),
        ("infoscc", "celeba", "paper", ("inception", "judge")),
        ("ltgan", "celeba_hq", "small", ("lite0",)),
        ("ltgan", "celeba_hq", "paper", ("inception",)),
        ("selfcond", "ring2d", "small", ()),
    ],
)
def test_only_the_classifier_is_left_out(
    method: str, dataset: str, recipe: str, extractors: tuple[str, ...], tmp_path: Path
) -> None:
    """Runs that worked before keep their settings, and thereby their names."""
    assert resolve(spec_of(method, dataset, recipe), Paths(tmp_path, tmp_path)).evaluation.extractors == extractors
