"""A tiny finished run of each kind of conditioning, for tests of what is made of finished runs."""

from __future__ import annotations

from pathlib import Path

from helpers import DIGITS, INFOSCC, TINY

import benchmark as gantlet
from benchmark.core.config import parse_overrides
from benchmark.runs.records import Record

FEW = [*TINY, "steps=4", "eval.n_fake=60", "eval.metrics=few"]
ENCODER = ["features.encoder.steps=2", "features.encoder.batch=16", "features.encoder.width=4"]
SMALL_NETS = [item for item in INFOSCC if item not in DIGITS]
FEW_SHAPES = ["data.source.n_train=120", "data.source.n_test=80"]
CASES = {  # by conditioning: the method, the dataset, its settings, and conditions for two samples
    "none": ("sngan", "digits", [*FEW, *DIGITS, "width=4"], None),
    "class": ("cgan", "digits", [*FEW, *DIGITS, "width=4"], [3, 7]),
    "attributes": ("infoscc", "shapes", [*SMALL_NETS, *FEW, *FEW_SHAPES], [[0, 1, 0, 1, 1], [1, 0, 0, 0, 1]]),
    "cluster": ("selfcond", "digits", [*FEW, *DIGITS, "k=5", "T=2", "width_G=4", "width_D=4"], [0, 4]),
    "instance": ("icgan", "digits", [*FEW, *DIGITS, *ENCODER, "ch=4", "k=2"], [5, 9]),
    "latent": ("latentcond", "digits", [*FEW, *DIGITS, "width=4", "features.input_px=32", "f_dim=8"], [1, 2]),
    "points": ("dcgan", "ring2d", [*TINY, "steps=4", "eval.n_fake=60"], None),
}


def trained(case: str, results: Path) -> Record:
    """A tiny finished run."""
    method, dataset, items, _ = CASES[case]
    settings = parse_overrides(list({item.partition("=")[0]: item for item in items}.values()))
    if dataset == "ring2d":
        settings["eval"] = {"n_fake": 60}
    return gantlet.run(method, dataset, results=results, device="cpu", **settings)
