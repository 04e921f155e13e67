"""The border effect: margins of features, and the share of hits by third of margin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from benchmark.evaluation.border import MOST_IMAGES, RequestedImages, border_effect, margins, requested_once
from benchmark.runs.figures import feature_space
from benchmark.runs.figures.feature_space import BORDER, CLASSES_SHOWN, save_feature_space


def two_blobs(n: int = 300, apart: float = 3.0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return torch.tensor(rng.normal(size=(n, 4)) + apart * labels[:, None] * np.array([1, 0, 0, 0])), labels


def test_margins_are_those_of_an_independent_search() -> None:
    features, labels = two_blobs()
    found = margins(features, labels, k=5)
    for label in (0, 1):
        mine, others = (features[torch.tensor(which)].numpy() for which in (labels == label, labels != label))
        to_own = NearestNeighbors(n_neighbors=6).fit(mine).kneighbors(mine)[0][:, 1:].mean(1)  # itself left out
        to_others = NearestNeighbors(n_neighbors=5).fit(others).kneighbors(mine)[0].mean(1)
        assert np.allclose(found[labels == label], to_others - to_own)


def test_a_duplicate_is_its_neighbour_and_a_lonely_class_has_no_margin() -> None:
    features = torch.cat([torch.zeros(6, 3), torch.ones(6, 3), torch.full((1, 3), 5.0)])
    labels = np.array([0] * 6 + [1] * 6 + [2])
    found = margins(features, labels, k=5)
    assert found[:12] == pytest.approx(np.sqrt(3))
    assert np.isnan(found[12])


def test_misses_between_the_classes_are_seen_and_misses_elsewhere_are_not() -> None:
    features, labels = two_blobs()
    margin, n = margins(features, labels), len(labels)
    draws, rng = np.ones(n, dtype=np.int64), np.random.default_rng(1)
    near = border_effect(RequestedImages(features, labels, (margin > np.quantile(margin, 0.2)).astype(float), draws))
    low, middle, high = near["hits_by_third_of_margin"]
    assert (middle, high) == (1, 1)
    assert low == pytest.approx(0.4)  # three fifths of the lowest third
    anywhere = border_effect(RequestedImages(features, labels, (rng.random(n) < 0.8).astype(float), draws))
    assert np.ptp(anywhere["hits_by_third_of_margin"]) < 0.15
    assert near["largest_margin"] == sorted(near["largest_margin"])
    assert near["images"] == n


def test_too_few_images_have_no_thirds() -> None:
    features, labels = two_blobs(8)
    assert border_effect(RequestedImages(features, labels, np.ones(8), np.ones(8, dtype=np.int64))) == {}
    assert border_effect(RequestedImages(features[:3], labels[:3], np.ones(3), np.ones(3, dtype=np.int64))) == {}


def test_samples_are_counted_by_the_image_they_were_asked_for() -> None:
    bank = torch.arange(10.0)[:, None].expand(-1, 2)
    rows, labels = np.array([7, 2, 7, 7, 2]), np.array([1, 0, 1, 1, 0])
    conditions = requested_once(bank, rows, labels, np.array([True, False, False, True, False]))
    assert conditions.features[:, 0].tolist() == [2, 7]
    assert conditions.labels.tolist() == [0, 1]
    assert conditions.hits.tolist() == [0, 2 / 3]
    assert conditions.draws.tolist() == [2, 3]
    many = np.arange(MOST_IMAGES + 5)
    assert len(requested_once(torch.zeros(len(many), 2), many, many, many > 0).labels) == MOST_IMAGES
    rows = np.arange(5 * MOST_IMAGES)
    classes = rows // MOST_IMAGES  # in order of class
    spread = requested_once(torch.zeros(len(rows), 2), rows, classes, rows >= 0)
    assert np.bincount(spread.labels).tolist() == [MOST_IMAGES // 5] * 5


def test_attributes_are_pairs_of_classes() -> None:
    """The thirds of two attributes are the mean of each one's; a third that is never off has no border."""
    features, labels = two_blobs()
    rng = np.random.default_rng(2)
    other = rng.integers(2, size=len(labels))
    attributes = np.stack([labels, other, np.ones_like(labels)], 1)
    hits = (rng.random(attributes.shape) < 0.7).astype(float)
    draws = np.ones(len(labels), dtype=np.int64)
    found = border_effect(RequestedImages(features, attributes, hits, draws), ["a", "b", "always"])
    assert set(found["attributes"]) == {"a", "b"}
    single = [border_effect(RequestedImages(features, attributes[:, k], hits[:, k], draws)) for k in (0, 1)]
    assert found["attributes"] == {"a": single[0], "b": single[1]}
    means = np.mean([one["hits_by_third_of_margin"] for one in single], axis=0)
    assert found["hits_by_third_of_margin"] == pytest.approx(means)


