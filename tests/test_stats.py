"""Statistics of a cell: known t quantiles, coverage of the interval, rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.stats import Summary, apart, format_cell, summary, t_half_width


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


def test_apart_needs_two_intervals_that_do_not_touch() -> None:
    low, high, wide = summary([1.0, 1.1, 0.9]), summary([9.0, 9.1, 8.9]), summary([1.0, 9.0, 5.0])
    assert apart(low, high)
    assert apart(high, low)
    assert not apart(low, wide)
    assert not apart(low, summary([9.0]))


@pytest.mark.parametrize(
    ("mean", "half", "digits", "text"),
    [
        (12.3456, 0.4123, 1, "12.3 ± 0.4"),
        (12.3456, 0.4123, 2, "12.35 ± 0.41"),
        (12.3456, 0.0996, 2, "12.35 ± 0.10"),
        (12.3456, 0.996, 2, "12.3 ± 1.0"),
        (0.98765, 0.00321, 2, "0.9877 ± 0.0032"),
        (28595.0, 1234.0, 2, "28600 ± 1200"),
        (-2.5, 31.0, 2, "-2 ± 31"),
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
