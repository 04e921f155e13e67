"""One generator against several sets, by class frequency, and after JPEG: what is asked for, compared and recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.core.config import build, content_hash, to_dict
from benchmark.core.errors import ConfigError, DataError, WeightsError
from benchmark.data.cards import find_card
from benchmark.data.jpeg import jpeg_coded
from benchmark.data.prepared import Dataset
from benchmark.data.stream import to_float
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import EvaluationContext, protocol_of, reference_of
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.evaluation.references import check_references
from benchmark.evaluation.sampling import generate
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.frechet import frechet_distance
from benchmark.runs.spec import EVALUATION, evaluation
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.measurements import Sample
from benchmark.training.method import GANConfig, Method

CPU = torch.device("cpu")
PARTS = {"seen": np.arange(20), "unseen": np.arange(20, 64)}
CFG = EvalConfig(n_fake=40, extractors=("lite0",), half_samples=0, controls=False)


class Shades(Extractor):
    """Mean shade of each channel and of both halves, and two made-up logits."""

    name, identity, dim = "lite0", {"extractor": "shades"}, 5

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = to_float(images)
        pooled = torch.cat([x.mean((2, 3)), x[:, :1, :8].mean((2, 3)), x[:, :1, 8:].mean((2, 3))], 1)
        return pooled, pooled[:, :2] * 5


class Copies(Method):
    """Shows the image of the bank that it is asked for, slightly noisy; or one of the class."""

    def __init__(self, cfg: Any, data: Dataset, conditioning: str) -> None:
        self.cfg, self.data, self.device, self.G = cfg, data, CPU, nn.Identity()
        self.conditioning: Any = conditioning
        self.asked: list[tuple[str, int]] = []
        self.condition_on(data, "train")

    def condition_on(self, data: Dataset, split: str) -> None:
        self.split, self.bank = split, data.split(split).images
        self.n_labels, self.default_conditions = len(self.bank), f"images of {split}"

    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        self.asked.append((self.split, n))
        if self.conditioning == "class":
            assert self.data.train.labels is not None
            y = torch.randint(10, (n,)) if conditions is None else conditions
            rows = [int(np.flatnonzero(self.data.train.labels == c)[0]) for c in y.tolist()]
            return Sample(self._shown(self.data.train.images[rows]), y)
        rows = torch.randint(self.n_labels, (n,)) if conditions is None else conditions
        return Sample(self._shown(self.bank[rows.numpy()]), None if self.conditioning == "none" else rows)

    def _shown(self, images: np.ndarray) -> Tensor:
        x = to_float(torch.tensor(images).permute(0, 3, 1, 2))
        return (x + 0.02 * torch.randn_like(x)).clamp(-1, 1)


def pictures(conditioning: str = "none") -> Dataset:
    """64 random pictures a split, of shades that differ between the parts of test."""
    card = find_card("digits" if conditioning == "class" else "shapes")
    data = Dataset.tiny(replace(card, resolution=16, conditioning=conditioning, attribute_sets={}, attribute_set=None))
    rng = np.random.default_rng(3)
    for split, low in ((data.train, 0), (data.test, 60)):
        shade = rng.integers(low, low + 120, size=(64, 1, 1, 1))
        split.images = (shade + rng.integers(0, 60, size=split.images.shape)).astype(np.uint8)
    return replace(data, parts=PARTS)


def values(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conditioning: str, **changes: Any
) -> tuple[dict[str, MetricValue], Copies]:
    """The values of the evaluation by shades, by id, and the method."""
    monkeypatch.setattr(EvaluationContext, "extractor", lambda self, name: Shades(nn.Identity(), CPU))
    monkeypatch.setattr(EvaluationContext, "judge", None)
    method = Copies(GANConfig(steps=1, batch=8), data, conditioning)
    store = ArtifactStore(data, tmp_path, CPU, quiet=True)
    found = evaluate(method, method.G, replace(CFG, **changes), store)
    return {value.id: value for value in found.values}, method


def test_each_set_is_compared_with_images_asked_for_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures()
    found, method = values(data, tmp_path, monkeypatch, "instance", references=("test", "seen", "unseen"))
    assert method.asked == [("train", 40), ("test", 64), ("seen", 20), ("unseen", 44)]
    assert method.split == "train", "the method's own bank comes back"
    for name, n in (("test", 64), ("seen", 20), ("unseen", 44)):
        value = found[f"fd_{name}_lite0"]
        assert value.value is not None
        assert value.value < 0.1, "copies of the very set"
        assert value.conditions["drawn"] == f"images of {name}"
        assert {"reference": name, "n_reference": n, "n_fake": n}.items() <= value.protocol.items()
    assert found["fd_lite0"].protocol["reference"] == "train"
    assert "score_test_lite0" not in found
    without, _ = values(data, tmp_path, monkeypatch, "instance")
    assert {id: value.to_dict() for id, value in without.items()} == {
        id: value.to_dict() for id, value in found.items() if id in without
    }, "further sets move no other number"


def test_a_model_of_the_training_images_alone_is_far_from_the_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: an unconditional copier of training images is near to these and to no other set."""
    found, _ = values(pictures(), tmp_path, monkeypatch, "none", references=("train", "seen"))
    near, far = found["fd_train_lite0"].value, found["fd_seen_lite0"].value
    assert near is not None
    assert far is not None
    assert far > 10 * near
    assert found["score_train_lite0"].value is not None


