"""A training step of SNGAN in a peer's code next to ours: the same networks, the same machine, in turn.

    python tests/tools/bench_peers.py PATH_TO_CHECKOUT [...] [--batch 32] [--rounds 5]

A path is a checkout of mimicry (kwotsin/mimicry) or of StudioGAN (POSTECH-CVLab/PyTorch-StudioGAN). Networks: SNGAN's
residual ones for 32 px and three channels, 256 channels in G, 128 in D. The tool stops unless the numbers of parameters
are equal. A step is one update of D, then one of G, with the hinge loss and Adam.

mimicry's step is its own `train_step` of D and of G. StudioGAN's loop is part of a class that needs a GPU and data.
Its networks are therefore trained here in that loop's order: parameters frozen in turn, real and generated images
through D one after the other. Steps alternate, times are of the processor on one thread, the ratio is the median over
rounds. Only the peers' networks are imported. Empty modules replace imports that these networks do not use.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from benchmark.core.allocator import keep_freed_memory
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method

CPU = torch.device("cpu")
LR, BETAS, Z_DIM = 2e-4, (0.0, 0.9), 128

Step = Callable[[], None]
Sizes = tuple[int, int]  # parameters of G and of D


def ours(batch: int) -> tuple[Step, Sizes]:
    """A step of this suite's SNGAN, seeds and stream included."""
    file = find_method("sngan")
    cfg = replace(file.recipe("paper", "cifar10"), batch=batch, n_dis=1, g_batch=1, linear_decay=False, flip=False)
    data = Dataset.tiny(find_card("cifar10"))
    method = construct(file.cls, cfg, data, CPU, 0)
    stream, t = stream_for(method, data, seed=0), 0

    def step() -> None:
        nonlocal t
        method._step = t
        seed_step(0, t)
        method.step(stream, t)
        t += 1

    return step, _sizes(method.G, method.D)  # type: ignore[attr-defined]


def mimicry(checkout: Path, batch: int) -> tuple[Step, Sizes]:
    """A step of mimicry's SNGAN, by its own methods."""
    for part in ("", ".nets", ".training"):  # whose own imports need TensorFlow and scikit-image
        package = types.ModuleType(f"torch_mimicry{part}")
        package.__path__ = [str(checkout.joinpath("torch_mimicry", *part.split(".")[1:]))]
        sys.modules[package.__name__] = package
    from torch_mimicry.nets.sngan import sngan_32  # type: ignore[import-not-found]
    from torch_mimicry.training.metric_log import MetricLog  # type: ignore[import-not-found]

    G, D = sngan_32.SNGANGenerator32(), sngan_32.SNGANDiscriminator32()
    opt_G, opt_D = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS) for net in (G, D))
    real = _images(batch), torch.zeros(batch, dtype=torch.int64)

    def step() -> None:
        log = MetricLog()
        D.train_step(real_batch=real, netG=G, optD=opt_D, log_data=log, device=CPU, global_step=0)
        G.train_step(real_batch=real, netD=D, optG=opt_G, log_data=log, device=CPU, global_step=0)

    return step, _sizes(G, D)


def studiogan(checkout: Path, batch: int) -> tuple[Step, Sizes]:
    """A step of StudioGAN's SNGAN without labels, in the order of its loop."""
    sys.path.insert(0, str(checkout / "src"))
    misc = types.ModuleType("utils.misc")  # the networks take one context from it; the rest needs a GPU's packages
    misc.dummy_context_mgr = lambda: torch.autograd.profiler.record_function("networks")  # type: ignore[attr-defined]
    sys.modules["utils.misc"] = misc
    import utils  # type: ignore[import-not-found]
    import utils.ops as ops  # type: ignore[import-not-found]

    utils.misc = misc
    from models import resnet  # type: ignore[import-not-found]

    modules = types.SimpleNamespace(
        g_conv2d=ops.conv2d, g_linear=ops.linear, g_bn=ops.batchnorm_2d, g_act_fn=nn.ReLU(inplace=True),
        d_conv2d=ops.snconv2d, d_linear=ops.snlinear, d_act_fn=nn.ReLU(inplace=True),
    )  # fmt: skip
    model: Any = types.SimpleNamespace(info_type="N/A", g_info_injection="N/A")
    G = resnet.Generator(Z_DIM, 0, 32, 64, False, [], "W/O", 10, "ortho", "N/A", False, modules, model)
    D = resnet.Discriminator(
        32, 64, True, False, [], "W/O", "W/O", 0, False, 10, "ortho", "N/A", False, modules, model
    )  # fmt: skip
    opt_G, opt_D = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, eps=1e-6) for net in (G, D))
    real, labels = _images(batch), torch.zeros(batch, dtype=torch.int64)

    def generate() -> Tensor:
        return G(torch.randn(batch, Z_DIM), labels)

    def step() -> None:
        G.requires_grad_(False)
        D.requires_grad_(True)
        opt_D.zero_grad()
        fake = generate()
        score, score_fake = D(real, labels)["adv_output"], D(fake, labels)["adv_output"]
        (torch.relu(1 - score).mean() + torch.relu(1 + score_fake).mean()).backward()
        opt_D.step()
        D.requires_grad_(False)
        G.requires_grad_(True)
        opt_G.zero_grad()
        (-D(generate(), labels)["adv_output"].mean()).backward()
        opt_G.step()

    return step, _sizes(G, D)


def _images(batch: int) -> Tensor:
    return torch.rand(batch, 3, 32, 32) * 2 - 1


def _sizes(*nets: nn.Module) -> Sizes:
    return tuple(sum(p.numel() for p in net.parameters()) for net in nets)  # type: ignore[return-value]


def peer_of(checkout: Path, batch: int) -> tuple[str, Step, Sizes]:
    """Name and step of the peer whose checkout this is."""
    for name, mark, build in (("mimicry", "torch_mimicry", mimicry), ("StudioGAN", "src/worker.py", studiogan)):
        if (checkout / mark).exists():
            return name, *build(checkout, batch)
    raise SystemExit(f"{checkout}: neither mimicry (torch_mimicry/) nor StudioGAN (src/worker.py) is in it")


def seconds(step: Step) -> float:
    """The processor's time of one step."""
    began = time.process_time()
    step()
    return time.process_time() - began


def main() -> None:
    """Print a row for each checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="PATH_TO_CHECKOUT")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    own, own_sizes = ours(arguments.batch)
    print("| Peer | Parameters of G, of D | Ours, s a step | Theirs, s a step | Theirs / ours | Range |")
    print("|:--|--:|--:|--:|--:|:--|")
    for checkout in arguments.checkouts:
        name, step, sizes = peer_of(checkout, arguments.batch)
        if sizes != own_sizes:
            raise SystemExit(
                f"{name}: G and D have {sizes} parameters, ours {own_sizes}: the networks are not the same"
            )
        for warm in (own, step):
            seconds(warm)
        rounds = [(seconds(own), seconds(step)) for _ in range(arguments.rounds)]
        ratios = sorted(theirs / mine for mine, theirs in rounds)
        mine, theirs = (statistics.median(column) for column in zip(*rounds))
        print(f"| {name} | {sizes[0]:,}, {sizes[1]:,} | {mine:.2f} | {theirs:.2f} | {statistics.median(ratios):.2f} "
              f"| {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
