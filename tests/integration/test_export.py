"""An exported run gives the run's images from its own folder alone; what is damaged or of another run is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damages import check_damages_are_named
from helpers import environment
from safetensors.torch import load_file, save_file
from tiny_runs import CASES, trained

import benchmark as gantlet
from benchmark.__main__ import main
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import read_json, write_json
from benchmark.core.plain_yaml import parse_yaml
from benchmark.core.sealed import SEAL_KEY, seal_entries
from benchmark.runs.exported import CARD, CONFIG, DISCRIMINATOR, MODEL, SAMPLES, SAMPLING
from benchmark.runs.folder import identity_of, weights_hash
from benchmark.runs.records import Record
from benchmark.runs.sampler_file import SAMPLER, N, example_conditions

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return trained("class", tmp_path_factory.mktemp("runs") / "results")


@pytest.fixture
def exported(record: Record, tmp_path: Path) -> Path:
    gantlet.export_run(record.folder, tmp_path / "export")
    return tmp_path / "export"


def samples(folder: Path, conditions: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """As drawn by default, and for given conditions."""
    run = gantlet.load_run(folder)
    asked = run.sample(5, seed=3) if conditions is None else run.sample(len(conditions), conditions, seed=4)
    return run.sample(6), asked


@pytest.mark.parametrize("case", CASES)
def test_an_export_alone_gives_the_runs_images(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = CASES[case][3]
    record = trained(case, tmp_path / "results")
    expected, live = samples(record.folder, conditions), gantlet.load_run(record.folder)
    checkpoint = torch.load(record.folder / "checkpoint.pt", weights_only=True)
    files = gantlet.export_run(record.folder, tmp_path / "export")
    assert {CARD, CONFIG, DISCRIMINATOR, MODEL, SAMPLES, SAMPLING} == {path.name for path in files}
    shutil.rmtree(tmp_path / "results")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("neither dataset nor training is needed")

    for module in ("benchmark.data.prepare.prepare", "benchmark.runs.spec.prepare", "benchmark.training.loop.train"):
        monkeypatch.setattr(module, refuse)
    found = gantlet.load_run(tmp_path / "export")
    for mine, theirs in zip(samples(tmp_path / "export", conditions), expected):
        assert torch.equal(mine, theirs)
    assert (found.name, found.config) == (record.run, live.config)
    assert weights_hash(found.G) == record.result_or_empty.weights_sha256
    assert found.data.outline().keys() == live.data.outline().keys()
    assert found.data.class_names == live.data.class_names
    for name, tensor in load_file(tmp_path / "export" / DISCRIMINATOR).items():
        assert torch.equal(tensor, checkpoint["state"]["D"][name])
    if average := checkpoint["average"]:
        weights = load_file(tmp_path / "export" / MODEL)
        assert all(torch.equal(weights[name], average[name]) for name, _ in found.G.named_parameters())
    with pytest.raises(UserError, match="no record"):
        _ = found.record


def test_a_fresh_process_elsewhere_reads_an_export(exported: Path, record: Record, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code = (
        "import sys; sys.modules['sklearn.datasets'] = None  # the digits come from there\n"
        "import benchmark, numpy\n"
        "run = benchmark.load_run(sys.argv[1])\n"
        "numpy.save('images.npy', run.sample(6).numpy())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(exported)],
        cwd=tmp_path / "empty", env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert os.listdir(tmp_path / "empty") == ["images.npy"], "nothing else is made"
    images = np.load(tmp_path / "empty" / "images.npy")
    assert np.array_equal(images, gantlet.load_run(record.folder).sample(6).numpy())


@pytest.mark.parametrize("case", ["class", *(pytest.param(case, marks=SLOW) for case in CASES if case != "class")])
def test_torch_alone_samples_from_the_written_sampler(case: str, tmp_path: Path) -> None:
    """In a process that knows neither this package nor its methods, from a folder with nothing else."""
    run = trained(case, tmp_path / "results")
    gantlet.export_run(run.folder, tmp_path / "export", sampler=True)
    live = gantlet.load_run(run.folder)
    conditions = example_conditions(live)
    (tmp_path / "alone").mkdir()
    shutil.copy(tmp_path / "export" / SAMPLER, tmp_path / "alone")
    code = (
        "import sys, torch\n"
        "sys.modules['benchmark'] = sys.modules['methods'] = None  # an import of either fails\n"
        "sample = torch.export.load('sampler.pt2').module()\n"
        "torch.manual_seed(5)\n"
        "conditions = torch.load('conditions.pt')\n"
        "torch.save(sample() if conditions is None else sample(conditions), 'images.pt')\n"
    )
    torch.save(conditions, tmp_path / "alone" / "conditions.pt")
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "alone", env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    torch.manual_seed(5)
    with torch.no_grad():
        expected = live.method.sample(live.G, N, conditions).images
    assert torch.equal(torch.load(tmp_path / "alone" / "images.pt"), expected)
    card = (tmp_path / "export" / CARD).read_text()
    assert f'torch.export.load("{SAMPLER}")' in card


def front_matter(card: Path) -> dict[str, Any]:
    """What Hugging Face reads of a card."""
    values = parse_yaml(card.read_text().split("---\n")[1], str(card))
    assert isinstance(values, dict)
    return values


def test_the_card_has_the_records_numbers_with_their_protocols(exported: Path, record: Record) -> None:
    card = front_matter(exported / CARD)
    assert (card["library_name"], card["datasets"], card["license"]) == ("gantlet", ["digits"], "other")
    (model,) = card["model-index"]
    (result,) = model["results"]
    assert model["name"] == record.run
    shown = {metric["type"]: metric for metric in result["metrics"]}
    assert shown.keys() == {value.id for value in record.values.values() if value.value is not None}
    for id, metric in shown.items():
        assert metric["value"] == record.values[id].value
        assert metric["args"]["protocol"] == json.loads(json.dumps(record.values[id].protocol))
    text = (exported / CARD).read_text()
    assert f"16 px, grey, {record.result_or_empty.data.n_train:,} trained on" in text
    assert all(word in text for word in ("CC BY 4.0", f"]({SAMPLES})", "not stated a licence", "@software{gantlet"))


def test_hugging_face_reads_the_card(exported: Path, record: Record) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(exported / CARD)
    assert card.data.library_name == "gantlet"
    read = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert read == {value.id: value.value for value in record.values.values() if value.value is not None}
    assert {result.dataset_type for result in card.data.eval_results} == {"digits"}


def test_the_licence_is_who_exports_ones(record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(record.folder), str(tmp_path / "mit"), "--license", "mit"]) == 0
    assert str(tmp_path / "mit" / MODEL) in capsys.readouterr().out
    card = front_matter(tmp_path / "mit" / CARD)
    assert card["license"] == "mit"
    assert "license_name" not in card
    with pytest.raises(ConfigError, match="no identifier"):
        gantlet.export_run(record.folder, tmp_path / "bad", license="do what you\nlike")
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("name", [MODEL, SAMPLING, DISCRIMINATOR, CONFIG])
def test_a_damaged_file_is_named(name: str, exported: Path, tmp_path: Path) -> None:
    check_damages_are_named(exported, name, tmp_path)


def _resealed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def changed(folder: Path) -> None:
        entries = read_json(folder / CONFIG)
        del entries[SEAL_KEY]
        change(entries)
        write_json(folder / CONFIG, seal_entries(entries))

    return changed


def _other_weights(folder: Path) -> None:
    """Weights of another generator, with a `config.json` that has their file's hash."""
    weights = load_file(folder / MODEL)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name] = weights[name] + 1
    save_file(weights, folder / MODEL)
    digest = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    _resealed(lambda entries: entries["sha256"].update({MODEL: digest}))(folder)


