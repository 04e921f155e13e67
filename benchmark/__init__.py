"""gantlet: a comparative benchmark suite for generative adversarial networks.

    import benchmark as gantlet

    record = gantlet.run("sngan", "digits", steps=200)       # train, evaluate, write the record
    record.scores                                            # its numbers, a pandas DataFrame
    trained = gantlet.load_run(record.folder)                # neither data nor stages are read
    images = trained.sample(64)                              # [64, C, S, S] in [-1, 1]
    gantlet.score(images, reference="digits")                # anyone's images, by the same protocol
    gantlet.table("digits").to_frame()                       # one row for each method, means over seeds

Importing this package loads none of its parts; each function imports what it needs. What an author of a method needs
is in `benchmark.training`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core import arguments
from benchmark.core.errors import RunFailed, UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from benchmark.data.collection import Collection
    from benchmark.data.prepared import Dataset
    from benchmark.report.head_to_head import HeadToHead
    from benchmark.report.tables import Table
    from benchmark.runs.plan import Plan
    from benchmark.runs.records import FoundRecords, Record
    from benchmark.runs.spec import Paths, Resolved, RunSpec
    from benchmark.runs.trained import TrainedRun

__version__ = "0.1.0"
__all__ = [
    "compare",
    "describe",
    "export_run",
    "list_datasets",
    "list_methods",
    "list_suites",
    "load_run",
    "plan",
    "prepare",
    "records",
    "run",
    "score",
    "table",
]

PathLike = str | os.PathLike[str]


def list_methods() -> list[str]:
    """Names of the methods, sorted: the files in `methods/`."""
    from benchmark.core.registry import method_names

    return method_names()


def list_datasets() -> list[str]:
    """Names of the datasets that come with the suite, sorted: the files in `datasets/`. One's own need no name."""
    from benchmark.data.cards import list_cards

    return list(list_cards())


def list_suites() -> list[str]:
    """Names of the suites, sorted: each is a table of runs."""
    from benchmark.runs.suites.suite import suite_names

    return suite_names()


def describe(name: str, results: PathLike = "results") -> str:
    """What is known of a method, a dataset, a metric or a suite, as text.

    name: "sngan", "celeba", "fd_inception" or "fd", "compare". Of a method every setting with its meaning, its default
    and its values in recipes. results: whose finished runs, and the published ones under `results/reference`, give a
    dataset's size and a suite's cost; the folder need not be there. Raises ConfigError, with the nearest names, for a
    name that nothing has.
    """
    from benchmark.report.describe import describe as describe_by_records
    from benchmark.runs.records import find_records

    name, folder = arguments.text("name", name, "'sngan'"), _path("results", results, "'results'")
    known = [where for where in (folder, folder / "reference") if (where / "records").is_dir()]
    return describe_by_records(name, [record for where in known for record in find_records(where).records])


def prepare(
    dataset: PathLike, *, results: PathLike = "results", data_root: PathLike | None = None, progress: bool = False
) -> Dataset:
    """Turn a dataset into arrays, once, and return it: uint8 images (N, H, W, C) with labels, by split.

    dataset: a name of `list_datasets`, a dataset config (.yaml), or a folder or zip file of images.
    results: the folder under which the arrays are kept. data_root: where datasets are; None: $GANTLET_DATA, else
    `data`. Raises DataError naming files that are missing or cannot be read, UserError when the disk is full.
    """
    from benchmark.data.cards import find_card
    from benchmark.runs.spec import prepare_for

    name, paths = arguments.path_text("dataset", dataset, "'digits'"), _paths(results, data_root)
    return prepare_for(find_card(name), paths, progress=progress)


def plan(
    method: str,
    dataset: PathLike = "digits",
    *,
    seed: int = 0,
    recipe: str | None = None,
    results: PathLike = "results",
    data_root: PathLike | None = None,
    device: str = "auto",
    threads: int | None = None,
    gpu: str | None = None,
    **settings: Any,
) -> Plan:
    """What `run` with the same arguments would do and cost: parameters, steps, seconds, bytes. Trains nothing.

    A dry run of a few steps on synthetic images, on the device; of steps that take a CPU long, operations are counted.
    gpu: estimate for this GPU by its data sheet: "a100", "h100", ...; it need not be here, and is the default for
    device "cuda" without one. `plan(...).text()` is the text that the command line prints; `.seconds`, `.bytes`,
    `.flops_per_step` and `.missing` are its numbers.
    Raises ConfigError for settings that do not fit together.
    """
    from benchmark.runs.estimate import estimate
    from benchmark.runs.spec import resolve

    paths = _paths(results, data_root)
    _check_machine(device, threads)
    if gpu is not None:
        arguments.text("gpu", gpu, "'a100'")
    spec = _spec(method, dataset, seed, recipe, settings)
    with _torch_as_it_was():
        resolved = resolve(spec, paths) if gpu is not None or device == "cuda" else _sensible(spec, paths, threads)
        return estimate(resolved, paths, device, threads, gpu)


