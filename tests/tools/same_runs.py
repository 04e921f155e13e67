"""The runs of `same_bits.py`: command lines that together reach every method, kind of data, stage, score and table.

A group has a results folder of its own, so that what its commands find ready does not depend on what else runs at the
time; its commands run one after the other. Most runs are rows of suites, many to a process: a start takes seconds, a
run of a few steps of narrow nets one. Judges have 8 channels or more, where no kernel is avoided, and one has fewer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
Row = tuple[str, str, Settings]  # what tells it from the others, method, changes


@dataclass(frozen=True)
class Command:
    """A command line of `python -m benchmark`.

    {here}: the group's folder, in which `results` is its results folder. {files}: the folder of its files. An
    argument with a star is the one path that it fits.
    """

    arguments: tuple[str, ...]
    status: int = 0  # the exit status that is expected


@dataclass(frozen=True)
class Group:
    """Commands that share a results folder."""

    name: str
    commands: tuple[Command, ...]
    files: Mapping[str, str] = field(default_factory=dict)  # texts of its suites and cards, by name without .yaml
    pictured: bool = True  # in the report of all groups; a page of every picture would take half a minute


def command(text: str, *more: str, status: int = 0) -> Command:
    """A command line whose arguments have no blanks, and `more` of them that may have some."""
    return Command((*text.split(), *more), status)


PLACE = "--device cpu --quiet --results {here}/results"


def run(methods: str, dataset: str, settings: Settings, more: str = "") -> Command:
    """Run methods with the same settings."""
    return command(f"run --method {methods} --dataset {dataset} {PLACE} {more}", *setting(settings))


def sample(methods: str, dataset: str, settings: Settings, more: str) -> Command:
    """Pictures of runs with these settings."""
    return command(f"sample --method {methods} --dataset {dataset} {PLACE} {more}", *setting(settings))


def setting(settings: Settings) -> list[str]:
    """The arguments that change settings."""
    return ["--set", *(f"{key}={json.dumps(value)}" for key, value in settings.items())]


def suite(name: str, status: int = 0) -> Command:
    """Run a suite of the group's."""
    return command(f"suite {{files}}/{name}.yaml --workers 1 {PLACE}", status=status)


def suite_text(title: str, dataset: str, common: Settings, rows: Sequence[Row], **more: Any) -> str:
    """A suite's file, as JSON, which is YAML."""
    plain: dict[str, Any] = {
        "title": title,
        "source": "the proof that a change of the code moves no bit",
        "dataset": dataset,
        "recipe": "small",
        "seeds": [0],
        "set": common,
        "columns": ["Method", "Variant"],
        "sizes": {"small": {}},
        "rows": [
            {"labels": {"Method": method, "Variant": variant}, "method": method, "set": changes}
            for variant, method, changes in rows
        ],
    }
    return json.dumps(plain | more, indent=1)


# ---- settings -------------------------------------------------------------------------------------------------------

JUDGE: Settings = {"steps": 5, "width": 8, "log_every": 2}
SCORES: Settings = {"n_fake": 60, "half_samples": 2, "controls": False, "encoder": None, "recall_images": 20}
JUDGED = setting({"half_samples": 2, "judge": JUDGE})
STEPS: Settings = {"steps": 6, "batch": 8, "checkpoint_every": 4, "log_every": 2}
COMMON: Settings = {**STEPS, "eval": {**SCORES, "judge": JUDGE}}
FEW_DIGITS: Settings = {"data": {"source": {"test_share": 0.8}}}  # for training: short feature passes
FEW_DRAWN: Settings = {"data": {"source": {"n_train": 150, "n_test": 150}}}

STAGE: Settings = {"steps": 4, "batch": 16, "checkpoint_every": 2, "log_every": 1}
SIMCLR: Settings = {**STAGE, "width": 4}

