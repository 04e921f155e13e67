"""Self-Conditioned GAN: when and how it clusters, what the names of clusters mean, what each control does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import methods.selfcond
from benchmark.core import distributed
from benchmark.core.config import to_dict
from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream, to_float
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method
from benchmark.training.stages.encoders import FeatureConfig, image_encoder
from methods.selfcond import SelfCond

CPU = torch.device("cpu")


def selfcond(dataset: str = "digits", cls: type[SelfCond] = SelfCond, **changes: Any) -> tuple[SelfCond, Dataset]:
    """A tiny model on 64 random pictures or points."""
    data = Dataset.tiny(find_card(dataset))
    small = find_method("selfcond").recipe("small", dataset)
    cfg = replace(small, **{"batch": 8, "width_G": 2, "width_D": 2, "k": 5, "T": 3, "restarts": 2, **changes})
    return construct(cls, cfg, data, CPU, 0), data


class Untrained(ArtifactStore):
    """Hands out stages as they were initialised."""

    def train(self, stage: Any, cfg: Any, **inputs: Any) -> nn.Module:
        product = construct(stage, cfg, self.data, self.device, 0, **inputs).product().requires_grad_(False).eval()
        self._keys.append((product, f"{stage.name} {len(self._keys)}"))
        return product


def on_an_encoder(folder: Path, name: Any = "autoencoder", **changes: Any) -> tuple[SelfCond, Dataset]:
    """The tiny model on clusters of an untrained encoder's features."""
    data = Dataset.tiny(find_card("digits"))
    encoder = {} if name is None else {"encoder": FeatureConfig(name=name)}
    small = find_method("selfcond").recipe("small", "digits")
    tiny = {"batch": 8, "width_G": 2, "width_D": 2, "k": 5, "T": 3, "restarts": 2, "labels": "encoder"}
    cfg = replace(small, **{**tiny, **encoder, **changes})
    return construct(SelfCond, cfg, data, CPU, 0, **SelfCond.stages(Untrained(data, folder, CPU), cfg)), data


def steps(method: SelfCond, data: Dataset, n: int, stream: Stream | None = None) -> list[dict[str, Tensor]]:
    """What n steps logged."""
    stream, logged = stream or stream_for(method, data, 0), []
    for t in range(n):
        method._step = t
        seed_step(0, t)
        logged.append(method.step(stream, t))
    return logged


def clusterings(method: SelfCond, data: Dataset, n: int) -> list[int]:
    """The steps of the first n at which it clusters."""
    due: list[int] = []
    plain = method.recluster

    def recluster(first: bool) -> None:
        assert first == (method._step == 0)
        due.append(method._step)
        plain(first)

    method.recluster = recluster  # type: ignore[method-assign]
    steps(method, data, n)
    return due


@pytest.mark.parametrize(
    ("labels", "due"),
    [("clusters", [0, 3, 6]), ("fixed", [0]), ("online", [0]), ("random", []), ("classes", []), ("none", [])],
)
def test_when_it_clusters(labels: Any, due: list[int]) -> None:
    method, data = selfcond(labels=labels)
    assert clusterings(method, data, 8) == due


def test_real_and_generated_images_of_a_step_share_c_and_z(monkeypatch: pytest.MonkeyPatch) -> None:
    """c is the clusters of the real batch; both updates use the same generated images."""
    method, data = selfcond()
    seen: list[Tensor] = []
    plain = method.logits

    def logits(x: Tensor, c: Tensor | None) -> Tensor:
        assert c is not None
        seen.extend([x, c])
        return plain(x, c)

    monkeypatch.setattr(method, "logits", logits)
    steps(method, data, 1)
    index = next(stream_for(method, data, 0)).index
    real, c, fake, c_fake, again, c_again = seen
    assert torch.equal(c, method.pi[index])
    assert torch.equal(c, c_fake)
    assert torch.equal(c, c_again)
    assert torch.equal(fake, again)
    assert not fake.requires_grad
    assert again.requires_grad
    assert not torch.equal(real, fake)


