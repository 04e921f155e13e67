"""Images of a trained generator: what they are to show, and how they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.stats import chi2_contingency
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.core.errors import RunFailed
from benchmark.core.seeds import derive_seed
from benchmark.data.jpeg import jpeg_coded
from benchmark.data.prepared import Dataset
from benchmark.data.stream import images_to_uint8
from benchmark.evaluation.config import EvalConfig
from benchmark.metrics.extractors.store import images_sha256
from benchmark.training.method import Method

BATCH = 250  # images a forward pass: fixed, so that it cannot move a number
_OTHER_SHARES = 1e-6  # p of the test of equal shares of classes, so small that no random split is meant


@dataclass(frozen=True)
class GeneratedImages:
    """Generated images (N, S, S, C) uint8, or points (N, 2) float32, and what each was to be."""

    images: np.ndarray
    conditions: Tensor | None  # coded as in `method.Sample`
    classes: Tensor | None = None  # [N] that each was to show, where the method drew them with its conditions

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """Of the images."""
        return images_sha256(self.images)


@torch.no_grad()
def generate(method: Method, G: nn.Module, n: int, cfg: EvalConfig, data: Dataset) -> GeneratedImages:
    """n images for the conditions the configuration says; latents and conditions are functions of `cfg.seed`."""
    return generate_for(method, G, n, requested_conditions(method, n, cfg, data), cfg)


@torch.no_grad()
def generate_for(method: Method, G: nn.Module, n: int, conditions: Tensor | None, cfg: EvalConfig) -> GeneratedImages:
    """n images for these conditions; None: for those that the method draws. Latents are a function of `cfg.seed`."""
    torch.manual_seed(derive_seed(cfg.seed, 0xE7A1))
    images, drawn, classes = [], [], []
    for i in range(0, n, BATCH):
        sample = method.sample(G, min(BATCH, n - i), None if conditions is None else conditions[i : i + BATCH])
        images.append(stored(sample.images, cfg.jpeg))
        drawn.append(sample.conditions)
        classes.append(sample.classes)
    return GeneratedImages(np.concatenate(images), _joined(drawn), _joined(classes))


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.cat([part for part in parts if part is not None])


@dataclass(frozen=True)
class HeldOutImages:
    """Generated images for held-out images, of a method conditioned on images."""

    rows: Tensor  # [N] int64, of the held-out split
    images: np.ndarray  # (N, S, S, C) uint8, one generated image for each
    features: Tensor | None  # [M, d], what the generator is given of every held-out image


@torch.no_grad()
def generate_for_held_out(
    method: Method, G: nn.Module, n: int, seed: int, data: Dataset, jpeg: int | None = None
) -> HeldOutImages:
    """n images for held-out images drawn uniformly. Afterwards the method is conditioned on the training split again.

    seed: of the evaluation; rows and latents are functions of it. jpeg: `eval.jpeg`.
    """
    rows = np.random.Generator(np.random.PCG64([seed, 0x1ABE])).integers(len(data.test), size=n)
    method.condition_on(data, "test")
    torch.manual_seed(derive_seed(seed, 0x1ABE))
    conditions = torch.tensor(rows, device=method.device)
    images = np.concatenate([drawn(method, G, part, jpeg) for part in conditions.split(BATCH)])
    features = method.condition_features()
    method.condition_on(data, "train")
    return HeldOutImages(conditions, images, features)


def requested_conditions(method: Method, n: int, cfg: EvalConfig, data: Dataset) -> Tensor | None:
    """What is requested of a method conditioned on the dataset's labels; None: the method draws by its own rule."""
    if method.conditioning not in ("class", "attributes") or cfg.conditions == "uniform":
        return None
    split = data.split(labels_split(data, cfg))
    table = split.labels if method.conditioning == "class" else split.attributes
    assert table is not None
    rows = np.random.Generator(np.random.PCG64([cfg.seed, 0xC0DE])).integers(len(table), size=n)
    return torch.tensor(table[rows], dtype=torch.int64)


def labels_split(data: Dataset, cfg: EvalConfig) -> str:
    """The split whose labels are requested, as often as they occur there: the held-out one, which no method has seen.

    But the training split where it is the reference and its classes have other shares than the held-out ones, by a
    chi-squared test: a perfect generator would otherwise be compared with images of other classes. This is so where
    training classes are of unequal sizes and held-out ones are not.
    """
    train, test = data.train.labels, data.test.labels
    if cfg.reference != "train" or train is None or test is None or not len(test):
        return "test"
    n_classes = 1 + max(int(train.max()), int(test.max()))
    counts = np.array([np.bincount(labels, minlength=n_classes) for labels in (train, test)])
    counts = counts[:, counts.sum(axis=0) > 0]
    differ = counts.shape[1] > 1 and chi2_contingency(counts).pvalue < _OTHER_SHARES
    return "train" if differ else "test"


def stored(images: Tensor, jpeg: int | None = None) -> np.ndarray:
    """Images as they are kept: uint8 (N, S, S, C); points float32 (N, 2). jpeg: `eval.jpeg`.

    Raises RunFailed for images that are not finite; points that are not are counted where they are scored.
    """
    if images.ndim == 2:
        return images.cpu().numpy()
    if not bool(images.isfinite().all()):
        raise RunFailed("the generator gives images with NaN or infinity", "", "lower the learning rates")
    quantised = images_to_uint8(images)
    return quantised if jpeg is None else jpeg_coded(quantised, jpeg)


def drawn(method: Method, G: nn.Module, conditions: Tensor, jpeg: int | None = None) -> np.ndarray:
    """Quantised images for what is requested, (N, S, S, C) uint8. jpeg: `eval.jpeg`."""
    return stored(method.sample(G, len(conditions), conditions).images, jpeg)


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
