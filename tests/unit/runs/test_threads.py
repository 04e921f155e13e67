"""How many threads a run has when nobody says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core import distributed
from benchmark.runs import device
from benchmark.runs.device import n_cores, threads_alone
from benchmark.runs.spec import Paths, Resolved, RunSpec, resolve


def resolved(recipe: str, tmp_path: Path) -> Resolved:
    dataset = "digits" if recipe == "small" else "cifar10"
    return resolve(RunSpec("sngan", dataset, 0, recipe), Paths(tmp_path, tmp_path))


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_a_small_run_alone_has_two_threads_where_two_cores_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, expected in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(device, "n_cores", lambda cores=cores: cores)
        assert threads_alone(resolved("small", tmp_path), None) == expected
    assert threads_alone(resolved("paper", tmp_path), None) is None


def test_what_is_asked_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_alone(resolved("small", tmp_path), 1) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_alone(resolved("small", tmp_path), None) is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(distributed, "world", lambda: 2)
    assert threads_alone(resolved("small", tmp_path), None) is None


def test_cores_are_those_that_the_process_may_use() -> None:
    assert 1 <= n_cores() <= (os.cpu_count() or 1)


def test_waiting_threads_of_the_command_line_soon_sleep() -> None:
    program = (
        "import os, sys\nfrom benchmark.__main__ import main\ntry:\n main(['--version'])\nexcept SystemExit:\n pass\n"
    )
    program += "assert 'torch' not in sys.modules\nprint(os.environ['GOMP_SPINCOUNT'])"
    free = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    for given, expected in (({}, "5000"), ({"GOMP_SPINCOUNT": "77"}, "77")):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**free, **given})
        assert done.stdout.split()[-1] == expected, done.stderr
