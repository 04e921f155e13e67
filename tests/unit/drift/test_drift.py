import json
import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.core import paths
from benchmark.core.errors import DataError, UserError
from benchmark.core.one_thread import torch_on_one_thread
from benchmark.data import stream
from benchmark.drift import frozen, gates, metric_baseline
from benchmark.drift import metric_gate as drift
from benchmark.drift.frozen import make, measures
from benchmark.metrics import (
    chamfer,
    clipped,
    clusters,
    cmmd,
    copying,
    frechet,
    inception_score,
    kid,
    memorization,
    modes,
    nearest,
    neighbours,
    prdc,
    resampling,
    vendi,
)
from benchmark.metrics.extractors import inception

INPUTS = frozen.load()


ENVIRONMENT = gates.gate_environment()


@pytest.fixture(autouse=True)
def _quick_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking git and every package takes longer than most checks."""
    monkeypatch.setattr(drift, "gate_environment", lambda: ENVIRONMENT)


@cache
def made_here() -> str:
    """The committed baseline as if this machine had made it: the exact tolerances hold, wherever tests run."""
    plain = json.loads(metric_baseline.baseline_path().read_text())
    plain["environment"] = ENVIRONMENT
    with torch_on_one_thread():
        for measure in drift.MEASURES:
            if measure.name in ("resize", "samples"):  # bits that another processor may round the other way
                for name, value in drift.measured(measure, INPUTS).items():
                    plain["numbers"][name] |= {"sha256": value.sha256, "probe": list(value.probe)}
    return json.dumps(plain)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of baselines with that one."""
    path = metric_baseline.baseline_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(made_here())
    return tmp_path


