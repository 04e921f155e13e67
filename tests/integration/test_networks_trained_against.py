"""Real runs whose evaluation looks through the very network that their method trained against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import INFOSCC, TINY

import benchmark as gantlet
from benchmark.core.config import parse_overrides
from benchmark.metrics.extractors.weights import available, find_weights
from benchmark.report.tables import dataset_table
from benchmark.report.writers import to_markdown
from benchmark.runs import run as run_module
from benchmark.runs.records import Record

LACKING = available(["lite0"])["lite0"]
needs_lite0 = pytest.mark.skipif(bool(LACKING), reason=LACKING)


def settings(*groups: list[str]) -> dict[str, Any]:
    """As keywords; of a setting that is given twice the last counts."""
    items = [item for group in groups for item in group]
    return parse_overrides(list({item.partition("=")[0]: item for item in items}.values()))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "save_pictures", lambda *_, **__: None)


def marked(record: Record) -> dict[str, str]:
    """The values by a network that the method trained against, with its name."""
    return {id: network for id, value in record.values.items() if (network := record.network_of(value))}


def test_infoscc_is_not_ranked_by_the_encoder_that_steered_it(tmp_path: Path) -> None:
    """The evaluation's encoder has the settings of the method's own, so they are one artefact: one key, one hash."""
    evaluation = ["eval.n_fake=60", "eval.extractors=[judge, simclr]", "eval.half_samples=0", "eval.controls=false"]
    encoder = {"width": 4, "steps": 6, "batch": 16, "checkpoint_every": 2, "log_every": 1}
    plain = settings(INFOSCC, ["steps=4"], evaluation)
    plain["eval"] |= {"encoder": encoder, "chamfer_points": 100, "tsne_seeds": 1}
    results = tmp_path / "results"
    record = gantlet.run("infoscc", "digits", results=results, device="cpu", **plain)

    named = {network.name for network in record.result_or_empty.trained_against or []}
    assert named == {"SimCLR", "Classifier"}
    (key,) = {stage.key for stage in record.result_or_empty.stages if stage.name == "SimCLR"}
    assert record.values["fd_simclr"].protocol["extractor"]["encoder"] == key
    found = marked(record)
    of_simclr = {id for id in record.values if id.endswith("_simclr")}
    assert {"fd_simclr", "kd_simclr", "authenticity_simclr"} <= of_simclr
    assert {id for id, network in found.items() if network == "SimCLR"} == {
        *of_simclr, "chamfer_tsne_suite", "chamfer_tsne_paper"
    }  # fmt: skip
    assert {id for id, network in found.items() if network != "SimCLR"} == {"control_accuracy_own"}
    assert not any(id.endswith("_judge") for id in found)

    other = {**plain["eval"], "encoder": {**encoder, "seed": 1}}
    again = gantlet.score(record.folder, results=results, device="cpu", **other)
    assert set(marked(again)) == {"control_accuracy_own"}, "an encoder of another seed is another network"
    assert again.result_or_empty.trained_against == record.result_or_empty.trained_against
    text = to_markdown(dataset_table("digits", [record]))
    assert "§: trained against this extractor" in text


@needs_lite0
def test_projected_gan_is_not_ranked_by_lite0(tmp_path: Path) -> None:
    tiny = ["steps=2", "width=4", "features.width=4", "data.source.n_train=60", "data.source.n_test=40"]
    evaluation = ["eval.n_fake=40", "eval.extractors=[judge, lite0]", "eval.half_samples=0", "eval.controls=false"]
    plain = settings(TINY, tiny, evaluation)
    record = gantlet.run("projectedgan", "shapes", results=tmp_path / "results", device="cpu", **plain)
    (network,) = record.result_or_empty.trained_against or []
    assert (network.name, network.hashes) == ("lite0", [find_weights("lite0").sha256])
    assert set(marked(record)) == {id for id in record.values if id.endswith("_lite0")}
    assert "fd_lite0" in marked(record)
    table = dataset_table("shapes", [record])
    assert table.rows[0].labels[1] == "none; EfficientNet-Lite0 (ImageNet labels)"
    assert gantlet.load_run(record.folder).sample(2).shape == (2, 3, 16, 16)
