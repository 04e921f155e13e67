"""The drawn shapes show what their labels say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.config import to_dict
from benchmark.core.errors import ConfigError
from benchmark.data import drawn_shapes as shapes
from benchmark.data.cards import card_with, find_card
from benchmark.data.prepare import prepare

N = 400


@pytest.fixture(scope="module")
def drawn():
    pictures = np.stack([np.asarray(shapes.draw(0, i)) for i in range(N)]).astype(int)  # [N, 32, 32, 3]
    truths = [shapes.truth(0, i) for i in range(N)]
    return pictures, np.array([k for k, _ in truths]), np.array([bits for _, bits in truths]).astype(bool)


def ink(pictures):
    """Pixels whose red and blue differ clearly: [N, 32, 32]."""
    return np.abs(pictures[..., 0] - pictures[..., 2]) > 60


def test_parts_of_the_own_split_are_not_split_by_hash():
    with pytest.raises(ConfigError, match=r"(?s)split: hash.*seen and unseen are parts of the source's own test split"):
        card_with(find_card("shapes_unseen"), {"split": "hash"})


def test_unseen_kinds_are_drawn_in_the_held_out_part_alone(tmp_path):
    card = card_with(find_card("shapes_unseen"), {"source": {"n_train": 300, "n_test": 200}})
    source = card.source.open(card, tmp_path)
    kinds = [(int(k), *bits) for k, bits in zip(source.labels, source.attributes.tolist())]
    trained = {kind for kind, test in zip(kinds, source.is_test) if not test}
    assert (len(kinds), int(source.is_test.sum())) == (500, 200)
    assert len(trained) <= 60
    seen, unseen = source.parts["seen"], source.parts["unseen"]
    assert np.array_equal(seen | unseen, source.is_test)
    assert not (seen & unseen).any()
    assert not {kinds[i] for i in np.flatnonzero(unseen)} & trained
    assert unseen.sum() > 80, "100 of 160 kinds"
    data = prepare(card, tmp_path, tmp_path / "c", progress=False)
    assert len(data.split("seen")) + len(data.split("unseen")) == 200
    assert np.array_equal(data.split("unseen").attributes, source.attributes[unseen])
    assert "n_unseen" not in to_dict(find_card("shapes"))["source"]
    plain = find_card("shapes").source
    assert plain.parts() == ()


def test_pictures_are_rgb_and_deterministic(drawn):
    pictures, _, _ = drawn
    assert pictures.shape == (N, 32, 32, 3)
    np.testing.assert_array_equal(pictures[7], np.asarray(shapes.draw(0, 7)))
    assert (np.asarray(shapes.draw(1, 7)) != pictures[7]).any()


def test_labels_are_balanced_and_independent(drawn):
    _, labels, _ = drawn
    many = np.array([[k, *bits] for k, bits in (shapes.truth(3, i) for i in range(4000))])
    assert np.abs(np.bincount(many[:, 0]) / 4000 - 0.2).max() < 0.03
    assert np.abs(many[:, 1:].mean(0) - 0.5).max() < 0.03
    correlation = np.corrcoef(many.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.06
    assert set(labels) == set(range(len(shapes.CLASSES)))


def test_red_is_red_and_blue_is_blue(drawn):
    pictures, _, bits = drawn
    balance = ((pictures[..., 0] - pictures[..., 2]) * ink(pictures)).sum((1, 2))
    np.testing.assert_array_equal(balance > 0, bits[:, 0])


def test_large_reaches_farther_than_small(drawn):
    pictures, _, bits = drawn
    points = [np.argwhere(seen) for seen in ink(pictures)]
    reach = np.array(
        [np.linalg.norm(p - p.mean(0), axis=1).max() for p in points]
    )  # pixels, from the centre of the ink
    assert reach[bits[:, 1]].min() > reach[~bits[:, 1]].max()


def test_filled_covers_more_than_an_outline_of_its_class_and_size(drawn):
    pictures, labels, bits = drawn
    area = ink(pictures).sum((1, 2))
    for k in range(len(shapes.CLASSES)):
        for large in (False, True):
            same = (labels == k) & (bits[:, 1] == large)
            assert area[same & bits[:, 2]].mean() > 1.15 * area[same & ~bits[:, 2]].mean(), (shapes.CLASSES[k], large)


def test_ground_and_frame_are_as_told(drawn):
    pictures, _, bits = drawn
    inside = np.median(pictures[:, 3:-3, 3:-3].min(-1).reshape(N, -1), axis=1)
    edge = pictures[:, 0].mean((1, 2))
    dark, frame = bits[:, 3], bits[:, 4]
    corner = pictures[:, 0, 0].mean(-1)
    np.testing.assert_array_equal(corner < 128, dark ^ frame)
    np.testing.assert_array_equal(edge < 128, dark ^ frame)
    ring = pictures[:, 2, 2].mean(-1)  # the first pixel inside of the frame
    np.testing.assert_array_equal(ring < 128, dark)
    assert inside[~dark].max() <= 255


def test_the_shape_stays_inside(drawn):
    pictures, _, _ = drawn
    seen = ink(pictures)
    assert not seen[:, 0].any()
    assert not seen[:, -1].any()
    assert not seen[:, :, 0].any()
    assert not seen[:, :, -1].any()
    assert (seen.sum((1, 2)) >= 20).all(), "every shape can be seen"
