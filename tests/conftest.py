"""One thread for every test, and what several test files share: a finished run, a server of doomed ones, a suite."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; sub-processes inherit it

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import Finished, RunServer, finish_run
from made_suites import SUITE, FakeRuns

from benchmark.runs import records
from benchmark.runs.spec import Paths

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A small run of InfoSCC-GAN on digits, made by the command line in a process of its own; not to be changed."""
    return finish_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def server() -> Iterator[RunServer]:
    """Runs command lines in processes that can be made to die or to pause at a named point."""
    with RunServer() as running:
        yield running


@pytest.fixture
def results(finished: Finished, tmp_path: Path) -> Path:
    """A fresh results folder with the prepared digits in it."""
    return finished.seeded(tmp_path / "results")


@pytest.fixture
def suite_file(tmp_path: Path) -> str:
    """A suite of two rows and two seeds."""
    (tmp_path / "two.yaml").write_text(SUITE)
    return str(tmp_path / "two.yaml")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Empty folders for data and results."""
    return Paths(tmp_path / "data", tmp_path / "results")


@pytest.fixture
def quick_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking git and every package for its version takes most of some tests' time, and no table shows it."""
    monkeypatch.setattr(records, "environment", lambda: {"python": "3", "libraries": {}})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    """Records in the place of training."""
    return FakeRuns(monkeypatch)
