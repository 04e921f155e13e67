"""Feature extractors: frozen, named by what decides them, the same whatever the batch; weights asked for in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from benchmark.core.config import content_hash
from benchmark.core.errors import ConfigError, WeightsError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import to_float
from benchmark.nn.features import untrained_alexnet
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.method import construct
from benchmark.training.stages import encoders as features
from benchmark.training.stages.encoders import (
    FeatureConfig,
    FeatureNet,
    image_encoder,
    map_features,
    missing_weights,
    pooled_features,
)
from methods.latentcond import RECIPES

CPU = torch.device("cpu")


class Untrained(ArtifactStore):
    """Hands out stages as they were initialised."""

    def train(self, stage: Any, cfg: Any, **inputs: Any) -> nn.Module:
        product = construct(stage, cfg, self.data, self.device, 0, **inputs).product().requires_grad_(False).eval()
        self._keys.append((product, f"{stage.__name__} {len(self._keys)}"))
        return product


def artifacts(folder: Path, dataset: str = "digits", n: int = 5, real: bool = False) -> Untrained:
    """A store on n random pictures a split; real: they claim to be a prepared dataset."""
    data = Dataset.tiny(find_card(dataset))
    for split in (data.train, data.test):
        split.images = split.images[:n]
        split.labels = None if split.labels is None else split.labels[:n]
        split.attributes = None if split.attributes is None else split.attributes[:n]
    return Untrained(replace(data, meta={"format": 1} if real else {}), folder, CPU)


def pictures(data: Dataset) -> Tensor:
    return to_float(torch.tensor(data.train.images).permute(0, 3, 1, 2))


CASES = [
    (FeatureConfig(name="simclr"), 128),
    (FeatureConfig(name="simclr", layer=2), 32),
    (FeatureConfig(name="classifier"), 128),
    (FeatureConfig(name="rotnet"), 48),
    (FeatureConfig(name="autoencoder"), 128),
    (FeatureConfig(name="autoencoder", layer=2), 32),
    (FeatureConfig(name="alexnet", layer=3, input_px=64), 384),
    (FeatureConfig(name="lite0"), 1280),
]


@pytest.mark.parametrize(("cfg", "d"), CASES, ids=[f"{cfg.name}{cfg.layer or ''}" for cfg, _ in CASES])
def test_every_encoder(cfg: FeatureConfig, d: int, tmp_path: Path) -> None:
    """Grey and coloured pictures; frozen, in eval mode for good; the same for one image and for many."""
    for dataset in ("digits", "shapes"):
        j = artifacts(tmp_path, dataset)
        E = image_encoder(j, cfg)
        x = pictures(j.data)
        h = E.train()(x)
        assert h.shape == (5, d)
        assert not any(module.training for module in E.modules())
        assert not any(p.requires_grad for p in E.parameters())
        torch.testing.assert_close(E(x[:1]), h[:1], rtol=1e-3, atol=1e-4)
        maps = E.maps(x)
        assert maps.shape[:2] == (5, d)
        torch.testing.assert_close(maps.mean((2, 3)), h)
        assert content_hash(E.identity), "it can be a key"


def test_tables_of_a_split(tmp_path: Path) -> None:
    """What is stored is the encoder's answer to every image in order; mirrored images have their own table."""
    j = artifacts(tmp_path, "shapes")
    E = image_encoder(j, FeatureConfig(name="alexnet", layer=1, input_px=64))
    x = pictures(j.data)
    torch.testing.assert_close(j.compute(pooled_features, encoder=E)["h"], E(x))
    torch.testing.assert_close(j.compute(pooled_features, encoder=E, flip=True)["h"], E(x.flip(3)))
    torch.testing.assert_close(j.compute(map_features, encoder=E)["f"], E.maps(x).flatten(1))
    test = j.compute(pooled_features, encoder=E, split="test")["h"]
    torch.testing.assert_close(test, E(to_float(torch.tensor(j.data.test.images).permute(0, 3, 1, 2))))
    assert [made.found for made in j.made] == [False] * 4
    again = image_encoder(j, FeatureConfig(name="alexnet", layer=1, input_px=64))
    j.compute(pooled_features, encoder=again)
    assert j.made[-1].found, "an encoder made again is the same encoder"
    j.compute(pooled_features, encoder=image_encoder(j, FeatureConfig(name="alexnet", layer=1, input_px=64, seed=1)))
    assert not j.made[-1].found, "other weights are another encoder"


