"""How well LT-GAN's auxiliary network tells latent moves apart, as the size of the moves changes.

Source: Patel, Kumari, Singh, Krishnamurthy, "LT-GAN" (WACV 2021), sec. 5: 25,000 samples, moves of other sizes than
the network was trained with; its accuracy is high near the training size and falls away from it. Chance is one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

Judge = Callable[[float, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class AuxiliaryAccuracy:
    """Accuracy for one size of move."""

    sigma: float  # standard deviation of the moves
    accuracy: float  # mean of the next two, 0 to 1; chance, and any constant answer, is 0.5
    on_same: float  # share of right answers where the move was the same; NaN without such a pair
    on_other: float  # share of right answers where it was another; NaN without such a pair
    standard_error: float  # of the share of all right answers, over chunks: their pairs share moves; NaN for one chunk
    n_pairs: int

    def plain(self) -> dict[str, Any]:
        """As plain values, for a record; NaN as None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


@torch.no_grad()
def auxiliary_accuracy(judge: Judge, sigma: float, n_images: int = 25_000, chunk: int = 64) -> AuxiliaryAccuracy:
    """Accuracy of "did the same move change both images?" for moves of standard deviation sigma.

    judge: (sigma, n) -> logits [n] of "same" and the truth [n] (1 = same), for n images and freshly drawn moves.
    chunk: images that share a set of moves, as in a training batch. The scatter comes from the moves, not from the
        images, so that many chunks tell more than large ones. The last one may be smaller, but has two images at least.
    The answer to a logit of exactly 0 is "another". Raises ValueError for fewer than two images, or chunks of one.
    """
    if n_images < 2 or chunk < 2:
        raise ValueError(f"{n_images} images in chunks of {chunk}: a pair needs two")
    right, truth, means = [], [], []
    for n in _chunks(n_images, chunk):
        logits, same = judge(sigma, n)
        hit = (logits > 0) == (same > 0.5)  # [n]
        right.append(hit)
        truth.append(same > 0.5)
        means.append(hit.double().mean())
    hits, same = torch.cat(right).double(), torch.cat(truth)
    spread = float(torch.stack(means).std()) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return AuxiliaryAccuracy(
        sigma=sigma,
        accuracy=(_share(hits[same]) + _share(hits[~same])) / 2,
        on_same=_share(hits[same]),
        on_other=_share(hits[~same]),
        standard_error=spread,
        n_pairs=len(hits),
    )


def auxiliary_curve(
    judge: Judge, sigmas: Sequence[float], n_images: int = 25_000, chunk: int = 64, seed: int = 0
) -> list[AuxiliaryAccuracy]:
    """`auxiliary_accuracy` for every sigma; each starts from the same seed, so that the curve is smooth in sigma.

    Torch's global generator is left as it was.
    """
    state = torch.get_rng_state()
    curve = []
    for sigma in sigmas:
        torch.manual_seed(seed)
        curve.append(auxiliary_accuracy(judge, sigma, n_images, chunk))
    torch.set_rng_state(state)
    return curve


def _chunks(n_images: int, chunk: int) -> list[int]:
    """Sizes that add up to n_images, none of them 1: a last single image joins the chunk before it."""
    whole, rest = divmod(n_images, chunk)
    sizes = [chunk] * whole + [rest] * (rest > 0)
    return [*sizes[:-2], sizes[-2] + 1] if sizes[-1] == 1 else sizes


def _share(hits: Tensor) -> float:
    return float(hits.mean()) if len(hits) else math.nan
