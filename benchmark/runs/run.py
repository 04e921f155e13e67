"""One run, from what was asked to its record: resolve, check, prepare, train, evaluate, write down.

Order of what can go wrong: names and files first (seconds), then a rehearsal of the whole pipeline on synthetic
pictures (`plan`), and only then anything long.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core import distributed
from benchmark.core.config import difference, dump_yaml, flatten, load_yaml
from benchmark.core.environment import environment
from benchmark.core.errors import ConfigError, DataError, RunFailed, suggest
from benchmark.core.files import lock, remove_torn, require_writable, write_json, write_text
from benchmark.core.seeds import derive_seed
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.data.stream import to_float
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.evaluate import EvaluationResult, build_judges, evaluate, standing_statistics
from benchmark.evaluation.point_plots import save_scatter
from benchmark.evaluation.snapshots import Snapshots
from benchmark.runs.figures.curves import save_curves
from benchmark.runs.figures.pictures import grid_of_rows, save_border, save_embedding, save_grid
from benchmark.runs.plan import make_plan
from benchmark.runs.records import Record, read_record, record_path, write_record
from benchmark.runs.spec import Paths, Resolved, RunSpec, require_files, resolve
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import LOG, save_tensors, train
from benchmark.training.method import Grid, Method, construct

MOST_ROWS = 20  # of a grid of samples
SCATTERED = 5000  # points of a scatter plot
CONFIG = "config.yaml"
GENERATOR = "generator.pt"


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is one, the rank's own under torchrun. Raises ConfigError for one that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {name}", "no such device", suggest(name, ["auto", "cpu", "cuda"]))
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda", "torch finds no CUDA device here", "use --device cpu, or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", distributed.local_rank())


def use_threads(resolved: Resolved, threads: int | None) -> None:
    """Set the threads of CPU kernels: as asked, as OMP_NUM_THREADS says, else one for the small recipes.

    Their kernels are too small to share: on two idle cores a step of InfoSCC-GAN at 16 px took 65 ms with one thread
    and 59 ms with two; beside one other busy process, 64 ms and 670 ms. The count is part of what makes runs repeat
    to the bit, so it is a rule and not a measurement of the moment.
    """
    if threads is None and "OMP_NUM_THREADS" not in os.environ and resolved.recipe == "small":
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)


def run(
    spec: RunSpec, paths: Paths, *, device: str = "auto", quiet: bool = False, threads: int | None = None
) -> Record:
    """Train and evaluate one run, or find its record. Returns the record.

    Raises UserError for anything the user can mend, before long work starts; RunFailed, after a record with the reason
    was written, when training or evaluation stopped; BusyError when another process works on the run.
    """
    resolved = resolve(spec, paths)
    path = record_path(paths.results, resolved.run)
    if distributed.agree(path.exists()):
        return found_record(resolved, paths, path)
    where = pick_device(device)
    use_threads(resolved, threads)
    require_writable(paths.results)
    require_shares(resolved, distributed.world())
    require_files(resolved, paths)
    if distributed.is_main():
        with distributed.alone():
            plan = make_plan(resolved, paths, where)
        if not quiet:
            print(plan.text(), flush=True)
        if plan.warning():
            print(f"note: {plan.warning()}", flush=True)
    if not distributed.is_main():
        distributed.barrier()  # rank 0 prepares the data, the others find it
    data = prepare(resolved.card, paths.data_root, paths.artifacts / "data", progress=not quiet and sys.stderr.isatty())
    if distributed.is_main():
        distributed.barrier()
        with lock(resolved.folder / ".lock", f"the run {resolved.run}", wait=False):
            remove_torn(resolved.folder)
            return _run(resolved, paths, data, where, quiet, plan.flops_per_step)
    return _run(resolved, paths, data, where, quiet, 0.0)


def found_record(resolved: Resolved, paths: Paths, path: Path) -> Record:
    """The record of a run that is over. Raises ConfigError when the pictures it was made of have changed since."""
    record = read_record(path)
    result = record.result_or_empty
    for card, known in ((resolved.card, result.data), (resolved.transfer, result.transfer)):
        if card is None or known is None or known.sha256 is None:
            continue
        try:
            data = prepare(card, paths.data_root, paths.artifacts / "data", progress=False)
        except DataError:
            continue  # the pictures are gone: the record is what is left of them
        if known.sha256 != data.sha256:
            raise ConfigError(
                f"{path}: made of other pictures",
                f"{card.name} has changed since: sha256 {known.sha256[:12]} then, {data.sha256[:12]} now",
                "move the record and its run folder away to run on the new ones",
            )
    return record


def _run(resolved: Resolved, paths: Paths, data: Dataset, device: torch.device, quiet: bool, flops: float) -> Record:
    """`run` with the data prepared and, on rank 0, the run's lock held. flops: a step's, from the rehearsal."""
    if distributed.is_main():
        claim_folder(resolved, data)
    distributed.barrier()
    failure: RunFailed | None = None
    result, times = None, {"training_s": 0.0, "stages_s": 0.0, "evaluation_s": 0.0}
    try:
        result = _train_and_score(resolved, paths, data, device, quiet, times)
        if result is not None:
            result["flops_per_step"] = flops
    except RunFailed as error:
        failure = error
    record: Record | None = None
    if distributed.is_main():
        record = write_record(
            paths.results,
            resolved.run,
            status="failed" if failure else "done",
            reason=failure.what if failure else "",
            identity={
                "method": resolved.method.name,
                "dataset": data.name,
                "recipe": resolved.recipe,
                "seed": resolved.spec.seed,
                "changes": resolved.spec.changes,
                "config_hash": resolved.config_hash,
                "config": resolved.plain,
            },
            result=result,
            time=times,
            device={"device": device_name(device), "threads": torch.get_num_threads(), "ranks": distributed.world()},
        )
    record = distributed.agree(record)
    if failure:
        raise failure
    assert record is not None  # rank 0 has written it
    return record


def require_shares(resolved: Resolved, world: int) -> None:
    """Raise ConfigError for a batch, of whichever stage, that `world` processes cannot share equally."""
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


def claim_folder(resolved: Resolved, data: Dataset) -> None:
    """Write the configuration into the run's folder, or check that it is the one that lies there.

    Raises ConfigError with the differences when the folder was begun with another configuration or other data.
    """
    mine = {"seed": resolved.spec.seed, "data_sha256": data.sha256, **resolved.plain}
    path = resolved.folder / CONFIG
    if path.exists():
        lines = difference(load_yaml(path), mine)
        if lines:
            raise ConfigError(
                f"{resolved.folder}: begun with another configuration",
                "continuing would mix two experiments; what differs (there -> now):\n    " + "\n    ".join(lines),
                "restore the configuration or the data, or move the folder away",
            )
        return
    write_json(resolved.folder / "env.json", environment())
    write_text(path, dump_yaml(mine))  # last: it says that the folder is claimed


def _train_and_score(
    resolved: Resolved, paths: Paths, data: Dataset, device: torch.device, quiet: bool, times: dict[str, float]
) -> dict[str, Any] | None:
    """Stages, training, evaluation, pictures. Returns the record's `result`, on rank 0; fills in `times`."""
    artifacts = ArtifactStore(data, paths.artifacts, device, quiet)
    scoring = scoring_artifacts(resolved, paths, artifacts)
    seed, cls, cfg, folder = resolved.spec.seed, resolved.method.cls, resolved.config, resolved.folder
    stages = cls.stages(artifacts, cfg)
    n_stages = len(artifacts.made)
    method = construct(cls, cfg, data, device, seed, **stages)
    snapshots = Snapshots(method, resolved.evaluation, artifacts, folder)
    outcome = train(
        method, data, folder, seed=derive_seed(seed, 1), label=resolved.method.name, quiet=quiet, watch=snapshots
    )
    times["training_s"] = outcome.seconds
    G = (outcome.average or method.G).eval()
    began = time.perf_counter()
    scored = None
    build_judges(resolved.evaluation, scoring)
    if distributed.is_main():  # sampling, metrics and pictures once, by rank 0
        with distributed.alone():
            standing_statistics(method, G)  # part of the weights: what is saved is what is scored
            save_tensors(folder / GENERATOR, G.state_dict())
            shown = not quiet and sys.stderr.isatty()
            scored = score(method, G, resolved.evaluation, scoring, artifacts, show_progress=shown)
            save_pictures(method, G, data, folder, shown=scoring.data)
            snapshots.pictures()
            if scored.border is not None:
                save_border(folder / "border.png", scored.border, scoring.data.class_names)
    distributed.barrier()
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
        "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in method.modules().items()},
        "steps": cfg.steps,
        "images_seen": outcome.images,
        "weights_sha256": weights_hash(G),
        "samples_sha256": scored.samples_sha256,
        "distinct_samples": scored.distinct,
        "conditions": scored.conditions,
        "values": [value.to_dict() for value in [*scored.values, *snapshots.values()]],
    }


