"""Does training bring the generator's images closer to the real ones, and are all modes found?

Trains a recipe for some minutes and prints the distance between generated and real images
before, during and after; writes grids to look at.

    python -m benchmarks.learning mnist-dcgan --minutes 5
    python -m benchmarks.learning cifar10-sngan-tiny --data my/cifar10 --minutes 5

The distance is Frechet's (Heusel et al., NeurIPS 2017, equation 6) between Gaussians fitted to
64 features of 5,000 images each: means over the image of the last layer of a fixed, untrained
convolutional network of three layers (Naeem et al., ICML 2020, found features of random
networks to rank generators well). The floor is the distance between two halves of the reals.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.gans import gan_recipe
from distgan.config.settings import override
from distgan.data.damage import Damage
from distgan.data.feed import Feed, scale_pixels
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.families import DataSpec
from distgan.families.gan_config import GANConfig
from distgan.metrics.frechet import distance
from distgan.metrics.moments import Moments
from distgan.parallel import World
from distgan.runs.samples import sample_sheet
from distgan.training.state import TrainingState

_COUNT = 5_000


class Features:
    """A fixed map of images, float (n, c, h, w), to features, float64 (n, 64)."""

    def __init__(self, channels: int) -> None:
        keep = torch.random.get_rng_state()
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 32), (32, 64), (64, 64)):
            conv = nn.Conv2d(inputs, outputs, 4, 2, 1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.ReLU()]
        self._network = nn.Sequential(*layers).eval().requires_grad_(False)
        torch.random.set_rng_state(keep)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The features of images in [-1, 1]."""
        found = [self._network(part.float()).mean((2, 3)) for part in images.split(500)]
        return torch.cat(found).double()


class Yardstick:
    """The distance of a generator's images to real ones."""

    def __init__(self, config: GANConfig, reals: Tensor) -> None:
        self._config, self._features = config, Features(reals.shape[1])
        found = self._features(reals)
        self._scale = found.std(0).clamp_min(1e-6)
        self._real = self._moments(found[:_COUNT])
        self.floor = distance(self._real, self._moments(found[_COUNT:]))

    def _moments(self, features: Tensor) -> Moments:
        moments = Moments(features.shape[1])
        moments.add(features / self._scale)
        return moments

    @torch.no_grad()
    def __call__(self, generator: nn.Module) -> float:
        """The distance of the same z's images, by a generator in eval mode."""
        z = torch.randn(_COUNT, self._config.latent, generator=torch.Generator().manual_seed(9))
        images = torch.cat([generator(part, None) for part in z.split(250)])
        return distance(self._real, self._moments(self._features(images.clamp(-1, 1))))


def learn(config: GANConfig, minutes: float, folder: Path) -> None:
    """Train, measure every fifth of the time, and draw grids."""
    images, world = open_images(config.data), World()
    pixels = read_resident(images)
    rows = Resident(pixels, config.seed, config.batch, world, Damage(images, 0))
    state = TrainingState(config, DataSpec(images.shape, images.classes), world)
    family, average = state.family, state.averages["generator"].average
    feed = Feed(rows, family.columns(), family.draws(), config, world)
    some = torch.from_numpy(pixels.images[torch.randperm(images.count)[: 2 * _COUNT].numpy()])
    yardstick = Yardstick(config, scale_pixels(some, torch.float32))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{config.recipe}: floor {yardstick.floor:.3f}")
    trained, mark, first = 0.0, 0.0, 0.0
    while True:
        if trained >= mark:
            found = yardstick(average)
            first = first or found
            name = folder / f"{config.recipe}-{state.images_seen:08d}.png"
            name.write_bytes(sample_sheet(family, {"generator": average}, config.seed).picture)
            print(
                f"  {trained:5.0f} s  {state.images_seen:9,} images  distance {found:9.3f}  "
                f"1/{first / found:.1f} of the start  {name}",
                flush=True,
            )
            if trained >= minutes * 60:
                return
            mark = min(mark + minutes * 12, minutes * 60)
        start = time.perf_counter()
        state.step([feed.batch(state.images_seen)])
        trained += time.perf_counter() - start


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a recipe of a GAN")
    parser.add_argument("--data", help="the set, where it is not the recipe's")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training [5]")
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="grids' folder")
    options = parser.parse_args()
    changes = {"data": options.data} if options.data else {}
    learn(override(gan_recipe(options.recipe), changes), options.minutes, options.out)


if __name__ == "__main__":
    main()
