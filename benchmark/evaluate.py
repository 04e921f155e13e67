"""Evaluation: one sampling, one quantisation, one feature pass an extractor, then every metric from those features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.artifacts import Job
from benchmark.config import STRICT
from benchmark.control import BATCH, Fakes, control_accuracy, label_agreement, recall
from benchmark.data.mixtures import mixture_of
from benchmark.data.prepared import Dataset, Split
from benchmark.data.stream import to_float, to_uint8
from benchmark.judge import Judge, JudgeConfig
from benchmark.method import Measurement, Method, NonNegativeInt, PositiveInt, mix
from benchmark.metrics import extractors
from benchmark.metrics.chamfer import chamfer, chamfer_tsne
from benchmark.metrics.copying import copy_test, instance_preference
from benchmark.metrics.extractors import Extractor, Features, JudgeExtractor, extract
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.inception_score import inception_score
from benchmark.metrics.modes import class_modes, mode_statistics
from benchmark.records import Value
from benchmark.simclr import SimCLR, SimCLRConfig

PREFERENCE_SAMPLES = 2000  # at most, of the instance preference: each needs features of dozens of images
RANDOM_IMAGES = 10  # training images that each sample of an instance is compared with
KINDS: tuple[Literal["suite", "paper"], ...] = ("suite", "paper")  # settings of t-SNE: steady ones, the paper's


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvalConfig:
    """How a trained generator is scored."""

    n_fake: PositiveInt | None = None  # generated images; None: as many as the reference has
    extractors: tuple[str, ...] = ("judge",)  # feature extractors, by name
    reference: Literal["train", "test"] = "train"  # the split that generated images are compared with, whole
    conditions: Literal["empirical", "uniform"] = "empirical"  # asked: held-out labels, or uniform / fair coins
    chamfer_points: Annotated[int, Field(ge=100)] = 300  # real and generated points each of the t-SNE Chamfer distance
    tsne_seeds: PositiveInt = 3  # repetitions of t-SNE
    recall_images: PositiveInt = 500  # images an attribute in the recall at 0.2
    judge: JudgeConfig = JudgeConfig()  # the classifier that scores control
    encoder: SimCLRConfig | None = None  # the embedding of the Chamfer distance; None: left out
    allow_unverified: bool = False  # accept extractor weights of another hash; every number then says so
    seed: NonNegativeInt = 0  # of latents and conditions: the same for all models


@plain_dataclass(frozen=True)
class Scored:
    """What evaluation gives: the values, and hashes that identify what was scored."""

    values: list[Value]
    samples_sha256: str
    n_fake: int
    asked: dict[str, Any]  # conditioning, and what was drawn from which split


def build_judges(cfg: EvalConfig, job: Job) -> None:
    """Train what evaluation needs, on every rank: the judge and the embedding of the Chamfer distance."""
    if job.data.n_labels and not job.data.points:
        job.train(Judge, cfg.judge)
    if cfg.encoder is not None:
        job.train(SimCLR, cfg.encoder)


def build_extractors(cfg: EvalConfig, job: Job) -> tuple[list[Extractor], JudgeExtractor | None]:
    """Every extractor of a configuration, and the judge, which also scores control where there are labels."""
    judge = None
    if job.data.n_labels:
        net = job.train(Judge, cfg.judge)
        judge = JudgeExtractor(net, job.key_of(net), job.data.resolution)
    built = [
        extractors.build(name, judge=judge, device=job.device, allow_unverified=cfg.allow_unverified)
        for name in cfg.extractors
    ]
    return built, judge


def evaluate(method: Method, G: nn.Module, cfg: EvalConfig, job: Job, show_progress: bool = False) -> Scored:
    """Score generator G of a trained method against the job's data; its batch norms have `standing_statistics`."""
    data = job.data
    reference = data.train if cfg.reference == "train" else data.test
    n_fake = cfg.n_fake or len(reference)
    fakes = generate(method, G, n_fake, cfg, data)
    protocol = {
        "dataset": data.name,
        "data_sha256": data.sha256,
        "resolution": data.resolution,
        "reference": cfg.reference,
        "n_reference": len(reference),
        "n_fake": n_fake,
        "conditions": cfg.conditions,
        "generator": "average weights where the method keeps them",
        "quantisation": "none" if data.points else "uint8: round((x + 1) * 127.5)",
        "eval_seed": cfg.seed,
    }
    if data.points:
        values = mode_values(fakes, protocol, data)
    else:
        values = image_values(method, G, fakes, protocol, cfg, job, show_progress)
    values += [own_measurement(found, data, cfg) for found in method.measurements(G, data)]
    asked = asked_for(method, cfg)
    values = [replace(value, conditions=asked | value.conditions) for value in values]
    return Scored(values, hashlib.sha256(fakes.images.tobytes()).hexdigest(), n_fake, asked)


