"""Cards: what they hold, how they are found, and how wrong ones are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark.core.errors import ConfigError, DataError
from benchmark.data.cards import card_with, find_card, fingerprint, load_card, locate
from benchmark.data.sources.celeba import CELEBA_ATTRIBUTES

OWN_CARD = """
name: flowers
title: My flowers
source: {kind: folder, path: pictures}
resolution: 64
channels: 3
conditioning: class
"""


def test_cards_import_nothing_heavy():
    code = "import sys, benchmark.data.cards as c; c.list_cards(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "torchvision", "sklearn", "pandas", "matplotlib", "numpy", "PIL"} & set(loaded)


def test_celeba_sets_are_those_of_infoscc_gan():
    card = find_card("celeba")
    assert (card.resolution, card.crop, card.attribute_set) == (128, "none", "5")
    assert card.attribute_names == ("Bald", "Eyeglasses", "Mustache", "Wearing_Hat", "Wearing_Necktie")
    assert {key: len(names) for key, names in card.attribute_sets.items()} == {"5": 5, "10": 10, "15": 15}
    assert len(CELEBA_ATTRIBUTES) == 40
    assert tuple(sorted(CELEBA_ATTRIBUTES)) == CELEBA_ATTRIBUTES, "the official file lists them in this order"


def test_a_set_is_chosen_by_number_or_text_and_no_set_means_all():
    card = find_card("celeba")
    assert len(card_with(card, {"attribute_set": 10}).attribute_names) == 10
    assert len(card_with(card, {"attribute_set": "15"}).attribute_names) == 15
    assert card_with(card, {"attribute_set": None}).attribute_names == CELEBA_ATTRIBUTES
    assert card_with(card, {"conditioning": "none"}).attribute_names == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attribute_set": "6"}, "attribute_set: '6' is not one of attribute_sets"),
        ({"attribute_sets": {"mine": ["Eyeglases"]}}, "did you mean 'Eyeglasses'"),
        ({"attribute_sets": {"mine": ["Bald", "Bald"]}}, "each of them once"),
        ({"conditioning": "class"}, "serves attributes or none"),
        ({"resolutoin": 64}, "did you mean resolution|did you mean 'resolution'"),
        ({"resolution": 4}, "resolution: 4 given"),
        ({"resolution": 1, "channels": 2}, "resolution: 1 given"),
        ({"channels": 2}, "channels: 2 given"),
        ({"filter": "bicubik"}, "did you mean 'bicubic'"),
        ({"source": {"pth": "x"}}, "did you mean 'path'"),
        ({"source": {"train_partitions": [3]}}, "train_partitions"),
        ({"source": {"kind": "zipp"}}, "did you mean 'zip'"),
    ],
)
def test_a_bad_change_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        card_with(find_card("celeba"), changes)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(DataError, match="did you mean 'fashion_mnist'"):
        find_card("fashon_mnist")


def test_a_card_with_errors_names_file_and_key(tmp_path):
    path = tmp_path / "flowers.yaml"
    path.write_text(OWN_CARD + "flip: true\n")
    with pytest.raises(ConfigError, match=r"(?s)flowers\.yaml.*flip: unknown key; did you mean 'flip_ok'"):
        find_card(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        find_card(str(tmp_path / "none.yaml"))


def test_a_users_card_finds_pictures_beside_it_or_under_the_data_root(tmp_path):
    path = tmp_path / "flowers.yaml"
    path.write_text(OWN_CARD)
    assert find_card(str(path)).source.path == "pictures"
    (tmp_path / "pictures").mkdir()
    assert find_card(str(path)).source.path == str(tmp_path / "pictures")


def test_the_card_shown_to_users_is_valid(tmp_path):
    import textwrap

    import benchmark.data.cards as module

    text = module.__doc__.split("as its path:\n")[1].split("The defaults need no file")[0]
    path = tmp_path / "flowers.yaml"
    path.write_text(textwrap.dedent(text))
    assert load_card(path).resolution == 64
    assert len(textwrap.dedent(text).strip().splitlines()) <= 10


def test_locate_names_every_missing_file_and_the_page(tmp_path):
    with pytest.raises(DataError) as caught:
        locate(find_card("celeba"), tmp_path)
    text = str(caught.value)
    for name in ("img_align_celeba/*.jpg", "img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"):
        assert str(tmp_path / "celeba" / name) in text
    assert "mmlab.ie.cuhk.edu.hk" in text
    with pytest.raises(DataError, match="stargan-v2"):
        locate(find_card("afhq"), tmp_path)
    with pytest.raises(DataError, match=r"test\.zip"):
        locate(find_card("cifar10_jpeg"), tmp_path)


def test_locate_accepts_what_needs_no_file_and_what_can_be_downloaded(tmp_path):
    for name in ("digits", "shapes", "mnist", "cifar10", "ring2d", "grid2d", "stacked_mnist", "stacked_digits"):
        locate(find_card(name), tmp_path)


def test_locate_notices_a_download_that_broke_off(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="100 bytes instead of 47,040,016"):
        locate(find_card("mnist"), tmp_path)


def test_locate_notices_a_broken_zip(tmp_path):
    folder = tmp_path / "cifar10-jpeg"
    folder.mkdir()
    for name in ("train.zip", "test.zip"):
        (folder / name).write_bytes(b"PK\x03\x04 broken off")
    with pytest.raises(DataError, match=r"train\.zip: not a zip file"):
        locate(find_card("cifar10_jpeg"), tmp_path)


def test_fingerprint_follows_bytes_and_fields_but_not_prose(tmp_path):
    path = tmp_path / "flowers.yaml"
    path.write_text(OWN_CARD)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"1")
    card = find_card(str(path))
    key = fingerprint(card, tmp_path)
    assert fingerprint(card, tmp_path) == key
    assert fingerprint(card_with(card, {"title": "other words"}), tmp_path) == key
    assert fingerprint(card_with(card, {"resolution": 32}), tmp_path) != key
    (pictures / "b.png").write_bytes(b"2")
    assert fingerprint(card, tmp_path) != key
