"""The networks that an evaluation looks through: its classifier, its encoder, and the extractors by name."""

from __future__ import annotations

from benchmark.evaluation.config import EvalConfig
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.trained import EncoderExtractor, JudgeExtractor
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.judge import Judge
from benchmark.training.stages.simclr import SimCLR


def build_judges(cfg: EvalConfig, artifacts: ArtifactStore) -> None:
    """Train what evaluation needs, on every rank: the judge and the embedding of the Chamfer distance."""
    if artifacts.data.n_labels and not artifacts.data.is_points:
        artifacts.train(Judge, cfg.judge)
    if cfg.encoder is not None:
        artifacts.train(SimCLR, cfg.encoder)


def build_judge(cfg: EvalConfig, artifacts: ArtifactStore) -> JudgeExtractor | None:
    """The judge as an extractor, where the data have labels: it scores control, too."""
    if not artifacts.data.n_labels:
        return None
    net = artifacts.train(Judge, cfg.judge)
    return JudgeExtractor(net, artifacts.key_of(net), artifacts.data.resolution)


def build_extractor(name: str, cfg: EvalConfig, judge: JudgeExtractor | None, artifacts: ArtifactStore) -> Extractor:
    """An extractor by name. Raises WeightsError where its weights are absent."""
    if name == "simclr":
        encoder = artifacts.train(SimCLR, cfg.encoder)
        return EncoderExtractor(
            encoder, artifacts.key_of(encoder), artifacts.data.resolution, artifacts.data.channels, name="simclr"
        )
    return build(name, judge=judge, device=artifacts.device, allow_unverified=cfg.allow_unverified)
