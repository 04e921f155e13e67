"""InfoSCC-GAN's Chamfer distance after t-SNE, of embeddings by the evaluation's encoder."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn

from benchmark.data.stream import images_to_float
from benchmark.evaluation.context import EvaluationContext
from benchmark.evaluation.networks import build_encoder
from benchmark.evaluation.sampling import BATCH
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.chamfer import chamfer_tsne

KINDS: tuple[Literal["suite", "paper"], ...] = ("suite", "paper")  # settings of t-SNE: steady ones, the paper's


@torch.no_grad()
def tsne_chamfer(context: EvaluationContext) -> list[MetricValue]:
    """InfoSCC-GAN's Chamfer distance: a joint 3-D t-SNE of encoder embeddings, with everything pinned."""
    cfg, generated = context.cfg, context.generated
    encoder = build_encoder(cfg, context.artifacts)
    reference = context.reference
    n = min(cfg.chamfer_points, len(reference), len(generated))
    rows = np.random.Generator(np.random.PCG64([cfg.seed, 0x75E])).choice(len(reference), n, replace=False)
    real, fake = (embed(encoder.net, images) for images in (reference.images[np.sort(rows)], generated.images[:n]))
    values = []
    for kind in KINDS:
        seeds, threads = range(cfg.tsne_seeds), torch.get_num_threads()
        found = chamfer_tsne(real, fake, tsne_seeds=seeds, protocol=kind, max_points=2 * n, n_jobs=threads)
        settings = context.protocol | {
            "encoder": encoder.identity["encoder"],
            "chamfer_points": n,
            "tsne": found.parameters,
        }
        values.append(
            MetricValue.of_row(
                f"chamfer_tsne_{kind}",
                found.one_way_sum,
                settings | {"chamfer": "one way real to generated, sum of squared distances"},
                details={"sd_over_tsne_seeds": found.one_way_sum_sd, "two_way_mean": found.two_way_mean},
            )
        )
    return values


def embed(encoder: nn.Module, images: np.ndarray) -> np.ndarray:
    """Embeddings [N, d] of uint8 images (N, S, S, C)."""
    device = next(encoder.parameters()).device
    parts = [images_to_float(images[i : i + BATCH], device) for i in range(0, len(images), BATCH)]
    return torch.cat([encoder(part) for part in parts]).cpu().numpy()
