"""SNGAN, SAGAN and R3GAN against their published sizes and formulas."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from distgan.errors import UserError
from distgan.networks import DISCRIMINATORS, GENERATORS, ImageShape
from distgan.networks.attention import SelfAttention
from distgan.networks.r3gan import ResidualBlock, downsample, upsample
from distgan.networks.sngan import (
    DiscriminatorBlock,
    GeneratorBlock,
    SNGANGeneratorSettings,
    discriminator_plan,
    generator_channels,
)
from distgan.networks.spectral import spectral_norms


def square(side: int) -> ImageShape:
    return ImageShape(3, side, side)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def sizes(name: str, shape: ImageShape, latent: int, classes: int = 0) -> tuple[int, int]:
    return (
        count(GENERATORS[name]().build(shape, latent, classes)),
        count(DISCRIMINATORS[name]().build(shape, classes)),
    )


# ---- SNGAN: layers of kwotsin/mimicry, torch_mimicry/modules/resblocks.py, summed by hand.


def convolution(inputs: int, outputs: int, side: int) -> int:
    return inputs * outputs * side**2 + outputs


def gblock(inputs: int, outputs: int, classes: int = 0) -> int:
    norms = 2 * (inputs + outputs) * (classes or 1)
    convolutions = convolution(inputs, outputs, 3) + convolution(outputs, outputs, 3)
    return norms + convolutions + convolution(inputs, outputs, 1)


def dblock(inputs: int, outputs: int, halve: bool = True) -> int:
    shortcut = convolution(inputs, outputs, 1) if halve or inputs != outputs else 0
    return convolution(inputs, inputs, 3) + convolution(inputs, outputs, 3) + shortcut


def first_dblock(outputs: int) -> int:
    return (
        convolution(3, outputs, 3) + convolution(outputs, outputs, 3) + convolution(3, outputs, 1)
    )


def mimicry_generator(seed: int, channels: list[int], classes: int = 0) -> int:
    blocks = sum(gblock(*pair, classes) for pair in pairwise(channels))
    linear = (128 + 1) * seed**2 * channels[0]
    return linear + blocks + 2 * channels[-1] + convolution(channels[-1], 3, 3)


def mimicry_discriminator(plan: list[tuple[int, bool]]) -> int:
    widths = [width for width, _ in plan]
    blocks = sum(
        dblock(a, b, halve) for (a, b), (_, halve) in zip(pairwise(widths), plan[1:], strict=True)
    )
    return first_dblock(widths[0]) + blocks + widths[-1] + 1


# Channels and halvings of torch_mimicry/nets/sngan/sngan_{32,48,64,128}.py.
MIMICRY = {
    32: (4, [256] * 4, [(128, True), (128, True), (128, False), (128, False)]),
    48: (6, [512, 256, 128, 64], [(64 << n, n < 4) for n in range(5)]),
    64: (4, [1024, 512, 256, 128, 64], [(64 << n, True) for n in range(5)]),
    128: (
        4,
        [1024, 1024, 512, 256, 128, 64],
        [*((64 << n, True) for n in range(5)), (1024, False)],
    ),
}


@pytest.mark.parametrize("side", MIMICRY)
def test_sngan_has_the_layers_of_mimicry(side: int) -> None:
    seed, channels, plan = MIMICRY[side]
    assert generator_channels(square(side), 0) == channels
    assert discriminator_plan(square(side), 0) == plan
    expected = mimicry_generator(seed, channels), mimicry_discriminator(plan)
    assert sizes("sngan", square(side), 128) == expected


def test_conditional_sngan_32_has_the_size_of_mimicrys_cgan_pd() -> None:
    # torch_mimicry/nets/cgan_pd/cgan_pd_32.py: gains and biases by class in the blocks, a
    # plain last BatchNorm, and an embedding of 128 numbers a class in D.
    seed, channels, plan = MIMICRY[32]
    expected = mimicry_generator(seed, channels, 10), mimicry_discriminator(plan) + 10 * 128
    assert sizes("sngan", square(32), 128, 10) == expected


def test_sagan_32_has_the_size_of_mimicrys() -> None:
    # torch_mimicry/nets/sagan/sagan_32.py: attention on G's 16x16 and D's 8x8 map, of
    # 1/8 + 1/8 + 1/2 + 1/2 of width squared, and gamma; everything normalised.
    seed, channels, plan = MIMICRY[32]
    generator = GENERATORS["sngan"](attention=16, spectral_norm=True).build(square(32), 128, 10)
    assert count(generator) == mimicry_generator(seed, channels, 10) + 256**2 * 5 // 4 + 1
    # Linear, three convolutions in each of three blocks, four of attention, the last.
    assert len(spectral_norms(generator)) == 1 + 9 + 4 + 1
    discriminator = DISCRIMINATORS["sngan"](attention=8).build(square(32), 10)
    expected = mimicry_discriminator(plan) + 10 * 128 + 128**2 * 5 // 4 + 1
    assert count(discriminator) == expected
    # Shortcuts in two of four blocks; linear and embedding.
    assert len(spectral_norms(discriminator)) == 8 + 2 + 4 + 2


def test_blocks_of_sngan_are_those_of_mimicry_in_its_order() -> None:
    torch.manual_seed(0)
    maps = torch.randn(4, 3, 6, 10).double()
    block = GeneratorBlock(3, 5, 0, SNGANGeneratorSettings()).double()

    def double(x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    hidden = block.conv1(double(block.norm1(maps).relu()))
    expected = block.conv2(block.norm2(hidden).relu()) + block.shortcut(double(maps))
    torch.testing.assert_close(block(maps, None), expected)

    later = DiscriminatorBlock(3, 5, halve=True, first=False, normalise=True).double()
    hidden = later.conv2(later.conv1(maps.relu()).relu())
    expected = functional.avg_pool2d(hidden, 2) + functional.avg_pool2d(later.shortcut(maps), 2)
    torch.testing.assert_close(later(maps), expected)

    first = DiscriminatorBlock(3, 5, halve=True, first=True, normalise=True).double()
    hidden = first.conv2(first.conv1(maps).relu())
    expected = functional.avg_pool2d(hidden, 2) + first.shortcut(functional.avg_pool2d(maps, 2))
    torch.testing.assert_close(first(maps), expected)


def test_sngans_discriminator_takes_reals_and_fakes_together() -> None:
    network = DISCRIMINATORS["sngan"](width=8, attention=8).build(square(32), 3).double()
    images, labels = torch.rand(6, 3, 32, 32).double(), torch.arange(6) % 3
    parts = [network(images[:2], labels[:2]), network(images[2:], labels[2:])]
    torch.testing.assert_close(network(images, labels), torch.cat(parts))


def test_attention_is_its_formula() -> None:
    torch.manual_seed(1)
    layer, maps = SelfAttention(8, normalise=False).double(), torch.randn(2, 8, 4, 6).double()
    assert torch.equal(layer(maps), maps)  # gamma starts at 0
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    x = maps.numpy()

    def one(convolution: nn.Conv2d, values: np.ndarray) -> np.ndarray:
        weight = convolution.weight.detach().numpy()[:, :, 0, 0]
        return np.einsum("oc,nchw->nohw", weight, values)

    def pool(values: np.ndarray) -> np.ndarray:
        n, c, h, w = values.shape
        return values.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5)).reshape(n, c, -1)

    scores = np.einsum("nchw,nck->nhwk", one(layer.query, x), pool(one(layer.key, x)))
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    found = np.einsum("nhwk,nck->nchw", weights, pool(one(layer.value, x)))
    np.testing.assert_allclose(
        layer(maps).detach().numpy(), x + 0.7 * one(layer.output, found), rtol=1e-10
    )
    assert torch.autograd.gradgradcheck(layer, maps[:1, :, :2, :2].clone().requires_grad_())


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (GENERATORS["sngan"], {}, r"sngan.*30x27"),
        (DISCRIMINATORS["sngan"], {}, r"sngan.*30x27"),
        (GENERATORS["r3gan"], {}, r"r3gan.*30x27"),
        (GENERATORS["r3gan"], {"widths": (8, 8)}, r"generator.network.widths: 2 .* 2 div.*30x27"),
    ],
)
def test_sizes_that_do_not_halve_are_refused_by_name(
    kind: Any, changes: dict[str, Any], message: str
) -> None:
    shape = ImageShape(1, 30, 27)
    with pytest.raises(UserError, match=message):
        kind(**changes).build(shape, *((8, 0) if kind in GENERATORS.values() else (0,)))


def test_attention_nowhere_is_refused_with_the_sides_there_are() -> None:
    with pytest.raises(UserError, match=r"generator.network.attention 7: .* have 8, 16, 32"):
        GENERATORS["sngan"](attention=7).build(square(32), 8, 0)
    with pytest.raises(UserError, match=r"discriminator.network.attention 4: .* have 16, 8"):
        DISCRIMINATORS["sngan"](attention=4).build(square(32), 0)


# ---- R3GAN: layers of its R3GAN/Networks.py under the presets of its train.py, by hand.


def residual(width: int) -> int:
    inner = 2 * width  # 1x1 out, 3x3 in groups of 16 channels, 1x1 back; two biases
    return width * inner + inner * 16 * 9 + inner * width + 2 * inner


def test_r3gan_32_has_the_size_of_the_cifar_10_preset() -> None:
    # Four stages of 768 channels with two blocks each, z of 64, no 1x1 between equal widths.
    blocks = 8 * residual(768)
    generator = 768 * 4 * 4 + 64 * 768 + blocks + 768 * 3
    discriminator = 3 * 768 + blocks + 768 * 4 * 4 + 768
    assert (generator, discriminator) == (20_732_160, 20_683_776)
    assert sizes("r3gan", square(32), 64) == (generator, discriminator)


def test_conditional_r3gan_32_has_the_size_of_the_preset_with_labels() -> None:
    # Embeddings of 64 in G and of 768 in D, a number of each by class, without bias.
    generator = 20_732_160 + 64 * 768 + 10 * 64
    discriminator = 20_683_776 + 768 * (768 - 1) + 10 * 768
    assert sizes("r3gan", square(32), 64, 10) == (generator, discriminator)


def test_r3gan_256_has_the_size_of_the_ffhq_preset() -> None:
    widths = [768, 768, 768, 768, 384, 192, 96]
    trunk = sum(2 * residual(width) for width in widths)
    trunk += sum(a * b for a, b in pairwise(widths) if a != b)
    generator = 768 * 4 * 4 + 64 * 768 + trunk + 96 * 3
    discriminator = 3 * 96 + trunk + 768 * 4 * 4 + 768
    assert sizes("r3gan", square(256), 64) == (generator, discriminator)


def test_r3gans_groups_are_those_of_its_presets() -> None:
    network = GENERATORS["r3gan"]().build(square(64), 64, 0)
    groups = [part.mix.groups for part in network.modules() if isinstance(part, ResidualBlock)]
    assert groups == [96] * 8 + [48] * 2


def test_r3gan_starts_as_a_network_without_residual_branches() -> None:
    torch.manual_seed(0)
    network = GENERATORS["r3gan"](widths=(32, 32), blocks=(3, 1)).build(square(8), 16, 0)
    z = torch.randn(2, 16)
    seed = network.basis * network.weigh(z)[:, :, None, None]
    torch.testing.assert_close(network(z), network.last(upsample(seed)))
    block = next(part for part in network.modules() if isinstance(part, ResidualBlock))
    gain = (2 / 1.04) ** 0.5 * 4**-0.25  # four blocks
    assert block.expand.weight.std().item() == pytest.approx(gain / 32**0.5, rel=0.1)
    assert block.mix.weight.std().item() == pytest.approx(gain / (9 * 16) ** 0.5, rel=0.1)


def test_resampling_is_the_published_filter() -> None:
    maps = torch.randn(2, 3, 5, 7).double()
    side = torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8
    kernel = torch.outer(side, side)[None, None].expand(3, 1, 4, 4)
    wide = functional.conv_transpose2d(maps, 4 * kernel, stride=2, padding=1, groups=3)
    torch.testing.assert_close(upsample(maps), wide)
    small = functional.conv2d(wide, kernel, stride=2, padding=1, groups=3)
    torch.testing.assert_close(downsample(wide), small)


def test_bfloat16_stages_stay_near_float32_and_inside_the_network() -> None:
    torch.manual_seed(0)
    plain, low = (
        GENERATORS["r3gan"](widths=(32, 32, 16), bf16_from=size).build(square(16), 8, 0)
        for size in (0, 8)
    )
    low.load_state_dict(plain.state_dict())
    z = torch.randn(4, 8)
    assert low(z).dtype == torch.float32
    assert 0 < (low(z) - plain(z)).abs().max() < 0.05
    network = DISCRIMINATORS["r3gan"](widths=(16, 32, 32), bf16_from=4).build(square(16), 0)
    images = plain(z).detach().requires_grad_()
    logits = network(images)
    assert logits.dtype == torch.float32
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    slope.square().sum().backward()
    assert slope.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_r3gans_settings_must_fit_together() -> None:
    with pytest.raises(UserError, match=r"generator.network.blocks: has 3 numbers for 2 stages"):
        GENERATORS["r3gan"](widths=(8, 8), blocks=(1, 2, 3)).build(square(8), 8, 0)
    with pytest.raises(UserError, match=r"discriminator.network.cardinality 5: .* 16 channels"):
        DISCRIMINATORS["r3gan"](widths=(8, 8), cardinality=(5,)).build(square(8), 0)