def image_values(
    method: Method,
    G: nn.Module,
    fakes: Fakes,
    protocol: dict[str, Any],
    cfg: EvalConfig,
    job: Job,
    show_progress: bool,
) -> list[Value]:
    """Every number of generated images: one feature pass an extractor, then the metrics from those features."""
    data, reference = job.data, job.data.train if cfg.reference == "train" else job.data.test
    built, judge = build_extractors(cfg, job)
    values: list[Value] = []
    passes: dict[str, Features] = {}  # of the generated images, one for each extractor
    for extractor in built:
        seen = passes[extractor.name] = extract(extractor, fakes.images, batch=BATCH, progress=show_progress)
        values += distances(extractor, seen, protocol, job, cfg)
        values += copying(method, extractor, seen, fakes, protocol, job, cfg.seed)
    if judge is not None:
        seen = passes.get(judge.name) or extract(judge, fakes.images, batch=BATCH)
        real = job.compute(reference_features, extractor=judge, split="train")
        on_real = real["logits"].cpu().numpy()
        if data.conditioning == "class":
            values += class_coverage(judge, seen.logits.numpy(), protocol, data)
        if method.conditioning in ("instance", "latent"):
            values += label_agreement(method, G, judge, on_real, fakes, seen.logits.numpy(), protocol, data, cfg.seed)
        elif fakes.asked is not None:
            values += control_accuracy(
                method, judge, seen.logits.numpy(), on_real, fakes.images, fakes.asked, protocol, data
            )
        if method.conditioning == "attributes":
            values += recall(method, G, judge, protocol, data, cfg.recall_images, cfg.seed)
    if cfg.encoder is not None:
        values += tsne_chamfer(cfg, job, reference, fakes, protocol)
    return values


def asked_for(method: Method, cfg: EvalConfig) -> dict[str, Any]:
    """The conditioning of a method, and what the evaluation asked for: it goes into the record with every number."""
    drawn = method.drawn
    if method.conditioning in ("class", "attributes") and cfg.conditions == "empirical":
        drawn = f"{'classes' if method.conditioning == 'class' else 'attributes'} of the held-out split, as they occur"
    elif method.conditioning == "class":
        drawn = "uniform classes"
    elif method.conditioning == "attributes":
        drawn = "attributes by fair coins"
    return {"conditioning": method.conditioning, "drawn": drawn}


def own_measurement(found: Measurement, data: Dataset, cfg: EvalConfig) -> Value:
    """A number of the method's own, as the record keeps it."""
    about = {"dataset": data.name, "data_sha256": data.sha256, "eval_seed": cfg.seed}
    return Value(found.id, found.name, found.value, found.better, about | found.protocol, details=found.details)


