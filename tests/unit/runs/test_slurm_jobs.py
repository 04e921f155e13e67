"""What SLURM is given and what it answers, without a SLURM: `make test-slurm` starts a real one."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.core.config import parse_overrides
from benchmark.core.errors import ConfigError
from benchmark.runs.suites.slurm_jobs import check_options, read_accounting, read_states


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("mem_gb=16", "--slurm mem_gb.*did you mean 'mem'"),
        ("partitionn=gpu", "did you mean 'partition'"),
        ("timeout_min=5", "did you mean 'time'"),
        ("gpus=1", "did you mean '(num_gpus|gpus_per_node|gpus_per_task)'"),
        ("time=1h", "--slurm time=1h.*whole number of minutes, 1 or more"),
        ("time=0", "1 or more"),
        ("time=-5", "1 or more"),
        ("time=1.5", "whole number"),
        ("time=true", "whole number"),
        ("time=", "whole number"),
        ("gpus_per_node=-1", "0 or more"),
        ("cpus_per_task=[1]", "whole number"),
        ("mem=16", "text with a unit, such as 16GB"),
        ("mem=lots", "text with a unit"),
        ("mem_per_cpu={a: 1}", "text with a unit"),
        ("partition=", "one line of text"),
        ("partition=true", "one line of text"),
        ("partition=[a, b]", "one line of text"),
        ('comment="a\\n#SBATCH --uid=0"', "one line of text"),
        ("setup=module load cuda", "a list of texts"),
        ("setup=[1]", "a list of texts"),
        ("stderr_to_stdout=1", "true or false"),
        ("exclusive=", "true, or text"),
        ("additional_parameters=x", "a mapping"),
        ("command=rm", "no such option"),
        ("map_count=3", "no such option"),
    ],
)
def test_a_bad_option_is_named_before_anything_is_submitted(option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        check_options(parse_overrides([option]))


def test_options_that_submitit_takes() -> None:
    options: dict[str, Any] = parse_overrides(
        ["partition=gpu", "time=60", "mem=16GB", "mem_per_cpu=500M", "gpus_per_node=1", "cpus_per_task=4",
         "account=12", "exclusive=true", "signal_delay_s=0", "setup=[module load cuda]",
         "additional_parameters={reservation: mine}", "constraint=a100|h100"]
    )  # fmt: skip
    check_options(options)


def test_states_of_an_array() -> None:
    text = (
        "JobId=9 ArrayJobId=7 ArrayTaskId=2-3,5%2 JobState=PENDING Reason=JobArrayTaskLimit ExitCode=0:0\n"
        "JobId=8 ArrayJobId=7 ArrayTaskId=0 JobName=gantlet JobState=FAILED Reason=NonZeroExitCode ExitCode=137:0\n"
        "JobId=7 ArrayJobId=7 ArrayTaskId=1 JobState=FAILED ExitCode=0:9\n\n"
    )
    assert read_states(text) == {
        "7_0": ("FAILED", -9), "7_1": ("FAILED", -9), "7_2": ("PENDING", 0), "7_3": ("PENDING", 0),
        "7_5": ("PENDING", 0),
    }  # fmt: skip
    assert read_states("JobId=12 JobState=OUT_OF_MEMORY ExitCode=0:125") == {"12": ("OUT_OF_MEMORY", -125)}
    assert read_states("") == {}


def test_states_by_accounting() -> None:
    text = "7_0|FAILED|1:0\n7_1|CANCELLED by 0|0:15\n7_[2-3%1]|PENDING|0:0\n8|COMPLETED|0:0\n"
    assert read_accounting(text) == {
        "7_0": ("FAILED", 1), "7_1": ("CANCELLED", -15), "7_2": ("PENDING", 0), "7_3": ("PENDING", 0),
        "8": ("COMPLETED", 0),
    }  # fmt: skip
