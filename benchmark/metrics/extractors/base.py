"""Feature extractors: uint8 images in, pooled features and logits out, each with a name and a provenance.

Only Inception's distance is called FID and only its score IS; every other extractor's are FD-<name> and CS-<name>.
All arithmetic is float32: no TF32, no autocast, in eval mode, so that one extractor gives the same numbers everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.core.errors import WeightsError
from benchmark.data.jpeg import JpegImages
from benchmark.metrics.checks import MetricError, check_images
from benchmark.metrics.extractors.weights import Weights
from benchmark.nn.precision import exact_float32


class Features(NamedTuple):
    """What an extractor says of N images."""

    pooled: Tensor  # [N, d] float32
    logits: Tensor | None  # [N, K] float32, before softmax; None of an encoder, which has no classes


class Extractor(ABC):
    """A frozen net that turns images into features.

    name: one of `weights.EXTRACTORS`, "torchvision-MODEL" or an encoder's.
    identity: the provenance of its numbers, JSON-able: extractor, input_px, resize, scale, layer, weights.
    dim: d, the width of the pooled features.
    """

    name: str
    identity: dict[str, Any]
    dim: int
    memory_format: torch.memory_format = torch.channels_last  # of the net: convolutions run faster so on a CPU

    def __init__(self, net: nn.Module, device: torch.device | str) -> None:
        self.net: Any = net.eval()  # a submodule's attributes are not typed
        self.to(device)

    def to(self, device: torch.device | str) -> Extractor:
        """Move the net, in its memory format. Convolutions run channels_last: the same sums, up to 1.5 times faster on
        a CPU.
        """
        self.device = torch.device(device)
        self.net = self.net.to(self.device, memory_format=self.memory_format)
        return self

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images [N, C, H, W], C = 1 or 3, on the extractor's device.

        Raises MetricError for float images and for other shapes.
        """
        check_images(images)
        self.net.eval()
        with torch.no_grad(), exact_float32(self.device.type):
            pooled, logits = self._forward(images.to(self.device))
        return Features(pooled.float(), None if logits is None else logits.float())

    @abstractmethod
    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled features [N, d] and logits [N, K], if it has any, of checked uint8 images [N, C, H, W]."""


def extract(
    extractor: Extractor,
    images: np.ndarray | JpegImages,
    *,
    batch: int = 64,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Features:
    """Features, on the host, of stored images: uint8 (N, H, W, C), C = 1 or 3; a memory map is read in pieces.

    So are `JpegImages`.

    batch: images at once; part of the protocol to the last bit only (1e-5 of the features). device: moves the extractor
    there first. progress: draw a bar.
    Raises MetricError for float images, other shapes, or no images.
    """
    if not isinstance(images, np.ndarray | JpegImages) or images.dtype != np.uint8:
        kind = getattr(images, "dtype", type(images).__name__)
        raise MetricError(f"images: {kind} given", "extract reads stored images: a uint8 numpy array (N, H, W, C)")
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise MetricError(f"images: shape {images.shape}", "(N, H, W, C) with N >= 1 and C = 1 or 3 is needed")
    if batch < 1:
        raise MetricError(f"extract: batch = {batch}", "a batch holds at least one image")
    if device is not None:
        extractor.to(device)
    parts = []
    for start in tqdm(range(0, len(images), batch), desc=extractor.name, unit="batch", disable=not progress):
        chunk = np.array(images[start : start + batch]).transpose(0, 3, 1, 2)  # a copy: memory maps are read-only
        pooled, logits = extractor(torch.from_numpy(chunk))
        parts.append(Features(pooled.cpu(), None if logits is None else logits.cpu()))
    scored = [part.logits for part in parts if part.logits is not None]
    return Features(torch.cat([part.pooled for part in parts]), torch.cat(scored) if scored else None)


def three_channels(images: Tensor) -> Tensor:
    """Grey [N, 1, H, W] repeated to [N, 3, H, W]; colour as it is."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def load_weights(
    name: str, net: nn.Module, weights: Weights, convert: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
) -> nn.Module:
    """Put the file's tensors into a net built on the meta device: no random number is drawn for initial values.

    convert: makes the net's tensors of the file's.
    """
    try:
        state = torch.load(weights.path, map_location="cpu", weights_only=True)
        net.load_state_dict(state if convert is None else convert(state), strict=True, assign=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{name}: {weights.path} cannot be loaded", reason, "put the original file there") from None
    return net.requires_grad_(False)
