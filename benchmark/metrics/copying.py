"""Does a generator copy? Distances of generated images to the training images, and to an instance's neighbours.

Both measures read features of one frozen extractor that no method trained with. Distances are Euclidean in these
features as they are; who wants directions normalises the rows first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from benchmark.core.stats import CONFIDENCE
from benchmark.metrics.accuracy import wilson
from benchmark.metrics.checks import Array, Float64, Int64, MetricError, as_numpy, float_rows, row_pair
from benchmark.metrics.nearest import nearest


@dataclass(frozen=True)
class Preference:
    """How often a generated image is nearer to its instance's neighbourhood than to a random real image."""

    value: float  # in [0, 1]; 0.5 is chance: the instance does not steer
    low: float  # of the 95 % interval over images
    high: float
    n: int  # generated images


def instance_preference(fake: Array, neighbours: Array, random: Array, chunk: int = 256) -> Preference:
    """P(d(fake, neighbour of its instance) < d(fake, random real image)). In [0, 1], higher: the instance steers more.

    fake: features of generated images [N, d]. neighbours: of the k nearest neighbours of each one's instance [N, k, d].
    random: of m random real images for each [N, m, d]. Every neighbour is compared with every random image; a tie
    counts half. The interval takes the generated image, not the comparison, as the unit, by the normal approximation;
    instances that repeat make it a little too narrow. chunk: images compared at once; it changes no result.
    Source: ours; the pairs are those IC-GAN (sec. 3) is trained to fit. As the area under a ROC curve: Mann and
    Whitney, 1947. Raises MetricError for a wrong dtype, shape or dimension, NaN, or fewer than two images.
    """
    fake = float_rows("fake features", fake)
    neighbours, random = _groups("neighbours", neighbours, fake), _groups("random images", random, fake)
    shares = np.concatenate(
        [
            _shares(fake[i : i + chunk], neighbours[i : i + chunk], random[i : i + chunk])
            for i in range(0, len(fake), chunk)
        ]
    )  # [N]
    value, half = float(shares.mean()), _half_width(shares)
    return Preference(value, max(0.0, value - half), min(1.0, value + half), len(fake))


def _shares(fake: Float64, neighbours: Float64, random: Float64) -> Float64:
    """Each image's share of won comparisons [n]."""
    near = np.linalg.norm(neighbours - fake[:, None], axis=2)[:, :, None]  # [n, k, 1]
    far = np.linalg.norm(random - fake[:, None], axis=2)[:, None, :]  # [n, 1, m]
    return ((near < far) + 0.5 * (near == far)).mean(axis=(1, 2))


def _half_width(values: Float64) -> float:
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    return z * float(values.std(ddof=1)) / math.sqrt(len(values))


def _groups(name: str, values: Array, fake: Float64) -> Float64:
    """A group of feature rows for each generated image, checked: float64 [N, g, d]."""
    groups = as_numpy(name, values)
    if groups.ndim != 3 or len(groups) != len(fake) or groups.shape[1] == 0 or groups.shape[2] != fake.shape[1]:
        raise MetricError(
            f"{name}: shape {list(groups.shape)}",
            f"[{len(fake)}, any, {fake.shape[1]}] is needed: a group of feature rows for each generated image",
        )
    return float_rows(name, groups.reshape(-1, groups.shape[2])).reshape(groups.shape)


@dataclass(frozen=True)
class CopyTest:
    """Whether generated images lie nearer to the training images than images can by chance."""

    authenticity: float  # share of generated images that are no copies, in [0, 1]; 0: all are
    low: float  # of its 95 % interval
    high: float
    authenticity_heldout: float  # the same for held-out real images: what a generator without memory would reach
    ratio: float  # median distance to the nearest training image, generated over held-out; 1: no nearer; 0: copies
    n_train: int
    n_heldout: int
    n_fake: int


@dataclass(frozen=True)
class RealDistances:
    """How near real images lie to each other in an extractor's features: the same for every generator."""

    to_other: Float64  # [M] of each training image, to the nearest of the others, itself left out
    heldout_row: Int64  # [T] the training image that is nearest to each held-out one
    heldout: Float64  # [T] the distance to it


def real_distances(train: Array, heldout: Array, progress: bool = False) -> RealDistances:
    """What `copy_test` needs of the real images alone: train [M, d], heldout [T, d]. Exact. Raises as `copy_test`."""
    train, heldout = row_pair(train, heldout)
    to_other = np.sqrt(nearest(train, train, exclude_self=True, progress=progress)[1][:, 0])
    return RealDistances(to_other, *_nearest(heldout, train, progress))


def copy_test(
    train: Array, heldout: Array, fake: Array, progress: bool = False, real: RealDistances | None = None
) -> CopyTest:
    """Authenticity and the distance ratio of generated images, compared with held-out real images. Exact.

    train [M, d], heldout [T, d], fake [N, d]: features of the training images, of real images no one trained on, and
    of generated images, by one extractor. A generated image is authentic if it is farther from its nearest training
    image than that image is from its own nearest other training image; a duplicate in the training data makes its
    copies authentic only if they are no exact ones. Both measures are blind to images that are merely bad: noise is
    authentic. Compare `authenticity` with `authenticity_heldout`, which is what honest images of this data reach.
    progress: show bars. real: `real_distances` of train and heldout, where they are known from an earlier call.
    Source: Alaa, van Breugel, Saveliev, van der Schaar, ICML 2022 (authenticity); Wilson's interval. The
    ratio of medians is ours, after the three-sample test of Meehan, Chaudhuri, Dasgupta, AISTATS 2020.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, fewer than two rows, or held-out images of which
    more than half are in the training set.
    """
    _, heldout = row_pair(train, heldout)
    train, fake = row_pair(train, fake)
    real = real or real_distances(train, heldout, progress)
    fake_row, fake_distance = _nearest(fake, train, progress)
    usual = float(np.median(real.heldout))
    if usual == 0:
        raise MetricError(
            "copy test: the median held-out image lies on a training image",
            "more than half of the held-out images are copies of training images, or the extractor cannot tell them "
            "apart",
            "look for duplicates between the two splits, or use another extractor",
        )
    authentic = int((fake_distance > real.to_other[fake_row]).sum())
    low, high = wilson(authentic, len(fake))
    return CopyTest(
        authenticity=authentic / len(fake),
        low=low,
        high=high,
        authenticity_heldout=float((real.heldout > real.to_other[real.heldout_row]).mean()),
        ratio=float(np.median(fake_distance)) / usual,
        n_train=len(train),
        n_heldout=len(heldout),
        n_fake=len(fake),
    )


def _nearest(queries: Float64, train: Float64, progress: bool = False) -> tuple[Int64, Float64]:
    """Row of the nearest training image and the distance to it: [N] each."""
    rows, squared = nearest(queries, train, progress=progress)
    return rows[:, 0], np.sqrt(squared[:, 0])
