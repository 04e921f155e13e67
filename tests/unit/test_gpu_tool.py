"""`make gpu-check`, on the CPU: it survives a kill, goes on where it stopped, and one item's end is not another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_check
import gpu_children
import gpu_curves
import gpu_jobs
import gpu_timing
import pytest
import torch
from gpu_session import Item
from helpers import ROOT, environment
from torch import Tensor, nn

from benchmark.core.files import read_json
from benchmark.training.method import construct, find_method

TOOL = ROOT / "tests" / "tools" / "gpu_check.py"
TINY = ["--device", "cpu", "--steps", "2", "--window", "0.05", "--recipe", "small", "--engines", "fp32", "graphed"]
PARTS = ["--parts", "peak", "curves", "check", "speed"]


def until(condition: Any, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def processes_of(folder: Path) -> list[str]:
    """Processes, forks too, that have the folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass  # it has ended meanwhile
    return found


@pytest.mark.slow
def test_a_killed_session_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), *TINY, *PARTS, "--methods", "dcgan", "infoscc", "--minutes", "30"]
    command += ["--out", str(tmp_path)]
    done = tmp_path / ".state" / "cpu-2-small-0.05" / "peak.json"
    killed = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    try:
        until(done.exists, 200, "no item was finished")
        until((tmp_path / ".state" / "work" / "whole").exists, 60, "the next one was not begun")
    finally:
        killed.kill()
        killed.wait()
    until(lambda: not processes_of(tmp_path), 20, "its children live on")
    before = done.read_bytes()
    page = (tmp_path / "cpu.md").read_text()
    assert "Not run yet" in page
    assert "not_run" in read_json(tmp_path / "cpu.json")

    ended = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert done.read_bytes() == before, "what was finished was run again"
    assert "peak ..." not in ended.stdout
    found = read_json(tmp_path / "cpu.json")
    assert found["not_run"] == []
    by_name = {item["item"]: item for item in found["items"]}
    listed = [
        item.name for item in gpu_check.items(["dcgan", "infoscc"], PARTS[1:], ["fp32", "graphed"])
    ]  # after --parts
    assert list(by_name) == listed
    for name, item in by_name.items():
        assert item["status"] == ("refused" if "graph" in name else "done"), item
        assert ("CUDA graphs need a CUDA device" in item["reason"]) == ("graph" in name)
    for method in ("dcgan", "infoscc"):
        check = by_name[f"check-{method}-fp32"]["value"]
        assert check["finite"]
        assert check["resume"]["equal"]
        assert check["resume"]["tensors"] > 20
        assert check["curves"]["losses"] > 0
        assert by_name[f"speed-{method}-fp32"]["value"]["ms"] > 0
    page = (tmp_path / "cpu.md").read_text()
    for words in ("| infoscc | fp32 | yes |", "## Refused", "This is no card", "check-dcgan-graphed: CUDA graphs"):
        assert words in page
    assert "Not run yet" not in page


# ---- without training -----------------------------------------------------------------------------------------------


def call(folder: Path, *more: str) -> int:
    return gpu_check.main([*TINY, "--out", str(folder), "--parts", "speed", "--methods", "dcgan", "sngan", *more])


def test_an_item_that_fails_or_dies_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def speed(name: str, engine: dict[str, str], **_: Any) -> dict[str, Any]:
        if name == "dcgan" and engine["capture"] == "none":
            raise ValueError("first line\nsecond line")
        if name == "dcgan":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"ms": 2.0, "images_s": 1.0, "batch": 1, "peak_mb": 1.0, "first_s": 0.0}

    monkeypatch.setattr(gpu_timing, "speed", speed)
    assert call(tmp_path) == 1
    by_name = {item["item"]: item for item in read_json(tmp_path / "cpu.json")["items"]}
    assert by_name["speed-dcgan-fp32"]["reason"] == "ValueError: first line"
    assert by_name["speed-dcgan-fp32-graph"]["reason"].startswith("ended by SIGKILL")
    assert by_name["speed-sngan-fp32"]["status"] == "done"
    assert "- speed-dcgan-fp32: ValueError: first line" in (tmp_path / "cpu.md").read_text()
    (messages,) = (tmp_path / ".state").glob("cpu-*/speed-dcgan-fp32.txt")
    assert "second line" in messages.read_text()

    monkeypatch.setattr(gpu_timing, "speed", lambda **_: {"ms": 3.0, **dict.fromkeys(
        ("images_s", "batch", "peak_mb", "first_s"), 1.0)})  # fmt: skip
    assert call(tmp_path) == 1, "what failed is not run again unless it is asked for"
    assert call(tmp_path, "--retry") == 0
    ms = {item["item"]: item["value"]["ms"] for item in read_json(tmp_path / "cpu.json")["items"]}
    assert ms["speed-dcgan-fp32"] == 3.0
    assert ms["speed-sngan-fp32"] == 2.0, "what was done is not done again"


