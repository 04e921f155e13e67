"""Latent conditioning: Algorithm 1 on hand-made features, whom each term moves and which way, the ablation's rows."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

import methods.latentcond
from benchmark.core.config import build, to_dict
from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.runs.suites.suite import SuiteCell, cells, find_suite, suite_names
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method
from benchmark.training.stages.encoders import FeatureConfig
from benchmark.training.stages.neighbours import bank_neighbours
from benchmark.training.stages.reduction import principal_axes, reduction
from methods.latentcond import Couples, LatentCond, distances, neighbours, steered_by_labels

CPU = torch.device("cpu")
TINY = replace(
    find_method("latentcond").recipe("small", "default"),
    features=FeatureConfig(name="pixels"),
    batch=8,
    width=4,
    f_dim=6,
    z_dim=4,
    steps=40,
    lr_D=2e-3,
    lr_G=2e-3,
)


def made(
    tmp_path: Path,
    cls: type[LatentCond] = LatentCond,
    dataset: str = "digits",
    data: Dataset | None = None,
    **changes: Any,
) -> tuple[LatentCond, Dataset]:
    """A tiny model on random pictures, with pixels as features."""
    data = data or Dataset.tiny(find_card(dataset))
    cfg = replace(TINY, **changes)
    stages = cls.stages(ArtifactStore(data, tmp_path, CPU, quiet=True), cfg)
    return construct(cls, cfg, data, CPU, 0, **stages), data


def couples(method: LatentCond, data: Dataset, seed: int = 0) -> Couples:
    stream = stream_for(method, data, seed)
    return method.couples(next(stream), stream)


# Algorithm 1 ---------------------------------------------------------------------------------------------------------

# Of point 0 the nearest by L1 is 1 (3.0 against 4.0 and 5.5), by L2 it is 2 (2.83 against 3.0)
SQUARE = torch.tensor([[0.0, 0.0], [3.0, 0.0], [2.0, 2.0], [5.5, 0.0]])


def test_neighbours_are_by_l1() -> None:
    near, far = neighbours(distances(SQUARE))
    assert distances(SQUARE)[0].tolist() == [0.0, 3.0, 4.0, 5.5]
    assert near.tolist() == [1, 3, 1, 1]
    assert far.tolist() == [3, 0, 3, 0]
    assert neighbours(torch.cdist(SQUARE, SQUARE, p=2))[0].tolist() != near.tolist(), "L2 is another algorithm"


def test_no_image_is_its_own_neighbour() -> None:
    f = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    for far_mode in ("max", "random"):
        near, far = neighbours(distances(f), far_mode)
        assert not (near == torch.arange(50)).any()
        assert not (far == torch.arange(50)).any()
    plain_argmin = distances(f).argmin(1)
    assert (plain_argmin == torch.arange(50)).all(), "with the self-match left in, every image would be its own"
    near, far = neighbours(distances(torch.ones(4, 2)))  # all images alike
    assert not ((near == torch.arange(4)) | (far == torch.arange(4))).any()


def test_the_self_match_left_in_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property of `couples` that the check above protects: no same couple is an image twice."""
    method, data = made(tmp_path)
    c = couples(method, data)
    assert not any(torch.equal(a, b) for a, b in zip(c.x, c.near))
    monkeypatch.setattr(methods.latentcond, "neighbours", lambda P, *_: (P.argmin(1), P.argmax(1)))
    c = couples(method, data)
    assert all(torch.equal(a, b) for a, b in zip(c.x, c.near))


def test_ties_take_the_first_row() -> None:
    f = torch.tensor([[0.0], [1.0], [1.0], [-1.0], [3.0], [3.0]])
    near, far = neighbours(distances(f))
    assert near.tolist() == [1, 2, 1, 0, 5, 4]
    assert far.tolist() == [4, 3, 3, 4, 3, 3]


