"""What the metric test measures: every pure metric, the quantisation, the resizes and two feature passes.

`MEASURES` are compared with a stored baseline; what is known without one is in `expectations`. Metrics are called
through their modules, as the harness calls them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image

from benchmark.data import drawn_shapes as shapes
from benchmark.data import images as pictures
from benchmark.data import stream
from benchmark.data.prepared import Split
from benchmark.drift.frozen import RING, Frozen, make, set_metrics
from benchmark.drift.frozen.nets import TinyGenerator, TinyJudge, with_weights
from benchmark.metrics import (
    accuracy,
    boundary,
    chamfer,
    clusters,
    copying,
    correlation,
    corruptions,
    frechet,
    inception_score,
    kid,
    modes,
    neighbours,
    ppl,
    prdc,
    resampling,
    steerability,
)
from benchmark.metrics.extractors import base, build, inception, trained
from benchmark.nn import precision

N_PROBES = 8


@dataclass(frozen=True)
class Fingerprint:
    """An array too large to store: the hash of its bits, and numbers that move little when its bits move little.

    probe: its root mean square, then its products with fixed waves divided by the root of its size.
    """

    sha256: str
    probe: tuple[float, ...]


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from what is expected: relative to it, or absolute.

    same: under the baseline's libraries and processor; other: under others. 0 means the same bits.
    """

    same: float
    other: float
    why: str
    absolute: bool = False


Measured: TypeAlias = "float | Fingerprint"

SUMS = Tolerance(1e-9, 1e-9, "float64; a library may add in another order")
COUNTS = Tolerance(1e-12, 1e-12, "a share of counted items: one item more or less shows at once")
PIXELS = Tolerance(0, 1e-5, "the same bits under the same libraries, else float32 rounding")
FLIPS = Tolerance(0, 1e-4, "the same bits under the same libraries, else a few pixels round the other way")
DRAWN = Tolerance(0, 0, "bytes or random numbers that runs are made of: one bit more is another data set")
FEATURES = Tolerance(0, 1e-4, "the same bits on the same machine, else float32 convolutions in another order")
OF_FEATURES = Tolerance(1e-6, 1e-3, "float64 of float32 features, which other machines give to 1e-4")
CELLS = Tolerance(1e-9, 1e-2, "another k-means may put a few images into another cell")


@dataclass(frozen=True)
class Measure:
    """Numbers with a baseline: `name.key` for each key that `take` returns."""

    name: str
    take: Callable[[Frozen], Mapping[str, Measured]]
    tolerance: Tolerance
    optional: bool = False  # needs a package that not every installation has


def fingerprint(array: Any) -> Fingerprint:
    """Hash and probe of an array or tensor. Which bits: the array's own, in row-major order."""
    values = np.ascontiguousarray(array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array)
    flat = values.astype(np.float64).ravel()
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode() + values.tobytes()).hexdigest()
    i = np.arange(len(flat))
    waves = (flat @ np.cos(math.sqrt(2 + j) * i) / math.sqrt(len(flat)) for j in range(N_PROBES))
    return Fingerprint(digest, (float(np.sqrt((flat**2).mean())), *map(float, waves)))


# ---- metrics on frozen features -------------------------------------------------------------------------------------


def _frechet(f: Frozen) -> Mapping[str, Measured]:
    return {
        "distance": frechet.frechet_distance(f.real, f.fake),
        "few_images": frechet.frechet_distance(f.real[:40], f.fake[:48]),
        "intra_class": frechet.intra_class_fd(f.real, f.labels, f.fake, f.labels).mean,
        "trace": float(np.trace(frechet.feature_stats(f.real).cov)),
    }


def _kid(f: Frozen) -> Mapping[str, Measured]:
    subsets = kid.kid_subsets(f.real, f.fake, n_subsets=10, subset_size=100)
    return {"distance": kid.kid(f.real, f.fake), "subsets_mean": subsets.mean, "subsets_sd": subsets.sd}


