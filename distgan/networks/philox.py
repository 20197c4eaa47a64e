"""Random numbers of a sample, made on the device where a network needs them.

`distgan.draws` makes the few numbers of a sample that a network takes as input. Dropout and
noise layers need hundreds of thousands a sample, too many to copy from the host. Here they are
made by tensor operations from the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror
and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 4.3), which has no
state: number k of sample i is a function of (seed, stream, i, layer, call, k) alone.

All operations are integer operations, conversions, and sums, products and quotients that IEEE
754 rounds correctly, each a tensor operation of its own, so that all devices give the same bits.
Therefore `normal` has its own log, sin, cos and sqrt, which libraries round differently.

A block of four 32-bit words has the counter (block, layer * 2**16 + call, low half of the
sample's number, high half), and the key is made of seed and stream. Word w of block b is number
4 b + w of the sample.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
"""Added to the two words of the key after each round."""
_ROUNDS = 10

_BLOCKS_AT_ONCE = {"cpu": (1 << 15) - 1}
"""Blocks worked on together: on a CPU few enough that the seven buffers stay in its cache, and
that torch does not share each of the hundred short operations out to threads."""
_BLOCKS_ON_DEVICE = 1 << 22
"""Elsewhere few enough for 256 MiB, and so many that starting kernels takes no time."""

Words = tuple[Tensor, Tensor, Tensor, Tensor]


class Place(NamedTuple):
    """Which numbers of a sample are meant, beside their index."""

    key: tuple[int, int]
    """Of `key_of`."""
    layer: int = 0
    """0 to 65535: which layer of a network asks."""
    call: int = 0
    """0 to 65535: how often that layer has asked before, in the same forward pass."""


@functools.lru_cache(maxsize=256)
def key_of(seed: int, stream: str) -> tuple[int, int]:
    """Two 32-bit words for a run's seed, 0 to 2**64 - 1, and what the numbers are for.

    Philox itself, under a constant key, hashes the two.
    """
    counter = [seed & _MASK, seed >> 32, zlib.crc32(stream.encode()), 0]
    first, second, _, _ = philox([torch.tensor([word]) for word in counter], (0, 0))
    return int(first), int(second)


def philox(counter: list[Tensor], key: tuple[int, int]) -> Words:
    """The four words of Philox4x32-10 for every counter.

    Args:
        counter: its four words, int64 in [0, 2**32), of shapes that broadcast together.
        key: its two words, in [0, 2**32).

    Returns:
        int64 tensors of the common shape, with values in [0, 2**32).
    """
    # Two rounds on the shapes given: they cost little where few words depend on everything.
    for _ in range(2):
        counter = _round(counter, key)
        key = _next(key)
    # The first word depends on all by now.
    state = [word.expand_as(counter[0]).contiguous() for word in counter]
    buffers = [*state, *(torch.empty_like(state[0]) for _ in range(3))]
    for _ in range(_ROUNDS - 2):
        _round_in_place(buffers, key)
        key = _next(key)
    return buffers[0], buffers[1].bitwise_and_(_MASK), buffers[2], buffers[3].bitwise_and_(_MASK)


def _next(key: tuple[int, int]) -> tuple[int, int]:
    return (key[0] + _WEYL[0]) & _MASK, (key[1] + _WEYL[1]) & _MASK


# A product of two words is one of 64 bits, of which int64 holds the pattern. Its high word comes
# with copies of the sign above it, and its low word, not cut off yet, with the high one; both
# are cut off after the exclusive or, since a word is multiplied only after that.


def _round(counter: list[Tensor], key: tuple[int, int]) -> list[Tensor]:
    a, b, c, d = counter
    p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
    return [((q >> 32) ^ (b ^ key[0])) & _MASK, q, ((p >> 32) ^ (d ^ key[1])) & _MASK, p]


def _round_in_place(buffers: list[Tensor], key: tuple[int, int]) -> None:
    # The first four buffers are the counter, before and after; the others are free.
    a, b, c, d, p, q, high = buffers
    torch.mul(a, _MULTIPLIERS[0], out=p)
    torch.bitwise_right_shift(p, 32, out=high)
    d ^= high
    d ^= key[1]
    d &= _MASK
    torch.mul(c, _MULTIPLIERS[1], out=q)
    torch.bitwise_right_shift(q, 32, out=high)
    b ^= high
    b ^= key[0]
    b &= _MASK
    buffers[:] = [b, q, d, p, a, c, high]


def _fill(
    out: Tensor, numbers: Tensor, place: Place, write: Callable[[Tensor, Words], None]
) -> None:
    """Have ``write`` put the words of all blocks into parts of ``out``, (n, blocks, 4)."""
    if not (0 <= place.layer < 1 << 16 and 0 <= place.call < 1 << 16):
        raise ValueError(f"layer and call should be from 0 to 65535, are {place[1:]}")
    device = out.device
    numbers = numbers.to(device)[:, None]
    low, high = numbers & _MASK, numbers >> 32 & _MASK
    # Not from a list, which the device would have to be waited for to copy.
    second = torch.full((1, 1), place.layer << 16 | place.call, device=device)
    most = _BLOCKS_AT_ONCE.get(device.type, _BLOCKS_ON_DEVICE)
    for rows, blocks in _parts(out.shape[0], out.shape[1], most):
        first = torch.arange(blocks.start, blocks.stop, device=device)[None]
        write(out[rows, blocks], philox([first, second, low[rows], high[rows]], place.key))


def _parts(rows: int, blocks: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Rectangles that cover rows x blocks, each of at most ``most``."""
    tall = max(1, most // max(1, blocks))
    wide = max(1, math.ceil(blocks / math.ceil(blocks / most)) if blocks else 1)
    for row in range(0, rows, tall):
        for block in range(0, blocks, wide):
            yield slice(row, min(row + tall, rows)), slice(block, min(block + wide, blocks))


def _made(
    numbers: Tensor,
    size: int,
    place: Place,
    dtype: torch.dtype,
    device: torch.device | None,
    write: Callable[[Tensor, Words], None],
) -> Tensor:
    with torch.no_grad():
        shape = (len(numbers), -(-size // 4), 4)
        out = torch.empty(shape, dtype=dtype, device=device or numbers.device)
        _fill(out, numbers, place, write)
        return out.flatten(1)[:, :size]


def words(numbers: Tensor, size: int, place: Place, device: torch.device | None = None) -> Tensor:
    """Uniform integers in [0, 2**32) for the samples of these numbers.

    Args:
        numbers: of the samples, int64 (n,).
        size: how many a sample, at most 2**34.
        place: which of the sample's.
        device: where; absent, that of ``numbers``.

    Returns:
        int64 (n, size).
    """

    def write(out: Tensor, block: Words) -> None:
        for index, word in enumerate(block):
            out[..., index] = word

    return _made(numbers, size, place, torch.int64, device, write)


def below(
    numbers: Tensor, size: int, place: Place, share: float, device: torch.device | None = None
) -> Tensor:
    """True with a probability of ``share`` in [0, 1], rounded to a multiple of 2**-32.

    Returns:
        bool (n, size); arguments as in `words`.
    """
    limit = round(share * 2**32)

    def write(out: Tensor, block: Words) -> None:
        for index, word in enumerate(block):
            torch.lt(word, limit, out=out[..., index])

    return _made(numbers, size, place, torch.bool, device, write)


def uniform(numbers: Tensor, size: int, place: Place, device: torch.device | None = None) -> Tensor:
    """Numbers in the open interval (0, 1): odd multiples of 2**-24, from 23 bits of a word.

    Returns:
        float32 (n, size), exact in float64 too; arguments as in `words`.
    """

    def write(out: Tensor, block: Words) -> None:
        for index, word in enumerate(block):
            word >>= 9
            out[..., index] = word.to(torch.float32).add_(0.5).mul_(2.0**-23)

    return _made(numbers, size, place, torch.float32, device, write)


def normal(numbers: Tensor, size: int, place: Place, device: torch.device | None = None) -> Tensor:
    """Standard normal numbers, of magnitude at most 6.67.

    Box-Muller (Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958):
    a pair of words gives sqrt(-2 log u) cos(2 pi v) and the same with sin. The angle is drawn
    within 45 degrees of the axis of abscissas, then mirrored and exchanged by two more bits,
    so that short series are enough: where sqrt(-2 log u) is
    above 0.05, both numbers are within 2e-6 of float64's.

    Returns:
        float32 (n, size), the same bits on all devices; arguments as in `words`.
    """

    def write(out: Tensor, block: Words) -> None:
        for index in (0, 2):
            _pair(block[index], block[index + 1], out[..., index], out[..., index + 1])

    return _made(numbers, size, place, torch.float32, device, write)


def _pair(radius: Tensor, angle: Tensor, first: Tensor, second: Tensor) -> None:
    length = radius.to(torch.float32).add_(0.5).mul_(2.0**-32)
    length = _root(_log(length).mul_(-2.0))
    # An eighth of the circle to either side.
    turn = (angle >> 9).to(torch.float32).add_(0.5).mul_(2.0**-23).sub_(0.5).mul_(math.pi / 2)
    sine, cosine = _sine_and_cosine(turn)
    sine *= length
    cosine *= length
    cosine = torch.where(angle & 1 == 1, -cosine, cosine)
    exchange = angle & 2 == 2
    first.copy_(torch.where(exchange, sine, cosine))
    second.copy_(torch.where(exchange, cosine, sine))


_ROOT_OF_HALF = 0x3F3504F3
"""sqrt(1/2) as the bits of a float32."""


def _log(x: Tensor) -> Tensor:
    """The natural logarithm of float32 above 0: x = 2**e m with m within sqrt(2) of 1, and
    log m = 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + ...) of s = (m - 1) / (m + 1)."""
    bits = x.view(torch.int32)
    exponent = (bits - _ROOT_OF_HALF) >> 23
    mantissa = (bits - (exponent << 23)).view(torch.float32)
    s = (mantissa - 1).div_(mantissa + 1)
    return (
        _series(s * s, (2 / 9, 2 / 7, 2 / 5, 2 / 3, 2.0))
        .mul_(s)
        .add_(exponent.to(torch.float32).mul_(math.log(2)))
    )


def _root(x: Tensor) -> Tensor:
    """The square root of float32 from 0 to 2**60, as x times its inverse: Newton's
    iteration y <- y (3 - x y^2) / 2, from a guess that halves the exponent."""
    y = (0x5F3759DF - (x.view(torch.int32) >> 1)).view(torch.float32)
    for _ in range(3):
        y.mul_((x * y).mul_(y).mul_(-0.5).add_(1.5))
    return y.mul_(x)


def _sine_and_cosine(x: Tensor) -> tuple[Tensor, Tensor]:
    """Taylor's series, for float32 of at most pi / 4."""
    square = x * x
    sine = [(-1) ** n / math.factorial(2 * n + 1) for n in reversed(range(5))]
    cosine = [(-1) ** n / math.factorial(2 * n) for n in reversed(range(6))]
    return _series(square, sine).mul_(x), _series(square, cosine)


def _series(x: Tensor, coefficients: tuple[float, ...] | list[float]) -> Tensor:
    # Horner's scheme, the highest power first.
    total = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        total.add_(coefficient).mul_(x)
    return total.add_(coefficients[-1])