def mode_values(fakes: Fakes, protocol: dict[str, Any], data: Dataset) -> list[Value]:
    """Modes found, share of high-quality samples and reverse KL of 2-D samples (Self-Conditioned GAN, its table 1)."""
    mixture = mixture_of(data)
    found = mode_statistics(fakes.images, mixture.centres, mixture.std)
    rule = {"high quality": "within 3 standard deviations of a centre in each coordinate", "kl": "nats, unsmoothed"}
    protocol = protocol | rule | {"n_modes": len(mixture.centres), "std": mixture.std}
    return [
        Value("modes", "Modes", float(found.n_modes), "higher", protocol, details={"of": len(mixture.centres)}),
        Value("high_quality", "High quality (share)", found.high_quality, "higher", protocol),
        Value("reverse_kl", "Reverse KL", found.reverse_kl, "lower", protocol),
    ]


def class_coverage(judge: Extractor, logits: np.ndarray, protocol: dict[str, Any], data: Dataset) -> list[Value]:
    """Classes the judge sees among the samples, and how far their shares are from uniform."""
    found = class_modes(logits.argmax(1), data.n_classes)
    protocol = protocol | {"scorer": judge.identity, "kl": "to uniform shares, nats, unsmoothed"}
    return [
        Value(
            "modes_judge", "Classes seen (judge)", float(found.n_modes), "higher", protocol,
            details={"of": data.n_classes},
        ),
        Value(
            "reverse_kl_judge", "Reverse KL (judge)", found.reverse_kl, "lower", protocol,
            details={"log10": found.reverse_kl_log10},
        ),
    ]  # fmt: skip


def copying(
    method: Method,
    extractor: Extractor,
    seen: Features,
    fakes: Fakes,
    protocol: dict[str, Any],
    job: Job,
    seed: int,
) -> list[Value]:
    """Are samples copies of training images? And, for a method conditioned on images, like what they were asked for?"""
    train, test = (job.compute(reference_features, extractor=extractor, split=split) for split in ("train", "test"))
    pooled, name = np.asarray(seen.pooled), extractor.name.replace("-", "_")
    real = train["pooled"].cpu().numpy()
    found = copy_test(real, test["pooled"].cpu().numpy(), pooled)
    protocol = protocol | {"extractor": extractor.identity}
    values = [
        Value(
            f"authenticity_{name}",
            f"Authenticity-{extractor.name}",
            found.authenticity,
            "higher",
            protocol | {"authentic": "farther from its nearest training image than that one from its own nearest"},
            found.low,
            found.high,
            details={"of_held_out": found.authenticity_heldout, "nearest_over_held_out": found.ratio},
        )
    ]
    some = None if fakes.asked is None else fakes.asked[:PREFERENCE_SAMPLES]
    if (targets := method.targets(some)) is not None:
        values.append(preference(extractor, pooled[: len(targets)], real, targets.cpu().numpy(), protocol, seed))
    return values


