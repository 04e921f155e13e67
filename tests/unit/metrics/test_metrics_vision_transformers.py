"""DINOv2 and CLIP as extractors, with small networks of random weights: second implementations, files, and resizes.

The real weights cannot be shipped. DINOv2's network is `timm`'s; here a plain one repeats it from the papers. CLIP's
features are compared with torch-fidelity's own, of the same archive.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmark.core.errors import WeightsError
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors import clip, dinov2, published
from benchmark.metrics.extractors import weights as module
from benchmark.metrics.extractors.base import Extractor, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.resizing import centre_square, pil_bicubic
from benchmark.metrics.extractors.weights import find_weights

WIDTH, DEPTH, HEADS, GRID = 24, 2, 3, 37  # of the small DINOv2; the file's positions are for 518 px, as the real ones


def images(n: int = 3, height: int = 32, width: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def to_tensor(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(stored).permute(0, 3, 1, 2)


def trusted(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """Take the hash of this file for the published one."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = published.Source((path.name,), "https://nowhere.invalid", digest, "of a test")
    monkeypatch.setitem(module.PUBLISHED, name, source)


# ---- DINOv2 ---------------------------------------------------------------------------------------------------------


def dino_state(seed: int = 0) -> dict[str, Tensor]:
    """Tensors of the published files' names, small."""
    g = torch.Generator().manual_seed(seed)
    wide = 4 * WIDTH
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID**2, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        of_block = {
            "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH),
            "attn.qkv.bias": (3 * WIDTH,), "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
            "ls1.gamma": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,), "mlp.fc1.weight": (wide, WIDTH),
            "mlp.fc1.bias": (wide,), "mlp.fc2.weight": (WIDTH, wide), "mlp.fc2.bias": (WIDTH,), "ls2.gamma": (WIDTH,),
        }  # fmt: skip
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in of_block.items()}
    return {key: torch.randn(shape, generator=g) / max(1, math.prod(shape[1:])) ** 0.5 for key, shape in shapes.items()}


