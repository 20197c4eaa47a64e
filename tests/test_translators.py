"""What networks of image translation promise beside what they compute."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from distgan.errors import UserError
from distgan.networks import PATCH_DISCRIMINATORS, TRANSLATORS, ImageShape
from distgan.networks.padding import reflected
from distgan.networks.random import SampleDropout, number_layers, sample_numbers
from distgan.networks.translation import gives_features
from distgan.networks.unet import unet_levels
from distgan.parallel import World
from distgan.parallel.batchnorm import convert_batch_norm

from .kept_quick import slow_but
from .ranks import on_ranks
from .translating import NORMS, judge, pixels, shaken, square, translator

# Generators.

SHAPES = [square(1, 28), ImageShape(3, 32, 48)]


def small(name: str, image: ImageShape, **changes: Any) -> nn.Module:
    """To images of another number of channels, or twice the size."""
    if name == "srresnet":
        output = ImageShape(image.channels, 2 * image.height, 2 * image.width)
    else:
        output = ImageShape(2, *image[1:])
    blocks = {} if name == "unet" else {"blocks": 2}
    return translator(name, image, output, width=4, **blocks, **changes)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TRANSLATORS)
def test_translator_makes_images_in_range_and_learns(
    name: str, shape: ImageShape, norm: str
) -> None:
    torch.manual_seed(0)
    network = small(name, shape, norm=norm)
    images = network(torch.rand(3, *shape) * 2 - 1)
    scale = 2 if name == "srresnet" else 1
    assert images.shape[2:] == (scale * shape.height, scale * shape.width)
    images.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    weights = [p for p in network.parameters() if p.dim() == 4]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)
    extreme = network.eval()(10 * torch.randn(1, *shape))
    assert extreme.abs().max() <= 1


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [(256, 256, 8), (512, 512, 8), (128, 128, 7), (32, 32, 5), (28, 28, 2), (64, 96, 5)],
)
def test_unet_has_as_many_levels_as_sides_allow(height: int, width: int, levels: int) -> None:
    assert unet_levels(ImageShape(3, height, width)) == levels


@pytest.mark.parametrize(("side", "drops"), [(256, 3), (128, 2), (64, 1), (32, 0)])
def test_unet_drops_where_published(side: int, drops: int) -> None:
    shape = square(1, side)
    network = translator("unet", shape, shape, width=1)
    up = network.get_submodule("up")
    found = [
        number
        for number, part in enumerate(up.children())
        if any(isinstance(layer, SampleDropout) for layer in part.modules())
    ]
    # From the innermost outwards, whose own has none.
    assert found == list(range(1, 1 + drops))


def with_dropout(name: str, convert: bool = False) -> nn.Module:
    torch.manual_seed(0)
    shape, changes = square(1, 64), {"width": 2, "norm": "batch"}
    if name == "resnet":
        changes |= {"dropout": 0.5, "blocks": 2}
    network = translator(name, shape, shape, **changes)
    assert number_layers(network) == (1 if name == "unet" else 2)
    return shaken(convert_batch_norm(network) if convert else network)


@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_dropout_belongs_to_the_sample(name: str) -> None:
    network = with_dropout(name)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()  # which would tie a sample to its neighbours by itself
    x, numbers = pixels(4, 1, 64, 64), torch.tensor([7, 8, 9, 7])
    x[3] = x[0]
    with sample_numbers(1, "g", numbers):
        whole = network(x)
    torch.testing.assert_close(whole[3], whole[0])
    for rows in (slice(1, 3), slice(2, 4)):
        with sample_numbers(1, "g", numbers[rows]):
            torch.testing.assert_close(network(x[rows]), whole[rows])
    with sample_numbers(1, "g", numbers + 1):
        assert not torch.allclose(network(x), whole)
    network.eval()
    assert torch.equal(network(x), network(x))


def _on_rank(world: World, name: str, x: Tensor, noise: Tensor) -> list[Tensor]:
    network = with_dropout(name, convert=True)
    part = world.share(len(x))
    rows = slice(part.start, part.stop)
    with sample_numbers(1, "g", torch.arange(rows.start, rows.stop)):
        images = network(x[rows])
    gradients = torch.autograd.grad((images * noise[rows]).sum(), list(network.parameters()))
    return [images.detach(), *map(world.sum, gradients)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_ranks_compute_what_one_process_does(name: str, tmp_path: Path) -> None:
    x, noise = pixels(3, 1, 64, 64), pixels(3, 1, 64, 64)
    found = on_ranks(2, _on_rank, tmp_path, name, x, noise)
    network = with_dropout(name)
    with sample_numbers(1, "g", torch.arange(3)):
        images = network(x)
    gradients = torch.autograd.grad((images * noise).sum(), list(network.parameters()))
    torch.testing.assert_close(
        torch.cat([rank[0] for rank in found]), images, rtol=1e-10, atol=1e-10
    )
    for mine, expected in zip(found[0][1:], gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def interior(antialias: bool, x: Tensor) -> Tensor:
    torch.manual_seed(0)
    shape = square(1, 96)
    changes = {"blocks": 1, "width": 8, "norm": "none"}
    network = shaken(translator("resnet", shape, shape, antialias=antialias, **changes))
    return network(x)[:, :, 40:-40, 40:-40].detach()


def test_antialiasing_ends_checkerboards() -> None:
    # A flat image comes out flat where no edge is near, unless a place computes otherwise than
    # its neighbours, which is what a checkerboard is.
    flat = torch.full((1, 1, 96, 96), 0.5, dtype=torch.float64)
    strided, filtered = interior(False, flat).std(), interior(True, flat).std()
    assert strided > 1e-3
    assert filtered < 1e-12 * strided
    # Of a smooth image almost nothing gets into waves of two pixels.
    places = torch.linspace(0, 3, 96, dtype=torch.float64)
    smooth = (torch.sin(places)[:, None] * torch.cos(places))[None, None]
    strided, filtered = (checkerboard(interior(kind, smooth)) for kind in (False, True))
    assert filtered < 1e-3 * strided


def checkerboard(images: Tensor) -> float:
    """Share of the energy in waves of two pixels, along either side."""
    # A window, as the edges of a crop do not continue each other.
    window = torch.hann_window(images.shape[3], periodic=False, dtype=images.dtype)
    windowed = (images - images.mean()) * window[:, None] * window
    energy = torch.fft.fft2(windowed).abs().square()[0, 0]
    middle = len(energy) // 2
    waves = energy[middle].sum() + energy[:, middle].sum() - energy[middle, middle]
    return float(waves / energy.sum())


@pytest.mark.parametrize("deterministic", [False, True])
def test_reflection_is_the_same_in_both_ways(deterministic: bool) -> None:
    x = pixels(2, 3, 5, 7).requires_grad_()
    expected = functional.pad(x, (3, 3, 3, 3), mode="reflect")
    torch.use_deterministic_algorithms(deterministic)
    try:
        found = reflected(x, 3)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(found, expected)
    noise = torch.randn_like(found)
    (mine,) = torch.autograd.grad((found * noise).sum(), x)
    (other,) = torch.autograd.grad((expected * noise).sum(), x)
    torch.testing.assert_close(mine, other)


# Layers of a generator that are looked at.


@pytest.mark.parametrize("antialias", [False, True])
def test_features_are_those_of_the_published_places(antialias: bool) -> None:
    torch.manual_seed(0)
    shape = ImageShape(3, 16, 24)
    for norm in ("instance", "none"):
        network = translator("resnet", shape, shape, width=4, norm=norm, antialias=antialias)
        x = torch.rand(2, *shape)
        layers = network.feature_layers
        found = network.with_features(x, layers)
        shapes = network.feature_shapes(layers)
        assert [(2, *each) for each in shapes] == [tuple(maps.shape) for maps in found]
        assert [each.channels for each in shapes] == [3, 8, 16, 16, 16]
        assert torch.equal(found[0], functional.pad(x, (3, 3, 3, 3), mode="reflect"))
        if antialias:
            # The published list of layers, in which CUT names these five.
            listed = [
                layer
                for part in network.encoder
                for layer in (part if isinstance(part, nn.Sequential) else [part])
            ]
            maps, wanted = x, []
            for number, layer in enumerate(listed):
                maps = layer(maps)
                if number in (0, 4, 8, 12, 16):
                    wanted.append(maps.clone())  # before the next can change it in place
            assert all(map(torch.equal, found, wanted))
        (last,) = network.with_features(x, [8])
        assert torch.equal(network.decoder(last), network(x))


def test_features_cost_no_more_than_what_leads_to_them() -> None:
    network = small("resnet", square(1, 28))
    ran: list[nn.Module] = []
    for part in (*network.encoder, network.decoder):
        part.register_forward_hook(lambda layer, *_: ran.append(layer))
    assert len(network.with_features(torch.rand(1, 1, 28, 28), [0, 2])) == 2
    assert ran == list(network.encoder[:3])
    assert network.feature_layers == (0, 1, 2, 3, 4)


def test_generators_say_whether_they_give_features() -> None:
    assert {n: gives_features(small(n, square(1, 28))) for n in TRANSLATORS} == {
        "unet": False,
        "resnet": True,
        "srresnet": False,
    }


# Refusals.

REFUSED: list[tuple[str, dict[str, Any], tuple[ImageShape, ...], str]] = [
    ("unet", {}, (square(3, 30),) * 2, r"network\.name unet: .*4 divides.*30x30.*another size"),
    ("unet", {"levels": 1}, (square(3, 32),) * 2, r"name unet: needs at least 2 levels"),
    ("unet", {"levels": 6}, (square(3, 32),) * 2, r"levels 6: .*64 divides.*32x32; at most 5"),
    ("unet", {}, (square(3, 32), square(3, 64)), r"unet: .*32x32, not 64x64; srresnet"),
    ("resnet", {}, (square(3, 30),) * 2, r"resnet: .*4 divides.*30x30.*another size"),
    ("resnet", {}, (ImageShape(3, 4, 8),) * 2, r"resnet: .*at least 8; .*4x8"),
    ("resnet", {}, (square(3, 32), square(3, 64)), r"resnet: .*32x32, not 64x64; srresnet"),
    ("srresnet", {}, (square(3, 8), square(3, 24)), r"srresnet: enlarges.*8x8 to 24x24; unet"),
    ("srresnet", {}, (square(3, 8),) * 2, r"srresnet: enlarges.*8x8 to 8x8"),
    ("srresnet", {}, (square(3, 8), ImageShape(3, 16, 32)), r"8x8 to 16x32"),
    ("srresnet", {}, (square(1, 8), square(3, 16)), r"srresnet: .*channels.*3, not 1"),
    ("srresnet", {}, (square(1, 1), square(1, 2)), r"srresnet: .*sides of at least 2.*1x1"),
    ("patchgan", {"layers": 4}, (square(3, 28),), r"layers 4: .*at least 48.*28x28; at most 3"),
    ("patchgan", {"layers": 1}, (ImageShape(3, 5, 28),), r"layers 1: .*6.*5x28; use.*pixelgan"),
    ("pixelgan", {}, (square(3, 1),), r"pixelgan: needs more than one pixel"),
]


@pytest.mark.parametrize(("name", "changes", "shapes", "message"), REFUSED)
def test_images_that_do_not_fit_are_refused(
    name: str, changes: dict[str, Any], shapes: tuple[ImageShape, ...], message: str
) -> None:
    player = "generator" if name in TRANSLATORS else "discriminator"
    kinds: dict[str, Any] = {**TRANSLATORS, **PATCH_DISCRIMINATORS}
    with pytest.raises(UserError, match=message) as refused:
        kinds[name](**changes).build(*shapes)
    assert str(refused.value).startswith(f"--{player}.network")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [*TRANSLATORS, *PATCH_DISCRIMINATORS])
def test_no_instance_norm_sees_a_single_pixel(name: str) -> None:
    # Which would be 0 whatever it is; torch refuses it while training.
    built = 0
    for side in (*range(1, 21), 24, 28, 32):
        shape = square(1, side)
        changes = {"norm": "instance", "width": 2}
        for layers in range(1, 4) if name == "patchgan" else [0]:
            try:
                if name in TRANSLATORS:
                    network = small(name, shape, norm="instance")
                else:
                    network = judge(
                        name, shape, **changes, **({"layers": layers} if layers else {})
                    )
            except UserError:
                continue
            built += 1
            network(torch.rand(1, *shape))
    assert built >= 5


def penalty_gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    logits = network(images)
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    loss = slope.square().sum() + logits.square().sum()
    return list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [*TRANSLATORS, *PATCH_DISCRIMINATORS])
def test_activations_in_place_change_no_gradient(name: str, norm: str) -> None:
    torch.manual_seed(0)
    shape = square(2, 28)
    network = (
        small(name, shape, norm=norm)
        if name in TRANSLATORS
        else judge(name, shape, norm=norm, width=4)
    )
    network, images = shaken(network), pixels(2, *shape)
    found = penalty_gradients(network, images)
    for part in network.modules():
        if isinstance(part, (nn.ReLU, nn.LeakyReLU)):
            part.inplace = False
    for mine, expected in zip(found, penalty_gradients(network, images), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-7, atol=1e-7)


# How networks start, and how they run.


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    shape = square(3, 32)
    for name, norm, start in itertools.product(("unet", "resnet"), NORMS[:2], ("normal", "xavier")):
        network = translator(name, shape, shape, norm=norm, init=start, width=32)
        for part in network.requires_grad_(False).modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                size = part.weight[0, 0].numel() * sum(part.weight.shape[:2])
                expected = 0.02 if start == "normal" else 0.02 * (2 / size) ** 0.5
                assert float(part.weight.std()) == pytest.approx(expected, rel=0.1)
                assert part.weight.mean().abs() < 0.1 * expected
                assert part.bias is None or not part.bias.any()
            elif isinstance(part, nn.BatchNorm2d):
                assert float((part.weight - 1).std()) == pytest.approx(0.02, rel=0.35)
                assert not part.bias.any()


@pytest.mark.parametrize("name", slow_but([*TRANSLATORS, *PATCH_DISCRIMINATORS], "patchgan"))
def test_networks_run_in_bfloat16_in_other_layouts_and_compiled(name: str) -> None:
    torch.manual_seed(0)
    shape = square(2, 28)
    network = small(name, shape) if name in TRANSLATORS else judge(name, shape, width=4)
    images = torch.rand(2, *shape) * 2 - 1
    plain = network(images)
    compiled = torch.compile(network, backend="eager", fullgraph=True)(images)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    network.to(memory_format=torch.channels_last)
    beside = network(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(beside, plain, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(images)
    assert (low - plain).abs().max() < 0.05 * plain.abs().max()
    low.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
