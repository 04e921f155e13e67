"""Comparisons of rows: the right rows, scale, margin, direction and verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmark.report.compare import (
    Comparison,
    column_rows,
    comparisons,
    fixed_comparisons,
    images_counted,
    margin_of,
    scale_of,
    standings,
)
from benchmark.report.tables import Column

Values = Mapping[int, float]


def column(id: str = "fd_judge", better: str | None = "lower", **protocol: Any) -> Column:
    return Column(id, "key", id, better, protocol)


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


# Five rows that scatter by a tenth: the first is best, the second hardly worse, the others clearly
ROWS: list[Values] = [
    seeds(1.0, 1.1, 1.2),
    seeds(1.05, 1.2, 1.15),
    seeds(10.0, 11.5, 12.0),
    seeds(5.0, 5.6, 6.1),
    seeds(7.0, 7.5, 6.6),
]


def verdicts(found: list[Comparison]) -> dict[int, str]:
    return {one.a: one.verdict for one in found}


def test_every_row_is_compared_with_the_best() -> None:
    found = comparisons(ROWS, column())
    assert {one.b for one in found} == {0}
    assert verdicts(found) == {1: "inconclusive", 2: "worse", 3: "worse", 4: "worse"}
    assert standings(found) == {0: "best", 1: "open"}


def test_distances_are_compared_by_their_logarithms() -> None:
    found = {one.a: one for one in comparisons(ROWS, column())}
    logs = [np.log(list(row.values())) for row in ROWS]
    assert found[2].scale == "log"
    assert found[2].difference == pytest.approx(logs[2].mean() - logs[0].mean())
    scaled = comparisons([{seed: 1000 * x for seed, x in row.items()} for row in ROWS], column())
    assert [one.difference for one in scaled] == pytest.approx([one.difference for one in found.values()])


def test_the_scale_follows_the_metric_and_its_values() -> None:
    for id in ("nmi", "purity", "neighbour_1"):
        assert scale_of(id, [0.4, 0.6]) == "logit"
    for id in ("chamfer_judge", "kd_judge", "reverse_kl", "reverse_kl_judge"):
        assert scale_of(id, [0.1, 0.2]) == "log"
    for id in ("fd_infinity_judge", "kd_judge"):
        assert scale_of(id, [-0.1, 0.2]) == "identity", "an unbiased distance may be negative"
    assert scale_of("control_accuracy_judge", [0.0, 1.0]) == "logit"
    assert scale_of("density_judge", [0.9, 1.3]) == "identity"


def test_shares_are_compared_by_logits_of_counts() -> None:
    rows = [seeds(1.0, 0.999, 0.998), seeds(0.9, 0.91, 0.89)]
    (one,) = comparisons(rows, column("control_accuracy_judge", "higher", n_fake=2000))
    a, b = (np.log((np.array(list(row.values())) * 2000 + 0.5) / (2000.5 - 2000 * np.array(list(row.values()))))
            for row in (rows[1], rows[0]))  # fmt: skip
    assert (one.a, one.b, one.scale) == (1, 0, "logit")
    assert one.difference == pytest.approx(a.mean() - b.mean())
    (other,) = comparisons(rows, column("control_accuracy_judge", "higher", n_fake=20))
    assert one.difference != pytest.approx(other.difference, rel=0.01), "the number of images counts"


def test_the_direction_decides_who_leads() -> None:
    found = comparisons(ROWS, column(better="higher"))
    assert {one.b for one in found} == {2}
    assert {one.verdict for one in found} <= {"worse", "inconclusive"}
    assert comparisons(ROWS, column(better=None)) == []


def test_p_and_interval_agree() -> None:
    for one in comparisons(ROWS, column()):
        assert (one.p < 0.05) == (one.low > 0 or one.high < 0)
        assert one.n == (3, 3)


# ---- three outcomes -------------------------------------------------------------------------------------------------


def test_rows_that_hardly_scatter_are_equal_within_the_margin() -> None:
    rows = [seeds(*(x + 0.001 * np.sin(7 * k + np.arange(3)))) for k, x in enumerate((2.0, 2.001, 2.0005, 2.002, 3.0))]
    found = comparisons(rows, column())
    assert verdicts(found) | {4: "worse"} == {one.a: "equal" for one in found} | {4: "worse"}
    assert standings(found) == dict.fromkeys(range(4), "best")
    assert all(one.needed is None for one in found), "nothing is left to decide"
    for one in found:
        if one.verdict == "equal":
            assert -one.margin < one.low < one.high < one.margin


def test_an_inconclusive_comparison_says_how_many_seeds_would_decide() -> None:
    found = {one.a: one for one in comparisons([*ROWS, seeds(1.2, 1.35, 1.3)], column())}
    assert found[5].verdict == "inconclusive"
    assert found[5].needed is not None
    assert 3 < found[5].needed < 20
    assert found[1].needed is None, "a difference of a hundredth would take more than fifty"
    assert found[2].needed is None, "it is decided"


def test_margins_are_the_catalogues() -> None:
    assert margin_of("fd_judge", "log", 3.0) == pytest.approx(math.log(1.1))
    assert margin_of("score_judge", "identity", -8.0) == pytest.approx(0.4)
    assert margin_of("correlation", "identity", 0.0) == pytest.approx(0.03)
    assert margin_of("modes", "identity", 8.0) == 1.0
    assert margin_of("modes_judge", "identity", 900.0) == pytest.approx(45.0)
    half = margin_of("recall_judge", "logit", 0.0)
    assert half == pytest.approx(math.log(0.515 / 0.485) - math.log(0.485 / 0.515)), "0.03 around a share of a half"
    near_one = margin_of("recall_judge", "logit", math.log(0.999 / 0.001))
    assert near_one == pytest.approx(math.log(0.9995 / 0.0005) - math.log(0.984 / 0.016)), "no share exceeds 1"


def test_equal_counts_at_every_seed_are_equal() -> None:
    """All eight modes at every seed: known to half a mode."""
    (one,) = comparisons([seeds(8, 8, 8), seeds(8, 8, 8)], column("modes", "higher"))
    assert one.verdict == "equal"
    found = comparisons([seeds(25, 25, 25), seeds(25, 24, 25), seeds(8, 8, 8)], column("modes", "higher"))
    assert verdicts(found) == {1: "inconclusive", 2: "worse"}, "one missing mode may be luck, seventeen are not"


def test_a_share_that_every_seed_reaches_is_uncertain_by_its_count() -> None:
    rows = [seeds(1.0, 1.0, 1.0), seeds(0.96, 0.96, 0.96), seeds(0.5, 0.5, 0.5)]
    for n_fake, verdict in ((2000, "worse"), (20, "inconclusive")):
        found = comparisons(rows, column("control_accuracy_judge", "higher", n_fake=n_fake))
        assert verdicts(found) == {1: verdict, 2: "worse"}


def test_rows_without_any_scatter_cannot_be_compared() -> None:
    assert comparisons([seeds(1.0, 1.0), seeds(2.0, 2.0)], column()) == []


# ---- which rows -----------------------------------------------------------------------------------------------------


def test_one_seed_neither_leads_nor_keeps_another_from_leading() -> None:
    found = comparisons([*ROWS, seeds(0.01)], column())
    assert {one.b for one in found} == {0}
    assert 5 not in verdicts(found)
    assert 5 not in standings(found)
    assert comparisons([ROWS[0], seeds(99.0)], column()) == [], "nothing to compare with"
    assert comparisons([], column()) == []


def test_failed_seeds_leave_the_others() -> None:
    """A run that failed has no value: its row is compared by the seeds that it has."""
    rows = [*ROWS[:4], {0: 7.0, 2: 6.6}]
    found = {one.a: one for one in comparisons(rows, column())}
    assert found[4].n == (2, 3)
    assert found[4].verdict == "worse"


def test_a_collapsed_seed_widens_the_interval() -> None:
    """It enters with the value that it has: the row scatters more, and is harder to tell from the best."""
    steady, collapsed = [*ROWS[:4], seeds(2.0, 2.1, 1.9)], [*ROWS[:4], seeds(2.0, 2.1, 60.0)]
    first, second = ({one.a: one for one in comparisons(rows, column())}[4] for rows in (steady, collapsed))
    assert second.high - second.low > 3 * (first.high - first.low)
    assert first.verdict == "worse"


def test_nothing_leads_where_no_row_is_worse() -> None:
    assert standings(comparisons(ROWS[:2], column())) == {}
    assert standings([]) == {}


# ---- pairing --------------------------------------------------------------------------------------------------------


def test_seeds_are_not_paired_as_a_rule() -> None:
    assert not any(one.paired for one in comparisons(ROWS, column()))


def test_rows_of_the_same_networks_are_paired() -> None:
    rise = np.exp(np.array([-1.0, 0.0, 1.2]))
    noise = np.array([1.0, 1.01, 0.99])
    rows = [seeds(*(rise * 1.0)), seeds(*(rise * 1.1 * noise))]
    (paired,) = comparisons(rows, column(), paired=True)
    (unpaired,) = comparisons(rows, column())
    assert paired.paired
    assert (paired.verdict, unpaired.verdict) == ("worse", "inconclusive")


def test_paired_counts_have_the_error_of_counting_too() -> None:
    (one,) = comparisons([seeds(8, 8, 8), seeds(8, 8, 8)], column("modes", "higher"), paired=True)
    assert one.paired
    assert one.low < 0 < one.high


def test_seeds_that_matter_are_paired() -> None:
    rng = np.random.default_rng(0)
    rise = 2 * rng.standard_normal(5)
    rows = [seeds(*np.exp(k / 4 + rise + 0.05 * rng.standard_normal(5))) for k in range(5)]
    found = comparisons(rows, column())
    assert all(one.paired and one.verdict == "worse" for one in found)
    other_seeds = [*rows[:4], {seed + 1: value for seed, value in rows[4].items()}]
    assert not any(one.paired for one in comparisons(other_seeds, column())), "only seeds that all rows have"


# ---- fixed comparisons ----------------------------------------------------------------------------------------------


def test_fixed_comparisons_name_the_rows_they_were_given() -> None:
    rows = column_rows([seeds(9.0), *ROWS], column())
    assert rows is not None
    assert not rows.has(0, 1)
    ((first, second),) = fixed_comparisons([(rows, [(3, 1), (1, 4)])])
    assert (first.a, first.b, first.verdict) == (3, 1, "worse")
    assert (second.a, second.b, second.verdict) == (1, 4, "better")


@pytest.mark.parametrize(
    ("id", "protocol", "n"),
    [
        ("control_accuracy_judge", {"n_fake": 2000}, 2000),
        ("precision_judge", {"n_fake": 20_000, "prdc_images": [1198, 10_000]}, 10_000),
        ("recall_judge", {"n_fake": 20_000, "prdc_images": [1198, 10_000]}, 1198),
        ("coverage_lite0", {"n_fake": 20_000}, 20_000),
        ("neighbour_5", {"queries": 700}, 700),
        ("aux_accuracy", {"n_images": 2000}, 2000),
        ("recall_0.2_judge", {"images_per_attribute": 500}, 500),
        ("purity", {"clusters": 20}, None),
        ("nmi", {"n_fake": 2000}, None),
    ],
)
def test_a_share_is_as_uncertain_as_the_images_that_were_counted(id: str, protocol: dict[str, Any], n: int) -> None:
    assert images_counted(id, protocol) == n
    found = column_rows([seeds(0.5, 0.5, 0.5), seeds(0.7, 0.72, 0.74)], column(id, "higher", **protocol))
    assert found is not None
    assert found.samples[0].variance == pytest.approx(0.0 if n is None else 4 / n, rel=0.01)
