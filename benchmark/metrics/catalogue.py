"""The metrics, one row each: all that the suite knows of a metric apart from its arithmetic.

Evaluation takes ids, names, directions and functions from here; tables, comparisons and figures take the scale, the
headline and the direction. A metric of two sets of features is added by one file in `benchmark/metrics/` and one row
here; `CONTRIBUTING.md` shows it. Importing this module loads neither torch nor NumPy, so that `list` answers at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from benchmark.metrics.metric_row import MetricRow

# The scorer, in a value's protocol, of a method's own classifier
OWN_CLASSIFIER = {"name": "the classifier the generator was trained against"}
# Metrics that ask one question, whether a sample shows what was requested, of labels, images and clusters as conditions
CONTROL = ("control_accuracy_judge", "label_agreement_judge", "cluster_agreement_judge")
LATE_SNAPSHOTS = 3  # last snapshots whose mean is given


# In the order in which `list` prints them.
# fmt: off
METRICS: tuple[MetricRow, ...] = (
    MetricRow(
        "fd_X", "FD-X", "lower",
        "Frechet distance between feature Gaussians: FID (X = inception), FD-lite0, FD-judge, ...; lower is better",
        ("features",), "Heusel et al., NeurIPS 2017, eq. 6", scale="log", headline=True, frechet=True,
        compute="benchmark.metrics.frechet:of_sets", half_sampled=True,
    ),
    MetricRow(
        "score_X", "CS-X", "higher",
        "Inception Score (X = inception) or the same formula on another classifier, CS-X; higher is better",
        ("logits",), "Salimans et al., NeurIPS 2016, sec. 4", headline=True,
        compute="benchmark.metrics.inception_score:of_sets",
    ),
    MetricRow(
        "kd_X", "KD-X", "lower",
        "kernel distance, unbiased MMD^2 of all images: KID (X = inception), KD-X; lower is better",
        ("features",), "Binkowski et al., ICLR 2018, sec. 4; Gretton et al., JMLR 2012, eq. 3",
        scale="log", headline=True,
        compute="benchmark.metrics.kid:of_sets", half_sampled=True,
    ),
    MetricRow(
        "precision_X", "Precision-X", "higher",
        "share of generated images inside the real ones' neighbourhoods; higher is better",
        ("features",), "Kynkaanniemi et al., NeurIPS 2019, eq. 1 and 2", scale="logit", headline=True,
        counted_on="prdc_images:1", compute="benchmark.metrics.prdc:of_sets",
    ),
    MetricRow(
        "recall_X", "Recall-X", "higher",
        "share of real images inside the generated ones' neighbourhoods; higher is better",
        ("features",), "Kynkaanniemi et al., NeurIPS 2019, eq. 1 and 2", scale="logit", headline=True,
        counted_on="prdc_images:0", compute="benchmark.metrics.prdc:of_sets",
    ),
    MetricRow(
        "density_X", "Density-X", "higher",
        "real neighbourhoods around a generated image, 1 for equal sets; higher is better",
        ("features",), "Naeem et al., ICML 2020, sec. 3", compute="benchmark.metrics.prdc:of_sets",
    ),
    MetricRow(
        "coverage_X", "Coverage-X", "higher",
        "share of real images with a generated one in their neighbourhood; higher is better",
        ("features",), "Naeem et al., ICML 2020, sec. 3", scale="logit", headline=True,
        counted_on="prdc_images:0", compute="benchmark.metrics.prdc:of_sets",
    ),
    MetricRow(
        "clipped_density_X", "Clipped density-X", "higher",
        "density that outliers cannot raise, calibrated: p of a set whose share p is good; higher is better",
        ("features",), "Salvy et al., ICLR 2026 (arXiv 2507.01761)", scale="logit",
        counted_on="prdc_images:1", compute="benchmark.metrics.clipped:of_sets",
    ),
    MetricRow(
        "clipped_coverage_X", "Clipped coverage-X", "higher",
        "coverage by k images in place of one, calibrated likewise; higher is better",
        ("features",), "Salvy et al., ICLR 2026 (arXiv 2507.01761)", scale="logit",
        counted_on="prdc_images:0", compute="benchmark.metrics.clipped:of_sets",
    ),
    MetricRow(
        "vendi_X", "Vendi-X", "higher",
        "effective number of different images among the samples, cosine kernel; higher is more diverse",
        ("features",), "Friedman & Dieng, TMLR 2023 (arXiv 2210.02410)", scale="log",
        compute="benchmark.metrics.vendi:of_sets",
    ),
    MetricRow(
        "cmmd_X", "CMMD-X", "lower",
        "squared MMD of CLIP embeddings, Gaussian kernel (CMMD: X = clip-l-14-336); lower is better",
        ("features",), "Jayasumana et al., CVPR 2024 (arXiv 2401.09603)", scale="log",
        compute="benchmark.metrics.cmmd:of_sets",
    ),
    MetricRow(
        "fd_infinity_X", "FD-X, extrapolated", "lower",
        "Frechet distance extrapolated to infinitely many images (eval.extrapolate); lower is better",
        ("features",), "Chong & Forsyth, CVPR 2020", scale="log", frechet=True, optional=True,
        compute="benchmark.metrics.resampling:of_sets",
    ),
    MetricRow(
        "intra_fd_X", "Intra-class FD-X", "lower",
        "mean Frechet distance within classes; lower is better",
        ("features", "classes"), "Miyato & Koyama, ICLR 2018 (intra FID)", scale="log",
    ),
    MetricRow(
        "fd_many_X", "FD-X, many-shot classes", "lower",
        "Frechet distance by class frequency, fd_medium_X and fd_few_X with it (eval.strata); lower is better",
        ("features", "classes"), "Casanova et al., NeurIPS 2021 (IC-GAN), ImageNet-LT", scale="log", frechet=True,
    ),
    MetricRow("fd_medium_X", "FD-X, medium-shot classes", "lower", "", ("features", "classes"), "as fd_many_X",
              scale="log", frechet=True),
    MetricRow("fd_few_X", "FD-X, few-shot classes", "lower", "", ("features", "classes"), "as fd_many_X",
              scale="log", frechet=True),
    MetricRow(
        "fd_train_X", "FD-X, training split", "lower",
        "Frechet distance to a further set, with images of its own: fd_test_X, fd_seen_X, fd_unseen_X "
        "(eval.references); lower is better",
        ("features", "generator"), "Casanova et al., NeurIPS 2021 (IC-GAN), COCO-Stuff", scale="log", frechet=True,
    ),
    MetricRow("fd_test_X", "FD-X, held-out split", "lower", "", ("features", "generator"), "as fd_train_X",
              scale="log", frechet=True),
    MetricRow("fd_seen_X", "FD-X, seen combinations", "lower", "", ("features", "generator"), "as fd_train_X",
              scale="log", frechet=True),
    MetricRow("fd_unseen_X", "FD-X, unseen combinations", "lower", "", ("features", "generator"), "as fd_train_X",
              scale="log", frechet=True),
    MetricRow("score_train_X", "CS-X, as the training split", "higher", "", ("logits", "generator"), "as score_X"),
    MetricRow(
        "chamfer_X", "Chamfer-X", "lower",
        "two-way mean squared distance to the nearest, unit-length features; lower is better",
        ("features",), "Fan et al., CVPR 2017; means in place of sums are ours", scale="log", headline=True,
        compute="benchmark.metrics.chamfer:of_sets",
    ),
    MetricRow(
        "chamfer_tsne_suite", "Chamfer t-SNE", "lower",
        "one-way sum in a joint 3-D t-SNE of encoder embeddings, PCA start; lower is better",
        ("encoder",), "InfoSCC-GAN, sec. 4; the t-SNE settings are ours", scale="log",
    ),
    MetricRow(
        "chamfer_tsne_paper", "Chamfer t-SNE (paper's t-SNE)", "lower",
        "the same with the t-SNE settings of InfoSCC-GAN's paper; lower is better",
        ("encoder",), "InfoSCC-GAN, sec. 4 and its code", scale="log",
    ),
    MetricRow(
        "control_accuracy_judge", "Control accuracy (judge)", "higher",
        "share of samples in which the evaluation classifier sees the requested label; higher is better",
        ("classifier",), "InfoSCC-GAN, sec. 4; macro average and interval are ours", scale="logit", headline=True,
    ),
    MetricRow(
        "control_accuracy_own", "Control accuracy (own)", "higher",
        "the same by the classifier the generator was trained against; higher is better",
        ("own classifier",), "InfoSCC-GAN, sec. 4; macro average and interval are ours", scale="logit",
    ),
    MetricRow(
        "recall_0.2_judge", "Recall@0.2 (judge)", "higher",
        "InfoSCC-GAN's multi-label protocol: attribute forced on, sigmoid > 0.2; higher is better",
        ("classifier", "generator"), "InfoSCC-GAN's code for CelebA", scale="logit", counted_on="images_per_attribute",
    ),
    MetricRow(
        "recall_0.2_own", "Recall@0.2 (own)", "higher",
        "the same by the classifier the generator was trained against; higher is better",
        ("own classifier", "generator"), "InfoSCC-GAN's code for CelebA", scale="logit",
        counted_on="images_per_attribute",
    ),
    MetricRow(
        "label_agreement_judge", "Label agreement (judge)", "higher",
        "conditioned on images: samples with the held-out image's label; higher is better",
        ("classifier", "generator"), "ours, after Durall et al., VISAPP 2021", scale="logit", headline=True,
    ),
    MetricRow(
        "cluster_agreement_judge", "Cluster agreement (judge)", "higher",
        "conditioned on clusters: samples for a training image's cluster with that image's label; higher is better",
        ("classifier", "generator"), "ours", scale="logit",
    ),
    MetricRow(
        "instance_preference_X", "Instance preference-X", "higher",
        "samples nearer to what they are to be like than to random images, 0.5 is chance; higher is better",
        ("features",), "ours; the area under a ROC curve of Mann & Whitney, 1947", scale="logit", counted_on="samples",
    ),
    MetricRow(
        "authenticity_X", "Authenticity-X", "higher",
        "share of samples that are no copies of training images; higher is better",
        ("features",), "Alaa et al., ICML 2022", scale="logit", headline=True,
    ),
    MetricRow(
        "data_copying_X", "C_T-X", None,
        "three-sample test for copies of training images: far below 0 copies, far above 0 underfitting",
        ("features",), "Meehan et al., AISTATS 2020 (arXiv 2004.05675)",
    ),
    MetricRow(
        "mifd_X", "MiFD-X", "lower",
        "MiFID: Frechet distance over the cosine distance to training images; lower is better",
        ("features",), "Bai et al., KDD 2021 (arXiv 2106.03062)", scale="log", only=("inception", "inception-clean"),
    ),
    MetricRow(
        "modes_judge", "Classes seen (judge)", "higher",
        "classes that the judge sees among the samples; higher is better",
        ("classifier",), "Liu et al., CVPR 2020, after Lin et al., NeurIPS 2018 (PacGAN)", counted=True,
    ),
    MetricRow(
        "reverse_kl_judge", "Reverse KL (judge)", "lower",
        "KL of their shares to uniform, nats; lower is better",
        ("classifier",), "Liu et al., CVPR 2020, after Lin et al., NeurIPS 2018 (PacGAN)", scale="log", unit="nats",
    ),
    MetricRow(
        "modes", "Modes", "higher",
        "2-D points: modes with a sample of high quality; higher is better",
        ("points",), "Liu et al., CVPR 2020, table 1", counted=True, headline=True,
    ),
    MetricRow(
        "high_quality", "High quality (share)", "higher",
        "2-D points: share of samples within 3 standard deviations of a mode; higher is better",
        ("points",), "Liu et al., CVPR 2020, table 1", scale="logit", headline=True,
    ),
    MetricRow(
        "reverse_kl", "Reverse KL", "lower",
        "2-D points: KL of the modes' shares to uniform, nats; lower is better",
        ("points",), "Liu et al., CVPR 2020, table 1", headline=True, scale="log", unit="nats",
    ),
    MetricRow(
        "nmi", "Clusters, NMI", "higher",
        "clusters a method made itself against the classes, normalised mutual information; higher is better",
        ("method",), "Strehl & Ghosh, JMLR 2002", scale="logit", counted_on="",
    ),
    MetricRow(
        "purity", "Clusters, purity", "higher",
        "share of training images of their cluster's most frequent class; higher is better",
        ("method",), "Manning et al., Introduction to Information Retrieval, 2008, sec. 16.3", scale="logit",
    ),
    MetricRow(
        "neighbour_K", "Class of neighbour K", "higher",
        "share of training images whose K-th neighbour in the method's features has their class; higher is better",
        ("method",), "Durall et al., VISAPP 2021, table 2", scale="logit", counted_on="queries",
    ),
    MetricRow(
        "neighbour_map_K", "Label of neighbour K (feature maps)", "higher",
        "the same in the feature maps that decide a method's neighbours, by L1; attributes too; higher is better",
        ("method",), "Durall et al., VISAPP 2021, table 2", scale="logit", counted_on="queries",
    ),
    MetricRow(
        "cas", "CAS", "higher",
        "top-1 of a classifier trained on generated images only (eval.extra); higher is better",
        ("classes",), "Ravuri & Vinyals, NeurIPS 2019", scale="logit", extra="cas",
    ),
    MetricRow(
        "cas_top5", "CAS, top-5", "higher", "", ("classes",), "as cas", scale="logit", extra="cas",
    ),
    MetricRow(
        "lpips", "LPIPS diversity", "higher",
        "LPIPS between images of one condition (eval.extra): diversity; higher is better",
        ("generator",), "Zhang et al., CVPR 2018, eq. 1; as diversity Zhu et al., NeurIPS 2017", extra="lpips",
    ),
    MetricRow(
        "ppl_z", "PPL (z)", "lower",
        "perceptual path length in z, ppl_w in w (eval.extra); lower is smoother",
        ("generator",), "Karras et al., CVPR 2019, sec. 4.1", scale="log", extra="ppl",
    ),
    MetricRow("ppl_w", "PPL (w)", "lower", "", ("generator",), "as ppl_z", scale="log", extra="ppl"),
    MetricRow(
        "ppl_z_judge", "Path length-judge (z)", "lower",
        "length of the same paths in the evaluation classifier's features (eval.extra); lower is smoother",
        ("generator", "classifier"), "as ppl_z, with another distance (ours)", scale="log", extra="ppl_judge",
    ),
    MetricRow(
        "ppl_w_judge", "Path length-judge (w)", "lower", "",
        ("generator", "classifier"), "as ppl_z_judge", scale="log", extra="ppl_judge",
    ),
    MetricRow(
        "boundary_held_out", "SVM boundary (held-out extremes)", "higher",
        "a plane in latent space tells a label's extremes (eval.extra); higher is better",
        ("generator", "classifier"), "Shen et al., CVPR 2020 (InterFaceGAN), sec. 4.2", scale="logit",
        extra="boundary",
    ),
    MetricRow(
        "boundary_remaining_midpoint", "SVM boundary (all others, split at the midpoint of scores)", "higher",
        "the same on all other latents, split at the scores' midpoint; higher is better",
        ("generator", "classifier"), "Patel et al., WACV 2021 (LT-GAN)", scale="logit", extra="boundary",
    ),
    MetricRow(
        "svm_L", "SVM accuracy, L", "higher",
        "plain accuracy of that plane for label L, on all other latents (eval.extra); higher is better",
        ("generator", "classifier"), "Patel et al., WACV 2021 (LT-GAN), table 2", scale="logit", extra="boundary",
    ),
    MetricRow(
        "correlation", "Attribute correlation", "lower",
        "mean |r| of attribute scores over generated images (eval.extra); lower is less entangled",
        ("classifier",), "Patel et al., WACV 2021 (LT-GAN); the mean is ours", points=0.03, extra="correlation",
    ),
    MetricRow(
        "correlation_L", "Correlation, L", None,
        "correlation of the scores of two attributes, L (eval.extra); nearer to 0 is less entangled",
        ("classifier",), "Patel et al., WACV 2021 (LT-GAN), table 3", points=0.03, extra="correlation",
    ),
    MetricRow(
        "steer_T", "Steering T (rank correlation)", "higher",
        "rank correlation of shift, zoom or brightness with latent steps (eval.extra); higher is better",
        ("generator",), "Plumerault et al., ICLR 2020; rank correlation is ours", extra="steerability",
    ),
    MetricRow(
        "fsd", "FSD", "lower",
        "Frechet distance between areas of segmented object classes (eval.extra, a network of yours); lower is better",
        ("segmenter",), "Bau et al., ICCV 2019, sec. 3.1", scale="log", frechet=True, extra="fsd",
    ),
    MetricRow(
        "aux_accuracy", "A's accuracy", "higher",
        "LT-GAN: how often its auxiliary network knows equal latent moves, 0.5 is chance; higher is better",
        ("method",), "Patel et al., WACV 2021 (LT-GAN), sec. 5", scale="logit", counted_on="n_images",
    ),
    # Scores during training: the same metrics on fewer samples.
    MetricRow(
        "fd_best_X", "FD-X, best snapshot", "lower", "",
        ("snapshots", "features"), "as fd_X", scale="log", headline=True, frechet=True,
    ),
    MetricRow(
        "fd_late_X", f"FD-X, last {LATE_SNAPSHOTS} snapshots", "lower", "",
        ("snapshots", "features"), "as fd_X", scale="log", headline=True, frechet=True, curve="fd",
    ),
    MetricRow(
        "control_accuracy_late", f"Control accuracy (judge), last {LATE_SNAPSHOTS} snapshots", "higher", "",
        ("snapshots", "classifier"), "as control_accuracy_judge", scale="logit", optional=True, curve="accuracy",
    ),
    MetricRow(
        "label_agreement_late", f"Label agreement (judge), last {LATE_SNAPSHOTS} snapshots", "higher", "",
        ("snapshots", "classifier"), "as label_agreement_judge", scale="logit", optional=True, curve="accuracy",
    ),
    MetricRow(
        "modes_late", f"Modes, last {LATE_SNAPSHOTS} snapshots", "higher", "",
        ("snapshots", "points"), "as modes", curve="modes",
    ),
    MetricRow(
        "high_quality_late", f"High quality (share), last {LATE_SNAPSHOTS} snapshots", "higher", "",
        ("snapshots", "points"), "as high_quality", scale="logit", curve="high_quality",
    ),
    MetricRow(
        "reverse_kl_late", f"Reverse KL, last {LATE_SNAPSHOTS} snapshots", "lower", "",
        ("snapshots", "points"), "as reverse_kl", scale="log", unit="nats", curve="reverse_kl",
    ),
    # Groups of extra metrics, where none of the group's can be had: a row without a number.
    MetricRow("ppl", "PPL", None, "", ("generator",), "as ppl_z", scale="log", extra="ppl"),
    MetricRow(
        "ppl_judge", "Path length-judge", None, "", ("generator", "classifier"), "as ppl_z_judge", scale="log",
        extra="ppl_judge",
    ),
    MetricRow("boundary", "SVM boundary", None, "", ("generator",), "as boundary_held_out", extra="boundary"),
    MetricRow("steerability", "Steerability", None, "", ("generator",), "as steer_T", extra="steerability"),
)
# fmt: on

_UNKNOWN = MetricRow("", "", None, "", (), "")  # no scale of its own, in no headline
_BY_ID = {row.id: row for row in METRICS}
_PATTERNS = sorted((row for row in METRICS if row.placeholder), key=lambda row: -len(row.head))  # longest head first

COUNTED = tuple(sorted(row.id for row in METRICS if row.counted))  # of points first: the shorter id


def row_named(id: str) -> MetricRow:
    """The row with this id as it is in the catalogue: `fd_X`. Raises KeyError."""
    return _BY_ID[id]


def row_of(id: str) -> MetricRow:
    """The row of a value's id: of `fd_lite0` that of `fd_X`; an empty row for a metric that is not in the catalogue."""
    return _BY_ID.get(id) or next((row for row in _PATTERNS if id.startswith(row.head)), _UNKNOWN)


def listed() -> dict[str, str]:
    """The ids that `list` prints, with their lines."""
    return {row.id: row.about for row in METRICS if row.about}


def set_rows() -> Iterator[MetricRow]:
    """The metrics of two sets of features in the order of a record: first those that every evaluation has."""
    rows = [row for row in METRICS if row.compute]
    yield from sorted(rows, key=lambda row: row.optional)


def load(name: str) -> Callable[..., Any]:
    """The function that a row names as `module:function`."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
