"""Metrics that need more of a generator than one set of its images: more samples, its latents, a classifier's training.

They take minutes, so that a suite or a user requests them by name: `--set eval.extra=[cas,ppl]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import WeightsError
from benchmark.core.seeds import derive_seed
from benchmark.evaluation.attribute_scores import boundary_values, correlation_values
from benchmark.evaluation.cas_score import cas_values
from benchmark.evaluation.config import Extra
from benchmark.evaluation.context import EvaluationContext
from benchmark.evaluation.latents import LatentSpace
from benchmark.evaluation.requests import Unfit, of_generator
from benchmark.evaluation.sampling import drawn
from benchmark.evaluation.value import MetricValue
from benchmark.evaluation.walks import steering_grid
from benchmark.metrics.catalogue import row_named
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors.segmenter import AreaExtractor, FileSegmenter, find_segmenter
from benchmark.metrics.lpips import LPIPS, diversity, lpips_distance
from benchmark.metrics.ppl import path_length
from benchmark.metrics.segmentation import frechet_segmentation_distance, omissions
from benchmark.metrics.steerability import MEASURES, steer
from benchmark.metrics.steering_directions import SteerSettings, learn_direction

N_OMISSIONS = 5  # classes that are listed with the Frechet Segmentation Distance


@torch.no_grad()
def extra_values(context: EvaluationContext) -> list[MetricValue]:
    """The extra metrics that were requested, as far as they mean something for this method and dataset.

    One that cannot be had for another reason is `unavailable`, with the reason.
    """
    values: list[MetricValue] = []
    for name in context.cfg.extra:
        try:
            values += MAKERS[name](context)
        except Unfit:
            continue  # it says nothing of this run: an empty cell
        except (MetricError, WeightsError) as problem:
            settings = of_generator(context)
            group = row_named(name)  # no direction: it is no number
            values.append(
                MetricValue(name, group.name, None, None, settings, status="unavailable", reason=str(problem.what))
            )
    return values


def _lpips(context: EvaluationContext) -> list[MetricValue]:
    """Mean LPIPS of images of one condition: how much of an image its latent decides."""
    method, G, cfg = context.method, context.G, context.cfg.extras
    if method.conditioning == "none":
        raise Unfit("it compares images of one condition, and this method has none")
    distance = _lpips_of("alex", context)
    torch.manual_seed(derive_seed(context.seed, 0x1915))
    first = method.sample(G, cfg.lpips_conditions).conditions
    assert first is not None
    rows = [row.repeat(cfg.lpips_images, *[1] * row.ndim) for row in first]
    groups = np.stack([drawn(method, G, same, context.cfg.jpeg) for same in rows])
    found = diversity(groups.transpose(0, 1, 4, 2, 3), distance)
    settings = of_generator(context)
    settings |= {"distance": distance.identity, "conditions": len(groups), "images": cfg.lpips_images}
    return [MetricValue.of_row("lpips", found.mean, settings, details={"standard_error": found.se})]


def _lpips_of(net: Literal["alex", "vgg"], context: EvaluationContext) -> LPIPS:
    return lpips_distance(net, device=context.artifacts.device, allow_unverified=context.cfg.allow_unverified)


def _ppl(context: EvaluationContext) -> list[MetricValue]:
    """Perceptual path length in z, and in w where there is a mapping network."""
    distance = _lpips_of("vgg", context)
    return path_lengths(context, distance, distance.identity)


def _ppl_judge(context: EvaluationContext) -> list[MetricValue]:
    """The same along the same paths by the evaluation classifier's features, which need no download: no PPL."""
    judge = context.judge
    if judge is None:
        raise Unfit("it needs a classifier of the dataset's labels, and there are none")

    def distance(a: Tensor, b: Tensor) -> Tensor:
        of_a, of_b = (F.normalize(judge.net.features(images), dim=1) for images in (a, b))  # [n, d] of unit length
        return (of_a - of_b).square().sum(1)

    identity = judge.identity | {"distance": "squared, of features of unit length"}
    return path_lengths(context, distance, identity, "_judge")


