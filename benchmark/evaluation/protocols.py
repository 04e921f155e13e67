"""The papers' own evaluations, as far as they are known, so that a row of ours can stand beside theirs.

A protocol changes settings of the evaluation; what cannot be matched is said in words and goes into every record.
Numbers of any protocol but `suite` carry its name in their columns. [P] paper, [C] its published code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

ProtocolName = Literal[
    "suite", "infoscc", "icgan", "icgan_coco", "icgan_lt", "icgan_monitoring", "selfcond", "latentcond", "ltgan"
]

_LPIPS = "LPIPS there: the number of pairs is not given; here ten images each of 500 conditions"
_PORT = "its network is TensorFlow's; here the port of it to torch"
_STOP = "the paper stops when the training FID stalls and keeps the best snapshot; here the last one, of a fixed length"


@dataclass(frozen=True)
class Protocol:
    """One paper's evaluation."""

    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # of EvalConfig
    differences: tuple[str, ...] = ()  # what stays unlike the paper's


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "suite": Protocol("the suite's own, the same for all methods"),
        "infoscc": Protocol(
            "InfoSCC-GAN's code [C]: 50,000 generated images against the training split; one split of IS; uniform "
            "labels; Chamfer distance of 6,400 images by t-SNE",
            {
                "extractors": ("inception", "torchvision:inception_v3"),
                "reference": "train",
                "n_fake": 50_000,
                "conditions": "uniform",
                "splits": 1,
                "chamfer_points": 6400,
                "tsne_seeds": 1,
                "recall_images": 6400,
            },
            (
                "FID there: images not rounded to 8 bits, enlarged by torch's bilinear filter, the first 50,000 "
                "training images; here uint8, TensorFlow's filter, all of them",
                "IS there is torchvision's Inception on 100,000 images: the column CS-torchvision-inception_v3, here "
                "on 50,000",
                "control there is scored by the classifier of training: the columns (own)",
                "t-SNE there is not seeded",
            ),
        ),
        "icgan": Protocol(
            "IC-GAN on ImageNet, as its code's instructions for the reported numbers have it [C]: FID and IS by "
            "TensorFlow's Inception, 50,000 generated images against the validation set, ten splits of IS, uniform "
            "classes; precision, recall, density, coverage of 10,000 images, k = 5; LPIPS (AlexNet) [P]",
            {
                "extractors": ("inception",),
                "reference": "test",
                "n_fake": 50_000,
                "conditions": "uniform",
                "splits": 10,
                "k": 5,
                "prdc_images": 10_000,
                "extra": ("lpips",),
                "extras": {"lpips_conditions": 500, "lpips_images": 10},
            },
            (_PORT, _LPIPS, _STOP),
        ),
        "icgan_coco": Protocol(
            "IC-GAN on COCO-Stuff [C]: FID by TensorFlow's Inception against the training set, the evaluation set and "
            "the parts of that with seen and with unseen combinations of categories; as many generated images as each "
            "has, asked for its own images; both sides kept as JPEG of quality 75, the default of the code's writer",
            {
                "extractors": ("inception",),
                "reference": "train",
                "n_fake": None,
                "references": ("test", "seen", "unseen"),
                "jpeg": 75,
            },
            (
                _PORT,
                "the lists of seen and unseen images there were made by the authors; here by the rule they state",
                _STOP,
            ),
        ),
        "icgan_lt": Protocol(
            "IC-GAN on ImageNet-LT [C]: FID and IS by TensorFlow's Inception, 50,000 generated images of uniform "
            "classes against the validation set, whole and by class frequency (100 training images and more, 20 and "
            "fewer, between); FID and IS against the training set with its frequencies of classes",
            {
                "extractors": ("inception",),
                "reference": "test",
                "n_fake": 50_000,
                "conditions": "uniform",
                "splits": 10,
                "k": 5,
                "prdc_images": 10_000,
                "references": ("train",),
                "strata": (20, 100),
            },
            (
                _PORT,
                "for the training set the code's instructions say 11,500 images, which is likely a slip; here as many "
                "as it has",
                _STOP,
            ),
        ),
        "icgan_monitoring": Protocol(
            "what IC-GAN's code watches in training, and calls unofficial [C]: torchvision's Inception, 50,000 "
            "generated images against the training split, ten splits of IS; precision, recall, density, coverage of "
            "10,000 images, k = 5",
            {
                "extractors": ("torchvision:inception_v3",),
                "reference": "train",
                "n_fake": 50_000,
                "splits": 10,
                "k": 5,
                "prdc_images": 10_000,
                "extras": {"lpips_conditions": 500, "lpips_images": 10},
            },
            (
                "FID there is torchvision's Inception: the column FD-torchvision-inception_v3",
                "the matrix root there is 50 steps of an iteration in float32; here exact, in float64",
                _LPIPS,
            ),
        ),
        "selfcond": Protocol(
            "Self-Conditioned GAN's code [C]: 50,000 generated images against the training split, Inception of FID, "
            "ten splits of IS; classes drawn by their frequency",
            {"extractors": ("inception",), "reference": "train", "n_fake": 50_000, "splits": 10},
            (
                "its network is TensorFlow's; here the port of it to torch",
                "its FSD needs a segmentation network whose weights are not at hand",
            ),
        ),
        "latentcond": Protocol(
            "Latent Space Conditioning on GANs [P]: accuracy of the class of the image whose features were asked for",
            {"extractors": ("inception",), "reference": "train", "conditions": "empirical"},
            ("the number of images, their split and the classifier are not given [P]; here the suite's",),
        ),
        "ltgan": Protocol(
            "LT-GAN [P]: FID of as many generated images as the held-out split has, against that split",
            {
                "extractors": ("inception",),
                "reference": "test",
                "n_fake": None,
                "extras": {"boundary_latents": 500_000, "boundary_share": 0.02, "cas": {"depth": 56}},
            },
            (
                "the paper gives the best of three runs; a table here gives the mean over seeds",
                "sampling of its path lengths is not given; here StyleGAN's, over whole paths, of fewer pairs",
                "attributes there are scored by a published classifier of faces; here by the judge",
            ),
        ),
    }
)


def labelled(name: str, protocol: str) -> str:
    """The name of a column, marked where its numbers follow another protocol than the suite's."""
    return name if protocol == "suite" else f"{name} [{protocol} protocol]"
