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
from benchmark.data.stream import to_uint8
from benchmark.evaluation.config import Extra
from benchmark.evaluation.context import BATCH, EvaluationContext, drawn, judged_logits
from benchmark.evaluation.latents import LatentSpace
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.boundary import Boundary, boundary_accuracy
from benchmark.metrics.cas import cas_with_control
from benchmark.metrics.checks import MetricError
from benchmark.metrics.correlation import attribute_correlation
from benchmark.metrics.lpips import LPIPS, diversity, lpips_distance
from benchmark.metrics.ppl import path_length
from benchmark.metrics.steerability import MEASURES, SteerSettings, learn_direction, steer


@torch.no_grad()
def extra_values(subject: EvaluationContext) -> list[MetricValue]:
    """The extra metrics that were asked for, as far as they mean something for this method and dataset.

    One that cannot be had for another reason is `unavailable`, with the reason.
    """
    values: list[MetricValue] = []
    for name in subject.cfg.extra:
        try:
            values += _MAKERS[name](subject)
        except Unfit:
            continue  # it says nothing of this run: an empty cell
        except (MetricError, WeightsError) as problem:
            settings = of_generator(subject)
            values.append(
                MetricValue(name, TITLES[name], None, None, settings, status="unavailable", reason=str(problem.what))
            )
    return values


def of_generator(subject: EvaluationContext) -> dict[str, Any]:
    """The protocol of a number that comes of the generator itself and not of one set of its images."""
    of_sets = ("n_fake", "reference", "n_reference")
    return {k: v for k, v in subject.protocol.items() if k not in of_sets} | {"seed": subject.seed}


TITLES = {
    "cas": "CAS",
    "lpips": "LPIPS diversity",
    "ppl": "PPL",
    "boundary": "SVM boundary",
    "correlation": "Attribute correlation",
    "steerability": "Steerability",
}


class Unfit(UserError):
    """A metric that means nothing for this method or dataset."""


def _cas(subject: EvaluationContext) -> list[MetricValue]:
    """Classification accuracy score: top-1 on held-out images of a classifier trained on generated ones."""
    data, fakes, labels = subject.data, subject.fakes, subject.classes
    if labels is None or data.train.labels is None or data.test.labels is None:
        raise Unfit("it needs images of given classes, and this run has none")
    n = min(len(fakes), len(data.train))
    cfg = subject.cfg.extras.cas
    cfg = replace(cfg, flip=cfg.flip and data.flip_ok)
    rows = np.sort(np.random.default_rng(0).choice(len(data.train), n, replace=False))
    found = cas_with_control(
        fakes.images[:n],
        labels[:n],
        data.train.images[rows],
        data.train.labels[rows],
        data.test.images,
        data.test.labels,
        cfg,
        subject.artifacts.device,
        data.n_classes,
    )
    settings = subject.protocol | {"classifier": asdict(cfg), "n_train": n, "tested_on": "held-out images"}
    details = {
        "per_seed": list(found.generated.per_seed),
        "top5": found.generated.top5,
        "of_real": found.real.top1,
        "ratio": found.ratio,
    }
    return [MetricValue("cas", "CAS", found.generated.top1, "higher", settings, details=details)]


def _lpips(subject: EvaluationContext) -> list[MetricValue]:
    """Mean LPIPS of images of one condition: how much of an image its latent decides."""
    method, G, cfg = subject.method, subject.G, subject.cfg.extras
    if method.conditioning == "none":
        raise Unfit("it compares images of one condition, and this method has none")
    distance = _lpips_of("alex", subject)
    torch.manual_seed(derive_seed(subject.seed, 0x1915))
    first = method.sample(G, cfg.lpips_conditions).conditions
    assert first is not None
    groups = np.stack([drawn(method, G, row.repeat(cfg.lpips_images, *[1] * row.ndim)) for row in first])
    found = diversity(groups.transpose(0, 1, 4, 2, 3), distance)
    settings = of_generator(subject)
    settings |= {"distance": distance.identity, "conditions": len(groups), "images": cfg.lpips_images}
    return [
        MetricValue("lpips", "LPIPS diversity", found.mean, "higher", settings, details={"standard_error": found.se})
    ]


def _lpips_of(net: Literal["alex", "vgg"], subject: EvaluationContext) -> LPIPS:
    return lpips_distance(net, device=subject.artifacts.device, allow_unverified=subject.cfg.allow_unverified)


def _ppl(subject: EvaluationContext) -> list[MetricValue]:
    """Perceptual path length in z, and in w where there is a mapping network."""
    distance = _lpips_of("vgg", subject)
    return path_lengths(subject, distance, distance.identity)


