"""Stacked digits: each channel is a digit of the same split, and the class says which three."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.errors import DataError
from benchmark.data.cards import card_with, find_card, fingerprint
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset

FEW = {"source": {"n_train": 300, "n_test": 100}}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("digits")
    return prepare(find_card("digits"), cache, cache, progress=False)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("stacked")
    return prepare(card_with(find_card("stacked_digits"), FEW), cache, cache, progress=False)


def by_bytes(images: np.ndarray, labels: np.ndarray) -> dict[bytes, int]:
    return {image.tobytes(): int(label) for image, label in zip(images, labels)}


def test_every_channel_is_a_digit_of_its_own_split_with_the_right_label(digits, stacked):
    assert stacked.is_stacked
    assert (stacked.n_classes, stacked.class_names[274]) == (1000, "274")
    known = {split.name: by_bytes(split.images[..., 0], split.labels) for split in (digits.train, digits.test)}
    assert not set(known["train"]) & set(known["test"])
    for split in (stacked.train, stacked.test):
        assert split.images.shape[1:] == (16, 16, 3)
        for image, label in zip(split.images, split.labels):
            shown = [known[split.name][image[..., k].tobytes()] for k in range(3)]
            assert label == shown[0] * 100 + shown[1] * 10 + shown[2]
    assert len(set(stacked.train.labels.tolist())) > 200, "triples differ"


def test_channels_are_independent(tmp_path):
    card = card_with(find_card("stacked_digits"), {"source": {"n_train": 4000, "n_test": 10}, "resolution": 8})
    labels = prepare(card, tmp_path, tmp_path, progress=False).train.labels
    a, b, c = labels // 100, labels // 10 % 10, labels % 10
    for x, y in ((a, b), (b, c), (a, c)):
        joint = np.histogram2d(x, y, bins=10, range=((0, 10), (0, 10)))[0] / len(x)
        independent = np.outer(np.bincount(x, minlength=10), np.bincount(y, minlength=10)) / len(x) ** 2
        chi2 = len(x) * ((joint - independent) ** 2 / independent).sum()
        assert chi2 < 126, "81 degrees of freedom: beyond 126 with probability 0.001"


def test_classes_that_a_split_lacks_by_chance_are_no_error(stacked):
    assert len(set(stacked.train.labels.tolist())) < 1000


def test_triples_are_fixed_by_the_seed(stacked, tmp_path):
    card = card_with(find_card("stacked_digits"), FEW)
    assert prepare(card, tmp_path, tmp_path, progress=False).sha256 == stacked.sha256
    other = card_with(card, {"source": {"seed": 1}})
    assert prepare(other, tmp_path, tmp_path, progress=False).sha256 != stacked.sha256


def test_stacked_mnist_reads_what_mnist_reads(tmp_path):
    card = find_card("stacked_mnist")
    assert (card.source.n_train, card.source.n_test, card.resolution) == (100_000, 10_000, 32)
    assert (card.pad, card.filter) == (0, "bilinear"), "28 px are resized to 32, not padded"
    empty = fingerprint(card, tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"x" * 100)
    assert fingerprint(card, tmp_path) != empty
    with pytest.raises(DataError, match="100 bytes instead of 47,040,016"):
        prepare(card, tmp_path, tmp_path / "cache", progress=False)


@pytest.mark.slow
def test_real_stacked_mnist(tmp_path):
    if not os.environ.get("GANTLET_DATA"):
        pytest.skip("GANTLET_DATA is not set: it names the folder of the real data sets")
    root = Path(os.environ["GANTLET_DATA"])
    card = card_with(find_card("stacked_mnist"), {"source": {"n_train": 2000, "n_test": 50}})
    data = prepare(card, root, tmp_path, progress=False)
    resized = {"pad": 0, "filter": "bilinear"}  # mnist itself is padded
    mnist = prepare(card_with(find_card("mnist"), resized), root, tmp_path, progress=False)
    assert data.train.images.shape == (2000, 32, 32, 3)
    train = by_bytes(mnist.train.images[..., 0], mnist.train.labels)
    test = by_bytes(mnist.test.images[..., 0], mnist.test.labels)
    for split, known in ((data.train, train), (data.test, test)):
        for image, label in zip(split.images[:50], split.labels[:50]):
            assert [known[image[..., k].tobytes()] for k in range(3)] == [label // 100, label // 10 % 10, label % 10]
