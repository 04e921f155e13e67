"""What papers claim, tested: is one row of a suite's table better than another?

A claim is written in its suite's file, with the two rows it is about and the metric that decides: the papers' claims
are theirs, ours are what the suite was made to ask. The test is that of the tables (`benchmark.report.compare`); the
claims of one table are one family, whose error is controlled as a whole. A claim is not tested by a network that the
method of one of its rows trained against.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from benchmark.core.moderated import MOST_SEEDS
from benchmark.core.stats import ALPHA, CONFIDENCE
from benchmark.report.compare import ColumnRows, Comparison, Verdict, column_rows, fixed_comparisons
from benchmark.report.ledger import run_seconds
from benchmark.report.plain_table import EMPTY, PlainTable
from benchmark.report.tables import Column, Row, Table, same_networks
from benchmark.runs.suites.suite import Claim, Suite

ClaimOutcome = Literal["supported", "reversed", "equal", "inconclusive", "not tested", "not comparable", "not run"]


@dataclass(frozen=True)
class CheckedClaim:
    """A claim and what the runs say of it."""

    suite: str  # the table's name
    claim: Claim
    outcome: ClaimOutcome
    column: Column | None = None  # None: no run has the metric
    better: Row | None = None  # the row that is claimed to be better
    than: Row | None = None
    test: Comparison | None = None  # of the first row less the second; None: not comparable, not tested or not run
    network: str = ""  # that the method of one row trained against, where this is why the claim is not comparable

    @property
    def hours(self) -> float | None:
        """What the further seeds would cost that would probably decide it; None where it is not known."""
        if self.test is None or self.test.needed is None or self.better is None or self.than is None:
            return None
        seconds = [run_seconds(row.records) for row in (self.better, self.than)]
        if None in seconds:
            return None
        return sum(max(0, self.test.needed - n) * (s or 0.0) for n, s in zip(self.test.n, seconds)) / 3600


def check_claims(suite: Suite, table: Table) -> list[CheckedClaim]:
    """Every claim of a suite against one of its tables; claims about rows that the table does not have are left out."""
    found = [one for claim in suite.claims if (one := _find(suite, claim, table)) is not None]
    columns = {one.column.name: one.column for one in found if one.column is not None}
    families: list[tuple[ColumnRows, list[int]]] = []  # the rows of a column, and the claims that it decides
    for seed, column in enumerate(columns.values()):
        rows = column_rows(
            [row.by_seed(column) for row in table.rows], column, paired=same_networks(table.rows), seed=seed
        )
        mine = [
            i
            for i, one in enumerate(found)
            if one.column is column and rows is not None and rows.has(*_places(one, table))
        ]
        if rows is not None and mine:
            families.append((rows, mine))
    tests = fixed_comparisons([(rows, [_places(found[i], table) for i in mine]) for rows, mine in families])
    for (_, mine), of_column in zip(families, tests, strict=True):
        for i, test in zip(mine, of_column, strict=True):
            found[i] = replace(found[i], outcome=_OUTCOMES[test.verdict], test=test)
    return found


def _find(suite: Suite, claim: Claim, table: Table) -> CheckedClaim | None:
    """A claim with its rows and the column that decides it, not tested yet; None where the table has not both rows."""
    better, than = (_row(suite, wanted, table) for wanted in (claim.better, claim.than))
    if better is None or than is None:
        return None
    columns = [c for c in table.columns if c.id == claim.metric or c.id.startswith(f"{claim.metric}_")]
    if not columns:
        return CheckedClaim(table.name, claim, "not run", None, better, than)
    # a metric of several protocols has a column each: the claim is about one that both rows have
    shared = [c for c in columns if better.by_seed(c) and than.by_seed(c)]
    networks = dict.fromkeys(network for c in columns for row in (better, than) if (network := row.trained_against(c)))
    if not shared and all(any(row.by_seed(c) or row.trained_against(c) for c in columns) for row in (better, than)):
        return CheckedClaim(table.name, claim, "not comparable", None, better, than, network=", ".join(networks))
    outcome: ClaimOutcome = "not tested" if shared else "not run"  # until a test decides
    return CheckedClaim(table.name, claim, outcome, (shared or columns)[0], better, than)


def _places(one: CheckedClaim, table: Table) -> tuple[int, int]:
    """The indices of a claim's rows in its table."""
    at = {id(row): place for place, row in enumerate(table.rows)}
    return at[id(one.better)], at[id(one.than)]


def _row(suite: Suite, wanted: dict[str, str], table: Table) -> Row | None:
    """The row of these labels; of several with runs of different configurations the first with the most runs."""
    fitting = [
        row
        for row in table.rows
        if all(row.labels[suite.columns.index(name)].partition(" [")[0] == text for name, text in wanted.items())
    ]
    return max(fitting, key=lambda row: len(row.done), default=None)


_OUTCOMES: dict[Verdict, ClaimOutcome] = {
    "better": "supported",
    "worse": "reversed",
    "equal": "equal",
    "inconclusive": "inconclusive",
}


