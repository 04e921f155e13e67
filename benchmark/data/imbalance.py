"""Classes of unequal sizes, made of a dataset whose classes are equal: training images are left out, class by class.

Source: the exponential profile of Cui et al., "Class-balanced loss based on effective number of samples" (CVPR 2019),
sec. 5.1: class k of K keeps a share mu^k of its images, and the imbalance factor is the first class's number over the
last one's. Held-out images stay as they are.
"""

from __future__ import annotations

import numpy as np


def long_tail(labels: np.ndarray, n_classes: int, factor: float) -> np.ndarray:
    """Rows [M] int64, ascending, that stay of images with these classes [N] so that class sizes fall exponentially.

    Class k keeps round(n_k / factor^(k / (n_classes - 1))) of its n_k images, and never fewer than one. Which ones is
    drawn with seed 0, and those kept at a larger factor are among those kept at a smaller one.
    factor: at least 1, which keeps every image; n_classes: at least 2.
    """
    assert factor >= 1
    assert n_classes >= 2
    rng, kept = np.random.Generator(np.random.PCG64(0)), []
    for k in range(n_classes):
        rows = rng.permutation(np.flatnonzero(labels == k))
        share = factor ** (-k / (n_classes - 1))
        kept.append(rows[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(kept))
