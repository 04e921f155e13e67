"""BigGAN, conditional GAN and AC-GAN: what each update does, and that the label steers the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.labels import Labels
from benchmark.data.noise import noisy_labels
from benchmark.data.prepared import Dataset
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method

CPU = torch.device("cpu")
PROJECTION = {"conditioning": "projection", "backbone": "resnet"}
SMALLEST: dict[str, dict[str, Any]] = {
    "biggan": {"ch": 1, "z_dim": 9, "class_embedding": 4},
    "cgan": {"width": 2, "z_dim": 4},
    "acgan": {"width": 4, "z_dim": 4},
}


def tiny(dataset: str = "digits") -> Dataset:
    return Dataset.tiny(find_card(dataset))


def made(name: str, data: Dataset, recipe: str = "small", cls: Any = None, **changes: Any) -> Any:
    """A method with its smallest nets; cls: a variant of it."""
    file = find_method(name)
    cfg = replace(file.recipe(recipe, "cifar10" if recipe == "paper" else data.name), **SMALLEST[name] | changes)
    return construct(cls or file.cls, cfg, data, CPU, 0)


def stepped(method: Any, data: Dataset, n: int) -> dict[str, Tensor]:
    stream = stream_for(method, data, seed=1)
    for t in range(n):
        seed_step(2, t)
        losses = method.step(stream, t)
    return losses


def two_shades() -> Dataset:
    """Class 0: black images. Class 1: white ones."""
    data = tiny()
    data.class_names = ("black", "white")
    for split in (data.train, data.test):
        split.labels = np.arange(len(split)) % 2
        split.images = np.broadcast_to(split.labels[:, None, None, None] * 255, split.images.shape).astype(np.uint8)
    return data


def steering(method: Any) -> float:
    """How much brighter images of class 1 are than those of class 0: 2 for perfect control, 0 for none."""
    torch.manual_seed(0)
    y = torch.arange(40) % 2
    brightness = method.sample(method.G.eval(), 40, y).images.mean((1, 2, 3))
    return float(brightness[y == 1].mean() - brightness[y == 0].mean())


STEERED = [("biggan", {"ch": 2}), ("cgan", {"width": 8} | PROJECTION), ("acgan", {"width": 8})]


def steered(name: str, cls: Any = None, **changes: Any) -> float:
    """Control after 60 steps on the two shades."""
    data = two_shades()
    method = made(name, data, cls=cls, batch=16, lr_G=2e-3, lr_D=2e-3, steps=1000, **changes)
    stepped(method, data, 60)
    return steering(method)


@pytest.mark.parametrize(("name", "changes"), STEERED)
def test_the_label_steers_the_image(name: str, changes: dict[str, Any]) -> None:
    assert steered(name, **changes) > 1


def test_a_discriminator_told_any_label_steers_nothing() -> None:
    """The check above can fail: D is told other labels than the images', so that they say nothing of the image."""

    class Blind(find_method("cgan").cls):  # type: ignore[name-defined, misc]
        def discriminate(self, x: Tensor, y: Tensor) -> Tensor:
            return super().discriminate(x, self.labels.draw(len(x)))

    assert abs(steered("cgan", Blind, width=8, **PROJECTION)) < 0.7


def test_acgan_without_its_class_loss_is_not_steered() -> None:
    assert abs(steered("acgan", width=8, class_weight=0.0)) < 0.7


def test_acgans_head_learns_from_real_images_only() -> None:
    data = tiny()
    method = made("acgan", data)
    judged: list[int] = []
    method.C.register_forward_pre_hook(lambda _module, args: judged.append(len(args[0])))
    heads = [method.C.parametrizations.weight.original.clone()]
    update = method.update

    def watched(loss: Tensor, opt: Any) -> None:
        update(loss, opt)
        heads.append(method.C.parametrizations.weight.original.clone())

    method.update = watched
    losses = stepped(method, data, 1)
    assert judged == [32, 32]  # the real half of D's batch; all of G's
    assert not torch.equal(heads[1], heads[0])
    assert torch.equal(heads[2], heads[1])  # G's update leaves the head alone
    assert set(losses) == {"D", "G", "class_D", "class_G"}


def test_acgan_judges_without_moving() -> None:
    method = made("acgan", tiny())
    before = {k: v.clone() for k, v in method.D.state_dict().items()}
    logits = method.own_classifier(torch.randn(3, 1, 16, 16))
    assert logits.shape == (3, 10)
    assert method.D.training
    assert method.C.training
    assert all(torch.equal(before[k], v) for k, v in method.D.state_dict().items())


def test_concatenation_gives_both_nets_the_vector() -> None:
    data = tiny()
    method = made("cgan", data)
    assert method.G.z_dim == 4 + 10
    assert method.D.channels == 1 + 10
    seen: list[Tensor] = []
    method.D.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    x, y = torch.randn(3, 1, 16, 16), torch.tensor([0, 7, 9])
    method.discriminate(x, y)
    assert torch.equal(seen[0][:, :1], x)
    assert torch.equal(seen[0][:, 1:].mean((2, 3)), F.one_hot(y, 10).float())
    assert torch.equal(seen[0][:, 1:].amax((2, 3)), seen[0][:, 1:].amin((2, 3)))


