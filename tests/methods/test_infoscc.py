"""InfoSCC-GAN: when its classifier is asked, whom each loss moves, how labels are coded and drawn."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import INFOSCC, outcome, run_arguments
from torch import Tensor, nn

import benchmark.runs.run
from benchmark.__main__ import main
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Batch, images_to_float
from benchmark.evaluation.scores import unavailable
from benchmark.nn.losses import label_loss
from benchmark.runs.spec import Paths, resolve
from benchmark.runs.suites.suite import cells, find_suite
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method
from benchmark.training.stages.clustering import cluster
from methods.infoscc import InfoSCC

CPU = torch.device("cpu")
NONE = UserError("no weights")
TINY = replace(
    find_method("infoscc").recipe("small", "default"), batch=4, base=2, max_width=8, eps_dim=8, noise_dim=8, steps=40
)


def frozen(net: Any) -> Any:
    return net.requires_grad_(False).eval()


def infoscc(dataset: str = "digits", clusters: Any = None, **changes: Any) -> tuple[InfoSCC, Dataset]:
    """A tiny model whose encoder and classifier are random linear maps."""
    data = Dataset.tiny(find_card(dataset))
    n_labels = len(clusters["centres"]) if clusters else data.n_labels
    size = data.channels * data.resolution**2
    E, C = frozen(nn.Sequential(nn.Flatten(), nn.Linear(size, 6))), frozen(nn.Linear(6, n_labels))
    cfg = replace(TINY, **changes)
    return construct(InfoSCC, cfg, data, CPU, 0, E=E, C=C, clusters=clusters), data


def steps(method: InfoSCC, data: Dataset, n: int) -> list[dict[str, Tensor]]:
    """What n steps logged."""
    stream, logged = stream_for(method, data, 0), []
    for t in range(n):
        method._step = t
        seed_step(0, t)
        logged.append(method.step(stream, t))
    return logged


@pytest.mark.parametrize(("n_cls", "at"), [(0, []), (1, [*range(7)]), (2, [0, 2, 4, 6]), (3, [0, 3, 6])])
def test_the_classifier_is_asked_every_n_th_step(n_cls: int, at: list[int]) -> None:
    method, data = infoscc(n_cls=n_cls)
    calls: list[int] = []
    method.C.register_forward_hook(lambda *_: calls.append(method._step))
    logged = steps(method, data, 7)
    assert calls == at
    assert [t for t, losses in enumerate(logged) if "class" in losses] == at


def test_the_gradient_penalty_comes_every_sixteenth_step() -> None:
    method, data = infoscc()
    assert [t for t, losses in enumerate(steps(method, data, 34)) if "R1" in losses] == [0, 16, 32]
    method, data = infoscc(r1_weight=0.0)
    assert not any("R1" in losses for losses in steps(method, data, 2))


def test_each_loss_moves_its_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Order and targets of a full step: class and adversarial terms G; its own and R1 D; none E or C."""
    method, data = infoscc()
    moves: list[str] = []
    plain = method.update

    def update(loss: Tensor, *optimisers: Any) -> None:
        before = {name: copy.deepcopy(net.state_dict()) for name, net in nets.items()}
        plain(loss, *optimisers)
        moves.append("".join(name for name, net in nets.items() if changed(net, before[name])))

    def changed(net: nn.Module, old: dict[str, Tensor]) -> bool:
        return any(not torch.equal(tensor, old[key]) for key, tensor in net.state_dict().items())

    nets = {"G": method.G, "D": method.D, "E": method.E, "C": method.C}
    monkeypatch.setattr(method, "update", update)
    steps(method, data, 1)
    assert moves == ["G", "D", "D", "G"]
    assert all(p.grad is None for net in nets.values() for p in net.parameters())
    assert set(method.modules()) == {"G", "D"}


def test_n_dis_counts_the_discriminators_steps() -> None:
    method, data = infoscc(n_dis=3, n_cls=0, r1_weight=0.0)
    steps(method, data, 2)
    assert int(method.opt_D.state[method.D.net[0].weight]["step"]) == 6
    assert int(method.opt_G.state[method.G.out.weight]["step"]) == 2


def test_the_class_term_shares_the_moments_of_the_adversarial_one() -> None:
    """One Adam for all of G's losses, as published: two updates at a step with a class term."""
    method, data = infoscc(n_cls=1)
    steps(method, data, 3)
    assert int(method.opt_G.state[method.G.out.weight]["step"]) == 6


def test_classes_are_one_hot_and_attributes_as_they_are() -> None:
    method, _ = infoscc()
    assert method.code(torch.tensor([2, 0])).tolist() == [[0, 0, 1] + [0] * 7, [1] + [0] * 9]
    method, _ = infoscc("shapes")
    y = torch.tensor([[1, 0, 0, 1, 1]])
    assert method.code(y).tolist() == [[1.0, 0.0, 0.0, 1.0, 1.0]]


