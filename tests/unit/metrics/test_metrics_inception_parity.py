"""From images to FID and IS through Inception, beside torch-fidelity and clean-fid.

The real weights cannot be shipped: the net gets seeded He-initialised values (the default initialisation collapses
pool3 to 1e-8), written to one file that all three libraries read. 16 images a set, about half a minute on one core.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from cleanfid.resize import build_resizer
from PIL import Image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from benchmark.metrics.catalogue import row_named
from benchmark.metrics.extractors.base import Extractor, Features, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.inception import (
    SIDE,
    clean_resize,
    fold_batch_norms,
    inception_net,
    on_threads,
    tf1_resize,
)
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.inception_score import inception_score

N = 16  # images a set


def he_state(seed: int) -> dict[str, Tensor]:
    """Values for Inception's tensors that keep the scale of the activations from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, like in inception_net().state_dict().items():
        if like.ndim >= 2:
            fan_in = like[0].numel()
            state[key] = torch.randn(like.shape, generator=generator) * (2 / fan_in) ** 0.5
        elif key.endswith("num_batches_tracked"):
            state[key] = torch.zeros(like.shape, dtype=like.dtype)
        else:
            state[key] = 0.8 + 0.4 * torch.rand(like.shape, generator=generator)
    for key in [key for key in state if key.endswith("bn.bias")]:
        # Every part of a batch norm counts, so that a wrong fold shows; but together they shift nothing, because
        # shifts, which all images share, would grow from layer to layer and hide the images.
        scale, mean, var = (state[key.replace("bias", part)] for part in ("weight", "running_mean", "running_var"))
        state[key] = scale * mean / (var + 1e-3).sqrt()
    fc = state["fc.weight"]  # rows of zero sum, enlarged: images differ in class, and the score is not 1
    state["fc.weight"] = 6 * (fc - fc.mean(1, keepdim=True))
    return state


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(he_state(seed=0), path)
    yield path
    path.unlink()  # 96 MB


def colour_fields(seed: int, noise: float | np.ndarray) -> np.ndarray:
    """uint8 (N, 32, 40, 3): smooth colour ramps with noise; not square, so that swapped sides would show."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:32j, 0:1:40j]
    corners = rng.uniform(0, 255, (4, N, 1, 1, 3))
    weights = [(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x]
    fields = sum(w[None, :, :, None] * c for w, c in zip(weights, corners))
    return (fields + noise * rng.normal(size=fields.shape)).clip(0, 255).astype(np.uint8)


REAL, FAKE = colour_fields(seed=1, noise=5), colour_fields(seed=2, noise=np.linspace(40, 100, N).reshape(N, 1, 1, 1))


class Images(torch.utils.data.Dataset[Tensor]):
    """What torch-fidelity reads: bare uint8 tensors [3, H, W]."""

    def __init__(self, stored: np.ndarray) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.stored[index]).permute(2, 0, 1).contiguous()


@pytest.fixture(scope="module")
def inception(weights_file: Path) -> Extractor:
    return build("inception", weights_dir=weights_file, allow_unverified=True)


@pytest.fixture(scope="module")
def ours(inception: Extractor) -> tuple[Features, Features]:
    return extract(inception, REAL), extract(inception, FAKE)


@pytest.fixture(scope="module")
def theirs(weights_file: Path) -> dict[str, float]:
    return torch_fidelity.calculate_metrics(
        input1=Images(FAKE),
        input2=Images(REAL),
        fid=True,
        isc=True,
        isc_splits=2,
        feature_extractor_weights_path=str(weights_file),
        cuda=False,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )


def test_fid_is_torch_fidelitys(ours: tuple[Features, Features], theirs: dict[str, float]) -> None:
    real, fake = ours
    assert theirs["frechet_inception_distance"] > 10  # of the 1e-6, some 2e-7 is the rounding of their eigenvalues
    own = frechet_distance(real.pooled, fake.pooled)
    assert own == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_inception_score_is_torch_fidelitys(ours: tuple[Features, Features], theirs: dict[str, float]) -> None:
    score = inception_score(ours[1].logits, splits=2)
    assert theirs["inception_score_mean"] > 1.1
    assert score.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert score.std == pytest.approx(theirs["inception_score_std"], abs=2e-6)


def test_identity_says_unverified_and_names_the_layer(inception: Extractor) -> None:
    assert (inception.identity["weights"]["verified"], inception.identity["input_px"]) == (False, 299)
    names = [row_named(id).name_of(inception.name) for id in ("fd_X", "score_X")]
    assert (*names, inception.dim) == ("FID", "IS", 2048)


def test_swapped_channels_are_another_set(inception: Extractor, ours: tuple[Features, Features]) -> None:
    swapped = extract(inception, REAL[:4, :, :, ::-1]).pooled
    assert (swapped - ours[0].pooled[:4]).abs().max() > 1e-2 * swapped.abs().max()


@pytest.fixture(scope="module")
def clean_fid_net(weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """clean-fid's own wrapper around torch-fidelity's graph, saved the way it expects NVIDIA's file."""
    from cleanfid.inception_torchscript import InceptionV3W

    graph = FeatureExtractorInceptionV3("oracle", ["2048"], feature_extractor_weights_path=str(weights_file))
    holder = nn.Module()
    holder.layers = nn.Sequential(*[block for name, block in graph.named_children() if name != "fc"]).eval()
    traced = torch.jit.trace_module(holder.layers, {"forward": torch.zeros(1, 3, 299, 299)})
    folder = tmp_path_factory.mktemp("clean")
    scripted = torch.jit.script(_WithLayers(traced))
    scripted.save(str(folder / "inception-2015-12-05.pt"))
    net = InceptionV3W(str(folder), download=False, resize_inside=False)
    (folder / "inception-2015-12-05.pt").unlink()
    return net.eval()


