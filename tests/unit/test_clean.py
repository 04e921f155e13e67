"""`make clean` removes runs and artefacts of a results folder, and nothing of anything else.

Values that could hurt are tried by the guard alone or with --dry-run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
from clean import main, refusal


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A results folder with everything."""
    folder = tmp_path / "my results"
    for part in ("records", "tables", "runs/digits/sngan/small-s0-0", "artifacts/digits"):
        (folder / part).mkdir(parents=True)
        (folder / part / "file").write_text("")
    return folder


def make(results: str, *more: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "clean", f"RESULTS={results}", *more]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def test_runs_and_artefacts_go_and_records_stay(mine: Path) -> None:
    assert make(str(mine), "DRY_RUN=1").stdout.count("would remove") == 2
    assert (mine / "runs").exists()
    assert make(str(mine)).returncode == 0
    assert sorted(path.name for path in mine.iterdir()) == ["records", "tables"]
    assert make(str(mine)).returncode == 0, "nothing is left to remove"


@pytest.mark.parametrize(
    "value",
    ["", " ", "/", "//", "/..", ".", "..", "/tmp/..", "$(HOME)", "$$HOME", "missing", "~", '"', "'; echo hit; '",
     '" ; echo hit; "', "`echo hit`", "$$(echo hit)"],
)  # fmt: skip
def test_what_is_no_results_folder_is_refused(value: str) -> None:
    """Run by make itself, without removing anything whatever it says."""
    ended = make(value, "DRY_RUN=1")
    assert ended.returncode == 2, ended.stdout
    assert "nothing was removed" in ended.stderr
    assert "would remove" not in ended.stdout
    assert "hit\n" not in ended.stdout, "no shell reads it"


def test_the_guard_looks_at_what_a_folder_is(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(str(mine)) == ""
    stranger = tmp_path / "stranger"
    (stranger / "runs" / "marathon").mkdir(parents=True)
    assert "no results folder" in refusal(str(stranger))
    assert main(str(stranger)) == 2
    assert (stranger / "runs" / "marathon").exists()
    (stranger / ".git").mkdir()
    (stranger / "records").mkdir()
    assert "no results folder" in refusal(str(stranger))
    monkeypatch.chdir(mine / "runs")
    assert refusal("..") != ""
    monkeypatch.chdir(tmp_path)
    (mine / "artifacts").rename(tmp_path / "elsewhere")
    (mine / "artifacts").symlink_to(tmp_path / "elsewhere")
    assert "a link" in refusal(str(mine))
    assert main(str(mine)) == 2
    assert (tmp_path / "elsewhere" / "digits").exists()
