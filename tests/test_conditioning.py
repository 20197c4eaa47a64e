"""Uses of the label against their formulas."""

from __future__ import annotations

import torch

from distgan.networks import DISCRIMINATORS, GENERATORS, ImageShape
from distgan.networks.base import ConditionalBatchNorm2d, Projection
from distgan.parallel.batchnorm import GlobalBatchNorm, convert_batch_norm

LABELS = torch.tensor([2, 0, 1, 2, 2])


def test_conditional_batch_norm_is_its_formula() -> None:
    torch.manual_seed(0)
    layer, maps = ConditionalBatchNorm2d(3, 4).double(), torch.randn(5, 3, 2, 6).double() * 2 + 1
    mean = maps.mean((0, 2, 3), keepdim=True)
    variance = (maps - mean).square().mean((0, 2, 3), keepdim=True)
    normal = (maps - mean) / (variance + layer.normalise.eps).sqrt()
    torch.testing.assert_close(layer(maps, LABELS), normal)  # gain 1 and bias 0 at the start
    with torch.no_grad():
        layer.gain.weight.normal_()
        layer.bias.weight.normal_()
    rows = [
        layer.gain.weight[label][:, None, None] * each + layer.bias.weight[label][:, None, None]
        for label, each in zip(LABELS.tolist(), normal, strict=True)
    ]
    torch.testing.assert_close(layer(maps, LABELS), torch.stack(rows))


def test_conditional_batch_norm_is_converted_for_several_processes() -> None:
    shape = ImageShape(3, 32, 32)
    network = GENERATORS["dcgan"](conditioning="batchnorm", width=4).build(shape, 8, 4)
    z = torch.randn(5, 8)
    network(z, LABELS)
    expected = network.eval()(z, LABELS)
    names = list(network.state_dict())
    converted = convert_batch_norm(network)
    found = [part for part in converted.modules() if isinstance(part, GlobalBatchNorm)]
    assert len(found) == 3
    assert not any(part.affine for part in found)
    assert list(converted.state_dict()) == names
    torch.testing.assert_close(converted(z, LABELS), expected)


def test_projection_is_its_formula() -> None:
    layer, features = Projection(6, 4), torch.randn(5, 2, 3)
    expected = torch.einsum("nf,nf->n", layer.embed.weight[LABELS], features.flatten(1))
    torch.testing.assert_close(layer(features, LABELS), expected)


def test_a_projection_discriminator_adds_it_to_an_unconditional_logit() -> None:
    shape, images = ImageShape(3, 16, 16), torch.rand(5, 3, 16, 16)
    for name, small in {"mlp": {}, "dcgan": {"width": 4}, "sngan": {"width": 8}}.items():
        network = DISCRIMINATORS[name](conditioning="projection", **small).build(shape, 4).eval()
        seen = {}
        network.projection.register_forward_hook(
            lambda _, inputs, output, seen=seen: seen.update(features=inputs[0], output=output)
        )
        logits = network(images, LABELS)
        plain = network.projection
        network.projection = None
        torch.testing.assert_close(logits, network(images) + plain(seen["features"], LABELS))
        assert seen["output"].abs().min() > 0


def test_r3gans_projection_is_the_product_of_its_vector_and_an_embedding() -> None:
    network = DISCRIMINATORS["r3gan"](widths=(8, 16)).build(ImageShape(3, 8, 8), 4)
    images, seen = torch.rand(5, 3, 8, 8), []
    network.weigh.register_forward_hook(lambda _, inputs, output: seen.append(output))
    logits = network(images, LABELS)
    assert seen[0].shape == (5, 16)
    torch.testing.assert_close(
        logits, torch.einsum("nf,nf->n", seen[0], network.embed.weight[LABELS])
    )


def test_without_classes_every_conditioning_is_the_same_network() -> None:
    shape = ImageShape(3, 16, 16)
    for name, kinds in {"dcgan": ("concat", "batchnorm"), "sngan": ("concat", "batchnorm")}.items():
        built = [GENERATORS[name](conditioning=kind, width=16).build(shape, 8, 0) for kind in kinds]
        assert len({tuple(each.state_dict()) for each in built}) == 1
    for kind in DISCRIMINATORS.values():
        wide = {"widths": (16, 8)} if kind.name == "r3gan" else {}
        built = [
            kind(conditioning=use, **wide).build(shape, 0)
            for use in ("concat", "projection", "auxiliary")
        ]
        assert len({tuple(each.state_dict()) for each in built}) == 1
