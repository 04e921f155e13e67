"""LT-GAN: who is trained by the auxiliary loss, what a pair shares, what the task can and cannot be learned with."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu, mse_loss

from benchmark.core import paths
from benchmark.core.config import merge
from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.evaluation.latents import LatentSpace
from benchmark.nn.tapped import TAPPED, Code, auxiliary, derangement
from benchmark.runs.records import read_record
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.training.loop import stream_for
from benchmark.training.method import construct
from benchmark.training.moves import SIGMAS
from methods.ltgan import LTGAN, RECIPES, Config
from methods.sngan import SNGAN
from methods.sngan import Config as SNGANConfig

CPU = torch.device("cpu")
TINY: dict[str, Any] = {"steps": 100, "batch": 8, "width": 4, "z_dim": 12, "warmup": 0.0, "aux_images": 16}
BACKBONES: dict[str, dict[str, Any]] = {
    "sndcgan": {},
    "resnet": {"backbone": "resnet", "layer": 3},
    "biggan": {"backbone": "biggan", "conditional": True},
    "biggan_rich": {"backbone": "biggan", "biggan": "imagenet", "conditional": True},
    "stylegan2": {"backbone": "stylegan2", "layer": 8, "loss": "non_saturating", "r1_gamma": 1.0, "mixing": 1.0},
}


def data(card: str = "digits") -> Dataset:
    """Random pictures."""
    return Dataset.tiny(find_card(card))


def ltgan(cls: type[LTGAN] = LTGAN, card: str = "digits", **settings: Any) -> LTGAN:
    """A tiny method past its warm-up."""
    return construct(cls, Config(**(TINY | settings)), data(card), CPU, seed=0)


def take_steps(method: Any, first: int = 0, last: int = 1) -> dict[str, Tensor]:
    """Steps first..last-1."""
    stream, losses = stream_for(method, data(), seed=1), {}
    for t in range(first, last):
        method._step = t
        seed_step(0, t)
        losses = method.step(stream, t)
    return losses


def weights(net: nn.Module) -> list[Tensor]:
    """Copies of a network's parameters."""
    return [p.detach().clone() for p in net.parameters()]


def same_weights(net: nn.Module, old: list[Tensor]) -> bool:
    """Whether no parameter changed by a bit."""
    return all(torch.equal(p, q) for p, q in zip(net.parameters(), old, strict=True))


# ---- who learns from the auxiliary loss ------------------------------------------------------------------------------


