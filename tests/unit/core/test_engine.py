"""Precision and capture: part of a request and an identity, never mixed in a row."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from made_records import write

import benchmark
from benchmark.__main__ import main, parser
from benchmark.core.config import canonical
from benchmark.core.engine import CAPTURES, EAGER, PRECISIONS, Engine, engine_of, without_engine
from benchmark.core.errors import ConfigError
from benchmark.nn.precision import precision_note
from benchmark.report.reproduction import rows_with_records
from benchmark.report.suite_tables import suite_table
from benchmark.report.tables import dataset_table
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths, Resolved, RunSpec, resolve
from benchmark.runs.suites.suite import cells, changes_of, find_suite


def asked(tmp_path: Path, **changes: str) -> Resolved:
    return resolve(RunSpec("sngan", "digits", 0, changes=dict(changes)), Paths(tmp_path, tmp_path))


def test_the_default_is_no_part_of_a_run_s_name(tmp_path: Path) -> None:
    assert asked(tmp_path, precision="fp32", capture="none").run == asked(tmp_path).run
    assert EAGER.plain == {}


def test_other_arithmetic_makes_another_run(tmp_path: Path) -> None:
    found = [asked(tmp_path), *(asked(tmp_path, precision=name) for name in ("tf32", "bf16"))]
    found += [asked(tmp_path, capture="compile"), asked(tmp_path, precision="bf16", capture="compile")]
    assert len({run.run for run in found}) == len({run.config_hash for run in found}) == 5
    assert found[2].plain["precision"] == "bf16"
    assert found[2].config == found[0].config, "the method knows nothing of it"


@pytest.mark.parametrize("changes", [{"precision": "fp16"}, {"precision": True}, {"capture": "jit"}])
def test_an_unknown_value_is_refused_by_name(changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        asked(tmp_path, **changes)


def test_the_command_line_offers_what_there_is() -> None:
    (verbs,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    for verb in ("run", "suite", "plan", "sample"):
        choices = {action.dest: action.choices for action in verbs.choices[verb]._actions}
        assert tuple(choices["precision"]) == PRECISIONS
        assert tuple(choices["capture"]) == CAPTURES


def test_engines_and_other_changes_come_apart() -> None:
    engine, rest = engine_of({"precision": "bf16", "loss": "hinge"})
    assert (engine, rest) == (Engine(precision="bf16"), {"loss": "hinge"})
    assert without_engine({"capture": "graph", "eval": {"k": 3}}) == {"eval": {"k": 3}}


def test_every_run_of_a_suite_takes_the_engine() -> None:
    suite = find_suite("smoke")
    plain, compiled = cells(suite, "small"), cells(suite, "small", engine=Engine(capture="compile"))
    assert [one.spec.changes | {"capture": "compile"} for one in plain] == [one.spec.changes for one in compiled]


def test_precisions_are_rows_of_their_own_in_every_table(tmp_path: Path) -> None:
    suite = find_suite("compare")
    place = next(i for i, row in enumerate(suite.rows) if row.method == "sngan")
    changes = changes_of(suite, "small", suite.rows[place], "digits")
    for seed, (value, engine) in enumerate(((2.0, {}), (3.0, {}), (9.0, {"precision": "bf16"}))):
        config = {"eval": {"metrics": "all"}, **engine}
        write(
            tmp_path, {"fd_judge": value}, method="sngan", seed=seed, changes={**changes, **engine}, config=config
        )  # fmt: skip
    records = read_records(tmp_path)
    for table in (suite_table(suite, "small", records, "digits"), dataset_table("digits", records)):
        (column,) = (column for column in table.columns if column.id == "fd_judge")
        found = {canonical(row.by_seed(column)): " ".join(row.labels) for row in table.rows if row.records}
        assert set(found) == {canonical({0: 2.0, 1: 3.0}), canonical({2: 9.0})}
        assert "bf16" in found[canonical({2: 9.0})]
        assert "bf16" not in found[canonical({0: 2.0, 1: 3.0})]
        assert any(note.startswith("bf16: ") for note in table.notes)
    published = rows_with_records(suite, "small", records, "digits")[place]
    assert [record.seed for record in published] == [0, 1], "no bf16 run stands for a published value"


def test_a_capture_that_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, why in (
        (["--method", "sngan", "--capture", "graph"], "CUDA graphs need a CUDA device"),
        (["--method", "selfcond", "--capture", "compile"], "clusters images on the host"),
    ):
        for verb in ("run", "plan"):
            assert main([verb, *words, "--device", "cpu", "--results", str(tmp_path)]) == 2
            said = capsys.readouterr().err
            assert why in said
            assert "--capture none" in said
    assert not list(tmp_path.rglob("*.npy"))


def test_a_run_in_bf16_says_so_in_its_record_and_its_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {"steps": 3, "batch": 8, "width": 4, "eval": {"n_fake": 40, "judge": {"steps": 2, "width": 4}}}
    where = {"results": tmp_path, "device": "cpu"}
    found = {name: benchmark.run("sngan", "digits", precision=name, **where, **tiny) for name in ("fp32", "bf16")}
    assert found["bf16"].config["precision"] == "bf16"
    assert "precision" not in found["fp32"].config
    weights = {record.result_or_empty.weights_sha256 for record in found.values()}
    assert len(weights) == 2
    tensors = torch.load(found["bf16"].folder / "generator.pt", weights_only=True)
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float32}
    note = precision_note("bf16", torch.device("cpu"))
    assert (
        main(["plan", "--method", "sngan", "--precision", "bf16", "--device", "cpu", "--results", str(tmp_path)]) == 0
    )
    assert (note or "in all about") in capsys.readouterr().out