def test_encoders_differ_in_their_identity(tmp_path: Path) -> None:
    j = artifacts(tmp_path)
    configs = [
        FeatureConfig(name="pixels"),
        FeatureConfig(name="simclr"),
        FeatureConfig(name="simclr", layer=1),
        FeatureConfig(name="rotnet"),
        FeatureConfig(name="alexnet", input_px=64),
        FeatureConfig(name="alexnet", input_px=32),
        FeatureConfig(name="alexnet", input_px=32, layer=2),
        FeatureConfig(name="alexnet", input_px=32, seed=3),
    ]
    assert len({content_hash(image_encoder(j, cfg).identity) for cfg in configs}) == len(configs)


def test_pixels_are_the_image(tmp_path: Path) -> None:
    j = artifacts(tmp_path)
    x = pictures(j.data)
    E = image_encoder(j, FeatureConfig(name="pixels"))
    assert torch.equal(E(x), x.flatten(1))
    assert torch.equal(E.maps(x), x)


def test_the_seed_is_the_untrained_network() -> None:
    """The weights do not depend on the global generator, and have the published spread."""
    torch.manual_seed(1)
    first = untrained_alexnet(5, seed=7)
    torch.manual_seed(2)
    second, other = untrained_alexnet(5, seed=7), untrained_alexnet(5, seed=8)
    convs = [[m for m in net if isinstance(m, nn.Conv2d)] for net in (first, second, other)]
    assert [torch.equal(a.weight, b.weight) for a, b in zip(convs[0], convs[1])] == [True] * 5
    assert not torch.equal(convs[0][0].weight, convs[2][0].weight)
    for conv in convs[0]:
        expected = (2 / (conv.kernel_size[0] ** 2 * conv.out_channels)) ** 0.5
        assert float(conv.weight.std()) == pytest.approx(expected, rel=0.03)
        assert conv.bias is not None
        assert not conv.bias.any()


@pytest.mark.parametrize(("px", "sides"), [(224, (55, 27, 13, 13, 13)), (64, (15, 7, 3, 3, 3))])
def test_the_maps_of_alexnet(px: int, sides: tuple[int, ...]) -> None:
    for layer, (side, channels) in enumerate(zip(sides, (96, 256, 384, 384, 256)), start=1):
        with torch.device("meta"):
            maps = untrained_alexnet(layer).to("meta")(torch.empty(1, 3, px, px))
        assert maps.shape == (1, channels, side, side)


def test_a_layer_that_is_not_there(tmp_path: Path) -> None:
    for name, n in (("simclr", 4), ("rotnet", 4), ("alexnet", 5)):
        with pytest.raises(ConfigError, match=f"it has {n}"):
            image_encoder(artifacts(tmp_path), FeatureConfig(name=name, layer=n + 1))  # type: ignore[arg-type]


def test_a_grey_encoder_refuses_colour(tmp_path: Path) -> None:
    E = image_encoder(artifacts(tmp_path, "digits"), FeatureConfig(name="rotnet"))
    with pytest.raises(ConfigError, match="3 channels"):
        E(torch.zeros(1, 3, 16, 16))


def test_a_classifier_needs_labels(tmp_path: Path) -> None:
    j = artifacts(tmp_path)
    j.data.train.labels = None
    with pytest.raises(ConfigError, match="no labels to learn"):
        image_encoder(j, FeatureConfig(name="classifier"))