def _other_settings(folder: Path, **settings: int) -> None:
    """Other settings whose hash is right: a whole export that somebody wrote by hand."""

    def change(entries: dict[str, Any]) -> None:
        entries["config"]["config"].update(settings)
        entries["identity"] = dict(identity_of(entries["config"], CONFIG, ""))

    _resealed(change)(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / SAMPLING).unlink(), SAMPLING),
        (lambda folder: (folder / MODEL).unlink(), MODEL),
        (_resealed(lambda entries: entries.update(format=99)), "format is 99"),
        (_resealed(lambda entries: entries["config"]["config"].update(batch=9)), "not those of the run"),
        (_resealed(lambda entries: entries["data"].pop("splits")), CONFIG),
        (_resealed(lambda entries: entries["sha256"].update({"../../x": "0"})), "names the files"),
        (_resealed(lambda entries: entries.pop("weights_sha256")), CONFIG),
        (lambda folder: _other_settings(folder, batch=2**31), "at most"),
        (_other_weights, "not the weights that were scored"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(change: Callable[[Path], object], named: str, exported: Path) -> None:
    change(exported)
    with pytest.raises(UserError, match=named.replace(".", r"\.")):
        gantlet.load_run(exported)


def test_an_export_without_discriminator_is_sampled(exported: Path) -> None:
    expected = gantlet.load_run(exported).sample(2)
    (exported / DISCRIMINATOR).unlink()
    assert torch.equal(gantlet.load_run(exported).sample(2), expected)


def test_a_run_without_checkpoint_is_exported_without_discriminator(record: Record, tmp_path: Path) -> None:
    shutil.copytree(record.folder.parents[3], tmp_path / "results")
    folder = record.folder_in(tmp_path / "results")
    (folder / "checkpoint.pt").unlink()
    (folder / "samples.png").unlink()
    gantlet.export_run(folder, tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {CARD, CONFIG, MODEL, SAMPLING}
    assert SAMPLES not in (tmp_path / "export" / CARD).read_text()


def test_what_cannot_be_exported_is_refused(record: Record, exported: Path, tmp_path: Path) -> None:
    shutil.copytree(record.folder.parents[3], tmp_path / "results")
    folder = record.folder_in(tmp_path / "results")

    def refused(named: str, run: Path = folder, out: Path = tmp_path / "out") -> None:
        with pytest.raises(UserError, match=named):
            gantlet.export_run(run, out)
        assert not (tmp_path / "out" / CONFIG).exists()

    refused("not empty", out=exported)
    refused("an export already", exported)
    refused("not the folder of a finished run", tmp_path)
    with pytest.raises(UserError, match="an exported run"):
        gantlet.score(exported)
    path = tmp_path / "results" / "records" / f"{record.run}.json"
    plain = json.loads(path.read_text())
    write_json(path, plain | {"result": plain["result"] | {"weights_sha256": "0" * 64}})
    refused("not the weights that were scored")
    write_json(path, plain | {"result": {k: v for k, v in plain["result"].items() if k != "weights_sha256"}})
    refused("does not have the hash")
    path.unlink()
    refused("cannot be read")
