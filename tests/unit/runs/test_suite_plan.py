"""What a suite will cost, said before it starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from made_records import write
from made_suites import WORKING, FakeRuns

from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig
from benchmark.runs import dry_run as rehearsal
from benchmark.runs.plan import cheap_start, evaluation_cost
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths
from benchmark.runs.suites.cost import RowCost, suite_plan, total_text
from benchmark.runs.suites.running import run_suite
from benchmark.training.method import construct, find_method
from benchmark.training.stages.simclr import SimCLRConfig

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("quick_environment")


def test_the_plan_of_a_suite(suite_file: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRuns(monkeypatch)
    text = suite_plan(suite_file, "small", paths)
    assert "digits, InfoSCC, Hinge: 2 of 2 to do, about 60 s each (by a dry run)" in text
    assert text.endswith("4 cells, 0 done, 4 to do: about 4.5 min, 4 MB")
    by_two = suite_plan(suite_file, "small", paths, workers=2)
    assert by_two.endswith("4 to do: about 2.2 min by 2 workers, 4 MB")
    assert run_suite(suite_file, paths, seeds=[0]) == 0
    text = suite_plan(suite_file, "small", paths)
    assert "1 of 2 to do" in text
    assert "4 cells, 2 done, 2 to do" in text
    assert run_suite(suite_file, paths) == 0
    assert "InfoSCC, Hinge: 2 of 2 done" in suite_plan(suite_file, "small", paths)


def test_finished_runs_say_what_the_next_will_cost(
    suite_file: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"steps": 10, "loss": "hinge"}
    write(paths.results, {"fd_judge": 3.0}, changes=changes, seed=5)
    (record,) = read_records(paths.results)
    FakeRuns(monkeypatch)
    monkeypatch.setattr("made_suites.content_hash", lambda plain: record.config_hash)
    text = suite_plan(suite_file, "small", paths)
    assert "2 of 2 to do, about 1 s each (as 1 finished run)" in text, "its second of training"


def test_a_row_that_cannot_be_rehearsed_is_counted(paths: Paths) -> None:
    unknown = RowCost(0, "digits", 3, 3, None, 0, "no dry run: the disk is too small")
    assert total_text([unknown], 1) == "3 cells, 0 done, 3 to do; 3 of them could not be estimated"


def test_a_real_rehearsal(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text(WORKING)
    text = suite_plan(str(tmp_path / "rates.yaml"), "small", paths, device="cpu")
    assert text.count("1 of 1 to do, about") == 2
    assert "(counted)" in text


class Costs:
    """A method whose seconds a step are known, on a clock that stands still between."""

    device = SimpleNamespace(type="cpu")
    steps_alike = False

    def __init__(self, cfg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cfg, self.now = cfg, 0.0
        monkeypatch.setattr("benchmark.runs.clock.time.process_time", lambda: self.now)
        monkeypatch.setattr(rehearsal, "stream_for", lambda *_, **__: None)

    def step(self, stream: None, t: int) -> dict[str, Any]:
        self.now += self.seconds(t)
        return {}

    def seconds(self, t: int) -> float:
        first = 50.0 if t == 0 else 0.0
        return first + 1.0 + 3.0 * (t % 4 == 0) + 8.0 * (t % 16 == 0) + 500.0 * (t % self.cfg.period == 0)


def mean_step(method: Any) -> float:
    """What the rehearsal takes for a step's seconds, without data."""
    nothing: Any = None
    return rehearsal.mean_step(rehearsal._Clock(method, nothing), 6)


@dataclasses.dataclass(frozen=True)
class CostConfig:
    batch: int = 8
    steps: int = 1000
    period: int = 300


