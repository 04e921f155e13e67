"""BigGAN's nets: published sizes, the conditions' ways through them, spectral norms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn import biggan
from benchmark.nn.biggan import LADDERS, BigGANDiscriminator, BigGANGenerator
from benchmark.nn.conditional import ClassNorm, LinearNorm, look_up

CONDITIONS: list[dict[str, int]] = [{}, {"n_classes": 4}, {"instance_dim": 6}, {"n_classes": 4, "instance_dim": 6}]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers without norms and initial values, which change no count and take most of the time of building."""
    monkeypatch.setattr(biggan, "spectral_norm", lambda layer, **_: layer)
    monkeypatch.setattr(nn.init, "orthogonal_", lambda weight: weight)


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def sizes(side: int, ch: int, **conditions: int) -> tuple[int, int]:
    """Parameters of G and D."""
    with torch.device("meta"):
        G, D = BigGANGenerator(side, 3, 120, ch, **conditions), BigGANDiscriminator(side, 3, ch, **conditions)  # type: ignore[arg-type]
    return n_parameters(G), n_parameters(D)


def inputs(net: BigGANGenerator | BigGANDiscriminator, n: int) -> tuple[Tensor | None, Tensor | None]:
    """(y, h) as the net reads them."""
    y = torch.arange(n) % net.n_classes if net.n_classes else None
    return y, F.normalize(torch.randn(n, net.instance_dim)) if net.instance_dim else None


def latents(G: BigGANGenerator, n: int) -> Tensor:
    return torch.randn(n, G.z_dim)


@pytest.mark.usefixtures("bare")
def test_parameter_counts_of_biggan() -> None:
    """Exact counts of the authors' PyTorch nets."""
    with torch.device("meta"):
        G = BigGANGenerator(32, 3, 128, n_classes=10, class_embedding=0, hierarchical=False, init="normal")
        D = BigGANDiscriminator(32, 3, n_classes=10, init="normal")
    assert (n_parameters(G), n_parameters(D)) == (4_304_387, 4_207_361)
    assert sizes(64, 64, n_classes=1000) == (31_969_540, 20_571_842)
    assert sizes(128, 96, n_classes=1000) == (70_433_988, 87_982_370)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("side", "ch", "classes", "instances", "both"),
    [  # millions in G and D
        (64, 64, (32.0, 20.6), (36.7, 21.6), (37.9, 21.1)),
        (128, 96, (70.4, 88.0), (77.2, 89.6), (79.1, 88.8)),
        (256, 64, (37.2, 44.4), (42.9, 45.5), (44.4, 45.0)),
        (256, 96, (82.1, 99.2), (90.0, 100.8), (92.3, 100.0)),
        (128, 48, (18.4, 22.4), (22.3, 23.2), None),
        (256, 48, (21.4, 25.2), (25.9, 26.0), None),
    ],
)
def test_parameter_counts_of_icgan(side: int, ch: int, classes: Any, instances: Any, both: Any) -> None:
    """Counts of the nets of IC-GAN's code; its class-free generator keeps an unread table of 1,000 classes."""

    def millions(*counts: int) -> tuple[float, ...]:
        return tuple(round(count / 1e6, 1) for count in counts)

    assert millions(*sizes(side, ch, n_classes=1000)) == classes
    n_G, n_D = sizes(side, ch, instance_dim=2048)
    assert millions(n_G + 1000 * 128, n_D) == instances
    if both:
        assert millions(*sizes(side, ch, n_classes=1000, instance_dim=2048)) == both


@pytest.mark.usefixtures("bare")
def test_the_latent_is_cut_to_equal_parts() -> None:
    with torch.device("meta"):
        dims = {side: BigGANGenerator(side, ch=1).z_dim for side in LADDERS}
        assert dims == {16: 120, 32: 120, 64: 120, 128: 120, 256: 119}
        assert BigGANGenerator(256, ch=1).slot == 17
        assert BigGANGenerator(32, z_dim=50, ch=1).z_dim == 48
        assert BigGANGenerator(32, z_dim=50, ch=1, hierarchical=False).z_dim == 50