def test_the_losses_are_cross_entropies_of_the_own_logit() -> None:
    """-log sigma(D(x, c)) - log(1 - sigma(D(x~, c))), with D(x, c) the c-th column of D(x)."""
    method, data = selfcond(labels="classes")
    twin, _ = selfcond(labels="classes")
    batch = next(stream_for(twin, data, 0))
    c = batch.labels
    seed_step(0, 0)
    x_fake = twin.G(twin.normal(len(c), twin.cfg.z_dim), c)
    rows = torch.arange(len(c))
    losses = steps(method, data, 1)[0]
    real, fake = twin.D(batch.images)[rows, c], twin.D(x_fake)[rows, c]
    torch.testing.assert_close(losses["D"], softplus(-real).mean() + softplus(fake).mean())
    torch.testing.assert_close(losses["G"], softplus(-method.D(x_fake)[rows, c]).mean())


def test_the_gradient_penalty_is_of_the_own_logit_at_every_step() -> None:
    method, data = selfcond("ring2d", r1_weight=0.1, backbone="mlp")
    twin, _ = selfcond("ring2d", r1_weight=0.1, backbone="mlp")
    losses = steps(method, data, 4)
    assert all("R1" in logged for logged in losses)
    steps(twin, data, 0)
    twin._step = 0
    seed_step(0, 0)
    twin.recluster(first=True)
    batch = next(stream_for(twin, data, 0))
    x = batch.images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(twin.D(x)[torch.arange(len(x)), twin.pi[batch.index]].sum(), x)
    torch.testing.assert_close(losses[0]["R1"], gradient.square().sum(1).mean())


# ---- the partition -----------------------------------------------------------------------------------------------


def permuting(labels_changed: list[bool]) -> Any:
    """k-means that finds the same clusters with other names each time it is called."""
    plain = methods.selfcond.k_means

    def k_means(x: Tensor, k: int, *rest: Any) -> Any:
        torch.manual_seed(0)
        found = plain(x, k, None, 2)
        order = torch.arange(k).roll(len(labels_changed))
        labels_changed.append(True)
        return type(found)(order[found.labels], found.centres[order.argsort()])

    return k_means


@pytest.mark.parametrize("mean_init", [True, False])
def test_permuted_names_are_undone_by_matching(monkeypatch: pytest.MonkeyPatch, mean_init: bool) -> None:
    """Without matching they are not: the check can fail."""
    kept = {}
    for matching in (True, False):
        monkeypatch.setattr(methods.selfcond, "k_means", permuting([]))
        method, _ = selfcond(matching=matching, mean_init=mean_init)
        method.recluster(first=True)
        before, centres = method.pi.clone(), method.centres.clone()
        method.recluster(first=False)
        kept[matching] = torch.equal(method.pi, before) and torch.equal(method.centres, centres)
        assert bool(method.changed == 0) == matching
        monkeypatch.undo()
    assert kept == {True: True, False: False}


def test_centres_are_renamed_with_their_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods.selfcond, "k_means", permuting([]))
    method, _ = selfcond()
    for first in (True, False, False):
        method.recluster(first)
        f = torch.cat(list(method.features(method.X_s)))
        for c in range(5):
            torch.testing.assert_close(method.centres[c], f[method.pi == c].mean(0), atol=1e-4, rtol=1e-4)


def test_later_clusterings_start_at_the_old_clusters_new_means(monkeypatch: pytest.MonkeyPatch) -> None:
    method, data = selfcond(T=2)
    starts: list[Tensor | None] = []
    plain = methods.selfcond.k_means

    def k_means(x: Tensor, k: int, start: Tensor | None, restarts: int) -> Any:
        starts.append(start)
        if start is not None:
            for c in range(k):
                torch.testing.assert_close(start[c], x[method.pi[method.X_s] == c].mean(0), atol=1e-4, rtol=1e-4)
        return plain(x, k, start, restarts)

    monkeypatch.setattr(methods.selfcond, "k_means", k_means)
    steps(method, data, 5)
    assert [start is None for start in starts] == [True, False, False]


def test_a_cluster_that_has_no_image_does_no_harm() -> None:
    method, data = selfcond()
    method.recluster(first=True)
    method.pi = method.pi.clamp(max=2)  # 3 and 4 lose all their images
    method.recluster(first=False)
    assert torch.bincount(method.pi, minlength=5).min() > 0
    assert bool(torch.isfinite(method.centres).all())
    data.train.images = np.zeros_like(data.train.images)  # images that cannot be told apart: one cluster holds all
    method.recluster(first=False)
    assert method.frequencies.max() == 1
    assert bool((method.sample(method.G.eval(), 9).conditions == method.frequencies.argmax()).all())


