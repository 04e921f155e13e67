"""What an evaluation scores: a trained generator, its images, and the data they are compared with.

Every group of metrics (`evaluate`, `control`, `extra_scores`) takes this one object, so that all of them look at the
same images by the same protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.data.stream import to_uint8
from benchmark.metrics.extractors import JudgeExtractor, extract
from benchmark.metrics.store import FeatureStore, images_sha256
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.method import Method

if TYPE_CHECKING:
    from benchmark.evaluation.config import EvalConfig

BATCH = 250  # images a forward pass: fixed, so that it cannot move a number


@dataclass(frozen=True)
class GeneratedImages:
    """Generated images (N, S, S, C) uint8, or points (N, 2) float32, and what each was asked to be."""

    images: np.ndarray
    conditions: Tensor | None  # coded as in `method.Sample`

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """Of the images."""
        return images_sha256(self.images)


@dataclass(frozen=True)
class HeldOut:
    """Samples for held-out images."""

    conditions: Tensor  # [N], rows of the held-out split
    logits: np.ndarray  # [N, n_labels], the judge's of the samples
    features: Tensor | None  # [M, d], what the generator is given of every held-out image


@dataclass(frozen=True)
class EvaluationContext:
    """A generator under evaluation."""

    method: Method
    G: nn.Module  # the weights that are scored
    fakes: GeneratedImages
    judge: JudgeExtractor | None  # None: the data have no labels
    protocol: dict[str, Any]  # what decides every number
    cfg: EvalConfig
    artifacts: ArtifactStore  # of the data that the images are compared with
    transferred: bool = False  # these data are not those that the method learned from
    show_progress: bool = False

    @property
    def data(self) -> Dataset:
        """What the images are compared with."""
        return self.artifacts.data

    @property
    def store(self) -> FeatureStore:
        """Features of images, shared by all runs of a results folder."""
        return self.artifacts.store

    @property
    def seed(self) -> int:
        """Of whatever a metric draws."""
        return self.cfg.seed

    @cached_property
    def judged(self) -> np.ndarray:
        """The judge's logits [N, n_labels] of the generated images."""
        return self._logits(self.fakes.images, self.fakes.sha256)

    @cached_property
    def judged_real(self) -> np.ndarray:
        """The judge's logits [N, n_labels] of the training images, which it never saw."""
        return self._logits(self.data.train.images, f"{self.data.sha256}/train")

    def _logits(self, images: np.ndarray, sha256: str) -> np.ndarray:
        assert self.judge is not None
        return np.asarray(self.store.features(self.judge, images, sha256=sha256).logits)

    @cached_property
    def classes(self) -> np.ndarray | None:
        """The dataset's class that each generated image was to show, [N]; None where that means nothing."""
        conditions = self.fakes.conditions
        if self.data.conditioning != "class" or conditions is None:
            return None
        if self.method.conditioning == "class":
            return conditions.cpu().numpy()
        if self.method.conditioning in ("instance", "latent"):
            return labels_of(self.data, "train", conditions).numpy()
        return None

    @cached_property
    def held_out(self) -> HeldOut:
        """What becomes of held-out images when a method conditioned on images is asked for them, uniformly."""
        assert self.judge is not None
        n, seed = len(self.fakes), derive_seed(self.seed, 0x1ABE)
        rows = np.random.Generator(np.random.PCG64([self.seed, 0x1ABE])).integers(len(self.data.test), size=n)
        self.method.condition_on(self.data, "test")
        torch.manual_seed(seed)
        conditions = torch.tensor(rows, device=self.method.device)
        images = np.concatenate([drawn(self.method, self.G, part) for part in conditions.split(BATCH)])
        features = self.method.condition_features()
        self.method.condition_on(self.data, "train")
        return HeldOut(conditions, judged_logits(self.judge, images), features)

    def targets(self, n: int) -> np.ndarray | None:
        """Training images [n, k] that each of the first n images was to be like, as rows; None where there are none.

        Under transfer that is the image that was asked for: its neighbours are images of another dataset.
        """
        conditions = None if self.fakes.conditions is None else self.fakes.conditions[:n]
        if self.transferred and conditions is not None:
            return conditions[:, None].cpu().numpy()
        targets = self.method.targets(conditions)
        return None if targets is None else targets.cpu().numpy()


def drawn(method: Method, G: nn.Module, conditions: Tensor) -> np.ndarray:
    """Quantised images for what is asked, (N, S, S, C) uint8."""
    return to_uint8(method.sample(G, len(conditions), conditions).images).permute(0, 2, 3, 1).cpu().numpy()


def judged_logits(judge: JudgeExtractor, images: np.ndarray) -> np.ndarray:
    """The judge's logits [N, n_labels] of images (N, S, S, C) uint8."""
    return np.asarray(extract(judge, images, batch=BATCH).logits)


def labels_of(data: Dataset, split: str, rows: Tensor) -> Tensor:
    """Labels or attributes of some images."""
    part = data.train if split == "train" else data.test
    table = part.labels if part.labels is not None else part.attributes
    assert table is not None
    return torch.tensor(table[rows.cpu().numpy()], dtype=torch.int64)
