"""An exported run: a folder in the layout of Hugging Face models, and how it is read back.

`config.json` says what everything is and has the sha256 of every file of tensors; it carries a hash of itself. The
tensors are safetensors, which hold no code. `README.md` is the model card: its reader may change it, nothing is read
from it.

A compact export has neither discriminator nor card, and its tensors are reduced (`benchmark.runs.compact`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.files import atomic, read_json, write_json
from benchmark.core.sealed import check_entries, seal_entries
from benchmark.data.prepared import Dataset
from benchmark.runs.compact import reduced, restored
from benchmark.runs.folder import identity_of, tensors_hash

CONFIG = "config.json"
MODEL = "model.safetensors"  # the generator that was scored
DISCRIMINATOR = "discriminator.safetensors"
SAMPLING = "sampling.safetensors"  # labels of the data, and the tensors of the method's sampling state
CARD = "README.md"
SAMPLES = "samples.png"

_FULL, _COMPACT = 1, 2  # formats
_NEEDED = (MODEL, SAMPLING)  # to sample
_AGAIN = "fetch the file again, or export the run again"
_OF_DATA, _OF_STATE = "data.", "state."  # what the names of the tensors for sampling begin with


@dataclass(frozen=True)
class Exported:
    """What an export holds apart from its model card.

    run: the name of the run. config: its settings, as `config.yaml` has them. weights_sha256: of the generator's
    tensors by name, as the record has it. data: the training data's outline. state: the method's sampling state.
    weights: the generator's. discriminator: None where the run did not keep one. rounded_sha256: of the weights as a
    compact export gives them back; None of a full one, whose weights are those of the record.
    """

    run: str
    config: dict[str, Any]
    weights_sha256: str
    data: Dataset
    state: dict[str, Any]
    weights: dict[str, Tensor]
    discriminator: dict[str, Tensor] | None = None
    rounded_sha256: str | None = None


def is_export(path: Path) -> bool:
    """Is this the folder of an exported run? A file of it may be missing: the reader names it."""
    return (path / CONFIG).is_file() and any((path / name).is_file() for name in _NEEDED)


# ---- writing --------------------------------------------------------------------------------------------------------


def write_export(folder: Path, exported: Exported, made_by: str, compact: bool = False) -> None:
    """Write the tensors and `config.json`, the latter last: without it a folder is no export.

    made_by: the version of this package. compact: reduce the tensors, and leave the discriminator out. Raises UserError
    for a sampling state of other than tensors and plain values.
    """
    outline, arrays = _split_outline(exported.data)
    plain = {name: value for name, value in exported.state.items() if not isinstance(value, Tensor)}
    tensors = {_OF_STATE + name: value for name, value in exported.state.items() if isinstance(value, Tensor)}
    files: dict[str, Mapping[str, Tensor]] = {MODEL: exported.weights, SAMPLING: arrays | tensors}
    if exported.discriminator is not None and not compact:
        files[DISCRIMINATOR] = exported.discriminator
    entries: dict[str, Any] = {
        "library_name": "gantlet",
        "format": _COMPACT if compact else _FULL,
        "gantlet": made_by,
        "run": exported.run,
        "identity": dict(identity_of(exported.config, exported.run, _AGAIN)),
        "weights_sha256": exported.weights_sha256,
        "config": exported.config,
        "data": outline,
        "sampling": _kept_by_json(plain, exported.run),
    }
    if compact:
        small = {name: reduced(values) for name, values in files.items()}
        files = {name: stored for name, (stored, _) in small.items()}
        entries["types"] = {name: types for name, (_, types) in small.items()}
        entries["rounded_sha256"] = tensors_hash(restored(*small[MODEL]))
    hashes = {name: _write_tensors(folder / name, values) for name, values in files.items()}
    write_json(folder / CONFIG, seal_entries(entries | {"sha256": hashes}))


def _split_outline(data: Dataset) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A dataset's outline as plain values, and its labels by name."""
    outline, arrays = data.outline(), {}
    for split, part in outline["splits"].items():
        for key in ("labels", "attributes"):
            value = part.pop(key)
            if value is not None:
                arrays[f"{_OF_DATA}{split}.{key}"] = torch.from_numpy(np.array(value))
    return outline, arrays


