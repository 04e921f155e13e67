"""The moderated comparison: closed forms, independent tests of SciPy where it must agree, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from benchmark.core import moderated
from benchmark.core.moderated import (
    D0,
    Comparisons,
    Prior,
    Sample,
    fixed_family,
    prior,
    seed_effect_p,
    seeds_to_decide,
    without_seed_effect,
)


def rows(n_rows: int, n_seeds: int, d0: float = math.inf, seed: int = 0) -> np.ndarray:
    """Rows with mean 0 whose variances follow the model with s0 = 1."""
    rng = np.random.default_rng(seed)
    variances = np.ones(n_rows) if math.isinf(d0) else d0 / rng.chisquare(d0, n_rows)
    return np.sqrt(variances)[:, None] * rng.standard_normal((n_rows, n_seeds))


def compare(table: np.ndarray, **settings: int) -> Comparisons:
    return Comparisons([Sample.of(values) for values in table], **settings)


# ---- where the truth is known ---------------------------------------------------------------------------------------


def test_with_many_seeds_one_pair_is_welchs_test() -> None:
    """With 200 seeds nothing needs to be borrowed."""
    table = rows(2, 200, seed=3) * np.array([[1.0], [3.0]])
    table[0] += 0.5
    ((one,),) = fixed_family([(compare(table), [(0, 1)])])
    welch = scipy.stats.ttest_ind(table[0], table[1], equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert one.p == pytest.approx(welch.pvalue, abs=0.006)
    assert (one.low, one.high) == pytest.approx((low, high), abs=0.01)


def test_with_many_seeds_and_equal_variances_the_leader_is_compared_as_by_tukey() -> None:
    """The best of several equal rows against the others: the studentized range (Tukey, 1949)."""
    table = rows(4, 100, seed=11)
    table[1] -= 0.35
    found = compare(table).with_leader(1)
    tukey = scipy.stats.tukey_hsd(*table)
    for one in found:
        assert one.p == pytest.approx(tukey.pvalue[one.a, 1], abs=0.02)
    assert 0.005 < min(one.p for one in found) < 0.5, "the comparison must not be of values at the border"


def test_the_moderated_variance_is_smyths_where_d0_and_s0_are_known() -> None:
    """Smyth (2004), eq. 3: (d0 s0^2 + d s^2) / (d0 + d)."""
    known = np.full((len(D0), 2), -np.inf)
    known[2, 1] = 0.0  # d0 = 2, s0^2 = 5
    s2, d = np.array([0.1, 4.0]), np.array([2.0, 4.0])
    found = Prior(np.array([1.0, 5.0]), known).moderate(s2, d)
    assert found == pytest.approx((2 * 5 + d * s2) / (2 + d))


@pytest.mark.parametrize("d0", [1.0, 4.0, 1e4])
def test_d0_and_s0_are_found_with_many_rows(d0: float) -> None:
    rng = np.random.default_rng(5)
    n_rows = 2000
    s2 = 9.0 * d0 / rng.chisquare(d0, n_rows) * rng.chisquare(4, n_rows) / 4
    found = prior(s2, np.full(n_rows, 4.0))
    assert D0[found.weights.sum(axis=1).argmax()] == d0
    mean = float((found.weights.sum(axis=0) * np.log(found.scales)).sum())
    assert mean == pytest.approx(math.log(9), abs=0.1)


def test_draws_of_variances_follow_the_posterior() -> None:
    """Given d0 and s0: (d0 s0^2 + d s^2) over a chi square of d0 + d, independent of one another."""
    known = np.full((len(D0), 1), -np.inf)
    known[3, 0] = 0.0  # d0 = 4
    s2, d = np.array([1.0, 8.0]), np.array([2.0, 2.0])
    drawn = Prior(np.array([3.0]), known).draw_variances(s2, d, 20_000, np.random.default_rng(0))
    for k in range(2):
        scaled = (4 * 3 + d[k] * s2[k]) / drawn[:, k]
        assert scipy.stats.kstest(scaled, scipy.stats.chi2(6).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(np.log(drawn).T)[0, 1]) < 0.03


def test_p_is_uniform_where_rows_are_equal() -> None:
    """One fixed pair of a table of six, three seeds, d0 = 4: an error in 5 of 100 tables."""
    p = []
    for k in range(600):
        comparisons = compare(rows(6, 3, 4.0, seed=k), n_draws=400, seed=k)
        p.append(fixed_family([(comparisons, [(0, 1)])])[0][0].p)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.027)  # three standard errors
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.07)


def test_strength_is_borrowed() -> None:
    """What a row's own three seeds leave open, those of a table of alike rows decide."""
    table = rows(12, 3, seed=3)
    table[0] -= 4
    alone = fixed_family([(compare(table[:2]), [(1, 0)])])[0][0]
    within = fixed_family([(compare(table), [(1, 0)])])[0][0]
    assert within.p < 0.03 < 0.05 < alone.p


