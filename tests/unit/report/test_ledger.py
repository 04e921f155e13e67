"""The ledger: what a method was given, what it used, and whether it collapsed; all by its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_records import write

from benchmark.report.ledger import COSTS, UNKNOWN, collapse, cost, cost_listing, given, ledger, supervision
from benchmark.report.writers import listing_csv
from benchmark.runs.records import Record, read_records

pytestmark = pytest.mark.usefixtures("quick_environment")


def record(
    asked: str | None = "none",
    config: dict[str, Any] | None = None,
    data: str = "class",
    values: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Record:
    """A record with what the ledger reads. asked None: the run failed."""
    result = None
    if asked is not None:
        drawn = {"conditioning": asked, "drawn": f"{asked} of the split"}
        result = {"steps": 100, "images_seen": 6400, "parameters": {"G": 10, "D": 20}, "conditions": drawn}
        result |= {"values": values or [], **more}
    plain = {
        "schema": 1,
        "run": "r",
        "status": "failed" if asked is None else "done",
        "method": "m",
        "dataset": "d",
        "recipe": "small",
        "seed": 0,
        "config": {"config": config or {}, "data": {"conditioning": data}},
        "result": result,
        "time": {"training_s": 60.0, "stages_s": 20.0, "evaluation_s": 20.0, "steps_per_s": 4.0},
        "environment": {"device": "cpu", "cpu": "a CPU", "threads": 1, "ranks": 1},
    }
    return Record.model_validate(plain)


@pytest.mark.parametrize(
    ("asked", "config", "data", "text"),
    [
        ("none", {}, "class", "none"),
        ("class", {}, "class", "labels"),
        ("class", {"label_noise": 0.4}, "class", "labels (40 % wrong)"),
        ("attributes", {"encoder": {"steps": 5}}, "attributes", "attributes; SimCLR trained here"),
        ("cluster", {"encoder": {"steps": 5}}, "class", "none; SimCLR trained here"),
        ("cluster", {"features": "flat"}, "class", "none"),
        ("instance", {"features": {"name": "simclr"}}, "class", "none; SimCLR trained here"),
        ("instance", {"features": {"name": "simclr"}, "class_conditional": True}, "class",
         "labels; SimCLR trained here"),
        ("instance", {"features": {"name": "resnet50", "weights": "/somewhere/swav.pth"}}, "class",
         "none; ResNet-50 (weights of swav.pth)"),
        ("latent", {"features": {"name": "alexnet"}}, "class", "none; AlexNet, untrained"),
        ("latent", {"features": {"name": "classifier", "classifier": {"label_noise": 0.9}}}, "class",
         "labels (90 % wrong); classifier trained here on the labels"),
        ("latent", {"features": {"name": "lite0"}, "oracle_pairs": True}, "class",
         "labels; EfficientNet-Lite0 (ImageNet labels)"),
        (None, {}, "class", UNKNOWN),
        (None, {"class_conditional": True}, "class", "labels"),
    ],
)  # fmt: skip
def test_what_a_method_was_given(asked: str | None, config: dict[str, Any], data: str, text: str) -> None:
    assert supervision(record(asked, config, data)) == text


def test_an_unknown_encoder_counts_as_pretrained() -> None:
    (encoder,) = given(record("latent", {"features": {"name": "new"}})).encoders
    assert encoder.pretrained


def test_the_ledger_has_one_line_for_each_kind_of_run() -> None:
    runs = [record(), record(), record("class"), record("latent", {"features": {"name": "lite0"}})]
    lines = ledger(runs).lines
    assert len(lines) == 3
    assert ("m", "d", "labels", "none", "none", "class of the split") in lines
    assert ("m", "d", "none", "EfficientNet-Lite0 (ImageNet labels)", "none", "latent of the split") in lines
    assert ledger(reversed(runs)) == ledger(runs)


def test_costs_by_hand() -> None:
    heads = [head for head, _ in COSTS]
    costs = dict(zip(heads, (cost([record(peak_memory_mb=512.0)], read) for _, read in COSTS)))
    assert costs == {
        "Generator steps": 100,
        "Images seen by D": 6400,
        "Parameters": 30,
        "FLOPs a step": None,
        "s a step": 0.25,
        "Images a s": 4 * 64,
        "Training s": 60,
        "Stages s": 20,
        "Evaluation s": 20,
        "Evaluation share": 0.2,
        "Peak memory MB": 512,
    }


def test_costs_are_means_over_finished_runs() -> None:
    listing = cost_listing(
        "d",
        "D",
        ("Method",),
        [(("m",), [record(), record(flops_per_step=1e9), record(None)]), (("f",), [record(None)])],
    )
    line = dict(zip(listing.heads, listing.lines[0]))
    assert (line["Method"], line["Generator steps"], line["FLOPs a step"]) == ("m", 100, 10**9)
    assert line["Machine"] == "a CPU, 1 threads, 1 ranks"
    assert set(listing.lines[1][1:-1]) == {None}
    assert listing.lines[1][-1] == ""
    assert listing.name == "d-cost"


def test_a_listing_is_a_data_frame_and_its_csv_keeps_whole_numbers() -> None:
    rows = [
        (("m",), [record()]),
        (("n, o",), [record(flops_per_step=1e9), record(steps=103)]),
        (("f",), [record(None)]),
    ]
    listing = cost_listing("d", "D", ("Method",), rows)
    frame = listing.to_frame()
    assert list(frame.columns) == list(listing.heads)
    assert frame["Generator steps"].tolist()[:2] == [100, 101.5]
    assert frame["Generator steps"].isna().tolist() == [False, False, True]
    assert frame["Generator steps"].dtype == "float64"
    lines = listing_csv(listing).splitlines()
    assert [line.split(",")[1] for line in lines[1::2]] == ["100", ""]
    assert lines[2].startswith('"n, o",101.5,')


def value(id: str, number: float | None, **details: Any) -> dict[str, Any]:
    return {"id": id, "name": id, "value": number, "details": details}


VARIED = (value("recall_judge", 0.3), value("coverage_judge", 0.3))
SAME = (value("recall_judge", 0.0), value("coverage_judge", 0.001))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([value("modes_judge", 2.0, of=10)], "2 of 10"),
        ([value("modes_judge", 3.0, of=10)], ""),
        ([value("modes", 5.0, of=25)], "5 of 25"),
        ([value("modes_judge", 1.0, of=3)], "1 of 3"),
        ([value("modes_judge", 1.0, of=1)], ""),
        ([value("recall_judge", 0.005), value("coverage_judge", 0.002)], "recall_judge 0.005, coverage_judge 0.002"),
        ([value("recall_judge", 0.005), value("coverage_judge", 0.5)], ""),
        ([value("recall_judge", 0.5), value("coverage_judge", 0.002)], ""),
        ([value("recall_lite0", 0.005), value("coverage_judge", 0.002)], ""),
        ([value("recall_lite0", 0.0), value("coverage_lite0", 0.0), *SAME], "recall_lite0 0"),
        ([value("recall_lite0", 0.0), value("coverage_lite0", 0.0), *VARIED], ""),
        ([value("recall_judge", None), value("coverage_judge", 0.002)], ""),
        ([], ""),
    ],
)
def test_collapse(values: list[dict[str, Any]], why: str) -> None:
    found = collapse(record(values=values))
    assert bool(found) == bool(why)
    assert why in found


def test_identical_samples_and_failed_runs() -> None:
    assert collapse(record(distinct_samples=1)) == "all samples are identical"
    assert collapse(record(distinct_samples=300)) == ""
    assert collapse(record(stalled_since=1850)) == "both losses constant from step 1,850 on"
    assert collapse(record(None)) == ""


def test_a_record_as_it_is_written_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 1.0})
    (written,) = read_records(tmp_path)
    assert supervision(written) == UNKNOWN, "it does not say what was asked for"
    assert cost([written], dict(COSTS)["Generator steps"]) == 10
    assert cost([written], dict(COSTS)["s a step"]) is None
