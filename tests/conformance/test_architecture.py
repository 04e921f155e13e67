"""The house keeps its floors: a room imports only from rooms below it. Read from the files' text; nothing is imported.

`python tests/conformance/test_architecture.py` prints the rooms, the floors and the arrows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Lowest first. A room may import from the rooms of lower floors, and from none of its own floor but itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("data",),
    ("nn",),
    ("metrics",),
    ("training",),
    ("methods", "evaluation"),
    ("runs",),
    ("report",),
    ("drift",),
    ("api",),
    ("commands",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LOOSE = {"__init__", "__main__"}  # modules that lie in `benchmark/` itself
Arrows = dict[tuple[str, str], set[str]]  # (from, to): the modules that import


def room_of(module: str) -> str:
    """The room of a dotted module name: `benchmark.data.cards` is in `data`, a method file in `methods`."""
    parts = module.split(".")
    if parts[0] == "methods":
        return "methods"
    if len(parts) == 1:
        return "api"  # `benchmark` itself: its `__init__` is the public interface
    return parts[1]


def modules(root: Path) -> dict[str, Path]:
    """Every module of the packages `benchmark` and `methods` by its dotted name."""
    found = {}
    for path in sorted([*(root / "benchmark").rglob("*.py"), *(root / "methods").rglob("*.py")]):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, known: Mapping[str, Path], typing: bool = True) -> Iterator[str]:
    """The modules of this project that a module imports, wherever in it. typing: also for type checking alone."""
    skipped = () if typing else {inner for node in ast.walk(tree) if _is_for_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                name = whole if whole in known else node.module
                if name in known:
                    yield name


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def graph(root: Path, typing: bool = True) -> dict[str, set[str]]:
    """What each module imports."""
    known = modules(root)
    return {name: set(imports(ast.parse(path.read_text()), known, typing)) - {name} for name, path in known.items()}


def arrows_between_rooms(modules_to: Mapping[str, set[str]]) -> Arrows:
    """The imports that leave a room."""
    found: Arrows = {}
    for module, others in modules_to.items():
        for other in others:
            a, b = room_of(module), room_of(other)
            if a != b:
                found.setdefault((a, b), set()).add(module)
    return found


def problems(root: Path) -> list[str]:
    """Everything that breaks the plan, a line each."""
    modules_to = graph(root)
    lines = [
        f"{module} lies directly in benchmark/: move it into a room"
        for module in modules_to
        if module.startswith("benchmark.") and module.count(".") == 1 and room_of(module) not in FLOOR
    ]
    for (a, b), who in sorted(arrows_between_rooms(modules_to).items()):
        if a in FLOOR and b in FLOOR and FLOOR[b] >= FLOOR[a]:
            lines.append(f"{a} imports from {b}, which is not below it: {', '.join(sorted(who))}")
    for module, others in modules_to.items():
        for other in sorted(others):
            a, b = module.split("."), other.split(".")
            if a[0] == b[0] == "methods" and len(b) > 1 and b[1] != "recipes":
                lines.append(f"{module} imports {other}: a method imports no other")
    return lines + [" -> ".join(circle) + " is a circle" for circle in circles(graph(root, typing=False))]


def circles(modules_to: Mapping[str, set[str]]) -> list[list[str]]:
    """Circles of modules that import each other when they are loaded; one for each that a walk comes back to."""
    found, done = [], set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        for other in sorted(modules_to.get(module, ())):
            walk(other, [*path, module])
        done.add(module)

    for module in modules_to:
        walk(module, [])
    return found


def summary(root: Path) -> str:
    """Rooms, floors and arrows in words."""
    modules_to = graph(root)
    arrows = arrows_between_rooms(modules_to)
    upwards = [pair for pair in arrows if FLOOR.get(pair[1], 99) >= FLOOR.get(pair[0], -1)]
    rooms = sorted({room_of(module) for module in modules_to}, key=lambda room: FLOOR.get(room, 99))
    lines = [f"{len(rooms)} rooms, {len(FLOORS)} floors, {len(arrows)} arrows between rooms, {len(upwards)} upwards"]
    lines.append(f"{len(circles(graph(root, typing=False)))} circles among {len(modules_to)} modules")
    for room in reversed(rooms):
        below = sorted((b for a, b in arrows if a == room), key=lambda other: FLOOR.get(other, 99))
        n = sum(room_of(module) == room for module in modules_to)
        lines.append(f"  floor {FLOOR.get(room, '?'):>2}  {room:<11} {n:>3} modules  imports {', '.join(below) or '-'}")
    return "\n".join(lines)


def test_every_arrow_points_down_and_there_is_no_circle() -> None:
    assert problems(ROOT) == [], "\n" + summary(ROOT)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("benchmark/data/new.py", "from benchmark.report.tables import Table\n", "data imports from report"),
        (
            "benchmark/metrics/new.py",
            "def f():\n    from benchmark.training.loop import train\n",
            "metrics imports from",
        ),
        ("benchmark/loose.py", "", "benchmark.loose lies directly in benchmark/"),
        ("methods/new.py", "import methods.sngan\n", "a method imports no other"),
        ("methods/other.py", "from benchmark.evaluation.config import EvalConfig\n", "methods imports from evaluation"),
        ("benchmark/core/a.py", "from benchmark.core import b\n", "circle"),
    ],
)
def test_a_breach_is_found(tmp_path: Path, file: str, text: str, complaint: str) -> None:
    for path in ("benchmark/data", "benchmark/metrics", "benchmark/report", "benchmark/training", "benchmark/core"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "benchmark/evaluation").mkdir()
    (tmp_path / "methods").mkdir()
    for name in ("report/tables", "training/loop", "evaluation/config"):
        (tmp_path / f"benchmark/{name}.py").write_text("")
    (tmp_path / "methods/sngan.py").write_text("")
    (tmp_path / "benchmark/core/b.py").write_text("from benchmark.core import a\n")
    assert not any(complaint in line for line in problems(tmp_path))
    (tmp_path / file).write_text(text)
    assert any(complaint in line for line in problems(tmp_path))


if __name__ == "__main__":
    print(summary(ROOT))
    print("\n".join(problems(ROOT)))
