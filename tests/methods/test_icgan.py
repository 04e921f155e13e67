"""IC-GAN: which pairs D sees, what the instances are, how samples are drawn, and that instances steer the generator."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream, to_float
from benchmark.metrics.copying import instance_preference
from benchmark.runs.trained import TrainedRun
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.config import half_life
from benchmark.training.instances import Instances
from benchmark.training.loop import stream_for
from benchmark.training.measurements import Grid
from benchmark.training.method import construct, find_method
from benchmark.training.stages.encoders import FeatureConfig, FeatureNet, Prepare, pooled_features
from benchmark.training.stages.neighbours import kmeans_instances, nearest_neighbours, unit_features
from methods.icgan import ICGAN, RECIPES, Pairs

CPU = torch.device("cpu")
TINY = replace(
    find_method("icgan").recipe("small", "default"),
    features=FeatureConfig(name="pixels"),
    batch=16,
    ch=2,
    z_dim=12,
    instance_embedding=4,
    class_embedding=4,
    base=32,
    max_width=4,
    w_dim=8,
)
STYLEGAN2 = {"backbone": "stylegan2", "loss": "non_saturating", "r1_weight": 1.0, "pl_weight": 2.0}


def pictures(card: str = "digits", side: int = 16, flip_ok: bool = False) -> Dataset:
    """Random pictures at side 16."""
    return replace(Dataset.tiny(replace(find_card(card), resolution=side)), flip_ok=flip_ok)


class Unhurried:
    """A job that computes at once and keeps nothing."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.device, self.conditions = data, CPU, []  # type: ignore[var-annotated]

    def compute(self, function: Any, **inputs: Any) -> dict[str, Tensor]:
        self.conditions.append((function.__name__, inputs.get("flip", False)))
        return function(self.data, **inputs)

    def note(self, identity: dict[str, Any]) -> None:
        """Which networks a method trains against is no matter here."""


def icgan(data: Dataset | None = None, cls: type[ICGAN] = ICGAN, **changes: Any) -> ICGAN:
    """A tiny model whose instance features are pixels."""
    data, cfg = data or pictures(), replace(TINY, **changes)
    return construct(cls, cfg, data, CPU, 0, **cls.stages(Unhurried(data), cfg))  # type: ignore[arg-type]


