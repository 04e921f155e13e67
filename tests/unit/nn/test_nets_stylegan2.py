"""StyleGAN2's nets: counts, scales and the operations against their definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.stylegan2 import (
    EqualConv,
    EqualLinear,
    Lowpass,
    Mapping,
    ModulatedConv,
    StyledConv,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    ToRGB,
    unit_moment,
    with_minibatch_std,
)


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def small_G(side: int = 16, channels: int = 3, condition_dim: int = 0) -> StyleGAN2Generator:
    return StyleGAN2Generator(side, channels, 6, 8, 2, base=4 * side, max_width=16, condition_dim=condition_dim)


def small_D(side: int = 16, channels: int = 3, condition_dim: int = 0) -> StyleGAN2Discriminator:
    return StyleGAN2Discriminator(side, channels, base=4 * side, max_width=16, condition_dim=condition_dim)


def count_G(widths: list[int], channels: int, z: int, w: int, layers: int) -> int:
    """Layer by layer: a linear or convolution has its weights and a bias, a styled one an affine map of w besides."""
    mapping = (z + 1) * w + (layers - 1) * (w + 1) * w
    pairs = [(widths[0], widths[0]), *(p for a, b in itertools.pairwise(widths) for p in ((a, b), (b, b)))]
    convs = sum((w + 1) * a + 9 * a * b + b + 1 for a, b in pairs)  # + 1: the strength of the noise
    to_rgb = sum((w + 1) * a + a * channels + channels for a in widths)
    return mapping + 16 * widths[0] + convs + to_rgb


def count_D(widths: list[int], channels: int, residual: bool) -> int:
    """widths from the coarsest map; the shortcuts have no bias, the last convolution one more input channel."""
    blocks = sum(9 * b * b + b + 9 * b * a + a + residual * b * a for a, b in itertools.pairwise(widths))
    c = widths[0]
    return (channels + 1) * widths[-1] + blocks + 9 * (c + 1) * c + c + (16 * c + 1) * c + c + 1


@pytest.mark.parametrize(
    ("side", "base", "widths", "residual", "G", "D"),
    [
        (32, 32768, [512] * 4, False, 19_947_539, 20_720_641),  # CIFAR-10
        (128, 16384, [512, 512, 512, 512, 256, 128], True, 22_949_277, 23_882_369),  # automatic settings
        (256, 16384, [512, 512, 512, 512, 256, 128, 64], True, 23_191_522, 24_001_089),
    ],
)
def test_parameter_counts(side: int, base: int, widths: list[int], residual: bool, G: int, D: int) -> None:
    with torch.device("meta"):
        found_G = n_parameters(StyleGAN2Generator(side, base=base))
        found_D = n_parameters(StyleGAN2Discriminator(side, base=base, residual=residual))
    assert found_G == count_G(widths, 3, 512, 512, 2) == G
    assert found_D == count_D(widths, 3, residual) == D


@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int) -> None:
    G, D = small_G(side, channels), small_D(side, channels)
    x = G(torch.randn(3, 6))
    assert x.shape == (3, channels, side, side)
    assert D(x).shape == (3,)
    assert G.n_ws == 2 * math.log2(side) - 2
    for resolution in (4, side // 2):
        assert D.features(x, resolution).shape[1:] == D.feature_shape(resolution)


@pytest.mark.parametrize("side", [4, 48, 0])
def test_another_side_is_refused(side: int) -> None:
    with pytest.raises(ConfigError, match="power of two"):
        StyleGAN2Generator(side)
    with pytest.raises(ConfigError, match="power of two"):
        StyleGAN2Discriminator(side)


def test_a_map_without_channels_or_a_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="give at least 16"):
        StyleGAN2Generator(16, base=8)
    with pytest.raises(ConfigError, match="sides 4, 8"):
        small_D().features(torch.zeros(1, 3, 16, 16), 16)


# ---- scales ---------------------------------------------------------------------------------------------------------


def test_equalised_learning_rate() -> None:
    """Weights are stored as N(0, 1) whatever the fan-in; what comes out has the variance of what went in."""
    torch.manual_seed(0)
    linear, conv = EqualLinear(400, 300), EqualConv(64, 64, 3, activate=False)
    for layer, fan_in in ((linear, 400), (conv, 64 * 9)):
        assert layer.weight.std().item() == pytest.approx(1, abs=0.01)
        assert layer.gain == pytest.approx(fan_in**-0.5)
    assert linear(torch.randn(500, 400)).std().item() == pytest.approx(1, abs=0.02)
    assert conv(torch.randn(16, 64, 16, 16))[:, :, 2:-2, 2:-2].std().item() == pytest.approx(1, abs=0.02)


def test_the_mapping_starts_as_any_layer_but_learns_at_a_hundredth() -> None:
    """Weights stored a hundred times larger and scaled down: a step of Adam moves what is used a hundred times less."""
    torch.manual_seed(0)
    plain, slow = EqualLinear(300, 300), EqualLinear(300, 300, lr=0.01)
    used = [layer.weight.detach() * layer.gain for layer in (plain, slow)]
    assert used[0].std().item() == pytest.approx(used[1].std().item(), rel=0.02)
    for layer in (plain, slow):
        layer(torch.ones(1, 300)).sum().backward()
        torch.optim.Adam(layer.parameters(), lr=0.1).step()
    moved = [(layer.weight.detach() * layer.gain - w).abs().mean().item() for layer, w in zip((plain, slow), used)]
    assert moved[1] == pytest.approx(0.01 * moved[0], rel=1e-2)


def test_the_mapping_sees_the_direction_of_z_alone() -> None:
    f, z = Mapping(6, 0, 8, 2), torch.randn(5, 6)
    assert unit_moment(7 * z).square().mean(1).tolist() == pytest.approx([1] * 5, abs=1e-4)
    assert torch.allclose(f(z, None), f(100 * z, None), atol=1e-4)
    assert not torch.allclose(f(z, None), f(-z, None), atol=1e-2)


def test_a_condition_enters_both_nets() -> None:
    G, D = small_G(condition_dim=5), small_D(condition_dim=5)
    z, h, noise = torch.randn(2, 6), torch.randn(2, 5), G.draw_noise(2)
    x = G.synthesis(G.repeat(G.map(z, h)), noise)
    assert not torch.allclose(x, G.synthesis(G.repeat(G.map(z, -h)), noise))
    assert not torch.allclose(D(x, h), D(x, -h))
    assert torch.allclose(D(x, h), D(x, 3 * h), atol=1e-5)  # embedded without bias at the start, normed
    with pytest.raises(AssertionError):
        G(z)
    with pytest.raises(AssertionError):
        D(x)


def test_projection_is_an_inner_product_over_the_root_of_its_length() -> None:
    D, x, h = small_D(condition_dim=5), torch.randn(4, 3, 16, 16), torch.randn(4, 5)
    assert D.mapping is not None
    D.out.weight.data.zero_()
    D.out.bias.data.fill_(1.0)  # the image's features are all ones: the logit is the sum of the condition's
    assert torch.allclose(D(x, h), D.mapping(None, h).sum(1) / 4, atol=1e-5)  # 16 features


# ---- operations -----------------------------------------------------------------------------------------------------


def by_definition(conv: ModulatedConv, x: Tensor, s: Tensor, demodulate: bool = True) -> Tensor:
    """Eq. 1 and 3 for each image by itself: its own weights, then a plain convolution."""
    images = []
    for image, style in zip(x, s):
        w = conv.weight * style[None, :, None, None]
        if demodulate:
            w = w / w.square().sum((1, 2, 3), keepdim=True).sqrt()
            assert w.flatten(1).norm(dim=1).tolist() == pytest.approx([1] * len(w), rel=1e-5)
        images.append(F.conv2d(image[None], w, padding=conv.weight.shape[2] // 2))
    return torch.cat(images)


def test_a_styled_convolution_equals_its_definition() -> None:
    torch.manual_seed(0)
    conv = StyledConv(8, 5, 7, double=False)
    x, w, noise = torch.randn(3, 5, 8, 8), torch.randn(3, 8), torch.randn(3, 1, 8, 8)
    conv.noise_strength.data.fill_(0.3)
    conv.bias.data.normal_()
    plain = by_definition(conv, x, conv.affine(w)) + 0.3 * noise + conv.bias[:, None, None]
    assert torch.allclose(conv(x, w, noise), F.leaky_relu(plain, 0.2) * 2**0.5, atol=1e-5)


def have_unit_norm(conv: ModulatedConv, s: Tensor) -> bool:
    """Whether w'' of each image and output channel has."""
    weights = conv.weight[None] * s[:, None, :, None, None] * conv.demodulation(s)[:, :, None, None, None]
    return torch.allclose(weights.flatten(2).norm(dim=2), torch.ones(len(s), len(conv.weight)), atol=1e-5)


def test_demodulated_weights_have_unit_norm() -> None:
    class Squared(ModulatedConv):
        """Forgets the root."""

        def demodulation(self, s: Tensor) -> Tensor:
            return super().demodulation(s).square()

    s = torch.rand(3, 5) + 0.5
    assert have_unit_norm(ModulatedConv(8, 5, 7, 3), s)
    assert not have_unit_norm(Squared(8, 5, 7, 3), s)


def test_to_rgb_is_modulated_but_not_demodulated() -> None:
    rgb, x, w = ToRGB(8, 5, 3), torch.randn(2, 5, 4, 4), torch.randn(2, 8)
    assert torch.allclose(rgb(x, w), by_definition(rgb, x, rgb.affine(w) / 5**0.5, demodulate=False), atol=1e-5)
    assert rgb.affine.bias.tolist() == [1] * 5


def test_filters_keep_a_constant_away_from_the_border() -> None:
    low, x = Lowpass(), torch.full((1, 2, 8, 8), 3.0)
    for y in (low.blur(x, padding=2), low.upsample(x), low.downsample(x)):
        assert torch.allclose(y[:, :, 2:-2, 2:-2], torch.tensor(3.0))
    assert low.upsample(x).shape == (1, 2, 16, 16)
    assert low.downsample(x).shape == (1, 2, 4, 4)
    assert low.kernel.flatten().tolist() == [a * b / 64 for a in (1, 3, 3, 1) for b in (1, 3, 3, 1)]


def test_upsampling_is_zeros_between_pixels_then_the_filter() -> None:
    low, x = Lowpass(), torch.randn(2, 3, 5, 5)
    spread = torch.zeros(2, 3, 10, 10)
    spread[:, :, ::2, ::2] = x
    padded = F.pad(spread, (2, 1, 2, 1))
    assert torch.allclose(low.upsample(x), 4 * low.blur(padded, padding=0), atol=1e-6)


def test_a_doubling_convolution_keeps_the_image_in_place() -> None:
    """With the identity as its kernel it is the filter's doubling; a mirrored image gives the mirrored result."""
    conv = StyledConv(4, 2, 2, double=True)
    conv.weight.data = torch.eye(2).view(2, 2, 1, 1) * F.pad(torch.ones(1, 1), (1, 1, 1, 1))
    x, w, none = torch.rand(1, 2, 6, 6), torch.zeros(1, 4), torch.zeros(1, 1, 12, 12)  # a style of ones
    doubled = conv(x, w, none)
    assert torch.allclose(doubled, Lowpass().upsample(x) * 2**0.5, atol=1e-5)
    assert torch.allclose(conv(x.flip(3), w, none), doubled.flip(3), atol=1e-5)


