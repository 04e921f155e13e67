"""Published evaluators: files, index, the check of local images, and columns that do not depend on the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import benchmark as gantlet
from benchmark.core.config import merge
from benchmark.core.errors import ConfigError, WeightsError
from benchmark.core.paths import EVALUATORS, REFERENCE
from benchmark.data.cards import card_with, find_card, list_cards
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.evaluation import published
from benchmark.evaluation.config import EvalConfig, PublishedWeights
from benchmark.evaluation.networks import build_judge, build_judges, needs_encoder, trained_here
from benchmark.metrics.extractors.trained import state_hash
from benchmark.report.tables import find_columns
from benchmark.runs.plan import make_plan
from benchmark.runs.records import Record, read_records
from benchmark.runs.spec import Paths, RunSpec, missing, resolve
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.judge import Judge, JudgeConfig
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig

CPU = torch.device("cpu")
NOWHERE = Paths(Path("data"), Path("results"))
ALL = {"metrics": "all"}  # as runs computed them before there were few; the encoder is then needed
LOCAL = {"eval": {"evaluators": "local", **ALL}}
TINY_JUDGE = JudgeConfig(steps=2, batch=16, width=4)
MAX_BYTES = 700_000


def resolved(dataset: str = "digits", method: str = "sngan", **changes: Any) -> Any:
    return resolve(RunSpec(method, dataset, 0, "small", changes), NOWHERE)


def prepared(name: str, folder: Path) -> Dataset:
    card = card_with(find_card(name), {"resolution": published.index().datasets[name].resolution})
    return prepare(card, folder / "none", folder / "data", progress=False)


def stage_store(data: Dataset, folder: Path) -> ArtifactStore:
    return ArtifactStore(data, folder / "artifacts", CPU, quiet=True)


def config_of(dataset: str, **changes: Any) -> EvalConfig:
    """The default evaluation of a dataset, with a classifier that would be trained in no time."""
    return replace(resolved(dataset).evaluation, judge=TINY_JUDGE, **changes)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared("digits", tmp_path_factory.mktemp("digits"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ArtifactStore, stage: type, *_: Any, **__: Any) -> None:
        raise AssertionError(f"{stage.__name__} is trained")

    monkeypatch.setattr(ArtifactStore, "train", refuse)


# ---- files and index ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(published.index().files))
def test_every_file_is_small_whole_and_loads(key: str) -> None:
    entry = published.index().files[key]
    assert entry.file == f"{key}.safetensors"
    assert (EVALUATORS / entry.file).stat().st_size < MAX_BYTES
    images = torch.zeros(2, entry.channels, entry.resolution, entry.resolution)
    if entry.network == "JudgeNet":
        assert published.load_classifier(entry)(images).shape == (2, len(entry.labels))
        assert len(set(entry.labels)) == len(entry.labels) > 1
    else:
        assert published.load_encoder(entry)(images).shape == (2, 8 * entry.width)
    assert entry.learned_from.endswith("test split")


def test_the_index_names_every_file_and_cards_that_there_are() -> None:
    index = published.index()
    assert {entry.file for entry in index.files.values()} == {path.name for path in EVALUATORS.glob("*.safetensors")}
    for name, served in index.datasets.items():
        card = card_with(list_cards()[name], {"resolution": served.resolution})
        assert published.served(card) == served
        assert index.files[served.judge].channels == (1 if card.source.is_stacked else card.channels)
        assert index.files[served.encoder].channels == card.channels


def test_a_file_holds_its_kernels_in_half_precision_and_is_exactly_defined() -> None:
    entry = published.index().files["digits-judge"]
    one, two = (published.load_classifier(entry) for _ in range(2))
    assert state_hash(one) == state_hash(two)
    assert all(torch.equal(p, p.half().float()) for p in one.parameters() if p.dim() > 1)
    assert not any(p.requires_grad for p in one.parameters())


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published folder whose digit classifier has one other bit."""
    folder = Path(shutil.copytree(EVALUATORS, tmp_path / "evaluators"))
    path = folder / published.index().files["digits-judge"].file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(published, "EVALUATORS", folder)
    return path


def test_a_damaged_file_is_refused_by_name_before_anything_starts(damaged: Path) -> None:
    with pytest.raises(WeightsError, match="not the published evaluator") as error:
        published.load_classifier(published.index().files["digits-judge"])
    assert str(damaged) in str(error.value)
    assert "evaluators=local" in error.value.mend
    assert [type(problem) for problem in missing(resolved(), NOWHERE)] == [WeightsError]
    assert missing(resolved(**LOCAL), NOWHERE) == []
    damaged.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        published.load_classifier(published.index().files["digits-judge"])


