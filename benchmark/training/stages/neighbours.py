"""Exact nearest neighbours of images in feature space, and the instances that represent a whole data set.

IC-GAN's neighbourhoods (Casanova et al., NeurIPS 2021, sec. 3): features of unit length, so that the order by Euclidean
distance and by cosine is the same, and no image is its own neighbour.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmark.core.errors import ConfigError, UserError
from benchmark.core.one_thread import one_thread
from benchmark.data.prepared import Dataset
from benchmark.metrics.neighbours import chance_agreement, nearest_in_parts, neighbour_agreement, shared_labels
from benchmark.nn.precision import exact_float32
from benchmark.training.artifacts import computation
from benchmark.training.measurements import Measurement

MEMORY_BYTES = 2**28  # that one chunk of queries may take
MAPS_AT_ONCE = 256  # images whose feature maps are compared at once
SPARE = 8  # candidates beyond k whose distance is computed from the difference


@torch.no_grad()
def nearest_rows(
    queries: Tensor, bank: Tensor, k: int, exclude: Tensor | None = None, memory: int = MEMORY_BYTES
) -> tuple[Tensor, Tensor]:
    """The k rows of `bank` nearest to each query, nearest first: rows [M, k] int64, Euclidean distances [M, k].

    queries [M, d] and bank [N, d] are floats on one device, compared as they are: normalise them before if directions
    are meant. exclude [M] int64: a row of the bank that is no neighbour of this query (itself); None: every row may be.
    memory: bytes a chunk of queries may take, whatever N is; it changes no result.
    Candidates come from one matrix product, |b|^2 - 2 q.b; their distances then from the differences, in float64,
    because the product form cancels between near copies. Of equal distances the smaller row number comes first.
    """
    assert 0 < k <= len(bank) - (exclude is not None)
    n_candidates = min(k + SPARE, len(bank))
    chunk = max(1, memory // (bank.element_size() * len(bank) + 8 * n_candidates * bank.shape[1]))
    bank_sq = bank.square().sum(1)  # [N]
    found = []
    with exact_float32(bank.device.type):
        for start in range(0, len(queries), chunk):
            q = queries[start : start + chunk]
            scores = torch.addmm(bank_sq, q, bank.T, alpha=-2)  # [chunk, N], |q - b|^2 less the query's |q|^2
            if exclude is not None:
                scores.scatter_(1, exclude[start : start + chunk, None], torch.inf)
            found.append(_nearest_of(q, bank, scores, n_candidates, k))
    return torch.cat([rows for rows, _ in found]), torch.cat([distances for _, distances in found])


def _nearest_of(q: Tensor, bank: Tensor, scores: Tensor, n_candidates: int, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates with the smallest scores [chunk, N], by the distance itself."""
    rough, rows = scores.topk(n_candidates, largest=False)
    rows, order = rows.sort(1)
    distances = (bank[rows].double() - q[:, None].double()).norm(dim=2)  # [chunk, n_candidates]
    distances = distances.masked_fill(rough.gather(1, order).isinf(), torch.inf)  # what is excluded stays so
    distances, order = distances.sort(dim=1, stable=True)
    return rows.gather(1, order)[:, :k], distances[:, :k].to(q.dtype)


@computation("benchmark.neighbours", "nearest_neighbours")
def nearest_neighbours(data: Dataset, h: Mapping[str, Tensor], k: int) -> dict[str, Tensor]:
    """A_i of every training image: its k nearest others. A computation.

    h: {"h": [N, d]}, features of the training images in their order, of any length.
    Returns {"neighbours": [N, k] int64, nearest first; "radius": [N], the distance to the k-th on the unit sphere}.
    The query's own index is left out, not the first hit: an exact duplicate of an image is its neighbour.
    Source: IC-GAN, sec. 3; that x_i is left out is its authors' code.
    Raises ConfigError when the data have no k others, UserError for features that are not finite.
    """
    f = unit_features(h["h"])
    k = possible_k(data, k, len(f))
    rows, distances = nearest_rows(f, f, k, exclude=torch.arange(len(f), device=f.device))
    return {"neighbours": rows, "radius": distances[:, -1].clone()}


@computation("methods.latentcond", "bank_neighbours")
def bank_neighbours(data: Dataset, f: dict[str, Tensor]) -> dict[str, Tensor]:
    """The nearest and the farthest other training image of each, by L1: {"near": [N], "far": [N]} int64. A computation.

    f: {"f": [N, d]}, features of the training images. Of equal distances the first row is taken.
    Source: Algorithm 1 of latent-space conditioning (Durall et al., VISAPP 2021), over the whole split [ours].
    """
    table, near, far = f["f"], [], []
    for rows in torch.arange(len(table), device=table.device).split(512):
        P = torch.cdist(table[rows], table, p=1)  # [512, N]
        own = rows[:, None]
        near.append(P.scatter(1, own, torch.inf).argmin(1))
        far.append(P.scatter(1, own, -torch.inf).argmax(1))
    return {"near": torch.cat(near), "far": torch.cat(far)}