def plain_vit(state: dict[str, Tensor], x: Tensor, positions: Tensor) -> Tensor:
    """The class token after the last norm of images [N, 3, 224, 224]: a pre-norm transformer with layer scale."""

    def linear(name: str, rows: Tensor) -> Tensor:
        return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, rows: Tensor) -> Tensor:
        centred = rows - rows.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    patches = x.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # [N, P, 588]
    tokens = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    h = torch.cat([state["cls_token"].expand(len(x), -1, -1), tokens], dim=1) + positions
    n, t, d = h.shape
    for i in range(DEPTH):
        q, k, v = linear(f"blocks.{i}.attn.qkv", norm(f"blocks.{i}.norm1", h)).view(n, t, 3, HEADS, -1).unbind(2)
        weight = (torch.einsum("nthc,nshc->nhts", q, k) / (d // HEADS) ** 0.5).softmax(-1)
        mixed = torch.einsum("nhts,nshc->nthc", weight, v).reshape(n, t, d)
        h = h + state[f"blocks.{i}.ls1.gamma"] * linear(f"blocks.{i}.attn.proj", mixed)
        hidden = F.gelu(linear(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", h)))
        h = h + state[f"blocks.{i}.ls2.gamma"] * linear(f"blocks.{i}.mlp.fc2", hidden)
    return norm("norm", h)[:, 0]


@pytest.fixture
def dino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Extractor, dict[str, Tensor]]:
    """The extractor of a file of random weights, and its tensors."""
    pytest.importorskip("timm")
    monkeypatch.setitem(dinov2.ARCHITECTURES, "dinov2", {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS})
    path = tmp_path / "dinov2_vitl14_pretrain.pth"
    state = dino_state()
    torch.save(state, path)
    trusted(monkeypatch, "dinov2", path)
    return build("dinov2", weights_dir=tmp_path), state


def prepared(stored: np.ndarray) -> Tensor:
    """224 px by Pillow, ImageNet's mean and standard deviation."""
    resized = np.stack(
        [np.asarray(Image.fromarray(one).resize((224, 224), Image.Resampling.BICUBIC)) for one in stored]
    )
    x = to_tensor(resized).double() / 255
    return ((x - torch.tensor(dinov2.MEAN).view(3, 1, 1)) / torch.tensor(dinov2.STD).view(3, 1, 1)).float()


def cubic(t: float) -> float:
    """Keys' kernel with a = -0.75, as torch has it."""
    a, t = -0.75, abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def positions_by_hand(positions: Tensor, grid: int) -> Tensor:
    """Bicubic, not antialiased: output i reads input (i + 0.5) * 37 / (grid + 0.1) - 0.5, edges repeated."""
    side = math.isqrt(positions.shape[1] - 1)
    matrix = torch.zeros(grid, side, dtype=torch.float64)
    for i in range(grid):
        at = (i + 0.5) * side / (grid + 0.1) - 0.5
        for j in range(math.floor(at) - 1, math.floor(at) + 3):
            matrix[i, min(max(j, 0), side - 1)] += cubic(at - j)
    square = positions[0, 1:].double().view(side, side, -1)
    found = torch.einsum("ia,jb,abc->ijc", matrix, matrix, square).reshape(1, grid**2, -1)
    return torch.cat([positions[:, :1].double(), found], dim=1).float()


def test_dinov2_is_a_plain_vision_transformer(dino: tuple[Extractor, dict[str, Tensor]]) -> None:
    extractor, state = dino
    stored = images(4, 40, 52)
    found = extract(extractor, stored, batch=3)
    wanted = plain_vit(state, prepared(stored), positions_by_hand(state["pos_embed"], 16))
    assert found.logits is None
    assert found.pooled.shape == (4, WIDTH)
    torch.testing.assert_close(found.pooled, wanted, rtol=1e-4, atol=1e-4)
    assert (wanted[0] - wanted[1]).abs().max() > 0.05, "images taken for one another would show"


def test_timms_positions_would_be_others(dino: tuple[Extractor, dict[str, Tensor]]) -> None:
    from timm.layers import resample_abs_pos_embed

    _, state = dino
    ours = dinov2.interpolated(state["pos_embed"], 16)
    torch.testing.assert_close(ours, positions_by_hand(state["pos_embed"], 16), rtol=1e-4, atol=1e-5)
    theirs = resample_abs_pos_embed(state["pos_embed"], new_size=[16, 16])
    assert (ours - theirs).abs().max() > 0.1 * ours.abs().max()
    assert dinov2.interpolated(state["pos_embed"], GRID) is state["pos_embed"]


def test_the_architectures_are_those_of_the_published_files() -> None:
    timm = pytest.importorskip("timm")
    for name, model in (("dinov2", "vit_large_patch14_dinov2"), ("dinov2-b", "vit_base_patch14_dinov2")):
        with torch.device("meta"):
            net = timm.create_model(model, pretrained=False)
        one = dinov2.ARCHITECTURES[name]
        assert (net.embed_dim, len(net.blocks), net.blocks[0].attn.num_heads) == tuple(one.values())
        assert net.norm.eps == net.blocks[0].norm1.eps == 1e-6


def test_the_identity_of_dinov2_names_its_resize_and_weights(dino: tuple[Extractor, dict[str, Tensor]]) -> None:
    identity = dino[0].identity
    assert json.loads(json.dumps(identity)) == identity
    assert (identity["input_px"], identity["resize"]) == (224, "PIL bicubic, antialiased, uint8")
    assert identity["weights"]["verified"]
    assert identity["weights"]["file"] == "dinov2_vitl14_pretrain.pth"


def test_dinov2_takes_grey_as_three_equal_channels(dino: tuple[Extractor, dict[str, Tensor]]) -> None:
    grey = images(2, channels=1)
    assert torch.equal(extract(dino[0], grey).pooled, extract(dino[0], np.repeat(grey, 3, axis=3)).pooled)


@pytest.mark.parametrize("change", [{"blocks.0.ls1.gamma": None}, {"blocks.9.extra": torch.zeros(2)}])
def test_a_file_of_another_network_is_refused(
    change: dict[str, Tensor | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    monkeypatch.setitem(dinov2.ARCHITECTURES, "dinov2-b", {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS})
    state = {key: value for key, value in (dino_state() | change).items() if value is not None}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build("dinov2-b", weights_dir=tmp_path / "other.pth", allow_unverified=True)


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install 'gantlet\[dino\]'"):
        find_weights("dinov2", download=False)


# ---- CLIP -----------------------------------------------------------------------------------------------------------


class TinyCLIP(nn.Module):
    """What OpenAI's archives hold, small: an image encoder under `visual`, and a part of the text encoder."""

    def __init__(self, seed: int = 0) -> None:
        from torch_fidelity.feature_extractor_clip import VisionTransformer

        super().__init__()
        torch.manual_seed(seed)
        self.visual = VisionTransformer(input_resolution=48, patch_size=16, width=64, layers=2, heads=1, output_dim=20)
        self.text_projection = nn.Parameter(torch.randn(8, 20))
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, x: Tensor) -> Tensor:
        return self.visual(x) + 0 * (self.text_projection.sum() + self.logit_scale)


def clip_archive(folder: Path) -> Path:
    """A TorchScript archive."""
    path = folder / "ViT-B-32.pt"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of asserts on shapes
        torch.jit.save(torch.jit.trace(TinyCLIP().eval(), torch.randn(2, 3, 48, 48), check_trace=False), path)
    return path


@pytest.mark.parametrize("shape", [(32, 32), (20, 70), (48, 48)])
def test_clips_features_are_torch_fidelitys_to_the_last_bit(
    shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

    path, stored = clip_archive(tmp_path), images(3, *shape)
    trusted(monkeypatch, "clip-b-32", path)
    theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(path))
    with torch.no_grad():
        wanted = theirs(to_tensor(stored))[0]
    extractor = build("clip-b-32", weights_dir=tmp_path)
    found = extract(extractor, stored)
    assert torch.equal(found.pooled, wanted)
    assert (found.logits, extractor.dim, found.pooled.shape) == (None, 20, (3, 20))
    assert (wanted[0] - wanted[1]).abs().max() > 0.01 * wanted.abs().max()
    identity = extractor.identity
    assert json.loads(json.dumps(identity)) == identity
    assert (identity["input_px"], identity["resize"]) == (48, "TensorFlow 1 bilinear")


def test_cmmds_clip_has_pillows_resize_of_the_centred_square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, stored = clip_archive(tmp_path), images(2, 30, 50)
    trusted(monkeypatch, "clip-l-14-336", path)
    extractor = build("clip-l-14-336", weights_dir=path)
    square = stored[:, :, 10:40]
    resized = np.stack([np.asarray(Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC)) for one in square])
    x = to_tensor(resized).double() / 255
    x = (x - torch.tensor(clip.MEAN).view(3, 1, 1)) / torch.tensor(clip.STD).view(3, 1, 1)
    with torch.no_grad():
        wanted = extractor.net(x.float())
    torch.testing.assert_close(extract(extractor, stored).pooled, wanted, rtol=1e-4, atol=1e-5)
    assert (extractor.identity["resize"], extractor.identity["crop"]) == (
        "PIL bicubic, antialiased, uint8",
        "centred square",
    )


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "plain.pt")
    with pytest.raises(WeightsError, match="is not the expected file"):
        build("clip-b-32", weights_dir=tmp_path / "plain.pt")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build("clip-b-32", weights_dir=tmp_path / "plain.pt", allow_unverified=True)


def test_clips_addresses_and_hashes_are_torch_fidelitys() -> None:
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

    theirs = {"clip-b-32": "clip-vit-b-32", "clip-l-14": "clip-vit-l-14", "clip-l-14-336": "clip-vit-l-14-336px"}
    for name, their_name in theirs.items():
        source, digest = published.CLIP[name], MODEL_METADATA[their_name]["hash"]
        assert (source.url, source.digits) == (MODEL_URLS[their_name], digest)
        assert source.files == (f"{their_name}-{digest}.pt", f"{MODEL_METADATA[their_name]['filename']}.pt")


# ---- resizes --------------------------------------------------------------------------------------------------------


def test_pillows_resize_is_rounded_and_keeps_what_has_the_side() -> None:
    stored = to_tensor(images(2, 17, 23))
    found = pil_bicubic(stored, 40)
    assert found.shape == (2, 3, 40, 40)
    assert torch.equal(found, found.round())
    assert torch.equal(pil_bicubic(stored[:, :, :17, :17], 17), stored[:, :, :17, :17].float())
    by_pillow = Image.fromarray(stored[1].permute(1, 2, 0).numpy()).resize((40, 40), Image.Resampling.BICUBIC)
    assert np.array_equal(found[1].permute(1, 2, 0).numpy(), np.asarray(by_pillow))


def test_the_centred_square() -> None:
    stored = to_tensor(images(1, 7, 12))
    assert torch.equal(centre_square(stored), stored[:, :, :, 2:9])
    assert torch.equal(centre_square(stored.transpose(2, 3)), stored.transpose(2, 3)[:, :, 2:9])


def test_other_images_are_refused(dino: tuple[Extractor, dict[str, Tensor]]) -> None:
    with pytest.raises(MetricError, match="float32"):
        dino[0](torch.rand(2, 3, 8, 8))
