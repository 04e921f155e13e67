"""The folder of a run: the names of its files, who owns it, and what it keeps so that it can be sampled by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.core.config import content_hash, difference, dump_yaml, load_yaml
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import read_json, write_json, write_text
from benchmark.core.registry import method_code
from benchmark.core.sealed import Identity
from benchmark.data.prepared import Dataset
from benchmark.runs.records import read_record, record_path
from benchmark.runs.spec import Resolved
from benchmark.training.checkpoints import CHECKPOINT
from benchmark.training.method import Method
from benchmark.training.tensors import load_tensors, not_a_checkpoint, save_tensors

CONFIG = "config.yaml"
ENVIRONMENT = "env.json"  # of the machine that began it, the method's code, and what it was resumed with
GENERATOR = "generator.pt"  # the weights that were scored
SAMPLING = "sampling.pt"  # the rest of what sampling needs: no dataset and no stage
_AGAIN = "restore the file and config.yaml from a copy; or move the run's folder and its record away, and run it again"


def is_run(path: Path) -> bool:
    """Is this the folder of a run?"""
    return (path / CONFIG).is_file() and (path / GENERATOR).is_file()


def run_name(folder: Path) -> str:
    """The name of the run, and of its record, in `runs/<dataset>/<method>/<recipe>-s<seed>-<hash>`."""
    return "-".join(folder.absolute().parts[-3:])


def claim_folder(resolved: Resolved, data: Dataset, here: Mapping[str, Any]) -> None:
    """Write the configuration into the run's folder, or check that it is the one that lies there.

    here: the environment, which is written down as that of the run's beginning.
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
    write_json(resolved.folder / ENVIRONMENT, dict(here))
    write_text(path, dump_yaml(mine))  # last: it says that the folder is claimed


def computed_otherwise(folder: Path, here: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What earlier processes trained this run with, each once, where it is not what `here` says; and remember `here`.

    A run goes on to the same bits on the same kind of processor, with as many threads and ranks and the same torch.
    here: as a record's environment. Nothing where no training has been saved.
    """
    path, now = folder / ENVIRONMENT, _arithmetic(here)
    if not path.is_file() or not (folder / CHECKPOINT).exists():
        return []
    known = read_json(path)
    parts = [_arithmetic(known), *known.get("resumed_with", [])]
    if now not in parts:
        write_json(path, known | {"resumed_with": [*parts[1:], now]})
    return [part for part in parts if any(now[name] != value for name, value in part.items())]


def _arithmetic(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What the bits of a training depend on, as far as an environment says it: earlier versions say less."""
    found = {name: environment[name] for name in ("cpu", "device", "threads", "ranks") if name in environment}
    torch_version = environment.get("libraries", {}).get("torch")
    return found if torch_version is None else found | {"torch": torch_version}


def begun_with_other_code(resolved: Resolved) -> bool:
    """Whether the method's file has changed since the run's folder was begun."""
    path = resolved.folder / ENVIRONMENT
    return path.is_file() and is_other_code(resolved.method.name, read_json(path))


def is_other_code(method: str, environment: Any) -> bool:
    """Whether a method's file is not what it was in an environment that was written down; False where that is unknown.

    The settings that a run is named after do not say so: `version` is what tells two codes apart.
    """
    known = environment.get("method_code") if isinstance(environment, dict) else None
    return known is not None and known != method_code(method)


def run_identity(resolved: Resolved, data: Dataset) -> Identity:
    """What the weights in a run's folder are of."""
    return {
        "method": resolved.method.name,
        "version": resolved.method.cls.version_of(resolved.config),
        "seed": resolved.spec.seed,
        "config_hash": resolved.config_hash,
        "data_sha256": data.sha256,
    }


def identity_in(folder: Path) -> Identity:
    """The same, as the folder's configuration says it: one that was changed has another hash.

    Raises ConfigError when it is not the configuration of a run.
    """
    return identity_of(load_yaml(folder / CONFIG), str(folder / CONFIG), _AGAIN)


def identity_of(config: dict[str, Any], where: str, fix: str) -> Identity:
    """The same, of a configuration as `config.yaml` has it. Raises ConfigError, naming `where`, when it is none."""
    try:
        plain = dict(config)
        seed, data_sha256 = plain.pop("seed"), plain.pop("data_sha256")
        known = {"method": str(plain["method"]), "version": plain["version"]}
        return known | {"seed": seed, "config_hash": content_hash(plain), "data_sha256": data_sha256}
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: not the configuration of a run", f"{type(error).__name__}: {error}", fix) from None


def load_generator(folder: Path, G: nn.Module, results: Path, run: str, identity: Identity) -> nn.Module:
    """Put the weights that were scored into a generator; they are those of the record where there is one.

    Raises UserError when the file is damaged, of another run, or not what the record says.
    """
    path, record = folder / GENERATOR, record_path(results, run)
    device = next(G.parameters()).device
    try:
        G.load_state_dict(load_tensors(path, device, identity, fix=_AGAIN))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise not_a_checkpoint(path, error, _AGAIN) from None
    known = read_record(record).result_or_empty.weights_sha256 if record.is_file() else None
    if known is not None and (own := weights_hash(G)) != known:
        raise UserError(
            f"{path}: not the weights that were scored",
            f"their sha256 is {own[:12]}..., the record {record} says {known[:12]}...",
            _AGAIN,
        )
    return G


def require_finished(saved: dict[str, Any], G: nn.Module, steps: int) -> None:
    """Raise ValueError unless a checkpoint is of the run's last step and its generator is G, the one that was scored.

    A checkpoint of an earlier version does not say which run it is of: its weights do.
    """
    if saved["step"] != steps:
        raise ValueError(f"it was made after step {saved['step']}, and the run ended after {steps}")
    weights = saved["average"] or saved["state"]["G"]
    if not all(torch.equal(p.cpu(), weights[name].cpu()) for name, p in G.named_parameters()):
        raise ValueError(f"its generator is not the one of {GENERATOR}")


def weights_hash(net: nn.Module) -> str:
    """sha256 of a network's parameters and buffers, by name."""
    return tensors_hash(net.state_dict())


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 of tensors by name: their bytes, wherever they are and however they are laid out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_sampling(folder: Path, method: Method, data: Dataset, identity: Identity | None = None) -> None:
    """Keep what sampling needs apart from the generator's weights: the data's outline, and the method's own state."""
    outline = data.outline()
    splits = {name: {key: _tensor(value) for key, value in part.items()} for name, part in outline["splits"].items()}
    save_tensors(folder / SAMPLING, {"data": outline | {"splits": splits}, "state": method.sampling_state()}, identity)


def load_sampling(
    folder: Path, device: torch.device, identity: Identity | None = None
) -> tuple[Dataset, dict[str, Any]]:
    """What `save_sampling` kept: data without images, and the method's state.

    Raises UserError when the file is not whole, or of another run than `identity`.
    """
    saved = load_tensors(folder / SAMPLING, device, identity, fix=_AGAIN)
    try:
        outline, state = saved["data"], saved["state"]
        splits = {name: {key: _array(value) for key, value in part.items()} for name, part in outline["splits"].items()}
        return Dataset.from_outline(outline | {"splits": splits}), state
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise not_a_checkpoint(folder / SAMPLING, error, _AGAIN) from None


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value.copy()) if hasattr(value, "dtype") else value


def _array(value: Any) -> Any:
    return value.cpu().numpy() if isinstance(value, torch.Tensor) else value