def _prdc(f: Frozen) -> Mapping[str, Measured]:
    found = {k: prdc.prdc(f.real, f.fake, k=k) for k in (3, 5)}
    parts = ("precision", "recall", "density", "coverage")
    return {f"{part}_{k}": float(getattr(values, part)) for k, values in found.items() for part in parts}


def _chamfer(f: Frozen) -> Mapping[str, Measured]:
    found = chamfer.chamfer(f.real, f.fake)
    return {"two_way": found.two_way, "real_to_fake": found.real_to_fake, "fake_to_real": found.fake_to_real}


def _inception_score(f: Frozen) -> Mapping[str, Measured]:
    ten, one = inception_score.inception_score(f.logits), inception_score.inception_score(f.logits, splits=1)
    return {"ten_splits": ten.mean, "ten_splits_sd": ten.std, "one_split": one.mean}


def ring_centres() -> np.ndarray:
    """The modes of the ring that the points were drawn from, [8, 2]."""
    n, radius, _ = RING
    angle = 2 * np.pi * np.arange(n) / n
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _modes(f: Frozen) -> Mapping[str, Measured]:
    ring = modes.mode_statistics(f.points, ring_centres(), RING[2])
    classes = modes.class_modes(f.clusters[f.clusters < 9], 10)
    return {
        "ring_modes": float(ring.n_modes),
        "ring_high_quality": ring.high_quality,
        "ring_reverse_kl": ring.reverse_kl,
        "class_modes": float(classes.n_modes),
        "class_reverse_kl": classes.reverse_kl,
        "class_reverse_kl_log10": classes.reverse_kl_log10,
    }


def _accuracy(f: Frozen) -> Mapping[str, Measured]:
    found = accuracy.class_accuracy(f.logits, f.labels)
    report = accuracy.attribute_accuracy(f.logits[:, : f.attributes.shape[1]], f.attributes)
    assert report.macro is not None
    return {
        "classes": found.macro,
        "classes_low": found.ci_low,
        "attributes": report.macro.value,
        "attributes_high": report.macro.ci_high,
        "recall_at": accuracy.recall_at(f.logits, forced=2).value,
    }


def _copying(f: Frozen) -> Mapping[str, Measured]:
    found = copying.copy_test(f.real[:200], f.real[200:], f.fake)
    near, far = f.real[np.argsort(f.labels, kind="stable")].reshape(40, 10, -1), f.real[:200].reshape(40, 5, -1)
    return {
        "authenticity": found.authenticity,
        "authenticity_low": found.low,
        "authenticity_heldout": found.authenticity_heldout,
        "ratio": found.ratio,
        "preference": copying.instance_preference(f.fake[np.argsort(f.labels, kind="stable")][::10], near, far).value,
    }


def _clusters(f: Frozen) -> Mapping[str, Measured]:
    return {
        "nmi": clusters.nmi(f.clusters, f.labels),
        "purity": clusters.purity(f.clusters, f.labels),
        "purity_chance": clusters.purity_chance(f.labels),
    }


def _correlation(f: Frozen) -> Mapping[str, Measured]:
    found = correlation.attribute_correlation(f.logits)
    return {
        "mean_abs": found.mean_abs_off_diagonal,
        "lowest": float(found.low.min()),
        "highest": float(found.high[0, 1]),
    }


def _boundary(f: Frozen) -> Mapping[str, Measured]:
    found = boundary.boundary_accuracy(f.real[:, :16], f.real[:, 0] + f.real[:, 20], share=0.1)
    assert found.remaining_midpoint is not None
    return {
        "held_out": found.held_out.accuracy,
        "remaining_midpoint": found.remaining_midpoint.balanced,
        "midpoint": found.midpoint,
    }


_DISTANCES: tuple[Literal["l1", "l2", "cosine"], ...] = ("l1", "l2", "cosine")


