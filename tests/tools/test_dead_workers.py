"""A test run whose worker dies, or hangs, ends with an error: it neither waits for ever nor passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, environment

DEADLY = {
    "dies": "import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGSEGV)\n",
    "hangs": "import pytest, time\n@pytest.mark.timeout(2)\ndef test_it(): time.sleep(600)\n",
}


@pytest.mark.parametrize("way", DEADLY)
def test_the_run_ends_with_an_error(way: str, tmp_path: Path):
    (tmp_path / "test_deadly.py").write_text(DEADLY[way])
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    options = make_test_options()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-n", "2",
         *options, str(tmp_path)],
        capture_output=True, text=True, env=environment(), timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode not in (0, 5), done.stdout
    assert "crashed while running" in done.stdout


def make_test_options() -> list[str]:
    """The options that decide this, as `make test` gives them."""
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TEST ")]
    return [part for part in line.split() if part.startswith("--max-worker") or part in ("--dist", "loadfile")]
