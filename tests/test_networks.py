"""Every network of the registry, and the published sizes."""

from __future__ import annotations

import itertools

import pytest
import torch

from distgan.errors import UserError
from distgan.networks import DISCRIMINATORS, GENERATORS, ImageShape
from distgan.networks.base import halvings
from distgan.recipes import RECIPES

SHAPES = [ImageShape(1, 28, 28), ImageShape(3, 32, 48), ImageShape(2, 16, 16)]


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", GENERATORS)
def test_generator_makes_images_in_range_and_learns(
    name: str, shape: ImageShape, classes: int
) -> None:
    network = GENERATORS[name]().build(shape, 12, classes)
    labels = torch.arange(5) % classes if classes else None
    images = network(torch.randn(5, 12), labels)
    assert images.shape == (5, *shape)
    assert images.abs().max() <= 1
    images.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminator_gives_a_logit_each_and_learns(
    name: str, shape: ImageShape, classes: int
) -> None:
    network = DISCRIMINATORS[name]().build(shape, classes)
    labels = torch.arange(5) % classes if classes else None
    logits = network(torch.rand(5, *shape) * 2 - 1, labels)
    assert logits.shape == (5,)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", GENERATORS)
def test_the_label_changes_the_image(name: str) -> None:
    network = GENERATORS[name]().build(ImageShape(1, 28, 28), 12, 4).eval()
    z = torch.randn(1, 12)
    one, other = network(z, torch.tensor([0])), network(z, torch.tensor([1]))
    assert not torch.allclose(one, other)


def test_mlp_has_the_tutorials_layers() -> None:
    generator = GENERATORS["mlp"]().build(ImageShape(1, 28, 28), 100, 0)
    discriminator = DISCRIMINATORS["mlp"]().build(ImageShape(1, 28, 28), 0)
    sizes = [100, 128, 256, 512, 1024, 784]
    assert parameters(generator) == sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    sizes = [784, 512, 256, 128, 1]
    assert parameters(discriminator) == sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    shapes = [tuple(p.shape) for p in generator.parameters() if p.dim() == 2]
    assert shapes == [(128, 100), (256, 128), (512, 256), (1024, 512), (784, 1024)]


def test_dcgan_64_has_the_size_of_the_published_pytorch_example() -> None:
    # pytorch/examples dcgan at 64x64x3, ngf = ndf = 64, nz = 100: 3,576,704 and 2,765,568
    # parameters; ours adds a bias where no BatchNorm follows: 3 in G, 64 and 1 in D.
    shape = ImageShape(3, 64, 64)
    assert parameters(GENERATORS["dcgan"]().build(shape, 100, 0)) == 3_576_704 + 3
    assert parameters(DISCRIMINATORS["dcgan"]().build(shape, 0)) == 2_765_568 + 64 + 1


def test_initial_signal_survives_the_depth_of_the_mlp() -> None:
    torch.manual_seed(0)
    images = GENERATORS["mlp"]().build(ImageShape(1, 28, 28), 100, 0)(torch.randn(256, 100))
    assert images.std(dim=0).mean() > 0.2


def test_dcgan_refuses_odd_sizes_by_name() -> None:
    with pytest.raises(UserError, match=r"dcgan.*27x28"):
        halvings(ImageShape(1, 27, 28), "dcgan")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_themselves_and_say_what_they_are(name: str) -> None:
    assert RECIPES[name]().recipe == name
    assert RECIPES[name].__doc__
