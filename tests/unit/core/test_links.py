"""What lies where the suite writes locks, logs and temporary files: links are not followed, leftovers are removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.core.errors import BusyError, UserError
from benchmark.core.files import JsonLines, lock, remove_torn, write_text


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file of somebody else's."""
    path = tmp_path / "elsewhere" / "precious.txt"
    path.parent.mkdir()
    path.write_text("precious")
    return path


def hold(path: Path) -> None:
    """Take a lock, and let it go."""
    with lock(path, "x", wait=False):
        pass


def test_a_lock_that_is_a_link_is_refused(precious: Path, tmp_path: Path) -> None:
    (tmp_path / "x.lock").symlink_to(precious)
    with pytest.raises(UserError, match=r"(?s)x\.lock: cannot be written.*symbolic link"):
        hold(tmp_path / "x.lock")
    assert precious.read_text() == "precious"


def test_an_owner_file_that_is_a_link_is_replaced(precious: Path, tmp_path: Path) -> None:
    (tmp_path / "x.owner").symlink_to(precious)
    with lock(tmp_path / "x.lock", "x", wait=False), pytest.raises(BusyError, match=f"process {os.getpid()} on"):
        hold(tmp_path / "x.lock")
    assert precious.read_text() == "precious"
    assert not (tmp_path / "x.owner").exists()


def test_who_holds_a_lock_is_not_read_through_a_link(precious: Path, tmp_path: Path) -> None:
    with lock(tmp_path / "x.lock", "x", wait=False):
        (tmp_path / "x.owner").unlink()
        (tmp_path / "x.owner").symlink_to(precious)
        with pytest.raises(BusyError, match="another process holds it"):
            hold(tmp_path / "x.lock")


def test_a_log_is_not_appended_to_through_a_link(precious: Path, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to(precious)
    with pytest.raises(UserError, match=r"(?s)log\.jsonl: cannot be written.*symbolic link"):
        JsonLines(tmp_path / "log.jsonl").append({"step": 1})
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("write", [lambda path: write_text(path, "new"), lambda path: JsonLines(path).keep(bool)])
def test_a_file_that_is_replaced_is_replaced_itself_and_not_what_a_link_leads_to(
    write: Callable[[Path], None], precious: Path, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.symlink_to(precious)
    write(path)
    assert precious.read_text() == "precious"
    assert not path.is_symlink()


def test_leftovers_below_a_folder_are_removed_and_nothing_behind_links(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for folder in (run / "traversals", elsewhere):
        folder.mkdir(parents=True)
        (folder / ".L0_D4.png.abc.tmp").write_text("torn")
        (folder / "L0_D4.png").write_text("whole")
    (run / "linked").symlink_to(elsewhere)
    remove_torn(run)
    assert os.listdir(run / "traversals") == ["L0_D4.png"]
    assert sorted(os.listdir(elsewhere)) == [".L0_D4.png.abc.tmp", "L0_D4.png"]
