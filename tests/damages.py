"""What can happen to a stored file: a flipped bit, 64 bytes of zeros, a lost tail, nothing left."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import torch

import benchmark as gantlet
from benchmark.core.errors import UserError
from benchmark.runs.exported import CONFIG

DAMAGES = ["bit 0", "bit 0.001", "bit 0.02", "bit 0.1", "bit 0.3", "bit 0.5", "bit 0.9", "bit 0.97", "bit 1",
           "zeros 0.1", "zeros 0.5", "zeros 1", "tail 1", "tail 100", "empty"]  # fmt: skip


def damage(path: Path, how: str) -> bool:
    """Damage a file, the same way each time: `how` says what, and at which share of its length, or how many bytes.

    Returns whether a byte is another one: a file of zeros does not change by 64 zeros.
    """
    content = bytearray(path.read_bytes())
    before, (kind, *number) = bytes(content), how.split()
    if kind == "bit":
        content[int(float(number[0]) * (len(content) - 1))] ^= 1 << Random(how).randrange(8)
    elif kind == "zeros":
        start = max(0, int(float(number[0]) * len(content)) - 64)
        content[start : start + 64] = bytes(min(64, len(content) - start))
    elif kind == "tail":
        del content[-int(number[0]) :]
    else:
        content.clear()
    path.unlink()  # it may be a hard link to a whole one
    path.write_bytes(content)
    return bytes(content) != before


def check_damages_are_named(model: Path, name: str, work: Path) -> None:
    """Assert that a model with any damage of one of its files is refused by the file's name, or samples the same bits.

    model: the folder of an exported or published model, which stays as it is. work: where its copies are made.
    """
    expected, refusals = gantlet.load_run(model).sample(3), {}
    for how in DAMAGES:
        copy = work / "copy"
        shutil.copytree(model, copy)
        changed = damage(copy / name, how)
        try:
            found = gantlet.load_run(copy).sample(3)
        except UserError as error:
            refusals[how] = str(error)
        else:
            assert torch.equal(found, expected), how
            assert not changed or name == CONFIG, f"{how}: blanks alone may change, and nothing that a file says"
        shutil.rmtree(copy)
    assert len(refusals) >= len(DAMAGES) - 4
    assert not [text for text in refusals.values() if name not in text]
