"""A compact export gives nearly the run's images; published ones are found by name, and made of a suite's runs."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from damages import check_damages_are_named, damage
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import CASES, trained

import benchmark as gantlet
from benchmark.__main__ import main
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import read_json, write_json
from benchmark.evaluation.sampling import stored
from benchmark.runs.exported import CONFIG, MODEL, SAMPLING
from benchmark.runs.folder import load_sampling, weights_hash
from benchmark.runs.records import Record, record_path
from benchmark.runs.suites import zoo

# How far float16 may move a value of a sample in [-1, 1]: half a step of 8 bits. Measured at most: 0.0021, in these
# cases (IC-GAN) and in finished runs on digits (SNGAN).
MOST_MOVED = 0.004


@pytest.fixture(scope="module")
def record_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Record]:
    """The record of a tiny run of a case, trained once for all tests."""

    @cache
    def made(case: str) -> Record:
        return trained(case, tmp_path_factory.mktemp(case) / "results")

    return made


@pytest.fixture
def record(record_of: Callable[[str], Record]) -> Record:
    return record_of("class")


@pytest.fixture
def reference(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's `results/reference` with a model and its record, in the present folder."""
    folder = tmp_path / "checkout" / "results" / "reference"
    gantlet.export_run(record.folder, folder / "models" / record.run, compact=True)
    path = record_path(folder, record.run)
    path.parent.mkdir()
    shutil.copy(record_path(record.folder.parents[3], record.run), path)
    monkeypatch.chdir(tmp_path / "checkout")
    return folder


# ---- compact exports ------------------------------------------------------------------------------------------------


ALWAYS = ("class", "instance", "points")  # the others where there is time
EACH = [case if case in ALWAYS else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize("case", EACH)
def test_a_compact_export_gives_nearly_the_runs_images(
    case: str, record_of: Callable[[str], Record], tmp_path: Path
) -> None:
    conditions, record = CASES[case][3], record_of(case)
    live = gantlet.load_run(record.folder)
    drawn = live.sample_with_conditions(40)
    asked = None if conditions is None else live.sample(2, conditions, seed=4)
    state = load_sampling(record.folder, torch.device("cpu"))[1]
    files = gantlet.export_run(record.folder, tmp_path / "export", compact=True)
    assert {CONFIG, MODEL, SAMPLING} == {path.name for path in files}

    found = gantlet.load_run(tmp_path / "export")
    mine = found.sample_with_conditions(40)
    moved = (mine.images - drawn.images).abs()
    assert 0 < moved.max() < MOST_MOVED
    if drawn.conditions is not None:
        assert mine.conditions is not None
        assert torch.equal(mine.conditions, drawn.conditions), "what is drawn is what the run draws"
    if asked is not None:
        assert (found.sample(2, conditions, seed=4) - asked).abs().max() < MOST_MOVED
    assert (found.name, found.config) == (record.run, live.config)
    for split in ("train", "test"):
        for values in ("labels", "attributes"):
            was, now = (getattr(getattr(run.data, split), values) for run in (live, found))
            assert (was is None) == (now is None)
            assert was is None or (np.array_equal(was, now) and was.dtype == now.dtype)
    kept = load_file(tmp_path / "export" / SAMPLING)
    for name, value in state.items():
        if not value.is_floating_point():
            assert torch.equal(kept[f"state.{name}"].long(), value)
    assert all(one.dtype != torch.int64 for one in kept.values())


def test_its_entries_have_the_hashes_of_both_weights(reference: Path, record: Record) -> None:
    folder = reference / "models" / record.run
    entries = read_json(folder / CONFIG)
    assert entries["weights_sha256"] == record.result_or_empty.weights_sha256
    assert entries["rounded_sha256"] == weights_hash(gantlet.load_run(folder).G) != entries["weights_sha256"]
    for name in (MODEL, SAMPLING):
        assert entries["sha256"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    tensors = load_file(folder / MODEL)
    assert torch.float16 in {one.dtype for one in tensors.values()}
    full = sum(one.nbytes for one in gantlet.load_run(record.folder).G.state_dict().values())
    assert (folder / MODEL).stat().st_size < 0.65 * full, "its small tensors are kept, and its header is long"


@pytest.mark.parametrize("name", [MODEL, SAMPLING, CONFIG])
def test_a_damaged_file_is_named(name: str, reference: Path, record: Record, tmp_path: Path) -> None:
    check_damages_are_named(reference / "models" / record.run, name, tmp_path)


def test_it_is_made_by_the_command_and_has_no_licence(
    record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(record.folder), str(tmp_path / "out"), "--compact"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / "out" / name) for name in (CONFIG, MODEL, SAMPLING)]
    with pytest.raises(ConfigError, match="a compact export has none"):
        gantlet.export_run(record.folder, tmp_path / "mit", license="mit", compact=True)
    assert not (tmp_path / "mit").exists()


# ---- by name --------------------------------------------------------------------------------------------------------


def test_a_published_model_is_found_sampled_and_scored(reference: Path, record: Record, tmp_path: Path) -> None:
    expected = gantlet.load_run(reference / "models" / record.run).sample(4)
    for name in ("reference/digits/cgan", f"reference/{record.run}", Path("reference") / "digits" / "cgan"):
        found = gantlet.load_run(name)
        assert torch.equal(found.sample(4), expected)
    assert found.record.values["fd_judge"].value == record.values["fd_judge"].value
    scored = gantlet.score(found.sample(60), "digits", results=tmp_path / "own", device="cpu", judge={"steps": 5})
    value = scored.values["fd_judge"].value
    assert value is not None
    assert value > 0


def test_the_command_writes_its_samples(
    reference: Path, record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["sample", "reference/digits/cgan", "--n", "3", "--out", str(tmp_path / "a"), "--class", "4"]
    assert main(asked) == 0
    assert capsys.readouterr().out == f"3 images of {record.run} in {tmp_path / 'a'}\n"
    pixels = stored(gantlet.load_run("reference/digits/cgan").sample(3, conditions=4))
    for i, image in enumerate(pixels):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / f"{i:06d}.png")), image[..., 0])
    assert [row["asked"] for row in csv.DictReader((tmp_path / "a" / "asked.csv").open())] == ["4"] * 3
    assert main(["sample", str(record.folder), "--n", "1", "--out", str(tmp_path / "run")]) == 0
    assert main(["sample", "reference/digits/cgan", "--instance", "4", "--out", str(tmp_path / "b")]) == 2
    assert "conditioned on: class" in capsys.readouterr().err
    for option in (["--seed", "1"], ["--method", "sngan"], ["--dataset", "shapes"], ["--set", "steps=3"]):
        assert main(["sample", "reference/digits/cgan", *option, "--out", str(tmp_path / "b")]) == 2
        assert f"{option[0]}\n" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["reference/digits/cgann", "reference/digits", "reference", "reference/a/b/c"])
