"""One run, from its settings to its record: check, prepare, train, evaluate, write down.

Order of what can go wrong: names and files first (seconds), then a dry run of the whole pipeline on synthetic images
(`plan`), and only then anything long.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.core import distributed
from benchmark.core.config import flatten
from benchmark.core.environment import environment
from benchmark.core.errors import ConfigError, DataError, RunFailed
from benchmark.core.files import lock, remove_torn, require_writable
from benchmark.core.registry import method_code
from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.evaluate import EvaluationResult, evaluate
from benchmark.evaluation.networks import build_judges
from benchmark.evaluation.sampling import standing_statistics
from benchmark.evaluation.snapshots import Snapshots
from benchmark.runs.device import device_name, peak_memory_mb, pick_device, use_threads
from benchmark.runs.figures.feature_space import save_feature_space
from benchmark.runs.figures.of_run import save_each, save_pictures
from benchmark.runs.folder import (
    GENERATOR,
    begun_with_other_code,
    claim_folder,
    computed_otherwise,
    is_other_code,
    run_identity,
    save_sampling,
    weights_hash,
)
from benchmark.runs.logs import require_log
from benchmark.runs.plan import make_plan
from benchmark.runs.records import Record, read_record, record_path, write_record
from benchmark.runs.spec import Paths, Resolved, prepare_for, require_files
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.capture import check_capture
from benchmark.training.loop import Callback, Callbacks, train
from benchmark.training.method import Method, construct
from benchmark.training.progress import stalled_since
from benchmark.training.tensors import save_tensors


def run(
    resolved: Resolved,
    paths: Paths,
    *,
    device: str = "auto",
    quiet: bool = False,
    threads: int | None = None,
    log: str | None = None,
) -> Record:
    """Train and evaluate one run, or find its record. Returns the record.

    log: one of `LOGS`, written next to `log.jsonl`; it changes neither bits nor names.
    Raises UserError for anything the user can fix, before long work starts; RunFailed, after a record with the reason
    was written, when training or evaluation stopped; BusyError when another process works on the run.
    """
    require_log(log)
    path = record_path(paths.results, resolved.run)
    if distributed.agree(path.exists()):
        record = found_record(resolved, paths, path)
        if distributed.is_main() and is_other_code(resolved.method.name, record.environment):
            tell(f"{_changed(resolved)} since {path} was written; nothing was trained", quiet)
        return record
    where = pick_device(device)
    use_threads(resolved, threads)
    require_writable(paths.results)
    require_shares(resolved, distributed.world())
    check_capture(resolved.method.cls, resolved.config, where, resolved.engine.capture)
    require_files(resolved, paths)
    plan = distributed.by_main(lambda: make_plan(resolved, paths, where))
    if plan is not None:
        if not quiet:
            print(plan.text(), flush=True)
        if plan.warning():
            print(f"note: {plan.warning()}", flush=True)
    shown = not quiet and sys.stderr.isatty()
    data = distributed.by_main(lambda: prepare_for(resolved.card, paths, progress=shown))
    if data is None:
        data = prepare_for(resolved.card, paths)  # found: rank 0 has prepared it
    here = _here(resolved, where)
    with ExitStack() as held:
        others = distributed.by_main(lambda: _take(resolved, data, held, environment() | here))
        if distributed.is_main() and begun_with_other_code(resolved):
            tell(f"{_changed(resolved)} since this run was begun; it goes on with the present code", quiet)
        if others:
            tell(f"{_mixed(others, environment() | here)}", quiet)
            here["also_trained_with"] = others
        return _run(resolved, paths, data, where, quiet, plan.flops_per_step if plan else 0.0, log, here)


def _here(resolved: Resolved, device: torch.device) -> dict[str, Any]:
    """What a record says of where and by what a run was computed, besides `environment`."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "ranks": distributed.world(),
        "method_code": method_code(resolved.method.name),
    }


