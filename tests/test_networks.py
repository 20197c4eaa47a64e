"""Every network of the registry, and the published sizes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from distgan.errors import UserError
from distgan.networks import DISCRIMINATORS, GENERATORS, ImageShape
from distgan.networks.base import halvings
from distgan.networks.kernels.linear import Linear
from distgan.networks.unfilled import unfilled
from distgan.recipes import recipe
from distgan.recipes.gan import RECIPES

from .kept_quick import slow_but
from .small import small_discriminator, small_generator

SHAPES = [ImageShape(1, 28, 28), ImageShape(3, 32, 48), ImageShape(2, 16, 16)]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conditionings(kinds: dict[str, Any]) -> list[tuple[str, str]]:
    """Every network with every use of the label that its settings know."""
    fields = {name: kind.__pydantic_fields__ for name, kind in kinds.items()}
    return [
        (name, value)
        for name in kinds
        for value in (
            get_args(fields[name]["conditioning"].annotation)
            if "conditioning" in fields[name]
            else [""]
        )
    ]


def options(name: str, conditioning: str, attention: bool) -> dict[str, Any]:
    known = {"conditioning": conditioning} if conditioning else {}
    return {**known, "attention": 8} if name == "sngan" and attention else known


def generator(name: str, shape: ImageShape, classes: int, conditioning: str) -> nn.Module:
    settings = small_generator(name, **options(name, conditioning, shape.height != 28))
    return fill(settings.build(shape, 12, classes))


def discriminator(name: str, shape: ImageShape, classes: int, conditioning: str) -> nn.Module:
    settings = small_discriminator(name, **options(name, conditioning, shape.height != 28))
    return fill(settings.build(shape, classes))


def fill(network: nn.Module) -> nn.Module:
    """Puts noise where a network starts from zeros: behind those, nothing has a gradient."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return network


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "conditioning"), conditionings(GENERATORS))
def test_generator_makes_images_in_range_and_learns(
    name: str, conditioning: str, shape: ImageShape, classes: int
) -> None:
    network = generator(name, shape, classes, conditioning)
    labels = torch.arange(5) % classes if classes else None
    images = network(torch.randn(5, 12), labels)
    assert images.shape == (5, *shape)
    if name != "r3gan":  # which squashes nothing while it trains
        assert images.abs().max() <= 1
    images.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert network.eval()(100 * torch.randn(5, 12), labels).abs().max() <= 1


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "conditioning"), conditionings(DISCRIMINATORS))
def test_discriminator_gives_a_logit_each_and_learns(
    name: str, conditioning: str, shape: ImageShape, classes: int
) -> None:
    network = discriminator(name, shape, classes, conditioning)
    labels = torch.arange(5) % classes if classes else None
    logits = network(torch.rand(5, *shape) * 2 - 1, labels)
    assert logits.shape == ((5, 1 + classes) if classes and conditioning == "auxiliary" else (5,))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(("name", "conditioning"), conditionings(GENERATORS))
def test_the_label_changes_the_image(name: str, conditioning: str) -> None:
    network = generator(name, ImageShape(1, 28, 28), 4, conditioning).eval()
    z = torch.randn(1, 12)
    one, other = network(z, torch.tensor([0])), network(z, torch.tensor([1]))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(("name", "conditioning"), conditionings(DISCRIMINATORS))
def test_the_label_changes_the_logit_unless_it_is_guessed(name: str, conditioning: str) -> None:
    network = discriminator(name, ImageShape(1, 28, 28), 4, conditioning).eval()
    image = torch.rand(1, 1, 28, 28)
    one, other = network(image, torch.tensor([0])), network(image, torch.tensor([1]))
    assert torch.equal(one, other) == (conditioning == "auxiliary")


def penalty_gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    labels = torch.arange(len(images)) % 4
    logits = network(images, labels)
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    # The last bias has no part in the slope, so the logits are there too.
    loss = slope.square().sum() + logits.square().sum()
    return list(torch.autograd.grad(loss, list(network.parameters())))


def _rectified_apart(layer: Linear, x: Tensor, relu: bool = False) -> Tensor:
    product = nn.functional.linear(x, layer.weight, layer.bias)
    return product.relu() if relu else product


@pytest.mark.parametrize(("name", "conditioning"), conditionings(DISCRIMINATORS))
def test_activations_in_place_do_not_change_a_gradient_penalty(
    name: str, conditioning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = discriminator(name, ImageShape(3, 32, 48), 4, conditioning).double()
    images = torch.rand(4, 3, 32, 48).double()
    found, activations = penalty_gradients(network, images), 0
    for part in network.modules():
        if isinstance(part, (nn.ReLU, nn.LeakyReLU)):
            activations += part.inplace
            part.inplace = False
        if isinstance(part, Linear):
            activations += 1
            monkeypatch.setattr(part, "forward", partial(_rectified_apart, part))
    assert activations > 0
    for mine, expected in zip(found, penalty_gradients(network, images), strict=True):
        torch.testing.assert_close(mine, expected)


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
    with pytest.raises(UserError, match=r"--discriminator\.network\.name dcgan"):
        DISCRIMINATORS["dcgan"]().build(ImageShape(1, 27, 28), 0)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_themselves_and_say_what_they_are(name: str) -> None:
    assert RECIPES[name]().recipe == name
    assert RECIPES[name].__doc__


def test_networks_of_shapes_alone_are_like_the_others() -> None:
    image = ImageShape(3, 32, 32)
    for name, labels in itertools.product(RECIPES, (0, 10)):
        for network, words in (
            (recipe(name).generator.network, (image, 16, labels)),
            (recipe(name).discriminator.network, (image, labels)),
        ):
            with unfilled():
                found = network.build(*words).state_dict()
            expected = network.build(*words).state_dict()
            assert all(tensor.is_meta for tensor in found.values())
            shapes = [{n: t.shape for n, t in state.items()} for state in (found, expected)]
            assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "name", slow_but(["mnist-mlp-conditional", "mnist-dcgan", "cifar10-r3gan"])
)
def test_hearing_whether_a_network_fits_imports_no_compiler(name: str) -> None:
    program = f"""
import sys
from distgan.networks import ImageShape
from distgan.networks.unfilled import unfilled
from distgan.recipes import recipe
with unfilled():
    recipe("{name}").generator.network.build(ImageShape(1, 32, 32), 16, 10)
    recipe("{name}").discriminator.network.build(ImageShape(1, 32, 32), 10)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
