"""Encoders and decoders: shapes, heads, and counts of parameters by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.vae import (
    DECODERS,
    ENCODERS,
    DCGANDecoderSettings,
    DCGANEncoderSettings,
    MLPDecoderSettings,
    MLPEncoderSettings,
)

MNIST, CIFAR = ImageShape(1, 28, 28), ImageShape(3, 32, 32)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
@pytest.mark.parametrize("image", [MNIST, ImageShape(3, 32, 48)])
@pytest.mark.parametrize("classes", [0, 5])
def test_shapes(name: str, image: ImageShape, classes: int) -> None:
    encoder = ENCODERS[name]().build(image, 6, classes)
    labels = torch.tensor([0, 1, 4]) if classes else None
    x = torch.rand(3, *image) * 2 - 1
    posterior = encoder(x, labels)
    assert posterior.mean.shape == posterior.log_variance.shape == (3, 6)
    for head in ("logits", "image"):
        decoder = DECODERS[name]().build(image, 6, classes, head, scales=image.channels)
        decoded = decoder(posterior.mean, labels)
        assert decoded.images.shape == (3, *image)
        assert decoded.log_scale.shape == (image.channels, 1, 1)
        if head == "image":
            assert decoded.images.abs().max() <= 1
    if classes:
        with torch.no_grad():
            encoder.eval()
            assert not torch.equal(encoder(x, labels).mean, encoder(x, labels.flip(0)).mean)


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_the_head_is_all_that_differs(name: str) -> None:
    z = torch.randn(4, 6)
    decoders = [DECODERS[name]().build(MNIST, 6, 0, head).eval() for head in ("logits", "image")]
    decoders[1].load_state_dict(decoders[0].state_dict())
    with torch.no_grad():
        logits, images = (decoder(z).images for decoder in decoders)
    right = 2 * logits.sigmoid() - 1 if name == "mlp" else logits.tanh()
    torch.testing.assert_close(images, right)
    assert decoders[0](z).log_scale is None


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_log_variances_are_bounded(name: str) -> None:
    encoder = ENCODERS[name]().build(MNIST, 2, 0)
    nn.init.zeros_(encoder.layers[-1].weight)
    encoder.layers[-1].bias.data[:] = torch.tensor([-1e9, 1e9, -1e9, 1e9])
    posterior = encoder(torch.zeros(2, 1, 28, 28))
    assert posterior.log_variance[0].tolist() == [-30, 20]
    assert posterior.mean[0].tolist() == [-1e9, 1e9]
    scale = (posterior.log_variance / 2).exp()
    assert (scale > 0).all()
    assert scale.isfinite().all()


@pytest.mark.parametrize(
    ("name", "image", "latent", "encoder", "decoder"),
    [
        (
            "mlp",
            MNIST,
            20,
            (784 * 512 + 512) + (512 * 256 + 256) + (256 * 128 + 128) + (128 * 40 + 40),
            (20 * 128 + 128)
            + (128 * 256 + 256)
            + (256 * 512 + 512)
            + (512 * 1024 + 1024)
            + (1024 * 784 + 784),
        ),
        # Two strides lead to 7x7; a batch norm has a gain and a bias a channel.
        (
            "dcgan",
            MNIST,
            20,
            (64 * 16 + 64) + (64 * 128 * 16 + 2 * 128) + (128 * 40 * 49 + 40),
            (20 * 128 * 49 + 2 * 128) + (128 * 64 * 16 + 2 * 64) + (64 * 16 + 1),
        ),
        # Three lead to 4x4.
        (
            "dcgan",
            CIFAR,
            128,
            (3 * 64 * 16 + 64)
            + (64 * 128 * 16 + 2 * 128)
            + (128 * 256 * 16 + 2 * 256)
            + (256 * 256 * 16 + 256),
            (128 * 256 * 16 + 2 * 256)
            + (256 * 128 * 16 + 2 * 128)
            + (128 * 64 * 16 + 2 * 64)
            + (64 * 3 * 16 + 3),
        ),
    ],
)
def test_counts(name: str, image: ImageShape, latent: int, encoder: int, decoder: int) -> None:
    assert parameters(ENCODERS[name]().build(image, latent, 0)) == encoder
    assert parameters(DECODERS[name]().build(image, latent, 0)) == decoder
    assert parameters(DECODERS[name]().build(image, latent, 0, scales=1)) == decoder + 1


def test_counts_with_labels() -> None:
    def more(settings: object, *image: int) -> int:
        assert isinstance(settings, tuple(ENCODERS.values()) + tuple(DECODERS.values()))
        return parameters(settings.build(MNIST, 20, 10)) - parameters(settings.build(MNIST, 20, 0))

    # An embedding of 10 for each of 10 labels, and its weights in the first layer.
    assert more(MLPEncoderSettings()) == 10 * 10 + 10 * 512
    assert more(MLPDecoderSettings()) == 10 * 10 + 10 * 128
    # A plane for each label, and one more channel of the first convolution.
    assert more(DCGANEncoderSettings()) == 10 * 784 + 64 * 16
    assert more(DCGANDecoderSettings()) == 10 * 10 + 10 * 128 * 49


def test_the_network_of_burda_et_al() -> None:
    """784-200-200-50-200-200-784 with tanh: the one-layer model of their section 5."""
    encoder = MLPEncoderSettings(widths=(200, 200), activation="tanh").build(MNIST, 50, 0)
    decoder = MLPDecoderSettings(widths=(200, 200), activation="tanh").build(MNIST, 50, 0)
    assert parameters(encoder) + parameters(decoder) == 425_284
    kinds = [type(layer).__name__ for layer in decoder.layers]
    assert kinds == ["Linear", "Tanh", "Linear", "Tanh", "Linear"]
    x = torch.rand(3, 1, 28, 28) * 2 - 1
    hidden: Tensor = (x.flatten(1) + 1) / 2  # their pixels are in [0, 1]
    weights = list(encoder.layers.parameters())
    for weight, bias in zip(weights[:4:2], weights[1:4:2], strict=True):
        hidden = torch.tanh(hidden @ weight.T + bias)
    right = hidden @ weights[4].T + weights[5]
    torch.testing.assert_close(torch.cat(encoder(x), 1), right, rtol=1e-5, atol=1e-5)
    bound = math.sqrt(6 / (784 + 200))
    assert weights[0].abs().max() <= bound
    assert weights[0].abs().max() > 0.99 * bound


def test_images_too_odd_for_strides_are_refused() -> None:
    for settings in (DCGANEncoderSettings(), DCGANDecoderSettings()):
        with pytest.raises(UserError, match="27x27"):
            settings.build(ImageShape(1, 27, 27), 8, 0)
