"""Methods conditioned on images: the bank of images that can be requested, by their features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmark.core import distributed
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset, Split
from benchmark.data.stream import Batch, images_to_float
from benchmark.training.measurements import Embedding, Grid, Measurement, Picture, Sample
from benchmark.training.method import Trainable, construct
from benchmark.training.stages.encoders import FeatureNet, map_features, pooled_features
from benchmark.training.stages.neighbours import map_neighbour_measurements, nearest_by_l1, neighbour_measurements

# Of latent-space conditioning (Durall et al., VISAPP 2021)
TABLE_2 = (1, 2, 5)  # ranks of neighbours [P]
TABLE_2_IMAGES = 2000  # whose neighbours are looked for [ours: the paper does not say]
N_TARGETS = 5  # nearest training images that a sample is compared with [ours: the table's farthest rank]


@dataclass(frozen=True)
class Bank:
    """The images that can be requested, as G is given them."""

    f: Tensor  # [M, d] features
    own: bool  # are they the method's own training images?
    drawn: Tensor | None = None  # [m] int64, the rows that are drawn when nothing is requested; None: all

    def draw(self, n: int) -> Tensor:
        """Rows [n] int64, uniformly and with replacement."""
        rows = torch.randint(len(self.f if self.drawn is None else self.drawn), (n,), device=self.f.device)
        return rows if self.drawn is None else self.drawn[rows]


def quality_of_pairs(data: Dataset, anchors: Batch, near: Batch, far: Batch) -> dict[str, Tensor]:
    """For the log alone: do near images share the anchor's label, do far ones not; how varied are the far ones.

    The first two are of this rank's anchors: the log takes the mean over ranks. The last is of the batch of all ranks.
    """
    index = distributed.gather(far.index)
    hit = torch.zeros(len(data.train), device=index.device).index_fill_(0, index, 1.0)
    logs = {"far_distinct": hit.sum() / len(index)}  # share; small: one outlier is everyone's farthest
    y, y_near, y_far = (b.labels if b.labels is not None else b.attributes for b in (anchors, near, far))
    if y is not None and y_near is not None and y_far is not None:
        logs["nn_label_agreement"] = (y == y_near).float().mean()
        logs["far_label_disagreement"] = (y != y_far).float().mean()
    return logs


class ImageConditioned(Trainable):
    """The part of a `Method` that is conditioned on images; to be inherited before it.

    The method calls `begin_with` in its `__init__` and implements `encode` and `in_words`. Banks are no part of its
    state: they are found again, not saved in every checkpoint.
    """

    bank: Bank
    n_labels: int  # rows of the bank
    default_conditions: str

    def encode(self, data: Dataset, split: str) -> Tensor:
        """Features [M, d] of a split's images, as G is given them. Raises ConfigError for data it cannot take."""
        raise NotImplementedError

    def in_words(self, name: str, split: str) -> str:
        """What `sample` draws from the present bank, which is this split of the dataset of this name."""
        raise NotImplementedError

    def begin_with(self, data: Dataset, bank: Bank, encoder: FeatureNet | None) -> None:
        """Take the training images, which are encoded already, as the bank. encoder: None to sample from G alone."""
        self.banks, self.encoder = {(data.sha256, "train"): bank}, encoder
        self.condition_on(data, "train")

    @torch.no_grad()
    def condition_on(self, data: Dataset, split: str) -> None:
        """From now on `conditions` are rows of this split. Each is encoded once. Raises ConfigError as `encode`.

        Raises ConfigError, too, where the method was made to sample from a trained G alone.
        """
        known = (data.sha256, split)
        if known not in self.banks:
            if self.encoder is None:
                raise ConfigError(
                    f"conditions from the {split} split of {data.name}",
                    "the model was loaded without its encoder, which only a run with its data has",
                    "use rows of the training split",
                )
            self.banks[known] = Bank(self.encode(data, split), own=False)
        self.bank = self.banks[known]
        self.n_labels = len(self.bank.f)
        self.default_conditions = self.in_words(data.name, split)

    def condition_features(self) -> Tensor:
        """Features of every image of the bank, [M, d]."""
        return self.bank.f


