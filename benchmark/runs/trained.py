"""A trained run as an object: its generator can be sampled with neither its dataset nor its stages on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.arguments import whole_number
from benchmark.core.config import build, load_yaml
from benchmark.core.errors import ArgumentError, ConfigError, UserError
from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.runs import exported
from benchmark.runs.exported import is_export, read_export
from benchmark.runs.folder import (
    CONFIG,
    GENERATOR,
    SAMPLING,
    identity_in,
    is_run,
    load_generator,
    load_sampling,
    run_name,
    weights_hash,
)
from benchmark.runs.limits import memory_bytes, require_within_limits
from benchmark.runs.published_models import MODELS
from benchmark.runs.records import Record, read_record, record_path
from benchmark.training.measurements import Sample
from benchmark.training.method import Method, MethodFile, find_method
from benchmark.training.tensors import not_a_checkpoint

BATCH = 250  # images generated at once: fixed, so that it cannot move a sample
_SEED = 0x5A3B  # of the samples of a finished run

Conditions = Tensor | np.ndarray | Sequence[Any] | int | None


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    folder: `results/runs/<dataset>/<method>/<recipe>-s<seed>-<hash>`. config: all its settings, as `config.yaml` has
    them. method: can sample, and nothing else. G: the generator that was scored. data: the dataset's outline, whose
    names, shapes and labels are true and whose images are zero. exported_as: the name of the run that an export is of.
    """

    folder: Path
    config: dict[str, Any]
    method: Method
    G: nn.Module
    data: Dataset
    exported_as: str | None = None

    @property
    def name(self) -> str:
        """The name of the run and of its record."""
        return self.exported_as or run_name(self.folder)

    @property
    def record(self) -> Record:
        """The record, in the same results folder; of a published model among the published records.

        Raises UserError for another export, or when it is not there.
        """
        if self.exported_as is not None:
            if (published := _published_record(self.folder, self.exported_as)) is not None:
                return published
            reason = "an export has its run's numbers in README.md alone"
            raise UserError(f"{self.folder}: no record", reason, "read that, or the record in the results folder")
        return read_record(record_path(self.folder.absolute().parents[3], self.name))

    def sample(self, n: int, conditions: Conditions = None, *, seed: int = 0) -> Tensor:
        """n generated images [n, C, S, S] in [-1, 1] on the CPU; points [n, 2] of a run on 2-D data.

        conditions: see `sample_with_conditions`. seed: of everything random; equal seeds give equal images, and 0
        those that `python -m benchmark sample` writes. Torch's global generator is left as it was.
        """
        return self.sample_with_conditions(n, conditions, seed=seed).images

    def sample_with_conditions(self, n: int, conditions: Conditions = None, *, seed: int = 0) -> Sample:
        """n images as `sample`, and the condition of each, as `benchmark.training.Sample` codes it.

        conditions: one for all, or n of them: classes or clusters (int), attribute rows of 0 and 1 [n, A], or numbers
        of training images for a method conditioned on images. A class-conditional IC-GAN also takes pairs [n, 2], or
        [1, 2] for all, of a training image and the class to show it in. None: drawn as the method's paper draws them.
        Raises ArgumentError, a ValueError, for numbers that are not whole or too large for this machine's memory, for
        another number of conditions, and for conditions that the method does not have.
        """
        n, seed = self._number(n), whole_number("seed", seed)
        wanted = self.checked_conditions(n, conditions)
        devices = [self.method.device] if self.method.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(derive_seed(_SEED, *([seed] if seed else [])))
            parts = [
                self.method.sample(self.G, min(BATCH, n - i), None if wanted is None else wanted[i : i + BATCH])
                for i in range(0, n, BATCH)
            ]
        given = [part.conditions.cpu() for part in parts if part.conditions is not None]
        classes = [part.classes.cpu() for part in parts if part.classes is not None]
        images = torch.cat([part.images.cpu() for part in parts])
        return Sample(images, torch.cat(given) if given else None, torch.cat(classes) if classes else None)

    def _number(self, n: int) -> int:
        """The number of images, which must be there at once."""
        n = whole_number("n", n, "1, 2, 3, ...")
        if n < 1:
            raise ArgumentError(f"n = {n}", "at least one image is drawn", "use 1, 2, 3, ...")
        needed, has = 4 * n * self.data.resolution**2 * self.data.channels, memory_bytes()
        if needed > has:
            reason = f"the images alone take {needed / 1e9:.1f} GB, and this machine has {has / 1e9:.1f} GB"
            raise ArgumentError(f"n = {n}", reason, "draw fewer at a time, with another seed each")
        return n

    def checked_conditions(self, n: int, conditions: Conditions) -> Tensor | None:
        """The conditions as a tensor, [n] or [n, A]. Raises ArgumentError for those that the method does not have."""
        if conditions is None:
            return None
        if self.method.conditioning == "none":
            raise ArgumentError(f"conditions of {self.name}", "the run is unconditional", "leave conditions out")
        given = _as_tensor(conditions)
        given = given.expand(n) if given.ndim == 0 else given
        if self.method.n_paired_classes and given.ndim == 2:
            return self._pairs(n, given)
        shape = (n, self.method.n_labels) if self.method.conditioning == "attributes" else (n,)
        if tuple(given.shape) != shape or given.is_floating_point() or given.is_complex():
            raise _unfitting(given, shape)
        most = 1 if self.method.conditioning == "attributes" else self.method.n_labels - 1
        if len(given) and (int(given.min()) < 0 or int(given.max()) > most):
            what = f"conditions from {int(given.min())} to {int(given.max())}"
            raise ArgumentError(what, f"this run has 0 to {most}", "use these")
        return given.long().to(self.method.device)

    def _pairs(self, n: int, given: Tensor) -> Tensor:
        """Pairs of a training image and a class, [n, 2]."""
        given = given.expand(n, -1) if len(given) == 1 else given
        if tuple(given.shape) != (n, 2) or given.is_floating_point() or given.is_complex():
            raise _unfitting(given, (n, 2))
        for what, column, most in (
            ("images", given[:, 0], self.method.n_labels - 1),
            ("classes", given[:, 1], self.method.n_paired_classes - 1),
        ):
            low, high = int(column.min()), int(column.max())
            if low < 0 or high > most:
                raise ArgumentError(
                    f"conditions with {what} from {low} to {high}", f"this run has 0 to {most}", "use these"
                )
        return given.long().to(self.method.device)


