"""LT-GAN's accuracy over the size of moves: closed forms, and what a chunk is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark.metrics.auxiliary import auxiliary_accuracy, auxiliary_curve


def truth(n: int) -> Tensor:
    """Three pairs of four are of the other kind."""
    return (torch.arange(n) % 4 == 0).float()


def test_a_judge_that_knows_is_always_right() -> None:
    found = auxiliary_accuracy(lambda sigma, n: (truth(n) * 2 - 1, truth(n)), 0.5, n_images=100, chunk=8)
    assert (found.accuracy, found.on_same, found.on_other, found.standard_error) == (1.0, 1.0, 1.0, 0.0)
    assert (found.sigma, found.n_pairs) == (0.5, 100)


@pytest.mark.parametrize("constant", [-3.0, 0.0, 3.0])
def test_a_constant_answer_is_chance_however_unbalanced_the_pairs(constant: float) -> None:
    found = auxiliary_accuracy(lambda sigma, n: (torch.full((n,), constant), truth(n)), 1.0, n_images=64, chunk=16)
    assert found.accuracy == 0.5
    assert {found.on_same, found.on_other} == {0.0, 1.0}


def test_the_probit_curve_of_a_known_judge() -> None:
    """Logits of +-sigma plus standard normal noise are right with probability Phi(sigma)."""
    torch.manual_seed(0)

    def judge(sigma: float, n: int) -> tuple[Tensor, Tensor]:
        return sigma * (2 * truth(n) - 1) + torch.randn(n), truth(n)

    sigmas = [0.0, 0.5, 1.0, 2.0]
    for point, sigma in zip(auxiliary_curve(judge, sigmas, n_images=20_000, chunk=64), sigmas):
        assert point.sigma == sigma
        assert point.accuracy == pytest.approx(0.5 * (1 + math.erf(sigma / math.sqrt(2))), abs=0.015)
        right = point.on_same / 4 + point.on_other * 3 / 4
        assert point.standard_error == pytest.approx(math.sqrt(right * (1 - right) / 20_000), rel=0.2)


def test_the_scatter_between_chunks_is_seen() -> None:
    """A judge that is right in whole chunks or wrong in whole chunks: one chunk is one observation."""
    verdicts = iter([1.0, -1.0] * 8)

    def judge(sigma: float, n: int) -> tuple[Tensor, Tensor]:
        return next(verdicts) * (truth(n) * 2 - 1), truth(n)

    found = auxiliary_accuracy(judge, 1.0, n_images=256, chunk=16)
    assert found.accuracy == 0.5
    assert found.standard_error == pytest.approx(math.sqrt(0.25 * 16 / 15) / 4)


@pytest.mark.parametrize(
    ("n_images", "chunk", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (3, 8, [3]), (8, 4, [4, 4]), (5, 2, [2, 3])],
)
def test_chunks_add_up_and_none_is_a_single_image(n_images: int, chunk: int, sizes: list[int]) -> None:
    asked = []

    def judge(sigma: float, n: int) -> tuple[Tensor, Tensor]:
        asked.append(n)
        return torch.ones(n), truth(n)

    assert auxiliary_accuracy(judge, 1.0, n_images, chunk).n_pairs == n_images
    assert asked == sizes


def test_a_pair_needs_two_images() -> None:
    for n_images, chunk in ((1, 4), (4, 1)):
        with pytest.raises(ValueError, match="a pair needs two"):
            auxiliary_accuracy(lambda sigma, n: (torch.ones(n), truth(n)), 1.0, n_images, chunk)


def test_every_point_of_a_curve_starts_from_the_seed_and_the_generator_is_left_alone() -> None:
    def judge(sigma: float, n: int) -> tuple[Tensor, Tensor]:
        return torch.randn(n), truth(n)

    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again = auxiliary_curve(judge, [1.0, 1.0], n_images=100, chunk=10, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert auxiliary_curve(judge, [1.0], n_images=100, chunk=10, seed=4) != [first]


def test_a_record_has_no_nan() -> None:
    point = auxiliary_accuracy(lambda sigma, n: (torch.ones(n), torch.ones(n)), 1.0, n_images=4, chunk=4)
    assert point.plain() == {
        "sigma": 1.0, "accuracy": None, "on_same": 1.0, "on_other": None, "standard_error": None, "n_pairs": 4,
    }  # fmt: skip