def _kept_by_json(state: dict[str, Any], run: str) -> dict[str, Any]:
    """A state that JSON gives back as it is. Raises UserError naming an entry that it would change."""
    for name, value in state.items():
        if not _is_plain(value):
            raise UserError(
                f"{run}: the sampling state {name!r} cannot be exported",
                f"it is a {type(value).__name__}, and only tensors, texts, numbers, lists and mappings of texts can be",
                "let the method's `sampling_state` return one of these",
            )
    return state


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file, atomically. Returns its sha256."""
    # Clones: the format refuses tensors that share memory, as tied weights do.
    content = save({name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}, {"format": "pt"})
    with atomic(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


# ---- reading --------------------------------------------------------------------------------------------------------


def read_export(folder: Path) -> Exported:
    """Read an export and check every byte but those of its model card and images. Tensors are on the CPU.

    Raises UserError, naming the file, when one is missing, damaged, or of another export. The discriminator's may be
    left out.
    """
    entries = _read_config(folder / CONFIG)
    tensors = {
        name: _read_tensors(folder / name, digest)
        for name, digest in entries["sha256"].items()
        if name in _NEEDED or (folder / name).exists()
    }
    try:
        if entries["format"] == _COMPACT:
            tensors = {name: restored(one, entries["types"][name]) for name, one in tensors.items()}
        weights, kept = tensors[MODEL], tensors[SAMPLING]
        state = {name.removeprefix(_OF_STATE): one for name, one in kept.items() if name.startswith(_OF_STATE)}
        return Exported(
            run=entries["run"],
            config=entries["config"],
            weights_sha256=entries["weights_sha256"],
            data=Dataset.from_outline(_join_outline(entries["data"], kept)),
            state={**entries["sampling"], **state},
            weights=weights,
            discriminator=tensors.get(DISCRIMINATOR),
            rounded_sha256=entries["rounded_sha256"] if entries["format"] == _COMPACT else None,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unusable(folder / CONFIG, error) from None


def _read_config(path: Path) -> dict[str, Any]:
    """The entries of `config.json`. Raises UserError when they are not whole, or of another format."""
    entries = read_json(path)
    try:
        if not check_entries(entries, path.name):
            raise ValueError("it is not one that `gantlet export` wrote")
        if entries["format"] not in (_FULL, _COMPACT):
            raise ValueError(f"its format is {entries['format']}, this version reads {_FULL} and {_COMPACT}")
        if set(entries["sha256"]) - {DISCRIMINATOR} != set(_NEEDED):
            raise ValueError(f"it names the files {', '.join(entries['sha256'])}")
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(path, error) from None
    if identity_of(entries.get("config", {}), str(path), _AGAIN) != entries.get("identity"):
        raise _unusable(path, ValueError("its settings are not those of the run that it names"))
    return dict(entries)


def _read_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """The tensors of a file that has this sha256. Raises UserError, naming it, when it is absent or has another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read", error.strerror or str(error), _AGAIN) from None
    if (own := hashlib.sha256(content).hexdigest()) != digest:
        reason = f"its sha256 is {own[:12]}..., {CONFIG} says {digest[:12]}...: it is damaged, or of another export"
        raise UserError(f"{path}: not the file that was exported", reason, _AGAIN)
    try:
        return load(content)
    except Exception as error:  # of a type of the format's own
        raise _unusable(path, error) from None


def _join_outline(outline: dict[str, Any], kept: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inverse of `_split_outline`."""

    def array(name: str) -> np.ndarray | None:
        return kept[name].numpy() if name in kept else None

    splits = {
        split: part | {key: array(f"{_OF_DATA}{split}.{key}") for key in ("labels", "attributes")}
        for split, part in outline["splits"].items()
    }
    names = {key: tuple(outline[key]) for key in ("class_names", "attribute_names")}
    return outline | names | {"splits": splits}


def _unusable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a file of an exported run", f"{type(error).__name__}: {error}", _AGAIN)
