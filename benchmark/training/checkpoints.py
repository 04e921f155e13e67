"""The checkpoint of a training: saved whole or not at all, and checked before a training continues from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from benchmark.core import distributed
from benchmark.core.errors import RunFailed, UserError
from benchmark.core.sealed import Identity
from benchmark.data.stream import Stream
from benchmark.training.ema import EMA
from benchmark.training.method import Trainable
from benchmark.training.progress import Log
from benchmark.training.tensors import load_with_identity, not_a_checkpoint, save_tensors

CHECKPOINT = "checkpoint.pt"


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
