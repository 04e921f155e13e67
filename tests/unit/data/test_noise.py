"""Label noise and the labels a supervised GAN reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.core.errors import ConfigError
from benchmark.data.cards import find_card
from benchmark.data.labels import Labels
from benchmark.data.noise import noisy_labels
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream

CPU = torch.device("cpu")
LABELS = np.random.default_rng(0).integers(10, size=5003)
SHARES = (0.0, 0.1, 0.4, 0.8, 0.95, 1.0)


@pytest.mark.parametrize("share", SHARES)
def test_the_realised_rate_is_the_share_to_rounding(share: float) -> None:
    wrong = noisy_labels(LABELS, share, 10, seed=3) != LABELS
    assert wrong.sum() == round(share * len(LABELS))  # flipped labels never keep their class
    assert abs(wrong.mean() - share) < 0.01


def test_a_uniform_relabelling_would_fail_these_checks() -> None:
    """The other kind of noise keeps the true class of every tenth label it redraws."""
    redrawn = np.random.default_rng(1).integers(10, size=len(LABELS))
    assert abs((redrawn != LABELS).mean() - 1.0) > 0.05


def test_the_wrong_classes_are_uniform() -> None:
    labels = np.full(9000, 4)
    counts = np.bincount(noisy_labels(labels, 1.0, 10, seed=0), minlength=10)
    assert counts[4] == 0
    others = np.delete(counts, 4)
    assert ((others - 1000) ** 2 / 1000).sum() < 26.1  # chi-square of 8 degrees of freedom, p = 0.001


def test_noise_is_a_function_of_its_arguments_and_nested() -> None:
    before = LABELS.copy()
    np.random.seed(1)  # noqa: NPY002  # the global generator plays no part
    first = noisy_labels(LABELS, 0.4, 10, seed=3)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, noisy_labels(LABELS, 0.4, 10, seed=3))
    assert not np.array_equal(first, noisy_labels(LABELS, 0.4, 10, seed=4))
    assert np.array_equal(LABELS, before)
    more = noisy_labels(LABELS, 0.8, 10, seed=3)
    wrong = first != LABELS
    assert np.array_equal(more[wrong], first[wrong])
    assert first.dtype == np.int64
    assert set(np.unique(first)) <= set(range(10))


@pytest.mark.parametrize(("share", "n_classes"), [(-0.1, 10), (1.1, 10), (0.5, 1)])
def test_impossible_noise_is_refused(share: float, n_classes: int) -> None:
    with pytest.raises(ConfigError, match="label noise"):
        noisy_labels(LABELS, share, n_classes, seed=0)


def tiny(dataset: str) -> Dataset:
    return Dataset.tiny(find_card(dataset))


def test_classes_as_the_nets_read_them() -> None:
    data = tiny("digits")
    assert data.train.labels is not None
    labels = Labels(data, CPU)
    y = labels.of(next(Stream(data.train, 16, CPU, seed=0, flip=False)))
    assert torch.equal(labels.index(y), y)
    assert torch.equal(labels.vector(y).argmax(1), y)
    assert labels.vector(y).sum() == 16
    assert labels.draw(1000).bincount(minlength=10).min() > 50
    noisy = Labels(data, CPU, noise=0.5, noise_seed=7)
    expected = noisy_labels(data.train.labels, 0.5, 10, seed=7)
    assert torch.equal(noisy.table, torch.tensor(expected))
    assert torch.equal(torch.tensor(data.train.labels), labels.table)  # the data itself keeps its labels


def test_attributes_as_the_nets_read_them() -> None:
    data = tiny("shapes")
    labels = Labels(data, CPU)
    y = labels.draw(50)
    assert y.shape == (50, labels.n)
    rows = {tuple(row) for row in labels.table.tolist()}
    assert all(tuple(row) in rows for row in y.tolist())  # combinations that the training images have
    assert torch.equal(labels.vector(y), y)
    assert set(labels.index(y).unique().tolist()) == {-1.0, 1.0}


def test_data_without_labels_and_noise_on_attributes_are_refused() -> None:
    data = tiny("digits")
    data.conditioning, data.class_names = "none", ()
    with pytest.raises(ConfigError, match=r"(?s)no labels.*sngan.*biggan"):
        Labels(data, CPU)
    with pytest.raises(ConfigError, match="not classes"):
        Labels(tiny("shapes"), CPU, noise=0.1)
