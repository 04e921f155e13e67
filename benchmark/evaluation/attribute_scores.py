"""What the evaluation classifier's scores say of a latent space: planes between labels, and labels that go together."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmark.core.seeds import derive_seed
from benchmark.evaluation.context import EvaluationContext, judged_logits
from benchmark.evaluation.latents import LatentSpace
from benchmark.evaluation.requests import Unfit, of_generator
from benchmark.evaluation.sampling import BATCH, requested_conditions, stored
from benchmark.evaluation.value import MetricValue
from benchmark.evaluation.walks import edit_grid
from benchmark.metrics.boundary import Boundary, boundary_accuracy
from benchmark.metrics.correlation import Correlation, attribute_correlation
from benchmark.metrics.extractors.trained import JudgeExtractor

MOST_LABELS = 10  # that have columns and images of their own; LT-GAN has 4 attributes [ours]
MOST_PAIRS = 10  # of attributes, with columns of their own; LT-GAN has 6 [ours]


def boundary_values(context: EvaluationContext) -> list[MetricValue]:
    """How well a plane in latent space separates images with a label from those without; images of moves across it.

    The means over labels are of balanced accuracies; the columns of single labels are LT-GAN's: plain accuracies.
    """
    data, judge, cfg, seed = context.data, context.judge, context.cfg.extras, context.seed
    if judge is None:
        raise Unfit("it needs a classifier of the dataset's labels, and there are none")
    if context.method.conditioning != "none":
        raise Unfit("it looks for labels in the latents, and here the condition carries them")
    space = LatentSpace(context.method, context.G, seed=derive_seed(seed, 0xB0))
    torch.manual_seed(derive_seed(seed, 0xB1))
    z = space.draw(cfg.boundary_latents)
    parts = tqdm(z.split(BATCH), desc="boundary", unit="batch", disable=not context.show_progress)
    jpeg = context.cfg.jpeg
    logits = np.concatenate([judged_logits(judge, stored(space.images(part), jpeg)) for part in parts])
    names = data.attribute_names or data.class_names
    found: dict[str, Boundary] = {}
    for column, name in enumerate(names):
        scores = logits[:, column] - (0 if data.attribute_names else np.delete(logits, column, 1).max(1))
        found[name] = boundary_accuracy(z.cpu(), scores, share=cfg.boundary_share, seed=seed)
    settings = of_generator(context)
    settings |= {"scorer": judge.identity, "latents": cfg.boundary_latents, "share": cfg.boundary_share}
    if len(found) <= MOST_LABELS:
        context.pictures.extend((f"edits/{_word(name)}", edit_grid(context, one)) for name, one in found.items())
    return [*_means(found, settings), *_of_labels(found, settings)]


def _means(found: dict[str, Boundary], settings: dict[str, Any]) -> list[MetricValue]:
    """Balanced accuracies, means over labels."""
    per_label = {name: _plain(boundary) for name, boundary in found.items()}
    parts = {"held_out": "held-out extremes", "remaining_midpoint": "all others, split at the midpoint of scores"}
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


def _of_labels(found: dict[str, Boundary], settings: dict[str, Any]) -> list[MetricValue]:
    """Plain accuracies on all other latents, a value a label; none where there are many labels."""
    if len(found) > MOST_LABELS:
        return []
    settings = settings | {"labelled": "all others, split at the midpoint of scores", "accuracy": "plain"}
    values = []
    for name, boundary in found.items():
        side = boundary.remaining_midpoint
        values.append(
            MetricValue.of_row(
                "svm_L",
                None if side is None else side.accuracy,
                settings,
                of=_word(name),
                status="unavailable" if side is None else "ok",
                reason="one label only" if side is None else "",
                details={} if side is None else asdict(side),
            )
        )
    return values


def _plain(boundary: Boundary) -> dict[str, Any]:
    sides = {name: getattr(boundary, name) for name in ("held_out", "remaining_midpoint", "remaining_zero")}
    return {name: None if side is None else asdict(side) for name, side in sides.items()}


def correlation_values(context: EvaluationContext) -> list[MetricValue]:
    """Mean absolute correlation of attribute scores, with that of real images, and the correlation of each pair."""
    data, judge, n = context.data, context.judge, context.cfg.extras.correlation_images
    if judge is None or not data.attribute_names:
        raise Unfit("it needs a dataset with attributes")
    fake = context.judged if n is None else _judged_anew(context, judge, n)
    here, there = (attribute_correlation(part, data.attribute_names) for part in (fake, context.judged_real))
    details = {
        "matrix": here.matrix.tolist(),
        "of_real": there.mean_abs_off_diagonal,
        "names": list(data.attribute_names),
    }
    settings = context.protocol if n is None else of_generator(context) | {"correlation_images": n}
    settings = settings | {"scorer": judge.identity, "correlation": "Pearson, of logits; mean of |r| over pairs"}
    mean = MetricValue.of_row("correlation", here.mean_abs_off_diagonal, settings, details=details)
    return [mean, *_of_pairs(here, there, data.attribute_names, settings)]


def _of_pairs(
    here: Correlation, there: Correlation, names: tuple[str, ...], settings: dict[str, Any]
) -> list[MetricValue]:
    """A value a pair of attributes; none where there are many. Neither direction is better: nearer to 0 is."""
    pairs = list(combinations(range(len(names)), 2))
    if len(pairs) > MOST_PAIRS:
        return []
    settings = settings | {"correlation": "Pearson, of logits"}
    return [
        MetricValue.of_row(
            "correlation_L",
            float(here.matrix[i, j]),
            settings,
            float(here.low[i, j]),
            float(here.high[i, j]),
            of=f"{_word(names[i])}-{_word(names[j])}",
            details={"of_real": float(there.matrix[i, j])},
        )
        for i, j in pairs
    ]


def _judged_anew(context: EvaluationContext, judge: JudgeExtractor, n: int) -> np.ndarray:
    """Logits [n, n_labels] of n new images; the images are not kept."""
    method, G = context.method, context.G
    conditions = requested_conditions(method, n, context.cfg, context.data)
    torch.manual_seed(derive_seed(context.seed, 0xC0))
    logits = []
    for i in tqdm(range(0, n, BATCH), desc="correlation", unit="batch", disable=not context.show_progress):
        part = None if conditions is None else conditions[i : i + BATCH]
        images = method.sample(G, min(BATCH, n - i), part).images
        logits.append(judged_logits(judge, stored(images, context.cfg.jpeg)))
    return np.concatenate(logits)


def _word(name: str) -> str:
    """A label's name as a part of an id and of a file's name."""
    return name.replace(" ", "_").replace("/", "_")
