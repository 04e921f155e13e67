"""Scores during training: they show the curve and change nothing."""

from __future__ import annotations

import copy
import json
import math
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import DIGITS, TINY, RunServer, outcome, run_arguments
from torch import Tensor, nn

from benchmark.__main__ import main
from benchmark.core.config import to_dict
from benchmark.core.errors import ConfigError, UserError, WeightsError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset, mixture_of
from benchmark.data.stream import Stream
from benchmark.evaluation import snapshots
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.snapshots import Snapshots, snapshot_steps
from benchmark.runs.dry_run import Flops, step_flops
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.measurements import Sample
from benchmark.training.method import Trainable, TrainConfig, construct
from benchmark.training.stages.judge import JudgeConfig


@pytest.mark.parametrize(("n", "steps", "expected"), [(0, 10, set()), (1, 10, {10}), (4, 10, {2, 5, 8, 10})])
def test_snapshots_are_evenly_spaced_and_end_with_the_last_step(n: int, steps: int, expected: set[int]) -> None:
    assert snapshot_steps(EvalConfig(snapshots=n), steps) == expected


def values(results: Path) -> dict[str, Any]:
    return {value["id"]: value for value in outcome(results).result["values"]}


def test_they_give_a_curve_and_do_not_change_the_run(results: Path, tmp_path: Path) -> None:
    settings = [*TINY, *DIGITS, "z_dim=8", "width=4"]
    watched = ["eval.snapshots=3", "eval.snapshot_images=60"]
    assert main(run_arguments(results, [*settings, *watched], method="sngan")) == 0
    found, left = values(results), outcome(results)
    curve = found["fd_late_judge"]["details"]["curve"]
    assert [line["step"] for line in curve] == [4, 8, 12]
    scores = [line["fd"] for line in curve]
    assert found["fd_best_judge"]["value"] == min(scores)
    assert found["fd_late_judge"]["value"] == pytest.approx(sum(scores) / 3)
    assert found["fd_late_judge"]["protocol"]["n_fake"] == 60
    assert found["fd_late_judge"]["protocol_key"] != found["fd_judge"]["protocol_key"]
    assert left.result["flops_per_step"] > 0
    assert left.record["time"]["peak_memory_mb"] > 0

    other = tmp_path / "unwatched"
    assert main(run_arguments(other, settings, method="sngan")) == 0
    plain = outcome(other)
    assert "fd_late_judge" not in values(other)
    assert plain.log == left.log
    for name, tensor in plain.generator.items():
        assert torch.equal(tensor, left.generator[name]), name
    assert values(other)["fd_judge"]["value"] == found["fd_judge"]["value"]


LATENT = [*TINY, "data.source.test_share=0.2", "z_dim=4", "width=4", "f_dim=6", "features={name: pixels}"]
BOTH = ["eval.snapshots=3", "eval.snapshot_images=100", "eval.snapshot_scores=[fd, accuracy]"]


def test_accuracy_over_training_is_the_evaluations_own(results: Path) -> None:
    """With as many images as the evaluation has, the last snapshot is the evaluation; both scores are drawn."""
    assert main(run_arguments(results, [*LATENT, *BOTH], method="latentcond")) == 0
    found, left = values(results), outcome(results)
    late = found["label_agreement_late"]
    scores = [line["accuracy"] for line in late["details"]["curve"]]
    assert late["value"] == pytest.approx(sum(scores) / 3)
    assert scores[-1] == found["label_agreement_judge"]["value"]
    assert found["fd_late_judge"]["details"]["curve"][-1]["fd"] == pytest.approx(found["fd_judge"]["value"])
    assert late["conditions"]["drawn"] == found["label_agreement_judge"]["conditions"]["drawn"]
    assert late["protocol"]["scorer"] == found["label_agreement_judge"]["protocol"]["scorer"]
    assert (left.folder / snapshots.SCORES).read_bytes().startswith(b"\x89PNG")
    assert {"border.png", "classes_shown.png", "latent_tsne.png"} <= {path.name for path in left.folder.iterdir()}
    # Table 2 in the maps that decide the couples, here the pixels, beside the one in what G is given
    assert {f"neighbour_{k}" for k in (1, 2, 5)} | {f"neighbour_map_{k}" for k in (1, 2, 5)} <= set(found)