def test_a_chosen_leader_needs_more_than_a_fixed_comparison() -> None:
    table = rows(10, 3, seed=4)
    table[0] -= 1.5
    comparisons = compare(table)
    leader = int(comparisons.means.argmin())
    chosen = comparisons.with_leader(leader)
    fixed = fixed_family([(comparisons, [(one.a, leader) for one in chosen])])[0]
    assert all(one.p >= other.p for one, other in zip(chosen, fixed, strict=True))
    assert min(one.p for one in chosen) > 1.5 * min(one.p for one in fixed)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_may_be_the_highest(sign: int) -> None:
    table = sign * rows(5, 4, seed=9)
    comparisons = compare(table)
    leader = int((sign * comparisons.means).argmin())
    found = comparisons.with_leader(leader)
    assert [one.p for one in found] == pytest.approx([one.p for one in compare(-table).with_leader(leader)], abs=0.02)
    assert all(sign * one.difference >= 0 for one in found)


# ---- what a reader sees agrees --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_intervals_exclude_zero_exactly_where_p_is_below_five_per_cent(seed: int) -> None:
    table = rows(7, 3, 3.0, seed)
    table[:3] -= np.array([[1.0], [2.0], [3.0]])
    comparisons = compare(table, n_draws=500)
    leader = int(comparisons.means.argmin())
    pairs = [(i, j) for i in range(7) for j in range(i)]
    found = [*comparisons.with_leader(leader), *fixed_family([(comparisons, pairs)])[0]]
    for one in found:
        assert (one.p < 0.05) == (one.low > 0 or one.high < 0)
        assert one.low < one.difference < one.high


def test_a_family_of_two_columns_is_stricter_than_either() -> None:
    first, second = compare(rows(4, 3, seed=1)), compare(rows(4, 3, seed=2), seed=1)
    together = fixed_family([(first, [(0, 1)]), (second, [(2, 3), (0, 1)])])
    assert [len(found) for found in together] == [1, 2]
    assert together[0][0].p > fixed_family([(first, [(0, 1)])])[0][0].p
    assert fixed_family([]) == []


def test_the_same_samples_give_the_same_numbers() -> None:
    table = rows(5, 3)
    assert compare(table).with_leader(0) == compare(table).with_leader(0)


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_a_row_without_scatter_borrows_all_of_it() -> None:
    """Three seeds that agree to the last digit do not mean that there is no error."""
    table = rows(6, 3, seed=8)
    table[0] = 0.7
    comparisons = compare(table)
    assert 0 < comparisons.variances[0] < comparisons.variances[1:].max()
    others = prior(comparisons.s2[1:], comparisons.d[1:])
    assert comparisons.prior.scales == pytest.approx(others.scales), "it says nothing of the others' scatter"
    unknown = comparisons.prior.moderate(np.ones(1), np.zeros(1))
    assert comparisons.variances[0] == pytest.approx(unknown[0]), "nor of its own"


def test_without_any_scatter_nothing_can_be_compared() -> None:
    with pytest.raises(ValueError, match="no row has seeds that differ"):
        compare(np.array([[1.0, 1.0], [2.0, 2.0]]))


def test_counting_has_an_error_of_its_own() -> None:
    assert Sample.of([25.0, 25.0, 25.0], least_variance=1 / 12).variance == pytest.approx(1 / 12)
    assert Sample.of([1.0, 5.0], least_variance=1 / 12).variance == pytest.approx(8.0)
    assert Sample.of([0.1] * 3).variance == 0.0, "the mean of equal values rounds, but is not scatter"


@pytest.mark.parametrize("values", [[1.0], [], [1.0, math.nan], [1.0, math.inf]])
def test_a_row_needs_two_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="needs two values, all finite"):
        Sample.of(values)


