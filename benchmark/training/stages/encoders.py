"""Frozen encoders for methods that condition on features, by name: `image_encoder(artifacts, FeatureConfig(...))`.

    name         what it is                                                  layers         labels   download
    simclr       the suite's contrastive encoder, trained here               4              none     none
    rotnet       NIN trained here to predict rotations                       4              none     none
    autoencoder  autoencoder trained here; its last layer is the code        by the side    none     none
    classifier   a classifier of the dataset's labels, trained here          4              ITS OWN  none
    alexnet      AlexNet with random weights, never trained                  5              none     none
    pixels       the image itself: the control                               -              none     none
    lite0        EfficientNet-Lite0, ImageNet weights from a Python package  -              ImageNet none
    resnet50     ResNet-50 of a file: supervised (torchvision) or SwAV       4              as file  by the user

An encoder is a `FeatureNet`: `maps` are the chosen layer's feature maps, the call itself is their spatial mean. It is
always in eval mode, has no gradient, and names itself (`identity`), so that `artifacts.compute` can key on it.
"""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeInt, PositiveInt, added
from benchmark.core.errors import ConfigError, UserError, WeightsError
from benchmark.core.files import sha256_file
from benchmark.core.sealed import check_archive
from benchmark.data.prepared import Dataset
from benchmark.data.stream import in_order
from benchmark.metrics.extractors.pretrained import Lite0Extractor
from benchmark.metrics.extractors.weights import require
from benchmark.nn.features import untrained_alexnet
from benchmark.nn.precision import exact_float32
from benchmark.training.artifacts import ArtifactStore, computation
from benchmark.training.stages.autoencoder import AutoencoderConfig, AutoencoderStage
from benchmark.training.stages.classifier import AttributeClassifier, AttributeClassifierConfig
from benchmark.training.stages.rotnet import RotNet, RotNetConfig
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig, recipe

BATCH = 256  # images encoded at once


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FeatureConfig:
    """Which encoder, and which of its layers."""

    # the network that embeds an image, and how it learns; pixels: no network
    name: Literal["simclr", "classifier", "rotnet", "autoencoder", "alexnet", "lite0", "resnet50", "pixels"] = "simclr"
    layer: PositiveInt | None = None  # counted from 1; None: the last, of rotnet the second (its authors' best)
    input_px: PositiveInt | None = None  # side to which alexnet's (None: 224) and resnet50's (224) input is resized
    weights: str | None = None  # resnet50's file: a path, or a name in GANTLET_WEIGHTS or torch hub's checkpoints
    seed: NonNegativeInt = 0  # of alexnet's random weights
    encoder: SimCLRConfig | None = None  # of simclr; None: the suite's small recipe for the dataset
    rotnet: RotNetConfig | None = None  # None: `small_rotnet`
    classifier: AttributeClassifierConfig | None = None  # None: `small_classifier`
    autoencoder: AutoencoderConfig | None = added(None)  # None: `small_autoencoder`


small_rotnet = RotNetConfig(divisor=4, steps=400, batch=32, lr=0.05)  # [ours] about 90 s of one CPU core at 32 px
small_classifier = AttributeClassifierConfig(steps=500, batch=128)  # [ours]
small_autoencoder = AutoencoderConfig(steps=500, batch=128, width=16)  # [ours]


class Prepare(nn.Module):
    """Images as an encoder wants them: its channels, its side, its scale.

    channels: 3: grey is repeated; 1: grey only; None: any. px: side after an antialiased bicubic resize, or None.
    mean, std: in units of [0, 1], one a channel, or None for images left in [-1, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int | None,
        px: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] = (1.0,),
    ) -> None:
        super().__init__()
        self.channels, self.px, self.scaled = channels, px, mean is not None
        self.register_buffer("mean", torch.tensor(mean or (0.0,)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> [N, C', px, px]. Raises ConfigError for colour where grey is needed."""
        if self.channels == 3 and x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.channels not in (None, x.shape[1]):
            raise ConfigError(
                f"images of {x.shape[1]} channels",
                f"this encoder was made for {self.channels}",
                "use data with the same channels, or an encoder for colour images",
            )
        if self.px is not None and x.shape[-1] != self.px:
            size = (self.px, self.px)
            x = F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(-1, 1)
        return ((x + 1) / 2 - self.mean) / self.std if self.scaled else x