class Narrow(nn.Module):
    """Stands in for ResNet-50: the same names, a hundredth of the width."""

    def __init__(self, weights: None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 7, stride=8, padding=3, bias=False), nn.BatchNorm2d(4)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2 = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 1, stride=2)
        self.layer3, self.layer4 = nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(8, 16, 1)
        self.fc: nn.Module = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


def test_files_of_resnet50(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's state dict and SwAV's checkpoint give the same features; another file another identity."""
    monkeypatch.setattr(features, "resnet50", Narrow)
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    torch.manual_seed(0)
    net = Narrow().eval()
    state = net.state_dict()
    torch.save(state, tmp_path / "supervised.pth")
    wrapped = {f"module.{name}": value for name, value in state.items() if not name.startswith("fc.")}
    heads = {"module.projection_head.0.weight": torch.zeros(2, 16), "module.prototypes.weight": torch.zeros(3, 2)}
    torch.save({"state_dict": wrapped | heads, "epoch": 800}, tmp_path / "swav.pth.tar")
    j = artifacts(tmp_path, real=True)
    supervised, swav = (
        image_encoder(j, FeatureConfig(name="resnet50", weights=file)) for file in ("supervised.pth", "swav.pth.tar")
    )
    x = torch.rand(2, 3, 224, 224) * 2 - 1
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (features.IMAGENET_MEAN, features.IMAGENET_STD))
    expected = net(((x + 1) / 2 - mean) / std)
    torch.testing.assert_close(supervised(x), expected)
    torch.testing.assert_close(swav(x), expected)
    assert supervised(torch.zeros(1, 1, 32, 32)).shape == (1, 16), "grey and small: repeated and resized"
    assert supervised.identity["weights"]["sha256"] != swav.identity["weights"]["sha256"]
    assert str(tmp_path) not in str(supervised.identity), "the place of the file decides nothing"


def test_a_damaged_file_of_resnet50_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit of a weight: torch.load would take it."""
    monkeypatch.setattr(features, "resnet50", Narrow)
    path, state = tmp_path / "weights.pth", Narrow().state_dict()
    torch.save(state, path)
    whole = path.read_bytes()
    at = whole.index(state["layer4.weight"].numpy().tobytes()) + 3
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read[\s\S]*CRC-32"):
        image_encoder(artifacts(tmp_path, real=True), FeatureConfig(name="resnet50", weights=str(path)))
    path.write_bytes(whole[:-40])
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read"):
        image_encoder(artifacts(tmp_path, real=True), FeatureConfig(name="resnet50", weights=str(path)))


def test_weights_are_asked_for_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "resnet50", Narrow)
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)
    absent = FeatureConfig(name="resnet50", weights="absent.pth")
    with pytest.raises(WeightsError, match=r"absent\.pth are missing"):
        image_encoder(artifacts(tmp_path, real=True), absent)
    with pytest.raises(WeightsError, match="`weights` is not set"):
        image_encoder(artifacts(tmp_path, real=True), FeatureConfig(name="resnet50"))
    assert isinstance(image_encoder(artifacts(tmp_path), absent), FeatureNet), "a rehearsal wants shapes only"
    config = RECIPES["small"]["default"]
    assert missing_weights(config) == []
    assert "absent.pth" in str(missing_weights(replace(config, features=absent))[0])
    (tmp_path / "other.pth").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        image_encoder(artifacts(tmp_path, real=True), replace(absent, weights=str(tmp_path / "other.pth")))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="another network"):
        image_encoder(artifacts(tmp_path, real=True), replace(absent, weights=str(tmp_path / "other.pth")))


def test_the_real_resnet50_has_the_layers(tmp_path: Path) -> None:
    """Widths and sides of the four stages of torchvision's network."""
    with torch.device("meta"):
        x, sides = torch.empty(1, 3, 224, 224), []
        for layer in features._resnet_layers(resnet50(weights=None)):
            x = layer(x)
            sides.append(tuple(x.shape[1:]))
    assert sides == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
