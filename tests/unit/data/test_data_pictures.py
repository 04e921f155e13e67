"""A user's own pictures: every layout that is read, and every fault that is named."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.data.cards import DatasetCard, card_with, find_card, locate
from benchmark.data.layout import in_test
from benchmark.data.prepare import prepare
from benchmark.data.sources.celeba import CELEBA_ATTRIBUTES, CelebA
from benchmark.data.sources.folder import Folder
from benchmark.data.sources.table import Table
from benchmark.data.sources.zip import Zip


def png(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A grey picture of one level: its pixels tell which file it was."""
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(file, "PNG")
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def classes(n: int = 12) -> dict[str, bytes]:
    """Dark cats and bright dogs."""
    return {f"{kind}/{i}.png": png(level + i) for kind, level in (("cat", 0), ("dog", 200)) for i in range(n)}


def card(source, conditioning: str = "class", **fields) -> DatasetCard:
    values = {"name": "own", "title": "own", "resolution": 8, "channels": 3, **fields}
    return DatasetCard(source=source, conditioning=conditioning, **values)


def folder_card(path: Path, conditioning: str = "class", **fields) -> DatasetCard:
    return card(Folder(path=str(path)), conditioning, **fields)


def made(chosen: DatasetCard, tmp_path: Path):
    return prepare(chosen, tmp_path, tmp_path / "cache", progress=False)


def refused(chosen: DatasetCard, tmp_path: Path) -> str:
    """The message, and nothing is left behind that looks prepared."""
    with pytest.raises(DataError) as caught:
        made(chosen, tmp_path)
    assert not list((tmp_path / "cache").glob("own-*"))
    return str(caught.value)


def check_cats_and_dogs(data, n: int = 24) -> None:
    assert data.class_names == ("cat", "dog")
    assert len(data.train) + len(data.test) == n
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.labels, split.images[:, 0, 0, 0] >= 200)


# Layouts


def test_class_folders(tmp_path):
    data = made(folder_card(write(tmp_path / "pics", classes())), tmp_path)
    check_cats_and_dogs(data)
    assert data.n_labels == data.n_classes == 2
    assert data.train.labels.dtype == np.int64
    assert data.train.attributes is None


def test_the_first_pictures_are_a_fair_sample(tmp_path):
    data = made(folder_card(write(tmp_path / "pics", classes(40))), tmp_path)
    assert set(data.train.labels[:12]) == {0, 1}, "rows are not sorted by class"


def test_pictures_deeper_in_a_class_folder_belong_to_it(tmp_path):
    files = {name.replace("/", "/2024/may/"): data for name, data in classes().items()}
    check_cats_and_dogs(made(folder_card(write(tmp_path / "pics", files)), tmp_path))


def test_a_zip_gives_the_same_bytes_as_the_folder(tmp_path):
    folder = made(folder_card(write(tmp_path / "pics", classes())), tmp_path)
    zipped = made(card(Zip(path=str(write_zip(tmp_path / "pics.zip", classes())))), tmp_path)
    assert folder.sha256 == zipped.sha256


def test_a_zip_of_a_whole_folder_and_one_made_on_windows(tmp_path):
    files = {f"My pictures/{name}": data for name, data in classes().items()}
    files |= {"__MACOSX/My pictures/cat/._0.png": b"fork", "My pictures/.DS_Store": b"x"}
    data = made(card(Zip(path=str(write_zip(tmp_path / "a.zip", files)))), tmp_path)
    check_cats_and_dogs(data)
    assert data.meta["ignored_files"] == 2
    files = {name.replace("/", "\\"): data for name, data in classes().items()}
    check_cats_and_dogs(made(card(Zip(path=str(write_zip(tmp_path / "b.zip", files)))), tmp_path))


def test_explicit_train_and_test_folders(tmp_path):
    files = {f"train/{name}": data for name, data in classes(5).items()}
    files |= {f"val/{name}": data for name, data in classes(3).items()}
    data = made(folder_card(write(tmp_path / "pics", files)), tmp_path)
    check_cats_and_dogs(data, 16)
    assert (len(data.train), len(data.test)) == (10, 6)
    assert data.meta["split"].startswith("its own")