def check_who_learns(cls: type[LTGAN], **settings: Any) -> None:
    """The update that holds L_A changes G and A, and D by no bit."""

    class Watched(cls):  # type: ignore[misc, valid-type]
        def update(self, loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
            nets = {name: (net, weights(net)) for name, net in self.modules().items()}
            super().update(loss, *optimisers)
            changed = {name for name, (net, old) in nets.items() if not same_weights(net, old)}
            self.changes = [*getattr(self, "changes", []), changed]

    method = ltgan(Watched, **settings)
    take_steps(method)
    assert method.changes == [{"D"}, {"G", "A"}], method.changes  # type: ignore[attr-defined]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_auxiliary_loss_trains_G_and_A_but_never_D(backbone: str) -> None:
    check_who_learns(LTGAN, **BACKBONES[backbone])


def test_an_auxiliary_loss_that_leaks_into_D_is_caught() -> None:
    class Leaking(LTGAN):
        def update(self, loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
            more = [self.opt_D] if self.opt_G in optimisers else []
            super().update(loss, *optimisers, *more)

    with pytest.raises(AssertionError, match="D"):
        check_who_learns(Leaking)


def test_the_gradient_runs_through_both_images_of_a_pair_to_G() -> None:
    method = ltgan()
    x, x_moved = torch.randn(2, 8, 1, 16, 16).requires_grad_().unbind()
    loss, _ = method.L_A(method.delta(x, x_moved), torch.arange(8) % 2)
    for gradient in torch.autograd.grad(loss, [x, x_moved]):
        assert float(gradient.abs().sum()) > 0
    x = method.net.generate(method.G, method.code(16))
    loss, _ = method.L_A(method.delta(*x.chunk(2)), torch.arange(8) % 2)
    assert all(float(g.abs().sum()) > 0 for g in torch.autograd.grad(loss, [*method.A.parameters()], retain_graph=True))
    assert float(torch.autograd.grad(loss, method.G.linear.weight)[0].abs().sum()) > 0  # type: ignore[union-attr]


def test_A_has_adam_of_its_own_with_its_default_settings() -> None:
    method = ltgan(betas=(0.5, 0.9), lr_G=3e-4)
    group = method.opt_A.param_groups[0]
    assert (group["lr"], tuple(group["betas"]), group["eps"]) == (1e-3, (0.9, 0.999), 1e-8)
    assert [id(p) for p in group["params"]] == [id(p) for p in method.A.parameters()]
    assert tuple(method.opt_G.param_groups[0]["betas"]) == (0.5, 0.9)


# ---- when ------------------------------------------------------------------------------------------------------------


def test_before_the_warm_up_is_over_there_is_no_task() -> None:
    method = ltgan(warmup=0.03)
    old = weights(method.A)
    conditions: list[int] = []
    method.A.register_forward_hook(lambda *_: conditions.append(1))
    assert set(take_steps(method, 0, 3)) == {"D", "G"}
    assert (conditions, same_weights(method.A, old), method.opt_A.state) == ([], True, {})
    assert set(take_steps(method, 3, 4)) == {"D", "G", "A", "A_right"}
    assert len(conditions) == 1
    assert not same_weights(method.A, old)


@pytest.mark.parametrize(("warmup", "n_moved"), [(1.0, 0), (0.0, 4)])
def test_D_sees_moved_images_only_with_the_task(warmup: float, n_moved: int) -> None:
    method, codes = ltgan(warmup=warmup), recorded()
    method.net.generate = codes.record(method.net.generate)  # type: ignore[method-assign]
    take_steps(method)
    seed_step(0, 0)
    plain = method.code(8).z  # what step 0 drew first
    moved = (codes.seen[0].z != plain).any(2).any(1)
    assert moved.tolist() == [False] * (8 - n_moved) + [True] * n_moved, "half of D's fakes, its batch as large"


def test_without_the_task_it_is_the_plain_gan_bit_for_bit() -> None:
    shared: dict[str, Any] = {"steps": 100, "batch": 8, "width": 4, "z_dim": 12, "g_batch": 2, "betas": (0.5, 0.999)}
    plain = construct(SNGAN, SNGANConfig(backbone="sndcgan", linear_decay=False, **shared), data(), CPU, seed=0)
    off = construct(LTGAN, Config(lambda_lt=0.0, warmup=0.0, **shared), data(), CPU, seed=0)
    take_steps(plain, 0, 4)
    take_steps(off, 0, 4)
    assert set(off.modules()) == {"G", "D"}
    for name, net in plain.modules().items():
        for key, tensor in net.state_dict().items():
            assert torch.equal(tensor, getattr(off, name).state_dict()[key]), f"{name}.{key}"
    assert list(off.measurements(off.G, data())) == []


# ---- what a pair shares ----------------------------------------------------------------------------------------------


class recorded:
    """Notes the codes a generator is given."""

    def __init__(self) -> None:
        self.seen: list[Code] = []

    def record(self, plain: Any) -> Any:
        """The function `generate`, watched."""

        def generate(G: nn.Module, code: Code) -> Tensor:
            self.seen.append(code)
            return plain(G, code)

        return generate


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_pair_is_made_in_one_pass_and_differs_by_its_move_alone(backbone: str) -> None:
    method, codes = ltgan(**BACKBONES[backbone]), recorded()
    method.net.generate = codes.record(method.net.generate)  # type: ignore[method-assign]
    take_steps(method)
    of_D, of_G = codes.seen  # one call for D's fakes, one for both images of all pairs: batch norm sees them together
    assert (len(of_D), len(of_G)) == (8, 2 * 2 * 8)
    z, z_moved = of_G.z.chunk(2)
    eps = z_moved - z  # [16, K, z_dim]
    assert eps.shape[1] == (2 if backbone == "stylegan2" else 1)
    for k in (0, 1):
        assert torch.allclose(eps[k::2], eps[k], atol=1e-6), "two moves, one for every other image"
    assert not torch.allclose(eps[0], eps[1], atol=0.1)
    if of_G.y is not None:
        assert torch.equal(*of_G.y.chunk(2))
    assert (of_G.y is not None) == ("biggan" in backbone)
    if of_G.noise is not None:
        assert all(torch.equal(*maps.chunk(2)) for maps in of_G.noise)
        assert of_G.crossover is not None
        assert of_G.crossover.shape == ()
        assert not torch.allclose(eps[0, 0], eps[0, 1], atol=0.1), "each of the mixed styles has its own move"
    assert (of_G.noise is not None) == (backbone == "stylegan2")


def test_no_move_is_no_change() -> None:
    for backbone in ("sndcgan", "stylegan2"):
        method = ltgan(**BACKBONES[backbone])
        method.G.eval()
        method.D.eval()
        code = method.code(4)
        x, x_moved = method.net.generate(method.G, code.then(code.moved(torch.zeros_like(code.z)))).chunk(2)
        assert torch.allclose(method.delta(x, x_moved), torch.zeros(()), atol=1e-5)


def test_moves_have_their_size() -> None:
    method = ltgan(sigma_eps=0.25, sigma_z=2.0, z_dim=5000, n_eps=4)
    torch.manual_seed(0)
    eps, which = method.moves(10, 0.25)
    assert float(eps.std()) == pytest.approx(0.25, rel=0.03)
    assert which.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert float(method.code(4).z.std()) == pytest.approx(2.0, rel=0.03)


# ---- pairs of changes and their labels -------------------------------------------------------------------------------


def check_pairing(permute: Any) -> None:
    """A permutation of every image beside another one; about as many pairs of one move as of two."""
    for n in (2, 3, 16, 64):
        shares = []
        for seed in range(50):
            torch.manual_seed(seed)
            p = permute(n, CPU)
            assert sorted(p.tolist()) == list(range(n))
            assert not bool((p == torch.arange(n)).any()), "an image beside itself"
            which = torch.arange(n) % 2
            shares.append(float((which == which[p]).float().mean()))
        assert n < 16 or 0.4 <= sum(shares) / 50 <= 0.6


def test_every_change_stands_beside_another_one() -> None:
    check_pairing(derangement)


def test_pairs_of_an_image_with_itself_are_caught() -> None:
    with pytest.raises(AssertionError, match="beside itself"):
        check_pairing(lambda n, device: torch.randperm(n, device=device))


def test_labels_compare_the_numbers_of_moves() -> None:
    """A stub that sees both changes of a pair; changes carry their row and their move, so that the truth is known."""
    method = ltgan()
    seen: list[Tensor] = []
    method.A = nn.Identity()
    method.A.register_forward_hook(lambda module, args, out: seen.append(args[0]) or args[0].mean((1, 2, 3))[:, None])  # type: ignore
    which = torch.arange(16) % 2
    delta = torch.stack([torch.arange(16.0), which.float()], 1)[:, :, None, None]
    _, same = method.compare(delta, which)
    row, move, other_row, other_move = seen[0].flatten(1).unbind(1)
    assert torch.equal(row, torch.arange(16.0))
    assert bool((row != other_row).all())
    assert torch.equal(same, (move == other_move).float())


# ---- what can learn the task -----------------------------------------------------------------------------------------


def toy_accuracy(kind: str, spoil: bool = False, steps: int = 500) -> tuple[float, float]:
    """A, trained where delta = eps + noise: (accuracy on fresh moves, its last losses' mean)."""
    method = ltgan()
    torch.manual_seed(0)
    method.A = auxiliary(kind, torch.Size((8, 2, 2)), 64)
    if spoil:
        method.A.append(nn.Sigmoid())  # type: ignore[operator]
    method.opt_A = method.adam(method.A, 3e-3, (0.9, 0.999))
    which = torch.arange(64) % 2

    def changes() -> Tensor:
        return torch.randn(2, 8, 2, 2)[which] + 0.1 * torch.randn(64, 8, 2, 2)

    losses = []
    for _ in range(steps):
        loss, _ = method.L_A(changes(), which)
        method.update(loss, method.opt_A)
        losses.append(loss.detach())
    method.A.eval()
    with torch.no_grad():
        right = [method.L_A(changes(), which)[1] for _ in range(200)]
    return float(torch.stack(right).mean()), float(torch.stack(losses[-50:]).mean())


def test_two_layers_learn_the_task_and_one_cannot() -> None:
    mlp, loss = toy_accuracy("mlp")
    assert mlp > 0.9
    assert loss < 0.25
    linear, _ = toy_accuracy("linear")
    assert linear <= 0.55


def test_a_second_sigmoid_is_seen_in_the_loss() -> None:
    """Through two sigmoids, the logits lie in [0, 1], where the loss is at least (log 2 + log(1 + 1/e)) / 2 = 0.50."""
    _, loss = toy_accuracy("mlp", spoil=True, steps=300)
    assert loss >= 0.45


def test_the_convolutional_network_learns_it_too() -> None:
    accuracy, _ = toy_accuracy("conv", steps=250)
    assert accuracy > 0.75


# ---- where E taps D --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "recipe", "shape"),
    [
        ("cifar10", "paper", (256, 2, 2)),
        ("cifar10", "paper_biggan", (256, 8, 8)),
        ("celeba", "paper", (512, 2, 2)),
    ],
)
def test_the_tap_of_the_published_nets(card: str, recipe: str, shape: tuple[int, int, int]) -> None:
    """Shapes of delta that follow from the paper's layers and our pooling."""
    cfg = RECIPES[recipe][card]
    pictures = replace(data(card), resolution=128) if card == "celeba" else data(card)
    method = SimpleNamespace(cfg=cfg, net=TAPPED[cfg.backbone].of(cfg, pictures))
    with torch.device("meta"):
        _, method.D = method.net.nets()
        method.D.eval()
        x = torch.zeros(2, 3, pictures.resolution, pictures.resolution)
        assert LTGAN.E(method, x).shape[1:] == shape  # type: ignore[arg-type]


def test_E_is_the_fifth_convolution_with_its_activation_averaged() -> None:
    method = ltgan(pool=2)
    method.D.eval()
    x = torch.randn(3, 1, 16, 16)
    f = x
    for conv in method.D.convs[:5]:  # type: ignore[index, union-attr]
        f = leaky_relu(conv(f), 0.1)
    assert torch.equal(method.E(x), avg_pool2d(f, 2))
    assert method.E(x).shape == (3, 16, 2, 2)


# ---- consistency, R1, conditions, configuration ----------------------------------------------------------------------


def test_consistency_is_added_to_Ds_loss_on_real_images() -> None:
    method = ltgan(lambda_cr=10.0)
    method.D.eval()
    batch, x_fake = next(stream_for(method, data(), seed=0)), torch.randn(8, 1, 16, 16)
    torch.manual_seed(3)
    terms = method.terms_of_D(batch, x_fake, None)
    torch.manual_seed(3)
    shifted = method.T(batch.images)
    expected = 10 * mse_loss(method.D(shifted), method.D(batch.images))
    assert set(terms) == {"D", "CR"}
    assert torch.allclose(terms["CR"], expected)
    gradient = torch.autograd.grad(terms["CR"], method.D.linear.bias, allow_unused=True)[0]  # type: ignore[union-attr]
    assert gradient is None or float(gradient.abs()) < 1e-5, "neither logit is detached: a common shift cancels"
    method.T = lambda x: x  # type: ignore[method-assign]
    assert float(method.terms_of_D(batch, x_fake, None)["CR"].detach()) == 0


def test_consistency_mirrors_only_where_the_labels_allow_it() -> None:
    left = torch.zeros(64, 1, 16, 16)
    left[..., :4] = 1.0
    method = ltgan(shift_px=1)
    assert not method.flip_ok
    assert bool((method.T(left)[..., 0] == 1).all())
    method.flip_ok = True
    torch.manual_seed(0)
    mirrored = (method.T(left)[:, 0, 8, 15] == 1).float().mean()
    assert 0.3 < float(mirrored) < 0.7


def test_classes_are_asked_and_given() -> None:
    method = ltgan(**BACKBONES["biggan"])
    assert (method.conditioning, method.n_labels, method.default_conditions) == ("class", 10, "uniform classes")
    conditions = torch.arange(6)
    assert torch.equal(method.sample(method.G, 6, conditions).conditions, conditions)  # type: ignore[arg-type]
    plain = ltgan()
    assert (plain.conditioning, plain.default_conditions, plain.sample(plain.G, 3).conditions) == (
        "none",
        "nothing",
        None,
    )


@pytest.mark.parametrize(
    ("card", "settings", "message"),
    [
        ("digits", {"sigma_eps": 1.0}, "smaller than the latent"),
        ("digits", {"conditional": True}, "take no class"),
        ("shapes", {"conditional": True, "backbone": "biggan"}, "has no classes"),
        ("digits", {"layer": 9}, "layer 9"),
        ("digits", {"backbone": "resnet", "layer": 4}, "D has 3 blocks"),
        ("digits", {"backbone": "stylegan2", "layer": 16, "lambda_lt": 0.0}, "side 16"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(card: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ltgan(card=card, **settings)


def test_the_measurement_and_the_pictures_of_every_backbone() -> None:
    for backbone in ("sndcgan", "biggan", "stylegan2"):
        method = ltgan(**BACKBONES[backbone])
        G, state = copy.deepcopy(method.G).eval(), copy.deepcopy(method.state_dict())
        (measured,) = method.measurements(G, data())
        (again,) = method.measurements(G, data())
        assert measured == again, backbone
        assert measured.id == "aux_accuracy"
        assert [point["sigma"] / 0.5 for point in measured.details["curve"]] == list(SIGMAS)
        assert measured.value == next(p["accuracy"] for p in measured.details["curve"] if p["sigma"] == 0.5)
        assert method.D.training, "left as it was"
        assert method.A.training
        assert not G.training
        for key, tensor in method.D.state_dict().items():
            assert torch.equal(tensor, state["D"][key]), f"{backbone}: {key} is left as it was"
        ((_, grid),) = method.pictures(G, data())
        assert grid.images.shape[:2] == (len(grid.rows), len(grid.columns))  # type: ignore[union-attr]


# ---- one latent without mixing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_number_of_a_latent_moves_the_image(backbone: str) -> None:
    """What path lengths, boundaries and directions are measured on has no part that does nothing."""
    method = ltgan(**BACKBONES[backbone])
    method.G.eval()
    space = LatentSpace(method, method.G)
    assert space.dim == method.z_dim
    z = torch.randn(1, space.dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
    gradient = torch.autograd.grad(space.images(z).square().sum(), z)[0]
    assert bool((gradient != 0).all())


def test_in_training_styles_are_still_mixed() -> None:
    method = ltgan(**BACKBONES["stylegan2"])
    assert method.code(3).z.shape == (3, 2, 12)
    assert method.code(3, mix=False).z.shape == (3, 1, 12)


def test_only_configurations_whose_images_changed_have_another_version() -> None:
    versions = {backbone: LTGAN.version_of(Config(**(TINY | settings))) for backbone, settings in BACKBONES.items()}
    assert versions == dict.fromkeys(BACKBONES, 1) | {"stylegan2": 2}
    assert LTGAN.version_of(Config(**(TINY | BACKBONES["stylegan2"] | {"mixing": 0.0}))) == 1


def test_published_records_of_other_backbones_keep_their_names() -> None:
    """Those of StyleGAN2 of version 1 stay readable; a run of the same settings has another name today."""
    kept: dict[bool, set[bool]] = {True: set(), False: set()}
    for path in sorted((paths.REFERENCE / "records").glob("*-ltgan-small-s0-*.json")):
        record = read_record(path)
        local = record.config["eval"].get("evaluators") != "published"
        as_evaluated = {"eval": {"evaluators": "local", "metrics": "all"}} if local else {}
        changes = merge(record.changes, as_evaluated)
        spec = RunSpec(record.method, record.dataset, record.seed, record.recipe, changes)
        same = resolve(spec, Paths(Path(), Path())).run == record.run
        kept[record.changes.get("backbone") == "stylegan2"].add(same)
    assert kept == {True: {False}, False: {True}}


@pytest.mark.slow
def test_A_learns_the_moves_of_a_trained_generator() -> None:
    """On real digits: right well above chance at the training size, and less so for far smaller moves."""
    from sklearn.datasets import load_digits

    pictures = data()
    pixels = (torch.tensor(load_digits().images) / 16 * 255).repeat_interleave(2, 1).repeat_interleave(2, 2)
    pictures.train.images, pictures.train.labels = pixels.to(torch.uint8)[..., None].numpy(), None
    cfg = replace(RECIPES["small"]["digits"], steps=1000, aux_images=2000)
    accuracy = {}
    for kind in ("mlp", "linear"):
        method = construct(LTGAN, replace(cfg, aux=kind), pictures, CPU, seed=0)
        stream = stream_for(method, pictures, seed=1)
        for t in range(cfg.steps):
            method._step = t
            seed_step(0, t)
            method.step(stream, t)
        (measured,) = method.measurements(method.G, pictures)
        accuracy[kind] = measured.value
        if kind == "mlp":
            assert measured.details["curve"][0]["accuracy"] < measured.value - 0.05
    assert accuracy["mlp"] > 0.57
    assert accuracy["linear"] < 0.55
