"""The built wheel holds every file that the package reads, and the main job runs from it outside of a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from helpers import ROOT

from benchmark import list_datasets, list_methods, list_suites
from benchmark.core import paths

CARDS = "benchmark/_cards"


def needed(root: Path) -> set[str]:
    """What a wheel must have of a checkout: both packages whole, and dataset configs where the package finds them."""
    packages = [path for name in ("benchmark", "methods") for path in (root / name).rglob("*") if path.is_file()]
    names = {path.relative_to(root).as_posix() for path in packages if "__pycache__" not in path.parts}
    return names | {f"{CARDS}/{path.name}" for path in (root / "datasets").glob("*.yaml")}


def problems(names: Iterable[str], root: Path = ROOT) -> list[str]:
    """Files that a wheel lacks, or has beside what it needs; its metadata apart."""
    own = {name for name in names if ".dist-info/" not in name}
    wanted = needed(root)
    return [f"missing: {name}" for name in sorted(wanted - own)] + [f"stray: {name}" for name in sorted(own - wanted)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_the_wheel_has_every_file_that_the_package_reads(names: list[str]) -> None:
    assert problems(names) == []
    folders = (paths.SUITES, paths.EVALUATORS, paths.BASELINES, paths.FROZEN, paths.TEMPLATES)
    read = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(ROOT).as_posix() for path in read} <= set(names)
    (licence,) = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert licence


@pytest.mark.parametrize(
    "lost",
    [
        f"{CARDS}/digits.yaml",
        "benchmark/runs/suites/smoke.yaml",
        "benchmark/report/templates/report.html",
        "benchmark/report/coverage.yaml",
        "benchmark/evaluation/evaluators/digits-judge.safetensors",
        "benchmark/evaluation/evaluators/index.yaml",
        "benchmark/drift/frozen/networks.npz",
        "benchmark/py.typed",
        "methods/recipes/sngan.py",
    ],
)
def test_a_file_that_is_lost_is_found_missing(lost: str, names: list[str]) -> None:
    assert problems([name for name in names if name != lost]) == [f"missing: {lost}"]
    assert problems([*names, "benchmark/scratch.txt"]) == ["stray: benchmark/scratch.txt"]


def test_the_unpacked_wheel_lists_what_the_checkout_does(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    code = """if True:
        import sys, benchmark
        from benchmark.core import paths
        from benchmark.evaluation.published import index, read_tensors
        assert paths.PACKAGE.is_relative_to(sys.argv[1]), paths.PACKAGE
        for file in index().files.values():
            assert read_tensors(file)
        print(*benchmark.list_methods(), *benchmark.list_datasets(), *benchmark.list_suites())
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path / "empty", env=outside(PYTHONPATH=str(tmp_path / "site")), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*list_methods(), *list_datasets(), *list_suites()]


def outside(**more: str) -> dict[str, str]:
    """The environment of a user who has no checkout: one thread, no GPU."""
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "GANTLET_DATA")}
    return own | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | more


@pytest.mark.slow
def test_the_main_job_runs_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """In a new environment with the wheel alone, beside the libraries of this one, from an empty folder."""
    venv, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, env=outside())
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # .pth files in there are not read

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=empty, env=outside(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import benchmark, methods; print(benchmark.__file__, methods.__file__)"
    assert all(path.startswith(str(site)) for path in run(str(python), "-c", where).split())
    gantlet = str(venv / "bin" / "gantlet")
    listed = run(gantlet, "list")
    assert all(f"  {name} " in listed for name in [*list_methods(), *list_datasets(), *list_suites()])
    shown = run(gantlet, "run", "--method", "sngan", "--dataset", "digits", "--device", "cpu",
                "--set", "steps=5", "batch=8", "eval.n_fake=100")  # fmt: skip
    assert "FD-judge" in shown
    assert "sngan" in run(gantlet, "table")
    run(gantlet, "report")
    assert (empty / "results" / "report.html").stat().st_size > 10_000
    (folder,) = {path.parent for path in empty.glob("results/runs/*/*/*/config.yaml")}
    run(gantlet, "export", str(folder), "exported")
    (tmp_path / "other").mkdir()
    (empty / "exported").rename(tmp_path / "other" / "exported")
    (empty / "results").rename(tmp_path / "gone")
    code = "import benchmark; print(tuple(benchmark.load_run('../other/exported').sample(4).shape))"
    assert run(str(python), "-c", code).strip() == "(4, 1, 16, 16)"
    assert os.listdir(empty) == []
