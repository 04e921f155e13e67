"""Networks that do not fit are refused before they are built."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core.config import parse_overrides
from benchmark.core.errors import ConfigError
from benchmark.core.registry import method_names
from benchmark.data.prepared import Dataset
from benchmark.runs.dry_run import parameters
from benchmark.runs.memory import demands, free_bytes, require_memory
from benchmark.runs.plan import make_plan
from benchmark.runs.spec import Paths, Resolved, RunSpec, resolve

CPU = torch.device("cpu")


def resolved(method: str, *settings: str) -> Resolved:
    return resolve(RunSpec(method, "digits", 0, changes=parse_overrides(list(settings))), Paths(Path(), Path()))


@pytest.mark.parametrize(
    ("method", "setting", "network"),
    [
        ("infoscc", "base=1000000000", "a network"),
        ("infoscc", "encoder.width=1000000", "training SimCLR"),
        ("infoscc", "max_width=100000", "training infoscc"),
        ("sngan", "width=100000", "training sngan"),
        ("icgan", "ch=100000", "training icgan"),
    ],
)
def test_networks_that_no_machine_holds_are_named(method: str, setting: str, network: str, tmp_path: Path) -> None:
    settings = [setting, "base=100000"] if setting.startswith("max_width") else [setting]
    run = resolved(method, *settings)
    began = time.process_time()
    with pytest.raises(ConfigError, match=setting.partition("=")[0]) as refused:
        make_plan(run, Paths(tmp_path, tmp_path), CPU)
    assert network in str(refused.value)
    assert "are free on cpu" in str(refused.value)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("method", method_names())
def test_what_is_counted_is_what_training_builds(method: str) -> None:
    """As shapes and as networks: the same parameters, of each stage and of the method."""
    from benchmark.runs.plan import DryRun
    from benchmark.training.method import construct

    run, data = resolved(method), Dataset.tiny(resolved(method).card, 16)
    counted = {what.split()[1].rstrip(","): needed for needed, what in demands(run, data)}
    store = DryRun(data, Path("none"), CPU, quiet=True, quick=True)
    built = construct(run.method.cls, run.config, data, CPU, 0, **run.method.cls.stages(store, run.config))
    assert counted[method] == 5 * 4 * sum(parameters(built).values())


def test_an_ordinary_run_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("networks were counted")

    monkeypatch.setattr("benchmark.runs.memory.demands", never)
    run = resolved("sngan", "steps=5000", "batch=512", "eval.n_fake=5000", "width=32")
    require_memory(run, Dataset.tiny(run.card, 4), CPU)
    assert free_bytes(CPU) > 10**8
