"""Evaluation: one sampling, one quantisation, one feature pass an extractor, then every metric from those features."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.core.errors import WeightsError
from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset, mixture_of
from benchmark.data.stream import to_float, to_uint8
from benchmark.evaluation.border import RequestedImages
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import BATCH, EvaluationContext, GeneratedImages
from benchmark.evaluation.control import control_accuracy, held_out_images, label_agreement, recall
from benchmark.evaluation.extra_scores import extra_values
from benchmark.evaluation.protocols import PROTOCOLS, labelled
from benchmark.evaluation.scores import Side, intra_class_values, real_data_rows, set_values, unavailable
from benchmark.evaluation.value import MetricValue
from benchmark.metrics import extractors
from benchmark.metrics.chamfer import chamfer_tsne
from benchmark.metrics.copying import copy_test, instance_preference
from benchmark.metrics.extractors import EncoderExtractor, Extractor, JudgeExtractor
from benchmark.metrics.modes import class_modes, mode_statistics
from benchmark.metrics.store import FeatureStore
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.method import Measurement, Method
from benchmark.training.stages.judge import Judge
from benchmark.training.stages.simclr import SimCLR

PREFERENCE_SAMPLES = 2000  # at most, of the instance preference: each needs features of dozens of images
RANDOM_IMAGES = 10  # training images that each sample of an instance is compared with
KINDS: tuple[Literal["suite", "paper"], ...] = ("suite", "paper")  # settings of t-SNE: steady ones, the paper's


@plain_dataclass(frozen=True)
class EvaluationResult:
    """What evaluation gives: the values, and hashes that identify what was scored."""

    values: list[MetricValue]
    samples_sha256: str
    n_fake: int
    distinct: int  # of these, different ones
    conditions: dict[str, Any]  # conditioning, and what was drawn from which split
    border: RequestedImages | None = None  # the held-out images that were asked for, of a method conditioned on images


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
    return extractors.build(name, judge=judge, device=artifacts.device, allow_unverified=cfg.allow_unverified)


def reference_of(data: Dataset, split: str) -> Side:
    """A split to compare with. Its hash is made of the data's, so that nothing has to be read again."""
    part = data.train if split == "train" else data.test
    return Side(part.images, f"{data.sha256}/{split}", part.labels)


def protocol_of(data: Dataset, cfg: EvalConfig, n_fake: int) -> dict[str, Any]:
    """What decides the numbers of every set of images that is compared with these data."""
    return {
        "protocol": cfg.protocol,
        "differences": list(PROTOCOLS[cfg.protocol].differences),
        "dataset": data.name,
        "data_sha256": data.sha256,
        "resolution": data.resolution,
        "reference": cfg.reference,
        "n_reference": len(data.train if cfg.reference == "train" else data.test),
        "n_fake": n_fake,
        "quantisation": "none" if data.is_points else "uint8",
        "set_seed": cfg.seed,
    }


def evaluate(
    method: Method,
    G: nn.Module,
    cfg: EvalConfig,
    artifacts: ArtifactStore,
    *,
    transferred: bool = False,
    show_progress: bool = False,
) -> EvaluationResult:
    """Score generator G of a trained method against the store's data; its batch norms have `standing_statistics`.

    transferred: these are not the data that the method learned from; it was given them by `condition_on`.
    """
    data = artifacts.data
    n_fake = cfg.n_fake or len(data.train if cfg.reference == "train" else data.test)
    fakes = generate(method, G, n_fake, cfg, data)
    judge = None if data.is_points else build_judge(cfg, artifacts)
    protocol = protocol_of(data, cfg, n_fake)
    subject = EvaluationContext(method, G, fakes, judge, protocol, cfg, artifacts, transferred, show_progress)
    values = mode_values(subject) if data.is_points else image_values(subject)
    if not transferred:  # what a method says of itself is of its own data
        values += [own_measurement(found, data, cfg) for found in method.measurements(G, data)]
    conditions = conditions_text(method, cfg)
    values = [
        replace(value, name=labelled(value.name, cfg.protocol), conditions=conditions | value.conditions)
        for value in values
    ]
    distinct = len({sample.tobytes() for sample in fakes.images})
    return EvaluationResult(values, fakes.sha256, n_fake, distinct, conditions, held_out_images(subject))