class Recording:
    """A stream that remembers which rows were drawn and which were picked."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.drawn, self.picked = stream, [], []  # type: ignore[var-annotated]

    def __next__(self) -> Any:
        batch = next(self.stream)
        self.drawn.append(batch.index)
        return batch

    def pick(self, index: Tensor) -> Any:
        self.picked.append(index)
        return self.stream.pick(index)


def take_steps(method: ICGAN, data: Dataset, n: int, stream: Any = None) -> list[dict[str, Tensor]]:
    """What n steps logged."""
    stream, logged = stream or stream_for(method, data, 0), []
    for t in range(n):
        method._step = t
        seed_step(0, t)
        logged.append(method.step(stream, t))
    return logged


# ---- the pairs ------------------------------------------------------------------------------------------------------


def check_real_pairs(method: ICGAN, data: Dataset) -> None:
    """A real pair is (x_n, h_i) with x_n one of the neighbours of x_i, never x_i itself."""
    stream = Recording(stream_for(method, data, 0))
    for _ in range(20):
        x, h, y = method.real(stream)  # type: ignore[arg-type]
        i, n = stream.drawn[-1], stream.picked[-1]
        assert not bool((n == i).any()), "D never sees x_i with its own h_i"
        assert bool((method.instances.A[i] == n[:, None]).any(1).all()), "x_n is a neighbour of x_i"
        assert torch.equal(h, method.instances.h[i])
        assert torch.equal(x, to_float(torch.tensor(data.train.images[n.numpy()]).permute(0, 3, 1, 2)))
        assert y is None


def test_real_pairs_are_neighbours_with_the_features_of_the_instance() -> None:
    data = pictures()
    check_real_pairs(icgan(data), data)


def test_the_instance_itself_as_the_real_image_is_caught() -> None:
    class Reconstructing(ICGAN):
        def neighbour(self, i: Tensor) -> Tensor:
            return i

    data = pictures()
    with pytest.raises(AssertionError, match="its own h_i"):
        check_real_pairs(icgan(data, Reconstructing), data)


def test_the_features_of_the_neighbour_instead_are_caught() -> None:
    class Swapped(ICGAN):
        def real(self, stream: Any) -> Pairs:
            x, _, y = super().real(stream)
            return x, self.features_of(stream.picked[-1]), y

    data = pictures()
    with pytest.raises(AssertionError):
        check_real_pairs(icgan(data, Swapped), data)


def test_neighbours_are_drawn_anew_and_uniformly() -> None:
    method = icgan(k=4)
    torch.manual_seed(0)
    i = torch.zeros(8000, dtype=torch.int64)
    n, counts = method.neighbour(i).unique(return_counts=True)
    assert set(n.tolist()) == set(method.instances.A[0].tolist())
    assert float((counts / 2000 - 1).abs().max()) < 0.1


def check_fake_instances(method: ICGAN, data: Dataset) -> None:
    """The instances of generated images are uniform over the training images, whatever the real batch is."""
    conditions: list[Tensor] = []
    method.generate = lambda G, h, y: (conditions.append(h), torch.zeros(len(h), 1, 16, 16))[1]  # type: ignore[method-assign,func-returns-value]
    stream = Recording(stream_for(method, data, 0))
    same = 0
    for _ in range(100):
        method.real(stream)  # type: ignore[arg-type]
        method.fake(16)
        same += int((conditions[-1] == method.instances.h[stream.drawn[-1]]).all(1).sum())
    assert same < 60, "i and j are independent: 1600 pairs agree 25 times by chance"
    rows = (torch.cat(conditions)[:, None] == method.instances.h).all(2).float().argmax(1)
    counts = rows.bincount(minlength=64)
    assert int(counts.min()) > 5
    assert int(counts.max()) < 50  # 25 each are expected


def test_generated_images_have_instances_of_their_own() -> None:
    data = pictures()
    check_fake_instances(icgan(data), data)


def test_instances_shared_with_the_real_batch_are_caught() -> None:
    class Sharing(ICGAN):
        def real(self, stream: Any) -> Pairs:
            pairs = super().real(stream)
            self.shared = (pairs[1],)
            return pairs

        def fake(self, n: int) -> Pairs:
            (h,) = self.shared
            return self.generate(self.G, h, None), h, None

    data = pictures()
    with pytest.raises(AssertionError, match="independent"):
        check_fake_instances(icgan(data, Sharing), data)


def test_both_flips_are_drawn_and_independent_of_each_other() -> None:
    data = pictures(flip_ok=True)
    method = icgan(data, flip=True)
    h, mirrored = method.instances.h, method.instances.h_mirrored
    assert mirrored is not None
    assert torch.allclose(mirrored, unit_features(to_float(torch.tensor(data.train.images)).flip(2).flatten(1)))
    stream = Recording(stream_for(method, data, 0))
    table = torch.zeros(2, 2)
    for t in range(60):
        seed_step(0, t)
        x, h_i, _ = method.real(stream)  # type: ignore[arg-type]
        i, n = stream.drawn[-1], stream.picked[-1]
        d = (x != to_float(torch.tensor(data.train.images[n.numpy()]).permute(0, 3, 1, 2))).flatten(1).any(1)
        flipped = (h_i == mirrored[i]).all(1)
        assert bool((flipped | (h_i == h[i]).all(1)).all())
        for a, b in zip(flipped.tolist(), d.tolist()):
            table[int(a), int(b)] += 1
    assert float((table / 240 - 1).abs().max()) < 0.25, "four equal quarters of 960 draws"


@pytest.mark.parametrize(("flip_ok", "flip_instances"), [(False, True), (True, False)])
def test_instances_are_not_mirrored_where_that_is_off_or_changes_the_label(flip_ok: bool, flip_instances: bool) -> None:
    data = pictures(flip_ok=flip_ok)
    artifacts, cfg = Unhurried(data), replace(TINY, flip_instances=flip_instances)
    assert ICGAN.stages(artifacts, cfg)["instances"].h_mirrored is None  # type: ignore[arg-type]
    assert ("pooled_features", True) not in artifacts.conditions
    method = icgan(data, flip_instances=flip_instances)
    i = torch.arange(64)
    assert torch.equal(method.features_of(i), method.instances.h)


# ---- a step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_dis": 1}, ["D", "G"]),
        ({"n_dis": 3}, ["D", "D", "D", "G"]),
        ({"n_dis": 1, "r1_weight": 1.0}, ["D", "D", "G"]),
        ({"n_dis": 1, **STYLEGAN2}, ["D", "D", "G", "G"]),
        ({"n_dis": 2, "class_conditional": True}, ["D", "D", "G"]),
    ],
)
def test_each_loss_moves_its_own_network(
    changes: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pictures()
    method = icgan(data, **changes)
    moves: list[str] = []
    plain, nets = method.update, {"G": method.G, "D": method.D}

    def update(loss: Tensor, *optimisers: Any) -> None:
        before = {name: [p.clone() for p in net.parameters()] for name, net in nets.items()}
        plain(loss, *optimisers)
        moves.append("".join(name for name, net in nets.items() if changed(net, before[name])))

    def changed(net: nn.Module, old: list[Tensor]) -> bool:
        return any(not torch.equal(p, w) for p, w in zip(net.parameters(), old))

    monkeypatch.setattr(method, "update", update)
    take_steps(method, data, 1)
    assert moves == expected


def test_the_lazy_terms_come_when_they_are_due() -> None:
    data = pictures()
    logged = take_steps(icgan(data, batch=4, r1_every=3, pl_every=2, **STYLEGAN2), data, 5)
    assert [t for t, losses in enumerate(logged) if "R1" in losses] == [0, 3]
    assert [t for t, losses in enumerate(logged) if "PL" in losses] == [0, 2, 4]
    assert all(bool(torch.isfinite(loss)) for losses in logged for loss in losses.values())
    assert not any({"R1", "PL"} & set(losses) for losses in take_steps(icgan(data), data, 2))


def test_one_pass_of_D_for_both_equals_two() -> None:
    data = pictures()
    method = icgan(data, translation=False)
    method.D.eval()  # spectral norm stands still
    real, fake = method.real(stream_for(method, data, 0)), method.fake(16)
    for together, alone in zip(method.logits_of_both(real, fake), (method.logits(*real), method.logits(*fake))):
        assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, STYLEGAN2])
def test_both_nets_read_the_instance(changes: dict[str, Any]) -> None:
    data = pictures()
    method = icgan(data, **changes)
    take_steps(method, data, 2)
    G = method.G.eval()
    method.D.eval()
    x, h = torch.rand(4, 1, 16, 16), method.instances.h
    torch.manual_seed(1)
    one = method.generate(G, h[:4], None)
    torch.manual_seed(1)
    other = method.generate(G, h[4:8], None)
    assert not torch.equal(one, other)
    assert not torch.equal(method.logits(x, h[:4], None), method.logits(x, h[4:8], None))


def test_classes_are_those_of_the_neighbours() -> None:
    data = pictures()
    assert data.train.labels is not None
    method = icgan(data, class_conditional=True, k=3)
    labels = torch.tensor(data.train.labels)
    stream = Recording(stream_for(method, data, 0))
    _, _, y_n = method.real(stream)  # type: ignore[arg-type]
    assert y_n is not None
    assert torch.equal(y_n, labels[stream.picked[0]])
    seen: list[tuple[Tensor, Tensor]] = []
    method.generate = lambda G, h, y: (seen.append((h, y)), torch.zeros(len(h), 1, 16, 16))[1]  # type: ignore[method-assign,func-returns-value]
    method.fake(64)
    method.sample(method.G, 64)
    for h, y in seen:
        j = (h[:, None] == method.instances.h).all(2).float().argmax(1)
        assert bool((labels[method.instances.A[j]] == y[:, None]).any(1).all())
        assert bool((y != labels[j]).any()), "not the instance's own"


def test_the_tables_are_in_no_checkpoint() -> None:
    """They are found again by content; a checkpoint of ImageNet's features would have gigabytes."""
    method = icgan(class_conditional=True)
    assert set(method.state_dict()) == {"G", "D", "opt_G", "opt_D", "first_bad_step", "a"}