# ---- which configuration --------------------------------------------------------------------------------------------


def test_the_default_names_the_published_files_by_hash() -> None:
    found, files = resolved(eval=ALL).evaluation, published.index().files
    assert found.evaluators == "published"
    assert found.published == PublishedWeights(
        judge=files["digits-judge"].sha256, encoder=files["digits-encoder"].sha256
    )
    few = resolved().evaluation.published
    assert few == PublishedWeights(judge=files["digits-judge"].sha256, encoder=None), "no metric needs the encoder"


def test_runs_have_the_names_of_the_committed_records() -> None:
    """Those from before there were published evaluators have the names of local runs."""
    same, others = 0, []
    for record in read_records(REFERENCE):
        local = record.config["eval"].get("evaluators") != "published"
        changes = merge(record.changes, LOCAL) if local else record.changes
        run = resolve(RunSpec(record.method, record.dataset, record.seed, record.recipe, changes), NOWHERE).run
        same += run == record.run
        others += [record] if run != record.run else []
    assert same > 400
    # Their method has got another version since; before there were published evaluators, too
    assert all((record.method, record.changes.get("backbone")) == ("ltgan", "stylegan2") for record in others)


@pytest.mark.parametrize("dataset", ["celeba_gender64", "stl10", "imagenet64", "ring2d", "places365"])
def test_runs_on_other_datasets_keep_their_names(dataset: str) -> None:
    method = "dcgan" if dataset == "ring2d" else "sngan"
    assert resolved(dataset, method, eval=ALL).config_hash == resolved(dataset, method, **LOCAL).config_hash
    assert resolved(dataset, method).evaluation.published is None


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"split": "all"}},  # it would have learned from images that methods train on
        {"data": {"source": {"seed": 1}}},
        {"data": {"source": {"test_share": 0.8}}},
        {"data": {"resolution": 8}},
        {"data": {"imbalance": 4.0}},
    ],
)
def test_a_changed_dataset_is_another_dataset(changes: dict[str, Any]) -> None:
    assert resolved(**changes).evaluation.published is None


def test_more_stacks_of_the_same_digits_are_served() -> None:
    more = resolved("stacked_digits", data={"source": {"n_train": 100_000}})
    assert more.evaluation.published == resolved("stacked_digits").evaluation.published is not None


def test_settings_of_a_local_network_ask_for_it() -> None:
    assert resolved(eval=ALL | {"judge": {"steps": 5}}).evaluation.published.judge is None
    assert resolved(eval=ALL | {"judge": {"steps": 5}}).evaluation.published.encoder is not None
    assert resolved(eval=ALL | {"encoder": {"steps": 5}}).evaluation.published.encoder is None
    assert resolved(eval=ALL | {"encoder": None}).evaluation.published.encoder is None, "nothing needs it"
    both = {"judge": {"steps": 5}, "encoder": {"steps": 5}}
    assert resolved(eval=ALL | both).config_hash == resolved(eval=ALL | both | {"evaluators": "local"}).config_hash


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is none for celeba_gender64.*digits \(16 px\)"):
        resolved("celeba_gender64", eval={"evaluators": "published"})
    with pytest.raises(ConfigError, match=r"eval\.judge are those of a network that is trained here"):
        resolved(eval={"evaluators": "published", "judge": {"steps": 5}})
    with pytest.raises(ConfigError, match="the suite fills it in"):
        resolved(eval={"published": {"judge": "00"}})


def test_cifar10_and_its_jpeg_copy_are_served_by_the_same_files() -> None:
    official, copy = (resolved(name).evaluation.published for name in ("cifar10", "cifar10_jpeg"))
    assert official == copy
    assert official is not None


def test_no_encoder_where_no_metric_needs_it() -> None:
    assert not needs_encoder(EvalConfig())
    assert needs_encoder(EvalConfig(encoder=SimCLRConfig(steps=1, batch=2)))
    assert not needs_encoder(EvalConfig(encoder=SimCLRConfig(steps=1, batch=2), metrics="few"))
    assert needs_encoder(EvalConfig(encoder=SimCLRConfig(steps=1, batch=2), metrics="few", extractors=("simclr",)))
    assert trained_here(EvalConfig(), has_judge=True) == [(Judge, JudgeConfig())]
    assert trained_here(EvalConfig(), has_judge=False) == []
    with_encoder = EvalConfig(encoder=SimCLRConfig(steps=1, batch=2))
    assert [stage for stage, _ in trained_here(with_encoder, has_judge=True)] == [Judge, SimCLR]
    assert trained_here(resolved().evaluation, has_judge=True) == []