def test_without_weights_the_distances_are_unavailable_and_no_image_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(self: EvaluationContext, name: str) -> Extractor:
        raise WeightsError(f"{name}: no weights", "a test", "none")

    data = pictures()
    monkeypatch.setattr(EvaluationContext, "extractor", lacking)
    monkeypatch.setattr(EvaluationContext, "judge", None)
    method = Copies(GANConfig(steps=1, batch=8), data, "instance")
    cfg = replace(CFG, references=("test", "unseen"), missing_weights="unavailable")
    found = evaluate(method, method.G, cfg, ArtifactStore(data, tmp_path, CPU, quiet=True)).values
    mine = {value.id: (value.status, value.reason) for value in found if "test" in value.id or "unseen" in value.id}
    assert mine == {f"fd_{name}_lite0": ("unavailable", "lite0: no weights") for name in ("test", "unseen")}
    assert method.asked == [("train", 40)]
    trained = evaluate(method, method.G, replace(cfg, references=("train",)), ArtifactStore(
        data, tmp_path, CPU, quiet=True)).values  # fmt: skip
    states = {value.id: value.status for value in trained if "_train_" in value.id}
    assert states == {"fd_train_lite0": "unavailable", "score_train_lite0": "unavailable"}
    few = replace(data, parts={"seen": np.arange(1)})
    (value,) = [v for v in evaluate(method, method.G, replace(cfg, references=("seen",)), ArtifactStore(
        few, tmp_path, CPU, quiet=True)).values if v.id == "fd_seen_lite0"]  # fmt: skip
    assert value.reason == "the part seen has 1 images"


