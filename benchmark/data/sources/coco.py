"""COCO-Stuff as IC-GAN and the layout-to-image papers before it use it: images with a few large objects.

The rule [C: facebookresearch/ic_gan, after sg2im]: an object counts when its bounding box covers more than `min_area`
of the image and its category is not "other"; crowds count in validation only. An image is used when it has stuff
annotations and `min_objects` to `max_objects` such objects. Of validation, the first `skip_val` used images are left
out. Published counts: 75,777 to train on, 2,050 to evaluate with.

The images to evaluate with have two parts. `seen`: the set of categories among an image's counted objects is that of
some training image; `unseen`: it is that of none (Hamming distance 0, and more, between the sets) [C]. Published
counts: 675 and 1,375. The authors' code reads them from lists of theirs; that an image's set is made of the objects
that count is ours.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.core.errors import DataError
from benchmark.core.text import parse_json, read_text
from benchmark.data.layout import MAX_SHOWN, below, resolve
from benchmark.data.sources.base import Count, Share, SourceImages, SourceKind
from benchmark.data.trees import FolderTree, open_picture

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

PICTURES = ("train2017", "val2017")
ANNOTATIONS = tuple(f"annotations/{what}_{part}.json" for part in PICTURES for what in ("instances", "stuff"))
NOT_AN_OBJECT = "other"  # COCO-Stuff's category of everything that has no other


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Coco(SourceKind):
    """COCO-Stuff as IC-GAN uses it: train2017/, val2017/ and annotations/; images with a few large objects."""

    kind: Literal["coco"] = "coco"
    path: str = "coco"  # folder
    min_objects: Count = 3  # in an image  [P] [C]
    max_objects: Count = 8  # in an image  [P] [C]
    min_area: Share = 0.02  # share of the image that an object's box must exceed to count  [P] [C]
    skip_val: Annotated[int, Field(ge=0)] = 1024  # first images of val2017 left out: they are for validation  [P] [C]

    path_keys = ("path",)

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """See SourceKind."""
        return below(resolve(data_root, self.path), (*(f"{part}/*.jpg" for part in PICTURES), *ANNOTATIONS))

    def files(self, data_root: Path) -> list[Path]:
        """The images and annotations of both parts, and nothing else of the folder."""
        return [resolve(data_root, self.path) / name for name in (*PICTURES, *ANNOTATIONS)]

    def parts(self) -> tuple[str, ...]:
        """Images with a combination of categories that the training images have, and those with another."""
        return ("seen", "unseen")

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """The images that the rule keeps, train2017 to train on and val2017 held out.

        Raises DataError naming annotations that cannot be read, or up to ten images that are not there.
        """
        import numpy as np

        folder = resolve(data_root, self.path)
        train, val = (list(chosen_pictures(self, folder, part).items()) for part in PICTURES)
        val = val[self.skip_val :]
        if not val:
            raise DataError(
                f"data set {card.name}: no image is left to evaluate with",
                f"the first {self.skip_val} of val2017 that the rule keeps are left out",
                "put all of val2017 there, or lower source.skip_val",
            )
        names = [f"{part}/{name}" for part, kept in zip(PICTURES, (train, val)) for name, _ in kept]
        there = {
            f"{part}/{name}" for part in PICTURES for name in FolderTree(folder / part, card.follow_links).pictures
        }
        lost = [name for name in names if name not in there]
        if lost:
            raise DataError(
                f"data set {card.name}: {len(lost)} images are missing in {folder}",
                "\n        ".join(lost[:MAX_SHOWN]),
                f"unpack the whole archives from {card.homepage}",
            )
        combinations = {found for _, found in train}
        is_test = np.repeat([False, True], (len(train), len(val)))
        seen = is_test & np.array([found in combinations for _, found in (*train, *val)])
        return SourceImages(
            names=names,
            read=lambda i: open_picture(folder / names[i]),
            where=lambda i: str(folder / names[i]),
            is_test=is_test,
            parts={"seen": seen, "unseen": is_test & ~seen},
            split_rule=f"train2017 is train, val2017 less its first {self.skip_val} is test; pictures with "
            f"{self.min_objects} to {self.max_objects} objects above {self.min_area:g} of the area",
        )


def chosen_pictures(source: Coco, folder: Path, part: str) -> dict[str, frozenset[str]]:
    """The images of a part that the rule keeps, in the order of the instances file: {file name: categories}.

    Categories are those of the objects that count. Raises DataError for annotations that are damaged.
    """
    try:
        return _chosen(source, folder, part)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder / 'annotations'}/*_{part}.json: an entry is damaged", f"{type(error).__name__}: {error}", AGAIN
        ) from None


def _chosen(source: Coco, folder: Path, part: str) -> dict[str, frozenset[str]]:
    instances, stuff = (_annotations(folder / f"annotations/{what}_{part}.json") for what in ("instances", "stuff"))
    area = {image["id"]: image["width"] * image["height"] for image in instances["images"]}
    objects: defaultdict[int, list[str]] = defaultdict(list)  # categories of an image's objects that count
    for file in (instances, stuff):
        category = {entry["id"]: entry["name"] for entry in file["categories"]}
        for entry in file["annotations"]:
            _, _, w, h = entry["bbox"]
            large = w * h > source.min_area * area[entry["image_id"]]
            crowd = part.startswith("train") and entry["iscrowd"] == 1
            if large and not crowd and category[entry["category_id"]] != NOT_AN_OBJECT:
                objects[entry["image_id"]].append(category[entry["category_id"]])
    with_stuff = {entry["image_id"] for entry in stuff["annotations"]}
    return {
        image["file_name"]: frozenset(objects[image["id"]])
        for image in instances["images"]
        if image["id"] in with_stuff and source.min_objects <= len(objects[image["id"]]) <= source.max_objects
    }


# An annotation file is far larger than other texts: instances_train2017.json has 448 MB, most of it outlines, which are
# dropped as they are read.
MAX_FILE_BYTES = 2 * 2**30
MAX_VALUE_BYTES = 8 * 2**30  # that the whole text announces, outlines included
OUTLINES = frozenset(("segmentation",))
AGAIN = "fetch it again from cocodataset.org"


def _annotations(path: Path) -> dict[str, Any]:
    """An annotation file without its outlines. Raises DataError for one that is damaged, or too large to be one."""
    text = read_text(path, limit=MAX_FILE_BYTES, mend=AGAIN)
    content = parse_json(text, str(path), mend=AGAIN, limit=MAX_VALUE_BYTES, left_out=OUTLINES)
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        raise DataError(f"{path}: cannot be read", f"the lists {', '.join(keys)} are not all in it", AGAIN)
    return {key: content[key] for key in keys}
