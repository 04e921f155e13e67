"""The error rates of verdicts: how they are measured, and that the committed ones keep what the page promises."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import scipy.stats

from benchmark.core import paths
from benchmark.core.moderated import Difference
from benchmark.report.error_rates import (
    HEAD,
    PAGE,
    Pool,
    Setting,
    any_different,
    any_equal,
    draw_table,
    error_rates,
    published_pool,
    settings,
    share_worse,
    share_worse_paired,
    summary_table,
    upper_bound,
)

NO_POOL = Pool((), np.empty(0))


@pytest.fixture(scope="module")
def committed() -> list[dict[str, str]]:
    return list(csv.DictReader(PAGE.read_text().splitlines()))


def difference(a: int, b: int, delta: float, p: float, half: float = 1.0) -> Difference:
    return Difference(a, b, delta, delta - half, delta + half, p, 0.3, half / 0.3)


# ---- the committed rates --------------------------------------------------------------------------------------------


def test_every_kind_of_table_is_in_the_file(committed: list[dict[str, str]]) -> None:
    assert PAGE.read_text().splitlines()[0] == HEAD
    kinds = [(s.rows, s.seeds, s.text, family) for s in settings() for family in ("leader", "claims")]
    assert [(int(r["rows"]), int(r["seeds"]), r["d0"], r["family"]) for r in committed] == kinds


def test_errors_are_near_the_nominal_five_per_cent(committed: list[dict[str, str]]) -> None:
    for line in committed:
        assert 0.02 <= float(line["fwer"]) <= 0.06, line
        assert float(line["fwer"]) < float(line["high"]) <= 0.065, line
        assert float(line["equal_error"]) <= 0.06, line


def test_the_old_test_had_hardly_any_power(committed: list[dict[str, str]]) -> None:
    """Fifteen rows, three seeds, one row against all others, three standard deviations."""
    lines = [r for r in committed if (r["rows"], r["seeds"], r["family"]) == ("15", "3", "claims")]
    assert len(lines) == 5
    for line in lines:
        power, paired = float(line["power"]), float(line["power_paired"])
        assert paired < 0.06
        assert power > (3 if line["d0"] == "2" else 5) * paired, line


def test_the_page_has_the_table_of_the_file() -> None:
    assert summary_table(PAGE.read_text().splitlines()) in (paths.CHECKOUT / "docs" / "statistics.md").read_text()


# ---- how they are measured ------------------------------------------------------------------------------------------


def test_one_kind_is_measured_again_within_chance(committed: list[dict[str, str]]) -> None:
    setting, n = Setting(3, 3, np.inf), 300
    for text in error_rates(setting, NO_POOL, n, 60):
        (now,) = csv.DictReader([HEAD, text])
        (then,) = [r for r in committed if all(r[key] == now[key] for key in ("rows", "seeds", "d0", "family"))]
        for key, m in (("fwer", n), ("power", 60)):
            error = math.sqrt(max(float(then[key]), 0.02) * (1 - float(then[key])) / m)
            assert float(now[key]) == pytest.approx(float(then[key]), abs=4 * error), (key, now, then)


def test_simulated_rows_have_equal_means_and_the_variances_of_the_model() -> None:
    rng = np.random.default_rng(0)
    tables = np.stack([draw_table(Setting(8, 5, 3), NO_POOL, rng) for _ in range(2000)])
    assert np.median(tables) == pytest.approx(0, abs=0.03)
    s2 = tables.var(axis=2, ddof=1).ravel()
    assert scipy.stats.kstest(s2, scipy.stats.f(4, 3).cdf).pvalue > 1e-3, "variances of rows are scaled F"
    alike = np.stack([draw_table(Setting(8, 5, np.inf), NO_POOL, rng) for _ in range(500)])
    assert scipy.stats.kstest(alike.ravel(), scipy.stats.norm.cdf).pvalue > 1e-3


def test_simulated_records_scatter_as_the_published_ones() -> None:
    pool = published_pool(n_draws=20)
    assert len(pool.variances) > 100
    assert pool.deviations.std() == pytest.approx(1)
    assert abs(pool.deviations.mean()) < 0.02
    rng = np.random.default_rng(0)
    tables = np.stack([draw_table(Setting(15, 3, "records"), pool, rng) for _ in range(500)])
    spread = np.log(tables.var(axis=2, ddof=1))
    assert np.median(spread) == pytest.approx(math.log(scipy.stats.chi2(2).ppf(0.5) / 2), abs=0.35)
    assert spread.std() > 1.3, "more than of equal variances, whose logarithms have 1.28"


def test_the_verdicts_that_are_counted() -> None:
    found = [difference(1, 0, 2.0, 0.01), difference(2, 0, 0.5, 0.4), difference(3, 0, -0.2, 0.9)]
    assert any_different(found) == 1.0
    assert any_different(found[1:]) == 0.0
    assert any_equal(found, 2.0) == 1.0
    assert any_equal(found, 1.3) == 1.0
    assert any_equal(found[:2], 1.3) == 0.0
    assert any_equal([difference(2, 1, 0.0, 0.9)], 9.0) == 0.0, "not of the row that differs"
    assert share_worse(found) == pytest.approx(1 / 3)
    assert share_worse([difference(0, 2, 2.0, 0.01)]) == 0.0, "another row leads"


def test_the_old_test_is_students_with_holms_correction() -> None:
    table = np.array([[0.0, 0.1, -0.1], [5.0, 5.2, 4.9], [0.1, 0.0, 0.3]])
    assert share_worse_paired(table, "claims") == 0.5
    assert share_worse_paired(table, "leader") == 0.5
    assert share_worse_paired(table[[1, 0, 2]], "leader") == 0.0, "the first row does not lead"


def test_the_upper_bound_is_wilsons() -> None:
    expected = scipy.stats.binomtest(200, 4000).proportion_ci(0.95, method="wilson").high
    assert upper_bound(0.05, 4000) == pytest.approx(expected, rel=1e-4)
