"""The public interface: a new user's ten lines, and finished runs that are sampled with nothing but their folder."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import DIGITS, INFOSCC, ROOT, TINY, environment

import benchmark as gantlet
from benchmark.__main__ import main
from benchmark.core.config import parse_overrides
from benchmark.core.errors import ConfigError, DataError, RunFailed, UserError
from benchmark.core.registry import method_names

FEW_STEPS = [*TINY, *DIGITS, "steps=4", "eval.n_fake=60"]
ENCODER = ["features.encoder.steps=2", "features.encoder.batch=16", "features.encoder.width=4"]
SETTINGS: dict[str, list[str]] = {
    "infoscc": [*INFOSCC, "steps=4", "eval.n_fake=60"],
    "icgan": [*FEW_STEPS, *ENCODER, "ch=4", "k=2"],
    "biggan": [*FEW_STEPS, "ch=4"],
    "stylegan2": [*FEW_STEPS, "max_width=8"],
    "eigengan": [*FEW_STEPS, "base=4", "max_width=16"],
    "latentcond": [*FEW_STEPS, "width=4", "features.input_px=32", "f_dim=8"],
    "selfcond": [*FEW_STEPS, "k=5", "T=2", "width_G=4", "width_D=4"],
    "dcgan": [*FEW_STEPS, "width_G=4", "width_D=4"],
    "pacgan": [*FEW_STEPS, "width_G=4", "width_D=4"],
    "mgan": [*FEW_STEPS, "width_G=4", "width_D=4"],
    "projectedgan": [*FEW_STEPS, "width=4", "features.width=4"],
    "r3gan": [*FEW_STEPS, "width=8"],
}


def settings(method: str) -> dict[str, Any]:
    """As keywords; of a setting that is given twice the last counts."""
    items = SETTINGS.get(method, [*FEW_STEPS, "width=4"])
    return parse_overrides(list({item.partition("=")[0]: item for item in items}.values()))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "results"


def test_a_new_users_ten_lines(results: Path) -> None:
    assert {"sngan", "infoscc"} <= set(gantlet.list_methods())
    assert {"digits", "celeba"} <= set(gantlet.list_datasets())
    assert "smoke" in gantlet.list_suites()
    record = gantlet.run("sngan", "digits", results=results, device="cpu", **settings("sngan"))
    assert record.scores.loc["fd_judge", "value"] == record.values["fd_judge"].value
    assert record.result_or_empty.trained_against == [], "nothing, and that is known"
    trained = gantlet.load_run(record.folder)
    images = trained.sample(6)
    assert (images.shape, images.dtype) == ((6, 1, 16, 16), torch.float32)
    assert images.abs().max() <= 1
    scored = gantlet.score(images, "digits", name="six", results=results, device="cpu", judge={"steps": 5, "width": 8})
    assert scored.method == "six"
    frame = gantlet.table("digits", results).to_frame()
    assert {"sngan", "six"} <= set(frame["Method"])
    again = gantlet.score(record.folder, results=results, device="cpu", eval={"reference": "test"})
    assert again.values["fd_judge"].protocol["reference"] == "test"
    assert sorted(one.run for one in gantlet.records(results)) == sorted([record.run, scored.run, again.run])


def test_the_examples_of_the_readme_and_the_package_run(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text().partition("## From Python")[2]
    assert gantlet.__doc__ is not None
    docstring = [line.strip() for line in gantlet.__doc__.splitlines() if line.startswith("    ")]
    examples = [readme.partition("```python\n")[2].partition("```")[0], "\n".join(docstring)]
    assert all("gantlet.run(" in text and "load_run" in text and "gantlet.table(" in text for text in examples)
    code = "\n".join([*examples, "assert images.shape == (64, 1, 16, 16) and abs(images).max() <= 1"])
    small = "controls=False, encoder=None, judge={'steps': 5, 'width': 8}"  # two minutes otherwise
    for given, quick in {
        "steps=200": f"steps=4, width=4, eval=dict(n_fake=60, {small})",
        'reference="digits"': f'reference="digits", {small}',
    }.items():
        assert code.count(given) == len(examples)
        code = code.replace(given, quick)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "fd_judge" in ended.stdout


# One of each kind of condition always, the others where there is time
ALWAYS = ("infoscc", "icgan", "latentcond", "selfcond", "sngan", "cgan")
EACH = [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in method_names()]


@pytest.mark.parametrize("method", EACH)
def test_a_run_is_sampled_without_data_and_artifacts(
    method: str, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "results"
    if (results / "artifacts" / "data").exists():
        shutil.copytree(results / "artifacts" / "data", mine / "artifacts" / "data")
    record = gantlet.run(method, "digits", results=mine, device="cpu", **settings(method))
    expected = (record.folder / "samples.png").is_file()
    shutil.rmtree(mine / "artifacts")
    (record.folder / "checkpoint.pt").unlink()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no dataset is needed")

    for module in ("benchmark.data.prepare.prepare", "benchmark.runs.spec.prepare", "benchmark.training.loop.train"):
        monkeypatch.setattr(module, refuse)
    trained = gantlet.load_run(record.folder)
    before = torch.random.get_rng_state()
    first, again = trained.sample_with_conditions(5), trained.sample_with_conditions(5)
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's random numbers are left alone"
    assert expected
    assert first.images.shape == (5, 1, 16, 16)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, trained.sample(5, seed=1))
    if first.conditions is not None:
        wanted = trained.sample_with_conditions(5, int(first.conditions[0])).conditions
        assert wanted is not None
        assert (wanted == first.conditions[0]).all()
    assert trained.record.run == record.run


def test_what_cannot_be_sampled_is_refused(results: Path, tmp_path: Path) -> None:
    record = gantlet.run("sngan", "digits", results=results, device="cpu", **settings("sngan"))
    with pytest.raises(UserError, match="not the folder of a finished run"):
        gantlet.load_run(tmp_path)
    trained = gantlet.load_run(record.folder)
    with pytest.raises(ValueError, match="unconditional"):
        trained.sample(3, conditions=1)
    with pytest.raises(ValueError, match="at least one"):
        trained.sample(0)
    old = tmp_path / "digits" / "sngan" / record.folder.name
    shutil.copytree(record.folder, old)
    (old / "sampling.pt").unlink()
    with pytest.raises(UserError, match="did not keep it"):
        gantlet.load_run(old)


def test_bad_arguments_are_named_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sngna"):
        gantlet.run("sngna", results=tmp_path)
    with pytest.raises(ConfigError, match="stpes"):
        gantlet.plan("sngan", results=tmp_path, stpes=3)
    with pytest.raises(DataError, match="digts"):
        gantlet.prepare("digts", results=tmp_path)
    with pytest.raises(DataError, match="dtype"):
        gantlet.score(np.zeros((4, 8, 8, 3)), "digits", results=tmp_path)
    with pytest.raises(UserError, match="no records"):
        gantlet.table("digits", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_may_be_written_with_a_dot(tmp_path: Path) -> None:
    dotted = gantlet.plan("sngan", results=tmp_path, device="cpu", **{"eval.n_fake": 70, "steps": 3})
    nested = gantlet.plan("sngan", results=tmp_path, device="cpu", eval={"n_fake": 70}, steps=3)
    assert dotted.resolved.run == nested.resolved.run
    assert "70 images" in dotted.text()
    assert dotted.seconds > 0


def test_torch_is_left_as_the_caller_has_it(results: Path) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.randn(3)
    for call in (
        lambda: gantlet.plan("sngan", "digits", results=results, device="cpu", **settings("sngan")),
        lambda: gantlet.run("sngan", "digits", results=results, device="cpu", **settings("sngan")),
        lambda: gantlet.load_run("reference/digits/sngan"),
    ):
        torch.manual_seed(7)
        call()
        assert torch.equal(torch.randn(3), expected)
        assert torch.get_num_threads() == threads


def test_numpy_s_numbers_and_tuples_are_settings_like_python_s(tmp_path: Path) -> None:
    plain = gantlet.plan("sngan", "digits", results=tmp_path, steps=7, betas=[0.5, 0.9])
    other = gantlet.plan("sngan", "digits", results=tmp_path, steps=np.int64(7), betas=(np.float64(0.5), 0.9))
    assert plain.resolved.run == other.resolved.run


def test_a_failed_run_fails_each_time(results: Path) -> None:
    wanted = settings("sngan") | {"lr_G": 1e30, "lr_D": 1e30}
    for _ in range(2):
        with pytest.raises(RunFailed):
            gantlet.run("sngan", "digits", seed=9, results=results, device="cpu", **wanted)


def test_an_object_in_a_notebook_cell_takes_a_line(results: Path) -> None:
    record = gantlet.run("sngan", "digits", results=results, device="cpu", **settings("sngan"))
    assert repr(record) == f"Record('{record.run}', done)"
    assert repr(gantlet.table("digits", results)).startswith("Table('digits', ")


def test_images_in_another_range_are_refused_or_questioned(results: Path) -> None:
    images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    judge = {"steps": 5, "width": 8}
    with pytest.raises(DataError, match=r"float images from \S+ to 25\d\s+why:  they are taken as \[-1, 1\]"):
        gantlet.score(images * 255, "digits", results=results, device="cpu", judge=judge)
    with pytest.warns(UserWarning, match=r"if they are meant as \[0, 1\], give 2 \* images - 1"):
        gantlet.score(images, "digits", results=results, device="cpu", judge=judge)
    with pytest.raises(DataError, match="count classes from 0"):
        gantlet.score(2 * images - 1, "digits", labels=range(3, 11), results=results, device="cpu", judge=judge)


def test_a_shorter_call_does_not_leave_another_s_samples_among_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sample", "reference/digits/sngan", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main([*words, "--n", "3"]) == 0
    first = (tmp_path / "out/000000.png").read_bytes()
    assert main([*words, "--n", "2"]) == 2
    assert "has 1 more samples, of another call" in capsys.readouterr().err
    assert main([*words, "--n", "3", "--latents", "1"]) == 0
    assert (tmp_path / "out/000000.png").read_bytes() != first


@pytest.mark.parametrize("device", ["cuda:0", torch.device("cuda", 0)])
def test_a_numbered_gpu_is_chosen_by_the_environment(device: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0"):
        gantlet.plan("sngan", "digits", results=tmp_path, device=device)


def test_a_suite_s_plan_takes_no_options_of_a_single_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--suite", "smoke", "--set", "steps=5"]) == 2
    assert "plan --suite smoke: --set" in capsys.readouterr().err


def test_sets_of_several_seeds_are_one_row(tmp_path: Path) -> None:
    judge = {"steps": 5, "width": 8}
    for seed in range(3):
        images = 2 * torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) - 1
        record = gantlet.score(
            images, "digits", name="mine", run_seed=seed, results=tmp_path, device="cpu", judge=judge
        )
    assert record.seed == 2
    (row,) = gantlet.table("digits", tmp_path).rows
    assert [one.seed for one in row.done] == [0, 1, 2]


def test_control_of_a_single_class_is_unavailable_and_the_rest_is_scored(tmp_path: Path) -> None:
    """A generator that ignores the label could score 1: no reason to lose the other numbers."""
    images = 2 * torch.rand(30, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 1
    judge = {"steps": 5, "width": 8}
    record = gantlet.score(images, "digits", labels=[3] * 30, results=tmp_path, device="cpu", judge=judge)
    control = record.values["control_accuracy_judge"]
    assert (control.value, control.status) == (None, "unavailable")
    assert "only class 3" in control.reason
    assert record.values["fd_judge"].status == "ok"


def test_too_few_images_for_k_neighbours_are_said(tmp_path: Path) -> None:
    images = 2 * torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 1
    record = gantlet.score(images, "digits", results=tmp_path, device="cpu", k=6, judge={"steps": 5, "width": 8})
    recall = record.values["recall_judge"]
    assert (recall.value, recall.status) == (None, "unavailable")
    assert "k = 6 neighbours of each image are needed; there are 1198 real and 6 other images" in recall.reason
    assert record.values["fd_judge"].status == "ok"


def test_importing_the_package_is_fast_and_loads_no_library() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import benchmark, benchmark.training; "
        "benchmark.list_methods(); "
        "print(time.perf_counter() - began, *sorted({name.split('.')[0] for name in sys.modules} & "
        "{'torch', 'numpy', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'torchvision', 'PIL'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    seconds, *heavy = done.stdout.split()
    assert heavy == []
    assert float(seconds) < 0.2


def test_everything_public_is_documented_and_typed() -> None:
    assert (Path(gantlet.__file__).parent / "py.typed").is_file()
    for name in gantlet.__all__:
        function = getattr(gantlet, name)
        signature = inspect.signature(function)
        assert len(inspect.getdoc(function) or "") > 50, name
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter.name}"
