"""Comparisons of rows: the right pairs, scale, family and direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmark.report import compare
from benchmark.report.compare import best_of, comparisons, scale_of, winner
from benchmark.report.tables import Column


def column(id: str = "fd_judge", better: str | None = "lower", **protocol: Any) -> Column:
    return Column(id, "key", id, better, protocol)


CLEAR = [{0: 1.0, 1: 1.1, 2: 1.2}, {0: 10.0, 1: 11.5, 2: 12.0}, {0: 5.0, 1: 5.6, 2: 6.1}]


def test_distances_are_compared_by_their_logarithms() -> None:
    against_first = comparisons(CLEAR, column())
    assert [(one.a, one.b, one.scale, one.verdict) for one in against_first] == [
        (1, 0, "log", "worse"),
        (2, 0, "log", "worse"),
    ]
    logs = [np.log(list(row.values())) for row in CLEAR]
    assert against_first[0].test.p == pytest.approx(scipy.stats.ttest_rel(logs[1], logs[0]).pvalue)
    raw = scipy.stats.ttest_rel(list(CLEAR[1].values()), list(CLEAR[0].values())).pvalue
    assert against_first[0].test.p != pytest.approx(raw, rel=0.01), "the tolerance tells it from the raw values"
    smaller, larger = sorted(one.test.p for one in against_first)
    assert sorted(one.p_holm for one in against_first) == pytest.approx([2 * smaller, max(2 * smaller, larger)])


def test_the_scale_follows_the_metric_and_its_values() -> None:
    for id in ("nmi", "purity", "neighbour_1"):
        assert scale_of(id, [0.4, 0.6]) == "logit"
    assert scale_of("chamfer_judge", [0.1, 0.2]) == "log"
    assert scale_of("fd_infinity_judge", [-0.1, 0.2]) == "identity"
    assert scale_of("control_accuracy_judge", [0.0, 1.0]) == "logit"
    assert scale_of("density_judge", [0.9, 1.3]) == "identity"
    assert scale_of("kd_judge", [0.1]) == "identity"


def test_shares_are_compared_by_logits_of_counts() -> None:
    rows = [{0: 1.0, 1: 0.999, 2: 0.998}, {0: 0.9, 1: 0.91, 2: 0.89}]
    (one,) = comparisons(rows, column("control_accuracy_judge", "higher", n_fake=2000))
    assert (one.a, one.b, one.scale) == (1, 0, "logit")
    a, b = (np.log((np.array(list(row.values())) * 2000 + 0.5) / (2000.5 - 2000 * np.array(list(row.values()))))
            for row in (rows[1], rows[0]))  # fmt: skip
    assert one.test.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
    (other,) = comparisons(rows, column("control_accuracy_judge", "higher", n_fake=20))
    assert one.test.p != pytest.approx(other.test.p, rel=0.01), "the number of images counts"


def test_only_common_seeds_are_paired() -> None:
    rows = [{0: 1.0, 1: 1.1, 5: 1.3}, {0: 2.0, 1: 2.5, 2: 99.0}]
    (one,) = comparisons(rows, column())
    assert one.test.n == 2
    assert one.test.difference == pytest.approx((math.log(2.0) + math.log(2.5 / 1.1)) / 2)
    shuffled = [dict(reversed(row.items())) for row in rows]
    assert comparisons(shuffled, column())[0].test == one.test, "pairs go by seed, not by place"


def test_one_seed_neither_wins_nor_keeps_another_from_winning() -> None:
    assert best_of([{0: 1.0}, {0: 2.0, 1: 2.1}, {0: 3.0, 1: 3.1}], "lower") == 1
    assert winner([*CLEAR, {0: 0.01}], column()) == 0
    assert winner([CLEAR[0], {0: 99.0}], column()) is None, "nothing to compare with"
    assert winner([], column()) is None
    assert winner(CLEAR, column(better=None)) is None


def test_the_winner_must_be_told_from_every_other() -> None:
    assert winner(CLEAR, column()) == 0
    assert winner(CLEAR, column(better="higher")) == 1
    close = {0: 1.3, 1: 1.0, 2: 1.35}
    assert winner([*CLEAR, close], column()) is None


def test_a_family_of_many_rows_asks_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncorrected, the best of twenty equal rows is often told from another by luck: the correction is at work."""
    draws = np.random.Generator(np.random.PCG64(4)).normal(size=(200, 20, 3))
    tables = [[dict(enumerate(np.exp(row))) for row in table] for table in draws]

    def found() -> float:
        return float(np.mean([any(one.verdict == "worse" for one in comparisons(t, column())) for t in tables]))

    corrected = found()
    monkeypatch.setattr(compare, "holm", list)
    assert found() > 0.5 > 0.25 > corrected


def test_any_row_can_be_the_reference() -> None:
    found = comparisons(CLEAR, column(), reference=2)
    assert [(one.a, one.verdict) for one in found] == [(0, "better"), (1, "worse")]


def test_the_direction_decides_the_verdict() -> None:
    rows: list[Mapping[int, float]] = [CLEAR[0], CLEAR[1]]
    assert comparisons(rows, column(better="lower"), reference=0)[0].verdict == "worse"
    assert comparisons(rows, column(better="higher"), reference=0)[0].verdict == "better"
    assert comparisons(rows, column(better=None), reference=0)[0].verdict == "cannot be told"


def test_numbers_of_modes_are_known_to_half_a_mode() -> None:
    rows = [{0: 25.0, 1: 25.0, 2: 25.0}, {0: 24.0, 1: 24.0, 2: 24.0}]
    assert winner(rows, column("modes", "higher")) is None
    assert winner(rows, column("score_judge", "higher")) == 0, "values that are no counts are taken as they are"
    assert winner([rows[0], {0: 8.0, 1: 8.0, 2: 8.0}], column("modes", "higher")) == 0
