"""How often are the verdicts wrong? Tables of known truth, simulated from the published records.

    python -m benchmark.report.error_rates      writes docs/error-rates.csv in half an hour (`make error-rates`)

Each simulated table has rows and seeds of a given number. Its rows' variances follow the model of
`benchmark.core.moderated` with d0 prior degrees of freedom and normal seeds; or, as `records`, they are those that the
published records leave possible, with the shape of the records' own deviations. Three truths:

- all rows are equal: any significant difference is wrong. `fwer` is how often a family has one;
- all rows but one lie exactly a margin away from it: any `equal` is wrong;
- one row is better by three standard deviations: `power` is the share of the others that are found to be worse.

Two families: `leader`, the best row of the table against all others, and `claims`, the first row against all others.
`power_paired` is of the test that we used before: Student's paired t test, adjusted by Holm's method.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from benchmark.core import paths
from benchmark.core.files import write_text
from benchmark.core.moderated import (
    Comparisons,
    Difference,
    Sample,
    fixed_family,
    seed_effect_p,
    without_seed_effect,
)
from benchmark.core.stats import ALPHA, holm, paired_test
from benchmark.report.compare import SEEDS_MATTER, column_rows
from benchmark.report.suite_tables import suite_tables
from benchmark.runs.records import read_records

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Family = Literal["leader", "claims"]

ROWS, SEEDS = (3, 8, 15), (2, 3, 4, 5)
SPREADS: tuple[float | Literal["records"], ...] = (2, 3, 10, np.inf, "records")
N_TABLES = 4000  # of each kind; the error of a rate of 5 % is 0.7 points
MORE = 4  # up to so many times as many, where a rate is close to a bound
BOUNDS = (0.02, 0.065)  # for the rate, and for the upper end of its interval
N_OTHER = 1000  # of the two other truths
MANY_SEEDS = 5  # of a row whose seeds show how they deviate; fewer always lie near their own mean
N_DRAWS, N_PERMUTATIONS = 1000, 199  # of a table's errors and seeds; the reports take 20,000 and 999
SHIFT = 3.0  # standard deviations between the better row and the others
TIGHT = 40.0  # the margin in standard deviations: the less seeds scatter, the more easily a margin is mistaken
PAGE = paths.CHECKOUT / "docs" / "error-rates.csv"


@dataclass(frozen=True)
class Setting:
    """One kind of table."""

    rows: int
    seeds: int
    spread: float | Literal["records"]  # d0

    @property
    def text(self) -> str:
        """The spread in the file."""
        return self.spread if isinstance(self.spread, str) else f"{self.spread:g}"


@dataclass(frozen=True)
class Pool:
    """What published tables leave possible: variances, and deviations of single seeds in standard deviations."""

    variances: tuple[Floats, ...]  # of each column: draws of its rows' variances [draws, rows], typical row 1
    deviations: Floats  # of all seeds, mean 0 and standard deviation 1


# ---- tables of known truth ------------------------------------------------------------------------------------------


def published_pool(n_draws: int = 200) -> Pool:
    """The pool of all columns of the published suite tables that can be compared."""
    variances: list[Floats] = []
    deviations: list[Floats] = []
    for table in suite_tables(read_records(paths.REFERENCE)):
        for column in table.columns:
            found = column_rows([row.by_seed(column) for row in table.rows], column)
            if found is None or found.rows is None or len(found.samples) < 3:
                continue
            rows = found.rows
            sigma2 = rows.prior.draw_variances(rows.s2, rows.d, n_draws, np.random.default_rng(len(variances)))
            variances.append(sigma2 / np.exp(np.median(np.log(sigma2), axis=1, keepdims=True)))
            for values, variance in zip(found.values, rows.variances, strict=True):
                n = len(values)
                if n >= MANY_SEEDS:
                    deviations.append((values - values.mean()) * np.sqrt(n / (n - 1) / variance))
    every = np.concatenate(deviations)
    return Pool(tuple(variances), every / every.std())


def draw_table(setting: Setting, pool: Pool, rng: np.random.Generator) -> Floats:
    """Values [rows, seeds] of rows with equal means; a typical standard deviation is 1."""
    shape = (setting.rows, setting.seeds)
    if setting.spread == "records":
        columns = [column for column in pool.variances if column.shape[1] >= setting.rows]
        column = columns[rng.integers(len(columns))]
        sigma = np.sqrt(rng.choice(column[rng.integers(len(column))], setting.rows, replace=False))
        # Smoothed bootstrap (Silverman, 1986, sec. 6.4): no two seeds are alike by having been drawn twice
        drawn = rng.choice(pool.deviations, shape) + 0.5 * rng.standard_normal(shape)
        return np.asarray(sigma[:, None] * drawn / np.sqrt(1.25))
    assert not isinstance(setting.spread, str)
    sigma = np.ones(setting.rows)
    if np.isfinite(setting.spread):
        sigma = np.sqrt(setting.spread / rng.chisquare(setting.spread, setting.rows))
    return np.asarray(sigma[:, None] * rng.standard_normal(shape))


# ---- verdicts -------------------------------------------------------------------------------------------------------


def samples_of(table: Floats) -> list[Sample]:
    """The rows as a report takes them: paired where seeds seem to matter, which here they never do."""
    if seed_effect_p(table, N_PERMUTATIONS) < SEEDS_MATTER:
        return without_seed_effect(table)
    return [Sample.of(values) for values in table]


def verdicts(samples: Sequence[Sample], family: Family, seed: int) -> list[Difference]:
    """The comparisons of a family; lower is better. seed: of the draws."""
    rows = Comparisons(samples, N_DRAWS, seed)
    if family == "leader":
        return rows.with_leader(int(rows.means.argmin()))
    return fixed_family([(rows, [(i, 0) for i in range(1, len(samples))])])[0]


def any_different(found: Sequence[Difference]) -> float:
    """1 where a family has a significant difference, else 0."""
    return float(any(one.p < ALPHA for one in found))


def any_equal(found: Sequence[Difference], margin: float) -> float:
    """1 where a family calls the first row and another one equal, else 0."""
    return float(any(-margin < one.low and one.high < margin for one in found if 0 in (one.a, one.b)))


def share_worse(found: Sequence[Difference]) -> float:
    """The share of rows that are found to be worse than the first; none where another row leads."""
    return sum(one.p < ALPHA and one.b == 0 and one.difference > 0 for one in found) / len(found)


def share_worse_paired(table: Floats, family: Family) -> float:
    """The same by Student's paired t test with Holm's correction."""
    leader = int(table.mean(axis=1).argmin()) if family == "leader" else 0
    tests = [paired_test(list(row), list(table[leader])) for i, row in enumerate(table) if i != leader]
    adjusted = holm([test.p for test in tests])
    found = [p < ALPHA and test.difference > 0 for test, p in zip(tests, adjusted, strict=True)]
    return sum(found) / len(tests) if leader == 0 else 0.0


# ---- rates ----------------------------------------------------------------------------------------------------------

HEAD = "rows,seeds,d0,family,fwer,high,equal_error,power,power_paired"


def error_rates(setting: Setting, pool: Pool, n_tables: int = N_TABLES, n_other: int = N_OTHER) -> list[str]:
    """The lines of a kind of table, one for each family."""
    rng = np.random.default_rng([setting.rows, setting.seeds, SPREADS.index(setting.spread)])
    families: tuple[Family, ...] = ("leader", "claims")
    counts, equal, power, paired = (dict.fromkeys(families, 0.0) for _ in range(4))
    n = 0
    for _ in range(MORE):
        for _ in range(n_tables):
            samples = samples_of(draw_table(setting, pool, rng))
            for family in families:
                counts[family] += any_different(verdicts(samples, family, n))
            n += 1
        if not any(_is_close(counts[family] / n, n) for family in families):
            break
    wrong = {family: counts[family] / n for family in families}
    for k in range(n_other):
        table = draw_table(setting, pool, rng)
        away, ahead = table.copy(), table.copy()
        away[1:] += TIGHT
        ahead[0] -= SHIFT
        apart, with_best = samples_of(away), samples_of(ahead)
        for family in families:
            equal[family] += any_equal(verdicts(apart, family, k), TIGHT) / n_other
            power[family] += share_worse(verdicts(with_best, family, k)) / n_other
            paired[family] += share_worse_paired(ahead, family) / n_other
    return [
        f"{setting.rows},{setting.seeds},{setting.text},{family},{wrong[family]:.4f},"
        f"{upper_bound(wrong[family], n):.4f},{equal[family]:.4f},{power[family]:.4f},{paired[family]:.4f}"
        for family in families
    ]


def _is_close(rate: float, n: int) -> bool:
    """Whether more tables are needed to say on which side of `BOUNDS` a rate lies."""
    return not BOUNDS[0] <= rate <= upper_bound(rate, n) <= BOUNDS[1]


def upper_bound(rate: float, n: int) -> float:
    """The upper end of the 95 % interval of a rate seen in n tables (Wilson, 1927)."""
    z2 = 1.96**2
    centre = rate + z2 / (2 * n)
    return float((centre + np.sqrt(z2 * (rate * (1 - rate) + z2 / (4 * n)) / n)) / (1 + z2 / n))


def settings() -> list[Setting]:
    """Every kind of table."""
    return [Setting(rows, seeds, spread) for rows in ROWS for seeds in SEEDS for spread in SPREADS]


def summary_table(lines: Sequence[str]) -> str:
    """The file's lines as the table of docs/statistics.md: ranges over spreads and families; powers on the records."""
    found = list(csv.DictReader(lines))
    head = '| rows | seeds | false difference | false "equal" | power, claims | power, leader |'
    table = [head, "| --: | --: | --: | --: | --: | --: |"]
    for rows in ROWS:
        for seeds in SEEDS:
            mine = [line for line in found if (line["rows"], line["seeds"]) == (str(rows), str(seeds))]
            wrong = [float(line["fwer"]) for line in mine]
            equal = max(float(line["equal_error"]) for line in mine)
            power = {
                line["family"]: f"{float(line['power']):.2f} ({float(line['power_paired']):.2f})"
                for line in mine
                if line["d0"] == "records"
            }
            table.append(
                f"| {rows} | {seeds} | {min(wrong):.1%} to {max(wrong):.1%} | at most {equal:.1%} "
                f"| {power['claims']} | {power['leader']} |"
            )
    return "\n".join(table)


def _task(task: tuple[Setting, Pool, int]) -> list[str]:
    setting, pool, n_tables = task
    return error_rates(setting, pool, n_tables, max(1, n_tables * N_OTHER // N_TABLES))


def main(arguments: Iterable[str] | None = None) -> int:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=int, default=N_TABLES, help="tables of each kind (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, default=PAGE, help="the file (default: docs/error-rates.csv)")
    options = parser.parse_args(None if arguments is None else list(arguments))
    pool, lines = published_pool(), [HEAD]
    print(HEAD, flush=True)
    with multiprocessing.Pool(options.jobs) as workers:
        for found in workers.imap(_task, [(setting, pool, options.tables) for setting in settings()]):
            lines += found
            print(*found, sep="\n", flush=True)
    write_text(options.out, "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
