"""The border effect: images that do not show the class they were asked for are asked for from between the classes.

Latent-space-conditioned GAN (Durall et al., VISAPP 2021, fig. 5) shows the conditioning features by t-SNE, coloured by
class and by whether the generated image has it. Here that picture is drawn for every method that is given an image's
features, and a number stands beside it: the share of hits among the thirds of least, middle and largest margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 5  # of each side of the margin [ours]
MOST_IMAGES = 2000  # whose margin and place are looked at: distances of all pairs are taken


@dataclass(frozen=True)
class RequestedImages:
    """Real images that were asked for, each once."""

    features: Tensor  # [n, d], what the generator was given
    labels: np.ndarray  # int64 [n], the images' classes
    hits: np.ndarray  # float [n], the share of its samples that show its class
    draws: np.ndarray  # int64 [n], its samples


def requested_once(bank: Tensor, rows: np.ndarray, labels: np.ndarray, hits: np.ndarray) -> RequestedImages:
    """The images behind many samples: the first `MOST_IMAGES` in order of row.

    bank: features [M, d] of the images that could be asked for. rows [N] of it, the class [N] of each, and whether its
    sample shows that class, bool [N].
    """
    distinct, first, place, draws = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=hits) / draws
    kept = slice(None, MOST_IMAGES)
    features = bank[torch.as_tensor(distinct[kept], device=bank.device)].float().cpu()
    return RequestedImages(features, labels[first][kept], share[kept], draws[kept])


def margins(features: Tensor, labels: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """How much farther the k nearest images of other classes are than the k nearest of the same class, [n].

    Mean Euclidean distances of features [n, d]; the image itself is left out. NaN where either side has fewer than k.
    """
    distance = torch.cdist(features.double(), features.double())
    distance.fill_diagonal_(torch.inf)
    same = torch.as_tensor(labels[:, None] == labels[None, :])
    if len(features) < k:
        return np.full(len(features), np.nan)
    sides = [distance.masked_fill(hidden, torch.inf).topk(k, largest=False).values.mean(1) for hidden in (same, ~same)]
    margin = (sides[0] - sides[1]).numpy()  # to other classes less to its own
    return np.where(np.isfinite(margin), margin, np.nan)


def border_effect(conditions: RequestedImages) -> dict[str, Any]:
    """Share of hits by third of margin, least margin first, and each third's largest margin; {} for too few images."""
    margin = margins(conditions.features, conditions.labels)
    known = np.flatnonzero(np.isfinite(margin))
    if len(known) < 3 * NEIGHBOURS:
        return {}
    thirds = np.array_split(known[np.argsort(margin[known], kind="stable")], 3)
    shares = [float(np.average(conditions.hits[rows], weights=conditions.draws[rows])) for rows in thirds]
    return {
        "hits_by_third_of_margin": shares,
        "largest_margin": [float(margin[rows].max()) for rows in thirds],
        "margin": f"distance to the {NEIGHBOURS} nearest of other classes less to those of its own, in the features",
        "images": len(known),
    }