# ---- for readers ----------------------------------------------------------------------------------------------------

_WHOSE = {"paper": "the paper's", "ours": "ours"}
EFFECT = (
    "the row that the claim names first, against the other: of distances their ratio (×), of shares the ratio of their "
    "odds (odds ×), else the difference."
)


def claims_listing(tested: Iterable[CheckedClaim]) -> PlainTable | None:
    """The claims of all tables as a listing `claims`; None where there are none."""
    tested = list(tested)
    if not tested:
        return None
    lines = tuple(
        (
            one.claim.claim,
            one.outcome,
            effect(one.test) if one.test else EMPTY,
            EMPTY if one.test is None else p_text(one.test.p),
            _seeds(one),
            _to_decide(one),
            _cell(one.better, one.column),
            _cell(one.than, one.column),
            one.column.name if one.column else one.claim.metric,
            _WHOSE[one.claim.by],
            one.suite,
        )
        for one in tested
    )
    heads = ("Claim", "Outcome", "Effect", "p", "Seeds", "To decide", "Row said to be better", "Than", "By", "Whose",
             "Suite")  # fmt: skip
    return PlainTable("claims", "Claims, tested", len(heads), heads, lines, _claims_notes(tested))


def _claims_notes(tested: Sequence[CheckedClaim]) -> tuple[str, ...]:
    counts = {outcome: sum(one.outcome == outcome for one in tested) for outcome in get_args(ClaimOutcome)}
    excluded = [f"{one.claim.claim} ({one.suite}): {one.network}" for one in tested if one.network]
    return (
        f"{len(tested)} claims: {', '.join(f'{n} {outcome}' for outcome, n in counts.items() if n)}.",
        "Each claim names two rows of a suite's table and the metric that decides; it is written in the suite's file. "
        "Test: moderated t test over seeds, on the logarithm of distances and the logit of shares "
        "(docs/statistics.md). p and interval hold for all claims of one table together.",
        f"Supported: significant at {ALPHA:.0%}, in the direction of the claim. Reversed: in the other direction. "
        "Equal: the interval lies within the metric's margin (10 % of a distance, 5 % of a score, 0.03 of a share). "
        "Inconclusive: neither. Inconclusive does not mean refuted, and a claim about photographs at a paper's budget "
        "is not refuted by small images.",
        f"Effect, with its {CONFIDENCE:.0%} interval: {EFFECT}",
        "To decide: how many seeds of each row would decide an inconclusive claim in four of five cases if the "
        "difference and the scatter are those seen, and what the further runs would cost at the speed of these. "
        f"More than {MOST_SEEDS}: the rows are too much alike, or scatter too much.",
        "Not tested: a row has one seed, or no row's seeds differ. Not run: a row has no value. "
        "Not comparable: the two rows have no value under one protocol, for instance because their evaluation "
        "classifiers learned different labels.",
        *(
            ["Not comparable, too: a claim whose metric uses a network that the method of one row trained against. "
             f"{'; '.join(excluded)}."] if excluded else []
        ),
    )  # fmt: skip


def _seeds(one: CheckedClaim) -> str:
    """Seeds of both rows that have a value."""
    a, b = (len(row.by_seed(one.column)) if row and one.column else 0 for row in (one.better, one.than))
    return str(a) if a == b else f"{a} and {b}"


def _to_decide(one: CheckedClaim) -> str:
    """What would decide an inconclusive claim."""
    if one.test is None or one.outcome != "inconclusive":
        return EMPTY
    if one.test.needed is None:
        return f"more than {MOST_SEEDS} seeds"
    hours = one.hours
    return f"{one.test.needed} seeds" + ("" if hours is None else f", {hours:.2g} h")


def p_text(p: float) -> str:
    """A p value for readers; near the level with a digit more."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.4f}" if f"{p:.3f}" == f"{ALPHA:.3f}" else f"{p:.3f}"


def _cell(row: Row | None, column: Column | None) -> str:
    """A row's name and its value."""
    if row is None:
        return EMPTY
    name = ", ".join(label for label in row.labels if label not in ("", "-"))
    return f"{name}: {row.text(column)}" if column is not None else name


def _number(number: float) -> str:
    """Three digits, or a whole number; with a power of ten where it is very large."""
    if abs(number) < 1000:
        return f"{number:.3g}"
    return f"{number:,.0f}" if abs(number) < 1e5 else f"{number:.1e}"


def effect(test: Comparison) -> str:
    """A difference with its 95 % interval: a ratio on the scales that are logarithms."""
    numbers: Sequence[float] = (test.difference, test.low, test.high)
    if test.scale != "identity":
        # an interval of two seeds may be too wide for a number
        numbers = [math.exp(number) if number < 50 else math.inf for number in numbers]
    middle, low, high = map(_number, numbers)
    sign = {"log": "× ", "logit": "odds × "}.get(test.scale, "")
    return f"{sign}{middle} [{low}, {high}]"