class FeatureNet(nn.Module):
    """A frozen encoder: images [N, C, S, S] in [-1, 1] -> features [N, d].

    prepare, body: applied one after the other; body gives the maps. pooled: features are the maps' mean over positions;
    else the maps laid flat. identity: what decides the features, JSON-able; weights of files are named by sha256.
    """

    def __init__(self, identity: dict[str, Any], prepare: Prepare, body: nn.Module, pooled: bool = True) -> None:
        super().__init__()
        self.identity, self.prepare, self.body, self.pooled = identity, prepare, body, pooled
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FeatureNet:
        """Stays in eval mode: batch statistics would make features depend on their batch."""
        return super().train(False)

    def maps(self, x: Tensor) -> Tensor:
        """Feature maps [N, c, h, w] of the chosen layer."""
        return self.body(self.prepare(x))

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, d]."""
        maps = self.maps(x)
        return maps.mean((2, 3)) if self.pooled else maps.flatten(1)

    @torch.no_grad()
    def n_map_features(self, data: Dataset) -> int:
        """How many numbers the feature maps of the training images are."""
        one = self.maps(torch.zeros(1, data.channels, data.resolution, data.resolution, device=self.device))
        return one.numel() * len(data.train)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and its input must be."""
        return next(self.buffers()).device