def test_images_outside_X_s_get_the_nearest_centre() -> None:
    method, _ = selfcond(n_s=20)
    assert len(method.X_s) == len(method.X_s.unique()) == 20
    method.recluster(first=True)
    method.D.eval()
    f = torch.cat(list(method.features(torch.arange(64))))
    nearest = torch.cdist(f.double(), method.centres.double()).argmin(1)
    assert torch.equal(method.pi, nearest)
    assert method.D.training, "left as it was"


def test_frequencies_are_the_histogram_and_are_sampled() -> None:
    method, _ = selfcond()
    method.recluster(first=True)
    histogram = torch.bincount(method.pi, minlength=5) / 64
    assert torch.equal(method.frequencies, histogram)
    assert histogram.max() > 1.2 * histogram.min(), "the test can tell it from uniform"
    torch.manual_seed(0)
    conditions = method.sample(method.G.eval(), 4000).conditions
    assert conditions is not None
    torch.testing.assert_close(torch.bincount(conditions, minlength=5) / 4000, histogram, atol=0.03, rtol=0)


def test_rank_0_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another rank takes rank 0's partition and computes none."""
    method, _ = selfcond()
    agreed = [torch.arange(64) % 5, torch.ones(5, 3)]
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    monkeypatch.setattr(distributed, "agree", lambda value: agreed if value is None else pytest.fail("it clustered"))
    method.recluster(first=True)
    assert torch.equal(method.pi, agreed[0])
    assert torch.equal(method.centres, agreed[1])


def test_everything_of_the_partition_is_saved() -> None:
    method, _ = selfcond()
    method.recluster(first=True)
    twin, _ = selfcond()
    twin.load_state_dict(method.state_dict())
    for name in ("X_s", "pi", "centres", "frequencies", "changed"):
        assert torch.equal(getattr(twin, name), getattr(method, name)), name


# ---- controls ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "conditioning", "n_labels"),
    [("clusters", "cluster", 5), ("fixed", "cluster", 5), ("random", "cluster", 5), ("classes", "class", 10)],
)
def test_what_is_asked(labels: Any, conditioning: str, n_labels: int) -> None:
    method, data = selfcond(labels=labels)
    assert (method.conditioning, method.n_labels) == (conditioning, n_labels)
    steps(method, data, 1)
    conditions = method.sample(method.G.eval(), 200).conditions
    assert conditions is not None
    assert set(conditions.tolist()) == set(range(n_labels))
    assert ("frequency" in method.default_conditions) == (labels in ("clusters", "fixed"))


def test_random_labels_are_fresh_in_each_batch() -> None:
    method, data = selfcond(labels="random")
    assert method.training_clusters() is None
    batch = next(stream_for(method, data, 0))
    torch.manual_seed(0)
    first, second = method.conditions_of(batch), method.conditions_of(batch)
    assert first is not None
    assert second is not None
    assert not torch.equal(first, second)


def test_without_labels_it_is_the_plain_gan() -> None:
    """The same bits as DCGAN."""
    method, data = selfcond(labels="none")
    assert (method.conditioning, method.n_labels, method.sample(method.G, 2).conditions) == ("none", 0, None)
    steps(method, data, 3)
    cfg = replace(find_method("dcgan").recipe("small", "digits"), batch=8, width_G=2, width_D=2)
    plain = construct(find_method("dcgan").cls, cfg, data, CPU, 0)
    steps(plain, data, 3)  # type: ignore[arg-type]
    assert all(torch.equal(p, q) for p, q in zip(plain.G.parameters(), method.G.parameters()))


def test_online_centres_follow_the_batch() -> None:
    """A centre that sees one cluster's images moves to their mean at the rate images / n_s; unseen ones stay."""
    method, data = selfcond(labels="online")
    method.recluster(first=True)
    x = next(stream_for(method, data, 0)).images
    before, frequencies = method.centres.clone(), method.frequencies.clone()
    c = method.follow(x)
    method.D.eval()
    f = method.D.features(x)
    method.D.train()
    assert torch.equal(c, torch.cdist(f, before).argmin(1))
    for j in range(5):
        n, seen = int((c == j).sum()), frequencies[j] * 64
        expected = before[j] if n == 0 else (seen * before[j] + f[c == j].sum(0)) / (seen + n)
        torch.testing.assert_close(method.centres[j], expected, atol=1e-5, rtol=1e-4)
    assert float(method.frequencies.sum()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["autoencoder", "rotnet", "classifier", None])
