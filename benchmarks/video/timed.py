"""One run for so many seconds, in a process of its own, and what it learned by then."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.limited import limited, waiting
from benchmarks.video.sides import METRICS, Side
from distgan.config.evaluate import EvaluateSettings
from distgan.config.settings import override, to_dict
from distgan.data.images import open_images
from distgan.data.spec import data_spec
from distgan.evaluate.evaluation import Evaluator
from distgan.families import build
from distgan.parallel import World
from distgan.runs import records
from distgan.runs.animation import small
from distgan.runs.clips import LoadedClips
from distgan.runs.export import load_generator
from distgan.runs.grid import grid_png, to_uint8
from distgan.storage.storage import Storage

SHOWN, _STRIPS = 16, 8
"""Clips of a film, and those of them that stand frame beside frame."""


@dataclass(frozen=True)
class Asked:
    """A run: ``num`` clips are made to measure it."""

    side: Side
    data: str
    seed: int
    seconds: float
    threads: int
    num: int


@dataclass(frozen=True)
class Found:
    """What is recorded of a run, its clips as an animation, and frame beside frame as PNG."""

    record: dict[str, Any]
    film: bytes
    strip: bytes


def run(asked: Asked, folder: Path) -> Found:
    """Train and measure in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, asked, folder).result()


def _run(asked: Asked, folder: Path) -> Found:
    torch.set_num_threads(asked.threads)
    config = asked.side.config(asked.data, asked.seed)
    ended = limited(config, asked.seconds, asked.threads, folder / "run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    storage = Storage(str(folder / "run"))
    loaded = load_generator(storage.uri)
    assert isinstance(loaded, LoadedClips)
    images = open_images(asked.data)
    settings = EvaluateSettings(metrics=METRICS, num=asked.num)
    family = build(config, data_spec(images), World())
    judge = Evaluator(settings, images, asked.data, family, World())
    values = judge.evaluate(loaded.networks, ended.images).values
    record = {
        "images": ended.images,
        "values": {name: value.value for name, value in values.items()},
        "speed": {
            "clips": ended.images,
            "seconds": round(ended.seconds, 2),
            "clips per second": round(ended.images / ended.seconds, 2),
            "peak memory, MB": round(peak * 1024 / 1e6),
            **waiting(records.read(storage)),
        },
        # Where data lies says nothing of what was computed.
        "settings": to_dict(override(config, {"data": asked.side.recipe})),
    }
    clips = loaded.sample(SHOWN, seed=asked.seed)
    frames = to_uint8(clips.flatten(0, 1))
    pixels = frames.reshape(*clips.shape[:2], *frames.shape[1:])
    strip = grid_png(frames[: _STRIPS * clips.shape[1]], clips.shape[1])
    return Found(record, small(pixels, loaded.fps, columns=8), strip)
