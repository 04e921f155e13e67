"""A trained generator as a function of its latents: what path lengths, boundaries and directions are measured on.

Every method draws its latents by `Trainable.normal`. Here these draws are given instead, all of an image's as one row
z, while everything else that is random (the conditions, a network's noise) comes from one seed. No method has to know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import unwrap

import torch
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.training.method import Method


class LatentSpace:
    """The latents of a method's generator G, as rows z [N, dim] of independent standard normal numbers.

    conditions: those to hold, coded as in `Sample.conditions`: row i of every batch gets the i-th; None: as the method
        draws them, from the seed, the same for row i of every batch of one size.
    seed: of all that is random apart from z, in every call.
    """

    def __init__(self, method: Method, G: nn.Module, conditions: Tensor | None = None, seed: int = 0) -> None:
        self.method, self.G, self.conditions, self.seed = method, G, conditions, seed
        self.shapes: list[tuple[int, ...]] = []  # of each draw of an image
        with self._drawing(self._note_shape):
            self._sample(1)
        self.dim = sum(math.prod(shape) for shape in self.shapes)
        if not self.dim:
            raise UserError(
                f"{type(method).__name__} draws no latents by `normal`",
                "its images cannot be looked at as a function of z",
                "draw the latents in `sample` by self.normal(n, ...)",
            )

    @property
    def has_w(self) -> bool:
        """Does G turn z into styles w by a mapping network?"""
        return isinstance(getattr(self.G, "mapping", None), nn.Module)

    def draw(self, n: int) -> Tensor:
        """Latents [n, dim] from torch's global generator."""
        return torch.randn(n, self.dim, device=self.method.device)

    def images(self, z: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] of latents z [N, dim], gradients kept where z requires them.

        Torch's global generator is left as it was.
        """
        parts = iter(z.split([math.prod(shape) for shape in self.shapes], 1))
        shapes = iter(self.shapes)

        def given(n: int, *_: int) -> Tensor:
            return next(parts).reshape(n, *next(shapes))

        with self._drawing(given):
            return self._sample(len(z))

    def pairs(self, z: Tensor) -> Tensor:
        """Images of latents [2 n, dim] whose halves are pairs: both images of a pair have one condition, one noise."""
        return torch.cat([self.images(half) for half in z.chunk(2)])

    def pairs_of_styles(self, w: Tensor) -> Tensor:
        """The same for styles [2 n, d]."""
        return torch.cat([self.images_of_styles(half) for half in w.chunk(2)])

    def styles(self, z: Tensor) -> Tensor:
        """Styles w [N, d] of latents z, the mapping network's output. Only where `has_w`."""
        found: list[Tensor] = []
        hook = self.G.mapping.register_forward_hook(lambda _net, _z, w: found.append(w))  # type: ignore[union-attr]
        try:
            self.images(z)
        finally:
            hook.remove()
        return found[0].flatten(1)

    def images_of_styles(self, w: Tensor) -> Tensor:
        """Images of styles w [N, d]. Only where `has_w`."""
        hook = self.G.mapping.register_forward_hook(lambda _net, _z, own: w.view_as(own))  # type: ignore[union-attr]
        try:
            return self.images(torch.zeros(len(w), self.dim, device=w.device))
        finally:
            hook.remove()

    def _note_shape(self, n: int, *shape: int) -> Tensor:
        self.shapes.append(shape)
        return torch.zeros(n, *shape, device=self.method.device)

    def _sample(self, n: int) -> Tensor:
        conditions = None if self.conditions is None else self.conditions[:n]
        sample = unwrap(type(self.method).sample)  # without its no_grad
        devices = [self.method.device] if self.method.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed)
            return sample(self.method, self.G, n, conditions).images

    @contextmanager
    def _drawing(self, normal: Callable[..., Tensor]) -> Iterator[None]:
        """The method's draws of latents come from `normal`."""
        vars(self.method)["normal"] = normal
        try:
            yield
        finally:
            del vars(self.method)["normal"]
