"""Layers whose random numbers belong to the sample: dropout, noise, reparameterisation.

torch's own layers draw from a global generator, so that a sample's mask depends on the rank it
is on, on the micro-batch and on what was drawn before. These ask a context, which whoever calls
the network sets, for the numbers of its samples::

    with sample_numbers(seed, "generator", numbers):
        images = generator(z)

Then what a sample draws is a function of (seed, stream, its number, layer, call, index): the
same on any number of ranks, for any accumulation, on CPU and GPU, in any precision, and once
more in a second pass under a new context. `number_layers` gives the layers their numbers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from distgan.networks import philox
from distgan.networks.philox import Place


class _Context:
    """The samples of one forward pass, and how often each layer has asked."""

    def __init__(
        self, parts: Sequence[tuple[tuple[int, int], Tensor]], calls: dict[int, int]
    ) -> None:
        self.parts, self.calls = parts, calls

    def copy(self) -> _Context:
        return _Context(self.parts, dict(self.calls))

    def draw(self, draw: Callable[..., Tensor], layer: int, size: int, like: Tensor) -> Tensor:
        """``draw`` of `philox` for every row of ``like``, (n, size)."""
        rows = sum(len(numbers) for _, numbers in self.parts)
        if rows != len(like):
            raise RuntimeError(
                f"a random layer got {len(like)} samples, but sample_numbers was given {rows}"
            )
        call = self.calls.get(layer, 0)
        self.calls[layer] = call + 1
        if torch.compiler.is_compiling():
            draw = _left_alone(draw)
        drawn = [
            draw(numbers, size, Place(key, layer, call), device=like.device)
            for key, numbers in self.parts
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


def _left_alone(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``draw`` out of reach of torch.compile, which would join a product and a sum and round once
    where the device can, and would compile anew for every other number of calls."""
    alone: Callable[..., Tensor] = torch.compiler.disable(draw)  # type: ignore[no-untyped-call]
    return alone


_context: ContextVar[_Context | None] = ContextVar("sample_numbers", default=None)


@contextlib.contextmanager
def _entered(context: _Context | None) -> Iterator[None]:
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


@contextlib.contextmanager
def sample_numbers(
    seed: int, stream: str | Sequence[str], numbers: Tensor | Sequence[Tensor]
) -> Iterator[None]:
    """Say which samples the rows of the next forward pass are; one ``with`` a pass.

    A layer that runs several times within it draws anew each time, in the order of its calls;
    a second ``with`` of the same arguments draws the same once more. For a batch that was
    concatenated, such as reals and then fakes, ``stream`` and ``numbers`` are sequences of
    equal length, in the order of the rows.

    Args:
        seed: of the run, 0 to 2**64 - 1.
        stream: what the numbers are for. Networks that see the same samples need streams of
            their own, or layers numbered on from each other.
        numbers: of the samples in the whole run, int64 (n,); best on the network's device.

    Raises:
        ValueError: for streams and numbers that do not pair, or numbers of another type.
    """
    streams = [stream] if isinstance(stream, str) else list(stream)
    tensors = [numbers] if isinstance(numbers, Tensor) else list(numbers)
    if len(streams) != len(tensors) or not tensors:
        raise ValueError(f"{len(streams)} streams do not pair with {len(tensors)} sets of numbers")
    for part in tensors:
        if part.dtype != torch.int64 or part.dim() != 1:
            raise ValueError(
                f"numbers of samples should be int64 (n,), are {part.dtype} {tuple(part.shape)}"
            )
    keys = [philox.key_of(seed, name) for name in streams]
    with _entered(_Context(list(zip(keys, tensors, strict=True)), {})):
        yield


def checkpointed(function: Callable[..., Any], *arguments: Any) -> Any:
    """`torch.utils.checkpoint.checkpoint`: forget activations, compute them again in backward.

    The second time random layers draw what they drew the first time, wherever ``backward`` is
    called; torch's function alone would count their calls on, or find no context at all.
    """

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        now = _context.get()
        again = None if now is None else now.copy()
        return contextlib.nullcontext(), _entered(again)

    return checkpoint(
        function,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=contexts,
    )


