"""What looks at a batch as a whole, computed by however many ranks there are, each from its share of one batch.

Every case returns tensors by name: `rows...` are of the rank's own images, `mean...` are to be averaged over the ranks,
`same...` must be equal on all of them. One process and several ranks then give the same numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import methods.latentcond
from benchmark.core import distributed
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.batch_norm import moments, normalise_over_ranks
from benchmark.nn.conditional import Norm
from benchmark.nn.losses import nt_xent, r1
from benchmark.nn.stylegan2 import with_minibatch_std
from benchmark.nn.tapped import another_one
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method
from benchmark.training.stages.encoders import FeatureConfig
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig

BATCH = 8
CPU = torch.device("cpu")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """This rank's rows of a whole batch of normal numbers [BATCH, ...], in double precision."""
    whole = torch.randn(BATCH, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return whole[distributed.own_rows(BATCH // distributed.world())].clone()


def gradients_of(loss: Tensor, net: nn.Module) -> Tensor:
    """As `Trainable.update` takes them, side by side."""
    found = distributed.mean_gradients(torch.autograd.grad(loss, list(net.parameters()), allow_unused=True))
    return torch.cat([g.flatten() for g in found if g is not None])


def batch_norm_of_images() -> dict[str, Tensor]:
    """A discriminator with batch norm, its adversarial loss and R1, which differentiates twice."""
    torch.manual_seed(0)
    D = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Conv2d(4, 4, 3), Norm(4), nn.ReLU(), nn.Flatten(1)
    )
    D = nn.Sequential(D, nn.Linear(16, 1)).double()
    normalise_over_ranks(D)
    x = 3 + 2 * numbers(2, 6, 6)
    logits = D(x)
    penalty = r1(D, x)
    first, second = D[0][1], D[0][4]
    return {
        "rows_logits": logits.detach(),
        "mean_R1": penalty.detach(),
        "mean_gradients": gradients_of(nn.functional.softplus(logits).mean(), D),
        "mean_gradients_of_R1": gradients_of(penalty, D),
        "same_running_mean": torch.cat([first.running_mean, second.running_mean]),
        "same_running_var": torch.cat([first.running_var, second.running_var]),
        "same_batches": first.num_batches_tracked,
        "rows_in_evaluation": D.eval()(x).detach(),
    }


def batch_norm_of_points() -> dict[str, Tensor]:
    """Cumulative statistics, no gain and shift, a copy of the network in place of the network."""
    norm = nn.BatchNorm1d(3, affine=False, momentum=None).double()
    normalise_over_ranks(norm)
    twin = copy.deepcopy(norm)
    rows = [twin(numbers(3, seed=k) + k) for k in range(3)]
    assert norm.running_mean is not None
    assert twin.running_mean is not None
    assert not norm.running_mean.any(), "a copy has statistics of its own"
    return {"rows": torch.cat(rows, 1), "same_mean": twin.running_mean, "same_var": twin.running_var}  # type: ignore[dict-item]


def moments_of_unequal_shares() -> dict[str, Tensor]:
    """Three rows on the first of two ranks, five on the second."""
    whole = torch.randn(BATCH, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = [whole[:3], whole[3:]] if distributed.world() == 2 else [whole]
    mean, variance, n = moments(shares[distributed.rank()])
    return {"same_mean": mean, "same_variance": variance, "same_n": n}


def minibatch_std() -> dict[str, Tensor]:
    """Groups of four of the whole batch; gradients of first and second order reach every image of a group."""
    x, weight = numbers(3, 2, 2).requires_grad_(), numbers(4, 2, 2, seed=1)
    y = with_minibatch_std(x, 4)
    (first,) = torch.autograd.grad((weight * y.square()).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return {"rows": y.detach(), "rows_first": first.detach(), "rows_second": second}


def contrastive() -> dict[str, Tensor]:
    """NT-Xent with the views of the whole batch as negatives; the gradient of its mean over the batch."""
    z_i, z_j = numbers(5).requires_grad_(), numbers(5, seed=1).requires_grad_()
    loss = nt_xent(z_i, z_j, 0.5)
    first = torch.autograd.grad(loss / distributed.world(), [z_i, z_j])
    return {"mean_loss": loss.detach(), "rows_first": torch.cat(first, 1)}


def pairs_of_moves() -> dict[str, Tensor]:
    """LT-GAN's partner of each image, by one derangement of the whole batch."""
    torch.manual_seed(distributed.rank())  # rank 0's draw counts
    delta = numbers(3).requires_grad_()
    other, which = another_one(delta, delta.detach()[:, 0])
    (first,) = torch.autograd.grad((delta * other.square()).sum(), delta)
    return {"rows": other.detach(), "rows_which": which, "rows_first": first}


def sums() -> dict[str, Tensor]:
    """A sum over the ranks, differentiated twice."""
    x = numbers(1).requires_grad_()
    y = distributed.total(x.sum()).square()
    (first,) = torch.autograd.grad(y / distributed.world(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return {"same_value": y.detach(), "rows_first": first.detach(), "rows_second": second}


def simclr(folder: Path) -> dict[str, Tensor]:
    """A step of the contrastive encoder, with views that are not drawn."""
    data, cfg = Dataset.tiny(find_card("shapes")), SimCLRConfig(net="conv", width=2, z_dim=4, steps=1, batch=BATCH)
    stage = construct(SimCLR, cfg, data, CPU, 0)
    stage.views = lambda x: (x, x.flip(3) * 0.5)  # type: ignore[assignment]
    seen: dict[str, Tensor] = {}

    def note(loss: Tensor, *_: Any) -> None:
        seen["mean_gradients"] = gradients_of(loss, nn.ModuleList([stage.encoder, stage.projector]))

    stage.update = note  # type: ignore[method-assign]
    seen["mean_loss"] = stage.step(stream_for(stage, data, 0), 0)["contrastive"].detach()
    return seen


def latentcond(folder: Path, **changes: Any) -> dict[str, Tensor]:
    """Algorithm 1 and both losses of latent-conditioned SNGAN on one batch."""
    file, data = find_method("latentcond"), Dataset.tiny(find_card("digits"))
    small = {"features": FeatureConfig(name="pixels"), "batch": BATCH, "width": 2, "f_dim": 3, "z_dim": 2, "steps": 1}
    cfg = replace(file.recipe("small", "default"), **small, **changes)
    method: Any = construct(file.cls, cfg, data, CPU, 0, **file.cls.stages(ArtifactStore(data, folder, CPU, True), cfg))
    method.normal = lambda n, d: numbers(d, seed=2).float()
    stream = stream_for(method, data, 0)
    c = method.couples(next(stream), stream)
    x_fake = method.generate(method.G, c.f)
    loss_D, _ = method.loss_D(c, x_fake.detach())
    loss_G = method.loss_G(method.D(method.adv(c, x_fake)))
    return {
        "rows_exact_x": c.x,
        "rows_exact_near": c.near,
        "rows_exact_far": c.far,
        "mean_D": loss_D.detach(),
        "mean_G": loss_G.detach(),
        "mean_gradients_D": gradients_of(loss_D, method.D),
        "mean_gradients_G": gradients_of(loss_G, method.G),
        **{f"mean_{name}": value for name, value in c.logs.items()},
    }


def latentcond_uncached(folder: Path) -> dict[str, Tensor]:
    """Features that are computed batch by batch are gathered, too."""
    before, methods.latentcond.CACHE = methods.latentcond.CACHE, 0
    try:
        return latentcond(folder)
    finally:
        methods.latentcond.CACHE = before


def results(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Every case of this rank. folder: for the encoders' features."""
    cases: list[Callable[[], dict[str, Tensor]]] = [
        batch_norm_of_images,
        batch_norm_of_points,
        moments_of_unequal_shares,
        minibatch_std,
        contrastive,
        pairs_of_moves,
        sums,
    ]
    return {
        **{case.__name__: case() for case in cases},
        "simclr": simclr(folder),
        "latentcond": latentcond(folder),
        "latentcond_uncached": latentcond_uncached(folder),
        "latentcond_oracle": latentcond(folder, oracle_pairs=True),
        "latentcond_bank": latentcond(folder, neighbour_pool="bank"),
    }
