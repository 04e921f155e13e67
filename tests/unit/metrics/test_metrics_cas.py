"""Classification Accuracy Score on toys with known answers: ceiling, chance, a missing class, wrong labels, bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch import nn

import benchmark.metrics.cas
from benchmark.core.config import build
from benchmark.metrics.cas import CAS, CASConfig, cas_with_control, classification_accuracy_score
from benchmark.metrics.cas import _augmented as augmented
from benchmark.metrics.checks import MetricError
from benchmark.nn.resnet50 import ResNet50

SMALL = CASConfig(depth=8, epochs=3, batch=16, n_seeds=1, flip=False, shift=0)
Set = tuple[np.ndarray, np.ndarray]


def squares(n: int, seed: int) -> Set:
    """A red, green or blue square somewhere on a noisy ground: images (n, 10, 10, 3), classes [n]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 60, (n, 10, 10, 3), dtype=np.uint8)
    for image, label, (y, x) in zip(images, labels, rng.integers(0, 6, (n, 2))):
        image[y : y + 4, x : x + 4, label] += 170
    return images, labels


FAKE, TEST = squares(240, seed=0), squares(120, seed=1)


def score(train: Set, test: Set, cfg: CASConfig = SMALL, n_classes: int = 3, **more: Any) -> CAS:
    return classification_accuracy_score(*train, *test, cfg, "cpu", n_classes, **more)


def shuffled(data: Set, seed: int = 2) -> Set:
    return data[0], np.random.default_rng(seed).permutation(data[1])


@pytest.fixture(scope="module")
def honest() -> CAS:
    """Of generated images that are as good as real ones."""
    return score(FAKE, TEST)


