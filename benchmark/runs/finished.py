"""A finished run: its generator, images of it, and its numbers by another protocol."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmark.core.config import content_hash, merge
from benchmark.core.errors import ConfigError, UserError, suggest
from benchmark.core.files import require_writable, write_text
from benchmark.core.sealed import Identity
from benchmark.core.seeds import derive_seed
from benchmark.data.cards import card_with, find_card
from benchmark.data.prepared import Dataset
from benchmark.evaluation.networks import build_judges
from benchmark.evaluation.sampling import stored
from benchmark.runs.device import device_name
from benchmark.runs.figures.of_run import instance_grid, save_each, spread
from benchmark.runs.figures.pictures import save_grid
from benchmark.runs.folder import GENERATOR, load_generator, require_finished, run_identity, run_name
from benchmark.runs.records import Record, read_record, record_path, write_record
from benchmark.runs.run import score, scoring_artifacts, trained_against
from benchmark.runs.spec import Paths, Resolved, RunSpec, prepare_for, resolve
from benchmark.runs.trained import TrainedRun
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.checkpoints import CHECKPOINT, load_checkpoint
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
    if not (there := record_path(paths.results, run)).exists():
        fix = "name the results that it belongs to (--results), or run it again"
        raise UserError(f"{folder}: its record is not in {there.parent}", "a run is scored by its record", fix)
    record = read_record(there)
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
        time={name: value for name, value in record.time.items() if name != "utc"}
        | {"evaluation_s": time.perf_counter() - began},
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


@dataclass(frozen=True)
class Request:
    """What all samples are conditioned on, as the command line says it; None: as the method draws its conditions."""

    label: str | None = None  # a class or cluster, by number or name
    attributes: str | None = None  # 1,0,1: one number for each attribute of the dataset
    instance: int | None = None  # a training image, by its row

    def condition(self, run: TrainedRun) -> Any:
        """The condition as `TrainedRun.sample` takes it. Raises ConfigError for one that the method does not take."""
        kind, method = run.method.conditioning, run.method
        taken = {
            "--class": kind in ("class", "cluster") or bool(method.n_paired_classes),
            "--attributes": kind == "attributes",
            "--instance": kind in ("instance", "latent"),
        }
        given = {"--class": self.label, "--attributes": self.attributes, "--instance": self.instance}
        for option, value in given.items():
            if value is not None and not taken[option]:
                others = " or ".join(name for name, fits in taken.items() if fits)
                fix = f"use {others}" if others else "leave it out: the method is unconditional"
                raise ConfigError(f"{option} {value}", f"the run is conditioned on: {kind}", fix)
        if self.attributes is not None:
            return self._attributes(run.data)
        number = None if self.label is None else _class_number(self.label, run.data)
        if number is not None and method.n_paired_classes:
            if self.instance is None:
                raise ConfigError(f"--class {self.label}", "the class is shown in an image", "give --instance, too")
            return [[self.instance, number]]
        return self.instance if number is None else number

    def _attributes(self, data: Dataset) -> list[int]:
        assert self.attributes is not None
        parts, names = [part.strip() for part in self.attributes.split(",")], data.attribute_names
        if len(parts) != len(names) or not set(parts) <= {"0", "1"}:
            raise ConfigError(
                f"--attributes {self.attributes}",
                f"the run has {len(names)} attributes: {', '.join(names)}",
                f"give {len(names)} numbers, 1 with and 0 without: {','.join('1' + '0' * (len(names) - 1))}",
            )
        return [int(part) for part in parts]


def conditions_for(request: Request, run: TrainedRun, n: int) -> Tensor | None:
    """The same condition n times, checked; None where nothing is requested."""
    one = request.condition(run)
    rows = [one] * n if run.method.conditioning == "attributes" and one is not None else one
    return run.checked_conditions(n, rows)


def _class_number(text: str, data: Dataset) -> int:
    """A class by its number or its name."""
    if text.isdecimal():
        return int(text)
    if text not in data.class_names:
        raise ConfigError(f"--class {text}", "the dataset has no such class", suggest(text, data.class_names))
    return list(data.class_names).index(text)


def write_samples(
    resolved: Resolved,
    paths: Paths,
    device: torch.device,
    n: int,
    folder: Path,
    instances: str | None = None,
    request: Request = Request(),
    latents: int = 0,
) -> None:
    """Write n images of a finished run as PNG files, and `asked.csv` with what each was to be.

    2-D points go to `points.csv`. instances: another dataset whose training images G is conditioned on instead of the
    method's own (transfer); with the samples of the first ones they are in `instances.png`. request: what all images
    are conditioned on. Raises ConfigError for a method that is not conditioned on it.
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
    save_samples(TrainedRun(resolved.folder, {}, method, G, data), n, folder, request, latents)


def save_samples(run: TrainedRun, n: int, folder: Path, request: Request = Request(), latents: int = 0) -> None:
    """Write n samples of a loaded run as PNG files, and `asked.csv` with what each is conditioned on.

    2-D points go to `points.csv`. latents: seed of all that is random.
    Raises ConfigError for a method that is not conditioned on what is requested, and where samples of another call lie.
    """
    wanted = conditions_for(request, run, n)
    require_writable(folder)
    _require_no_others(folder, n)
    sample = run.sample_with_conditions(n, wanted, seed=latents)
    images = stored(sample.images)
    if run.data.is_points:
        write_text(folder / "points.csv", "x,y\n" + "".join(f"{x:.9g},{y:.9g}\n" for x, y in images))
        return
    rows = [""] * n if sample.conditions is None else [_in_words(one) for one in sample.conditions]
    lines = ["file,asked"]
    for i, image in enumerate(images):
        file = f"{i:06d}.png"
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / file)
        lines.append(f"{file},{rows[i]}")
    write_text(folder / "asked.csv", "\n".join(lines) + "\n")


def _require_no_others(folder: Path, n: int) -> None:
    """Raise ConfigError where samples of a longer call lie in the folder: they would be taken for some of these."""
    others = [file for file in folder.glob("[0-9]" * 6 + ".png") if int(file.stem) >= n]
    if others:
        raise ConfigError(
            f"{folder}: has {len(others)} more samples, of another call",
            f"they would be taken for some of these {n}",
            "choose another folder, or remove them",
        )


def _in_words(condition: Tensor) -> str:
    """One sample's condition: a number, or several with blanks between them."""
    return " ".join(map(str, condition.reshape(-1).tolist()))
