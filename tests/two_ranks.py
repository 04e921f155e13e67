"""Run by `torchrun` with two processes: tiny runs one after the other; each rank writes down what it ended with.

torchrun ... tests/two_ranks.py FOLDER     (FOLDER/orders.json: {name: {"arguments": [...], "stop_at": step or null}})

"do" in an order: "kill" ends rank 1 at that step, as a lost machine would; "leave" sends rank 1 SIGUSR2, and rank 0
only one step later. "runs_only": true among the orders: nothing
but these runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from whole_batches import results

import benchmark.runs.run
from benchmark.__main__ import main
from benchmark.core import distributed
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.runs.run import weights_hash
from benchmark.training.loop import train
from benchmark.training.method import Stage, TrainConfig, construct
from methods.infoscc import InfoSCC
from methods.sngan import SNGAN

torch.set_num_threads(1)


class Plain(Stage):
    """A convolutional regression without any noise: on two ranks it computes what one process does."""

    def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
        self.net = nn.Sequential(nn.Conv2d(data.channels, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())
        self.opt = self.adam(self.net, 1e-2, (0.9, 0.99))

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        x = next(stream).images
        loss = (self.net(x).mean(1) - x.square().mean((1, 2, 3))).square().mean()
        self.update(loss, self.opt)
        return {"loss": loss}


def train_plain(folder: Path) -> dict[str, Tensor]:
    """Weights of `Plain` after ten steps of 8 images, over however many ranks there are."""
    folder.mkdir(parents=True, exist_ok=True)
    data, cfg = Dataset.tiny(find_card("shapes")), TrainConfig(steps=10, batch=8)
    plain = construct(Plain, cfg, data, torch.device("cpu"), seed=0)
    train(plain, data, folder, seed=0, label="plain", quiet=True)
    return plain.net.state_dict()


def observe(seen: dict[str, Any], stop_at: list[int | None], do: list[str]) -> None:
    """Note what each rank does, and interrupt every rank where an order says so."""
    plain_train, plain_evaluate, plain_record = (
        getattr(benchmark.runs.run, name) for name in ("train", "evaluate", "write_record")
    )

    def train_and_note(method: Any, *arguments: Any, **options: Any) -> Any:
        outcome = plain_train(method, *arguments, **options)
        seen["weights"] = {name: weights_hash(net) for name, net in method.modules().items()}
        # Its buffers are not compared: evaluation, on rank 0 alone, makes them anew.
        average = outcome.average.parameters() if outcome.average else []
        seen["average"] = [float(p.double().sum()) for p in average]
        return outcome

    def counted(name: str, plain: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            seen[name] = seen.get(name, 0) + 1
            return plain(*arguments, **options)

        return call

    benchmark.runs.run.train = train_and_note
    benchmark.runs.run.evaluate = counted("evaluations", plain_evaluate)
    benchmark.runs.run.write_record = counted("records", plain_record)
    benchmark.runs.run.save_pictures = lambda *_, **__: None
    for cls in (InfoSCC, SNGAN):
        cls.step = interrupted(cls.step, stop_at, do)  # type: ignore[method-assign]


def interrupted(plain: Any, stop_at: list[int | None], do: list[str]) -> Any:
    """A step that raises what Ctrl-C would, kills rank 1, or asks the ranks to leave, one after the other."""

    def step(self: Any, stream: Stream, t: int) -> Any:
        rank = distributed.rank()
        if stop_at[0] is not None and distributed.world() > 1:  # not in the rehearsal, which rank 0 does alone
            if do[0] == "interrupt" and t == stop_at[0]:
                raise KeyboardInterrupt
            if do[0] == "kill" and t == stop_at[0] and rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if do[0] == "leave" and t == stop_at[0] + 1 - rank:
                os.kill(os.getpid(), signal.SIGUSR2)
        return plain(self, stream, t)

    return step


def run_orders(folder: Path) -> None:
    """Carry out every order; write `<name>.<rank>.json`."""
    distributed.start(torch.device("cpu"))
    leave, distributed.stop = distributed.stop, lambda: None  # one process group for all orders
    seen: dict[str, Any] = {}
    stop_at: list[int | None] = [None]
    do = ["interrupt"]
    observe(seen, stop_at, do)
    orders = json.loads((folder / "orders.json").read_text())
    if not orders.pop("runs_only", False):
        torch.save(train_plain(folder / "plain"), folder / f"plain.{distributed.rank()}.pt")
        torch.save(results(folder / "whole"), folder / f"whole.{distributed.rank()}.pt")
    for name, order in orders.items():
        seen.clear()
        seen["local_rank"] = distributed.local_rank()
        stop_at[0], do[0] = order["stop_at"], order.get("do", "interrupt")
        seen["status"] = main(order["arguments"])
        if do[0] == "leave":
            (saved,) = Path(folder, "went_on").glob("runs/*/*/*/checkpoint.pt")
            seen["saved_step"] = torch.load(saved, weights_only=True)["step"]
        (folder / f"{name}.{distributed.rank()}.json").write_text(json.dumps(seen))
    distributed.barrier()  # neither leaves while the other still talks to it
    leave()


if __name__ == "__main__":
    run_orders(Path(sys.argv[1]))
