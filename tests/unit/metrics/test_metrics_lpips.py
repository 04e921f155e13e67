"""LPIPS: the package's own forward with the same weights, what is refused, and diversity by hand."""

from __future__ import annotations

import importlib.util
import json
import socket
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lpips
import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

import benchmark.metrics.lpips as module
from benchmark.core.errors import ConfigError, WeightsError
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors import weights as weights_module
from benchmark.metrics.lpips import BACKBONES, LPIPS, diversity, find_lpips_weights, lpips_distance

BUILDERS = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in this file may reach out."""

    def refuse(*_: Any) -> None:
        raise OSError("the network is off in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub folder of checkpoints, and no GANTLET_WEIGHTS."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def random_backbone(net: str) -> dict[str, Tensor]:
    """Random convolutions, He-scaled so that features do not fade, under torchvision's names."""
    with torch.device("meta"):
        shapes = BUILDERS[net]().features.state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in shapes.items():
        scale = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.05
        state[f"features.{key}"] = torch.randn(value.shape, generator=generator) * scale
    return state | {"classifier.1.weight": torch.zeros(2, 2)}  # the file holds more than is needed


@pytest.fixture(scope="module", params=["alex", "vgg"])
def net_and_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("weights") / BACKBONES[request.param]
    torch.save(random_backbone(request.param), path)
    return request.param, path


@pytest.fixture(scope="module")
def alex(tmp_path_factory: pytest.TempPathFactory) -> LPIPS:
    folder = tmp_path_factory.mktemp("alex")
    torch.save(random_backbone("alex"), folder / BACKBONES["alex"])
    return lpips_distance("alex", weights_dir=folder, allow_unverified=True)


