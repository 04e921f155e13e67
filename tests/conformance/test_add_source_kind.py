"""One file adds a kind of source: cards, preparation, records and tables have it without another line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, TINY, environment, run_arguments

KIND = '''"""Drawn stripes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.data.sources.base import Count, Seed, SourceImages, SourceKind

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stripes(SourceKind):
    """Stripes, 16x16 grey, of two classes: horizontal and vertical ones."""

    kind: Literal["stripes"] = "stripes"
    n_train: Count = 80  # pictures
    n_test: Count = 60  # pictures
    seed: Seed = 0  # of the drawing

    serves = ("class",)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        import numpy as np
        from PIL import Image

        n = self.n_train + self.n_test
        labels = np.arange(n) % 2

        def read(i: int) -> Image.Image:
            rng = np.random.default_rng([self.seed, i])
            rows = np.repeat(rng.integers(256, size=(16, 1), dtype=np.uint8), 16, axis=1)
            return Image.fromarray(np.ascontiguousarray(rows.T) if labels[i] else rows)

        return SourceImages(
            names=[f"stripes/{i}" for i in range(n)],
            read=read,
            where=lambda i: f"stripes {i}",
            is_test=np.arange(n) >= self.n_train,
            split_rule=f"the first {self.n_train} drawn are train, the next {self.n_test} test",
            labels=labels,
            class_names=("horizontal", "vertical"),
        )
'''
CARD = """
name: stripes
title: Drawn stripes
source: {kind: stripes, seed: 3}
resolution: 16
channels: 1
conditioning: class
n_classes: 2
flip_ok: true
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the suite with the kind's file added, and a card beside it."""
    root = tmp_path_factory.mktemp("package")
    for name in ("benchmark", "methods", "datasets"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "benchmark" / "data" / "sources" / "stripes.py").write_text(KIND)
    (root / "stripes.yaml").write_text(CARD)
    return root


def done(package: Path, *command_lines: list[str]) -> subprocess.CompletedProcess[str]:
    """Command lines of the copy, in one process that imports everything once; it ends at the first that fails."""
    code = "import sys\nfrom benchmark.__main__ import main\n"
    code += f"for words in {command_lines!r}:\n    if status := main(words):\n        sys.exit(status)"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=package, env=environment(PYTHONPATH=str(package)), timeout=200,
    )  # fmt: skip


def test_a_file_adds_a_kind_of_source(package: Path) -> None:
    results = package / "results"
    prepare = ["prepare", "--dataset", "stripes.yaml", "--results", str(results), "--quiet"]
    run = run_arguments(results, TINY, method="dcgan", dataset="stripes.yaml")
    ended = done(package, prepare, run, ["table", "--results", str(results)])
    assert ended.returncode == 0, ended.stderr

    (folder,) = (results / "artifacts" / "data").glob("stripes-*")
    images, labels = np.load(folder / "train.npy"), np.load(folder / "train_labels.npy")
    assert images.shape == (80, 16, 16, 1)
    vertical = (images == images[:, :1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(vertical, labels == 1)

    (path,) = (results / "records").glob("*.json")
    record = json.loads(path.read_text())
    source = record["config"]["data"]["source"]
    assert source == {"kind": "stripes", "n_train": 80, "n_test": 60, "seed": 3}
    values = {value["id"]: value for value in record["result"]["values"]}
    assert values["fd_judge"]["status"] == "ok"
    assert values["fd_judge"]["protocol"]["dataset"] == "stripes"
    assert "dcgan" in (results / "tables" / "stripes.md").read_text().lower()


def test_mistakes_in_its_cards_are_named(package: Path) -> None:
    (package / "bad.yaml").write_text(CARD.replace("seed: 3", "n_trian: 5"))
    ended = done(package, ["prepare", "--dataset", "bad.yaml"])
    assert ended.returncode == 2
    assert "n_trian: unknown key; did you mean 'n_train'?" in ended.stderr
    (package / "bad.yaml").write_text(CARD.replace("kind: stripes", "kind: stripse"))
    ended = done(package, ["prepare", "--dataset", "bad.yaml"])
    assert "source.kind: 'stripse' is not a kind of source" in ended.stderr
    assert "did you mean 'stripes'?" in ended.stderr
