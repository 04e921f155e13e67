"""Steerability: transforms and measures by hand, toy generators whose direction is known; changes are caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmark.metrics.steerability as module
import benchmark.metrics.steering_directions as directions
from benchmark.metrics.checks import MetricError
from benchmark.metrics.steerability import (
    MEASURES,
    area,
    barycentre_x,
    barycentre_y,
    luminance,
    steer,
    transformed,
)
from benchmark.metrics.steering_directions import SteerSettings, learn_direction

D, SIDE = 16, 24
QUICK = SteerSettings(n_trajectories=24, iterations=25, lr=0.05, n_targets=3, largest=0.3)
AXIS = torch.eye(D)[3]
OBLIQUE = nn.functional.normalize(torch.randn(D, generator=torch.Generator().manual_seed(3)), dim=0)
PLACE = (torch.arange(SIDE) + 0.5) / SIDE


def blob(x: Tensor | float, y: Tensor | float, radius: Tensor | float = 0.12) -> Tensor:
    """Bright spots on a dark ground, [N, 1, S, S]."""
    x, y, radius = (torch.as_tensor(v).reshape(-1, 1, 1) for v in (x, y, radius))
    squares = (PLACE[None, None, :] - x) ** 2 + (PLACE[None, :, None] - y) ** 2
    return (1.6 * torch.exp(-squares / (2 * radius**2)) - 0.8)[:, None]


def moving_x(a: Tensor) -> Any:
    return lambda z: blob(0.5 + 0.12 * (z @ a), 0.5 * torch.ones(len(z)))


def moving_y(a: Tensor) -> Any:
    return lambda z: blob(0.5 * torch.ones(len(z)), 0.5 + 0.12 * (z @ a))


def growing(a: Tensor) -> Any:
    return lambda z: blob(0.5, 0.5, 0.12 * torch.exp(0.25 * (z @ a)))


def lightening(a: Tensor) -> Any:
    return lambda z: (0.15 * (z @ a)).reshape(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE)


TOYS = {"shift_x": moving_x, "shift_y": moving_y, "zoom": growing, "brightness": lightening}


def check_toy(transform: Any, a: Tensor = AXIS, settings: SteerSettings = QUICK) -> None:
    generate = TOYS[transform](a)
    found = learn_direction(generate, transform, D, settings)
    assert np.linalg.norm(found.u) == pytest.approx(1)
    assert float(found.u @ a.numpy()) >= 0.9, "direction"
    assert found.error < 0.1 * found.error_at_start
    assert found.r2 > 0.9
    assert (found.n, found.n_dropped) == (130, 14)
    walked = steer(generate, found.u, MEASURES[transform], np.linspace(-2.5, 2.5, 11).tolist(), n=40)
    assert walked.spearman >= 0.95, "rank correlation"
    assert walked.spearman_within >= 0.95
    assert (np.diff(walked.mean) >= 0).all()


@pytest.mark.parametrize("transform", list(TOYS))
def test_the_axis_of_a_toy_generator_is_found(transform: str) -> None:
    check_toy(transform)


@pytest.mark.parametrize("transform", ["shift_x", "brightness"])
def test_an_oblique_direction_is_found_with_an_increasing_map(transform: str) -> None:
    check_toy(transform, OBLIQUE, replace(QUICK, map="increasing"))


def test_a_falling_generator_has_the_opposite_direction() -> None:
    found = learn_direction(moving_x(-AXIS), "shift_x", D, QUICK)
    assert found.u @ AXIS.numpy() <= -0.9


def test_a_transform_that_the_generator_cannot_do_shows_in_the_error() -> None:
    able = learn_direction(moving_x(AXIS), "shift_x", D, QUICK)
    unable = learn_direction(moving_x(AXIS), "shift_y", D, QUICK)
    assert able.error < 0.02 * able.error_at_start
    assert unable.error > 0.3 * unable.error_at_start


def test_a_generator_that_ignores_its_latents_has_no_direction() -> None:
    picture = blob(0.5, 0.5)
    for generate in (
        lambda z: picture.expand(len(z), -1, -1, -1),
        lambda z: picture + 0 * z.sum(1)[:, None, None, None],
        lambda z: moving_x(AXIS)(z).detach(),
    ):
        with pytest.raises(MetricError, match="do not depend on the latents"):
            learn_direction(generate, "shift_x", D, QUICK)
    with pytest.raises(MetricError, match="same in all images"):
        steer(lambda z: picture.expand(len(z), -1, -1, -1), AXIS, barycentre_x)
    noise = steer(lambda z: blob(torch.rand(len(z)), 0.5 * torch.ones(len(z))), AXIS, barycentre_x)
    assert abs(noise.spearman) < 0.12  # four standard errors of 1,100 images


def test_wrong_directions_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    ridge, moved = directions._ridge_direction, directions.transformed
    mutants: dict[str, Any] = {
        "_ridge_direction": lambda points, weight: -ridge(points, weight),  # z_0 - z_t
        "transformed": lambda x, name, t: moved(x, {"shift_x": "shift_y", "shift_y": "shift_x"}[name], t),
        "_clipped": lambda z: 0 * z + 1e-3,  # latents that cannot move
    }
    for name, mutant in mutants.items():
        with monkeypatch.context() as patch:
            patch.setattr(directions, name, mutant)
            with pytest.raises((AssertionError, MetricError)):
                check_toy("shift_x")
    with monkeypatch.context() as patch:
        patch.setitem(module.MEASURES, "shift_x", barycentre_y)
        with pytest.raises((AssertionError, MetricError)):
            check_toy("shift_x")


def test_the_worst_latents_are_dropped() -> None:
    rng = np.random.default_rng(0)
    z0, error = rng.normal(size=(40, 3)), rng.permutation(40).astype(float)
    points = directions._Points(z0, z0 + 1, np.arange(40.0), error, error)
    kept = points.keep_best(0.1)
    assert sorted(kept.error) == list(range(36))
    assert (kept.t == np.arange(40.0)[error < 36]).all()
    assert points.keep_best(0.0).t.tolist() == list(range(40))


def test_the_ridge_by_its_normal_equations() -> None:
    rng = np.random.default_rng(0)
    difference, t = rng.normal(size=(50, 4)), rng.normal(size=50)
    z0 = rng.normal(size=(50, 4))
    u = directions._ridge_direction(directions._Points(z0, z0 + difference, t, t, t), 0.1)
    assert u == pytest.approx(np.linalg.solve(difference.T @ difference / 50 + 0.1 * np.eye(4), difference.T @ t / 50))


def test_the_map_increases_and_starts_as_a_line() -> None:
    g = directions._Increasing(11, 0.3)
    s = torch.linspace(-9, 9, 50, dtype=torch.float64)
    with torch.no_grad():
        assert (g(s) - g(torch.zeros(1).double())).numpy() == pytest.approx(0.3 * s.numpy())
        g.raw.copy_(torch.randn(10, generator=torch.Generator().manual_seed(0)))
        assert (g(s).diff() > 0).all()


def test_it_is_a_function_of_the_seed_leaves_the_global_state_and_no_gradients() -> None:
    layer = nn.Linear(D, SIDE * SIDE)
    settings = replace(QUICK, n_trajectories=4, iterations=2, n_targets=2, map="increasing", epochs=2)

    def generate(z: Tensor) -> Tensor:
        return layer(z).reshape(-1, 1, SIDE, SIDE).tanh() + 0.01 * torch.randn(1)

    torch.manual_seed(1)
    state = torch.get_rng_state()
    with torch.no_grad():  # a caller's switch must not hide the gradients
        first, second, third = (learn_direction(generate, "zoom", D, settings, seed=s) for s in (0, 0, 1))
    walks = [steer(generate, first.u, luminance, n=5, seed=s, batch=2).mean for s in (0, 0, 1)]
    assert (first.u == second.u).all()
    assert (first.u != third.u).any()
    assert (walks[0] == walks[1]).all()
    assert (walks[0] != walks[2]).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in layer.parameters())


# ---- walking ---------------------------------------------------------------------------------------------------------


def walk_a_line() -> None:
    """The image's level is <z, a> itself: on every step it is alpha, for every latent."""
    found = steer(lambda z: (z @ OBLIQUE).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8), 7 * OBLIQUE, luminance, n=30)
    assert found.mean == pytest.approx(np.arange(-5, 6), abs=1e-5), "level"
    assert found.spread == pytest.approx(0, abs=1e-5), "the start is left behind"
    assert found.spearman > 0.99  # equal levels come in an order that rounding draws
    assert (found.n, found.n_without_value, found.drift) == (30, 0, None)


