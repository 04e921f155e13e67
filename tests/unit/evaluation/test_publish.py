"""Making published evaluators: figures, files, the index."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.core.config import build, load_yaml
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.evaluation import publish, published
from benchmark.evaluation.publish import (
    CLASSIFIERS,
    ENCODERS,
    MEASURED_ON,
    Press,
    calibration_error,
    confidence,
    fit_temperature,
)
from benchmark.nn.judge import JudgeNet
from benchmark.training.stages.published import ClassifierRecipe, PublishedClassifier, PublishedEncoder, augmented


def test_calibration_error_of_known_bins() -> None:
    confidences = np.array([0.95, 0.95, 0.55, 0.55])  # two bins: 1/2 right at 0.95, all right at 0.55
    right = np.array([True, False, True, True])
    assert calibration_error(confidences, right) == pytest.approx((2 * 0.45 + 2 * 0.45) / 4)
    assert calibration_error(np.ones(5), np.ones(5, bool)) == 0


def test_calibration_error_of_a_calibrated_classifier_is_small() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 50_000)
    assert calibration_error(p, rng.uniform(size=50_000) < p) < 0.01
    assert calibration_error(p, rng.uniform(size=50_000) < p - 0.2) == pytest.approx(0.2, abs=0.01)


def test_confidence_is_that_of_what_is_said() -> None:
    logits = np.array([[0.0, math.log(3)], [2.0, 0.0]], np.float32)
    assert confidence(logits, classes=True) == pytest.approx([0.75, 1 / (1 + math.exp(-2))])
    assert confidence(logits, classes=False) == pytest.approx(np.array([[0.5, 0.75], [1 / (1 + math.exp(-2)), 0.5]]))


def test_the_temperature_undoes_a_scale_of_the_logits() -> None:
    torch.manual_seed(0)
    data = Dataset.tiny(find_card("digits"), 400)
    net = JudgeNet(16, 1, 10, 4).eval()
    with torch.no_grad():
        net.head.weight *= 30  # spread out, so that the labels drawn below say something
        inputs = publish.as_input(data.train.images)
        drawn = torch.distributions.Categorical(logits=net(inputs)).sample()
        data.train.labels = drawn.numpy()
        found = fit_temperature(net, data)
        net.head.weight *= 3
        net.head.bias *= 3
    assert fit_temperature(net, data) == pytest.approx(3 * found, rel=0.01)


def test_they_learn_from_the_held_out_split_by_a_seed_of_their_own() -> None:
    assert PublishedClassifier.split == PublishedEncoder.split == "test"
    seeds = {plan.recipe.seed for plan in [*CLASSIFIERS.values(), *ENCODERS.values()]}
    assert len(seeds) == 1
    assert not seeds & {0, 7919}, "those of the networks that are trained locally"


def test_augmentation_keeps_shape_and_range() -> None:
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    recipe = ClassifierRecipe(steps=1, degrees=10.0, zoom=0.1, cutout=0.3)
    torch.manual_seed(0)
    changed = augmented(images, recipe)
    assert changed.shape == images.shape
    assert changed.abs().max() <= 1
    assert not torch.equal(changed, images)
    plain = ClassifierRecipe(steps=1, shift=0)
    assert torch.equal(augmented(images, plain), images)


def test_one_file_is_made_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = CLASSIFIERS["digits-judge"]
    few = replace(plan, recipe=ClassifierRecipe(steps=3, batch=16, width=4, shift=1, warmup=1))
    monkeypatch.setitem(publish.CLASSIFIERS, "digits-judge", few)
    press = Press(tmp_path / "data", tmp_path / "work", tmp_path / "out")
    entry = press.make("digits-judge")
    assert entry.images == 599
    monkeypatch.setattr(published, "EVALUATORS", tmp_path / "out")
    net = published.load_classifier(entry)
    assert all(torch.isfinite(p).all() for p in net.parameters())
    assert press.make("digits-judge") == entry, "found, and the same bytes"


def test_the_index_is_written_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "EVALUATORS", tmp_path)
    publish.write_index(published.index())
    path = tmp_path / published.INDEX
    assert build(published.Index, load_yaml(path)) == published.index()
    assert path.read_text() == (published.EVALUATORS / published.INDEX).read_text()


def test_every_served_dataset_has_one_file_of_each_kind() -> None:
    for name, served in published.index().datasets.items():
        judges = [key for key, plan in CLASSIFIERS.items() if name in plan.serves]
        encoders = [key for key, plan in ENCODERS.items() if name in plan.serves]
        assert (judges, encoders) == ([served.judge], [served.encoder])
    assert set(MEASURED_ON) == {"cifar10"}
