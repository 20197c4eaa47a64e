"""One side, trained to equal images and to equal seconds, measured at both."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compare.sides import BOUNDS, ENCODED, METRICS, VALUES, Side
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.images import open_images
from distgan.evaluate.reals import read_images
from distgan.launch.evaluation import evaluate
from distgan.launch.start import resume, train
from distgan.runs.export import load_generator
from distgan.runs.grid import to_uint8

PICTURES = 40
"""Images of each side that are shown."""
_FIRST = 0.1
"""Share of the images that the speed is found with."""


@dataclass
class Found:
    """A side at one moment of one seed."""

    side: str
    seed: int
    at: str
    """``images`` or ``seconds``: what all sides had the same of."""
    images: int
    seconds: float
    values: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded."""
        return asdict(self)


@dataclass(frozen=True)
class Contest:
    """Side after side on one set.

    Args:
        data: a set that `distgan data prepare` made, with images held out.
        images: that every side is trained on for the first comparison.
        seconds: of training, for the second.
    """

    data: str
    images: int
    seconds: float
    threads: int
    num: int = 5_000

    def run(self, side: Side, seed: int, folder: Path) -> list[Found]:
        """Train a side with a seed, and measure it twice.

        Resuming gives the same bits as an uninterrupted run, so one run serves both.
        """
        config, out = side.config(self.data, seed), folder / f"{side.name}-{seed}"
        clock = _Clock(str(out), self.threads)
        clock.go_on(override(config, {"images": round(self.images * _FIRST)}))
        in_time = round(clock.images * self.seconds / clock.seconds)
        found = []
        for at, images in sorted(
            {"images": self.images, "seconds": max(in_time, clock.images)}.items(),
            key=lambda each: each[1],
        ):
            if images > clock.images:
                clock.go_on(override(config, {"images": images}))
            values = self._measure(config, str(out))
            found.append(Found(side.name, seed, at, clock.images, clock.seconds, values))
        return found

    def _measure(self, config: RunConfig, out: str) -> dict[str, float]:
        generator = load_generator(out)
        model = generator.family.autoencoder(generator.networks)
        encoded = () if model is None else ENCODED
        has_bound = model is not None and not generator.family.lacks("elbo")
        names = (*METRICS, *encoded, *(BOUNDS if has_bound else ()))
        found = evaluate(
            out, {"metrics": ",".join(names), "num": self.num}, workers=0, threads=self.threads
        )
        return {name: found.values[name].value for name in VALUES if name in found.values}


class _Clock:
    """Trains a run further, and counts its images and the seconds of its training."""

    def __init__(self, out: str, threads: int) -> None:
        self._out, self._threads = out, threads
        self.images, self.seconds = 0, 0.0

    def go_on(self, config: RunConfig) -> None:
        start = time.perf_counter()
        if not self.images:
            ended = train(config, out=self._out, workers=0, threads=self._threads)
        else:
            ended = resume(self._out, {"images": config.images}, workers=0, threads=self._threads)
        self.seconds += time.perf_counter() - start
        self.images = ended.images_seen


def pictures(out: str, data: str) -> dict[str, NDArray[np.uint8]]:
    """uint8 (n, h, w, c): samples, and where there is an encoder held-out images and their
    reconstructions."""
    generator = load_generator(out)
    found = {"samples": to_uint8(generator.images(generator.latents(PICTURES)))}
    model = generator.family.autoencoder(generator.networks)
    if model is None:
        return found
    pixels, _ = read_images(open_images(f"{data}/validation"), np.arange(PICTURES // 2))
    made = model.decode(model.encode(pixels.float() / 127.5 - 1).mean)
    held_out = pixels.permute(0, 2, 3, 1).numpy()
    return {**found, "held-out images": held_out, "reconstructions": to_uint8(made)}
