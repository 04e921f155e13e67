"""Is a generator worse than held-out images only because it copies? Two measures in addition to `copying`'s.

`data_copying` compares distances to the training images with those of held-out images, region by region (Meehan et
al., 2020). `memorization_informed_fd` is a Frechet distance that copies make larger (Bai et al., 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmark.core.one_thread import one_thread
from benchmark.metrics.checks import Array, Float64, Int64, MetricError, float_rows, row_pair
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.nearest import nearest

THRESHOLD = 0.1  # cosine distance from which on a set counts as not memorised at all
TILE_ROWS = 1024  # generated rows compared at once
HELDOUT_PER_CELL = 100  # held-out images that a cell has on average, where the number of cells is not given [ours]
MOST_CELLS = 50  # [ours]
FEWEST_FAKE = 20  # generated images that a cell needs to count, with the usual tau


@dataclass(frozen=True)
class DataCopying:
    """The test's statistic, and the cells it is made of."""

    c_t: float  # far below 0: copies; far above 0: underfitting; a standard normal's scale within a cell
    cells: int  # of the partition
    z: tuple[float, ...]  # of each cell that counts
    weights: tuple[float, ...]  # held-out images of these cells over all of the counted cells'
    counted: float  # share of held-out images in cells that count
    n_train: int
    n_heldout: int
    n_fake: int


