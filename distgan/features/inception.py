"""The Inception network of 2015 that the FID is defined on (Heusel et al. 2017), by
torch-fidelity.

Network and resizing reproduce TensorFlow's up to rounding, so that values may be compared with
published ones. The weights, 91 MB, are downloaded once, or read from the file that
``DISTGAN_INCEPTION`` names.
"""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path

import torch
from torch import Tensor, nn

from distgan.errors import UserError, one_line
from distgan.features.base import Extractor
from distgan.features.weights_file import read_weights
from distgan.storage.in_use import in_use
from distgan.storage.scratch import Scratch, cache_folder

SIZE = 2_048
VARIABLE = "DISTGAN_INCEPTION"
"""Environment variable that names a local file of the weights."""
_FILE = "weights-inception-2015-12-05-6726825d.pth"
_HASH = "6726825d"
"""First digits of the SHA-256 of the published file."""
_CLASSES = 1_008


class _Network(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # The Inception score omits the last layer's biases, as in its original code.
        features, logits = self.network(images)
        return features, logits


class _Prepare(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def inception() -> Extractor:
    """Inception of 2015, from the extra ``inception``.

    Raises:
        UserError: when the weights can neither be found nor downloaded, or have another hash.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import (
        URL_INCEPTION_V3,
        FeatureExtractorInceptionV3,
    )

    path = _weights(URL_INCEPTION_V3)
    remedy = f"delete it to download them anew, or name another file by {VARIABLE}"
    weights = read_weights(path, "Inception", remedy)
    try:
        with Scratch("distgan-weights-") as folder:
            # torch-fidelity unpickles its file, which could run code: it is given a copy of
            # weights that were read with ``weights_only=True``.
            safe = Path(folder) / "weights.pth"
            torch.save(weights, safe)
            network = FeatureExtractorInceptionV3(
                "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(safe)
            )
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = one_line(error, 120)
        raise UserError(f"{path}: holds no weights of Inception ({reason}); {remedy}") from None
    return Extractor(
        _Network(network),
        "Inception 2015",
        SIZE,
        preprocessing="bilinear as TensorFlow 1's to 299x299; (x - 128) / 128",
        prepare=_Prepare(),
        classes=tuple(map(str, range(_CLASSES))),
    )


def _weights(url: str) -> Path:
    given = os.environ.get(VARIABLE)
    if given:
        if not Path(given).is_file():
            raise UserError(f"{VARIABLE} {given}: no such file; give one named {_FILE}")
        return Path(given)
    path = cache_folder() / "features" / _FILE
    if not path.exists():
        try:
            with in_use(path.parent):
                torch.hub.download_url_to_file(url, str(path), hash_prefix=_HASH)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise UserError(
                f"{url}: cannot be downloaded ({error}); fetch it by hand and name it by {VARIABLE}"
            ) from None
    return path
