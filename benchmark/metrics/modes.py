"""Which modes a generator reaches, and how evenly: for points of a known mixture, and for classified images.

Both follow Self-Conditioned GAN (Liu et al. 2020), which follows PacGAN (Lin et al. 2018). Its figures for points are
in natural logarithms, those for images in decimal ones; here every value says which.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmark.metrics.checks import Array, Float64, Int64, MetricError, as_numpy, float_rows, int_labels

BOX_STDS = 3.0  # a point within so many standard deviations of a centre along both axes is of high quality  [C]


class ModeStatistics(NamedTuple):
    """Of points against the mixture they should follow."""

    n_modes: int  # centres with at least one sample of high quality; higher is better
    high_quality: float  # share of the samples in [0, 1]; 0.9946 for samples of the mixture itself, not 1
    reverse_kl: float  # KL(samples' modes || uniform), nats, 0 .. log M; lower is better


class ClassModes(NamedTuple):
    """Of the classes that a classifier sees in generated images."""

    n_modes: int  # classes with at least one image; higher is better
    reverse_kl: float  # KL(classes || uniform), nats, 0 .. log n_classes; lower is better
    reverse_kl_log10: float  # the same in decimal logarithms, as the published tables have it


def mode_statistics(points: Array, centres: Array, std: float) -> ModeStatistics:
    """Modes reached, share of high quality and reverse KL of generated points.

    points: floats [N, 2]; centres: floats [M, 2] of the equal Gaussians; std > 0 of each along each axis.
    A sample is of high quality when |dx| < 3 std and |dy| < 3 std for some centre (a box, not a disc): 0.9973^2 of a
    perfect sampler's are. For the reverse KL every sample, good or bad, counts for its nearest centre.
    Raises MetricError for other shapes, NaN, std <= 0, or fewer samples than centres.
    """
    centres = float_rows("centres", centres, min_rows=1)
    points = float_rows("points", points, min_rows=len(centres))
    for name, rows in (("points", points), ("centres", centres)):
        if rows.shape[1] != 2:
            raise MetricError(f"{name}: shape {list(rows.shape)}", "[N, 2] is needed: two coordinates a row")
    if not std > 0:
        raise MetricError(f"std: {std}", "the standard deviation of a Gaussian is positive")
    offsets = np.abs(points[:, None] - centres)  # [N, M, 2]
    in_box = offsets.max(axis=2) < BOX_STDS * std  # [N, M]
    nearest = (offsets**2).sum(axis=2).argmin(axis=1)  # [N]
    return ModeStatistics(
        n_modes=int(in_box.any(axis=0).sum()),
        high_quality=float(in_box.any(axis=1).mean()),
        reverse_kl=_kl_from_uniform(nearest, len(centres)),
    )


def class_modes(predicted: Array, n_classes: int) -> ClassModes:
    """Classes reached and reverse KL of generated images.

    predicted: integers [N] in [0, n_classes), the classifier's choice for each image.
    Raises MetricError for other shapes, classes out of range, or fewer than 2 images.
    """
    values = as_numpy("predicted classes", predicted)
    if n_classes < 1 or values.size < 2:
        raise MetricError(
            f"modes: {values.size} images and {n_classes} classes", "at least 2 images and a class are needed"
        )
    classes = int_labels("predicted classes", values, len(values), n_classes)
    kl = _kl_from_uniform(classes, n_classes)
    return ClassModes(len(np.unique(classes)), kl, kl / float(np.log(10)))


def expected_reverse_kl(n_modes: int, n_samples: int) -> float:
    """Reverse KL in nats that a perfect sampler shows by chance: (M - 1) / (2 n), good when n is many times M."""
    return (n_modes - 1) / (2 * n_samples)


def _kl_from_uniform(modes: Int64, n_modes: int) -> float:
    """KL(q || uniform) = sum_m q_m log(q_m M) in nats of the empirical distribution of `modes` [N]; 0 log 0 = 0."""
    q: Float64 = np.bincount(modes, minlength=n_modes) / len(modes)
    q = q[q > 0]
    return max(0.0, float((q * np.log(q * n_modes)).sum()))  # rounding must not make it negative
