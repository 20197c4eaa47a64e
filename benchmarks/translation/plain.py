"""pix2pix as a script without distgan's trainer has it: the same networks, batches and rates.

    python -m benchmarks.translation.plain runs/plain.pt --seconds 60

Batches are gathered from memory, in an order that is drawn anew every epoch.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.textbook_translation import Pix2PixTextbook, Rule, in_torch_layers
from distgan.config.shape import ImageShape
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.families.tasks import edges
from distgan.networks.patchgan import PatchGANSettings
from distgan.networks.resnet_generator import ResNetGeneratorSettings

BATCH, RATE = 32, 1e-3
"""Those of the recipe edges2digits-pix2pix, as is everything below."""


def networks(shape: ImageShape) -> tuple[nn.Module, nn.Module]:
    """Generator, and discriminator of input and output side by side."""
    generator = ResNetGeneratorSettings(blocks=3, width=16, norm="batch").build(shape, shape)
    judge = PatchGANSettings(layers=2, width=16).build(shape._replace(channels=2))
    return in_torch_layers(generator), in_torch_layers(judge)


def batches(data: str) -> Iterator[Tensor]:
    """Images, float (BATCH, c, h, w) in [-1, 1], without end."""
    pixels = torch.from_numpy(read_resident(open_images(data)).images).permute(0, 3, 1, 2)
    while True:
        for chosen in torch.randperm(len(pixels)).split(BATCH):
            if len(chosen) == BATCH:
                yield pixels[chosen].float() / 127.5 - 1


def train(data: str, seed: int, going: Callable[[], bool]) -> tuple[nn.Module, int]:
    """Train until ``going`` says no; returns the generator in eval mode, and the images seen."""
    torch.manual_seed(seed)
    loop = Pix2PixTextbook(*networks(open_images(data).shape), Rule(RATE))
    seen = 0
    for target in batches(data):
        loop.step(edges(target), target)
        seen += BATCH
        if not going():
            break
    return loop.generator.eval(), seen


def main() -> None:
    """Train for so many seconds, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="file of the generator's weights")
    parser.add_argument("--data", default="mnist", help="[mnist]")
    parser.add_argument("--seconds", type=float, default=60, help="[60]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="[all cores]")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    end = time.perf_counter() + options.seconds
    generator, seen = train(options.data, 0, lambda: time.perf_counter() < end)
    torch.save(generator.state_dict(), options.out)
    print(f"{seen:,} images: {options.out}")


if __name__ == "__main__":
    main()