def test_a_random_far_image_is_among_the_farthest_tenth() -> None:
    f = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    P = distances(f)
    drawn = torch.stack([neighbours(P, "random")[1] for _ in range(30)])  # [30, B]
    ranks = (P[None] > P.gather(1, drawn.T).T[..., None]).sum(2)  # how many are farther still
    assert int(ranks.max()) == 3
    assert int(ranks.min()) == 0


def test_labels_steer_the_oracle() -> None:
    P, y = distances(SQUARE), torch.tensor([0, 1, 0, 1])
    near, far = neighbours(steered_by_labels(P, y))
    assert (y[near] == y).all()
    assert (y[far] != y).all()
    assert far.tolist() == [3, 0, 3, 0]


def test_the_whole_bank_is_searched_as_a_batch_is() -> None:
    f = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    found = bank_neighbours(Dataset.tiny(find_card("digits")), {"f": f})
    near, far = neighbours(distances(f))
    assert torch.equal(found["near"], near)
    assert torch.equal(found["far"], far)


@pytest.mark.parametrize("pool", ["batch", "bank"])
def test_couples_belong_together(pool: str, tmp_path: Path) -> None:
    """Each anchor stands beside its own neighbours and its own features."""
    method, data = made(tmp_path, neighbour_pool=pool)
    stream = stream_for(method, data, 0)
    batch = next(stream)
    c = method.couples(batch, stream)
    assert torch.equal(c.x, batch.images)
    assert torch.equal(c.f, method.training_f[0][batch.index])
    near = torch.tensor([float((a - b).abs().sum()) for a, b in zip(c.x, c.near)])
    far = torch.tensor([float((a - b).abs().sum()) for a, b in zip(c.x, c.far)])
    P = distances(c.x.flatten(1))
    others = P + torch.eye(len(P)) * P.max()
    if pool == "batch":
        torch.testing.assert_close(near, others.min(1).values)
        torch.testing.assert_close(far, P.max(1).values)
    else:
        assert (near <= others.min(1).values + 1e-3).all()
        assert (far >= P.max(1).values - 1e-3).all()


def test_maps_too_large_to_store_are_computed_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, data = made(tmp_path)
    monkeypatch.setattr(methods.latentcond, "CACHE", 0)
    fresh, _ = made(tmp_path)
    assert stored.maps is not None
    assert fresh.maps is None
    a, b = couples(stored, data), couples(fresh, data)
    assert torch.equal(a.near, b.near)
    assert torch.equal(a.far, b.far)


# What G is given -----------------------------------------------------------------------------------------------------


def test_reduced_features_are_of_the_noises_size() -> None:
    rng = np.random.default_rng(0)
    h = torch.tensor(rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20)) * 50 + 7, dtype=torch.float32)
    h[:, 3] = 4.0  # a unit that never changes
    for f_dim, width in ((0, 20), (5, 5), (99, 20)):
        found = reduction(Dataset.tiny(find_card("digits")), {"h": h}, f_dim)
        assert found["f"].shape == (300, width)
        assert bool(torch.isfinite(found["f"]).all())
        assert float(found["f"].mean(0).abs().max()) < 1e-4
        assert 0.9 < float(found["f"].square().mean()) < 1.1
        torch.testing.assert_close((h - found["mean"]) / found["std"] @ found["axes"], found["f"])


def test_principal_axes() -> None:
    """Orthonormal, of falling variance, the same subspace from the covariance as from the rows."""
    h = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    h -= h.mean(0)
    axes = principal_axes(h, 3)
    torch.testing.assert_close(axes.T @ axes, torch.eye(3), rtol=0, atol=1e-5)
    variances = (h @ axes).var(0)
    torch.testing.assert_close(variances, variances.sort(descending=True).values)
    wide = torch.linalg.svd(h, full_matrices=False).Vh[:3].T
    torch.testing.assert_close(axes @ axes.T, wide @ wide.T, rtol=0, atol=1e-4)
    assert principal_axes(h[:4], 6).shape == (8, 4)


