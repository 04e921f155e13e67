"""k-means on the training device, the renaming of a new partition's clusters after an old one's, what is shown of them.

Sources: Lloyd (1982) with the k-means++ start of Arthur and Vassilvitskii (2007); the assignment problem of Kuhn
(1955), used for clusters by Liu et al., "Diverse Image Generation via Self-Conditioned GANs" (CVPR 2020).
All randomness comes from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmark.core import distributed
from benchmark.core.errors import ConfigError
from benchmark.core.one_thread import one_thread
from benchmark.data.prepared import Dataset, Split
from benchmark.data.stream import in_order
from benchmark.metrics.clusters import nmi, purity, purity_chance
from benchmark.training.artifacts import ArtifactStore, computation
from benchmark.training.measurements import Grid, Measurement
from benchmark.training.stages.encoders import FeatureConfig, image_encoder, pooled_features

MAX_ITERATIONS = 300  # of Lloyd's algorithm, as scikit-learn's default
CHUNK = 1 << 24  # entries of the table of distances that are held at once


class Clusters(NamedTuple):
    """A partition: labels [N] int64 in 0..k-1, centres [k, d]."""

    labels: Tensor
    centres: Tensor


def k_means(x: Tensor, k: int, centres: Tensor | None = None, restarts: int = 10) -> Clusters:
    """Partition points x [N, d] into k clusters that minimise the sum of squared distances to their means.

    centres: where to start [k, d], one run; None: the best of `restarts` runs from k-means++ starts.
    A cluster that loses all its points goes on from a random point. Fewer than k distinct points leave some empty.
    """
    assert 1 <= k <= len(x), "as many points as clusters"
    shift = x.mean(0)  # distances from the data's mean lose fewer digits
    x = x - shift
    if centres is not None:
        found = _lloyd(x, centres - shift)
    else:
        runs = [_lloyd(x, _plus_plus(x, k)) for _ in range(restarts)]
        found = min(runs, key=lambda run: inertia(x, run))
    return Clusters(found.labels, found.centres + shift)


def inertia(x: Tensor, clusters: Clusters) -> float:
    """The sum over all points of the squared distance to their cluster's centre."""
    return float((x - clusters.centres[clusters.labels]).square().sum(dtype=torch.float64))


