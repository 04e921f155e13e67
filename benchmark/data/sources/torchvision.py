"""Data sets that torchvision reads and downloads."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.core.errors import DataError, UserError
from benchmark.core.files import lock, require_writable
from benchmark.data.layout import check_sizes, missing_files
from benchmark.data.sources.base import SourceImages, SourceKind

if TYPE_CHECKING:
    from PIL import Image

    from benchmark.data.cards import DatasetCard

# Files under the data root, with their size in bytes.
MNIST_FILES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
CIFAR_FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
DOWNLOAD_TIMEOUT_S = 5.0  # of a silent connection


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TorchVision(SourceKind):
    """A data set that torchvision reads, and downloads when it is missing."""

    kind: Literal["torchvision"] = "torchvision"
    dataset: Literal["MNIST", "FashionMNIST", "CIFAR10"]  # name of torchvision's class

    serves = ("class",)

    def required(self, card: DatasetCard, data_root: Path) -> list[str]:
        """Nothing: what is missing is downloaded."""
        return []

    def files(self, data_root: Path) -> list[Path]:
        """See SourceKind."""
        return list(self.sizes(data_root))

    def sizes(self, data_root: Path) -> dict[Path, int | None]:
        """Where torchvision looks for the files, with their sizes in bytes where they are fixed."""
        if self.dataset == "CIFAR10":
            return {data_root.absolute() / "cifar-10-batches-py" / name: None for name in CIFAR_FILES}
        raw = data_root.absolute() / self.dataset / "raw"
        return {raw / name: size for name, size in MNIST_FILES.items()}

    def check(self, card: DatasetCard, data_root: Path) -> None:
        """See SourceKind."""
        check_sizes(self.sizes(data_root), "delete it; it is downloaded again, or copy it from a whole one")

    def download(self, card: DatasetCard, data_root: Path) -> None:
        """Fetch the data set if it is not there; torchvision checks the sums.

        Files get their names when they are whole, and one process fetches at a time. Raises DataError within seconds
        when there is no network, naming the files and where to put them.
        """
        missing = self._missing(data_root)
        if not missing:
            return
        try:
            require_writable(data_root)
            with lock(data_root / f".{self.dataset}.lock", f"the download of {self.dataset}", wait=True):
                self._fetch(self._missing(data_root), data_root)  # another process may have fetched some
        except (OSError, RuntimeError, UserError) as error:  # no network, wrong checksum, data root not writable
            reason = f"{error.what}, {error.why}" if isinstance(error, UserError) else error
            problem = missing_files(card, [str(path) for path in missing])
            raise DataError(
                problem.what, f"{problem.why}\n        and the download failed: {reason}", problem.mend
            ) from None

    def _missing(self, data_root: Path) -> list[Path]:
        return [path for path in self.files(data_root) if not path.exists()]

    def _fetch(self, missing: list[Path], data_root: Path) -> None:
        """Let torchvision download into a folder of its own, from which whole files are moved to their places."""
        import torchvision.datasets

        if not missing:
            return
        partial = data_root.absolute() / f".{self.dataset}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                for train in (True, False):
                    getattr(torchvision.datasets, self.dataset)(str(partial), train=train, download=True)
            for path in missing:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial / path.relative_to(data_root.absolute()), path)
        finally:
            socket.setdefaulttimeout(before)
            shutil.rmtree(partial, ignore_errors=True)

    def open(self, card: DatasetCard, data_root: Path) -> SourceImages:
        """See SourceKind."""
        import numpy as np
        import torchvision.datasets
        from PIL import Image

        try:
            parts = [
                getattr(torchvision.datasets, self.dataset)(str(data_root), train=train) for train in (True, False)
            ]
        except Exception as error:  # pickle, struct and reshape errors of damaged files
            raise DataError(
                f"data set {card.name}: its files cannot be read",
                str(error),
                f"delete {self.files(data_root)[0].parent}; it is downloaded again",
            ) from None
        arrays = [np.asarray(part.data) for part in parts]  # uint8 [N, H, W] or [N, H, W, 3]
        targets = [np.asarray(part.targets, dtype=np.int64) for part in parts]
        for array, labels in zip(arrays, targets):
            if len(array) != len(labels) or (
                len(labels) and not 0 <= labels.min() <= labels.max() < len(parts[0].classes)
            ):
                raise DataError(
                    f"data set {card.name}: its labels do not fit",
                    f"{len(array):,} images, {len(labels):,} labels, {len(parts[0].classes)} classes",
                    f"delete {self.files(data_root)[0].parent}; it is downloaded again",
                )
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
            labels=np.concatenate(targets),
            class_names=tuple(parts[0].classes),
        )
