"""One generator against several sets of real images: `eval.references` names splits, or parts of the held-out one.

IC-GAN's table of COCO-Stuff has one model's distance to the training set, to the evaluation set, and to its parts with
and without the training set's combinations of categories. Each set gets images of its own, as many as it has; a method
conditioned on images gets the images of that very set, one conditioned on labels gets its labels as they occur.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import ConfigError, WeightsError, suggest
from benchmark.core.seeds import derive_seed
from benchmark.data.cards import DatasetCard
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import EvaluationContext, Side, protocol_of, reference_of
from benchmark.evaluation.sampling import GeneratedImages, generate_for
from benchmark.evaluation.value import MetricValue
from benchmark.metrics import frechet, inception_score
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.sets import FeatureSets

SPLITS = ("train", "test")
SCORED = ("train",)  # sets whose images get a classifier score, too: IC-GAN's table of ImageNet-LT


def check_references(cfg: EvalConfig, card: DatasetCard) -> None:
    """Raise ConfigError where an evaluation names a set that the dataset does not have, or one twice, or bad groups."""
    known = (*SPLITS, *card.source.parts())
    for key, names in (("reference", (cfg.reference,)), ("references", cfg.references)):
        for name in names:
            if name not in known:
                raise ConfigError(f"eval.{key}: {card.name} has no part {name!r}", suggest(name, known))
    if len(set(cfg.references)) < len(cfg.references):
        raise ConfigError(f"eval.references = {list(cfg.references)}", "a set is given twice", "keep one of them")
    if cfg.references and card.source.is_points:
        raise ConfigError("eval.references", f"{card.name} is made of 2-D points", "leave it out")
    if cfg.strata is not None and card.conditioning != "class":
        raise ConfigError(
            f"eval.strata = {list(cfg.strata)}",
            f"groups are made of classes, and {card.name} serves none",
            "leave it out",
        )
    if cfg.strata is not None and cfg.strata[0] >= cfg.strata[1]:
        few, many = cfg.strata
        raise ConfigError(
            f"eval.strata = {list(cfg.strata)}",
            f"a class of {many} to {few} training images would be in two groups",
            "give few < many: the first is the most that a rare class has, the second the least of a frequent one",
        )


def reference_values(context: EvaluationContext) -> list[MetricValue]:
    """The numbers of each set of `eval.references`, by every extractor."""
    return [value for name in context.cfg.references for value in _against(context, name)]


def _against(context: EvaluationContext, name: str) -> list[MetricValue]:
    """The numbers of one set; unavailable where it has fewer than two images, or an extractor lacks its weights."""
    cfg = context.cfg
    real = reference_of(context.data, name, cfg.jpeg)
    protocol = protocol_of(context.data, replace(cfg, reference=name), len(real))
    if len(real) < 2:
        reason = f"the part {name} has {len(real)} images"
        return [value for extractor in cfg.extractors for value in _unavailable(name, extractor, protocol, reason)]
    extractors, values = [], []
    for extractor in cfg.extractors:
        try:
            extractors.append(context.extractor(extractor))
        except WeightsError as problem:
            if cfg.missing_weights == "refuse":
                raise
            values += _unavailable(name, extractor, protocol, problem.what)
    if not extractors:
        return values  # no image is drawn that nothing could look at
    generated, drawn = generated_like(context, name, len(real))
    for one in extractors:
        values += _by(one, context, name, real, generated, protocol)
    return [replace(value, conditions={"drawn": drawn}) for value in values]


def _by(
    extractor: Extractor,
    context: EvaluationContext,
    name: str,
    real: Side,
    generated: GeneratedImages,
    protocol: dict[str, Any],
) -> list[MetricValue]:
    """The numbers of one set by one extractor."""
    fake = context.store.features(extractor, generated.images, sha256=generated.sha256, progress=context.show_progress)
    seen = context.store.features(extractor, real.images, sha256=real.sha256, progress=context.show_progress)
    logits = None if fake.logits is None else np.asarray(fake.logits)
    sets = FeatureSets(np.asarray(seen.pooled), np.asarray(fake.pooled), logits, context.cfg.set_settings)
    found = {"fd": frechet.of_sets(sets)["fd"]}
    if name in SCORED:
        found |= inception_score.of_sets(sets)
    protocol = protocol | {"extractor": extractor.identity}
    return [
        MetricValue.of_row(
            f"{stem}_{name}_X", one.value, protocol | one.protocol, of=extractor.name, details=one.details
        )
        for stem, one in found.items()
    ]


def _unavailable(name: str, extractor: str, protocol: dict[str, Any], reason: str) -> list[MetricValue]:
    """The numbers of one set by an extractor, none of which can be had."""
    of = extractor.replace(":", "-")
    about = protocol | {"extractor": {"extractor": of}}
    stems = ("fd", "score") if name in SCORED else ("fd",)
    return [
        MetricValue.of_row(f"{stem}_{name}_X", None, about, of=of, status="unavailable", reason=reason)
        for stem in stems
    ]


def generated_like(context: EvaluationContext, name: str, n: int) -> tuple[GeneratedImages, str]:
    """n images to compare with a set, conditioned as that set is; and in words, on what."""
    method, data, cfg = context.method, context.data, context.cfg
    if method.conditioning in ("class", "attributes"):
        part = data.split(name)
        table = part.labels if method.conditioning == "class" else part.attributes
        assert table is not None
        rows = np.random.Generator(np.random.PCG64([cfg.seed, 0x2EF, len(table)])).integers(len(table), size=n)
        conditions: Tensor | None = torch.tensor(table[rows], dtype=torch.int64)
        return generate_for(method, context.G, n, conditions, cfg), f"labels of the {name} split, as they occur"
    if method.conditioning not in ("instance", "latent"):
        return generate_for(method, context.G, n, None, cfg), method.default_conditions
    method.condition_on(data, name)
    torch.manual_seed(derive_seed(cfg.seed, 0x2EF))
    conditions, drawn = method.conditions_like(name, n), method.default_conditions
    if conditions is not None:
        drawn = f"images of the {name} split, uniformly, with their classes"
    generated = generate_for(method, context.G, n, conditions, cfg)
    method.condition_on(data, "train")
    return generated, drawn
