"""The evaluation networks that come with the suite: their index, their files, and whether they fit the local images.

An evaluation classifier that is trained on each machine has other bits on each, and so other protocols: its numbers
never share a column between machines. A published one is a file that is the same everywhere. `evaluators/index.yaml`
says which datasets have one, how it was trained, and what it reaches; `publish` makes files and index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, PositiveInt, Probability, build, load_yaml, to_dict
from benchmark.core.errors import WeightsError
from benchmark.core.paths import EVALUATORS, card_folder
from benchmark.data.cards import DatasetCard, load_card
from benchmark.data.prepared import Dataset, Split
from benchmark.metrics.extractors.base import extract
from benchmark.metrics.extractors.trained import EncoderExtractor, JudgeExtractor
from benchmark.nn.encoders import Encoder, conv_encoder
from benchmark.nn.judge import N_DIGITS, N_STACKED, JudgeNet, StackedJudgeNet
from benchmark.training.artifacts import ArtifactStore, computation

INDEX = "index.yaml"
TOLERANCE = 0.01  # by which that accuracy may differ from the published one: a JPEG copy of CIFAR-10 passes [ours]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PublishedFile:
    """One file of weights."""

    file: str  # next to the index
    sha256: str  # of the file
    network: Literal["JudgeNet", "conv_encoder"]
    width: PositiveInt  # first width of the network
    resolution: PositiveInt  # side of its images in pixels
    channels: Literal[1, 3]  # of its images
    labels: tuple[str, ...] = ()  # classes or attributes, in the order of the logits; none of an encoder
    learned_from: str  # dataset and split
    images: PositiveInt  # how many
    data_sha256: str  # of the prepared dataset
    licence: str  # of these images
    temperature: float | None = None  # by which the head's logits were divided: they are stored divided
    recipe: dict[str, Any]  # how it was trained


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Served:
    """A dataset that published networks serve, and what they reach on its training split, which they never saw."""

    resolution: PositiveInt
    judge: str  # the classifier's key among the files
    encoder: str  # the encoder's
    accuracy: Probability  # of the classifier; of attributes the mean over them
    images: PositiveInt  # training images behind it
    calibration_error: NonNegativeFloat  # ECE in 15 bins, on the half that its temperature was not fitted to
    encoder_accuracy: Probability  # of the 5 nearest held-out images in the encoder's embedding


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Index:
    """What is published."""

    files: dict[str, PublishedFile] = Field(default_factory=dict)  # by key: the file's name without its ending
    datasets: dict[str, Served] = Field(default_factory=dict)  # by the name of the dataset config


@cache
def index() -> Index:
    """The published index. Raises ConfigError when it cannot be read."""
    path = EVALUATORS / INDEX
    return build(Index, load_yaml(path), str(path))


# ---- which datasets -------------------------------------------------------------------------------------------------


def served(card: DatasetCard) -> Served | None:
    """What serves these images; None where the config is not the suite's own, or is at another side.

    A split, a source or a choice of labels that was changed is another dataset: its training images may be those that
    the published classifier learned from. More triples of digits are not: they show the same training digits.
    """
    found = index().datasets.get(card.name)
    if found is None or card.resolution != found.resolution:
        return None
    own = card_folder() / f"{card.name}.yaml"
    return found if own.is_file() and _essence(card) == _essence(load_card(own)) else None


def _essence(card: DatasetCard) -> dict[str, Any]:
    """What decides which images may be training images, with which labels: not where they lie, nor their side."""
    plain = to_dict(card)
    for key in ("title", "licence", "homepage", "default_recipe", "flip_ok", "resolution"):
        del plain[key]
    for key in (*card.source.path_keys, *card.source.draw_keys):
        del plain["source"][key]
    return plain


# ---- files ----------------------------------------------------------------------------------------------------------


def file_of(sha256: str) -> PublishedFile:
    """The published file of this hash. Raises WeightsError where the index has none."""
    for found in index().files.values():
        if found.sha256 == sha256:
            return found
    raise WeightsError(
        f"published evaluator {sha256[:12]}", "this version publishes no such file", "leave eval.published out"
    )


def read_tensors(entry: PublishedFile) -> dict[str, Tensor]:
    """The tensors of a file, float32. Raises WeightsError when it is absent, or is not the file that was published."""
    from safetensors.torch import load

    path = EVALUATORS / entry.file
    hint = "install the package again, or train one here: --set eval.evaluators=local"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: the published evaluator cannot be read", str(error.strerror), hint) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.sha256:
        raise WeightsError(
            f"{path}: not the published evaluator",
            f"its sha256 is {digest[:12]}..., the index says {entry.sha256[:12]}...: the file is damaged",
            hint,
        )
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load(content).items()}


def provenance(entry: PublishedFile) -> dict[str, Any]:
    """What a protocol says of the weights: the same on every machine."""
    return {
        "file": entry.file,
        "sha256": entry.sha256,
        "verified": True,
        "licence": f"published with gantlet; learned from images under: {entry.licence}",
    }


# ---- networks -------------------------------------------------------------------------------------------------------


def load_classifier(entry: PublishedFile) -> JudgeNet:
    """The published classifier, frozen. Raises as `read_tensors`."""
    net = JudgeNet(entry.resolution, entry.channels, len(entry.labels), entry.width)
    net.load_state_dict(read_tensors(entry))
    return net.requires_grad_(False).eval()


def load_encoder(entry: PublishedFile) -> Encoder:
    """The published encoder, frozen. Raises as `read_tensors`."""
    net = conv_encoder(entry.channels, entry.width)
    net.load_state_dict(read_tensors(entry))
    return net.requires_grad_(False).eval()


def classifier(entry: PublishedFile, data: Dataset, device: torch.device) -> JudgeExtractor:
    """The published classifier as the extractor of a dataset: of its classes, or of a stack of three digits.

    Raises ValueError where the data have a label that the classifier does not know.
    """
    net: nn.Module = load_classifier(entry)
    assert isinstance(net, JudgeNet)
    reading: dict[str, Any] = {}
    if data.is_stacked:
        net, reading = stacked(net), {"stacked": N_STACKED}
    elif (names := labels_of(data)) != entry.labels:
        net, reading = restricted(net, entry.labels, names), {"labels": list(names)}
    return JudgeExtractor(
        net, entry.sha256, entry.resolution, device=device, weights=provenance(entry), reading=reading
    )


def encoder(entry: PublishedFile, device: torch.device, name: str) -> EncoderExtractor:
    """The published encoder as an extractor of this name."""
    return EncoderExtractor(
        load_encoder(entry),
        entry.sha256,
        entry.resolution,
        entry.channels,
        name=name,
        device=device,
        weights=provenance(entry),
    )


def labels_of(data: Dataset) -> tuple[str, ...]:
    """The names of the classes, or of the attributes, that the data serve."""
    return data.class_names or data.attribute_names


def stacked(digit: JudgeNet) -> StackedJudgeNet:
    """A digit classifier that reads each of three channels."""
    assert digit.head.out_features == N_DIGITS
    net = StackedJudgeNet(8, 1)  # its own digit network is replaced
    net.digit, net.dim = digit, N_STACKED * digit.dim
    return net.requires_grad_(False).eval()


def restricted(net: JudgeNet, known: Sequence[str], names: Sequence[str]) -> JudgeNet:
    """The classifier with the logits of these labels alone, in their order. Raises ValueError for an unknown one."""
    rows = [known.index(name) for name in names] if set(names) <= set(known) else []
    if not rows:
        raise ValueError(f"it knows {', '.join(known[:3])}, ..., and the data have {', '.join(names[:3])}, ...")
    head = nn.Linear(net.dim, len(rows))
    head.weight.data, head.bias.data = net.head.weight[rows].clone(), net.head.bias[rows].clone()
    net.head = head.requires_grad_(False)
    return net


# ---- do they fit the local images? ----------------------------------------------------------------------------------


@computation("benchmark.evaluators", "UnseenAccuracy")
def unseen_accuracy(data: Dataset, classifier: JudgeExtractor) -> dict[str, Tensor]:
    """A published classifier's accuracy on training images, which it never saw: {"accuracy": [1]}. A computation.

    Of all of them: files in another order, or a part that is harder than the rest, must not decide.
    """
    logits = extract(classifier, data.train.images, batch=256).logits
    assert logits is not None
    return {"accuracy": torch.tensor([accuracy(logits.numpy(), data.train)])}


def accuracy(logits: np.ndarray, split: Split) -> float:
    """The share of a split's images whose class is right by their logits [N, K], or of attribute values that are."""
    return float(correct(logits, split).mean())


def correct(logits: np.ndarray, split: Split) -> np.ndarray:
    """Whether each image's class is right, bool [N], or each attribute of it, [N, A]."""
    if split.labels is not None:
        return np.asarray(logits.argmax(1) == split.labels)
    assert split.attributes is not None
    return np.asarray((logits > 0) == (split.attributes > 0))


def misfit(artifacts: ArtifactStore) -> str:
    """Why the published networks of a dataset are not used on the local images; empty where they are.

    Its classifier is measured on local images that it has not learned from, once for each prepared dataset. The
    encoder, which has no accuracy, is used on the same images or not at all.
    Raises WeightsError for a file that is damaged.
    """
    data = artifacts.data
    of_dataset = index().datasets[data.name]
    entry = index().files[of_dataset.judge]
    try:
        judge = classifier(entry, data, artifacts.device)
    except ValueError as error:
        return f"their labels have other names: {error}"
    measured = float(artifacts.compute(unseen_accuracy, classifier=judge)["accuracy"])
    if abs(measured - of_dataset.accuracy) <= TOLERANCE:
        return ""
    return (
        f"on the local training images, which it has not learned from, {entry.file} has an accuracy of {measured:.4f}, "
        f"and the published figure is {of_dataset.accuracy:.4f}"
    )
