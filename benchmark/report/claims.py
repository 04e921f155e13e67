"""What papers claim, tested: is one row of a suite's table better than another, over common seeds?

A claim stands in its suite's file, with the two rows it is about and the metric that decides: the papers' claims are
theirs, ours are what the suite was made to ask. The test is that of the tables (`compare.pair`), the p values of a
table's claims are adjusted together by Holm's method, and an inconclusive result is called so. A claim is not
tested by a network that the method of one of its rows trained against.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.core.stats import ALPHA, Paired, Scale, holm
from benchmark.report.compare import Verdict, pair, scale_of, verdict
from benchmark.report.plain_table import EMPTY, PlainTable
from benchmark.report.tables import Column, Row, Table
from benchmark.runs.suites.suite import Claim, Suite

ClaimOutcome = Literal["holds", "the opposite holds", "cannot be told", "not comparable", "not run"]


@dataclass(frozen=True)
class CheckedClaim:
    """A claim and what the runs say of it."""

    suite: str  # the table's name
    claim: Claim
    outcome: ClaimOutcome
    column: Column | None = None  # None: no run has the metric
    better: Row | None = None  # the row that is claimed to be better
    than: Row | None = None
    test: Paired | None = None  # of the first row less the second, on `scale`
    scale: Scale = "identity"
    p: float | None = None  # Holm's
    network: str = ""  # that the method of one row trained against, where this is why the claim is not comparable


def check_claims(suite: Suite, table: Table) -> list[CheckedClaim]:
    """Every claim of a suite against one of its tables; claims about rows that the table does not have are left out."""
    found = [one for claim in suite.claims if (one := _test(suite, claim, table)) is not None]
    adjusted = iter(holm([one.test.p for one in found if one.test is not None]))
    return [one if one.test is None else _judged(one, next(adjusted)) for one in found]


def _test(suite: Suite, claim: Claim, table: Table) -> CheckedClaim | None:
    """A claim with its test, not judged yet; None where the table has not both rows."""
    rows = [_row(suite, wanted, table) for wanted in (claim.better, claim.than)]
    if rows[0] is None or rows[1] is None:
        return None
    better, than = rows[0], rows[1]
    columns = [c for c in table.columns if c.id == claim.metric or c.id.startswith(f"{claim.metric}_")]
    if not columns:
        return CheckedClaim(table.name, claim, "not run", None, better, than)
    # a metric of several protocols has a column each: the claim is about one that both rows have
    shared = [c for c in columns if better.by_seed(c) and than.by_seed(c)]
    networks = dict.fromkeys(network for c in columns for row in (better, than) if (network := row.trained_against(c)))
    if not shared and all(any(row.by_seed(c) or row.trained_against(c) for c in columns) for row in (better, than)):
        return CheckedClaim(table.name, claim, "not comparable", None, better, than, network=", ".join(networks))
    column = (shared or columns)[0]
    values = [row.by_seed(column) for row in table.rows]
    scale = scale_of(column.id, [value for row in values for value in row.values()])
    test = pair(better.by_seed(column), than.by_seed(column), column, scale)
    return CheckedClaim(table.name, claim, "not run", column, better, than, test, scale)


def _row(suite: Suite, wanted: dict[str, str], table: Table) -> Row | None:
    """The row of these labels; of several with runs of different configurations the first with the most runs."""
    fitting = [
        row
        for row in table.rows
        if all(row.labels[suite.columns.index(name)].partition(" [")[0] == text for name, text in wanted.items())
    ]
    return max(fitting, key=lambda row: len(row.done), default=None)


_OUTCOMES: dict[Verdict, ClaimOutcome] = {
    "better": "holds",
    "worse": "the opposite holds",
    "cannot be told": "cannot be told",
}


def _judged(one: CheckedClaim, p: float) -> CheckedClaim:
    assert one.test is not None
    assert one.column is not None
    return replace(one, outcome=_OUTCOMES[verdict(one.test, p, one.column.better)], p=p)


# ---- for readers ----------------------------------------------------------------------------------------------------

_WHOSE = {"paper": "the paper's", "ours": "ours"}


def claims_listing(tested: Iterable[CheckedClaim]) -> PlainTable | None:
    """The claims of all tables as a listing `claims`; None where there are none."""
    tested = list(tested)
    excluded = [f"{one.claim.claim} ({one.suite}): {one.network}" for one in tested if one.network]
    why_excluded = (
        "Not comparable, too, is a claim that would be tested by a network that the method of one of its rows trained "
        f"against: {'; '.join(excluded)}."
    )
    lines = tuple(
        (
            one.claim.claim,
            one.outcome,
            effect(one.test, one.scale) if one.test else EMPTY,
            EMPTY if one.p is None else f"{one.p:.3f}",
            str(one.test.n if one.test else 0),
            _cell(one.better, one.column),
            _cell(one.than, one.column),
            one.column.name if one.column else one.claim.metric,
            _WHOSE[one.claim.by],
            one.suite,
        )
        for one in tested
    )
    if not lines:
        return None
    return PlainTable(
        "claims",
        "Claims, tested",
        10,
        ("Claim", "Outcome", "Difference", "p", "Seeds", "Row said to be better", "Than", "By", "Whose", "Suite"),
        lines,
        (
            "Each claim names two rows of a suite's table and the metric that decides; it stands in the suite's file. "
            "Paired t test over common seeds, on the logarithm of distances and the logit of shares; p is Holm's, over "
            f"the claims of one table. Holds: told from no difference at {ALPHA:.0%}, in the direction of the claim.",
            "Cannot be told says that these runs are too few or scatter too much. It is no evidence against a claim, "
            "and a claim about photographs at a paper's budget is not refuted by small pictures.",
            "Not comparable: the two rows have no value under one protocol; judges of other labels, say, see other "
            "features.",
            "Difference, with its 95 % interval, not adjusted: of distances the ratio, of shares the ratio of odds.",
            *([why_excluded] if excluded else []),
        ),
    )


def _cell(row: Row | None, column: Column | None) -> str:
    """A row's name and its value."""
    if row is None:
        return EMPTY
    name = ", ".join(label for label in row.labels if label not in ("", "-"))
    return f"{name}: {row.text(column)}" if column is not None else name


def effect(test: Paired, scale: Scale) -> str:
    """A difference with its 95 % interval: a ratio on the scales that are logarithms."""
    numbers: Sequence[float] = (test.difference, test.low, test.high)
    if scale != "identity":
        # an interval of two seeds may be too wide for a number
        numbers = [math.exp(number) if number < 50 else math.inf for number in numbers]
    middle, low, high = (f"{number:.3g}" if abs(number) < 1000 else f"{number:.0e}" for number in numbers)
    sign = {"log": "× ", "logit": "odds × "}.get(scale, "")
    return f"{sign}{middle} [{low}, {high}]"