def test_a_halving_convolution_filters_first() -> None:
    conv, skip = EqualConv(3, 4, 3, halve=True, activate=False), EqualConv(3, 4, 1, halve=True, activate=False)
    x, low = torch.randn(2, 3, 8, 8), Lowpass()
    assert conv(x).shape == skip(x).shape == (2, 4, 4, 4)
    full = F.conv2d(low.blur(x, padding=2), conv.weight / 27**0.5)
    assert torch.allclose(conv(x), full[:, :, ::2, ::2], atol=1e-5)
    assert torch.allclose(skip(x), F.conv2d(low.blur(x, padding=1), skip.weight / 3**0.5)[:, :, ::2, ::2], atol=1e-5)


def test_minibatch_std_by_hand() -> None:
    same = with_minibatch_std(torch.randn(1, 2, 4, 4).expand(4, -1, -1, -1), 4)
    assert same.shape == (4, 3, 4, 4)
    assert same[:, 2].abs().max() < 2e-4
    x = torch.tensor([1.0, 10.0, 3.0, 10.0]).view(4, 1, 1, 1)  # groups of 2: images 0 and 2, images 1 and 3
    assert with_minibatch_std(x, 2)[:, 1, 0, 0].tolist() == pytest.approx([1, 1e-4, 1, 1e-4], abs=1e-5)
    assert with_minibatch_std(x[:3], 2)[:, 1, 0, 0].tolist() == pytest.approx([1e-4] * 3)  # 3 has no divisor 2


