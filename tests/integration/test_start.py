"""What a command imports before it works: nothing heavy to answer a question, and nothing that only some runs use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers import environment

SECONDS = {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "pandas", "numpy", "torch_fidelity", "submitit"}
RARE = {
    "torchvision",
    "sklearn",
    "joblib",
    "torch_fidelity",
    "cleanfid",
    "lpips",
    "pandas",
    "submitit",
    "efficientnet_lite_pytorch",
}


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh process has after this code, however that ends."""
    after = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    words = [sys.executable, "-c", f"try:\n    {code}\nexcept SystemExit: pass\n{after}"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["plan", "--help"],
        ["list"],
        ["run", "--sede", "1"],
        ["run", "--method", "sngna"],
        ["run", "--dataset", "digts"],
        ["plan", "--suite", "smoek"],
        ["suite", "smoke", "--size", "huge"],
    ],
)
def test_an_answer_imports_nothing_heavy(words: list[str]) -> None:
    found = loaded(f"from benchmark.__main__ import main; main({words})")
    assert "benchmark" in found
    assert not found & SECONDS


def test_a_run_imports_only_what_every_run_needs() -> None:
    found = loaded(
        "import benchmark.runs.run, benchmark.runs.plan, benchmark.training.stages.neighbours, "
        "benchmark.training.stages.clustering"
    )
    assert {"torch", "numpy"} <= found, "the check sees what is there"
    assert not found & RARE


def test_help_reads_no_configuration() -> None:
    """pydantic alone takes a fifth of a second to load."""
    found = loaded("from benchmark.__main__ import main; main(['--help'])")
    assert "benchmark" in found
    assert "pydantic" not in found
