"""Classes made of attributes, and all images as training split, on trees of the official layouts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.core.config import to_dict
from benchmark.core.errors import ConfigError, DataError
from benchmark.data.cards import DatasetCard, card_with, find_card, fingerprint, locate
from benchmark.data.classes import subset
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.data.sources.base import SourceImages
from benchmark.data.sources.celeba import CELEBA_ATTRIBUTES
from benchmark.data.sources.table import Table

HAIR = ("Bald", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")  # in the alphabetical order of the classes
N = 120  # pictures of the tree
HQ = "CelebAMask-HQ"


def picture(level: int) -> bytes:
    """A grey picture of one level: its pixels tell which file it was."""
    file = io.BytesIO()
    Image.new("RGB", (20, 24), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def attributes_of(i: int) -> set[str]:
    """Hair of kind i % 6 (the last: none), a second kind where i % 10 == 0, rarely gray; every third is a man."""
    hair = {HAIR[i % 6]} if i % 6 < 5 else set()
    hair |= {HAIR[(i + 1) % 5]} if i % 10 == 0 else set()
    if i % 6 == 4 and i % 4 == 0:
        hair -= {"Gray_Hair"}
    return hair | ({"Male"} if i % 3 == 0 else set())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CelebA and CelebA-HQ in small, in their official layouts, with the same pictures and attributes."""
    folder = tmp_path_factory.mktemp("data")
    for images in (folder / "celeba" / "img_align_celeba", folder / HQ / "CelebA-HQ-img"):
        images.mkdir(parents=True)
    names = [f"{i + 1:06d}.jpg" for i in range(N)]
    for i, name in enumerate(names):
        (folder / "celeba" / "img_align_celeba" / name).write_bytes(picture(i))
        (folder / HQ / "CelebA-HQ-img" / f"{i}.jpg").write_bytes(picture(i))
    rows = [" ".join("1" if name in attributes_of(i) else "-1" for name in CELEBA_ATTRIBUTES) for i in range(N)]
    header = f"{N}\n{' '.join(CELEBA_ATTRIBUTES)}\n"
    table = header + "".join(f"{name} {row}\n" for name, row in zip(names, rows))
    (folder / "celeba" / "list_attr_celeba.txt").write_text(table)
    parts = "".join(f"{name} {0 if i < 70 else 1 if i < 80 else 2}\n" for i, name in enumerate(names))
    (folder / "celeba" / "list_eval_partition.txt").write_text(parts)
    table = header + "".join(f"{i}.jpg  {row}\n" for i, row in enumerate(rows))
    (folder / HQ / "CelebAMask-HQ-attribute-anno.txt").write_text(table)
    return folder


def card_of(name: str, changes: dict[str, Any] | None = None) -> DatasetCard:
    return card_with(find_card(name), {"resolution": 8, **(changes or {})})


def made(card: DatasetCard, root: Path, tmp_path: Path) -> Dataset:
    locate(card, root)
    return prepare(card, root, tmp_path / "cache", progress=False)