INFOSCC: Settings = {
    "base": 4, "max_width": 16, "r1_every": 3, "encoder": SIMCLR, "classifier": {**STAGE, "batch": 32}
}  # fmt: skip
EIGENGAN: Settings = {"base": 4, "max_width": 16, "r1_every": 3}
ICGAN: Settings = {
    "ch": 2, "z_dim": 12, "instance_embedding": 4, "class_embedding": 4, "k": 3,
    "features": {"name": "simclr", "encoder": SIMCLR},
}  # fmt: skip
STYLES: Settings = {"base": 64, "max_width": 8, "w_dim": 8, "r1_weight": 1.0, "r1_every": 2, "pl_weight": 2.0}
ICGAN_STYLES: Settings = {**ICGAN, **STYLES, "backbone": "stylegan2", "loss": "non_saturating", "pl_every": 3}
LATENTCOND: Settings = {"width": 4, "z_dim": 8, "f_dim": 6}
LTGAN: Settings = {"width": 4, "z_dim": 12, "warmup": 0.2, "aux_images": 16}
PLAIN: Settings = {"width_G": 4, "width_D": 4, "z_dim": 8}
SELFCOND: Settings = {**PLAIN, "k": 4, "T": 2, "n_s": 100, "restarts": 2}
NARROW: Settings = {"width": 4, "z_dim": 8}
BIGGAN: Settings = {"ch": 2, "z_dim": 12, "class_embedding": 4}


def features(name: str, **more: Any) -> Settings:
    """A latent-conditioned GAN with this encoder."""
    return {**LATENTCOND, "features": {"name": name, "layer": None, **more}}


CLASSIFIER: Settings = {**STAGE, "width": 4}

DIGITS: list[Row] = [
    ("classes", "infoscc", INFOSCC),
    ("global", "eigengan", EIGENGAN),
    ("patches", "eigengan", {**EIGENGAN, "discriminator": "patch", "patch_width": 4, "loss": "lsgan"}),
    ("BigGAN", "icgan", ICGAN),
    ("BigGAN, classes", "icgan", {
        **ICGAN, "class_conditional": True, "balance_classes": True, "attention": True, "translation": True,
        "init": "orthogonal",
    }),
    ("StyleGAN2", "icgan", {**ICGAN_STYLES, "n_instances": 0}),
    ("pixels", "icgan", {**ICGAN, "features": {"name": "pixels"}}),
    ("AlexNet", "icgan", {**ICGAN, "features": {"name": "alexnet", "input_px": 64}}),
    ("SNDCGAN", "ltgan", {**LTGAN, "backbone": "sndcgan", "layer": 5, "lambda_cr": 10.0}),
    ("ResNet", "ltgan", {**LTGAN, "aux": "conv", "adv_on_moved": True}),
    ("BigGAN", "ltgan", {**LTGAN, "backbone": "biggan", "conditional": True, "aux": "linear"}),
    ("BigGAN of ImageNet", "ltgan", {**LTGAN, "backbone": "biggan", "biggan": "imagenet", "g_batch": 1}),
    ("StyleGAN2", "ltgan", {
        **LTGAN, "backbone": "stylegan2", "layer": 8, "loss": "non_saturating", "r1_gamma": 1.0, "mapping_layers": 2
    }),
    ("clusters", "selfcond", SELFCOND),
    ("clusters of sums", "selfcond", {
        **SELFCOND, "features": "summed", "mean_init": False, "matching": False, "r1_weight": 1.0
    }),
    ("online", "selfcond", {**SELFCOND, "labels": "online"}),
    ("fixed", "selfcond", {**SELFCOND, "labels": "fixed", "pixel_noise": 0.01}),
    ("random", "selfcond", {**SELFCOND, "labels": "random", "linear_decay": True}),
    ("classes", "selfcond", {**SELFCOND, "labels": "classes", "ema_half_life_images": 40}),
    ("deep", "dcgan", PLAIN),
    ("three", "pacgan", {**PLAIN, "m": 3}),
    ("ResNet", "sngan", NARROW),
    ("SNDCGAN", "sngan", {**NARROW, "backbone": "sndcgan", "loss": "non_saturating", "g_batch": 2, "n_dis": 2}),
    ("classes", "biggan", {**BIGGAN, "translation": True}),
    ("one label", "biggan", {**BIGGAN, "conditional": False, "hierarchical": False, "class_embedding": 0}),
    ("styles", "stylegan2", {"z_dim": 8, "mixing": 0.9, **STYLES}),
    ("projection, wrong labels", "cgan", {
        **NARROW, "conditioning": "projection", "backbone": "resnet", "label_noise": 0.3, "noise_seed": 1
    }),
    ("concatenation", "cgan", {**NARROW, "linear_decay": False}),
    ("wrong labels", "acgan", {**NARROW, "label_noise": 0.2}),
    ("CR", "crgan", {**NARROW, "consistency": "cr"}),
    ("bCR, SNDCGAN", "crgan", {**NARROW, "consistency": "bcr", "backbone": "sndcgan"}),
    ("zCR, BigGAN", "crgan", {
        **NARROW, "consistency": "zcr", "backbone": "biggan", "conditional": True, "z_dim": 12
    }),
    ("ICR", "crgan", {**NARROW, "consistency": "icr"}),
    ("ResNet", "ssgan", NARROW),
    ("SNDCGAN", "ssgan", {**NARROW, "backbone": "sndcgan", "linear_decay": True}),
    ("narrow judge", "dcgan", {**PLAIN, "eval": {"judge": {"width": 4}}}),
]  # fmt: skip