def test_every_latent_is_moved_to_alpha() -> None:
    walk_a_line()


def test_a_wrong_step_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = module._checked_direction
    monkeypatch.setattr(module, "_checked_direction", lambda u: 0.7 * checked(u))  # not of unit length
    with pytest.raises(AssertionError, match="level"):
        walk_a_line()


def test_what_else_varies_is_spread_and_lowers_the_correlation_over_all_images_only() -> None:
    other = torch.eye(D)[7]

    def generate(z: Tensor) -> Tensor:
        return (z @ AXIS + 3 * z @ other).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    found = steer(generate, AXIS.numpy(), luminance, n=200)
    assert found.spread == pytest.approx(3, rel=0.2)
    assert found.spearman_within == pytest.approx(1)
    assert 0.5 < found.spearman < 0.85
    backward = steer(generate, -AXIS, luminance, n=200)
    assert backward.spearman == pytest.approx(-found.spearman, abs=1e-6)


def test_drift_is_the_distance_to_the_image_that_was_not_moved() -> None:
    def level(z: Tensor) -> Tensor:
        return (z @ AXIS).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    def squared(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3))

    found = steer(level, AXIS, luminance, n=800, distance=squared)
    assert found.drift is not None
    assert found.drift == pytest.approx(np.arange(-5, 6.0) ** 2 + 1, rel=0.2)  # E (z - alpha)^2


