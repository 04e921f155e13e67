"""Make the published evaluators again: `python -m benchmark.evaluation.publish --data-root DIR [--only KEY ...]`.

A maintainer's command: its files outlive a build, because numbers by other weights share no column. A classifier takes
minutes of one core, that of CIFAR-10 half an hour. Classifiers and encoders learn from the held-out split alone; the
training split, which they never see, measures them. docs/evaluators.md has the figures and the reasons.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from benchmark.core.config import dump_yaml, to_dict
from benchmark.core.files import atomic, write_text
from benchmark.core.paths import EVALUATORS
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.evaluation.published import (
    INDEX,
    Index,
    PublishedFile,
    Served,
    accuracy,
    classifier,
    correct,
    encoder,
    index,
    labels_of,
)
from benchmark.metrics.extractors.base import Extractor, extract
from benchmark.nn.judge import JudgeNet
from benchmark.nn.losses import label_loss
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.published import SEED, ClassifierRecipe, PublishedClassifier, PublishedEncoder
from benchmark.training.stages.simclr import SimCLRConfig
from benchmark.training.stages.simclr import recipe as encoder_recipe

NEIGHBOURS = 5  # whose classes an encoder's accuracy is taken from
QUERIES = 5000  # training images at most that it is measured on
BINS = 15  # of the calibration error

# ---- what is published ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One file to be: what it learns from, how, and the datasets that it serves."""

    dataset: str
    serves: tuple[str, ...]
    recipe: ClassifierRecipe | SimCLRConfig
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the dataset's config

    @property
    def card(self) -> DatasetCard:
        """The dataset's config as it is learned from."""
        return card_with(find_card(self.dataset), dict(self.changes))


DIGITS = ("digits", "digits_0to4", "digits_5to9", "digits_lt")
SMALL = {"resolution": 16}  # the side of drawn shapes in the small recipes
AS_STACKED = {"pad": 0, "filter": "bilinear"}  # MNIST's digits as stacked_mnist scales them
DRAWN = ClassifierRecipe(steps=800, shift=1)
WRITTEN = ClassifierRecipe(steps=2500, degrees=10.0, zoom=0.1)
CLASSIFIERS = {
    "digits-judge": Plan("digits", (*DIGITS, "stacked_digits"), replace(WRITTEN, steps=2000, shift=1)),
    "shapes-judge": Plan("shapes", ("shapes",), DRAWN, SMALL),
    "shapes_class-judge": Plan("shapes_class", ("shapes_class",), DRAWN, SMALL),
    "shapes_unseen-judge": Plan("shapes_unseen", ("shapes_unseen",), DRAWN, SMALL),
    "mnist-judge": Plan("mnist", ("mnist",), WRITTEN),
    "stacked_mnist-judge": Plan("mnist", ("stacked_mnist",), WRITTEN, AS_STACKED),
    "fashion_mnist-judge": Plan("fashion_mnist", ("fashion_mnist",), ClassifierRecipe(steps=5000, cutout=0.3)),
    "cifar10-judge": Plan(
        "cifar10_jpeg", ("cifar10_jpeg", "cifar10"), ClassifierRecipe(steps=7000, width=32, cutout=0.4)
    ),
}


def _encoder(dataset: str, serves: Sequence[str], changes: Mapping[str, Any] | None = None) -> Plan:
    return Plan(dataset, tuple(serves), replace(encoder_recipe("small", dataset), seed=SEED), changes or {})


ENCODERS = {
    "digits-encoder": _encoder("digits", DIGITS),
    "stacked_digits-encoder": _encoder("stacked_digits", ["stacked_digits"]),
    "shapes-encoder": _encoder("shapes", ["shapes", "shapes_class"], SMALL),
    "shapes_unseen-encoder": _encoder("shapes_unseen", ["shapes_unseen"], SMALL),
    "mnist-encoder": _encoder("mnist", ["mnist"]),
    "stacked_mnist-encoder": _encoder("stacked_mnist", ["stacked_mnist"]),
    "fashion_mnist-encoder": _encoder("fashion_mnist", ["fashion_mnist"]),
    "cifar10-encoder": _encoder("cifar10_jpeg", ["cifar10_jpeg", "cifar10"]),
}
MEASURED_ON = {"cifar10": "cifar10_jpeg"}  # the same images; the official files differ by JPEG's rounding


# ---- making them ----------------------------------------------------------------------------------------------------


