"""An error is the same in another process: ranks and workers send theirs to each other."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from benchmark.core import distributed
from benchmark.core.errors import BusyError, ConfigError, UserError
from benchmark.training.loop import NonFiniteLoss

ERRORS = [
    UserError("a thing"),
    ConfigError("steps = -1", "it is negative", "give a positive number"),
    BusyError("the run", "process 1 holds it"),
    NonFiniteLoss("sngan", 7, Path("runs")),  # made from other arguments than its text
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_sent_whole(error: UserError) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert (there.what, there.why, there.mend) == (error.what, error.why, error.mend)


def test_work_of_one_process_is_its_result_or_its_error() -> None:
    assert distributed.by_main(lambda: 3) == 3
    error = ConfigError("steps", "none")
    with pytest.raises(ConfigError) as raised:
        distributed.by_main(lambda: _raise(error))
    assert raised.value is error


def _raise(error: Exception) -> None:
    raise error