def _as_tensor(conditions: Any) -> Tensor:
    """Conditions as a tensor. Raises ArgumentError for what is no numbers."""
    try:
        return torch.as_tensor(conditions)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ArgumentError(f"conditions: {type(conditions).__name__}", str(error), "give whole numbers") from None


def _unfitting(given: Tensor, shape: tuple[int, ...]) -> ArgumentError:
    what = f"conditions of shape {list(given.shape)}, {given.dtype}"
    return ArgumentError(what, f"whole numbers of shape {list(shape)} are needed", "give one for each image")


def _configured(config: dict[str, Any], path: Path) -> tuple[MethodFile, Any]:
    """The method and the settings of a folder's configuration. Raises ConfigError, naming the file."""
    try:
        file = find_method(str(config["method"]))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.what}", error.why, error.mend) from None
    settings = config.get("config")
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: config", f"{settings!r:.40} is not a mapping of settings", "run it again")
    return file, build(file.Config, settings, str(path))


def load_run(folder: Path, device: torch.device) -> TrainedRun:
    """Load a finished run from its folder alone, or from that of its export.

    Raises UserError when the folder is neither, has a damaged file, was written by a version that did not keep what
    sampling needs, or does not fit the method's present code.
    """
    if is_export(folder):
        return _load_export(folder, device)
    if not is_run(folder):
        raise UserError(
            f"{folder}: not the folder of a finished run",
            f"{CONFIG} or {GENERATOR} is missing",
            "give results/runs/<dataset>/<method>/<run> of a run that has ended, or the folder of an export",
        )
    if not (folder / SAMPLING).is_file():
        raise UserError(
            f"{folder / SAMPLING} is missing",
            "the run was made by a version that did not keep it",
            "run it again, or use `python -m benchmark sample`, which reads the dataset",
        )
    identity = identity_in(folder)  # refuses what is not the configuration of a run
    config = load_yaml(folder / CONFIG)
    file, cfg = _present_method(config, folder / CONFIG)
    data, state = load_sampling(folder, device, identity)
    method = file.cls.for_sampling(cfg, data, device, state)
    load_generator(folder, method.G, folder.absolute().parents[3], run_name(folder), identity)
    return TrainedRun(folder, config, method, _frozen(method.G), data)


def _published_record(folder: Path, run: str) -> Record | None:
    """The record of a published model, `records/<run>.json` where the model is `models/<run>`; None where none is."""
    where = folder.absolute().parent
    path = record_path(where.parent, run)
    return read_record(path) if where.name == MODELS and path.is_file() else None


def _load_export(folder: Path, device: torch.device) -> TrainedRun:
    """Load a run from the folder of its export. Raises UserError, naming the file, as `load_run`."""
    found = read_export(folder)
    file, cfg = _present_method(found.config, folder / exported.CONFIG)
    model = folder / exported.MODEL
    try:
        require_within_limits(found.config, {}, found.config["seed"])
        method = file.cls.for_sampling(cfg, found.data, device, found.state)
        method.G.load_state_dict(found.weights)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise not_a_checkpoint(model, error, "export the run again") from None
    said = found.rounded_sha256 or found.weights_sha256
    if (own := weights_hash(method.G)) != said:
        reason = f"their sha256 is {own[:12]}..., {exported.CONFIG} says {said[:12]}..."
        raise UserError(f"{model}: not the weights that were scored", reason, "export the run again")
    record = _published_record(folder, found.run)
    if record is not None and (known := record.result_or_empty.weights_sha256) != found.weights_sha256:
        reason = f"the sha256 of its weights is {found.weights_sha256[:12]}..., the record's {str(known)[:12]}..."
        raise UserError(f"{folder}: not the model of the record {record.run}", reason, "publish the model again")
    return TrainedRun(folder, found.config, method, _frozen(method.G), found.data, found.run)


def _present_method(config: dict[str, Any], path: Path) -> tuple[MethodFile, Any]:
    """The method and the settings of a configuration. Raises ConfigError when its version is not the present one."""
    file, cfg = _configured(config, path)
    if config["version"] != file.cls.version_of(cfg):
        raise ConfigError(
            f"{path.parent}: made by version {config['version']} of {file.name}",
            f"this is version {file.cls.version_of(cfg)}",
            "run it again",
        )
    return file, cfg


def _frozen(G: nn.Module) -> nn.Module:
    return G.eval().requires_grad_(False)
