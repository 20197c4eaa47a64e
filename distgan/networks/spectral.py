"""Spectral normalisation: Miyato et al., "Spectral Normalization for Generative Adversarial
Networks" (ICLR 2018).

torch's own iterates in every forward of a training module, so that its result depends on
how often a batch was divided. Here only `SpectralNorm.advance` iterates, and whoever trains
calls it once an update.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

_ITERATIONS_AT_START = 15


class SpectralNorm(nn.Module):
    """Divides a weight W by an estimate of its largest singular value, sigma = u^T W v.

    ``u``, float (rows,), and ``v``, float (columns,), follow W by power iteration and count
    as constants in gradients.

    Args:
        weight: the weight at the start.
        dim: the dimension of W that is the matrix's rows.
    """

    def __init__(self, weight: Tensor, dim: int = 0) -> None:
        super().__init__()
        self._dim = dim
        matrix = self._matrix(weight.detach())
        self.register_buffer("u", normalize(torch.randn(matrix.shape[0]).to(matrix), dim=0))
        self.register_buffer("v", normalize(torch.randn(matrix.shape[1]).to(matrix), dim=0))
        self.u: Tensor
        self.v: Tensor
        for _ in range(_ITERATIONS_AT_START):
            self.iterate(weight)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.transpose(0, self._dim).flatten(1)

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        """One power iteration (Miyato et al., algorithm 1)."""
        matrix = self._matrix(weight)
        self.v.copy_(normalize(matrix.t() @ self.u, dim=0))
        self.u.copy_(normalize(matrix @ self.v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """W / sigma, of W's shape."""
        # Copies: the vectors move on while a backward may still need these.
        u, v = self.u.clone(), self.v.clone()
        return weight / torch.vdot(u, torch.mv(self._matrix(weight), v))


def spectral_norm(module: nn.Module) -> nn.Module:
    """Normalise the weight of a linear, convolutional or embedding layer, in place."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    parametrize.register_parametrization(module, "weight", SpectralNorm(weight, dim))
    return module


class SpectralNorms:
    """Every normalised weight inside a network."""

    def __init__(self, network: nn.Module) -> None:
        lists = [m for m in network.modules() if isinstance(m, parametrize.ParametrizationList)]
        self._found = [(n, found) for found in lists for n in found if isinstance(n, SpectralNorm)]

    def advance(self) -> None:
        """One power iteration of each."""
        for norm, weights in self._found:
            norm.iterate(weights.original)
