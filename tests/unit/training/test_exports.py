"""`benchmark.training` exports what an author of a method needs, and loads nothing before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from helpers import environment

import benchmark.training


def test_importing_the_package_alone_is_light() -> None:
    code = "import sys, benchmark.training; print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_every_name_is_what_a_type_checker_is_told() -> None:
    tree = ast.parse(Path(benchmark.training.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    told = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(told) == sorted(benchmark.training.__all__) == dir(benchmark.training)
    for name, module in told.items():
        assert module is not None
        assert getattr(benchmark.training, name) is getattr(import_module(module), name)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Methd'"):
        _ = benchmark.training.Methd  # type: ignore[attr-defined]
