"""Networks of image translation: published sizes, and each against a program written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from distgan.networks import TRANSLATORS, ImageShape
from distgan.networks.projector import ProjectorSettings, at_places
from distgan.networks.random import number_layers, sample_numbers
from distgan.networks.unfilled import unfilled

from .translating import NORMS, judge, pixels, shaken, square, translator

# Published sizes.

SIZES: list[tuple[str, str, dict[str, Any], ImageShape, int, int]] = [
    ("unet", "U-Net 256", {}, square(3, 256), 3, 54_413_955),
    ("unet", "U-Net 256, of one channel", {}, square(1, 256), 3, 54_411_907),
    ("unet", "U-Net 128", {}, square(3, 128), 3, 41_828_995),
    ("unet", "U-Net 32", {}, square(1, 32), 1, 16_652_929),
    ("resnet", "9 blocks", {}, square(3, 256), 3, 11_378_179),
    ("resnet", "9 blocks, antialiased", {"antialias": True}, square(3, 256), 3, 11_378_179),
    ("resnet", "6 blocks", {}, square(3, 128), 3, 7_837_699),
    ("resnet", "6 narrow blocks", {"width": 32}, square(1, 28), 1, 1_958_785),
    ("patchgan", "70 pixels of a pair", {}, square(6, 256), 0, 2_768_705),
    ("patchgan", "70 pixels", {"norm": "instance"}, square(3, 256), 0, 2_764_737),
    ("patchgan", "16 pixels", {"norm": "instance", "layers": 1}, square(3, 28), 0, 136_385),
    ("patchgan", "34 pixels", {"norm": "instance", "layers": 2}, square(3, 28), 0, 662_977),
    ("pixelgan", "of a pair", {}, square(6, 256), 0, 9_024),
]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "_", "changes", "image", "outputs", "count"), SIZES)
def test_networks_have_the_published_sizes(
    name: str, _: str, changes: dict[str, Any], image: ImageShape, outputs: int, count: int
) -> None:
    with unfilled():
        if outputs:
            found = translator(name, image, ImageShape(outputs, *image[1:]), **changes)
        else:
            found = judge(name, image, **changes)
    assert parameters(found) == count
    assert all(tensor.is_meta for tensor in found.state_dict().values())


def test_srresnet_and_the_projector_have_the_published_sizes() -> None:
    with unfilled():
        # BasicSR's MSRResNet for scale 4; every doubling has 64 * 9 * 256 + 256.
        assert parameters(translator("srresnet", square(3, 24), square(3, 96))) == 1_517_571
        assert parameters(translator("srresnet", square(3, 24), square(3, 48))) == 1_369_859
        assert parameters(ProjectorSettings().build((3, 128, 256, 256, 256))) == 560_384


@pytest.mark.parametrize(
    ("name", "channels", "giga"), [("resnet", 3, 49.6), ("patchgan", 3, 3.1), ("unet", 3, 6.0)]
)
def test_networks_take_the_published_work_without_memory(
    name: str, channels: int, giga: float
) -> None:
    # Multiplications and additions for an image of 256 pixels, on the device on which plans count.
    image, meta = square(channels, 256), torch.device("meta")
    with unfilled():
        network = translator(name, image, image) if name in TRANSLATORS else judge(name, image)
    number_layers(network)
    counter = FlopCounterMode(display=False)
    with counter, sample_numbers(0, "g", torch.arange(2, device=meta)):
        outputs = network(torch.zeros(2, *image, device=meta))
        assert counter.get_total_flops() / 2 / 2 / 1e9 == pytest.approx(giga, rel=0.03)
        outputs.sum().backward()
    assert all(p.grad is not None and p.grad.is_meta for p in network.parameters())


# Programs written out, in float64.


def normal(x: Tensor, norm: str, weights: Iterator[Tensor]) -> Tensor:
    if norm == "none":
        return x
    n, c, h, w = x.shape
    groups = max(number for number in (1, 2, 4, 8, 16, 32) if c % number == 0)
    parts, over = {
        "batch": (x.transpose(0, 1).reshape(1, c, 1, -1), (3,)),
        "instance": (x.reshape(n, c, 1, -1), (3,)),
        "group": (x.reshape(n, groups, c // groups, -1), (2, 3)),
    }[norm]
    mean = parts.mean(over, keepdim=True)
    variance = (parts - mean).square().mean(over, keepdim=True)
    parts = (parts - mean) / torch.sqrt(variance + 1e-5)
    batched = norm == "batch"
    x = parts.reshape(c, n, h, w).transpose(0, 1) if batched else parts.reshape(n, c, h, w)
    if norm == "instance":
        return x
    return x * next(weights)[:, None, None] + next(weights)[:, None, None]


def conv(
    x: Tensor, weights: Iterator[Tensor], stride: int, padding: int, bias: bool, up: bool = False
) -> Tensor:
    weight, offset = next(weights), next(weights) if bias else None
    if up:
        extra = 0 if weight.shape[-1] == 4 else 1
        return functional.conv_transpose2d(x, weight, offset, stride, padding, extra)
    return functional.conv2d(x, weight, offset, stride, padding)


def unet_program(x: Tensor, weights: Iterator[Tensor], norm: str, levels: int) -> Tensor:
    # The published network is nested; this is what it computes from the outside in and out again.
    biased = norm in ("instance", "none")
    found = [conv(x, weights, 2, 1, biased)]
    for _ in range(levels - 2):
        x = conv(functional.leaky_relu(found[-1], 0.2), weights, 2, 1, biased)
        found.append(normal(x, norm, weights))
    x = conv(functional.leaky_relu(found[-1], 0.2), weights, 2, 1, biased)
    x = normal(conv(functional.relu(x), weights, 2, 1, biased, up=True), norm, weights)
    for skip in found[:0:-1]:
        x = functional.relu(torch.cat([skip, x], 1))
        x = normal(conv(x, weights, 2, 1, biased, up=True), norm, weights)
    x = functional.relu(torch.cat([found[0], x], 1))
    return torch.tanh(conv(x, weights, 2, 1, True, up=True))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("side", "levels", "wanted", "width"), [(32, 5, 0, 4), (48, 3, 3, 24)])
def test_unet_is_the_program(norm: str, side: int, levels: int, wanted: int, width: int) -> None:
    torch.manual_seed(0)
    image, output = ImageShape(1, side, 2 * side), ImageShape(3, side, 2 * side)
    network = translator("unet", image, output, width=width, norm=norm, levels=wanted)
    check(shaken(network), pixels(2, *image), unet_program, norm, levels)


def check(network: nn.Module, x: Tensor, program: Any, norm: str, *options: Any) -> None:
    """The same output and the same gradients, with every weight used once by the program."""
    known = list(network.parameters())
    weights, x = iter(known), x.requires_grad_()
    expected = program(x, weights, norm, *options)
    assert next(weights, None) is None
    found = network(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    noise = torch.randn_like(found)
    # A bias that a norm subtracts again has no gradient but rounding errors.
    for mine, other in zip(
        torch.autograd.grad((found * noise).sum(), [x, *known]),
        torch.autograd.grad((expected * noise).sum(), [x, *known]),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


def resnet_program(
    x: Tensor, weights: Iterator[Tensor], norm: str, blocks: int, antialias: bool
) -> Tensor:
    biased = norm in ("instance", "none")

    def rectified(x: Tensor) -> Tensor:
        return functional.relu(normal(x, norm, weights))

    x = functional.pad(x, (3, 3, 3, 3), mode="reflect")
    x = rectified(conv(x, weights, 1, 0, biased))
    for _ in range(2):
        x = rectified(conv(x, weights, 1 if antialias else 2, 1, biased))
        x = blurred_down(x) if antialias else x
    for _ in range(blocks):
        y = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        y = functional.pad(rectified(conv(y, weights, 1, 0, biased)), (1, 1, 1, 1), mode="reflect")
        x = x + normal(conv(y, weights, 1, 0, biased), norm, weights)
    for _ in range(2):
        if antialias:
            x = rectified(conv(blurred_up(x), weights, 1, 1, biased))
        else:
            x = rectified(conv(x, weights, 2, 1, biased, up=True))
    x = functional.pad(x, (3, 3, 3, 3), mode="reflect")
    return torch.tanh(conv(x, weights, 1, 0, True))


def blurred_down(x: Tensor) -> Tensor:
    # Every second place of a map filtered by (1, 2, 1) / 4 along both sides.
    for side in (2, 3):
        x = x.transpose(side, 3)
        before = torch.cat([x[..., 1:2], x[..., :-1]], 3)
        after = torch.cat([x[..., 1:], x[..., -2:-1]], 3)
        x = ((before + 2 * x + after) / 4)[..., ::2].transpose(side, 3)
    return x


def blurred_up(x: Tensor) -> Tensor:
    # Zeros between the places, filtered by (1, 3, 3, 1) / 4 along both sides, edges repeated.
    side = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 4
    kernel = (side[:, None] * side).expand(x.shape[1], 1, 4, 4)
    x = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    x = functional.conv_transpose2d(x, kernel, stride=2, padding=2, groups=x.shape[1])
    return x[:, :, 1:-1, 1:-1]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_residual_generator_is_the_program(norm: str, antialias: bool) -> None:
    torch.manual_seed(0)
    image, output = ImageShape(1, 12, 16), ImageShape(3, 12, 16)
    options = {"norm": norm, "antialias": antialias, "blocks": 2, "width": 6}
    network = shaken(translator("resnet", image, output, **options))
    check(network, pixels(2, *image), resnet_program, norm, 2, antialias)


def srresnet_program(x: Tensor, weights: Iterator[Tensor], norm: str, scale: int) -> Tensor:
    h, w = scale * x.shape[2], scale * x.shape[3]
    large = triangle(h, scale) @ x @ triangle(w, scale).T
    x = functional.leaky_relu(conv(x, weights, 1, 1, True), 0.1)
    for _ in range(2):
        y = functional.relu(normal(conv(x, weights, 1, 1, True), norm, weights))
        x = x + normal(conv(y, weights, 1, 1, True), norm, weights)
    while x.shape[2] < h:
        x = conv(x, weights, 1, 1, True)
        n, c, height, width = x.shape
        # Four channels become the four pixels of a square.
        x = x.reshape(n, c // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
        x = functional.leaky_relu(x.reshape(n, c // 4, 2 * height, 2 * width), 0.1)
    x = functional.leaky_relu(conv(x, weights, 1, 1, True), 0.1)
    return large + conv(x, weights, 1, 1, True)


def triangle(size: int, scale: int) -> Tensor:
    """Bilinear enlargement as a matrix: weights fall linearly with the distance of centres."""
    places = (torch.arange(size, dtype=torch.float64) + 0.5) / scale - 0.5
    small = torch.arange(size // scale, dtype=torch.float64)
    places = places.clamp(0, size // scale - 1)
    return (1 - (places[:, None] - small).abs()).clamp(min=0)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("norm", NORMS)
def test_srresnet_is_the_program(norm: str, scale: int) -> None:
    torch.manual_seed(0)
    image, output = ImageShape(3, 6, 7), ImageShape(3, 6 * scale, 7 * scale)
    options = {"norm": norm, "blocks": 2, "width": 6}
    network = shaken(translator("srresnet", image, output, **options))
    check(network, pixels(2, *image), srresnet_program, norm, scale)


def test_srresnet_starts_as_bilinear_enlargement_and_ends_in_range() -> None:
    torch.manual_seed(0)
    network = translator("srresnet", square(3, 8), square(3, 32)).double()
    x = pixels(2, 3, 8, 8)
    start = triangle(32, 4) @ x @ triangle(32, 4).T
    torch.testing.assert_close(network(x), start, rtol=0, atol=1e-3)
    network = shaken(network)
    assert network(x).abs().max() > 1
    torch.testing.assert_close(network.eval()(x), network.train()(x).clamp(-1, 1))


def patchgan_program(x: Tensor, weights: Iterator[Tensor], norm: str, layers: int) -> Tensor:
    biased = norm in ("instance", "none")
    x = functional.leaky_relu(conv(x, weights, 2, 1, True), 0.2)
    for layer in range(layers):
        x = conv(x, weights, 2 if layer < layers - 1 else 1, 1, biased)
        x = functional.leaky_relu(normal(x, norm, weights), 0.2)
    return conv(x, weights, 1, 1, True)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_patchgan_is_the_program(norm: str, layers: int) -> None:
    torch.manual_seed(0)
    image = ImageShape(2, 33, 27)
    network = shaken(judge("patchgan", image, norm=norm, layers=layers, width=6))
    check(network, pixels(2, *image), patchgan_program, norm, layers)


def pixelgan_program(x: Tensor, weights: Iterator[Tensor], norm: str) -> Tensor:
    biased = norm in ("instance", "none")
    x = functional.leaky_relu(conv(x, weights, 1, 0, True), 0.2)
    x = functional.leaky_relu(normal(conv(x, weights, 1, 0, biased), norm, weights), 0.2)
    return conv(x, weights, 1, 0, biased)


@pytest.mark.parametrize("norm", NORMS)
def test_pixelgan_is_the_program(norm: str) -> None:
    torch.manual_seed(0)
    image = ImageShape(2, 5, 4)
    network = shaken(judge("pixelgan", image, norm=norm, width=6))
    check(network, pixels(2, *image), pixelgan_program, norm)


def test_projector_is_the_program_and_its_vectors_have_length_one() -> None:
    torch.manual_seed(0)
    network = shaken(ProjectorSettings(width=7).build((3, 5)))
    maps = [pixels(2, 3, 4, 6), pixels(2, 5, 2, 3)]
    places = [torch.tensor([[0, 23, 7], [5, 1, 2]]), torch.tensor([[5], [0]])]
    found = network(*map(at_places, maps, places))
    weights = list(network.parameters())
    for layer, (features, where) in enumerate(zip(maps, places, strict=True)):
        a, b, c, d = weights[4 * layer : 4 * layer + 4]
        for image, column in itertools.product(range(2), range(where.shape[1])):
            row, place = divmod(int(where[image, column]), features.shape[3])
            v = c @ torch.relu(a @ features[image, :, row, place] + b) + d
            v = v / (v.square().sum().sqrt() + 1e-7)
            torch.testing.assert_close(found[layer][image, column], v, rtol=1e-12, atol=1e-12)
        assert found[layer].norm(dim=2).sub(1).abs().max() < 1e-5


def test_a_vector_of_zero_has_a_gradient() -> None:
    network = ProjectorSettings(width=4).build((2,))
    nothing = torch.zeros(1, 1, 2, requires_grad=True)
    network(nothing)[0].sum().backward()
    assert torch.equal(nothing.grad, torch.zeros(1, 1, 2))
