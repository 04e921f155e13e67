"""Path length: closed forms for linear generators, slerp, trimming, torch-fidelity's value; changes are caught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from torch import Tensor, nn
from torch_fidelity.sample_similarity_base import SampleSimilarityBase

import benchmark.metrics.ppl
from benchmark.metrics.checks import MetricError
from benchmark.metrics.ppl import path_length, slerp

D, SIDE = 6, 4
MATRIX = torch.randn(D, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def linear(w: Tensor) -> Tensor:
    return (w @ MATRIX.to(w.dtype)).reshape(-1, 3, SIDE, SIDE)


def squared(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).sum((1, 2, 3))


def same(z: Tensor) -> Tensor:
    return z


def draw(n: int) -> Tensor:
    return torch.randn(n, D, dtype=torch.float64)


class Recorded:
    """Draws latents and remembers them."""

    def __init__(self) -> None:
        self.pairs: list[Tensor] = []

    def __call__(self, n: int) -> Tensor:
        self.pairs.append(draw(n))
        return self.pairs[-1]

    def ends(self) -> tuple[Tensor, Tensor]:
        return torch.cat(self.pairs[0::2]), torch.cat(self.pairs[1::2])


def check_linear(sampling: Any = "full") -> None:
    recorded = Recorded()
    found = path_length(linear, recorded, squared, 300, "w", same, sampling, trim=None, batch=64)
    w0, w1 = recorded.ends()
    expected = squared(linear(w1), linear(w0))
    assert found.raw == pytest.approx(expected.numpy(), rel=1e-7), "closed form"
    assert found.mean == pytest.approx(float(expected.mean()), rel=1e-7)
    assert found.sd == pytest.approx(float(expected.std()), rel=1e-7)
    assert found.n == 300


def check_circle() -> None:
    """The identity on unit vectors: an arc's speed is its angle, everywhere on it."""
    recorded = Recorded()

    def unit(n: int) -> Tensor:
        recorded.pairs.append(nn.functional.normalize(draw(n)))
        return recorded.pairs[-1]

    found = path_length(lambda z: z[:, :, None, None], unit, squared, 200, trim=None)
    a, b = recorded.ends()
    angle = torch.arccos((a * b).sum(1))
    assert found.raw == pytest.approx((angle**2).numpy(), rel=1e-5), "arc"


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_a_linear_generator_has_the_length_of_its_chord_at_every_t(sampling: str) -> None:
    check_linear(sampling)


def test_the_expected_length_of_a_linear_generator() -> None:
    """E|(w1 - w0) M|^2 = 2 |M|^2 for standard normal w."""
    found = path_length(linear, draw, squared, 4000, "w", same, trim=None)
    assert found.mean == pytest.approx(2 * float((MATRIX**2).sum()), abs=4 * found.sd / 4000**0.5)


def test_on_the_sphere_it_is_the_squared_angle() -> None:
    check_circle()


def test_single_precision_is_enough_for_the_step() -> None:
    def draw32(n: int) -> Tensor:
        return draw(n).float()

    exact = path_length(linear, draw, squared, 200, trim=None)
    single = path_length(linear, draw32, squared, 200, trim=None)
    assert single.raw == pytest.approx(exact.raw, rel=0.02)
    assert single.mean == pytest.approx(exact.mean, rel=1e-3)


def test_full_and_end_differ_where_speed_does() -> None:
    """Squares of latents: along a line the speed depends on the place."""

    def bent(w: Tensor) -> Tensor:
        return linear(w**2)

    full, end = (path_length(bent, draw, squared, 2000, "w", same, s, trim=None) for s in ("full", "end"))
    assert abs(full.mean - end.mean) > 5 * end.sd / 2000**0.5


