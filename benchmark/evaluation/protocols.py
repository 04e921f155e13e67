"""The papers' own evaluations, where they are known, so that a row of ours is comparable with theirs.

A protocol changes settings of the evaluation; what cannot be matched is said in words and goes into every record.
Numbers of any protocol but `suite` carry its name in their columns. [P] paper, [C] its published code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

ProtocolName = Literal[
    "suite",
    "infoscc",
    "icgan",
    "icgan_coco",
    "icgan_lt",
    "icgan_monitoring",
    "selfcond",
    "latentcond",
    "ltgan",
    "r3gan",
]

_LPIPS = "LPIPS there: the number of pairs is not given; here ten images each of 500 conditions"
_PORT = "its network is TensorFlow's; here the port of it to torch"
_ICGAN_REPORTED: Mapping[str, Any] = {  # of its numbers on ImageNet and ImageNet-LT
    "extractors": ("inception",),
    "reference": "test",
    "n_fake": 50_000,
    "conditions": "uniform",
    "splits": 10,
    "k": 5,
    "prdc_images": 10_000,
}
_STOP = "the paper stops when the training FID stalls and keeps the best snapshot; here the last one, of a fixed length"


@dataclass(frozen=True)
class Protocol:
    """One paper's evaluation."""

    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # of EvalConfig
    differences: tuple[str, ...] = ()  # what stays unlike the paper's
    of_datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # settings laid over these, by dataset
    best_of_runs: bool = False  # does the paper report the best of several runs? A suite's table then shows it, too

    def settings_for(self, dataset: str) -> dict[str, Any]:
        """The settings of EvalConfig for a dataset."""
        from benchmark.core.config import merge  # loads pydantic, and `--help` lists the protocols

        return merge(self.settings, self.of_datasets.get(dataset, {}))


