"""Chamfer distance between two sets of embeddings, on the embeddings themselves and as published, after t-SNE.

The first is the suite's own. The second exists for comparison with InfoSCC-GAN's table only: t-SNE has no fixed scale,
so its value depends on the seed, on the number of points and on the library's defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark.core.one_thread import one_thread
from benchmark.metrics.checks import Array, Float64, MetricError, row_pair
from benchmark.metrics.nearest import nearest
from benchmark.metrics.sets import FeatureSets, SetNumber


@dataclass(frozen=True)
class Chamfer:
    """Mean squared nearest-neighbour distances between L2-normalised embeddings; each direction lies in [0, 4]."""

    two_way: float  # sum of both directions, the headline
    real_to_fake: float  # misses modes -> large; blind to generated images far from every real image
    fake_to_real: float  # invents modes -> large; blind to real images that nothing resembles


def chamfer(real: Array, fake: Array, chunk: int = 1024, progress: bool = False) -> Chamfer:
    """Chamfer distance of embeddings [N, d] and [M, d], L2-normalised here. In [0, 8], lower is better.

    For each image of one set the squared Euclidean distance to the nearest of the other, averaged. A zero row stays
    zero. Biased upwards in small sets: report it with the value of two disjoint real sets of the same size.
    chunk: most rows compared at once; it changes no result. progress: show a bar.
    Source: Fan et al., 2017 (squared distances), with means in place of sums so that N does not scale it.
    Raises MetricError for wrong dtype, shape or dimension, or NaN.
    """
    real, fake = row_pair(real, fake, min_rows=1)
    if chunk < 1:
        raise MetricError(f"chamfer: chunk = {chunk}", "a chunk holds at least one row")
    real = _normalised(real)  # one after the other: what is no longer needed is freed in between
    fake = _normalised(fake)
    real_sq, fake_sq = _nearest_sq(real, fake, chunk, progress), _nearest_sq(fake, real, chunk, progress)
    real_to_fake, fake_to_real = float(real_sq.mean()), float(fake_sq.mean())
    return Chamfer(real_to_fake + fake_to_real, real_to_fake, fake_to_real)


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The distance of two sets, by the stem of its id."""
    both = chamfer(sets.real, sets.fake)
    text = "unit-length features, mean squared distance to the nearest, both directions added"
    directions = {"real_to_fake": both.real_to_fake, "fake_to_real": both.fake_to_real}
    return {"chamfer": SetNumber(both.two_way, {"chamfer": text}, directions)}


@dataclass(frozen=True)
class ChamferTSNE:
    """Chamfer distances after a joint 3-D t-SNE, over several t-SNE seeds."""

    one_way_sum: float  # mean over seeds: sum of squared distances real -> fake, as InfoSCC-GAN reports
    one_way_sum_sd: float | None  # sd over seeds (n - 1), None with one seed
    two_way_mean: float  # mean over seeds: mean squared distances, both directions added
    two_way_mean_sd: float | None
    one_way_sums: tuple[float, ...]  # one for each seed
    two_way_means: tuple[float, ...]
    parameters: dict[str, Any]  # everything that fixes the value: t-SNE's settings, seeds, counts, library version


def chamfer_tsne(
    real: Array,
    fake: Array,
    tsne_seeds: Sequence[int] = (0, 1, 2, 3, 4),
    protocol: Literal["suite", "paper"] = "suite",
    max_points: int = 6_000,
    n_jobs: int = 1,
) -> ChamferTSNE:
    """Chamfer distance after ONE 3-D t-SNE of real [N, d] and fake [M, d] embeddings together. Lower is better.

    protocol "suite": init pca, learning rate auto. "paper": init random, learning rate 200, the defaults of the
    scikit-learn 0.24 that InfoSCC-GAN's code pins. Both: perplexity 30, 1000 iterations, embeddings not normalised.
    The one-way sum is zero for equal sets, grows with N, and does not see generated images far from every real image.
    tsne_seeds: random_state of each repetition. max_points: most points allowed, N + M; t-SNE needs minutes beyond it.
    n_jobs: repetitions at once, each by one thread; no bit depends on it.
    Source: InfoSCC-GAN, sec. 4 and its published code (one direction, squared, summed).
    Raises MetricError for bad embeddings, an unknown protocol, no seeds, N + M <= 30 or N + M > max_points.
    """
    import sklearn  # a second to import, and no other distance needs it
    from joblib import Parallel, delayed
    from sklearn.manifold import TSNE

    real, fake = row_pair(real, fake, min_rows=1)
    if protocol not in ("suite", "paper"):
        raise MetricError(f"t-SNE protocol {protocol!r}", "it is not known", "use 'suite' or 'paper'")
    if not tsne_seeds:
        raise MetricError("t-SNE: no seeds", "one t-SNE is made for each seed", "pass tsne_seeds=(0, 1, 2, 3, 4)")
    settings = _tsne_settings(protocol)
    _check_point_count(len(real) + len(fake), settings["perplexity"], max_points)
    both = np.concatenate([real, fake])
    repetitions = (delayed(TSNE(**settings, random_state=int(seed)).fit_transform)(both) for seed in tsne_seeds)
    with one_thread():
        embedded = Parallel(n_jobs=min(n_jobs, len(tsne_seeds)))(repetitions)  # [N + M, 3] each
    sums, means = [], []
    for points in embedded:
        points = points.astype(np.float64)
        a, b = points[: len(real)], points[len(real) :]
        real_sq, fake_sq = _nearest_sq(a, b, 1024), _nearest_sq(b, a, 1024)
        sums.append(float(real_sq.sum()))
        means.append(float(real_sq.mean() + fake_sq.mean()))
    parameters = {
        **settings,
        "protocol": protocol,
        "tsne_seeds": [int(seed) for seed in tsne_seeds],
        "n_real": len(real),
        "n_fake": len(fake),
        "embedding": "as given, not normalised",
        "scikit_learn": sklearn.__version__,
    }
    return ChamferTSNE(*_mean_sd(sums), *_mean_sd(means), tuple(sums), tuple(means), parameters)


def _tsne_settings(protocol: str) -> dict[str, Any]:
    """t-SNE's settings, every one written out: scikit-learn has changed its defaults before."""
    start = (
        {"init": "pca", "learning_rate": "auto"} if protocol == "suite" else {"init": "random", "learning_rate": 200.0}
    )
    return {
        **start,
        "n_components": 3,
        "perplexity": 30.0,
        "max_iter": 1000,
        "early_exaggeration": 12.0,
        "method": "barnes_hut",
        "angle": 0.5,
        "metric": "euclidean",
        "min_grad_norm": 1e-7,
        "n_iter_without_progress": 300,
    }


def _check_point_count(n_points: int, perplexity: float, max_points: int) -> None:
    if n_points <= perplexity:
        raise MetricError(
            f"t-SNE: {n_points} points", f"perplexity {perplexity:g} needs more points than that", "draw more images"
        )
    if n_points > max_points:
        raise MetricError(
            f"t-SNE: {n_points} points",
            f"the cap is {max_points}: each seed would take minutes",
            "pass fewer embeddings, or raise max_points",
        )


def _mean_sd(values: list[float]) -> tuple[float, float | None]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _normalised(rows: Float64) -> Float64:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def _nearest_sq(points: Float64, others: Float64, chunk: int, progress: bool = False) -> Float64:
    """Squared distance of each row of `points` to the nearest row of `others`, [len(points)]."""
    return nearest(points, others, chunk=chunk, progress=progress)[1][:, 0]