def run(
    method: str,
    dataset: PathLike = "digits",
    *,
    seed: int = 0,
    recipe: str | None = None,
    results: PathLike = "results",
    data_root: PathLike | None = None,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = True,
    log: str | None = None,
    **settings: Any,
) -> Record:
    """Train and evaluate one method on one dataset with one seed, or find the record of that very run.

    method, dataset: names of `list_methods` and `list_datasets`; the dataset may also be a dataset config (.yaml),
    or a folder or zip file of images. recipe: the settings to start from, "small" or "paper"; None: the dataset's
    own, or on a CPU "small", with a warning, where that would take more than two days.
    settings: what differs from the recipe, as keywords: `steps=500`, `encoder={"steps": 100}`; `eval={...}` changes the
    evaluation and `data={...}` the dataset; `precision="bf16"` and `capture="compile"` say how a step of the GAN
    is computed. results: the folder of runs, records and tables. data_root: where
    datasets lie; None: $GANTLET_DATA, else `data`. device: "auto", "cpu" or "cuda". threads: of CPU kernels; None: one
    for the small recipes, else all. quiet: print nothing. log: "tensorboard" also writes scalars and grids of samples
    for TensorBoard into the run's folder; no number and no name depends on it.

    A stopped run resumes from its last checkpoint; the result is bit-identical.
    Raises UserError, with a hint, for anything in the arguments or files before any long work starts; RunFailed when
    training or evaluation stopped, now or when its record was written; BusyError when another process holds
    the run.
    """
    from benchmark.runs.logs import require_log
    from benchmark.runs.records import record_path
    from benchmark.runs.run import run as run_resolved
    from benchmark.runs.spec import resolve

    if log is not None:
        require_log(arguments.text("log", log, "'tensorboard'"))
    paths = _paths(results, data_root)
    _check_machine(device, threads)  # here: a record that is found needs neither
    spec = _spec(method, dataset, seed, recipe, settings)
    with _torch_as_it_was():
        resolved = resolve(spec, paths) if device == "cuda" else _sensible(spec, paths, threads)
        record = run_resolved(resolved, paths, device=device, quiet=quiet, threads=threads, log=log)
    if record.status != "done":  # found: one that fails now has raised
        path = record_path(paths.results, record.run)
        raise RunFailed(f"{record.run}: {record.reason}", f"{path} says so", "remove that file to try again")
    return record


def load_run(folder: PathLike, *, device: str = "cpu") -> TrainedRun:
    """A finished run, ready to be sampled: `load_run(folder).sample(64)` gives images [64, C, S, S] in [-1, 1].

    folder: `results/runs/<dataset>/<method>/<run>`, a record's `folder`; the folder of an export; or a published model,
    "reference/<dataset>/<method>". Needs neither the dataset nor the artifacts of earlier stages. Raises UserError when
    it is neither, and for a file that is damaged.
    """
    from benchmark.runs.device import pick_device
    from benchmark.runs.published_models import model_folder
    from benchmark.runs.trained import load_run as load

    place = model_folder(_path("folder", folder, "'reference/digits/biggan'"))
    with _torch_as_it_was():
        return load(place, pick_device(device))


def export_run(
    folder: PathLike, out: PathLike, *, license: str = "other", sampler: bool = False, compact: bool = False
) -> list[Path]:
    """Write a finished run to a folder of the Hugging Face layout, which `load_run` reads. Returns the files.

    folder: of a finished run, a record's `folder`. out: a new or empty folder. license: of the weights, an identifier
    of Hugging Face such as "cc-by-nc-4.0"; "other": not stated. The files: generator and discriminator as safetensors,
    `config.json`, what sampling needs, samples, and a model card with the record's numbers. sampler: also write
    `sampler.pt2`, from which torch alone can sample: `torch.export.load("sampler.pt2").module()`, 16 images a call.
    compact: only what sampling needs, large tensors in float16; `license` is then left out.
    Raises UserError when the run is not finished or has no record, when a file is damaged or of another run, and when
    `out` is not empty.
    """
    from benchmark.runs.export import export_run as export

    source = _path("folder", folder, "'results/runs/digits/sngan/small-s0-0123abcd'")
    licence = arguments.text("license", license, "'cc-by-nc-4.0'")
    return export(source, _path("out", out, "'exported'"), licence, sampler=bool(sampler), compact=bool(compact))