def preference(
    extractor: Extractor, fake: np.ndarray, real: np.ndarray, targets: np.ndarray, protocol: dict[str, Any], seed: int
) -> Value:
    """How often a sample is closer to an image it was asked to be like than to a random training image."""
    random = np.random.Generator(np.random.PCG64([seed, 0x9EA2])).integers(len(real), size=(len(fake), RANDOM_IMAGES))
    found = instance_preference(fake, real[targets], real[random])
    return Value(
        f"instance_preference_{extractor.name.replace('-', '_')}",
        f"Instance preference-{extractor.name}",
        found.value,
        "higher",
        protocol | {"random_images": RANDOM_IMAGES, "samples": len(fake), "chance": 0.5},
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
    torch.manual_seed(mix(0x57A7))
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
def generate(method: Method, G: nn.Module, n: int, cfg: EvalConfig, data: Dataset) -> Fakes:
    """n images for the conditions the configuration says; latents and conditions are functions of `cfg.seed`."""
    asked = conditions(method, n, cfg, data)
    torch.manual_seed(mix(cfg.seed, 0xE7A1))
    images, drawn = [], []
    for i in range(0, n, BATCH):
        sample = method.sample(G, min(BATCH, n - i), None if asked is None else asked[i : i + BATCH])
        images.append(stored(sample.images))
        drawn.append(sample.asked)
    return Fakes(np.concatenate(images), torch.cat(drawn) if drawn[0] is not None else None)  # type: ignore[arg-type]


def stored(images: Tensor) -> np.ndarray:
    """Images as they are kept: uint8 (N, S, S, C); points float32 (N, 2)."""
    return (images if images.ndim == 2 else to_uint8(images).permute(0, 2, 3, 1)).cpu().numpy()


def conditions(method: Method, n: int, cfg: EvalConfig, data: Dataset) -> Tensor | None:
    """What is asked of a method conditioned on the dataset's labels; None: the method draws by its own rule."""
    if method.conditioning not in ("class", "attributes") or cfg.conditions == "uniform":
        return None
    table = data.test.labels if method.conditioning == "class" else data.test.attributes
    assert table is not None
    rows = np.random.Generator(np.random.PCG64([cfg.seed, 0xC0DE])).integers(len(table), size=n)
    return torch.tensor(table[rows], dtype=torch.int64)


def reference_features(data: Dataset, extractor: Extractor, split: str) -> dict[str, Tensor]:
    """Features of a whole split, once for all runs. A `job.compute` function."""
    images = (data.train if split == "train" else data.test).images
    features = extract(extractor, images, batch=BATCH)
    return {"pooled": torch.as_tensor(features.pooled), "logits": torch.as_tensor(features.logits)}


def distances(
    extractor: Extractor,
    fake: Features,
    protocol: dict[str, Any],
    job: Job,
    cfg: EvalConfig,
) -> list[Value]:
    """Frechet distance, classifier score and two-way Chamfer distance from one feature pass."""
    protocol = protocol | {"extractor": extractor.identity}
    real = job.compute(reference_features, extractor=extractor, split=cfg.reference)["pooled"].cpu().numpy()
    pooled = np.asarray(fake.pooled)
    splits = 10 if len(pooled) >= 10_000 else 1
    score = inception_score(np.asarray(fake.logits), splits=splits)
    both = chamfer(real, pooled)
    name = extractor.name.replace("-", "_")
    return [
        Value(f"fd_{name}", extractor.distance_name, frechet_distance(real, pooled), "lower", protocol),
        Value(
            f"score_{name}",
            extractor.score_name,
            score.mean,
            "higher",
            protocol | {"splits": splits},
            details={"std_over_splits": score.std},
        ),
        Value(
            f"chamfer_{name}",
            f"Chamfer-{extractor.name}",
            both.two_way,
            "lower",
            protocol | {"chamfer": "unit-length features, mean squared distance to the nearest, both directions added"},
            details={"real_to_fake": both.real_to_fake, "fake_to_real": both.fake_to_real},
        ),
    ]


@torch.no_grad()
def tsne_chamfer(cfg: EvalConfig, job: Job, reference: Split, fakes: Fakes, protocol: dict[str, Any]) -> list[Value]:
    """InfoSCC-GAN's Chamfer distance: a joint 3-D t-SNE of encoder embeddings, with everything pinned."""
    encoder = job.train(SimCLR, cfg.encoder)
    n = min(cfg.chamfer_points, len(reference), len(fakes.images))
    rows = np.random.Generator(np.random.PCG64([cfg.seed, 0x75E])).choice(len(reference), n, replace=False)
    real, fake = (embed(encoder, images) for images in (reference.images[np.sort(rows)], fakes.images[:n]))
    values = []
    for kind in KINDS:
        found = chamfer_tsne(real, fake, tsne_seeds=range(cfg.tsne_seeds), protocol=kind, max_points=2 * n)
        settings = protocol | {"encoder": job.key_of(encoder), "chamfer_points": n, "tsne": found.parameters}
        suffix = "" if kind == "suite" else " (paper's t-SNE)"
        values.append(
            Value(
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
