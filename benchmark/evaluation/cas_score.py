"""Classification accuracy score of a trained generator: the images a classifier learns from, and its two accuracies.

It learns from the images that are scored, or, as in papers, from as many new ones as there are real training images, of
classes equally often. Those may be more than fit into memory: they are a file, for as long as they are needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmark.core.config import to_dict
from benchmark.core.seeds import derive_seed
from benchmark.evaluation.context import EvaluationContext, labels_of
from benchmark.evaluation.requests import Unfit, of_generator
from benchmark.evaluation.sampling import BATCH, drawn
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.cas import cas_with_control

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 images (N, S, S, C), their classes [N]


def cas_values(context: EvaluationContext) -> list[MetricValue]:
    """Top-1, and top-5 of more than five classes, on held-out images of classifiers trained on generated ones."""
    data, cfg = context.data, context.cfg.extras.cas
    if data.train.labels is None or data.test.labels is None or data.conditioning != "class":
        raise Unfit("it needs a dataset of classes")
    cfg = replace(cfg, flip=cfg.flip and data.flip_ok)
    with _scored(context) if cfg.images == "scored" else _as_many_as_real(context) as (images, labels):
        n = len(images)
        found = cas_with_control(
            images,
            labels,
            *_real(context, n),
            data.test.images,
            data.test.labels,
            cfg,
            context.artifacts.device,
            data.n_classes,
        )
    settings = context.protocol if cfg.images == "scored" else of_generator(context)
    settings = settings | {"classifier": to_dict(cfg), "n_train": n, "tested_on": "held-out images"}
    details = {
        "per_seed": list(found.generated.per_seed),
        "top5": found.generated.top5,
        "of_real": found.real.top1,
        "ratio": found.ratio,
    }
    values = [MetricValue.of_row("cas", found.generated.top1, settings, details=details)]
    if found.generated.top5 is not None:
        of_real = {"of_real": found.real.top5}
        values.append(MetricValue.of_row("cas_top5", found.generated.top5, settings, details=of_real))
    return values


def _real(context: EvaluationContext, n: int) -> Labelled:
    """n real training images, in the order of the split; all of them are not copied."""
    train = context.data.train
    assert train.labels is not None
    if n == len(train):
        return train.images, train.labels
    rows = np.sort(np.random.default_rng(0).choice(len(train), n, replace=False))
    return train.images[rows], train.labels[rows]


@contextmanager
def _scored(context: EvaluationContext) -> Iterator[Labelled]:
    """The images that are scored, at most as many as there are real training images."""
    labels = context.classes
    if labels is None:
        raise Unfit("it needs images of given classes, and this run has none")
    n = min(len(context.generated), len(context.data.train))
    yield context.generated.images[:n], labels[:n]


@contextmanager
def _as_many_as_real(context: EvaluationContext) -> Iterator[Labelled]:
    """As many new images as there are real training images, in a file that is removed afterwards.

    Of a class-conditional generator each class as often as any other; of one conditioned on images each training image
    is used once.
    """
    method, data, n = context.method, context.data, len(context.data.train)
    if method.conditioning == "class":
        conditions = torch.arange(n) % data.n_classes
        labels = conditions.numpy()
    elif method.conditioning in ("instance", "latent"):
        conditions = torch.arange(n)
        labels = labels_of(data, "train", conditions).numpy()
    else:
        raise Unfit("it needs images of given classes, and this run has none")
    torch.manual_seed(derive_seed(context.seed, 0xCA5))
    context.artifacts.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.artifacts.folder, prefix="cas-") as folder:
        images = np.lib.format.open_memmap(Path(folder) / "images.npy", "w+", np.uint8, data.train.images.shape)
        for start in range(0, n, BATCH):
            part = slice(start, start + BATCH)
            images[part] = drawn(method, context.G, conditions[part], context.cfg.jpeg)
        yield images, labels
        del images
