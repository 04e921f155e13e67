"""Evaluation beside torch-fidelity's command and clean-fid: the same pictures, weights and threads.

    python tests/tools/bench_evaluation.py [--n 256] [--threads 2] [--repeats 1] [--clock wall|cpu] [--json]

Two folders of N digits of 32 px, one of them noisier, and Inception with seeded random weights in a file that all three
programs read (speed does not depend on the weights). Every row of the table runs in a fresh process that reads the PNG
files, builds the net and prints its numbers; the repeats of all rows alternate, and the least time of each counts.
clean-fid downloads NVIDIA's TorchScript file to one fixed place; here it gets a trace of the same graph from a folder
of ours, all else is its own code.

Checked, with exit status 1 when one fails:
    FID alone              at least as fast as the fastest of the others
    FID, clean FID, KID, IS, precision and recall (ours: with density and coverage)
                           at least twice as fast as torch-fidelity for its four and clean-fid for its FID, one after
                           the other; clean-fid's KID is timed and shown, but not counted: the set holds one KID
    numbers                equal to theirs: relative 1e-5, precision and recall to less than a picture, KID to 1e-6, the
                           rounding of their float32 kernel, whose values lie near 1
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAPER_NAME = "pt_inception-2015-12-05-6726825d.pth"  # looked for by clean-fid's legacy_pytorch in torch hub's folder
SCRIPT_NAME = "inception-2015-12-05.pt"  # looked for by clean-fid's `clean` mode
NEIGHBOURS = 5
ALONE = ("ours: FID", "torch-fidelity: FID", "clean-fid: FID, clean", "clean-fid: FID, legacy_pytorch")
SET = ("ours: the set", "torch-fidelity: FID, KID, IS, P, R", "clean-fid: FID, clean", "clean-fid: KID, clean")
AGREE = [  # name of ours, row and name of theirs
    ("FID", "torch-fidelity: FID", "frechet_inception_distance"),
    ("FID", "torch-fidelity: FID, KID, IS, P, R", "frechet_inception_distance"),
    ("FID-clean", "clean-fid: FID, clean", "value"),
    ("KID", "torch-fidelity: FID, KID, IS, P, R", "kernel_inception_distance_mean"),
    ("IS", "torch-fidelity: FID, KID, IS, P, R", "inception_score_mean"),
    ("precision", "torch-fidelity: FID, KID, IS, P, R", "precision"),
    ("recall", "torch-fidelity: FID, KID, IS, P, R", "recall"),
]


@dataclass
class Row:
    """One program for one set of metrics."""

    command: list[str]
    wall: list[float] = field(default_factory=list)  # seconds of each repeat
    cpu: list[float] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)


# What runs in a process of its own ------------------------------------------------------------------------------------


def ours(real: Path, fake: Path, weights: Path, whole_set: bool) -> dict[str, float]:
    """Our numbers of two folders. To time another way in, call it here."""
    from benchmark.metrics.extractors.base import extract
    from benchmark.metrics.extractors.build import build
    from benchmark.metrics.frechet import frechet_distance
    from benchmark.metrics.inception_score import inception_score
    from benchmark.metrics.kid import kid
    from benchmark.metrics.prdc import prdc

    pictures = [read_folder(folder) for folder in (real, fake)]
    inception = build("inception", weights_dir=weights, allow_unverified=True)
    x, y = (extract(inception, images) for images in pictures)
    values = {"FID": frechet_distance(x.pooled, y.pooled)}
    if whole_set:
        assert y.logits is not None
        near = prdc(x.pooled, y.pooled, k=NEIGHBOURS)
        values |= {"KID": kid(x.pooled, y.pooled), "IS": inception_score(y.logits, splits=1).mean}
        values |= {name: getattr(near, name) for name in ("precision", "recall", "density", "coverage")}
        clean = build("inception-clean", weights_dir=weights, allow_unverified=True)
        x, y = (extract(clean, images) for images in pictures)
        values["FID-clean"] = frechet_distance(x.pooled, y.pooled)
    return values


def read_folder(folder: Path) -> Any:
    """uint8 (N, H, W, 3) of a folder of equal PNG files, in the order of their names."""
    import numpy as np
    from PIL import Image

    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.glob("*.png"))])


def clean_fid(real: Path, fake: Path, weights: Path, metric: str, mode: str) -> dict[str, float]:
    """clean-fid's `compute_fid` or `compute_kid`; without its 12 worker processes, which two cores do not want."""
    import torch
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W

    if mode == "clean":
        net = InceptionV3W(str(weights.parent), download=False, resize_inside=False).eval()
        fid.build_feature_extractor = lambda *_, **__: net
    compute: Callable[..., float] = {"fid": fid.compute_fid, "kid": fid.compute_kid}[metric]
    options = {"device": torch.device("cpu"), "num_workers": 2, "use_dataparallel": False, "verbose": False}
    return {"value": float(compute(str(real), str(fake), mode=mode, **options))}