def test_digits_the_ceiling_and_generated_labels_that_mean_nothing() -> None:
    """Held-out digits: real training images reach over 0.9; the same images with shuffled labels are chance, 0.1."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = np.rint(digits.images[order] * 255 / 16).astype(np.uint8)[..., None]
    real, test = (images[:900], digits.target[order][:900]), (images[900:], digits.target[order][900:])
    cfg = replace(SMALL, epochs=2, batch=32)
    both = cas_with_control(*shuffled(real), *real, *test, cfg, "cpu", 10)
    assert both.real.top1 > 0.9
    assert both.real.top5 is not None
    assert both.real.top5 > 0.98
    assert both.generated.top1 < 0.25
    assert both.ratio == both.generated.top1 / both.real.top1
    assert (both.real.n_train, both.real.n_test) == (900, 897)


def test_good_images_reach_the_ceiling(honest: CAS) -> None:
    assert honest.top1 > 0.95
    assert honest.per_seed == (honest.top1,)
    assert honest.top1_sd is None
    assert honest.top5 is None  # of three classes it would always be 1
    assert (honest.n_train, honest.n_test) == (240, 120)
    assert np.mean([value for value in honest.per_class if value is not None]) == pytest.approx(honest.top1)


def test_renamed_training_labels_get_everything_wrong(honest: CAS) -> None:
    assert score((FAKE[0], (FAKE[1] + 1) % 3), TEST).top1 < 0.05 < honest.top1


def test_images_without_their_class_are_chance(honest: CAS) -> None:
    noise = np.random.default_rng(3).integers(0, 256, FAKE[0].shape, dtype=np.uint8)
    assert abs(score((noise, FAKE[1]), TEST).top1 - 1 / 3) < 0.2 < honest.top1 - 1 / 3


def check_missing_class(metric: Callable[[Set, Set], CAS]) -> None:
    """A generator that never draws class 2 cannot teach it: 2/3 of the test images at best."""
    found = metric((FAKE[0][FAKE[1] < 2], FAKE[1][FAKE[1] < 2]), TEST)
    assert found.per_class[2] == 0
    assert 0.6 < found.top1 <= 2 / 3


def test_a_missing_class_shows() -> None:
    check_missing_class(score)


def test_trained_on_real_and_tested_on_generated_images_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        check_missing_class(lambda fake, real: score(real, fake))


def check_hand_made_scores() -> None:
    """Two classifiers, four images of seven classes; ranks of the true class: 1, 1, 5, 6 and 1, 2, 6, 7."""
    labels = np.array([0, 0, 3, 5])
    rank = np.array([[1, 1, 5, 6], [1, 2, 6, 7]])
    logits = []
    for ranks in rank:
        rows = np.tile(-np.arange(6.0), (4, 1))  # of the other classes, ranks 1 to 6
        logits.append(np.array([np.insert(rows[i], labels[i], 0.5 - (ranks[i] - 1)) for i in range(4)]))
    found = benchmark.metrics.cas._score(logits, labels, n_train=9, n_classes=7)
    assert found.per_seed == (0.5, 0.25)
    assert found.top1 == 0.375
    assert found.top1_sd == pytest.approx(0.25 / np.sqrt(2))
    assert found.top5 == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found.per_class == (0.75, None, None, 0, None, 0, None)
    assert (found.n_train, found.n_test) == (9, 4)


def test_scores_by_hand() -> None:
    check_hand_made_scores()


@pytest.mark.parametrize("k", [4, 6])
def test_one_class_more_or_less_than_five_would_be_noticed(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.metrics.cas, "TOP", k)
    with pytest.raises(AssertionError):
        check_hand_made_scores()


def test_the_same_bits_and_torchs_random_state_untouched(honest: CAS, tmp_path: Path) -> None:
    np.save(tmp_path / "fake.npy", FAKE[0])
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = score((np.load(tmp_path / "fake.npy", mmap_mode="r"), torch.from_numpy(FAKE[1])), TEST, progress=True)
    assert again == honest
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_decide_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classifier k depends on seed and k alone; another seed is another classifier."""
    cfg = replace(SMALL, epochs=1, n_seeds=2, shift=0.2, flip=True)
    kept: list[np.ndarray] = []
    inner = benchmark.metrics.cas._train_and_test

    def spy(*arguments: Any) -> np.ndarray:
        kept.append(inner(*arguments))
        return kept[-1]

    monkeypatch.setattr(benchmark.metrics.cas, "_train_and_test", spy)
    score(FAKE, TEST, cfg)
    torch.manual_seed(99)
    score(FAKE, TEST, replace(cfg, n_seeds=1))
    score(FAKE, TEST, replace(cfg, n_seeds=1, seed=1))
    first, second, first_again, other = kept
    assert np.array_equal(first, first_again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_every_epoch_shows_every_image_once_in_even_batches() -> None:
    batches = list(benchmark.metrics.cas._batches(129, replace(SMALL, epochs=3, batch=128)))
    assert [len(rows) for rows in batches] == [65, 64, 65, 64, 65, 64]
    assert sorted(np.concatenate(batches[:2])) == sorted(np.concatenate(batches[2:4])) == list(range(129))


def test_the_step_size_falls_twice_by_ten() -> None:
    rates = [benchmark.metrics.cas._lr(SMALL, step, 8) for step in range(8)]
    assert rates == pytest.approx(4 * [0.1] + 2 * [0.01] + 2 * [0.001])


def test_the_optimiser_is_the_one_the_configuration_names(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Spy(torch.optim.SGD):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.rates: list[float] = []
            made.append(self)

        def step(self, closure: Any = None) -> None:
            self.rates.append(self.param_groups[0]["lr"])
            super().step(closure)

    monkeypatch.setattr(torch.optim, "SGD", Spy)
    score((FAKE[0][:12], FAKE[1][:12]), TEST, replace(SMALL, batch=3, epochs=2, lr=0.2, n_seeds=2))
    assert len(made) == 2
    for sgd in made:
        assert sgd.rates == pytest.approx(4 * [0.2] + 2 * [0.02] + 2 * [0.002])
        assert (sgd.defaults["momentum"], sgd.defaults["weight_decay"], sgd.defaults["nesterov"]) == (0.9, 1e-4, False)


def test_the_network_sees_channels_first_from_minus_one_to_one() -> None:
    images = np.array([0, 51, 255], np.uint8).repeat(4).reshape(3, 2, 2, 1).repeat(3, 3)
    images[2, 0, 1, 2] = 0
    x = benchmark.metrics.cas._pixels(images, np.array([2, 0, 1]), torch.device("cpu"))
    assert x.shape == (3, 3, 2, 2)
    assert [float(image[0, 0, 0]) for image in x] == pytest.approx([1, -1, -0.6])
    assert float(x[0, 2, 0, 1]) == -1


def test_augmentation_mirrors_half_and_shifts_by_a_share_of_the_side() -> None:
    torch.manual_seed(0)
    x = torch.rand(64, 3, 16, 16)
    assert torch.equal(augmented(x, SMALL), x)
    flipped = augmented(x, replace(SMALL, flip=True))
    is_same, is_mirror = ((flipped == y).all(dim=(1, 2, 3)) for y in (x, x.flip(3)))
    assert (is_same ^ is_mirror).all()
    assert 16 < is_mirror.sum() < 48
    moved = augmented(x, replace(SMALL, shift=0.125))  # up to 2 of 16 px
    inner = x[:, :, 5:11, 5:11]
    shifts = [(a, b) for a in range(-4, 5) for b in range(-4, 5)]
    found = {
        s for s in shifts if (moved[:, :, 5 + s[0] : 11 + s[0], 5 + s[1] : 11 + s[1]] == inner).all((1, 2, 3)).any()
    }
    assert found
    assert max(abs(v) for pair in found for v in pair) == 2


def test_a_training_that_diverges_is_an_error() -> None:
    with pytest.raises(MetricError, match="diverged"):
        score(FAKE, TEST, replace(SMALL, lr=1e30, epochs=1))


@pytest.mark.parametrize(
    ("train", "test", "what"),
    [
        ((FAKE[0].astype(float), FAKE[1]), TEST, "training images: float64"),
        ((torch.zeros(240, 10, 10, 3, dtype=torch.uint8), FAKE[1]), TEST, "training images: torch.uint8"),
        ((FAKE[0][..., :2], FAKE[1]), TEST, "training images: shape"),
        ((FAKE[0][:0], FAKE[1][:0]), TEST, "training images: shape"),
        (FAKE, (TEST[0][:, :, :, 0], TEST[1]), "test images: shape"),
        ((FAKE[0], FAKE[1][:-1]), TEST, "training labels: shape"),
        ((FAKE[0], FAKE[1] * 1.0), TEST, "training labels: dtype"),
        ((FAKE[0], np.eye(3, dtype=int)[FAKE[1]]), TEST, "training labels: shape"),
        ((FAKE[0], FAKE[1] + 1), TEST, "training labels: 1 to 3"),
        ((FAKE[0], FAKE[1] - 1), TEST, "training labels: -1 to 1"),
        (FAKE, (TEST[0], TEST[1] + 1), "test labels: 1 to 3"),
        ((FAKE[0], FAKE[1] * 0), TEST, "training labels: all are 0"),
        ((FAKE[0][:1], FAKE[1][:1]), TEST, "training labels: all are 0"),
        (FAKE, (TEST[0], TEST[1] * 0), "test labels: all are 0"),
        (FAKE, (TEST[0][:, :9], TEST[1]), "training images .10, 10, 3., test images .9, 10, 3."),
        ((FAKE[0][:, :7], FAKE[1]), (TEST[0][:, :7], TEST[1]), "sides of 8 px"),
    ],
)
def test_what_is_refused(train: Any, test: Any, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        score(train, test)


def test_a_control_with_another_budget_is_refused() -> None:
    with pytest.raises(MetricError, match="240 generated and 120 real"):
        cas_with_control(*FAKE, *TEST, *TEST, SMALL, "cpu", 3)


def test_a_control_that_learns_nothing_has_no_ratio() -> None:
    renamed = TEST[0], (TEST[1] + 1) % 3
    with pytest.raises(MetricError, match="every test image wrong"):
        cas_with_control(*FAKE, *FAKE, *renamed, SMALL, "cpu", 3)


@pytest.mark.parametrize("bad", [{"depth": 18}, {"epochs": 0}, {"lr": "0.1"}, {"momentum": 1.0}, {"nesterov": True}])
def test_the_configuration_is_strict(bad: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, TypeError)):
        CASConfig(**bad)


def test_the_configuration_is_read_from_plain_values() -> None:
    cfg = build(CASConfig, {"epochs": 2, "decay_at": [0.8]})
    assert (cfg.depth, cfg.epochs, cfg.decay_at, cfg.n_seeds) == (20, 2, (0.8,), 3)


# ---- ImageNet's classifier -------------------------------------------------------------------------------------------


def test_the_resnet50_is_the_published_one() -> None:
    """25,557,032 parameters for 1,000 classes (torchvision's count), 2,049 of each class; grey is repeated."""
    torch.manual_seed(0)
    net = ResNet50(1, 3).eval()
    assert sum(p.numel() for p in net.parameters()) + 997 * 2049 == 25_557_032
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(x), net.net(x.repeat(1, 3, 1, 1)))


def test_a_resnet50_is_trained_on_images_of_32_pixels_and_refuses_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is that of the small classifier, which learns in the tests above; here every layer moves, once."""
    images, labels = np.random.default_rng(0).integers(256, size=(6, 32, 32, 3), dtype=np.uint8), np.arange(6) % 3
    cfg = CASConfig(net="resnet50", epochs=1, batch=6, n_seeds=1, flip=False, shift=0, lr=1e-4)
    moved: list[bool] = []
    inner = benchmark.metrics.cas._fit

    def watched(net: nn.Module, *arguments: Any) -> None:
        assert isinstance(net, ResNet50)
        before = [p.detach().clone() for p in net.parameters()]
        inner(net, *arguments)
        moved.extend(not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))

    monkeypatch.setattr(benchmark.metrics.cas, "_fit", watched)
    found = score((images, labels), (images, labels), cfg)
    assert len(moved) == 161
    assert all(moved)
    assert (found.n_train, found.n_test) == (6, 6)
    with pytest.raises(MetricError, match="sides of 32 px"):
        score((images[:, :16, :16], labels), (images[:, :16, :16], labels), cfg)