def nearest_centre(x: Tensor, centres: Tensor) -> Tensor:
    """The cluster [N] int64 of each point x [N, d]: the nearest of the centres [k, d]; the first of equals."""
    half = centres.square().sum(1) / 2
    rows = max(1, CHUNK // len(centres))  # |x|^2 is the same for every centre: it decides nothing
    return torch.cat([(half - part @ centres.T).argmin(1) for part in x.split(rows)])


def means(x: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Mean [k, d] and number of points [k] of each cluster; zeros where it has none. x [N, d], labels [N]."""
    counts = torch.bincount(labels, minlength=k)
    sums = x.new_zeros(k, x.shape[1]).index_add_(0, labels, x)
    return sums / counts.clamp(min=1)[:, None], counts


def means_or_random(x: Tensor, labels: Tensor, k: int) -> Tensor:
    """The mean of each cluster [k, d], a random point for an empty one: never a centre that no point is near."""
    centres, counts = means(x, labels, k)
    others = x[torch.randint(len(x), (k,), device=x.device)]
    return torch.where((counts > 0)[:, None], centres, others)


def match(new: Tensor, old: Tensor, k: int) -> Tensor:
    """The permutation rho [k] that renames new clusters so that most points keep their old name: rho[new] is like old.

    new, old: labels [N] of the same points. Maximises sum_c |{new = c} and {old = rho(c)}|, which is the minimum of the
    paper's total set difference (its equation 7).
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second to import, and only this needs it

    shared = torch.bincount(new * k + old, minlength=k * k).view(k, k)  # [new, old]
    _, rho = linear_sum_assignment(shared.cpu().numpy(), maximize=True)
    return torch.from_numpy(rho).to(new)


def follow_batch(f: Tensor, centres: Tensor, frequencies: Tensor, n_s: int) -> tuple[Tensor, Tensor, Tensor]:
    """Online k-means: clusters [B] of a batch's features f [B, d], then the centres [k, d] and frequencies [k] moved.

    Mini-batch k-means (Sculley 2010), whose rate is 1 / images seen. Here a centre's images count as at most its share
    of n_s, because the features move on, and frequencies are averaged over about n_s images likewise [ours]. The
    batches of all ranks are one.
    """
    c, k = nearest_centre(f, centres), len(centres)
    mean, n = means(f, c, k)
    averaged = distributed.mean_gradients([mean * n[:, None], n.float()])
    total, count = (distributed.world() * part for part in averaged if part is not None)
    seen = frequencies * n_s + count
    centres = centres + (total - count[:, None] * centres) / seen.clamp(min=1)[:, None]
    return c, centres, seen / seen.sum()


def _lloyd(x: Tensor, centres: Tensor) -> Clusters:
    """Alternate nearest centres and means until no point changes its cluster."""
    k = len(centres)
    labels = nearest_centre(x, centres)
    for _ in range(MAX_ITERATIONS):
        centres = means_or_random(x, labels, k)
        before, labels = labels, nearest_centre(x, centres)
        if torch.equal(before, labels):
            break
    return Clusters(labels, centres)


def _plus_plus(x: Tensor, k: int) -> Tensor:
    """k starting centres [k, d]: points drawn with probability proportional to the squared distance to those drawn."""
    chosen = [x[torch.randint(len(x), (), device=x.device)]]
    distance = (x - chosen[0]).square().sum(1)  # [N] to the nearest chosen one
    for _ in range(k - 1):
        # inverse of the cumulative weights: `multinomial` takes no more than 2^24 points
        cumulative = distance.double().cumsum(0)
        drawn = torch.rand((), device=x.device, dtype=torch.float64) * cumulative[-1]
        chosen.append(x[torch.searchsorted(cumulative, drawn, right=True).clamp(max=len(x) - 1)])
        distance = torch.minimum(distance, (x - chosen[-1]).square().sum(1))
    return torch.stack(chosen)


@computation("methods.infoscc", "cluster")
def cluster(data: Dataset, embeddings: Any, k: int) -> dict[str, Tensor]:
    """InfoSCC-GAN's own attribute selection: k-means on the encoder's embeddings {"h": [N, d]}. A computation.

    Returns {"labels": [N] int64, "centres": [k, d]}. The authors name no algorithm; ours is k-means on unit-length h
    (the contrastive loss compares directions), k-means++ with 10 restarts. Raises ConfigError for more clusters than
    images.
    """
    from sklearn.cluster import KMeans  # a second to import, and only this needs it

    h = normalize(embeddings["h"]).cpu().numpy()
    if k > len(h):
        raise ConfigError(f"n_clusters = {k}", f"{data.name} has {len(h)} training images", "choose fewer clusters")
    with one_thread():
        found = KMeans(k, n_init=10, random_state=0).fit(h)
    return {"labels": torch.tensor(found.labels_).long(), "centres": torch.tensor(found.cluster_centers_)}


def possible_clusters(data: Dataset, k: int, n: int) -> int:
    """k, or as many as there are images on a stand-in of few. Raises ConfigError where real data lack k images.

    n: images that are to be clustered at most.
    """
    n = min(n, len(data.train))
    if data.meta and k > n:
        raise ConfigError(f"k = {k}", f"{n} images of {data.name} are clustered", "choose fewer clusters")
    return min(k, n)


def encoder_clusters(
    artifacts: ArtifactStore, cfg: FeatureConfig, k: int, n_s: int, restarts: int
) -> dict[str, Tensor]:
    """Clusters of the training images in a frozen encoder's features, made or found: see `feature_clusters`.

    Raises ConfigError for points, which no encoder looks at, and for more clusters than images.
    """
    data = artifacts.data
    if data.is_points:
        raise ConfigError(
            "labels = encoder", f"{data.name} holds points, encoders look at images", "set labels=clusters"
        )
    k = possible_clusters(data, k, n_s)
    table = artifacts.compute(pooled_features, encoder=image_encoder(artifacts, cfg))
    return artifacts.compute(feature_clusters, table=table, k=k, n_s=n_s, restarts=restarts)


@computation("benchmark.clustering", "feature_clusters")
def feature_clusters(data: Dataset, table: dict[str, Tensor], k: int, n_s: int, restarts: int) -> dict[str, Tensor]:
    """k-means of features: {"labels": [N] int64, "centres": [k, d]}. A computation.

    table: {"h": [N, d]}, of the training images. n_s: images that the centres are found from, drawn at random; the
    others belong to the nearest one. restarts: k-means++ starts, of which the best counts. The draws have a seed of
    their own, so that the partition is a function of the features. Features are taken as they are [ours].
    """
    h = table["h"]
    with torch.random.fork_rng(devices=[h.device] if h.is_cuda else []):
        torch.manual_seed(0)
        rows = torch.randperm(len(h), device=h.device)[:n_s]
        found = k_means(h[rows], k, None, restarts)
    return {"labels": nearest_centre(h, found.centres), "centres": found.centres}


def cluster_measurements(clusters: Tensor, data: Dataset) -> Iterator[Measurement]:
    """How far clusters [N] of the training images agree with their classes, which no one was told; for a record."""
    labels = data.train.labels
    if labels is None or len(set(labels.tolist())) < 2:
        return
    found = clusters.cpu()
    protocol = {"images": "the training split", "clusters": int(found.max()) + 1}
    yield Measurement("nmi", "Clusters, NMI", nmi(found, labels), "higher", protocol | {"mean": "arithmetic"}, {})
    chance = {"chance": purity_chance(labels)}
    yield Measurement("purity", "Clusters, purity", purity(found, labels), "higher", protocol, chance)


@torch.no_grad()
def cluster_grid(
    pi: Tensor, frequencies: Tensor, data: Dataset, generate: Callable[[Tensor], Tensor], n: int = 10
) -> Grid:
    """The 8 largest clusters that have images: n training images above n generated ones, drawn at random.

    pi: clusters of the training images [N]. frequencies: of the clusters [k]. generate: clusters [n] to images.
    """
    rows, names = [], []
    for c in frequencies.argsort(descending=True)[:8].tolist():
        members = (pi == c).nonzero().squeeze(1)
        if not len(members):
            break  # fewer clusters than that have images
        members = members[torch.randint(len(members), (n,), device=pi.device)].cpu()
        (real,) = in_order(Split("train", data.train.images[members.numpy()]), n, pi.device)
        rows += [real.images, generate(torch.full((n,), c))]
        names += [f"cluster {c}, {float(frequencies[c]):.1%}", "generated"]
    return Grid(torch.stack(rows), names, [""] * n)
