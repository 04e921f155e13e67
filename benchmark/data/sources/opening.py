"""Open a source: the list of its pictures with their labels, and a way to read each; no picture is decoded yet."""

from __future__ import annotations

import contextlib
import io
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.core.errors import DataError, suggest
from benchmark.data.attributes import MAX_SHOWN
from benchmark.data.cards import DatasetCard
from benchmark.data.kinds import (
    SHAPES_ATTRIBUTES,
    STL10,
    CelebA,
    CelebAHQ,
    Coco,
    Digits,
    Folder,
    Grid2D,
    ImageNet,
    Listed,
    Ring2D,
    Shapes,
    SomeDigits,
    StackedDigits,
    StackedMNIST,
    Table,
    TorchVision,
    Zip,
)
from benchmark.data.layout import missing_files, resolve, torchvision_files, torchvision_source
from benchmark.data.opened import SourceImages
from benchmark.data.sources import shapes
from benchmark.data.sources.coco import open_coco
from benchmark.data.sources.mixtures import open_points
from benchmark.data.sources.official import open_celeba_hq, open_imagenet, open_listed, open_stl10
from benchmark.data.sources.pictures import open_celeba, open_folder, open_table
from benchmark.data.sources.stacked import open_stacked
from benchmark.data.trees import open_tree

DOWNLOAD_TIMEOUT_S = 5.0  # of a silent connection


def open_source(card: DatasetCard, data_root: Path) -> SourceImages:
    """The card's source with the labels that the card serves, and no others.

    Raises DataError naming what is missing, what cannot be read, or which labels do not fit the pictures.
    """
    source = card.source
    match source:
        case Digits():
            opened = _digits(source)
        case SomeDigits():
            opened = _some_digits(source)
        case Shapes():
            opened = _shapes(source)
        case TorchVision():
            opened = _torchvision(card, source, data_root)
        case StackedMNIST():
            opened = open_stacked(source, _torchvision(card, TorchVision(dataset="MNIST"), data_root))
        case StackedDigits():
            opened = open_stacked(source, _digits(Digits()))
        case CelebA():
            opened = open_celeba(card, source, data_root)
        case Table():
            opened = open_table(card, source, data_root)
        case Folder():
            opened = open_folder(card, open_tree(resolve(data_root, source.path)))
        case STL10():
            opened = open_stl10(source, data_root)
        case CelebAHQ():
            opened = open_celeba_hq(card, source, data_root)
        case ImageNet():
            opened = open_imagenet(card, source, data_root)
        case Listed():
            opened = open_listed(card, source, data_root)
        case Coco():
            opened = open_coco(card, source, data_root)
        case Ring2D() | Grid2D():
            opened = open_points(card)
        case Zip():
            test = open_tree(resolve(data_root, source.test_path)) if source.test_path else None
            opened = open_folder(card, open_tree(resolve(data_root, source.path)), test)
    if card.conditioning != "class":
        opened.labels, opened.class_names = None, ()
    elif card.n_classes is not None and len(opened.class_names) != card.n_classes:
        raise DataError(
            f"data set {card.name}: {len(opened.class_names)} classes, but its card says {card.n_classes}",
            f"found: {', '.join(opened.class_names[:MAX_SHOWN])}",
            "correct n_classes in the card, or the folders",
        )
    if card.conditioning == "attributes":
        _choose(card, opened)
    else:
        opened.attributes, opened.attribute_names = None, ()
    return opened


def _choose(card: DatasetCard, opened: SourceImages) -> None:
    """Keep only the attributes that the card serves, in its order."""
    wanted = card.attribute_names or opened.attribute_names
    for name in wanted:
        if name not in opened.attribute_names:
            raise DataError(f"data set {card.name}: no attribute {name!r}", suggest(name, opened.attribute_names))
    assert opened.attributes is not None
    opened.attributes = opened.attributes[:, [opened.attribute_names.index(name) for name in wanted]]
    opened.attribute_names = wanted


