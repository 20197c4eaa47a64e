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
        stages: names of submodules of ``network``, whose outputs (n, c, h, w) are its stages.
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
        stages: tuple[str, ...] = (),
    ) -> None:
        self._network = network.eval().requires_grad_(False)
        self._prepare, self._stages = prepare, stages
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

    @property
    def stages(self) -> int:
        """How many there are; 0 where `seen_by_stages` gives the features alone."""
        return len(self._stages)

    def seen_by_stages(self, images: Tensor) -> list[Tensor]:
        """What each stage gives for uint8 (n, c, h, w): float32 (n, c', h', w').

        Of an extractor without stages the features, float32 (n, d).
        """
        if not self._stages:
            return [self(images).features]
        found: dict[str, list[Tensor]] = {name: [] for name in self._stages}
        modules = dict(self._network.named_modules())
        with contextlib.ExitStack() as hooks:
            for name, kept in found.items():
                # A copy: what follows may work in place.
                handle = modules[name].register_forward_hook(
                    lambda module, given, maps, kept=kept: kept.append(maps.float().clone())
                )
                hooks.callback(handle.remove)
            self(images)
        return [torch.cat(maps) for maps in found.values()]


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