# ---- sampling -------------------------------------------------------------------------------------------------------


def test_samples_are_drawn_for_the_k_means_instances() -> None:
    data = pictures()
    method = icgan(data)
    h = {"h": method.instances.h}
    assert torch.equal(method.instances.drawn, kmeans_instances(data, h, 3)["rows"])  # 64 images / 20
    conditions = method.sample(method.G, 200).conditions
    assert conditions is not None
    assert set(conditions.tolist()) == set(method.instances.drawn.tolist())
    assert method.default_conditions == "3 k-means instances of the train split, uniformly"
    assert len(icgan(data, n_instances=2).instances.drawn) == 2
    every = icgan(data, n_instances=0)
    assert torch.equal(every.instances.drawn, torch.arange(64))
    assert every.default_conditions == "instances of the train split, uniformly"


def test_other_splits_become_the_bank_and_the_training_split_comes_back() -> None:
    data = pictures()
    data.test.images = data.test.images[:20]
    method = icgan(data, k=4)
    h_train, h_test = (unit_features(pooled_features(data, method.f, split)["h"]) for split in ("train", "test"))
    G = copy.deepcopy(method.G).eval()
    torch.manual_seed(3)
    before = method.sample(G, 8)
    assert torch.equal(method.targets(torch.tensor([5, 7])), method.instances.A[[5, 7]])

    method.condition_on(data, "test")
    assert method.n_labels == 20
    assert method.default_conditions == "instances of the test split of digits, uniformly"
    conditions = method.sample(G, 300).conditions
    assert conditions is not None
    assert set(conditions.tolist()) == set(range(20))
    expected = torch.cdist(h_test.double(), h_train.double()).sort(1).indices[:, :4]
    assert torch.equal(method.targets(torch.arange(20)), expected)
    torch.manual_seed(4)
    z = torch.randn(1, G.z_dim)
    torch.manual_seed(4)
    shown = method.sample(G, 1, torch.tensor([11])).images
    assert torch.allclose(shown, G(z, None, h_test[[11]]), atol=1e-6), "features of the row that was asked for"

    method.condition_on(data, "train")
    assert method.n_labels == 64
    torch.manual_seed(3)
    after = method.sample(G, 8)
    assert torch.equal(after.images, before.images)
    assert after.conditions is not None
    assert before.conditions is not None
    assert torch.equal(after.conditions, before.conditions)


