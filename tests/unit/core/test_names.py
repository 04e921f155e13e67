"""Names from outside as components of paths, and as text for a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.core.names import LONGEST, is_plain, path_component, printable

ROOT = Path(__file__).parents[3]
HOSTILE = ("../../../X", "..", ".", "", "/etc/passwd", "a/b", "a\\b", ".hidden", "-rf", "a\x00b", "a\nb", "\x1b[2J",
           "CON", "nul.txt", "x" * 5000, "é" * 200, "a%b", "a}b", "\ud800", " a", "a ", "a.", "C:x",
           "~", "=2F")  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    safe = path_component(name)
    path = tmp_path / "inside" / f"{safe}-all.md"
    path.parent.mkdir()
    path.write_text("")
    assert path.resolve().parent == (tmp_path / "inside").resolve()
    assert safe
    assert not safe.startswith((".", "-"))
    assert not {"/", "\\", "\x00", "\n", "%", "}"} & set(safe)
    assert len(safe.encode()) <= LONGEST


def test_different_names_stay_different() -> None:
    assert len({path_component(name) for name in HOSTILE}) == len(HOSTILE)


def test_names_in_use_stay_as_they_are() -> None:
    names = [path.stem for path in (ROOT / "results" / "reference").rglob("*.*")]
    names += [path.stem for path in (ROOT / "datasets").iterdir()]
    assert len(names) > 400
    assert [name for name in names if not is_plain(name)] == []
    assert all(map(is_plain, ("my images (2)", "Größe_3")))


def test_a_terminal_gets_no_control_characters() -> None:
    assert printable("a\x1b[2Jb\rc\u202ed\n\te") == "a\\x1b[2Jb\\x0dc\\x202ed\n\te"
