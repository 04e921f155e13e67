"""Projected GAN's features: the classifier's maps, their frozen random mixing, a discriminator a scale."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.metrics.extractors.weights import available
from benchmark.nn.projected import (
    LITE0_CHANNELS,
    Lite0Maps,
    MultiScaleDiscriminator,
    RandomProjection,
    check_side,
)

LACKING = available(["lite0"])["lite0"]
needs_lite0 = pytest.mark.skipif(bool(LACKING), reason=LACKING)


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def maps(seen: int, n: int = 2) -> list[Tensor]:
    return [torch.randn(n, c, seen // d, seen // d) for c, d in zip(LITE0_CHANNELS, (4, 8, 16, 32))]


# ---- the classifier -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite0() -> Any:
    """EfficientNet-Lite0 with random weights: its maps' shapes and order need no others."""
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    net = EfficientNet.from_name("efficientnet-lite0").eval()
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return net


@needs_lite0
def test_maps_are_the_classifiers_own(lite0: Any) -> None:
    """The head on the last map gives what the package's own forward pass does."""
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    pixels = 127.5 * (x + 1)
    expected = lite0.extract_features((pixels - 127) / 128)  # before batch norms are folded
    found = Lite0Maps(lite0, px=64)(x)
    assert [tuple(m.shape[1:]) for m in found] == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert torch.allclose(lite0._swish(lite0._bn1(lite0._conv_head(found[-1]))), expected, atol=1e-4)


@needs_lite0
def test_small_images_are_enlarged_large_ones_are_not_and_grey_is_repeated(lite0: Any) -> None:
    net = Lite0Maps(lite0, px=64)
    assert net(torch.zeros(1, 1, 16, 16))[0].shape == (1, 24, 16, 16)
    assert net(torch.zeros(1, 3, 96, 96))[0].shape == (1, 24, 24, 24)
    grey = torch.rand(2, 1, 16, 16)
    assert all(torch.equal(a, b) for a, b in zip(net(grey), net(grey.repeat(1, 3, 1, 1))))


@needs_lite0
def test_the_classifier_is_frozen_and_gradients_reach_the_image(lite0: Any) -> None:
    net = Lite0Maps(lite0, px=64).train()
    assert not net.training
    assert not net.net.training
    assert not any(p.requires_grad for p in net.parameters())
    x = torch.rand(2, 1, 16, 16, requires_grad=True)
    for found in net(x):
        (gradient,) = torch.autograd.grad(found.sum(), x, retain_graph=True)
        assert bool(gradient.any())


@pytest.mark.parametrize(("side", "px", "mend"), [(16, 32, 64), (16, 100, 128), (240, 224, 256)])
def test_sides_that_do_not_halve_five_times_are_refused(side: int, px: int, mend: int) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)at {max(side, px)} px.*features.input_px to {mend}"):
        check_side(side, px)
    for fine in ((16, 64), (256, 224), (16, 224)):
        check_side(*fine)


# ---- the projection -------------------------------------------------------------------------------------------------


def test_the_projection_has_the_authors_channels_and_sides() -> None:
    P = RandomProjection(kernel=1)
    assert n_parameters(P) == 376_768, "counted in autonomousvision/projected-gan"
    assert P.channels == [64, 64, 128, 256]
    assert P.sides(256) == [128, 64, 32, 16]
    small = RandomProjection(width=4)
    assert [tuple(p.shape[1:]) for p in small(maps(64))] == [(4, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4)]
    across = RandomProjection(width=4, mixing="channel")
    assert [tuple(p.shape[1:]) for p in across(maps(64))] == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    given = maps(64)
    assert all(p is m for p, m in zip(RandomProjection(mixing="none")(given), given))


def test_it_is_affine_and_every_scale_sees_all_smaller_maps() -> None:
    """No activation: differences add up. P_l mixes L_l with every deeper map, and with no shallower one."""
    P, a, b, zero = RandomProjection(width=4), maps(64), maps(64), [torch.zeros_like(m) for m in maps(64)]
    with torch.no_grad():
        both = P([x + y for x, y in zip(a, b)])
        for p_a, p_b, p_both, p_zero in zip(P(a), P(b), both, P(zero)):
            assert torch.allclose(p_a + p_b - p_zero, p_both, atol=1e-4)
        for changed in range(4):
            moved = P([b[k] if k == changed else a[k] for k in range(4)])
            reached = [not torch.allclose(x, y) for x, y in zip(P(a), moved)]
            assert reached == [k <= changed for k in range(4)]