def image_values(subject: EvaluationContext) -> list[MetricValue]:
    """Every number of generated images: one feature pass an extractor, then the metrics from those features."""
    cfg = subject.cfg
    values: list[MetricValue] = []
    for name in cfg.extractors:
        try:
            extractor = build_extractor(name, cfg, subject.judge, subject.artifacts)
        except WeightsError as problem:
            if cfg.missing_weights == "refuse":
                raise
            values += unavailable(name, subject.protocol, problem)
            continue
        values += extractor_values(subject, extractor)
    if subject.judge is not None:
        values += judged_values(subject, subject.judge)
    if cfg.encoder is not None:
        values += tsne_chamfer(subject)
    return values + extra_values(subject)


def judged_values(subject: EvaluationContext, judge: JudgeExtractor) -> list[MetricValue]:
    """What the judge sees: the classes that occur, and whether an image shows what was asked for."""
    method, values = subject.method, []
    if subject.data.conditioning == "class":
        values += class_coverage(judge, subject.judged, subject.protocol, subject.data)
    if method.conditioning in ("instance", "latent"):
        values += label_agreement(subject, judge)
    elif subject.fakes.conditions is not None:
        values += control_accuracy(subject, judge, subject.fakes.conditions)
    if method.conditioning == "attributes":
        values += recall(subject, judge, subject.cfg.recall_images)
    return values


def extractor_values(subject: EvaluationContext, extractor: Extractor) -> list[MetricValue]:
    """The numbers of one extractor: set against set, within classes, and copies."""
    cfg, data, store, fakes, shown = subject.cfg, subject.data, subject.store, subject.fakes, subject.show_progress
    reference = reference_of(data, cfg.reference)
    seen = store.features(extractor, fakes.images, sha256=fakes.sha256, progress=shown)
    real = store.features(extractor, reference.images, sha256=reference.sha256, progress=shown)
    controls = real_data_rows(extractor, reference, len(fakes), cfg.set_settings, store) if cfg.controls else None
    values = set_values(extractor, seen, real, subject.protocol, cfg.set_settings, controls, shown)
    if subject.classes is not None and reference.labels is not None:
        values += intra_class_values(
            extractor, seen, subject.classes, real, reference.labels, data.class_names, subject.protocol
        )
    return values + copying(subject, extractor, np.asarray(seen.pooled))


def conditions_text(method: Method, cfg: EvalConfig) -> dict[str, Any]:
    """The conditioning of a method, and what the evaluation asked for: it goes into the record with every number."""
    drawn = method.default_conditions
    if method.conditioning in ("class", "attributes") and cfg.conditions == "empirical":
        drawn = f"{'classes' if method.conditioning == 'class' else 'attributes'} of the held-out split, as they occur"
    elif method.conditioning == "class":
        drawn = "uniform classes"
    elif method.conditioning == "attributes":
        drawn = "attributes by fair coins"
    weights = "average where the method keeps one"
    return {"conditioning": method.conditioning, "drawn": drawn, "latents_seed": cfg.seed, "weights": weights}


def own_measurement(found: Measurement, data: Dataset, cfg: EvalConfig) -> MetricValue:
    """A number of the method's own, as the record keeps it."""
    about = {"dataset": data.name, "data_sha256": data.sha256, "set_seed": cfg.seed}
    return MetricValue(found.id, found.name, found.value, found.better, about | found.protocol, details=found.details)