def _neighbours(f: Frozen) -> Mapping[str, Measured]:
    agreement = {
        f"{metric}_{k}": share
        for metric in _DISTANCES
        for k, share in neighbours.neighbour_agreement(f.real, f.labels, metric=metric).items()
    }
    return {**agreement, "chance": neighbours.chance_agreement(f.labels)}


def _resampling(f: Frozen) -> Mapping[str, Measured]:
    limit = resampling.fd_at_infinity(f.real, f.fake, sizes=(100, 150, 200, 300, 400))
    return {
        "half_sampling_sd": resampling.half_sampling_sd(frechet.frechet_distance, f.real, f.fake, draws=8),
        "fd_at_infinity": limit.value,
        "fd_at_infinity_slope": limit.slope,
    }


# ---- pixels ---------------------------------------------------------------------------------------------------------


def nchw(images: np.ndarray) -> torch.Tensor:
    """Stored images [N, S, S, C] as a tensor [N, C, S, S] of the same type."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _quantisation(_: Frozen) -> Mapping[str, Measured]:
    return {"to_uint8": fingerprint(stream.to_uint8(torch.from_numpy(np.linspace(-1.1, 1.1, 8_191, dtype=np.float32)))),
            "to_float": fingerprint(stream.to_float(torch.arange(256, dtype=torch.uint8)))}  # fmt: skip


def _resizes(f: Frozen) -> Mapping[str, Measured]:
    images = nchw(f.real_images[:4, :, 2:30])  # not square
    return {
        "tf1": fingerprint(inception.tf1_resize(images)),
        "clean": fingerprint(inception.clean_resize(images)),
    }


def _prepared(f: Frozen) -> Mapping[str, Measured]:
    """The way of an image into a data set: decode, crop, pad, resize."""
    found: dict[str, Measured] = {}
    for filter in pictures.FILTERS:
        for channels in (1, 3):
            card: Any = SimpleNamespace(channels=channels, crop="center", pad=1, resolution=20, filter=filter)
            made = [pictures.to_array(Image.fromarray(image[:, 2:]), card)[0] for image in f.fake_images[:8]]
            found[f"{filter}_{channels}"] = fingerprint(np.stack(made))
    return found


def _shapes(_: Frozen) -> Mapping[str, Measured]:
    """The embedded data set, drawn anew."""
    return {"drawn": fingerprint(np.stack([np.asarray(shapes.draw(make.REAL_SEED, i)) for i in range(24)]))}


def _corruptions(f: Frozen) -> Mapping[str, Measured]:
    labels = np.arange(16) % 4
    return {
        name.replace(" ", "_"): fingerprint(corruptions.CORRUPTIONS[name](f.real_images[:16], labels, 0))
        for name in ("noise 15", "blur 1 px", "half of the classes", "10 distinct")
    }


def _random(f: Frozen) -> Mapping[str, Measured]:
    """Random numbers that runs consist of: order and mirroring of a training stream."""
    split = Split("train", f.real_images)
    batches = stream.Stream(split, batch=96, device="cpu", seed=5, flip=True)
    drawn = [next(batches) for _ in range(2)]
    return {
        "rows": fingerprint(torch.cat([batch.index for batch in drawn])),
        "batch": fingerprint(torch.cat([batch.images for batch in drawn])),
    }


def _latents(_: Frozen) -> Mapping[str, Measured]:
    return {"normal": fingerprint(torch.randn(64, 8, generator=torch.Generator().manual_seed(5)))}


# ---- networks -------------------------------------------------------------------------------------------------------


def _generator(f: Frozen) -> Any:
    return with_weights(TinyGenerator(), "generator", f.networks)


def _samples(f: Frozen) -> Mapping[str, Measured]:
    with torch.no_grad(), precision.exact_float32():
        images = _generator(f)(torch.from_numpy(f.networks["latents"]))
    return {"float": fingerprint(images), "uint8": fingerprint(stream.to_uint8(images))}


def judge_extractor(f: Frozen) -> base.Extractor:
    """The tiny classifier with its frozen weights."""
    return trained.JudgeExtractor(with_weights(TinyJudge(), "judge", f.networks), key="frozen", side=32)


def pooled(extractor: base.Extractor, images: np.ndarray, batch: int = 64) -> np.ndarray:
    """The extractor's features of stored images, [N, D]."""
    return base.extract(extractor, images, batch=batch).pooled.numpy()


