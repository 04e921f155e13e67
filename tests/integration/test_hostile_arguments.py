"""Arguments out of all bounds: refused before any work, by name, without a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.__main__ import main


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The message of a command line that must fail with status 2."""
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse's
        status = int(stop.code or 0)
    text = capsys.readouterr().err
    assert status == 2, text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize(
    "setting",
    [
        "batch=1000000000",
        "batch=10000000000000",
        "steps=1000000000000000000",
        "eval.n_fake=1000000000000",
        "eval.judge.width=10000000000",
        "eval.n_fake=2000000000",
        "log_every=4294967296",
    ],
)
def test_settings_no_machine_can_hold(
    verb: str, setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [verb, "--method", "sngan", "--device", "cpu", "--results", str(tmp_path / "r"), "--set", setting]
    assert setting.split("=")[0] in refused(words, capsys)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("option", [["--seed", str(10**30)], ["--threads", str(10**12)], ["--threads", "100000"]])
def test_numbers_out_of_bounds(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--method", "sngan", "--device", "cpu", "--results", str(tmp_path / "r"), *option]
    assert option[0].strip("-") in refused(words, capsys)


@pytest.mark.parametrize("n", ["0", "-1", str(10**12), "\u0663", "x"])
def test_number_of_samples(n: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--n" in refused(["sample", "--method", "sngan", f"--n={n}", "--out", str(tmp_path / "o")], capsys)


@pytest.mark.parametrize("item", ["=1", ".=1", "a..b=1", ".a=1", "a.=1", "a.b.c.d=1", "steps.x=1"])
def test_keys_that_are_none(item: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--set" in refused(["plan", "--method", "sngan", "--set", item], capsys)


@pytest.mark.parametrize("words", [["report", "--out"], ["drift", "--json"]])
def test_output_is_checked_first(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    results = ["--results", str(tmp_path / "r")]
    assert "it is a folder" in refused([*words, str(tmp_path), *results], capsys)
    assert "file" in refused([*words, str(tmp_path / "file" / "x"), *results], capsys)
