"""What `make same` compares, notices and says; nothing is trained."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import same_bits
import same_runs
import same_tables
import torch
from same_bits import counts, differences, failures, outermost, report
from same_carried import printed, timeless
from same_files import MASKED, manifest
from same_revision import ROOT
from same_runs import Row

RUN = "results/runs/digits/sngan/small-s0-1a2b"
RECORD: dict[str, Any] = {
    "run": "digits-sngan-small-s0-1a2b",
    "status": "done",
    "result": {
        "stages": [{"name": "SimCLR", "key": "ab12"}],
        "values": [
            {
                "id": "fd_judge",
                "value": 1.0,
                "protocol": {"k": 5},
                "protocol_key": "77aa",
                "details": {"sd": [1.0, 2.0]},
            },
            {"id": "modes", "value": None, "protocol": {}, "protocol_key": "88bb", "details": {}},
        ],
    },
    "time": {"utc": "2026-01-01T00:00:00+00:00", "training_s": 1.5, "stages_s": 0},
    "environment": {"cpu": "Some CPU", "commit": "1234", "libraries": {"torch": "2.6"}, "device": "cpu", "threads": 1},
}
CHECKPOINT: dict[str, Any] = {
    "step": 6,
    "position": 48,
    "seconds": 1.5,
    "state": {"G": {"net.0.weight": torch.ones(2, 3)}, "opt_G": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
    "average": None,
}


def leave(folder: Path) -> Path:
    """A small results folder with a file of each kind."""
    for place in (f"{RUN}/snapshots", "results/records", "results/artifacts/SimCLR-ab12", "results/tables"):
        (folder / place).mkdir(parents=True)
    change(folder / f"results/records/{RECORD['run']}.json", RECORD)
    change(folder / f"{RUN}/env.json", {"cpu": "Some CPU", "libraries": {"torch": "2.6"}})
    (folder / f"{RUN}/config.yaml").write_text("seed: 0\nconfig: {steps: 6}\n")
    (folder / f"{RUN}/log.jsonl").write_text('{"step": 3, "D": 1.0}\n{"step": 6, "D": 0.5}\n')
    (folder / f"{RUN}/samples.png").write_bytes(b"picture")
    torch.save(CHECKPOINT, folder / f"{RUN}/checkpoint.pt")
    np.save(folder / f"{RUN}/snapshots/3.npy", np.zeros((2, 2), np.float32))
    change(folder / "results/artifacts/SimCLR-ab12/meta.json", {"key": "ab12", "seconds": 3.0})
    change(folder / "drift.json", {"checks": [{"name": "kid", "now": "0.5"}], "environment": {"commit": "1234"}})
    np.savez(folder / "results/artifacts/features.npz", pooled=np.ones((2, 2), np.float32))
    (folder / "results/tables/digits.csv").write_text("Method,FD\nsngan,1.0\n")
    (folder / "results/tables/digits-cost.csv").write_text("Method,FLOPs a step,Training s,Machine\nsngan,7,1.5,mine\n")
    return folder


def change(path: Path, plain: Any) -> None:
    path.write_text(json.dumps(plain))


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return leave(tmp_path_factory.mktemp("there"))


@pytest.fixture
def here(there: Path, tmp_path: Path) -> Path:
    return shutil.copytree(there, tmp_path / "here")


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of a text file."""

    def made(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))

    return made


def retrained(name: str, value: Any) -> Callable[[Path], None]:
    """A change of the checkpoint."""
    return lambda folder: torch.save(CHECKPOINT | {name: value}, folder / f"{RUN}/checkpoint.pt")