PROJECTED: Settings = {"width": 4, "z_dim": 8, "features": {"input_px": 64, "width": 4}}
POINTS: Settings = {"width_G": 8, "width_D": 8, "batch": 32}
RING: list[Row] = [
    ("plain", "dcgan", POINTS),
    ("two", "pacgan", {**POINTS, "m": 2}),
    ("clusters", "selfcond", {**POINTS, "k": 5, "T": 3, "n_s": 200, "restarts": 2}),
]
RING_SCORES: Settings = {**STEPS, **FEW_DRAWN, "eval": {"n_fake": 300, "snapshots": 2, "half_samples": 2}}

TSNE: Settings = {"encoder": {"net": "conv", **SIMCLR}, "chamfer_points": 100, "tsne_seeds": 1}
EXTRAS: Settings = {
    "boundary_latents": 200, "steer_trajectories": 2, "steer_iterations": 2, "ppl_pairs": 10,
    "lpips_conditions": 2, "lpips_images": 2, "cas": {"depth": 20, "epochs": 1, "n_seeds": 1},
}  # fmt: skip
ATTRIBUTES: list[Row] = [
    ("attributes", "infoscc", INFOSCC),
    ("mirrored", "icgan", ICGAN),
    ("SimCLR", "latentcond", features("simclr", encoder=SIMCLR)),
    ("classifier", "latentcond", features("classifier", classifier=CLASSIFIER)),
    ("Lite0", "latentcond", {**features("lite0"), "loss": "hinge", "g_steps_per_d": 2}),
    ("attributes in z", "ltgan", {**LTGAN, "eval": {"extra": ["correlation", "boundary"], "extras": EXTRAS}}),
    ("a paper's protocol", "eigengan", {
        **EIGENGAN, "eval": {"protocol": "ltgan", "extractors": ["judge", "lite0"], "n_fake": 40, "prdc_images": 50}
    }),
    ("snapshots", "sngan", {**NARROW, "eval": {"snapshots": 2, "snapshot_images": 50}}),
]  # fmt: skip
COLOURED: list[Row] = [  # with classes
    ("clusters", "infoscc", {**INFOSCC, "labels": "clusters", "n_clusters": 3, "loss": "non_saturating"}),
    ("patches", "infoscc", {**INFOSCC, "discriminator": "patch", "patch_width": 4, "loss": "lsgan4", "n_dis": 2}),
    ("SimCLR, bank", "latentcond", {**features("simclr", encoder=SIMCLR), "neighbour_pool": "bank"}),
    ("RotNet", "latentcond", {**features("rotnet", rotnet={**STAGE, "divisor": 16}), "pairing": "single"}),
    ("classifier", "latentcond", {
        **features("classifier", classifier={**CLASSIFIER, "label_noise": 0.2}), "oracle_pairs": True
    }),
    ("AlexNet", "latentcond", {**features("alexnet", input_px=64), "adv_real": "nearest", "backbone": "resnet"}),
    ("pixels", "latentcond", {**features("pixels"), "f_source": "map", "pairing": "naive", "far_mode": "random"}),
    ("projection", "cgan", {**NARROW, "eval": {"extra": ["cas"], "extras": EXTRAS}}),
    ("CR", "crgan", NARROW),
]  # fmt: skip
STACKED: list[Row] = [
    ("plain", "dcgan", PLAIN),
    ("clusters", "selfcond", SELFCOND),
    ("thousand", "acgan", NARROW),
    ("instances", "icgan", ICGAN),
]
NEWER: list[Row] = [  # methods that earlier revisions do not have, on a dataset whose tables they share with nobody
    ("RpGAN, augmented", "r3gan", {
        "width": 8, "base": 128, "group_width": 8, "z_dim": 4, "augment": [0.5, 0.5], "anneal_images": 32
    }),
    ("GAN, R1 alone", "r3gan", {
        "width": 8, "base": 128, "z_dim": 4, "loss": "non_saturating", "r2": False, "conditional": False
    }),
    ("Lite0", "projectedgan", PROJECTED),
    ("generators", "mgan", {"K": 3, "width_G": 4, "width_D": 4}),
]  # fmt: skip
SCORED: list[Row] = [
    ("every score, by fair classes", "cgan", {**NARROW, "eval": {
        "conditions": "uniform", "controls": True, "extrapolate": True, "n_fake": 100, "snapshots": 3,
        "snapshot_images": 60, "extra": ["cas", "lpips", "ppl", "steerability"], **TSNE,
        "extractors": ["judge", "simclr"], "extras": EXTRAS,
    }}),
    ("boundaries", "sngan", {**NARROW, "eval": {
        "extra": ["boundary", "correlation", "steerability"], "extras": EXTRAS, "reference": "test", "n_fake": 80,
        "k": 3, "splits": 2,
    }}),
    ("not finite", "sngan", {**NARROW, "lr_G": 1e30, "lr_D": 1e30}),
]  # fmt: skip