def _extraction(f: Frozen) -> Mapping[str, Measured]:
    judge = judge_extractor(f)
    found = base.extract(judge, f.real_images, batch=64)
    assert found.logits is not None
    fake = pooled(judge, f.fake_images)
    return {"pooled": fingerprint(found.pooled), "logits": fingerprint(found.logits), "fake": fingerprint(fake)}


def _scores_of_images(f: Frozen) -> Mapping[str, Measured]:
    judge = judge_extractor(f)
    real, fake = pooled(judge, f.real_images), pooled(judge, f.fake_images)
    return {"fd": frechet.frechet_distance(real, fake), "kd": kid.kid(real, fake)}


LITE0_IMAGES = 24


def _lite0(f: Frozen) -> Mapping[str, Measured]:
    return {"pooled": fingerprint(pooled(build.build("lite0"), f.real_images[:LITE0_IMAGES]))}


def _paths(f: Frozen) -> Mapping[str, Measured]:
    generator = _generator(f).double()
    length = ppl.path_length(
        generator,
        lambda n: torch.randn(n, 8, dtype=torch.float64),
        lambda a, b: (a - b).square().mean((1, 2, 3)),
        n_pairs=64,
        eps=1e-2,
    )
    return {"mean": length.mean, "sd": length.sd}


def _steering(f: Frozen) -> Mapping[str, Measured]:
    images = stream.to_float(nchw(f.real_images[:32]))
    found = steerability.steer(_generator(f), np.arange(1.0, 9.0), steerability.luminance, n=16)
    return {
        **{name: float(np.nanmean(measure(images))) for name, measure in steerability.MEASURES.items()},
        "spearman_within": found.spearman_within,
    }


MEASURES = (
    Measure("frechet", _frechet, SUMS),
    Measure("kid", _kid, SUMS),
    Measure("prdc", _prdc, COUNTS),
    Measure("chamfer", _chamfer, SUMS),
    Measure("inception_score", _inception_score, SUMS),
    Measure("modes", _modes, SUMS),
    Measure("accuracy", _accuracy, SUMS),
    Measure("copying", _copying, SUMS),
    Measure("clusters", _clusters, SUMS),
    Measure("correlation", _correlation, SUMS),
    Measure("boundary", _boundary, SUMS),
    Measure("neighbours", _neighbours, COUNTS),
    Measure("resampling", _resampling, SUMS),
    Measure("cmmd", set_metrics.cmmd_numbers, SUMS),
    Measure("vendi", set_metrics.vendi_numbers, SUMS),
    Measure("clipped", set_metrics.clipped_numbers, SUMS),
    Measure("memorization", set_metrics.memorization_numbers, SUMS),
    Measure("data_copying", set_metrics.data_copying_numbers, CELLS),
    Measure("quantisation", _quantisation, DRAWN),
    Measure("resize", _resizes, PIXELS),
    Measure("prepared", _prepared, PIXELS),
    Measure("shapes", _shapes, DRAWN),
    Measure("corruptions", _corruptions, FLIPS),
    Measure("random", _random, DRAWN),
    Measure("latents", _latents, FEATURES),
    Measure("samples", _samples, FEATURES),
    Measure("extraction", _extraction, FEATURES),
    Measure("images", _scores_of_images, OF_FEATURES),
    Measure("lite0", _lite0, FEATURES, optional=True),
    Measure("path_length", _paths, OF_FEATURES),
    Measure("steering", _steering, OF_FEATURES),
)