def numbers(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_gender_is_two_classes_in_natural_proportions(root: Path, tmp_path: Path) -> None:
    data = made(card_of("celeba_gender32"), root, tmp_path)
    assert data.class_names == ("female", "male")
    assert (len(data.train), len(data.test)) == (80, 40), "the official partitions, whole"
    for split in (data.train, data.test):
        assert split.labels.tolist() == [int(i % 3 == 0) for i in numbers(split.images)]
        assert split.attributes is None
    assert data.conditioning == "class"


def test_hair_is_exclusive_and_balanced_in_each_split(root: Path, tmp_path: Path) -> None:
    data = made(card_of("celeba_hair64"), root, tmp_path)
    assert data.class_names == ("bald", "black", "blond", "brown", "gray")
    for split in (data.train, data.test):
        for i, label in zip(numbers(split.images), split.labels):
            assert attributes_of(i) & set(HAIR) == {HAIR[label]}, "exactly one of the five, and the one it says"
        counts = np.bincount(split.labels, minlength=5)
        rows = range(80) if split is data.train else range(80, N)
        alone = [sum(attributes_of(i) & set(HAIR) == {hair} for i in rows) for hair in HAIR]
        assert counts.tolist() == [min(alone)] * 5, "as many as the rarest has"
        assert max(alone) > min(alone), "there was something to leave out"
    assert "seed 0" in data.meta["split"]


def test_the_images_kept_are_a_choice_of_the_seed(root: Path, tmp_path: Path) -> None:
    kept = []
    for seed in (0, 0, 1):
        card = card_of("celeba_hair32", {"source": {"classes_from": {"seed": seed}}})
        kept.append(sorted(numbers(made(card, root, tmp_path / str(len(kept))).train.images)))
    assert kept[0] == kept[1] != kept[2]
    whole = made(card_of("celeba_hair32", {"source": {"classes_from": {"balance": False}}}), root, tmp_path)
    assert set(kept[0]) < set(numbers(whole.train.images))


def test_a_condition_may_name_several_attributes(root: Path, tmp_path: Path) -> None:
    classes = {"bald man": {"Bald": 1, "Male": 1}, "black": {"Black_Hair": 1, "Bald": 0, "Male": 0}}
    card = card_with(find_card("celeba"), {"source": {"classes_from": {"classes": classes}}, "conditioning": "class"})
    data = made(card_with(card, {"resolution": 8}), root, tmp_path)
    for i, label in zip(numbers(data.train.images), data.train.labels):
        mine = attributes_of(i)
        assert {"Bald", "Male"} <= mine if label == 0 else "Black_Hair" in mine and not {"Bald", "Male"} & mine


def test_classes_of_celeba_hq_keep_its_split(root: Path, tmp_path: Path) -> None:
    changes = {"n_test": 30, "classes_from": {"classes": {"female": {"Male": 0}, "male": {"Male": 1}}}}
    data = made(card_of("celeba_hq", {"source": changes, "conditioning": "class"}), root, tmp_path)
    plain = made(card_of("celeba_hq", {"source": {"n_test": 30}}), root, tmp_path)
    assert sorted(numbers(data.test.images)) == sorted(numbers(plain.test.images))
    assert data.train.labels.tolist() == [int(i % 3 == 0) for i in numbers(data.train.images)]


def test_celeba_hq_serves_the_four_attributes_of_lt_gan(root: Path, tmp_path: Path) -> None:
    data = made(card_of("celeba_hq_attributes", {"source": {"n_test": 30}}), root, tmp_path)
    assert data.attribute_names == ("Young", "Eyeglasses", "Male", "Smiling")
    assert data.test.attributes[:, 2].tolist() == [int(i % 3 == 0) for i in numbers(data.test.images)]


def test_classes_of_a_table_of_one_s_own_are_balanced_in_a_split_by_hash(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i}.png").write_bytes(picture(i))
    rows = "".join(f"{i}.png,{int(i % 4 == 0)}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("file,odd\n" + rows)
    choice = {"classes": {"rare": {"odd": 1}, "usual": {"odd": 0}}, "balance": True}
    source = {"kind": "table", "path": str(folder), "table": str(tmp_path / "t.csv"), "classes_from": choice}
    card = DatasetCard(
        name="own", title="own", source=Table(path=str(folder), table="t.csv"), resolution=8, channels=3,
        conditioning="attributes",
    )  # fmt: skip
    data = made(card_with(card, {"source": source, "conditioning": "class"}), tmp_path, tmp_path)
    for split in (data.train, data.test):
        assert split.labels.tolist() == [int(i % 4 != 0) for i in numbers(split.images)]
        assert len(set(np.bincount(split.labels, minlength=2))) == 1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"male": {"Male": 1}}, "at least 2|should have at least"),
        ({"male": {"Male": 2}, "female": {"Male": 0}}, "2 is not one of 0 or 1"),
        ({"male": {"Mal": 1}, "female": {"Male": 0}}, "did you mean 'Male'"),
        ({"male": {}, "female": {"Male": 0}}, "male"),
    ],
)
def test_a_bad_choice_is_refused_by_name(classes: dict[str, Any], message: str) -> None:
    source = to_dict(find_card("celeba"))["source"] | {"classes_from": {"classes": classes}}
    with pytest.raises(ConfigError, match=message):
        card_with(find_card("celeba"), {"source": source, "conditioning": "class"})


