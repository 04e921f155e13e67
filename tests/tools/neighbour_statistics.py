"""How often the k-th nearest neighbour of an image has its class, in feature spaces that need no training.

    python tests/tools/neighbour_statistics.py --data-root data [--dataset mnist] [--bank 10000]
        [--queries 1000] [--px 64]

Prints a Markdown table: pixels, and the layers of AlexNet with random weights at several input sizes, by L1 between
maps laid flat and between their means over places. Neighbours of `--queries` random images are looked for among the
first `--bank` training images. The last line is what Durall et al. (VISAPP 2021, table 2) report for MNIST; their
layer, input size and number of images are not given.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from benchmark.data.cards import find_card
from benchmark.data.prepare import prepare
from benchmark.metrics.neighbours import chance_agreement, neighbour_agreement
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.encoders import FeatureConfig, FeatureNet, image_encoder, map_features

Rows = list[tuple[str, Tensor]]  # names of feature spaces, and features [N, d]


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--bank", type=int, default=10_000, help="training images searched")
    parser.add_argument("--queries", type=int, default=1000, help="images whose neighbours are looked for")
    parser.add_argument("--px", type=int, nargs="+", default=[64], help="sides of AlexNet's input")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 4, 5], help="its convolutions, 1 to 5")
    arguments = parser.parse_args()
    configs = [FeatureConfig(name="pixels")]
    configs += [FeatureConfig(name="alexnet", layer=k, input_px=px) for px in arguments.px for k in arguments.layers]
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(find_card(arguments.dataset), arguments.data_root, Path(folder), progress=False)
        assert data.train.labels is not None, "the statistic is about classes"
        labels = data.train.labels[: arguments.bank]
        train = replace(data.train, images=data.train.images[: arguments.bank], labels=labels)
        artifacts = ArtifactStore(replace(data, train=train), Path(folder), torch.device("cpu"), quiet=True)
        print_table(artifacts, labels, arguments.queries, configs)


def print_table(artifacts: ArtifactStore, labels: np.ndarray, n_queries: int, configs: list[FeatureConfig]) -> None:
    """One row a feature space."""
    queries = np.random.default_rng(0).choice(len(labels), min(len(labels), n_queries), replace=False)
    chance = 100 * chance_agreement(labels)
    print(f"{artifacts.data.name}: {len(queries)} queries among {len(labels)} images, L1, chance {chance:.1f} %\n")
    print("| features | d | 1st | 2nd | 5th | CPU s |\n|---|---|---|---|---|---|", flush=True)
    for cfg in configs:
        began = time.process_time()
        for name, table in spaces(image_encoder(artifacts, cfg), artifacts, cfg):
            found = neighbour_agreement(table, labels, queries=queries)
            shares = " | ".join(f"{100 * share:.1f} %" for share in found.values())
            print(f"| {name} | {table.shape[1]} | {shares} | {time.process_time() - began:.0f} |", flush=True)
            began = time.process_time()
    print("| published, MNIST | ? | 89 % | 84 % | 78 % | |")


def spaces(E: FeatureNet, artifacts: ArtifactStore, cfg: FeatureConfig) -> Rows:
    """An encoder's maps laid flat, and, where it is a network, their means over places."""
    flat = map_features(artifacts.data, E)["f"]
    if cfg.name == "pixels":
        return [("pixels", flat)]
    name, (_, n_channels, _, _) = f"AlexNet conv{cfg.layer}, {cfg.input_px} px", shape_of_maps(E, artifacts)
    return [(f"{name}, flat", flat), (f"{name}, mean", flat.view(len(flat), n_channels, -1).mean(2))]


def shape_of_maps(E: FeatureNet, artifacts: ArtifactStore) -> torch.Size:
    """(1, channels, h, w) of one image's maps."""
    return E.maps(torch.zeros(1, artifacts.data.channels, artifacts.data.resolution, artifacts.data.resolution)).shape


if __name__ == "__main__":
    main()
