"""The frozen classifier whose maps Projected GAN's discriminators see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, PositiveInt
from benchmark.core.errors import UserError
from benchmark.metrics.extractors.pretrained import Lite0Extractor
from benchmark.metrics.extractors.weights import require
from benchmark.nn.projected import Lite0Maps
from benchmark.training.artifacts import ArtifactStore


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PyramidConfig:
    """The classifier, and how its maps are mixed at random. [P] paper, [C] the authors' code, [ours] chosen here."""

    name: Literal["lite0"] = "lite0"  # EfficientNet-Lite0, the code's default [C]
    input_px: PositiveInt = 224  # smaller images are enlarged to this side, larger ones stay as they are [C]
    mixing: Literal["scale", "channel", "none"] = "scale"  # scale: across channels and scales [P]
    kernel: Literal[1, 3] = 3  # side of the convolutions that mix scales: 3 [P], 1 [C]
    width: PositiveInt = 64  # channels of the largest mixed map, and of its discriminator [C]
    n_scales: Annotated[int, Field(ge=1, le=4)] = 4  # discriminators, from the largest map down [P]

    def missing_weights(self) -> list[UserError]:
        """What this classifier lacks on this machine; empty: nothing."""
        try:
            require(self.name)
        except UserError as error:
            return [error]
        return []


def feature_pyramid(artifacts: ArtifactStore, cfg: PyramidConfig) -> Lite0Maps:
    """The frozen classifier on the store's device; noted as one that the method trains against.

    Raises WeightsError when its package is not installed, or its weights are others.
    """
    weights = require(cfg.name)
    assert weights is not None
    extractor = Lite0Extractor(weights, device=artifacts.device)
    artifacts.note(extractor.identity)
    return Lite0Maps(extractor.net, cfg.input_px)
