"""Stages by content: found when nothing that matters differs, made anew when something does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.training.artifacts import META, VALUE, ArtifactStore
from benchmark.training.checkpoints import CHECKPOINT
from benchmark.training.method import Stage, TrainConfig, construct
from benchmark.training.stages.classifier import LinearClassifier, LinearClassifierConfig
from benchmark.training.stages.clustering import cluster
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig, encode

CPU = torch.device("cpu")
ENCODER = SimCLRConfig(net="conv", width=2, steps=2, batch=4, blur=False)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(Dataset.tiny(find_card("digits")), tmp_path, CPU, quiet=True)


def again(artifacts: ArtifactStore, **changes: Any) -> ArtifactStore:
    """Another process's job on the same folder."""
    return ArtifactStore(replace(artifacts.data, **changes), artifacts.folder, CPU, quiet=True)


def test_a_stage_is_trained_once_and_found_again(artifacts: ArtifactStore) -> None:
    first = artifacts.train(SimCLR, ENCODER)
    other = again(artifacts)
    second = other.train(SimCLR, ENCODER)
    assert [made.found for made in (*artifacts.made, *other.made)] == [False, True]
    assert artifacts.made[0].key == other.made[0].key == other.key_of(second)
    assert artifacts.made[0].seconds == other.made[0].seconds > 0
    for a, b in zip(first.state_dict().values(), second.state_dict().values()):
        assert torch.equal(a, b)
    assert not second.training
    assert not any(p.requires_grad for p in second.parameters())
    assert not (artifacts.made[0].folder / CHECKPOINT).exists(), "its checkpoint is no longer needed"


def test_what_matters_makes_another_key(artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()

    def add(artifacts: ArtifactStore, cfg: SimCLRConfig) -> None:
        artifacts.train(SimCLR, cfg)
        keys.add(artifacts.made[-1].key)

    add(artifacts, ENCODER)
    add(artifacts, replace(ENCODER, tau=0.7))
    add(artifacts, replace(ENCODER, seed=1))
    add(again(artifacts, sha256="other data"), ENCODER)
    monkeypatch.setattr(SimCLR, "version", 2)
    add(artifacts, ENCODER)
    assert len(keys) == 5


def test_a_key_carries_the_keys_of_its_inputs(artifacts: ArtifactStore) -> None:
    def classifier_key(encoder_cfg: SimCLRConfig) -> str:
        embeddings = artifacts.compute(encode, encoder=artifacts.train(SimCLR, encoder_cfg))
        artifacts.train(
            LinearClassifier, LinearClassifierConfig(steps=2, batch=8), embeddings=embeddings, clusters=None
        )
        return artifacts.made[-1].key

    assert classifier_key(ENCODER) == classifier_key(ENCODER)
    assert classifier_key(ENCODER) != classifier_key(replace(ENCODER, tau=0.7))


def test_a_computation_is_found_again_and_plain_inputs_count(artifacts: ArtifactStore) -> None:
    embeddings = artifacts.compute(encode, encoder=artifacts.train(SimCLR, ENCODER))
    one, two, same = (artifacts.compute(cluster, embeddings=embeddings, k=k) for k in (3, 4, 3))
    assert (len(one["centres"]), len(two["centres"])) == (3, 4)
    assert torch.equal(one["labels"], same["labels"])
    assert [made.found for made in artifacts.made[-3:]] == [False, False, True]


def test_what_is_not_whole_is_made_again(artifacts: ArtifactStore) -> None:
    first = artifacts.train(SimCLR, ENCODER)
    folder = artifacts.made[0].folder
    for missing in (META, VALUE):
        (folder / missing).unlink()
        (folder / ".artifact.pt.x.tmp").write_text("torn")
        other = again(artifacts)
        second = other.train(SimCLR, ENCODER)
        assert not other.made[0].found
        assert not list(folder.glob(".*.tmp"))
        for a, b in zip(first.state_dict().values(), second.state_dict().values()):
            assert torch.equal(a, b)


def test_an_input_must_be_known(artifacts: ArtifactStore) -> None:
    with pytest.raises(TypeError, match=r"made by artifacts\.train or artifacts\.compute"):
        artifacts.compute(encode, encoder=nn.Linear(1, 1))


def test_inputs_are_not_saved_with_a_stage(artifacts: ArtifactStore) -> None:
    """A classifier's checkpoint holds the classifier, not the embeddings of the whole data set."""
    embeddings, cfg = {"h": torch.zeros(len(artifacts.data.train), 7)}, LinearClassifierConfig(steps=1, batch=4)
    stage = construct(LinearClassifier, cfg, artifacts.data, CPU, 0, embeddings=embeddings)
    assert set(stage.state_dict()) == {"C", "opt", "first_bad_step"}


def test_a_stage_learns_from_its_own_split(artifacts: ArtifactStore) -> None:
    seen: list[Tensor] = []

    class Looking(Stage):
        split = "test"

        def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
            self.net = nn.Linear(1, 1)

        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            seen.append(next(stream).images)
            return {"x": torch.zeros(())}

        def product(self) -> nn.Module:
            return self.net

    artifacts.data.test.images = artifacts.data.test.images * 0
    artifacts.train(Looking, TrainConfig(steps=1, batch=4))
    assert torch.equal(seen[0], torch.full_like(seen[0], -1.0))
