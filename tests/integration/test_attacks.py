"""Attacks through files and folders that a command is given: a named error, or numbers that are true."""

from __future__ import annotations

import html.parser
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import INFOSCC, Finished, run_arguments
from made_records import check_inert, write
from PIL import Image

from benchmark.__main__ import main
from benchmark.report.page import render
from benchmark.report.report import gather
from benchmark.report.table_files import write_tables
from benchmark.runs.records import find_records, record_path
from benchmark.runs.spec import Paths
from benchmark.runs.suites.suite import find_suite, resolved_cells

MOST_SECONDS = 5.0  # of processor time, in this process: a busy machine does not count, nor the import of torch
EVAL = ["--device", "cpu", "--quiet", "--set", "judge.steps=2", "judge.width=4", "controls=false", "encoder=null"]


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 2) -> str:
    """What a command says that must end with this status, at once."""
    capsys.readouterr()
    began = time.process_time()
    assert main([str(word) for word in arguments]) == status
    assert time.process_time() - began < MOST_SECONDS
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return " ".join(text.split())


def pictures(folder: Path, n: int, side: int = 16) -> Path:
    folder.mkdir()
    random = np.random.default_rng(n)
    for i in range(n):
        Image.fromarray(random.integers(0, 256, (side, side), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("where", ["/dev/null/x", "FILE", "FILE/sub", "/proc", "/proc/x"])
def test_results_that_cannot_be_written(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "FILE").write_text("x")
    images = pictures(tmp_path / "images", 4)
    results = ["--results", tmp_path / where]  # an absolute one stays as it is
    for command in (
        ["run", "--method", "sngan", "--device", "cpu"],
        ["suite", "smoke", "--device", "cpu"],
        ["suite", "smoke", "--device", "cpu", "--workers", "2"],
        ["eval", images, "--reference", "digits", "--device", "cpu"],
        ["prepare", "--dataset", "digits"],
        ["reproduce", "--method", "icgan", "--dataset", "imagenet", "--records-only"],
    ):
        assert "cannot be written" in complaint(capsys, *command, *results), command
    for command in (["table"], ["report"], ["drift", "--model", "infoscc", "--dataset", "digits"]):
        said = complaint(capsys, *command, *results)
        assert "records" in said, command
    assert "missing" in complaint(capsys, "sample", "--method", "sngan", "--out", tmp_path / "out", *results)


def test_the_check_of_the_results_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complaint(capsys, "run", "--method", "sngan", "--device", "gpu", "--results", tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["empty", "one", "texts", "hidden", "damaged", "one against one", "two sizes"])
def test_folders_to_score(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures(tmp_path / "images", 1 if kind.startswith("one") else 4 if kind == "two sizes" else 0)
    reference: object = "digits"
    if kind == "texts":
        (folder / "a.txt").write_text("x")
    elif kind == "hidden":
        (folder / ".a.png").write_bytes(b"x")
    elif kind == "damaged":
        (folder / "a.png").write_text("no picture")
    elif kind == "one against one":
        reference = pictures(tmp_path / "others", 1)
    elif kind == "two sizes":
        Image.new("L", (9, 9)).save(folder / "odd.png")
    results = tmp_path / "results"
    said = complaint(capsys, "eval", folder, "--reference", reference, "--results", results, *EVAL)
    assert said.startswith("gantlet: ")
    assert str(folder) in said or str(reference) in said or "images" in said
    assert "fix: " in said
    assert not list(results.glob("records/*"))


CONFIGS = {
    "empty": b"",
    "binary": bytes(range(256)),
    "deep": b"a: " + b"[" * 5000,
    "a list": b"- 1\n",
    "another mapping": b"a: 1\n",
    "unknown method": b"method: ../x\nversion: 1\nseed: 0\ndata_sha256: x\nconfig: {}\n",
    "wrong types": b"method: [1]\nversion: {}\nseed: x\ndata_sha256: 3\nconfig: 4\n",
    "of infoscc without settings": b"method: infoscc\nversion: 1\nseed: 0\ndata_sha256: x\nconfig: null\n",
    "missing": None,
}


@pytest.mark.parametrize("how", CONFIGS)
def test_a_damaged_configuration(
    how: str, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark import load_run
    from benchmark.core.errors import UserError

    results = tmp_path / "results"
    shutil.copytree(finished.results, results, copy_function=os.link)
    (path,) = results.glob("runs/*/*/*/config.yaml")
    path.unlink()
    content = CONFIGS[how]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_run(path.parent)
    assert str(path.parent) in str(caught.value)
    if how == "binary":
        assert main(["table", "--results", str(results), "--quiet"]) == 0  # of records alone
    for record in results.glob("records/*.json"):
        record.unlink()
    if content is not None:  # without it nobody has claimed the folder
        said = complaint(capsys, *run_arguments(results, INFOSCC))
        assert str(path.parent) in said


SUITE = """
title: {bad}
source: {bad}
dataset: digits
recipe: small
seeds: [0]
set: {{steps: 10}}
columns: [{bad}]
sizes: {{small: {{}}}}
rows:
  - {{labels: {{{bad}: {bad}}}, method: infoscc, set: {{loss: hinge}}}}
  - {{labels: {{{bad}: other}}, method: infoscc, set: {{loss: lsgan}}}}
"""
TEXTS = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "latex": r"}\input{/etc/passwd}\write18{id}$^&_#%",
    "formula": "=HYPERLINK(1)",
    "markdown": "[a](javascript:alert(1)) | `b`",
}


class Tags(html.parser.HTMLParser):
    """Counts what could run."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        links = [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction", "xlink:href")]
        self.handlers += [link for link in links if link.strip().lower().startswith(("javascript:", "data:text"))]


@pytest.mark.parametrize("attack", TEXTS)
def test_texts_of_a_suite_are_text_in_every_form(attack: str, tmp_path: Path) -> None:
    from benchmark.report.suite_tables import suite_table

    file, results = tmp_path / "mine.yaml", tmp_path / "results"
    file.write_text(SUITE.format(bad=json.dumps(TEXTS[attack])))
    suite = find_suite(str(file))
    pairs = resolved_cells(suite, "small", Paths(tmp_path / "data", results))
    for _, one in pairs:
        write(results, {"fd_judge": 1.0}, changes=one.spec.changes, config=one.plain, config_hash=one.config_hash)
    found = find_records(results)
    assert not found.left_out
    table = suite_table(suite, "small", found.records, "digits")
    assert any(row.records for row in table.rows), "the records are those of the suite"
    for path in write_tables(results, suites=[str(file)], records=found.records):
        check_inert(path)
    from benchmark.report import report

    page = gather(results, found.records, ())
    page.suites.append(report._suite(results, table, report.Album()))
    tags = Tags()
    tags.feed(render(page))
    assert tags.scripts == 1
    assert not tags.handlers


def test_a_renamed_record_of_scored_images_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its file says another name than it does. Images that were scored again under another name are a row."""
    images, results = pictures(tmp_path / "images", 40), tmp_path / "results"
    words = ["eval", str(images), "--reference", "digits", "--results", str(results), *EVAL]
    assert main(words) == 0
    (path,) = results.glob("records/*.json")
    renamed = path.with_name("digits-zebra-pictures-0123abcd.json")
    renamed.write_bytes(path.read_bytes())
    found = find_records(results)
    assert [record_path(results, record.run) for record in found.records] == [path]
    assert renamed.name in "".join(map(str, found.left_out))
    assert main(["table", "--results", str(results), "--quiet"]) == 2
    assert "left out: " in capsys.readouterr().err
    renamed.unlink()
    assert main([*words, "--name", "zebra"]) == 0
    assert len(find_records(results).records) == 2


def test_a_suite_says_by_its_status_that_a_record_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fake: Any, suite_file: str
) -> None:
    words = [
        "suite",
        suite_file,
        "--results",
        str(tmp_path / "results"),
        "--device",
        "cpu",
        "--quiet",
        "--workers",
        "1",
    ]
    assert main(words) == 0
    (tmp_path / "results" / "records" / "digits-broken-small-s0-00000000.json").write_text("{")
    capsys.readouterr()
    assert main(words) == 2
    assert "digits-broken" in capsys.readouterr().err
    mine = next((tmp_path / "results" / "records").glob("digits-infoscc-*.json"))
    mine.write_text("{")
    assert main(words) == 2
    printed = capsys.readouterr()
    assert f"cannot be run: {mine}" in printed.out
    assert printed.out.count("done before") == 3, "the other cells go on"