def test_it_agrees_with_torch_fidelity() -> None:
    """Its own trimming fails on current numpy, so that both keep all pairs."""

    class Squared(SampleSimilarityBase):
        def __init__(self, name: str, **_: Any) -> None:
            super().__init__(name)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return squared(a, b)

    class Bent(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return linear(z**2 + z)

    torch_fidelity.register_sample_similarity("test-squared", Squared)
    n = 200
    theirs = torch_fidelity.calculate_metrics(
        input1=torch_fidelity.GenerativeModelModuleWrapper(Bent(), D, "normal", 0),
        input1_model_num_samples=n,
        ppl=True,
        ppl_sample_similarity="test-squared",
        ppl_discard_percentile_lower=None,
        ppl_discard_percentile_higher=None,
        ppl_z_interp_mode="lerp",
        ppl_sample_similarity_dtype="float32",
        ppl_reduction="none",
        batch_size=n,
        cuda=False,
        verbose=False,
        rng_seed=5,
    )
    rng = np.random.RandomState(5)
    ends = iter([torch.from_numpy(rng.standard_normal((n, D))).float() for _ in range(2)])
    ours = path_length(Bent(), lambda _: next(ends), squared, n, "w", same, "end", trim=None, batch=n)
    assert ours.raw == pytest.approx(theirs["perceptual_path_length_raw"], rel=0.05)  # float32 steps
    assert ours.mean == pytest.approx(theirs["perceptual_path_length_mean"], rel=2e-3)


# ---- rounding --------------------------------------------------------------------------------------------------------


def test_rounding_to_grey_levels_destroys_it() -> None:
    def quantised(w: Tensor) -> Tensor:
        return (linear(w) * 0.05 * 127.5).round() / 127.5

    smooth = path_length(lambda w: linear(w) * 0.05, draw, squared, 400, trim=None)
    rounded = path_length(quantised, draw, squared, 400, trim=None)
    assert rounded.mean > 50 * smooth.mean
    assert np.median(rounded.raw) == 0  # most pairs do not move at all; the others jump by a whole level


def test_integer_images_are_refused() -> None:
    def uint8(w: Tensor) -> Tensor:
        return ((linear(w) + 1) * 127.5).clamp(0, 255).to(torch.uint8)

    with pytest.raises(MetricError, match=r"uint8 images\n  why:  rounded"):
        path_length(uint8, draw, squared, 20)


# ---- slerp -----------------------------------------------------------------------------------------------------------


def test_slerp_is_exact_at_its_ends_and_keeps_to_the_circle() -> None:
    a, b = 3 * draw(50), draw(50)
    assert slerp(a, b, torch.zeros(50)).numpy() == pytest.approx(a.numpy(), rel=1e-12, abs=1e-14)
    assert slerp(a, b, torch.ones(50)).numpy() == pytest.approx(b.numpy(), rel=1e-12, abs=1e-14)
    t = torch.rand(50, dtype=torch.float64)
    c = slerp(a, b, t)
    assert c.norm(dim=1).numpy() == pytest.approx(torch.lerp(a.norm(dim=1), b.norm(dim=1), t).numpy())

    def angle(x: Tensor, y: Tensor) -> np.ndarray:
        return torch.arccos(nn.functional.cosine_similarity(x, y, dim=1)).numpy()

    assert angle(a, c) == pytest.approx(t.numpy() * angle(a, b), abs=1e-7)
    assert angle(a, c) + angle(c, b) == pytest.approx(angle(a, b), abs=1e-7), "on the shortest way"


def test_slerp_of_equal_directions_is_a_straight_line() -> None:
    a = draw(5)
    assert slerp(a, 3 * a, torch.full((5,), 0.5)).numpy() == pytest.approx(2 * a.numpy())


def test_what_slerp_refuses() -> None:
    a = draw(5)
    with pytest.raises(MetricError, match="opposite"):
        slerp(a, -a, torch.zeros(5))
    with pytest.raises(MetricError, match="zero"):
        slerp(a, 0 * a, torch.zeros(5))
    with pytest.raises(MetricError, match="great circle"):
        slerp(a[:, :1], a[:, :1], torch.zeros(5))
    with pytest.raises(MetricError, match="great circle"):
        slerp(a, a[:, :3], torch.zeros(5))


# ---- trimming --------------------------------------------------------------------------------------------------------


def check_trimming() -> None:
    """1001 pairs whose values are 0 ... 1000 in another order: percentiles 1 and 99 are 10 and 990, and are kept."""
    values = torch.randperm(1001, generator=torch.Generator().manual_seed(0)).double() * 1e-8
    chunks = iter(values.split(64))

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return next(chunks)

    found = path_length(linear, draw, distance, 1001)
    assert found.cut == pytest.approx((10, 990)), "percentiles"
    assert (found.n, found.mean) == pytest.approx((981, 500)), "percentiles"
    assert found.sd == pytest.approx(np.arange(10, 991).std(ddof=1))
    assert found.raw == pytest.approx(values.numpy() / 1e-8)


def test_the_ends_are_left_out() -> None:
    check_trimming()


def test_wrong_metrics_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    module = benchmark.metrics.ppl
    trimmed, distances, spherical = module._trimmed, module._distances, module.slerp
    with monkeypatch.context() as patch:  # the one-sided trim
        patch.setattr(module, "_trimmed", lambda raw, trim: trimmed(raw, (0, 99)))
        with pytest.raises(AssertionError, match="percentiles"):
            check_trimming()
    with monkeypatch.context() as patch:  # d / eps in place of d / eps^2
        patch.setattr(module, "_distances", lambda *a: distances(*a) * 1e-4)
        with pytest.raises(AssertionError, match="closed form"):
            check_linear()
    with monkeypatch.context() as patch:  # the chord in place of the arc
        patch.setattr(module, "slerp", lambda a, b, t: torch.lerp(a, b, t[:, None]))
        with pytest.raises(AssertionError, match="arc"):
            check_circle()
    with monkeypatch.context() as patch:  # the way back in place of the way on is as long: a flip of t is no error
        patch.setattr(module, "slerp", lambda a, b, t: spherical(b, a, t))
        check_circle()


# ---- draws -----------------------------------------------------------------------------------------------------------


def test_it_is_a_function_of_the_seed_and_leaves_the_global_state() -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    one, two = (path_length(linear, draw, squared, 100, seed=3) for _ in range(2))
    assert (one.raw == two.raw).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert (path_length(linear, draw, squared, 100, seed=4).raw != one.raw).all()


def test_a_mapping_is_applied_after_the_path_in_z_and_before_it_in_w() -> None:
    def mapping(z: Tensor) -> Tensor:
        return torch.stack([z, z**3], 1)  # [N, 2, D]: codes for each layer

    def generate(w: Tensor) -> Tensor:
        assert w.shape[1:] == (2, D)
        return linear(w.sum(1))

    recorded = Recorded()
    in_w = path_length(generate, recorded, squared, 50, "w", mapping, trim=None)
    w0, w1 = (mapping(z) for z in recorded.ends())
    assert in_w.raw == pytest.approx(squared(generate(w1), generate(w0)).numpy(), rel=1e-6)
    in_z = path_length(generate, draw, squared, 50, "z", mapping, trim=None)
    assert in_z.raw == pytest.approx(
        path_length(lambda z: linear(z + z**3), draw, squared, 50, trim=None).raw, rel=1e-9
    )


def test_large_images_are_averaged_down() -> None:
    sides = []

    def distance(a: Tensor, b: Tensor) -> Tensor:
        sides.append(a.shape[-1])
        return squared(a, b)

    def large(z: Tensor) -> Tensor:
        return z.sum(1)[:, None, None, None].expand(-1, 1, 512, 512)

    path_length(large, draw, distance, 10)
    path_length(linear, draw, distance, 10)
    assert sides == [256, SIDE]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"n_pairs": 9}, "9 pairs"),
        ({"space": "y"}, "space is z or w"),
        ({"sampling": "half"}, "sampling full or end"),
        ({"space": "w"}, "without a mapping"),
        ({"eps": 0.0}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"trim": (99, 1)}, "percentiles"),
        ({"batch": 0}, "batch"),
        ({"draw": lambda n: torch.ones(n, D)}, "same latents twice"),
        ({"draw": lambda n: torch.randint(0, 9, (n, D))}, "float latents"),
        ({"draw": lambda n: torch.randn(n)}, "float latents"),
        ({"draw": lambda n: torch.randn(n + 1, D)}, "float latents"),
        ({"draw": lambda n: torch.randn(n, 1)}, "great circle"),
        ({"draw": lambda n: np.zeros((n, D))}, "ndarray"),
        ({"generate": lambda z: z}, "images"),
        ({"generate": lambda z: linear(z)[:-1]}, "images"),
        ({"generate": lambda z: linear(z) * torch.nan}, "NaN"),
        ({"generate": lambda z: linear(z).numpy()}, "ndarray"),
        ({"distance": lambda a, b: squared(a, b).mean()}, "wrong shape"),
        ({"distance": lambda a, b: squared(a, b) * torch.inf}, "infinity"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], what: str) -> None:
    arguments: dict[str, Any] = {"generate": linear, "draw": draw, "distance": squared, "n_pairs": 20} | settings
    with pytest.raises(MetricError, match=what):
        path_length(**arguments)