def _digits(source: Digits) -> SourceImages:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    arrays = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], from 0..16
    labels = bunch.target.astype(np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(source.seed)
    for k in range(10):
        rows = rng.permutation(np.flatnonzero(labels == k))
        is_test[rows[: round(source.test_share * len(rows))]] = True
    return SourceImages(
        names=[f"digit/{i}" for i in range(len(labels))],
        read=lambda i: Image.fromarray(arrays[i]),
        where=lambda i: f"digit {i}",
        is_test=is_test,
        split_rule=f"stratified by class, seed {source.seed}, test share {source.test_share:.4g}",
        labels=labels,
        class_names=tuple(str(k) for k in range(10)),
    )


def _some_digits(source: SomeDigits) -> SourceImages:
    """The rows of these classes, numbered by their place in `source.classes`."""
    whole = _digits(Digits(test_share=source.test_share, seed=source.seed))
    assert whole.labels is not None
    assert whole.is_test is not None
    rows = np.flatnonzero(np.isin(whole.labels, source.classes))
    number = {k: i for i, k in enumerate(source.classes)}
    return replace(
        whole,
        names=[whole.names[i] for i in rows],
        read=lambda i: whole.read(int(rows[i])),
        where=lambda i: whole.where(int(rows[i])),
        is_test=whole.is_test[rows],
        labels=np.array([number[k] for k in whole.labels[rows].tolist()]),
        class_names=tuple(whole.class_names[k] for k in source.classes),
    )


def _shapes(source: Shapes) -> SourceImages:
    n = source.n_train + source.n_test
    truths = [shapes.truth(source.seed, i) for i in range(n)]
    return SourceImages(
        names=[f"shape/{i}" for i in range(n)],
        read=lambda i: shapes.draw(source.seed, i),
        where=lambda i: f"shape {i}",
        is_test=np.arange(n) >= source.n_train,
        split_rule=f"the first {source.n_train} drawn are train, the next {source.n_test} test",
        labels=np.array([label for label, _ in truths], dtype=np.int64),
        class_names=shapes.CLASSES,
        attributes=np.array([bits for _, bits in truths], dtype=np.uint8),
        attribute_names=SHAPES_ATTRIBUTES,
    )


def download(card: DatasetCard, data_root: Path) -> None:
    """Fetch a torchvision data set that is not there; torchvision checks the sums. Other sources: nothing.

    Raises DataError within seconds when there is no network, naming the files and where to put them.
    """
    source = torchvision_source(card.source)
    if source is None:
        return
    missing = [path for path in torchvision_files(source, data_root) if not path.exists()]
    if not missing:
        return
    import torchvision.datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for train in (True, False):
                getattr(torchvision.datasets, source.dataset)(str(data_root), train=train, download=True)
    except (OSError, RuntimeError) as error:  # no network, wrong checksum, data root not writable
        problem = missing_files(card, [str(path) for path in missing])
        raise DataError(
            problem.what, f"{problem.why}\n        and the download failed: {error}", problem.mend
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _torchvision(card: DatasetCard, source: TorchVision, data_root: Path) -> SourceImages:
    import torchvision.datasets

    try:
        parts = [getattr(torchvision.datasets, source.dataset)(str(data_root), train=train) for train in (True, False)]
    except Exception as error:  # pickle, struct and reshape errors of damaged files
        raise DataError(
            f"data set {card.name}: its files cannot be read",
            str(error),
            f"delete {next(iter(torchvision_files(source, data_root))).parent}; it is downloaded again",
        ) from None
    arrays = [np.asarray(part.data) for part in parts]  # uint8 [N, H, W] or [N, H, W, 3]
    n_train, n_test = map(len, arrays)

    def read(i: int) -> Image.Image:
        return Image.fromarray(arrays[0][i] if i < n_train else arrays[1][i - n_train])

    names = [f"train/{i}" for i in range(n_train)] + [f"test/{i}" for i in range(n_test)]
    return SourceImages(
        names=names,
        read=read,
        where=lambda i: names[i],
        is_test=np.arange(n_train + n_test) >= n_train,
        split_rule="official",
        labels=np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts]),
        class_names=tuple(parts[0].classes),
    )