CIFAR = json.dumps(  # some digits under a name that has recipes of papers, at its size
    {"name": "cifar10", "title": "Digits in CIFAR-10's place", "resolution": 32, "channels": 3, "flip_ok": True,
     "source": {"kind": "some_digits", "classes": [1, 2, 3], "test_share": 0.5}, "conditioning": "class",
     "n_classes": 3, "licence": "CC BY 4.0", "default_recipe": "paper"}
)  # fmt: skip
PAPER: Settings = {**STEPS, "steps": 2, "eval": {**SCORES, "n_fake": 40, "extractors": ["judge"], "judge": JUDGE}}
ON_CIFAR = "{files}/cifar10.yaml"
PAPERS = (
    run("acgan cgan crgan sngan ssgan", ON_CIFAR, {**PAPER, **NARROW}),
    run("dcgan pacgan", ON_CIFAR, {**PAPER, **PLAIN}),
    run("selfcond", ON_CIFAR, {**PAPER, **SELFCOND}),
    run("ltgan", ON_CIFAR, {**PAPER, **LTGAN}, "--recipe paper_biggan_cr"),
    run("biggan", ON_CIFAR, {**PAPER, **BIGGAN}),
    run("stylegan2", ON_CIFAR, {**PAPER, **STYLES}),
    run("icgan", ON_CIFAR, {**PAPER, **ICGAN, "features": {"encoder": STAGE}}),  # with a ResNet-18
    run("latentcond", ON_CIFAR, {**PAPER, **LATENTCOND, "features": {"rotnet": {**STAGE, "divisor": 16}}}),
)

TWO: list[Row] = [("slow", "dcgan", {**PLAIN, "lr_G": 1e-4}), ("fast", "dcgan", {**PLAIN, "lr_G": 1e-3})]
SLOW, FAST = {"Variant": "slow"}, {"Variant": "fast"}
TWO_ROWS = suite_text(
    "Two rates", "digits", {**COMMON, **FEW_DIGITS}, TWO,
    seeds=[0, 1],
    metrics=["fd_judge", "modes_judge", "control_accuracy_judge"],
    claims=[
        {"claim": "the slow one is nearer", "by": "paper", "better": SLOW, "than": FAST, "metric": "fd"},
        {"claim": "the fast one shows more", "by": "ours", "better": FAST, "than": SLOW, "metric": "modes_judge"},
    ],
    published={"dataset": "digits", "columns": ["FID"], "source": "a paper's table", "protocol": "another network"},
)  # fmt: skip


# ---- groups ---------------------------------------------------------------------------------------------------------

