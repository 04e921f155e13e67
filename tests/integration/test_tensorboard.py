"""`--log tensorboard`: what TensorBoard shows is what `log.jsonl` says, once, and nothing of the run depends on it."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers import DIGITS, TINY, Outcome, outcome, run_arguments
from PIL import Image

import benchmark as gantlet
from benchmark.__main__ import main
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import JsonLines
from benchmark.runs.logs import require_log
from benchmark.training.loop import Callbacks
from benchmark.training.progress import Log

RUN = [*TINY, *DIGITS, "width=4", "steps=10", "checkpoint_every=4", "eval.n_fake=60", "eval.metrics=few"]
installed = importlib.util.find_spec("tensorboard") is not None
needs_tensorboard = pytest.mark.skipif(not installed, reason="the optional package tensorboard is not installed")


def arguments(results: Path) -> list[str]:
    settings = list({item.partition("=")[0]: item for item in RUN}.values())
    run, *rest = run_arguments(results, settings, method="sngan")
    return [run, "--log", "tensorboard", *rest]


def without_log(results: Path) -> list[str]:
    return [word for word in arguments(results) if word not in ("--log", "tensorboard")]


def shown(folder: Path) -> tuple[list[tuple[int, str, float]], dict[int, bytes]]:
    """Every scalar and every picture of the event files, repeated ones as often as they are there."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    scalars, pictures = [], {}
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("image"):
                    assert event.step not in pictures
                    pictures[event.step] = value.image.encoded_image_string
                else:
                    scalars.append((event.step, value.tag, value.simple_value))
    return scalars, pictures


def check_against_log(run: Outcome) -> dict[int, bytes]:
    """Assert that the scalars are those of `log.jsonl`, each once. Returns the pictures."""
    scalars, pictures = shown(run.folder)
    lines = [json.loads(line) for line in run.log]
    expected = {(line["step"], tag): value for line in lines for tag, value in line.items() if tag != "step"}
    assert sorted((step, tag) for step, tag, _ in scalars) == sorted(expected)
    assert all(math.isclose(value, expected[step, tag], rel_tol=1e-6) for step, tag, value in scalars)
    return pictures


@needs_tensorboard
def test_events_are_the_log_and_move_no_bit(tmp_path: Path) -> None:
    assert main(without_log(tmp_path / "plain")) == 0
    assert main(arguments(tmp_path / "logged")) == 0
    plain, logged = outcome(tmp_path / "plain"), outcome(tmp_path / "logged")
    logged.same_as(plain)
    assert logged.record["run"] == plain.record["run"]
    assert logged.record["config"] == plain.record["config"]
    assert not (plain.folder / "tensorboard").exists()
    pictures = check_against_log(logged)
    assert sorted(pictures) == list(range(1, 11)), "ten grids"
    first, last = (np.asarray(Image.open(io.BytesIO(pictures[step]))) for step in (1, 10))
    assert first.shape == last.shape
    assert not np.array_equal(first, last), "the samples change as the generator learns"


@needs_tensorboard
@pytest.mark.parametrize("stop", [6, 7])
def test_a_resumed_run_shows_each_step_once(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between checkpoints, of 4 and 8 steps, before and after its last line; the end of a file is lost, too."""
    assert main(arguments(tmp_path / "whole")) == 0

    class Stopped(Exception):
        pass

    class Stopping(Callbacks):
        def __call__(self, step: int, G: object) -> None:
            super().__call__(step, G)  # type: ignore[arg-type]
            if step == stop:
                raise Stopped

    monkeypatch.setattr("benchmark.runs.run.Callbacks", Stopping)
    with pytest.raises(Stopped):
        main(arguments(tmp_path / "resumed"))
    monkeypatch.undo()
    (folder,) = {path.parent for path in (tmp_path / "resumed").glob("runs/*/*/*/config.yaml")}
    (events,) = (folder / "tensorboard").iterdir()
    assert {step for step, *_ in shown(folder)[0]} == {2, 4, *([6] if stop == 7 else [])}
    whole_file = events.read_bytes()
    events.write_bytes(whole_file[:-5])
    events.with_name("events.out.tfevents.9").write_bytes(whole_file)  # as a kill in the middle of resuming leaves it
    assert main(arguments(tmp_path / "resumed")) == 0
    resumed, whole = outcome(tmp_path / "resumed"), outcome(tmp_path / "whole")
    resumed.same_as(whole)
    assert check_against_log(resumed) == check_against_log(whole)
    assert len(list((folder / "tensorboard").iterdir())) == 1


@needs_tensorboard
def test_a_run_that_began_without_has_its_first_scalars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    flush = Log.flush

    def stopping(log: Log, step: int, images: int) -> dict[str, float]:
        if step == 8:
            raise Stopped
        return flush(log, step, images)

    monkeypatch.setattr(Log, "flush", stopping)
    with pytest.raises(Stopped):
        main(without_log(tmp_path / "results"))
    monkeypatch.undo()
    assert main(arguments(tmp_path / "results")) == 0
    assert sorted(check_against_log(outcome(tmp_path / "results"))) == list(range(5, 11)), "from the checkpoint on"


@needs_tensorboard
def test_a_suite_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(resolved: object, paths: object, *, log: str | None = None, **_: object) -> None:
        seen.append(log)
        raise UserError("enough")

    monkeypatch.setattr("benchmark.runs.run.run", run)
    assert main(["suite", "smoke", "--seed", "0", "--workers", "1", "--device", "cpu", "--quiet",
                 "--results", str(tmp_path), "--log", "tensorboard"]) == 2  # fmt: skip
    assert set(seen) == {"tensorboard"}


def test_a_log_that_there_is_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="tensorbord"):
        gantlet.run("sngan", "digits", results=tmp_path / "results", log="tensorbord")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else found(name, *rest)
    )
    for command in (arguments(tmp_path / "results"), ["suite", "smoke", "--log", "tensorboard"]):
        assert main(command) == 2
        message = capsys.readouterr().err
        assert "not installed" in message
        assert "pip install 'gantlet[tensorboard]'" in message
    assert not (tmp_path / "results").exists(), "before any work"
    require_log(None)


def test_callbacks_are_told_of_every_line_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, too: what a callback is told is what the log keeps."""
    from benchmark.runs import run as runs

    told: list[dict[str, float]] = []

    class Listening(runs.Snapshots):
        def logged(self, step: int, scalars: dict[str, float]) -> None:
            told.append({"step": step, **scalars})

    monkeypatch.setattr(runs, "Snapshots", Listening)
    assert main(without_log(tmp_path / "results")) == 0
    folder = outcome(tmp_path / "results").folder
    assert told == JsonLines(folder / "log.jsonl").read()
