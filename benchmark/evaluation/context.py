"""What an evaluation scores: images, whoever generated them, and the data they are compared with.

Every group of metrics takes an `ImageSet`, or the `EvaluationContext` of a trained generator, which is one, so that all
of them look at the same images by the same protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.data.jpeg import JpegImages
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.networks import build_extractor, build_judge
from benchmark.evaluation.protocols import differences
from benchmark.evaluation.sampling import BATCH, GeneratedImages, generate_for_held_out
from benchmark.metrics.extractors.base import Extractor, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.metrics.extractors.weights import TRAINED_HERE
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.measurements import Picture
from benchmark.training.method import Method


@dataclass(frozen=True)
class Side:
    """One of the two sets: its images, and classes where it has some."""

    images: np.ndarray  # uint8 (N, H, W, C); or `JpegImages`, which are read as such
    sha256: str  # of the images
    labels: np.ndarray | None = None  # int64 [N]

    def __len__(self) -> int:
        return len(self.images)


def reference_of(data: Dataset, split: str, jpeg: int | None = None) -> Side:
    """A split to compare with. Its hash is made of the data's, so that nothing has to be read again.

    jpeg: `eval.jpeg`.
    """
    part = data.split(split)
    return side_of(part.images, f"{data.sha256}/{split}", part.labels, None if data.is_points else jpeg)


def side_of(images: np.ndarray, sha256: str, labels: np.ndarray | None, jpeg: int | None) -> Side:
    """Real images to compare with; with `eval.jpeg` as JPEG leaves them."""
    if jpeg is None:
        return Side(images, sha256, labels)
    coded: Any = JpegImages(images, jpeg)
    return Side(coded, f"{sha256}/jpeg {jpeg}", labels)


def quantisation(cfg: EvalConfig) -> str:
    """How images of both sides are kept, in words."""
    return "uint8" if cfg.jpeg is None else f"uint8, JPEG of quality {cfg.jpeg} on both sides"


def protocol_of(data: Dataset, cfg: EvalConfig, n_fake: int) -> dict[str, Any]:
    """What decides the numbers of every set of images that is compared with these data."""
    return {
        "protocol": cfg.protocol,
        "differences": differences(cfg.protocol, data.split_note),
        "dataset": data.name,
        "data_sha256": data.sha256,
        "resolution": data.resolution,
        "reference": cfg.reference,
        "n_reference": len(data.split(cfg.reference)),
        "n_fake": n_fake,
        "quantisation": "none" if data.is_points else quantisation(cfg),
        "set_seed": cfg.seed,
    }


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images under evaluation, and what they are compared with.

    The conditions of the images are classes of the reference; images that come without them have none.
    """

    generated: GeneratedImages
    reference: Side
    class_names: tuple[str, ...]  # of the reference
    protocol: dict[str, Any]  # what decides every number
    cfg: EvalConfig
    artifacts: ArtifactStore | None  # of the reference's dataset; None: it is no dataset of the suite
    store: FeatureStore  # features of images, shared by all runs of a results folder
    device: torch.device
    show_progress: bool = False

    @property
    def seed(self) -> int:
        """Of whatever a metric draws."""
        return self.cfg.seed

    @cached_property
    def judge(self) -> JudgeExtractor | None:
        """The evaluation classifier; None where the reference has no labels, or is no dataset of the suite."""
        if self.artifacts is None or self.artifacts.data.is_points:
            return None
        return build_judge(self.cfg, self.artifacts)

    def extractor(self, name: str) -> Extractor:
        """An extractor that can look at these images.

        Raises WeightsError where its weights are absent, ConfigError for one that was trained on another size.
        """
        if self.artifacts is None:
            return build(name, device=self.device, allow_unverified=self.cfg.allow_unverified)
        if name in TRAINED_HERE:
            self._require_side(name)
        judge = self.judge if name == "judge" else None
        return build_extractor(name, self.cfg, judge, self.artifacts)

    def _require_side(self, name: str) -> None:
        mine, side = self.generated.images.shape[1:3], self.reference.images.shape[1]
        if mine != (side, side):
            raise ConfigError(
                f"extractor {name}",
                f"it knows images of {side} px, these have {mine[1]} x {mine[0]}",
                f"resize them to {side} px (--resolution {side} for files), or use the extractor lite0",
            )

    @cached_property
    def judged(self) -> np.ndarray:
        """The judge's logits [N, n_labels] of the generated images."""
        return self._logits(self.generated.images, self.generated.sha256)

    def _logits(self, images: np.ndarray, sha256: str) -> np.ndarray:
        assert self.judge is not None
        return np.asarray(self.store.features(self.judge, images, sha256=sha256).logits)

    @cached_property
    def classes(self) -> np.ndarray | None:
        """The reference's class that each generated image was to show, [N]; None where that means nothing."""
        conditions = self.generated.conditions
        return None if conditions is None else conditions.cpu().numpy()

    @property
    def given_classes(self) -> np.ndarray | None:
        """The class that each image was given, [N]: `classes`, but for a method that is given one with an instance."""
        given = self.generated.classes
        return self.classes if given is None else given.cpu().numpy()

    @property
    def class_counts(self) -> np.ndarray | None:
        """Training images of each class [K]; None where the reference is no dataset with classes."""
        data = None if self.artifacts is None else self.artifacts.data
        if data is None or data.conditioning != "class" or data.train.labels is None:
            return None
        return np.bincount(data.train.labels, minlength=data.n_classes)

    def targets(self, n: int) -> np.ndarray | None:
        """Training images [n, k] that each of the first n images was to be like, as rows; None where there are none."""
        return None


