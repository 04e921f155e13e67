"""The record of a run: what is in it, what is not, and what cannot be read."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from helpers import Finished
from pydantic import ValidationError

from benchmark.core import paths
from benchmark.core.environment import environment
from benchmark.core.errors import UserError
from benchmark.evaluation.value import MetricValue
from benchmark.runs.records import Record, read_record, read_records, record_path, show, show_protocol, write_record


def written(
    results: Path, run: str = "a", status: str = "done", value: MetricValue | None = None, **more: object
) -> Record:
    identity = {"method": "m", "dataset": "d", "recipe": "small", "seed": 0}
    value = value or MetricValue("fd", "FD", 1.5, "lower", {"n": 1})
    result = None if status == "failed" else {"values": [value.to_dict()]}
    return write_record(
        results, run, status=status, reason=str(more.get("reason", "")), identity=identity,  # type: ignore[arg-type]
        result=result, time={"training_s": 1.0}, device={"device": "cpu"},
    )  # fmt: skip


def test_records_are_read_back_by_name(tmp_path: Path) -> None:
    for run in ("b", "a"):
        written(tmp_path, run)
    records = read_records(tmp_path)
    assert [record.run for record in records] == ["a", "b"]
    assert records[0].status == "done"
    assert records[0].values["fd"].value == 1.5
    written(tmp_path, "c", "failed", reason="why")
    assert read_record(record_path(tmp_path, "c")).values == {}


def test_a_record_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = record_path(tmp_path, "a")
    written(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(UserError, match=r"(?s)not a record of this version.*schema 99"):
        read_record(path)
    path.write_text("[]")
    with pytest.raises(UserError, match="not a record"):
        read_record(path)


def test_a_record_that_is_not_whole_is_refused_by_its_keys(tmp_path: Path) -> None:
    path = record_path(tmp_path, "a")
    written(tmp_path)
    plain = json.loads(path.read_text())
    del plain["seed"]
    plain["result"]["values"][0]["value"] = "1.5"
    path.write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"(?s)a\.json: not a whole record.*seed: .*result\.values\.0\.value"):
        read_record(path)


def test_every_committed_record_is_given_back_as_it_was_written() -> None:
    files = sorted((paths.REFERENCE / "records").glob("*.json"))
    assert len(files) >= 450
    for path in files:
        text, plain = path.read_text(encoding="utf-8"), read_record(path).to_dict()
        assert json.dumps(plain, indent=1, ensure_ascii=False) + "\n" == text, path


def test_what_a_later_version_adds_is_kept_and_what_an_earlier_one_lacks_stays_absent(tmp_path: Path) -> None:
    value = {"id": "fd", "name": "FD", "value": 3, "details": {"of": 10}, "sampled": [1, 2]}
    plain = {"schema": 1, "supervision": "labels", "run": "a", "status": "done", "method": "m", "dataset": "d",
             "seed": 0, "recipe": "small", "result": {"steps": 5, "values": [value], "epochs": 2.0}}  # fmt: skip
    path = record_path(tmp_path, "a")
    path.parent.mkdir()
    path.write_text(json.dumps(plain))
    record = read_record(path)
    assert json.dumps(record.to_dict()) == json.dumps(plain)
    assert record.result is not None
    assert (record.result.steps, record.result.images_seen, record.result.parameters) == (5, None, {})
    assert (record.values["fd"].value, record.values["fd"].better, record.values["fd"].protocol) == (3, None, {})
    assert record.config == {}


def test_the_writer_returns_what_a_reader_finds(tmp_path: Path) -> None:
    for run, status in (("a", "done"), ("b", "failed")):
        record = written(tmp_path, run, status)
        assert record.to_dict() == read_record(record_path(tmp_path, run)).to_dict()
        with pytest.raises(ValidationError, match="frozen"):
            record.seed = 1  # type: ignore[misc]


def test_scores_are_a_data_frame(tmp_path: Path) -> None:
    value = MetricValue("recall_judge", "Recall", None, "higher", {"n": 1}, status="unavailable", reason="no weights")
    frame = written(tmp_path, value=value).scores
    assert list(frame.index) == ["recall_judge"]
    assert math.isnan(frame.loc["recall_judge", "value"])
    assert frame.loc["recall_judge", "reason"] == "no weights"
    assert frame.loc["recall_judge", "protocol_key"] == value.protocol_key
    assert written(tmp_path).scores.loc["fd", "value"] == 1.5
    assert written(tmp_path, "b", "failed").scores.empty
    assert str(written(tmp_path, "b", "failed").scores["value"].dtype) == "float64"


def test_what_stands_behind_a_value_is_shown(tmp_path: Path) -> None:
    out, details = io.StringIO(), {"controls": {"half against half": 1.25}}
    value = MetricValue("fd_judge", "FD-judge", 1.5, "lower", {"differences": ["other resize"]}, details=details)
    show_protocol(written(tmp_path, value=value), out)
    assert out.getvalue() == "  note: other resize\n  FD-judge of half against half: 1.25\n"


def test_values_share_a_column_only_under_one_protocol() -> None:
    one, same = (
        MetricValue("fd", "FD", 1.0, "lower", {"n": 1, "m": 2}),
        MetricValue("fd", "FD", 2.0, "lower", {"m": 2, "n": 1}),
    )
    assert one.protocol_key == same.protocol_key
    assert one.protocol_key != MetricValue("fd", "FD", 1.0, "lower", {"n": 2, "m": 2}).protocol_key
    assert one.protocol_key != MetricValue("is", "FD", 1.0, "lower", {"n": 1, "m": 2}).protocol_key


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_failed(bad: float) -> None:
    plain = MetricValue("fd", "FD", bad, "lower", {}).to_dict()
    assert (plain["value"], plain["status"]) == (None, "failed")
    assert str(bad) in plain["reason"]


def test_a_row_is_shown_with_its_interval(tmp_path: Path) -> None:
    record = written(tmp_path, "x", "failed", reason="broke")
    out = io.StringIO()
    show(record, out)
    assert "m on d, recipe small, seed 0: failed: broke" in out.getvalue()
    show(written(tmp_path, value=MetricValue("a", "accuracy", 0.5, "higher", {}, 0.4, 0.6)), out)
    assert "accuracy" in out.getvalue()
    assert "^ 0.5  [0.4, 0.6]" in out.getvalue()


def test_the_environment_says_what_numbers_could_depend_on() -> None:
    found = environment()
    assert set(found["libraries"]) >= {"torch", "torchvision", "numpy", "scipy", "scikit-learn"}
    assert all(found["libraries"][name] for name in ("torch", "numpy", "scipy"))
    assert found["cpu"]


def test_a_run_s_record_carries_its_protocol_and_no_path(finished: Finished) -> None:
    record = finished.outcome.record
    assert record["status"] == "done"
    assert {"method", "dataset", "recipe", "seed", "changes", "config", "config_hash"} <= set(record)
    assert record["environment"]["ranks"] == 1
    assert record["result"]["steps"] == 12
    ids = [value["id"] for value in record["result"]["values"]]
    assert len(ids) == len(set(ids))
    for value in record["result"]["values"]:
        protocol = value["protocol"]
        assert {"protocol", "dataset", "data_sha256", "reference", "n_reference", "n_fake", "set_seed"} <= set(protocol)
        assert {"conditioning", "drawn", "latents_seed", "weights"} <= set(value["conditions"])
        assert "extractor" in protocol or "scorer" in protocol
    assert str(finished.results) not in json.dumps(record), "a record means the same on another machine"


def test_time_is_counted_once(finished: Finished) -> None:
    """Each stage's seconds, however often the run asks for it; evaluation and training apart."""
    metas = [json.loads(path.read_text()) for path in finished.results.glob("artifacts/*/meta.json")]
    stages = {meta["key"]: meta["seconds"] for meta in metas if "key" in meta}
    time = finished.outcome.record["time"]
    assert time["stages_s"] == pytest.approx(sum(stages.values()))
    assert time["training_s"] > 0
    assert time["evaluation_s"] > 0


@pytest.mark.parametrize("given", [{}, {"utc": "2001-01-01T00:00:00+00:00"}])
def test_the_time_of_writing_is_added_where_it_is_not_given(given: dict[str, str], tmp_path: Path) -> None:
    identity = {"method": "sngan", "dataset": "digits", "recipe": "small", "seed": 0}
    record = write_record(
        tmp_path, "one", status="failed", reason="", identity=identity, result=None,
        time={"training_s": 3.0} | given, device={},
    )  # fmt: skip
    assert record.time["training_s"] == 3.0
    assert record.time["utc"] == given["utc"] if given else record.time["utc"] > "2026"