def test_of_constant_maps_it_is_a_product_of_matrices() -> None:
    """kernel 1: enlarging a constant changes nothing, so P_4 = C_4 (A_4 L_4), P_3 = C_3 (A_3 L_3 + P_4), and so on."""
    P, values = RandomProjection(width=4, kernel=1), [torch.randn(c) for c in LITE0_CHANNELS]
    found = P([v[None, :, None, None].expand(1, -1, s, s) for v, s in zip(values, (16, 8, 4, 2))])
    assert P.ccm is not None
    assert P.csm is not None
    above = torch.zeros(P.ccm[3].out_channels)
    for l in (3, 2, 1, 0):
        mixed = P.ccm[l].weight[:, :, 0, 0] @ values[l] + P.ccm[l].bias
        above = P.csm[l].weight[:, :, 0, 0] @ (mixed + above) + P.csm[l].bias
        assert torch.allclose(found[l], above[None, :, None, None].expand_as(found[l]), atol=1e-4)


def test_the_projection_is_frozen_and_another_seed_gives_another() -> None:
    torch.manual_seed(0)
    P = RandomProjection(width=4)
    assert not any(p.requires_grad for p in P.parameters())
    torch.manual_seed(0)
    again, other = RandomProjection(width=4), RandomProjection(width=4)
    assert all(torch.equal(a, b) for a, b in zip(P.parameters(), again.parameters()))
    assert not any(torch.equal(a, b) for a, b in zip(P.parameters(), other.parameters()))
    weight = RandomProjection(width=64).ccm[3].weight  # type: ignore[index]
    assert float(weight.std()) == pytest.approx((1 / (3 * 320)) ** 0.5, rel=0.02), "Kaiming-uniform: var = 1 / 3 fan-in"


# ---- the discriminators ---------------------------------------------------------------------------------------------


def test_discriminators_are_the_authors() -> None:
    """10,331,328 parameters, counted in autonomousvision/projected-gan; whatever the images' side."""
    P = RandomProjection()
    for seen in (224, 256):
        assert n_parameters(MultiScaleDiscriminator(P, seen)) == 10_331_328


@pytest.mark.parametrize(("seen", "places"), [(64, 1), (128, 1), (224, 16), (256, 25)])
def test_every_scale_has_the_same_number_of_logits(seen: int, places: int) -> None:
    P = RandomProjection(width=2)
    D = MultiScaleDiscriminator(P, seen, width=2)
    assert [tuple(l.shape) for l in D(P(maps(seen)))] == [(2, places)] * 4


def test_maps_of_small_inputs_are_halved_less_often() -> None:
    def halvings(seen: int, **how: Any) -> list[int]:
        D = MultiScaleDiscriminator(RandomProjection(width=2, **how), seen, width=2)
        return [sum(isinstance(m, nn.BatchNorm2d) for m in scale.modules()) for scale in D.scales]

    assert halvings(256) == halvings(128) == [4, 3, 2, 1]
    assert halvings(64) == [3, 2, 1, 0]
    assert halvings(256, mixing="channel") == [3, 2, 1, 0], "half as large, so one step further down the ladder"


def test_fewer_scales_leave_out_the_deepest() -> None:
    P = RandomProjection(width=2)
    D = MultiScaleDiscriminator(P, 64, width=2, n_scales=2)
    assert len(D(P(maps(64)))) == 2


def test_every_convolution_of_D_has_spectral_norm() -> None:
    P = RandomProjection(width=4)
    D = MultiScaleDiscriminator(P, 64, width=4)
    for _ in range(30):
        D(P(maps(64)))  # power iterations
    convolutions = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 3 + 2 + 1 + 0 + 4
    D.eval()
    for conv in convolutions:
        weight = conv.weight.detach().flatten(1)
        assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(1, rel=0.05)