def test_it_stops_before_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_timing, "speed", lambda **_: time.sleep(60))
    began = time.monotonic()
    assert call(tmp_path, "--minutes", "0.05") == 1
    assert time.monotonic() - began < 3
    found = read_json(tmp_path / "cpu.json")
    assert [(item["item"], item["status"]) for item in found["items"]] == [("speed-dcgan-fp32", "cut")]
    assert "needs more than 0.05 minutes" in (tmp_path / "cpu.md").read_text()
    assert len(found["not_run"]) == 3


def test_a_session_that_runs_keeps_others_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gpu_check.lock(tmp_path / ".state" / "lock", "it", wait=False):
        assert call(tmp_path) == 3
    assert "is being worked on" in capsys.readouterr().err


def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu_children, "has_card", lambda: False)
    assert gpu_check.main([]) == 2
    error = capsys.readouterr().err
    assert "no CUDA device" in error
    assert "--device cpu" in error
    assert gpu_check.main(["--methods", "infosc"]) == 2
    assert "infoscc" in capsys.readouterr().err


def test_the_papers_come_first_and_compilers_last() -> None:
    methods = ["acgan", "icgan", "sngan", "infoscc"]
    listed = gpu_check.items(methods, gpu_check.PARTS, list(gpu_check.ENGINES))
    place = {item.name: number for number, item in enumerate(listed)}
    assert len(place) == len(listed), "names are files: no two are equal"
    assert place["check-icgan-graphed"] < place["evaluation-judge"] < place["check-infoscc-compiled"]
    assert place["speed-icgan-bf16-compile"] < place["curves-icgan"] < place["check-acgan-fp32"]
    assert sum(item.part == "speed" for item in listed) == 9 * len(methods)
    assert gpu_check.items(["sngan"], ["check"], ["bf16"]) == [Item("check", "sngan", "bf16")]


def log(*values: float, name: str = "D") -> list[dict[str, Any]]:
    return [{"step": step, "images": step, name: value} for step, value in enumerate(values, 1)]


def test_the_criterion_of_curves() -> None:
    a, b = log(9, 9, 1.0, 1.2), log(9, 9, 1.1, 1.3)
    # Means 1.1 and 1.2: by the seeds s^2 = 0.1^2 / 2, by the lines 0.02 / 2: the larger one, s = 0.1, counts.
    found = gpu_curves.compare(a, b, log(0, 0, 1.5, 1.5), steps=4)
    tolerance = 4 * 0.1 * 1.5**0.5 + 0.01 * 1.15 + 1e-6
    assert found["ok"]
    assert found["few"]
    long = log(*([1.0, 1.2] * 10))
    assert not gpu_curves.compare(long, long, long, steps=20)["few"]
    assert found["tolerance"] == pytest.approx(tolerance)
    assert found["ratio"] == pytest.approx(0.35 / tolerance)
    outside = 1.15 + 1.001 * tolerance
    assert not gpu_curves.compare(a, b, log(0, 0, outside, outside), steps=4)["ok"]
    assert not gpu_curves.compare(a, b, log(0, 0, -1.1, -1.2), steps=4)["ok"], "a wrong sign"
    other = gpu_curves.compare(a, b, log(1, 1, 1.1, 1.2, name="G"), steps=4)
    assert not other["ok"]
    assert other["missing"] == ["D", "G"]


def test_two_devices_start_from_the_same_weights(tmp_path: Path) -> None:
    """The start of a card's run: a method built anew, by another seed, gets the CPU's weights, frozen ones too."""
    data, cfg = gpu_jobs.pictures(), gpu_jobs.recipe("infoscc", "small")[0]
    first = gpu_jobs.begin("infoscc", cfg, data, torch.device("cpu"), tmp_path)
    cls = find_method("infoscc").cls
    stages = cls.stages(gpu_jobs.Untrained(data, tmp_path / "cpu", torch.device("cpu"), quiet=True), cfg)
    other = construct(cls, cfg, data, torch.device("cpu"), 1, **gpu_jobs.moved(stages, torch.device("cpu")))
    for parameter in other.E.parameters():  # type: ignore[attr-defined]
        parameter.add_(1)
    assert not same(first.G, other.G)
    gpu_jobs.start_like(first, other)
    for name in ("G", "D", "E"):
        assert same(getattr(first, name), getattr(other, name)), name


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_what_stages_make_is_moved() -> None:
    @dataclass(frozen=True)
    class Made:
        h: Tensor
        y: Tensor | None = None

    meta = torch.device("meta")
    found = gpu_jobs.moved({"a": Made(torch.ones(1)), "b": (torch.ones(2), nn.Linear(1, 1)), "c": 3}, meta)
    assert found["a"].h.device == found["b"][0].device == found["b"][1].weight.device == meta
    assert found["a"].y is None
    assert found["c"] == 3