def test_another_dataset_is_a_transfer() -> None:
    """Its images are brought to the side of training first; grey ones to colour, never back."""
    colour, grey = pictures("shapes"), pictures("digits", side=8)
    method = icgan(colour)
    method.condition_on(grey, "train")
    assert method.default_conditions == "instances of the train split of digits, uniformly"
    x = to_float(torch.tensor(grey.train.images)).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    x = nn.functional.interpolate(x, size=(16, 16), mode="bicubic", antialias=True).clamp(-1, 1)
    assert torch.allclose(method.bank.f, unit_features(x.flatten(1)), atol=1e-6)
    assert method.sample(method.G.eval(), 4).images.shape == (4, 3, 16, 16)
    with pytest.raises(ConfigError, match="3 channels"):
        icgan(pictures("digits")).condition_on(colour, "train")


def test_balanced_classes_are_drawn_before_instances() -> None:
    """A class with two images is drawn as often as one with sixty; the instance is a neighbour of such an image."""
    data = pictures()
    data.train.labels = np.array([3] * 62 + [8] * 2)
    method = icgan(data, class_conditional=True, balance_classes=True, n_instances=0, k=2)
    torch.manual_seed(0)
    x, y = method.instances.draw_by_class(2000)
    j = method.neighbour(x)
    assert torch.equal(y, torch.tensor(data.train.labels)[x])
    assert set(y.tolist()) == {3, 8}
    assert abs(float((y == 8).float().mean()) - 0.5) < 0.05
    rare = method.instances.A[[62, 63]].flatten()
    assert set(j[y == 8].tolist()) == set(rare.tolist())
    assert method.default_conditions.startswith("uniform classes of the train split")
    data.train.images = data.train.images[:2]  # a class may have no image at all
    data.train.labels = np.array([0, 7])
    sparse = icgan(data, class_conditional=True, balance_classes=True)
    assert set(sparse.instances.draw_by_class(50)[1].tolist()) == {0, 7}