def test_images_without_an_object_are_left_out_and_counted() -> None:
    def generate(z: Tensor) -> Tensor:
        images = moving_x(AXIS)(z)
        return torch.where((z @ AXIS > 4.5)[:, None, None, None], torch.zeros(()), images)

    found = steer(generate, AXIS, barycentre_x, [-2.0, 0.0, 2.0, 5.0], n=20)
    assert found.n_without_value == 20
    assert np.isnan(found.mean[3])
    assert found.mean[:3] == pytest.approx([0.26, 0.5, 0.74], abs=0.02)
    assert found.spearman > 0.9
    with pytest.raises(MetricError, match="have no value"):
        steer(generate, AXIS, barycentre_x, [0.0, 5.0, 6.0, 7.0], n=20)


# ---- transforms and measures -----------------------------------------------------------------------------------------


def test_transforms_by_hand() -> None:
    image = torch.arange(64.0).reshape(1, 1, 8, 8) / 64
    right, mask = transformed(image, "shift_x", 0.25)
    assert torch.allclose(right[..., 2:], image[..., :-2], atol=1e-6)
    assert mask[0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    up, mask = transformed(image, "shift_y", -0.25)
    assert torch.allclose(up[..., :-2, :], image[..., 2:, :], atol=1e-6)
    assert mask[0, 0, :, 0].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    bright, mask = transformed(image, "brightness", 0.5)
    assert torch.equal(bright, (image + 0.5).clamp(max=1))
    assert mask.all()
    for transform in MEASURES:
        same, mask = transformed(image, transform, 0.0)  # type: ignore[arg-type]
        assert torch.allclose(same, image, atol=1e-6)
        assert mask.all()
    _, mask = transformed(image, "zoom", -0.5)
    assert mask[0, 0].sum() == 16  # the middle half of each side


@pytest.mark.parametrize("t", [-0.3, 0.2])
def test_each_transform_moves_its_measure(t: float) -> None:
    images = blob(0.5, 0.5, 0.1).expand(2, 3, -1, -1)
    assert barycentre_x(transformed(images, "shift_x", t)[0]) == pytest.approx(0.5 + t, abs=0.02)
    assert barycentre_y(transformed(images, "shift_y", t)[0]) == pytest.approx(0.5 + t, abs=0.02)
    assert area(transformed(images, "zoom", t)[0]) == pytest.approx((1 + t) ** 2 * area(images), rel=0.25)
    dim = 0.2 * images
    assert luminance(transformed(dim, "brightness", t)[0]) == pytest.approx(luminance(dim) + t, abs=1e-6)


def test_measures_by_hand() -> None:
    image = torch.full((1, 1, 10, 10), -0.5)
    image[0, 0, 2:4, 5:9] = 0.5  # 8 of 100 pixels
    for picture in (image, -image, image.expand(-1, 3, -1, -1)):  # bright on dark, dark on bright, colour
        assert area(picture) == pytest.approx(0.08)
        assert barycentre_x(picture) == pytest.approx(0.7)
        assert barycentre_y(picture) == pytest.approx(0.3)
    assert luminance(image) == pytest.approx(-0.5 + 0.08)
    colour = torch.zeros(1, 3, 4, 4)
    colour[:, 1] = 1
    assert luminance(colour) == pytest.approx(0.587)


def test_images_without_contrast_or_with_a_tiny_object_have_no_barycentre() -> None:
    image = torch.zeros(3, 1, 10, 10)
    image[1, 0, 5, 5] = 1  # 1 % of the image
    image[2, 0, 4:6, 4:6] = 0.09  # below the contrast of an object
    assert area(image) == pytest.approx([np.nan, 0.01, np.nan], nan_ok=True)
    assert np.isnan(barycentre_x(image)).all()


def test_nothing_outside_of_the_mask_counts_as_an_error() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 1, 16, 16, generator=generator) for _ in range(2))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    changed = torch.where(mask.bool(), b, 100.0)
    assert torch.equal(directions._errors(a, b, mask, 3.0), directions._errors(a, changed, mask, 3.0))
    expected = ((a - b) ** 2)[..., :8].mean((1, 2, 3))
    assert directions._errors(a, b, mask, 0.0).numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_the_blur_is_scipys() -> None:
    from scipy.ndimage import gaussian_filter

    image = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    image[0, 0, 14, 16] = 1
    expected = gaussian_filter(image[0, 0].numpy(), 2.0, truncate=6)
    assert directions._blurred(image, 2.0)[0, 0].numpy() == pytest.approx(expected, abs=1e-6)
    flat = torch.ones(1, 1, 9, 12)
    assert torch.allclose(directions._blurred(flat, 3.0), flat)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", list(MEASURES.values()))