RECORD_FILE = f"results/records/{RECORD['run']}.json"
LOG = f"{RUN}/log.jsonl"
WEIGHTS = {**CHECKPOINT["state"], "G": {"net.0.weight": torch.ones(2, 3) * (1 + 2**-23)}}
MOMENTS = {**CHECKPOINT["state"], "opt_G": {"state": {0: {"exp_avg": torch.full((2,), 1e-9)}}}}
CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "value": (
        edit(RECORD_FILE, '"value": 1.0', f'"value": {1 + 2**-52!r}'),
        "values.fd_judge.value differs: 1.0 there",
    ),
    "vanished value": (edit(RECORD_FILE, '"id": "modes"', '"id": "other"'), "result.values.modes: only there"),
    "protocol": (edit(RECORD_FILE, '{"k": 5}', '{"n": 5}'), "fd_judge.protocol.k: only there"),
    "protocol key": (edit(RECORD_FILE, "77aa", "77ab"), 'fd_judge.protocol_key differs: "77aa" there, "77ab" here'),
    "stage key": (edit(RECORD_FILE, "ab12", "ab13"), "result.stages.0.key differs"),
    "detail": (edit(RECORD_FILE, "[1.0, 2.0]", "[1.0, 2.5]"), "details.sd differs: [1.0, 2.0] there"),
    "time that is gone": (edit(RECORD_FILE, ', "stages_s": 0', ""), "time.stages_s: only there"),
    "threads": (edit(RECORD_FILE, '"threads": 1', '"threads": 2'), "environment.threads differs"),
    "record name": (
        lambda folder: (folder / RECORD_FILE).rename(folder / "results/records/another.json") and None,
        f"{RECORD_FILE}: only there",
    ),
    "run name": (
        lambda folder: (folder / RUN).rename(folder / RUN.replace("1a2b", "3c4d")) and None,
        f"{RUN}: only there",
    ),
    "artefact name": (
        lambda folder: (
            (folder / "results/artifacts/SimCLR-ab12").rename(folder / "results/artifacts/SimCLR-ab13") and None
        ),
        "artifacts/SimCLR-ab12: only there",
    ),
    "file that is gone": (lambda folder: (folder / f"{RUN}/snapshots/3.npy").unlink(), f"{RUN}: snapshots: only there"),
    "new file": (lambda folder: (folder / f"{RUN}/latents.pt").write_bytes(b"1"), f"{RUN}: latents.pt: only here"),
    "broken file": (
        lambda folder: (folder / f"{RUN}/checkpoint.pt").write_bytes(b"1"),
        "cannot be read: UnpicklingError",
    ),
    "setting": (
        edit(f"{RUN}/config.yaml", "steps: 6", "steps: 7"),
        "config.yaml: config.steps differs: 6 there, 7 here",
    ),
    "log line": (edit(LOG, '"D": 0.5', '"D": 0.25'), "log.jsonl: line 2 differs"),
    "log line that is gone": (edit(LOG, '{"step": 6, "D": 0.5}\n', ""), "log.jsonl: line 2: only there"),
    "weight": (retrained("state", WEIGHTS), "checkpoint.pt: state.G.net.0.weight differs: torch.float32 [2, 3]"),
    "moment": (retrained("state", MOMENTS), "checkpoint.pt: state.opt_G.state.0.exp_avg differs"),
    "average": (retrained("average", {"w": torch.ones(1)}), "checkpoint.pt: average.w: only here"),
    "position": (retrained("position", 56), "checkpoint.pt: position differs: 48 there, 56 here"),
    "picture": (lambda folder: (folder / f"{RUN}/samples.png").write_bytes(b"pictures"), "samples.png differs"),
    "features": (
        lambda folder: np.savez(folder / "results/artifacts/features.npz", pooled=np.ones((2, 2), np.float64)),
        "features.npz: pooled differs: float32 [2, 2]",
    ),
    "table": (edit("results/tables/digits.csv", "1.0", "1.1"), "tables/digits.csv differs"),
    "cost that no machine decides": (
        edit("results/tables/digits-cost.csv", "sngan,7,", "sngan,8,"),
        "digits-cost.csv: row 1 differs: sngan | 7 there, sngan | 8 here",
    ),
    "head of a cost table": (edit("results/tables/digits-cost.csv", "Training s", "Training (s)"), "heads differs"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_difference_is_named(name: str, there: Path, here: Path) -> None:
    make, words = CHANGES[name]
    make(here)
    lines, added = differences(manifest(there), manifest(here))
    assert any(words in line for line in lines), lines
    assert len(lines) <= 6, "one cause is few lines"
    assert not added


MASKS = {
    "times": edit(RECORD_FILE, '"training_s": 1.5', '"training_s": 9.5'),
    "commit": edit(RECORD_FILE, '"1234"', '"5678"'),
    "library": edit(RECORD_FILE, '"torch": "2.6"', '"torch": "2.7"'),
    "environment": edit(f"{RUN}/env.json", "Some CPU", "Another"),
    "commit of a drift gate": edit("drift.json", "1234", "5678"),
    "seconds of a stage": edit("results/artifacts/SimCLR-ab12/meta.json", "3.0", "4.0"),
    "seconds of a checkpoint": retrained("seconds", 2.5),
    "seconds in a cost table": edit("results/tables/digits-cost.csv", "1.5,mine", "2.5,another"),
    "order in memory": retrained("state", {**CHECKPOINT["state"], "G": {"net.0.weight": torch.ones(3, 2).t()}}),
    "nothing": lambda folder: None,
}


@pytest.mark.parametrize("name", MASKS)
def test_what_the_clock_and_the_machine_decide_is_no_difference(name: str, there: Path, here: Path) -> None:
    MASKS[name](here)
    assert differences(manifest(there), manifest(here)) == ([], [])


def test_masked_parts_are_still_parts(there: Path) -> None:
    items = manifest(there)
    masked = [item.split(" > ", 1)[1] for item, value in items.items() if value == MASKED]
    libraries = "environment > libraries > torch"
    assert sorted(masked) == sorted(
        ["time > utc", "time > training_s", "time > stages_s", "environment > cpu", "environment > commit", libraries,
         "environment > commit", "environment > cpu", libraries, "seconds", "seconds"]
    )  # fmt: skip


def test_an_exit_status_and_a_printed_line_are_compared() -> None:
    def ended(status: int, text: str) -> dict[str, str]:
        done = subprocess.CompletedProcess([], status, stdout=text, stderr="a word\nand a last one in /tmp/x")
        return printed("verbs/command 1, list", 0, done, Path("/tmp/x"))

    well = ended(0, "  sngan in /tmp/x/verbs\n")
    assert well["verbs/command 1, list > output > line 1"] == "  sngan in FOLDER/verbs"
    assert failures(well) == []
    (line,) = differences(well, ended(1, "  sngan in /tmp/x/verbs\n"))[0]
    assert "exit status differs: 0 there, 1, not 0 as it should be: and a last one in FOLDER here" in line
    assert len(failures(ended(1, ""))) == 1
    (line,) = differences(well, ended(0, "  ssgan in /tmp/x/verbs\n"))[0]
    assert "output.line 1 differs" in line


def test_what_is_allowed_is_added_on_purpose_and_nothing_else_is() -> None:
    there = {"a/list > line 1": "sngan  SNGAN", "a/run/config.yaml": "x"}
    here = {**there, "a/run/sampling.pt": "a file", "a/run/sampling.pt > G": "1", "a/run/other.pt": "2"}
    lines, added = differences(there, here, ("*/sampling.pt*",))
    assert lines == ["a/run/other.pt: only here"]
    assert added == ["a/run/sampling.pt: added on purpose"]
    wider = {**there, "a/list > line 1": "sngan  none  SNGAN"}
    assert differences(there, wider, ("a/list > *",)) == ([], ["a/list: line 1: added on purpose"])
    assert len(differences(there, wider)[0]) == 1
    narrower = {**there, "a/list > line 1": "SNGAN"}
    assert len(differences(there, narrower, ("a/list > *",))[0]) == 1, "a word is gone"
    assert len(differences(there, {}, ("*",))[0]) == 1, "what is gone is never added"


def test_a_folder_on_one_side_is_one_line() -> None:
    one = ["a/b/c > d", "a/b/e", "a/f > g > h"]
    assert outermost(one, ["a/f > i"]) == ["a/b", "a/f > g"]


def test_many_differences_are_cut_and_counted() -> None:
    there = {f"g/results/runs/digits/sngan/s0/checkpoint.pt > w{i}": "torch.float32 [1] a" for i in range(50)}
    here = {item: value.replace("] a", "] b") for item, value in there.items()}
    said = report(*differences(there, here), there, here, "abc")
    assert len(said) == same_bits.MOST_LINES + 3
    assert said[0].startswith("g/results/runs/digits/sngan/s0: checkpoint.pt: w0 differs: torch.float32 [1] a there")
    assert said[-3] == "... and 10 more"
    assert "50 tensors and arrays" in said[-2]
    assert said[-1] == "50 differences from abc"
    said = report([], [f"run {i}: sampling.pt: added on purpose" for i in range(5)], there, there, "abc")
    assert said[2:4] == ["run 2: sampling.pt: added on purpose", "... and 2 more added on purpose"]
    assert said[-1] == "the same bits as abc"


def test_what_was_compared_is_counted(there: Path) -> None:
    found = counts({f"digits/{item}": value for item, value in manifest(there).items()})
    for words in ("1 runs", "1 records", "2 values", "2 protocol keys", "2 stage keys", "2 log lines", "1 pictures",
                  "2 table files", "3 tensors and arrays"):  # fmt: skip
        assert words in found, found


def test_a_record_without_times_is_the_same_whatever_the_times_were() -> None:
    other = json.loads(json.dumps(RECORD))
    other["time"] |= {"utc": "2027-01-01", "training_s": 99.0, "stages_s": 2.0}
    other["environment"] |= {"commit": "5678", "cpu": "Another"}
    assert timeless(other) == timeless(RECORD)
    assert timeless(RECORD)["environment"]["device"] == "cpu"
    assert timeless(RECORD)["time"]["training_s"] != timeless(RECORD)["time"]["stages_s"]


# ---- the runs -------------------------------------------------------------------------------------------------------


def rows() -> list[Row]:
    shared = [*same_runs.DIGITS, *same_runs.RING, *same_runs.ATTRIBUTES, *same_runs.COLOURED, *same_runs.STACKED]
    return [*shared, *same_runs.NEWER]


def test_every_method_runs() -> None:
    files = {path.stem for path in (ROOT / "methods").glob("[!_]*.py")}
    assert {method for _, method, _ in rows()} == files


def test_every_encoder_without_a_download_and_every_backbone_of_ltgan_run() -> None:
    encoders = {changes["features"]["name"] for _, method, changes in rows() if method == "latentcond"}
    assert encoders == {"simclr", "rotnet", "classifier", "alexnet", "pixels", "lite0"}
    backbones = {changes.get("backbone", "resnet") for _, method, changes in rows() if method == "ltgan"}
    assert backbones == {"sndcgan", "resnet", "biggan", "stylegan2"}


def test_no_two_rows_of_a_suite_have_the_same_labels() -> None:
    for table in (same_runs.DIGITS, same_runs.RING, same_runs.ATTRIBUTES, same_runs.COLOURED, same_runs.SCORED):
        labels = [(variant, method) for variant, method, _ in table]
        assert len(set(labels)) == len(labels)


def test_every_file_that_a_command_names_is_written() -> None:
    for group in same_runs.groups():
        named = {Path(word).stem for one in group.commands for word in one.arguments if word.endswith(".yaml")}
        assert named == set(group.files)
        for text in group.files.values():
            assert json.loads(text)["title"]


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_published_tables_that_are_not_as_committed_are_counted(tmp_path: Path) -> None:
    leave(tmp_path)
    found = same_tables.files_of(tmp_path / "results", ("records", "tables", "report.html"))
    assert [path.name for path in found] == [f"{RECORD['run']}.json", "digits-cost.csv", "digits.csv"]
    committed, here = {"tables/a.csv": "1"}, {"tables/a.csv": "1", "figures/b.png": "2", "report.html": "3"}
    assert same_tables.verdict([], committed, here, "abc").startswith("the same bytes: 1 committed tables")
    assert same_tables.verdict(["a"], committed, here, "abc").startswith("1 differences")