def test_a_pair_shows_an_instance_under_another_class() -> None:
    """The class swap: G is given the row's features and the class asked for, whatever the row's own class is."""
    data = pictures()
    assert data.train.labels is not None
    method = icgan(data, class_conditional=True, k=3)
    G = method.G.eval()
    pairs = torch.tensor([[5, 2], [5, 7], [9, 2]])
    torch.manual_seed(4)
    z = torch.randn(3, G.z_dim)
    torch.manual_seed(4)
    sample = method.sample(G, 3, pairs)
    assert torch.equal(sample.images, G(z, pairs[:, 1], method.instances.h[pairs[:, 0]]).clamp(-1, 1))
    assert sample.conditions is not None
    assert sample.classes is not None
    assert torch.equal(sample.conditions, pairs)
    assert torch.equal(sample.classes, pairs[:, 1])
    assert method.n_paired_classes == 10
    plain = icgan(data)
    assert plain.n_paired_classes == 0
    with pytest.raises(ConfigError, match="pairs of an instance and a class"):
        plain.sample(plain.G, 3, pairs)


def test_a_finished_run_is_asked_for_pairs() -> None:
    data = pictures()
    method = icgan(data, class_conditional=True, k=3)
    run = TrainedRun(Path(), {}, method, method.G.eval(), data)
    one = run.sample_with_conditions(3, [[5, 7]])
    assert one.classes is not None
    assert (one.conditions.tolist(), one.classes.tolist()) == ([[5, 7]] * 3, [7] * 3)  # type: ignore[union-attr]
    assert torch.equal(run.sample(2, [[5, 7], [9, 2]], seed=3), run.sample(2, [[5, 7], [9, 2]], seed=3))
    assert not torch.equal(run.sample(2, [[5, 7], [9, 2]]), run.sample(2, [[5, 8], [9, 2]]))
    assert run.sample_with_conditions(2, [5, 7]).conditions.tolist() == [5, 7], "two rows are no pair"  # type: ignore[union-attr]
    for bad, what in (
        ([[5, 10]], "classes from 10"),
        ([[64, 1]], "images from 64"),
        ([[1, 2]] * 2, r"of shape \[3, 2\] are needed"),
    ):
        with pytest.raises(ValueError, match=what):
            run.sample(3, bad)
    plain = icgan(data)
    with pytest.raises(ValueError, match=r"of shape \[3\] are needed"):
        TrainedRun(Path(), {}, plain, plain.G.eval(), data).sample(3, [[5, 1]])


def test_samples_say_which_class_they_were_given() -> None:
    data = pictures()
    seen: list[Tensor | None] = []
    for changes in ({"class_conditional": True}, {"class_conditional": True, "balance_classes": True}, {}):
        method = icgan(data, k=3, **changes)
        given = method.sample(method.G, 20).classes
        method.generate = lambda G, h, y: (seen.append(y), torch.zeros(len(h), 1, 16, 16))[1]  # type: ignore[method-assign,func-returns-value]
        sample = method.sample(method.G, 20)
        assert (given is None) == (not changes)
        assert (sample.classes is None and seen[-1] is None) or torch.equal(sample.classes, seen[-1])  # type: ignore[arg-type]