def test_another_bank_goes_through_the_same_reduction(tmp_path: Path) -> None:
    for source in ("mean", "map"):
        method, data = made(tmp_path, features=FeatureConfig(name="alexnet", layer=1, input_px=32), f_source=source)
        own = method.bank.f.clone()
        swapped = replace(data, train=data.test, test=data.train, sha256="other")
        method.condition_on(swapped, "test")  # the same images under another name
        torch.testing.assert_close(method.bank.f, own, rtol=1e-3, atol=1e-4)
        method.condition_on(data, "test")
        assert not torch.allclose(method.bank.f, own, rtol=1e-3, atol=1e-2)
        method.condition_on(data, "train")
        assert torch.equal(method.bank.f, own)


def test_a_bank_of_another_side(tmp_path: Path) -> None:
    """Means over places fit any side; maps only their own. AlexNet resizes, so it is not asked here."""
    other = Dataset.tiny(find_card("shapes"))
    own, _ = made(tmp_path, dataset="shapes_class", features=FeatureConfig(name="alexnet", layer=1, input_px=32))
    own.condition_on(other, "train")
    assert own.n_labels == len(other.train)
    method, _ = made(tmp_path, f_source="map")
    with pytest.raises(ConfigError, match="keeps positions"):
        method.condition_on(other, "test")


def test_targets_are_the_nearest_other_training_images(tmp_path: Path) -> None:
    method, data = made(tmp_path)
    (f,) = method.training_f
    targets = method.targets(torch.arange(len(f)))
    assert targets is not None
    assert targets.shape == (64, 5)
    assert torch.equal(targets[:, 0], neighbours(distances(f))[0])
    method.condition_on(replace(data, test=data.train, sha256="other"), "test")
    assert torch.equal(method.targets(torch.arange(64))[:, 0], torch.arange(64)), "a stranger may be its own double"  # type: ignore[index]


def measured(method: LatentCond, data: Dataset) -> dict[str, Any]:
    return {found.id: found for found in method.measurements(method.G, data)}


def test_table_2_is_in_the_features_that_decide_the_couples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The maps keep the classes apart, by one place of many; their reduction to one number does not."""
    data = Dataset.tiny(find_card("digits"))
    rng = np.random.default_rng(0)
    images = rng.integers(100, 156, size=(64, 16, 16, 1))
    labels = np.arange(64) % 2
    images[labels == 0, :8], images[labels == 0, 8:] = 0, 255  # a half is white: the upper one, or the lower one
    images[labels == 1, :8], images[labels == 1, 8:] = 255, 0
    data.train.images, data.train.labels = images.astype(np.uint8), labels
    method, _ = made(tmp_path, data=data)
    method.training_f = (torch.tensor(rng.normal(size=(64, 1)), dtype=torch.float32),)
    found = measured(method, data)
    assert [found[f"neighbour_map_{k}"].value for k in (1, 2, 5)] == [1, 1, 1]
    assert found["neighbour_map_1"].protocol["space"] == "feature maps"
    assert found["neighbour_map_1"].details["chance"] == 0.5
    assert found["neighbour_1"].value < 0.8
    assert method.maps is not None
    stored = method.maps_of(torch.arange(64))
    method.maps = None  # too large to keep: computed anew
    torch.testing.assert_close(method.maps_of(torch.arange(64)), stored)
    assert measured(method, data) == found


def test_table_2_of_attributes_and_without_labels(tmp_path: Path) -> None:
    method, data = made(tmp_path, dataset="shapes")
    found = measured(method, data)
    assert set(found) == {f"neighbour_map_{k}" for k in (1, 2, 5)}
    value = found["neighbour_map_1"]
    assert set(value.details["per_attribute"]) == set(data.attribute_names)
    assert value.value == pytest.approx(np.mean(list(value.details["per_attribute"].values())))
    shares = data.train.attributes.mean(0)  # type: ignore[union-attr]
    assert value.details["chance"] == pytest.approx(np.mean(shares**2 + (1 - shares) ** 2))
    pictures = dict(method.pictures(method.G.eval(), data))
    assert pictures["latent_tsne"].labels.shape == (64, len(data.attribute_names))  # type: ignore[union-attr]
    data.train.attributes = data.test.attributes = None
    assert measured(method, data) == {}
    assert dict(method.pictures(method.G, data))["latent_tsne"].names == ["images without labels"]  # type: ignore[union-attr]


# The losses ----------------------------------------------------------------------------------------------------------


def logits_of(method: LatentCond, c: Couples, x_fake: Tensor) -> dict[str, float]:
    """D's mean logit of each kind of couple, D unmoved."""
    D = copy.deepcopy(method.D).eval()
    with torch.no_grad():
        pairs = {"adv": (c.x, x_fake), "same": (c.x, c.near), "diff": (c.x, c.far)}
        return {name: float(D(torch.cat(pair, 1)).mean()) for name, pair in pairs.items()}


