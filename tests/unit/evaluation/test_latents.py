"""A trained generator as a function of its latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.evaluation.latents import LatentSpace
from benchmark.metrics.ppl import path_length
from benchmark.training.measurements import Sample
from benchmark.training.method import Method, construct, find_method

CPU = torch.device("cpu")


class Linear(Method):
    """Images W z of an asked class, with noise that is no latent."""

    def __init__(self, cfg: object, data: object) -> None:
        self.G = nn.Linear(6, 3 * 16, bias=False)
        self.conditioning, self.n_labels = "class", 4

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        y = torch.randint(4, (n,)) if conditions is None else conditions
        noise = 1e-2 * torch.randn(n, 3, 4, 4)
        z = torch.cat([self.normal(n, 4), self.normal(n, 1, 2).flatten(1)], 1)
        return Sample(G(z).reshape(n, 3, 4, 4) + y[:, None, None, None] + noise, y)


@pytest.fixture
def space() -> LatentSpace:
    method = construct(Linear, None, None, CPU, 0)  # type: ignore[arg-type]
    return LatentSpace(method, method.G, seed=3)


def test_all_draws_of_an_image_are_one_row_of_latents(space: LatentSpace) -> None:
    assert (space.dim, space.shapes) == (6, [(4,), (1, 2)])
    z = space.draw(5)
    difference = space.images(z) - space.images(torch.zeros_like(z))  # conditions and noise are the same: they cancel
    linear = space.G(z).reshape(5, 3, 4, 4)
    assert torch.allclose(difference, linear, atol=1e-6)


def test_the_method_draws_as_before_and_torchs_generator_is_untouched(space: LatentSpace) -> None:
    torch.manual_seed(7)
    before = space.method.sample(space.G, 3).images
    torch.manual_seed(7)
    space.images(torch.zeros(4, 6))
    assert torch.equal(space.method.sample(space.G, 3).images, before)


def test_gradients_reach_the_latents(space: LatentSpace) -> None:
    z = torch.zeros(2, 6, requires_grad=True)
    space.images(z).sum().backward()
    weight = space.G.weight.sum(0)
    assert z.grad is not None
    assert torch.allclose(z.grad, weight.expand(2, -1), atol=1e-5)


def test_both_images_of_a_pair_have_one_condition_and_one_noise(space: LatentSpace) -> None:
    z = space.draw(3)
    assert torch.equal(*space.pairs(torch.cat([z, z])).chunk(2))
    assert not torch.equal(*space.images(torch.cat([z, z])).chunk(2)), "one batch draws other conditions for its rows"


def test_path_length_of_a_conditional_generator_is_that_of_its_latents(space: LatentSpace) -> None:
    """E |W (z1 - z0)'|^2 along great circles; conditions that differed within a pair would add to it by 1 / eps^2."""
    found = path_length(space.pairs, space.draw, lambda a, b: (a - b).square().sum((1, 2, 3)), 200, eps=1e-2, trim=None)
    assert 1 < found.mean < 1000


@pytest.mark.parametrize("name", ["stylegan2", "sngan"])
def test_styles_where_there_is_a_mapping_network(name: str, tmp_path: Path) -> None:
    file, data = find_method(name), Dataset.tiny(find_card("digits"))
    method = construct(file.cls, file.recipe("small", "digits"), data, CPU, 0)
    space = LatentSpace(method, method.G)
    assert space.has_w == (name == "stylegan2")
    if space.has_w:
        z = space.draw(3)
        w = space.styles(z)
        assert w.shape == (3, method.cfg.w_dim)
        assert torch.allclose(space.images_of_styles(w), space.images(z), atol=1e-6)
        assert not torch.allclose(space.images_of_styles(w + 1), space.images(z), atol=1e-3)