def mode_values(subject: EvaluationContext) -> list[MetricValue]:
    """Modes found, share of high-quality samples and reverse KL of 2-D samples (Self-Conditioned GAN, its table 1)."""
    mixture = mixture_of(subject.data)
    found = mode_statistics(subject.fakes.images, mixture.centres, mixture.std)
    rule = {"high quality": "within 3 standard deviations of a centre in each coordinate", "kl": "nats, unsmoothed"}
    protocol = subject.protocol | rule | {"n_modes": len(mixture.centres), "std": mixture.std}
    return [
        MetricValue("modes", "Modes", float(found.n_modes), "higher", protocol, details={"of": len(mixture.centres)}),
        MetricValue("high_quality", "High quality (share)", found.high_quality, "higher", protocol),
        MetricValue("reverse_kl", "Reverse KL", found.reverse_kl, "lower", protocol),
    ]


def class_coverage(judge: Extractor, logits: np.ndarray, protocol: dict[str, Any], data: Dataset) -> list[MetricValue]:
    """Classes the judge sees among the samples, and how far their shares are from uniform."""
    found = class_modes(logits.argmax(1), data.n_classes)
    protocol = protocol | {"scorer": judge.identity, "kl": "to uniform shares, nats, unsmoothed"}
    return [
        MetricValue(
            "modes_judge", "Classes seen (judge)", float(found.n_modes), "higher", protocol,
            details={"of": data.n_classes},
        ),
        MetricValue(
            "reverse_kl_judge", "Reverse KL (judge)", found.reverse_kl, "lower", protocol,
            details={"log10": found.reverse_kl_log10},
        ),
    ]  # fmt: skip


def copying(subject: EvaluationContext, extractor: Extractor, pooled: np.ndarray) -> list[MetricValue]:
    """Are samples copies of training images? And, for a method conditioned on images, like what they were asked for?

    pooled: features [n_fake, d] of the generated images.
    """
    values = copy_values(extractor, pooled, subject.protocol, subject.data, subject.store)
    if (targets := subject.targets(PREFERENCE_SAMPLES)) is not None:
        train = split_features(extractor, subject.data, "train", subject.store)
        values.append(preference(extractor, pooled[: len(targets)], train, targets, subject.protocol, subject.seed))
    return values


def split_features(extractor: Extractor, data: Dataset, split: str, store: FeatureStore) -> np.ndarray:
    """Features [N, d] of a whole split, once for all runs."""
    side = reference_of(data, split)
    return np.asarray(store.features(extractor, side.images, sha256=side.sha256).pooled)


def copy_values(
    extractor: Extractor, pooled: np.ndarray, protocol: dict[str, Any], data: Dataset, store: FeatureStore
) -> list[MetricValue]:
    """How many of the images with these features are no copies of training images, beside held-out images."""
    train, test = (split_features(extractor, data, split, store) for split in ("train", "test"))
    found = copy_test(train, test, pooled)
    return [
        MetricValue(
            f"authenticity_{extractor.name.replace('-', '_')}",
            f"Authenticity-{extractor.name}",
            found.authenticity,
            "higher",
            protocol
            | {
                "extractor": extractor.identity,
                "authentic": "farther from its nearest training image than that one from its own nearest",
            },
            found.low,
            found.high,
            details={"of_held_out": found.authenticity_heldout, "nearest_over_held_out": found.ratio},
        )
    ]


def preference(
    extractor: Extractor, fake: np.ndarray, real: np.ndarray, targets: np.ndarray, protocol: dict[str, Any], seed: int
) -> MetricValue:
    """How often a sample is closer to an image it was asked to be like than to a random training image."""
    random = np.random.Generator(np.random.PCG64([seed, 0x9EA2])).integers(len(real), size=(len(fake), RANDOM_IMAGES))
    found = instance_preference(fake, real[targets], real[random])
    return MetricValue(
        f"instance_preference_{extractor.name.replace('-', '_')}",
        f"Instance preference-{extractor.name}",
        found.value,
        "higher",
        protocol
        | {"extractor": extractor.identity, "random_images": RANDOM_IMAGES, "samples": len(fake), "chance": 0.5},
        found.low,
        found.high,
    )