def _take(resolved: Resolved, data: Dataset, held: ExitStack, here: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the run's folder for this process, until `held` is closed. Returns as `computed_otherwise`.

    Raises BusyError, and as `claim_folder`.
    """
    held.enter_context(lock(resolved.folder / ".lock", f"the run {resolved.run}", wait=False))
    remove_torn(resolved.folder)
    claim_folder(resolved, data, here)
    return computed_otherwise(resolved.folder, here)


def _mixed(others: list[dict[str, Any]], here: dict[str, Any]) -> str:
    """What is told of a run that goes on with another arithmetic than it was begun with."""
    now = here | {"torch": here["libraries"]["torch"]}
    changes = [f"{name} {part[name]}, now {now[name]}" for part in others for name in part if part[name] != now[name]]
    return (
        f"this run was begun with {'; '.join(dict.fromkeys(changes))}: its last digits may not be those of an "
        "undisturbed run, and its record will say so"
    )


def tell(note: str, quiet: bool) -> None:
    """Say what the user should know: on standard output, or as a warning where nothing is printed."""
    if quiet:
        warnings.warn(note, stacklevel=3)
    else:
        print(f"note: {note}", flush=True)


def _changed(resolved: Resolved) -> str:
    return f"to train anew, raise `version` in methods/{resolved.method.name}.py: that file has changed"


def found_record(resolved: Resolved, paths: Paths, path: Path) -> Record:
    """The record of a run that is over. Raises ConfigError when the images it was made of have changed since."""
    record = read_record(path)
    result = record.result_or_empty
    for card, known in ((resolved.card, result.data), (resolved.transfer, result.transfer)):
        if card is None or known is None or known.sha256 is None:
            continue
        try:
            data = prepare_for(card, paths)
        except DataError:
            continue  # the images are gone: the record is what is left of them
        if known.sha256 != data.sha256:
            raise ConfigError(
                f"{path}: made of other images",
                f"{card.name} has changed since: sha256 {known.sha256[:12]} then, {data.sha256[:12]} now",
                "move the record and its run folder away to run on the new ones",
            )
    return record


def _run(
    resolved: Resolved,
    paths: Paths,
    data: Dataset,
    device: torch.device,
    quiet: bool,
    flops: float,
    log: str | None,
    here: dict[str, Any],
) -> Record:
    """`run` with the data prepared and, on rank 0, the run's lock held.

    flops: a step's, from the dry run. here: what the record says besides `environment`.
    """
    failure: RunFailed | None = None
    result, times = None, {"training_s": 0.0, "stages_s": 0.0, "evaluation_s": 0.0}
    try:
        result = _train_and_score(resolved, paths, data, device, quiet, times, log)
        if result is not None:
            result["flops_per_step"] = flops
    except RunFailed as error:
        failure = error
    facts: dict[str, Any] = {
        "status": "failed" if failure else "done",
        "reason": failure.what if failure else "",
        "identity": {
            "method": resolved.method.name,
            "dataset": data.name,
            "recipe": resolved.recipe,
            "seed": resolved.spec.seed,
            "changes": resolved.spec.changes,
            "config_hash": resolved.config_hash,
            "config": resolved.plain,
        },
        "result": result,
        "time": times,
        "device": here,
    }
    record = distributed.agree(distributed.by_main(lambda: write_record(paths.results, resolved.run, **facts)))
    if failure:
        raise failure
    assert record is not None  # rank 0 has written it
    return record


def require_shares(resolved: Resolved, world: int) -> None:
    """Raise ConfigError for a batch, of whichever stage, that `world` processes cannot share equally.

    Or for one that they could only share by tearing apart images that the method looks at together.
    """
    settings = {**resolved.plain["config"], "eval": resolved.plain["eval"]}
    bad = [
        f"{key} = {batch}"
        for key, batch in flatten(settings).items()
        if key.split(".")[-1] == "batch" and batch % world
    ]
    if bad:
        raise ConfigError(
            f"{', '.join(bad)}: cannot be shared by {world} processes",
            "each process takes the same number of images",
            f"choose multiples of {world}",
        )
    together, batch = resolved.method.cls.inseparable(resolved.config), resolved.config.batch
    if world > 1 and batch % (world * together):
        raise ConfigError(
            f"batch = {batch}: cannot be shared by {world} processes",
            f"{resolved.method.name} looks at images in groups of {together}, each of which lies in one process",
            f"choose a multiple of {world * together}",
        )


def _train_and_score(
    resolved: Resolved,
    paths: Paths,
    data: Dataset,
    device: torch.device,
    quiet: bool,
    times: dict[str, float],
    log: str | None,
) -> dict[str, Any] | None:
    """Stages, training, evaluation, figures. Returns the record's `result`, on rank 0; fills in `times`."""
    artifacts = ArtifactStore(data, paths.artifacts, device, quiet)
    scoring = scoring_artifacts(resolved, paths, artifacts)
    seed, cls, cfg, folder = resolved.spec.seed, resolved.method.cls, resolved.config, resolved.folder
    stages = cls.stages(artifacts, cfg)
    n_stages, networks = len(artifacts.made), trained_against(artifacts)
    method = construct(cls, cfg, data, device, seed, **stages)
    snapshots = Snapshots(method, resolved.evaluation, artifacts, folder)
    identity = run_identity(resolved, data)
    with watching(log, snapshots, method, data, folder) as watch:
        outcome = train(
            method,
            data,
            folder,
            seed=derive_seed(seed, 1),
            label=resolved.method.name,
            quiet=quiet,
            watch=watch,
            identity=identity,
            engine=resolved.engine,
        )
    times["training_s"] = outcome.seconds
    G = (outcome.average or method.G).eval()
    began = time.perf_counter()
    build_judges(resolved.evaluation, scoring)

    def finish() -> EvaluationResult:
        """Sampling, metrics and figures."""
        standing_statistics(method, G)  # part of the weights: what is saved is what is scored
        save_tensors(folder / GENERATOR, G.state_dict(), identity)
        save_sampling(folder, method, data, identity)
        shown = not quiet and sys.stderr.isatty()
        scored = score(method, G, resolved.evaluation, scoring, artifacts, show_progress=shown)
        save_pictures(method, G, data, folder, paths.results, resolved.run, shown=scoring.data)
        save_each(scored.pictures, folder)
        snapshots.pictures()
        if scored.border is not None:
            names = scoring.data.class_names, scoring.data.attribute_names
            save_feature_space(folder, scored.border, *names)
        return scored

    scored = distributed.by_main(finish)
    if scored is None:
        return None
    times["evaluation_s"] = time.perf_counter() - began
    made_here = [*artifacts.made, *scoring.made]
    times["stages_s"] = sum({made.key: made.seconds for made in made_here}.values())  # each once, however often used
    times["steps_per_s"] = outcome.steps_per_s
    times["peak_memory_mb"] = peak_memory_mb(device)
    of_transfer = {} if scoring is artifacts else {"transfer": about(scoring.data)}
    return {
        "data": about(data),
        **of_transfer,
        "stages": [{"name": made.name, "key": made.key} for made in artifacts.made[:n_stages]],
        "trained_against": networks,
        "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in method.modules().items()},
        "steps": cfg.steps,
        "images_seen": outcome.images,
        **({} if (since := stalled_since(folder)) is None else {"stalled_since": since}),
        "weights_sha256": weights_hash(G),
        "samples_sha256": scored.samples_sha256,
        "distinct_samples": scored.distinct,
        "conditions": scored.conditions,
        "values": [value.to_dict() for value in [*scored.values, *snapshots.values()]],
    }


@contextmanager
def watching(log: str | None, snapshots: Snapshots, method: Method, data: Dataset, folder: Path) -> Iterator[Callback]:
    """What looks at a run's training: its snapshots, and the log that is requested."""
    if log is None:
        yield snapshots
        return
    from benchmark.runs.tensorboard import TensorBoard  # an optional package

    board = TensorBoard(method, data, folder)
    try:
        yield Callbacks(snapshots, board)
    finally:
        board.close()


def trained_against(artifacts: ArtifactStore) -> list[dict[str, Any]]:
    """For the record: the frozen networks that a method's stages took from the store, and nothing else so far has."""
    return [network.to_dict() for network in artifacts.networks]


def scoring_artifacts(resolved: Resolved, paths: Paths, artifacts: ArtifactStore) -> ArtifactStore:
    """The artifacts of the data that a run is scored against: its own, or those of a transfer, prepared here."""
    if resolved.transfer is None:
        return artifacts
    data = prepare_for(resolved.transfer, paths)
    return ArtifactStore(data, paths.artifacts, artifacts.device, artifacts.quiet)


def score(
    method: Method,
    G: nn.Module,
    cfg: EvalConfig,
    scoring: ArtifactStore,
    trained: ArtifactStore,
    *,
    show_progress: bool = False,
) -> EvaluationResult:
    """Evaluate a run on the data of `scoring`; where it was trained on others, it is conditioned on them."""
    transferred = scoring is not trained
    if transferred:
        method.condition_on(scoring.data, "train")
    return evaluate(method, G, cfg, scoring, transferred=transferred, show_progress=show_progress)


def about(data: Dataset) -> dict[str, Any]:
    """What a record says of a dataset."""
    return {"sha256": data.sha256, "n_train": len(data.train), "n_test": len(data.test)}
