"""The kinds of source a card can name, each a strict configuration chosen by its key `kind`.

Paths are relative to the data root unless they are absolute; `~` is the home folder.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
Partition = Literal[0, 1, 2]  # of CelebA's list_eval_partition.txt: train, validation, test


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Digits:
    """scikit-learn's 1,797 handwritten digits, 8x8 grey; they come with the library."""

    kind: Literal["digits"] = "digits"
    test_share: Share = 1 / 3  # share of each class that is held out  [ours: 1,797 pictures are few]
    seed: Seed = 0  # of the stratified split


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SomeDigits:
    """Some classes of the same digits, split as there: to ask a method for classes that it never saw."""

    kind: Literal["some_digits"] = "some_digits"
    classes: Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], Field(min_length=1)]  # in this order
    test_share: Share = 1 / 3
    seed: Seed = 0


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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ring2D:
    """2-D points of equal Gaussians on a circle (Self-Conditioned GAN, 2D-ring); benchmark/data/mixtures.py."""

    kind: Literal["ring2d"] = "ring2d"
    n_modes: Annotated[int, Field(ge=2)] = 8  # Gaussians  [P]
    radius: Positive = 1.0  # of the circle  [P]; the authors' code has 2
    std: Positive = 0.01  # of each Gaussian along each axis  [P] [C]
    n_train: Count = 100_000  # points  [P]
    n_test: Count = 10_000  # points  [ours: the paper holds none out]
    seed: Seed = 0  # of the drawing


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Grid2D:
    """2-D points of equal Gaussians on a square grid about 0 (Self-Conditioned GAN, 2D-grid)."""

    kind: Literal["grid2d"] = "grid2d"
    n_side: Annotated[int, Field(ge=2)] = 5  # Gaussians along each side  [P] [C]
    spacing: Positive = 2.0  # between neighbouring centres  [P] [C]
    std: Positive = 0.05  # of each Gaussian along each axis  [P] [C]
    n_train: Count = 100_000  # points  [P]
    n_test: Count = 10_000  # points  [ours: the paper holds none out]
    seed: Seed = 0  # of the drawing


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StackedMNIST:
    """Random triples of MNIST digits as the channels of a picture (Stacked-MNIST); train of train, test of test."""

    kind: Literal["stacked_mnist"] = "stacked_mnist"
    n_train: Count = 100_000  # triples  [P: Self-Conditioned GAN, whose code draws them anew, unseeded, each run]
    n_test: Count = 10_000  # triples  [ours]
    seed: Seed = 0  # of the triples


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StackedDigits:
    """The same of scikit-learn's digits, with their split: no train triple shows a held-out digit."""

    kind: Literal["stacked_digits"] = "stacked_digits"
    n_train: Count = 6000  # triples  [ours]
    n_test: Count = 2000  # triples  [ours]
    seed: Seed = 0  # of the triples


@dataclass(frozen=True, kw_only=True, config=STRICT)
class STL10:
    """STL-10's binary files: unlabeled_X.bin and train_X.bin to train on, test_X.bin held out."""

    kind: Literal["stl10"] = "stl10"
    path: str = "stl10_binary"  # folder
    train_parts: Annotated[tuple[Literal["unlabeled", "train"], ...], Field(min_length=1)] = ("unlabeled",)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CelebAHQ:
    """CelebA-HQ as CelebAMask-HQ holds it: CelebA-HQ-img/ and, for attributes, CelebAMask-HQ-attribute-anno.txt."""

    kind: Literal["celeba_hq"] = "celeba_hq"
    path: str = "CelebAMask-HQ"  # folder
    n_test: Count = 3000  # pictures held out at random, of 30,000  [P: LT-GAN]
    seed: Seed = 0  # of the split  [ours: which pictures LT-GAN held out is not published]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageNet:
    """ILSVRC 2012: train/<wnid>/, and val/<wnid>/ or a flat val/ with Kaggle's LOC_val_solution.csv beside it."""

    kind: Literal["imagenet"] = "imagenet"
    path: str = "imagenet"  # folder


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Listed:
    """Pictures that two text files list, a line a picture: its path below `path`, a blank, its class number."""

    kind: Literal["list"] = "list"
    path: str  # folder of the pictures
    train_list: str  # text file
    test_list: str  # text file
    n_train: Count | None = None  # lines of the whole train list, where it is known


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Coco:
    """COCO-Stuff as IC-GAN uses it: train2017/, val2017/ and annotations/; pictures with a few large objects."""

    kind: Literal["coco"] = "coco"
    path: str = "coco"  # folder
    min_objects: Count = 3  # in a picture  [P] [C]
    max_objects: Count = 8  # in a picture  [P] [C]
    min_area: Share = 0.02  # share of the picture that an object's box must exceed to count  [P] [C]
    skip_val: Annotated[int, Field(ge=0)] = 1024  # first pictures of val2017 left out: they are for validation  [P] [C]


AnySource = (
    Digits
    | SomeDigits
    | Shapes
    | TorchVision
    | CelebA
    | Folder
    | Zip
    | Table
    | Ring2D
    | Grid2D
    | StackedMNIST
    | StackedDigits
    | STL10
    | CelebAHQ
    | ImageNet
    | Listed
    | Coco
)
Source = Annotated[AnySource, Field(discriminator="kind")]

KINDS: dict[str, type[AnySource]] = {
    "digits": Digits,
    "some_digits": SomeDigits,
    "shapes": Shapes,
    "torchvision": TorchVision,
    "celeba": CelebA,
    "folder": Folder,
    "zip": Zip,
    "table": Table,
    "ring2d": Ring2D,
    "grid2d": Grid2D,
    "stacked_mnist": StackedMNIST,
    "stacked_digits": StackedDigits,
    "stl10": STL10,
    "celeba_hq": CelebAHQ,
    "imagenet": ImageNet,
    "list": Listed,
    "coco": Coco,
}

# What labels a kind can serve besides "none".
LABELS: dict[str, tuple[str, ...]] = {
    "digits": ("class",),
    "some_digits": ("class",),
    "shapes": ("class", "attributes"),
    "torchvision": ("class",),
    "celeba": ("attributes",),
    "folder": ("class",),
    "zip": ("class",),
    "table": ("attributes",),
    "ring2d": ("class",),
    "grid2d": ("class",),
    "stacked_mnist": ("class",),
    "stacked_digits": ("class",),
    "stl10": (),
    "celeba_hq": ("attributes",),
    "imagenet": ("class",),
    "list": ("class",),
    "coco": (),
}

POINTS = ("ring2d", "grid2d")  # kinds whose rows are points [2], not pictures
STACKED = ("stacked_mnist", "stacked_digits")  # kinds whose channels are independent digits
DRAWN_LABELS = (*POINTS, *STACKED)  # kinds whose labels are drawn at random: one split may lack a class by chance

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
