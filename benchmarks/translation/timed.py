"""One run for so many seconds, in a process of its own, and what it learned by then."""

from __future__ import annotations

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.limited import limited, waiting
from benchmarks.translation import plain
from benchmarks.translation.sides import NEVER, Data, Side, Task
from distgan.config.evaluate import EvaluateSettings
from distgan.config.settings import override, to_dict
from distgan.data.images import open_images
from distgan.data.sides import open_sets
from distgan.data.spec import data_spec
from distgan.evaluate.evaluation import Evaluator
from distgan.evaluate.reals import mixed, read_rows
from distgan.evaluate.rows import scaled
from distgan.families import Batch, build
from distgan.families.translation import Translation
from distgan.families.translation_config import TranslationConfig
from distgan.parallel import World
from distgan.runs import checkpoint, records
from distgan.runs.comparison import comparison_png
from distgan.runs.export import load_generator
from distgan.runs.grid import to_uint8
from distgan.storage.storage import Storage

SHOWN = 16
"""Held-out images of a sheet."""
_PROBE, _LEAST = 0.05, 10.0
"""Share of the seconds, and the least of these, for which a run is tried that has to know when it
ends. To start takes seconds too."""


@dataclass(frozen=True)
class Asked:
    """A run: ``num`` held-out images are translated to measure it."""

    task: Task
    side: Side
    data: Data
    seed: int
    seconds: float
    threads: int
    num: int


def run(asked: Asked, folder: Path) -> tuple[dict[str, Any], bytes]:
    """Train and measure in a process of its own.

    Returns:
        what is recorded of it, and a sheet of held-out images as PNG.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, asked, folder).result()


def _run(asked: Asked, folder: Path) -> tuple[dict[str, Any], bytes]:
    torch.set_num_threads(asked.threads)
    trained = _by_script(asked) if asked.side.plain else _by_distgan(asked, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    values = {kind: _measured(asked, trained, kind) for kind in trained.networks}
    speed = {
        "images": trained.images,
        "seconds": round(trained.seconds, 2),
        "images per second": round(trained.images / trained.seconds, 2),
        "peak memory, MB": round(peak * 1024 / 1e6),
        **trained.speed,
    }
    # Where data lies says nothing of what was computed.
    settings = to_dict(override(trained.config, {"data": asked.task.set}))
    found = {"images": trained.images, "values": values, "speed": speed, "settings": settings}
    return found, _sheet(asked, trained)


@dataclass
class _Trained:
    """Networks by role and by kind: ``average`` where one is kept, and ``last``."""

    config: TranslationConfig
    networks: dict[str, dict[str, nn.Module]]
    images: int
    seconds: float
    speed: dict[str, float]

    @property
    def best(self) -> str:
        """The kind that is shown."""
        return next(iter(self.networks))


def _by_script(asked: Asked) -> _Trained:
    start = time.perf_counter()
    generator, seen = plain.train(
        asked.data.train, asked.seed, lambda: time.perf_counter() - start < asked.seconds
    )
    seconds = time.perf_counter() - start
    config = asked.side.config(asked.data.train, asked.seed)
    return _Trained(config, {"last": {"generator": generator}}, seen, seconds, {})


def _by_distgan(asked: Asked, folder: Path) -> _Trained:
    side, seconds, threads = asked.side, asked.seconds, asked.threads
    images = NEVER
    if side.falls:
        probe = side.config(asked.data.train, asked.seed)
        tried = limited(probe, max(_LEAST, _PROBE * seconds), threads, folder / "probe")
        images = round(tried.pace * (seconds - tried.start))
    config = side.config(asked.data.train, asked.seed, images)
    # One that ends by itself may take longer than was thought.
    ended = limited(config, seconds * (1.2 if side.falls else 1), threads, folder / "run")
    trained = _Trained(config, {}, ended.images, ended.seconds, {})
    storage = Storage(str(folder / "run"))
    for kind, weights in (("average", "ema"), ("last", "generator")):
        if kind == "last" or not config.generator.ema.half_life.is_zero:
            trained.networks[kind] = load_generator(storage.uri, weights).networks
    trained.speed = waiting(records.read(storage)) | _pools(storage)
    return trained


def _pools(storage: Storage) -> dict[str, float]:
    """Kilobytes of CycleGAN's pools of images, where there are any."""
    state = checkpoint.load_newest(storage)
    extra = {} if state is None else state["extra"]
    sizes = [
        each["images"].numel() * each["images"].element_size()
        for name, each in extra.items()
        if name.startswith("pool_")
    ]
    return {"pools, kB": sum(sizes) / 1e3} if sizes else {}


def _measured(asked: Asked, trained: _Trained, kind: str) -> dict[str, float]:
    settings = EvaluateSettings(
        metrics=asked.task.metrics,
        num=asked.num,
        held_out=asked.data.held_out,
        features=asked.task.set,
    )
    sets, family = open_sets(trained.config), _family(trained.config)
    judge = Evaluator(settings, sets.images, asked.task.set, family, World(), sets.other)
    found = judge.evaluate(trained.networks[kind], trained.images)
    return {name: value.value for name, value in found.values.items()}


def _family(config: TranslationConfig) -> Translation:
    family = build(config, data_spec(*open_sets(config)), World())
    assert isinstance(family, Translation)
    return family


@torch.no_grad()
def _sheet(asked: Asked, trained: _Trained) -> bytes:
    family, held_out = _family(trained.config), open_images(asked.data.held_out)
    numbers = mixed(held_out, SHOWN)
    rows = scaled(read_rows(held_out, numbers, False).images)
    given, target = family.example(Batch({"image": rows}, {}))
    kinds = family.shown(trained.networks[trained.best], given, target)
    pixels = [to_uint8(each) for each in kinds]
    groups = [[each[number] for each in pixels] for number in range(SHOWN)]
    return comparison_png(groups, family.sheet_rows)
