"""Scores during training: they show the curve and change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import DIGITS, TINY, outcome, run_arguments
from torch import Tensor, nn

from benchmark.__main__ import main
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.evaluate import EvalConfig
from benchmark.method import Trainable, TrainConfig, construct
from benchmark.plan import step_flops
from benchmark.snapshots import Snapshots, snapshot_steps


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


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    data = SimpleNamespace(points=True, n_labels=0)
    method, job = SimpleNamespace(cfg=SimpleNamespace(steps=9)), SimpleNamespace(data=data)
    watching = Snapshots(method, EvalConfig(), job, tmp_path)  # type: ignore[arg-type]
    assert watching.values() == [], "points have no snapshots"
    watching.steps = {3, 6, 9}
    lines = [json.dumps({"step": step, "fd": 1.0}) for step in (3, 6, 9)]
    watching.path.write_text("\n".join(lines) + '\n{"step": 1')
    watching.begin(6)
    assert [json.loads(line)["step"] for line in watching.path.read_text().splitlines()] == [3, 6]


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