@dataclass
class Press:
    """Where data lie, where networks are trained, and where the files go."""

    data_root: Path
    work: Path
    folder: Path = EVALUATORS

    def data(self, card: DatasetCard) -> Dataset:
        """A config's prepared dataset."""
        return prepare(card, self.data_root, self.work / "artifacts" / "data")

    def store(self, data: Dataset) -> ArtifactStore:
        """The trained networks of a dataset."""
        return ArtifactStore(data, self.work / "artifacts", torch.device("cpu"))

    def make(self, key: str) -> PublishedFile:
        """Train, or find, one network, and write its file."""
        plan = CLASSIFIERS.get(key) or ENCODERS[key]
        data = self.data(plan.card)
        common = {
            "file": f"{key}.safetensors",
            "width": plan.recipe.width,
            "resolution": data.resolution,
            "channels": data.channels,
            "learned_from": f"{plan.dataset}, test split",
            "images": len(data.test),
            "data_sha256": data.sha256,
            "licence": plan.card.licence,
            "recipe": to_dict(plan.recipe),
        }
        if isinstance(plan.recipe, SimCLRConfig):
            net = self.store(data).train(PublishedEncoder, plan.recipe)
            return PublishedFile(network="conv_encoder", sha256=self.write(key, net), **common)
        net = self.store(data).train(PublishedClassifier, plan.recipe)
        temperature = fit_temperature(net, data)
        with torch.no_grad():
            net.head.weight /= temperature
            net.head.bias /= temperature
        written = self.write(key, net)
        return PublishedFile(
            network="JudgeNet", sha256=written, labels=labels_of(data), temperature=round(temperature, 4), **common
        )

    def write(self, key: str, net: nn.Module) -> str:
        """Write a network's file; returns its sha256. Matrices and kernels are float16, which halves it."""
        from safetensors.torch import save

        state = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in net.state_dict().items()}
        content = save({name: tensor.contiguous() for name, tensor in state.items()})
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(self.folder / f"{key}.safetensors") as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def measure(self, name: str, files: Mapping[str, PublishedFile]) -> Served:
        """What the networks of a dataset reach on its training split."""
        judge = next(key for key, plan in CLASSIFIERS.items() if name in plan.serves)
        embedding = next(key for key, plan in ENCODERS.items() if name in plan.serves)
        side = files[judge].resolution
        data = self.data(card_with(find_card(MEASURED_ON.get(name, name)), {"resolution": side}))
        cpu, train = torch.device("cpu"), data.train
        logits = logits_of(classifier(files[judge], data, cpu), train.images)
        probabilities = confidence(logits[1::2], data.conditioning == "class")
        return Served(
            resolution=side,
            judge=judge,
            encoder=embedding,
            accuracy=round(accuracy(logits, train), 6),
            images=len(train),
            calibration_error=round(calibration_error(probabilities, correct(logits, train)[1::2]), 6),
            encoder_accuracy=round(neighbour_accuracy(encoder(files[embedding], cpu, "simclr"), data), 6),
        )


def logits_of(extractor: Extractor, images: np.ndarray) -> np.ndarray:
    """Logits [N, K] of stored images."""
    logits = extract(extractor, images, batch=256).logits
    assert logits is not None
    return logits.numpy()


def fit_temperature(net: JudgeNet, data: Dataset) -> float:
    """The temperature that makes a classifier's likelihood of every second training image largest (Guo et al. 2017).

    One number is all that the training split decides.
    """
    split = data.train
    rows = np.arange(len(split))[::2]
    with torch.no_grad():
        parts = [net(as_input(split.images[rows[i : i + 256]])) for i in range(0, len(rows), 256)]
    logits, labels = torch.cat(parts), split.labels if split.labels is not None else split.attributes
    assert labels is not None
    y = torch.from_numpy(np.asarray(labels)[rows])
    y = y if split.labels is not None else y.float()

    def loss(log_temperature: float) -> float:
        return float(label_loss(logits / math.exp(log_temperature), y))

    return math.exp(float(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))


def as_input(images: np.ndarray) -> Tensor:
    """Stored images (N, S, S, C) as a network takes them: [N, C, S, S] in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def confidence(logits: np.ndarray, classes: bool) -> np.ndarray:
    """The probability that a classifier gives to what it says: of classes [N], of each attribute [N, A]."""
    scores = torch.from_numpy(logits)
    return (scores.softmax(1).amax(1) if classes else torch.sigmoid(scores.abs())).numpy()


def calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean over images of their bin's |accuracy - confidence| (Guo et al. 2017, eq. 3).

    confidences: in [0, 1]; right: bool, of the same shape. Bins have equal widths. 0 is best.
    """
    p, hit = confidences.ravel(), right.ravel().astype(float)
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(hit[bin_of == b].sum() - p[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(p))


def neighbour_accuracy(extractor: Extractor, data: Dataset) -> float:
    """How often the 5 nearest held-out images in an embedding say a training image's class, or attributes."""
    rows = np.arange(len(data.train))[:: max(1, math.ceil(len(data.train) / QUERIES))]
    known, wanted = data.test, data.train
    bank, queries = (extract(extractor, images, batch=256).pooled for images in (known.images, wanted.images[rows]))
    labels = known.labels if known.labels is not None else known.attributes
    truth = wanted.labels if wanted.labels is not None else wanted.attributes
    assert labels is not None
    assert truth is not None
    found = KNeighborsClassifier(NEIGHBOURS).fit(bank.numpy(), labels).predict(queries.numpy())
    return float((found == truth[rows]).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Make files and measure them; the index keeps what is not made again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("GANTLET_DATA") or "data"))
    parser.add_argument("--work", type=Path, default=Path("results"), help="where networks are trained")
    parser.add_argument("--only", nargs="+", choices=[*CLASSIFIERS, *ENCODERS], help="these files (default: all)")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    press, keys = Press(asked.data_root, asked.work), asked.only or [*CLASSIFIERS, *ENCODERS]
    files, datasets = {**read_index().files, **{key: press.make(key) for key in keys}}, {}
    for name in sorted({name for key in keys for name in (CLASSIFIERS.get(key) or ENCODERS[key]).serves}):
        datasets[name] = press.measure(name, files)
        print(f"{name}: {datasets[name]}", flush=True)
    known = read_index()  # another call may have added to it meanwhile
    write_index(
        Index(
            files={**known.files, **{key: files[key] for key in keys}},
            datasets=dict(sorted({**known.datasets, **datasets}.items())),
        )
    )
    return 0


def read_index() -> Index:
    """The index as it is now; an empty one where there is none."""
    index.cache_clear()
    return index() if (EVALUATORS / INDEX).exists() else Index()


def write_index(found: Index) -> None:
    """Write `evaluators/index.yaml`."""
    head = "# Made by `python -m benchmark.evaluation.publish`; docs/evaluators.md says what was chosen, and why.\n"
    write_text(EVALUATORS / INDEX, head + dump_yaml(to_dict(found)))


if __name__ == "__main__":
    sys.exit(main())
