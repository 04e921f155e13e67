"""Real and generated images in an encoder's features, for an image of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmark.data.prepared import Dataset
from benchmark.data.stream import images_to_float
from benchmark.training.measurements import Embedding, Sample

COMPARED = 500  # images of each kind, at most (InfoSCC-GAN's figure: 200 batches; t-SNE of 1,000 points takes seconds)
_PART = 50  # images that a network sees at once


@torch.no_grad()
def real_and_generated(
    data: Dataset, encoder: nn.Module, labels: Tensor, names: Sequence[str], sample: Callable[[int], Sample]
) -> Embedding:
    """Random training images and as many samples in the encoder's features, with what they show or were to show.

    encoder: images [N, C, S, S] in [-1, 1] to features [N, d]. labels: of the training images, classes [N] or
    attributes [N, A]. sample: draws so many samples, conditioned on labels of the same kind.
    All randomness comes from torch's global generator.
    """
    device, n = next(encoder.parameters()).device, min(COMPARED, len(data.train))
    rows = torch.randperm(len(data.train), device="cpu")[:n].sort().values
    features = [encoder(images_to_float(data.train.images[part.numpy()], device)) for part in rows.split(_PART)]
    shown = [labels.cpu()[rows]]
    for part in rows.split(_PART):
        drawn = sample(len(part))
        assert drawn.conditions is not None, "a method that is conditioned on labels says which it was given"
        features.append(encoder(drawn.images))
        shown.append(drawn.conditions.cpu())
    return Embedding(torch.cat(features), torch.cat(shown).long(), list(names), generated=torch.arange(2 * n) >= n)
