"""The training loop: start or resume, step, average the weights, log, checkpoint.

Every random draw of a step is a function of (seed, step, rank) and every batch of (seed, images drawn), so a run that
was killed and started again computes the same bits on the same machine as one that was not.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from tqdm import tqdm

from benchmark.core import distributed
from benchmark.core.allocator import keep_freed_memory
from benchmark.core.engine import EAGER, Engine
from benchmark.core.errors import RunFailed
from benchmark.core.sealed import Identity
from benchmark.core.seeds import seed_step
from benchmark.core.signals import Preempted, must_leave, saving_before_leaving
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.precision import training_precision
from benchmark.training.capture import stepper
from benchmark.training.checkpoints import resume, save_checkpoint
from benchmark.training.config import GANConfig, TrainConfig
from benchmark.training.ema import EMA
from benchmark.training.method import Trainable
from benchmark.training.progress import LOG, Log, Reporter


class NonFiniteLoss(RunFailed):
    """A loss became NaN or infinite."""

    def __init__(self, label: str, step: int, folder: Path) -> None:
        super().__init__(
            f"{label}: non-finite loss at step {step}",
            "a loss became NaN or infinite; the last good checkpoint is kept",
            f"look at the last lines of {folder / LOG}; a lower learning rate is the usual cure",
        )


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
        log.sync()
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
