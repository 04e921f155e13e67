"""One file and one row add a metric of two sets of images: `list`, records and tables have it without another line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import DIGITS, ROOT, TINY, environment, run_arguments

FILE = '''"""The distance of the mean features of two sets."""

from __future__ import annotations

import numpy as np

from benchmark.metrics.sets import FeatureSets, SetNumber


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The distance, by the stem of its id."""
    distance = float(np.linalg.norm(sets.real.mean(0) - sets.fake.mean(0)))
    return {"centroid": SetNumber(distance, {"norm": "Euclidean"}, {"dim": sets.real.shape[1]})}
'''
ROW = """    MetricRow(
        "centroid_X", "Centroid-X", "lower", "distance of the mean features; lower is better", ("features",), "ours",
        scale="log", headline=True, compute="benchmark.metrics.centroid:of_sets",
    ),
"""
BEFORE = '    MetricRow(\n        "intra_fd_X"'


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the suite with the metric added."""
    root = tmp_path_factory.mktemp("package")
    for name in ("benchmark", "methods", "datasets"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "benchmark" / "metrics" / "centroid.py").write_text(FILE)
    catalogue = root / "benchmark" / "metrics" / "catalogue.py"
    text = catalogue.read_text()
    assert text.count(BEFORE) == 1
    catalogue.write_text(text.replace(BEFORE, ROW + BEFORE))
    return root


def printed(package: Path, *command_lines: list[str]) -> str:
    """What command lines of the copy print, in one process: it imports everything once."""
    code = f"from benchmark.__main__ import main\nfor words in {command_lines!r}:\n    assert main(words) == 0, words"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=package, env=environment(PYTHONPATH=str(package)), timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_and_a_row_add_a_metric(package: Path) -> None:
    results = package / "results"
    run = run_arguments(results, [*TINY, *DIGITS], method="dcgan")
    listed = printed(package, ["list"], run, ["table", "--results", str(results)])
    assert "\n  centroid_X             distance of the mean features; lower is better\n" in listed
    (path,) = (results / "records").glob("*.json")
    values = {value["id"]: value for value in json.loads(path.read_text())["result"]["values"]}
    value = values["centroid_judge"]
    assert (value["name"], value["better"], value["status"]) == ("Centroid-judge", "lower", "ok")
    assert value["value"] > 0
    assert value["protocol"]["norm"] == "Euclidean"
    assert value["protocol"]["extractor"] == values["fd_judge"]["protocol"]["extractor"]
    assert set(value["details"]) == {"dim", "controls"}, "damaged real images have it, too"
    assert value["details"]["controls"].keys() == values["fd_judge"]["details"]["controls"].keys()
    ids = list(values)
    assert ids.index("coverage_judge") < ids.index("centroid_judge") < ids.index("chamfer_judge"), "the rows' order"
    head = (results / "tables" / "digits.md").read_text().split("| Method", 1)[1].splitlines()[0]
    assert "Centroid-judge" in head, "its row says that it is of the headline"
