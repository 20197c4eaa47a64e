"""Feature extractors: fixed networks that map images to the features that metrics compare."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

ARITHMETIC = "float32 without TF32"
"""The precision of every extractor, whatever training uses: TF32 keeps 10 bits of a product's
factors, so features on a GPU would differ from those on a CPU."""
_AT_ONCE = 250
"""Images in a forward. Bounds the memory of activations, and makes the features of a large call
those of several small ones."""


class Seen(NamedTuple):
    """An extractor's output for n images."""

    features: Tensor
    """float32 (n, d)."""
    probabilities: Tensor | None
    """float32 (n, classes), or None where the network does not classify."""


class Extractor:
    """A fixed network with its preprocessing.

    Args:
        network: takes float32 (n, c, h, w), prepared by ``prepare``, and returns features (n, d)
            or a pair of features and logits (n, classes).
        name: as a metric card shows it.
        size: d.
        preprocessing: description of ``prepare``, for the card.
        prepare: maps uint8 (n, c, h, w) to the input of ``network``.
        classes: names of the logits' classes, if there are any.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        size: int,
        *,
        preprocessing: str,
        prepare: nn.Module,
        classes: tuple[str, ...] = (),
    ) -> None:
        self._network = network.eval().requires_grad_(False)
        self._prepare = prepare
        self.name, self.size, self.classes = name, size, classes
        self.preprocessing = preprocessing
        self.hash = fingerprint(network.state_dict(), f"{name}; {preprocessing}")

    def to(self, device: torch.device) -> Extractor:
        """Move the network to a device, and return the extractor itself."""
        self._network.to(device)
        self._prepare.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Seen:
        """Features and probabilities of uint8 (n, c, h, w) on the extractor's device."""
        features, probabilities = [], []
        with without_tf32():
            for part in torch.split(images, _AT_ONCE):
                found = self._network(self._prepare(part))
                if isinstance(found, tuple):
                    found, logits = found
                    probabilities.append(logits.float().softmax(1))
                features.append(found.float())
        return Seen(torch.cat(features), torch.cat(probabilities) if probabilities else None)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """float32 as on a CPU, also on GPUs that would round the factors of products."""
    # torch allows TF32 in convolutions by default.
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def fingerprint(weights: Mapping[str, Tensor], description: str) -> str:
    """SHA-256 of weights, in the order of their names, and of a description: 16 hex digits."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
