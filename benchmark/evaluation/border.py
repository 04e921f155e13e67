"""The border effect: images that do not show the requested class are conditioned on images from between the classes.

Latent-space-conditioned GAN (Durall et al., VISAPP 2021, fig. 5) shows the conditioning features by t-SNE, coloured by
class and by whether the generated image has it. Here that image is drawn for every method that is given an image's
features, with a number: the share of hits among the thirds of least, middle and largest margin. Where
the data have attributes in place of classes, each attribute is a pair of classes of its own: present and absent. Data
without labels have no border: nothing says whether an image shows what was requested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 5  # of each side of the margin [ours]
MOST_IMAGES = 2000  # whose margin and place are looked at: distances of all pairs are taken


@dataclass(frozen=True)
class RequestedImages:
    """Real images that were requested, each once."""

    features: Tensor  # [n, d], what the generator was given
    labels: np.ndarray  # int64, the images' classes [n] or attributes [n, A]
    hits: np.ndarray  # float, the share of its samples that show its class [n]; or its state of each attribute [n, A]
    draws: np.ndarray  # int64 [n], its samples
    seen: np.ndarray | None = None  # int64 [n], the class that most of its samples show; None with attributes


def requested_once(
    bank: Tensor, rows: np.ndarray, labels: np.ndarray, hits: np.ndarray, seen: np.ndarray | None = None
) -> RequestedImages:
    """The images behind many samples, in order of row; of more than `MOST_IMAGES` so many, evenly spread.

    A split may be in order of class, so that its first images would be of few classes.

    bank: features [M, d] of the images that could be requested. rows [N] of it; the class [N] of each, and whether its
    sample shows that class, bool [N]; or attributes [N, A] and whether each is right, bool [N, A]. seen: the class [N]
    that each sample shows.
    """
    distinct, first, place, draws = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
    share = np.zeros((len(distinct), *hits.shape[1:]))
    np.add.at(share, place, hits)
    share = share / draws.reshape(-1, *[1] * (hits.ndim - 1))
    n = min(len(distinct), MOST_IMAGES)
    kept = np.arange(n) * len(distinct) // n
    features = bank[torch.as_tensor(distinct[kept], device=bank.device)].float().cpu()
    return RequestedImages(
        features,
        labels[first][kept],
        share[kept],
        draws[kept],
        None if seen is None else _most_frequent(place, seen)[kept],
    )


def _most_frequent(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The most frequent of the values [N] in each of the groups [N]; of equally frequent ones the smallest."""
    counts = np.zeros((groups.max() + 1, values.max() + 1), dtype=np.int64)
    np.add.at(counts, (groups, values), 1)
    return counts.argmax(axis=1)


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


def border_effect(conditions: RequestedImages, names: Sequence[str] = ()) -> dict[str, Any]:
    """Share of hits by third of margin, least margin first, and each third's largest margin; {} for too few images.

    With attributes the shares are means over those attributes that have enough images of both states, and `attributes`
    has each of them by its name. names: of the attributes.
    """
    if conditions.labels.ndim == 1:
        return _border_of(conditions)
    found = {}
    for a, name in enumerate(names):
        one = replace(conditions, labels=conditions.labels[:, a], hits=conditions.hits[:, a])
        if effect := _border_of(one):
            found[name] = effect
    if not found:
        return {}
    shares = np.mean([effect["hits_by_third_of_margin"] for effect in found.values()], axis=0)
    return {"hits_by_third_of_margin": [float(share) for share in shares], "attributes": found}


def _border_of(conditions: RequestedImages) -> dict[str, Any]:
    """`border_effect` of one set of classes."""
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