def test_beside_test_val_joins_train(tmp_path):
    counts = {"train": 5, "val": 3, "test": 2}
    files = {f"{part}/{name}": data for part, n in counts.items() for name, data in classes(n).items()}
    data = made(folder_card(write(tmp_path / "pics", files)), tmp_path)
    assert (len(data.train), len(data.test)) == (16, 4)


def test_split_hash_makes_train_and_test_classes_like_any_other(tmp_path):
    files = {f"{kind}/{i}.png": png(i) for kind in ("train", "test") for i in range(12)}  # railways and examinations
    data = made(folder_card(write(tmp_path / "pics", files), split="hash"), tmp_path)
    assert data.class_names == ("test", "train")
    assert len(data.train) + len(data.test) == 24


def test_a_flat_folder_has_no_labels(tmp_path):
    files = {f"{i}.png": png(i) for i in range(20)}
    data = made(folder_card(write(tmp_path / "pics", files), "none"), tmp_path)
    assert data.n_labels == 0
    assert data.train.labels is None
    assert len(data.train) + len(data.test) == 20


def test_a_path_works_without_a_card(tmp_path):
    labelled = find_card(str(write(tmp_path / "my pics", classes())))
    assert (labelled.name, labelled.conditioning, labelled.resolution) == ("my_pics", "class", 32)
    check_cats_and_dogs(made(card_with(labelled, {"resolution": 8}), tmp_path))
    split = {f"{part}/{name}": data for part in ("train", "test") for name, data in classes(3).items()}
    check_cats_and_dogs(made(find_card(str(write_zip(tmp_path / "split.zip", split))), tmp_path), 12)
    assert find_card(str(write(tmp_path / "flat", {f"{i}.png": png(i) for i in range(5)}))).conditioning == "none"
    assert find_card(str(write_zip(tmp_path / "flat.zip", {"flat/1.png": png(1)}))).conditioning == "none"


def test_class_names_that_are_numbers_are_ordered_as_numbers(tmp_path):
    files = {f"{k}/{i}.png": png(k) for k in range(12) for i in range(8)}
    data = made(folder_card(write(tmp_path / "pics", files)), tmp_path)
    assert data.class_names == tuple(str(k) for k in range(12))
    np.testing.assert_array_equal(data.train.labels, data.train.images[:, 0, 0, 0])


@pytest.mark.parametrize("packed", [False, True])
def test_stylegan_dataset_json(tmp_path, packed):
    names = [f"{i // 10:05d}/img{i:08d}.png" for i in range(20)]
    files = {name: png(i) for i, name in enumerate(names)}
    files["dataset.json"] = json.dumps({"labels": [[name, i % 3] for i, name in enumerate(names)]}).encode()
    source = Folder(path=str(write(tmp_path / "sg", files)))
    if packed:
        source = Zip(path=str(write_zip(tmp_path / "sg.zip", files)))
    data = made(card(source), tmp_path)
    assert data.class_names == ("0", "1", "2")
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.labels, split.images[:, 0, 0, 0] % 3)
    assert data.meta["ignored_files"] == 0


def table_files(n: int = 20) -> dict[str, bytes]:
    return {f"{i}.png": png(i) for i in range(n)}


def table_card(
    tmp_path: Path, text: str, files: dict[str, bytes] | None = None, name: str = "t.csv", **fields
) -> DatasetCard:
    (tmp_path / name).write_text(text, encoding="utf-8")
    pictures = write(tmp_path / "pics", table_files() if files is None else files)
    return card(Table(path=str(pictures), table=str(tmp_path / name)), "attributes", **fields)


