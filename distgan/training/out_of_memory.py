"""A device whose memory does not suffice, told in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from distgan.config.run import RunConfig
from distgan.errors import UserError
from distgan.parallel import World


@contextlib.contextmanager
def told(config: RunConfig, world: World) -> Iterator[None]:
    """Around everything that computes on a device.

    Raises:
        UserError: in the place of `torch.OutOfMemoryError`, with the peak and the remedy.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(_sentence(config, world)) from None


def _sentence(config: RunConfig, world: World) -> str:
    device = world.device
    peak = torch.cuda.max_memory_reserved(device) / 1e9
    free, total = (count / 1e9 for count in torch.cuda.mem_get_info(device))
    share = world.share(config.micro_batch)
    images = share.stop - share.start
    most = config.micro_batch // world.size
    anew = []
    if most > 1:
        # The next number of parts into which the batch divides, and of which all have some.
        parts = (n for n in range(config.accumulate + 1, config.batch + 1) if config.batch % n == 0)
        more = next((n for n in parts if config.batch // n >= world.size), 0)
        if more:
            anew.append(f"--accumulate {more} (the batch in {more} parts)")
    if config.precision == "float32":
        anew.append("--precision bf16")
    anew.append("a smaller --batch")
    others = total - free - peak
    elsewhere = f"; other programs hold {others:.1f} GB of it" if others > 0.05 * total else ""
    return (
        f"worker {world.rank}: {torch.cuda.get_device_name(device)} has not enough memory for "
        f"{images} images at a time: this run took up to {peak:.1f} of {total:.1f} GB{elsewhere}; "
        f"start anew with {', or '.join(anew)}; or go on with --resume on more workers"
    )