def test_samples_like_a_long_tailed_training_split_have_its_classes() -> None:
    data = pictures()
    data.train.labels = np.array([3] * 62 + [8] * 2)
    method = icgan(data, class_conditional=True, balance_classes=True, n_instances=0, k=2)
    torch.manual_seed(0)
    pairs = method.conditions_like("train", 4000)
    assert pairs is not None
    assert float((pairs[:, 1] == 8).float().mean()) == pytest.approx(2 / 64, abs=0.01)
    rare = pairs[pairs[:, 1] == 8, 0]
    assert set(rare.tolist()) == set(method.instances.A[[62, 63]].flatten().tolist())
    assert method.conditions_like("test", 4) is None, "uniform classes are what a balanced split has"
    assert icgan(data, class_conditional=True).conditions_like("train", 4) is None


def test_the_class_swap_is_drawn_with_one_latent_a_row() -> None:
    data = pictures()
    assert data.train.labels is not None
    method = icgan(data, n_instances=0, class_conditional=True)
    G = method.G.eval()
    swap = dict(method.pictures(G, data))["class_swap"]
    assert isinstance(swap, Grid)
    assert swap.images.shape == (8, 8, 1, 16, 16)
    assert swap.columns[:2] == ["instance", "its class"]
    photos = to_float(torch.tensor(data.train.images)).permute(0, 3, 1, 2)
    labels = torch.tensor(data.train.labels)
    rows = [int((photos == row[0]).flatten(1).all(1).nonzero()[0]) for row in swap.images]
    assert [data.class_names[k] for k in labels[rows].tolist()] == swap.rows
    assert len(set(swap.rows)) == 8, "instances of different classes"
    others = [data.class_names.index(name) for name in swap.columns[2:]]
    compared = 0
    for row, name in zip(swap.images, swap.rows):
        for image, other in zip(row[2:], others):
            same = data.class_names[other] == name
            assert torch.allclose(image, row[1], atol=1e-5) is same, "its own class alone repeats its sample"
            compared += same
    assert compared > 2


