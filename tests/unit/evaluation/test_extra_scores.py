"""Metrics on request, on a generator and a classifier whose answers are known, and the pictures that come with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.core.config import to_dict
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig, ExtraConfig
from benchmark.evaluation.context import EvaluationContext, protocol_of, reference_of
from benchmark.evaluation.evaluate import marked
from benchmark.evaluation.extra_scores import extra_values
from benchmark.evaluation.sampling import generate
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.cas import CASConfig
from benchmark.metrics.correlation import attribute_correlation
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.measurements import Grid, Sample
from benchmark.training.method import Conditioning, GANConfig, Method, construct

CPU = torch.device("cpu")
SIDE = 32
MIXED = 0.8  # the second attribute is 0.6 z_0 + 0.8 z_1: its scores have a correlation of 0.6 with the first one's


class Painted(Method):
    """Images whose three channels are linear in three of four latents; of a class, brighter in the quarter it names."""

    cfg: GANConfig

    def __init__(self, cfg: GANConfig, data: Dataset) -> None:
        self.G = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.G.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0.6, MIXED, 0, 0], [0, 0, 1, 0]]) / 8)
        self.n_labels = data.n_labels

    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        colours = G(self.normal(n, 4))  # [n, 3]
        images = colours[:, :, None, None].expand(-1, -1, SIDE, SIDE).clone()
        if self.conditioning == "class":
            conditions = torch.randint(self.n_labels, (n,)) if conditions is None else conditions
            for k in range(self.n_labels):
                images[conditions == k, :, 4 * k : 4 * k + 4] += 0.5
        return Sample(images.clamp(-1, 1), conditions)


class Channels(nn.Module):
    """A classifier of attributes: the mean of each channel."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def features(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * self.scale

    def head(self, features: Tensor) -> Tensor:
        return features


def context(tmp_path: Path, card: str, extras: ExtraConfig, *extra: Any, kind: Conditioning = "none") -> Any:
    """A generator under evaluation, scored by `Channels` where the card has attributes."""
    data = Dataset.tiny(find_card(card))
    if card == "shapes":
        data = replace(data, attribute_names=data.attribute_names[:3])
    method = construct(Painted, GANConfig(steps=1, batch=8), data, CPU, 0)
    method.conditioning = kind
    cfg = EvalConfig(n_fake=300, extra=extra, extras=extras)
    artifacts = ArtifactStore(data, tmp_path / "artifacts", CPU, quiet=True)
    found = EvaluationContext(
        method=method,
        G=method.G,
        generated=generate(method, method.G, 300, cfg, data),
        reference=reference_of(data, "train"),
        class_names=data.class_names,
        protocol=protocol_of(data, cfg, 300),
        cfg=cfg,
        artifacts=artifacts,
        store=artifacts.store,
        device=CPU,
    )
    vars(found)["judge"] = JudgeExtractor(Channels(), "known", SIDE)
    return found


def by_id(values: list[MetricValue]) -> dict[str, MetricValue]:
    return {value.id: value for value in values}


# ---- labels in the latents -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    small = {"steer_trajectories": 4, "steer_iterations": 5, "ppl_pairs": 20}
    extras = ExtraConfig(boundary_latents=2000, correlation_images=3000, **small)
    return context(
        tmp_path_factory.mktemp("a"), "shapes", extras, "boundary", "correlation", "ppl_judge", "steerability"
    )


@pytest.fixture(scope="module")
def values(attributes: Any) -> dict[str, MetricValue]:
    return by_id(extra_values(attributes))


def test_every_label_has_its_svm(values: dict[str, MetricValue]) -> None:
    """Scores that are linear in z: a plane is right about nearly all; the plain accuracies are LT-GAN's."""
    found = {id: value for id, value in values.items() if id.startswith("svm_")}
    assert list(found) == ["svm_red", "svm_large", "svm_filled"]
    sides = values["boundary_remaining_midpoint"].details["per_label"]
    for name in ("red", "large", "filled"):
        value = found[f"svm_{name}"]
        assert value.value == sides[name]["remaining_midpoint"]["accuracy"]
        assert value.value is not None
        assert value.value > 0.75, "chance moves the midpoint by a third of a deviation"
        assert (value.name, value.protocol["accuracy"]) == (f"SVM accuracy, {name}", "plain")
        assert value.protocol["latents"] == 2000


def test_pairs_of_attributes_have_their_correlations(values: dict[str, MetricValue]) -> None:
    mean = values["correlation"]
    matrix = np.array(mean.details["matrix"])
    pairs = {("red", "large"): 0.6, ("red", "filled"): 0.0, ("large", "filled"): 0.0}
    names = mean.details["names"]
    for (a, b), expected in pairs.items():
        value = values[f"correlation_{a}_{b}"]
        assert value.value == matrix[names.index(a), names.index(b)] == pytest.approx(expected, abs=0.06)
        assert value.low is not None
        assert value.high is not None
        assert value.low < value.value < value.high
        assert (value.name, value.better) == (f"Correlation, {a} {b}", None)
    assert mean.value == pytest.approx(0.2, abs=0.06)
    assert mean.protocol["correlation_images"] == 3000
    assert "n_fake" not in mean.protocol, "they are not the images that are scored"


def test_by_default_the_correlation_is_of_the_images_that_are_scored(tmp_path: Path) -> None:
    plain = context(tmp_path, "shapes", ExtraConfig(), "correlation")
    value = by_id(extra_values(plain))["correlation"]
    expected = attribute_correlation(plain.judged, plain.data.attribute_names)
    assert value.value == expected.mean_abs_off_diagonal
    assert value.protocol["n_fake"] == 300
    assert "correlation_images" not in value.protocol


