"""A store of features on disk: images are looked at once by each extractor, for whatever number.

What follows from the features of real images alone, and takes long, is kept as well.

An entry is named by everything that decides it: the extractor's identity (with the hash of its weights) and the hash
of the images. It is one file of features and, written last, one of provenance with the hash of the first; a reader
checks both, so that a broken file, or one of another entry, is made again and never trusted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.core.config import content_hash
from benchmark.core.errors import UserError
from benchmark.core.files import atomic, lock, read_json, sha256_file, write_json
from benchmark.core.sealed import check_entries, seal_entries
from benchmark.metrics.extractors.base import Extractor, Features, extract

VERSION = 1  # raised when the same extractor would give other features of the same images
BATCH = 32  # images a forward pass: fixed, so that it cannot move a number; 250 take twice the time in large networks


def images_sha256(images: np.ndarray) -> str:
    """The hash of uint8 images (N, H, W, C): of their shape and bytes. A memory map is read in pieces."""
    digest = hashlib.sha256(f"{images.dtype}{images.shape}".encode())
    for start in range(0, len(images), 1024):
        digest.update(np.ascontiguousarray(images[start : start + 1024]).tobytes())
    return digest.hexdigest()


class FeatureStore:
    """Features by extractor and images, in one folder. Processes may share it.

    folder: made when needed; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.extracted = 0  # images that had to be looked at, since the store was opened

    def features(
        self, extractor: Extractor, images: np.ndarray, *, sha256: str | None = None, progress: bool = False
    ) -> Features:
        """Features of stored images, uint8 (N, H, W, C): found, or extracted and kept.

        sha256: of the images (`images_sha256`) where the caller knows it. Raises MetricError as `extract` does.
        """
        if self.folder is None:
            return self._extract(extractor, images, progress)
        sha256 = sha256 or images_sha256(images)
        provenance = {"version": VERSION, "extractor": extractor.identity, "images": sha256, "n": len(images)}
        name = f"{extractor.name}-{content_hash(provenance)[:24]}"

        def make() -> dict[str, np.ndarray]:
            features = self._extract(extractor, images, progress)
            return {name: part.numpy() for name, part in features._asdict().items() if part is not None}

        found = {key: torch.from_numpy(array) for key, array in self._arrays(name, provenance, make).items()}
        return Features(found["pooled"], found.get("logits"))

    def arrays(self, provenance: dict[str, Any], make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays that `make` returns; kept under a provenance that says everything that decides them.

        But for `VERSION`: what was made of features of an earlier one is made again.
        """
        if self.folder is None:
            return make()
        provenance = {"version": VERSION, **provenance}
        return self._arrays(f"arrays-{content_hash(provenance)[:24]}", provenance, make)

    def numbers(self, provenance: dict[str, Any], make: Callable[[], Any]) -> Any:
        """What `make` returns, plain values and never None; kept as `arrays` are. `make` may ask for other numbers."""
        if self.folder is None:
            return make()
        provenance = {"version": VERSION, **provenance}
        path = self.folder / f"numbers-{content_hash(provenance)[:24]}.json"
        if (found := _read_numbers(path, provenance)) is not None:
            return found
        with lock(path.with_suffix(".lock"), f"the numbers {path.name}", wait=True):
            if (found := _read_numbers(path, provenance)) is not None:  # another process made them meanwhile
                return found
            made = make()
            write_json(path, seal_entries({"provenance": provenance, "numbers": made}))
        return made

    def _arrays(
        self, name: str, provenance: dict[str, Any], make: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The arrays of an entry: read, or made and written, by one process alone."""
        assert self.folder is not None
        path = self.folder / f"{name}.npz"
        if (found := _read(path, provenance)) is not None:
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock"), f"the features {path.name}", wait=True):
            if (found := _read(path, provenance)) is not None:  # another process made them meanwhile
                return found
            made = make()
            _write(path, made, provenance)
        return made

    def _extract(self, extractor: Extractor, images: np.ndarray, progress: bool) -> Features:
        self.extracted += len(images)
        return extract(extractor, images, batch=BATCH, progress=progress)


def _read_numbers(path: Path, provenance: dict[str, Any]) -> Any:
    """The numbers of a whole entry of this provenance, else None."""
    if path.exists():
        with suppress(UserError, ValueError, KeyError):
            found = read_json(path)
            # Without a seal, from an earlier version, they are made again: nothing says that they are whole.
            if check_entries(found, path.name) and found["provenance"] == _as_read(provenance):
                return found["numbers"]
    return None


def _write(path: Path, arrays: dict[str, np.ndarray], provenance: dict[str, Any]) -> None:
    with atomic(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
    write_json(path.with_suffix(".json"), provenance | {"sha256": sha256_file(path)})


def _read(path: Path, provenance: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The arrays of a whole entry of this provenance, else None."""
    try:
        if read_json(path.with_suffix(".json")) != _as_read(provenance | {"sha256": sha256_file(path)}):
            return None
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, UserError):
        return None


def _as_read(value: dict[str, Any]) -> Any:
    """A value as it comes back from a JSON file: tuples as lists."""
    return json.loads(json.dumps(value))
