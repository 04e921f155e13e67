"""kill -9 anywhere, the same command again: the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers import DIGITS, INFOSCC, TINY, TSNE, Finished, Outcome, RunServer, killed, outcome, run_arguments

DEATHS = [
    "step SimCLR 3",  # in the middle of the encoder, between two of its checkpoints
    "checkpoint inside SimCLR 4",
    "artifact SimCLR",  # half of the encoder's weights are written
    "artifact encode",  # between encoder and classifier
    "step Classifier 2",
    "checkpoint before infoscc 8",
    "checkpoint inside infoscc 4",  # the first checkpoint: nothing lies below it
    "checkpoint inside infoscc 8",
    "checkpoint after infoscc 8",
    "metrics",
    "record",
]
CHAIN = [
    "step SimCLR 0",
    "meta SimCLR",  # its weights are written, but not the file that says so
    *(f"step infoscc {t}" for t in (0, 3, 6, 9, 11)),
    "checkpoint after infoscc 12",
    "step Judge 2",
    "features judge",
    "record",
]


def torn_files(results: Path) -> list[Path]:
    """Temporary files that lie about."""
    return [path for part in ("runs", "artifacts") for path in (results / part).rglob("*.tmp")]


@pytest.mark.parametrize("at", DEATHS)
def test_a_killed_run_continues_to_the_same_bits(at: str, server: RunServer, finished: Finished, results: Path) -> None:
    command = run_arguments(results, INFOSCC)
    killed(server.run(command, results, at=at))
    assert not list(results.glob("records/*.json")), "a killed run leaves no record"
    assert bool(torn_files(results)) == ("inside" in at or "artifact" in at)
    ended = server.run(command, results)
    assert ended.status == 0, ended.stderr
    outcome(results).same_as(finished.outcome)
    assert torn_files(results) == []


def test_a_run_killed_again_and_again_still_gives_the_same_bits(
    server: RunServer, finished: Finished, results: Path
) -> None:
    command = run_arguments(results, INFOSCC)
    for at in CHAIN:
        killed(server.run(command, results, at=at))
    assert server.run(command, results).status == 0
    outcome(results).same_as(finished.outcome)


def test_a_run_that_goes_on_with_other_threads_says_so(server: RunServer, finished: Finished, results: Path) -> None:
    """The record of an undisturbed run does not: see `test_a_killed_run_continues_to_the_same_bits`."""
    command = run_arguments(results, INFOSCC)
    killed(server.run(command, results, at="step infoscc 9"))
    (path,) = results.glob("runs/*/*/*/env.json")
    begun = json.loads(path.read_text())
    path.write_text(json.dumps(begun | {"threads": begun["threads"] + 6, "device": "another"}))
    killed(server.run(command, results, at="metrics"))
    ended = server.run(command, results)
    assert ended.status == 0, ended.stderr
    was, now = begun["threads"] + 6, begun["threads"]
    assert f"this run was begun with device another, now cpu; threads {was}, now {now}" in ended.stderr
    (other,) = outcome(results).record["environment"]["also_trained_with"]
    assert (other["threads"], other["device"], other["cpu"]) == (was, "another", begun["cpu"])
    assert "also_trained_with" not in finished.outcome.record["environment"]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (
            "sngan",
            [*TINY, *DIGITS, "width=4", "n_dis=2"],
        ),  # learning rates that fall, spectral norm, batch norm, several batches a step
        pytest.param(  # batch norm in D; t-SNE
            "infoscc",
            [*INFOSCC, "discriminator=patch", "patch_layers=2", "patch_width=4", *TSNE],
            marks=pytest.mark.slow,
        ),
        ("infoscc", [*INFOSCC, "labels=clusters", "ema_half_life_images=0"]),  # labels made on the way; no average
        pytest.param("infoscc", [*INFOSCC, *TSNE], marks=pytest.mark.slow),
    ],
)
def test_other_machinery_continues_too(
    method: str, settings: list[str], server: RunServer, finished: Finished, tmp_path: Path
) -> None:
    outcomes = []
    for name, deaths in (("whole", []), ("killed", [f"step {method} 6", "tsne" if TSNE[0] in settings else "metrics"])):
        results = finished.seeded(tmp_path / name)
        command = run_arguments(results, settings, method=method)
        for at in deaths:
            killed(server.run(command, results, at=at))
        ended = server.run(command, results)
        assert ended.status == 0, ended.stderr
        outcomes.append(outcome(results))
    outcomes[0].same_as(outcomes[1])


def test_the_result_changes_when_the_seed_does(server: RunServer, finished: Finished, results: Path) -> None:
    """So that the equalities above mean something."""
    assert server.run([*run_arguments(results, INFOSCC), "--seed", "1"], results).status == 0
    mine, theirs = outcome(results), finished.outcome
    assert mine.result["weights_sha256"] != theirs.result["weights_sha256"]
    assert mine.result["samples_sha256"] != theirs.result["samples_sha256"]
    assert mine.log != theirs.log
    assert mine.result["stages"] == theirs.result["stages"], "the encoder has a seed of its own"


def test_what_is_scored_is_what_is_saved(server: RunServer, finished: Finished, results: Path) -> None:
    """SNGAN's generator has batch norm, whose standing statistics are part of the weights that `sample` loads."""
    from benchmark.nn.sngan import SNGANGenerator
    from benchmark.runs.run import weights_hash

    assert server.run(run_arguments(results, [*TINY, *DIGITS, "width=4"], method="sngan"), results).status == 0
    left: Outcome = outcome(results)
    G = SNGANGenerator(16, 1, 64, 4)
    G.load_state_dict(left.generator)
    assert weights_hash(G) == left.result["weights_sha256"]


def test_copied_results_still_count_as_done(server: RunServer, finished: Finished, tmp_path: Path) -> None:
    """A record is enough: nothing is trained or looked for again."""
    results = tmp_path / "results"
    shutil.copytree(finished.results / "records", results / "records")
    ended = server.run(run_arguments(results, INFOSCC), tmp_path)
    assert ended.status == 0
    assert "FD-judge" in ended.stdout
    assert not (results / "runs").exists()
