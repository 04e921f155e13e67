"""The networks that an evaluation looks through: its classifier, its encoder, and the extractors by name.

Classifier and encoder are the published ones where the configuration says so and they fit the local images, else they
are trained here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from benchmark.core import distributed
from benchmark.core.errors import ConfigError
from benchmark.data.cards import DatasetCard
from benchmark.evaluation import published
from benchmark.evaluation.config import EvalConfig, PublishedWeights
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.trained import EncoderExtractor, JudgeExtractor
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.method import Stage
from benchmark.training.stages.judge import Judge
from benchmark.training.stages.simclr import SimCLR

# ---- which networks -------------------------------------------------------------------------------------------------


def needs_encoder(cfg: EvalConfig) -> bool:
    """Whether any metric that is computed looks through the encoder: else it is neither trained nor waited for."""
    return cfg.encoder is not None and (cfg.embeds or "simclr" in cfg.extractors)


def with_published(cfg: EvalConfig, card: DatasetCard, changes: Mapping[str, Any]) -> EvalConfig:
    """The configuration with the published networks of the dataset, where it has some and the user wants no others.

    changes: the user's, of the evaluation. `evaluators: local` trains both networks here, and so do settings of `judge`
    or `encoder` the one that they set: those of a local network. The hashes of the files become part of the
    configuration; a local one is what it was before there were any.
    Raises ConfigError for `evaluators: published` where the dataset has none, or is given settings of a local one.
    """
    if changes.get("published") is not None:
        raise ConfigError("eval.published", "the suite fills it in", "set eval.evaluators=published or local")
    wanted, found = changes.get("evaluators"), published.served(card)
    local = {key for key in ("judge", "encoder") if changes.get(key) is not None}
    if wanted == "published":
        _require_published(card, found, local)
    if wanted == "local" or found is None or card.conditioning == "none":
        return replace(cfg, evaluators="local")
    files = published.index().files
    weights = PublishedWeights(
        judge=None if "judge" in local else files[found.judge].sha256,
        encoder=files[found.encoder].sha256 if needs_encoder(cfg) and "encoder" not in local else None,
    )
    if weights == PublishedWeights():
        return replace(cfg, evaluators="local")
    return replace(cfg, evaluators="published", published=weights)


def _require_published(card: DatasetCard, found: published.Served | None, local: set[str]) -> None:
    what = "eval.evaluators = published"
    if found is None:
        sides = ", ".join(f"{name} ({one.resolution} px)" for name, one in published.index().datasets.items())
        reason = f"there is none for {card.name} with these settings at {card.resolution} px"
        raise ConfigError(what, f"{reason}; there are for {sides}", "leave it out: they are then trained here")
    if local:
        settings = " and ".join(f"eval.{key}" for key in sorted(local))
        raise ConfigError(what, f"settings of {settings} are those of a network that is trained here", "leave one out")


def trained_here(cfg: EvalConfig, *, has_judge: bool) -> list[tuple[type[Stage], Any]]:
    """The stages that an evaluation trains, with their settings, if the published networks fit the local images."""
    of_file = cfg.published or PublishedWeights()
    stages: list[tuple[type[Stage], Any]] = []
    if has_judge and of_file.judge is None:
        stages.append((Judge, cfg.judge))
    if needs_encoder(cfg) and of_file.encoder is None:
        stages.append((SimCLR, cfg.encoder))
    return stages


def published_files(cfg: EvalConfig) -> Iterator[tuple[str, published.PublishedFile]]:
    """The published files that an evaluation uses, by the name of the stage that each replaces."""
    of_file = cfg.published or PublishedWeights()
    for name, sha256 in ((Judge.name, of_file.judge), (SimCLR.name, of_file.encoder)):
        if sha256 is not None:
            yield name, published.file_of(sha256)


# ---- making them ----------------------------------------------------------------------------------------------------


def build_judges(cfg: EvalConfig, artifacts: ArtifactStore) -> None:
    """Load or train what evaluation needs, on every rank: the judge, and the encoder where a metric needs it."""
    if artifacts.data.n_labels and not artifacts.data.is_points:
        build_judge(cfg, artifacts)
    if needs_encoder(cfg):
        build_encoder(cfg, artifacts)


def build_judge(cfg: EvalConfig, artifacts: ArtifactStore) -> JudgeExtractor | None:
    """The judge as an extractor, where the data have labels: it scores control, too.

    Raises WeightsError where it is a published one and its file is damaged.
    """
    if not artifacts.data.n_labels:
        return None
    if cfg.published is not None and cfg.published.judge is not None and _fit(artifacts):
        return published.classifier(published.file_of(cfg.published.judge), artifacts.data, artifacts.device)
    net = artifacts.train(Judge, cfg.judge)
    return JudgeExtractor(net, artifacts.key_of(net), artifacts.data.resolution)


def build_encoder(cfg: EvalConfig, artifacts: ArtifactStore) -> EncoderExtractor:
    """The encoder of the Chamfer distance, as the extractor `simclr`. Raises as `build_judge`."""
    if cfg.published is not None and cfg.published.encoder is not None and _fit(artifacts):
        return published.encoder(published.file_of(cfg.published.encoder), artifacts.device, "simclr")
    net, data = artifacts.train(SimCLR, cfg.encoder), artifacts.data
    return EncoderExtractor(net, artifacts.key_of(net), data.resolution, data.channels, name="simclr")


def build_extractor(name: str, cfg: EvalConfig, judge: JudgeExtractor | None, artifacts: ArtifactStore) -> Extractor:
    """An extractor by name. Raises WeightsError where its weights are absent."""
    if name == "simclr":
        return build_encoder(cfg, artifacts)
    return build(name, judge=judge, device=artifacts.device, allow_unverified=cfg.allow_unverified)


def _fit(artifacts: ArtifactStore) -> bool:
    """Whether the published networks are used on these images; where not, it is said once, and why."""
    reason = published.misfit(artifacts)
    if reason and distributed.is_main() and reason not in _SAID:
        _SAID.add(reason)
        print(
            f"note: {artifacts.data.name}: the published evaluators are not used, and others are trained here, whose "
            f"numbers share no column with those of other machines: {reason}",
            flush=True,
        )
    return not reason


_SAID: set[str] = set()  # by this process
