"""`eval`: anyone's pictures against a dataset or a folder, and a finished run by another protocol."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import DIGITS, TINY, TSNE, Finished, outcome, run_arguments
from PIL import Image
from sklearn.datasets import load_digits

from benchmark.__main__ import main
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.metrics.corruptions import blur, drop_classes, noise
from benchmark.metrics.extractors.weights import available
from benchmark.runs.records import read_records

JUDGE = ["judge.steps=120", "judge.width=16"]
LITE0 = available(["lite0"])["lite0"]
needs_lite0 = pytest.mark.skipif(bool(LITE0), reason=LITE0)


def save(folder: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    for i, image in enumerate(images):
        path = folder / ("" if labels is None else f"{labels[i]}") / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    return folder


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """400 real digits at 16 px, as the suite serves them but for the split, and their classes."""
    data = load_digits()
    images = [Image.fromarray((x * 255 / 16).round().astype(np.uint8)).resize((16, 16), 3) for x in data.images[:400]]
    return np.stack([np.asarray(x) for x in images])[..., None], data.target[:400]


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No socket can be opened; the attempts, by address."""
    tried: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        tried.append(arguments[-1])
        raise OSError("sockets are denied")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


def evaluated(pictures: Path, results: Path, *more: str) -> dict[str, dict[str, Any]]:
    """Run the verb; the values of its record by id."""
    before = set((results / "records").glob("*.json"))
    assert main(["eval", str(pictures), "--results", str(results), "--quiet", "--device", "cpu", *more]) == 0
    (path,) = set((results / "records").glob("*.json")) - before
    record = json.loads(path.read_text())
    assert str(results) not in path.read_text(), "a record means the same on another machine"
    return {value["id"]: value for value in record["result"]["values"]}


def test_pictures_are_scored_by_the_judge_without_a_network(
    results: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], denied: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    images, labels = digits
    pictures = save(tmp_path / "mine", images, labels)
    found = evaluated(pictures, results, "--reference", "digits", "--all", "--set", *JUDGE)
    shown = capsys.readouterr().out
    for id in ("fd_judge", "kd_judge", "precision_judge", "recall_judge", "density_judge", "coverage_judge",
               "chamfer_judge", "score_judge", "intra_fd_judge", "authenticity_judge", "data_copying_judge",
               "clipped_density_judge", "clipped_coverage_judge", "vendi_judge"):  # fmt: skip
        assert found[id]["status"] == "ok", id
        assert found[id]["name"].split(" ")[0] in shown
    assert found["fd_judge"]["details"]["sd_half_sampling"] > 0
    controls = found["fd_judge"]["details"]["controls"]
    assert controls["real, noise 15"] > controls["real, noise 5"]
    assert controls["real, half of the classes"] > controls["real, noise 5"]
    # Real digits of which four fifths are the reference's own: near it, copies of it, of the classes asked for.
    assert found["precision_judge"]["value"] > 0.9
    assert found["authenticity_judge"]["value"] < 0.5
    assert found["data_copying_judge"]["value"] < -3, "copies"
    assert "cmmd_judge" not in found, "it is of CLIP's features"
    assert found["control_accuracy_judge"]["value"] > 0.8
    assert found["fd_judge"]["value"] < controls["real, half of the classes"]
    assert not denied, "no address was looked up"


def test_without_all_the_headline_is_scored(
    results: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], denied: list[Any]
) -> None:
    pictures = save(tmp_path / "mine", *digits)
    found = evaluated(pictures, results, "--reference", "digits", "--set", *JUDGE)
    assert set(found) == {f"{stem}_judge" for stem in ("fd", "score", "kd", "precision", "recall", "coverage",
                                                       "chamfer", "authenticity", "control_accuracy")}  # fmt: skip
    every = evaluated(pictures, results, "--reference", "digits", "--all", "--name", "all", "--set", *JUDGE)
    assert set(every) > set(found)
    for id, value in found.items():
        assert (every[id]["value"], every[id]["protocol_key"]) == (value["value"], value["protocol_key"]), id