class _WithLayers(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_clean_features_are_clean_fids_from_a_folder_of_files(
    weights_file: Path, clean_fid_net: nn.Module, tmp_path: Path
) -> None:
    from cleanfid.fid import get_folder_features

    found, expected = {}, {}
    extractor = build("inception-clean", weights_dir=weights_file, allow_unverified=True)
    for name, stored in {"real": REAL, "fake": FAKE}.items():
        (tmp_path / name).mkdir()
        for i, image in enumerate(stored):
            Image.fromarray(image).save(tmp_path / name / f"{i:03d}.png")
        expected[name] = get_folder_features(
            str(tmp_path / name), clean_fid_net, num_workers=0, device=torch.device("cpu"), mode="clean", verbose=False
        )
        found[name] = extract(extractor, stored).pooled.numpy()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5 * expected[name].max())
    own, oracle = frechet_distance(found["real"], found["fake"]), frechet_distance(expected["real"], expected["fake"])
    assert own == pytest.approx(oracle, rel=1e-6)
    assert row_named("fd_X").name_of(extractor.name) == "FID-clean"


def test_the_two_resizers_differ(weights_file: Path, ours: tuple[Features, Features]) -> None:
    clean = build("inception-clean", weights_dir=weights_file, allow_unverified=True)
    features = extract(clean, FAKE[:4]).pooled
    assert (features - ours[1].pooled[:4]).abs().max() > 1e-3 * features.abs().max()


SIZES = [(32, 40), (1, 1), (299, 299), (64, 500), (7, 320)]  # up, down, one of each, and nothing to do


@pytest.mark.parametrize(("tall", "wide"), SIZES)
def test_tf1_resize_is_torch_fidelitys_to_the_last_bit(tall: int, wide: int) -> None:
    images = noise_images(tall, wide)
    expected = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(SIDE, SIDE), align_corners=False)
    assert torch.equal(tf1_resize(images), expected)


