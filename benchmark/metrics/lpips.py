"""LPIPS: a distance between two images in the features of a classifier, and the diversity it gives.

Source: Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
(CVPR 2018), version 0.1 of their package `lpips`. The package holds the fitted weights of the layers; those of the
classifier are torchvision's and are looked for as those of the extractors: it never fetches anything by itself here.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.core.errors import ConfigError, WeightsError, suggest
from benchmark.core.files import sha256_file
from benchmark.metrics.checks import Array, Float64, MetricError
from benchmark.metrics.extractors.weights import Source, Weights, _find_file
from benchmark.nn.precision import exact_float32

Net = Literal["alex", "vgg"]
Distance = Callable[[Tensor, Tensor], Tensor]  # two sets of float images [N, C, H, W] in [-1, 1] -> [N]

BACKBONES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}  # torchvision's files
SMALLEST_PX = 64  # ours: on smaller images AlexNet's last layers see one place, or none
LARGEST_VALUE = 8.0  # a linear last layer may leave [-1, 1]; images in 0 ... 255 are a mistake


def find_lpips_weights(
    net: Net, *, weights_dir: Path | str | None = None, allow_unverified: bool = False, download: bool = True
) -> Weights:
    """Pre-flight of LPIPS: its backbone's weights, found and hashed, without building the net.

    net: "alex" (for diversity) or "vgg" (for path length). weights_dir: a folder to look in first, or the file itself.
    Then: the folder in GANTLET_WEIGHTS, torch hub's folder of checkpoints, and, with download=True and a network,
    torchvision's address. allow_unverified: accept a file of another sha256; its numbers then carry verified=False.
    Raises WeightsError within seconds when the package or the file is missing or the file is another one, ConfigError
    for an unknown net.
    """
    if net not in BACKBONES:
        raise ConfigError(f"LPIPS has no net {net!r}", suggest(str(net), BACKBONES))
    if importlib.util.find_spec("lpips") is None:
        raise WeightsError(
            "LPIPS: the package lpips is not installed",
            "it holds the fitted weights of the layers",
            "pip install 'gantlet[lpips]'",
        )
    source = _source(net)
    try:
        return _find_file(
            f"lpips-{net}", source, Path(weights_dir) if weights_dir else None, allow_unverified, download
        )
    except WeightsError as error:
        if not error.what.endswith("is missing"):
            raise
        place = f"put {source.files[0]} (sha256 {source.digits}...) from {source.url} there"
        raise WeightsError(error.what, error.why, f"{place}: no other network replaces it") from None


class LPIPS:
    """LPIPS on one net: call it with two sets of images.

    name: "lpips-alex" or "lpips-vgg". identity: the provenance of its numbers, JSON-able.
    Raises WeightsError when the file does not hold the backbone's weights.
    """

    def __init__(self, net: Net, weights: Weights, *, device: torch.device | str = "cpu") -> None:
        module, heads = _build(net, weights)
        self.name = f"lpips-{net}"
        self.device = torch.device(device)
        self.net: Any = module.to(self.device)
        self.identity = {
            "distance": self.name,
            "version": "0.1",
            "package": f"lpips {importlib.metadata.version('lpips')}",
            "heads": {"file": f"v0.1/{heads.name}", "sha256": sha256_file(heads)},
            "input": "floats in [-1, 1], grey repeated three times",
            "resize": f"bilinear, so that the shorter side is {SMALLEST_PX} px; larger images as they are",
            "weights": weights.identity(),
        }

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of a[i] and b[i], [N] float32 on its device. In [0, inf), rarely above 1; lower: more alike.

        a, b: float images [N, C, H, W], C = 1 or 3, in [-1, 1]. Images whose shorter side is below 64 px are enlarged
        to it (ours). Without gradients, in plain float32.
        Source: Zhang et al., 2018, eq. 1.
        Raises MetricError for other dtypes, shapes that differ, values far from [-1, 1] and NaN.
        """
        a, b = _checked_floats(a), _checked_floats(b)
        if a.shape != b.shape:
            raise MetricError(f"LPIPS of images {list(a.shape)} and {list(b.shape)}", "pairs have one shape")
        with torch.no_grad(), exact_float32(self.device.type):
            values: Tensor = self.net(*(_enlarged(x.to(self.device, torch.float32)) for x in (a, b)))
        return values.reshape(-1)


def lpips_distance(
    net: Net,
    *,
    weights_dir: Path | str | None = None,
    device: torch.device | str = "cpu",
    allow_unverified: bool = False,
) -> LPIPS:
    """Find the weights and build LPIPS on `net`. Arguments and errors as `find_lpips_weights` and `LPIPS`."""
    weights = find_lpips_weights(net, weights_dir=weights_dir, allow_unverified=allow_unverified)
    return LPIPS(net, weights, device=device)


@dataclass(frozen=True)
class Diversity:
    """Mean distance of two images made under one condition."""

    mean: float  # over conditions, in the distance's units; higher: more diverse
    se: float | None  # standard error of the mean over conditions (sd / sqrt(G)); None with one condition
    per_group: Float64  # [G], mean over each condition's pairs
    n_groups: int  # G
    n_pairs: int  # in all, G P (P - 1) / 2


