"""Classification Accuracy Score: what a classifier that has seen only generated images makes of real ones.

Source: Ravuri and Vinyals, "Classification Accuracy Score for Conditional Generative Models" (NeurIPS 2019):
train on labelled samples of the generator, test on real held-out images. It falls with bad images, wrong labels and
missing variety alike. The same classifier with the same budget, trained on real images, gives the ceiling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from typing import Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from benchmark.core.config import (
    STRICT,
    Beta,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    added,
)
from benchmark.core.seeds import derive_seed
from benchmark.data.stream import to_float
from benchmark.metrics.checks import Array, Float64, Int64, MetricError
from benchmark.metrics.clusters import integers
from benchmark.metrics.corruptions import Images, image_array
from benchmark.nn import resnet50, resnet_cifar
from benchmark.nn.augment import random_shift
from benchmark.nn.precision import exact_float32
from benchmark.nn.resnet_cifar import CifarResNet, Depth

TOP = 5  # classes of the top-5 accuracy
TEST_BATCH = 500  # images classified at once


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CASConfig:
    """The classifier and its training: He et al. (2016), sec. 4.2, shortened [ours: epochs of the small size].

    images "training": as many generated images as there are real training images, of classes equally often.
    """

    net: Literal["cifar", "resnet50"] = added("cifar")  # He et al.'s for small images, or ResNet-50 (ImageNet's CAS)
    images: Literal["scored", "training"] = added("scored")  # generated: those that are scored, or new ones, see below
    depth: Depth = 20  # of the CIFAR ResNet; the paper of LT-GAN uses 56
    epochs: PositiveInt = 5  # passes over the training images; He et al.: 64,000 updates
    batch: PositiveInt = 128  # images an update, at most
    lr: PositiveFloat = 0.1  # SGD's step size at the start
    decay_at: tuple[Probability, ...] = (0.5, 0.75)  # it is divided by 10 after these shares of the updates
    momentum: Beta = 0.9  # plain, not Nesterov's
    weight_decay: NonNegativeFloat = 1e-4  # an L2 term on every parameter
    flip: bool = True  # mirror with probability 1/2; off where mirroring changes the class, as of digits
    shift: Probability = 0.125  # largest random shift, as a share of the side; He et al.: 4 of 32 px (border mirrored)
    n_seeds: PositiveInt = 3  # classifiers trained; the score is their mean [ours]
    seed: NonNegativeInt = 0  # of the first; initial weights, order and augmentation follow from it


@plain_dataclass(frozen=True)
class CAS:
    """Accuracy on real test images of classifiers trained on one set of images. Shares in [0, 1]."""

    top1: float  # mean over the classifiers
    top1_sd: float | None  # standard deviation between them (n - 1); None for one classifier
    top5: float | None  # mean share with the class among the five strongest; None unless there are more than five
    per_seed: tuple[float, ...]  # top-1 of each classifier
    per_class: tuple[float | None, ...]  # [n_classes] mean top-1 of each class; None: no test image shows it
    n_train: int
    n_test: int


@plain_dataclass(frozen=True)
class CASWithControl:
    """The score of generated images and that of real ones, trained with the same budget."""

    generated: CAS
    real: CAS
    ratio: float  # top-1 of generated over real; 1: as good to learn from as real images; may be above 1


@plain_dataclass(frozen=True)
class _Labelled:
    """Images and their classes, checked; images stay where they are, a memory map is read in batches."""

    images: Images  # uint8 (N, H, W, C)
    labels: Int64  # [N]


def classification_accuracy_score(
    train_images: np.ndarray,
    train_labels: Array,
    test_images: np.ndarray,
    test_labels: Array,
    cfg: CASConfig,
    device: torch.device | str,
    n_classes: int,
    progress: bool = False,
) -> CAS:
    """Train classifiers on generated images alone and test them on real ones. In [0, 1], higher is better.

    train_images: generated, uint8 (N, H, W, C), C = 1 or 3, sides of 8 px or more, of 32 for ResNet-50; train_labels:
    the classes [N] they were to be. test_images, test_labels: real ones no method trained on. Test accuracy is
    that of the last epoch: no test image chooses anything. Chance is 1 / n_classes for balanced test images. Depends on
    N and on the budget. On a CPU the same arguments give the same bits; torch's random state is left as it was.
    progress: draw a bar.
    Source: Ravuri and Vinyals, 2019; the classifier is He et al.'s, several seeds and their mean are ours.
    Raises MetricError for other images, images of different sizes, labels that are not integers in [0, n_classes), a
    single class in either set, fewer than two training images, and for a training that diverges.
    """
    train = _labelled("training", train_images, train_labels, n_classes)
    test = _labelled("test", test_images, test_labels, n_classes)
    _check_pair(train, test, cfg)
    device = torch.device(device)
    logits = [_train_and_test(train, test, cfg, k, device, n_classes, progress) for k in range(cfg.n_seeds)]
    return _score(logits, test.labels, len(train.labels), n_classes)


def cas_with_control(
    fake_images: np.ndarray,
    fake_labels: Array,
    real_images: np.ndarray,
    real_labels: Array,
    test_images: np.ndarray,
    test_labels: Array,
    cfg: CASConfig,
    device: torch.device | str,
    n_classes: int,
    progress: bool = False,
) -> CASWithControl:
    """Score of generated images, of as many real training images, and their ratio. Higher is better.

    real_images, real_labels: of the training split, uint8 (N, H, W, C) and [N], as many as generated ones: an equal
    number of epochs is then an equal number of updates. The rest as in `classification_accuracy_score`.
    Source: the comparison of Ravuri and Vinyals, 2019; the ratio and equal numbers are ours.
    Raises MetricError as that does, for another number of real images, and where the control finds no class at all.
    """
    if len(real_images) != len(fake_images):
        raise MetricError(
            f"CAS: {len(fake_images)} generated and {len(real_images)} real training images",
            "the control has the same budget only with as many images",
            "take equally many of each",
        )
    generated, real = (
        classification_accuracy_score(images, labels, test_images, test_labels, cfg, device, n_classes, progress)
        for images, labels in ((fake_images, fake_labels), (real_images, real_labels))
    )
    if real.top1 == 0:
        raise MetricError(
            "CAS: classifiers trained on real images get every test image wrong",
            "training and test labels do not number the classes alike, or the training is too short",
        )
    return CASWithControl(generated, real, generated.top1 / real.top1)


def _labelled(what: str, images: np.ndarray, labels: Array, n_classes: int) -> _Labelled:
    images = image_array(f"{what} images", images)
    values = integers(f"{what} labels", labels, len(images))
    if values.min() < 0 or values.max() >= n_classes:
        raise MetricError(f"{what} labels: {values.min()} to {values.max()}", f"classes are 0 to {n_classes - 1}")
    if (values == values[0]).all():
        raise MetricError(f"{what} labels: all are {values[0]}", "with one class there is nothing to tell apart")
    return _Labelled(images, values)


def _check_pair(train: _Labelled, test: _Labelled, cfg: CASConfig) -> None:
    if train.images.shape[1:] != test.images.shape[1:]:
        raise MetricError(
            f"CAS: training images {train.images.shape[1:]}, test images {test.images.shape[1:]}",
            "a classifier tested at another size or colour than it learnt is not measured",
            "prepare both alike",
        )
    least = resnet50.MIN_SIDE if cfg.net == "resnet50" else resnet_cifar.MIN_SIDE
    if min(train.images.shape[1:3]) < least:
        raise MetricError(f"CAS: images {train.images.shape[1:]}", f"the classifier needs sides of {least} px")


def _train_and_test(
    train: _Labelled, test: _Labelled, cfg: CASConfig, k: int, device: torch.device, n_classes: int, progress: bool
) -> Float64:
    """Logits [N_test, n_classes] of classifier number k."""
    used = device.type == "cuda" or torch.cuda.is_initialized()  # seeding reaches every GPU in use
    with (
        torch.random.fork_rng(devices=range(torch.cuda.device_count()) if used else []),
        exact_float32(device.type),
        torch.enable_grad(),
    ):
        torch.manual_seed(derive_seed(cfg.seed, k))
        net = _network(cfg, train.images.shape[3], n_classes)
        net.to(device).to(memory_format=torch.channels_last)
        _fit(net, train, cfg, device, f"CAS {k + 1}/{cfg.n_seeds}" if progress else None)
        return _logits(net, test.images, device)


def _network(cfg: CASConfig, channels: int, n_classes: int) -> nn.Module:
    if cfg.net == "resnet50":
        return resnet50.ResNet50(channels, n_classes)
    return CifarResNet(cfg.depth, channels, n_classes)


def _fit(net: nn.Module, train: _Labelled, cfg: CASConfig, device: torch.device, bar: str | None) -> None:
    """SGD with momentum on the cross entropy, the step size divided by 10 at the shares `decay_at`."""
    sgd = torch.optim.SGD(net.parameters(), cfg.lr, cfg.momentum, weight_decay=cfg.weight_decay)
    batches = list(_batches(len(train.labels), cfg))
    net.train()
    for step, rows in enumerate(tqdm(batches, desc=bar, unit="step", disable=bar is None)):
        sgd.param_groups[0]["lr"] = _lr(cfg, step, len(batches))
        logits = net(_augmented(_pixels(train.images, rows, device), cfg))
        loss = cross_entropy(logits, torch.from_numpy(train.labels[rows]).to(device))
        sgd.zero_grad()
        loss.backward()
        sgd.step()


def _lr(cfg: CASConfig, step: int, n_steps: int) -> float:
    return cfg.lr * 0.1 ** sum(step >= share * n_steps for share in cfg.decay_at)


def _batches(n: int, cfg: CASConfig) -> Iterator[Int64]:
    """Rows of each update: every epoch shows each image once, in batches of equal size (to one)."""
    for _ in range(cfg.epochs):
        order = torch.randperm(n).numpy()
        yield from np.array_split(order, -(-n // cfg.batch))  # a last batch of one image would upset BatchNorm


def _augmented(x: Tensor, cfg: CASConfig) -> Tensor:
    """Mirrored and shifted at random, image by image."""
    if cfg.flip:
        mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
        x = torch.where(mirrored, x.flip(3), x)
    side = min(x.shape[2:])
    return random_shift(x, min(round(cfg.shift * side), side - 1))


def _logits(net: nn.Module, images: Images, device: torch.device) -> Float64:
    net.eval()
    rows = np.array_split(np.arange(len(images)), -(-len(images) // TEST_BATCH))
    with torch.no_grad():
        logits = torch.cat([net(_pixels(images, part, device)).double().cpu() for part in rows]).numpy()
    if not np.isfinite(logits).all():
        raise MetricError("CAS: the classifier diverged", "its logits are not finite", "use a smaller lr")
    return logits


def _pixels(images: Images, rows: Int64, device: torch.device) -> Tensor:
    """Rows of stored images as float [n, C, H, W] in [-1, 1]; in memory they stay channels last, the faster order."""
    return to_float(torch.from_numpy(images[rows]).to(device).permute(0, 3, 1, 2))


def _score(logits: list[Float64], labels: Int64, n_train: int, n_classes: int) -> CAS:
    """Means over the classifiers; logits: one [N_test, n_classes] each."""
    hits = np.stack([rows.argmax(axis=1) == labels for rows in logits])  # [seeds, N_test]
    per_seed = hits.mean(axis=1)
    top5 = float(np.mean([_top5(rows, labels) for rows in logits])) if n_classes > TOP else None
    return CAS(
        top1=float(per_seed.mean()),
        top1_sd=float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None,
        top5=top5,
        per_seed=tuple(float(value) for value in per_seed),
        per_class=tuple(float(hits[:, labels == c].mean()) if (labels == c).any() else None for c in range(n_classes)),
        n_train=n_train,
        n_test=len(labels),
    )


def _top5(logits: Float64, labels: Int64) -> float:
    strongest = np.argpartition(-logits, TOP - 1, axis=1)[:, :TOP]  # [N, 5]
    return float((strongest == labels[:, None]).any(axis=1).mean())