def images(n: int, side: int = 64, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def theirs(net: str, path: Path) -> lpips.LPIPS:
    """The package's net in its own way: random backbone, fitted heads; then the file's values put in by hand."""
    with torch.device("meta"):
        backbone = BUILDERS[net]()
    backbone.features.to_empty(device="cpu")  # drawing VGG's random values, all replaced below, would take seconds
    with patch.object(lpips.pretrained_networks.tv, BUILDERS[net].__name__, lambda pretrained: backbone):
        reference = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    file = torch.load(path, weights_only=True)
    slices = [getattr(reference.net, f"slice{k}") for k in range(1, 6)]
    for part in slices:
        for index, layer in part.named_children():
            if hasattr(layer, "weight"):
                layer.weight.data.copy_(file[f"features.{index}.weight"])
                layer.bias.data.copy_(file[f"features.{index}.bias"])
    return reference


def test_it_is_the_packages_own_value(net_and_file: tuple[str, Path]) -> None:
    net, path = net_and_file
    ours = lpips_distance(net, weights_dir=path, allow_unverified=True)  # type: ignore[arg-type]
    a, b = images(3), images(3, seed=1)
    with torch.no_grad():
        expected = theirs(net, path)(a, b).reshape(-1)
    got = ours(a, b)
    assert got.shape == (3,)
    assert got.numpy() == pytest.approx(expected.numpy(), abs=1e-6), "the package's value"
    assert (got > 0.01).all(), "a value that tells images apart"
    # without the fitted heads it would be another number: the tolerance tells them apart
    with torch.no_grad():
        headless = sum(
            (f - g).square().mean((1, 2, 3))
            for f, g in zip(ours.net.net(ours.net.scaling_layer(a)), ours.net.net(ours.net.scaling_layer(b)))
        )
    assert not np.allclose(got.numpy(), headless.numpy(), atol=1e-3)


def test_a_wrong_layer_or_scaling_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / BACKBONES["alex"]
    torch.save(random_backbone("alex"), path)
    backbone = module._backbone

    def shifted(weights: Any, wanted: list[str]) -> dict[str, Tensor]:
        """The last layer's channels one place on: its fitted weights then meet other channels."""
        right = backbone(weights, wanted)
        return {key: value.roll(1, 0) if "slice5" in key else value for key, value in right.items()}

    with monkeypatch.context() as mutant:
        mutant.setattr(module, "_backbone", shifted)
        with pytest.raises(AssertionError, match="the package's value"):
            test_it_is_the_packages_own_value(("alex", path))
    with monkeypatch.context() as mutant:
        mutant.setattr(module, "_enlarged", lambda x: (x + 1) / 2)  # [0, 1] in place of [-1, 1]
        with pytest.raises(AssertionError, match="the package's value"):
            test_it_is_the_packages_own_value(("alex", path))


def test_identical_images_are_at_zero_and_it_is_symmetric(alex: LPIPS) -> None:
    a, b = images(4), images(4, seed=1)
    assert (alex(a, a) == 0).all()
    assert alex(a, b).numpy() == pytest.approx(alex(b, a).numpy(), abs=1e-7)
    nearer = alex(a, 0.9 * a + 0.1 * b)
    assert (nearer < alex(a, b)).all()


def test_small_and_grey_images(alex: LPIPS) -> None:
    a, b = images(2, 32, 1), images(2, 32, 1, seed=1)

    def large(x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(x.repeat(1, 3, 1, 1), size=(64, 64), mode="bilinear")

    assert alex(a, b).numpy() == pytest.approx(alex(large(a), large(b)).numpy(), abs=1e-6)
    assert alex(images(1, 96), images(1, 96, seed=1)).shape == (1,)


def test_building_it_draws_no_random_numbers_and_keeps_no_gradients(hub: Path) -> None:
    torch.save(random_backbone("alex"), hub / BACKBONES["alex"])
    state = torch.get_rng_state()
    distance = lpips_distance("alex", allow_unverified=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(p.requires_grad or p.is_meta for p in distance.net.parameters())
    assert not distance.net.training
    assert not distance(images(1).requires_grad_(), images(1, seed=1)).requires_grad


def test_its_identity_is_plain_and_names_no_place(alex: LPIPS) -> None:
    text = json.dumps(alex.identity)
    assert alex.name == "lpips-alex"
    assert alex.identity["weights"]["verified"] is False
    assert alex.identity["weights"]["file"] == BACKBONES["alex"]
    assert len(alex.identity["heads"]["sha256"]) == 64
    assert "/tmp" not in text


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        (images(2).mul(127).to(torch.uint8), images(2), "uint8"),
        (images(2).numpy(), images(2), "ndarray"),
        (images(2)[0], images(2), "shape|images"),
        (images(2, channels=2), images(2, channels=2), "C = 1 or 3"),
        (images(2), images(3), "one shape"),
        (images(2), images(2, 96), "one shape"),
        (images(2) * torch.nan, images(2), "NaN"),
        ((images(2) + 1) * 127.5, images(2), r"in \[-1, 1\]"),
        (images(0), images(0), "images"),
    ],
)
def test_what_the_distance_refuses(alex: LPIPS, a: Any, b: Any, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        alex(a, b)


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_a_missing_file_is_an_error_within_seconds_that_says_what_to_do(
    net: Any, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path / "from_environment"))
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        lpips_distance(net, weights_dir=tmp_path / "given")
    assert time.monotonic() - start < 3
    for part in (BACKBONES[net], "given", "from_environment", str(hub), "GANTLET_WEIGHTS", "download.pytorch.org"):
        assert part in str(caught.value)


def test_another_file_is_refused_unless_allowed(hub: Path) -> None:
    torch.save(random_backbone("alex"), hub / BACKBONES["alex"])
    with pytest.raises(WeightsError, match=r"not the expected file[\s\S]*expected 7be5be79"):
        find_lpips_weights("alex")
    assert not find_lpips_weights("alex", allow_unverified=True).verified


def test_a_file_of_the_expected_hash_is_verified(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "sha256_file", lambda path: "397923af" + 56 * "0")
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    (tmp_path / BACKBONES["vgg"]).write_bytes(b"")
    found = find_lpips_weights("vgg")
    assert found.verified
    assert found.path.parent == tmp_path


def test_a_file_that_holds_another_net_is_refused(hub: Path) -> None:
    (hub / BACKBONES["alex"]).write_bytes(b"not weights at all")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        lpips_distance("alex", allow_unverified=True)
    torch.save(random_backbone("vgg"), hub / BACKBONES["alex"])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        lpips_distance("alex", allow_unverified=True)


def test_an_unknown_net_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'alex'"):
        find_lpips_weights("alexnet")  # type: ignore[arg-type]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lpips" else find_spec(name))
    with pytest.raises(WeightsError, match=r"pip install 'gantlet\[lpips\]'"):
        find_lpips_weights("alex")


# ---- diversity -------------------------------------------------------------------------------------------------------


def l1(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean((1, 2, 3))


def constant_images(levels: list[list[int]]) -> Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, :, None, None, None].expand(-1, -1, 3, 8, 8)


def check_by_hand() -> None:
    """Levels 0, 51, 255 are -1, -0.6, 1: pairs 0.4, 2, 1.6; the second condition always gives one image."""
    found = diversity(constant_images([[0, 51, 255], [7, 7, 7]]), l1)
    assert found.per_group == pytest.approx([4 / 3, 0], abs=1e-6), "pairs"
    assert found.mean == pytest.approx(2 / 3, abs=1e-6)
    assert found.se == pytest.approx(np.std([4 / 3, 0], ddof=1) / 2**0.5, abs=1e-6), "over conditions"
    assert (found.n_groups, found.n_pairs) == (2, 6)


def test_diversity_by_hand() -> None:
    check_by_hand()


def test_wrong_diversities_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as mutant:  # neighbours in place of all pairs
        mutant.setattr(module.itertools, "combinations", lambda rows, _: pairwise(rows))
        with pytest.raises(AssertionError, match="pairs"):
            check_by_hand()
    with monkeypatch.context() as mutant:  # an image with itself
        mutant.setattr(module.itertools, "combinations", lambda rows, k: [(i, i) for i in rows])
        with pytest.raises(AssertionError, match="pairs"):
            check_by_hand()
    with monkeypatch.context() as mutant:  # another range of the images
        mutant.setattr(module, "_floats", lambda x: x.float() / 255)
        with pytest.raises(AssertionError, match="pairs"):
            check_by_hand()
    with monkeypatch.context() as mutant:  # a standard deviation in place of the standard error
        mutant.setattr(module.math, "sqrt", lambda x: 1.0)
        with pytest.raises(AssertionError, match="over conditions"):
            check_by_hand()


def test_diversity_with_lpips_and_batches(alex: LPIPS) -> None:
    groups = ((images(8, 16) + 1) * 127.5).to(torch.uint8).reshape(2, 4, 3, 16, 16)
    whole = diversity(groups, alex)
    parts = diversity(groups.numpy(), alex, batch=5)
    assert parts.per_group == pytest.approx(whole.per_group, abs=1e-6)
    assert whole.mean > 0
    assert diversity(groups[:1], alex).se is None
    same = groups[:, :1].expand(-1, 4, -1, -1, -1)
    assert diversity(same, alex).mean == 0


@pytest.mark.parametrize(
    ("groups", "settings", "what"),
    [
        (constant_images([[0, 1]]).float(), {}, "float32"),
        ([[0]], {}, "list"),
        (constant_images([[0, 1]])[0], {}, "G, P, C, H, W"),
        (constant_images([[0], [1]]), {}, "one image"),
        (constant_images([[0, 1]])[:, :, :2], {}, "C = 1 or 3"),
        (constant_images([[0, 1]])[:0], {}, "G, P, C, H, W"),
        (constant_images([[0, 1]]), {"batch": 0}, "batch"),
        (constant_images([[0, 1]]), {"distance": lambda a, b: l1(a, b) * torch.nan}, "NaN"),
        (constant_images([[0, 1]]), {"distance": lambda a, b: torch.zeros(2)}, "wrong number"),
    ],
)
def test_what_diversity_refuses(groups: Any, settings: dict[str, Any], what: str) -> None:
    with pytest.raises(MetricError, match=what):
        diversity(groups, **({"distance": l1} | settings))
