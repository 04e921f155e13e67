"""What is known without a baseline: values that follow from a formula, or that another library computes.

Metrics are called through their modules, as the harness calls them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import torch

from benchmark.data import stream
from benchmark.drift.frozen import RING, Frozen, make
from benchmark.drift.frozen.measures import Tolerance, judge_extractor, nchw, pooled, ring_centres
from benchmark.metrics import (
    accuracy,
    chamfer,
    clipped,
    clusters,
    cmmd,
    copying,
    correlation,
    frechet,
    inception_score,
    kid,
    memorization,
    modes,
    neighbours,
    prdc,
    vendi,
)
from benchmark.metrics.extractors import inception

ROUNDING = Tolerance(1e-9, 1e-9, "the formula holds up to float64 rounding")
NEAR_ZERO = Tolerance(1e-6, 1e-6, "a difference of equal numbers leaves rounding only", absolute=True)
EXACT = Tolerance(0, 0, "the formula holds to the last bit", absolute=True)


@dataclass(frozen=True)
class Expectation:
    """A number, or an array of them, that is known without a baseline."""

    name: str
    source: str  # "closed form", or the library that computes the expected value
    now: Callable[[Frozen], Any]
    expected: Callable[[Frozen], Any]
    tolerance: Tolerance


def _one_hot(f: Frozen) -> np.ndarray:
    return 80.0 * np.eye(10)[np.arange(len(f.logits)) % 10]


def _rotated_stats(variances: np.ndarray, f: Frozen) -> frechet.FeatureStats:
    """Statistics with these variances along the axes of one rotation."""
    rotation = np.linalg.qr(f.real[: len(variances), : len(variances)])[0]
    return frechet.FeatureStats(np.zeros(len(variances)), rotation * variances @ rotation.T, 100)


_A, _B = np.linspace(0.1, 3, 12), np.linspace(2, 0.4, 12)


def _kernel_distance(f: Frozen) -> float:
    """The unbiased squared MMD from whole kernel matrices."""
    d = f.real.shape[1]
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((f.real, f.real), (f.fake, f.fake), (f.real, f.fake)))
    n = len(xx)
    return float((xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (n * (n - 1)) - 2 * xy.mean())


def _gaussian_distance(f: Frozen) -> float:
    """CMMD from whole kernel matrices, by the squared distances of unit rows."""
    real, fake = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (f.real, f.fake))
    xx, yy, xy = (
        np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / 200).mean()
        for a, b in ((real, real), (fake, fake), (real, fake))
    )
    return float(1000 * (xx + yy - 2 * xy))


def _clipped_of_equal_sets(f: Frozen) -> list[float]:
    found = clipped.clipped(f.real, f.real)
    return [found.density, found.coverage]


def _perfect_ring(_: Frozen) -> float:
    rng = np.random.default_rng(11)
    points = ring_centres()[np.arange(40_000) % RING[0]] + RING[2] * rng.standard_normal((40_000, 2))
    return modes.mode_statistics(points, ring_centres(), RING[2]).high_quality


def _four_shares(f: Frozen) -> list[float]:
    found = prdc.prdc(f.real, f.real, k=5)
    return [found.precision, found.recall, found.density, found.coverage]


def _renamed_clusters(f: Frozen) -> list[float]:
    renamed = (f.labels + 3) % 10
    return [clusters.nmi(renamed, f.labels), clusters.purity(renamed, f.labels)]


def _collinear(f: Frozen) -> float:
    columns = np.stack([f.real[:, 0], 1 - 2 * f.real[:, 0]], axis=1)
    return correlation.attribute_correlation(columns).mean_abs_off_diagonal


def _authenticity_of_copies(f: Frozen) -> float:
    return copying.copy_test(f.real[:200], f.real[200:], f.real[:100]).authenticity


def _round_trip(_: Frozen) -> np.ndarray:
    return stream.to_uint8(stream.to_float(torch.arange(256, dtype=torch.uint8))).numpy()


def _resized_constant(_: Frozen) -> list[float]:
    grey = torch.full((1, 3, 20, 31), 37, dtype=torch.uint8)
    return [float(resize(grey).mean()) for resize in (inception.tf1_resize, inception.clean_resize)]


def _batch_sizes(f: Frozen) -> float:
    """Largest relative change of a feature when images are looked at seven at a time."""
    judge = judge_extractor(f)
    whole, parts = pooled(judge, f.real_images[:32]), pooled(judge, f.real_images[:32], batch=7)
    return float(np.abs(whole - parts).max() / np.abs(whole).max())


def _fidelity_fd(f: Frozen) -> float:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    real, fake = (fid_features_to_statistics(torch.from_numpy(rows)) for rows in (f.real, f.fake))
    return fid_statistics_to_metric(fake, real, verbose=False)[KEY_METRIC_FID]


def _fidelity_score(f: Frozen) -> float:
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    return isc_features_to_metric(torch.from_numpy(f.logits), splits=10)[KEY_METRIC_ISC_MEAN]


def _fidelity_kernel(f: Frozen) -> float:
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    found = kid_features_to_metric(
        torch.from_numpy(f.fake), torch.from_numpy(f.real), kid_subsets=1, kid_subset_size=len(f.real), verbose=False
    )
    return found[KEY_METRIC_KID_MEAN]


def _fidelity_precision(f: Frozen) -> list[float]:
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    found = prc_features_to_metric(
        torch.from_numpy(f.fake), torch.from_numpy(f.real), prc_neighborhood=3, save_cpu_ram=False, verbose=False
    )
    return [float(found[KEY_METRIC_PRECISION]), float(found[KEY_METRIC_RECALL])]


def _precision(f: Frozen) -> list[float]:
    found = prdc.prdc(f.real, f.fake, k=3)
    return [found.precision, found.recall]


def _fidelity_resize(f: Frozen) -> np.ndarray:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    side = (inception.SIDE, inception.SIDE)
    images = nchw(f.real_images[4:6]).float()
    return interpolate_bilinear_2d_like_tensorflow1x(images, size=side, align_corners=False).numpy()


def _clean_fid(real: np.ndarray, fake: np.ndarray) -> float:
    from cleanfid.fid import frechet_distance

    (m1, s1), (m2, s2) = ((rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in (real, fake))
    return float(frechet_distance(m1, s1, m2, s2))


def _clean_fid_resize(f: Frozen) -> np.ndarray:
    from cleanfid.resize import build_resizer

    resize = build_resizer("clean")
    return np.stack([resize(image).transpose(2, 0, 1) for image in f.real_images[4:6]])


_SHIFT = np.linspace(-1, 1, make.N_FEATURES)
_TF, _CF, _FORM = "torch-fidelity", "clean-fid", "closed form"

EXPECTATIONS = (
    Expectation(
        "frechet.equal_sets", _FORM, lambda f: frechet.frechet_distance(f.real, f.real), lambda f: 0.0, NEAR_ZERO
    ),
    Expectation(
        "frechet.shift",
        _FORM,
        lambda f: frechet.frechet_distance(f.real, f.real + _SHIFT),
        lambda f: _SHIFT @ _SHIFT,
        ROUNDING,
    ),
    Expectation(
        "frechet.commuting_covariances",
        _FORM,
        lambda f: frechet.frechet_from_stats(_rotated_stats(_A, f), _rotated_stats(_B, f)),
        lambda f: ((np.sqrt(_A) - np.sqrt(_B)) ** 2).sum(),
        ROUNDING,
    ),
    Expectation(
        "inception_score.one_hot",
        _FORM,
        lambda f: inception_score.inception_score(_one_hot(f), splits=1).mean,
        lambda f: 10.0,
        ROUNDING,
    ),
    Expectation(
        "inception_score.constant",
        _FORM,
        lambda f: inception_score.inception_score(np.ones((40, 10))).mean,
        lambda f: 1.0,
        ROUNDING,
    ),
    Expectation("kid.whole_kernel", _FORM, lambda f: kid.kid(f.real, f.fake), _kernel_distance, ROUNDING),
    Expectation(
        "kid.equal_sets_not_above_0", _FORM, lambda f: max(0.0, kid.kid(f.real, f.real[::-1])), lambda f: 0.0, EXACT
    ),
    Expectation("prdc.equal_sets", _FORM, _four_shares, lambda f: [1.0, 1.0, 6 / 5, 1.0], ROUNDING),
    Expectation(
        "chamfer.equal_sets", _FORM, lambda f: chamfer.chamfer(f.real, f.real).two_way, lambda f: 0.0, NEAR_ZERO
    ),
    Expectation(
        "chamfer.opposite_axes",
        _FORM,
        lambda f: chamfer.chamfer(np.eye(4), -np.eye(4)).two_way,
        lambda f: 4.0,
        ROUNDING,
    ),
    Expectation(
        "cmmd.whole_kernel",
        _FORM,
        lambda f: cmmd.cmmd(f.real, f.fake),
        _gaussian_distance,
        Tolerance(1e-8, 1e-8, "sums of values near 1 there lose digits"),
    ),
    Expectation("vendi.orthogonal", _FORM, lambda f: vendi.vendi_score(np.eye(8)), lambda f: 8.0, ROUNDING),
    Expectation("vendi.one_image", _FORM, lambda f: vendi.vendi_score(np.ones((9, 4))), lambda f: 1.0, ROUNDING),
    Expectation("clipped.equal_sets", _FORM, _clipped_of_equal_sets, lambda f: [1.0, 1.0], EXACT),
    Expectation(
        "memorization.copies",
        _FORM,
        lambda f: memorization.memorization_distance(-2 * f.real[::7], f.real),
        lambda f: 0.0,
        NEAR_ZERO,
    ),
    Expectation(
        "memorization.held_out_itself",
        _FORM,
        lambda f: memorization.data_copying(f.real[:200], f.real[200:], f.real[200:], cells=1).c_t,
        lambda f: 0.0,
        EXACT,
    ),
    Expectation(
        "modes.perfect_ring",
        _FORM,
        _perfect_ring,
        lambda f: scipy.special.erf(3 / math.sqrt(2)) ** 2,
        Tolerance(1.5e-3, 1.5e-3, "four standard errors of 40,000 points", absolute=True),
    ),
    Expectation(
        "modes.one_class",
        _FORM,
        lambda f: modes.class_modes(np.zeros(50, np.int64), 10).reverse_kl,
        lambda f: math.log(10),
        ROUNDING,
    ),
    Expectation("clusters.renamed", _FORM, _renamed_clusters, lambda f: [1.0, 1.0], ROUNDING),
    Expectation(
        "accuracy.always_right",
        _FORM,
        lambda f: accuracy.class_accuracy(np.eye(10)[f.labels], f.labels).macro,
        lambda f: 1.0,
        ROUNDING,
    ),
    Expectation("correlation.collinear", _FORM, _collinear, lambda f: 1.0, ROUNDING),
    Expectation("copying.copies", _FORM, _authenticity_of_copies, lambda f: 0.0, EXACT),
    Expectation(
        "neighbours.chance", _FORM, lambda f: neighbours.chance_agreement(np.arange(400) % 8), lambda f: 1 / 8, ROUNDING
    ),
    Expectation("quantisation.round_trip", _FORM, _round_trip, lambda f: np.arange(256), EXACT),
    Expectation(
        "quantisation.nearest_level",
        _FORM,
        lambda f: stream.to_uint8((torch.arange(255) + 0.75) / 127.5 - 1).numpy(),
        lambda f: np.arange(1, 256),
        EXACT,
    ),
    Expectation(
        "resize.constant",
        _FORM,
        _resized_constant,
        lambda f: [37.0, 37.0],
        Tolerance(1e-6, 1e-6, "float32 weights that add up to 1"),
    ),
    Expectation(
        "extraction.batch_size",
        _FORM,
        _batch_sizes,
        lambda f: 0.0,
        Tolerance(2e-5, 2e-5, "float32 convolutions of other batch sizes add in another order", absolute=True),
    ),
    Expectation(
        "frechet.torch_fidelity",
        _TF,
        lambda f: frechet.frechet_distance(f.real, f.fake),
        _fidelity_fd,
        Tolerance(1e-9, 1e-9, "eigenvalues of a product there, of a symmetric matrix here"),
    ),
    Expectation(
        "inception_score.torch_fidelity",
        _TF,
        lambda f: inception_score.inception_score(f.logits).mean,
        _fidelity_score,
        ROUNDING,
    ),
    Expectation("kid.torch_fidelity", _TF, lambda f: kid.kid(f.real, f.fake), _fidelity_kernel, ROUNDING),
    Expectation(
        "prdc.torch_fidelity",
        _TF,
        _precision,
        _fidelity_precision,
        Tolerance(1e-6, 1e-6, "a share is a float32 there; one image more or less is 1/400"),
    ),
    Expectation(
        "resize.torch_fidelity",
        _TF,
        lambda f: inception.tf1_resize(nchw(f.real_images[4:6])).numpy(),
        _fidelity_resize,
        EXACT,
    ),
    Expectation(
        "frechet.clean_fid",
        _CF,
        lambda f: frechet.frechet_distance(f.real, f.fake),
        lambda f: _clean_fid(f.real, f.fake),
        ROUNDING,
    ),
    Expectation(
        "frechet.clean_fid_few_images",
        _CF,
        lambda f: frechet.frechet_distance(f.real[:40], f.fake[:48]),
        lambda f: _clean_fid(f.real[:40], f.fake[:48]),
        Tolerance(1e-5, 1e-5, "the root of a singular matrix there loses half of the digits"),
    ),
    Expectation(
        "resize.clean_fid",
        _CF,
        lambda f: inception.clean_resize(nchw(f.real_images[4:6])).numpy(),
        _clean_fid_resize,
        Tolerance(1e-3, 1e-3, "grey levels; float32 rounding", absolute=True),
    ),
)