@torch.no_grad()
def standing_statistics(method: Method, G: nn.Module, batches: int = 16) -> None:
    """Recompute the running statistics of G's batch norms from plain samples: average weights never made their own.

    Source: Brock et al. 2019 (BigGAN), appendix; cumulative mean over `batches` training-sized batches.
    """
    norms = [m for m in G.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    torch.manual_seed(derive_seed(0x57A7))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative
        norm.train()
    for _ in range(batches):
        method.sample(G, method.cfg.batch)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()


@torch.no_grad()
def generate(method: Method, G: nn.Module, n: int, cfg: EvalConfig, data: Dataset) -> GeneratedImages:
    """n images for the conditions the configuration says; latents and conditions are functions of `cfg.seed`."""
    conditions = requested_conditions(method, n, cfg, data)
    torch.manual_seed(derive_seed(cfg.seed, 0xE7A1))
    images, drawn = [], []
    for i in range(0, n, BATCH):
        sample = method.sample(G, min(BATCH, n - i), None if conditions is None else conditions[i : i + BATCH])
        images.append(stored(sample.images))
        drawn.append(sample.conditions)
    return GeneratedImages(np.concatenate(images), torch.cat(drawn) if drawn[0] is not None else None)  # type: ignore[arg-type]


def stored(images: Tensor) -> np.ndarray:
    """Images as they are kept: uint8 (N, S, S, C); points float32 (N, 2)."""
    return (images if images.ndim == 2 else to_uint8(images).permute(0, 2, 3, 1)).cpu().numpy()


def requested_conditions(method: Method, n: int, cfg: EvalConfig, data: Dataset) -> Tensor | None:
    """What is asked of a method conditioned on the dataset's labels; None: the method draws by its own rule."""
    if method.conditioning not in ("class", "attributes") or cfg.conditions == "uniform":
        return None
    table = data.test.labels if method.conditioning == "class" else data.test.attributes
    assert table is not None
    rows = np.random.Generator(np.random.PCG64([cfg.seed, 0xC0DE])).integers(len(table), size=n)
    return torch.tensor(table[rows], dtype=torch.int64)


@torch.no_grad()
def tsne_chamfer(subject: EvaluationContext) -> list[MetricValue]:
    """InfoSCC-GAN's Chamfer distance: a joint 3-D t-SNE of encoder embeddings, with everything pinned."""
    cfg, artifacts, fakes = subject.cfg, subject.artifacts, subject.fakes
    encoder = artifacts.train(SimCLR, cfg.encoder)
    reference = reference_of(artifacts.data, cfg.reference)
    n = min(cfg.chamfer_points, len(reference), len(fakes))
    rows = np.random.Generator(np.random.PCG64([cfg.seed, 0x75E])).choice(len(reference), n, replace=False)
    real, fake = (embed(encoder, images) for images in (reference.images[np.sort(rows)], fakes.images[:n]))
    values = []
    for kind in KINDS:
        found = chamfer_tsne(real, fake, tsne_seeds=range(cfg.tsne_seeds), protocol=kind, max_points=2 * n)
        settings = subject.protocol | {
            "encoder": artifacts.key_of(encoder),
            "chamfer_points": n,
            "tsne": found.parameters,
        }
        suffix = "" if kind == "suite" else " (paper's t-SNE)"
        values.append(
            MetricValue(
                f"chamfer_tsne_{kind}",
                f"Chamfer t-SNE{suffix}",
                found.one_way_sum,
                "lower",
                settings | {"chamfer": "one way real to generated, sum of squared distances"},
                details={"sd_over_tsne_seeds": found.one_way_sum_sd, "two_way_mean": found.two_way_mean},
            )
        )
    return values


def embed(encoder: nn.Module, images: np.ndarray) -> np.ndarray:
    """Embeddings [N, d] of uint8 images (N, S, S, C)."""
    device = next(encoder.parameters()).device
    parts = [
        to_float(torch.tensor(images[i : i + BATCH]).permute(0, 3, 1, 2).to(device))
        for i in range(0, len(images), BATCH)
    ]
    return torch.cat([encoder(part) for part in parts]).cpu().numpy()