class RandomLayer(nn.Module):
    """A layer that draws. ``number`` is its place among those of its network."""

    number: int | None = None

    def draw(
        self, draw: Callable[..., Tensor], size: int, like: Tensor, context: _Context | None = None
    ) -> Tensor:
        """``draw`` of `philox` for every row of ``like``: (n, size).

        Raises:
            RuntimeError: outside `sample_numbers`, in a network that was not numbered, or for
                another number of rows.
        """
        context = _context.get() or context
        kind = type(self).__name__
        if context is None:
            raise RuntimeError(
                f"{kind} draws random numbers of its samples: call the network within "
                "`with sample_numbers(seed, stream, numbers)`, or switch it to eval()"
            )
        if self.number is None:
            raise RuntimeError(
                f"{kind} has no number: call number_layers(network) once it is built"
            )
        return context.draw(draw, self.number, size, like)


def number_layers(network: nn.Module, first: int = 0) -> int:
    """Number the random layers of a network, in the order of ``network.modules()``.

    Args:
        first: number of the first; for several networks under one context, what the last call
            returned.

    Returns:
        One more than the last number given.
    """
    for layer in network.modules():
        if isinstance(layer, RandomLayer):
            layer.number, first = first, first + 1
    return first


def has_random_layers(network: nn.Module) -> bool:
    """Whether a network draws by the numbers of its samples."""
    return any(isinstance(layer, RandomLayer) for layer in network.modules())


class SampleDropout(RandomLayer):
    """Dropout (Srivastava et al. 2014): each number is 0 with probability p, else 1 / (1 - p) times
    what it was.

    In eval mode it is the identity. Masks are those of p rounded to a multiple of 2**-32.

    Args:
        p: 0 <= p < 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p should be at least 0 and less than 1, is {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """float (n, ...) -> the same shape and type."""
        if not self.training or self.p == 0:
            return x

        dropped = functools.partial(philox.below, share=self.p)
        mask = self.draw(dropped, x.shape[1:].numel(), x).view(x.shape)
        return x.masked_fill(mask, 0.0) * (1 / (1 - self.p))

    def extra_repr(self) -> str:
        """For print."""
        return f"p={self.p}"


class SampleNoise(RandomLayer):
    """Adds one standard normal number a pixel, the same in all channels, times a learned strength.

    Karras et al., "A Style-Based Generator Architecture for Generative Adversarial Networks"
    (CVPR 2019), section 2, has a strength a channel; "Analyzing and Improving the Image Quality
    of StyleGAN" (CVPR 2020) has a single one. They start at 0. In eval mode outside
    `sample_numbers` the rows count as samples 0 to n - 1 of seed 0, so that images depend on
    their place alone.

    Args:
        channels: 0 for one strength, else that of the maps for one strength each.
    """

    def __init__(self, channels: int = 0) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros((channels, 1, 1) if channels else ()))

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, c, h, w) -> the same shape and type; the noise is made in float32."""
        rows, height, width = len(maps), *maps.shape[2:]
        usual = None
        if not self.training:
            numbers = torch.arange(rows, device=maps.device)
            usual = _Context([(philox.key_of(0, "noise"), numbers)], {})
        noise = self.draw(philox.normal, height * width, maps, usual)
        noise = noise.to(self.strength.dtype).view(rows, 1, height, width)
        return maps + (noise * self.strength).to(maps.dtype)


class Reparameterise(RandomLayer):
    """z = mean + exp(log_variance / 2) e with e standard normal: Kingma and Welling,
    "Auto-Encoding Variational Bayes" (ICLR 2014), section 2.4. Draws in eval mode too."""

    def forward(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """float (n, d) and (n, d) -> (n, d), of the type of ``mean``."""
        noise = self.draw(philox.normal, mean.shape[1], mean)
        return mean + (log_variance / 2).exp() * noise.to(mean.dtype)


_MOST_DRAWS = 1 << 20


def normal_draws(
    seed: int,
    stream: str,
    numbers: Tensor,
    draws: range,
    size: int,
    device: torch.device | None = None,
) -> Tensor:
    """Several standard normal vectors a sample, as importance sampling needs: any part of them.

    Draw k of sample i counts as sample i 2**20 + k of the stream.

    Args:
        seed: of the run.
        stream: what they are for, and nothing else.
        numbers: of the samples, int64 (n,), below 2**43.
        draws: which, step 1, below 2**20.
        size: length of a vector.
        device: where; absent, that of ``numbers``.

    Returns:
        float32 (n, len(draws), size).
    """
    if draws.stop > _MOST_DRAWS:
        raise ValueError(f"has at most {_MOST_DRAWS} draws a sample, not {draws.stop}")
    steps = torch.arange(draws.start, draws.stop, device=numbers.device)
    each = (numbers[:, None] * _MOST_DRAWS + steps).flatten()
    drawn = philox.normal(each, size, Place(philox.key_of(seed, stream)), device)
    return drawn.view(len(numbers), len(draws), size)