@dataclass(frozen=True)
class HeldOut:
    """Samples for held-out images."""

    conditions: Tensor  # [N], rows of the held-out split
    logits: np.ndarray  # [N, n_labels], the judge's of the samples
    features: Tensor | None  # [M, d], what the generator is given of every held-out image


@dataclass(frozen=True, kw_only=True)
class EvaluationContext(ImageSet):
    """A generator under evaluation, with its images."""

    method: Method
    G: nn.Module  # the weights that are scored
    artifacts: ArtifactStore  # of the data that the images are compared with
    transferred: bool = False  # these data are not those that the method learned from
    pictures: list[Picture] = field(default_factory=list)  # for the run folder, by metrics that can be looked at

    @property
    def data(self) -> Dataset:
        """What the images are compared with."""
        return self.artifacts.data

    @cached_property
    def judged_real(self) -> np.ndarray:
        """The judge's logits [N, n_labels] of the training images, which it never saw."""
        return self._logits(self.data.train.images, f"{self.data.sha256}/train")

    @cached_property
    def judged_held_out(self) -> np.ndarray:
        """The judge's logits [N, n_labels] of the held-out images, from which it learned."""
        return self._logits(self.data.test.images, f"{self.data.sha256}/test")

    @cached_property
    def classes(self) -> np.ndarray | None:
        """The dataset's class that each generated image was to show, [N]; None where that means nothing."""
        conditions = self.generated.conditions
        if self.data.conditioning != "class" or conditions is None:
            return None
        if self.method.conditioning == "class":
            return conditions.cpu().numpy()
        if self.method.conditioning in ("instance", "latent"):
            return labels_of(self.data, "train", conditions).numpy()
        return None

    @cached_property
    def held_out(self) -> HeldOut:
        """What becomes of held-out images when a method is conditioned on them, uniformly."""
        assert self.judge is not None
        n = len(self.generated)
        found = generate_for_held_out(self.method, self.G, n, self.seed, self.data, self.cfg.jpeg)
        return HeldOut(found.rows, judged_logits(self.judge, found.images), found.features)

    def targets(self, n: int) -> np.ndarray | None:
        """Training images [n, k] that each of the first n images was to be like, as rows; None where there are none.

        Under transfer that is the requested image: its neighbours are images of another dataset.
        """
        conditions = None if self.generated.conditions is None else self.generated.conditions[:n]
        if self.transferred and conditions is not None:
            return conditions[:, None].cpu().numpy()
        targets = self.method.targets(conditions)
        return None if targets is None else targets.cpu().numpy()


def judged_logits(judge: JudgeExtractor, images: np.ndarray) -> np.ndarray:
    """The judge's logits [N, n_labels] of images (N, S, S, C) uint8."""
    return np.asarray(extract(judge, images, batch=BATCH).logits)


def labels_of(data: Dataset, split: str, rows: Tensor) -> Tensor:
    """Labels or attributes of some images."""
    part = data.split(split)
    table = part.labels if part.labels is not None else part.attributes
    assert table is not None
    return torch.tensor(table[rows.cpu().numpy()], dtype=torch.int64)