def test_classes_need_a_choice_and_their_number(root: Path) -> None:
    with pytest.raises(ConfigError, match="serves attributes or none"):
        card_with(find_card("celeba"), {"conditioning": "class"})
    with pytest.raises(ConfigError, match="makes 2 classes"):
        card_with(find_card("celeba_gender64"), {"n_classes": 3})


def test_classes_that_hold_together_are_named(root: Path, tmp_path: Path) -> None:
    choice = {"classes": {"a man": {"Male": 1}, "male": {"Male": 1}, "female": {"Male": 0}}}
    card = card_of("celeba", {"source": {"classes_from": choice}, "conditioning": "class"})
    with pytest.raises(DataError, match="no training image of class a man, male"):
        made(card, root, tmp_path)


def test_a_card_without_classes_hashes_as_before(root: Path) -> None:
    plain = to_dict(find_card("celeba"))
    assert plain["source"] == {
        "kind": "celeba", "path": "celeba", "train_partitions": [0, 1], "test_partitions": [2]
    }  # fmt: skip
    card = card_of("celeba_hair32")
    other = card_with(card, {"source": {"classes_from": {"seed": 1}}})
    assert fingerprint(card, root) != fingerprint(other, root)


# ---- split: all -----------------------------------------------------------------------------------------------------


def test_all_images_are_trained_on_and_the_record_of_it_says_so(root: Path, tmp_path: Path) -> None:
    own = made(card_of("celeba"), root, tmp_path)
    data = made(card_of("celeba", {"split": "all"}), root, tmp_path)
    assert sorted(numbers(data.train.images)) == list(range(N))
    assert numbers(data.test.images) == numbers(own.test.images), "the test split is what it was"
    np.testing.assert_array_equal(data.test.attributes, own.test.attributes)
    assert (own.holds_out, data.holds_out) == (True, False)
    assert "train is all 120 images" in data.meta["split"]
    assert "nothing is held out" in data.meta["split"]
    assert "nothing is held out" in data.split_note
    assert "182,637 of 202,599" in own.split_note
    assert data.sha256 != own.sha256


def test_all_works_without_a_split_of_the_source_s_own(tmp_path: Path) -> None:
    for i in range(40):
        path = tmp_path / "photos" / f"{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    card = card_with(find_card(str(tmp_path / "photos")), {"resolution": 8})
    by_hash, data = (made(card_with(card, {"split": split}), tmp_path, tmp_path) for split in ("hash", "all"))
    assert sorted(numbers(data.train.images)) == list(range(40))
    assert numbers(data.test.images) == numbers(by_hash.test.images)


def test_other_choices_of_celeba_say_nothing() -> None:
    assert find_card("celeba_gender32").split_note == ""
    assert card_with(find_card("celeba"), {"source": {"train_partitions": [0]}}).split_note == ""
    assert find_card("digits").split_note == ""


def test_named_parts_follow_the_chosen_rows() -> None:
    image = Image.new("RGB", (2, 2))
    seen = np.array([True, False, True, False])
    opened = SourceImages(list("abcd"), lambda i: image, lambda i: "abcd"[i], parts={"seen": seen, "unseen": ~seen})
    chosen = subset(opened, np.array([1, 2]))
    assert chosen.names == ["b", "c"]
    assert {name: part.tolist() for name, part in chosen.parts.items()} == {
        "seen": [False, True],
        "unseen": [True, False],
    }


@pytest.mark.parametrize("n", [16, 64])
def test_the_parts_of_a_stand_in_are_rows_of_its_test_split(n: int) -> None:
    data = Dataset.tiny(find_card("shapes_unseen"), n)
    assert sorted(np.concatenate([data.parts[name] for name in ("seen", "unseen")])) == list(range(n))
    assert len(data.split("seen")) == n // 2