def test_a_plan_says_so_and_counts_no_training(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data", tmp_path / "results")
    plan = make_plan(resolve(RunSpec("sngan", "digits", 0, "small", {"eval": ALL}), paths), paths, CPU, quick=True)
    assert [part.name for part in plan.parts] == ["sngan"]
    assert "digits-judge.safetensors" in plan.text()
    assert "digits-encoder.safetensors" in plan.text()
    local = make_plan(resolve(RunSpec("sngan", "digits", 0, "small", LOCAL), paths), paths, CPU, quick=True)
    assert [part.name for part in local.parts] == ["sngan", "Judge", "SimCLR"]
    assert "published" not in local.text()


# ---- the check of local images --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["digits", "digits_0to4", "digits_5to9", "digits_lt", "stacked_digits", "shapes", "shapes_class",
             "shapes_unseen"],
)  # fmt: skip
@pytest.mark.usefixtures("no_training")
def test_the_embedded_datasets_pass(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, cfg = prepared(name, tmp_path), config_of(name)
    store = stage_store(data, tmp_path)
    build_judges(cfg, store)
    judge = build_judge(cfg, store)
    assert judge is not None
    of_dataset = published.index().datasets[name]
    assert judge.identity["judge"] == published.index().files[of_dataset.judge].sha256
    assert published.index().files[of_dataset.judge].data_sha256 == data.sha256 or name not in of_dataset.judge
    assert "note" not in capsys.readouterr().out


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mnist", "fashion_mnist", "cifar10_jpeg")]


@pytest.mark.parametrize("name", SLOW)
def test_the_real_datasets_pass(name: str, tmp_path: Path) -> None:
    root = os.environ.get("GANTLET_DATA")
    if not root:
        pytest.skip("GANTLET_DATA is not set: it names the folder of the real data sets")
    data = prepare(find_card(name), Path(root), tmp_path / "data", progress=False)
    judge = published.classifier(published.index().files[published.index().datasets[name].judge], data, CPU)
    found = float(published.unseen_accuracy(data, judge)["accuracy"])
    assert abs(found - published.index().datasets[name].accuracy) <= published.TOLERANCE


def inverted(data: Dataset) -> Dataset:
    return replace(data, sha256="inverted", train=replace(data.train, images=255 - np.array(data.train.images)))


def permuted(data: Dataset) -> Dataset:
    assert data.train.labels is not None
    return replace(data, sha256="permuted", train=replace(data.train, labels=(data.train.labels + 1) % 10))


def slightly_worse(data: Dataset) -> Dataset:
    """2 % of the labels are others: more than a percentage point."""
    assert data.train.labels is not None
    labels = data.train.labels.copy()
    labels[::50] = (labels[::50] + 1) % 10
    return replace(data, sha256="worse", train=replace(data.train, labels=labels))


@pytest.mark.parametrize("change", [inverted, permuted, slightly_worse])
def test_other_images_train_a_local_one_and_say_why(
    change: Callable[[Dataset], Dataset], digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, cfg = stage_store(change(digits), tmp_path), config_of("digits", encoder=None)
    judge = build_judge(cfg, store)
    said = capsys.readouterr().out
    assert "digits-judge.safetensors has an accuracy of 0." in said
    assert f"the published figure is {published.index().datasets['digits'].accuracy:.4f}" in said
    assert judge is not None
    (made,) = (made for made in store.made if made.name == "Judge")
    assert (judge.identity["judge"], judge.identity["weights"]["licence"]) == (made.key, "trained here")
    again = build_judge(cfg, store)
    assert again is not None
    assert again.identity == judge.identity
    assert capsys.readouterr().out == "", "said once"


def test_a_jpeg_copy_still_passes(digits: Dataset, tmp_path: Path) -> None:
    from benchmark.data.jpeg import jpeg_coded

    coded = replace(digits.train, images=jpeg_coded(np.array(digits.train.images), 90))
    assert published.misfit(stage_store(replace(digits, sha256="jpeg", train=coded), tmp_path)) == ""


def test_other_class_names_are_refused(digits: Dataset, tmp_path: Path) -> None:
    names = tuple(f"number {k}" for k in range(10))
    reason = published.misfit(stage_store(replace(digits, class_names=names), tmp_path))
    assert "labels have other names" in reason


def test_the_check_is_made_once_for_a_prepared_dataset(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert published.misfit(stage_store(digits, tmp_path)) == ""
    monkeypatch.setattr(published, "extract", lambda *_, **__: pytest.fail("measured again"))
    assert published.misfit(stage_store(digits, tmp_path)) == ""


# ---- shared files ---------------------------------------------------------------------------------------------------


def test_half_of_the_classes_are_read_from_the_same_file(tmp_path: Path, digits: Dataset) -> None:
    half = prepared("digits_5to9", tmp_path)
    entry = published.index().files["digits-judge"]
    whole, part = (published.classifier(entry, data, CPU) for data in (digits, half))
    images = torch.from_numpy(np.array(half.train.images[:8])).permute(0, 3, 1, 2)
    assert torch.equal(part(images).pooled, whole(images).pooled)
    logits, wanted = part(images).logits, whole(images).logits
    assert logits is not None
    assert wanted is not None
    torch.testing.assert_close(logits, wanted[:, 5:])
    assert part.identity["labels"] == ["5", "6", "7", "8", "9"]
    assert part.identity != whole.identity, "their logits are others, so features are stored apart"


def test_stacked_digits_are_read_channel_by_channel(tmp_path: Path) -> None:
    data = prepared("stacked_digits", tmp_path)
    entry = published.index().files["digits-judge"]
    judge, digit = published.classifier(entry, data, CPU), published.load_classifier(entry)
    images = torch.from_numpy(np.array(data.train.images[:4])).permute(0, 3, 1, 2)
    a, b, c = (digit(images[:, [k]] / 127.5 - 1) for k in range(3))
    joint = (a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]).flatten(1)
    found = judge(images).logits
    assert found is not None
    torch.testing.assert_close(found, joint, rtol=1e-4, atol=1e-4)


# ---- one column for all machines ------------------------------------------------------------------------------------


def scored(folder: Path, images: np.ndarray, name: str, **evaluation: Any) -> Record:
    """Images scored in a results folder of their own, as on another machine."""
    settings = {"controls": False, "half_samples": 0, **evaluation}
    return gantlet.score(images, "digits", name=name, results=folder, device="cpu", eval=settings)


def other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, training gives other bits, as another processor does."""
    train = ArtifactStore.train

    def perturbed(self: ArtifactStore, stage: type, cfg: Any, **inputs: Any) -> nn.Module:
        net = train(self, stage, cfg, **inputs)
        with torch.no_grad():
            next(net.parameters()).add_(1e-6)
        return net

    monkeypatch.setattr(ArtifactStore, "train", perturbed)


def judged_columns(records: list[Record]) -> set[str]:
    return {column.key for column in find_columns(records) if column.id == "fd_judge"}


def test_published_evaluators_put_two_machines_into_one_column(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.array(digits.test.images[:60])
    one = scored(tmp_path / "one", images, "one")
    other_bits(monkeypatch)
    two = scored(tmp_path / "two", images, "two")
    assert len(judged_columns([one, two])) == 1
    assert one.values["fd_judge"].value == two.values["fd_judge"].value
    weights = one.values["fd_judge"].protocol["extractor"]["weights"]
    assert weights["file"] == "digits-judge.safetensors"
    assert weights["sha256"] == published.index().files["digits-judge"].sha256


def test_local_evaluators_put_them_into_two(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.array(digits.test.images[:60])
    local = {"evaluators": "local", "judge": {"steps": 3, "width": 4}}
    one = scored(tmp_path / "one", images, "one", **local)
    other_bits(monkeypatch)
    two = scored(tmp_path / "two", images, "two", **local)
    assert len(judged_columns([one, two])) == 2


@pytest.mark.usefixtures("no_training")
def test_a_whole_run_is_scored_without_training_any_evaluator(tmp_path: Path) -> None:
    small = {
        "metrics": "all",
        "n_fake": 100,
        "chamfer_points": 100,
        "tsne_seeds": 1,
        "half_samples": 0,
        "controls": False,
    }
    record = gantlet.run(
        "sngan", "digits", results=tmp_path, device="cpu", steps=2, batch=8, width=4, eval=small, recipe="small"
    )
    files = published.index().files
    assert record.values["fd_judge"].protocol["extractor"]["judge"] == files["digits-judge"].sha256
    for id in ("chamfer_tsne_suite", "chamfer_tsne_paper"):
        assert record.values[id].protocol["encoder"] == files["digits-encoder"].sha256
    assert record.config["eval"]["evaluators"] == "published"