_IMAGENET_CAS = {"net": "resnet50", "epochs": 90, "batch": 256, "decay_at": (1 / 3, 2 / 3)}  # [ours: He et al.'s steps]

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "suite": Protocol("the suite's own, the same for all methods"),
        "infoscc": Protocol(
            "InfoSCC-GAN's code [C]: as many generated images as the training folder has, against all of it; one split "
            "of IS; uniform classes, attributes by fair coins; Chamfer distance of 6,400 images by t-SNE",
            {
                "extractors": ("inception", "torchvision:inception_v3"),
                "reference": "train",
                "n_fake": None,  # 14,630 of AFHQ; 202,599 of CelebA, with data.split=all
                "conditions": "uniform",
                "splits": 1,
                "chamfer_points": 6400,  # 200 batches of 32; of CelebA 200 of 64
                "tsne_seeds": 1,
                "recall_images": 6400,  # the same
            },
            (
                "FID there: images not rounded to 8 bits, enlarged by torch's bilinear filter, their number rounded up "
                "to a multiple of 64; here uint8, TensorFlow's filter, exactly as many as the reference has",
                "IS there: 100,000 images of torchvision's Inception, resized to 299 px; here the column "
                "CS-torchvision-inception_v3, of the images that FID has, because a generator is sampled once, "
                "resized to 342 px and cut to 299 as torchvision publishes its weights; IS grows with the number of "
                "images, so a value of 14,630 is a little low",
                "control there is scored by the classifier of training: the columns (own). Of one label: 200 batches "
                "of each class; here the images that FID has. Of attributes: one batch of labels, used 200 times; "
                "here fresh labels for every image",
                "Chamfer distance and recall of CelebA there: 12,800 images; here 6,400 unless eval.chamfer_points "
                "and eval.recall_images say otherwise",
                "t-SNE there is not seeded",
            ),
        ),
        "icgan": Protocol(
            "IC-GAN on ImageNet, as its code's instructions for the reported numbers have it [C]: FID and IS by "
            "TensorFlow's Inception, 50,000 generated images against the validation set, ten splits of IS, uniform "
            "classes; precision, recall, density, coverage of 10,000 images, k = 5; LPIPS (AlexNet) [P]",
            {
                **_ICGAN_REPORTED,
                "extra": ("lpips",),
                "extras": {"lpips_conditions": 500, "lpips_images": 10},
            },
            (_PORT, _LPIPS, _STOP),
        ),
        "icgan_coco": Protocol(
            "IC-GAN on COCO-Stuff [C]: FID by TensorFlow's Inception against the training set, the evaluation set and "
            "the parts of that with seen and with unseen combinations of categories; as many generated images as each "
            "has, conditioned on its own images; both sides kept as JPEG of quality 75, the default of their code",
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
                **_ICGAN_REPORTED,
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
            "ten splits of IS; clusters by their frequency, classes uniformly; classes seen and their reverse KL by a "
            "classifier; FSD of 10,000 images",
            {
                "extractors": ("inception",),
                "reference": "train",
                "n_fake": 50_000,
                "conditions": "uniform",
                "splits": 10,
                "extra": ("fsd",),
                "extras": {"fsd_images": 10_000},
            },
            (
                "its network is TensorFlow's; here the port of it to torch. Its generated images are not rounded to 8 "
                "bits; here they are",
                "ImageNet and Places365: the reference there is 50,000 training images at random; here all of them",
                "reverse KL there is to base 10 for images, 0.434 of ours in nats; the classifiers there were "
                "fed with values of another range than in their training; here the suite's own",
                "FSD there is by UPerNet's unified parsing (336 object classes, 256 px); its weights are not at hand, "
                "here the network is a file of yours (eval.extras.segmenter)",
            ),
        ),
        "latentcond": Protocol(
            "Latent Space Conditioning on GANs [P]: FID and IS; accuracy of the class of the image that G is "
            "conditioned on",
            {"extractors": ("inception",), "reference": "train", "n_fake": 50_000, "conditions": "empirical"},
            (
                "the number of images, their split and the classifier are not given [P]; here 50,000 generated images "
                "against the training split, accuracy by the evaluation classifier for features of held-out images",
                "the IS on MNIST there is at most 10, so it is a score by a classifier of the digits: the column "
                "CS-judge, where a suite asks for it",
            ),
        ),
        "ltgan": Protocol(
            "LT-GAN [P]: FID of as many generated images as the held-out split has, against that split",
            {
                "extractors": ("inception",),
                "reference": "test",
                "n_fake": None,
                "extras": {
                    "boundary_latents": 500_000,
                    "boundary_share": 0.02,
                    "correlation_images": 500_000,
                    "ppl_pairs": 100_000,
                    "steer_trajectories": 50,
                    "steer_iterations": 50,
                    "cas": {"images": "training", "depth": 56, "epochs": 200, "n_seeds": 1},
                },
            },
            (
                "the paper gives the best of three runs: a suite's table has it alongside the mean over seeds",
                "the number of images behind its IS is not given; here that of its FID",
                "sampling of its path lengths is not given; here StyleGAN's: 100,000 pairs over whole paths, no crop",
                "attributes there are scored by a published ResNet-50 for faces; here by the evaluation classifier",
                "training of its CAS classifiers is not given; here He et al.'s steps, without random crops of scale",
            ),
            {f"imagenet{side}": {"extras": {"cas": _IMAGENET_CAS}} for side in (64, 128, 256)},
            best_of_runs=True,
        ),
        "r3gan": Protocol(
            "R3GAN's code [C]: 50,000 generated images against the whole training split, Inception of FID, ten splits "
            "of IS",
            {"extractors": ("inception",), "reference": "train", "n_fake": 50_000, "splits": 10},
            (
                "classes there are drawn by their frequency in the training split; here those of the held-out split",
                "modes and reverse KL there come from a classifier of MNIST on a number of images not known to us; "
                "here from the suite's classifier",
            ),
        ),
    }
)


def differences(protocol: str, split_note: str = "") -> list[str]:
    """What stays unlike the paper's evaluation, in words; nothing for the suite's own.

    split_note: what is unusual of the data's split (`Dataset.split_note`).
    """
    known = PROTOCOLS[protocol].differences
    return [*known, split_note] if known and split_note else list(known)


def labelled(name: str, protocol: str) -> str:
    """The name of a column, marked where its numbers follow another protocol than the suite's."""
    return name if protocol == "suite" else f"{name} [{protocol} protocol]"
