"""The harness's training step beside a hand-written loop over the same networks.

    python tests/tools/bench_overhead.py [--json] [--blocks 15] [--steps 16]

Both do the same mathematics: the same passes, losses, fused Adam, moving average and batch size, channels last. The
hand-written loop is what a careful author writes for one method: zero_grad, backward, step, D's weights frozen in G's
step, images gathered from a tensor in memory. The harness adds its clock: seeding, the resumable stream, `update` with
its finiteness note, the learning-rate factor, the log, the average. Blocks of steps alternate (A B A B ...), so that a
busy machine slows both; times are of the processor, one thread; the ratio is the median over pairs of blocks.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream, to_float
from benchmark.nn.losses import adversarial, label_loss, r1
from benchmark.runs.plan import DryRun
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import train
from benchmark.training.method import Method, construct, find_method
from methods.infoscc import LOSSES

CPU = torch.device("cpu")
Step = Callable[[int], None]  # takes the number of the step
Block = Callable[[int], float]  # takes a number of steps, returns the seconds they took


def harness(method: Method, data: Dataset, folder: Path) -> Block:
    """The real loop, without its start and its last checkpoint, which are not steps."""
    method.cfg = replace(method.cfg, log_every=16, checkpoint_every=10**9)  # three times as many lines as by default
    plain_step, total = method.step, [0]

    class Full(Exception):
        """The block has its steps."""

    def block(steps: int) -> float:
        starts: list[float] = []  # when each step began, and the one after the last

        def step(stream: Stream, t: int) -> dict[str, Tensor]:
            starts.append(time.process_time())
            if len(starts) > steps:
                raise Full
            total[0] += 1
            return plain_step(stream, total[0] - 1)

        method.step = step  # type: ignore[method-assign]
        with suppress(Full):
            train(method, data, folder, seed=0, label="bench", quiet=True)
        return starts[-1] - starts[0]

    return block


def hand_written(step: Step) -> Block:
    """A plain loop around one method's step."""
    total = [0]

    def block(steps: int) -> float:
        began = time.process_time()
        for _ in range(steps):
            step(total[0])
            total[0] += 1
        return time.process_time() - began

    return block


