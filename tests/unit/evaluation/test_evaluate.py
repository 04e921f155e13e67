"""Evaluation of unlike conditionings: what is asked for, what is measured, and what the record says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.data.cards import card_with, find_card
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset, mixture_of
from benchmark.data.stream import to_float
from benchmark.evaluation.config import EvalConfig, ExtraConfig
from benchmark.evaluation.context import reference_of
from benchmark.evaluation.evaluate import EvaluationResult, conditions_text, evaluate
from benchmark.evaluation.networks import build_judge
from benchmark.evaluation.real_rows import FLOOR, real_data_rows
from benchmark.evaluation.sampling import labels_split, requested_conditions
from benchmark.metrics.corruptions import CORRUPTIONS, halves
from benchmark.metrics.extractors.base import extract
from benchmark.metrics.extractors.segmenter import SegmenterConfig
from benchmark.metrics.frechet import frechet_distance
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.measurements import Measurement, Sample
from benchmark.training.method import Conditioning, GANConfig, Method
from benchmark.training.stages.judge import JudgeConfig

CPU = torch.device("cpu")
CFG = EvalConfig(n_fake=300, judge=JudgeConfig(steps=120, width=8))


class Known(Method):
    """A generator that gives what the test says; no network."""

    def __init__(self, cfg: Any, data: Dataset, conditioning: Conditioning = "none", loyal: bool = True) -> None:
        self.cfg, self.data, self.device, self.G = cfg, data, CPU, nn.Identity()
        self.conditioning, self.loyal, self.default_conditions = (
            conditioning,
            loyal,
            "images of the training split, uniformly",
        )
        self.condition_on(data, "train")

    def condition_on(self, data: Dataset, split: str) -> None:
        self.bank = (data.train if split == "train" else data.test).images
        self.n_labels = len(self.bank)

    def targets(self, conditions: Tensor | None) -> Tensor | None:
        return None if conditions is None else conditions[:, None]

    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        if self.conditioning == "none":
            asked_rows = torch.randint(len(self.data.train), (n,))
            return Sample(self._noisy(asked_rows), None)
        rows = torch.randint(self.n_labels, (n,)) if conditions is None else conditions
        return Sample(self._noisy(rows if self.loyal else torch.randint(self.n_labels, (n,))), rows)

    def _noisy(self, rows: Tensor) -> Tensor:
        x = to_float(torch.tensor(self.bank[rows.numpy()]).permute(0, 3, 1, 2))
        return (x + 0.05 * torch.randn_like(x)).clamp(-1, 1)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    folder = tmp_path_factory.mktemp("artifacts")
    return ArtifactStore(prepare(find_card("digits"), folder, folder / "data", progress=False), folder, CPU, quiet=True)


def scored(artifacts: ArtifactStore, *options: Any) -> EvaluationResult:
    method = Known(GANConfig(steps=1, batch=8), artifacts.data, *options)
    return evaluate(method, method.G, CFG, artifacts)


def by_id(found: EvaluationResult) -> dict[str, Any]:
    return {value.id: value for value in found.values}


@pytest.mark.parametrize("conditioning", ["instance", "latent"])
def test_a_generator_that_shows_what_it_is_asked_for_is_told_from_one_that_does_not(
    artifacts: ArtifactStore, conditioning: Conditioning
) -> None:
    loyal, deaf = (by_id(scored(artifacts, conditioning, loyal)) for loyal in (True, False))
    agreement = loyal["label_agreement_judge"]
    assert agreement.value > 0.75
    assert deaf["label_agreement_judge"].value == pytest.approx(0.1, abs=0.06)
    assert loyal["instance_preference_judge"].value > 0.95
    assert deaf["instance_preference_judge"].value == pytest.approx(0.5, abs=0.06)
    conditions = {"conditioning": conditioning, "drawn": "images of the held-out split, uniformly"}
    assert conditions.items() <= agreement.conditions.items()
    assert agreement.details["on_training_images"] == pytest.approx(agreement.details["on_real"], abs=0.05)
    held_out = agreement.details["on_held_out"]
    assert held_out > agreement.details["on_real"], "the classifier learned from these images"
    assert agreement.value <= held_out + 0.01
    assert "control_accuracy_judge" not in loyal


class OfClusters(Known):
    """Conditioned on clusters: each is the images of one class, under another number."""

    def training_clusters(self) -> Tensor:
        return 9 - torch.tensor(self.data.train.labels)

    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        rows = torch.randint(len(self.data.train), (n,))
        shown = rows if self.loyal else torch.randint(len(self.data.train), (n,))
        return Sample(self._noisy(shown), self.training_clusters()[rows])


def test_agreement_of_clusters_asks_for_the_class_of_a_training_image(artifacts: ArtifactStore) -> None:
    found = {}
    for loyal in (True, False):
        method = OfClusters(GANConfig(steps=1, batch=8), artifacts.data, "cluster", loyal)
        found[loyal] = by_id(evaluate(method, method.G, replace(CFG, metrics="all"), artifacts))
    agreement = found[True]["cluster_agreement_judge"]
    assert agreement.value > 0.75
    assert (agreement.details["on_real"], agreement.details["images_left_out"]) == (1, 0)
    assert agreement.details["chance"] == 0.1
    assert found[False]["cluster_agreement_judge"].value == pytest.approx(0.1, abs=0.06)
    assert not {"control_accuracy_judge", "label_agreement_judge"} & found[True].keys()
    method = Known(GANConfig(steps=1, batch=8), artifacts.data, "cluster")  # of random labels: they have no images
    assert "cluster_agreement_judge" not in by_id(evaluate(method, method.G, replace(CFG, metrics="all"), artifacts))


def test_agreement_of_clusters_with_attributes_is_their_mean(tmp_path: Path) -> None:
    card = find_card("shapes")
    data = prepare(card_with(card, {"source": {"n_train": 300, "n_test": 300}}), tmp_path, tmp_path / "data")
    method = OfClusters(GANConfig(steps=1, batch=8), data, "cluster")
    red = torch.tensor(data.train.attributes)[:, data.attribute_names.index("red")].long()
    method.training_clusters = lambda: red  # type: ignore[method-assign]
    store = ArtifactStore(data, tmp_path, CPU, quiet=True)
    found = by_id(evaluate(method, method.G, replace(CFG, metrics="all"), store))["cluster_agreement_judge"]
    shares = found.details["per_attribute"]
    assert shares["red"] > 0.85
    assert shares["large"] == pytest.approx(0.5, abs=0.1)
    assert found.value == pytest.approx(np.mean(list(shares.values())))
    assert found.details["on_real"] == pytest.approx((1 + 4 * 0.5) / 5, abs=0.03)
    assert found.details["chance"] == 0.5


def test_what_was_asked_stands_beside_every_number_and_does_not_split_columns(artifacts: ArtifactStore) -> None:
    plain, steered = scored(artifacts), scored(artifacts, "instance")
    assert plain.conditions["conditioning"] == "none"
    conditions = {"conditioning": "instance", "drawn": "images of the training split, uniformly"}
    assert conditions.items() <= steered.conditions.items()
    for found in (plain, steered):
        assert all(value.to_dict()["conditions"]["drawn"] for value in found.values)
    keys = {value.id: value.protocol_key for value in plain.values}
    shared = [value for value in steered.values if value.id in keys]
    assert {value.id for value in shared} >= {"fd_judge", "score_judge", "authenticity_judge", "modes_judge"}
    assert all(value.protocol_key == keys[value.id] for value in shared)


def test_nearly_copied_images_are_not_authentic_and_cover_the_classes(artifacts: ArtifactStore) -> None:
    found = by_id(scored(artifacts))
    assert found["authenticity_judge"].value < 0.2
    assert found["authenticity_judge"].details["of_held_out"] > 0.4
    assert found["modes_judge"].value == 10
    assert found["reverse_kl_judge"].value < 0.15


def test_a_methods_own_measurement_is_kept_with_its_protocol(
    artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Measurement("own", "Own number", 0.5, "higher", {"rule": "a test"}, {"curve": [1.0]})
    monkeypatch.setattr(Known, "measurements", lambda self, G, data: iter([own]))
    value = by_id(scored(artifacts))["own"]
    assert (value.value, value.details, value.protocol["rule"]) == (0.5, {"curve": [1.0]}, "a test")
    assert value.protocol["data_sha256"] == artifacts.data.sha256
    changed = replace(value, protocol=value.protocol | {"rule": "another"})
    assert changed.protocol_key != value.protocol_key


def test_points_are_scored_against_their_mixture(tmp_path: Path) -> None:
    data = prepare(find_card("grid2d"), tmp_path, tmp_path / "data", progress=False)
    centres = torch.tensor(mixture_of(data).centres, dtype=torch.float32)

    class Points(Known):
        def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
            modes = torch.randint(5, (n,))  # the first column of the grid
            return Sample(centres[modes] + 0.05 * torch.randn(n, 2), None)

    method = Points(GANConfig(steps=1, batch=8), data)
    cfg = EvalConfig(n_fake=20_000, extractors=())
    found = by_id(evaluate(method, method.G, cfg, ArtifactStore(data, tmp_path, CPU, quiet=True)))
    assert set(found) == {"modes", "high_quality", "reverse_kl"}
    assert found["modes"].value == 5
    assert found["modes"].details == {"of": 25}
    assert found["high_quality"].value == pytest.approx(0.9973**2, abs=0.003)
    assert found["reverse_kl"].value == pytest.approx(np.log(5), abs=0.002)


# ---- the Frechet Segmentation Distance -------------------------------------------------------------------------------


class Ink(nn.Module):
    """Two classes: ground, and ink of a grey level above a half."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] > 0.5).long()