ON_DIGITS: Settings = {**COMMON, **FEW_DIGITS}
DRAWN: Settings = {**COMMON, **FEW_DRAWN}
HALF = len(DIGITS) // 2

SAMPLED: Settings = {**ON_DIGITS, **NARROW, "steps": 5}  # of runs that are sampled, and scored once more
SMOKE: Settings = {  # a row of the package's suite `smoke`, so that `table` finds a suite with a record
    "steps": 40,
    "eval": {"n_fake": 300, "half_samples": 4, "controls": False, "encoder": None, "judge": {"steps": 40, "width": 16}},
}
TRANSFER: Settings = {**ON_DIGITS, "transfer": "digits_5to9"}
GRID: Settings = {**RING_SCORES, **POINTS}

VERBS = (
    command("list"),
    command("prepare --dataset digits_5to9 ring2d --quiet --results {here}/results"),
    command(f"eval {{here}}/results/artifacts/data/digits_5to9-*/test.npy --reference digits_5to9 {PLACE}", *JUDGED),
    run("cgan sngan", "digits", SAMPLED, "--seed 0 1"),
    sample("cgan", "digits", SAMPLED, "--n 30 --out {here}/of-classes"),
    sample("sngan", "digits", SAMPLED, "--n 30 --seed 0 1 --out {here}/plain"),
    command(f"eval {{here}}/of-classes --reference digits {PLACE}", *JUDGED),
    command(f"eval {{here}}/of-classes --reference {{here}}/plain/sngan-s0 {PLACE} --extractors lite0 --resolution 32"),
    command(f"eval {{here}}/results/runs/digits/cgan/small-s0-* {PLACE} --n 40 --set k=3 reference=test"),
    run("dcgan", "digits", SMOKE),
    command("run --method nosuch", status=2),
    command("run --method dcgan --results {here}/results --set nosuch=1", status=2),
    command("drift --quiet --json {here}/drift.json"),
)


def digits(name: str, rows: Sequence[Row]) -> Group:
    """Some of the runs on digits."""
    return Group(name, (suite("digits"),), {"digits": suite_text("Digits", "digits", ON_DIGITS, rows)}, pictured=False)


def groups() -> list[Group]:
    """All groups, longer ones first."""
    instances = {**TRANSFER, **ICGAN}
    return [
        digits("digits-1", DIGITS[:HALF]),
        Group("verbs", VERBS),
        Group(
            "shapes",
            (suite("attributes"), suite("classes")),
            {
                "attributes": suite_text("Attributes", "shapes", DRAWN, ATTRIBUTES),
                "classes": suite_text("Classes", "shapes_class", DRAWN, COLOURED),
            },
        ),
        Group(
            "newer",
            (suite("newer"),),
            {"newer": suite_text("Newer methods", "digits_0to4", ON_DIGITS, NEWER)},
            pictured=False,
        ),
        Group("scores", (suite("scores", status=1),), {"scores": suite_text("Scores", "digits", ON_DIGITS, SCORED)}),
        digits("digits-2", DIGITS[HALF:]),
        Group(
            "transfer",
            (
                run("icgan", "digits_0to4", instances),
                run("latentcond", "digits_0to4", {**TRANSFER, **features("pixels")}),
                sample("icgan", "digits_0to4", instances, "--n 10 --instances digits_5to9 --out {here}/asked"),
            ),
        ),
        Group(
            "points",
            (
                suite("ring"),
                run("dcgan", "grid2d", GRID, "--recipe paper"),
                sample("dcgan", "grid2d", GRID, "--recipe paper --n 20 --out {here}/points"),
            ),
            {"ring": suite_text("Points", "ring2d", RING_SCORES, RING)},
        ),
        Group("stacked", (suite("stacked"),), {"stacked": suite_text("Stacked", "stacked_digits", DRAWN, STACKED)}),
        Group("papers", PAPERS, {"cifar10": CIFAR}, pictured=False),
        Group("claims", (suite("two"),), {"two": TWO_ROWS}),
    ]


# What is made of all groups' records, when their times and environments have been replaced by known ones.
TOGETHER = Group(
    "together",
    (suite("two"), command("table --quiet --results {here}/results"), command("report --results {here}/results")),
    {"two": TWO_ROWS},
)