def test_a_path_length_by_the_evaluation_classifier_is_never_called_ppl(values: dict[str, MetricValue]) -> None:
    found = values["ppl_z_judge"]
    assert found.name == "Path length-judge (z)"
    assert found.value is not None
    assert found.value > 0
    assert found.protocol["distance"]["extractor"] == "judge"
    assert not {"ppl", "ppl_z", "ppl_w", "ppl_w_judge"} & set(values), "no LPIPS was asked for; G has no w"


# ---- pictures --------------------------------------------------------------------------------------------------------


def means(grid: Grid, channel: int) -> np.ndarray:
    """Mean of a channel of every picture, [rows, columns]."""
    return grid.images[:, :, channel].mean((2, 3)).double().numpy()


def test_an_edit_moves_every_latent_to_the_same_distances_from_the_boundary(
    attributes: Any, values: dict[str, MetricValue]
) -> None:
    """Along a boundary's normal the label's channel grows alike in all rows, and from equal values: sides are equal."""
    pictures = dict(attributes.pictures)
    edits = {name: grid for name, grid in pictures.items() if name.startswith("edits/")}
    assert list(edits) == ["edits/red", "edits/large", "edits/filled"]
    for channel, grid in enumerate(edits.values()):
        found = means(grid, channel)
        assert grid.columns == ["-3", "-2", "-1", "+0", "+1", "+2", "+3"]
        steps = np.diff(found, axis=1)
        assert steps.min() > 0
        assert steps == pytest.approx(np.broadcast_to(steps[:1, :1], steps.shape), rel=1e-3), "G is linear"
        assert np.ptp(found, axis=0).max() < 0.3 * steps.mean() * 6, "the rows start alike"
    assert np.ptp(means(edits["edits/filled"], 0), axis=1).max() < 0.1, "an unrelated attribute stays"


def test_steering_pictures_are_of_the_directions_that_were_found(
    attributes: Any, values: dict[str, MetricValue]
) -> None:
    grid = dict(attributes.pictures)["steering/brightness"]
    assert values["steer_brightness"].value is not None
    assert values["steer_brightness"].value > 0.5
    assert len(grid.columns) == 11
    luma = (grid.images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2).mean((2, 3))
    assert bool((luma.diff(dim=1) > 0).all()), "brighter to the right"


def test_a_class_conditional_generator_has_a_row_a_class(tmp_path: Path) -> None:
    extras = ExtraConfig(steer_trajectories=2, steer_iterations=2)
    steered = context(tmp_path, "shapes_class", extras, "steerability", kind="class")
    extra_values(steered)
    grid = dict(steered.pictures)["steering/brightness"]
    assert grid.rows == list(steered.data.class_names)
    bright = grid.images[:, 5].mean(1)  # [classes, S, S], unmoved latents: a band of four lines says which class it is
    assert bright[:, ::4].mean(2).argmax(1).tolist() == list(range(5))


# ---- CAS -------------------------------------------------------------------------------------------------------------

FAST = CASConfig(depth=8, epochs=1, batch=32, n_seeds=1, images="training", flip=False)


def test_cas_of_papers_learns_from_as_many_images_as_there_are_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of classes equally often; new ones, not those that are scored; and the file that held them is gone."""
    import benchmark.evaluation.cas_score as module

    seen: list[Any] = []
    inner = module.cas_with_control

    def spy(*arguments: Any) -> Any:
        seen.extend(np.array(a) for a in arguments[:4])
        return inner(*arguments)

    monkeypatch.setattr(module, "cas_with_control", spy)
    scored = context(tmp_path, "cifar10", ExtraConfig(cas=FAST), "cas", kind="class")
    found = by_id(extra_values(scored))
    images, labels, real, real_labels = seen
    n = len(scored.data.train)
    assert (len(images), len(real)) == (n, n)
    assert np.ptp(np.bincount(labels)) <= 1
    assert (real == scored.data.train.images).all()
    assert (real_labels == scored.data.train.labels).all()
    bands = images.mean((2, 3)).reshape(n, -1, 4).mean(2)  # [N, 8]: the four lines that are brighter name the class
    shown = labels < bands.shape[1]  # of the first eight classes
    assert (bands.argmax(1)[shown] == labels[shown]).mean() > 0.9
    assert found["cas"].protocol["n_train"] == n
    assert "n_fake" not in found["cas"].protocol
    assert found["cas_top5"].value == found["cas"].details["top5"]
    assert found["cas_top5"].name == "CAS, top-5"
    assert not list((tmp_path / "artifacts").glob("cas-*"))


def test_cas_says_nothing_of_a_generator_without_classes(tmp_path: Path) -> None:
    assert extra_values(context(tmp_path, "cifar10", ExtraConfig(cas=FAST), "cas")) == []
    scored = replace(FAST, images="scored")
    assert extra_values(context(tmp_path, "cifar10", ExtraConfig(cas=scored), "cas")) == []


def test_new_settings_are_left_out_of_hashes_while_they_have_their_defaults() -> None:
    plain = to_dict(EvalConfig())["extras"]
    assert "correlation_images" not in plain
    assert not {"net", "images"} & set(plain["cas"])
    asked = to_dict(EvalConfig(extras=ExtraConfig(cas=CASConfig(net="resnet50"), correlation_images=200)))["extras"]
    assert (asked["cas"]["net"], asked["correlation_images"]) == ("resnet50", 200)


def test_numbers_of_a_protocol_carry_its_name(values: dict[str, MetricValue]) -> None:
    cfg = EvalConfig(protocol="ltgan")
    assert marked([values["svm_red"]], cfg, {})[0].name == "SVM accuracy, red [ltgan protocol]"