class Plain:
    """What both hand-written loops share: images in memory, two Adams, an average."""

    def __init__(self, method: Method, data: Dataset) -> None:
        self.G, self.D, self.cfg = copy.deepcopy(method.G), copy.deepcopy(method.D), method.cfg  # type: ignore[arg-type]
        self.average = copy.deepcopy(self.G).requires_grad_(False)
        self.beta = 0.5 ** (self.cfg.batch / self.cfg.ema_half_life_images)
        options: dict[str, Any] = {"betas": self.cfg.betas, "fused": True}
        self.opt_G = torch.optim.Adam(self.G.parameters(), lr=self.cfg.lr_G, **options)
        self.opt_D = torch.optim.Adam(self.D.parameters(), lr=self.cfg.lr_D, **options)
        self.images = torch.tensor(data.train.images)  # [N, S, S, C] uint8
        self.order = torch.randperm(len(self.images))
        self.position = 0

    def rows(self) -> Tensor:
        """Indices of the next batch of shuffled images."""
        if self.position + self.cfg.batch > len(self.order):
            self.order, self.position = torch.randperm(len(self.images)), 0
        self.position += self.cfg.batch
        return self.order[self.position - self.cfg.batch : self.position]

    def real(self, rows: Tensor, flip: bool) -> Tensor:
        """Images [B, C, S, S], channels last, half of them mirrored where asked."""
        images = self.images[rows]
        if flip:
            images = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, images.flip(2), images)
        return to_float(images.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)

    def descend(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """zero_grad, backward, step."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    @torch.no_grad()
    def move_average(self) -> None:
        """One step of the moving average; buffers are copied."""
        torch._foreach_lerp_(list(self.average.parameters()), list(self.G.parameters()), 1 - self.beta)
        for mine, theirs in zip(self.average.buffers(), self.G.buffers()):
            mine.copy_(theirs)


def plain_sngan(method: Any, data: Dataset) -> Step:
    """SNGAN's step, by hand."""
    plain = Plain(method, data)
    cfg, G, D = plain.cfg, plain.G, plain.D
    loss_d, loss_g = adversarial(cfg.loss)  # type: ignore[attr-defined]

    def step(t: int) -> None:
        for group in (*plain.opt_G.param_groups, *plain.opt_D.param_groups):
            group["lr"] = cfg.lr_G * (1 - t / cfg.steps)
        D.requires_grad_(True)
        x = plain.real(plain.rows(), cfg.flip and data.flip_ok)
        with torch.no_grad():
            fake = G(torch.randn(cfg.batch, cfg.z_dim))  # type: ignore[attr-defined]
        plain.descend(loss_d(D(x), D(fake)), plain.opt_D)
        D.requires_grad_(False)
        plain.descend(loss_g(D(G(torch.randn(cfg.batch, cfg.z_dim)))), plain.opt_G)  # type: ignore[attr-defined]
        plain.move_average()

    return step


def plain_infoscc(method: Any, data: Dataset) -> Step:
    """InfoSCC-GAN's step, by hand."""
    plain = Plain(method, data)
    cfg, G, D, E, C, T = plain.cfg, plain.G, plain.D, method.E, method.C, method.T
    loss_d, loss_g = adversarial(LOSSES[cfg.loss])  # type: ignore[attr-defined]
    labels = torch.tensor(data.train.labels)
    n_classes, B = data.n_classes, cfg.batch

    def fakes(y: Tensor) -> Tensor:
        code = nn.functional.one_hot(y, n_classes).float()
        zs = torch.randn(B, G.n_layers, cfg.n_basis)  # type: ignore[attr-defined]
        return G(code, torch.randn(B, cfg.eps_dim), zs)  # type: ignore[attr-defined]

    def step(t: int) -> None:
        rows = plain.rows()
        x, y = plain.real(rows, cfg.flip and data.flip_ok), labels[rows]
        if t % cfg.n_cls == 0:  # type: ignore[attr-defined]
            plain.descend(label_loss(C(E(fakes(y))), y), plain.opt_G)
        D.requires_grad_(True)
        with torch.no_grad():
            fake = fakes(torch.randint(n_classes, (B,)))
        plain.descend(loss_d(D(T(x)), D(T(fake))), plain.opt_D)
        if t % cfg.r1_every == 0:  # type: ignore[attr-defined]
            plain.descend(cfg.r1_weight * r1(lambda images: D(T(images)), x), plain.opt_D)  # type: ignore[attr-defined]
        D.requires_grad_(False)
        loss = loss_g(D(T(fakes(torch.randint(n_classes, (B,))))))
        plain.descend(loss + cfg.orth_weight * G.orthogonality(), plain.opt_G)  # type: ignore[attr-defined]
        plain.move_average()

    return step


CASES: dict[str, tuple[DatasetCard, Callable[[Any, Dataset], Step]]] = {
    "sngan": (card_with(find_card("shapes"), {"conditioning": "none"}), plain_sngan),  # sndcgan nets, 32 px, width 16
    "infoscc": (find_card("digits"), plain_infoscc),
}


def measure(name: str, blocks: int, steps: int) -> dict[str, Any]:
    """Time one method both ways."""
    card, by_hand = CASES[name]
    data, file = Dataset.tiny(card), find_method(name)
    cfg = replace(file.recipe("small", card.name), steps=10**6)
    with tempfile.TemporaryDirectory() as folder:
        artifacts: ArtifactStore = DryRun(data, Path(folder), CPU)
        method = construct(file.cls, cfg, data, CPU, 0, **file.cls.stages(artifacts, cfg))
        ours, theirs = harness(method, data, Path(folder)), hand_written(by_hand(method, data))
        ours(steps), theirs(steps)  # warm up
        pairs = [(ours(steps), theirs(steps)) for _ in range(blocks)]
    mine, plain = (1e3 * statistics.median(seconds) / steps for seconds in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    return {"method": name, "harness_ms": mine, "by_hand_ms": plain, "ratio": ratio}


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--blocks", type=int, default=15, help="timed blocks of each kind")
    parser.add_argument("--steps", type=int, default=16, help="steps a block; a multiple of 16 has equal R1 shares")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [measure(name, options.blocks, options.steps) for name in CASES]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'method':<10} {'harness':>12} {'by hand':>12} {'ratio':>8}")
    for row in rows:
        print(f"{row['method']:<10} {row['harness_ms']:>9.2f} ms {row['by_hand_ms']:>9.2f} ms {row['ratio']:>8.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