@pytest.mark.parametrize("side", LADDERS)
def test_shapes_and_range(side: int) -> None:
    for condition, channels in list(zip(CONDITIONS, (3, 1, 3, 1)))[-1 if side > 64 else 0 :]:
        G = BigGANGenerator(side, channels, 21, 2, class_embedding=5, instance_embedding=3, **condition)  # type: ignore[arg-type]
        D = BigGANDiscriminator(side, channels, 2, **condition)  # type: ignore[arg-type]
        y, h = inputs(G, 2)
        x = G(latents(G, 2), y, h)
        assert x.shape == (2, channels, side, side)
        assert x.abs().max() <= 1
        assert D(x, y, h).shape == (2,)
        assert D.maps(x).shape[:2] == (2, D.dim)
        assert D.maps(x).shape[2] == side >> LADDERS[side].D_halvings
        assert D.maps(x).min() >= 0
    assert D.features(x).shape == (2, D.dim)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_logit_is_psi_plus_the_projection(condition: dict[str, int]) -> None:
    torch.manual_seed(0)
    D = BigGANDiscriminator(16, ch=2, **condition).eval()  # type: ignore[arg-type]
    x = torch.randn(4, 3, 16, 16)
    y, h = inputs(D, 4)
    phi = D.features(x)
    assert torch.equal(phi, D.maps(x).sum((2, 3)))
    assert torch.equal(D(x, y, h), D.head(phi, y, h))
    projection = torch.zeros(4)
    half = D.dim // 2
    first, second = (phi[:, :half], phi[:, half:]) if len(condition) == 2 else (phi, phi)
    if y is not None:
        assert D.embed is not None
        projection = projection + (D.embed.weight[y] * first).sum(1)
    if h is not None:
        assert D.instance is not None
        projection = projection + (D.instance(h) * second).sum(1)
    assert torch.allclose(D(x, y, h), D.psi(phi).squeeze(1) + projection, atol=1e-5)