def path_lengths(
    subject: EvaluationContext, distance: Callable[[Tensor, Tensor], Tensor], identity: dict[str, Any]
) -> list[MetricValue]:
    """Path lengths in z, and in w where there is a mapping network, by any distance of images."""
    cfg, seed = subject.cfg.extras, subject.seed
    space = LatentSpace(subject.method, subject.G, seed=derive_seed(seed, 0x99))
    settings = of_generator(subject)
    settings |= {"distance": identity, "pairs": cfg.ppl_pairs, "sampling": cfg.ppl_sampling, "eps": 1e-4}
    how: dict[str, Any] = {"n_pairs": cfg.ppl_pairs, "sampling": cfg.ppl_sampling, "seed": seed}
    found = {"z": path_length(space.pairs, space.draw, distance, **how)}
    if space.has_w:
        found["w"] = path_length(space.pairs_of_styles, space.draw, distance, space="w", mapping=space.styles, **how)
    return [
        MetricValue(
            f"ppl_{name}", f"PPL ({name})", one.mean, "lower", settings | {"space": name},
            details={"sd": one.sd, "kept": one.n},
        )
        for name, one in found.items()
    ]  # fmt: skip


def _boundary(subject: EvaluationContext) -> list[MetricValue]:
    """How well a plane in latent space separates images with an attribute from those without."""
    data, judge, cfg, seed = subject.data, subject.judge, subject.cfg.extras, subject.seed
    if judge is None:
        raise Unfit("it needs a classifier of the dataset's labels, and there are none")
    if subject.method.conditioning != "none":
        raise Unfit("it looks for labels in the latents, and here the condition carries them")
    space = LatentSpace(subject.method, subject.G, seed=derive_seed(seed, 0xB0))
    torch.manual_seed(derive_seed(seed, 0xB1))
    z = space.draw(cfg.boundary_latents)
    images = [_stored(space.images(part)) for part in z.split(BATCH)]
    logits = judged_logits(judge, np.concatenate(images))
    names = data.attribute_names or data.class_names
    found: dict[str, Boundary] = {}
    for column, name in enumerate(names):
        scores = logits[:, column] - (0 if data.attribute_names else np.delete(logits, column, 1).max(1))
        found[name] = boundary_accuracy(z.cpu(), scores, share=cfg.boundary_share, seed=seed)
    per_label = {name: _plain(boundary) for name, boundary in found.items()}
    parts = {"held_out": "held-out extremes", "remaining_midpoint": "all others, split at the midpoint of scores"}
    settings = of_generator(subject)
    settings |= {"scorer": judge.identity, "latents": cfg.boundary_latents, "share": cfg.boundary_share}
    values = []
    for part, text in parts.items():
        sides = [side for boundary in found.values() if (side := getattr(boundary, part)) is not None]
        mean = float(np.mean([side.balanced for side in sides])) if sides else None
        values.append(
            MetricValue(
                f"boundary_{part}",
                f"SVM boundary ({text})",
                mean,
                "higher",
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


def _correlation(subject: EvaluationContext) -> list[MetricValue]:
    """Mean absolute correlation of the judge's attribute scores, beside that of real images."""
    data, judge = subject.data, subject.judge
    if judge is None or not data.attribute_names:
        raise Unfit("it needs a dataset with attributes")
    fake, real = subject.judged, subject.judged_real
    here, there = (attribute_correlation(part, data.attribute_names) for part in (fake, real))
    details = {
        "matrix": here.matrix.tolist(),
        "of_real": there.mean_abs_off_diagonal,
        "names": list(data.attribute_names),
    }
    settings = subject.protocol | {"scorer": judge.identity}
    settings |= {"correlation": "Pearson, of logits; mean of |r| over pairs"}
    return [
        MetricValue(
            "correlation", "Attribute correlation", here.mean_abs_off_diagonal, "lower", settings, details=details
        )
    ]


def _steerability(subject: EvaluationContext) -> list[MetricValue]:
    """How steadily a direction in latent space moves, zooms or brightens an image: Spearman's rank correlation."""
    cfg, seed, device = subject.cfg.extras, subject.seed, subject.method.device
    space = LatentSpace(subject.method, subject.G, seed=derive_seed(seed, 0x57))
    how = SteerSettings(n_trajectories=cfg.steer_trajectories, iterations=cfg.steer_iterations)
    settings = of_generator(subject)
    settings |= {"steering": asdict(how), "measures": "barycentre, area, luma of the image itself"}
    values = []
    for transform, measure in MEASURES.items():
        id, name = f"steer_{transform}", f"Steering {transform.replace('_', ' ')} (rank correlation)"
        try:
            with torch.enable_grad():
                direction = learn_direction(space.images, transform, space.dim, how, device=device, seed=seed)  # type: ignore[arg-type]
            found = steer(space.images, direction.u, measure, device=device, seed=seed)
        except MetricError as problem:
            values.append(
                MetricValue(id, name, None, "higher", settings, status="unavailable", reason=str(problem.what))
            )
            continue
        details = {"r2": direction.r2, "error": direction.error, "error_at_start": direction.error_at_start}
        values.append(MetricValue(id, name, found.spearman, "higher", settings, details=details))
    return values


def _stored(images: Tensor) -> np.ndarray:
    return to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()


_MAKERS: dict[Extra, Callable[[EvaluationContext], list[MetricValue]]] = {
    "cas": _cas,
    "lpips": _lpips,
    "ppl": _ppl,
    "boundary": _boundary,
    "correlation": _correlation,
    "steerability": _steerability,
}
