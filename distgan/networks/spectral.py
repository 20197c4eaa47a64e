"""Spectral normalisation (Miyato et al., "Spectral Normalization for Generative Adversarial
Networks", 2018) with explicit power iterations.

torch's implementation iterates in every training forward, so weights depend on the number of
forwards: on micro-batches, on penalties, on whether reals and fakes share a forward. Here a
forward only divides; the training step calls `SpectralNorm.advance` once per update.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

START_ITERATIONS = 15
"""Power iterations on a new weight. Later one per update is enough, as it changes little."""

_EPSILON = 1e-12


class SpectralNorm(nn.Module):
    """Divides a weight by an estimate of its largest singular value, sigma = u^T W v.

    W is the weight as a matrix, float (outputs, everything else). The buffers u, float
    (outputs,), and v, float (everything else,), are constants of the gradient, as in
    Miyato et al., equation 11.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: nn.Parameter, outputs_dim: int = 0) -> None:
        """Estimate sigma of ``weight``, whose dimension ``outputs_dim`` counts outputs."""
        super().__init__()
        self.outputs_dim = outputs_dim
        matrix = self._matrix(weight.detach())
        self.register_buffer("u", matrix.new_empty(matrix.shape[0]))
        self.register_buffer("v", matrix.new_zeros(matrix.shape[1]))
        self.watch(weight)
        # On the meta device there is nothing to estimate, and drawing or multiplying there makes
        # torch import its compiler, which takes a second.
        if not weight.is_meta:
            self.u.copy_(functional.normalize(torch.randn_like(self.u), dim=0))
            self.advance(START_ITERATIONS)

    def watch(self, weight: nn.Parameter) -> None:
        """Use this parameter in the following iterations."""
        # Inside a tuple the parameter is not registered again in parameters() and state_dict().
        self._watched = (weight,)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.outputs_dim, 0).flatten(1)

    @torch.no_grad()
    def advance(self, iterations: int = 1) -> None:
        """Power iterations on the weight as it is now: v <- W^T u, u <- W v, normalised."""
        matrix = self._matrix(self._watched[0])
        for _ in range(iterations):
            functional.normalize(matrix.T @ self.u, dim=0, eps=_EPSILON, out=self.v)
            functional.normalize(matrix @ self.v, dim=0, eps=_EPSILON, out=self.u)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, float of any shape -> weight / sigma."""
        # Copies, because `advance` overwrites the buffers while this graph may wait for
        # its backward.
        u, v = self.u.clone(), self.v.clone()
        return weight / torch.dot(u, torch.mv(self._matrix(weight), v))


def spectral_norm(module: nn.Module) -> nn.Module:
    """Normalise the weight of a Linear, Conv2d, ConvTranspose2d or Embedding; returns it.

    Initialise the weight first: the first estimate is made here.
    """
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    # (inputs, outputs, h, w) in a transposed convolution, outputs first elsewhere.
    outputs_dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    norm = SpectralNorm(weight, outputs_dim)
    # Unless told that it is unsafe, torch computes the weight once, to see whether that works.
    parametrize.register_parametrization(module, "weight", norm, unsafe=weight.is_meta)
    return module


def spectral_norms(network: nn.Module) -> tuple[SpectralNorm, ...]:
    """Every `SpectralNorm` inside ``network``, in the order of its modules.

    Look them up again after replacing parameters (``load_state_dict(assign=True)``); moving,
    casting, copying and loading otherwise keep them.
    """
    found: list[SpectralNorm] = []
    for part in network.modules():
        if isinstance(part, parametrize.ParametrizationList):
            for norm in part:
                if isinstance(norm, SpectralNorm):
                    assert isinstance(part.original, nn.Parameter)
                    norm.watch(part.original)
                    found.append(norm)
    return tuple(found)
