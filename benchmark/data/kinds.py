"""The kinds of source a card can name, each a strict configuration chosen by its key `kind`.

Paths are relative to the data root unless they are absolute; `~` is the home folder.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.config import STRICT

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Partition = Literal[0, 1, 2]  # of CelebA's list_eval_partition.txt: train, validation, test


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Digits:
    """scikit-learn's 1,797 handwritten digits, 8x8 grey; they come with the library."""

    kind: Literal["digits"] = "digits"
    test_share: Share = 1 / 3  # share of each class that is held out  [ours: 1,797 pictures are few]
    seed: Seed = 0  # of the stratified split


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Shapes:
    """Drawn colour shapes, 32x32 RGB, with a known class and known attributes (benchmark/data/shapes.py)."""

    kind: Literal["shapes"] = "shapes"
    n_train: Annotated[int, Field(gt=0)] = 6000  # pictures
    n_test: Annotated[int, Field(gt=0)] = 2000  # pictures
    seed: Seed = 0  # of the drawing


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TorchVision:
    """A data set that torchvision reads, and downloads when it is missing."""

    kind: Literal["torchvision"] = "torchvision"
    dataset: Literal["MNIST", "FashionMNIST", "CIFAR10"]  # name of torchvision's class


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CelebA:
    """CelebA in its official layout: img_align_celeba/ (or .zip), list_attr_celeba.txt, list_eval_partition.txt."""

    kind: Literal["celeba"] = "celeba"
    path: str = "celeba"  # folder
    train_partitions: tuple[Partition, ...] = (0, 1)  # validation joins train: nothing is tuned on it here  [ours]
    test_partitions: tuple[Partition, ...] = (2,)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Folder:
    """Picture files: one sub-folder a class, or flat; train/ and test/ above if any; StyleGAN's dataset.json."""

    kind: Literal["folder"] = "folder"
    path: str  # folder
    expect: tuple[str, ...] = ()  # patterns below `path` that must match a file; "a | b": either


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Zip:
    """The same inside a zip file; pictures are read from it directly, nothing is unpacked."""

    kind: Literal["zip"] = "zip"
    path: str  # zip file
    test_path: str | None = None  # second zip file that holds the test split


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Table:
    """Picture files and a table of binary attributes: first column the file's name, the others 0/1 or -1/1."""

    kind: Literal["table"] = "table"
    path: str  # folder or zip file of the pictures
    table: str  # CSV file, or TXT file in CelebA's form


AnySource = Digits | Shapes | TorchVision | CelebA | Folder | Zip | Table
Source = Annotated[AnySource, Field(discriminator="kind")]

KINDS: dict[str, type[AnySource]] = {
    "digits": Digits,
    "shapes": Shapes,
    "torchvision": TorchVision,
    "celeba": CelebA,
    "folder": Folder,
    "zip": Zip,
    "table": Table,
}

# What labels a kind can serve besides "none".
LABELS: dict[str, tuple[str, ...]] = {
    "digits": ("class",),
    "shapes": ("class", "attributes"),
    "torchvision": ("class",),
    "celeba": ("attributes",),
    "folder": ("class",),
    "zip": ("class",),
    "table": ("attributes",),
}

SHAPES_ATTRIBUTES = ("red", "large", "filled", "dark_background", "frame")

# In the order of list_attr_celeba.txt.
# fmt: off
CELEBA_ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)
# fmt: on
