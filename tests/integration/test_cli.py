"""The command line, as a user has it: verbs, exit statuses, what a run leaves and prints."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import INFOSCC, Finished, environment, run_arguments
from PIL import Image

import benchmark.runs.run
import methods
from benchmark.__main__ import main
from benchmark.commands.looking import summary_of
from benchmark.core.registry import method_names
from benchmark.core.signals import Ended, signals_raised
from benchmark.runs.records import Record
from benchmark.training.method import find_method


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for section in ("methods:", "datasets:", "metrics:", "suites:"):
        assert section in text
    for name in (*method_names(), "digits", "shapes", "celeba", "afhq"):
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", method_names())
def test_a_method_is_listed_by_its_docstring(name: str) -> None:
    assert summary_of(name) == find_method(name).summary
    assert len(summary_of(name)) > 10


def test_a_method_file_laid_out_in_another_way_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = "from benchmark.training import method\nclass Config: ...\nRECIPES = {}\nclass Odd(method.Method):\n"
    text = f'{shape}    """An odd one."""\n'
    (tmp_path / "odd_one.py").write_text(text)
    monkeypatch.setattr("methods.__path__", [*methods.__path__, str(tmp_path)])
    assert summary_of("odd_one") == "An odd one."


def test_a_run_prints_its_row_and_leaves_its_folder(finished: Finished) -> None:
    assert "infoscc on digits, recipe small, seed 0: done" in finished.stdout
    assert "FD-judge" in finished.stdout
    assert str(finished.outcome.folder) in finished.stdout
    assert finished.stderr == "", "quiet means quiet"
    left = finished.outcome
    names = {path.name for path in left.folder.iterdir()}
    assert {
        "config.yaml",
        "env.json",
        "log.jsonl",
        "checkpoint.pt",
        "generator.pt",
        "samples.png",
        "curves.png",
    } <= names
    results = left.folder.parents[3]
    small = results / "samples" / f"{left.record['run']}.webp"
    assert 0 < small.stat().st_size < 10_000
    (real,) = (results / "samples" / "real").glob("digits-*.webp")
    assert Image.open(small).size == Image.open(real).size == (4 * 16, 8 * 16)
    assert len(list((left.folder / "traversals").glob("L*_D*.png"))) == 2 * 6  # layers of 16 px, dimensions
    config = yaml.safe_load((left.folder / "config.yaml").read_text())
    assert config["config"] == left.record["config"]["config"]
    assert left.folder.name == f"small-s0-{left.record['config_hash'][:8]}"
    assert left.record["changes"]["encoder"]["steps"] == 6
    assert [json.loads(line)["step"] for line in left.log] == [2, 4, 6, 8, 10, 12]


def test_a_finished_run_is_shown_not_repeated(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was done")

    monkeypatch.setattr(benchmark.runs.run, "make_plan", never)
    assert main(finished.arguments) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    (found,) = (line for line in lines if "found:" in line)
    assert found.endswith("; nothing was trained")
    lines.remove(found)
    assert [line.split() for line in lines] == [line.split() for line in finished.stdout.splitlines()]


def test_a_record_of_other_pictures_is_not_shown_as_if_it_were_of_these(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = benchmark.runs.run.prepare_for

    def changed(*arguments: Any, **options: Any) -> Any:
        return replace(plain(*arguments, **options), sha256="0" * 64)

    monkeypatch.setattr(benchmark.runs.run, "prepare_for", changed)
    assert main(finished.arguments) == 2
    assert "made of other images" in capsys.readouterr().err


def test_plan_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = run_arguments(tmp_path, INFOSCC)
    assert main(["plan", *words[1:]]) == 0
    text = capsys.readouterr().out
    assert "infoscc on digits (16 px), recipe small, seed 0, on cpu" in text
    for part in ("SimCLR", "Classifier", "infoscc", "Judge", "evaluation", "in all about"):
        assert part in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "seeds"), [([], None), (["--seed", "3", "4"], [3, 4])])
def test_a_suite_s_plan_is_of_the_seeds_asked_for(
    words: list[str], seeds: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[Any] = []
    monkeypatch.setattr(
        "benchmark.runs.suites.cost.suite_plan", lambda *_, **settings: planned.append(settings["seeds"])
    )
    assert main(["plan", "--suite", "compare", "--device", "cpu", *words]) == 0
    assert planned == [seeds]


def test_sample_writes_what_was_asked(finished: Finished, tmp_path: Path) -> None:
    words = ["sample", *finished.arguments[1:]]
    for folder in ("a", "b"):
        assert (
            main(
                [
                    *words[: words.index("--set")],
                    "--n",
                    "7",
                    "--out",
                    str(tmp_path / folder),
                    *words[words.index("--set") :],
                ]
            )
            == 0
        )
    rows = list(csv.DictReader((tmp_path / "a" / "asked.csv").open()))
    assert [row["file"] for row in rows] == [f"{i:06d}.png" for i in range(7)]
    assert all(0 <= int(row["asked"]) < 10 for row in rows)
    with Image.open(tmp_path / "a" / "000000.png") as picture:
        assert (picture.size, picture.mode) == ((16, 16), "L")
    for row in rows:
        assert (tmp_path / "a" / row["file"]).read_bytes() == (tmp_path / "b" / row["file"]).read_bytes()


def test_sample_of_one_class(finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sample", *finished.arguments[1:], "--n", "3", "--out", str(tmp_path)]
    assert main([*words, "--class", "4"]) == 0
    assert [row["asked"] for row in csv.DictReader((tmp_path / "asked.csv").open())] == ["4"] * 3
    capsys.readouterr()
    assert main([*words, "--class", "11"]) == 2
    assert "0 to 9" in capsys.readouterr().err
    assert main([*words, "--attributes", "1,0"]) == 2
    assert "use --class" in capsys.readouterr().err


def test_prepare_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--dataset", "digits", "--results", str(tmp_path), "--quiet"]) == 0
    assert "digits: 1198 train, 599 test, 16 px grey, 10 class" in capsys.readouterr().out
    assert main(["prepare", "--dataset", "digts", "--results", str(tmp_path)]) == 2


def test_several_seeds_and_methods_are_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(resolved: Any, paths: Any, **_: Any) -> Record:
        spec = resolved.spec
        ran.append((spec.method, spec.seed))
        status = "failed" if spec.seed == 1 else "done"
        return Record.model_validate({"schema": 1, "run": "it", "status": status, "reason": "", "result": None,
            "recipe": "small", "dataset": "digits", "method": spec.method, "seed": spec.seed})  # fmt: skip

    monkeypatch.setattr(benchmark.runs.run, "run", run)
    words = ["run", "--method", "sngan", "eigengan", "--seed", "0", "1", "--results", str(tmp_path), "--device", "cpu"]
    assert main(words) == 1, "the exit status is the worst run's"
    assert ran == [("sngan", 0), ("sngan", 1), ("eigengan", 0), ("eigengan", 1)]


def test_ctrl_c_says_how_to_continue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark.runs.run, "run", interrupted)
    assert main(["run", "--device", "cpu", "--results", "never"]) == 130
    assert "the same command goes on from what is saved" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_suite_that_is_terminated_closes_what_is_open(
    number: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = []

    def run_suite(*_: Any, **__: Any) -> int:
        try:
            os.kill(os.getpid(), number)
            signal.sigtimedwait([], 1)  # returns at once when a signal was handled
            raise AssertionError("it goes on")
        finally:
            closed.append(signal.getsignal(number))

    monkeypatch.setattr("benchmark.runs.suites.running.run_suite", run_suite)
    assert main(["suite", "smoke", "--device", "cpu", "--results", "never"]) == status
    assert closed == [signal.SIG_DFL], "a second one ends it at once"
    assert signal.getsignal(number) is signal.SIG_DFL
    assert "the same command goes on from what is saved" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["list"], ["drift", "--quiet"]])  # more than a buffer, and less
def test_a_reader_that_has_enough_gets_no_traceback(verb: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "benchmark", *verb]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr(benchmark.runs.run, "run", broken)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        main(["run", "--device", "cpu", "--results", "never"])


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals_raised():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Ended, match="SIGTERM"):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("words", [["nonsense"], [], ["run", "--sede", "1"], ["run", "--seed", "x"], ["sample"]])
def test_unknown_words_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