# One update of a fresh D moves its logits by less than spectral norm's estimate moves them: a few, one direction
N_UPDATES = 10
# With two false terms for one true, D's first move is a lower constant: half the weight for each shows the rest
BALANCED = {"adv_weight": 0.5, "diff_weight": 0.5, "batch": 16}


def one_step_each(method: LatentCond, data: Dataset) -> tuple[dict[str, float], ...]:
    """Logits of one batch before, after D's update, and after G's; the noise of the fakes is the same throughout."""
    c = couples(method, data)

    def fakes() -> Tensor:
        torch.manual_seed(9)
        return method.generate(method.G, c.f)

    before = logits_of(method, c, fakes().detach())
    for _ in range(N_UPDATES):
        method.update(method.loss_D(c, fakes().detach())[0], method.opt_D)
    after_D = logits_of(method, c, fakes().detach())
    for _ in range(N_UPDATES):
        method.update(method.loss_G(method.D(method.adv(c, fakes()))), method.opt_G)
    return before, after_D, logits_of(method, c, fakes().detach())


def directions(method: LatentCond, data: Dataset) -> dict[str, bool]:
    """Which of the paper's directions D's updates and then G's took."""
    before, after_D, after_G = one_step_each(method, data)
    return {
        "D raises same": after_D["same"] > before["same"],
        "D lowers adv": after_D["adv"] < before["adv"],
        "D lowers diff": after_D["diff"] < before["diff"],
        "G raises adv": after_G["adv"] > after_D["adv"],
    }


def clustered() -> Dataset:
    """Pictures of two kinds, so that near and far couples can be told apart."""
    data = Dataset.tiny(find_card("digits"))
    kind = np.arange(64) % 2
    rng = np.random.default_rng(0)
    data.train.images = (rng.integers(60, size=(64, 16, 16, 1)) + 190 * kind[:, None, None, None]).astype(np.uint8)
    return data


@pytest.mark.parametrize(("loss", "g_loss"), [("bce", "ns"), ("bce", "minimax"), ("hinge", "ns")])
def test_every_step_goes_the_papers_way(loss: str, g_loss: str, tmp_path: Path) -> None:
    method, data = made(tmp_path, data=clustered(), loss=loss, g_loss=g_loss, **BALANCED)
    assert all(directions(method, data).values())


class Helpful(LatentCond):
    """Algorithm 2 as printed: G ascends the same L_adv as D."""

    def loss_G(self, l_adv: Tensor) -> Tensor:
        return -super().loss_G(l_adv)


