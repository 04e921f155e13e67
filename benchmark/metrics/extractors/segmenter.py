"""A segmentation network that a user gives as a file, and the areas of its classes as features of an image.

The suite has no such network: the Frechet Segmentation Distance (Bau et al., ICCV 2019) was published with UPerNet's
unified parsing of 336 object classes, whose weights are its authors'. The file is a program saved by `torch.export`
(`.pt2`) or TorchScript (any other name). It is given RGB images [N, 3, px, px], float32 in [0, 1], and returns scores
of each class [N, n_classes, h, w] or class numbers [N, h, w]; further scaling of its input is its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, PositiveInt
from benchmark.core.errors import WeightsError
from benchmark.core.files import sha256_file
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors.base import Extractor, three_channels
from benchmark.metrics.extractors.weights import Weights, weight_folders
from benchmark.metrics.segmentation import Segmenter, area_fractions
from benchmark.nn.precision import exact_float32

Digits = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SegmenterConfig:
    """Which file, and what it holds. Defaults are Self-Conditioned GAN's: UPerNet's unified parsing at 256 px [C]."""

    file: Annotated[str, Field(min_length=1)] = "upernet-unified-parsing.pt2"  # a path, or a name in GANTLET_WEIGHTS
    n_classes: PositiveInt = 336  # classes it may name, its "unlabelled" one included
    input_px: PositiveInt = 256  # side to which images are resized, nearest neighbour
    sha256: Digits | None = None  # the file's, or its first digits; None: not known, and numbers are not verified
    licence: str = "not stated"  # of the weights


def find_segmenter(cfg: SegmenterConfig, allow_unverified: bool = False) -> Weights:
    """Find and hash the file without loading it. Raises WeightsError when it is missing or another one."""
    folders = [Path(), *weight_folders(None)]
    path = next((p for folder in folders if (p := folder / cfg.file).is_file()), None)
    if path is None:
        raise WeightsError(
            f"fsd: the segmentation network {cfg.file} is missing",
            f"looked in {', '.join(map(str, folders))}; no file comes with the suite",
            "save a segmentation network with torch.export, put the file in the folder GANTLET_WEIGHTS, and name it "
            "and its classes by eval.extras.segmenter",
        )
    actual = sha256_file(path)
    verified = cfg.sha256 is not None and actual.startswith(cfg.sha256)
    if cfg.sha256 is not None and not (verified or allow_unverified):
        raise WeightsError(
            f"fsd: {path.name} is not the expected file",
            f"{path}: its sha256 starts with {actual[:8]}, expected {cfg.sha256[:8]}",
            "give the file that eval.extras.segmenter names, or set eval.allow_unverified=true",
        )
    return Weights(path, actual, verified, cfg.licence)


class FileSegmenter:
    """The network of a file, as a `Segmenter`. Raises WeightsError for a file that cannot be loaded."""

    name = "segmenter"

    def __init__(self, cfg: SegmenterConfig, weights: Weights, device: torch.device | str = "cpu") -> None:
        self.n_classes, self.px, self.device = cfg.n_classes, cfg.input_px, torch.device(device)
        self.identity = {
            "extractor": self.name,
            "input_px": cfg.input_px,
            "resize": "nearest neighbour",
            "scale": "x / 255",
            "n_classes": cfg.n_classes,
            "weights": weights.identity(),
        }
        self.net = _load(weights.path, self.device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Classes [N, h, w] int64 of uint8 images [N, C, H, W], C = 1 or 3. Raises MetricError for other scores."""
        x = three_channels(images).to(self.device).float() / 255
        with exact_float32(self.device.type):
            out = self.net(F.interpolate(x, size=(self.px, self.px), mode="nearest"))
        if out.ndim != 4:
            return out
        if out.shape[1] != self.n_classes:
            raise MetricError(
                f"{self.name}: scores of {out.shape[1]} classes",
                f"n_classes is {self.n_classes}",
                "set eval.extras.segmenter.n_classes to what the file holds",
            )
        return out.argmax(1)


class AreaExtractor(Extractor):
    """Per cent of an image that each class covers, as its features: kept by the store like any other's."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter, self.name, self.dim = segmenter, segmenter.name, segmenter.n_classes
        self.identity = segmenter.identity
        super().__init__(nn.Identity(), "cpu")  # images are taken from the host; the segmenter moves them

    def _forward(self, images: Tensor) -> tuple[Tensor, None]:
        areas = area_fractions(self.segmenter, images.permute(0, 2, 3, 1).numpy(), batch=len(images))
        return torch.from_numpy(areas), None


def _load(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network of a file on a device, in evaluation mode. Raises WeightsError."""
    try:
        if path.suffix == ".pt2":
            from torch.export import load
            from torch.export.passes import move_to_device_pass

            return move_to_device_pass(load(str(path)), device).module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch, which prefers torch.export
            return torch.jit.load(str(path), map_location=device).eval()
    except Exception as error:  # whatever it is, torch could not read it
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"fsd: {path.name} cannot be loaded", reason, "save it with torch.export (.pt2) or as TorchScript"
        ) from None
