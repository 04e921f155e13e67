"""EigenGAN's and InfoSCC-GAN's generator: sizes, subspaces, and equality with the published layer table."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.eigengan import EigenGenerator, Subspace


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def inputs(G: EigenGenerator, n: int) -> tuple[Tensor | None, Tensor, Tensor]:
    y = F.one_hot(torch.arange(n) % G.n_labels, G.n_labels) if G.n_labels else None
    return y, torch.randn(n, G.eps_dim), torch.randn(n, G.n_layers, G.n_basis)


@pytest.mark.parametrize(
    ("side", "n_labels", "published"),
    [(256, 3, 23_259_155), (128, 10, 10_530_415), (64, 10, 3_869_033), (32, 10, 1_685_219)],
)
def test_parameter_counts_are_the_published_ones(side: int, n_labels: int, published: int) -> None:
    with torch.device("meta"):
        assert n_parameters(EigenGenerator(side, n_labels=n_labels)) == published


@pytest.mark.parametrize(("side", "n_layers"), [(8, 1), (16, 2), (32, 3), (64, 4)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_labels", [0, 4])
def test_shapes_and_range(side: int, n_layers: int, channels: int, n_labels: int) -> None:
    G = EigenGenerator(side, channels, n_labels, base=4, max_width=16, eps_dim=8, noise_dim=8)
    assert G.n_layers == n_layers
    x = G(*inputs(G, 5))
    assert x.shape == (5, channels, side, side)
    assert x.abs().max() <= 1


def test_zs_may_be_a_tensor_or_a_list() -> None:
    G = EigenGenerator(16, base=4, eps_dim=8)
    _, eps, zs = inputs(G, 3)
    assert torch.equal(G(None, eps, zs), G(None, eps, [zs[:, 0], zs[:, 1]]))
    with pytest.raises(AssertionError, match="3 layers of z for 2 subspaces"):
        G(None, eps, torch.randn(3, 3, 6))  # the published code drops the third without a word


def test_the_unconditional_net_has_no_mapper() -> None:
    G = EigenGenerator(16, base=4)
    assert not any("concat" in name or "y_fc" in name for name, _ in G.named_parameters())
    with pytest.raises(AssertionError):
        G(torch.ones(2, 1), torch.randn(2, 512), torch.randn(2, 2, 6))


def test_subspace_at_initialisation() -> None:
    subspace = Subspace(6, 8, 4)
    assert torch.allclose(subspace.U @ subspace.U.T, torch.eye(6), atol=1e-5)
    assert subspace.L.tolist() == [18, 15, 12, 9, 6, 3]
    assert not subspace.mu.any()
    assert subspace.orthogonality() < 1e-10
    # Unit directions scaled by L: the length of phi(e_k) is L_k.
    assert torch.allclose(subspace(torch.eye(6)).flatten(1).norm(dim=1), subspace.L.detach(), atol=1e-4)


def test_orthogonality_by_hand() -> None:
    subspace = Subspace(2, 1, 2)
    with torch.no_grad():
        subspace.U.copy_(torch.tensor([[1.0, 0, 0, 0], [1, 2, 0, 0]]))
    # U U^T - I = [[0, 1], [1, 4]]: (0 + 1 + 1 + 16) / 4
    assert subspace.orthogonality().item() == pytest.approx(4.5)
    G = EigenGenerator(16, base=4, eps_dim=8)
    assert G.orthogonality() < 1e-10
    with torch.no_grad():
        G.blocks[0].subspace.U.mul_(2**0.5)  # type: ignore[union-attr, operator]  # U U^T = 2 I
    assert G.orthogonality().item() == pytest.approx((1 / 6 + 0) / 2, rel=1e-4)


@pytest.mark.parametrize("kind", ["conv", "conv_transpose"])
def test_a_convolution_of_the_subspace_equals_that_of_its_points(kind: str) -> None:
    torch.manual_seed(0)
    subspace = Subspace(6, 8, 4)
    nn.init.normal_(subspace.mu)
    conv = nn.Conv2d(8, 5, 3, padding=1) if kind == "conv" else nn.ConvTranspose2d(8, 5, 3, 2, 1, 1)
    z = torch.randn(4, 6, requires_grad=True)
    leaves = [z, *subspace.parameters(), *conv.parameters()]
    a, b = subspace.through(conv, z), conv(subspace(z))
    assert torch.allclose(a, b, atol=1e-5)
    weight = torch.randn_like(a)
    for grad_a, grad_b in zip(
        torch.autograd.grad((a * weight).sum(), leaves), torch.autograd.grad((b * weight).sum(), leaves)
    ):
        assert torch.allclose(grad_a, grad_b, rtol=1e-3, atol=1e-3)


def test_the_net_computes_the_published_layer_table() -> None:
    """The table line by line, with transposed convolutions where it has them."""
    torch.manual_seed(0)
    G = EigenGenerator(16, 3, n_labels=3, base=4, eps_dim=8, noise_dim=8).double()
    y, eps, zs = inputs(G, 4)
    assert y is not None
    eps, zs = eps.double(), zs.double()

    def turned(conv: nn.Conv2d) -> Tensor:
        return conv.weight.flip(2, 3).transpose(0, 1)

    h = G.fc(G.concat_fc(torch.cat([G.y_fc(y.double()), eps], 1))).view(4, 16, 4, 4)
    blocks: Any = G.blocks
    for block, z in zip(blocks, zs.unbind(1)):
        s = block.subspace
        phi = (z * s.L) @ s.U + s.mu
        phi = phi.view(4, *h.shape[2:], h.shape[1]).permute(0, 3, 1, 2)
        s1 = F.conv_transpose2d(phi, turned(block.s1), block.s1.bias)
        h = F.conv_transpose2d(
            F.leaky_relu(h + s1, 0.2),
            block.f1.weight,
            block.f1.bias,
            stride=2,
            padding=1,
            output_padding=1,
        )
        h = F.leaky_relu(h + block.s2(phi), 0.2)
        h = F.conv_transpose2d(h, turned(block.f2), block.f2.bias, padding=1)
    assert torch.allclose(G(y, eps, zs), torch.tanh(G.out(F.leaky_relu(h, 0.2))), atol=1e-12)


def test_initialisation_comes_from_the_global_generator_alone() -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(EigenGenerator(16, base=4, eps_dim=8))
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters()))


@pytest.mark.parametrize("side", [0, 4, 24, 100])
def test_a_side_that_is_no_power_of_two_is_refused(side: int) -> None:
    with pytest.raises(ConfigError, match=str(side)):
        EigenGenerator(side)
