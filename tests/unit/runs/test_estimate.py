"""Plans by counted operations: of steps that a CPU takes long for, and of GPUs that are not here."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch

from benchmark.core.errors import ConfigError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.runs.clock import TWO_THREADS, processor_seconds, step_seconds
from benchmark.runs.counting import LARGE, Counting, Uncomputed, Work, counted_work
from benchmark.runs.dry_run import Flops, step_flops
from benchmark.runs.estimate import Estimator, estimate, gpu_elsewhere, other_gpus
from benchmark.runs.gpus import ASSUMED_OPERATOR_S, ASSUMED_SHARE, GPUS, Gpu
from benchmark.runs.plan import cheaply_built, make_dense, make_plan
from benchmark.runs.rates import cpu_counting
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.runs.suites.cost import suite_plan
from benchmark.training.method import construct, find_method

CPU = torch.device("cpu")


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


def test_of_large_tensors_nothing_is_computed_and_shapes_are_right() -> None:
    side = 1 + int(LARGE**0.5)

    def work(x: torch.Tensor) -> list[torch.Tensor]:
        y = torch.nn.functional.leaky_relu(2 * x + 1, 0.2)
        y.add_(x)
        y[:, 0].mul_(3.0)  # a small part of a large tensor
        up = torch.nn.functional.interpolate(y[None, None], scale_factor=2.0, mode="bilinear")
        return [y, up, up.mean(), y.argmax(1), torch.zeros(side, side).normal_(), y.view(-1)[:3].exp()]

    x = torch.arange(float(side * side)).view(side, side)
    before, real = x.clone(), work(x)
    with Uncomputed() as counter:
        assumed = work(x)
    assert [t.shape for t in assumed] == [t.shape for t in real]
    assert [t.dtype for t in assumed] == [t.dtype for t in real]
    assert torch.equal(x, before)
    assert assumed[1].unique().numel() == 1, "one number for all entries"
    assert assumed[1].untyped_storage().nbytes() == 4, "and the memory of one"
    assert counter.total == 0
    assert counter.operators > 10
    assert counter.entries > 10 * side * side


def test_views_and_matrix_products_read_no_entries() -> None:
    x = torch.ones(8, 8)
    with Uncomputed() as counter:
        x.view(64)[3:].view(61)
        x.t()
    assert counter.work == Work(0.0, 4.0, 0.0)
    with Uncomputed() as counter:
        x @ x
    assert counter.work == Work(2.0 * 8**3, 1.0, 0.0)


def test_an_error_in_uncomputed_work_is_the_error_of_computed_work() -> None:
    large, other = torch.ones(LARGE), torch.ones(LARGE + 1)
    with pytest.raises(RuntimeError) as real:
        large + other
    with pytest.raises(RuntimeError) as assumed, Uncomputed():
        large + other
    assert str(assumed.value) == str(real.value)


@pytest.mark.parametrize("name", ["sngan", "stylegan2", "mgan", "r3gan", "selfcond"])
def test_counted_work_is_that_of_computed_steps(name: str) -> None:
    file, data = find_method(name), Dataset.tiny(find_card("digits"), 16)
    cfg = dataclasses.replace(file.recipe("small", "digits"), batch=16)
    method = construct(file.cls, cfg, data, CPU, 0)
    work = counted_work(method, data)
    assert method.cfg == cfg, "the configuration is the run's again"
    assert work.flops == pytest.approx(step_flops(construct(file.cls, cfg, data, CPU, 0), data), rel=0.02)
    assert work.operators > 50
    assert work.entries > 16 * 16**2
    with cheaply_built():
        cheap = construct(file.cls, cfg, data, CPU, 0)
    assert counted_work(cheap, data).flops == pytest.approx(work.flops, rel=1e-6)


def test_cheaply_built_networks_can_be_made_dense() -> None:
    with cheaply_built():
        net = torch.nn.Linear(LARGE, 2)
    assert net.weight.untyped_storage().nbytes() == 4
    make_dense([net, "no network"])
    assert net.weight.is_contiguous()
    torch.optim.Adam(net.parameters(), fused=True)
    net(torch.ones(1, LARGE)).sum().backward()
    assert net.weight.grad is not None


@pytest.mark.parametrize(("timed_s", "how"), [(1e9, "sngan timed"), (0.0, "sngan counted, at rates measured")])
def test_a_quick_step_is_timed_and_a_slow_one_counted(timed_s: float, how: str, paths: Paths) -> None:
    run = resolve(RunSpec("sngan", "digits", 0, "small", {"width": 8}), paths)
    plan = make_plan(run, paths, CPU, quick=True, counting=Counting(lambda work: 50.0, timed_s))
    part = plan.parts[0]
    assert part.counted is (timed_s == 0.0)
    assert (part.seconds == 50.0 * part.steps) is part.counted
    assert f"times: {how}" in plan.text()
    assert "evaluation by known rates" in plan.text()


def test_counted_times_are_those_of_timed_steps(paths: Paths) -> None:
    """The method's note says: by less than a factor of two, over methods and sizes; here one, with a margin."""
    run = resolve(RunSpec("sngan", "digits", 0, "small"), paths)
    timed, counted = (
        make_plan(run, paths, CPU, quick=True, counting=cpu_counting(limit)).parts[0] for limit in (1e9, 0.0)
    )
    assert not timed.counted
    assert counted.counted
    assert counted.flops == timed.flops
    assert timed.seconds / 3 < counted.seconds < timed.seconds * 3


def test_a_wait_is_no_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has to wait for the processor takes no longer."""
    assert processor_seconds(lambda: time.sleep(0.2)) < 0.05
    threads: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr("benchmark.runs.clock.time.process_time", iter([0.0, 1.0]).__next__)
    assert step_seconds(lambda: None, CPU) == pytest.approx(TWO_THREADS)
    assert threads == [1, 2], "measured by one, and as many as before afterwards"


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
    assert "(counted)" in text
    assert "H100 SXM, which is not here" in text
