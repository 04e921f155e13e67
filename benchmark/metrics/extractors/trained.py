"""Extractors whose networks the suite trains itself: the evaluation classifier, and self-supervised encoders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors.base import Extractor


class JudgeNetwork(Protocol):
    """What the judge's extractor needs of a classifier: in eval mode, forward(x) is head(features(x))."""

    dim: int  # width of the features

    def features(self, x: Tensor) -> Tensor:
        """Pooled features [N, d] of images [N, C, H, W] in [-1, 1]."""

    def head(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, d]."""


class JudgeExtractor(Extractor):
    """The suite's own classifier, trained on the dataset's held-out split, as an extractor.

    net: a module with `features`, `head` and `dim` (see `JudgeNetwork`), fed images in [-1, 1] of its own channels.
    key: of the artefact that holds it; of a published one the sha256 of its file. side: of its training images, in
    pixels; other sides are refused, because a resized image is not what it learnt to judge. weights: provenance of
    published weights (file, sha256, verified, licence); None: they were trained here. reading: what else decides its
    features and logits, where that is not the file alone.
    """

    name = "judge"

    def __init__(
        self,
        net: nn.Module,
        key: str,
        side: int,
        *,
        device: torch.device | str | None = None,
        weights: Mapping[str, Any] | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.side = side
        self.identity = {
            "extractor": self.name,
            "input_px": side,
            "resize": "none",
            "scale": "x / 127.5 - 1",
            "layer": "features; head",
            "judge": key,
            "weights": dict(weights) if weights else trained_here(f"judge {key}", net),
            **(reading or {}),
        }
        self.dim = int(net.dim)  # type: ignore[arg-type]
        super().__init__(net, device or next(net.parameters()).device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.shape[2:] != (self.side, self.side):
            raise MetricError(
                f"images: {images.shape[3]} x {images.shape[2]} px",
                f"this judge was trained at {self.side} x {self.side}",
                "evaluate at the side of the prepared data",
            )
        pooled = self.net.features(images / 127.5 - 1)  # [N, d]
        return pooled, self.net.head(pooled)


class EncoderExtractor(Extractor):
    """A self-supervised encoder of the suite as an extractor: its embedding is the pooled feature, logits are None.

    net: images [N, channels, side, side] in [-1, 1] to embeddings [N, d]. key, weights: as of `JudgeExtractor`.
    side, channels: of its training images; others are refused. name: in "FD-<name>" and in the ids of numbers.
    """

    def __init__(
        self,
        net: nn.Module,
        key: str,
        side: int,
        channels: int,
        *,
        name: str = "encoder",
        device: torch.device | str | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.side, self.channels = name, side, channels
        self.identity = {
            "extractor": name,
            "input_px": side,
            "channels": channels,
            "resize": "none",
            "scale": "x / 127.5 - 1",
            "layer": "embedding",
            "encoder": key,
            "weights": dict(weights) if weights else trained_here(f"encoder {key}", net),
        }
        super().__init__(net, device or next(net.parameters()).device)
        self.dim = self(torch.zeros(1, channels, side, side, dtype=torch.uint8)).pooled.shape[1]

    def _forward(self, images: Tensor) -> tuple[Tensor, None]:
        if images.shape[1:] != (self.channels, self.side, self.side):
            raise MetricError(
                f"images: {list(images.shape[1:])}",
                f"this encoder was trained on {[self.channels, self.side, self.side]}",
                "evaluate at the side and with the channels of the prepared data",
            )
        return self.net(images / 127.5 - 1), None


def trained_here(file: str, net: nn.Module) -> dict[str, Any]:
    """The provenance of a network that was trained on this machine, whose bits are this machine's."""
    return {"file": file, "sha256": state_hash(net), "verified": True, "licence": "trained here"}


def state_hash(net: nn.Module) -> str:
    """sha256 of a net's tensors with their names, the same on any device."""
    digest = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
