"""Records that are damaged, copied or made to attack: named and left out, never a traceback, never a file elsewhere."""

from __future__ import annotations

import copy
import html.parser
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_records import check_inert, write

from benchmark.__main__ import main
from benchmark.core import paths
from benchmark.core.errors import DataError, UserError
from benchmark.report.page import render
from benchmark.report.published import PUBLISHED_FIELDS, read_published
from benchmark.report.report import gather
from benchmark.report.table_files import write_tables
from benchmark.runs.records import find_records, read_record, record_path

GOOD = "digits-ltgan-small-s0-"
RECORDS = paths.REFERENCE / "records"
ATTACKS: dict[str, Any] = {
    "null": None,
    "a text": "text",
    "a number": 7,
    "a negative number": -7.5,
    "a list": [1, "a", None],
    "a mapping": {"a": {"b": 1}},
    "a list of mappings": [{"id": 3}],
    "true": True,
    "a huge number": 10**400,
    "infinity": float("inf"),
    "nan": float("nan"),
    "control characters": "a\x1b[2J\r\nb\x00",
    "half a surrogate": "\ud800",
    "another folder": "../../../X",
    "an absolute path": "/tmp/X",
    "latex": r"}\input{/etc/passwd}\write18{id}%",
    "a formula": '=HYPERLINK("http://x","y")',
    "a page's tag": "\"><script>alert(1)</script><img src=x onerror='alert(1)'>",
    "a markdown link": "[a](javascript:alert(1)) | ![b](http://x)",
    "a long text": "x" * 300_000,
}


def good_record() -> Path:
    return next(iter(sorted(RECORDS.glob(f"{GOOD}*.json"))))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a record down to the fourth level: the first item of a list stands for all of it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*at, key)
        if len(at) < 5:
            yield from places(part, (*at, key))


REMOVED = object()


def changed(plain: dict[str, Any], at: tuple[Any, ...], new: Any) -> str:
    plain = copy.deepcopy(plain)
    inside: Any = plain
    for key in at[:-1]:
        inside = inside[key]
    if new is REMOVED:
        del inside[at[-1]]
    else:
        inside[at[-1]] = new
    return json.dumps(plain)


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with one good record of another method."""
    folder = tmp_path / "deep" / "er" / "results"
    write(folder, {"fd_judge": 1.0, "odd": 2.0}, method="infoscc")
    return folder


PLAIN = json.loads(good_record().read_text(encoding="utf-8"))
TOP = [at for at in places(PLAIN) if len(at) == 1]
DEEPER = [at for at in places(PLAIN) if len(at) > 1]


@pytest.mark.parametrize("attack", ["removed", *ATTACKS])
def test_a_field_that_is_wrong_leaves_its_record_out_or_is_harmless(attack: str, results: Path, tmp_path: Path) -> None:
    new, run = (REMOVED if attack == "removed" else ATTACKS[attack]), PLAIN["run"]
    target = record_path(results, run)
    shown = DEEPER[::7] if attack in ("removed", "null") else DEEPER[::40]
    for at in [*TOP, *shown]:
        target.write_text(changed(PLAIN, at, new), encoding="utf-8", errors="surrogatepass")
        found = find_records(results)
        assert len(found.records) + len(found.left_out) == 2, at
        if found.left_out:
            assert run in str(found.left_out[0]), at
            continue
        for folder in ("tables", "figures"):
            shutil.rmtree(results / folder, ignore_errors=True)
        write_tables(results, suites=[], records=found.records)
        assert "infoscc" in (results / "tables" / "supervision.csv").read_text(), at
        outside = {path for path in files_under(tmp_path) if results not in path.parents}
        assert not outside, at


@pytest.mark.parametrize("attack", ["removed", *ATTACKS])
def test_every_field_is_read_or_refused(attack: str, results: Path) -> None:
    """All places, of which the test above shows some in tables: reading alone is fast."""
    new = REMOVED if attack == "removed" else ATTACKS[attack]
    target = record_path(results, PLAIN["run"])
    for at in DEEPER:
        target.write_text(changed(PLAIN, at, new), encoding="utf-8", errors="surrogatepass")
        found = find_records(results)
        assert len(found.records) + len(found.left_out) == 2, at


@pytest.mark.parametrize("attack", ["latex", "a formula", "a page's tag", "a markdown link", "control characters"])
def test_labels_that_attack_are_text_in_every_form(attack: str, results: Path, capsys: Any) -> None:
    label = ATTACKS[attack]
    plain = json.loads(changed(PLAIN, ("reason",), label))
    plain["changes"]["note"], plain["environment"]["commit"] = label, label
    plain["result"]["conditions"]["drawn"] = label
    plain["result"]["values"][0]["protocol"]["reference"] = label
    plain["config"]["data"]["title"] = label
    record_path(results, PLAIN["run"]).write_text(json.dumps(plain))
    found = find_records(results)
    assert not found.left_out
    written = write_tables(results, suites=[], records=found.records)
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text, path
        assert "\x00" not in text, path
        check_inert(path)
    page = render(gather(results, found.records, ()))
    assert "\x1b" not in page
    tags = Tags()
    tags.feed(page)
    assert tags.scripts == 1
    assert not tags.handlers


class Tags(html.parser.HTMLParser):
    """Counts what could run."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers = 0, []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]


