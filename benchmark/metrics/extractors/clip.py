"""CLIP's image encoders as extractors, in the network of torch-fidelity (>= 0.4): FD-clip-b-32, CMMD, ..."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.core.errors import WeightsError
from benchmark.metrics.extractors.base import Extractor, three_channels
from benchmark.metrics.extractors.inception import tf1_resize
from benchmark.metrics.extractors.resizing import PIL_BICUBIC, centre_square, pil_bicubic
from benchmark.metrics.extractors.weights import Weights

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # for pixels in [0, 1]
OF_CMMD = "clip-l-14-336"  # the one with the input of CMMD's code; the others have torch-fidelity's


class CLIPExtractor(Extractor):
    """CLIP's image encoder (Radford et al., 2021): the projected embedding, not normalised. It has no logits.

    name: "clip-b-32", "clip-l-14" or "clip-l-14-336". Input: the side that the network was trained at, by TensorFlow
    1's bilinear resize as in torch-fidelity, whose features these are to the last bit; for "clip-l-14-336", which is
    CMMD's, the centred square by Pillow's bicubic on 8-bit images, as in CMMD's code. Weights are half precision in the
    file, arithmetic is float32.
    Raises WeightsError when the file is no TorchScript archive of CLIP.
    """

    memory_format = torch.contiguous_format

    def __init__(self, name: str, weights: Weights, *, device: torch.device | str = "cpu") -> None:
        self.name = name
        net = _clip_net(name, weights)
        self.side, self.dim = int(net.input_resolution), int(net.output_dim)
        self.identity = {
            "extractor": name,
            "input_px": self.side,
            "resize": PIL_BICUBIC if name == OF_CMMD else "TensorFlow 1 bilinear",
            "crop": "centred square" if name == OF_CMMD else "none",
            "mean": list(MEAN),
            "std": list(STD),
            "layer": f"projected class token ({self.dim})",
            "weights": weights.identity(),
        }
        super().__init__(net, device)

    def _forward(self, images: Tensor) -> tuple[Tensor, None]:
        from torchvision.transforms.functional import normalize  # a second that every other run would wait

        x = three_channels(images)
        x = pil_bicubic(centre_square(x), self.side) if self.name == OF_CMMD else tf1_resize(x, self.side)
        return self.net(normalize(x.contiguous(), [255 * m for m in MEAN], [255 * s for s in STD])), None


def _clip_net(name: str, weights: Weights) -> Any:
    """torch-fidelity's network with the tensors of OpenAI's archive; its text encoder is left out."""
    from torch_fidelity.feature_extractor_clip import build_model

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # of TorchScript, OpenAI's format
            archive: nn.Module = torch.jit.load(weights.path, map_location="cpu")
        return build_model(dict(archive.state_dict()), torch.float32).visual
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{name}: {weights.path} cannot be loaded", reason, "put the original file there") from None