def edit_baseline(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the baseline of a folder."""
    path = metric_baseline.baseline_path(folder)
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def moved(report: drift.Report) -> set[str]:
    return {check.name for check in report.checks if check.verdict is drift.CheckVerdict.MOVED}


# ---- the tree as it is -----------------------------------------------------------------------------------------------


def test_the_tree_as_it_is_passes_twice_with_the_same_numbers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert drift.metric_gate(tmp_path / "first.json") == 0
    assert "pass" in capsys.readouterr().out.splitlines()[-1]
    assert drift.metric_gate(tmp_path / "second.json", quiet=True) == 0
    assert (tmp_path / "first.json").read_text() == (tmp_path / "second.json").read_text()
    checks = json.loads((tmp_path / "first.json").read_text())["checks"]
    assert {check["verdict"] for check in checks} <= {"pass", "skipped"}
    assert {check["name"] for check in checks if check["verdict"] == "skipped"} <= {"lite0.pooled"}
    assert {check["against"] for check in checks} == {"baseline", "closed form", "torch-fidelity", "clean-fid"}


def test_frozen_inputs_are_small_and_are_what_their_maker_makes(tmp_path: Path) -> None:
    assert sum((paths.FROZEN / name).stat().st_size for name in frozen.FILES) < 1.5e6
    make.make(tmp_path)
    again = frozen.load(tmp_path)
    for name in ("real_images", "labels", "points", "real"):
        np.testing.assert_allclose(getattr(again, name), getattr(INPUTS, name), rtol=1e-12)


# ---- what must not pass ---------------------------------------------------------------------------------------------


def scaled(function: Callable[..., Any], field: str | None = None, factor: float = 1 + 1e-6) -> Callable[..., Any]:
    """The same function with its number moved by 1e-6 of itself."""

    def moved(*args: Any, **kwargs: Any) -> Any:
        found = function(*args, **kwargs)
        if field is None:
            return found * factor
        value = getattr(found, field) * factor
        return found._replace(**{field: value}) if hasattr(found, "_replace") else replace(found, **{field: value})

    return moved


@pytest.mark.parametrize(
    ("module", "function", "field", "number"),
    [
        (frechet, "frechet_distance", None, "frechet.distance"),
        (frechet, "intra_class_fd", "mean", "frechet.intra_class"),
        (kid, "kid", None, "kid.distance"),
        (kid, "kid_subsets", "mean", "kid.subsets_mean"),
        (prdc, "prdc", "density", "prdc.density_5"),
        (chamfer, "chamfer", "two_way", "chamfer.two_way"),
        (inception_score, "inception_score", "mean", "inception_score.ten_splits"),
        (modes, "mode_statistics", "reverse_kl", "modes.ring_reverse_kl"),
        (copying, "copy_test", "ratio", "copying.ratio"),
        (clusters, "nmi", None, "clusters.nmi"),
        (neighbours, "chance_agreement", None, "neighbours.chance"),
        (resampling, "half_sampling_sd", None, "resampling.half_sampling_sd"),
        (cmmd, "cmmd", None, "cmmd.narrow"),
        (vendi, "vendi_score", None, "vendi.few_images"),
        (clipped, "clipped", "density", "clipped.density"),
        (clipped, "clipped", "coverage", "clipped.coverage"),
        (memorization, "data_copying", "c_t", "memorization.c_t"),
        (memorization, "data_copying", "c_t", "data_copying.c_t"),
        (memorization, "memorization_informed_fd", "value", "memorization.mifd"),
        (memorization, "memorization_distance", None, "memorization.distance"),
    ],
)
def test_a_metric_moved_by_a_millionth_is_named(
    module: Any, function: str, field: str | None, number: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, function, scaled(getattr(module, function), field))
    report = drift.check_metrics(here, INPUTS, only=[number.split(".")[0]])
    assert report.exit_code == gates.REGRESSION
    assert number in moved(report)
    assert f"{number} moved: " in report.text()


@pytest.mark.parametrize(
    ("target", "name", "mutant", "numbers"),
    [
        (inception, "tf1_resize", lambda x: F.interpolate(x.float(), (299, 299), mode="bilinear"),
         {"resize.tf1", "resize.torch_fidelity"}),
        (inception, "clean_resize", lambda x: F.interpolate(x.float(), (299, 299), mode="bicubic").clamp(0, 255),
         {"resize.clean", "resize.clean_fid"}),
        (stream, "to_uint8", lambda x: ((x.float() + 1) * 127.5).floor().clamp(0, 255).to(torch.uint8),
         {"quantisation.to_uint8", "quantisation.nearest_level", "samples.uint8"}),
        (stream, "to_float", lambda x: x.float() / 128 - 1, {"quantisation.to_float", "random.batch"}),
        (kid, "_sum_within", lambda rows, progress: float(kid._kernel(rows, rows).sum()),
         {"kid.distance", "kid.whole_kernel", "kid.torch_fidelity"}),
        (prdc, "nearest", lambda a, b, k, exclude_self, **kw: nearest.nearest(a, b, k, **kw),
         {"prdc.recall_5", "prdc.equal_sets"}),
    ],
)  # fmt: skip
def test_a_wrong_resize_quantisation_or_metric_is_named(
    target: Any, name: str, mutant: Any, numbers: set[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, name, mutant)
    report = drift.check_metrics(here, INPUTS, only=[number.split(".")[0] for number in numbers])
    assert report.exit_code == gates.REGRESSION
    assert numbers <= moved(report)
    assert all(f"{number} moved: " in report.text() for number in numbers)


@pytest.mark.parametrize(
    ("target", "mutate", "number"),
    [
        ("numpy.corrcoef", lambda f: lambda *a, **kw: f(*a, **kw) * (1 - 1e-8), "correlation.mean_abs"),
        ("scipy.linalg.eigh", lambda f: lambda a: (f(a)[0] * (1 + 1e-7), f(a)[1]), "frechet.distance"),
        ("scipy.special.softmax", lambda f: lambda x, axis: f(x * (1 + 1e-6), axis=axis), "inception_score.one_split"),
        ("scipy.special.entr", lambda f: lambda p: f(p) / math.log(2), "inception_score.torch_fidelity"),
        ("numpy.median", lambda f: lambda a: np.sort(a)[len(a) // 2], "copying.ratio"),
    ],
)
def test_a_library_that_answers_otherwise_is_noticed(
    target: str, mutate: Any, number: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_name, name = target.rsplit(".", 1)
    original = getattr(__import__(module_name, fromlist=[name]), name)
    monkeypatch.setattr(target, mutate(original))
    report = drift.check_metrics(here, INPUTS, only=[number.split(".")[0]])
    assert report.exit_code == gates.REGRESSION
    assert number in moved(report)


def test_a_metric_that_raises_returns_nan_or_is_gone_does_not_pass(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def removed(*_: Any, **__: Any) -> float:
        raise TypeError("unexpected keyword argument 'disp'")

    with monkeypatch.context() as patch:
        patch.setattr(kid, "kid", removed)
        report = drift.check_metrics(here, INPUTS, only=["kid"])
        assert {"kid.distance", "kid.subsets_mean", "kid.whole_kernel"} <= moved(report)
        assert "raised TypeError: unexpected keyword argument 'disp'" in report.text()
    with monkeypatch.context() as patch:
        patch.setattr(clusters, "nmi", lambda *_: math.nan)
        report = drift.check_metrics(here, INPUTS, only=["clusters"])
        assert moved(report) == {"clusters.nmi", "clusters.renamed"}
        json.dumps(report.to_dict(), allow_nan=False)
    monkeypatch.setattr(drift, "MEASURES", tuple(m for m in drift.MEASURES if m.name != "chamfer"))
    report = drift.check_metrics(here, INPUTS, only=["chamfer"])
    assert report.exit_code == gates.REGRESSION
    assert "it is no longer measured" in report.text()


def test_another_library_that_breaks_is_skipped_and_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_fidelity.metric_isc.isc_features_to_metric", None)
    report = drift.check_metrics(here, INPUTS, only=["inception_score"])
    assert report.exit_code == 0
    assert "inception_score.torch_fidelity: skipped, torch-fidelity: raised TypeError" in report.text()


# ---- bits and tolerances --------------------------------------------------------------------------------------------


def test_other_bits_fail_on_the_same_machine_and_pass_within_tolerance_on_another(here: Path) -> None:
    edit_baseline(here, lambda plain: plain["numbers"]["samples.uint8"].update(sha256="0" * 64))
    report = drift.check_metrics(here, INPUTS, only=["samples"])
    assert moved(report) == {"samples.uint8"}
    assert report.exit_code == gates.REGRESSION
    edit_baseline(here, lambda plain: plain["environment"]["libraries"].update(torch="2.0.0"))
    report = drift.check_metrics(here, INPUTS, only=["samples"])
    assert report.exit_code == 0
    assert "torch 2.0.0 -> " in report.text()
    edit_baseline(here, lambda plain: plain["numbers"]["samples.uint8"]["probe"].__setitem__(3, 1.0))
    assert drift.check_metrics(here, INPUTS, only=["samples"]).exit_code == gates.REGRESSION


def test_distance_of_numbers_and_of_arrays() -> None:
    assert drift.distance(2.0, 2.0 + 2e-9) == pytest.approx(1e-9, rel=1e-6)
    assert drift.distance(0.0, 1e-12) == 1e-12
    assert drift.distance(1.0, math.nan) == math.inf
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    same, other = measures.fingerprint(image), measures.fingerprint(image.astype(np.float32))
    assert drift.distance(same, measures.fingerprint(image.copy())) == 0
    assert 0 < drift.distance(same, other) < 1e-12, "other bits, the same values"
    assert drift.distance(same, measures.fingerprint(image[::-1])) > 1e-2
    assert drift.distance(same, 1.0) == math.inf


# ---- files and exit statuses ----------------------------------------------------------------------------------------


def test_exit_statuses_of_files(here: Path) -> None:
    def raised() -> int:
        with pytest.raises(UserError) as error:
            drift.metric_gate(baselines=here, quiet=True)
        return error.value.exit_code

    path = metric_baseline.baseline_path(here)
    whole = path.read_text()
    for broken in (whole[:1000], "[1]", whole.replace('"same"', '"sane"', 1), '{"metric_set": 1}'):
        path.write_text(broken)
        assert raised() == gates.USAGE
    path.write_text(whole)
    edit_baseline(here, lambda plain: plain["numbers"]["kid.distance"].update(value=None))
    assert raised() == gates.USAGE
    path.unlink()
    assert raised() == gates.NO_BASELINE


def test_numbers_without_baseline_and_baselines_of_other_inputs(here: Path) -> None:
    edit_baseline(here, lambda plain: plain["numbers"].pop("kid.distance"))
    report = drift.check_metrics(here, INPUTS, only=["kid"])
    assert report.exit_code == gates.NO_BASELINE
    assert "kid.distance: NO BASELINE" in report.text()
    edit_baseline(here, lambda plain: plain["frozen"].update({"images.npz": "0" * 64}))
    assert drift.check_metrics(here, INPUTS).exit_code == gates.INCOMPARABLE


def test_changed_or_missing_frozen_inputs_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "frozen"
    shutil.copytree(paths.FROZEN, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    frozen.load(folder)
    data = bytearray((folder / "points.npz").read_bytes())
    data[200] ^= 1
    (folder / "points.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"points\.npz: not the frozen bytes"):
        frozen.load(folder)
    (folder / "points.npz").unlink()
    with pytest.raises(DataError, match=r"points\.npz: missing"):
        frozen.load(folder)


def test_the_worst_status_wins() -> None:
    assert gates.worst([]) == 0
    assert gates.worst([0, 5, 4, 1, 3, 2]) == 2
    assert gates.worst([5, 4, 1, 3]) == 3
    assert gates.worst([5, 4, 1]) == 1
    assert gates.worst([0, 5, 4]) == 4
    assert gates.worst([0, 5]) == 5
    assert gates.worst([0, 5], allow_inconclusive=True) == 0
    assert gates.worst([5, 1], allow_inconclusive=True) == 1


# ---- accepting ------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two measures only, so that accepting is quick."""
    monkeypatch.setattr(drift, "MEASURES", tuple(m for m in drift.MEASURES if m.name in ("clusters", "quantisation")))
    monkeypatch.setattr(drift, "EXPECTATIONS", tuple(e for e in drift.EXPECTATIONS if e.name == "clusters.renamed"))


@pytest.mark.usefixtures("few")
def test_accepting_keeps_reason_commit_and_both_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drift.accept_metrics("first", tmp_path, commit=lambda: "aaa")
    assert drift.check_metrics(tmp_path, INPUTS).exit_code == 0
    monkeypatch.setattr(clusters, "purity_chance", scaled(clusters.purity_chance, factor=1.5))
    assert drift.check_metrics(tmp_path, INPUTS).exit_code == gates.REGRESSION
    drift.accept_metrics("chance counts otherwise", tmp_path, commit=lambda: "bbb")
    first, second = metric_baseline.read_baseline(path).accepted
    assert (first.reason, first.commit, len(first.changed)) == ("first", "aaa", 5)
    assert (second.reason, second.commit) == ("chance counts otherwise", "bbb")
    assert second.changed == {"clusters.purity_chance": (0.125, 0.1875)}
    assert drift.check_metrics(tmp_path, INPUTS).exit_code == 0


@pytest.mark.usefixtures("few")
def test_what_contradicts_a_closed_form_cannot_be_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "nmi", scaled(clusters.nmi))
    with pytest.raises(gates.DriftError, match=r"clusters\.renamed moved"):
        drift.accept_metrics("no", tmp_path, commit=lambda: "aaa")
    assert not metric_baseline.baseline_path(tmp_path).exists()