class Faint(Known):
    """Less than half of the grey level: no ink is left."""

    def _noisy(self, rows: Tensor) -> Tensor:
        return super()._noisy(rows) / 2 - 0.6


def test_segmented_areas_of_generated_and_real_images(
    artifacts: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator whose images lack a class is far, and the class is named; a missing file gives no number."""
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    torch.jit.trace(Ink(), torch.rand(1, 3, 16, 16)).save(str(tmp_path / "ink.pt"))
    segmenter = SegmenterConfig(file="ink.pt", n_classes=2, input_px=16)
    cfg = replace(CFG, extra=("fsd",), extras=ExtraConfig(segmenter=segmenter, fsd_images=200), extractors=())

    def fsd(cls: type[Known], cfg: EvalConfig) -> Any:
        method = cls(GANConfig(steps=1, batch=8), artifacts.data)
        return by_id(evaluate(method, method.G, cfg, artifacts))["fsd"]

    good, faint = fsd(Known, cfg), fsd(Faint, cfg)
    assert good.status == faint.status == "ok"
    assert 0 <= good.value < 2
    assert faint.value > 50 * good.value
    omitted = faint.details["left_out"][0]
    assert omitted["class"] == 1
    assert omitted["real"] > 10
    assert omitted["generated"] == 0
    assert faint.value > (omitted["real"]) ** 2, "both classes' means are that far apart"
    assert (faint.protocol["n_fake"], faint.protocol["n_reference"]) == (200, 200)
    assert faint.protocol["segmenter"]["weights"]["file"] == "ink.pt"
    assert good.protocol_key == faint.protocol_key

    missing = fsd(Known, replace(cfg, extras=ExtraConfig()))
    assert (missing.status, missing.value) == ("unavailable", None)
    assert "upernet-unified-parsing.pt2 is missing" in missing.reason


@pytest.mark.parametrize(("dataset", "split"), [("digits", "test"), ("digits_lt", "train")])
def test_classes_are_requested_as_often_as_the_reference_has_them(dataset: str, split: str, tmp_path: Path) -> None:
    """Held-out digits_lt are balanced, its training images are not: a perfect generator would seem to be wrong."""
    data = prepare(find_card(dataset), tmp_path, tmp_path / "data", progress=False)
    assert labels_split(data, CFG) == split
    assert labels_split(data, replace(CFG, reference="test")) == "test"
    method = Known(GANConfig(steps=1, batch=8), data, "class")
    asked = requested_conditions(method, 20_000, CFG, data)
    assert asked is not None
    labels = data.split(split).labels
    assert labels is not None
    shares = [np.bincount(found, minlength=10) / len(found) for found in (asked.numpy(), labels)]
    assert shares[0] == pytest.approx(shares[1], abs=0.015)
    assert split[:4] in conditions_text(method, CFG, data)["drawn"].replace("held-out", "test")


def test_real_rows_compare_the_halves_with_each_other_and_damage_as_many_images_as_are_generated(
    artifacts: ArtifactStore,
) -> None:
    judge = build_judge(CFG, artifacts)
    assert judge is not None
    real = reference_of(artifacts.data, "train")
    rows = real_data_rows(judge, real, 100, CFG.set_settings, artifacts.store)
    (floor,) = [name for name in rows if name.startswith(FLOOR)]
    features = np.asarray(artifacts.store.features(judge, real.images, sha256=real.sha256).pooled)
    one, other = halves(len(real), seed=CFG.seed)
    assert not set(one.tolist()) & set(other.tolist())
    assert floor == f"{FLOOR}, n = {len(one):,}"
    assert rows[floor]["fd"] == pytest.approx(frechet_distance(features[one], features[other]))
    noise = CORRUPTIONS["noise 15"](real.images[:100], real.labels, CFG.seed)
    damaged = np.asarray(extract(judge, noise).pooled)
    assert rows["real, noise 15"]["fd"] == pytest.approx(frechet_distance(features, damaged), rel=1e-4)
