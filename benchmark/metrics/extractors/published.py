"""Published weights of vision transformers: where the file is, what it is called, and which hash it has.

CLIP's hashes are part of its addresses and are torch-fidelity's, too. DINOv2's publishers give none: these are what
several independent projects found for the files at these addresses (for example in `refiners`); no file of ours was
hashed against them.
"""

from __future__ import annotations

from dataclasses import dataclass

_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"
_CLIP = "https://openaipublic.azureedge.net/clip/models/{hash}/{name}.pt"


@dataclass(frozen=True)
class Source:
    """Where a weights file comes from."""

    files: tuple[str, ...]  # names under which it may lie in a folder; the first is the name of a download
    url: str
    digits: str  # first digits of its sha256
    licence: str


def _dinov2(name: str, sha256: str) -> Source:
    return Source((f"{name}_pretrain.pth",), _DINOV2.format(name), sha256, "Apache-2.0 (Meta, DINOv2)")


def _clip(name: str, fidelity_name: str, sha256: str) -> Source:
    """A TorchScript archive, under torch-fidelity's name of a download or OpenAI's."""
    url = _CLIP.format(hash=sha256, name=name)
    return Source((f"{fidelity_name}-{sha256}.pt", f"{name}.pt"), url, sha256, "MIT (OpenAI, CLIP)")


DINOV2 = {
    "dinov2": _dinov2("dinov2_vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
    "dinov2-b": _dinov2("dinov2_vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
}
CLIP = {
    "clip-b-32": _clip("ViT-B-32", "clip-vit-b-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "clip-l-14": _clip("ViT-L-14", "clip-vit-l-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    "clip-l-14-336": _clip(
        "ViT-L-14-336px", "clip-vit-l-14-336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    ),
}
PUBLISHED = DINOV2 | CLIP
TRAINED_HERE = ("judge", "simclr")  # without weights of someone else's
TORCHVISION = "torchvision:"
EXTRACTORS = ("inception", "inception-clean", "lite0", "lite2", *PUBLISHED, *TRAINED_HERE)  # the closed names;
# "torchvision:MODEL" is open