def scorer(cfg: EvalConfig, tmp_path: Path, **method: Any) -> snapshots.ImageScorer:
    """Of a made-up method on random digits."""
    artifacts = ArtifactStore(Dataset.tiny(find_card("digits")), tmp_path, torch.device("cpu"), quiet=True)
    return snapshots.ImageScorer(SimpleNamespace(**method), cfg, artifacts)  # type: ignore[arg-type]


def test_a_class_is_scored_by_what_was_requested_and_an_unconditional_method_is_not(tmp_path: Path) -> None:
    cfg = EvalConfig(
        snapshots=1, snapshot_images=50, snapshot_scores=("accuracy",), judge=JudgeConfig(steps=2, batch=16, width=4)
    )

    def sample(G: Any, n: int, conditions: Tensor | None = None) -> Sample:
        return Sample(torch.zeros(n, 1, 16, 16), conditions)

    given = scorer(cfg, tmp_path, conditioning="class", sample=sample, device=torch.device("cpu"))
    line = given.score(1, nn.Identity())
    assert set(line) == {"accuracy"}, "the distance was not asked for"
    assert line["accuracy"] == pytest.approx(0.1), "all images are one, so one class of ten is right"
    (value,) = given.values([{"step": 1, **line}])
    assert (value.id, value.protocol["conditioning"]) == ("control_accuracy_late", "class")
    free = scorer(cfg, tmp_path, conditioning="none", sample=sample, device=torch.device("cpu"))
    assert free.score(1, nn.Identity()) == {"accuracy": None}
    assert free.values([{"step": 1, "accuracy": None}]) == []


def test_without_weights_the_distance_is_unavailable_and_accuracy_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: Any) -> Any:
        raise WeightsError("inception: no weights", "the file is missing", "download it")

    monkeypatch.setattr(snapshots, "build_extractor", absent)
    settings: dict[str, Any] = {"extractors": ("inception",), "snapshots": 1, "snapshot_scores": ("fd", "accuracy")}
    cfg = EvalConfig(**settings, missing_weights="unavailable", judge=JudgeConfig(steps=2, batch=16, width=4))
    found = scorer(cfg, tmp_path, conditioning="class").values([{"step": 1, "accuracy": 0.5}])
    best, late, accuracy = found
    assert {best.status, late.status} == {"unavailable"}
    assert (late.id, late.reason) == ("fd_late_inception", "inception: no weights")
    assert accuracy.value == 0.5
    with pytest.raises(WeightsError):
        scorer(replace(cfg, missing_weights="refuse"), tmp_path, conditioning="class")


def test_accuracy_alone_needs_no_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "build_extractor", lambda *_: pytest.fail("nothing looks through it"))
    changes = {"extractors": [], "snapshots": 1, "snapshot_scores": ["accuracy"]}
    judge = {"steps": 2, "batch": 16, "width": 4}
    resolved = resolve(
        RunSpec("cgan", "digits", 0, "small", {"eval": {**changes, "judge": judge}}), Paths(tmp_path, tmp_path)
    )
    one = scorer(resolved.evaluation, tmp_path, conditioning="class")
    (accuracy,) = one.values([{"step": 1, "accuracy": 0.5}])
    assert (accuracy.id, accuracy.value) == ("control_accuracy_late", 0.5)


def test_points_need_no_extractor(tmp_path: Path) -> None:
    resolved = resolve(RunSpec("dcgan", "ring2d", 0, "small", {"eval": {"snapshots": 3}}), Paths(tmp_path, tmp_path))
    assert resolved.evaluation.extractors == ()


def test_scores_of_snapshots_are_a_setting_that_old_records_do_not_have() -> None:
    assert "snapshot_scores" not in to_dict(EvalConfig(snapshots=3))
    assert to_dict(EvalConfig(snapshot_scores=("fd", "accuracy")))["snapshot_scores"] == ["fd", "accuracy"]


