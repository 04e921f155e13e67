"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark.core.errors import ConfigError
from benchmark.nn.augment import DiffAugment
from benchmark.nn.discriminators import PatchDiscriminator
from benchmark.nn.losses import ADVERSARIAL, adversarial, gradient_penalty, nt_xent, r1, relativistic


def D_and_G(name: str, real: list[float], fake: list[float]) -> tuple[float, float]:
    loss = adversarial(name)
    return loss.D(torch.tensor(real), torch.tensor(fake)).item(), loss.G(torch.tensor(fake)).item()


@pytest.mark.parametrize(
    ("name", "loss_D", "loss_G"),
    [  # D(x) = D(x~) = 0.5
        ("hinge", 0.5 + 1.5, -0.5),
        ("hinge_v1", 0.5 + 1.5, 0.5),
        ("non_saturating", math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(0.5)), math.log(1 + math.exp(-0.5))),
        ("lsgan", 0.25 + 0.25, 0.25),
        ("lsgan4", 0.0625 + 0.0625, 0.0625),
    ],
)
def test_values_at_one_half(name: str, loss_D: float, loss_G: float) -> None:
    assert D_and_G(name, [0.5], [0.5]) == pytest.approx((loss_D, loss_G))


def test_hinge_by_hand() -> None:
    assert D_and_G("hinge", [1.0, 1.0], [-1.0, -1.0]) == (0, 1)
    assert D_and_G("hinge", [0.0], [0.0]) == (2, 0)
    assert D_and_G("hinge", [3.0, -1.0], [2.0, -4.0]) == ((0 + 2) / 2 + (3 + 0) / 2, 1)
    assert D_and_G("hinge_v1", [3.0, -1.0], [2.0, -4.0]) == ((0 + 2) / 2 + (3 + 0) / 2, (0 + 5) / 2)


def gradient_G(name: str, fake: list[float]) -> list[float]:
    logits = torch.tensor(fake, requires_grad=True)
    (gradient,) = torch.autograd.grad(adversarial(name).G(logits), logits)
    return gradient.tolist()


def test_generator_gradients() -> None:
    assert gradient_G("hinge", [2.0, -2.0]) == [-0.5, -0.5]
    assert gradient_G("hinge_v1", [2.0, 1.5]) == [0, 0]  # no signal once D(x~) > 1
    assert gradient_G("hinge_v1", [2.0, 0.0]) == [0, -0.5]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_average_over_a_patch_map(name: str) -> None:
    real, fake = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    loss = adversarial(name)
    assert torch.allclose(loss.D(real, fake), loss.D(real.flatten(), fake.flatten()))
    assert torch.allclose(loss.G(fake), loss.G(fake.flatten()))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_fall_when_each_side_does_better(name: str) -> None:
    loss, low, high = adversarial(name), torch.tensor([0.2]), torch.tensor([0.8])
    assert loss.D(high, low) < loss.D(low, high)
    assert loss.G(high) < loss.G(low)


def test_non_saturating_is_stable() -> None:
    assert D_and_G("non_saturating", [200.0], [-200.0]) == (0, 200)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'hinge'"):
        adversarial("hing")


def test_r1_of_a_linear_discriminator_is_the_squared_length_of_its_weight() -> None:
    a = torch.randn(3, 4, 4, requires_grad=True)
    penalty = r1(lambda x: (a * x).sum((1, 2, 3)), torch.randn(5, 3, 4, 4))
    assert torch.allclose(penalty, a.square().sum())
    (gradient,) = torch.autograd.grad(penalty, a)
    assert torch.allclose(gradient, 2 * a)  # it can be trained on


def test_r1_sums_a_patch_map() -> None:
    def D(x: Tensor) -> Tensor:  # [N, 2, 2], each entry sees all of x with weight 1
        return x.sum((1, 2, 3))[:, None, None].expand(-1, 2, 2)

    assert r1(D, torch.randn(3, 1, 2, 2)).item() == pytest.approx(4 * 4**2)  # four pixels, each with gradient 4


def test_r1_averages_over_images() -> None:
    x = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    assert r1(lambda x: x.square().sum((1, 2, 3)), x).item() == pytest.approx((4 + 16 + 36) / 3)


