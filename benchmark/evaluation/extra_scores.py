"""Metrics that need more of a generator than one set of its images: more samples, its latents, a classifier's training.

They take minutes, so that a suite or a user asks for them by name: `--set eval.extra=[cas,ppl]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import UserError, WeightsError
from benchmark.core.seeds import derive_seed
from benchmark.evaluation.config import Extra
from benchmark.evaluation.context import EvaluationContext, judged_logits
from benchmark.evaluation.latents import LatentSpace
from benchmark.evaluation.sampling import BATCH, drawn, stored
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.boundary import Boundary, boundary_accuracy
from benchmark.metrics.cas import cas_with_control
from benchmark.metrics.catalogue import row_named
from benchmark.metrics.checks import MetricError
from benchmark.metrics.correlation import attribute_correlation
from benchmark.metrics.lpips import LPIPS, diversity, lpips_distance
from benchmark.metrics.ppl import path_length
from benchmark.metrics.steerability import MEASURES, steer
from benchmark.metrics.steering_directions import SteerSettings, learn_direction


@torch.no_grad()
def extra_values(context: EvaluationContext) -> list[MetricValue]:
    """The extra metrics that were asked for, as far as they mean something for this method and dataset.

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


def of_generator(context: EvaluationContext) -> dict[str, Any]:
    """The protocol of a number that comes of the generator itself and not of one set of its images."""
    of_sets = ("n_fake", "reference", "n_reference")
    return {k: v for k, v in context.protocol.items() if k not in of_sets} | {"seed": context.seed}


class Unfit(UserError):
    """A metric that means nothing for this method or dataset."""


def _cas(context: EvaluationContext) -> list[MetricValue]:
    """Classification accuracy score: top-1 on held-out images of a classifier trained on generated ones."""
    data, generated, labels = context.data, context.generated, context.classes
    if labels is None or data.train.labels is None or data.test.labels is None:
        raise Unfit("it needs images of given classes, and this run has none")
    n = min(len(generated), len(data.train))
    cfg = context.cfg.extras.cas
    cfg = replace(cfg, flip=cfg.flip and data.flip_ok)
    rows = np.sort(np.random.default_rng(0).choice(len(data.train), n, replace=False))
    found = cas_with_control(
        generated.images[:n],
        labels[:n],
        data.train.images[rows],
        data.train.labels[rows],
        data.test.images,
        data.test.labels,
        cfg,
        context.artifacts.device,
        data.n_classes,
    )
    settings = context.protocol | {"classifier": asdict(cfg), "n_train": n, "tested_on": "held-out images"}
    details = {
        "per_seed": list(found.generated.per_seed),
        "top5": found.generated.top5,
        "of_real": found.real.top1,
        "ratio": found.ratio,
    }
    return [MetricValue.of_row("cas", found.generated.top1, settings, details=details)]


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


def path_lengths(
    context: EvaluationContext, distance: Callable[[Tensor, Tensor], Tensor], identity: dict[str, Any]
) -> list[MetricValue]:
    """Path lengths in z, and in w where there is a mapping network, by any distance of images."""
    cfg, seed = context.cfg.extras, context.seed
    space = LatentSpace(context.method, context.G, seed=derive_seed(seed, 0x99))
    settings = of_generator(context)
    settings |= {"distance": identity, "pairs": cfg.ppl_pairs, "sampling": cfg.ppl_sampling, "eps": 1e-4}
    how: dict[str, Any] = {"n_pairs": cfg.ppl_pairs, "sampling": cfg.ppl_sampling, "seed": seed}
    found = {"z": path_length(space.pairs, space.draw, distance, **how)}
    if space.has_w:
        found["w"] = path_length(space.pairs_of_styles, space.draw, distance, space="w", mapping=space.styles, **how)
    return [
        MetricValue.of_row(f"ppl_{name}", one.mean, settings | {"space": name}, details={"sd": one.sd, "kept": one.n})
        for name, one in found.items()
    ]


def _boundary(context: EvaluationContext) -> list[MetricValue]:
    """How well a plane in latent space separates images with an attribute from those without."""
    data, judge, cfg, seed = context.data, context.judge, context.cfg.extras, context.seed
    if judge is None:
        raise Unfit("it needs a classifier of the dataset's labels, and there are none")
    if context.method.conditioning != "none":
        raise Unfit("it looks for labels in the latents, and here the condition carries them")
    space = LatentSpace(context.method, context.G, seed=derive_seed(seed, 0xB0))
    torch.manual_seed(derive_seed(seed, 0xB1))
    z = space.draw(cfg.boundary_latents)
    images = [stored(space.images(part), context.cfg.jpeg) for part in z.split(BATCH)]
    logits = judged_logits(judge, np.concatenate(images))
    names = data.attribute_names or data.class_names
    found: dict[str, Boundary] = {}
    for column, name in enumerate(names):
        scores = logits[:, column] - (0 if data.attribute_names else np.delete(logits, column, 1).max(1))
        found[name] = boundary_accuracy(z.cpu(), scores, share=cfg.boundary_share, seed=seed)
    per_label = {name: _plain(boundary) for name, boundary in found.items()}
    parts = {"held_out": "held-out extremes", "remaining_midpoint": "all others, split at the midpoint of scores"}
    settings = of_generator(context)
    settings |= {"scorer": judge.identity, "latents": cfg.boundary_latents, "share": cfg.boundary_share}
    values = []
    for part, text in parts.items():
        sides = [side for boundary in found.values() if (side := getattr(boundary, part)) is not None]
        mean = float(np.mean([side.balanced for side in sides])) if sides else None
        values.append(
            MetricValue.of_row(
                f"boundary_{part}",
                mean,
                settings | {"labelled": text, "accuracy": "balanced, mean over labels"},
                status="ok" if sides else "unavailable",
                reason="" if sides else "one label only",
                details={"per_label": per_label},
            )
        )
    return values


def _plain(boundary: Boundary) -> dict[str, Any]:
    sides = {name: getattr(boundary, name) for name in ("held_out", "remaining_midpoint", "remaining_zero")}
    return {name: None if side is None else asdict(side) for name, side in sides.items()}


def _correlation(context: EvaluationContext) -> list[MetricValue]:
    """Mean absolute correlation of the judge's attribute scores, beside that of real images."""
    data, judge = context.data, context.judge
    if judge is None or not data.attribute_names:
        raise Unfit("it needs a dataset with attributes")
    fake, real = context.judged, context.judged_real
    here, there = (attribute_correlation(part, data.attribute_names) for part in (fake, real))
    details = {
        "matrix": here.matrix.tolist(),
        "of_real": there.mean_abs_off_diagonal,
        "names": list(data.attribute_names),
    }
    settings = context.protocol | {"scorer": judge.identity}
    settings |= {"correlation": "Pearson, of logits; mean of |r| over pairs"}
    return [MetricValue.of_row("correlation", here.mean_abs_off_diagonal, settings, details=details)]


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
        details = {"r2": direction.r2, "error": direction.error, "error_at_start": direction.error_at_start}
        values.append(MetricValue.of_row("steer_T", found.spearman, settings, of=transform, details=details))
    return values


MAKERS: dict[Extra, Callable[[EvaluationContext], list[MetricValue]]] = {
    "cas": _cas,
    "lpips": _lpips,
    "ppl": _ppl,
    "boundary": _boundary,
    "correlation": _correlation,
    "steerability": _steerability,
}