class Confused(LatentCond):
    """Farthest images are called the same, nearest ones different."""

    def loss_D(self, c: Couples, x_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return super().loss_D(c._replace(near=c.far, far=c.near), x_fake)


@pytest.mark.parametrize(("wrong", "missed"), [(Helpful, "G raises adv"), (Confused, "D raises same")])
def test_a_flipped_sign_is_noticed(wrong: type[LatentCond], missed: str, tmp_path: Path) -> None:
    """The test above can fail: with G's sign flipped, and with D's couples exchanged, it does."""
    found = directions(*made(tmp_path, wrong, data=clustered(), **BALANCED))
    assert not found[missed]
    assert found["D lowers adv"]


def test_closed_forms(tmp_path: Path) -> None:
    """Losses of given logits, by hand."""
    method, data = made(tmp_path, adv_weight=0.5, same_weight=2.0, diff_weight=3.0)
    c = couples(method, data)
    x_fake = torch.zeros_like(c.x)
    logits = torch.cat([torch.full((8,), value) for value in (1.0, 2.0, -1.0)])  # adv, same, diff
    method.D = lambda pairs: logits  # type: ignore[assignment]
    expected = 0.5 * softplus(torch.tensor(1.0)) + 2 * softplus(torch.tensor(-2.0)) + 3 * softplus(torch.tensor(-1.0))
    torch.testing.assert_close(method.loss_D(c, x_fake)[0], expected)
    hinge, _ = made(tmp_path, loss="hinge")
    hinge.D = method.D
    torch.testing.assert_close(hinge.loss_D(c, x_fake)[0], torch.tensor(2.0 + 0.0 + 0.0))
    l = torch.tensor([0.3, -0.5])
    torch.testing.assert_close(method.loss_G(l), -torch.sigmoid(l).log().mean())
    torch.testing.assert_close(hinge.loss_G(l), -l.mean())
    minimax, _ = made(tmp_path, g_loss="minimax")
    torch.testing.assert_close(minimax.loss_G(l), (1 - torch.sigmoid(l)).log().mean())


@pytest.mark.parametrize(
    ("off", "left"),
    [
        (("same_weight", "diff_weight"), ["adv"]),
        (("diff_weight",), ["adv", "same"]),
        (("same_weight",), ["adv", "diff"]),
        ((), ["adv", "same", "diff"]),
    ],
)
def test_the_ablations_rows(off: tuple[str, ...], left: list[str], tmp_path: Path) -> None:
    """A weight of 0 takes its couples out of D's pass."""
    method, data = made(tmp_path, **dict.fromkeys(off, 0.0))
    c = couples(method, data)
    seen: list[int] = []
    method.D.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    _, logits = method.loss_D(c, torch.zeros_like(c.x))
    assert list(logits) == left
    assert seen == [8 * len(left)]


def test_without_a_true_couple_d_says_false_to_everything(tmp_path: Path) -> None:
    """Why the paper's ablation needs the same term: D's answer to adv couples alone is a constant."""
    answers = {}
    for name, off in (("adv", ("same_weight", "diff_weight")), ("all", ())):
        method, data = made(tmp_path, **dict.fromkeys(off, 0.0))
        stream = stream_for(method, data, 0)
        for t in range(40):
            method._step = t
            seed_step(0, t)
            logs = method.step(stream, t)
        answers[name] = float(logs["logit_adv"].detach())
        false = torch.cat([couples(method, data).x, couples(method, data).near], 1)
        answers[name + ", a true couple"] = float(method.D(false).detach().mean())
    assert answers["adv"] < answers["all"] - 0.5
    assert answers["adv, a true couple"] < -1, "even real couples of near images are called false"
    assert answers["all, a true couple"] > answers["adv, a true couple"] + 1


@pytest.mark.parametrize(("pairing", "channels"), [("couples", 2), ("single", 1), ("naive", 1 + 6)])
def test_what_d_sees(pairing: str, channels: int, tmp_path: Path) -> None:
    method, data = made(tmp_path, pairing=pairing)
    c = couples(method, data)
    x_fake = torch.full_like(c.x, 0.5)
    shown = method.adv(c, x_fake)
    assert shown.shape == (8, channels, 16, 16)
    if pairing == "couples":
        assert torch.equal(shown[:, :1], c.x), "the anchor comes first"
        assert torch.equal(shown[:, 1:], x_fake)
        nearest, _ = made(tmp_path, adv_real="nearest")
        assert torch.equal(nearest.adv(c, x_fake)[:, :1], c.near)
    else:
        assert torch.equal(shown[:, :1], x_fake)
    if pairing == "naive":
        assert torch.equal(shown[:, 1:, 3, 7], c.f)
    stream = stream_for(method, data, 0)
    losses = method.step(stream, 0)
    assert set(losses) >= {"D", "G", "logit_adv"}
    assert all(bool(torch.isfinite(value)) for value in losses.values())


@pytest.mark.parametrize(
    ("changes", "updates"), [({}, "DGDGDG"), ({"g_steps_per_d": 3}, "DGGG"), ({"n_dis": 2}, "DDGDDG")]
)
def test_the_schedule(changes: dict[str, int], updates: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Algorithm 2's n is G's steps for one of D's; n_dis is the reverse; D's extra updates see fresh images."""
    method, data = made(tmp_path, **changes)
    made_by = {id(method.opt_G): "G", id(method.opt_D): "D"}
    seen: list[str] = []
    plain = method.update
    monkeypatch.setattr(method, "update", lambda loss, opt: (seen.append(made_by[id(opt)]), plain(loss, opt)))
    stream = stream_for(method, data, 0)
    for t in range(updates.count("G")):
        method.step(stream, t)
    assert "".join(seen) == updates
    assert stream.position == 8 * updates.count("G") * changes.get("n_dis", 1)


def test_g_and_d_move_apart(tmp_path: Path) -> None:
    """D's update leaves G as it was, and G's update D's weights (not its spectral-norm vectors)."""
    method, data = made(tmp_path)
    c = couples(method, data)
    weights = {name: [p.clone() for p in net.parameters()] for name, net in (("G", method.G), ("D", method.D))}

    def moved(name: str) -> bool:
        return any(not torch.equal(p, w) for p, w in zip(getattr(method, name).parameters(), weights[name]))

    method.update(method.loss_D(c, method.generate(method.G, c.f))[0], method.opt_D)
    assert (moved("G"), moved("D")) == (False, True)
    weights["D"] = [p.clone() for p in method.D.parameters()]
    method.update(method.loss_G(method.D(method.adv(c, method.generate(method.G, c.f)))), method.opt_G)
    assert (moved("G"), moved("D")) == (True, False)


def test_what_is_logged_of_the_couples(tmp_path: Path) -> None:
    data = clustered()
    data.train.labels = np.arange(64) % 2
    method, _ = made(tmp_path, data=data, batch=16)
    logs = couples(method, data).logs
    assert float(logs["nn_label_agreement"]) == 1
    assert float(logs["far_label_disagreement"]) == 1
    assert 2 / 16 <= float(logs["far_distinct"]) <= 1
    data.train.labels = None
    assert set(couples(made(tmp_path, data=data)[0], data).logs) == {"far_distinct"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"flip": True}, "mirrored"),
        ({"g_steps_per_d": 2, "n_dis": 2}, "leave one"),
        ({"loss": "hinge", "g_loss": "minimax"}, "cross-entropies"),
        ({"adv_weight": 0.0, "same_weight": 0.0, "diff_weight": 0.0}, "nothing to learn"),
        ({"neighbour_pool": "bank", "far_mode": "random"}, "far_mode=max"),
        ({"neighbour_pool": "bank", "oracle_pairs": True}, "without labels"),
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        made(tmp_path, **changes)


def test_the_oracle_needs_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no classes"):
        made(tmp_path, dataset="shapes", oracle_pairs=True)
    method, data = made(tmp_path, oracle_pairs=True, batch=32)
    logs = couples(method, data).logs
    assert float(logs["nn_label_agreement"]) > 0.9, "random pictures; three of each class in a batch"
    assert float(logs["far_label_disagreement"]) == 1


def test_pictures(tmp_path: Path) -> None:
    method, data = made(tmp_path)
    pictures = dict(method.pictures(method.G.eval(), data))
    assert pictures["latent_codes"].images.shape == (8, 8, 1, 16, 16)  # type: ignore[union-attr]
    assert method.n_labels == len(data.train), "the bank is the training split again"


# Its recipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "backbone", "n_dis", "decay"),
    [
        ("cifar10", "sndcgan", 1, False),
        ("celeba_gender32", "resnet", 5, True),
        ("celeba_hair64", "resnet", 5, True),
        ("celeba_gender128", "resnet", 2, False),
        ("celeba", "resnet", 2, False),
    ],
)
def test_the_paper_recipe_has_the_settings_of_the_sngan_it_takes(
    dataset: str, backbone: str, n_dis: int, decay: bool
) -> None:
    """Of compare_gan for the plain networks, of mimicry for the residual ones; SNGAN's own recipe has the same."""
    cfg = find_method("latentcond").recipe("paper", dataset)
    assert (cfg.backbone, cfg.n_dis, cfg.linear_decay) == (backbone, n_dis, decay)
    if backbone == "resnet":
        other = find_method("sngan").recipe("paper", dataset)
        names = ("backbone", "n_dis", "linear_decay", "batch", "betas", "lr_G", "lr_D", "steps")
        assert [getattr(cfg, name) for name in names] == [getattr(other, name) for name in names]