def test_a_run_and_every_metric_of_it_need_no_network(results: Path, denied: list[Any]) -> None:
    """Training, evaluation and the metrics on request, on embedded data; what needs a download says so."""
    extras = ["eval.extra=[cas,lpips,ppl,ppl_judge,boundary,correlation,steerability]", "eval.extras.cas.epochs=1",
              "eval.extras.cas.n_seeds=1", "eval.extras.boundary_latents=200", "eval.extras.steer_iterations=2",
              "eval.extras.steer_trajectories=4"]  # fmt: skip
    settings = [*TINY, *DIGITS, *TSNE, *extras, "z_dim=8", "width=4"]
    assert main(run_arguments(results, settings, method="sngan")) == 0
    values = {value["id"]: value for value in outcome(results).result["values"]}
    lacking = {id: value["reason"] for id, value in values.items() if value["status"] != "ok"}
    assert set(lacking) <= {"ppl", "boundary", *(id for id in values if id.startswith(("steer_", "svm_")))}
    assert "vgg16-397923af.pth" in lacking["ppl"]
    assert "ppl_z_judge" in values
    folder = outcome(results).folder
    steered = {id.removeprefix("steer_") for id in values if id.startswith("steer_") and id not in lacking}
    assert {path.stem for path in (folder / "steering").glob("*.png")} == steered
    assert {path.stem for path in (folder / "edits").glob("*.png")} == {
        id.removeprefix("svm_") for id in values if id.startswith("svm_")
    }
    assert {"fd_judge", "kd_judge", "coverage_judge", "chamfer_tsne_suite", "authenticity_judge"} <= set(values)


def test_the_same_pictures_are_not_looked_at_twice(
    results: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = digits
    pictures = save(tmp_path / "mine", images[:60])
    first = evaluated(pictures, results, "--reference", "digits", "--set", *JUDGE)
    for path in results.glob("artifacts/features/judge-*.npz"):
        held = dict(np.load(path))
        stamp = path.stat().st_mtime_ns
        assert set(held) == {"pooled", "logits"}
    again = evaluated(pictures, results, "--reference", "digits", "--name", "again", "--set", *JUDGE)
    assert path.stat().st_mtime_ns == stamp
    assert again["fd_judge"]["value"] == first["fd_judge"]["value"]
    assert again["fd_judge"]["protocol_key"] == first["fd_judge"]["protocol_key"]
    assert main(["table", "--results", str(results), "--quiet"]) == 0
    table = (results / "tables" / "digits.md").read_text()
    assert "| again |" in table
    assert "| mine |" in table
    assert "| real, noise 15 |" in table


@needs_lite0
def test_damage_of_a_known_kind_moves_every_metric_the_right_way(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    """Folder against folder: what nobody has trained on, with an extractor that nobody trained here."""
    images, labels = digits
    reference = save(tmp_path / "real", images[:200])
    held_out, classes = images[200:], labels[200:]
    sets = {
        "held out": held_out,
        "noise": noise(held_out, 60, seed=0),
        "more noise": noise(held_out, 120, seed=0),
        "blur": blur(held_out, 1.5),
        "three classes": drop_classes(held_out, classes, 3),
    }
    results = tmp_path / "results"
    found = {
        name: evaluated(save(tmp_path / name, x), results, "--reference", str(reference), "--all", "--set",
                        "half_samples=0", "controls=false")
        for name, x in sets.items()
    }  # fmt: skip

    def value(name: str, id: str) -> float:
        return found[name][f"{id}_lite0"]["value"]

    for id in ("fd", "kd", "chamfer"):
        assert value("held out", id) < value("noise", id) < value("more noise", id), id
        assert value("held out", id) < value("blur", id), id
        assert value("held out", id) < value("three classes", id), id
    assert value("held out", "precision") > value("more noise", "precision")
    assert value("held out", "density") > value("more noise", "density")
    assert value("three classes", "recall") < value("held out", "recall")
    assert value("three classes", "coverage") < value("held out", "coverage")
    assert value("three classes", "precision") > 0.5, "what is there is still real"


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "suite"])
def test_a_papers_protocol_is_marked_and_absent_weights_are_named(
    name: str, results: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], denied: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pictures = save(tmp_path / "mine", digits[0][:30])
    found = evaluated(pictures, results, "--reference", "digits", "--protocol", name, "--n", "30")
    assert found
    for value in found.values():
        assert value["name"].endswith(f"[{name} protocol]")
        assert value["protocol"]["protocol"] == name
        assert (value["status"], value["value"]) == ("unavailable", None)
        assert ".pth" in value["reason"], "the file's name"
        assert "judge" not in value["id"]
        assert "lite0" not in value["id"], "never a stand-in"
    shown = capsys.readouterr().out
    for difference in PROTOCOLS[name].differences:
        assert difference in shown