@pytest.mark.parametrize(
    ("images", "what"),
    [
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(2, 8, 8), "N, C, H, W"),
        (torch.zeros(2, 2, 8, 8), "C = 1 or 3"),
        (torch.zeros(0, 1, 8, 8), "N, C, H, W"),
        (torch.zeros(2, 1, 2, 8), "4 px"),
        (torch.full((2, 1, 8, 8), torch.nan), "NaN"),
        (np.zeros((2, 1, 8, 8)), "ndarray"),
    ],
)
def test_what_the_measures_refuse(measure: Any, images: Any, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        measure(images)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"transform": "rotate"}, "known: shift_x"),
        ({"z_dim": 0}, "z_dim"),
        ({"settings": replace(QUICK, iterations=0)}, "out of range"),
        ({"settings": replace(QUICK, largest=1.0)}, "out of range"),
        ({"settings": replace(QUICK, drop=1.0)}, "out of range"),
        ({"settings": replace(QUICK, n_trajectories=1)}, "out of range"),
        ({"settings": replace(QUICK, lr=0.0)}, "out of range"),
        ({"settings": replace(QUICK, map="falling")}, "out of range"),
        ({"generate": lambda z: z}, "N, C, H, W|C = 1 or 3"),
        ({"generate": lambda z: moving_x(AXIS)(z)[1:]}, "C = 1 or 3"),
        ({"generate": lambda z: moving_x(AXIS)(z) * torch.nan}, "NaN"),
        ({"generate": lambda z: (moving_x(AXIS)(z) * 255).to(torch.uint8)}, "uint8"),
        (
            {"generate": lambda z: (z @ AXIS - z.detach() @ AXIS).sqrt().reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)},
            "gradient",
        ),
    ],
)
def test_what_learn_direction_refuses(arguments: dict[str, Any], what: str) -> None:
    usual: dict[str, Any] = {"generate": moving_x(AXIS), "transform": "shift_x", "z_dim": D, "settings": QUICK}
    with pytest.raises(MetricError, match=what):
        learn_direction(**(usual | arguments))


def test_a_zoom_to_nothing_is_refused() -> None:
    with pytest.raises(MetricError, match="t > -1"):
        transformed(blob(0.5, 0.5), "zoom", -1.0)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"u": torch.zeros(D)}, "length 0"),
        ({"u": AXIS * torch.nan}, "length nan"),
        ({"u": AXIS.long()}, "int64"),
        ({"u": AXIS[None]}, r"floats \[d\]"),
        ({"alphas": (0.0, 1.0)}, "three or more"),
        ({"alphas": (0.0, 2.0, 1.0)}, "increasing"),
        ({"alphas": (0.0, 1.0, float("inf"))}, "finite"),
        ({"n": 1}, "n = 1"),
        ({"batch": 0}, "batch = 0"),
        ({"measure": lambda x: luminance(x)[1:]}, "measure: shape"),
        ({"generate": lambda z: moving_x(AXIS)(z) * torch.nan}, "NaN"),
        ({"generate": lambda z: z}, "N, C, H, W|C = 1 or 3"),
    ],
)
def test_what_steer_refuses(arguments: dict[str, Any], what: str) -> None:
    usual: dict[str, Any] = {"generate": moving_x(AXIS), "u": AXIS, "measure": barycentre_x}
    with pytest.raises(MetricError, match=what):
        steer(**(usual | arguments))
