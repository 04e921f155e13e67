"""What `make same` says of two revisions' records."""

from __future__ import annotations

import copy
from typing import Any

from same_bits import differences

RECORD: dict[str, Any] = {
    "result": {"weights_sha256": "a" * 64, "samples_sha256": "b" * 64, "values": [{"id": "fd", "value": 1.0}]}
}


def changed(**parts: Any) -> dict[str, Any]:
    record = copy.deepcopy(RECORD)
    record["result"] |= parts
    return record


def test_equal_records_have_no_difference() -> None:
    assert differences({"run": RECORD}, {"run": copy.deepcopy(RECORD)}) == []


def test_every_kind_of_difference_is_named() -> None:
    for other, word in [
        (changed(weights_sha256="c" * 64), "weights_sha256"),
        (changed(samples_sha256="c" * 64), "samples_sha256"),
        (changed(values=[{"id": "fd", "value": 1.0 + 2**-52}]), "fd 1.0 there"),
        ({"result": None}, "failed"),
    ]:
        (line,) = differences({"run": RECORD}, {"run": other})
        assert word in line
    assert differences({"a": RECORD}, {"b": RECORD}) == ["a: only there", "b: only here"]
    assert differences({}, {"run": RECORD}) == ["one of the two revisions made no record"]


def test_a_new_metric_is_no_difference() -> None:
    values = [*RECORD["result"]["values"], {"id": "new", "value": 2.0}]
    assert differences({"run": RECORD}, {"run": changed(values=values)}) == []
