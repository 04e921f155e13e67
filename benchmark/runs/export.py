"""A finished run as a folder that can be given away: `gantlet export RUN DIR`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.core.errors import ArgumentError, UserError
from benchmark.core.files import atomic, require_writable, write_text
from benchmark.runs.exported import CARD, SAMPLES, Exported, is_export, write_export
from benchmark.runs.folder import identity_in, load_sampling, require_finished
from benchmark.runs.model_card import NOT_STATED, model_card
from benchmark.runs.records import Record
from benchmark.runs.sampler_file import SAMPLER, write_sampler
from benchmark.runs.trained import TrainedRun, load_run
from benchmark.training.checkpoints import CHECKPOINT, load_checkpoint
from benchmark.training.tensors import not_a_checkpoint

_CPU = torch.device("cpu")


def export_run(
    folder: Path, out: Path, license: str = NOT_STATED, *, sampler: bool = False, compact: bool = False
) -> list[Path]:
    """Write a finished run to the empty folder `out`, in the layout of Hugging Face models. Returns the files.

    folder: of a finished run with its record. license: of the weights, such as `mit` or `cc-by-nc-4.0`. sampler: also
    write `sampler.pt2`, which torch alone can sample from. compact: only what sampling needs, large tensors in float16;
    no discriminator, samples or card.
    Raises UserError when the run is not finished, its files are damaged or of another run, its weights are not those of
    the record, or `out` is not empty.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", license):
        raise ArgumentError(f"license {license!r}", "it is no identifier of a licence", "use one such as cc-by-nc-4.0")
    if compact and license != NOT_STATED:
        raise ArgumentError(f"license {license!r}", "the card states it, and a compact export has none", "leave it out")
    if is_export(folder):
        raise UserError(f"{folder}: an export already", "a run is exported once", "copy the folder")
    trained = load_run(folder, _CPU)  # checks identity, and the weights against the record's hash
    record = _scored(trained)
    exported = _exported(trained, record, with_discriminator=not compact)
    _require_empty(out)
    if sampler:
        write_sampler(out / SAMPLER, trained)
    if not compact:
        _write_card(trained, record, out, license, sampler)
    write_export(out, exported, str(record.environment.get("gantlet") or "unknown"), compact)
    return sorted(out.iterdir())


def _write_card(trained: TrainedRun, record: Record, out: Path, license: str, sampler: bool) -> None:
    """The model card, and the samples that it shows."""
    folder = trained.folder
    has_picture = (folder / SAMPLES).is_file()
    if has_picture:
        with open(folder / SAMPLES, "rb") as source, atomic(out / SAMPLES) as copy:
            shutil.copyfileobj(source, copy)
    card = model_card(trained, record, license=license, picture=SAMPLES if has_picture else None, sampler=sampler)
    write_text(out / CARD, card)


def _scored(trained: TrainedRun) -> Record:
    """The record, whose numbers are those of these weights. Raises UserError when it does not say so."""
    record = trained.record
    if record.status != "done" or record.result_or_empty.weights_sha256 is None:
        reason = f"the run {record.status}" if record.status != "done" else "it does not have the hash of the weights"
        raise UserError(f"{record.run}: the record cannot be exported", reason, "run it again")
    if record.config_hash != identity_in(trained.folder)["config_hash"]:
        reason = "its settings are not those of config.yaml in the run's folder"
        raise UserError(f"{record.run}: the record is of another run", reason, "restore the two from a copy")
    return record


def _exported(trained: TrainedRun, record: Record, with_discriminator: bool) -> Exported:
    data, state = load_sampling(trained.folder, _CPU, identity_in(trained.folder))
    digest = record.result_or_empty.weights_sha256
    assert digest is not None  # `_scored` has seen it
    weights = trained.G.state_dict()
    D = _discriminator(trained, trained.G) if with_discriminator else None
    return Exported(trained.name, trained.config, digest, data, state, weights, D)


def _discriminator(trained: TrainedRun, G: nn.Module) -> dict[str, Tensor] | None:
    """D's tensors; None where the run kept no checkpoint, or the method calls none of its networks D.

    Raises UserError for a checkpoint that is damaged or of another run.
    """
    path = trained.folder / CHECKPOINT
    try:
        saved = load_checkpoint(trained.folder, _CPU, identity_in(trained.folder))
        if saved is None:
            return None
        require_finished(saved, G, trained.method.cfg.steps)
        found: dict[str, Any] | None = saved["state"].get("D")
        return found
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise not_a_checkpoint(path, error, "restore the file from a copy, or run it again") from None


def _require_empty(out: Path) -> None:
    """Raise UserError unless files can be written to `out` and it has none."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        reason = "it is not empty" if out.is_dir() else "it is not a folder"
        raise UserError(f"{out}: cannot be exported to", reason, "give a new folder, or remove this one")
    require_writable(out)
