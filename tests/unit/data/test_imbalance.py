"""A long tail made of equal classes: its sizes, which images stay, and that nothing else of a dataset moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.core.config import to_dict
from benchmark.core.errors import ConfigError
from benchmark.data.cards import card_with, find_card
from benchmark.data.imbalance import long_tail
from benchmark.data.prepare import prepare

LABELS = np.tile(np.arange(10), 100)


def test_class_sizes_fall_exponentially() -> None:
    rows = long_tail(LABELS, 10, 20.0)
    sizes = np.bincount(LABELS[rows])
    assert np.array_equal(sizes, np.round(100 * 20.0 ** (-np.arange(10) / 9)))  # Cui et al.: n mu^k
    assert (sizes[0], sizes[-1]) == (100, 5)
    assert np.array_equal(rows, np.unique(rows))
    assert np.array_equal(long_tail(LABELS, 10, 1.0), np.arange(1000))
    assert np.bincount(LABELS[long_tail(LABELS, 10, 1e6)]).min() == 1, "no class is lost"


def test_a_longer_tail_keeps_some_of_a_shorter_one_s_images() -> None:
    assert set(long_tail(LABELS, 10, 50.0)) < set(long_tail(LABELS, 10, 10.0))


def test_long_tailed_digits_are_digits_with_fewer_training_images(tmp_path: Path) -> None:
    whole, tail = (prepare(find_card(n), tmp_path, tmp_path / "c", progress=False) for n in ("digits", "digits_lt"))
    assert np.array_equal(whole.test.images, tail.test.images)
    sizes = np.bincount(tail.train.labels)
    assert sizes[0] == np.bincount(whole.train.labels)[0] == 119
    assert sizes[-1] == 6
    assert sizes.tolist() == sorted(sizes, reverse=True)
    known = {image.tobytes() for image in whole.train.images}
    assert all(image.tobytes() in known for image in tail.train.images)
    assert "thinned out to 1/20" in tail.meta["split"]
    groups = {"many": sizes >= 100, "medium": (sizes > 20) & (sizes < 100), "few": sizes <= 20}
    assert all(group.any() for group in groups.values()), "each of ImageNet-LT's groups has a class"


def test_a_card_without_it_has_no_such_key_and_one_without_classes_is_refused() -> None:
    assert "imbalance" not in to_dict(find_card("digits"))
    assert to_dict(find_card("digits_lt"))["imbalance"] == 20
    with pytest.raises(ConfigError, match="imbalance: 20"):
        card_with(find_card("shapes"), {"imbalance": 20})
    with pytest.raises(ConfigError, match="imbalance"):
        card_with(find_card("digits"), {"imbalance": 0.5})