@pytest.mark.parametrize(
    ("dataset", "changes", "named"),
    [
        ("digits", {"snapshot_scores": ["fd", "accuracy"]}, "no snapshot"),
        ("digits", {"snapshots": 3, "snapshot_scores": []}, "name fd"),
        ("digits", {"snapshots": 3, "extractors": []}, "the first extractor"),
        ("ring2d", {"snapshots": 3, "snapshot_scores": ["accuracy"]}, "needs labels"),
        ("stl10", {"snapshots": 3, "snapshot_scores": ["accuracy"]}, "needs labels"),
    ],
)
def test_scores_that_no_snapshot_would_have_are_refused(
    dataset: str, changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    changes = changes | ({"extractors": ["lite0"]} if dataset == "stl10" else {})
    with pytest.raises(ConfigError, match=named):
        resolve(RunSpec("dcgan", dataset, 0, "small", {"eval": changes}), Paths(tmp_path, tmp_path))


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    data = SimpleNamespace(is_points=True, n_labels=0)
    method, artifacts = SimpleNamespace(cfg=SimpleNamespace(steps=9)), SimpleNamespace(data=data)
    watching = Snapshots(method, EvalConfig(), artifacts, tmp_path)  # type: ignore[arg-type]
    assert watching.values() == [], "none were asked for"
    watching.steps = {3, 6, 9}
    lines = [json.dumps({"step": step, "fd": 1.0}) for step in (3, 6, 9)]
    watching.path.write_text("\n".join(lines) + '\n{"step": 1')
    watching.begin(6)
    assert [json.loads(line)["step"] for line in watching.path.read_text().splitlines()] == [3, 6]


# ---- points ---------------------------------------------------------------------------------------------------------

POINTS = ["steps=12", "batch=8", "checkpoint_every=4", "log_every=2", "eval.n_fake=100", "data.source.n_train=3000"]


class Places(nn.Module):
    """Puts a share of the samples on the first modes of the ring, evenly; the others at (9, 9)."""

    def __init__(self) -> None:
        super().__init__()
        self.n_modes, self.share = 1, 1.0


def ring(tmp_path: Path, n: int = 3, steps: int = 9) -> tuple[Snapshots, Places]:
    """Snapshots of a made-up run on the 2D-ring, and its generator."""
    data = Dataset.tiny(find_card("ring2d"))
    centres = torch.tensor(mixture_of(data).centres, dtype=torch.float32)

    def sample(G: Places, n: int, conditions: Tensor | None = None) -> Sample:
        good = centres[torch.arange(n) % G.n_modes]
        return Sample(torch.where(torch.rand(n, 1) < G.share, good, torch.full_like(good, 9.0)), None)

    method = SimpleNamespace(cfg=SimpleNamespace(steps=steps, batch=8), conditioning="none", sample=sample)
    artifacts = SimpleNamespace(data=data)
    return Snapshots(method, EvalConfig(snapshots=n), artifacts, tmp_path), Places()  # type: ignore[arg-type]


def late(watching: Snapshots) -> dict[str, Any]:
    return {value.id: value for value in watching.values()}


def test_scores_of_points_by_hand(tmp_path: Path) -> None:
    watching, G = ring(tmp_path)
    watching.begin(0)
    for step, G.n_modes in ((3, 1), (6, 2), (9, 8)):
        watching(step, G)
    found = late(watching)
    assert set(found) == {"modes_late", "high_quality_late", "reverse_kl_late"}
    assert [line["modes"] for line in found["modes_late"].details["curve"]] == [1, 2, 8]
    kl = [line["reverse_kl"] for line in found["reverse_kl_late"].details["curve"]]
    shares = [32 / 250] * 2 + [31 / 250] * 6  # 250 at a time are no multiple of 8
    assert kl == pytest.approx([math.log(8), math.log(4), sum(q * math.log(8 * q) for q in shares)])
    assert found["modes_late"].value == pytest.approx(11 / 3)
    assert (found["high_quality_late"].value, found["high_quality_late"].better) == (1, "higher")
    assert found["high_quality_late"].protocol["n_fake"] == snapshots.N_POINTS


def test_the_late_mean_is_of_the_last_snapshots_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching, G = ring(tmp_path, n=4, steps=8)
    for step, G.n_modes in ((2, 1), (4, 3), (6, 5), (8, 7)):
        watching(step, G)
    assert late(watching)["modes_late"].value == 5
    for wrong in (2, 4):
        monkeypatch.setattr(snapshots, "LATE_SNAPSHOTS", wrong)
        assert late(watching)["modes_late"].value != 5


def test_without_a_value_in_one_of_the_last_snapshots_there_is_no_late_mean() -> None:
    """The state before a divergence must not pass as the end of the training."""
    lines: list[dict[str, float | None]] = [{"step": k, "modes": m} for k, m in enumerate((3.0, 6.0, 8.0, None))]
    assert snapshots.late(lines[:3], "modes") == pytest.approx(17 / 3)
    assert snapshots.late(lines, "modes") is None
    assert snapshots.late([], "modes") is None


def test_samples_off_the_modes_lower_the_share(tmp_path: Path) -> None:
    watching, G = ring(tmp_path, n=1, steps=2)
    G.n_modes, G.share = 8, 0.25
    watching(2, G)
    points = np.load(tmp_path / "snapshots" / "2.npy")
    assert (points.dtype, points.shape) == (np.float32, (snapshots.N_POINTS, 2))
    share = float((points != 9).all(axis=1).mean())
    assert share == pytest.approx(0.25, abs=0.03)
    assert late(watching)["high_quality_late"].value == pytest.approx(share)


def test_points_that_are_not_finite_have_no_scores_and_a_panel_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, np.ndarray] = {}
    monkeypatch.setattr(snapshots, "save_scatters", lambda path, real, panels: drawn.update(panels))
    watching, G = ring(tmp_path)
    watching.begin(0)
    plain = watching.method.sample
    watching(3, G)
    watching.method.sample = lambda *_: Sample(plain(G, snapshots.N_POINTS).images * math.nan, None)
    watching(6, G)
    watching.pictures()
    assert list(drawn) == ["step 3: 1 of 8 modes", "step 6: not finite"]
    assert [line["step"] for line in late(watching)["modes_late"].details["curve"]] == [3]
    watching.path.write_text('{"step": 3, "modes": null, "high_quality": null, "reverse_kl": null}\n')
    assert {value.status for value in watching.values()} == {"failed"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-40],
        lambda whole: bytes(64) + whole[64:],
        lambda whole: whole.replace(b"<f4", b"<i4"),
        lambda whole: whole.replace(b", 2)", b", 3)"),
    ],
)
@pytest.mark.parametrize("name", ["3.npy", "real.npy"])
def test_damaged_points_are_named(name: str, damage: Any, tmp_path: Path) -> None:
    watching, G = ring(tmp_path)
    watching.begin(0)
    watching(3, G)
    path = tmp_path / "snapshots" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"(?s){name}: .*remove {path}"):
        watching.pictures()


