"""Weights that are there and are not the expected file: refused before training, whatever their first digits are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.core.errors import WeightsError
from benchmark.metrics.extractors import weights as module
from benchmark.metrics.extractors.weights import INCEPTION_DIGITS, INCEPTION_FILE, INCEPTION_NAMES, find_weights
from benchmark.runs.spec import Paths, RunSpec, missing, require_files, resolve


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch hub folder with a file of Inception's name, and no GANTLET_WEIGHTS."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / INCEPTION_FILE).write_bytes(b"other weights")
    return folder


def test_the_whole_hash_is_known_and_begins_as_the_names_end() -> None:
    assert len(INCEPTION_DIGITS) == 64
    assert all(name.endswith(f"-{INCEPTION_DIGITS[:8]}.pth") for name in INCEPTION_NAMES)


@pytest.mark.parametrize("n", [0, 8, 32, 63])
def test_a_hash_that_only_begins_right_is_refused(n: int, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = INCEPTION_DIGITS[:n] + "".join("0" if digit != "0" else "1" for digit in INCEPTION_DIGITS[n:])
    monkeypatch.setattr(module, "sha256_file", lambda _: digits)
    for name in ("inception", "inception-clean"):
        with pytest.raises(WeightsError, match=f"(?s)not the expected file.*{digits}, expected {INCEPTION_DIGITS}:"):
            find_weights(name)


@pytest.mark.parametrize("extractor", ["inception", "inception-clean"])
def test_wrong_weights_are_refused_before_training(extractor: str, hub: Path, tmp_path: Path) -> None:
    changes = {"eval": {"extractors": [extractor], "missing_weights": "refuse"}}
    paths = Paths(tmp_path / "data", tmp_path / "results")
    resolved = resolve(RunSpec("sngan", "digits", 0, changes=changes), paths)
    (problem,) = missing(resolved, paths)
    assert "not the expected file" in str(problem)
    with pytest.raises(WeightsError, match="not the expected file"):
        require_files(resolved, paths)