def scoring_artifacts(resolved: Resolved, paths: Paths, artifacts: ArtifactStore) -> ArtifactStore:
    """The artifacts of the data that a run is scored against: its own, or those of a transfer, prepared here."""
    if resolved.transfer is None:
        return artifacts
    data = prepare(resolved.transfer, paths.data_root, paths.artifacts / "data", progress=False)
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
    """Evaluate a run on the data of `scoring`; where these are not those it was trained on, it is asked for them."""
    transferred = scoring is not trained
    if transferred:
        method.condition_on(scoring.data, "train")
    return evaluate(method, G, cfg, scoring, transferred=transferred, show_progress=show_progress)


def about(data: Dataset) -> dict[str, Any]:
    """What a record says of a dataset."""
    return {"sha256": data.sha256, "n_train": len(data.train), "n_test": len(data.test)}


def weights_hash(net: nn.Module) -> str:
    """sha256 of a network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_pictures(method: Method, G: nn.Module, data: Dataset, folder: Path, shown: Dataset | None = None) -> None:
    """The run folder's pictures: real and generated samples by condition, the method's own, the loss curves.

    data: what the method learned from. shown: what it is asked for, where that is another dataset.
    """
    shown = shown or data
    torch.manual_seed(derive_seed(0x91C5))
    if data.is_points:
        fake = method.sample(G, SCATTERED).images.cpu().numpy()
        save_scatter(folder / "samples.png", {"real": data.train.images[:SCATTERED], "generated": fake})
    else:
        save_grid(folder / "samples.png", sample_grid(method, G, shown))
        save_grid(folder / "real.png", real_grid(shown))
    for name, picture in method.pictures(G, data):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, Grid):
            save_grid(path, picture)
        else:
            save_embedding(path, picture)
    save_curves(folder / "curves.png", folder / LOG)


def sample_grid(method: Method, G: nn.Module, data: Dataset, columns: int = 10) -> Grid:
    """Uncurated samples: one row a class, cluster or instance; for attributes one row for each on and one all off."""
    if method.conditioning == "attributes":
        on = torch.cat([torch.eye(data.n_labels, dtype=torch.int64), torch.zeros(1, data.n_labels, dtype=torch.int64)])
        rows, names = on[:, None].expand(-1, columns, -1), [*data.attribute_names, "none"]
    elif method.conditioning == "none":
        images = method.sample(G, 8 * columns).images
        return Grid(images.unflatten(0, (8, columns)), [""] * 8, [""] * columns)
    else:
        numbers, names = shown_rows(method, data)
        if method.conditioning in ("instance", "latent"):
            return instance_grid(method, G, data, numbers, names, columns)
        rows = torch.tensor(numbers)[:, None].expand(-1, columns)
    conditions = rows.flatten(0, 1)
    images = torch.cat([method.sample(G, len(part), part).images for part in conditions.split(250)])
    return Grid(images.unflatten(0, (len(rows), columns)), names, [""] * columns)


def instance_grid(
    method: Method, G: nn.Module, data: Dataset, numbers: list[int], names: list[str], columns: int
) -> Grid:
    """Training images of these numbers, the bank's, each left of its samples."""
    conditions = torch.tensor(numbers)[:, None].expand(-1, columns).flatten()
    images = method.sample(G, len(conditions), conditions).images.cpu().unflatten(0, (len(numbers), columns))
    real = as_float(data.train.images[numbers]).expand(-1, images.shape[2], -1, -1)  # grey beside colour
    return Grid(torch.cat([real[:, None], images], 1), names, ["asked", *[""] * columns])