def test_with_both_conditions_the_class_alters_one_half_of_phi_only() -> None:
    torch.manual_seed(0)
    D = BigGANDiscriminator(16, ch=2, n_classes=4, instance_dim=6).eval()
    phi, (y, h) = torch.rand(4, D.dim), inputs(D, 4)
    assert y is not None
    masked = torch.cat([torch.zeros(4, D.dim // 2), phi[:, D.dim // 2 :]], 1)
    assert torch.equal(D.head(masked, y, h), D.head(masked, (y + 1) % 4, h))
    assert not torch.allclose(D.head(phi, y, h), D.head(phi, (y + 1) % 4, h))


@pytest.mark.parametrize("condition", CONDITIONS[1:])
def test_every_condition_reaches_the_image(condition: dict[str, int]) -> None:
    torch.manual_seed(0)
    G = BigGANGenerator(16, 1, 12, 2, class_embedding=5, instance_embedding=3, **condition).eval()  # type: ignore[arg-type]
    z, (y, h) = latents(G, 3), inputs(G, 3)
    x = G(z, y, h)
    if y is not None:
        assert not torch.allclose(G(z, (y + 1) % 4, h), x)
    if h is not None:
        assert not torch.allclose(G(z, y, -h), x)


def test_a_part_of_the_latent_moves_its_block_only() -> None:
    """z_1 and z_2 of a net of two blocks do not reach the map before their block."""
    torch.manual_seed(0)
    G = BigGANGenerator(16, 1, 12, 2).eval()
    seen: list[Tensor] = []
    for block in G.blocks:
        block.register_forward_hook(lambda _module, args, _out: seen.append(args[0]))
    z = latents(G, 2)
    other = z.clone()
    other[:, 2 * G.slot :] += 1  # z_2
    x, moved = G(z), G(other)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.allclose(x, moved)


@pytest.mark.usefixtures("bare")
def test_attention_stands_where_it_was_published() -> None:
    def places(side: int, attention: bool = True) -> tuple[list[str], list[str]]:
        G, D = BigGANGenerator(side, ch=1, attention=attention), BigGANDiscriminator(side, ch=1, attention=attention)
        return list(G.attention), list(D.attention)

    assert places(32) == ([], [])
    assert places(64) == (["2"], ["0"])  # G: 4 -> 8 -> 16 -> 32; D: 64 -> 32
    assert places(128) == (["3"], ["0"])
    assert places(256) == (["3"], ["1"])
    assert places(64, False) == ([], [])


def test_attention_starts_as_the_identity_and_weighs_places() -> None:
    torch.manual_seed(0)
    block: Any = BigGANDiscriminator(64, ch=8).eval().attention["0"]
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x)
    with torch.no_grad():
        block.gamma.fill_(0.5)
        query, key, value = (getattr(block, name)(x) for name in ("query", "key", "value"))
        key, value = F.max_pool2d(key, 2).flatten(2), F.max_pool2d(value, 2).flatten(2)
        expected = torch.empty(2, value.shape[1], 4, 4)
        for n in range(2):
            for i in range(4):
                for j in range(4):
                    weights = torch.softmax(query[n, :, i, j] @ key[n], 0)
                    expected[n, :, i, j] = value[n] @ weights
        assert torch.allclose(block(x), x + 0.5 * block.out(expected), atol=1e-5)


def test_blocks_compute_the_published_table() -> None:
    torch.manual_seed(0)
    G = BigGANGenerator(16, 1, 12, 2, n_classes=4, class_embedding=5).eval()
    block: Any = G.blocks[0]
    x, c = torch.randn(2, 8, 4, 4), torch.randn(2, 9)

    def norm(layer: LinearNorm, x: Tensor) -> Tensor:
        gain, shift = layer.gain(c)[:, :, None, None], layer.shift(c)[:, :, None, None]
        return (1 + gain) * layer.bn(x) + shift

    def up(h: Tensor) -> Tensor:
        return F.interpolate(h, scale_factor=2, mode="nearest")

    h = block.conv2(F.relu(norm(block.norm2, block.conv1(up(F.relu(norm(block.norm1, x)))))))
    assert torch.allclose(block(x, c), h + block.shortcut(up(x)), atol=1e-5)

    first, second, third = BigGANDiscriminator(16, 1, 2).eval().blocks
    pixels, x = torch.randn(2, 1, 16, 16), torch.randn(2, 8, 8, 8)
    blocks: Any = (first, second, third)
    expected = F.avg_pool2d(blocks[0].conv2(F.relu(blocks[0].conv1(pixels))), 2) + blocks[0].shortcut(
        F.avg_pool2d(pixels, 2)
    )
    assert torch.allclose(first(pixels), expected, atol=1e-5)
    expected = F.avg_pool2d(blocks[1].conv2(F.relu(blocks[1].conv1(F.relu(x)))) + blocks[1].shortcut(x), 2)
    assert torch.allclose(second(x), expected, atol=1e-5)
    assert torch.allclose(third(x), blocks[2].conv2(F.relu(blocks[2].conv1(F.relu(x)))) + x, atol=1e-5)


@pytest.mark.parametrize("init", ["orthogonal", "normal"])
def test_spectral_norms_are_one_but_for_the_generators_classes(init: Any) -> None:
    torch.manual_seed(0)
    G = BigGANGenerator(16, 3, 12, 4, n_classes=4, instance_dim=6, class_embedding=5, init=init)
    D = BigGANDiscriminator(16, 3, 4, n_classes=4, instance_dim=6, init=init)
    with torch.no_grad():
        for p in [*G.parameters(), *D.parameters()]:
            if p.ndim > 1:
                p.mul_(3)  # what the norms must undo
        for _ in range(20):
            D(G(latents(G, 2), *inputs(G, 2)), *inputs(D, 2))
    for net in (G.eval(), D.eval()):
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding) and not (net is G and name == "embed"):
                assert 0.95 <= torch.linalg.matrix_norm(layer.weight.flatten(1), 2) <= 1.05, name
    assert G.embed is not None
    expected = 3.0 if init == "orthogonal" else 3 * torch.linalg.matrix_norm(G.embed.weight / 3, 2).item()
    assert torch.linalg.matrix_norm(G.embed.weight, 2).item() == pytest.approx(expected, rel=1e-4)
    assert not hasattr(G.embed, "parametrizations")


def test_evaluation_mode_leaves_the_spectral_norm_alone() -> None:
    D = BigGANDiscriminator(16, ch=2, n_classes=4).eval()
    x, y = torch.randn(2, 3, 16, 16), torch.tensor([0, 1])
    before = {name: value.clone() for name, value in D.state_dict().items()}
    assert torch.equal(D(x, y), D(x, y))
    assert all(torch.equal(before[name], value) for name, value in D.state_dict().items())


def test_tables_of_classes() -> None:
    torch.manual_seed(0)
    norm, x = ClassNorm(6, 3).eval(), torch.randn(4, 6, 2, 2)
    y = torch.tensor([0, 1, 2, 1])
    assert norm.gain.weight.std().item() == pytest.approx(0.02, rel=0.5)
    assert not norm.shift.weight.any()
    with torch.no_grad():
        norm.shift.weight.normal_()
    gain, shift = norm.gain.weight[y][:, :, None, None], norm.shift.weight[y][:, :, None, None]
    assert torch.allclose(norm(x, y), (1 + gain) * x / math.sqrt(1 + 1e-5) + shift, atol=1e-5)
    assert torch.allclose(norm(x, y), norm(x, F.one_hot(y, 3).float()), atol=1e-6)
    weights = torch.tensor([[1.0, -1.0, 0.0]])
    assert torch.allclose(look_up(norm.shift.weight, weights), norm.shift.weight[:1] - norm.shift.weight[1:2])
    with pytest.raises(AssertionError, match="no place"):
        BigGANGenerator(16, n_classes=3, class_embedding=0)


def test_a_missing_condition_is_noticed() -> None:
    G, D = BigGANGenerator(16, ch=1, n_classes=3), BigGANDiscriminator(16, ch=1, instance_dim=3)
    with pytest.raises(AssertionError, match="needs a class"):
        G(latents(G, 1))
    with pytest.raises(AssertionError, match="told an instance"):
        D(torch.randn(1, 3, 16, 16))


def test_sides_without_a_ladder_are_refused() -> None:
    for net in (BigGANGenerator, BigGANDiscriminator):
        with pytest.raises(ConfigError, match="16, 32, 64, 128, 256"):
            net(48)


@pytest.mark.parametrize("net", [BigGANGenerator, BigGANDiscriminator])
def test_initialisation_comes_from_the_global_generator_alone(net: Any) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(net(16, ch=2, n_classes=3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