def test_rows_may_have_different_numbers_of_seeds() -> None:
    comparisons = Comparisons([Sample.of([1.0, 1.2]), Sample.of([2.0, 2.1, 2.2, 1.9, 2.3])])
    (one,) = comparisons.with_leader(0)
    assert one.standard_error == pytest.approx(math.sqrt((comparisons.variances / np.array([2, 5])).sum()))


def test_a_long_table_takes_fewer_draws() -> None:
    assert len(compare(rows(60, 2)).errors) == moderated.N_DRAWS // 2
    assert len(compare(rows(10, 2)).errors) == moderated.N_DRAWS


# ---- seeds in common ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [[[0.0, 1.0], [1.0, 2.1]], [[0.0, 1.0, 3.0], [1.0, 1.5, 4.5]]])
def test_two_rows_with_seeds_in_common_have_the_p_of_the_paired_test(table: list[list[float]]) -> None:
    """What is left of two rows without the seeds' effect is the same, so it counts once."""
    samples = without_seed_effect(np.array(table))
    (one,) = Comparisons(samples, one_variance=True).with_leader(0)
    expected = float(scipy.stats.ttest_rel(*table).pvalue)
    assert one.p == pytest.approx(expected, rel=0.06)
    (fixed,) = fixed_family([(Comparisons(samples, one_variance=True), [(1, 0)])])[0]
    assert fixed.p == pytest.approx(expected, rel=0.06)


def test_two_rows_with_seeds_in_common_have_the_variance_of_the_paired_test() -> None:
    table = rows(2, 5, seed=6)
    a, b = without_seed_effect(table)
    assert a.variance + b.variance == pytest.approx((table[0] - table[1]).var(ddof=1))
    assert a.freedom + b.freedom == 4


def test_what_seeds_have_in_common_is_taken_out() -> None:
    table = rows(5, 6, seed=1)
    risen = table + 10 * np.random.default_rng(2).standard_normal(6)
    for a, b in zip(without_seed_effect(table), without_seed_effect(risen), strict=True):
        assert a.variance == pytest.approx(b.variance)
    ratio = np.mean([[s.variance for s in without_seed_effect(rows(6, 4, seed=k))] for k in range(300)])
    assert ratio == pytest.approx(1.0, abs=0.06), "the variance is that of a value, whatever the number of rows"


def test_the_permutation_test_finds_seeds_that_matter_and_no_others() -> None:
    chance = [seed_effect_p(rows(6, 3, 3.0, seed=k), 99) for k in range(300)]
    assert np.mean(np.array(chance) <= 0.05) == pytest.approx(0.05, abs=0.04)
    effect = np.random.default_rng(0).standard_normal(3)
    assert seed_effect_p(rows(6, 3, seed=1) + 4 * effect) < 0.01
    constant = np.vstack([rows(3, 3), np.ones((1, 3))])
    assert 0 < seed_effect_p(constant) <= 1


# ---- how many seeds would do ----------------------------------------------------------------------------------------


def test_the_number_of_seeds_that_would_decide_does() -> None:
    """An inconclusive difference of one standard deviation: with as many seeds, four of five tables decide."""
    table = rows(8, 3, seed=21)
    table -= table.mean(axis=1, keepdims=True)
    table[0] -= 1.0
    comparisons = compare(table)
    one = fixed_family([(comparisons, [(1, 0)])])[0][0]
    assert one.p > 0.05
    n = seeds_to_decide(one, comparisons, margin=0.1)
    assert n is not None
    assert 8 <= n <= 40
    sd = math.sqrt(float(comparisons.variances[:2].mean()))
    decided = []
    for k in range(60):
        again = sd * rows(8, n, seed=100 + k)
        again[0] -= 1.0
        decided.append(fixed_family([(compare(again, n_draws=400), [(1, 0)])])[0][0].p < 0.05)
    assert 0.62 < np.mean(decided) < 0.97


def test_equal_rows_are_decided_by_the_margin_and_unclear_ones_not_at_all() -> None:
    table = rows(8, 3, seed=2) * 0.01
    table -= table.mean(axis=1, keepdims=True)
    comparisons = compare(table)
    one = fixed_family([(comparisons, [(1, 0)])])[0][0]
    wide, narrow = (seeds_to_decide(one, comparisons, margin) for margin in (0.05, 0.01))
    assert wide is not None
    assert narrow is not None
    assert wide < narrow
    assert seeds_to_decide(one, comparisons, margin=1e-4) is None
