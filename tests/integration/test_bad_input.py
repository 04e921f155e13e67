"""Bad input: every message names the thing, the reason and the mend, and comes before anything is trained."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import INFOSCC, Finished, environment, outcome, run_arguments

import benchmark.runs.run
import benchmark.training.artifacts
import benchmark.training.loop
from benchmark.__main__ import main
from benchmark.core.config import parse_overrides, parse_yaml
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.training.checkpoints import load_checkpoint
from methods.infoscc import InfoSCC

Complain = Callable[..., str]


@pytest.fixture
def complain(capsys: pytest.CaptureFixture[str]) -> Complain:
    """Run a command line that must fail, and give its message as one line."""

    def run(*arguments: str, status: int = 2) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        text = capsys.readouterr().err
        assert "Traceback" not in text
        assert text.startswith("gantlet: ")
        return " ".join(text.split())

    return run


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be trained in this test."""

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(benchmark.runs.run, "train", train)
    monkeypatch.setattr(benchmark.training.artifacts, "train", train)


def run(*words: str, results: Path | str = "never") -> list[str]:
    """Arguments of a run on the CPU."""
    return ["run", "--quiet", "--device", "cpu", "--results", str(results), *words]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--method infosc", ["unknown method 'infosc'", "did you mean 'infoscc'?", "list` shows"]),
        ("--dataset digit", ["unknown data set 'digit'", "did you mean 'digits'?", "path of a folder or zip"]),
        ("--recipe smal", ["infoscc: no recipe 'smal'", "did you mean 'small'?"]),
        ("--recipe paper", ["the recipe 'paper' has no settings for 'digits'", "afhq, celeba", "RECIPE=small"]),
        ("--device gpu", ["--device gpu", "no such device", "did you mean 'cpu'?"]),
        ("--seed -1", ["seed -1", "not negative", "0, 1, 2"]),
        ("--set stps=5", ["stps: unknown key", "did you mean 'steps'?"]),
        ("--set n_fake=9", ["n_fake: unknown key of infoscc", "setting of the evaluation", "write eval.n_fake=9"]),
        ("--set resolution=8", ["setting of the dataset", "write data.resolution=8"]),
        ("--set encoder.ta=0.1", ["encoder.ta: unknown key", "did you mean 'tau'?"]),
        ("--set eval.n_fakes=9", ["n_fakes: unknown key", "did you mean 'n_fake'?"]),
        ("--set data.resolutoin=8", ["resolutoin: unknown key", "did you mean 'resolution'?"]),
        ("--set steps=many", ['steps: "many" given', "must be a valid integer"]),
        ("--set steps=0", ["steps: 0 given", "greater than 0"]),
        ("--set steps=2.5", ["steps: 2.5 given", "integer"]),
        ("--set flip=1", ["flip: 1 given", "boolean"]),
        ("--set betas=[0.5,1.5]", ["betas.1: 1.5 given", "less than 1"]),
        ("--set augment=1.5", ["augment: 1.5 given", "less than or equal to 1"]),
        ("--set loss=hing", ["loss: 'hing' is not one of", "did you mean 'hinge'?"]),
        ("--set lr_G='2e-4'", ["lr_G: '2e-4' is text, not a number", "without quotes", "2e-4 or 0.0002"]),
        ("--set lr_G=.nan", ["lr_G: nan given", "a finite number"]),
        ("--set lr_G=.inf", ["lr_G: inf given", "a finite number"]),
        ("--set encoder.tau=2020-01-01", ["encoder.tau", "2020-01-01", "valid number"]),
        ("--set encoder=3", ["encoder: 3 given"]),
        ("--set eval=3", ["--set eval=3", "eval.KEY=VALUE"]),
        ("--set data=3", ["--set data=3", "data.KEY=VALUE"]),
        ("--set steps", ["--set steps", "key=value", "steps=2000"]),
        ("--set steps=3 steps=4", ["--set steps is given twice", "silently override", "keep one"]),
        ("--set encoder.tau=3 encoder={tau:4}", ["--set encoder", "given twice"]),
        ("--set eval.extractors=[inceptoin]", ["extractor 'inceptoin'", "did you mean 'inception'?"]),
        ("--set n_clusters=1", ["n_clusters: 1 given", "greater than or equal to 2"]),
        ("--set labels=attributes", ["labels = attributes", "labels of kind 'class'", "labels=clusters"]),
        (
            "--set discriminator=patch patch_layers=6",
            ["patch_layers: n_layers 6", "side 16", "largest", "fits side 16 is 2"],
        ),
        ("--set data.resolution=24", ["side 24", "8, 16, 32"]),
        ("--dataset shapes --set labels=classes", ["labels = classes", "shapes", "'attributes'", "leave labels unset"]),
    ],
)
def test_words(words: str, parts: list[str], complain: Complain, untrained: None, tmp_path: Path) -> None:
    began = time.monotonic()
    message = complain(*run(*words.split(" "), results=tmp_path))
    assert time.monotonic() - began < 30
    for part in parts:
        assert part in message
    assert not list(tmp_path.glob("r*/*")), "nothing was begun"


def test_two_bad_keys_are_named_at_once(complain: Complain) -> None:
    message = complain(*run("--set", "stps=5", "batch=0"))
    assert "2 bad values" in message
    assert "stps: unknown key" in message
    assert "batch: 0 given" in message


def test_a_number_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    assert parse_yaml("lr_G: 2e-4") == {"lr_G": 2e-4}
    assert resolve(RunSpec("infoscc", "digits", 0, changes=parse_overrides(["lr_G=2e-4"])), paths).config.lr_G == 2e-4


def test_a_card_with_a_key_given_twice(complain: Complain, untrained: None, tmp_path: Path) -> None:
    card = tmp_path / "mine.yaml"
    card.write_text("name: mine\ntitle: x\nsource: {kind: digits}\nresolution: 16\nchannels: 1\nname: other\n")
    message = complain(*run("--dataset", str(card)))
    for part in (f"{card}: key 'name' is given twice", "lines 1 and 6", "keep one"):
        assert part in message


def test_a_judge_without_labels(complain: Complain, untrained: None, tmp_path: Path) -> None:
    card = tmp_path / "plain.yaml"
    card.write_text(
        "{name: plain, title: x, source: {kind: digits}, resolution: 16, channels: 1, conditioning: none}\n"
    )
    words = ["--method", "sngan", "--dataset", str(card), "--set", "eval.extractors=[judge]"]
    message = complain(*run(*words))
    for part in ("eval.extractors: judge", "plain has none", "eval.extractors=[lite0]", "downloads nothing"):
        assert part in message
    message = complain(*run("--method", "infoscc", "--dataset", str(card), results=tmp_path / "results"))
    for part in ("labels = None", "plain has no labels", "set labels=clusters"):
        assert part in message


def test_no_cuda(complain: Complain, untrained: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = complain("run", "--quiet", "--device", "cuda", "--results", "never")
    for part in ("--device cuda", "no CUDA device", "--device cpu, or auto"):
        assert part in message


def test_missing_inception_weights_are_an_error_before_training(
    complain: Complain, untrained: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the network is off in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)
    began = time.monotonic()
    message = complain(*run("--set", "eval.extractors=[inception,judge]", results=tmp_path / "results"))
    assert time.monotonic() - began < 10
    file = "weights-inception-2015-12-05-6726825d.pth"
    for part in (file, "6726825d...", str(tmp_path / "hub" / "checkpoints"), "lite0", "downloads nothing"):
        assert part in message
    assert not (tmp_path / "results").exists()


def test_missing_celeba_is_reported_within_three_seconds(tmp_path: Path) -> None:
    def attempt() -> float:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *run("--dataset", "celeba", "--data-root", str(tmp_path / "none"))],
            capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=60,
        )  # fmt: skip
        seconds = time.monotonic() - began
        assert done.returncode == 2
        for part in (
            "data set celeba: files are missing",
            f"{tmp_path}/none/celeba/img_align_celeba/*.jpg",
            "list_attr_celeba.txt",
            "list_eval_partition.txt",
            "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
            "--data-root",
            "GANTLET_DATA",
        ):
            assert part in done.stderr
        return seconds

    first = attempt()
    assert first < 3 or attempt() < 3


def test_a_results_folder_that_is_a_file(complain: Complain, untrained: None, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    message = complain(*run(results=tmp_path / "results"))
    for part in (f"{tmp_path / 'results'}: cannot be written", "choose another folder"):
        assert part in message


def test_a_disk_that_is_too_small_is_noticed_before_training(
    complain: Complain, untrained: None, monkeypatch: pytest.MonkeyPatch, results: Path
) -> None:
    usage = shutil.disk_usage(results)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    message = complain(*run_arguments(results, INFOSCC))
    for part in (
        "the disk is too full for the run digits-infoscc",
        "GB are needed, 0.00 GB are free",
        "free some space",
    ):
        assert part in message
    assert not (results / "runs").exists()


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    complain: Complain, monkeypatch: pytest.MonkeyPatch, finished: Finished, results: Path
) -> None:
    real, writes = os.fsync, []

    def full(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if ".checkpoint.pt." in path and "/runs/" in path:
            writes.append(path)
            if len(writes) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = complain(*run_arguments(results, INFOSCC))
    (checkpoint,) = results.glob("runs/*/*/*/checkpoint.pt")
    for part in (f"{checkpoint}: cannot be written", "No space left on device", "free some space"):
        assert part in message
    saved = load_checkpoint(checkpoint.parent, torch.device("cpu"))
    assert saved is not None
    assert saved["step"] == 4
    assert not list(results.glob("records/*.json"))
    monkeypatch.setattr(benchmark.runs.run, "save_pictures", lambda *_, **__: None)
    assert main(run_arguments(results, INFOSCC)) == 0
    outcome(results).same_as(finished.outcome)


def test_a_log_that_cannot_be_read(complain: Complain, results: Path) -> None:
    arguments = run_arguments(results, INFOSCC)
    changes = parse_overrides(arguments[arguments.index("--set") + 1 :])
    folder = resolve(RunSpec("infoscc", "digits", 0, changes=changes), Paths(Path("data"), results)).folder
    (folder / "log.jsonl").mkdir(parents=True)
    message = complain(*run_arguments(results, INFOSCC))
    assert f"{folder / 'log.jsonl'}: cannot be" in message


def test_a_changed_configuration_is_refused_with_the_difference(
    complain: Complain, untrained: None, finished: Finished, tmp_path: Path
) -> None:
    results = finished.copied(tmp_path / "results")
    for path in results.glob("records/*.json"):
        path.unlink()
    (config,) = results.glob("runs/*/*/*/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("  base: 4", "  base: 8").replace("  tau: 0.5", "  tau: 0.7"))
    message = complain(*run_arguments(results, INFOSCC))
    for part in (
        f"{config.parent}: begun with another configuration",
        "config.base: 8 -> 4",
        "config.encoder.tau: 0.7 -> 0.5",
        "restore the configuration",
    ):
        assert part in message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(
    bad: float, complain: Complain, monkeypatch: pytest.MonkeyPatch, results: Path
) -> None:
    plain = InfoSCC.update

    def update(self: InfoSCC, loss: torch.Tensor, *optimisers: Any) -> None:
        plain(self, loss * bad if self._step == 9 and optimisers[0] is self.opt_D else loss, *optimisers)

    monkeypatch.setattr(InfoSCC, "update", update)
    message = complain(*run_arguments(results, INFOSCC), status=1)
    assert "infoscc: non-finite loss at step 9" in message
    assert "the last good checkpoint is kept" in message
    assert "log.jsonl" in message
    assert "learning rate" in message
    (path,) = results.glob("records/*.json")
    record = json.loads(path.read_text())
    assert record["status"] == "failed"
    assert "non-finite loss at step 9" in record["reason"]
    assert record["result"] is None
    (checkpoint,) = results.glob("runs/*/*/*/checkpoint.pt")
    saved = load_checkpoint(checkpoint.parent, torch.device("cpu"))
    assert saved is not None
    assert saved["step"] == 8
    assert all(bool(torch.isfinite(value).all()) for net in "GD" for value in saved["state"][net].values())


def test_a_stage_that_diverges_is_named(complain: Complain, monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    from benchmark.training.stages.simclr import SimCLR

    plain = SimCLR.update
    monkeypatch.setattr(
        SimCLR, "update", lambda self, loss, *o: plain(self, loss * float("nan") if self._step == 3 else loss, *o)
    )
    message = complain(*run_arguments(results, INFOSCC), status=1)
    assert "SimCLR: non-finite loss at step 3" in message
    record = json.loads(next(results.glob("records/*.json")).read_text())
    assert (record["status"], record["reason"]) == ("failed", "SimCLR: non-finite loss at step 3")
    assert main(run_arguments(results, INFOSCC)) == 1, "the same command shows the failed record"


def test_a_weight_that_is_not_finite_is_never_saved(
    complain: Complain, monkeypatch: pytest.MonkeyPatch, results: Path
) -> None:
    """A step can ruin a weight while its own losses are still finite."""
    plain = InfoSCC.step

    def step(self: InfoSCC, stream: Any, t: int) -> Any:
        losses = plain(self, stream, t)
        if t == 7:
            with torch.no_grad():
                self.G.out.bias.fill_(float("inf"))
        return losses

    monkeypatch.setattr(InfoSCC, "step", step)
    monkeypatch.setattr(
        benchmark.runs.run, "make_plan", lambda *_: type("P", (), {"warning": lambda _: "", "flops_per_step": 0.0})()
    )
    assert "non-finite weight in G at step 7" in complain(*run_arguments(results, INFOSCC), status=1)
    (checkpoint,) = results.glob("runs/*/*/*/checkpoint.pt")
    saved = load_checkpoint(checkpoint.parent, torch.device("cpu"))
    assert saved is not None
    assert saved["step"] == 4


def test_samples_of_a_run_that_is_not_finished(complain: Complain, tmp_path: Path) -> None:
    message = complain("sample", "--results", tmp_path, "--out", tmp_path / "out", "--quiet")
    for part in ("generator.pt is missing", "has not finished training", "run it first"):
        assert part in message
