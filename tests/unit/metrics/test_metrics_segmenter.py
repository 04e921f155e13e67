"""A segmentation network from a file: what it is given, what its areas are, and which files are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.core.config import build, to_dict
from benchmark.core.errors import ConfigError, WeightsError
from benchmark.evaluation.config import EvalConfig, ExtraConfig
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors.segmenter import AreaExtractor, FileSegmenter, SegmenterConfig, find_segmenter
from benchmark.metrics.extractors.store import FeatureStore

PX = 8


class Brightest(nn.Module):
    """Scores of three classes: a pixel belongs to the strongest of its colours."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network as a program of each kind."""
    folder = tmp_path_factory.mktemp("weights")
    x = torch.rand(2, 3, PX, PX)
    torch.jit.trace(Brightest().eval(), x).save(str(folder / "toy.pt"))
    batch = {0: torch.export.Dim.DYNAMIC}
    torch.export.save(torch.export.export(Brightest().eval(), (x,), dynamic_shapes=(batch,)), str(folder / "toy.pt2"))
    return folder


@pytest.fixture(autouse=True)
def _found_there(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTLET_WEIGHTS", str(files))


def config(name: str = "toy.pt2", **more: object) -> SegmenterConfig:
    return build(SegmenterConfig, {"file": name, "n_classes": 3, "input_px": PX, **more})


def images() -> np.ndarray:
    """Two images of 4 px: the left quarter red, the rest green; all blue."""
    found = np.zeros((2, 4, 4, 3), np.uint8)
    found[0, :, :1, 0] = 200
    found[0, :, 1:, 1] = 90
    found[1, ..., 2] = 1
    return found


@pytest.mark.parametrize("name", ["toy.pt", "toy.pt2"])
def test_areas_by_a_network_of_a_file(name: str, tmp_path: Path) -> None:
    """Nearest-neighbour enlarging keeps the shares of the classes."""
    cfg = config(name)
    areas = AreaExtractor(FileSegmenter(cfg, find_segmenter(cfg)))
    store = FeatureStore(tmp_path)
    found = store.features(areas, images())
    assert found.pooled.tolist() == [[25, 75, 0], [0, 0, 100]]
    assert found.logits is None
    again = store.features(areas, images())
    assert torch.equal(again.pooled, found.pooled)
    assert store.extracted == 2, "what was segmented is kept"


def test_a_grey_image_is_given_as_colour() -> None:
    cfg = config()
    classes = FileSegmenter(cfg, find_segmenter(cfg))(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    assert classes.shape == (1, PX, PX)
    assert classes.unique().tolist() == [0]


def test_the_file_is_named_by_its_hash_and_licence(files: Path) -> None:
    digest = hashlib.sha256((files / "toy.pt2").read_bytes()).hexdigest()
    known = config(sha256=digest[:12], licence="BSD-3-Clause")
    identity = FileSegmenter(known, find_segmenter(known)).identity
    expected = {"file": "toy.pt2", "sha256": digest, "verified": True, "licence": "BSD-3-Clause"}
    assert identity["weights"] == expected
    assert (identity["n_classes"], identity["input_px"]) == (3, PX)
    assert not find_segmenter(config()).verified, "nobody said which file it should be"
    other = config(sha256="0" * 8)
    with pytest.raises(WeightsError, match=r"toy\.pt2 is not the expected file"):
        find_segmenter(other)
    assert not find_segmenter(other, allow_unverified=True).verified


def test_which_files_are_refused(files: Path) -> None:
    with pytest.raises(WeightsError, match=r"the segmentation network upernet-unified-parsing\.pt2 is missing"):
        find_segmenter(SegmenterConfig())
    for name in ("broken.pt", "broken.pt2"):
        (files / name).write_bytes(b"no network")
        with pytest.raises(WeightsError, match=f"{name} cannot be loaded"):
            FileSegmenter(config(name), find_segmenter(config(name)))
    with pytest.raises(MetricError, match="scores of 3 classes"):
        FileSegmenter(config(n_classes=4), find_segmenter(config()))(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="sha256"):
        config(sha256="not hex")


def test_records_of_evaluations_without_it_keep_their_names() -> None:
    """Fields that came later are left out of the hash while they have their defaults."""
    plain = to_dict(EvalConfig())["extras"]
    assert "segmenter" not in plain
    assert "fsd_images" not in plain
    given = to_dict(EvalConfig(extras=ExtraConfig(segmenter=config())))["extras"]
    assert given["segmenter"]["file"] == "toy.pt2"
