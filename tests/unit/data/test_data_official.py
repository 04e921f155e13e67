"""Official layouts, on small trees of the same form: what is read, and that every fault is named at once."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.data.cards import DatasetCard, card_with, find_card, fingerprint, locate
from benchmark.data.lists import read_list
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.data.sources import stl10
from benchmark.data.sources.coco import chosen_pictures

SIDE = {"resolution": 8}
ABSENT = ["stl10", "celeba_hq", "imagenet64", "imagenet_lt128", "coco_stuff256", "places365"]


def png(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A grey picture of one level: its pixels tell which file it was. Pillow does not mind the ending .JPEG."""
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(file, "PNG")
    return file.getvalue()


def write(root: Path, files: dict[str, bytes | str]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)


def made(card: DatasetCard, tmp_path: Path) -> Dataset:
    return prepare(card, tmp_path, tmp_path / "cache", progress=False)


def refused(card: DatasetCard, tmp_path: Path) -> str:
    """The message, and nothing is left behind that looks prepared."""
    before = sorted((tmp_path / "cache").glob("*/*"))
    with pytest.raises(DataError) as caught:
        made(card, tmp_path)
    assert sorted((tmp_path / "cache").glob("*/*")) == before
    return str(caught.value)


def levels(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("name", ABSENT)
def test_absent_files_are_named_at_once_with_the_page(name, tmp_path):
    card = find_card(name)
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        locate(card, tmp_path)
    assert time.monotonic() - start < 1
    text = str(caught.value)
    assert card.homepage in text
    for line in card.source.required(card, tmp_path):
        for path in line.split(" | "):
            assert path in text


def test_absent_files_are_noticed_without_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; import benchmark.data.cards as c\n"
        f"for name in {ABSENT}:\n"
        f"    try: c.locate(c.find_card(name), Path({str(tmp_path)!r}))\n"
        "    except c.DataError: print(name)\n"
        "print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out[: len(ABSENT)] == ABSENT
    assert not {"torch", "numpy", "PIL"} & set(out)


# STL-10


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Binary files of 3, 2 and 2 random pictures: [N, C, column, row]."""
    counts = {"unlabeled": 3, "train": 2, "test": 2}
    monkeypatch.setattr(stl10, "PICTURES", counts)
    rng = np.random.default_rng(0)
    arrays = {part: rng.integers(256, size=(n, 3, 96, 96), dtype=np.uint8) for part, n in counts.items()}
    write(root, {f"stl10_binary/{part}_X.bin": array.tobytes() for part, array in arrays.items()})
    return arrays


def test_stl10_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    import torchvision.datasets

    write_stl10(tmp_path, monkeypatch)
    data = made(card_with(find_card("stl10"), {"resolution": 96}), tmp_path)
    assert (len(data.train), len(data.test), data.n_labels) == (3, 2, 0)
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    write(tmp_path, {"stl10_binary/test_y.bin": bytes([1, 2]), "stl10_binary/class_names.txt": "a\nb\n"})
    for split, part in ((data.train, "unlabeled"), (data.test, "test")):
        theirs = torchvision.datasets.STL10(str(tmp_path), split=part).data  # [N, C, H, W]
        np.testing.assert_array_equal(split.images, theirs.transpose(0, 2, 3, 1))


def test_stl10_can_take_its_labelled_pictures_too(tmp_path, monkeypatch):
    arrays = write_stl10(tmp_path, monkeypatch)
    card = card_with(find_card("stl10"), {"resolution": 96, "source": {"train_parts": ["unlabeled", "train"]}})
    data = made(card, tmp_path)
    expected = np.concatenate([arrays["unlabeled"], arrays["train"]]).transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(data.train.images, expected)


def test_a_download_of_stl10_that_broke_off_is_noticed(tmp_path, monkeypatch):
    write_stl10(tmp_path, monkeypatch)
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").write_bytes(b"x" * 100)
    assert "100 bytes instead of 82,944" in refused(find_card("stl10"), tmp_path)


def test_the_sizes_of_stl10_are_the_published_ones(tmp_path):
    sizes = list(find_card("stl10").source.sizes(tmp_path).values())
    assert sizes == [2_764_800_000, 221_184_000]


# CelebA-HQ


def write_celeba_hq(root: Path, n: int = 20) -> None:
    folder = "CelebAMask-HQ"
    write(root, {f"{folder}/CelebA-HQ-img/{i}.jpg": png(i) for i in range(n)})
    rows = "".join(f"{i}.jpg  {1 if i % 2 else -1} -1\n" for i in range(n))
    write(root, {f"{folder}/CelebAMask-HQ-attribute-anno.txt": f"{n}\nMale Young\n{rows}"})


def test_celeba_hq_holds_out_a_seeded_random_part(tmp_path):
    write_celeba_hq(tmp_path)
    card = card_with(find_card("celeba_hq"), SIDE | {"source": {"n_test": 6}})
    data = made(card, tmp_path)
    train, test = levels(data.train.images), levels(data.test.images)
    assert (len(train), len(test)) == (14, 6)
    assert sorted(train + test) == list(range(20))
    assert data.n_labels == 0
    other = made(card_with(card, {"source": {"seed": 1}}), tmp_path)
    assert sorted(levels(other.test.images)) != sorted(test)


def test_celeba_hq_serves_its_attributes_when_asked(tmp_path):
    write_celeba_hq(tmp_path)
    card = card_with(find_card("celeba_hq"), SIDE | {"source": {"n_test": 6}, "conditioning": "attributes"})
    data = made(card, tmp_path)
    assert data.attribute_names == ("Male", "Young")
    np.testing.assert_array_equal(data.test.attributes[:, 0], np.array(levels(data.test.images)) % 2)
    plain = made(card_with(card, {"conditioning": "none"}), tmp_path)
    assert sorted(levels(plain.test.images)) == sorted(levels(data.test.images)), "the split is the same"
    (tmp_path / "CelebAMask-HQ" / "CelebAMask-HQ-attribute-anno.txt").unlink()
    assert "CelebAMask-HQ-attribute-anno.txt" in refused(card_with(card, {"resolution": 16}), tmp_path)


def test_too_few_faces_to_hold_out_is_named(tmp_path):
    write_celeba_hq(tmp_path)
    assert "20 images, of which 3,000" in refused(find_card("celeba_hq"), tmp_path)


# ImageNet

WNIDS = ("n01440764", "n01443537", "n02979186")


def imagenet_card(**fields: Any) -> DatasetCard:
    return card_with(find_card("imagenet64"), SIDE | {"n_classes": 3} | fields)


def write_imagenet(root: Path, flat: bool = False) -> None:
    """Levels are ten times the class, plus 5 in validation; test/, which Kaggle's archive has, is no part of it."""
    for k, wnid in enumerate(WNIDS):
        write(root, {f"imagenet/train/{wnid}/{wnid}_{i}.JPEG": png(10 * k) for i in range(4)})
        number = 3 - k  # validation pictures are not in the order of classes
        folder = "" if flat else f"{wnid}/"
        write(root, {f"imagenet/val/{folder}ILSVRC2012_val_0000000{number}.JPEG": png(10 * k + 5)})
    write(root, {"imagenet/test/ILSVRC2012_test_00000001.JPEG": png(255)})
    if flat:
        rows = "".join(f"ILSVRC2012_val_0000000{3 - k},{wnid} 85 1 499 272\n" for k, wnid in enumerate(WNIDS))
        write(root, {"imagenet/LOC_val_solution.csv": f"ImageId,PredictionString\n{rows}"})


@pytest.mark.parametrize("flat", [False, True], ids=["folders", "flat"])
def test_imagenet_in_both_layouts(flat, tmp_path):
    write_imagenet(tmp_path, flat)
    data = made(imagenet_card(), tmp_path)
    assert data.class_names == WNIDS
    assert (len(data.train), len(data.test)) == (12, 3)
    np.testing.assert_array_equal(levels(data.train.images), data.train.labels * 10)
    np.testing.assert_array_equal(levels(data.test.images), data.test.labels * 10 + 5)


def test_a_flat_validation_needs_its_solution_file(tmp_path):
    write_imagenet(tmp_path, flat=True)
    (tmp_path / "imagenet" / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,\n")
    assert "LOC_val_solution.csv: 1 bad rows" in refused(imagenet_card(), tmp_path)
    (tmp_path / "imagenet" / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n02979186 1 2 3 4\n"
    )
    assert "no row for ILSVRC2012_val_00000002" in refused(imagenet_card(), tmp_path)
    (tmp_path / "imagenet" / "LOC_val_solution.csv").unlink()
    assert "LOC_val_solution.csv" in refused(imagenet_card(), tmp_path)


def test_imagenet_is_cropped_then_resized(tmp_path):
    write_imagenet(tmp_path)
    picture = Image.new("RGB", (24, 8), (255, 255, 255))
    picture.paste((0, 0, 0), (8, 0, 16, 8))  # the central square is black
    file = io.BytesIO()
    picture.save(file, "PNG")
    for path in (tmp_path / "imagenet" / "train" / WNIDS[0]).iterdir():
        path.write_bytes(file.getvalue())
    data = made(imagenet_card(), tmp_path)
    assert data.train.images[data.train.labels == 0].max() == 0


def test_a_class_that_is_missing_in_imagenet_is_noticed(tmp_path):
    write_imagenet(tmp_path)
    assert "3 classes, but its dataset config says 1000" in refused(imagenet_card(n_classes=1000), tmp_path)


# Lists


def write_lists(root: Path) -> None:
    write_imagenet(root)
    train = [f"train/{WNIDS[k]}/{WNIDS[k]}_{i}.JPEG {k}\n" for k, n in enumerate((4, 2, 1)) for i in range(n)]
    test = [f"val/{wnid}/ILSVRC2012_val_0000000{3 - k}.JPEG {k}\n" for k, wnid in enumerate(WNIDS)]
    for part, rows in (("train", train), ("test", test)):
        write(root, {f"imagenet/ImageNet_LT_{part}.txt": "".join(rows)})


def list_card(**fields: Any) -> DatasetCard:
    return card_with(find_card("imagenet_lt64"), SIDE | {"n_classes": 3, "source": {"n_train": 7}} | fields)


def test_a_long_tail_is_what_its_lists_say(tmp_path):
    write_lists(tmp_path)
    data = made(list_card(), tmp_path)
    assert data.class_names == WNIDS
    np.testing.assert_array_equal(np.bincount(data.train.labels), [4, 2, 1])
    np.testing.assert_array_equal(levels(data.train.images), data.train.labels * 10)
    np.testing.assert_array_equal(levels(data.test.images), data.test.labels * 10 + 5)


def test_faults_of_lists_are_named(tmp_path):
    write_lists(tmp_path)
    path = tmp_path / "imagenet" / "ImageNet_LT_train.txt"
    whole = path.read_text()
    path.write_text(whole.replace("_3.JPEG 0", "_9.JPEG 0"))
    assert "train/n01440764/n01440764_9.JPEG" in refused(list_card(), tmp_path)
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert "it lists 6 images instead of 7" in refused(list_card(), tmp_path)
    text = refused(list_card(source={"n_train": None}), tmp_path)
    assert "the train list lacks classes" in text
    path.write_text("train/a.JPEG\n../b.JPEG 0\n/c.JPEG 1\n")
    text = refused(list_card(), tmp_path)
    assert "3 bad lines" in text
    assert "line 2: ../b.JPEG 0" in text


def test_a_list_keeps_blanks_in_names(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("my pictures/a b.png 3\n\n")
    assert read_list(path) == [("my pictures/a b.png", 3)]


def test_an_image_that_is_listed_twice_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.png 0\nb.png 1\n./a.png 0\n")
    with pytest.raises(DataError, match=r"(?s)1 bad lines.*line 3: a\.png is in line 1, too"):
        read_list(path)


def test_a_users_lists_may_lie_beside_the_card(tmp_path):
    write_lists(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{name: mine, title: Mine, resolution: 8, channels: 3, conditioning: class, source: {kind: list,"
        " path: imagenet, train_list: imagenet/ImageNet_LT_train.txt, test_list: imagenet/ImageNet_LT_test.txt}}"
    )
    data = prepare(find_card(str(path)), tmp_path / "elsewhere", tmp_path / "cache", progress=False)
    assert (len(data.train), len(data.test), data.class_names) == (7, 3, WNIDS)


def test_the_key_follows_the_lists_and_the_listed_pictures_alone(tmp_path):
    write_lists(tmp_path)
    card = list_card()
    key = fingerprint(card, tmp_path)
    write(tmp_path, {"imagenet/train/n01440764/unlisted.JPEG": png(1)})
    assert fingerprint(card, tmp_path) == key
    write(tmp_path, {"imagenet/train/n01440764/n01440764_0.JPEG": png(1, (9, 9))})
    assert fingerprint(card, tmp_path) != key


# COCO-Stuff


def box(image: int, share: float, category: int = 1, crowd: int = 0) -> dict[str, Any]:
    """An object whose box covers this share of a 10 x 10 picture."""
    bbox = [0, 0, 10, 10 * share]
    return {"image_id": image, "bbox": bbox, "category_id": category, "iscrowd": crowd, "segmentation": {"counts": [1]}}


def coco_file(root: Path, what: str, part: str, n: int, objects: list[dict[str, Any]]) -> None:
    """An annotation file; categories: 1 cat, 2 sky, 3 other."""
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "width": 10, "height": 10} for i in range(n)]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "sky"}, {"id": 3, "name": "other"}]
    text = json.dumps({"images": images, "annotations": objects, "categories": names})
    write(root, {f"coco/annotations/{what}_{part}2017.json": text})


def write_coco(root: Path, part: str, things: dict[int, list[dict[str, Any]]], n: int) -> None:
    coco_file(root, "instances", part, n, [entry for objects in things.values() for entry in objects])
    coco_file(root, "stuff", part, n, [box(i, 0.01, 2) for i in range(n) if i != 6])  # 6 has no stuff
    write(root, {f"coco/{part}2017/{i:012d}.jpg": png(i) for i in range(n)})


THINGS = {
    0: [box(0, 0.5)] * 3,  # kept
    1: [box(1, 0.5)] * 2,  # too few
    2: [box(2, 0.5)] * 8,  # kept
    3: [box(3, 0.5)] * 9,  # too many
    4: [box(4, 0.5)] * 2 + [box(4, 0.02)],  # 2 % is not more than 2 %
    5: [box(5, 0.5)] * 2 + [box(5, 0.5, crowd=1)],  # crowds count in validation only
    6: [box(6, 0.5)] * 3,  # without stuff
    7: [box(7, 0.5)] * 2 + [box(7, 0.5, 3)],  # "other" is no object
    8: [box(8, 0.5)] * 2 + [box(8, 0.03, 2)],  # kept: 3 % is enough
}


def test_coco_keeps_pictures_with_three_to_eight_large_objects(tmp_path):
    for part in ("train", "val"):
        write_coco(tmp_path, part, THINGS, 9)
    card = card_with(find_card("coco_stuff128"), SIDE | {"source": {"skip_val": 1}})
    data = made(card, tmp_path)
    assert levels(data.train.images) == [0, 2, 8]
    assert levels(data.test.images) == [2, 5, 8], "the first one of validation is left out; crowds count"
    assert data.n_labels == 0


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"min_objects": 2}, [0, 1, 2, 4, 5, 7, 8]),
        ({"max_objects": 9}, [0, 2, 3, 8]),
        ({"min_area": 0.019}, [0, 2, 4, 8]),
        ({"min_area": 0.04}, [0, 2]),
    ],
)
def test_each_bound_of_the_rule_counts(change, kept, tmp_path):
    write_coco(tmp_path, "train", THINGS, 9)
    source = card_with(find_card("coco_stuff128"), {"source": change}).source
    names = chosen_pictures(source, tmp_path / "coco", "train2017")
    assert [int(name.removesuffix(".jpg")) for name in names] == kept


