"""The generated references have everything that the code has, and the site is built without a warning."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers import ROOT, environment

from benchmark.__main__ import parser
from benchmark.core.paths import REFERENCE
from benchmark.core.registry import method_names
from benchmark.data.cards import list_cards
from benchmark.evaluation.config import EvalConfig
from benchmark.metrics.catalogue import METRICS
from benchmark.runs.sample_files import real_path, samples_path, save_small_grid
from benchmark.training.measurements import Grid

# Files whose strict classes are read from files of the suite and are no settings
NO_SETTINGS = (
    "benchmark/drift",
    "benchmark/report",
    "benchmark/evaluation/published",
    "benchmark/training/stages/published",
)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, which is no package's."""
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generate: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The references, by name."""
    generate.OUT = tmp_path_factory.mktemp("docs") / "generated"
    generate.main()
    return {path.stem: path.read_text() for path in generate.OUT.glob("*.md")}


def test_every_command_and_option_is_listed(pages: dict[str, str]) -> None:
    (commands,) = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, command in commands.choices.items():
        section = pages["cli"].partition(f"## gantlet {name}\n")[2].partition("\n## ")[0]
        options = [
            option for action in command._actions for option in action.option_strings if option not in ("-h", "--help")
        ]
        assert [option for option in options if f"`{option}" not in section] == [], name


def test_metrics_datasets_and_methods_are_listed(pages: dict[str, str]) -> None:
    assert [row.id for row in METRICS if f"`{row.id}`" not in pages["metrics"]] == []
    assert [name for name in list_cards() if f"({name})=" not in pages["datasets"]] == []
    assert [name for name in method_names() if f"\n## {name}\n" not in pages["methods"]] == []
    results = pages["methods"].partition("### Results of biggan")[2].partition("\n## ")[0]
    assert (
        "| digits | **0.85 ± 0.29** | 0.717 ± 0.074 |".replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        in results
    )


def test_settings_have_type_default_and_comment(pages: dict[str, str]) -> None:
    section = pages["config"].partition("### EvalConfig")[2].partition("\n### ")[0]
    assert [name for name in EvalConfig.__dataclass_fields__ if f"| `{name}` |" not in section] == []
    assert "| `k` | int \\> 0 | `5` | Neighbours of precision, recall, density and coverage. |" in section
    assert "| `jpeg` | int ≥ 1, ≤ 95 or null | `null` |" in section, "`added` is no part of a default"


def test_every_setting_is_explained(generate: ModuleType) -> None:
    classes = [cls for cls in generate.config_classes() if not str(cls.path).startswith(NO_SETTINGS)]
    assert [f"{cls.path}: {f.name}" for cls in classes for f in cls.fields if not f.comment] == []


def test_links_out_of_docs_lead_to_copies(generate: ModuleType) -> None:
    text = generate.relinked("[a](../CONTRIBUTING.md#style) [b](https://x.y/z.md)", ROOT / "docs", ROOT / "docs")
    assert "CONTRIBUTING" not in text
    assert "#style" in text
    assert "(https://x.y/z.md)" in text


def test_a_method_shows_the_samples_of_its_records(generate: ModuleType, tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "generated"
    (results / "records").mkdir(parents=True)
    for path in (REFERENCE / "records").glob("digits-sngan-small-s*.json"):
        shutil.copy(path, results / "records")
    grids = sys.modules["generators.samples"]
    assert grids.samples_text("sngan", out, results) == "", "records without grids"
    assert not out.exists()
    records = grids._records("sngan", "small", results)
    assert [record.seed for record in records] == [0, 1, 2, 3, 4], "of the suite alone, not its ablations"
    grid = Grid(torch.linspace(-1, 1, 16).expand(8, 4, 1, 16, 16), [""] * 8, [""] * 4)
    save_small_grid(samples_path(results, records[1].run), grid)
    text = grids.samples_text("sngan", out, results)
    name = samples_path(results, records[1].run).name
    assert f"```{{image}} samples/{name}" in text
    assert "seed 1" in text, "the first that has one"
    assert ":width: 128px" in text, "twice 4 images of 16 px"
    assert (out / "samples" / name).read_bytes() == samples_path(results, records[1].run).read_bytes()
    assert "Real images" not in text
    sha256 = records[0].result_or_empty.data.sha256
    assert sha256
    save_small_grid(real_path(results, "digits", sha256), grid)
    text = grids.samples_text("sngan", out, results)
    assert text.index(":alt: Real images: digits") < text.index(":alt: Samples of sngan: digits, seed 1")
    assert grids.samples_text("biggan", out, results) == ""
    assert grids.samples_text("mgan", out, results) == "", "not in this size of the suite"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    pytest.importorskip("furo", reason="the extra `docs` is not installed")
    pytest.importorskip("myst_parser", reason="the extra `docs` is not installed")
    where = [str(ROOT / "docs"), str(tmp_path / "html")]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", *where],
        env=environment(PYTHONPATH=":".join([str(ROOT), *filter(None, sys.path)])), capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "html" / "generated" / "config.html").is_file()
