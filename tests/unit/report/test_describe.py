"""`describe`: what the code, the files and the records say of a name."""

from __future__ import annotations

from pathlib import Path

import pytest

import benchmark
from benchmark.__main__ import main
from benchmark.core.errors import ConfigError
from benchmark.core.registry import method_names
from benchmark.data.cards import list_cards
from benchmark.metrics.catalogue import METRICS
from benchmark.report.describe import describe
from benchmark.runs.suites.suite import suite_names
from benchmark.training.method import find_method


def test_a_method_s_settings_have_meaning_default_and_values() -> None:
    text = describe("infoscc")
    lines = text.splitlines()
    at = lines.index("  n_cls: NonNegativeInt, default 2")
    assert lines[at + 1].strip() == "classification step every n_cls-th step; 0: never [C]"
    at = next(i for i, line in enumerate(lines) if line.startswith("  batch: "))
    assert "64 in paper/celeba" in lines[at + 2], "what a recipe has in place of the default"
    assert any(line.startswith("  encoder.") for line in lines), "settings of stages by their keys"
    recipe = find_method("infoscc").recipe("paper", "celeba")
    assert f"{recipe.steps} in paper/afhq, paper/celeba" in text
    assert find_method("infoscc").summary in text


def test_a_dataset_s_size_is_that_of_finished_runs(tmp_path: Path) -> None:
    bare = describe("digits")
    assert "size:" not in bare
    for part in ("10 classes", "16 px", "CC BY 4.0", "default recipe: small"):
        assert part in bare
    (tmp_path / "records").mkdir()
    assert "size:" not in benchmark.describe("digits", tmp_path)
    assert "1,198 training and 599 held-out images" in benchmark.describe("digits"), "of the published records"
    celeba = describe("celeba")
    assert "Bald, Eyeglasses" in celeba
    assert "data/celeba/img_align_celeba/*.jpg" in celeba


def test_a_metric_has_direction_range_source_and_formula() -> None:
    text = describe("fd_judge")
    for part in ("FD-judge", "lower is better", "eq. 6", "|m1 - m2|^2", "log scale"):
        assert part in text
    assert "0 to 1" in describe("recall")
    assert "metric recall_X" in describe("recall")


def test_a_suite_has_rows_sizes_claims_and_cost() -> None:
    text = describe("compare")
    for part in ("small: 15 rows on digits", "75 runs", "IC-GAN; icgan", "CR-GAN has a lower FD than SNGAN"):
        assert part in text
    assert "plan --suite compare --size small" in text
    assert "75 finished runs took" in benchmark.describe("compare")


@pytest.mark.parametrize("name", [*method_names(), *list_cards(), *suite_names(), *(row.stem for row in METRICS)])
def test_everything_that_is_listed_can_be_described(name: str) -> None:
    assert len(describe(name).splitlines()) > 3


def test_an_unknown_name_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'sngan' \(method\)"):
        describe("snagn")
    with pytest.raises(ConfigError, match="similar name"):
        describe("zzzzzzzzz")
    assert main(["describe", "celebra"]) == 2
    assert "'celeba' (dataset)" in capsys.readouterr().err