def diversity(groups: Array, distance: Distance, batch: int = 64, progress: bool = False) -> Diversity:
    """Mean distance over all pairs of images of one condition, averaged over conditions. Higher is more diverse.

    groups: uint8 images [G, P, C, H, W], tensor or array, C = 1 or 3: P >= 2 images for each of G conditions (classes,
    labels, instances). distance: of float images in [-1, 1], usually LPIPS with AlexNet. 0: each condition always gives
    the same image. It does not see quality: noise is diverse; print the real images' value with it. Pairs of one
    condition share images, so that the standard error is over conditions. batch: pairs at once; progress: draw a bar.
    Source: the field's habit since Zhu et al., "Toward Multimodal Image-to-Image Translation" (NeurIPS 2017); that
    every pair counts, and the standard error, are ours.
    Raises MetricError for wrong dtype or shape, fewer than two images of a condition, and NaN in distances.
    """
    images = _checked_groups(groups)
    if batch < 1:
        raise MetricError(f"diversity: batch = {batch}", "a batch holds at least one pair")
    n_groups, n_images = images.shape[:2]
    pairs = list(itertools.combinations(range(n_images), 2))
    rows = [(g, i, j) for g in range(n_groups) for i, j in pairs]
    parts = []
    for start in tqdm(range(0, len(rows), batch), desc="diversity", unit="batch", disable=not progress):
        g, i, j = (list(column) for column in zip(*rows[start : start + batch]))
        parts.append(distance(_floats(images[g, i]), _floats(images[g, j])).detach().double().cpu().numpy())
    values = np.concatenate(parts)
    if values.shape != (len(rows),) or not np.isfinite(values).all():
        raise MetricError("diversity: NaN, infinity or a wrong number of distances", "one is needed for each pair")
    means = values.reshape(n_groups, len(pairs)).mean(axis=1)
    se = float(means.std(ddof=1)) / math.sqrt(n_groups) if n_groups > 1 else None
    return Diversity(float(means.mean()), se, means, n_groups, len(rows))


def _source(net: str) -> Source:
    file = BACKBONES[net]
    digits = file.removesuffix(".pth").rsplit("-", 1)[1]  # torch hub's convention: the first digits of the sha256
    url = f"https://download.pytorch.org/models/{file}"
    return Source(files=(file,), url=url, digits=digits, licence="BSD-3-Clause (torchvision)")


def _build(net: str, weights: Weights) -> tuple[nn.Module, Path]:
    """The package's module with its own heads and the backbone's weights, and the file of the heads.

    It is built on the meta device: no random values are drawn, no memory is taken for VGG's unused layers.
    """
    import lpips  # type: ignore[import-untyped,unused-ignore]

    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torchvision, for the package's older way to say "no weights"
        module = lpips.LPIPS(net=net, version="0.1", pretrained=False, pnet_rand=True, verbose=False)
    wanted = module.state_dict()
    state = {key: value for key, value in wanted.items() if not value.is_meta}  # the constants of the scaling
    fitted = torch.load(heads, map_location="cpu", weights_only=True)
    state |= fitted | {key.replace("lin", "lins.", 1): value for key, value in fitted.items()}  # listed under two names
    try:
        state |= _backbone(weights, [key for key in wanted if key.startswith("net.")])
        module.load_state_dict(state, strict=True, assign=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"lpips-{net}: {weights.path.name} cannot be loaded", reason, "put the original file there"
        ) from None
    return module.eval().requires_grad_(False), heads


def _backbone(weights: Weights, wanted: list[str]) -> dict[str, Tensor]:
    """The classifier's convolutions under the package's names: features.3.weight is net.slice2.3.weight."""
    file = torch.load(weights.path, map_location="cpu", weights_only=True)
    return {key: file[f"features.{key.split('.', 2)[2]}"] for key in wanted}


def _checked_floats(images: Tensor) -> Tensor:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise MetricError(f"LPIPS of {kind} images", "it reads float tensors in [-1, 1]", "x / 127.5 - 1")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise MetricError(f"LPIPS of images {list(images.shape)}", "[N, C, H, W] with C = 1 or 3 is needed")
    if not bool(images.isfinite().all()):
        raise MetricError("LPIPS: NaN or infinity in the images", "the generator left the range of floats")
    largest = float(images.detach().abs().max())
    if largest > LARGEST_VALUE:
        raise MetricError(f"LPIPS of images with values up to {largest:g}", "they lie in [-1, 1]", "x / 127.5 - 1")
    return images


def _enlarged(images: Tensor) -> Tensor:
    """[N, 3, H, W], both sides 64 px or more."""
    images = images.expand(-1, 3, -1, -1)
    height, width = images.shape[2:]
    if min(height, width) >= SMALLEST_PX:
        return images
    scale = SMALLEST_PX / min(height, width)
    return F.interpolate(
        images, size=(round(height * scale), round(width * scale)), mode="bilinear", align_corners=False
    )


def _checked_groups(groups: Array) -> Tensor:
    images = torch.from_numpy(groups) if isinstance(groups, np.ndarray) else groups
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise MetricError(
            f"diversity of {kind} images",
            "uint8 is needed: every metric sees the same quantised images",
            "quantise once",
        )
    if images.ndim != 5 or images.shape[2] not in (1, 3) or 0 in images.shape:
        raise MetricError(f"diversity of images {list(images.shape)}", "[G, P, C, H, W] with C = 1 or 3 is needed")
    if images.shape[1] < 2:
        raise MetricError("diversity: one image of each condition", "a pair needs two", "draw 10 for each condition")
    return images


def _floats(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1
