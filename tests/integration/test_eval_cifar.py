"""`eval` on folders of real photographs with known damage, and the same folders through torch-fidelity's command."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.__main__ import main
from benchmark.metrics.corruptions import blur, noise
from benchmark.metrics.extractors.weights import available

DATA = os.environ.get("GANTLET_DATA")
PICTURES = Path(DATA or ".") / "cifar10-jpeg" / "test.zip"
LACKING = "" if DATA and PICTURES.is_file() else "no CIFAR-10 pictures: GANTLET_DATA names no folder with cifar10-jpeg"
LACKING = LACKING or available(["lite0"])["lite0"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(LACKING), reason=LACKING)]

N_EACH = 60  # pictures of a class in the reference
N_OTHERS = 300  # of which no set holds one of the reference
IDS = ("fd", "kd", "chamfer", "precision", "recall", "density", "coverage")


@pytest.fixture(scope="module")
def photographs() -> dict[str, np.ndarray]:
    """Held-out pictures of each class."""
    found: dict[str, list[np.ndarray]] = {}
    with zipfile.ZipFile(PICTURES) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg") and len(found.setdefault(name.split("/")[-2], [])) < N_EACH + N_OTHERS:
                found[name.split("/")[-2]].append(np.asarray(Image.open(io.BytesIO(archive.read(name)))))
    assert len(found) == 10
    return {label: np.stack(images) for label, images in found.items()}


def save(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:05d}.png")
    return folder


def scores(results: Path, pictures: Path, reference: Path, *more: str) -> dict[str, float]:
    """The values of one evaluation by the first part of their id."""
    before = set((results / "records").glob("*"))
    arguments = [str(pictures), "--reference", str(reference), "--extractors", "lite0", "--results", str(results)]
    assert main(["eval", *arguments, "--quiet", "--set", "half_samples=0", "controls=false", *more]) == 0
    (path,) = set((results / "records").glob("*")) - before
    values: list[dict[str, Any]] = json.loads(path.read_text())["result"]["values"]
    return {value["id"].removesuffix("_lite0"): value["value"] for value in values}


def test_every_metric_moves_the_right_way(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Real against real is best; noise, blur and lacking classes are seen by the metrics that are made to see them."""
    labels = list(photographs)
    reference = save(tmp_path / "reference", np.concatenate([photographs[label][:N_EACH] for label in labels]))

    def of(n_classes: int) -> np.ndarray:
        """As many pictures as the reference has, of the first classes."""
        n = N_EACH * len(labels) // n_classes
        return np.concatenate([photographs[label][N_EACH : N_EACH + n] for label in labels[:n_classes]])

    whole = of(10)

    sets: dict[str, Callable[[], np.ndarray]] = {
        "real": lambda: whole,
        **{f"noise {sigma}": (lambda sigma=sigma: noise(whole, sigma, seed=0)) for sigma in (10, 25, 60)},
        **{f"blur {sigma}": (lambda sigma=sigma: blur(whole, sigma)) for sigma in (0.5, 1.0, 2.0)},
        **{f"{k} classes": (lambda k=k: of(k)) for k in (8, 5, 2)},
    }
    found = {
        name: scores(tmp_path / "results", save(tmp_path / name, make()), reference) for name, make in sets.items()
    }
    for name, row in found.items():
        print(f"{name:<12}" + "  ".join(f"{id} {row[id]:9.4f}" for id in IDS))

    def rising(id: str, *names: str) -> bool:
        values = [found[name][id] for name in names]
        return values == sorted(values)

    damages = [
        ["noise 10", "noise 25", "noise 60"],
        ["blur 0.5", "blur 1.0", "blur 2.0"],
        ["8 classes", "5 classes", "2 classes"],
    ]
    for damage in damages:
        for id in ("fd", "kd", "chamfer"):
            assert rising(id, "real", *damage), (id, damage)
        for id in ("recall", "coverage"):
            assert rising(id, *reversed(damage), "real"), (id, damage)
    assert found["noise 60"]["precision"] < found["real"]["precision"]
    assert found["2 classes"]["precision"] > 0.8 * found["real"]["precision"], "what is there is real"
    # What these two do not see, and a reader should know: blurred pictures lie amid the real ones.
    assert found["blur 2.0"]["precision"] > found["real"]["precision"]
    assert found["blur 2.0"]["density"] > 2 * found["real"]["density"]


def test_classes_held_apart_are_far_from_each_other(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Vehicles against vehicles, and against animals."""
    vehicles = ["airplane", "automobile", "ship", "truck"]
    reference = save(tmp_path / "vehicles", np.concatenate([photographs[x][:N_EACH] for x in vehicles]))
    same = save(tmp_path / "others", np.concatenate([photographs[x][N_EACH : 2 * N_EACH] for x in vehicles]))
    other = save(
        tmp_path / "animals", np.concatenate([photographs[x][:N_EACH] for x in ("cat", "deer", "frog", "horse")])
    )
    near, far = (scores(tmp_path / "results", pictures, reference) for pictures in (same, other))
    print(near, far, sep="\n")
    for id in ("fd", "kd", "chamfer"):
        assert near[id] < far[id]
    for id in ("precision", "recall", "density", "coverage"):
        assert near[id] > far[id]