def test_coco_s_evaluation_pictures_are_seen_or_unseen_by_their_categories(tmp_path):
    """A set of categories counts, not how often each occurs; small objects and dropped pictures say nothing."""
    train = {
        0: [box(0, 0.5)] * 3,  # {cat}
        1: [box(1, 0.5)] * 2 + [box(1, 0.5, 2)],  # {cat, sky}
        2: [box(2, 0.5, 2)] * 2,  # {sky}, but too few objects to be used
    }
    val = {
        0: [box(0, 0.5)] * 5,  # {cat}: seen
        1: [box(1, 0.5, 2)] * 3,  # {sky}: unseen, for the picture of training that has it is not used
        2: [box(2, 0.5)] + [box(2, 0.5, 2)] * 2,  # {cat, sky}: seen
        3: [box(3, 0.5)] * 3 + [box(3, 0.01, 2)],  # {cat}: the sky is too small to count
        4: [box(4, 0.5)] * 3 + [box(4, 0.5, 3)],  # {cat}: "other" is no category
    }
    for part, things in (("train", train), ("val", val)):
        write_coco(tmp_path, part, things, 5)
    card = card_with(find_card("coco_stuff128"), SIDE | {"source": {"skip_val": 0}})
    data = made(card, tmp_path)
    assert levels(data.train.images) == [0, 1]
    assert levels(data.test.images) == [0, 1, 2, 3, 4]
    assert levels(data.split("seen").images) == [0, 2, 3, 4]
    assert levels(data.split("unseen").images) == [1]
    skipped = made(card_with(card, {"source": {"skip_val": 2}}), tmp_path)
    assert levels(skipped.test.images) == [2, 3, 4]
    assert levels(skipped.split("seen").images) == [2, 3, 4]
    assert len(skipped.split("unseen")) == 0
    assert card.source.parts() == tuple(data.parts) == ("seen", "unseen")