def test_an_unknown_name_lists_those_that_there_are(name: str, reference: Path) -> None:
    with pytest.raises(UserError, match=r"no such published model\n.*published: digits/cgan\n"):
        gantlet.load_run(name)


def test_a_name_of_several_models_asks_for_one(reference: Path, record: Record) -> None:
    models = reference / "models"
    other = record.run.replace("-s0-", "-s1-")
    shutil.copytree(models / record.run, models / other)
    with pytest.raises(UserError, match=f"use reference/{record.run}, reference/{other}"):
        gantlet.load_run("reference/digits/cgan")
    assert gantlet.load_run(f"reference/{record.run}").name == record.run


def test_a_folder_of_that_name_comes_first(reference: Path, record: Record) -> None:
    shutil.copytree(reference / "models" / record.run, Path("reference") / "digits" / "cgan")
    shutil.rmtree(reference)
    assert gantlet.load_run("reference/digits/cgan").name == record.run


def test_a_damaged_model_is_named_when_it_is_asked_for_by_name(reference: Path, record: Record) -> None:
    (reference / "models" / record.run / CONFIG).write_text("{}")
    with pytest.raises(UserError, match=f"{record.run}/{CONFIG}: not of a published model"):
        gantlet.load_run("reference/digits/cgan")


def test_a_model_of_other_weights_than_its_record_is_refused(reference: Path, record: Record) -> None:
    path = record_path(reference, record.run)
    plain = json.loads(path.read_text())
    write_json(path, plain | {"result": plain["result"] | {"weights_sha256": "0" * 64}})
    with pytest.raises(UserError, match="not the model of the record"):
        gantlet.load_run("reference/digits/cgan")
    path.unlink()
    with pytest.raises(UserError, match="no record"):
        _ = gantlet.load_run("reference/digits/cgan").record


def test_outside_of_a_checkout_the_error_says_where_models_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an installed wheel: no `results` lies beside the package, nor here."""
    monkeypatch.setattr("benchmark.core.paths.REFERENCE", tmp_path / "site-packages" / "results" / "reference")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="published models come with a checkout"):
        gantlet.load_run("reference/digits/cgan")
    assert not list(tmp_path.iterdir())


def test_every_published_model_is_of_a_published_record() -> None:
    """Of this checkout, as far as models are published: the name, the float32 weights' hash and the limit."""
    from benchmark.core.paths import REFERENCE
    from benchmark.runs.published_models import published

    for name, runs in published(REFERENCE / "models").items():
        for run in runs:
            model = gantlet.load_run(REFERENCE / "models" / run)  # refuses one of other weights than its record's
            assert model.record.run == run == model.name
            assert name == f"{model.record.dataset}/{model.record.method}"
            assert model.sample(2).isfinite().all()


# ---- of a suite -----------------------------------------------------------------------------------------------------