def test_labels_of_fakes_are_uniform_classes_or_the_real_attributes() -> None:
    method, _ = infoscc()
    torch.manual_seed(0)
    drawn = method.labels_of_fakes(torch.zeros(4000, dtype=torch.int64))
    assert torch.bincount(drawn, minlength=10).float().div(400).sub(1).abs().max() < 0.2
    method, _ = infoscc("shapes")
    y = torch.randint(2, (4, 5)).float()
    assert method.labels_of_fakes(y) is y


def test_sampling_draws_uniform_classes_and_fair_coins() -> None:
    torch.manual_seed(0)
    method, _ = infoscc()
    conditions = method.sample(method.G, 1000).conditions
    assert conditions is not None
    assert conditions.unique().tolist() == list(range(10))
    method, _ = infoscc("shapes")
    conditions = method.sample(method.G, 1000).conditions
    assert conditions is not None
    assert (conditions.float().mean(0) - 0.5).abs().max() < 0.06


def test_label_loss_is_cross_entropy_or_its_binary_mean() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    softmax = -torch.log_softmax(logits, 1)
    assert label_loss(logits, torch.tensor([0, 1])) == pytest.approx(float((softmax[0, 0] + softmax[1, 1]) / 2))
    y = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    p = torch.sigmoid(logits)
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert label_loss(logits, y) == pytest.approx(float(expected))


def test_clusters_are_labels_of_the_images_drawn() -> None:
    clusters = {"labels": torch.arange(64) % 3, "centres": torch.zeros(3, 6)}
    method, _ = infoscc("shapes", clusters=clusters, labels="clusters")
    assert (method.conditioning, method.n_labels) == ("cluster", 3)
    index = torch.tensor([5, 0, 7])
    batch = Batch(torch.zeros(3, 3, 32, 32), None, torch.zeros(3, 5), index)
    assert method.labelled(batch)[1].tolist() == [2, 0, 1]
    assert torch.equal(method.training_clusters(), clusters["labels"])  # type: ignore[arg-type]
    assert infoscc("shapes")[0].training_clusters() is None


def test_k_means_finds_directions() -> None:
    """Embeddings of unit length are compared, so that a long and a short vector of one direction are together."""
    h = torch.tensor([[1.0, 0.0], [9.0, 0.1], [0.0, 1.0], [0.1, 5.0]])
    found = cluster(Dataset.tiny(find_card("digits")), {"h": h}, 2)
    a, b, c, d = found["labels"].tolist()
    assert a == b != c == d
    assert found["centres"].shape == (2, 2)


def test_clusters_work_from_end_to_end_on_attribute_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.runs.run, "save_pictures", lambda *_, **__: None)
    settings = [item for item in INFOSCC if not item.startswith("data.")]
    source = ["data.source.n_train=120", "data.source.n_test=80", "labels=clusters", "n_clusters=5"]
    assert main(run_arguments(tmp_path, [*settings, *source], dataset="shapes")) == 0
    values = {value["id"]: value for value in outcome(tmp_path).result["values"]}
    assert "control_accuracy_judge" not in values, "the judge knows the data's labels, not these"
    own = values["control_accuracy_own"]
    assert list(own["details"]["per_class"]) == [f"cluster {k}" for k in range(5)]
    assert own["protocol"]["conditioning"] == "cluster"


@pytest.mark.parametrize(("dataset", "labels"), [("shapes", "classes"), ("digits", "attributes")])
def test_labels_the_data_does_not_have_are_refused(dataset: str, labels: str) -> None:
    with pytest.raises(ConfigError, match=f"labels = {labels}"):
        infoscc(dataset, labels=labels)


def test_the_published_settings() -> None:
    """Configuration files of the authors' code."""
    recipes = find_method("infoscc").RECIPES["paper"]
    for cfg, batch in ((recipes["afhq"], 32), (recipes["celeba"], 64)):
        assert (cfg.steps, cfg.batch, cfg.lr_G, cfg.lr_D, cfg.betas) == (200_000, batch, 1e-4, 1e-4, (0.5, 0.99))
        assert (cfg.n_cls, cfg.r1_every, cfg.r1_weight, cfg.orth_weight, cfg.augment) == (2, 16, 10.0, 100.0, 0.6)
        assert (cfg.n_dis, cfg.ema_half_life_images, cfg.eps_dim, cfg.noise_dim) == (1, 10_000, 512, 512)
        assert (cfg.encoder.net, cfg.encoder.tau, cfg.encoder.lr, cfg.encoder.weight_decay) == (
            "resnet50",
            0.5,
            3e-4,
            1e-4,
        )
        assert (cfg.classifier.batch, cfg.classifier.lr, cfg.classifier.weight_decay) == (256, 3e-4, 1e-6)
    assert recipes["afhq"].encoder.batch == 32
    assert recipes["celeba"].encoder.batch == 128