class FeatureConditioned(ImageConditioned):
    """The part of a `Method` whose G is given reduced features f, as latent-conditioned SNGAN's is."""

    E: FeatureNet
    maps: tuple[Tensor] | None  # [N, d], E's maps of the training images where they are kept; in a tuple: no state
    sample: Callable[..., Sample]  # the method's

    def remember(self, data: Dataset, E: Any, reduced: dict[str, Tensor], laid_flat: bool) -> None:
        """Begin with the training images as the bank.

        E: the encoder; None: to sample from a trained G alone. reduced: what `reduction` found; {"f"} is enough without
        E. laid_flat: are E's feature maps reduced, or their means over positions?
        """
        self.E, self.data, self.reduced, self.laid_flat = E, data, reduced, laid_flat
        self.training_f = (reduced["f"],)  # [N, f_dim]; in a tuple: not in checkpoints
        self.begin_with(data, Bank(reduced["f"], own=True), E)

    def encode(self, data: Dataset, split: str) -> Tensor:
        """f of every image of a split, [M, f_dim]; E and the reduction stay those of the training.

        Raises ConfigError for images that E or, with feature maps laid flat, the reduction cannot take.
        """
        (h,) = (map_features if self.laid_flat else pooled_features)(data, self.E, split).values()
        mean, std, axes = (self.reduced[name] for name in ("mean", "std", "axes"))
        if h.shape[1] != len(mean):
            raise ConfigError(
                f"features of {data.name}: {h.shape[1]} numbers",
                f"G was trained on {len(mean)}: f_source = map keeps positions, so the side must be equal",
                f"prepare {data.name} at {self.data.resolution} px, or train with f_source=mean",
            )
        return (h.to(self.device) - mean) / std @ axes

    def in_words(self, name: str, split: str) -> str:
        """What `sample` draws."""
        return f"features of {name}'s {split} images, uniformly"

    def targets(self, conditions: Tensor | None) -> Tensor | None:
        """The training images [N, k] whose f is nearest by L1 to those of these rows [N], the image itself apart.

        k is 5 [ours], or as many others as there are.
        """
        if conditions is None:
            return None
        return nearest_by_l1(self.bank.f, conditions.to(self.device), self.training_f[0], N_TARGETS)

    def sampling_state(self) -> dict[str, Any]:
        """f of the training images."""
        return {"f": self.training_f[0]}

    @classmethod
    def for_sampling(cls, cfg: Any, data: Dataset, device: torch.device, state: dict[str, Any]) -> Self:
        """As `Method.for_sampling`; without E there are no features but the training images'."""
        return construct(cls, cfg, data, device, 0, E=None, maps=None, reduced={"f": state["f"].to(device)}, bank=None)

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """Does the k-th neighbour show an image's label? Table 2, by L1 [P]: in E's maps, which decide the pairs.

        And in f, which G is given [ours].
        """
        yield from neighbour_measurements(self.training_f[0], data, TABLE_2, TABLE_2_IMAGES)
        if self.encoder is not None:
            yield from map_neighbour_measurements(self.maps_of, data, TABLE_2, TABLE_2_IMAGES, self.device)

    def maps_of(self, rows: Tensor) -> Tensor:
        """E's maps of training images, rows [m], laid flat: [m, d]."""
        if self.maps is not None:
            return self.maps[0][rows]
        return self.E.maps(photos(self.data.train, rows)).flatten(1)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """Held-out images next to seven images generated from their features, and the features themselves."""
        self.condition_on(data, "test")
        rows = torch.arange(min(8, len(data.test)))
        real = photos(data.test, rows[:, None]).to(self.device)
        fake = self.sample(G, 7 * len(rows), rows.repeat_interleave(7)).images.unflatten(0, (len(rows), 7))
        names = [f"test image {row}" for row in rows.tolist()]
        yield "latent_codes", Grid(torch.cat([real, fake], 1), names, ["real", *(f"G(z{k}, f)" for k in range(1, 8))])
        yield "latent_tsne", Embedding(self.bank.f[:1000], *embedding_labels(data.test, data, 1000))
        self.condition_on(data, "train")


def embedding_labels(split: Split, data: Dataset, n: int) -> tuple[Tensor, list[str]]:
    """What colours the first n images of a split: classes [n] or attributes [n, A], and their names.

    Without labels all have one colour: the image then shows the shape of the feature space alone.
    """
    if split.labels is not None:
        return torch.tensor(split.labels[:n]), list(data.class_names)
    if split.attributes is not None:
        return torch.tensor(split.attributes[:n]), list(data.attribute_names)
    return torch.zeros(len(split.images[:n]), dtype=torch.int64), ["images without labels"]


def photos(split: Split, rows: Tensor) -> Tensor:
    """Images of a split's rows, [m] or [r, c], on their device: [..., C, S, S] in [-1, 1]."""
    images = split.images[rows.flatten().cpu().numpy()]  # (r c, S, S, C) uint8
    return images_to_float(images).unflatten(0, rows.shape).to(rows.device)
