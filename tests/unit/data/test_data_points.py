"""Points of known mixtures: where the centres lie, how the points scatter, and that they pass through `prepare`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.core.errors import ConfigError, DataError
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.prepare import find_prepared, prepare
from benchmark.data.prepared import Dataset, mixture_of

FEW = {"source": {"n_train": 500, "n_test": 200}}


def made(card: DatasetCard, tmp_path: Path) -> Dataset:
    return prepare(card, tmp_path, tmp_path / "cache", progress=False)


def test_the_ring_is_the_papers():
    centres, std = mixture_of(find_card("ring2d"))
    assert centres.shape == (8, 2)
    assert centres.dtype == np.float64
    np.testing.assert_allclose(np.hypot(*centres.T), 1)
    np.testing.assert_allclose(centres[:3], [[1, 0], [0.5**0.5] * 2, [0, 1]], atol=1e-12)
    assert std**2 == pytest.approx(1e-4)
    of_the_code = card_with(find_card("ring2d"), {"source": {"radius": 2.0}})
    np.testing.assert_allclose(mixture_of(of_the_code).centres, 2 * centres)


def test_the_grid_is_the_papers():
    centres, std = mixture_of(find_card("grid2d"))
    expected = {(2 * i - 4, 2 * j - 4) for i in range(5) for j in range(5)}
    assert {(round(x), round(y)) for x, y in centres} == expected
    assert len(centres) == 25
    assert std**2 == pytest.approx(0.0025)


@pytest.mark.parametrize("name", ["ring2d", "grid2d"])
def test_points_scatter_about_the_centre_of_their_label(name, tmp_path):
    data = made(find_card(name), tmp_path)
    assert (data.is_points, data.is_stacked) == (True, False)
    assert (data.train.images.shape, data.test.images.shape) == ((100_000, 2), (10_000, 2))
    assert data.train.images.dtype == np.float32
    centres, std = mixture_of(data)
    assert data.n_classes == len(centres)
    for split in (data.train, data.test):
        offsets = split.images - centres[split.labels]
        assert np.abs(offsets.mean(axis=0)).max() < 4 * std / len(split) ** 0.5
        np.testing.assert_allclose(offsets.std(axis=0), std, rtol=0.03)
        counts = np.bincount(split.labels, minlength=len(centres))
        assert np.abs(counts / len(split) * len(centres) - 1).max() < 5 * (len(centres) / len(split)) ** 0.5
    assert not set(map(tuple, data.train.images[:1000])) & set(map(tuple, data.test.images)), "held out"


def test_points_are_the_same_every_time_and_move_with_the_seed(tmp_path):
    card = card_with(find_card("grid2d"), FEW)
    first = made(card, tmp_path / "a")
    assert made(card, tmp_path / "b").sha256 == first.sha256
    assert find_prepared(card, tmp_path / "a", tmp_path / "a" / "cache").sha256 == first.sha256
    assert made(card_with(card, {"source": {"seed": 1}}), tmp_path / "a").sha256 != first.sha256
    longer = made(card_with(card, {"source": {"n_train": 600}}), tmp_path / "a")
    np.testing.assert_array_equal(longer.test.images, first.test.images)


def test_a_mode_that_one_split_lacks_by_chance_is_no_error(tmp_path):
    data = made(card_with(find_card("grid2d"), {"source": {"n_train": 10, "n_test": 5}}), tmp_path)
    assert data.n_classes == 25
    assert len(set(data.train.labels.tolist())) < 25


def test_the_mixture_is_known_to_card_prepared_data_and_stand_in(tmp_path):
    card = card_with(find_card("ring2d"), {**FEW, "source": {**FEW["source"], "radius": 3.0, "std": 0.2}})
    for data in (card, made(card, tmp_path), Dataset.tiny(card)):
        centres, std = mixture_of(data)
        np.testing.assert_allclose(np.hypot(*centres.T), 3)
        assert std == 0.2
    for other in (find_card("digits"), Dataset.tiny(find_card("digits"))):
        with pytest.raises(DataError, match="no points of a mixture"):
            mixture_of(other)


def test_the_stand_in_holds_points_of_the_mixture():
    card = find_card("grid2d")
    tiny = Dataset.tiny(card)
    assert tiny.is_points
    assert (tiny.train.images.shape, tiny.train.images.dtype) == ((64, 2), np.float32)
    centres, std = mixture_of(card)
    assert np.abs(tiny.train.images - centres[tiny.train.labels]).max() < 5 * std
    assert Dataset.tiny(card_with(card, {"conditioning": "none"})).train.labels is None


def test_pictures_are_no_points():
    for name in ("digits", "shapes", "stacked_digits"):
        assert not Dataset.tiny(find_card(name)).is_points
    assert Dataset.tiny(find_card("stacked_digits")).is_stacked
    assert not Dataset.tiny(find_card("digits")).is_stacked


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 32}, "resolution: 32 given.*\n.*2-D points.*\n.*resolution: 1"),
        ({"channels": 3}, "channels: 3 given"),
        ({"pad": 2}, "pad: 2 given"),
        ({"crop": "center"}, "crop: center given"),
        ({"flip_ok": True}, "flip_ok: True given.*\n.*\n.*flip_ok: false"),
        ({"split": "hash"}, "split: hash given"),
        ({"source": {"std": 0.0}}, "std"),
        ({"source": {"n_modes": 1}}, "n_modes"),
    ],
)
def test_a_card_of_points_has_one_shape(changes, message):
    with pytest.raises(ConfigError, match=message):
        card_with(find_card("ring2d"), changes)


def test_another_number_of_modes_needs_the_card_to_say_so(tmp_path):
    more = card_with(find_card("ring2d"), {"source": {**FEW["source"], "n_modes": 12}})
    with pytest.raises(DataError, match="12 classes, but its dataset config says 8"):
        made(more, tmp_path)
    assert made(card_with(more, {"n_classes": 12}), tmp_path).n_classes == 12