def test_a_finished_run_is_scored_again_by_another_protocol(finished: Finished, tmp_path: Path) -> None:
    results = finished.copied(tmp_path / "results")
    (folder,) = results.glob("runs/*/*/*")
    first = finished.outcome.record
    found = evaluated(folder, results, "--set", "k=3", "half_samples=0")
    old = {value["id"]: value for value in first["result"]["values"]}
    assert found["fd_judge"]["value"] == old["fd_judge"]["value"], "the same generator, the same latents"
    assert found["precision_judge"]["protocol"]["k"] == 3
    assert found["precision_judge"]["protocol_key"] != old["precision_judge"]["protocol_key"]
    before, after = sorted((record.time for record in read_records(results)), key=lambda time: str(time["utc"]))
    assert before == first["time"], "the first record stays"
    assert after["utc"] > before["utc"], "the time at which it was scored again"
    assert after["training_s"] == before["training_s"]
    lacking = evaluated(folder, results, "--extractors", "torchvision:resnet50", "--set", "half_samples=0")
    assert lacking["fd_torchvision_resnet50"]["status"] == "unavailable", "absent weights do not stop the rest"
    assert lacking["control_accuracy_judge"]["status"] == "ok"
    shutil.rmtree(results / "runs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--reference", "digits"], ["nowhere", "no such file"]),
        (["mine"], ["--reference", "missing"]),
        (["mine", "--reference", "digitz"], ["digitz", "digits"]),
        (["mine", "--reference", "ring2d"], ["2-D points"]),
        (["mine", "--reference", "digits", "--n", "99"], ["12 images", "--n 12"]),
        (["mine", "--reference", "digits", "--extractors", "lite_0"], ["lite_0", "lite0"]),
        (["mine", "--reference", "mine", "--extractors", "judge"], ["judge", "lite0"]),
        (["mine", "--reference", "digits", "--set", "kk=3"], ["kk", "k"]),
        (["mine", "--reference", "mine", "--set", "reference=test"], ["eval.reference = test", "mine is no dataset"]),
        (["mine", "--reference", "mine", "--set", "strata=[20, 100]"], ["eval.strata = [20, 100]", "is no dataset"]),
        (["mine", "--reference", "digits", "--set", "strata=[100, 20]"], ["eval.strata = [100, 20]", "few < many"]),
        (["small", "--reference", "digits"], ["--resolution 16"]),
        (["run", "--reference", "digits"], ["its own dataset"]),
        (["run"], ["its record is not in", "--results"]),
    ],
)
def test_what_cannot_be_scored_is_said_at_once(
    arguments: list[str], words: list[str], results: Path, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "mine", digits[0][:12])
    save(tmp_path / "small", digits[0][:12, :8, :8])
    (tmp_path / "run").mkdir()
    for name in ("config.yaml", "generator.pt"):
        (tmp_path / "run" / name).touch()
    monkeypatch.setattr("benchmark.training.artifacts.train", lambda *_, **__: pytest.fail("long work began"))
    assert main(["eval", *arguments, "--results", str(results), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert [word for word in words if word not in error] == []
    assert not (results / "records").exists()