def path_lengths(
    context: EvaluationContext, distance: Callable[[Tensor, Tensor], Tensor], identity: dict[str, Any], mark: str = ""
) -> list[MetricValue]:
    """Path lengths in z, and in w where there is a mapping network, by any distance of images: `ppl_z<mark>`, ..."""
    cfg, seed = context.cfg.extras, context.seed
    space = LatentSpace(context.method, context.G, seed=derive_seed(seed, 0x99))
    settings = of_generator(context)
    settings |= {"distance": identity, "pairs": cfg.ppl_pairs, "sampling": cfg.ppl_sampling, "eps": 1e-4}
    how: dict[str, Any] = {"n_pairs": cfg.ppl_pairs, "sampling": cfg.ppl_sampling, "seed": seed}
    found = {"z": path_length(space.pairs, space.draw, distance, **how)}
    if space.has_w:
        found["w"] = path_length(space.pairs_of_styles, space.draw, distance, space="w", mapping=space.styles, **how)
    return [
        MetricValue.of_row(
            f"ppl_{name}{mark}", one.mean, settings | {"space": name}, details={"sd": one.sd, "kept": one.n}
        )
        for name, one in found.items()
    ]


def _steerability(context: EvaluationContext) -> list[MetricValue]:
    """How steadily a direction in latent space moves, zooms or brightens an image: Spearman's rank correlation."""
    cfg, seed, device = context.cfg.extras, context.seed, context.method.device
    space = LatentSpace(context.method, context.G, seed=derive_seed(seed, 0x57))
    how = SteerSettings(n_trajectories=cfg.steer_trajectories, iterations=cfg.steer_iterations)
    settings = of_generator(context)
    settings |= {"steering": asdict(how), "measures": "barycentre, area, luma of the image itself"}
    values = []
    for transform, measure in MEASURES.items():
        try:
            with torch.enable_grad():
                direction = learn_direction(space.images, transform, space.dim, how, device=device, seed=seed)  # type: ignore[arg-type]
            found = steer(space.images, direction.u, measure, device=device, seed=seed)
        except MetricError as problem:
            reason = str(problem.what)
            values.append(
                MetricValue.of_row("steer_T", None, settings, of=transform, status="unavailable", reason=reason)
            )
            continue
        context.pictures.append((f"steering/{transform}", steering_grid(context, direction.u)))
        details = {"r2": direction.r2, "error": direction.error, "error_at_start": direction.error_at_start}
        values.append(MetricValue.of_row("steer_T", found.spearman, settings, of=transform, details=details))
    return values


def _fsd(context: EvaluationContext) -> list[MetricValue]:
    """Frechet Segmentation Distance of equally many generated and real images, and the classes most left out."""
    cfg, reference, generated, store = context.cfg.extras, context.reference, context.generated, context.store
    weights = find_segmenter(cfg.segmenter, context.cfg.allow_unverified)
    areas = AreaExtractor(FileSegmenter(cfg.segmenter, weights, context.device))
    n = min(cfg.fsd_images, len(generated), len(reference))
    rows = np.random.Generator(np.random.PCG64([context.seed, 0xF5D])).permutation(len(reference))[:n]
    rows.sort()  # a memory map is read in its order
    drawn_from = f"{reference.sha256}, {n} images, seed {context.seed}"
    real = store.features(areas, reference.images[rows], sha256=drawn_from, progress=context.show_progress).pooled
    fake = store.features(areas, generated.images[:n], progress=context.show_progress).pooled
    settings = context.protocol | {"segmenter": areas.identity, "n_fake": n, "n_reference": n}
    left_out = [
        {"class": one.label, "real": one.real, "generated": one.fake} for one in omissions(real, fake)[:N_OMISSIONS]
    ]
    return [
        MetricValue.of_row("fsd", frechet_segmentation_distance(real, fake), settings, details={"left_out": left_out})
    ]


MAKERS: dict[Extra, Callable[[EvaluationContext], list[MetricValue]]] = {
    "cas": cas_values,
    "lpips": _lpips,
    "ppl": _ppl,
    "ppl_judge": _ppl_judge,
    "boundary": boundary_values,
    "correlation": correlation_values,
    "steerability": _steerability,
    "fsd": _fsd,
}
