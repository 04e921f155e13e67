"""Files: whole or not at all, locks that name their holder, disks that are full."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from benchmark.core import files
from benchmark.core.errors import BusyError, UserError
from benchmark.core.files import (
    JsonLines,
    atomic,
    lock,
    read_json,
    remove_torn,
    require_space,
    require_writable,
    write_json,
)


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic(path, "w") as file:
        file.write("old")
    with pytest.raises(TypeError), atomic(path, "w") as file:
        print("half of the ne", file=file, flush=True) or file.write(None)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file"]


def test_files_are_as_readable_as_plain_ones(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    files.write_text(tmp_path / "atomic", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize(
    ("number", "mend"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "check the permissions")]
)
def test_a_write_that_fails_says_what_to_do(
    number: int, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=rf"(?s){path}: cannot be written.*{os.strerror(number)}.*{mend}"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.pt.abc.tmp").write_text("torn")
    (tmp_path / "checkpoint.pt").write_text("whole")
    (tmp_path / ".lock").touch()
    remove_torn(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "checkpoint.pt"]


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert not path.exists()
    write_json(path, {"a": "é"})
    assert read_json(path) == {"a": "é"}
    path.write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_json(path)


def test_a_held_lock_names_its_holder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / ".lock"
    with lock(path, "the run x", wait=False):
        message = rf"(?s)the run x is being worked on.*process {os.getpid()} on "
        with pytest.raises(BusyError, match=message) as caught, lock(path, "the run x", wait=False):
            pytest.fail("two holders")
        assert caught.value.exit_code == 3
        path.with_suffix(".owner").unlink()  # the holder may be just leaving
        with pytest.raises(BusyError, match="another process holds it"), lock(path, "the run x", wait=False):
            pytest.fail("two holders")
    with lock(path, "the run x", wait=False):
        pass


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"), lock(tmp_path / "file" / "x.lock", "x", wait=True):
        pytest.fail("held")


def test_a_full_disk_still_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's name is for messages alone."""

    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_no_link", full)
    held = lock(tmp_path / "x.lock", "x", wait=False)
    with held, pytest.raises(BusyError, match="another process"), lock(tmp_path / "x.lock", "x", wait=False):
        pytest.fail("two holders")


def test_space_and_permission_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_space(tmp_path / "not" / "there" / "yet", 1, "a test")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5 * 10**8))
    with pytest.raises(UserError, match=r"(?s)too full for a test.*2\.00 GB are needed, 0\.50 GB are free"):
        require_space(tmp_path, 2 * 10**9, "a test")
    require_writable(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        require_writable(tmp_path / "file")


# ---- JSON lines -----------------------------------------------------------------------------------------------------


def test_lines_are_read_up_to_one_that_a_kill_cut_short(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "log.jsonl")
    assert lines.read() == [], "nothing was written yet"
    for step in (1, 2, 3):
        lines.append({"step": step, "loss": None})
    whole = lines.path.read_text()
    assert [line["step"] for line in lines.read()] == [1, 2, 3]
    for torn in ('{"step": 4, "lo', "4", '"'):
        lines.path.write_text(whole + torn)
        assert [line["step"] for line in lines.read()] == [1, 2, 3]


def test_what_is_kept_stays_as_it_is_written_and_the_torn_tail_goes(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "log.jsonl")
    lines.keep(lambda line: True)
    assert not lines.path.exists(), "no file is made of nothing"
    lines.path.write_text('{"step":1}\n{"step": 2}\n{"step": 3}\n{"st')
    lines.keep(lambda line: line["step"] <= 2)
    assert lines.path.read_text() == '{"step":1}\n{"step": 2}\n'
    lines.append({"step": 3})
    assert lines.path.read_text() == '{"step":1}\n{"step": 2}\n{"step": 3}\n'


def test_a_log_may_be_longer_than_other_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 30)
    lines = JsonLines(tmp_path / "log.jsonl")
    for step in range(20):
        lines.append({"step": step})
    assert [line["step"] for line in lines.read()] == list(range(20))
    lines.append({"text": "x" * 40})  # one line is bounded: nothing of the suite's writes such a one
    assert len(lines.read()) == 20


def test_lines_are_put_on_the_disk_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    lines = JsonLines(tmp_path / "log.jsonl")
    lines.sync()  # there is nothing yet
    lines.append({"step": 1})
    assert synced == []
    lines.sync()
    assert synced == [lines.path.stat().st_ino]


def test_lines_that_cannot_be_read_or_written_say_so(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path)  # a folder
    with pytest.raises(UserError, match="cannot be read"):
        lines.read()
    with pytest.raises(UserError, match="cannot be written"):
        lines.append({"step": 1})
