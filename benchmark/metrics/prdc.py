"""Precision, recall, density and coverage of generated images: fidelity and diversity apart, by k-nearest balls.

Around every image of a set lies a ball that reaches to its k-th nearest other image of the same set. Together the balls
cover the part of feature space where such images lie.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.metrics.checks import Array, Float64, MetricError, row_pair
from benchmark.metrics.nearest import count_inside, nearest
from benchmark.metrics.sets import FeatureSets, SetNumber, some_rows


@dataclass(frozen=True)
class PRDC:
    """The four shares of one pair of sets."""

    precision: float  # in [0, 1]; generated images inside a ball of a real one
    recall: float  # in [0, 1]; real images inside a ball of a generated one
    density: float  # in [0, inf), 1 for equal distributions; balls of real images around a generated one, over k
    coverage: float  # in [0, 1]; real images with a generated one in their ball
    k: int


def prdc(real: Array, fake: Array, k: int = 5, progress: bool = False) -> PRDC:
    """Improved precision and recall, density and coverage of features [N, d] and [M, d]. All four: higher is better.

    real, fake: floats of one extractor, compared as they are by the Euclidean distance; more than k rows each.
    An image is no neighbour of itself, its duplicates are. All four depend on N, M and k: compare only equal ones.
    k: 3 in Kynkaanniemi et al., 5 in Naeem et al. progress: show bars.
    Source: Kynkaanniemi et al., NeurIPS 2019, eq. 1 and 2 (precision, recall); Naeem et al., ICML 2020, sec. 3
    (density, coverage). Exact: distances on which a comparison hangs are summed in float64. A ball is closed in all
    four, as in eq. 1 of the former; the code of the latter leaves its surface out. That matters only where a generated
    image lies at the very distance of a real one's k-th neighbour: for exact copies. Equal sets have 1, 1, a density of
    (k + 1) / k or more, and 1.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, k < 1, or fewer than k + 1 rows in either set.
    """
    real, fake = row_pair(real, fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise MetricError(
            f"precision and recall: k = {k} with {len(real)} real and {len(fake)} fake rows",
            f"an image has {min(len(real), len(fake)) - 1} others in its set, and k lies between 1 and that",
            "draw more images, or choose fewer neighbours",
        )
    inside = count_inside(real, fake, _reach(real, k, progress), _reach(fake, k, progress), progress=progress)
    return PRDC(
        precision=float((inside.balls_around_other > 0).mean()),
        recall=float((inside.balls_around_point > 0).mean()),
        density=float(inside.balls_around_other.mean() / k),
        coverage=float((inside.others_in_ball > 0).mean()),
        k=k,
    )


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The four of two sets, by the stems of their ids; nothing where a set has no k others of an image."""
    settings = sets.settings
    real, fake = (some_rows(rows, settings.prdc_images, settings.seed) for rows in (sets.real, sets.fake))
    if min(len(real), len(fake)) <= settings.k:
        return {}
    balls = prdc(real, fake, k=settings.k, progress=sets.progress)
    how = {"k": settings.k, "prdc_images": [len(real), len(fake)]}
    return {name: SetNumber(getattr(balls, name), how) for name in ("precision", "recall", "density", "coverage")}


def _reach(rows: Float64, k: int, progress: bool) -> Float64:
    """Squared distance of each row to the k-th nearest of the others [N]."""
    return nearest(rows, rows, k, exclude_self=True, progress=progress)[1][:, k - 1]