def test_going_on_neither_loses_nor_doubles_a_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, np.ndarray]] = []
    monkeypatch.setattr(snapshots, "save_scatters", lambda path, real, panels: drawn.append(panels))
    watching, G = ring(tmp_path)
    watching.begin(0)
    for step in (3, 6):
        watching(step, G)
    (tmp_path / "snapshots" / ".9.npy.x.tmp").touch()  # killed while it wrote the third
    again, _ = ring(tmp_path)
    again.begin(5)  # the checkpoint is older than the second snapshot
    assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {"real.npy", "3.npy"}
    for step, G.n_modes in ((6, 4), (9, 8)):
        again(step, G)
    again.pictures()
    assert list(drawn[0]) == ["step 3: 1 of 8 modes", "step 6: 4 of 8 modes", "step 9: 8 of 8 modes"]
    np.testing.assert_array_equal(drawn[0]["step 6: 4 of 8 modes"], np.load(tmp_path / "snapshots" / "6.npy"))


def test_snapshots_leave_the_generator_as_it_is(tmp_path: Path) -> None:
    watching, _ = ring(tmp_path, n=1, steps=2)
    G = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    before = copy.deepcopy(G.state_dict())
    watching.method.sample = lambda G, n, *_: Sample(G(torch.randn(n, 2)).detach(), None)
    watching(2, G)
    assert G.training
    assert all(torch.equal(before[name], tensor) for name, tensor in G.state_dict().items())


