"""An extractor by its name."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.core.errors import ConfigError
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.clip import CLIPExtractor
from benchmark.metrics.extractors.dinov2 import DINOv2Extractor
from benchmark.metrics.extractors.inception import InceptionExtractor
from benchmark.metrics.extractors.pretrained import Lite0Extractor, Lite2Extractor, TorchvisionExtractor
from benchmark.metrics.extractors.published import CLIP, DINOV2
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.metrics.extractors.weights import TORCHVISION, require


def build(
    name: str,
    *,
    weights_dir: Path | str | None = None,
    judge: JudgeExtractor | None = None,
    device: torch.device | str = "cpu",
    allow_unverified: bool = False,
) -> Extractor:
    """Make the extractor `name` on `device`.

    name: one of `EXTRACTORS`, or "torchvision:MODEL" for a classifier of torchvision.
    weights_dir: folder (or file) to look for the weights in first. judge: the ready extractor returned for
    "judge". allow_unverified: accept weights of another sha256, marked verified=False in the identity.
    Raises ConfigError for an unknown name or a missing judge, WeightsError when weights are missing or not the file.
    """
    if name == "judge":
        if judge is None:
            raise ConfigError(
                "extractor 'judge' without a judge", "it is trained on the dataset's held-out split first"
            )
        judge.to(device)
        return judge
    if name == "simclr":
        raise ConfigError("extractor 'simclr' without an encoder", "it is trained on the dataset first")
    weights = require(name, weights_dir=weights_dir, allow_unverified=allow_unverified)
    assert weights is not None  # only what is trained here has none
    if name in ("lite0", "lite2"):
        return (Lite0Extractor if name == "lite0" else Lite2Extractor)(weights, device=device)
    if name in DINOV2:
        return DINOv2Extractor(name, weights, device=device)
    if name in CLIP:
        return CLIPExtractor(name, weights, device=device)
    if name.startswith(TORCHVISION):
        return TorchvisionExtractor(name.removeprefix(TORCHVISION), weights, device=device)
    return InceptionExtractor(weights, clean=name == "inception-clean", device=device)
