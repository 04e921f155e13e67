"""The paper's own run, on a tree of CelebA's layout: settings are shrunk, the recipe and its rules are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import JUDGED, outcome
from PIL import Image

import benchmark.runs.run
from benchmark.__main__ import main
from benchmark.core.config import merge
from benchmark.core.errors import WeightsError
from benchmark.data.cards import card_with, find_card
from benchmark.data.prepare import prepare
from benchmark.data.sources.celeba import CELEBA_ATTRIBUTES
from benchmark.evaluation.copies import copy_values
from benchmark.report.tables import dataset_table
from benchmark.runs.records import read_records
from benchmark.runs.run import run
from benchmark.runs.spec import Paths, resolve
from benchmark.runs.suites.suite import cells, find_suite

FIVE = ["Bald", "Eyeglasses", "Mustache", "Wearing_Hat", "Wearing_Necktie"]
N = 90  # pictures


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety small pictures with forty random attributes, laid out as CelebA's official archive."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    pictures = root / "celeba" / "img_align_celeba"
    pictures.mkdir(parents=True)
    names = [f"{i + 1:06d}.jpg" for i in range(N)]
    for name in names:
        Image.fromarray(rng.integers(256, size=(218, 178, 3), dtype=np.uint8)).save(pictures / name)
    rows = [f"{name}  " + " ".join(map(str, rng.choice([-1, 1], len(CELEBA_ATTRIBUTES)))) for name in names]
    table = [str(N), " ".join(CELEBA_ATTRIBUTES), *rows]
    (root / "celeba" / "list_attr_celeba.txt").write_text("\n".join(table) + "\n")
    parts = [f"{name} {0 if i < 50 else 1 if i < 60 else 2}" for i, name in enumerate(names)]
    (root / "celeba" / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


def test_the_paper_s_run_on_celeba(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.runs.run, "save_pictures", lambda *_, **__: None)
    shrunk = ["data.resolution=32", "steps=4", "batch=8", "base=4", "max_width=16", "eps_dim=16", "noise_dim=16",
              "encoder.net=conv", "encoder.width=4", "encoder.steps=3", "encoder.batch=8", "classifier.steps=3",
              "classifier.batch=16", "eval.extractors=[judge]"]  # fmt: skip
    places = ["--data-root", str(data_root), "--results", str(tmp_path)]
    words = ["--method", "infoscc", "--dataset", "celeba", "--device", "cpu", "--quiet"]
    assert main(["run", *words, *places, "--set", *shrunk, *JUDGED]) == 0
    left = outcome(tmp_path)
    record, values = left.record, {value["id"]: value for value in left.result["values"]}
    assert record["recipe"] == "paper", "the card's default"
    assert record["config"]["config"]["loss"] == "hinge"
    assert (record["config"]["config"]["n_cls"], record["config"]["config"]["orth_weight"]) == (2, 100.0)
    assert left.result["data"]["n_train"] == 60, "CelebA's validation part is trained on, too"
    assert left.result["data"]["n_test"] == 30
    for scorer in ("judge", "own"):
        accuracy = values[f"control_accuracy_{scorer}"]
        assert list(accuracy["details"]["per_attribute"]) == FIVE
        for sides in accuracy["details"]["per_attribute"].values():
            assert 0 <= sides["on"] <= 1
            assert 0 <= sides["off"] <= 1
        recall = values[f"recall_0.2_{scorer}"]
        assert list(recall["details"]["per_attribute"]) == FIVE
        assert recall["protocol"]["threshold"] == 0.2
        assert recall["value"] == pytest.approx(np.mean(list(recall["details"]["per_attribute"].values())))
    assert "fd_judge" in values


def test_all_images_by_the_paper_s_protocol(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of the paper-size suite, shrunk: as many images as the dataset has, and words for what is not held out."""
    monkeypatch.setattr(benchmark.runs.run, "save_pictures", lambda *_, **__: None)
    monkeypatch.setattr("benchmark.evaluation.context.build", lambda name, **_: _absent(name))
    monkeypatch.setattr("benchmark.evaluation.networks.build", lambda name, **_: _absent(name))
    (cell,) = (one for one in cells(find_suite("infoscc-attributes"), "paper", [0]) if one.row == 1)
    shrunk = {"resolution": 32}, {"chamfer_points": 100, "recall_images": 20, "judge": {"steps": 2, "width": 4}}
    network = {"net": "conv", "width": 4, "steps": 2, "batch": 8}
    changes = {
        "steps": 2, "batch": 8, "base": 4, "max_width": 16, "eps_dim": 16, "noise_dim": 16,
        "encoder": network, "classifier": {"steps": 2, "batch": 16},
        "data": shrunk[0], "eval": {**shrunk[1], "encoder": network},
    }  # fmt: skip
    paths = Paths(data_root, tmp_path)
    record = run(resolve(replace(cell.spec, changes=merge(cell.spec.changes, changes)), paths), paths, device="cpu")
    assert "every image is trained on" in capsys.readouterr().out, "the plan says so"
    assert (record.result_or_empty.data.n_train, record.result_or_empty.data.n_test) == (N, 30)
    values = record.values
    accuracy = values["control_accuracy_own"]
    assert (accuracy.protocol["n_fake"], accuracy.protocol["n_reference"]) == (N, N)
    assert any("nothing is held out" in difference for difference in accuracy.protocol["differences"])
    assert accuracy.conditions["drawn"] == "attributes by fair coins"
    assert {values[id].status for id in ("fd_inception", "score_torchvision_inception_v3")} == {"unavailable"}
    assert values["chamfer_tsne_paper"].protocol["chamfer_points"] == 90
    table = dataset_table("celeba", read_records(tmp_path))
    assert [note for note in table.notes if note.startswith("Data: every image is trained on")]


def _absent(name: str) -> None:
    raise WeightsError(f"no weights of {name}")


def test_no_image_is_called_a_copy_where_none_is_held_out(data_root: Path, tmp_path: Path) -> None:
    """Held-out images that were trained on would make every generator look honest, or stop the evaluation."""
    card = card_with(find_card("celeba"), {"resolution": 32, "split": "all"})
    data = prepare(card, data_root, tmp_path, progress=False)
    extractor = SimpleNamespace(name="lite0", identity={"extractor": "lite0"})
    (value,) = copy_values(extractor, np.zeros((3, 4)), {}, data, None)  # type: ignore[arg-type]
    assert (value.id, value.value, value.status) == ("authenticity_lite0", None, "unavailable")
    assert "no image is held out" in value.reason


def test_the_plan_of_the_paper_s_run_says_how_long_it_takes(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--method", "infoscc", "--dataset", "celeba", "--device", "cpu", "--data-root", str(data_root),
             "--recipe", "paper"]  # fmt: skip
    assert main([*words, "--results", str(tmp_path), "--set", "eval.extractors=[judge]"]) == 0
    text = capsys.readouterr().out
    assert "infoscc on celeba (128 px), recipe paper, seed 0, on cpu" in text
    assert "SimCLR        253,200 steps" in text
    assert "infoscc       200,000 steps" in text
    assert "G 10,5" in text  # 10.53 million parameters
    assert "note: this run would take about" in text
    assert "days" in text
    assert "RECIPE=small" in text
    assert "InfoSCC-GAN's authors used all of them (data.split=all)" in text
    assert not (tmp_path / "runs").exists()
