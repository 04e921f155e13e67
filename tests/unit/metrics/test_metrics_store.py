"""Features are extracted once, and never trusted without a check."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damages import DAMAGES, damage
from torch import Tensor, nn

from benchmark.metrics.extractors import store as store_module
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.store import FeatureStore, images_sha256

IMAGES = np.random.default_rng(0).integers(256, size=(9, 4, 4, 3), dtype=np.uint8)


class Means(Extractor):
    """Mean colour, and logits of it where it has a head."""

    name, dim = "means", 3

    def __init__(self, weights: str = "a", head: bool = True) -> None:
        super().__init__(nn.Identity(), "cpu")
        self.identity: dict[str, Any] = {"extractor": "means", "weights": {"sha256": weights}}
        self.head = head

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        pooled = images.float().mean((2, 3))
        return pooled, pooled[:, :2] if self.head else None


@pytest.mark.parametrize("head", [True, False])
def test_images_are_looked_at_once_for_an_extractor(tmp_path: Path, head: bool) -> None:
    store, extractor = FeatureStore(tmp_path), Means(head=head)
    first = store.features(extractor, IMAGES)
    assert store.extracted == 9
    again = FeatureStore(tmp_path)
    second = again.features(extractor, IMAGES, sha256=images_sha256(IMAGES))
    assert again.extracted == 0
    assert torch.equal(first.pooled, second.pooled)
    assert (second.logits is None) == (not head)
    assert torch.equal(first.pooled, torch.tensor(IMAGES.mean((1, 2)), dtype=torch.float32))


def test_other_images_and_other_weights_are_other_entries(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.features(Means("a"), IMAGES)
    store.features(Means("b"), IMAGES)
    changed = IMAGES.copy()
    changed[0, 0, 0, 0] ^= 1
    store.features(Means("a"), changed)
    store.features(Means("a"), IMAGES[:5])
    assert store.extracted == 9 * 3 + 5
    assert images_sha256(IMAGES) != images_sha256(IMAGES.reshape(9, 2, 8, 3)), "the shape is part of the hash"


@pytest.mark.parametrize("damage", ["changed", "torn", "no provenance"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str) -> None:
    store = FeatureStore(tmp_path)
    store.features(Means(), IMAGES)
    (path,) = tmp_path.glob("*.npz")
    if damage == "changed":
        np.savez(path, pooled=np.zeros((9, 3), np.float32))
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.with_suffix(".json").unlink()
    found = store.features(Means(), IMAGES)
    assert store.extracted == 18
    assert found.pooled.abs().sum() > 0


def test_a_store_without_a_folder_keeps_nothing(tmp_path: Path) -> None:
    store = FeatureStore(None)
    store.features(Means(), IMAGES)
    store.features(Means(), IMAGES)
    assert store.extracted == 18


def test_numbers_are_kept_under_what_decides_them(tmp_path: Path) -> None:
    store, calls = FeatureStore(tmp_path), []

    def make() -> dict[str, float]:
        calls.append(1)
        return {"fd": 1.5}

    assert store.numbers({"n": 1}, make) == store.numbers({"n": 1}, make) == {"fd": 1.5}
    assert len(calls) == 1
    store.numbers({"n": 2}, make)
    assert len(calls) == 2
    next(tmp_path.glob("numbers-*.json")).write_text("{")
    store.numbers({"n": 1}, make)
    store.numbers({"n": 2}, make)
    assert len(calls) == 3, "one of the two was damaged"


def test_two_runs_that_want_the_same_numbers_make_them_once(tmp_path: Path) -> None:
    """Two workers of a suite reach the scoring of their first runs at one time. Numbers may be made of numbers."""
    calls: list[str] = []
    both_ask = threading.Barrier(2)

    def part() -> float:
        calls.append("part")
        return 1.5

    def make() -> dict[str, float]:
        calls.append("whole")
        time.sleep(0.2)  # the other one arrives meanwhile
        return {"kd": FeatureStore(tmp_path).numbers({"of": "real"}, part)}

    def ask(_: int) -> Any:
        both_ask.wait()
        return FeatureStore(tmp_path).numbers({"of": "both"}, make)

    with ThreadPoolExecutor(2) as runs:
        assert list(runs.map(ask, range(2))) == 2 * [{"kd": 1.5}]
    assert calls == ["whole", "part"]


def test_arrays_are_kept_under_what_decides_them(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"row": np.arange(3), "distance": np.array([0.1, 1 / 3, np.pi])}

    for about in ({"n": 1}, {"n": 1}, {"n": 2}):
        found = FeatureStore(tmp_path).arrays(about, make)
        assert all(np.array_equal(found[name], array) for name, array in make().items())
        calls.pop()
    assert len(calls) == 2, "one for each provenance"
    next(tmp_path.glob("arrays-*.npz")).write_bytes(b"no archive")
    for about in ({"n": 1}, {"n": 2}):
        FeatureStore(tmp_path).arrays(about, make)
    assert len(calls) == 3, "one of the two was damaged"


def test_what_was_made_of_features_of_an_earlier_version_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    store.numbers({"n": 1}, lambda: 1.0)
    store.arrays({"n": 1}, lambda: {"x": np.zeros(2)})
    monkeypatch.setattr(store_module, "VERSION", store_module.VERSION + 1)
    assert store.numbers({"n": 1}, lambda: 2.0) == 2.0
    assert store.arrays({"n": 1}, lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_features_are_made_again_with_equal_bits(how: str, suffix: str, tmp_path: Path) -> None:
    first = FeatureStore(tmp_path).features(Means(), IMAGES)
    (path,) = tmp_path.glob(f"*{suffix}")
    changed, store = damage(path, how), FeatureStore(tmp_path)
    again = store.features(Means(), IMAGES)
    assert store.extracted == 9 or not changed or suffix == ".json"
    assert first.logits is not None
    assert again.logits is not None
    assert torch.equal(first.pooled, again.pooled)
    assert torch.equal(first.logits, again.logits)


def test_features_of_another_entry_are_made_again(tmp_path: Path) -> None:
    """Both files of it, whole, under a wrong name."""
    store = FeatureStore(tmp_path)
    store.features(Means("a"), IMAGES)
    (one,) = tmp_path.glob("*.npz")
    right = store.features(Means("b"), IMAGES[::-1])
    (two,) = (path for path in tmp_path.glob("*.npz") if path != one)
    for suffix in (".npz", ".json"):
        shutil.copy(one.with_suffix(suffix), two.with_suffix(suffix))
    assert torch.equal(store.features(Means("b"), IMAGES[::-1]).pooled, right.pooled)


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_numbers_are_made_again(how: str, tmp_path: Path) -> None:
    made = {"fd": 1.5, "kid": 0.25}
    store = FeatureStore(tmp_path)
    store.numbers({"n": 1}, lambda: made)
    damage(next(tmp_path.glob("numbers-*.json")), how)
    assert store.numbers({"n": 1}, lambda: made) == made


def test_numbers_of_another_entry_or_changed_by_hand_are_made_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.numbers({"n": 1}, lambda: {"fd": 1.5})
    (path,) = tmp_path.glob("numbers-*.json")
    whole = path.read_text()
    path.write_text(whole.replace("1.5", "1.4"))
    assert store.numbers({"n": 1}, lambda: {"fd": 1.5}) == {"fd": 1.5}
    store.numbers({"n": 2}, lambda: {"fd": 2.5})
    (other,) = (found for found in tmp_path.glob("numbers-*.json") if found != path)
    other.write_text(whole)
    assert store.numbers({"n": 2}, lambda: {"fd": 2.5}) == {"fd": 2.5}
