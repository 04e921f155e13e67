"""DINOv2 as an extractor: the features of FD-DINOv2 (Stein et al., 2023), in a network built by `timm`."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.metrics.extractors.base import Extractor, load_weights, three_channels
from benchmark.metrics.extractors.resizing import PIL_BICUBIC, pil_bicubic
from benchmark.metrics.extractors.weights import Weights

SIDE, PATCH = 224, 14
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pixels in [0, 1]
OFFSET = 0.1  # added to the grid's side where positions are interpolated, as in DINOv2's code
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "dinov2": {"embed_dim": 1024, "depth": 24, "num_heads": 16},  # ViT-L/14, the one of FD-DINOv2
    "dinov2-b": {"embed_dim": 768, "depth": 12, "num_heads": 12},  # ViT-B/14
}


class DINOv2Extractor(Extractor):
    """DINOv2 (Oquab et al., 2024) without registers: the class token after the last norm. It has no logits.

    name: "dinov2", ViT-L/14, whose Frechet distance is FD-DINOv2; or "dinov2-b", ViT-B/14.
    Input: 224 px by Pillow's bicubic on 8-bit images, ImageNet's mean and standard deviation, as in the code of Stein
    et al. (arXiv 2306.04675). Two other public variants differ in the resize alone (Pillow's on floats, TensorFlow 1's
    bilinear), and give other numbers. Learned positions, for 518 px in the file, are interpolated as in DINOv2's own
    code: bicubic, not antialiased, by (16 + 0.1) / 37. `timm` does it otherwise, so it is not used here.
    Raises WeightsError when the file does not hold this net's weights.
    """

    memory_format = torch.contiguous_format

    def __init__(self, name: str, weights: Weights, *, device: torch.device | str = "cpu") -> None:
        from timm.models.vision_transformer import VisionTransformer

        self.name = name
        architecture = ARCHITECTURES[name]
        self.dim = architecture["embed_dim"]
        self.identity = {
            "extractor": name,
            "input_px": SIDE,
            "resize": PIL_BICUBIC,
            "mean": list(MEAN),
            "std": list(STD),
            "positions": f"bicubic, not antialiased, offset {OFFSET}",
            "layer": f"class token after the last norm ({self.dim})",
            "weights": weights.identity(),
        }
        with torch.device("meta"):
            net = VisionTransformer(
                img_size=SIDE, patch_size=PATCH, num_classes=0, global_pool="token", init_values=1.0, **architecture
            )
        super().__init__(load_weights(name, net, weights, convert=_for_this_side), device)
        self._mean, self._std = (torch.tensor(x, device=self.device).view(1, 3, 1, 1) for x in (MEAN, STD))

    def _forward(self, images: Tensor) -> tuple[Tensor, None]:
        x = pil_bicubic(three_channels(images), SIDE) / 255
        return self.net((x - self._mean) / self._std), None


def _for_this_side(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors without the mask token of its training, and with positions for 224 px."""
    grid = SIDE // PATCH
    kept = {key: value for key, value in state.items() if key != "mask_token"}
    return kept | {"pos_embed": interpolated(kept["pos_embed"], grid)}


def interpolated(positions: Tensor, grid: int) -> Tensor:
    """Learned positions [1, 1 + n^2, d], the class token's first, for a grid x grid image: [1, 1 + grid^2, d]."""
    token, patches = positions[:, :1].float(), positions[:, 1:].float()
    side = math.isqrt(patches.shape[1])
    if side == grid:
        return positions
    square = patches.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # [1, d, n, n]
    found = F.interpolate(square, scale_factor=(grid + OFFSET) / side, mode="bicubic")  # [1, d, grid, grid]
    return torch.cat([token, found.flatten(2).transpose(1, 2)], dim=1)
