"""The loop: what it logs, what it averages, what it restores, whom it blames."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.signals import Preempted, preemption_raised
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.training.checkpoints import CHECKPOINT, load_checkpoint
from benchmark.training.ema import EMA
from benchmark.training.loop import NonFiniteLoss, TrainResult, train
from benchmark.training.method import GANConfig, Method, Stage, TrainConfig, construct
from benchmark.training.progress import LOG, Log, stalled_since
from benchmark.training.stages.simclr import SimCLRConfig, recipe
from benchmark.training.tensors import load_tensors, save_tensors
from methods.sngan import SNGAN, Config

CPU = torch.device("cpu")
DATA = Dataset.tiny(find_card("digits"))


class Counter(Stage):
    """Logs its step; learns a line, so that its weights say how far it got."""

    def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
        self.net = nn.Linear(1, 1)
        self.opt = self.adam(self.net, 0.01, (0.9, 0.99))
        self.steps: list[int] = []

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        next(stream)
        self.steps.append(t)
        self.update((self.net(torch.randn(3, 1)) - 1).square().mean(), self.opt)
        losses = {"t": torch.tensor(float(t))}
        return losses | {"even": torch.tensor(float(t))} if t % 2 == 0 else losses


class Stopped(Exception):
    """A kill, as far as a test in one process can have it."""


def run(
    cls: type, cfg: TrainConfig, folder: Path, stop_at: int | None = None, leave_at: int | None = None
) -> tuple[Any, TrainResult]:
    """Train; leave by an exception before step `stop_at`, or be asked to leave within step `leave_at`."""
    folder.mkdir(exist_ok=True)
    trainable = construct(cls, cfg, DATA, CPU, seed=0)
    plain = trainable.step

    def step(stream: Stream, t: int) -> dict[str, Tensor]:
        if t == stop_at:
            raise Stopped
        if t == leave_at:
            signal.raise_signal(signal.SIGUSR2)
        return plain(stream, t)

    trainable.step = step  # type: ignore[method-assign]
    return trainable, train(trainable, DATA, folder, seed=1, label="test", quiet=True)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()] if (folder / LOG).exists() else []


def test_a_line_holds_means_since_the_last(tmp_path: Path) -> None:
    run(Counter, TrainConfig(steps=7, batch=4, log_every=3, checkpoint_every=5), tmp_path)
    assert lines(tmp_path) == [
        {"step": 3, "images": 12, "t": 1.0, "even": 1.0},  # steps 0 1 2, of which 0 and 2 logged `even`
        {"step": 5, "images": 20, "t": 3.5, "even": 4.0},  # a checkpoint ends a line
        {"step": 6, "images": 24, "t": 5.0},
        {"step": 7, "images": 28, "t": 6.0, "even": 6.0},
    ]


def test_a_loss_that_is_not_finite_is_null_in_the_log(tmp_path: Path) -> None:
    log = Log(tmp_path / LOG)
    log.add({"a": torch.tensor(float("nan")), "b": torch.tensor(2.0)})
    log.flush(1, 8)
    assert lines(tmp_path) == [{"step": 1, "images": 8, "a": None, "b": 2.0}]


class DeadSNGAN(SNGAN):
    """Its discriminator gives every image the same logit, as one does whose last ReLUs are all 0."""

    def __init__(self, cfg: Config, data: Dataset) -> None:
        super().__init__(cfg, data)
        self.D.register_forward_hook(lambda module, given, logits: 0 * logits + 0.3)


@pytest.mark.parametrize(("cls", "since"), [(DeadSNGAN, 2), (SNGAN, None)])
def test_a_training_whose_discriminator_is_dead_has_stalled(cls: type, since: int | None, tmp_path: Path) -> None:
    run(cls, gan(steps=7, log_every=2, checkpoint_every=7), tmp_path)
    assert stalled_since(tmp_path) == since


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([(2.1, 0.3), (2.000003, -0.13), (2.0, -0.13), (2.0, -0.13)], 20),  # means of 50 equal numbers, and of fewer
        ([(2.0, -0.13), (2.0, -0.13), (1.9, -0.1)], None),  # it recovered
        ([(2.0, -0.13), (2.0, -0.13), (1.9, -0.1), (1.8, 0.0), (1.8, 0.0)], 40),
        ([(0.0, 3.1), (0.0, 3.2)], None),  # D tells all apart, and G still moves
        ([(2.0, None), (2.0, None)], None),
        ([(2.0, -0.13)], None),
        ([], None),
    ],
)
def test_losses_have_stalled_where_they_are_constant_to_the_end(
    losses: list[tuple[float, float | None]], since: int | None, tmp_path: Path
) -> None:
    log = [{"step": 10 * i, "images": 0, "D": D, "G": G} for i, (D, G) in enumerate(losses, 1)]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in log))
    assert stalled_since(tmp_path) == since


def test_lines_after_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    cfg = TrainConfig(steps=8, batch=4, log_every=1, checkpoint_every=3)
    whole, _ = run(Counter, cfg, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(Counter, cfg, tmp_path / "killed", stop_at=5)
    assert [line["step"] for line in lines(tmp_path / "killed")] == [1, 2, 3, 4, 5]
    with open(tmp_path / "killed" / LOG, "a") as file:
        file.write('{"step": 6, "ima')  # torn by the kill
    resumed, _ = run(Counter, cfg, tmp_path / "killed")
    assert resumed.steps == [3, 4, 5, 6, 7]
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert torch.equal(resumed.net.weight, whole.net.weight)


def test_a_training_that_continues_says_from_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = TrainConfig(steps=8, batch=4, log_every=1, checkpoint_every=3)
    settings: Any = {"seed": 1, "label": "Counter"}
    with pytest.raises(Stopped):
        run(Counter, cfg, tmp_path, stop_at=5)
    again = construct(Counter, cfg, DATA, CPU, 0)
    assert "resuming" not in capsys.readouterr().out
    train(again, DATA, tmp_path, **settings)
    assert "Counter: resuming from step 3 of 8\n" in capsys.readouterr().out
    train(construct(Counter, cfg, DATA, CPU, 0), DATA, tmp_path, **settings, quiet=True)
    assert capsys.readouterr().out == "", "quiet means quiet"


@pytest.mark.parametrize("log_every", [1, 4, 100])
def test_a_training_that_was_asked_to_leave_continues_to_the_same_lines(log_every: int, tmp_path: Path) -> None:
    """Twice, between two lines and between two checkpoints: each line is still the mean over all of its steps."""
    cfg = TrainConfig(steps=12, batch=4, log_every=log_every, checkpoint_every=7)
    whole, _ = run(Counter, cfg, tmp_path / "whole")
    for leave_at in (2, 5):
        with pytest.raises(Preempted), preemption_raised():
            run(Counter, cfg, tmp_path / "left", leave_at=leave_at)
        assert lines(tmp_path / "left") == [line for line in lines(tmp_path / "whole") if line["step"] <= leave_at + 1]
        saved = load_checkpoint(tmp_path / "left", CPU)
        assert saved is not None
        assert saved["step"] == leave_at + 1  # the step was finished
    resumed, _ = run(Counter, cfg, tmp_path / "left")
    assert resumed.steps == [6, 7, 8, 9, 10, 11]
    assert lines(tmp_path / "left") == lines(tmp_path / "whole")
    assert torch.equal(resumed.net.weight, whole.net.weight)


def test_a_bad_loss_is_found_before_the_step_is_saved(tmp_path: Path) -> None:
    class Diverging(Counter):
        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            self.update(self.net(torch.randn(3, 1)).mean() * float("nan"), self.opt)
            return {}

    with pytest.raises(NonFiniteLoss), preemption_raised():
        run(Diverging, TrainConfig(steps=9, batch=4), tmp_path, leave_at=2)
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    cfg = TrainConfig(steps=4, batch=4)
    run(Counter, cfg, tmp_path)
    again, _ = run(Counter, cfg, tmp_path)
    assert again.steps == []


def gan(**changes: Any) -> Config:
    """SNGAN of the smallest size."""
    settings: dict[str, Any] = {"backbone": "sndcgan", "width": 4, "z_dim": 8, "steps": 8, "batch": 4}
    return Config(**(settings | {"checkpoint_every": 3} | changes))


def test_falling_learning_rates_continue_to_the_same_bits(tmp_path: Path) -> None:
    cfg = gan()
    whole, average = run(SNGAN, cfg, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(SNGAN, cfg, tmp_path / "killed", stop_at=5)
    killed, resumed = run(SNGAN, cfg, tmp_path / "killed")
    for a, b in ((whole.G, killed.G), (whole.D, killed.D), (average.average, resumed.average)):
        for x, y in zip(a.state_dict().values(), b.state_dict().values()):
            assert torch.equal(x, y)
    assert killed.opt_G.param_groups[0]["initial_lr"] == cfg.lr_G
    assert killed.opt_G.param_groups[0]["lr"] == pytest.approx(cfg.lr_G / 8)  # 1 - 7/8


def test_a_rate_that_comes_back_to_one_is_set_on_resume(tmp_path: Path) -> None:
    """The checkpoint holds the scaled rate of its last step; a factor of 1 must undo it."""
    rates: list[float] = []

    class Cyclic(Counter):
        def lr_factor(self, t: int) -> float:
            return 0.5 if t == 2 else 1.0

        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            rates.append(self.opt.param_groups[0]["lr"])
            return super().step(stream, t)

    cfg = TrainConfig(steps=5, batch=4, checkpoint_every=3)
    with pytest.raises(Stopped):
        run(Cyclic, cfg, tmp_path, stop_at=3)
    run(Cyclic, cfg, tmp_path)
    assert rates == [0.01, 0.01, 0.005, 0.01, 0.01]


@pytest.mark.parametrize(
    ("batch", "half_life", "beta"),
    [(32, 10_000, 0.9977844), (64, 10_000, 0.9955737), (128, 10_000, 0.9911670)],  # InfoSCC-GAN's
)
def test_the_average_has_the_published_decay(batch: int, half_life: float, beta: float) -> None:
    assert EMA.of(nn.Linear(1, 1), batch, half_life).beta == pytest.approx(beta, abs=5e-8)


def test_the_average_equals_its_closed_form() -> None:
    """theta_avg = beta^n theta_0 + (1 - beta) sum_k beta^(n - k) theta_k; buffers are the latest."""
    live = nn.BatchNorm1d(3)
    average = EMA.of(live, 1, 2.0)
    start, states = live.weight.detach().clone().double(), []
    for _ in range(6):
        with torch.no_grad():
            live.weight.copy_(torch.randn(3))
        live.running_mean = torch.randn(3)
        states.append(live.weight.detach().clone().double())
        average.update(live, t=0)
    beta, n = average.beta, len(states)
    expected = beta**n * start + (1 - beta) * sum(beta ** (n - k) * s for k, s in enumerate(states, 1))
    assert torch.allclose(average.net.weight.double(), expected, atol=1e-6)
    assert torch.equal(average.net.running_mean, live.running_mean)  # type: ignore[arg-type]
    assert not average.net.weight.requires_grad
    assert not average.net.training


def test_the_average_is_a_copy_until_it_starts() -> None:
    live = nn.Linear(2, 2)
    average = EMA.of(live, 1, 100.0, start_step=3)
    for t in range(5):
        with torch.no_grad():
            live.weight.add_(1.0)
        average.update(live, t)
        assert torch.equal(average.net.weight, live.weight) is (t < 3)


def test_a_half_life_that_changes_is_that_of_a_new_average() -> None:
    """With a factor, one update is that of an average of that half-life; with 0 it copies, with 1 nothing changes."""
    live, start = nn.Linear(2, 2), nn.Linear(2, 2)
    for factor in (0.0, 1e-9, 0.3, 1.0):
        average, other = EMA.of(start, 4, 100.0), EMA.of(start, 4, 100.0 * (factor or 1e-9))
        average.update(live, 0, factor)
        other.update(live, 0)
        assert torch.allclose(average.net.weight, other.net.weight, atol=1e-7)
        assert torch.equal(average.net.weight, live.weight) is (factor < 1e-3)
    assert torch.equal(average.net.weight, other.net.weight), "the very bits of an average without a factor"


def test_the_loop_asks_for_the_factor_of_each_step(tmp_path: Path) -> None:
    class Following(SNGAN):
        def ema_factor(self, t: int) -> float:
            return 0.0 if t < 2 else 1.0

    following, result = run(Following, gan(steps=2), tmp_path / "following")
    assert result.average is not None
    assert all(torch.equal(a, b) for a, b in zip(result.average.parameters(), following.G.parameters()))
    plain, result = run(SNGAN, gan(steps=2), tmp_path / "plain")
    assert result.average is not None
    assert not all(torch.equal(a, b) for a, b in zip(result.average.parameters(), plain.G.parameters()))


def test_no_average_where_none_is_asked(tmp_path: Path) -> None:
    assert run(SNGAN, gan(ema_half_life_images=0.0, steps=1), tmp_path)[1].average is None


def test_a_bad_loss_is_reported_with_its_step_and_place(tmp_path: Path) -> None:
    class Diverging(Counter):
        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            losses = super().step(stream, t)
            self.note_finite(torch.tensor(float("inf") if t >= 4 else 0.0))
            return losses

    with pytest.raises(NonFiniteLoss) as caught:
        run(Diverging, TrainConfig(steps=9, batch=4, log_every=2, checkpoint_every=3), tmp_path)
    assert caught.value.what == "test: non-finite loss at step 4"
    assert str(tmp_path / LOG) in caught.value.mend
    saved = load_checkpoint(tmp_path, CPU)
    assert saved is not None
    assert saved["step"] == 3


def test_a_checkpoint_of_other_networks_is_refused(tmp_path: Path) -> None:
    run(Counter, TrainConfig(steps=2, batch=4), tmp_path)
    with pytest.raises(UserError, match="not a checkpoint of this run"):
        run(SNGAN, gan(), tmp_path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save(Bomb(), tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match="not a checkpoint"):
        load_tensors(tmp_path / CHECKPOINT, CPU)
    assert not (tmp_path / "ran").exists()


def test_memory_order_survives_a_checkpoint(tmp_path: Path) -> None:
    weight = torch.randn(4, 4, 3, 3).to(memory_format=torch.channels_last)
    save_tensors(tmp_path / "w.pt", {"w": weight})
    assert load_tensors(tmp_path / "w.pt", CPU)["w"].stride() == weight.stride()


@pytest.mark.parametrize(("dataset", "last"), [("afhq", 0.545), ("celeba", 0.943)])
def test_the_encoder_s_published_learning_rates(dataset: str, last: float) -> None:
    """Cosine stepped once an epoch from the tenth on, T_max in batches: what is left at the end."""
    from benchmark.training.stages.simclr import SimCLR

    cfg: SimCLRConfig = recipe("paper", dataset)
    assert cfg.steps == 200 * cfg.epoch_steps
    stage = SimCLR.__new__(SimCLR)
    stage.cfg = cfg
    assert stage.lr_factor(0) == stage.lr_factor(11 * cfg.epoch_steps - 1) == 1.0
    assert stage.lr_factor(11 * cfg.epoch_steps) < 1.0
    assert stage.lr_factor(cfg.steps - 1) == pytest.approx(last, abs=0.005)


def test_gan_methods_state_their_average() -> None:
    assert issubclass(SNGAN, Method)
    assert GANConfig(steps=1, batch=1).ema_half_life_images == 10_000


@pytest.mark.slow  # two minutes of steps
@pytest.mark.parametrize("method", ["sngan", "infoscc"])
def test_the_harness_costs_at_most_five_percent_of_a_step(method: str) -> None:
    from bench_overhead import measure

    assert measure(method, blocks=15, steps=16)["ratio"] <= 1.05


@pytest.mark.parametrize("start", [3, 5])
def test_the_average_is_that_of_the_configuration(start: int, tmp_path: Path) -> None:
    """Of the last step alone, where it starts then; of no step, a copy of G, where it would start later."""
    cfg = Config(steps=1, batch=8, width=4, ema_half_life_images=20.0)
    nets = {}
    for steps in (3, 4):
        method = construct(SNGAN, replace(cfg, steps=steps, ema_start_steps=start), DATA, CPU, 0)
        method.linear_decay = False
        folder = tmp_path / str(steps)
        folder.mkdir()
        nets[steps] = method, train(method, DATA, folder, seed=1, label="test", quiet=True).average
    (third, _), (fourth, average) = nets[3], nets[4]
    assert average is not None
    beta = 0.5 ** (8 / 20) if start == 3 else 0.0  # images of a batch over the half-life
    for old, new, found in zip(third.G.parameters(), fourth.G.parameters(), average.parameters()):
        assert torch.allclose(found, beta * old + (1 - beta) * new, atol=1e-6)
        assert not torch.equal(old, new)
