"""A finished run: its generator, pictures of it, and its numbers by another protocol."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmark.core.config import content_hash, merge
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import require_writable, write_text
from benchmark.core.sealed import Identity
from benchmark.core.seeds import derive_seed
from benchmark.data.cards import card_with, find_card
from benchmark.evaluation.networks import build_judges
from benchmark.evaluation.sampling import stored
from benchmark.runs.device import device_name
from benchmark.runs.figures.of_run import instance_grid, save_each, spread
from benchmark.runs.figures.pictures import save_grid
from benchmark.runs.folder import GENERATOR, load_generator, require_finished, run_identity, run_name
from benchmark.runs.records import Record, read_record, record_path, write_record
from benchmark.runs.run import score, scoring_artifacts, trained_against
from benchmark.runs.spec import Paths, Resolved, RunSpec, prepare_for, resolve
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import CHECKPOINT, load_checkpoint
from benchmark.training.method import Method, construct
from benchmark.training.tensors import not_a_checkpoint


def rebuild(resolved: Resolved, paths: Paths, device: torch.device) -> tuple[Method, nn.Module, ArtifactStore]:
    """A finished run's method as training left it, the generator that was scored, and the artifacts of its data.

    Raises UserError when the run has no weights, or not all of them.
    """
    for path in (resolved.folder / GENERATOR, resolved.folder / CHECKPOINT):
        if not path.exists():
            raise UserError(
                f"{path} is missing",
                "the run has not finished training, or its weights were removed",
                "run it first: `python -m benchmark run ...`",
            )
    artifacts = ArtifactStore(prepare_for(resolved.card, paths, progress=True), paths.artifacts, device, quiet=True)
    stages = resolved.method.cls.stages(artifacts, resolved.config)
    method = construct(resolved.method.cls, resolved.config, artifacts.data, device, resolved.spec.seed, **stages)
    identity = run_identity(resolved, artifacts.data)
    G = load_generator(resolved.folder, copy.deepcopy(method.G), paths.results, resolved.run, identity)
    _load_trained(method, G, resolved.folder, identity)
    return method, G.eval(), artifacts


def _load_trained(method: Method, G: nn.Module, folder: Path, identity: Identity) -> None:
    """Put what training left into a method: what is drawn may be learned as well, such as frequencies of clusters.

    A checkpoint of an earlier version does not say which run it is of. Its generator has the weights of G, the one that
    was scored, or it is refused. Raises UserError for that, and for a checkpoint that is damaged or of another run.
    """
    try:
        saved = load_checkpoint(folder, method.device, identity)
        assert saved is not None
        require_finished(saved, G, method.cfg.steps)
        method.load_state_dict(saved["state"])
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise not_a_checkpoint(folder / CHECKPOINT, error, "restore the file from a copy, or run it again") from None


def rescore(folder: Path, paths: Paths, changes: dict[str, Any], device: torch.device, quiet: bool = False) -> Record:
    """Evaluate a finished run again with other settings of the evaluation. Writes a record of its own; returns it.

    folder: results/runs/<dataset>/<method>/<run>. changes: of EvalConfig. Raises UserError when the folder is not a run
    of these results, or the code's settings have changed since.
    """
    run = run_name(folder)
    record = read_record(record_path(paths.results, run))
    before = RunSpec(record.method, record.dataset, record.seed, record.recipe, record.changes)
    before, resolved = _resolve_as(run, before, paths)
    if resolved.run != run:
        raise ConfigError(
            f"{folder}: its settings are not those of today",
            f"the same command makes {resolved.run} now",
            "run it again",
        )
    changes = {
        "missing_weights": "unavailable"
    } | changes  # the generator is there: what can be had is better than none
    again = replace(before, changes=merge(before.changes, {"eval": changes}))
    wanted = resolve(again, paths)
    began = time.perf_counter()
    method, G, artifacts = rebuild(resolved, paths, device)
    networks = trained_against(artifacts)
    scoring = scoring_artifacts(wanted, paths, artifacts)
    build_judges(wanted.evaluation, scoring)
    scored = score(method, G, wanted.evaluation, scoring, artifacts, show_progress=not quiet)
    save_each(scored.pictures, folder)
    result = record.result_or_empty.to_dict() | {
        "samples_sha256": scored.samples_sha256,
        "distinct_samples": scored.distinct,
        "conditions": scored.conditions,
        "trained_against": networks,
    }
    return write_record(
        paths.results,
        f"{run}-eval-{content_hash(wanted.plain['eval'])[:8]}",
        status="done",
        reason="",
        identity={key: getattr(record, key) for key in ("method", "dataset", "recipe", "seed")}
        | {"changes": again.changes, "config_hash": wanted.config_hash, "config": wanted.plain},
        result=result | {"values": [value.to_dict() for value in scored.values]},
        time=record.time | {"evaluation_s": time.perf_counter() - began},
        device={"device": device_name(device), "threads": torch.get_num_threads(), "ranks": 1},
    )


def _resolve_as(run: str, spec: RunSpec, paths: Paths) -> tuple[RunSpec, Resolved]:
    """The run of a record as it resolves today, or as it did before: evaluators trained here, all metrics."""
    earlier: tuple[dict[str, Any], ...] = (
        {},
        {"evaluators": "local"},
        {"metrics": "all"},
        {"evaluators": "local", "metrics": "all"},
    )
    for settings in earlier:
        asked = replace(spec, changes=merge(spec.changes, {"eval": settings})) if settings else spec
        found = resolve(asked, paths)
        if found.run == run:
            return asked, found
    return spec, resolve(spec, paths)


def write_samples(
    resolved: Resolved, paths: Paths, device: torch.device, n: int, folder: Path, instances: str | None = None
) -> None:
    """Write n pictures of a finished run as PNG files, and `asked.csv` with what each was asked to be.

    2-D points go to `points.csv`. instances: another dataset whose training images are asked for instead of the
    method's own (transfer); beside the samples of the first ones they are in `instances.png`.
    Raises ConfigError for a method that is not conditioned on images.
    """
    name = resolved.method.name
    if instances is not None and resolved.method.cls.condition_on is Method.condition_on:
        raise ConfigError(f"--instances {instances}", f"{name} is not conditioned on images", "use icgan or latentcond")
    method, G, artifacts = rebuild(resolved, paths, device)
    data = artifacts.data
    require_writable(folder)
    if instances is not None:
        card = card_with(find_card(instances), {"resolution": data.resolution})
        other = prepare_for(card, paths, progress=True)
        method.condition_on(other, "train")
        torch.manual_seed(derive_seed(0x5A3C))
        numbers = spread(len(other.train), 10)
        save_grid(folder / "instances.png", instance_grid(method, G, other, numbers, [""] * len(numbers), columns=8))
    torch.manual_seed(derive_seed(0x5A3B))
    sample = [method.sample(G, min(250, n - first)) for first in range(0, n, 250)]
    images = np.concatenate([stored(part.images) for part in sample])
    if data.is_points:
        write_text(folder / "points.csv", "x,y\n" + "".join(f"{x:.9g},{y:.9g}\n" for x, y in images))
        return
    conditions = [
        " ".join(map(str, one.reshape(-1).tolist()))
        for part in sample
        if part.conditions is not None
        for one in part.conditions
    ]
    lines = ["file,asked"]
    for i, image in enumerate(images):
        file = f"{i:06d}.png"
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / file)
        lines.append(f"{file},{conditions[i] if conditions else ''}")
    write_text(folder / "asked.csv", "\n".join(lines) + "\n")
