"""Frozen inputs of the metric test: small arrays that never change, so that a number made of them moves only with code.

Files and contents, all made once by `benchmark.drift.frozen.make`:

    images.npz      real, fake: uint8 [128, 32, 32, 3], drawn shapes and other drawn shapes with noise
    features.npz    real, fake: float64 [400, 64]; logits: float64 [400, 10]; labels, clusters: int64 [400];
                    attributes: int64 [400, 5] of 0 and 1
    points.npz      points: float32 [600, 2], most of a ring of eight Gaussians, some of none
    networks.npz    weights of a tiny generator and of a tiny classifier, and the generator's latents, float32
    sha256.json     the hash of each of these files
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.core import paths
from benchmark.core.errors import DataError
from benchmark.core.files import read_json, sha256_file

FILES = ("images.npz", "features.npz", "points.npz", "networks.npz")
MANIFEST = "sha256.json"
RING = (8, 1.0, 0.05)  # modes, radius and standard deviation of the ring that the points were drawn from


@dataclass(frozen=True)
class Frozen:
    """The frozen arrays; shapes as in the module's docstring."""

    real_images: np.ndarray
    fake_images: np.ndarray
    real: np.ndarray
    fake: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray
    attributes: np.ndarray
    points: np.ndarray
    networks: Mapping[str, np.ndarray]
    sha256: Mapping[str, str]  # of the files, by name


def load(folder: Path = paths.FROZEN) -> Frozen:
    """Read the frozen inputs.

    Raises DataError, naming the file, when one is missing or its bytes are not those it was made with.
    """
    manifest = read_json(folder / MANIFEST)
    arrays = {name: _read(folder / name, manifest.get(name, "")) for name in FILES}
    images, features = arrays["images.npz"], arrays["features.npz"]
    return Frozen(
        real_images=images["real"],
        fake_images=images["fake"],
        **features,
        points=arrays["points.npz"]["points"],
        networks=arrays["networks.npz"],
        sha256={name: manifest[name] for name in FILES},
    )


def _read(path: Path, expected: str) -> dict[str, np.ndarray]:
    """Every array of a file whose hash is the expected one."""
    if not path.is_file():
        raise DataError(f"{path}: missing", "the regression test compares numbers of frozen inputs", "git restore it")
    if sha256_file(path) != expected:
        raise DataError(f"{path}: not the frozen bytes", f"its sha256 is not the {expected[:12]} of {MANIFEST}",
                        "git restore it")  # fmt: skip
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