# ---- styles and noise -----------------------------------------------------------------------------------------------


def with_visible_noise(G: StyleGAN2Generator) -> StyleGAN2Generator:
    for conv in G.convs:
        assert isinstance(conv, StyledConv)
        conv.noise_strength.data.fill_(0.5)
    return G


def test_the_same_noise_gives_the_same_image() -> None:
    G = with_visible_noise(small_G())
    ws, noise = G.repeat(G.map(torch.randn(2, 6))), G.draw_noise(2)
    assert [n.shape[2] for n in noise] == [4, 8, 8, 16, 16]
    assert torch.equal(G.synthesis(ws, noise), G.synthesis(ws, noise))
    assert not torch.allclose(G.synthesis(ws, noise), G.synthesis(ws))
    torch.manual_seed(1)
    x = G.synthesis(ws)
    torch.manual_seed(1)
    assert torch.equal(G.synthesis(ws), x)


def test_noise_is_silent_at_first() -> None:
    G = small_G()
    ws = G.repeat(G.map(torch.randn(2, 6)))
    assert torch.equal(G.synthesis(ws), G.synthesis(ws))


def test_mixing_takes_coarse_layers_from_the_first_style() -> None:
    G = small_G()
    w_1, w_2 = torch.zeros(2, 8), torch.ones(2, 8)
    for k in range(1, G.n_ws + 1):
        assert G.mix(w_1, w_2, torch.tensor(k))[0, :, 0].tolist() == [0.0] * k + [1.0] * (G.n_ws - k)
    assert torch.equal(G.mix(w_1, w_2, torch.tensor(G.n_ws)), G.repeat(w_1))


def test_every_style_is_read() -> None:
    G = small_G()
    ws, noise = G.repeat(G.map(torch.randn(1, 6))).contiguous(), G.draw_noise(1)
    for k in range(G.n_ws):
        moved = ws.clone()
        moved[:, k] += 1
        assert not torch.allclose(G.synthesis(moved, noise), G.synthesis(ws, noise)), k


def test_the_crossover_is_uniform_with_its_probability() -> None:
    G = small_G()
    torch.manual_seed(0)
    drawn = torch.stack([G.draw_crossover(0.8) for _ in range(2000)])
    assert (drawn == G.n_ws).float().mean().item() == pytest.approx(0.2, abs=0.03)
    for k in range(1, G.n_ws):
        assert (drawn == k).float().mean().item() == pytest.approx(0.8 / (G.n_ws - 1), abs=0.03)
    assert int(G.draw_crossover(0.0)) == G.n_ws