@pytest.mark.parametrize(
    ("steps", "period"), [(1000, 300), (1000, 7), (999, 500), (2400, 400), (1000, 5000), (30, 16), (4000, 2000)]
)
def test_periodic_work_is_charged_as_often_as_it_is_done(
    monkeypatch: pytest.MonkeyPatch, steps: int, period: int
) -> None:
    method: Any = Costs(CostConfig(steps=steps, period=period), monkeypatch)
    true = sum(method.seconds(t) for t in range(1, steps)) + method.seconds(0) - 50.0
    if period > steps:  # seen at the first step alone, whose other costs are not those of the run
        true += 50.0
    assert mean_step(method) == pytest.approx(true / steps, rel=0.01)
    neighbours = sum(method.seconds(t) for t in range(steps // 2 + 1, steps // 2 + 7)) / 6
    assert neighbours != pytest.approx(true / steps, rel=0.05), "six steps in a row do not tell"
    monkeypatch.setattr(rehearsal, "_StepNumber", lambda t, asked: t)
    assert mean_step(method) != pytest.approx(true / steps, rel=0.05), "nor do unseen periods"


@pytest.mark.parametrize(("each", "steps_taken"), [(30.0, 1), (0.2, 6)])
def test_of_alike_steps_a_slow_one_is_taken_once(
    monkeypatch: pytest.MonkeyPatch, each: float, steps_taken: int
) -> None:
    class Alike(Costs):
        steps_alike = True
        taken = 0

        def seconds(self, t: int) -> float:
            self.taken += 1
            return each

    method: Any = Alike(CostConfig(), monkeypatch)
    assert mean_step(method) == pytest.approx(each)
    assert method.taken >= steps_taken
    assert (method.taken == 1) is (steps_taken == 1)


def test_the_plan_charges_t_sne_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.runs.plan.generate", lambda *_: None)
    method: Any = SimpleNamespace(G=SimpleNamespace(eval=lambda: None))
    data: Any = SimpleNamespace(resolution=32)
    without = EvalConfig(n_fake=1000)
    asked = dataclasses.replace(without, encoder=SimCLRConfig(steps=1, batch=8), chamfer_points=300, tsne_seeds=3)
    costs = [evaluation_cost(method, cfg, data, n_reference=1000).seconds for cfg in (without, asked)]
    assert costs[0] == pytest.approx(2000 / 5000, abs=0.1), "the judge's rate"
    assert costs[1] - costs[0] == pytest.approx(3 * 2 * 600 / 60, abs=0.1), "seeds, protocols, points"


def test_a_small_step_is_not_taken_for_proportional_to_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Affine(Costs):
        def seconds(self, t: int) -> float:
            return 0.010 + 20e-6 * self.cfg.batch

    built = []

    def again(cfg: Any) -> Any:
        built.append(cfg.batch)
        return Affine(cfg, monkeypatch)

    def estimate(batch: int) -> float:
        built.clear()
        cfg = CostConfig(batch=batch)
        return rehearsal.seconds_a_step(again(dataclasses.replace(cfg, batch=8)), None, again, cfg)  # type: ignore[arg-type]

    assert estimate(256) == pytest.approx(0.010 + 20e-6 * 256)
    assert built == [8, 32, 128, 256]
    assert estimate(8) == pytest.approx(0.010 + 20e-6 * 8)
    assert 32 * estimate(8) > 20 * estimate(256), "taken as proportional it would be far off"
    assert estimate(10**6) == pytest.approx(20.01, rel=0.3)
    assert built[-1] < 10**5, "what would take longer than a second is not timed"


@pytest.mark.parametrize(
    ("name", "changes", "few"),
    [
        ("sngan", {"width": 4}, 2),
        ("pacgan", {"m": 3, "width_G": 4, "width_D": 4, "batch": 12}, 6),  # packs stay whole
        ("selfcond", {"labels": "online", "k": 3, "width_G": 4, "width_D": 4}, 2),  # its first step makes the centres
    ],
)
def test_a_quick_dry_run_counts_and_times_one_step(
    name: str, changes: dict[str, Any], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, file = find_card("digits"), find_method(name)
    data = Dataset.tiny(card, 16)
    cfg = dataclasses.replace(file.recipe("small", "digits"), **changes)
    method = construct(file.cls, cfg, data, CPU, 0)
    taken: list[int] = []
    step = file.cls.step

    def counted(self: Any, stream: Any, t: int) -> Any:
        taken.append(len(next(stream).images))
        return step(self, stream, t)

    monkeypatch.setattr(file.cls, "step", counted)
    monkeypatch.setattr(rehearsal, "SLOW_S", 0.0)
    part = rehearsal.dry_run(name, method, data, pytest.fail, quick=True)
    assert set(taken) == {few}
    assert method.cfg == cfg, "the configuration is the run's again"
    assert part.steps == cfg.steps
    of_one = rehearsal.step_flops(construct(file.cls, dataclasses.replace(cfg, batch=few), data, CPU, 0), data)
    if name != "selfcond":  # of which work of the first step is charged by its period
        assert part.flops == pytest.approx(of_one * cfg.batch / few, rel=1e-6)


def test_a_cheap_start_is_over_when_it_is_over() -> None:
    orthogonal = torch.nn.init.orthogonal_
    with cheap_start():
        assert torch.nn.init.orthogonal_(torch.empty(8, 8), 1.0).std() < 0.1, "an orthogonal one has 0.35"
    with pytest.raises(ValueError, match="stop"), cheap_start():
        raise ValueError("stop")
    assert torch.nn.init.orthogonal_ is orthogonal