def rows(n: int = 20, no: int = 0, separator: str = ",") -> str:
    """Attributes `odd` and `big` of each picture; `no` is how a missing attribute is written."""
    return "".join(
        separator.join([f"{i}.png", str(1 if i % 2 else no), str(1 if i >= 10 else no)]) + "\n" for i in range(n)
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "file,odd,big\n" + rows()),
        ("t.csv", "\ufefffile;odd;big\r\n" + rows(no=-1, separator=";")),
        ("t.txt", "20\nodd big\n" + rows(no=-1, separator=" ")),
        ("t.txt", "file odd big\n" + rows(separator="  ")),
    ],
)
def test_attribute_tables(tmp_path, name, text):
    data = made(table_card(tmp_path, text, name=name), tmp_path)
    assert data.attribute_names == ("odd", "big")
    assert (data.n_labels, data.n_classes) == (2, 0)
    for split in (data.train, data.test):
        level = split.images[:, 0, 0, 0]
        np.testing.assert_array_equal(split.attributes, np.stack([level % 2, level >= 10], 1))
        assert split.attributes.dtype == np.uint8
        assert split.labels is None


def test_a_set_picks_columns_in_its_order(tmp_path):
    chosen = table_card(tmp_path, "f,odd,big\n" + rows(), attribute_sets={"mine": ("big",)}, attribute_set="mine")
    data = made(chosen, tmp_path)
    assert data.attribute_names == ("big",)
    np.testing.assert_array_equal(data.train.attributes[:, 0], data.train.images[:, 0, 0, 0] >= 10)


def test_a_table_of_a_zipped_folder(tmp_path):
    (tmp_path / "t.csv").write_text("f,odd,big\n" + rows())
    packed = write_zip(tmp_path / "p.zip", {f"photos/{name}": data for name, data in table_files().items()})
    data = made(card(Table(path=str(packed), table=str(tmp_path / "t.csv")), "attributes"), tmp_path)
    assert len(data.train) + len(data.test) == 20