# ---- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "labels", "columns"),
    [("digits", None, 10), ("shapes", None, 6), ("digits", "clusters", 3)],
    ids=["classes", "attributes", "clusters"],
)
def test_grids_move_one_input_each_and_real_images_are_beside_generated(
    dataset: str, labels: str | None, columns: int
) -> None:
    clusters = {"labels": torch.arange(64) % 3, "centres": torch.zeros(3, 6)} if labels else None
    method, data = infoscc(dataset, clusters=clusters, labels=labels)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    method.G.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    torch.manual_seed(0)
    found = dict(method.pictures(method.G.eval(), data))
    assert {"explore_eps", "explore_eps_zs", "explore_y", "real_generated_tsne"} <= set(found)

    def moved(inputs: tuple[Tensor, Tensor, Tensor]) -> list[bool]:
        return [len(tensor.unique(dim=0)) > 1 for tensor in inputs]

    over_eps, over_both, *over_y = [inputs for inputs in seen if len(inputs[0]) in (49, columns)][:9]
    assert moved(over_eps) == [False, True, False]
    assert moved(over_both) == [False, True, True]
    assert [moved(inputs) for inputs in over_y] == [[True, False, False]] * 7
    assert len({float(eps[0, 0]) for _, eps, _ in over_y}) == 7, "another eps in every row"
    for name, shape in (("explore_eps", (7, 7)), ("explore_eps_zs", (7, 7)), ("explore_y", (7, columns))):
        grid = found[name]
        assert grid.images.shape[:2] == shape
        assert (len(grid.rows), len(grid.columns)) == shape
    if dataset == "shapes":
        assert found["explore_y"].columns == [*data.attribute_names, "none"]
        assert over_y[0][0][-1].sum() == 0, "the last one is asked for none"

    both = found["real_generated_tsne"]
    assert both.features.shape == (128, 6)
    assert both.generated.tolist() == [False] * 64 + [True] * 64
    assert torch.allclose(both.features[:64], method.E(images_to_float(data.train.images)), atol=1e-5)
    real = method.labelled(Batch(torch.zeros(0), *labels_of(data), torch.arange(64)))[1]
    assert torch.equal(both.labels[:64], real.long())
    assert len(both.names) == method.n_labels


def labels_of(data: Dataset) -> tuple[Tensor | None, Tensor | None]:
    """Classes and attributes of the training images, as a batch has them."""
    labels, attributes = data.train.labels, data.train.attributes
    return (
        None if labels is None else torch.tensor(labels),
        None if attributes is None else torch.tensor(attributes).float(),
    )


def test_the_authors_classifiers_of_ten_and_fifteen_attributes() -> None:
    """One epoch of the classifier for 5 attributes, 100 for 10, the configuration's 200 for 15."""
    suite = find_suite("infoscc-attributes")
    found = {cell.row: resolve(cell.spec, Paths(Path(), Path())) for cell in cells(suite, "paper", [0])}
    by_set = {run.card.attribute_set: run for run in found.values()}
    assert {name: run.config.classifier.steps for name, run in by_set.items()} == {
        "5": 636, "10": 63_600, "15": 127_200
    }  # fmt: skip
    assert {name: run.config.steps for name, run in by_set.items()} == {"5": 200_000, "10": 500_000, "15": 500_000}
    assert {run.card.split for run in found.values()} == {"all"}


@pytest.mark.parametrize("name", ["infoscc-ablation", "infoscc-attributes", "infoscc-clusters", "infoscc-ncls"])
def test_paper_suites_are_measured_by_the_paper_s_protocol(name: str) -> None:
    suite = find_suite(name)
    runs = [resolve(cell.spec, Paths(Path(), Path())) for cell in cells(suite, "paper", [0])]
    for run in runs:
        cfg = run.evaluation
        assert (cfg.protocol, cfg.n_fake, cfg.reference, cfg.splits) == ("infoscc", None, "train", 1)
        assert (cfg.conditions, cfg.tsne_seeds) == ("uniform", 1)
        points = 12_800 if run.card.name == "celeba" else 6_400
        assert (cfg.chamfer_points, cfg.recall_images) == (points, points)
    if name != "infoscc-attributes":
        assert {run.config.steps * run.config.batch for run in runs} == {200_000 * 32}, "one budget"
    of_extractors = {
        value.id for extractor in runs[0].evaluation.extractors for value in unavailable(extractor, {}, NONE)
    }
    of_others = {"chamfer_tsne_paper", "control_accuracy_judge", "control_accuracy_own"}
    of_attributes = {"recall_0.2_own"} if name == "infoscc-attributes" else set()
    assert set(suite.sizes["paper"].metrics or ()) <= of_extractors | of_others | of_attributes
