"""`make test-slurm` says what it lacks, before it starts anything."""

from __future__ import annotations

import sys

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
import slurm_test


def test_it_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(slurm_test, "one_node", lambda folder: pytest.fail("it started something"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert slurm_test.main() == 2
    assert "need root" in capsys.readouterr().err
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(slurm_test, "PATH", "")
    assert slurm_test.main() == 2
    error = capsys.readouterr().err
    assert "no munged, slurmctld" in error
    assert "apt-get install" in error


def test_ports_in_a_row_are_free() -> None:
    ports = slurm_test.free_ports(5)
    assert ports == list(range(ports[0], ports[0] + 5))