def test_accepting_needs_a_reason_and_a_clean_tree(tmp_path: Path) -> None:
    with pytest.raises(gates.DriftError, match="without a reason"):
        drift.accept_metrics("  ", tmp_path, commit=lambda: "aaa")
    with pytest.raises(gates.DriftError, match="not a git checkout"):
        gates.clean_commit(tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "benchmark" / "drift" / "baselines").mkdir(parents=True)
    (tmp_path / "benchmark" / "code.py").write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = gates.clean_commit(tmp_path)
    assert len(head) == 12
    (tmp_path / "benchmark" / "drift" / "baselines" / "new.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("no code")
    assert gates.clean_commit(tmp_path) == head, "baselines and notes are no code"
    (tmp_path / "benchmark" / "new.py").write_text("2\n")
    with pytest.raises(gates.DriftError, match=r"the tree has changes: benchmark/new\.py"):
        gates.clean_commit(tmp_path)


def test_an_optional_measure_without_its_package_is_skipped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> SimpleNamespace:
        raise UserError(f"extractor {name}: weights are missing")

    monkeypatch.setattr(measures.build, "build", missing)
    report = drift.check_metrics(here, INPUTS, only=["lite0"])
    assert report.exit_code == 0
    assert "lite0.pooled: skipped, raised UserError: extractor lite0: weights are missing" in report.text()