def score(
    images: PathLike | np.ndarray | torch.Tensor,
    reference: PathLike | None = None,
    *,
    labels: Sequence[int] | None = None,
    name: str | None = None,
    run_seed: int | None = None,
    extractors: Sequence[str] | None = None,
    resolution: int | None = None,
    results: PathLike = "results",
    data_root: PathLike | None = None,
    device: str = "auto",
    quiet: bool = True,
    **settings: Any,
) -> Record:
    """Score images, whoever made them, against a dataset or other images, by the protocol of the suite's own runs.

    images: a folder, a zip, .npz or .npy file; float images [N, C, S, S] in [-1, 1], which are rounded to 8 bits; uint8
    images (N, H, W, C); or the folder of a finished run, which is scored once more against its own dataset. reference:
    a dataset's name, a dataset config, or a path of images; None for a run's folder. labels: class numbers [N] of
    images in memory; of files, the sub-folders give them. name: of the row in tables. run_seed: of the training run
    that made the images: sets of one name with different seeds are one row, with intervals and tests. extractors:
    "judge", "lite0", "inception", "dinov2", "torchvision:MODEL", ...; None: the evaluation classifier where the
    reference has labels, else lite0. resolution: the side in pixels to which images of files are brought. settings: of
    the evaluation, such as `k=3`, or in one mapping as `run` takes them, `eval={"reference": "test"}`: a run's
    reference is a split of its own dataset. Images of others have few metrics unless `metrics="all"`.

    Returns the record, which is also written under `results`: tables show it with those of runs.
    Raises DataError or ConfigError, naming the thing, before any long work.
    """
    from benchmark.core.config import merge
    from benchmark.data.collection import in_memory
    from benchmark.runs.device import pick_device
    from benchmark.runs.exported import is_export
    from benchmark.runs.folder import is_run
    from benchmark.runs.standalone import request_for, score_pictures

    paths, where = _paths(results, data_root), pick_device(device)
    nested = _nested(settings)
    of_evaluation = arguments.mapping("eval", nested.pop("eval", {}), "settings by name, as eval={'k': 3}")
    changes = merge(nested, of_evaluation)
    if extractors is not None:
        changes["extractors"] = arguments.names("extractors", extractors, "a list, as ['judge', 'lite0']")
    if reference is not None:
        reference = arguments.path_text("reference", reference, "'digits'")
    if resolution is not None:
        resolution = arguments.whole_number("resolution", resolution, "a side in pixels, as 32")
    if name is not None:
        name = arguments.text("name", name, "'mine'")
    if run_seed is not None:
        run_seed = arguments.whole_number("run_seed", run_seed)
    if isinstance(images, str | os.PathLike):
        given: Path | Collection = _path("images", images, "'samples/'")
    else:
        given = in_memory(images, labels, name or "images")
    if isinstance(given, Path) and is_export(given):
        raise UserError(f"{given}: an exported run", "it has no record to score it again by", "score its samples")
    if isinstance(given, Path) and is_run(given):
        from benchmark.runs.finished import rescore

        if reference or resolution or name or run_seed is not None:
            why, fix = "a run is scored against its own dataset", "leave them out, or `sample` it and score the images"
            raise UserError(f"{given}: reference, resolution, name and run_seed", why, fix)
        return rescore(given, paths, changes, where, quiet=quiet)
    return score_pictures(request_for(given, reference, changes, resolution, name, run_seed), paths, where, quiet=quiet)


def records(results: PathLike = "results") -> list[Record]:
    """Every record under a results folder, by the run's name. `results/reference` holds the published ones.

    One that cannot be used is left out, with a warning that names it. Raises UserError for a folder that is not there
    or cannot be read.
    """
    from benchmark.runs.records import find_records

    found = find_records(_existing(results))
    _warn(found)
    return found.records


