"""Plans by counted operations: of steps that a CPU takes long for, and of GPUs that are not here."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmark.core.errors import ConfigError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.runs.counting import Counting, Uncomputed, Work, counted_part, cpu_counting
from benchmark.runs.dry_run import Flops, step_flops
from benchmark.runs.estimate import Estimator, estimate, gpu_elsewhere, other_gpus
from benchmark.runs.gpus import ASSUMED_OPERATOR_S, ASSUMED_SHARE, GPUS, Gpu
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.runs.suites.cost import suite_plan
from benchmark.training.method import construct, find_method

CPU = torch.device("cpu")
ALL = Counting(lambda work: 0.0)


def test_uncomputed_operations_have_the_shapes_and_counts_of_computed_ones() -> None:
    layer = torch.nn.Conv2d(3, 6, 3, stride=2, groups=3)
    head = torch.nn.Linear(6, 2)
    x = torch.randn(2, 3, 9, 9, requires_grad=True)

    def step() -> tuple[torch.Tensor, ...]:
        out = head(layer(x).mean((2, 3)))
        return (out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters(), *head.parameters()]))

    with Flops() as computed:
        real = step()
    with Uncomputed() as counted:
        assumed = step()
    assert counted.total == computed.total > 0
    assert [(t.shape, t.stride()) for t in assumed] == [(t.shape, t.stride()) for t in real]
    assert not torch.equal(assumed[0], real[0]), "nothing was computed"


@pytest.mark.parametrize("name", ["sngan", "stylegan2", "mgan"])
def test_a_counted_part_has_the_operations_of_a_computed_step(name: str) -> None:
    file, data = find_method(name), Dataset.tiny(find_card("digits"), 16)
    cfg = dataclasses.replace(file.recipe("small", "digits"), batch=8)
    part = counted_part(name, construct(file.cls, cfg, data, CPU, 0), data, ALL)
    assert part is not None
    assert part.counted
    two = construct(file.cls, dataclasses.replace(cfg, batch=2), data, CPU, 0)
    assert part.flops == pytest.approx(step_flops(two, data) * 8 / 2, rel=0.25), "periodic work may be left out"
    assert part.operators > 50


def test_a_quick_step_is_timed_and_a_slow_one_counted() -> None:
    file, data = find_method("sngan"), Dataset.tiny(find_card("digits"), 16)
    cfg = file.recipe("small", "digits")
    method = construct(file.cls, cfg, data, CPU, 0)
    assert counted_part("sngan", method, data, Counting(lambda work: 0.05, from_s=0.1)) is None
    slow = counted_part("sngan", method, data, Counting(lambda work: 0.2, from_s=0.1))
    assert slow is not None
    assert slow.seconds == pytest.approx(0.2 * cfg.steps)


def test_this_cpu_s_rate_is_a_cpu_s() -> None:
    seconds = cpu_counting().seconds(Work(1e12, 1000))
    assert 0.05 < seconds < 5000, "between 20 TFLOP/s and 0.2 GFLOP/s"


def test_a_gpu_s_time_is_that_of_its_operations_or_of_its_launches() -> None:
    gpu = Gpu("fast", 10.0, None, 100.0, "made up")
    assert gpu.seconds(3e12, 10) == pytest.approx(0.3 / ASSUMED_SHARE)
    assert gpu.seconds(3e12, 10, "bf16") == pytest.approx(0.03 / ASSUMED_SHARE)
    assert gpu.seconds(3e12, 10, "tf32") == gpu.seconds(3e12, 10), "it has none"
    assert gpu.seconds(1.0, 2000) == pytest.approx(2000 * ASSUMED_OPERATOR_S)


def test_rates_are_dense_and_have_a_source() -> None:
    for gpu in GPUS.values():
        assert gpu.source
        assert gpu.peak("fp32") <= gpu.peak("tf32")
        assert gpu.peak("fp32") <= gpu.peak("bf16") < 1.2e15, "a rate with sparsity would be higher"


def test_a_plan_for_a_gpu_that_is_not_here(paths: Paths) -> None:
    small = resolve(RunSpec("infoscc", "digits", 0, "small"), paths)
    plan = estimate(small, paths, gpu="a100")
    assert "on A100 SXM (not here)" in plan.text()
    assert "assumed: 30% of the data sheet's peak" in plan.text()
    assert all(part.counted for part in plan.parts)
    own = next(part for part in plan.parts if part.name == "infoscc")
    assert own.seconds == pytest.approx(own.steps * GPUS["a100"].seconds(own.flops, own.operators))
    again = plan.on(GPUS["a100"])
    assert again.seconds == pytest.approx(plan.seconds), "an estimate is not scaled twice"
    assert plan.on(GPUS["t4"]).seconds >= plan.seconds
    assert all(f"{name} " in other_gpus(plan) for name in GPUS)
    assert not paths.results.exists()


def test_precision_counts_for_the_gan_and_not_for_its_stages(paths: Paths) -> None:
    def parts(**changes: str) -> dict[str, float]:
        run = resolve(RunSpec("infoscc", "celeba", 0, "paper", dict(changes)), paths)
        return {part.name: part.seconds for part in Estimator(gpu="a100").plan(run, paths).parts}

    plain, half = parts(), parts(precision="bf16")
    assert half["infoscc"] < plain["infoscc"]
    assert half["SimCLR"] == plain["SimCLR"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_is_estimated_for_a_usual_one() -> None:
    assert gpu_elsewhere("cuda", None) is GPUS["a100"]
    assert gpu_elsewhere("cuda", "h100") is GPUS["h100"]
    assert gpu_elsewhere("auto", None) is None


@pytest.mark.parametrize(("device", "gpu", "what"), [("cuda", "a10000", "a100"), ("cpu", "a100", "--device is cpu")])
def test_a_gpu_that_cannot_be_is_refused(device: str, gpu: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        gpu_elsewhere(device, gpu)


def test_a_suite_s_plan_for_a_gpu(suite_file: str, paths: Paths) -> None:
    text = suite_plan(suite_file, "small", paths, gpu="h100")
    assert "(by counted operations)" in text
    assert "H100 SXM, which is not here" in text