# The bench ------------------------------------------------------------------------------------------------------------


def write_pictures(folder: Path, n: int, first: int, noise: float) -> Path:
    """n of scikit-learn's digits, enlarged to 32 px, tinted, with noise: no two files are equal."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    folder.mkdir()
    digits, rng = load_digits().images, np.random.default_rng(first)
    for i in range(n):
        grey = np.kron(digits[(first + i) % len(digits)] * 15, np.ones((4, 4)))[:, :, None]
        picture = grey * rng.uniform(0.5, 1, 3) + noise * rng.normal(size=(32, 32, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{i:06d}.png")
    return folder


def write_weights(root: Path) -> Path:
    """The state dict, where torch hub has its files, and beside it the TorchScript stand-in for clean-fid."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from unit.metrics.test_metrics_inception_parity import _WithLayers, he_state

    folder = root / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(he_state(seed=0), folder / PAPER_NAME)
    graph = FeatureExtractorInceptionV3("graph", ["2048"], feature_extractor_weights_path=str(folder / PAPER_NAME))
    layers = torch.nn.Sequential(*[block for name, block in graph.named_children() if name != "fc"]).eval()
    traced = torch.jit.trace(layers, torch.zeros(1, 3, 299, 299))
    torch.jit.script(_WithLayers(traced)).save(str(folder / SCRIPT_NAME))
    return folder / PAPER_NAME


def commands(real: Path, fake: Path, weights: Path, n: int) -> dict[str, Row]:
    """Every row of the table."""
    own = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--real",
        str(real),
        "--fake",
        str(fake),
        "--weights",
        str(weights),
    ]
    fidelity = [sys.executable, "-W", "ignore", "-m", "torch_fidelity.fidelity", "--cpu", "--json", "--silent"]
    fidelity += ["--no-cache", "--input1", str(fake), "--input2", str(real)]
    fidelity += ["--feature-extractor", "inception-v3-compat", "--feature-extractor-weights-path", str(weights)]
    full = ["--isc", "--kid", "--prc", "--isc-splits", "1", "--kid-subsets", "1", "--kid-subset-size", str(n)]
    return {
        "ours: FID": Row([*own, "--child", "ours-fid"]),
        "torch-fidelity: FID": Row([*fidelity, "--fid"]),
        "clean-fid: FID, clean": Row([*own, "--child", "clean-fid"]),
        "clean-fid: FID, legacy_pytorch": Row([*own, "--child", "legacy-fid"]),
        "ours: the set": Row([*own, "--child", "ours-set"]),
        "torch-fidelity: FID, KID, IS, P, R": Row([*fidelity, "--fid", *full, "--prc-neighborhood", str(NEIGHBOURS)]),
        "clean-fid: KID, clean": Row([*own, "--child", "clean-kid"]),
    }


CHILDREN: dict[str, Callable[[Path, Path, Path], dict[str, float]]] = {
    "ours-fid": lambda real, fake, weights: ours(real, fake, weights, whole_set=False),
    "ours-set": lambda real, fake, weights: ours(real, fake, weights, whole_set=True),
    "clean-fid": lambda real, fake, weights: clean_fid(real, fake, weights, "fid", "clean"),
    "legacy-fid": lambda real, fake, weights: clean_fid(real, fake, weights, "fid", "legacy_pytorch"),
    "clean-kid": lambda real, fake, weights: clean_fid(real, fake, weights, "kid", "clean"),
}