def test_learning_rates_fall_where_sngans_do(tmp_path: Path) -> None:
    falling, _ = made(tmp_path, linear_decay=True)
    assert [falling.lr_factor(t) for t in (0, 20, 40)] == [1, 0.5, 0]
    assert made(tmp_path)[0].lr_factor(20) == 1
    assert "linear_decay" not in to_dict(TINY), "records of before have no such setting"


def test_paper_size_has_paper_size_extractors() -> None:
    """RotNet at its authors' width for 200 epochs; every row of a level of noise sees equally many images."""
    changed = [cell.spec.changes["features"] for cell in paper_rows("features")]
    features = {change["name"]: change for change in changed if "name" in change}
    rotnet = build(FeatureConfig, features["rotnet"]).rotnet
    assert rotnet is not None
    assert (rotnet.divisor, rotnet.batch) == (1, 128)
    assert rotnet.steps * rotnet.batch == pytest.approx(200 * 60_000, rel=1e-3)
    for suite in ("features", "noise"):
        for cell in paper_rows(suite):
            if cell.spec.changes.get("features", {}).get("name") == "classifier":
                classifier = cell.spec.changes["features"]["classifier"]
                assert (classifier["width"], classifier["steps"]) == (32, 9400)
    assert len({cell.spec.changes["steps"] for cell in paper_rows("noise")}) == 1, "one batch, one update of D: equal"


def paper_rows(suite: str) -> list[SuiteCell]:
    """The runs of a suite at paper size that change the features, or of methods that have none."""
    every = cells(find_suite(f"latentcond-{suite}"), "paper", seeds=[0])
    return [cell for cell in every if "features" in cell.spec.changes or suite == "noise"]


def test_every_suite_follows_the_papers_protocol_on_equal_budgets_at_paper_size() -> None:
    """Rows of a dataset see equally many images, whatever their method's batch and updates of D."""
    names = [name for name in suite_names() if name.startswith("latentcond")]
    assert len(names) == 8
    for name in names:
        seen: dict[str, set[int]] = {}
        for cell in cells(find_suite(name), "paper", seeds=[0]):
            assert cell.spec.changes["eval"]["protocol"] == "latentcond", name
            recipe = find_method(cell.spec.method).recipe("paper", cell.spec.dataset)
            of = [cell.spec.changes.get(key, getattr(recipe, key)) for key in ("steps", "batch", "n_dis")]
            seen.setdefault(cell.dataset, set()).add(math.prod(of))
        assert {dataset: len(images) for dataset, images in seen.items()} == dict.fromkeys(seen, 1), name