def test_r1_reaches_the_discriminator_through_every_augmentation() -> None:
    torch.manual_seed(0)
    D, T = PatchDiscriminator(16, ndf=4, n_layers=2), DiffAugment(p=1.0)
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    r1(lambda x: D(T(x)), x).backward()
    weights = [p for p in D.parameters() if p.ndim == 4]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)
    assert x.grad is None
    assert not x.requires_grad


def test_a_penalty_on_given_logits_is_r1_of_their_discriminator() -> None:
    """Also where D is linear, so that each image's penalty is |a|^2 whatever the image: R2 equals R1."""
    a, x = torch.randn(3, 4, 4, requires_grad=True), torch.randn(5, 3, 4, 4, requires_grad=True)
    x_fake = torch.randn(5, 3, 4, 4, requires_grad=True)

    def D(x: Tensor) -> Tensor:
        return (a * x).sum((1, 2, 3))

    assert torch.equal(gradient_penalty(D(x), x), r1(D, x))
    assert torch.allclose(gradient_penalty(D(x_fake), x_fake), a.square().sum())
    (gradient,) = torch.autograd.grad(gradient_penalty(D(x_fake), x_fake), a)
    assert torch.allclose(gradient, 2 * a)


def test_the_relativistic_loss_of_equal_logits_is_log_2() -> None:
    logits = torch.randn(6)
    assert relativistic(logits, logits).item() == pytest.approx(math.log(2))
    assert relativistic(torch.tensor([3.0]), torch.tensor([1.0])).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert relativistic(torch.tensor([200.0]), torch.tensor([-200.0])).item() == 0
    assert relativistic(torch.tensor([-200.0]), torch.tensor([200.0])).item() == 400


def test_the_relativistic_loss_pulls_the_two_sides_of_a_pair_apart() -> None:
    """Its gradient is sigma(lower - higher) / N, down for `higher`, up for `lower`: nothing for pairs far apart."""
    higher = torch.tensor([0.0, 2.0, 50.0], requires_grad=True)
    lower = torch.tensor([1.0, 2.0, 0.0], requires_grad=True)
    of_higher, of_lower = torch.autograd.grad(relativistic(higher, lower), (higher, lower))
    expected = torch.sigmoid(lower - higher).detach() / 3
    assert torch.allclose(of_lower, expected)
    assert torch.allclose(of_higher, -expected)


def test_the_relativistic_loss_compares_row_by_row() -> None:
    """It depends on who is paired with whom, and not on what both sides have in common."""
    higher, lower = torch.tensor([4.0, 0.0]), torch.tensor([3.0, -1.0])
    assert relativistic(higher, lower).item() == pytest.approx(math.log(1 + math.exp(-1)))
    swapped = (math.log(1 + math.exp(-5)) + math.log(1 + math.exp(3))) / 2
    assert relativistic(higher, lower.flip(0)).item() == pytest.approx(swapped)
    assert torch.allclose(relativistic(higher + 7, lower + 7), relativistic(higher, lower))


def test_nt_xent_by_hand() -> None:
    # Two images, both views equal, the images orthogonal: each anchor has logits 1 / tau, 0, 0.
    z = torch.tensor([[1.0, 0], [0, 3]])  # lengths do not matter
    for tau in (0.5, 1.0):
        expected = -math.log(math.exp(1 / tau) / (math.exp(1 / tau) + 2))
        assert nt_xent(z, 2 * z, tau).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_equals_its_definition() -> None:
    torch.manual_seed(0)
    z_i, z_j, tau = torch.randn(4, 5), torch.randn(4, 5), 0.5
    z = torch.cat([z_i, z_j])
    total = 0.0
    for a in range(8):
        similarity = [math.exp(torch.cosine_similarity(z[a], z[b], 0).item() / tau) for b in range(8)]
        total -= math.log(similarity[(a + 4) % 8] / (sum(similarity) - similarity[a]))
    assert nt_xent(z_i, z_j, tau).item() == pytest.approx(total / 8, rel=1e-5)


def test_nt_xent_of_identical_images_is_chance_and_trains() -> None:
    z = torch.ones(8, 3)
    assert nt_xent(z, z, 0.5).item() == pytest.approx(math.log(15), rel=1e-5)  # 2B - 1 candidates
    z = torch.randn(4, 3, requires_grad=True)
    nt_xent(z, torch.randn(4, 3), 0.1).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
