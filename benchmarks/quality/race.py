"""One race: every racer in a process of its own, in turns, until all are there."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.frame.noise import Usage
from benchmarks.quality.racers import RACERS
from distgan.config.evaluate import EvaluateSettings
from distgan.data.images import open_images
from distgan.evaluate.evaluation import Evaluator
from distgan.parallel import World


@dataclass(frozen=True)
class Course:
    """What is raced on.

    Args:
        name: of the set.
        data: the same as `open_images` takes it.
        features: the extractor.
        target: the Frechet distance to reach.
        every: seconds of training between measurements, twice as many after ``fine`` seconds.
        limit: seconds of training after which a racer gives up.
        fine: seconds that a racer trains at least, also when it is there sooner.
        num: generated images in a measurement, and as many real ones.
    """

    name: str
    data: str
    features: str
    target: float
    every: float
    limit: float
    num: int = 5_000
    fine: float = 60.0

    def mark(self, seconds: float) -> float:
        """When a racer is measured next that has trained for so long."""
        step = self.every if seconds < self.fine - self.every / 2 else 2 * self.every
        return (round(seconds / self.every) * self.every) + step


class _Entrant:
    """A racer's process, which trains or is measured when it is its turn."""

    def __init__(self, name: str, course: Course, seed: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, name, course, seed, threads), daemon=True
        )
        self._process.start()
        self._pipe.recv()
        self.card: dict[str, Any] = {}
        self.seconds, self.images, self.taken = 0.0, 0, 0.0
        self.evaluations: list[dict[str, float]] = []

    def turn(self, course: Course) -> float:
        """Train up to the next mark, and measure; returns the distance."""
        mark = course.mark(self.seconds)
        before, start = Usage.now(), time.perf_counter()
        self._pipe.send(mark - self.seconds)
        seconds, images = self._pipe.recv()
        self.taken += Usage.now().busy_since(before) * seconds
        self._pipe.send(None)
        self.seconds, self.images = self.seconds + seconds, self.images + images
        value, self.card = self._pipe.recv()
        self.evaluations.append(
            {
                "seconds": round(self.seconds, 3),
                "images": self.images,
                "frechet": round(value, 3),
                "evaluating": round(time.perf_counter() - start - seconds, 3),
            }
        )
        return float(value)

    def done(self, course: Course) -> bool:
        """Whether it has nothing left to do: it is there, or gives up."""
        enough = course.limit if self.reached(course.target) is None else course.fine
        return self.seconds >= enough

    def reached(self, target: float) -> dict[str, float] | None:
        """The first measurement at the target or below."""
        return next((e for e in self.evaluations if e["frechet"] <= target), None)

    def end(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, name: str, course: Course, seed: int, threads: int) -> None:
    torch.set_num_threads(threads)
    build, arguments = RACERS[name]
    racer = build(course.data, seed, *arguments)
    settings = EvaluateSettings(metrics=("frechet",), num=course.num, features=course.features)
    images = open_images(course.data)
    judge = Evaluator(settings, images, course.features, racer.family, World())
    seen = 0
    pipe.send("ready")
    while True:
        seconds = pipe.recv()
        if seconds is None:
            found = judge.evaluate({"generator": racer.sampler()}, seen)
            pipe.send((found.values["frechet"].value, found.card.to_dict()))
            racer.resume()
            continue
        images_now, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            images_now += racer.step()
        seen += images_now
        pipe.send((passed, images_now))


def race(
    course: Course,
    names: list[str],
    seed: int,
    tell: Callable[[str, float, int, float], None],
) -> dict[str, Any]:
    """Let racers train in turns until every one has reached the target, or the limit.

    Args:
        tell: hears of a racer's seconds, images and distance at every measurement.

    Returns:
        each racer's card, measurements, the first of them at the target, and the share of the
        machine that others took while it trained.
    """
    threads = os.cpu_count() or 1
    entrants = {name: _Entrant(name, course, seed, threads) for name in names}
    running = dict(entrants)
    while running:
        for name, entrant in list(running.items()):
            value = entrant.turn(course)
            tell(name, entrant.seconds, entrant.images, value)
            if entrant.done(course):
                running.pop(name).end()
    return {
        name: {
            "card": entrant.card,
            "reached": entrant.reached(course.target),
            "others": round(entrant.taken / entrant.seconds, 3),
            "evaluations": entrant.evaluations,
        }
        for name, entrant in entrants.items()
    }
