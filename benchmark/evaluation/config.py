"""How a trained generator is scored: the settings of an evaluation, every one of which decides some number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, NonNegativeInt, PositiveInt, added
from benchmark.core.errors import ConfigError
from benchmark.evaluation.protocols import ProtocolName
from benchmark.metrics.cas import CASConfig
from benchmark.metrics.catalogue import row_named
from benchmark.metrics.extractors.segmenter import SegmenterConfig
from benchmark.metrics.metric_row import Choice
from benchmark.metrics.sets import SetSettings
from benchmark.training.stages.judge import JudgeConfig
from benchmark.training.stages.simclr import SimCLRConfig

SnapshotScore = Literal["fd", "accuracy"]
Extra = Literal["cas", "lpips", "ppl", "ppl_judge", "boundary", "correlation", "steerability", "fsd"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExtraConfig:
    """Sizes. The papers' are in the comments; these are for minutes on two cores [ours]."""

    cas: CASConfig = CASConfig()  # the classifier of the classification accuracy score
    lpips_conditions: PositiveInt = 50  # conditions whose images are compared with one another
    lpips_images: Annotated[int, Field(ge=2)] = 5  # images of each
    ppl_pairs: Annotated[int, Field(ge=10)] = 500  # StyleGAN: 100,000
    ppl_sampling: Literal["full", "end"] = "full"  # where on a path its length is measured; end: at its start
    boundary_latents: Annotated[int, Field(ge=100)] = 5000  # LT-GAN: 500,000
    boundary_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # from each end; LT-GAN: 0.02, of 500,000
    correlation_images: Annotated[int, Field(ge=100)] | None = added(None)  # new ones; None: those that are scored
    steer_trajectories: PositiveInt = 16  # latents that are moved
    steer_iterations: PositiveInt = 25  # Plumerault et al.: 50
    fsd_images: Annotated[int, Field(ge=2)] = added(10_000)  # at most, of each set [C: Self-Conditioned GAN]
    segmenter: SegmenterConfig = added(SegmenterConfig())  # the segmentation network of FSD, which a user gives


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PublishedWeights:
    """The published networks that an evaluation uses, by the sha256 of their files; the suite fills them in."""

    judge: str | None = added(None)  # None: the classifier is trained here, by `judge`
    encoder: str | None = added(None)  # None: the encoder, where there is one, is trained here, by `encoder`


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvalConfig:
    """How a trained generator is scored."""

    protocol: ProtocolName = "suite"  # whose evaluation this is; another than the suite's is marked in every table
    n_fake: Annotated[int, Field(ge=2)] | None = None  # generated images; None: as many as the reference has
    metrics: Choice = added("all")  # few: the headline and what other settings require; all: the whole catalogue
    extractors: tuple[str, ...] = ("judge",)  # feature extractors, by name
    reference: str = "train"  # the split that generated images are compared with, whole: train, test or a part of test
    references: tuple[Literal["train", "test", "seen", "unseen"], ...] = added(())  # further ones, images for each
    jpeg: Annotated[int, Field(ge=1, le=95)] | None = added(None)  # quality by which both sides pass through JPEG
    strata: tuple[NonNegativeInt, PositiveInt] | None = added(None)  # FD by class frequency: few at most, many at least
    conditions: Literal["empirical", "uniform"] = "empirical"  # requested: held-out labels, or uniform / fair coins
    k: PositiveInt = 5  # neighbours of precision, recall, density and coverage
    prdc_images: Annotated[int, Field(ge=10)] = 10_000  # at most, of each set, that these four compare
    splits: PositiveInt | None = None  # of the inception score; None: ten from 10,000 images on, else one
    half_samples: NonNegativeInt = 20  # draws of the error of FD and KD by half-sampling; 0: none
    extrapolate: bool = False  # FD at infinitely many images, a column more
    snapshots: NonNegativeInt = 0  # scores during training, evenly spaced: see `benchmark.evaluation.snapshots`
    snapshot_images: Annotated[int, Field(ge=50)] = 500  # generated images of each; of points always 2,500
    snapshot_scores: tuple[SnapshotScore, ...] = added(("fd",))  # of images; accuracy: by the evaluation classifier
    controls: bool = True  # what the metrics say of damaged real images, as rows of the table
    chamfer_points: Annotated[int, Field(ge=100)] = 300  # real and generated points each of the t-SNE Chamfer distance
    tsne_seeds: PositiveInt = 3  # repetitions of t-SNE
    recall_images: PositiveInt = 500  # images an attribute in the recall at 0.2
    # published: classifier and encoder come with the suite, for the datasets that have them; local: trained here
    evaluators: Literal["published", "local"] = added("local")
    published: PublishedWeights | None = added(None)  # those that are used; filled in, never set
    judge: JudgeConfig = JudgeConfig()  # the classifier that scores control, where it is trained here
    encoder: SimCLRConfig | None = None  # the embedding of the Chamfer distance; None: left out
    extra: tuple[Extra, ...] = ()  # metrics that take minutes, by name
    extras: ExtraConfig = ExtraConfig()  # their sizes
    allow_unverified: bool = False  # accept extractor weights of another hash; every number then says so
    missing_weights: Literal["refuse", "unavailable"] = "refuse"  # before training, or values without a number
    seed: NonNegativeInt = 0  # of latents and conditions: the same for all models

    @property
    def set_settings(self) -> SetSettings:
        """How two sets of features are compared."""
        return SetSettings(
            self.k, self.prdc_images, self.splits, self.half_samples, self.extrapolate, self.seed, self.metrics
        )

    def computes(self, id: str) -> bool:
        """Whether `metrics` includes the catalogue's row with this id, `intra_fd_X`. Raises KeyError."""
        return row_named(id).computed(self.metrics)

    @property
    def embeds(self) -> bool:
        """Whether images are embedded by the encoder for the t-SNE Chamfer distance."""
        return self.encoder is not None and self.computes("chamfer_tsne_suite")


def check_snapshots(cfg: EvalConfig, name: str, *, has_labels: bool, is_points: bool = False) -> None:
    """Raise ConfigError for scores of snapshots that no snapshot would have. name: of the dataset, for the message."""
    if cfg.snapshots and "fd" in cfg.snapshot_scores and not cfg.extractors and not is_points:
        raise ConfigError(
            "eval.extractors = [] with eval.snapshots",
            "a snapshot's distance is in the features of the first extractor",
            "name an extractor, or set eval.snapshot_scores=[accuracy] or eval.snapshots=0",
        )
    if cfg.snapshot_scores == ("fd",):
        return
    what = f"eval.snapshot_scores = [{', '.join(cfg.snapshot_scores)}]"
    if not cfg.snapshots:
        raise ConfigError(what, "no snapshot is taken", "set eval.snapshots=N, or leave it out")
    if not cfg.snapshot_scores:
        raise ConfigError(what, "a snapshot would have no score", "name fd, accuracy or both")
    if "accuracy" in cfg.snapshot_scores and not has_labels:
        raise ConfigError(
            what, f"accuracy needs labels that an image can show, and {name} has none", "set eval.snapshot_scores=[fd]"
        )
