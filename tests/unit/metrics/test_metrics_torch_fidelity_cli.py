"""Two folders of PNG files through torch-fidelity's own command, with our EfficientNet-Lite0 registered in it.

What the two have in common is only the net: reading, batching, distances, kernels, neighbours and splits are theirs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch import Tensor
from torch_fidelity import fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from benchmark.core.errors import WeightsError
from benchmark.metrics.extractors.base import Extractor, Features, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.inception_score import inception_score
from benchmark.metrics.kid import kid
from benchmark.metrics.prdc import prdc

N, K = 120, 3  # images a set; neighbours
RELATIVE = 1e-5


def pictures(seed: int, noise: float) -> np.ndarray:
    """uint8 (N, 24, 24, 3): coloured bars of random place and width, with noise."""
    rng = np.random.default_rng(seed)
    x = np.arange(24)
    place, width = rng.uniform(4, 20, (N, 1)), rng.uniform(2, 8, (N, 1))
    bars = (np.abs(x - place) < width).astype(float)[:, None, :, None]  # [N, 1, 24, 1]
    colour, ground = rng.uniform(0, 255, (2, N, 1, 1, 3))
    values = bars * colour + (1 - bars) * ground + noise * rng.normal(size=(N, 24, 24, 3))
    return values.clip(0, 255).astype(np.uint8)


REAL, FAKE = pictures(seed=1, noise=4), pictures(seed=2, noise=16)


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    try:
        return build("lite0")
    except WeightsError as lacking:
        pytest.skip(str(lacking.what))


@pytest.fixture(scope="module")
def registered(lite0: Extractor) -> str:
    """Our extractor under a name that holds weights and input size: torch-fidelity's caches know only the name."""

    class Lite0(FeatureExtractorBase):  # type: ignore[misc]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "pooled", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "pooled"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> Tensor:
            return torch.zeros(1, 3, 24, 24, dtype=torch.uint8)

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            found = lite0(images)._asdict()
            return tuple(found[name] for name in self.features_list)

    name = f"lite0-{lite0.identity['weights']['sha256'][:8]}-{lite0.identity['input_px']}px"
    torch_fidelity.register_feature_extractor(name, Lite0)
    return name


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Real and generated PNG files."""
    root = tmp_path_factory.mktemp("pictures")
    for name, stored in {"real": REAL, "fake": FAKE}.items():
        (root / name).mkdir()
        for i, image in enumerate(stored):
            Image.fromarray(image).save(root / name / f"{i:04d}.png")
    return root / "real", root / "fake"


@pytest.fixture(scope="module")
def theirs(registered: str, folders: tuple[Path, Path]) -> dict[str, float]:
    """What the command prints. Its input 1 is the generated set; one subset of N pictures is the full set."""
    real, fake = folders
    options = f"fidelity --isc --fid --kid --prc --feature-extractor {registered} --cpu --json --silent --no-cache"
    sizes = (
        f"--isc-splits 1 --kid-subsets 1 --kid-subset-size {N} --prc-neighborhood {K} --save-cpu-ram --batch-size 40"
    )
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr(sys, "argv", [*options.split(), *sizes.split(), "--input1", str(fake), "--input2", str(real)])
        patch.setattr(fidelity, "print", lambda *words, **_: printed.append(" ".join(map(str, words))), raising=False)
        fidelity.main()
    found: dict[str, float] = json.loads("\n".join(printed))
    return found


@pytest.fixture(scope="module")
def ours(lite0: Extractor) -> tuple[Features, Features]:
    return extract(lite0, REAL), extract(lite0, FAKE)


def logits_of(features: Features) -> Tensor:
    assert features.logits is not None
    return features.logits


KEYS: dict[str, Callable[[Features, Features], float]] = {
    "frechet_inception_distance": lambda real, fake: frechet_distance(real.pooled, fake.pooled),
    "kernel_inception_distance_mean": lambda real, fake: kid(real.pooled, fake.pooled),
    "inception_score_mean": lambda real, fake: inception_score(logits_of(fake), splits=1).mean,
    "precision": lambda real, fake: prdc(real.pooled, fake.pooled, k=K).precision,
    "recall": lambda real, fake: prdc(real.pooled, fake.pooled, k=K).recall,
}
WRONG: list[tuple[str, Callable[[Features, Features], float]]] = [
    ("frechet_inception_distance", lambda real, fake: frechet_distance(real.pooled[:-1], fake.pooled)),
    ("frechet_inception_distance", lambda real, fake: frechet_distance(real.pooled, real.pooled)),
    ("kernel_inception_distance_mean", lambda real, fake: kid(real.pooled[:-1], fake.pooled)),
    ("kernel_inception_distance_mean", lambda real, fake: kid(real.pooled, fake.pooled) * (N - 1) / N),
    ("inception_score_mean", lambda real, fake: inception_score(logits_of(real), splits=1).mean),
    ("inception_score_mean", lambda real, fake: inception_score(logits_of(fake), splits=2).mean),
    ("precision", lambda real, fake: prdc(real.pooled, fake.pooled, k=K + 1).precision),
    ("precision", lambda real, fake: prdc(fake.pooled, real.pooled, k=K).precision),
    ("recall", lambda real, fake: prdc(real.pooled, fake.pooled, k=K - 1).recall),
    ("recall", lambda real, fake: prdc(fake.pooled, real.pooled, k=K).recall),
]


def tolerance(key: str) -> float:
    """Precision and recall are counts over N: equal, but for the last bit of their float32 mean."""
    return 0.1 / N if key in ("precision", "recall") else RELATIVE


@pytest.mark.parametrize("key", KEYS)
def test_the_commands_numbers_are_ours(key: str, theirs: dict[str, float], ours: tuple[Features, Features]) -> None:
    expected = theirs[key]
    assert expected > 0
    if key in ("precision", "recall"):
        assert KEYS[key](*ours) == pytest.approx(expected, abs=tolerance(key))
    else:
        assert KEYS[key](*ours) == pytest.approx(expected, rel=tolerance(key))


@pytest.mark.parametrize(("key", "wrong"), WRONG)
def test_the_tolerance_tells_a_wrong_number(
    key: str, wrong: Callable[[Features, Features], float], theirs: dict[str, float], ours: tuple[Features, Features]
) -> None:
    bound = tolerance(key) if key in ("precision", "recall") else RELATIVE * theirs[key]
    assert abs(wrong(*ours) - theirs[key]) > 3 * bound


def test_their_function_and_their_command_agree(
    registered: str, folders: tuple[Path, Path], theirs: dict[str, float]
) -> None:
    real, fake = folders
    found = torch_fidelity.calculate_metrics(
        input1=str(fake),
        input2=str(real),
        fid=True,
        prc=True,
        prc_neighborhood=K,
        feature_extractor=registered,
        batch_size=40,
        cuda=False,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    for key in ("frechet_inception_distance", "precision", "recall"):
        assert found[key] == theirs[key]