def shown_rows(method: Method, data: Dataset) -> tuple[list[int], list[str]]:
    """The classes, clusters or training images that a grid shows, at most `MOST_ROWS`, and their names."""
    if method.conditioning == "class":
        numbers = spread(data.n_classes)
        return numbers, [data.class_names[k] for k in numbers]
    if method.conditioning == "cluster":
        numbers = spread(method.n_labels)
        return numbers, [f"cluster {k}" for k in numbers]
    if data.train.labels is None:
        return spread(len(data.train), 10), [""] * min(10, len(data.train))
    kinds = spread(data.n_classes)
    first = {k: np.flatnonzero(data.train.labels == k)[:1] for k in kinds}  # stacked data need not have every class
    return [int(i[0]) for i in first.values() if len(i)], [data.class_names[k] for k, i in first.items() if len(i)]


def spread(n: int, most: int = MOST_ROWS) -> list[int]:
    """0..n-1, or `most` of them at equal distances."""
    return [i * n // min(n, most) for i in range(min(n, most))]


def as_float(images: np.ndarray) -> Tensor:
    """Stored images (N, S, S, C) uint8 as the networks see them, [N, C, S, S] in [-1, 1]."""
    return to_float(torch.tensor(images).permute(0, 3, 1, 2))


def real_grid(data: Dataset, columns: int = 10) -> Grid:
    """Training images to set beside `sample_grid`: one row a class, else eight rows as they come."""
    labels = data.train.labels
    if labels is None or data.is_stacked:  # 1,000 classes of a few pictures each say nothing in rows
        rows = {" " * i: np.arange(i * columns, min((i + 1) * columns, len(data.train))) for i in range(8)}
    else:
        rows = {data.class_names[k]: np.flatnonzero(labels == k)[:columns] for k in spread(data.n_classes)}
    images = {name: as_float(data.train.images[index]) for name, index in rows.items() if len(index)}
    return grid_of_rows(images)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory the run has held: on a GPU of tensors there, on a CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kB, on macOS in bytes
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def device_name(device: torch.device) -> str:
    """The device as a record names it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