def image_encoder(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    """The frozen encoder of a configuration, on the store's device; trained by the store where it has to be.

    Raises ConfigError for a layer that the net does not have or labels that are missing, WeightsError when a weights
    file is missing or another one. On the synthetic data of a dry run missing weights are replaced by random ones.
    """
    net = _MAKERS[cfg.name](artifacts, cfg).to(artifacts.device)
    artifacts.note(net.identity)
    return net


def _simclr(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    net = artifacts.train(SimCLR, cfg.encoder or recipe("small", artifacts.data.name))
    layers = _conv_layers(net.net) if isinstance(net.net, nn.Sequential) else _resnet_layers(net.net)
    return _trained(artifacts, cfg, net, layers)


def _classifier(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    net = artifacts.train(AttributeClassifier, cfg.classifier or small_classifier)
    return _trained(artifacts, cfg, net, _conv_layers(net.encoder.net))


def _rotnet(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    net = artifacts.train(RotNet, cfg.rotnet or small_rotnet)
    return _trained(artifacts, cfg, net, list(net.blocks), default_layer=2)


def _autoencoder(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    net = artifacts.train(AutoencoderStage, cfg.autoencoder or small_autoencoder)
    return _trained(artifacts, cfg, net, list(net.layers))


def _trained(
    artifacts: ArtifactStore,
    cfg: FeatureConfig,
    net: nn.Module,
    layers: list[nn.Module],
    default_layer: int | None = None,
) -> FeatureNet:
    """An encoder of the first layers of a network that was trained here."""
    layer = _layer(cfg, len(layers), default_layer)
    identity = {"extractor": cfg.name, "layer": layer, "artefact": artifacts.key_of(net)}
    return FeatureNet(identity, Prepare(artifacts.data.channels), nn.Sequential(*layers[:layer]))


def _alexnet(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    layer, px = _layer(cfg, 5), cfg.input_px or 224
    identity = {"extractor": "alexnet, untrained", "layer": layer, "input_px": px, "seed": cfg.seed, "version": 1}
    return FeatureNet(identity, Prepare(3, px, mean=(0.0,)), untrained_alexnet(layer, cfg.seed))


def _pixels(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    return FeatureNet({"extractor": "pixels"}, Prepare(None), nn.Identity(), pooled=False)


def _lite0(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    weights = require("lite0")
    assert weights is not None
    net = Lite0Extractor(weights, device=artifacts.device)
    mean, std = (127 / 255,), (128 / 255,)
    return FeatureNet(net.identity, Prepare(3, net.input_px, mean, std), _Lite0Maps(net.net))


class _Lite0Maps(nn.Module):
    """EfficientNet-Lite0 up to its last convolution."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.extract_features(x)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's and SwAV's input


def _resnet50(artifacts: ArtifactStore, cfg: FeatureConfig) -> FeatureNet:
    problem, path = _find_resnet50(cfg)
    rehearsal = not artifacts.data.meta  # random images: only shapes and times are wanted
    if problem and not rehearsal:
        raise problem
    layers = _resnet_layers(_load_resnet50(path) if path else resnet50(weights=None))
    layer, px = _layer(cfg, len(layers)), cfg.input_px or 224
    identity = {
        "extractor": "resnet50",
        "layer": layer,
        "input_px": px,
        "resize": "bicubic, antialiased, clipped",
        "weights": {"file": path.name, "sha256": sha256_file(path)} if path else "random: a rehearsal",
    }
    return FeatureNet(
        identity, Prepare(3, px, IMAGENET_MEAN, IMAGENET_STD), nn.Sequential(OrderedDict(zip("1234", layers[:layer])))
    )


def resnet50(**options: Any) -> nn.Module:
    """torchvision's ResNet-50. Its models take two seconds to import, and no other encoder needs them."""
    from torchvision import models

    return models.resnet50(**options)


def _find_resnet50(cfg: FeatureConfig) -> tuple[WeightsError | None, Path | None]:
    """The weights file, or why there is none."""
    mend = (
        "set `weights` to a ResNet-50 state dict (torchvision's) or a SwAV checkpoint, a path or a file name in the "
        "folder GANTLET_WEIGHTS; or use name=lite0 or name=simclr, which need no file"
    )
    if cfg.weights is None:
        return WeightsError("the feature extractor resnet50 has no weights", "`weights` is not set", mend), None
    named = os.environ.get("GANTLET_WEIGHTS")
    folders = [Path(), *([Path(named)] if named else []), Path(torch.hub.get_dir()) / "checkpoints"]
    path = next((folder / cfg.weights for folder in folders if (folder / cfg.weights).is_file()), None)
    if path is None:
        looked = ", ".join(str(folder / cfg.weights) for folder in folders)
        return WeightsError(f"resnet50: the weights {cfg.weights} are missing", f"looked for {looked}", mend), None
    return None, path


def _load_resnet50(path: Path) -> nn.Module:
    """ResNet-50 with a file's weights; wrappers' prefixes and every head are dropped. Raises WeightsError.

    torch.load ignores the CRC-32 of its archives: it is checked here. Files of torch before 1.6 are no archives and
    have no checksum: of those only the hash in the identity says which file was used.
    """
    mend = "give a ResNet-50 state dict as torchvision or SwAV publishes it"
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever it is, torch could not read it
        raise WeightsError(f"resnet50: {path} cannot be read", str(error).splitlines()[0], mend) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    heads = ("fc.", "projection_head.", "prototypes.")
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    plain = {name: value for name, value in plain.items() if not name.startswith(heads)}
    net: nn.Module = resnet50(weights=None)
    net.fc = nn.Identity()
    try:
        net.load_state_dict(plain)
    except (RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"resnet50: {path} holds another network", str(error).splitlines()[1].strip(), mend
        ) from None
    return net


_MAKERS: dict[str, Callable[[ArtifactStore, FeatureConfig], FeatureNet]] = {
    "simclr": _simclr,
    "classifier": _classifier,
    "rotnet": _rotnet,
    "autoencoder": _autoencoder,
    "alexnet": _alexnet,
    "pixels": _pixels,
    "lite0": _lite0,
    "resnet50": _resnet50,
}


def _layer(cfg: FeatureConfig, n_layers: int, default: int | None = None) -> int:
    """The number of the chosen layer, from 1. Raises ConfigError for one that the net does not have."""
    layer = cfg.layer or default or n_layers
    if layer > n_layers:
        raise ConfigError(f"layer {layer} of {cfg.name}", f"it has {n_layers}", f"choose a layer from 1 to {n_layers}")
    return layer


def _conv_layers(net: Any) -> list[nn.Module]:
    """The convolution, batch norm and ReLU of each layer of `conv_encoder`."""
    return [net[k : k + 3] for k in range(0, len(net) - 1, 3)]


def _resnet_layers(net: Any) -> list[nn.Module]:
    """The four stages of a residual network, the first with the stem."""
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    return [stem, net.layer2, net.layer3, net.layer4]


def missing_weights(config: Any) -> list[UserError]:
    """What the feature extractors anywhere in a method's configuration lack on this machine; empty: nothing.

    For the pre-flight of a run: nothing is built, only files are looked for. A part of the configuration that names
    an extractor of another kind answers by a method of this name.
    """
    if hasattr(config, "missing_weights"):
        return list(config.missing_weights())
    if isinstance(config, FeatureConfig):
        if config.name == "resnet50":
            problem, _ = _find_resnet50(config)
            return [problem] if problem else []
        if config.name == "lite0":
            try:
                require("lite0")
            except UserError as error:
                return [error]
        return []
    if is_dataclass(config):
        return [problem for field in fields(config) for problem in missing_weights(getattr(config, field.name))]
    return []


@computation("benchmark.features", "pooled_features")
def pooled_features(data: Dataset, encoder: FeatureNet, split: str = "train", flip: bool = False) -> dict[str, Tensor]:
    """Features of every image of a split, of the mirrored images with `flip`: {"h": [N, d]}. A computation."""
    return {"h": _encode(data, encoder, encoder, split, flip)}


@computation("benchmark.features", "map_features")
def map_features(data: Dataset, encoder: FeatureNet, split: str = "train") -> dict[str, Tensor]:
    """The feature maps of every image of a split, laid flat: {"f": [N, c * h * w]}. A computation."""
    return {"f": _encode(data, encoder, lambda x: encoder.maps(x).flatten(1), split, flip=False)}


@torch.no_grad()
def _encode(data: Dataset, encoder: FeatureNet, features: Callable[[Tensor], Tensor], split: str, flip: bool) -> Tensor:
    """features(images) of a whole split, [N, d], in plain float32 on the encoder's device."""
    with exact_float32(encoder.device.type):
        parts = [
            features(batch.images.flip(3) if flip else batch.images)
            for batch in in_order(data.split(split), BATCH, encoder.device)
        ]
    return torch.cat(parts)