def run(row: Row, environment: dict[str, str]) -> None:
    """One timed process; its last JSON object on the standard output holds the numbers."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(row.command, env=environment, capture_output=True, text=True)
    row.wall.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    row.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    if done.returncode:
        raise SystemExit(f"{' '.join(row.command)}\n{done.stdout}\n{done.stderr}")
    row.values = json.loads(done.stdout[done.stdout.rindex("{") :])


def disagreements(rows: dict[str, Row], n: int) -> list[str]:
    """Numbers of ours that are not theirs."""
    found = []
    for name, row, their_name in AGREE:
        theirs = rows[row].values[their_name]
        bound = {"precision": 0.1 / n, "recall": 0.1 / n, "KID": 1e-6}.get(name, 1e-5 * abs(theirs))
        for mine in ("ours: FID", "ours: the set"):
            value = rows[mine].values.get(name, theirs)
            if abs(value - theirs) > bound:
                found.append(f"{name}: {value!r} ({mine}), {theirs!r} ({row})")
    return found


def claims(rows: dict[str, Row], clock: str) -> dict[str, tuple[float, float]]:
    """For each claim: how many times as fast ours is, and how many are needed."""
    seconds = {name: min(getattr(row, clock)) for name, row in rows.items()}
    ours_alone, *others = (seconds[name] for name in ALONE)
    ours_set, fidelity, clean, clean_kid = (seconds[name] for name in SET)
    return {
        "FID alone, beside the fastest of the others": (min(others) / ours_alone, 1.0),
        "the set, beside both one after the other": ((fidelity + clean) / ours_set, 2.0),
        "the set, beside both and clean-fid's KID": ((fidelity + clean + clean_kid) / ours_set, 2.0),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a claim fails or numbers differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=256, help="pictures a set")
    parser.add_argument("--threads", type=int, default=2, help="threads of every program")
    parser.add_argument("--repeats", type=int, default=1, help="times each program runs; the fastest counts")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="the time that the claims are about")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    for name in ("--real", "--fake", "--weights"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(CHILDREN[options.child](options.real, options.fake, options.weights)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        real = write_pictures(root / "real", options.n, first=0, noise=4)
        fake = write_pictures(root / "fake", options.n, first=options.n, noise=24)
        weights, threads = write_weights(root), str(options.threads)
        rows = commands(real, fake, weights, options.n)
        environment = os.environ | {"TORCH_HOME": str(root), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        for _ in range(options.repeats):
            for row in rows.values():
                run(row, environment)
    return report(rows, options)


def report(rows: dict[str, Row], options: argparse.Namespace) -> int:
    """Print what was found."""
    ratios, wrong = claims(rows, options.clock), disagreements(rows, options.n)
    if options.json:
        table = {name: {"wall_s": row.wall, "cpu_s": row.cpu, "values": row.values} for name, row in rows.items()}
        print(json.dumps({"rows": table, "ratios": ratios, "disagreements": wrong}, indent=1))
    else:
        print(f"{'':<36} {'wall s':>8} {'CPU s':>8} {'images/s':>9}   numbers")
        for name, row in rows.items():
            wall = min(row.wall)
            numbers = ", ".join(f"{key} {value:.7g}" for key, value in row.values.items())
            print(f"{name:<36} {wall:>8.1f} {min(row.cpu):>8.1f} {2 * options.n / wall:>9.1f}   {numbers}")
        for claim, (ratio, needed) in ratios.items():
            print(f"{claim}: {ratio:.2f} times as fast ({needed:g} needed)")
        print("numbers differ:\n  " + "\n  ".join(wrong) if wrong else "numbers agree")
    return int(bool(wrong) or any(ratio < needed for ratio, needed in ratios.values()))


if __name__ == "__main__":
    raise SystemExit(main())