@pytest.mark.parametrize("changes", [{}, {"class_conditional": True}, STYLEGAN2])
def test_pictures_show_instances_neighbours_samples_and_the_nearest(changes: dict[str, Any]) -> None:
    data = pictures()
    method = icgan(data, n_instances=0, **changes)
    found: dict[str, Grid] = dict(method.pictures(method.G.eval(), data))
    shown, nearest = found["instances"], found["nearest"]
    assert shown.images.shape == (8, 9, 1, 16, 16)
    assert shown.columns == ["instance", "neighbour 1", "neighbour 2", "neighbour 3", *["sample"] * 5]
    photos = to_float(torch.tensor(data.train.images)).permute(0, 3, 1, 2)
    i = [int((photos == row[0]).flatten(1).all(1).nonzero()) for row in shown.images]
    assert torch.equal(shown.images[:, 1:4], photos[method.instances.A[i][:, :3]])
    assert nearest.images.shape == (8, 7, 1, 16, 16)
    assert torch.equal(nearest.images[:, 0], shown.images[:, 4])
    by_hand = (unit_features(nearest.images[:, 0].flatten(1)) @ method.instances.h.T).argmax(1)
    assert torch.equal(nearest.images[:, 1], photos[by_hand])


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "changes", "what"),
    [
        ("shapes", {"class_conditional": True}, "has no classes"),
        ("digits", {"class_conditional": True, "backbone": "stylegan2"}, "backbone = stylegan2"),
        ("digits", {"balance_classes": True}, "balance_classes"),
        ("digits", {"pl_weight": 2.0}, "pl_weight = 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_trained(
    card: str, changes: dict[str, Any], what: str
) -> None:
    artifacts = Unhurried(pictures(card))
    with pytest.raises(ConfigError, match=what):
        ICGAN.stages(artifacts, replace(TINY, **changes))  # type: ignore[arg-type]
    assert artifacts.conditions == []


@pytest.mark.parametrize(("recipe", "dataset"), [(name, card) for name, rows in RECIPES.items() for card in rows])
def test_recipes_keep_to_the_authors_rules(recipe: str, dataset: str) -> None:
    """k = 50 and 1,000 instances on ImageNet, else k = 5; small data are translated; the loss goes with the nets."""
    cfg: Any = RECIPES[recipe][dataset]
    imagenet = dataset in ("imagenet64", "imagenet128", "imagenet256")
    stylegan2 = recipe == "paper_stylegan2"
    assert cfg.k == (50 if imagenet else 5)
    assert cfg.translation == (not imagenet and not stylegan2 and recipe != "small")
    assert cfg.class_conditional == ("class" in recipe or "_lt" in dataset)
    assert cfg.loss == ("non_saturating" if stylegan2 else "hinge")
    assert bool(cfg.r1_weight) == bool(cfg.pl_weight) == stylegan2
    assert cfg.flip, "DA(d)"
    assert cfg.flip_instances == ("_lt" not in dataset and "wide" not in recipe)


def test_the_average_keeps_its_decay() -> None:
    for decay, batch in ((0.9999, 2048), (0.999, 32)):
        assert 0.5 ** (batch / half_life(decay, batch)) == pytest.approx(decay, rel=1e-12)


# ---- does the instance steer? ---------------------------------------------------------------------------------------


def flat_pictures() -> Dataset:
    """64 flat grey pictures in four shades, with a little noise."""
    data = pictures()
    shades = np.array([20, 90, 165, 235])[np.arange(64) % 4]
    noise = np.random.default_rng(1).integers(-8, 9, (64, 16, 16, 1))
    data.train.images = (shades[:, None, None, None] + noise).astype(np.uint8)
    return data


def preference(method: ICGAN, data: Dataset) -> float:
    """Of generated images for their instance's neighbours over random images, by their mean shade."""
    torch.manual_seed(9)
    sample = method.sample(copy.deepcopy(method.G).eval(), 64)
    shades = to_float(torch.tensor(data.train.images)).flatten(1).mean(1, keepdim=True)
    random = shades[torch.randint(64, (64, 8))]
    neighbours = shades[method.targets(sample.conditions)]
    return instance_preference(sample.images.flatten(1).mean(1, keepdim=True), neighbours, random).value


class Embedded(nn.Module):
    """Features whose directions tell shades apart: an angle."""

    def forward(self, x: Tensor) -> Tensor:
        angle = x.mean((1, 2, 3)) * 1.5
        return torch.stack([angle.cos(), angle.sin()], 1)


def steered(cls: type[ICGAN], steps: int = 100) -> float:
    """The preference after a short training on the flat pictures."""
    data = flat_pictures()
    f = FeatureNet({"extractor": "angle"}, Prepare(None), Embedded(), pooled=False)
    h = pooled_features(data, f)
    A = nearest_neighbours(data, h, 5)["neighbours"]
    cfg = replace(TINY, ch=4, lr_G=3e-3, lr_D=3e-3, n_dis=1, translation=False)
    instances = Instances(unit_features(h["h"]), A, drawn=torch.arange(len(A)))
    method = construct(cls, cfg, data, CPU, 0, f=f, instances=instances)
    take_steps(method, data, steps)
    return preference(method, data)


def test_the_instance_steers_the_generator() -> None:
    assert steered(ICGAN) > 0.75


def test_it_does_not_when_real_images_are_unrelated_to_their_instances() -> None:
    """The test above can fail: with random images in place of neighbours nothing ties an image to h."""

    class Unrelated(ICGAN):
        def neighbour(self, i: Tensor) -> Tensor:
            return torch.randint(len(self.instances.h), i.shape)

    assert steered(Unrelated) < 0.65


def test_a_job_makes_and_finds_the_stages(tmp_path: Any) -> None:
    """Through the harness's own store: another k computes neighbours alone."""
    data = pictures(flip_ok=True)
    made = []
    for k in (3, 3, 4):
        artifacts = ArtifactStore(data, tmp_path, CPU, quiet=True)
        ICGAN.stages(artifacts, replace(TINY, k=k))
        made.append([(item.name, item.found) for item in artifacts.made])
    names = ["pooled_features", "pooled_features", "nearest_neighbours", "kmeans_instances"]
    assert made[0] == [(name, False) for name in names]
    assert made[1] == [(name, True) for name in names]
    assert made[2] == [(name, name != "nearest_neighbours") for name in names]