def test_coco_is_squashed_without_a_crop(tmp_path):
    for part in ("train", "val"):
        write_coco(tmp_path, part, THINGS, 9)
    picture = Image.new("RGB", (32, 8), (255, 255, 255))
    picture.paste((0, 0, 0), (0, 0, 8, 8))  # the left quarter is black: a crop would lose it
    file = io.BytesIO()
    picture.save(file, "PNG")
    write(tmp_path, {"coco/train2017/000000000000.jpg": file.getvalue()})
    data = made(card_with(find_card("coco_stuff128"), SIDE | {"source": {"skip_val": 0}}), tmp_path)
    assert data.train.images[0, 4, 0, 0] == 0
    assert data.train.images[0, 4, -1, 0] == 255


def test_faults_of_coco_are_named(tmp_path):
    for part in ("train", "val"):
        write_coco(tmp_path, part, THINGS, 9)
    card = card_with(find_card("coco_stuff128"), SIDE)
    assert "the first 1024 of val2017" in refused(card, tmp_path)
    card = card_with(card, {"source": {"skip_val": 0}})
    (tmp_path / "coco" / "train2017" / "000000000002.jpg").unlink()
    assert "train2017/000000000002.jpg" in refused(card, tmp_path)
    path = tmp_path / "coco" / "annotations" / "stuff_val2017.json"
    path.write_text("{}")
    assert "stuff_val2017.json: cannot be read" in refused(card, tmp_path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"images": [], "images": []}', "given twice"),
        ('{"images": [NaN]}', "NaN"),
        ('{"images": 3, "annotations": [], "categories": []}', "cannot be read"),
        ('{"images": [], "annotations": [{"image_id": 1}], "categories": []}', "an entry is damaged"),
        ('{"images": [], "annotations": [3], "categories": []}', "an entry is damaged"),
        (
            '{"images": [{"id": [], "width": 1, "height": 1}], "annotations": [], "categories": []}',
            "an entry is damaged",
        ),
    ],
)
def test_hostile_annotations_of_coco_are_named(content, part, tmp_path):
    for split in ("train", "val"):
        write_coco(tmp_path, split, THINGS, 9)
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text(content)
    told = refused(card_with(find_card("coco_stuff128"), SIDE | {"source": {"skip_val": 0}}), tmp_path)
    assert part in told
    assert "train2017.json" in told


# Places365


def test_places365_in_the_easy_layout(tmp_path):
    for k, name in enumerate(("airfield", "zen_garden")):
        write(tmp_path, {f"places365_standard/train/{name}/{i}.jpg": png(10 * k) for i in range(3)})
        write(tmp_path, {f"places365_standard/val/{name}/Places365_val_{k}.jpg": png(10 * k + 5)})
    write(tmp_path, {"places365_standard/train.txt": "airfield/0.jpg\n", "places365_standard/val.txt": ""})
    data = made(card_with(find_card("places365"), SIDE | {"n_classes": 2}), tmp_path)
    assert data.class_names == ("airfield", "zen_garden")
    assert (len(data.train), len(data.test)) == (6, 2)
    np.testing.assert_array_equal(levels(data.test.images), data.test.labels * 10 + 5)