def celeba(root: Path, n: int = 30, packed: bool = False) -> Path:
    """CelebA's official layout in small: attribute a of picture i is on when (i + a) % 3 == 0."""
    files = {f"img_align_celeba/{i + 1:06d}.jpg": png(i, (178, 218)) for i in range(n)}
    folder = root / "celeba"
    folder.mkdir(parents=True)
    if packed:
        write_zip(folder / "img_align_celeba.zip", files)
    else:
        write(folder, files)
    lines = [str(n), " ".join(CELEBA_ATTRIBUTES) + " "]
    for i in range(n):
        lines.append(f"{i + 1:06d}.jpg " + " ".join(f"{1 if (i + a) % 3 == 0 else -1:2d}" for a in range(40)))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    parts = "".join(f"{i + 1:06d}.jpg {i % 3}\n" for i in range(n))
    (folder / "list_eval_partition.txt").write_text(parts)
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_celeba_official_layout(tmp_path, packed):
    root = celeba(tmp_path / "data", packed=packed)
    chosen = card_with(find_card("celeba"), {"resolution": 16})
    locate(chosen, root)
    data = prepare(chosen, root, tmp_path / "cache", progress=False)
    assert data.attribute_names == ("Bald", "Eyeglasses", "Mustache", "Wearing_Hat", "Wearing_Necktie")
    assert (len(data.train), len(data.test)) == (20, 10)
    columns = np.array([CELEBA_ATTRIBUTES.index(name) for name in data.attribute_names])
    for split in (data.train, data.test):
        number = split.images[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(split.attributes, (number[:, None] + columns) % 3 == 0)
    assert set(data.test.images[:, 0, 0, 0] % 3) == {2}, "partition 2 is the official test split"


def test_celeba_partitions_are_a_choice(tmp_path):
    root = celeba(tmp_path / "data")
    chosen = card_with(find_card("celeba"), {"resolution": 16, "source": {"train_partitions": [0]}})
    data = prepare(chosen, root, tmp_path / "cache", progress=False)
    assert (len(data.train), len(data.test)) == (10, 10)
    assert set(data.train.images[:, 0, 0, 0] % 3) == {0}


def test_celeba_that_broke_off_is_noticed(tmp_path):
    root = celeba(tmp_path / "data")
    table = root / "celeba" / "list_attr_celeba.txt"
    whole = table.read_text()
    table.write_text("".join(whole.splitlines(keepends=True)[:20]))
    with pytest.raises(DataError, match=r"18 rows, but its first line says 30"):
        prepare(find_card("celeba"), root, tmp_path / "cache", progress=False)
    table.write_text(whole)
    (root / "celeba" / "img_align_celeba" / "000007.jpg").unlink()
    with pytest.raises(DataError, match=r"no image for the row of 000007\.jpg"):
        prepare(find_card("celeba"), root, tmp_path / "cache", progress=False)


def test_celeba_source_reads_all_forty(tmp_path):
    root = celeba(tmp_path / "data")
    chosen = DatasetCard(
        name="own", title="own", source=CelebA(), resolution=8, channels=1, conditioning="attributes", crop="center"
    )
    assert prepare(chosen, root, tmp_path / "cache", progress=False).attribute_names == CELEBA_ATTRIBUTES


def test_afhq_layout(tmp_path):
    files = {f"train/{k}/{i}.jpg": png(i) for k in ("cat", "dog", "wild") for i in range(4)}
    files |= {f"val/{k}/{i}.jpg": png(i) for k in ("cat", "dog", "wild") for i in range(2)}
    write(tmp_path / "afhq", files)
    chosen = card_with(find_card("afhq"), {"resolution": 16})
    data = made(chosen, tmp_path)
    assert data.class_names == ("cat", "dog", "wild")
    assert (len(data.train), len(data.test)) == (12, 6)


# Faults


def test_bad_pictures_are_named_all_of_them(tmp_path):
    good = png(1, (64, 64))
    files = classes()
    files |= {"cat/empty.png": b"", "cat/broken.png": good[: len(good) // 2], "dog/text.jpg": b"no picture at all"}
    message = refused(folder_card(write(tmp_path / "pics", files)), tmp_path)
    assert "3 images cannot be read" in message
    for name, reason in (("empty", "0 bytes"), ("broken", "truncated"), ("text", "not an image")):
        line = next(line for line in message.splitlines() if name in line)
        assert str(tmp_path / "pics") in line
        assert reason in line


def test_at_most_ten_bad_pictures_are_named(tmp_path):
    files = classes() | {f"cat/bad{i}.png": b"" for i in range(30)}
    message = refused(folder_card(write(tmp_path / "pics", files)), tmp_path)
    assert message.count("0 bytes") == 10
    assert "there may be more" in message


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    path = write_zip(tmp_path / "p.zip", classes())
    data = bytearray(path.read_bytes())
    at = data.index(b"dog/3.png") + len(b"dog/3.png") + 40
    data[at : at + 8] = b"\0" * 8
    path.write_bytes(bytes(data))
    message = refused(card(Zip(path=str(path))), tmp_path)
    assert "dog/3.png" in message


def test_empty_class_folder_is_named(tmp_path):
    root = write(tmp_path / "pics", classes() | {"bird/.DS_Store": b"x"})
    assert "bird" in refused(folder_card(root), tmp_path)
    packed = write_zip(tmp_path / "p.zip", classes() | {"bird/": b""})
    assert "bird" in refused(card(Zip(path=str(packed))), tmp_path)


def test_a_picture_outside_of_the_class_folders_is_named(tmp_path):
    message = refused(folder_card(write(tmp_path / "pics", classes() | {"stray.png": png(0)})), tmp_path)
    assert "stray.png" in message


def test_other_files_are_ignored_and_counted(tmp_path):
    others = {".DS_Store": b"x", "cat/Thumbs.db": b"x", "dog/notes.txt": b"x", "__MACOSX/cat/._1.png": b"x"}
    data = made(folder_card(write(tmp_path / "pics", classes() | others)), tmp_path)
    check_cats_and_dogs(data)
    assert data.meta["ignored_files"] == 4


def test_a_class_that_one_split_lacks_is_named(tmp_path):
    files = {f"train/{name}": data for name, data in classes(3).items()} | {"test/cat/1.png": png(1)}
    message = refused(folder_card(write(tmp_path / "pics", files)), tmp_path)
    assert "test split lacks classes" in message
    assert "dog" in message


def test_a_class_without_training_pictures_is_named(tmp_path):
    lone = next(name for name in (f"owl/{i}.png" for i in range(100)) if in_test(name, 0.2))
    message = refused(folder_card(write(tmp_path / "pics", classes() | {lone: png(0)})), tmp_path)
    assert "no training image of owl" in message


def test_no_pictures_and_too_few(tmp_path):
    (tmp_path / "void").mkdir()
    assert "no images" in refused(folder_card(tmp_path / "void", "none"), tmp_path)
    assert "no image falls in" in refused(folder_card(write(tmp_path / "one", {"a.png": png(1)}), "none"), tmp_path)


def test_a_wrong_number_of_classes_is_refused(tmp_path):
    message = refused(folder_card(write(tmp_path / "pics", classes()), n_classes=3), tmp_path)
    assert "2 classes, but its dataset config says 3" in message


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "cat\\..\\..\\evil.png", "C:\\evil.png"])
def test_a_zip_that_leads_outside_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "p.zip", classes() | {name: png(0)})
    assert "is refused" in refused(card(Zip(path=str(path))), tmp_path)


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    root = write(tmp_path / "pics", classes())
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert "gone.png" in refused(folder_card(root), tmp_path)


