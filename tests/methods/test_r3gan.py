"""R3GAN: what each update is given, what is annealed, what its ablation leaves out, and that the label steers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.losses import r1, relativistic
from benchmark.runs.dry_run import step_flops
from benchmark.training.checkpoints import load_checkpoint
from benchmark.training.loop import stream_for, train
from benchmark.training.method import construct
from benchmark.training.progress import LOG
from methods.r3gan import R3GAN, RECIPES, Config, annealed

CPU = torch.device("cpu")
TINY = replace(RECIPES["small"]["digits"], batch=8, steps=20, width=8, base=128, group_width=8, z_dim=4)


def tiny(dataset: str = "digits") -> Dataset:
    return Dataset.tiny(find_card(dataset))


def built(data: Dataset | None = None, cls: type[R3GAN] = R3GAN, **settings: Any) -> R3GAN:
    return construct(cls, replace(TINY, **settings), data or tiny(), CPU, 0)


def stepped(method: R3GAN, data: Dataset, n: int) -> dict[str, Tensor]:
    stream = stream_for(method, data, seed=1)
    losses: dict[str, Tensor] = {}
    for t in range(n):
        seed_step(1, t)
        losses = method.step(stream, t)
    return {name: value.detach() for name, value in losses.items()}


# ---- one step -------------------------------------------------------------------------------------------------------


def test_a_step_is_one_update_of_each_network_on_images_of_its_own() -> None:
    data = tiny()
    method = built(data)
    seen: list[tuple[int, bool]] = []
    order: list[Any] = []
    update = method.update
    method.D.register_forward_pre_hook(lambda _module, args: seen.append((len(args[0]), args[0].requires_grad)))
    method.update = lambda loss, opt: (order.append(opt), update(loss, opt))  # type: ignore[method-assign]
    stream = stream_for(method, data, seed=1)
    losses = method.step(stream, 0)
    assert order == [method.opt_D, method.opt_G]
    assert stream.position == 2 * method.cfg.batch
    assert seen == [(8, True), (8, True), (8, False), (8, True)]  # D: real, generated; G: real, generated
    assert set(losses) == {"D", "R1", "R2", "G"}


def first_losses(**settings: Any) -> tuple[list[float], dict[str, Tensor]]:
    """What the first updates of D and of G descend, and the scalars that the step logs."""
    data = tiny()
    method, losses = built(data, **settings), []
    method.update = lambda loss, opt: losses.append(loss.item())  # type: ignore[method-assign]
    return losses, stepped(method, data, 1)


@pytest.mark.parametrize(
    ("settings", "penalties"), [({}, ("R1", "R2")), ({"r2": False}, ("R1",)), ({"r1": False}, ("R2",))]
)
def test_both_penalties_are_in_every_update_of_D(settings: dict[str, Any], penalties: tuple[str, ...]) -> None:
    """Without lazy regularisation: gamma / 2 of each, with 6 for gamma."""
    (loss_D, loss_G), logged = first_losses(gamma=(6.0, 6.0), **settings)
    assert set(logged) == {"D", "G", *penalties}
    assert all(float(logged[name]) > 0 for name in penalties)
    assert loss_D == pytest.approx(float(logged["D"] + 3 * sum(logged[name] for name in penalties)), rel=1e-5)
    assert loss_G == pytest.approx(float(logged["G"]), rel=1e-6)
    assert "R1" in stepped(built(gamma=(1.0, 1.0)), tiny(), 4)  # at step 3 as at step 0


def test_the_losses_pair_a_real_image_with_a_generated_one_of_its_class() -> None:
    data = tiny()
    method = built(data)
    batch = next(stream_for(method, data, seed=1))
    assert batch.labels is not None
    pairs: list[tuple[Tensor, ...]] = []
    method.D.register_forward_pre_hook(lambda _module, args: pairs.append(tuple(a.detach() for a in args)))
    method.update = lambda loss, opt: None  # type: ignore[method-assign]
    losses = stepped(method, data, 1)
    (x, y), (x_fake, y_fake), (_, y_2), (_, y_fake_2) = pairs
    assert torch.equal(x, batch.images)
    assert torch.equal(y, batch.labels)
    assert torch.equal(y_fake, y)
    assert torch.equal(y_fake_2, y_2)
    assert not torch.equal(y_2, y), "G has a batch of its own"
    d_real, d_fake = method.D(x, y), method.D(x_fake, y)
    assert losses["D"].item() == pytest.approx(relativistic(d_real, d_fake).item(), rel=1e-5)
    assert losses["R1"].item() == pytest.approx(r1(lambda x: method.D(x, y), x).item(), rel=1e-4)
    assert losses["R2"].item() == pytest.approx(r1(lambda x: method.D(x, y), x_fake).item(), rel=1e-4)


def test_the_plain_gan_of_the_ablation_does_not_pair() -> None:
    method = built(loss="non_saturating")
    d_real, d_fake = torch.randn(5), torch.randn(5)
    assert torch.allclose(method.loss_D(d_real, d_fake), method.loss_D(d_real, d_fake.flip(0)))
    assert torch.equal(method.loss_G(d_real, d_fake), method.loss_G(d_real + 1, d_fake))
    paired = built()
    assert not torch.allclose(paired.loss_D(d_real, d_fake), paired.loss_D(d_real, d_fake.flip(0)))
    assert torch.equal(paired.loss_G(d_real, d_fake), paired.loss_D(d_fake, d_real))


def test_what_D_sees_is_augmented_and_penalties_are_of_the_plain_images() -> None:
    data = tiny()
    method = built(data, augment=(1.0, 1.0))
    x = next(stream_for(method, data, seed=1)).images
    seen: list[Tensor] = []
    method.D.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach()))
    losses = stepped(method, data, 2)
    assert len(seen) == 8
    assert not torch.equal(seen[0], x)
    assert bool(torch.isfinite(losses["R1"]))
    assert float(losses["R1"]) > 0


def test_images_that_the_generator_is_compared_with_are_not_counted_as_seen_by_D(tmp_path: Path) -> None:
    """A step draws n_dis + 1 batches, and D learns from n_dis of them, as budgets count."""
    method = built(n_dis=2, steps=3, log_every=1)
    outcome = train(method, tiny(), tmp_path, seed=0, label="r3gan", quiet=True)
    assert outcome.images == 3 * 2 * method.cfg.batch
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["images"] for line in lines] == [n * 2 * method.cfg.batch for n in (1, 2, 3)]
    saved = load_checkpoint(tmp_path, CPU)
    assert saved is not None
    assert saved["position"] == 3 * 3 * method.cfg.batch, "images that were drawn"


def test_a_dry_run_counts_the_augmentation() -> None:
    """It is absent from the first step alone, and the plan takes one in the middle."""
    data, steps = tiny(), 1000
    with_it, without = (step_flops(built(data, steps=steps, augment=(0.0, last)), data) for last in (0.55, 0.0))
    assert with_it > without


# ---- what is annealed -----------------------------------------------------------------------------------------------


def test_half_a_cosine() -> None:
    assert annealed(2.0, 0.2, 0.0) == 2.0
    assert annealed(2.0, 0.2, 0.5) == pytest.approx(1.1)
    assert annealed(2.0, 0.2, 1 / 3) == pytest.approx(0.2 + 1.8 * 0.75)
    assert annealed(2.0, 0.2, 1.0) == annealed(2.0, 0.2, 7.0) == 0.2


@pytest.mark.parametrize(
    ("images", "lr", "beta2", "gamma", "p", "half_life"),
    [  # [C] at the start, the middle and the end of CIFAR-10's 20 million images, and after
        (0, 2e-4, 0.9, 0.05, 0.0, 0.0),
        (10_000_384, 1.25e-4, 0.945, 0.0275, 0.275, 2_500_000),
        (20_000_256, 5e-5, 0.99, 0.005, 0.55, 5_000_000),
        (200_000_000, 5e-5, 0.99, 0.005, 0.55, 5_000_000),
    ],
)
def test_published_schedules(images: int, lr: float, beta2: float, gamma: float, p: float, half_life: float) -> None:
    cfg = RECIPES["paper"]["cifar10"]
    small = replace(cfg, width=8, base=256, group_width=8)
    method, t = construct(R3GAN, small, tiny("cifar10"), CPU, 0), images // cfg.batch
    now = method.progress(t)
    assert cfg.lr_G * method.lr_factor(t) == pytest.approx(lr, rel=1e-3)
    assert cfg.lr_D * method.lr_factor(t) == pytest.approx(lr, rel=1e-3)
    assert annealed(cfg.betas[1], cfg.beta2_end, now) == pytest.approx(beta2, rel=1e-4)
    assert annealed(*cfg.gamma, now) == pytest.approx(gamma, rel=1e-3)
    assert annealed(*cfg.augment, now) == pytest.approx(p, rel=1e-3, abs=1e-9)
    assert cfg.ema_half_life_images * method.ema_factor(t) == pytest.approx(half_life, rel=1e-3, abs=1e-6)


def test_both_optimisers_have_the_beta2_of_the_step() -> None:
    data = tiny()
    method = built(data, anneal_images=3 * 8)
    stepped(method, data, 1)
    assert [o.param_groups[0]["betas"] for o in (method.opt_G, method.opt_D)] == [(0.0, pytest.approx(0.9))] * 2
    stepped(method, data, 4)
    assert [o.param_groups[0]["betas"] for o in (method.opt_G, method.opt_D)] == [(0.0, pytest.approx(0.99))] * 2


def test_published_settings() -> None:
    rows = RECIPES["paper"]
    assert {name: cfg.batch for name, cfg in rows.items()} == {
        "cifar10": 512, "cifar10_jpeg": 512, "imagenet64": 4096, "stacked_mnist": 512
    }  # fmt: skip
    assert rows["cifar10"].steps * 512 == pytest.approx(250e6, rel=1e-5)
    assert rows["imagenet64"].steps * 4096 == pytest.approx(1e9, rel=1e-5)
    # The paper's own example: the average on CIFAR-10 keeps 0.9999 of itself a step, rounded.
    assert 0.5 ** (512 / rows["cifar10"].ema_half_life_images) == pytest.approx(0.9999, abs=5e-5)
    assert (rows["imagenet64"].gamma, rows["imagenet64"].augment) == ((1.0, 0.1), (0.0, 0.4))


# ---- conditions -----------------------------------------------------------------------------------------------------


def test_what_it_is_conditioned_on() -> None:
    digits = built(tiny("digits"))
    assert (digits.conditioning, digits.n_labels, digits.default_conditions) == ("class", 10, "uniform classes")
    for dataset, changes in (("shapes", {}), ("digits", {"conditional": False})):
        method = built(tiny(dataset), **changes)
        assert (method.conditioning, method.n_labels, method.default_conditions) == ("none", 0, "nothing")
        assert method.G.embed is None
        assert method.D.embed is None


def two_shades() -> Dataset:
    """Class 0: black images. Class 1: white ones."""
    data = tiny()
    data.class_names = ("black", "white")
    for split in (data.train, data.test):
        split.labels = np.arange(len(split)) % 2
        split.images = np.broadcast_to(split.labels[:, None, None, None] * 255, split.images.shape).astype(np.uint8)
    return data


def steering(cls: type[R3GAN] = R3GAN) -> float:
    """Brightness of class 1 less that of class 0 after 60 steps: 2 for perfect control, 0 for none."""
    data = two_shades()
    method = built(data, cls, batch=16, lr_G=4e-3, lr_D=4e-3, anneal_images=10**6, gamma=(0.1, 0.1))
    stepped(method, data, 60)
    torch.manual_seed(0)
    y = torch.arange(40) % 2
    brightness = method.sample(method.G.eval(), 40, y).images.mean((1, 2, 3))
    return float(brightness[y == 1].mean() - brightness[y == 0].mean())


def test_the_label_steers_the_image() -> None:
    assert steering() > 1


def test_a_discriminator_given_any_label_steers_nothing() -> None:
    """The check above can fail: real images come with labels that say nothing of them."""

    class Blind(R3GAN):
        def labelled(self, batch: Any) -> tuple[Tensor, Tensor | None]:
            return batch.images, torch.randint(self.n_labels, (len(batch.images),))

    assert abs(steering(Blind)) < 0.7


def test_defaults_are_those_of_cifar10() -> None:
    cfg = RECIPES["paper"]["cifar10"]
    assert cfg == Config(
        steps=cfg.steps, batch=512, flip=True, log_every=cfg.log_every, checkpoint_every=cfg.checkpoint_every
    )
