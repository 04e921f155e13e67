"""MGAN: what its generators and D and C share, its losses by hand, what the diversity does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.selfcond import MixtureGenerator, build_nets
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method
from methods.mgan import MGAN, diversity

CPU = torch.device("cpu")


def mgan(dataset: str = "digits", **changes: Any) -> tuple[MGAN, Dataset]:
    """A tiny model on 64 random images or points."""
    data = Dataset.tiny(find_card(dataset))
    small = find_method("mgan").recipe("small", dataset)
    cfg = replace(small, **{"batch": 12, "width_G": 4, "width_D": 4, "K": 3, **changes})
    return construct(MGAN, cfg, data, CPU, 0), data


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


# ---- what is shared ------------------------------------------------------------------------------------------------

SHAPES = [("mlp", "ring2d", 2), ("shallow", "cifar10", 128), ("deep", "cifar10", 128), ("resnet2", "cifar10", 16)]


@pytest.mark.parametrize(("backbone", "dataset", "z_dim"), SHAPES)
def test_generators_share_all_but_the_first_layer(backbone: Any, dataset: str, z_dim: int) -> None:
    """K generators have K - 1 further first layers, and nothing else, than one."""
    data, K = Dataset.tiny(find_card(dataset)), 5
    single, _ = build_nets(backbone, data, z_dim, width_G=8, width_D=2)
    first = single.net[0] if backbone == "mlp" else single.linear  # type: ignore[index]
    n_first, n_single = count(first), count(single)  # type: ignore[arg-type]
    several = MixtureGenerator(single, K)
    assert count(several) == n_single + (K - 1) * n_first
    assert count(several.first) == K * n_first
    z = torch.randn(4, z_dim)
    x = several(z, torch.arange(4) % K)
    assert x.shape == ((4, 2) if backbone == "mlp" else (4, 3, 32, 32))


def test_the_published_sizes() -> None:
    """For 2-D points: 50 first layers of 2 x 400 + 400 numbers, and all else of one network."""
    paper = find_method("mgan").recipe("paper", "ring2d")
    method = construct(MGAN, paper, Dataset.tiny(find_card("ring2d")), CPU, 0)
    shared = 3 * (400 * 400 + 400) + 4 * 800 + 2 * 400 + 2  # linear layers, batch norms, the last layer
    assert (paper.K, count(method.G)) == (50, 50 * (2 * 400 + 400) + shared)
    trunk = (2 * 1000 + 1000) + 2 * (200 * 1000 + 1000)
    assert count(method.D) == trunk + 200 + 1 + 50 * (200 + 1), "D and C share all but the last layer"


def test_each_generator_is_what_it_would_be_alone() -> None:
    """Generator k is the single network with the k-th first layer in place of its own."""
    data = Dataset.tiny(find_card("digits"))
    single, _ = build_nets("deep", data, 6, width_G=4, width_D=2)
    several = MixtureGenerator(single, 3).eval()
    z = torch.randn(5, 6)
    for k in range(3):
        rows = slice(k * several.shared.start * 16, (k + 1) * several.shared.start * 16)  # type: ignore[operator]
        h = z @ several.first.weight[rows].T + several.first.bias[rows]
        torch.testing.assert_close(several(z, torch.full((5,), k)), several.shared(h))


def test_a_generators_first_layer_learns_from_its_own_images_only() -> None:
    method, _ = mgan()
    k = torch.tensor([0, 2, 2])
    method.G(torch.randn(3, method.cfg.z_dim), k).sum().backward()
    of_each = method.G.first.weight.grad.view(3, -1).abs().sum(1)  # type: ignore[union-attr, operator]
    assert (of_each > 0).tolist() == [True, False, True]


# ---- losses --------------------------------------------------------------------------------------------------------


def test_the_diversity_is_the_mixtures_sum() -> None:
    """-sum_k pi_k E log C_k(x) over equally many images of each generator; log K where C cannot say."""
    K, n = 4, 3
    logits, k = torch.randn(K * n, 1 + K), torch.arange(K).repeat_interleave(n)
    log_C = log_softmax(logits[:, 1:], 1).view(K, n, K)
    by_hand = -sum(log_C[j, :, j].mean() / K for j in range(K))
    torch.testing.assert_close(diversity(logits, k), by_hand)
    assert float(diversity(torch.zeros(K * n, 1 + K), k)) == pytest.approx(math.log(K))
    certain = torch.cat([torch.zeros(K * n, 1), 50 * torch.eye(K)[k]], 1)
    assert float(diversity(certain, k)) == pytest.approx(0, abs=1e-6)
    shifted = torch.cat([logits[:, :1] + 7, logits[:, 1:]], 1)
    torch.testing.assert_close(diversity(shifted, k), by_hand)  # D's own logit plays no part


def test_the_losses_of_a_step_by_hand() -> None:
    """D and C: cross-entropies; the generators: non-saturating, with beta times the diversity, on the same latents."""
    method, data = mgan(beta=0.5, r1_weight=3.0)
    twin, _ = mgan(beta=0.5, r1_weight=3.0)
    x = next(stream_for(twin, data, 0)).images
    updates: list[Tensor] = []
    plain = method.update
    method.update = lambda loss, *opts: (updates.append(loss.detach()), plain(loss, *opts))  # type: ignore[method-assign]
    method._step = 0
    seed_step(0, 0)
    losses = method.step(stream_for(method, data, 0), 0)

    seed_step(0, 0)
    k = twin.generators(len(x))
    x_fake = twin.G(twin.normal(len(x), twin.cfg.z_dim), k)
    real, fake = twin.D(x), twin.D(x_fake)
    torch.testing.assert_close(losses["D"], softplus(-real[:, 0]).mean() + softplus(fake[:, 0]).mean())
    torch.testing.assert_close(losses["C"], -log_softmax(fake[:, 1:], 1)[torch.arange(len(k)), k].mean())
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(twin.D(x)[:, 0].sum(), x)
    torch.testing.assert_close(losses["R1"], gradient.square().flatten(1).sum(1).mean())
    torch.testing.assert_close(updates[0], losses["D"] + losses["C"] + 3 * losses["R1"])
    after = method.D(x_fake)  # of the updated D and C
    expected = softplus(-after[:, 0]).mean()
    torch.testing.assert_close(losses["G"], expected)
    torch.testing.assert_close(updates[1], expected + 0.5 * diversity(after, k))


def test_every_generator_makes_as_many_images_of_a_batch() -> None:
    method, _ = mgan(K=3)
    for seed in range(5):
        torch.manual_seed(seed)
        assert torch.bincount(method.generators(12), minlength=3).tolist() == [4, 4, 4]
    firsts = {int(method.generators(1)) for _ in range(50)}
    assert firsts == {0, 1, 2}, "in a smaller batch each has its turn"


def test_the_generators_of_samples_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    method, _ = mgan("ring2d", K=4)
    seen: list[Tensor] = []
    plain = method.G.forward
    monkeypatch.setattr(method.G, "forward", lambda z, k: (seen.append(k), plain(z, k))[1])
    torch.manual_seed(0)
    sample = method.sample(method.G.eval(), 4000)
    assert sample.conditions is None
    torch.testing.assert_close(torch.bincount(seen[0]) / 4000, torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_the_classifier_learns_and_the_generators_move_apart() -> None:
    """With a large beta the generators of 2-D points become easy to tell apart; with none C has a harder task."""
    found = {}
    for beta in (0.0, 20.0):
        method, data = mgan("ring2d", K=4, beta=beta, batch=64, width_G=16, width_D=8, steps=1000)
        stream = stream_for(method, data, 0)
        for t in range(150):
            method._step = t
            seed_step(0, t)
            losses = method.step(stream, t)
        found[beta] = float(losses["C"].detach())
    assert found[20.0] < 0.3 * math.log(4)
    assert found[20.0] < 0.5 * found[0.0]


def test_a_row_of_the_picture_is_one_generator() -> None:
    method, data = mgan()
    ((name, grid),) = method.pictures(method.G.eval(), data)
    assert name == "generators"
    assert grid.images.shape == (3, 10, 1, 16, 16)  # type: ignore[union-attr]
    assert not torch.equal(grid.images[0], grid.images[1])  # type: ignore[union-attr]
    points, data = mgan("ring2d")
    assert list(points.pictures(points.G, data)) == []