def test_attributes_are_counted_by_the_image_they_were_asked_for() -> None:
    rows, labels = np.array([3, 1, 3]), np.array([[1, 0], [0, 0], [1, 0]])
    hits = np.array([[True, False], [True, True], [False, False]])
    found = requested_once(torch.zeros(5, 2), rows, labels, hits)
    assert found.labels.tolist() == [[0, 0], [1, 0]]
    assert found.hits.tolist() == [[1, 1], [0.5, 0]]
    assert found.seen is None


def test_the_class_that_most_samples_show() -> None:
    rows, seen = np.array([3, 1, 3, 3, 1, 1]), np.array([2, 0, 2, 1, 4, 4])
    found = requested_once(torch.zeros(5, 2), rows, np.zeros(6, dtype=np.int64), seen == 0, seen)
    assert found.seen is not None
    assert found.seen.tolist() == [4, 2]


def test_pictures_of_classes_and_of_attributes(tmp_path: Path) -> None:
    features, labels = two_blobs(60)
    draws, hits = np.ones(60, dtype=np.int64), np.random.default_rng(0).random((60, 7))
    save_feature_space(tmp_path, RequestedImages(features, labels, hits[:, 0], draws, seen=1 - labels), ["a", "b"])
    assert {path.name for path in tmp_path.iterdir()} == {BORDER, CLASSES_SHOWN}
    attributes = (hits < 0.5).astype(np.int64)
    few = tmp_path / "attributes"
    few.mkdir()
    save_feature_space(few, RequestedImages(features, attributes, hits, draws), (), [f"label {k}" for k in range(7)])
    assert [path.name for path in few.iterdir()] == [BORDER], "a class is shown; several attributes are at once"
    with Image.open(few / BORDER) as picture:
        assert picture.size[0] > 2 * picture.size[1], "five columns, two rows"


def test_the_legend_names_the_classes_of_both_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples may show a class that none of the images has."""
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(feature_space, "save_figure", lambda path, figure: figures.update({path.name: figure}))
    features, labels = two_blobs(60)
    ones = np.ones(60, dtype=np.int64)
    shown = np.where(labels == 0, 0, 2)  # and nothing shows class 1
    images = RequestedImages(features, labels, ones.astype(float), ones, seen=shown)
    save_feature_space(tmp_path, images, ["zebra", "cat", "apple"])
    (legend,) = figures[CLASSES_SHOWN].legends
    assert [text.get_text() for text in legend.get_texts()] == ["zebra", "cat", "apple"], "in the order of the classes"


@pytest.mark.parametrize("apart", [3.0, 0.0])
def test_the_picture_is_drawn_even_of_features_that_are_all_equal(apart: float, tmp_path: Path) -> None:
    features, labels = two_blobs(60)
    hits = np.random.default_rng(0).random(60)
    save_feature_space(
        tmp_path,
        RequestedImages(features * apart, labels, hits, np.ones(60, dtype=np.int64)),
        ["a", "b"],
    )
    with Image.open(tmp_path / "border.png") as picture:
        assert picture.size[0] > picture.size[1] > 300