def test_a_dataset_that_is_a_path_writes_nothing_elsewhere(results: Path, tmp_path: Path) -> None:
    plain = PLAIN | {"dataset": "../../../X", "method": "m", "recipe": "pictures"}
    plain["config"] = {}
    run = f".._.._.._X-m-pictures-{plain['config_hash'][:8]}"
    plain["run"] = run
    (results / "records" / f"{run}.json").write_text(json.dumps(plain))
    found = find_records(results)
    assert [record.dataset for record in found.records] == ["../../../X", "digits"]
    write_tables(results, suites=[], records=found.records)
    assert all(results in path.parents for path in files_under(tmp_path))
    assert (results / "tables" / "=2E.=2F..=2F..=2FX.csv").is_file()


def test_a_copy_is_named_and_is_not_another_seed(results: Path) -> None:
    original = good_record()
    shutil.copy(original, results / "records")
    shutil.copy(original, results / "records" / "copy.json")
    other = json.loads(original.read_text()) | {"seed": 17}
    other["run"] = other["run"].replace("-s0-", "-s17-")
    record_path(results, other["run"]).write_text(json.dumps(other))
    found = find_records(results)
    assert len(found.records) == 2
    told = "\n".join(map(str, found.left_out))
    assert "copy.json: not the record of the run that it is named after" in told
    assert f"{other['run']}.json: a copy of {original.stem}" in told


@pytest.mark.parametrize(
    ("field", "new"),
    [("dataset", "mnist"), ("method", "sngan"), ("recipe", "paper"), ("seed", 3), ("config_hash", "0" * 64)],
)
def test_a_record_is_of_the_run_that_it_is_named_after(field: str, new: Any, results: Path) -> None:
    target = record_path(results, PLAIN["run"])
    target.write_text(json.dumps(PLAIN | {field: new}))
    with pytest.raises(UserError, match="not the record of the run"):
        read_record(target)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"schema": 1}', b'{"schema": true}', b'{"schema": NaN}', b"null"],
)
def test_the_command_names_a_damaged_record_shows_the_others_and_says_so(
    content: bytes, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "records" / "digits-broken-small-s0-00000000.json").write_bytes(content)
    assert main(["table", "--results", str(results), "--quiet"]) == 2
    assert "left out: " in (err := capsys.readouterr().err)
    assert "digits-broken-small-s0-00000000.json" in err
    assert "infoscc" in (results / "tables" / "digits.csv").read_text()


def test_the_report_shows_the_others_and_says_so(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "records" / "digits-broken-small-s0-00000000.json").write_text("{")
    assert main(["report", "--results", str(results)]) == 2
    assert "digits-broken" in capsys.readouterr().err
    assert "infoscc" in (results / "report.html").read_text()


def test_a_folder_of_tables_that_is_a_file_is_named_first(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "tables").write_text("")
    assert main(["table", "--results", str(results), "--quiet"]) == 2
    assert "tables: cannot be written" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.chmod(0o500)
    try:
        assert main(["table", "--results", str(results), "--quiet"]) == 2
    finally:
        results.chmod(0o700)
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "", "text"])
def test_a_published_value_is_a_finite_number(value: str, tmp_path: Path) -> None:
    cells = dict.fromkeys(PUBLISHED_FIELDS, "x") | {"value": value, "certainty": "read"}
    path = tmp_path / "published.csv"
    path.write_text(",".join(PUBLISHED_FIELDS) + "\n" + ",".join(cells.values()) + "\n")
    with pytest.raises(DataError, match="line 2: value"):
        read_published(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n", ",".join(PUBLISHED_FIELDS).encode() + b"\nonly,two\n"])
def test_a_file_of_published_values_that_is_damaged_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"published\.csv"):
        read_published(path)
