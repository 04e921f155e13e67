"""Statistics: known t quantiles, coverage of the interval, tests of differences, rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from benchmark.core.stats import Summary, format_cell, holm, paired_test, summary, t_half_width, transformed


def test_three_values_by_hand() -> None:
    cell = summary([10.0, 12.0, 14.0])
    assert (cell.mean, cell.sd, cell.n) == (12.0, 2.0, 3)
    assert cell.half_width == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6)  # t(0.975, 2) of printed tables
    assert cell.low is not None
    assert cell.high is not None
    assert cell.high - cell.mean == pytest.approx(cell.mean - cell.low)


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_quantiles_of_printed_tables(n: int, quantile: float) -> None:
    assert t_half_width(math.sqrt(n), n) == pytest.approx(quantile, abs=5e-4)


def test_one_value_has_no_interval() -> None:
    assert summary([3.5]) == Summary(3.5, None, 1, None, None)
    assert summary([3.5]).half_width is None


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_no_values_or_not_finite_ones_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one value, all finite"):
        summary(values)


def test_the_interval_covers_the_true_mean_in_95_of_100_experiments() -> None:
    draws = np.random.Generator(np.random.PCG64(0)).normal(5, 2, size=(2000, 3))
    cells = [summary(list(row)) for row in draws]
    covered = sum(cell.low < 5 < cell.high for cell in cells)  # type: ignore[operator]
    assert 0.93 < covered / 2000 < 0.97


def test_the_paired_test_is_scipys() -> None:
    draws = np.random.Generator(np.random.PCG64(1)).normal([[0.0], [0.8]], size=(2, 7))
    found, known = paired_test(list(draws[0]), list(draws[1])), scipy.stats.ttest_rel(draws[0], draws[1])
    interval = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue, rel=1e-10)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert found.difference == pytest.approx(draws[0].mean() - draws[1].mean())
    unpaired = scipy.stats.ttest_ind(draws[0], draws[1]).pvalue
    assert found.p != pytest.approx(unpaired, rel=1e-3), "the tolerance tells it from the test without pairs"


def test_three_pairs_by_hand() -> None:
    found = paired_test([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])  # differences -1, -2, -3: mean -2, sd 1, t = -2 sqrt(3)
    assert found.difference == -2.0
    assert found.p == pytest.approx(0.0741799, rel=1e-5)  # two-sided, two degrees of freedom
    assert found.high - found.low == pytest.approx(2 * 4.302653 / math.sqrt(3), rel=1e-6)


def test_pairs_that_agree_in_all_seeds() -> None:
    assert paired_test([5.0, 5.0], [5.0, 5.0]).p == 1.0
    assert paired_test([4.0, 5.0], [5.0, 6.0]).p == 0.0, "the limit of the test"
    counts = paired_test([24.0, 24.0, 24.0], [25.0, 25.0, 25.0], resolution=1.0)
    assert 0.05 < counts.p < 0.06, "one mode of 25 on three seeds is within the uncertainty of a count"
    assert paired_test([10.0, 10.0, 10.0], [25.0, 25.0, 25.0], resolution=1.0).p < 0.001


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0]), ([1.0, math.nan], [1.0, 2.0])])
def test_a_paired_test_needs_two_finite_pairs(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="two pairs, all finite"):
        paired_test(a, b)


def test_the_paired_test_keeps_its_level() -> None:
    draws = np.random.Generator(np.random.PCG64(2)).normal(size=(2000, 2, 3))
    assert 0.035 < np.mean([paired_test(list(a), list(b)).p < 0.05 for a, b in draws]) < 0.065


def test_holm_by_hand_and_by_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x .01; 2 x .03; 1 x .04 raised to .06
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    ps = np.random.Generator(np.random.PCG64(3)).uniform(0, 0.1, 8)
    adjusted = holm(list(ps))
    for level in (0.01, 0.05, 0.2):  # step down: reject in order while p(i) <= level / (m - i + 1)
        kept = [p <= level / (8 - i) for i, p in enumerate(sorted(ps))]
        n = kept.index(False) if False in kept else 8
        assert sum(p <= level for p in adjusted) == n
    assert adjusted != pytest.approx(list(np.minimum(1, 8 * ps))), "and Bonferroni is another"


def test_scales() -> None:
    assert list(transformed([1.0, math.e], "log")) == pytest.approx([0.0, 1.0])
    assert list(transformed([0.5, 0.0, 1.0], "logit", 99)) == pytest.approx([0.0, -math.log(199), math.log(199)])
    assert list(transformed([-3.0], "identity")) == [-3.0]
    with pytest.raises(ValueError, match="no logarithm"):
        transformed([0.0], "log")
    with pytest.raises(ValueError, match="no shares"):
        transformed([1.2], "logit")


@pytest.mark.parametrize(
    ("mean", "half", "digits", "text"),
    [
        (12.3456, 0.4123, 1, "12.3 ± 0.4"),
        (12.3456, 0.4123, 2, "12.35 ± 0.41"),
        (12.3456, 0.0996, 2, "12.35 ± 0.10"),
        (12.3456, 0.996, 2, "12.3 ± 1.0"),
        (0.98765, 0.00321, 2, "0.9877 ± 0.0032"),
        (28595.0, 1234.0, 2, "28600 ± 1200"),
        (-2.5, 31.0, 2, "-2.5 ± 31"),
        (23.13, 107.0, 2, "23 ± 110"),
        (0.0871, 0.963, 2, "0.087 ± 0.96"),
        (0.0, 0.963, 2, "0.00 ± 0.96"),
        (0.00001, 0.963, 2, "0.000 ± 0.96"),
        (1.234e-8, 5.6e-10, 2, "(1.234 ± 0.056)e-08"),
    ],
)
def test_the_mean_is_rounded_to_the_place_of_its_half_width(mean: float, half: float, digits: int, text: str) -> None:
    sd = half * math.sqrt(3) / t_half_width(math.sqrt(3), 3)
    assert format_cell(Summary(mean, sd, 3, mean - half, mean + half), digits) == text


def test_one_seed_shows_four_digits_and_no_sign() -> None:
    assert format_cell(summary([12.34567])) == "12.35"
    assert format_cell(summary([28595.4])) == "28600"
    assert format_cell(summary([0.0])) == "0.000"
    assert format_cell(summary([1.23456e-9])) == "1.235e-09"
    assert format_cell(summary([2.0, 2.0])) == "2.000 ± 0"


def test_equal_values_have_no_spread() -> None:
    """Their mean may differ from them in the last bit; that is no standard deviation."""
    value = 0.0028819184916050464
    cell = summary([value] * 3)
    assert cell.sd == 0
    assert format_cell(cell) == "0.002882 ± 0"


def test_an_interval_ends_where_its_number_does() -> None:
    cell = summary([5.0, 7.0])
    bounded = cell.within(0.0, math.inf)
    assert cell.low is not None
    assert cell.low < 0
    assert (bounded.low, bounded.high, bounded.half_width) == (0.0, cell.high, cell.half_width)
    assert format_cell(bounded) == format_cell(cell) == "6.0 ± 13"
    assert summary([5.0]).within(0.0, 1.0).low is None
