"""Claims of a suite, tested over the seeds of its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.config import content_hash
from benchmark.core.errors import ConfigError
from benchmark.core.stats import Scale
from benchmark.evaluation.value import MetricValue
from benchmark.report.claims import CheckedClaim, check_claims, claims_listing, effect, p_text
from benchmark.report.compare import Comparison
from benchmark.report.suite_tables import suite_claims, suite_table
from benchmark.report.table_files import write_tables
from benchmark.runs.records import read_records, write_record
from benchmark.runs.suites.suite import find_suite, list_suites

pytestmark = pytest.mark.usefixtures("quick_environment")

LOSSES = ("hinge", "lsgan", "lsgan4", "non_saturating")
SUITE = """
title: Losses
source: made up
dataset: digits
recipe: small
seeds: [0, 1, 2]
columns: [Loss]
metrics: [fd_judge, recall_judge]
sizes: {small: {}}
rows:
""" + "".join(f"  - {{labels: {{Loss: {loss}}}, method: infoscc, set: {{loss: {loss}}}}}\n" for loss in LOSSES)


def claim(better: str, than: str, metric: str = "fd") -> str:
    return (
        f"  - {{claim: {better} beats {than}, by: paper, "
        f"better: {{Loss: {better}}}, than: {{Loss: {than}}}, metric: {metric}}}\n"
    )


def write(
    results: Path,
    loss: str,
    fds: Sequence[float],
    recalls: Sequence[float] = (),
    *,
    judge: str = "of classes",
    seconds: float | None = None,
) -> None:
    """Records of one row: a run a seed."""
    for seed, fd in enumerate(fds):
        values = [MetricValue("fd_judge", "FD-judge", fd, "lower", {"n_fake": 2000, "judge": judge}).to_dict()]
        if recalls:
            values.append(
                MetricValue("recall_judge", "Recall-judge", recalls[seed], "higher", {"n_fake": 2000}).to_dict()
            )
        config = {"loss": loss}
        write_record(
            results,
            f"digits-infoscc-small-s{seed}-{content_hash(config)[:8]}",
            status="done",
            reason="",
            identity={
                "method": "infoscc",
                "dataset": "digits",
                "recipe": "small",
                "seed": seed,
                "changes": {"loss": loss},
                "config": config,
                "config_hash": content_hash(config),
            },
            result={"values": values},
            time={} if seconds is None else {"training_s": seconds, "evaluation_s": 0.0},
            device={},
        )


def checked(results: Path, folder: Path, *claims: str) -> list[CheckedClaim]:
    path = folder / "losses.yaml"
    path.write_text(SUITE + "claims:\n" + "".join(claims))
    suite = find_suite(str(path))
    return check_claims(suite, suite_table(suite, "small", read_records(results), "digits"))


STEADY = {"hinge": [2.0, 2.1, 1.9], "lsgan": [3.0, 2.9, 3.2], "lsgan4": [2.1, 1.95, 2.2]}


def test_a_claim_is_supported_or_reversed_or_inconclusive(tmp_path: Path) -> None:
    for loss, fds in STEADY.items():
        write(tmp_path, loss, fds)
    found = checked(
        tmp_path, tmp_path, claim("hinge", "lsgan"), claim("lsgan", "hinge"), claim("hinge", "lsgan4"),
        claim("hinge", "non_saturating"),
    )  # fmt: skip
    assert [one.outcome for one in found] == ["supported", "reversed", "inconclusive", "not run"]


def test_rows_that_hardly_differ_are_equal(tmp_path: Path) -> None:
    for loss, fd in (("hinge", 2.0), ("lsgan", 2.01), ("lsgan4", 2.02)):
        write(tmp_path, loss, [fd, fd + 0.002, fd - 0.001])
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan"))
    assert one.outcome in ("equal", "supported")
    assert one.test is not None
    for loss in ("hinge", "lsgan"):
        write(tmp_path, loss, [2.0, 2.02, 1.99])
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan"))
    assert one.outcome == "equal"


def test_the_claims_of_a_table_are_one_family(tmp_path: Path) -> None:
    """The more is claimed, the more it takes."""
    for loss, fds in STEADY.items():
        write(tmp_path, loss, fds, recalls=[0.5, 0.52, 0.55])
    (alone,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan"))
    first, *_ = checked(
        tmp_path, tmp_path, claim("hinge", "lsgan"), claim("hinge", "lsgan4"), claim("lsgan4", "lsgan"),
        claim("hinge", "lsgan", metric="recall"),
    )  # fmt: skip
    assert alone.test is not None
    assert first.test is not None
    assert alone.test.p < first.test.p
    assert (
        alone.test.difference
        == first.test.difference
        == pytest.approx(np.log(STEADY["hinge"]).mean() - np.log(STEADY["lsgan"]).mean())
    )
    assert alone.test.high - alone.test.low < first.test.high - first.test.low


def test_more_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [1.0, 1.0, 1.0], recalls=[0.80, 0.82, 0.84])
    write(tmp_path, "lsgan", [1.0, 1.0, 1.0], recalls=[0.40, 0.43, 0.47])
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan", metric="recall"))
    assert one.test is not None
    assert (one.outcome, one.test.scale) == ("supported", "logit")


def test_a_claim_is_tested_under_the_protocol_that_both_rows_have(tmp_path: Path) -> None:
    write(tmp_path, "hinge", STEADY["hinge"])
    write(tmp_path, "lsgan", STEADY["hinge"], judge="of attributes")
    write(tmp_path, "lsgan4", STEADY["lsgan"], judge="of attributes")
    other, same = checked(tmp_path, tmp_path, claim("hinge", "lsgan"), claim("lsgan", "lsgan4"))
    assert (other.outcome, other.test) == ("not comparable", None)
    assert same.outcome == "supported"
    listing = claims_listing([other])
    assert listing is not None
    assert "not comparable" in listing.lines[0]


def test_one_seed_tests_nothing(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [1.0])
    write(tmp_path, "lsgan", [9.0])
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan"))
    assert (one.outcome, one.test) == ("not tested", None)


def test_a_row_with_more_seeds_than_are_needed_costs_nothing_more(tmp_path: Path) -> None:
    many = [2.0, 2.6, 1.7, 2.3, 1.9, 2.8, 1.6, 2.2, 2.4, 1.8]
    write(tmp_path, "hinge", many, seconds=3600.0)
    write(tmp_path, "lsgan", [2.5, 2.9], seconds=3600.0)
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan"))
    assert one.test is not None
    assert one.outcome == "inconclusive"
    assert one.test.needed is not None
    assert one.hours == pytest.approx(max(0, one.test.needed - 10) + one.test.needed - 2)
    assert one.hours > 0
    listing = claims_listing([one])
    assert listing is not None
    assert dict(zip(listing.heads, listing.lines[0]))["Seeds"] == "10 and 2"


def test_p_near_the_level_has_a_digit_more() -> None:
    assert [p_text(p) for p in (0.0004, 0.04996, 0.0503, 0.0512, 0.2)] == [
        "< 0.001",
        "0.0500",
        "0.0503",
        "0.051",
        "0.200",
    ]


def test_the_listing_shows_both_rows_and_the_ratio(tmp_path: Path) -> None:
    for loss, fds in STEADY.items():
        write(tmp_path, loss, fds, seconds=1800.0)
    found = checked(
        tmp_path, tmp_path, claim("hinge", "lsgan"), claim("hinge", "lsgan4"), claim("hinge", "non_saturating")
    )
    listing = claims_listing(found)
    assert listing is not None
    first, open_one, missing = (dict(zip(listing.heads, line)) for line in listing.lines)
    assert first["Row said to be better"] == "hinge: 2.00 ± 0.25"
    assert str(first["Effect"]).startswith("× 0.659 [")
    assert (first["Outcome"], first["Seeds"], first["To decide"]) == ("supported", "3", "–")
    assert (missing["Outcome"], missing["p"], missing["Seeds"]) == ("not run", "–", "3 and 0")
    assert found[1].test is not None
    needed = found[1].test.needed
    assert needed is not None
    hours = 2 * (needed - 3) * 0.5
    assert open_one["To decide"] == f"{needed} seeds, {hours:.2g} h"
    assert listing.notes[0] == "3 claims: 1 supported, 1 inconclusive, 1 not run."
    assert claims_listing([]) is None


def test_effects_are_ratios_on_logarithmic_scales() -> None:
    def of(scale: Scale, difference: float, low: float, high: float) -> str:
        return effect(Comparison(0, 1, scale, difference, low, high, 0.01, 0.1, (3, 3), False, "worse"))

    assert of("log", math.log(0.5), math.log(0.25), 0.0) == "× 0.5 [0.25, 1]"
    assert of("logit", math.log(3), math.log(2), math.log(4.5)) == "odds × 3 [2, 4.5]"
    assert of("identity", -1.5, -2.0, -1.0) == "-1.5 [-2, -1]"
    assert "inf" in of("log", 1.0, -80.0, 82.0)  # two seeds can leave an endless interval


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (claim("hinge", "wgan"), "0 rows have these labels"),
        (claim("hinge", "hinge"), "not better than itself"),
        ("  - {claim: x, by: rumour, better: {Loss: hinge}, than: {Loss: lsgan}, metric: fd}\n", "rumour"),
        ("  - {claim: x, by: ours, better: {}, than: {Loss: lsgan}, metric: fd}\n", "better"),
    ],
)
def test_a_claim_names_two_rows(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "losses.yaml"
    path.write_text(SUITE + "claims:\n" + text)
    with pytest.raises(ConfigError, match=reason):
        find_suite(str(path))


def test_every_suite_of_a_paper_has_claims_on_metrics_that_it_shows() -> None:
    for name, suite in list_suites().items():
        assert suite.claims or name in ("smoke", "compare-search"), name
        shown = {id for size in suite.sizes.values() for id in (*suite.metrics, *(size.metrics or ()))}
        for one in suite.claims:
            assert any(id == one.metric or id.startswith(f"{one.metric}_") for id in shown), (name, one.claim)


def test_claims_are_a_table_of_their_own(tmp_path: Path) -> None:
    """Of a suite of the benchmark, whose rows are found by what was asked for."""
    row = {"discriminator": "global", "loss": "hinge"}
    for method, changes, fds in (
        ("infoscc", row | {"steps": 2000}, (2.0, 2.1, 1.9)),
        ("eigengan", row | {"steps": 2000}, (9.0, 10.0, 11.0)),
    ):
        for seed, fd in enumerate(fds):
            config = {"method": method}
            write_record(
                tmp_path,
                f"digits-{method}-small-s{seed}-{content_hash(config)[:8]}",
                status="done",
                reason="",
                identity={
                    "method": method,
                    "dataset": "digits",
                    "recipe": "small",
                    "seed": seed,
                    "changes": changes,
                    "config": config,
                    "config_hash": content_hash(config),
                },
                result={"values": [MetricValue("fd_judge", "FD-judge", fd, "lower", {"n_fake": 2000}).to_dict()]},
                time={},
                device={},
            )
    found = suite_claims(read_records(tmp_path), ["infoscc-ablation"])
    assert [one.outcome for one in found] == ["supported", *["not run"] * (len(found) - 1)]
    written = {path.name for path in write_tables(tmp_path, ["infoscc-ablation"])}
    assert {"claims.csv", "claims.md", "claims.tex"} <= written
    assert "supported" in (tmp_path / "tables" / "claims.md").read_text()