@torch.no_grad()
def nearest_by_l1(bank: Tensor, rows: Tensor, f: Tensor, k: int) -> Tensor:
    """The k rows of f [N, d] nearest by L1 to each of these rows [M] of a bank [B, d]: [M, k] int64, nearest first.

    Where the bank is f itself no row is its own neighbour. k is cut to as many others as there are.
    """
    own, found = bank is f, []
    for part in rows.split(512):
        P = torch.cdist(bank[part], f, p=1)  # [512, N]
        P = P.scatter(1, part[:, None], torch.inf) if own else P
        found.append(P.topk(min(k, len(f) - own), dim=1, largest=False).indices)
    return torch.cat(found)


def neighbour_measurements(f: Tensor, data: Dataset, ranks: tuple[int, ...], n: int) -> Iterator[Measurement]:
    """Does the k-th neighbour by L1 show an image's class, in features f [N, d] of the training images? For a record.

    ranks: the ks. n: images, drawn with seed 0, whose neighbours are looked for. Nothing without classes.
    """
    labels = data.train.labels
    if labels is None or len(f) <= max(ranks):
        return
    rows = np.random.default_rng(0).permutation(len(f))[:n]
    found = neighbour_agreement(f, labels, ranks, queries=rows)
    protocol = {"space": "f", "metric": "l1", "queries": len(rows), "among": len(f)}
    chance = {"chance": chance_agreement(labels)}
    for k, share in found.items():
        name = f"Class of neighbour {k}"
        yield Measurement(f"neighbour_{k}", name, share, "higher", protocol | {"rank": k}, chance)


@torch.no_grad()
def map_neighbour_measurements(
    maps_of: Callable[[Tensor], Tensor], data: Dataset, ranks: tuple[int, ...], n: int, device: torch.device
) -> Iterator[Measurement]:
    """Does the k-th neighbour by L1 show an image's label, in the feature maps that decide neighbours? For a record.

    maps_of: training images' rows [m] to their maps [m, d], laid flat. ranks: the ks. n: images, drawn with seed 0,
    whose neighbours are looked for among all training images. With attributes the share is the mean over them. Nothing
    without labels: there is nothing to share.
    """
    labels = data.train.labels if data.train.labels is not None else data.train.attributes
    n_images = len(data.train)
    if labels is None or n_images <= max(ranks):
        return
    queries = torch.tensor(np.random.default_rng(0).permutation(n_images)[:n], device=device)
    parts = (maps_of(rows) for rows in torch.arange(n_images, device=device).split(MAPS_AT_ONCE))
    of_queries = torch.cat([maps_of(rows) for rows in queries.split(MAPS_AT_ONCE)])
    nearest = nearest_in_parts(of_queries, queries, parts, max(ranks))
    protocol = {"space": "feature maps", "metric": "l1", "queries": len(queries), "among": n_images}
    columns = labels[:, None] if labels.ndim == 1 else labels
    details = {"chance": float(np.mean([chance_agreement(column.astype(np.int64)) for column in columns.T]))}
    for k in ranks:
        shares = shared_labels(nearest, queries, labels, k)
        per = {} if labels.ndim == 1 else {"per_attribute": dict(zip(data.attribute_names, shares))}
        name = f"Label of neighbour {k} (feature maps)"
        value = float(np.mean(shares))
        yield Measurement(f"neighbour_map_{k}", name, value, "higher", protocol | {"rank": k}, details | per)


def possible_k(data: Dataset, k: int, n: int) -> int:
    """k, or fewer on the few images of a synthetic stand-in. Raises ConfigError where real data lack k others."""
    if n < 2 or (data.meta and k >= n):
        raise ConfigError(
            f"k = {k}", f"{data.name} has {n} training images, {n - 1} others for each", "choose fewer neighbours"
        )
    return min(k, n - 1)


@computation("benchmark.neighbours", "kmeans_instances")
def kmeans_instances(data: Dataset, h: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    """Few instances that represent the data set: {"rows": [at most n] int64, ascending}. A computation.

    The rows nearest to the n centroids of k-means on unit features, each row once: centroids may share one.
    h: {"h": [N, d]}, features of the training images.
    Source: IC-GAN, sec. 4.1 (1,000 instances of ImageNet; 100 iterations in its code). Ours: k-means++ with seed 0.
    Raises ConfigError when there are fewer than n images, UserError for features that are not finite.
    """
    from sklearn.cluster import KMeans  # a second to import, and only this needs it
    from sklearn.exceptions import ConvergenceWarning

    f = unit_features(h["h"])
    if data.meta and n > len(f):
        raise ConfigError(f"n_instances = {n}", f"{data.name} has {len(f)} training images", "choose fewer instances")
    n = min(n, len(f))
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than n: fewer rows are returned
        found = KMeans(n, n_init=1, max_iter=100, random_state=0).fit(f.cpu().numpy())
    centres = torch.tensor(found.cluster_centers_, dtype=f.dtype, device=f.device)
    rows, _ = nearest_rows(centres, f, 1)
    return {"rows": rows.unique()}


def unit_features(h: Tensor) -> Tensor:
    """Features [N, d] divided by their length. A row of zeros stays: it is equally far from every other."""
    if not bool(torch.isfinite(h).all()):
        raise UserError(
            "the features hold NaN or infinity",
            "the extractor's weights are broken, or its training diverged",
            "train it with a lower learning rate, or give other weights",
        )
    return normalize(h.float())