def test_links_to_folders_are_followed_once(tmp_path):
    root = write(tmp_path / "pics", {k: v for k, v in classes().items() if k.startswith("cat")})
    (root / "dog").symlink_to(write(tmp_path / "far", classes()) / "dog")
    (root / "cat" / "loop").symlink_to(root)
    check_cats_and_dogs(made(folder_card(root, follow_links=True), tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f,odd,big\n" + rows().replace("3.png,1,0", "3.png,2,0", 1), "row 5: 3.png: odd is '2'"),
        ("f,odd,big\n" + rows().replace("3.png,1,0", "3.png,,0", 1), "row 5: 3.png: odd is ''"),
        ("f,odd,big\n" + rows().replace("3.png,1,0", "3.png,1", 1), "row 5: 1 values for 2 attributes"),
        ("f,odd,big\n" + rows() + "3.png,1,0\n", "row 22: 3.png was already given in row 5"),
        ("f,odd,big\n" + rows().replace("3.png,1,0", "3.png,1,-1", 1), "both 0 and -1"),
        ("f,odd,big\n" + rows(19), "no row for 19.png"),
        ("f,odd,big\n" + rows(21), "no image for the row of 20.png"),
        ("f,odd,odd\n" + rows(), "does not name the attributes"),
        ("", "does not name the attributes"),
        ("f,odd,big\n", "no rows"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    assert message in refused(table_card(tmp_path, text), tmp_path)


def test_bad_rows_are_named_up_to_ten(tmp_path):
    message = refused(table_card(tmp_path, "f,odd,big\n" + rows(no=7)), tmp_path)
    assert message.count("row ") == 10


def test_an_attribute_that_the_table_lacks_offers_the_nearest(tmp_path):
    chosen = table_card(tmp_path, "f,odd,big\n" + rows(), attribute_sets={"a": ("bigg",)}, attribute_set="a")
    assert "did you mean 'big'" in refused(chosen, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"labels": null}', "has no labels"),
        ('{"labels": [["a.png", 0.5]]}', "[path, class number]"),
        ('{"labels": [["a.png", 0], ["c.png", 1]]}', "no row for b.png"),
    ],
)
def test_bad_dataset_json(tmp_path, content, message):
    files = {"a.png": png(1), "b.png": png(2), "dataset.json": content.encode()}
    assert message in refused(folder_card(write(tmp_path / "sg", files)), tmp_path)