def test_clusters_of_a_frozen_encoder_are_kept(name: Any, tmp_path: Path) -> None:
    """Logo-GAN: c is the k-means cluster of the encoder's features, the same at every step."""
    method, data = on_an_encoder(tmp_path, name)
    before = method.pi.clone()
    encoder = image_encoder(Untrained(data, tmp_path, CPU), method.cfg.encoder or FeatureConfig())
    h = encoder(to_float(torch.tensor(data.train.images).permute(0, 3, 1, 2)))
    centres = torch.stack([h[before == c].mean(0) for c in range(5)])
    assert torch.equal(before, torch.cdist(h, centres).argmin(1)), "clusters of these features, with their own means"
    assert clusterings(method, data, 7) == []
    assert torch.equal(method.pi, before)
    assert torch.equal(method.frequencies, torch.bincount(before, minlength=5) / 64)
    batch = next(stream_for(method, data, 0))
    assert torch.equal(method.conditions_of(batch), before[batch.index])  # type: ignore[arg-type]
    assert (method.conditioning, method.n_labels) == ("cluster", 5)
    assert "frequency" in method.default_conditions
    again, _ = on_an_encoder(tmp_path, name)
    assert torch.equal(again.pi, before), "they are found again"
    assert method.training_clusters() is method.pi
    assert [name for name, _ in method.pictures(method.G.eval(), data)] == ["clusters"]
    assert {found.id for found in method.measurements(method.G, data)} == {"nmi", "purity"}


def test_other_clusters_for_another_encoder(tmp_path: Path) -> None:
    partitions = [on_an_encoder(tmp_path, name)[0].pi for name in ("autoencoder", "rotnet", "pixels")]
    for one, other in itertools.combinations(partitions, 2):
        shared = torch.zeros(5, 5).index_put_((one, other), torch.ones(64), accumulate=True)
        assert float(shared.amax(1).sum()) < 60, "not the same clusters by other names"


def test_a_configuration_without_an_encoder_keeps_its_hash() -> None:
    cfg = find_method("selfcond").recipe("small", "digits")
    assert "encoder" not in to_dict(cfg)
    assert to_dict(replace(cfg, encoder=FeatureConfig(name="rotnet")))["encoder"]["name"] == "rotnet"


def test_mistakes_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no classes"):
        selfcond("shapes", labels="classes")
    points = replace(find_method("selfcond").recipe("small", "ring2d"), labels="encoder")
    with pytest.raises(ConfigError, match="holds points"):
        SelfCond.stages(Untrained(Dataset.tiny(find_card("ring2d")), tmp_path, CPU), points)
    data = Dataset.tiny(find_card("digits"))
    data.meta = {"a": "prepared data set"}
    many = replace(find_method("selfcond").recipe("small", "digits"), k=65)
    with pytest.raises(ConfigError, match="k = 65"):
        construct(SelfCond, many, data, CPU, 0)
    with pytest.raises(ConfigError, match="k = 65"):
        SelfCond.stages(Untrained(data, tmp_path, CPU), replace(many, labels="encoder"))


def test_pictures_show_members_above_their_imitations() -> None:
    method, data = selfcond()
    method.recluster(first=True)
    ((name, grid),) = method.pictures(method.G.eval(), data)
    assert name == "clusters"
    assert grid.images.shape == (10, 10, 1, 16, 16)  # type: ignore[union-attr]
    c = int(method.frequencies.argmax())
    members = torch.from_numpy(data.train.images[(method.pi == c).numpy()]).permute(0, 3, 1, 2) / 127.5 - 1
    for cell in grid.images[0]:  # type: ignore[union-attr]
        assert any(torch.allclose(cell, member) for member in members)
    method.pi, method.frequencies = torch.zeros(64).long(), torch.tensor([1.0, 0, 0, 0, 0])
    ((_, grid),) = method.pictures(method.G, data)
    assert grid.images.shape[0] == 2, "empty clusters are left out"  # type: ignore[union-attr]
    points, data = selfcond("ring2d")
    assert list(points.pictures(points.G, data)) == []
