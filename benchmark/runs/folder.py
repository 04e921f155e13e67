"""The folder of a run: the names of its files, who owns it, and what it keeps so that it can be sampled by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmark.core.config import difference, dump_yaml, load_yaml
from benchmark.core.environment import environment
from benchmark.core.errors import ConfigError
from benchmark.core.files import write_json, write_text
from benchmark.data.prepared import Dataset
from benchmark.runs.spec import Resolved
from benchmark.training.loop import load_tensors, save_tensors
from benchmark.training.method import Method

CONFIG = "config.yaml"
GENERATOR = "generator.pt"  # the weights that were scored
SAMPLING = "sampling.pt"  # the rest of what sampling needs: no dataset and no stage


def is_run(path: Path) -> bool:
    """Is this the folder of a run?"""
    return (path / CONFIG).is_file() and (path / GENERATOR).is_file()


def run_name(folder: Path) -> str:
    """The name of the run, and of its record, in `runs/<dataset>/<method>/<recipe>-s<seed>-<hash>`."""
    return "-".join(folder.absolute().parts[-3:])


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


def save_sampling(folder: Path, method: Method, data: Dataset) -> None:
    """Keep what a generator needs to be sampled besides its weights: the data's outline, and the method's own state."""
    outline = data.outline()
    splits = {name: {key: _tensor(value) for key, value in part.items()} for name, part in outline["splits"].items()}
    save_tensors(folder / SAMPLING, {"data": outline | {"splits": splits}, "state": method.sampling_state()})


def load_sampling(folder: Path, device: torch.device) -> tuple[Dataset, dict[str, Any]]:
    """What `save_sampling` kept: data without images, and the method's state.

    Raises UserError when the file is not whole.
    """
    saved = load_tensors(folder / SAMPLING, device)
    outline = saved["data"]
    splits = {name: {key: _array(value) for key, value in part.items()} for name, part in outline["splits"].items()}
    return Dataset.from_outline(outline | {"splits": splits}), saved["state"]


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value.copy()) if hasattr(value, "dtype") else value


def _array(value: Any) -> Any:
    return value.cpu().numpy() if isinstance(value, torch.Tensor) else value
