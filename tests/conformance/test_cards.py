"""What every dataset card of the suite keeps to."""

from __future__ import annotations

import pytest
from helpers import ROOT

from benchmark.core.paths import card_folder
from benchmark.data.cards import DatasetCard, list_cards
from benchmark.data.prepared import Dataset

# fmt: off
NAMES = [
    "afhq", "celeba", "celeba_gender128", "celeba_gender32", "celeba_gender64", "celeba_hair32", "celeba_hair64",
    "celeba_hq", "celeba_hq_attributes", "cifar10", "cifar10_jpeg", "coco_stuff128", "coco_stuff256", "digits",
    "digits_0to4", "digits_5to9", "digits_lt", "fashion_mnist", "grid2d", "imagenet128", "imagenet256", "imagenet64",
    "imagenet_lt128", "imagenet_lt256", "imagenet_lt64", "mnist", "places365", "ring2d",
    "shapes", "shapes_class", "shapes_unseen", "stacked_digits", "stacked_mnist", "stl10",
]
# fmt: on
GENERATED = ("shapes", "ring2d", "grid2d")  # kinds that are drawn here

every_card = pytest.mark.parametrize("card", list_cards().values(), ids=list(list_cards()))


def test_no_card_comes_or_goes_by_accident() -> None:
    assert list(list_cards()) == NAMES


@every_card
def test_a_card_is_valid_and_says_what_it_is(card: DatasetCard) -> None:
    assert card.licence
    assert "\n" not in card.title
    is_power_of_two = card.resolution & (card.resolution - 1) == 0
    assert is_power_of_two or card.name == "stl10", "generators need a power of two; SNGAN's has a ladder for 48"
    assert card.source.kind in GENERATED or card.homepage.startswith("http")


@every_card
def test_tiny_has_the_shapes_and_labels_of_the_card(card: DatasetCard) -> None:
    tiny = Dataset.tiny(card)
    shape = (card.channels,) if tiny.is_points else (card.resolution, card.resolution, card.channels)
    assert tiny.train.images.shape == (64, *shape)
    assert len(tiny.test) == 64
    if card.conditioning == "class":
        assert tiny.n_labels == tiny.n_classes == card.n_classes
        assert set(tiny.train.labels) <= set(range(card.n_classes))
        assert tiny.is_points or len(set(tiny.train.labels)) == min(64, card.n_classes)
    elif card.conditioning == "none":
        assert (tiny.n_labels, tiny.train.labels, tiny.train.attributes) == (0, None, None)
    else:
        assert tiny.n_labels == len(card.attribute_names) == tiny.train.attributes.shape[1]
        assert tiny.n_classes == 0


def test_cards_lie_beside_the_package() -> None:
    assert card_folder() == ROOT / "datasets"
    assert not (card_folder() / "__init__.py").exists(), "a package called datasets would shadow Hugging Face's"
