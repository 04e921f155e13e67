"""Files of tensors: every byte is checked, what they are of is compared, states are loaded whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.core.errors import UserError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.training.artifacts import META, VALUE, ArtifactStore
from benchmark.training.checkpoints import CHECKPOINT, load_checkpoint
from benchmark.training.config import TrainConfig
from benchmark.training.loop import train
from benchmark.training.method import Trainable, construct
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig
from benchmark.training.tensors import load_tensors, save_tensors

CPU = torch.device("cpu")
DATA = Dataset.tiny(find_card("digits"))
RUN = {"method": "m", "version": 1, "seed": 0, "config_hash": "a" * 64}
VALUES = {"w": torch.arange(300, dtype=torch.float32), "n": torch.tensor(3)}
ENCODER = SimCLRConfig(net="conv", width=2, steps=2, batch=4, blur=False)
STEPS = TrainConfig(steps=6, batch=4, log_every=2, checkpoint_every=3)
Change = Callable[[dict[str, Any]], Any]


def test_no_byte_of_a_file_can_change(tmp_path: Path) -> None:
    """Also in zip headers, between members and in the seal itself."""
    path = tmp_path / "w.pt"
    save_tensors(path, VALUES, RUN)
    whole = path.read_bytes()
    assert torch.equal(torch.load(path, weights_only=True)["w"], VALUES["w"]), "torch reads it as any other file"
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"(?s)w\.pt: not a checkpoint.*remove"):
            load_tensors(path, CPU, RUN)
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"w\.pt: not a checkpoint"):
            load_tensors(path, CPU, RUN)
    path.write_bytes(whole + b"\0")
    with pytest.raises(UserError, match=r"w\.pt: not a checkpoint"):
        load_tensors(path, CPU, RUN)


def test_a_file_without_a_seal_is_checked_by_its_crc(tmp_path: Path) -> None:
    """As earlier versions wrote it. What lies between the members is not covered, and nothing reads it."""
    path = tmp_path / "w.pt"
    torch.save(VALUES, path)
    assert torch.equal(load_tensors(path, CPU, RUN)["w"], VALUES["w"])
    whole, refused = path.read_bytes(), 0
    for at in range(0, len(whole), 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            found = load_tensors(path, CPU, RUN)
        except UserError:
            refused += 1
        else:
            assert all(torch.equal(found[name], VALUES[name]) for name in VALUES)
    assert refused > len(whole) / 11 / 3


def test_a_file_of_something_else_is_refused_by_both_names(tmp_path: Path) -> None:
    save_tensors(tmp_path / "w.pt", VALUES, RUN)
    with pytest.raises(UserError, match=r"(?s)belongs to something else.*seed 0.*needed is.*seed 1"):
        load_tensors(tmp_path / "w.pt", CPU, RUN | {"seed": 1})


class Line(Trainable):
    """A network, an optimiser and a tensor."""

    def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
        self.net = nn.Linear(2, 1)
        self.opt = self.adam(self.net, 0.01, (0.9, 0.99))
        self.seen = torch.zeros(3)

    def step(self, stream: Any, t: int) -> dict[str, torch.Tensor]:
        next(stream)
        self.update(loss := self.net(torch.ones(1, 2)).sum(), self.opt)
        return {"loss": loss}


def begun(folder: Path, steps: int = 3) -> None:
    """Train a little and leave a checkpoint."""
    cfg = TrainConfig(steps=steps, batch=4, checkpoint_every=3)
    train(construct(Line, cfg, DATA, CPU, 0), DATA, folder, seed=0, label="line", quiet=True, identity=RUN)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(UserError, match=r"(?s)checkpoint\.pt: belongs to something else.*seed 0.*seed 1"):
        again(tmp_path, RUN | {"seed": 1})
    again(tmp_path, RUN)


def again(folder: Path, identity: Any = RUN) -> None:
    """Continue."""
    train(construct(Line, STEPS, DATA, CPU, 0), DATA, folder, seed=0, label="line", quiet=True, identity=identity)


def test_a_checkpoint_of_an_earlier_version_is_refused_and_says_why(tmp_path: Path) -> None:
    begun(tmp_path)
    saved = load_checkpoint(tmp_path, CPU)
    torch.save(saved, tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match=r"(?s)does not say which run it is of.*earlier version.*remove"):
        again(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(step=0), "step 0"),
        (lambda s: s.update(step=7), "after step 7"),
        (lambda s: s.update(step=True), "step True"),
        (lambda s: s.update(step="3"), "step 3"),
        (lambda s: s.update(position=-4), "-4 images"),
        (lambda s: s.update(position=1.5), "1.5 images"),
        (lambda s: s.update(seconds=float("nan")), "nan seconds"),
        (lambda s: s.update(seconds=-1.0), "-1.0 seconds"),
        (lambda s: s.update(seconds="long"), "long seconds"),
        (lambda s: s.pop("position"), "position"),
        (lambda s: s.update(average={}), "average"),
        (lambda s: s["state"].pop("net"), "lacks net"),
        (lambda s: s["state"].pop("opt"), "lacks opt"),
        (lambda s: s["state"].pop("seen"), "lacks seen"),
        (lambda s: s["state"].update(other=torch.zeros(1)), "unexpected other"),
        (lambda s: s["state"].update(seen=torch.zeros(4)), "seen is"),
        (lambda s: s["state"].update(seen=torch.zeros(3, dtype=torch.int64)), "seen is"),
        (lambda s: s["state"].update(seen=3), "seen is int"),
        (lambda s: s["state"].update(net=torch.zeros(3)), "not a checkpoint"),
        (lambda s: s["state"]["net"].pop("bias"), "not a checkpoint"),
        (lambda s: s["state"]["net"].update(more=torch.zeros(1)), "not a checkpoint"),
        (lambda s: s["state"]["opt"].pop("state"), "lacks state"),
        (lambda s: s["state"]["opt"]["state"].update({9: {}}), "parameter 9"),
        (lambda s: s["state"]["opt"]["state"][0].pop("exp_avg"), "moments"),
        (lambda s: s["state"]["opt"]["state"][0].update(exp_avg=torch.zeros(7)), "exp_avg"),
        (lambda s: s["state"]["opt"]["param_groups"][0].pop("betas"), "betas"),
        (lambda s: s["state"]["opt"]["param_groups"].append({}), "not a checkpoint"),
    ],
)  # fmt: skip
def test_a_state_is_whole_or_refused(change: Change, words: str, tmp_path: Path) -> None:
    begun(tmp_path)
    saved = load_checkpoint(tmp_path, CPU)
    assert saved is not None
    change(saved)
    save_tensors(tmp_path / CHECKPOINT, saved, RUN)
    with pytest.raises(UserError, match="not a checkpoint of this run") as caught:
        again(tmp_path)
    assert words in str(caught.value)


def test_a_checkpoint_that_holds_no_mapping_is_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / CHECKPOINT, [1, 2], RUN)
    with pytest.raises(UserError, match="not a checkpoint of this run"):
        again(tmp_path)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    """A trained encoder, and an empty record of what was made."""
    store = ArtifactStore(DATA, tmp_path, CPU, quiet=True)
    store.train(SimCLR, ENCODER)
    return store


@pytest.mark.parametrize("change", [lambda s: s.popitem(), lambda s: s.update(other={})])
def test_a_stage_with_other_networks_is_refused(change: Change, artifacts: ArtifactStore) -> None:
    made = artifacts.made[0]
    states = load_tensors(made.folder / VALUE, CPU)
    change(states)
    identity = {"artefact": "SimCLR", "version": SimCLR.version, "key": made.key}
    save_tensors(made.folder / VALUE, states, identity)
    with pytest.raises(UserError, match=rf"(?s){VALUE}: not a checkpoint.*remove the folder {made.folder}"):
        ArtifactStore(DATA, artifacts.folder, CPU, quiet=True).train(SimCLR, ENCODER)


def test_the_weights_of_another_stage_are_refused(artifacts: ArtifactStore) -> None:
    other = SimCLRConfig(**{**vars(ENCODER), "seed": 1})
    artifacts.train(SimCLR, other)
    one, two = (made.folder for made in artifacts.made)
    (one / VALUE).write_bytes((two / VALUE).read_bytes())
    with pytest.raises(UserError, match=r"(?s)belongs to something else.*of key .*; needed is key "):
        ArtifactStore(DATA, artifacts.folder, CPU, quiet=True).train(SimCLR, ENCODER)


BAD_META: dict[str, Change] = {
    "a list": lambda meta: [meta],
    "nothing": lambda meta: None,
    "no seconds": lambda meta: {k: v for k, v in meta.items() if k != "seconds"},
    "seconds below 0": lambda meta: meta | {"seconds": -1.0},
    "seconds as text": lambda meta: meta | {"seconds": "long"},
    "seconds as a list": lambda meta: meta | {"seconds": [1]},
    "no key": lambda meta: {k: v for k, v in meta.items() if k != "key"},
    "another key": lambda meta: meta | {"key": "0" * 64},
    "another name": lambda meta: meta | {"name": "Judge"},
}


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("bad", BAD_META)
def test_a_damaged_meta_json_is_named(bad: str, sealed: bool, artifacts: ArtifactStore) -> None:
    """sealed: the file's own hash is there, and does not fit; without, as in earlier versions, entries are checked."""
    folder = artifacts.made[0].folder
    meta = json.loads((folder / META).read_text())
    changed = BAD_META[bad](meta)
    if not sealed and isinstance(changed, dict):
        changed.pop("entries_sha256")
    (folder / META).write_text(json.dumps(changed))
    with pytest.raises(UserError, match=rf"(?s){META}.*remove the folder {folder}"):
        ArtifactStore(DATA, artifacts.folder, CPU, quiet=True).train(SimCLR, ENCODER)


def test_artefacts_of_earlier_versions_are_found(artifacts: ArtifactStore) -> None:
    made = artifacts.made[0]
    meta = json.loads((made.folder / META).read_text())
    del meta["entries_sha256"]
    (made.folder / META).write_text(json.dumps(meta))
    torch.save(load_tensors(made.folder / VALUE, CPU), made.folder / VALUE)
    other = ArtifactStore(DATA, artifacts.folder, CPU, quiet=True)
    other.train(SimCLR, ENCODER)
    assert other.made[0].found
    content = bytearray((made.folder / VALUE).read_bytes())
    weights = np.frombuffer(next(iter(other._keys[0][0].state_dict().values())).numpy().tobytes(), np.uint8)
    content[bytes(content).index(weights.tobytes()[:16])] ^= 1
    (made.folder / VALUE).write_bytes(content)
    with pytest.raises(UserError, match="CRC-32"):
        ArtifactStore(DATA, artifacts.folder, CPU, quiet=True).train(SimCLR, ENCODER)