def table(
    name: str,
    results: PathLike = "results",
    *,
    size: str = "small",
    headline: bool = False,
    with_reference: bool = False,
) -> Table:
    """The table of a dataset, or of a suite at one of its sizes, made from the records under `results`.

    `.to_frame()` is a pandas DataFrame, one row for each method and setting. headline: of a dataset, only the columns
    that a page can hold. A suite of several datasets is named "suite-size-dataset", as its file is called.
    with_reference: the published table, with a row "(own)" for each of these records' settings.
    A record that cannot be used is left out, with a warning that names it. Raises UserError when there are no records
    of it.
    """
    from benchmark.report.beside_reference import find_beside_reference
    from benchmark.report.find import find_table
    from benchmark.runs.records import find_records

    name, size = arguments.text("name", name, "'digits'"), arguments.text("size", size, "'small'")
    where = _existing(results)
    found = find_beside_reference(where) if with_reference else find_records(where)
    _warn(found)
    return find_table(name, where, size, headline, found.records)


def compare(a: PathLike, b: PathLike, results: PathLike = "results", *, dataset: str | None = None) -> HeadToHead:
    """Two methods by name, or two finished runs by their folders: which is better, by each headline metric.

    Methods are compared in the table of the suite `compare`, or in that of `dataset`; runs with all seeds of their
    configurations. Records are those of `results`, or else the published ones under `results/reference`.
    `.text()` is what the command line prints; `.tests` has the comparisons. Raises UserError for what has no finished
    runs, or nothing to compare.
    """
    from benchmark.report.head_to_head import head_to_head

    names = [arguments.path_text(name, value, "'sngan'") for name, value in (("a", a), ("b", b))]
    if dataset is not None:
        arguments.text("dataset", dataset, "'digits'")
    return head_to_head(names[0], names[1], _path("results", results, "'results'"), dataset)


def _path(name: str, value: Any, example: str) -> Path:
    from benchmark.data.layout import user_path

    return user_path(arguments.path_text(name, value, example))


def _existing(results: PathLike) -> Path:
    """A results folder that is there."""
    folder = _path("results", results, "'results'")
    if not folder.is_dir():
        reason = "it is not a folder" if folder.exists() else "no such folder"
        raise UserError(f"results = {folder}", reason, "give a results folder, or run something first")
    return folder


def _paths(results: PathLike, data_root: PathLike | None) -> Paths:
    from benchmark.runs.spec import Paths

    root = os.environ.get("GANTLET_DATA") or "data" if data_root is None else data_root
    return Paths(_path("data_root", root, "'data'"), _path("results", results, "'results'"))


def _check_machine(device: str, threads: int | None) -> None:
    """Raise ConfigError for a device or a number of threads that no machine has."""
    from benchmark.runs.device import check_device
    from benchmark.runs.limits import require_threads

    check_device(device)
    if threads is not None:
        require_threads(arguments.whole_number("threads", threads, "1, 2, 3, ..."))


def _spec(method: str, dataset: PathLike, seed: int, recipe: str | None, settings: Mapping[str, Any]) -> RunSpec:
    from benchmark.core.registry import check_method

    check_method(arguments.text("method", method, "'sngan'"))  # before anything heavy is imported
    name, seed = arguments.path_text("dataset", dataset, "'digits'"), arguments.whole_number("seed", seed)
    if recipe is not None:
        arguments.text("recipe", recipe, "'small'")
    from benchmark.runs.spec import RunSpec

    return RunSpec(method, name, seed, recipe, _nested(settings))


def _sensible(spec: RunSpec, paths: Paths, threads: int | None) -> Resolved:
    """The run with the recipe that is sensible where it is computed, as the command line chooses it; with a warning."""
    import warnings

    from benchmark.runs.device import pick_device
    from benchmark.runs.recipe_choice import choose_recipe
    from benchmark.runs.spec import resolve

    choice = choose_recipe(spec, paths, pick_device("auto"), threads)
    if choice.note:
        warnings.warn(choice.note, stacklevel=3)
    return resolve(choice.spec, paths)


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Leave torch's random numbers and number of threads as the caller has them."""
    import torch

    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)


def _warn(found: FoundRecords) -> None:
    """Warn the caller of a public function of the records that are left out."""
    import warnings

    for error in found.left_out:
        warnings.warn(f"left out: {error}", stacklevel=3)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the command line nests them: `{"eval.k": 3}` and `{"eval": {"k": 3}}` are the same."""
    from benchmark.core.config import merge

    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, leaf = key.split(".")
        part: dict[str, Any] = {leaf: arguments.plain(value)}
        for parent in reversed(parents):
            part = {parent: part}
        nested = merge(nested, part)
    return nested
