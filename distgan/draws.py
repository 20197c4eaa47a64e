"""Random numbers that belong to a sample, not to a process.

The k-th number of sample i is a function of (seed, stream, i, k) alone, through the
counter-based generator Philox (Salmon et al., "Parallel Random Numbers: As Easy as
1, 2, 3", SC 2011). Any rank can draw the latents of its own part of a global batch
without drawing the rest, and gets what a single process would have drawn.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORDS_PER_BLOCK = 4
"""64-bit words that Philox4x64 makes from one value of its counter."""


def _philox(seed: int, stream: str, counter: int) -> np.random.Philox:
    return np.random.Philox(key=[seed, zlib.crc32(stream.encode())], counter=counter)


def _joined(parts: Sequence[range]) -> list[range]:
    """The same samples, with adjacent ranges merged.

    Making a Philox generator takes as long as drawing 1 kB from one.
    """
    joined = [parts[0]] if parts else []
    for part in parts[1:]:
        if part.start == joined[-1].stop:
            joined[-1] = range(joined[-1].start, part.stop)
        else:
            joined.append(part)
    return joined


def uniforms(seed: int, stream: str, parts: Sequence[range], size: int) -> NDArray[np.float32]:
    """Numbers above 0 and at most 1 for the samples whose numbers ``parts`` hold.

    Every sample consumes the same number of 32-bit words and can be reached directly.

    Args:
        seed: the run's seed, 0 to 2**64 - 1.
        stream: what the numbers are for, such as ``"mirror"``.
        parts: ranges of step 1.
        size: numbers per sample.

    Returns:
        float32 of shape (samples in all parts, size), in (0, 1].
    """
    blocks = -(-size // (2 * _WORDS_PER_BLOCK))
    words = [
        _philox(seed, stream, run.start * blocks).random_raw(len(run) * blocks * _WORDS_PER_BLOCK)
        for run in _joined(parts)
    ]
    halves = (words[0] if len(words) == 1 else np.concatenate(words)).view(np.uint32)
    halves >>= 8
    halves = halves.reshape(-1, blocks * 2 * _WORDS_PER_BLOCK)[:, :size]
    # float32 holds 24 bits; the offset of half a step keeps 0 out, whose logarithm is infinite.
    uniform: NDArray[np.float32] = halves.astype(np.float32)
    uniform += np.float32(0.5)
    uniform *= np.float32(2.0**-24)
    return uniform


def normals(seed: int, stream: str, parts: Sequence[range], size: int) -> NDArray[np.float32]:
    """Standard normal vectors of the samples whose numbers ``parts`` hold.

    Box-Muller on `uniforms` (Box and Muller 1958).

    Returns:
        float32 of shape (samples in all parts, size).
    """
    pairs = -(-size // 2)
    uniform = uniforms(seed, stream, parts, 2 * pairs).reshape(-1, pairs, 2)
    radius = np.log(uniform[..., 0])
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle = uniform[..., 1] * np.float32(2.0 * np.pi)
    both = np.empty((len(uniform), 2 * pairs), np.float32)
    np.multiply(radius, np.cos(angle), out=both[:, :pairs])
    np.multiply(radius, np.sin(angle, out=angle), out=both[:, pairs:])
    return np.ascontiguousarray(both[:, :size])


def permutation(seed: int, stream: str, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of ``count`` things in an epoch: int64 of shape (count,)."""
    generator = np.random.Generator(_philox(seed, stream, epoch << 64))
    return generator.permutation(count)