def test_the_picture_of_points_is_written_and_always_the_same(tmp_path: Path) -> None:
    watching, G = ring(tmp_path)
    watching.pictures()
    assert not (tmp_path / snapshots.SCATTERS).exists(), "nothing to draw yet"
    watching.begin(0)
    watching(3, G)
    pictures = []
    for _ in range(2):
        watching.pictures()
        pictures.append((tmp_path / snapshots.SCATTERS).read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")


def counted(points: np.ndarray, n_modes: int = 8, std: float = 0.01) -> tuple[int, float]:
    """Modes and share of high quality by plain loops."""
    centres = [(math.cos(2 * math.pi * m / n_modes), math.sin(2 * math.pi * m / n_modes)) for m in range(n_modes)]
    hits = [
        next((m for m, (cx, cy) in enumerate(centres) if abs(x - cx) < 3 * std and abs(y - cy) < 3 * std), None)
        for x, y in points.tolist()
    ]
    good = [m for m in hits if m is not None]
    return len(set(good)), len(good) / len(points)


def test_a_run_on_points_keeps_them_and_is_not_changed(tmp_path: Path) -> None:
    results = tmp_path / "watched"
    watched = [*POINTS, "eval.snapshots=3", "data.source.std=0.1"]
    assert main(run_arguments(results, watched, method="dcgan", dataset="ring2d")) == 0
    found, left = values(results), outcome(results)
    assert [line["step"] for line in found["high_quality_late"]["details"]["curve"]] == [4, 8, 12]
    for modes, share in zip(*(found[f"{id}_late"]["details"]["curve"] for id in ("modes", "high_quality"))):
        points = np.load(left.folder / "snapshots" / f"{modes['step']}.npy")
        assert (modes["modes"], share["high_quality"]) == pytest.approx(counted(points, std=0.1))
    other = tmp_path / "unwatched"
    unwatched = [item for item in watched if "snapshots" not in item]
    assert main(run_arguments(other, unwatched, method="dcgan", dataset="ring2d")) == 0
    plain = outcome(other)
    assert plain.log == left.log
    assert all(torch.equal(tensor, left.generator[name]) for name, tensor in plain.generator.items())
    assert {id: value["value"] for id, value in values(other).items()}.items() <= {
        id: value["value"] for id, value in found.items()
    }.items()
    assert "high_quality_late" not in values(other)
    assert not (plain.folder / "snapshots").exists()


def test_a_killed_run_has_the_same_snapshots(server: RunServer, tmp_path: Path) -> None:
    """Killed when a snapshot is taken but no checkpoint yet, and when all are."""
    deaths = ["checkpoint before dcgan 8", "record"]
    command = [*POINTS, "eval.snapshots=6"]
    outcomes = []
    for kind, ats in (("whole", []), ("killed", deaths)):
        results = tmp_path / kind
        arguments = run_arguments(results, command, method="dcgan", dataset="ring2d")
        for at in ats:
            assert server.run(arguments, results, at=at).status == -signal.SIGKILL
        ended = server.run(arguments, results)
        assert ended.status == 0, ended.stderr
        outcomes.append(outcome(results))
    whole, killed = outcomes
    whole.same_as(killed)
    files = [sorted(path.name for path in one.folder.glob("snapshots/*")) for one in outcomes]
    assert files[0] == files[1] == sorted(["real.npy", *(f"{step}.npy" for step in (2, 4, 6, 8, 10, 12))])
    for name in files[0]:
        assert (whole.folder / "snapshots" / name).read_bytes() == (killed.folder / "snapshots" / name).read_bytes()


# ---- cost of a step -------------------------------------------------------------------------------------------------


class Linear(Trainable):
    """One matrix product: 2 B n m operations forward, as many again for the gradient of its weights."""

    def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
        self.net = nn.Linear(8 * 8, 4, bias=False)
        self.opt = self.adam(self.net, 1e-3, (0.9, 0.99))

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        x = next(stream).images[..., :8, :8].mean(1).flatten(1)
        loss = self.net(x).square().mean()
        self.update(loss, self.opt)
        return {"loss": loss}


def test_operations_of_a_step_are_those_of_its_products() -> None:
    data = Dataset.tiny(find_card("digits"))
    trainable = construct(Linear, TrainConfig(steps=10, batch=16), data, torch.device("cpu"), 0)
    assert step_flops(trainable, data) == 2 * (2 * 16 * 64 * 4)


def test_operations_of_every_third_step_count_by_a_third() -> None:
    class Lazy(Linear):
        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            if t % 3 == 0:
                super().step(stream, t)
            return super().step(stream, t)

    data = Dataset.tiny(find_card("digits"))
    trainable = construct(Lazy, TrainConfig(steps=30, batch=16), data, torch.device("cpu"), 0)
    assert step_flops(trainable, data) == pytest.approx((1 + 1 / 3) * 2 * (2 * 16 * 64 * 4))


@pytest.mark.parametrize("transposed", [False, True])
def test_operations_of_a_grouped_convolution(transposed: bool) -> None:
    """Forward 2 N h w c_out (c_in / groups) k^2, where the kernel is applied; as many for either gradient."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv, x = kind(8, 16, 3, groups=4, bias=False), torch.randn(2, 8, 6, 6, requires_grad=True)
    with Flops() as counter:
        y = conv(x)
        forward = counter.total
        torch.autograd.grad(y.sum(), [x, conv.weight])
    assert forward == 2 * 2 * ((6 * 6) * 8 * (16 // 4) if transposed else (4 * 4) * 16 * (8 // 4)) * 9
    assert counter.total == 3 * forward
    with Flops() as counter:
        torch.autograd.grad(conv(x).sum(), x)
    assert counter.total == 2 * forward