def test_concatenation_with_residual_nets_and_the_refused_combination() -> None:
    data = tiny()
    method = made("cgan", data, backbone="resnet")
    assert method.D.channels == 11
    stepped(method, data, 1)
    with pytest.raises(ConfigError, match="backbone=resnet"):
        made("cgan", data, conditioning="projection", backbone="sndcgan")


def test_published_sizes_of_cgan_pd() -> None:
    method = construct(find_method("cgan").cls, find_method("cgan").recipe("paper", "cifar10"), tiny("cifar10"), CPU, 0)
    assert sum(p.numel() for p in method.G.parameters()) == 4_304_387
    assert sum(p.numel() for p in method.D.parameters()) == 1_055_105
    assert method.lr_factor(25_000) == 0.5


@pytest.mark.parametrize("name", ["cgan", "acgan"])
def test_noisy_labels_are_those_of_the_seed(name: str) -> None:
    data = tiny()
    method = made(name, data, label_noise=0.4, noise_seed=3)
    assert data.train.labels is not None
    assert method.labels.table.tolist() == noisy_labels(data.train.labels, 0.4, 10, seed=3).tolist()
    assert not any(isinstance(value, Labels) for value in method.state_dict().values())


@pytest.mark.parametrize("name", ["cgan", "acgan"])
def test_a_supervised_method_refuses_data_without_labels(name: str) -> None:
    data = tiny()
    data.conditioning, data.class_names, data.train.labels = "none", (), None
    with pytest.raises(ConfigError, match=r"(?s)no labels.*sngan"):
        made(name, data)


def test_what_biggan_is_conditioned_on() -> None:
    digits, shapes = tiny("digits"), tiny("shapes")
    method = made("biggan", digits)
    assert (method.conditioning, method.n_labels, method.default_conditions) == ("class", 10, "uniform classes")
    for data, changes in ((shapes, {}), (digits, {"conditional": False})):
        method = made("biggan", data, **changes)
        assert (method.conditioning, method.n_labels, method.default_conditions) == ("none", 0, "nothing")
        assert method.sample(method.G.eval(), 2).conditions is None
        assert method.G.embed.weight.shape[0] == 1
    with pytest.raises(ConfigError, match="hierarchical=false"):
        made("biggan", digits, class_embedding=0)


def test_biggan_draws_rare_classes_rarely_where_the_recipe_says_so() -> None:
    data = tiny()
    assert data.train.labels is not None
    data.train.labels[:] = np.where(np.arange(64) < 60, 2, 5)
    uniform, training = (made("biggan", data, fake_classes=kind) for kind in ("uniform", "training"))
    assert uniform.classes_of_fakes(2000).bincount(minlength=10).min() > 120
    counts = training.classes_of_fakes(2000).bincount(minlength=10)
    assert counts[2] + counts[5] == 2000
    assert 60 < counts[5] < 200  # 125 expected


def test_biggan_updates_as_published() -> None:
    """n_dis updates of D on fresh images, then one of G; every image D sees is shifted where the recipe says so."""
    data = tiny()
    method = made("biggan", data, n_dis=2, translation=True)
    shifted: list[int] = []
    plain = method.T

    def counted(x: Tensor) -> Tensor:
        shifted.append(len(x))
        return plain(x)

    method.T = counted
    order: list[Any] = []
    update = method.update
    method.update = lambda loss, opt: (order.append(opt), update(loss, opt))
    stream = stream_for(method, data, seed=1)
    method.step(stream, 0)
    assert shifted == [64, 64, 32]
    assert order == [method.opt_D, method.opt_D, method.opt_G]
    assert stream.position == 2 * method.cfg.batch
    x = torch.randn(4, 1, 16, 16)
    assert not torch.equal(plain(x), x)
    assert torch.equal(made("biggan", data).T(x), x)


def test_published_settings_of_biggan() -> None:
    rows = find_method("biggan").RECIPES["paper"]
    for name, cfg in rows.items():
        assert cfg.betas == (0.0, 0.999)
        assert 0.5 ** (cfg.batch / cfg.ema_half_life_images) == pytest.approx(0.9999, abs=1e-9), name
    assert rows["cifar10"].ema_start_steps == 1000
    assert rows["imagenet128"].ema_start_steps == 20_000
    assert rows["imagenet128"].batch == 2048
    method = made("biggan", tiny("cifar10"), "paper", ch=64, z_dim=128, class_embedding=0)
    assert sum(p.numel() for p in method.G.parameters()) == 4_304_387
    assert sum(p.numel() for p in method.D.parameters()) == 4_207_361
    group = method.opt_G.param_groups[0]
    assert (group["lr"], group["eps"]) == (2e-4, 1e-8)