@pytest.mark.parametrize(("tall", "wide"), SIZES)
def test_clean_resize_is_clean_fids(tall: int, wide: int) -> None:
    images = noise_images(tall, wide)
    expected = pillow_resized(images)
    found = clean_resize(images)
    assert (found - expected).abs().max() <= 1e-3  # of 255: float32 sums of up to 500 products
    assert (found.min() >= 0) & (found.max() <= 255)


def test_the_tolerance_of_the_resizes_tells_neighbours_apart() -> None:
    images = noise_images(32, 40)
    tf1, clean = tf1_resize(images), clean_resize(images)
    half_pixel = nn.functional.interpolate(images.float(), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    other_cubic = nn.functional.interpolate(images.float(), size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    assert (tf1 - half_pixel).abs().max() > 10
    assert (clean - other_cubic.clamp(0, 255)).abs().max() > 1  # the kernel's a is -0.75 in torch, -0.5 in Pillow
    turned = tf1_resize(images.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(tf1, turned, rtol=0, atol=1e-3)  # but not to the last bit: the order of the axes counts
    assert not torch.equal(tf1, turned)


def noise_images(tall: int, wide: int) -> Tensor:
    """Noise of full range, so that the cubic kernel overshoots and clipping shows."""
    generator = torch.Generator().manual_seed(tall)
    return torch.randint(0, 256, (2, 3, tall, wide), dtype=torch.uint8, generator=generator)


def pillow_resized(images: Tensor) -> Tensor:
    resize = build_resizer("clean")
    return torch.stack([torch.from_numpy(resize(image.permute(1, 2, 0).numpy())).permute(2, 0, 1) for image in images])


def test_folding_keeps_the_features_and_removes_every_batch_norm() -> None:
    state = he_state(seed=3)
    plain, folded = (inception_net().eval() for _ in range(2))
    for net in (plain, folded):
        net.load_state_dict(state, assign=True)
        net.requires_grad_(False)
    fold_batch_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    expected = plain[:-1](x)
    assert (folded[:-1](x) - expected).abs().max() <= 1e-5 * expected.max()


@pytest.mark.parametrize("part", ["weight", "bias", "running_mean", "running_var"])
def test_folding_uses_every_part_of_a_batch_norm(part: str) -> None:
    torch.manual_seed(0)
    block, x = BasicConv2d(3, 4, kernel_size=3).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        getattr(block.bn, part).uniform_(0.5, 2)
        expected, without = block(x), block.conv(x).relu() / (1 + block.bn.eps) ** 0.5
        assert (expected - without).abs().max() > 1e-2  # what a fold that forgets this part would give
        torch.testing.assert_close(fold_batch_norms(block)(x), expected, rtol=1e-5, atol=1e-6)


def test_slices_keep_the_order_of_images(inception: Extractor, ours: tuple[Features, Features]) -> None:
    alone = extract(inception, REAL[9:10]).pooled  # the second image of the second slice
    assert (alone - ours[0].pooled[9:10]).abs().max() <= 1e-5 * alone.max()
    assert (alone - ours[0].pooled[8:9]).abs().max() > 1e-3 * alone.max()


def test_threads_change_no_bit_and_leave_their_number_as_it_was(
    inception: Extractor, ours: tuple[Features, Features]
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(extract(inception, REAL).pooled, ours[0].pooled)
        assert torch.get_num_threads() == 2
        assert on_threads(lambda part: torch.tensor(torch.get_num_threads()), [torch.zeros(1)] * 4) == [1] * 4
        with pytest.raises(ZeroDivisionError):
            on_threads(lambda part: part / (1 // 0), [torch.zeros(1)] * 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_parts_keep_their_order_on_threads() -> None:
    before = torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            parts = [torch.tensor([float(i)]) for i in range(7)]
            assert torch.cat(on_threads(lambda part: part * 2, parts)).tolist() == [0, 2, 4, 6, 8, 10, 12]
    finally:
        torch.set_num_threads(before)
