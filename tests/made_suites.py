"""Two small suites that tests run, and records in the place of training."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from made_records import write

from benchmark.core.config import content_hash
from benchmark.core.errors import RunFailed
from benchmark.runs.records import Record, read_record, record_path
from benchmark.runs.spec import Paths, RunSpec
from benchmark.runs.suites import cost as plan_module
from benchmark.runs.suites.cost import RowCost

SUITE = """
title: Two losses
source: a test
dataset: digits
recipe: small
seeds: [0, 1]
set: {steps: 10}
columns: [Model, Loss]
metrics: [fd_judge]
sizes:
  small: {}
  paper: {dataset: afhq, recipe: paper, seeds: [0], set: {steps: 20}}
published: {dataset: afhq, columns: [FID], source: the paper's table 1, protocol: another network.}
rows:
  - {labels: {Model: InfoSCC, Loss: Hinge}, method: infoscc, set: {loss: hinge}, published: {FID: 13.08}}
  - {labels: {Model: InfoSCC, Loss: LSGAN}, method: infoscc, set: {loss: lsgan}}
"""


WORKING = """
title: Two learning rates
source: a test
dataset: digits
recipe: small
seeds: [0]
set:
  {steps: 3, batch: 8, width: 4, eval: {n_fake: 40, encoder: null, half_samples: 0, judge: {steps: 2, width: 4}}}
columns: [Rate]
sizes: {small: {}}
rows:
  - {labels: {Rate: high}, method: sngan, set: {lr_G: 2e-4}}
  - {labels: {Rate: absurd}, method: sngan, set: {lr_G: 1e+30}}
"""


class FakeRuns:
    """Records instead of training; remembers what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, int]] = []
        self.errors: dict[tuple[str, int], Exception] = {}
        monkeypatch.setattr("benchmark.runs.spec.resolve", self.resolve)
        monkeypatch.setattr("benchmark.runs.spec.require_files", lambda resolved, paths: None)
        monkeypatch.setattr("benchmark.runs.run.run", self.run)
        monkeypatch.setattr(plan_module, "_rehearsed", self.rehearse)

    def resolve(self, spec: RunSpec, paths: Paths) -> Any:
        digest = content_hash(spec.changes)
        run = f"{spec.dataset}-{spec.method}-{spec.recipe}-s{spec.seed}-{digest[:8]}"
        config, evaluation = (
            SimpleNamespace(steps=10, batch=8, n_dis=1, images_a_step=8),
            SimpleNamespace(protocol="suite"),
        )
        return SimpleNamespace(spec=spec, config_hash=digest, run=run, notes=[], config=config, evaluation=evaluation)

    def rehearse(self, cost: RowCost, *_: Any) -> RowCost:
        stage = {("digits", "SimCLR", 5): 30.0}
        return dataclasses.replace(cost, seconds=60.0, bytes=10**6, source="by a dry run", shared=stage)

    def run(self, resolved: Any, paths: Paths, **options: Any) -> Record:
        spec = resolved.spec
        key = (spec.changes["loss"], spec.seed)
        self.asked.append(key)
        error = self.errors.get(key)
        if error and not isinstance(error, RunFailed):
            raise error
        written = write(
            paths.results,
            None if error else {"fd_judge": 10.0 + spec.seed},
            method=spec.method,
            dataset=spec.dataset,
            recipe=str(spec.recipe),
            seed=spec.seed,
            changes=spec.changes,
            reason=str(error) if error else "",
            config_hash=resolved.config_hash,
        )
        assert written == resolved.run
        if error:
            raise error
        return read_record(record_path(paths.results, written))
