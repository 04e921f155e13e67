"""Make the frozen inputs of the metric test: `python -m benchmark.drift.frozen.make FOLDER`.

Kept for the record. The stored files are the inputs: a library that draws other random numbers changes what this
module makes, not what the test reads. New files are new inputs, so they need a new metric set and a new baseline.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmark.core.files import atomic, sha256_file, write_json
from benchmark.data import drawn_shapes as shapes
from benchmark.drift.frozen import FILES, MANIFEST, RING
from benchmark.metrics.corruptions import noise

N_IMAGES, N_ROWS, N_FEATURES, N_CLASSES, N_ATTRIBUTES, N_POINTS = 128, 400, 64, 10, 5, 600
REAL_SEED, FAKE_SEED = 101, 202  # of the drawn sets
NOISE = 12.0  # grey levels, of the fake images
Z, WIDTH, JUDGE_WIDTH = 8, 8, 12  # sizes of the two networks


def make(folder: Path) -> None:
    """Write all files and their hashes into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"images.npz": images(), "features.npz": features(), "points.npz": points(), "networks.npz": networks()}
    for name, arrays in contents.items():
        with atomic(folder / name) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_json(folder / MANIFEST, {name: sha256_file(folder / name) for name in FILES})


def images() -> dict[str, np.ndarray]:
    """Drawn shapes, and others with noise."""
    real, fake = (
        np.stack([np.asarray(shapes.draw(seed, i)) for i in range(N_IMAGES)]) for seed in (REAL_SEED, FAKE_SEED)
    )
    return {"real": real, "fake": noise(fake, NOISE, seed=FAKE_SEED)}


def features() -> dict[str, np.ndarray]:
    """Two feature sets that overlap, grouped by class, with logits, clusters and attributes that half agree."""
    rng = np.random.default_rng(7)
    labels = rng.integers(N_CLASSES, size=N_ROWS)
    centres = 0.6 * rng.standard_normal((N_CLASSES, N_FEATURES))
    scales = np.geomspace(1.5, 0.3, N_FEATURES)  # no two directions alike
    real = centres[labels] + scales * rng.standard_normal((N_ROWS, N_FEATURES))
    fake = centres[labels] + 1.05 * scales * rng.standard_normal((N_ROWS, N_FEATURES)) + 0.05
    logits = 1.5 * rng.standard_normal((N_ROWS, N_CLASSES))
    logits[np.arange(N_ROWS), labels] += 2.5
    clusters = np.where(rng.random(N_ROWS) < 0.7, labels, rng.integers(N_CLASSES + 2, size=N_ROWS))
    attributes = (logits[:, :N_ATTRIBUTES] + rng.standard_normal((N_ROWS, N_ATTRIBUTES)) > 0).astype(np.int64)
    return {
        "real": real,
        "fake": fake,
        "logits": logits,
        "labels": labels,
        "clusters": clusters,
        "attributes": attributes,
    }


def points() -> dict[str, np.ndarray]:
    """Points of seven of a ring's eight modes, unevenly, and one in ten anywhere."""
    n_modes, radius, std = RING
    rng = np.random.default_rng(8)
    mode = rng.choice(n_modes - 1, size=N_POINTS, p=np.arange(2, n_modes + 1) / np.arange(2, n_modes + 1).sum())
    angle = 2 * np.pi * mode / n_modes
    near = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) + std * rng.standard_normal((N_POINTS, 2))
    anywhere = rng.uniform(-1.5, 1.5, (N_POINTS, 2))
    return {"points": np.where(rng.random((N_POINTS, 1)) < 0.1, anywhere, near).astype(np.float32)}


def networks() -> dict[str, np.ndarray]:
    """Weights of the generator and the classifier of `benchmark.drift.frozen.nets`, scaled by their fan-in; latents."""
    rng = np.random.default_rng(9)
    shapes_of = {
        "generator.linear.weight": (16 * WIDTH, Z),
        "generator.linear.bias": (16 * WIDTH,),
        "generator.hidden.weight": (WIDTH, WIDTH, 3, 3),
        "generator.hidden.bias": (WIDTH,),
        "generator.colour.weight": (3, WIDTH, 3, 3),
        "generator.colour.bias": (3,),
        "judge.first.weight": (JUDGE_WIDTH, 3, 3, 3),
        "judge.first.bias": (JUDGE_WIDTH,),
        "judge.second.weight": (JUDGE_WIDTH, JUDGE_WIDTH, 3, 3),
        "judge.second.bias": (JUDGE_WIDTH,),
        "judge.head.weight": (N_CLASSES, JUDGE_WIDTH),
        "judge.head.bias": (N_CLASSES,),
    }
    weights = {
        name: rng.standard_normal(shape) * (np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1)
        for name, shape in shapes_of.items()
    }
    weights["latents"] = rng.standard_normal((32, Z))
    return {name: values.astype(np.float32) for name, values in weights.items()}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