SUITE = """
title: Two methods
source: a test
dataset: digits
recipe: small
seeds: [0, 1]
set:
  {steps: 3, batch: 8, width: 4, data: {source: {test_share: 0.8}},
   eval: {n_fake: 40, metrics: few, encoder: null, half_samples: 0, judge: {steps: 2, width: 4}}}
columns: [Method]
sizes: {small: {}}
rows:
  - {labels: {Method: CGAN}, method: cgan}
  - {labels: {Method: SNGAN}, method: sngan}
"""


class Publishing:
    """A suite's file, the results of its runs, and the folder of models."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.suite, self.results, self.models = folder / "two.yaml", folder / "results", folder / "models"
        self.suite.write_text(SUITE)
        self.capsys = capsys

    def train(self, *seeds: int) -> None:
        """Run both rows with these seeds."""
        asked = ["suite", str(self.suite), "--results", str(self.results), "--device", "cpu", "--quiet"]
        assert main([*asked, "--workers", "1", "--seed", *map(str, seeds)]) == 0
        self.capsys.readouterr()

    def publish(self, *more: str) -> tuple[int, list[str]]:
        """The exit status and the printed lines."""
        asked = [str(self.suite), "--results", str(self.results), "--models", str(self.models)]
        status = zoo.main([*asked, *more])
        return status, self.capsys.readouterr().out.splitlines()

    def content(self) -> dict[str, str]:
        """Every file of the models by its path, with its hash."""
        files = [path for path in self.models.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.models)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_suites_rows_are_published_once_with_the_lowest_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Publishing(tmp_path, capsys)
    status, lines = made.publish()
    assert status == 1
    assert lines[-1] == "rows: 2 no run"
    assert made.content() == {}

    made.train(1)
    status, lines = made.publish()
    assert (status, lines[-1]) == (0, "rows: 2 written")
    assert all("-small-s1-" in name for name in made.content())

    made.train(0)
    status, lines = made.publish()
    assert (status, lines[-1]) == (0, "rows: 2 written")
    assert all("(in place of" in line for line in lines[:2])
    whole = made.content()
    assert len(whole) == 6
    assert all("-small-s0-" in name for name in whole), "one model a row"
    n = sum(path.stat().st_size for path in made.models.rglob("*") if path.is_file())
    assert lines[-2] == f"2 models, {n / 1e6:.1f} MB in {made.models}"

    for name in ("cgan", "sngan"):
        (folder,) = made.models.glob(f"digits-{name}-*")
        run = next(made.results.glob(f"runs/digits/{name}/small-s0-*"))
        moved = gantlet.load_run(folder).sample(8) - gantlet.load_run(run).sample(8)
        assert moved.abs().max() < MOST_MOVED

    (made.models / f".{folder.name}.tmp").mkdir()  # what a kill left
    times = {path: path.stat().st_mtime_ns for path in made.models.rglob("*.safetensors")}
    assert made.publish()[1][-1] == "rows: 2 unchanged"
    assert times == {path: path.stat().st_mtime_ns for path in made.models.rglob("*.safetensors")}
    damage(folder / MODEL, "bit 0.5")
    assert made.publish()[1][-1] == "rows: 1 unchanged, 1 written"
    assert made.content() == whole
    assert not [path for path in made.models.iterdir() if path.name.startswith(".")]


def test_a_model_over_the_limit_and_a_run_that_is_damaged_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Publishing(tmp_path, capsys)
    made.train(0)
    status, lines = made.publish("--most", "0.02")
    assert (status, lines[-1]) == (0, "rows: 2 too large"), "left out on purpose"
    assert "0.0 MB at most" in lines[0]
    assert "in model.safetensors takes" in lines[0]
    assert made.content() == {}
    (generator,) = made.results.glob("runs/digits/cgan/*/generator.pt")
    damage(generator, "bit 0.5")
    status, lines = made.publish()
    assert (status, lines[-1]) == (1, "rows: 1 failed, 1 written"), "the others go on"
    assert "generator.pt" in "".join(lines[:2])
    with pytest.raises(zoo.TooLargeError, match=r"sngan.*\n.*MB at most"):
        zoo.publish_run(next(made.results.glob("runs/digits/sngan/*")), made.models, most_bytes=1000)
    assert len(made.content()) == 3
    assert zoo.main(["no-such-suite"]) == 2
    assert "unknown suite" in capsys.readouterr().err


def test_an_image_bank_over_the_limit_is_named(record_of: Callable[[str], Record], tmp_path: Path) -> None:
    record = record_of("instance")
    h = gantlet.load_run(record.folder).method.condition_features()
    assert h is not None
    with pytest.raises(zoo.TooLargeError, match=rf"state\.h \[{h.shape[0]}, {h.shape[1]}\] in {SAMPLING} takes"):
        zoo.publish_run(record.folder, tmp_path / "models", most_bytes=2 * h.numel())
    assert not list((tmp_path / "models").iterdir())