def data_copying(
    train: Array,
    heldout: Array,
    fake: Array,
    cells: int | None = None,
    tau: float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> DataCopying:
    """C_T, the three-sample test for data-copying. Near 0 is best: below, generated images are nearer to the training
    images than held-out ones are (C_T < -3 is strong evidence of copies); above, they are farther.

    train [L, d], heldout [N, d], fake [M, d]: features by one extractor of the training images, of real images that no
    one trained on, and of generated images. The training images are cut into `cells` by k-means. In each cell the
    distance of every held-out and generated image to the nearest training image of the cell is taken; the Mann-Whitney
    statistic U of the generated over the held-out distances (ties count half) becomes
    Z = (U - n m / 2) / sqrt(n m (n + m + 1) / 12), and C_T is the mean of Z weighted by the cells' held-out images.
    An extractor that learned from the held-out images shifts C_T where they are few: take an independent one.
    Cells with at most a share tau of the generated images, or without held-out ones, do not count.
    cells: None: a hundredth of the smaller of the two samples, 1 to 50 [ours]. tau: None: 20 / M, so that a normal
    approximation makes sense. seed: of k-means; C_T depends on it a little. progress: show bars.
    Source: Meehan, Chaudhuri & Dasgupta, AISTATS 2020 (arXiv 2004.05675), sec. 3. Their code adds 0.5 to U; the formula
    does not, nor do we. They reduce features to 64 dimensions by PCA first; here they are compared as they are.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, fewer training images than cells, or no cell that
    counts.
    """
    _, heldout = row_pair(train, heldout)
    train, fake = row_pair(train, fake)
    n_cells = cells or int(np.clip(min(len(heldout), len(fake)) // HELDOUT_PER_CELL, 1, MOST_CELLS))
    tau = FEWEST_FAKE / len(fake) if tau is None else tau
    of_train, of_heldout, of_fake = _partition(train, (heldout, fake), n_cells, seed)
    z, sizes = [], []
    for cell in range(n_cells):
        mine, held, made = train[of_train == cell], heldout[of_heldout == cell], fake[of_fake == cell]
        if len(held) and len(mine) and len(made) > tau * len(fake):
            z.append(_z(_distances(made, mine, progress), _distances(held, mine, progress)))
            sizes.append(len(held))
    if not sizes:
        raise MetricError(
            "data-copying test: no cell counts",
            f"none of {n_cells} cells has held-out images and more than {tau * len(fake):g} generated ones",
            "draw more images, or choose fewer cells",
        )
    weights = np.array(sizes) / sum(sizes)
    return DataCopying(
        c_t=float(weights @ np.array(z)),
        cells=n_cells,
        z=tuple(z),
        weights=tuple(weights.tolist()),
        counted=sum(sizes) / len(heldout),
        n_train=len(train),
        n_heldout=len(heldout),
        n_fake=len(fake),
    )


@dataclass(frozen=True)
class MemorizationFD:
    """A Frechet distance and the penalty that copies bring."""

    value: float  # fd over the penalty; lower is better
    fd: float
    distance: float  # mean cosine distance to the most similar training image, in [0, 1]; 0: copies
    penalised: bool  # whether the distance lies below the threshold


def memorization_informed_fd(real: Array, fake: Array, train: Array, threshold: float = THRESHOLD) -> MemorizationFD:
    """MiFID of features: FD(real, fake) / s, with s the memorization distance where it is below the threshold, else 1.

    real [N, d]: the reference of the Frechet distance. fake [M, d]: generated. train [L, d]: the training images, often
    the reference itself. All of one extractor. s is the mean over generated images of min(1 - |cos|) to a training
    image. In [0, inf), lower is better; copies of all training images have distance 0 and infinite value, unless the
    Frechet distance is 0 as well: then it is 0. The threshold makes it discontinuous, and was set for Inception's
    features. In others even new real images can lie below it; the value then rewards distance from the data, so the
    catalogue has the metric of Inception's features only.
    Source: Bai, Lin, Raffel & Kan, KDD 2021 (arXiv 2106.03062); the threshold 0.1 is that of their competition and of
    torchmetrics. Rows that are zero have no direction and are left out of s.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, fewer than two rows, or a set of zero rows.
    """
    fd = frechet_distance(real, fake)
    train, fake = row_pair(train, fake)
    distance = memorization_distance(fake, train)
    penalised = distance < threshold
    penalty = distance if penalised else 1.0
    value = fd / penalty if penalty > 0 else (math.inf if fd > 0 else 0.0)
    return MemorizationFD(value, fd, distance, penalised)


def memorization_distance(fake: Array, train: Array) -> float:
    """Mean over rows of `fake` [M, d] of the smallest 1 - |cos| to a row of `train` [L, d]. In [0, 1]; 0: copies.

    Source: Bai et al., KDD 2021. Raises MetricError as `memorization_informed_fd`.
    """
    fake, train = _directions("generated", fake), _directions("training", train)
    tiles = (fake[i : i + TILE_ROWS] @ train.T for i in range(0, len(fake), TILE_ROWS))
    nearest_cosine = np.concatenate([np.maximum(tile.max(axis=1), -tile.min(axis=1)) for tile in tiles])
    return float((1 - nearest_cosine.clip(max=1)).mean())


def _directions(name: str, rows: Array) -> Float64:
    """The rows that are not zero, at unit length."""
    values = float_rows(f"{name} features", rows, min_rows=1)
    lengths = np.linalg.norm(values, axis=1)
    if not (lengths > 0).any():
        raise MetricError(f"{name} features: all rows are zero", "a cosine needs a direction", "use another extractor")
    return values[lengths > 0] / lengths[lengths > 0, None]


def _partition(train: Float64, others: tuple[Float64, ...], n_cells: int, seed: int) -> tuple[Int64, ...]:
    """The cell of each row, [L] of the training images, then of each further set: k-means of the training images."""
    if n_cells > len(train):
        raise MetricError(
            f"data-copying test: {n_cells} cells of {len(train)} training images", "a cell holds one at least"
        )
    if n_cells == 1:
        return tuple(np.zeros(len(rows), np.int64) for rows in (train, *others))
    from sklearn.cluster import KMeans  # half a second that runs of `few` need not wait for

    with one_thread():
        means = KMeans(n_cells, n_init=1, random_state=seed).fit(train)
    return tuple(means.predict(rows).astype(np.int64) for rows in (train, *others))


def _distances(rows: Float64, train: Float64, progress: bool) -> Float64:
    """Of each row to the nearest training image, [n]."""
    return np.sqrt(nearest(rows, train, progress=progress)[1][:, 0])


def _z(fake: Float64, heldout: Float64) -> float:
    """The standardised Mann-Whitney statistic: how often a generated image's distance exceeds a held-out one's."""
    from scipy.stats import rankdata  # as k-means

    m, n = len(fake), len(heldout)
    ranks = rankdata(np.concatenate([fake, heldout]))
    u = ranks[:m].sum() - m * (m + 1) / 2
    return float((u - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12))
