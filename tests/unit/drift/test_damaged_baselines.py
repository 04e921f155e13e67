"""Baselines of the drift gates that are damaged, and requests that name nothing: refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.drift.gates import BASELINES, DriftError
from benchmark.drift.metric_baseline import read_baseline
from benchmark.drift.metric_gate import accept_metrics, metric_gate
from benchmark.drift.model_baseline import accept_model, model_baseline_path, read_model_baseline

METRIC, MODEL = BASELINES / "metric" / "1.json", BASELINES / "model" / "digits" / "sngan.json"
NEW: tuple[Any, ...] = (None, "text", 7, [1], {"a": 1}, float("nan"), float("inf"))


def is_read(reader: Any, path: Path) -> bool:
    try:
        reader(path)
    except UserError as error:
        assert path.name in str(error)  # noqa: PT017
        return False
    return True


@pytest.mark.parametrize(("reader", "source"), [(read_baseline, METRIC), (read_model_baseline, MODEL)])
def test_a_field_of_a_wrong_type_is_named(reader: Any, source: Path, tmp_path: Path) -> None:
    plain, path = json.loads(source.read_text(encoding="utf-8")), tmp_path / source.name
    assert is_read(reader, source)
    for key, old in plain.items():
        path.write_text(json.dumps({name: value for name, value in plain.items() if name != key}))
        assert not is_read(reader, path), f"without {key}"
        for new in NEW:
            path.write_text(json.dumps(plain | {key: new}))
            if type(new) is not type(old):
                assert not is_read(reader, path), f"{key} = {new}"
            else:
                is_read(reader, path)


@pytest.mark.parametrize("key", ["value", "same", "other"])
@pytest.mark.parametrize("new", [float("nan"), float("inf"), "1.5", [1]])
def test_a_number_of_the_metric_baseline_is_finite(key: str, new: Any, tmp_path: Path) -> None:
    plain, path = json.loads(METRIC.read_text(encoding="utf-8")), tmp_path / METRIC.name
    name = next(name for name, stored in plain["numbers"].items() if stored["value"] is not None)
    plain["numbers"][name][key] = new
    path.write_text(json.dumps(plain))
    assert not is_read(read_baseline, path)


@pytest.mark.parametrize(
    ("key", "new"), [("environment", {"libraries": 5}), ("config", {"eval": 3}), ("changes", {"transfer": 3})]
)
def test_what_the_gate_reads_by_key_has_its_type(key: str, new: Any, tmp_path: Path) -> None:
    plain, path = json.loads(MODEL.read_text(encoding="utf-8")), tmp_path / MODEL.name
    path.write_text(json.dumps(plain | {key: new}))
    assert not is_read(read_model_baseline, path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"{", b"[]", b"null", b'"text"'])
def test_a_file_that_is_no_baseline_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_bytes(content)
    assert not is_read(read_baseline, path)
    assert not is_read(read_model_baseline, path)


def test_unknown_metrics_are_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.drift.metric_gate.check_metrics", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(DriftError, match=r"(?s)--metrics nonsense.*known: "):
        metric_gate(metrics=["nonsense"])
    with pytest.raises(DriftError, match="--accept"):
        metric_gate(metrics=[], accept="why")


def test_a_baseline_that_cannot_be_written_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmark.drift.metric_gate._stored", lambda *_: pytest.fail("measured"))
    (tmp_path / "metric").write_text("a file")
    with pytest.raises(UserError, match="cannot be"):
        accept_metrics("why", tmp_path, commit=lambda: "0" * 12)
    (tmp_path / "model").write_text("a file")
    monkeypatch.setattr("benchmark.drift.model_baseline._metrics", lambda *_: pytest.fail("computed"))
    source = BASELINES.parents[2] / "results" / "reference"
    with pytest.raises(UserError, match="cannot be"):
        accept_model("why", "sngan", "digits", source, baselines=tmp_path, commit=lambda: "0" * 12)


def test_a_dataset_s_name_never_leaves_the_baselines(tmp_path: Path) -> None:
    path = model_baseline_path("../../m", "../../../d", tmp_path)
    assert path.resolve().is_relative_to((tmp_path / "model").resolve())
