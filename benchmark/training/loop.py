"""The training loop: start or resume, step, average the weights, log, checkpoint.

Every random draw of a step is a function of (seed, step, rank) and every batch of (seed, images drawn), so a run that
was killed and started again computes the same bits on the same machine as one that was not.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.core import distributed
from benchmark.core.allocator import keep_freed_memory
from benchmark.core.engine import EAGER, Engine
from benchmark.core.errors import RunFailed, UserError
from benchmark.core.files import JsonLines
from benchmark.core.sealed import Identity
from benchmark.core.seeds import seed_step
from benchmark.core.signals import Preempted, must_leave, saving_before_leaving
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.precision import training_precision
from benchmark.training.capture import stepper
from benchmark.training.config import GANConfig, TrainConfig
from benchmark.training.method import Trainable
from benchmark.training.tensors import load_with_identity, not_a_checkpoint, save_tensors

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


class NonFiniteLoss(RunFailed):
    """A loss became NaN or infinite."""

    def __init__(self, label: str, step: int, folder: Path) -> None:
        super().__init__(
            f"{label}: non-finite loss at step {step}",
            "a loss became NaN or infinite; the last good checkpoint is kept",
            f"look at the last lines of {folder / LOG}; a lower learning rate is the usual cure",
        )


@dataclass
class EMA:
    """Exponential moving average of a network's parameters; its buffers are copied.

    Source: beta = 0.5^(batch / half-life), the half-life counted in images (Karras et al. 2018; InfoSCC-GAN's code).
    Until start_step it is a copy of the network (BigGAN's code).
    """

    net: nn.Module
    beta: float
    start_step: int = 0

    @classmethod
    def of(cls, net: nn.Module, batch: int, half_life_images: float, start_step: int = 0) -> EMA:
        """Start an average at the network's present weights."""
        return cls(copy.deepcopy(net).requires_grad_(False).eval(), 0.5 ** (batch / half_life_images), start_step)

    @torch.no_grad()
    def update(self, live: nn.Module, t: int, factor: float = 1.0) -> None:
        """Move the average towards the live network after step t. factor: of the half-life; 0 makes it a copy."""
        weight = 1.0
        if t >= self.start_step and factor > 0:
            weight = 1 - (self.beta if factor == 1 else self.beta ** (1 / factor))
        torch._foreach_lerp_(list(self.net.parameters()), list(live.parameters()), weight)
        if buffers := list(self.net.buffers()):
            torch._foreach_copy_(buffers, list(live.buffers()))


class Log:
    """Means of the scalars over the steps since the last line and over ranks, one JSON line each.

    Between lines the host waits for no device.
    """

    def __init__(self, path: Path) -> None:
        self.lines = JsonLines(path)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def begin(self, step: int) -> None:
        """Drop the lines after the checkpoint that is resumed from: those steps are computed again."""
        if distributed.is_main():
            self.lines.keep(lambda line: line["step"] <= step)

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Add one step's scalars."""
        for name, value in scalars.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """The sums since the last line, of every rank. Every rank calls."""
        return {
            "sums": {name: distributed.gather(total.reshape(1)) for name, total in self.sums.items()},
            "counts": self.counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from sums that were kept; over another number of ranks from their mean."""
        same = all(len(totals) == distributed.world() for totals in state["sums"].values())
        for name, totals in state["sums"].items():
            self.sums[name] = totals[distributed.rank()] if same else totals.mean(0)
            self.counts[name] = int(state["counts"][name])

    def flush(self, step: int, images: int) -> dict[str, float]:
        """Write the means since the last line. Returns them. Every rank calls; each has seen its share of the batch."""
        totals = distributed.means(list(self.sums.values()))
        means = {name: float(total) / self.counts[name] for name, total in zip(self.sums, totals)}
        self.sums, self.counts = {}, {}
        if means and distributed.is_main():
            self.lines.append({"step": step, "images": images, **_finite(means)})
        return means


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: it becomes null."""
    return {name: value if abs(value) < float("inf") else None for name, value in values.items()}


@dataclass
class TrainResult:
    """What training leaves: the average generator if one was kept, and the seconds spent over all processes' lives."""

    average: nn.Module | None
    seconds: float
    steps_per_s: float
    images: int  # real images seen, over all ranks: see `images_seen`


def stream_for(trainable: Trainable, data: Dataset, seed: int) -> Stream:
    """The stream of training images of a stage or method, at its beginning."""
    return Stream(
        data.split(trainable.split),
        batch=trainable.cfg.batch,
        device=trainable.device,
        seed=seed,
        flip=trainable.cfg.flip and data.flip_ok,
        rank=distributed.rank(),
        world=distributed.world(),
    )


class Callback(Protocol):
    """Looks at a GAN in training; it may change nothing and may draw random numbers."""

    def begin(self, step: int) -> None:
        """Training starts, or continues after this step."""

    def __call__(self, step: int, G: nn.Module) -> None:
        """G, the average one where there is one, after a step."""

    def logged(self, step: int, scalars: dict[str, float]) -> None:
        """A line was written to the log: real images seen (`images`), and means since the line before. Every rank."""


class Callbacks:
    """Several callbacks as one, called in their order."""

    def __init__(self, *parts: Callback) -> None:
        self.parts = parts

    def begin(self, step: int) -> None:
        """Training starts, or continues after this step."""
        for part in self.parts:
            part.begin(step)

    def __call__(self, step: int, G: nn.Module) -> None:
        """G after a step."""
        for part in self.parts:
            part(step, G)

    def logged(self, step: int, scalars: dict[str, float]) -> None:
        """A line was written to the log."""
        for part in self.parts:
            part.logged(step, scalars)


@saving_before_leaving
def train(
    trainable: Trainable,
    data: Dataset,
    folder: Path,
    *,
    seed: int,
    label: str,
    quiet: bool = False,
    watch: Callback | None = None,
    identity: Identity | None = None,
    engine: Engine = EAGER,
) -> TrainResult:
    """Train to the configured number of steps in `folder`, resuming from its checkpoint when there is one.

    watch: called after every step; its time is not the training's. identity: of the run or stage; its checkpoints carry
    it, and one of another is refused. None: not checked. engine: how a step is computed.
    Raises NonFiniteLoss, with the last good checkpoint kept; UserError when the checkpoint cannot be used; Preempted,
    with the present step saved, on SIGUSR2.
    """
    cfg = trainable.cfg
    if trainable.device.type == "cpu":
        keep_freed_memory()
    stream = stream_for(trainable, data, seed)
    average = _average(trainable)
    log = Log(folder / LOG)
    start, seconds = resume(folder, trainable, average, stream, log, identity)
    log.begin(start)
    if start and not quiet and distributed.is_main():
        print(f"{label}: resuming from step {start} of {cfg.steps}", flush=True)
    if watch is not None:
        watch.begin(start)
    shown = not quiet and distributed.is_main() and sys.stderr.isatty()
    progress = tqdm(total=cfg.steps, initial=start, desc=label, unit="step", disable=not shown, dynamic_ncols=True)
    reporter = Reporter(label, cfg.steps, enabled=not shown and not quiet and distributed.is_main())
    base = _learning_rates(trainable)
    factor: float | None = None  # not known: a resumed optimiser has the rate of its last step
    began = time.perf_counter()

    def checkpoint(step: int) -> None:
        progress = {"step": step, "position": stream.position, "seconds": seconds + time.perf_counter() - began}
        save_checkpoint(folder, trainable, average, {**progress, "log": log.state_dict()}, label, identity)

    step = stepper(trainable, stream, engine.capture)
    for t in range(start, cfg.steps):
        trainable._step = t
        seed_step(seed, t)
        if (new := trainable.lr_factor(t)) != factor:
            factor = new
            _set_learning_rates(base, factor)
        with training_precision(engine.precision, trainable.device):
            scalars = step(stream, t)
        log.add(scalars)
        if average is not None:
            average.update(trainable.G, t, trainable.ema_factor(t))  # type: ignore[attr-defined]
        done = t + 1
        if watch is not None:
            paused = time.perf_counter()
            watch(done, average.net if average else trainable.G)  # type: ignore[attr-defined]
            began += time.perf_counter() - paused
        due = done % cfg.checkpoint_every == 0 or done == cfg.steps
        if done % cfg.log_every == 0 or due:
            images = images_seen(cfg, done, stream.position)
            losses = log.flush(done, images)
            if watch is not None and losses:
                paused = time.perf_counter()
                watch.logged(done, {"images": images, **losses})
                began += time.perf_counter() - paused
            require_finite(trainable, label, folder)
            progress.set_postfix({name: f"{value:.3g}" for name, value in losses.items()}, refresh=False)
            reporter.report(done, losses)
        progress.update()
        leaving = distributed.anyone(must_leave())  # the signal reaches ranks at different steps
        if leaving and not due:
            require_finite(trainable, label, folder)
        if due or leaving:
            checkpoint(done)
        if leaving:
            progress.close()
            distributed.barrier()  # torchrun ends all ranks when one ends; rank 0 may still be saving
            raise Preempted
    progress.close()
    seconds += time.perf_counter() - began
    return TrainResult(
        average.net if average else None,
        seconds,
        cfg.steps / seconds if seconds else 0.0,
        images_seen(cfg, cfg.steps, stream.position),
    )


def images_seen(cfg: TrainConfig, step: int, drawn: int) -> int:
    """Real images that a GAN's discriminator was given in so many steps; of a stage, those that it has drawn."""
    return step * cfg.images_a_step if isinstance(cfg, GANConfig) else drawn


def _average(trainable: Trainable) -> EMA | None:
    """The moving average that a GAN's configuration sets."""
    if not isinstance(trainable.cfg, GANConfig) or not trainable.cfg.ema_half_life_images:
        return None
    cfg = trainable.cfg
    return EMA.of(trainable.G, cfg.batch, cfg.ema_half_life_images, cfg.ema_start_steps)  # type: ignore[attr-defined]


def _learning_rates(trainable: Trainable) -> list[tuple[dict[str, Any], float]]:
    """Each optimiser's parameter groups with their configured learning rates.

    Taken before the first step of this process; the configured rate is kept by torch under `initial_lr` so that a
    resumed optimiser, whose `lr` is the scaled one, starts from the same figure.
    """
    groups = [group for optimiser in trainable.optimisers().values() for group in optimiser.param_groups]
    return [(group, group.setdefault("initial_lr", group["lr"])) for group in groups]


def _set_learning_rates(base: list[tuple[dict[str, Any], float]], factor: float) -> None:
    for group, lr in base:
        group["lr"] = lr * factor


def require_finite(trainable: Trainable, label: str, folder: Path) -> None:
    """Raise NonFiniteLoss, on every rank, if a loss of any rank was not finite."""
    bad = int(distributed.largest(trainable.first_bad_step))
    if bad >= 0:
        raise NonFiniteLoss(label, bad, folder)


class Reporter:
    """Progress as plain lines for logs: about one every ten seconds, and the last."""

    def __init__(self, label: str, total: int, enabled: bool, every_s: float = 10.0) -> None:
        self.label, self.total, self.enabled, self.every_s = label, total, enabled, every_s
        self.since = time.perf_counter()
        self.steps: int | None = None  # done when the last line was printed

    def report(self, done: int, losses: dict[str, float]) -> None:
        """Print a line when one is due."""
        now = time.perf_counter()
        if self.steps is None:
            self.steps = done
            return
        if not self.enabled or (now - self.since < self.every_s and done < self.total):
            return
        rate = (done - self.steps) / max(now - self.since, 1e-9)
        text = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
        print(f"{self.label}: step {done}/{self.total}  {rate:.1f} steps/s  {text}", flush=True)
        self.since, self.steps = now, done


def save_checkpoint(
    folder: Path,
    trainable: Trainable,
    average: EMA | None,
    progress: dict[str, Any],
    label: str,
    identity: Identity | None = None,
) -> None:
    """Replace the folder's checkpoint, whole or not at all. Only rank 0 writes.

    progress: steps done (`step`), images drawn (`position`), seconds spent (`seconds`), state of the log (`log`).
    Raises RunFailed, on every rank, instead of saving a weight that is not finite.
    """
    for name, net in trainable.modules().items():
        if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
            raise RunFailed(
                f"{label}: non-finite weight in {name} at step {progress['step'] - 1}",
                "the last good checkpoint is kept",
            )
    if not distributed.is_main():
        return
    saved = {
        **progress,
        "state": trainable.state_dict(),
        "average": average.net.state_dict() if average else None,
    }
    save_tensors(folder / CHECKPOINT, saved, identity)


def resume(
    folder: Path,
    trainable: Trainable,
    average: EMA | None,
    stream: Stream,
    log: Log,
    identity: Identity | None = None,
) -> tuple[int, float]:
    """Continue from the folder's checkpoint where there is one. Returns the steps done and the seconds they took.

    Raises UserError when the checkpoint is damaged, does not say that it is of `identity`, or has other networks.
    """
    if (saved := load_checkpoint(folder, trainable.device, identity, earlier_versions=False)) is None:
        return 0, 0.0
    try:
        step, position, seconds = _progress(saved, trainable.cfg.steps)
        if average is not None:
            average.net.load_state_dict(saved["average"])
        elif saved["average"] is not None:
            raise ValueError("it has an average generator, and this run keeps none")
        trainable.load_state_dict(saved["state"])
        stream.position = position
        log.load_state_dict(saved.get("log") or {"sums": {}})  # an earlier version keeps none: it saves at a line
        return step, seconds
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise not_a_checkpoint(folder / CHECKPOINT, error) from None


def _progress(saved: dict[str, Any], steps: int) -> tuple[int, int, float]:
    """Steps done, images drawn and seconds spent of a checkpoint. Raises ValueError for what cannot be."""
    step, position, seconds = saved["step"], saved["position"], saved["seconds"]
    if type(step) is not int or not 0 < step <= steps:
        raise ValueError(f"it was made after step {step}, and this run has steps 1 to {steps}")
    if type(position) is not int or position < 0:
        raise ValueError(f"it says that {position} images were drawn")
    if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"it says that {seconds} seconds were spent")
    return step, position, float(seconds)


def load_checkpoint(
    folder: Path, device: torch.device, identity: Identity | None = None, *, earlier_versions: bool = True
) -> dict[str, Any] | None:
    """The folder's checkpoint, or None. Raises UserError when the file is not one, or of another than `identity`.

    earlier_versions: take a checkpoint that does not say what it is of. To continue from one would mix two runs if it
    was copied there: nothing in the folder proves that it was not, since `config.yaml` is there before it. What reads a
    finished run compares it with the generator instead.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    saved, own = load_with_identity(path, device, identity)
    if own is None and identity is not None and not earlier_versions:
        raise UserError(
            f"{path}: does not say which run it is of",
            "it was written by an earlier version, and to continue from it could mix two runs",
            f"remove {path} to start again, or finish the run with the version that began it",
        )
    if not isinstance(saved, dict):
        raise not_a_checkpoint(path, TypeError(f"it holds a {type(saved).__name__}"))
    return saved
