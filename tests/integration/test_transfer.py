"""Transfer: a method conditioned on images is asked for images of a dataset that it never saw, and scored on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TINY

from benchmark.__main__ import main
from benchmark.core import paths
from benchmark.core.config import parse_overrides
from benchmark.core.errors import ConfigError
from benchmark.data.cards import DatasetCard, find_card
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.report.suite_tables import suite_table
from benchmark.report.tables import dataset_table
from benchmark.runs import run as experiment
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.runs.suites.suite import find_suite

SETTINGS = [*TINY, "ch=4", "k=3", "features.encoder.steps=4", "features.encoder.batch=16"]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three tiny runs: trained and scored on each half of the digits, and the first one's transfer to the second."""
    results = tmp_path_factory.mktemp("results")
    for dataset, more in (("digits_0to4", []), ("digits_5to9", []), ("digits_0to4", ["transfer=digits_5to9"])):
        what = ["run", "--method", "icgan", "--dataset", dataset, "--device", "cpu", "--quiet"]
        assert main([*what, "--results", str(results), "--set", *SETTINGS, *more]) == 0
    return results


def found(results: Path, dataset: str, *, transfer: bool) -> dict[str, Any]:
    """The record of a run."""
    records = [r.to_dict() for r in read_records(results)]
    (record,) = [r for r in records if r["dataset"] == dataset and ("transfer" in r["changes"]) == transfer]
    return record


def values(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {value["id"]: value for value in record["result"]["values"]}


def test_halves_of_the_digits_share_nothing_and_make_the_whole(tmp_path: Path) -> None:
    parts: list[Dataset] = []
    for name in ("digits", "digits_0to4", "digits_5to9"):
        parts.append(prepare(find_card(name), tmp_path, tmp_path / "cache", progress=False))
    whole, low, high = parts
    assert (low.class_names, high.class_names) == (tuple("01234"), tuple("56789"))
    for split in ("train", "test"):
        images, labels = getattr(whole, split).images, getattr(whole, split).labels
        assert np.array_equal(images[labels < 5], getattr(low, split).images)
        assert np.array_equal(images[labels >= 5], getattr(high, split).images)
        assert np.array_equal(labels[labels >= 5] - 5, getattr(high, split).labels)


def test_it_trains_as_without_transfer(records: Path) -> None:
    plain, moved = (found(records, "digits_0to4", transfer=transfer) for transfer in (False, True))
    assert plain["result"]["weights_sha256"] == moved["result"]["weights_sha256"]
    assert plain["result"]["samples_sha256"] != moved["result"]["samples_sha256"]
    assert plain["result"]["data"] == moved["result"]["data"]
    assert plain["config_hash"] != moved["config_hash"]


def test_it_is_scored_as_a_model_of_the_other_dataset(records: Path) -> None:
    own, moved = found(records, "digits_5to9", transfer=False), found(records, "digits_0to4", transfer=True)
    assert moved["result"]["transfer"] == own["result"]["data"]
    theirs, ours = values(own), values(moved)
    assert set(theirs) == set(ours)
    for id in theirs:
        assert theirs[id]["protocol_key"] == ours[id]["protocol_key"], id
        assert theirs[id]["details"].get("controls") == ours[id]["details"].get("controls"), id
    assert "digits_5to9" in ours["fd_judge"]["conditions"]["drawn"]


@pytest.mark.parametrize("changed", ["digits_0to4", "digits_5to9"])
def test_its_record_is_not_shown_when_either_dataset_has_changed(
    records: Path, changed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = experiment.prepare_for

    def other_pictures(card: DatasetCard, *arguments: Any, **options: Any) -> Dataset:
        data = plain(card, *arguments, **options)
        return replace(data, sha256="0" * 64) if card.name == changed else data

    what = ["run", "--method", "icgan", "--dataset", "digits_0to4", "--device", "cpu", "--results", str(records)]
    assert main([*what, "--set", *SETTINGS, "transfer=digits_5to9"]) == 0
    monkeypatch.setattr(experiment, "prepare_for", other_pictures)
    assert main([*what, "--set", *SETTINGS, "transfer=digits_5to9"]) == 2
    assert f"{changed} has changed since" in capsys.readouterr().err


def test_tables_show_it_beside_the_model_of_that_dataset(records: Path) -> None:
    mine = [record for record in read_records(records) if record.scored_on == "digits_5to9"]
    assert len(mine) == 2
    table = dataset_table("digits_5to9", mine)
    changes = [row.labels[-1] for row in table.rows]
    assert sum("trained on digits_0to4" in text for text in changes) == 1
    assert all("transfer=" not in text for text in changes)
    (column,) = [column for column in table.columns if column.id == "fd_judge"]  # one protocol, one column
    assert all(row.summary(column) for row in table.rows)


def test_the_suite_finds_its_records(records: Path, tmp_path: Path) -> None:
    text = (paths.SUITES / "icgan-transfer.yaml").read_text()
    small = next(line for line in text.splitlines() if line.startswith("  small: "))
    text = text.replace(small, "  small: {}")  # the budget is that of the tiny runs
    changed = text.replace("seeds: [0, 1, 2]", "seeds: [0]\nset: " + json.dumps(parse_overrides(SETTINGS)))
    path = tmp_path / "icgan-transfer.yaml"
    path.write_text(changed)
    table = suite_table(find_suite(str(path)), "small", read_records(records), "digits_5to9")
    assert [(row.labels, len(row.done)) for row in table.rows] == [
        (("IC-GAN", "the same"), 1),
        (("IC-GAN", "0 to 4"), 1),
    ]


@pytest.mark.parametrize(
    ("method", "dataset", "changes", "reason"),
    [
        ("sngan", "digits", {"transfer": "digits_5to9"}, "not conditioned on images"),
        ("icgan", "digits", {"transfer": "digits"}, "learns from this dataset already"),
        ("icgan", "digits", {"transfer": "ring2d"}, "2-D points"),
        ("icgan", "digits", {"transfer": "digits_5to9", "eval": {"snapshots": 2}}, "snapshots"),
    ],
)
def test_what_cannot_be_a_transfer(
    method: str, dataset: str, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason):
        resolve(RunSpec(method, dataset, 0, "small", changes), Paths(tmp_path, tmp_path))
