"""How well a feature space keeps classes together: the class of an image's k-th nearest neighbour.

Source: Durall et al., "Latent Space Conditioning on Generative Adversarial Networks" (VISAPP 2021), table 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.metrics.checks import Array, MetricError, as_numpy

CHUNK_BYTES = 128 * 2**20  # of the distances held at once


def neighbour_agreement(
    features: Array,
    labels: Array,
    ks: Iterable[int] = (1, 2, 5),
    metric: Literal["l1", "l2", "cosine"] = "l1",
    queries: Array | None = None,
) -> dict[int, float]:
    """Share of images whose k-th nearest other image has the same class, {k: share}. In [0, 1].

    features: [N, d] floats. labels: [N] classes. ks: ranks; the k-th neighbour itself counts, not any of the first k.
    queries: rows [M] whose neighbours are looked for among all N (an unbiased estimate); None: every row, exact.
    metric: l1 as the paper. An image is not its own neighbour, but its duplicate is. Images at equal distance come in
    no promised order. Memory in addition to the features is bounded; time is M * N * d. Chance: `chance_agreement`.
    Raises MetricError for bad features, labels or rows, and for ranks outside 1..N-1.
    """
    x, ks = _float32_rows(features), tuple(ks)
    n = len(x)
    y = _integers("labels", labels, n)
    if not ks or not all(1 <= k < n for k in ks):
        raise MetricError(f"neighbours {list(ks)} of {n} images", f"ranks lie between 1 and {n - 1}")
    rows = torch.arange(n) if queries is None else _integers("queries", queries, len(queries))
    if int(rows.max()) >= n:
        raise MetricError(f"queries: row {int(rows.max())}", f"there are {n} rows of features")
    if metric == "cosine":
        x = F.normalize(x, dim=1)
    hits = dict.fromkeys(ks, 0)
    for chunk in rows.split(max(1, CHUNK_BYTES // (4 * n))):
        distances = _distances(x[chunk], x, metric)  # [chunk, N]
        distances[torch.arange(len(chunk)), chunk] = torch.inf  # not its own neighbour
        nearest = distances.topk(max(ks), largest=False, sorted=True).indices  # [chunk, max k]
        for k in ks:
            hits[k] += int((y[nearest[:, k - 1]] == y[chunk]).sum())
    return {k: hits[k] / len(rows) for k in ks}


def nearest_in_parts(queries: Tensor, own: Tensor, parts: Iterable[Tensor], k: int) -> Tensor:
    """The k rows of a bank nearest by L1 to each query: [M, k] int64, nearest first.

    The bank need not fit into memory: parts are its rows in order, [*, d] each. queries [M, d] are its rows `own` [M],
    and no row is its own neighbour, but its duplicate is. Of equal distances the smaller row comes first.
    """
    best = queries.new_full((len(queries), k), torch.inf)
    rows = own.new_zeros(len(queries), k)
    start = 0
    for part in parts:
        P = torch.cdist(queries, part, p=1)  # [M, part]
        here = ((own >= start) & (own < start + len(part))).nonzero().squeeze(1)
        P[here, own[here] - start] = torch.inf
        numbers = torch.arange(start, start + len(part), device=own.device).expand(len(queries), -1)
        best, order = torch.cat([best, P], 1).sort(dim=1, stable=True)
        best, order = best[:, :k], order[:, :k]
        rows = torch.cat([rows, numbers], 1).gather(1, order)
        start += len(part)
    assert k < start, "a rank needs so many others"
    return rows


def shared_labels(nearest: Tensor, queries: Tensor, labels: Array, k: int) -> list[float]:
    """Share of queries whose k-th neighbour has their class, one value; or their state, for each attribute.

    nearest: rows [M, >= k], nearest first. queries: rows [M]. labels: classes [N], or attributes [N, A] of 0 and 1.
    """
    y = as_numpy("labels", labels).astype(np.int64)
    near, own = (y[rows.cpu().numpy()] for rows in (nearest[:, k - 1], queries))
    return [float(share) for share in np.atleast_1d((near == own).mean(axis=0))]


def chance_agreement(labels: Array) -> float:
    """Agreement of two images drawn at random: sum of p_c^2 over the classes' shares p_c. 1/K for K equal classes."""
    y = _integers("labels", labels, len(labels))
    shares = torch.bincount(y).double() / len(y)
    return float(shares.square().sum())


def _distances(a: Tensor, b: Tensor, metric: str) -> Tensor:
    """[M, N] distances of rows; for cosine of unit rows, minus their similarity, which orders them the same."""
    if metric == "cosine":
        return -(a @ b.T)
    # the direct sum, not the expanded square: of near neighbours little would be left of it
    return torch.cdist(a, b, p=1 if metric == "l1" else 2, compute_mode="donot_use_mm_for_euclid_dist")


def _float32_rows(features: Array) -> Tensor:
    """Features as float32 [N, d] on the host. Raises MetricError unless they are finite floats and two or more."""
    rows = as_numpy("features", features)
    if rows.ndim != 2 or 0 in rows.shape or not np.issubdtype(rows.dtype, np.floating):
        raise MetricError(
            f"features: {rows.dtype} {list(rows.shape)}", "floats [N, d] are needed: a row for each image"
        )
    if len(rows) < 2:
        raise MetricError("features: one row", "an image needs another one to be its neighbour")
    if not np.isfinite(rows).all():
        raise MetricError("features: NaN or infinity", "the extractor left the range of floats")
    return torch.from_numpy(np.ascontiguousarray(rows, np.float32))


def _integers(name: str, values: Array, n: int) -> Tensor:
    """Classes or rows [n] as int64, n at least 1. Raises MetricError unless they are integers and not negative."""
    given = as_numpy(name, values)
    if given.shape != (n,) or not n or not np.issubdtype(given.dtype, np.integer) or given.min() < 0:
        raise MetricError(f"{name}: {given.dtype} {list(given.shape)}", f"{n or 1} integers 0, 1, ... are needed")
    return torch.from_numpy(given.astype(np.int64))
