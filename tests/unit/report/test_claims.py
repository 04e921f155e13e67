"""Claims of a suite, tested over the seeds of its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from benchmark.core.config import content_hash
from benchmark.core.errors import ConfigError
from benchmark.core.stats import Paired
from benchmark.evaluation.value import MetricValue
from benchmark.report.claims import CheckedClaim, check_claims, claims_listing, effect
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
    results: Path, loss: str, fds: Sequence[float], recalls: Sequence[float] = (), *, judge: str = "of classes"
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
            time={},
            device={},
        )


def checked(results: Path, folder: Path, *claims: str) -> list[CheckedClaim]:
    path = folder / "losses.yaml"
    path.write_text(SUITE + "claims:\n" + "".join(claims))
    suite = find_suite(str(path))
    return check_claims(suite, suite_table(suite, "small", read_records(results), "digits"))


def test_a_claim_holds_or_its_opposite_or_it_cannot_be_told(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [2.0, 4.0, 8.0])
    write(tmp_path, "lsgan", [2.9, 6.1, 12.0])  # half as much again in every seed
    write(tmp_path, "lsgan4", [3.0, 2.0, 9.0])
    found = checked(
        tmp_path, tmp_path, claim("hinge", "lsgan"), claim("lsgan", "hinge"), claim("hinge", "lsgan4"),
        claim("hinge", "non_saturating"),
    )  # fmt: skip
    assert [one.outcome for one in found] == ["holds", "the opposite holds", "cannot be told", "not run"]


def test_the_test_is_the_paired_one_on_logarithms_with_holms_correction(tmp_path: Path) -> None:
    hinge, lsgan, lsgan4 = [2.0, 4.0, 8.0], [2.9, 6.1, 12.0], [3.0, 2.0, 9.0]
    for loss, fds in (("hinge", hinge), ("lsgan", lsgan), ("lsgan4", lsgan4)):
        write(tmp_path, loss, fds)
    first, second = checked(tmp_path, tmp_path, claim("hinge", "lsgan"), claim("hinge", "lsgan4"))
    alone = [scipy.stats.ttest_rel(np.log(hinge), np.log(other)).pvalue for other in (lsgan, lsgan4)]
    assert alone[0] < alone[1]
    assert first.p == pytest.approx(2 * alone[0])
    assert second.p == pytest.approx(max(alone[1], 2 * alone[0]))


def test_more_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [1.0, 1.0, 1.0], recalls=[0.80, 0.82, 0.84])
    write(tmp_path, "lsgan", [1.0, 1.0, 1.0], recalls=[0.40, 0.43, 0.47])
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan", metric="recall"))
    assert (one.outcome, one.scale) == ("holds", "logit")


def test_a_claim_is_tested_under_the_protocol_that_both_rows_have(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [2.0, 4.0, 8.0])
    write(tmp_path, "lsgan", [2.0, 4.0, 8.0], judge="of attributes")
    write(tmp_path, "lsgan4", [2.9, 6.1, 12.0], judge="of attributes")
    other, same = checked(tmp_path, tmp_path, claim("hinge", "lsgan"), claim("lsgan", "lsgan4"))
    assert (other.outcome, other.test, other.p) == ("not comparable", None, None)
    assert (same.outcome, same.p) == (
        "holds",
        pytest.approx(scipy.stats.ttest_rel(np.log([2.0, 4.0, 8.0]), np.log([2.9, 6.1, 12.0])).pvalue),
    )
    listing = claims_listing([other])
    assert listing is not None
    assert "not comparable" in listing.lines[0]


def test_one_seed_tests_nothing(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [1.0])
    write(tmp_path, "lsgan", [9.0])
    (one,) = checked(tmp_path, tmp_path, claim("hinge", "lsgan"))
    assert (one.outcome, one.p) == ("not run", None)


def test_the_listing_shows_both_rows_and_the_ratio(tmp_path: Path) -> None:
    write(tmp_path, "hinge", [2.0, 4.0, 8.0])
    write(tmp_path, "lsgan", [4.0, 8.0, 16.0001])
    listing = claims_listing(checked(tmp_path, tmp_path, claim("hinge", "lsgan"), claim("hinge", "lsgan4")))
    assert listing is not None
    (line, missing) = listing.lines
    cells = dict(zip(listing.heads, line))
    assert cells["Row said to be better"] == "hinge: 4.7 ± 7.6"
    assert str(cells["Difference"]).startswith("× 0.5 [0.5, 0.5]")
    assert cells["Outcome"] == "holds"
    assert missing[1] == "not run"
    assert claims_listing([]) is None


def test_effects_are_ratios_on_logarithmic_scales() -> None:
    assert effect(Paired(math.log(0.5), math.log(0.25), 0.0, 0.01, 3), "log") == "× 0.5 [0.25, 1]"
    assert effect(Paired(math.log(3), math.log(2), math.log(4.5), 0.01, 3), "logit") == "odds × 3 [2, 4.5]"
    assert effect(Paired(-1.5, -2.0, -1.0, 0.01, 3), "identity") == "-1.5 [-2, -1]"
    assert "inf" in effect(Paired(1.0, -80.0, 82.0, 0.9, 2), "log")  # two seeds can leave an endless interval


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
        assert suite.claims or name == "smoke", name
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
    assert [one.outcome for one in found] == ["holds", *["not run"] * (len(found) - 1)]
    written = {path.name for path in write_tables(tmp_path, ["infoscc-ablation"])}
    assert {"claims.csv", "claims.md", "claims.tex"} <= written
    assert "holds" in (tmp_path / "tables" / "claims.md").read_text()
