"""Self-attention over a feature map: Zhang et al., "Self-Attention Generative Adversarial
Networks" (2019), in the cheaper form of their code and of BigGAN's: keys and values are
pooled 2x2, values have half the channels, queries and keys an eighth."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distgan.networks.spectral import spectral_norm


class SelfAttention(nn.Module):
    """x + gamma * attention(x); gamma starts at 0, so that the map starts unchanged."""

    def __init__(self, channels: int, normalise: bool) -> None:
        """``normalise``: spectral normalisation of its four 1x1 convolutions."""
        super().__init__()
        inner, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))
        if normalise:
            for convolution in (self.query, self.key, self.value, self.output):
                spectral_norm(convolution)

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, channels, h, w), sides of at least 2 -> the same shape."""
        query = self.query(maps).flatten(2)
        key = _pooled(self.key(maps)).flatten(2)
        value = _pooled(self.value(maps)).flatten(2)
        # (n, h * w, pooled): attention weights of each pixel. torch's fused attention is not used
        # because it has no second derivative, which gradient penalties need.
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        found = (value @ weights.transpose(1, 2)).view(len(maps), -1, *maps.shape[2:])
        result: Tensor = maps + self.gamma * self.output(found)
        return result


def _pooled(maps: Tensor) -> Tensor:
    """float (n, c, h, w) -> float (n, c, h // 2, w // 2): the largest of each 2x2."""
    if not torch.are_deterministic_algorithms_enabled():
        return functional.max_pool2d(maps, 2)
    # The gradient of pooling may be added up in any order on a GPU; that of a maximum is one value.
    height, width = maps.shape[2] // 2 * 2, maps.shape[3] // 2 * 2
    squares = maps[:, :, :height, :width].reshape(*maps.shape[:2], height // 2, 2, width // 2, 2)
    largest: Tensor = squares.transpose(3, 4).flatten(4).max(4).values
    return largest