def test_classes_follow_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures("class")
    data.train.labels = np.array([0] * 60 + [1, 2, 3, 4])
    data.test.labels = np.array([5] * 64)
    seen: list[Tensor] = []
    plain = Copies.sample

    def sample(self: Copies, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        assert conditions is not None
        seen.append(conditions)
        return plain(self, G, n, torch.zeros_like(conditions))

    monkeypatch.setattr(Copies, "sample", sample)
    values(data, tmp_path, monkeypatch, "class", reference="test", references=("train",))
    assert set(seen[0].tolist()) == {5}, "the evaluation's own images show classes of the held-out split"
    assert float((seen[1] == 0).float().mean()) > 0.8, "the training split's as they occur there"


def test_distances_by_class_frequency_use_the_training_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures("class")
    data.train.labels = np.repeat(np.arange(10), [20, 14, 10, 6, 5, 3, 2, 2, 1, 1])
    found, method = values(data, tmp_path, monkeypatch, "class", reference="test", strata=(2, 10), n_fake=64)
    groups = {"many": [0, 1, 2], "medium": [3, 4, 5], "few": [6, 7, 8, 9]}
    generated = generate(method, method.G, 64, replace(CFG, n_fake=64), data)
    assert generated.conditions is not None
    real, fake = (
        Shades(nn.Identity(), CPU)(torch.tensor(images).permute(0, 3, 1, 2)).pooled
        for images in (data.test.images, generated.images)
    )
    assert data.test.labels is not None
    for name, classes in groups.items():
        value = found[f"fd_{name}_lite0"]
        mine = real[np.isin(data.test.labels, classes)], fake[np.isin(generated.conditions.numpy(), classes)]
        assert value.value == pytest.approx(frechet_distance(*mine), rel=1e-6)
        assert value.details == {"classes": len(classes), "real": len(mine[0]), "generated": len(mine[1])}
        assert value.protocol["strata"] == {"few": "at most 2 training images of the class", "many": "at least 10"}
    plain, _ = values(data, tmp_path, monkeypatch, "class")
    assert not any("many" in id for id in plain), "off by default"


def test_both_sides_pass_through_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures()
    method = Copies(GANConfig(steps=1, batch=8), data, "none")
    plain, coded = (generate(method, method.G, 8, replace(CFG, jpeg=q), data).images for q in (None, 75))
    assert np.array_equal(coded, jpeg_coded(plain, 75))
    assert not np.array_equal(coded, plain)
    real = reference_of(data, "seen", 75)
    assert np.array_equal(real.images[:], jpeg_coded(data.test.images[:20], 75))
    assert real.sha256 != reference_of(data, "seen").sha256, "other features are kept under another name"
    words = [protocol_of(data, replace(CFG, jpeg=q), 8)["quantisation"] for q in (None, 75)]
    assert words == ["uint8", "uint8, JPEG of quality 75 on both sides"]
    by_jpeg, _ = values(data, tmp_path, monkeypatch, "none", jpeg=30)
    without, _ = values(data, tmp_path, monkeypatch, "none")
    assert by_jpeg["fd_lite0"].value != without["fd_lite0"].value
    assert by_jpeg["fd_lite0"].protocol_key != without["fd_lite0"].protocol_key


def test_the_new_settings_are_absent_from_hashes_while_they_are_off() -> None:
    plain = to_dict(EvalConfig())
    assert not {"references", "jpeg", "strata"} & set(plain)
    changed = build(EvalConfig, {"jpeg": 75, "references": ["seen"], "strata": [20, 100]})
    assert {"references", "jpeg", "strata"} <= set(to_dict(changed))
    assert content_hash(to_dict(changed)) != content_hash(plain)


def test_a_set_that_a_dataset_lacks_is_named_before_anything_is_trained() -> None:
    digits, coco = find_card("digits"), find_card("coco_stuff128")
    check_references(replace(CFG, references=("test", "seen", "unseen"), reference="unseen"), coco)
    with pytest.raises(ConfigError, match="digits has no part 'seen'"):
        check_references(replace(CFG, references=("seen",)), digits)
    with pytest.raises(ConfigError, match=r"(?s)eval.reference: digits has no part 'trian'.*train"):
        check_references(replace(CFG, reference="trian"), digits)
    with pytest.raises(ConfigError, match="serves none"):
        check_references(replace(CFG, strata=(20, 100)), coco)
    for bounds in ((100, 20), (20, 20)):
        with pytest.raises(ConfigError, match="give few < many"):
            check_references(replace(CFG, strata=bounds), digits)
    check_references(replace(CFG, strata=(20, 21)), digits)
    with pytest.raises(ConfigError, match="a set is given twice"):
        check_references(replace(CFG, references=("test", "train", "test")), digits)
    with pytest.raises(DataError, match="no part 'seen'"):
        replace(pictures(), parts={}).split("seen")


def by_protocol(name: str, dataset: str) -> EvalConfig:
    card = find_card(dataset)
    base = to_dict(EVALUATION["paper"])
    found = evaluation(base, {"protocol": name}, dataset, has_labels=card.conditioning != "none", where="a test")
    check_references(found, card)
    return found


def test_the_protocols_of_ic_gan_are_those_of_its_reported_numbers() -> None:
    imagenet, coco, lt = (
        by_protocol(*pair)
        for pair in (("icgan", "imagenet64"), ("icgan_coco", "coco_stuff128"), ("icgan_lt", "imagenet_lt64"))
    )
    for cfg in (imagenet, coco, lt):
        assert cfg.extractors == ("inception",), "TensorFlow's Inception, which FID is named after"
    assert (imagenet.reference, imagenet.n_fake, imagenet.splits, imagenet.k) == ("test", 50_000, 10, 5)
    assert (imagenet.prdc_images, imagenet.extra, imagenet.jpeg) == (10_000, ("lpips",), None)
    assert (imagenet.extras.lpips_conditions, imagenet.extras.lpips_images) == (500, 10)
    assert (coco.reference, coco.references, coco.n_fake) == ("train", ("test", "seen", "unseen"), None)
    assert coco.jpeg == 75
    assert (lt.reference, lt.references, lt.strata, lt.conditions) == ("test", ("train",), (20, 100), "uniform")
    old = by_protocol("icgan_monitoring", "imagenet64")
    assert (old.extractors, old.reference) == (("torchvision:inception_v3",), "train")
    assert "not given" in " ".join(PROTOCOLS["icgan"].differences), "LPIPS: the paper names no pairs"
