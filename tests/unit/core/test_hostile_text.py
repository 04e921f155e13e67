"""YAML and JSON that somebody else wrote: bounded, read as text where YAML 1.1 would guess, and refused by name."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.config import build, dump_yaml, load_yaml, parse_yaml
from benchmark.core.errors import ConfigError, DataError, UserError
from benchmark.core.files import JsonLines, read_json
from benchmark.core.text import parse_json, read_text
from benchmark.data.cards import DatasetCard, card_with, find_card

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefghi", "bcdefghij")
)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (LAUGHS.encode(), ["line", "aliases written out"]),
        (b"a: &x [*x]", ["line 1", "alias names the list or mapping that holds it"]),
        (b"a: &x {b: *x}", ["line 1", "alias names"]),
        (b"[" * 100_000, ["line 1", "more than 50 lists or mappings"]),
        (b"a: " + b"- " * 50_000, ["line 1", "not valid YAML"]),
        (b"a: 1\nb: \xff\n", ["byte 0xff in line 2 is not UTF-8", "save it as UTF-8"]),
        ("a: 1".encode("utf-16"), ["not UTF-8"]),
        (b"a: 1\nb: \x07\n", ["line 2", "U+0007"]),
        (b"a: \x00\n", ["line 1", "U+0000"]),
        (b"a: !!int abc", ["line 1", "'abc' is no int"]),
        (b"a: !!bool yes", ["line 1", "'yes' is no bool"]),
        (b"a: " + b"9" * 100_000, ["line 1", "a number of 100,000 digits"]),
        (b"a: !!timestamp 2020-13-45", ["line 1", "timestamp", "leave the tag out"]),
        (b"a: !!python/object/apply:os.system [ls]", ["line 1", "python/object", "only plain values"]),
        (b"a: !!binary aGk=", ["line 1", "binary"]),
        (b"a: !!map [1]", ["line 1", "no mapping"]),
        (b'a: "\\U00110000"', ["not valid YAML", "escapes"]),
        (b"a" * 300_000, ["too large", "262,144 bytes"]),
    ],
)  # fmt: skip
def test_bad_yaml_is_named(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path, began = tmp_path / "bad.yaml", time.monotonic()
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert time.monotonic() - began < 5
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert caught.value.why
    assert caught.value.mend


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"), ("020", 20), ("0o17", 15), ("0x1F", 31), ("yes", "yes"), ("no", "no"), ("on", "on"),
        ("off", "off"), ("2020-13-45", "2020-13-45"), ("2020-01-01", "2020-01-01"), ("1_000", "1_000"),
        ("=", "="), ("<<", "<<"), ("~", None), ("-.5", -0.5), ("True", True), ("\ufeff7", 7),
    ],
)  # fmt: skip
def test_plain_values_follow_yaml_1_2(text: str, value: Any) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


def test_aliases_of_a_reasonable_size_are_read() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: [*x, *x]\n") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("value", ["1e3", "0o17", "yes", "1:30", "020", "2020-01-01", "", "~", "0x1F", 1e-5, 3.0, True])
def test_what_is_written_is_read_back(value: Any) -> None:
    shared = [value]
    assert parse_yaml(dump_yaml({"a": shared, "b": shared})) == {"a": [value], "b": [value]}


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"9" * 100_000, "cannot be read as JSON"),
        (b'{"a": 1, "a": 2}', "key 'a' is given twice"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b'"\xff"', "not UTF-8"),
        (b"[" + b"[]," * 6_000_000 + b"1]", "GB of memory"),
    ],
)
def test_bad_json_is_named(tmp_path: Path, content: bytes, part: str) -> None:
    path, began = tmp_path / "bad.json", time.monotonic()
    path.write_bytes(content)
    with pytest.raises(UserError, match=part) as caught:
        read_json(path)
    assert time.monotonic() - began < 5
    assert str(path) in caught.value.what


def test_a_log_ends_where_it_is_no_text_any_more(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xe2\x80\xa8"}\n{"a": "\xe2')
    assert [line["a"] for line in JsonLines(path).read()] == [1, "\u2028"]
    path.write_bytes(b'{"a": 1}\n' + b"[" * 100_000)
    assert JsonLines(path).read() == [{"a": 1}]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DataError, match="not a regular file"):
        read_text(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        find_card(str(tmp_path / "pipe.yaml"))
    (tmp_path / "long.txt").write_text("x" * 11)
    with pytest.raises(DataError, match="10 bytes"):
        read_text(tmp_path / "long.txt", limit=10)


def test_json_of_millions_of_labels_is_read() -> None:
    text = '{"labels": [' + ", ".join(['["00000/img00000000.png", 0]'] * 300_000) + "]}"
    assert len(parse_json(text, "x")["labels"]) == 300_000


@pytest.mark.parametrize(
    "path", ["~nosuchuser/data", "a\0b", "n" * 300, "n" * 300 + ".yaml", "~nosuchuser/c.yaml", "n/" * 2000]
)
def test_paths_that_no_file_can_have_are_named(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="path") as caught:
        find_card(path)
    assert caught.value.mend
    card = tmp_path / "mine.yaml"
    source = {"kind": "folder", "path": path}
    plain = {"name": "mine", "title": "t", "source": source, "resolution": 32, "channels": 3, "conditioning": "none"}
    card.write_text(json.dumps(plain))
    with pytest.raises(UserError, match="path"):
        find_card(str(card))


def test_a_dataset_name_fits_into_a_file_name() -> None:
    for name in ("../x", "a/b", "a\n", ".x", "n" * 101, "a\0b", ""):
        plain = {"name": name, "title": "t", "source": {"kind": "folder", "path": "x"}, "resolution": 32, "channels": 3}
        with pytest.raises(ConfigError, match="name"):
            build(DatasetCard, plain | {"conditioning": "none"})


@pytest.mark.parametrize("kind", [["folder"], {"a": 1}, None, 3, "nosuch"])
def test_a_kind_of_source_that_there_is_not_is_named(kind: object) -> None:
    with pytest.raises(ConfigError, match=r"source\.kind"):
        card_with(find_card("digits"), {"source": {"kind": kind}})
