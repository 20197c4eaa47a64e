"""What a record says of speed, waiting for data, traffic and memory."""

from __future__ import annotations

import time

import torch

from distgan.parallel import World
from distgan.runs import records


class Clock:
    """Speed, share of time spent waiting for data, and traffic, between two records; and the
    most memory that this rank's GPU has held so far."""

    def __init__(self, images_seen: int, world: World) -> None:
        self._world = world
        self._lap_start = time.perf_counter()
        self._lap_images, self._lap_bytes = images_seen, world.bytes_sent
        self._waited = self._wait_start = 0.0

    def start_wait(self) -> None:
        """A batch is asked for."""
        self._wait_start = time.perf_counter()

    def end_wait(self) -> None:
        """The batch is here."""
        self._waited += time.perf_counter() - self._wait_start

    def lap(self, images_seen: int) -> records.Record:
        """Since the last one; nothing where no images were trained on meanwhile."""
        now = time.perf_counter()
        seconds = now - self._lap_start
        images, sent = images_seen - self._lap_images, self._world.bytes_sent
        if not images:
            return {}
        found: records.Record = {
            "images_per_second": round(images / seconds, 1),
            "data_wait": round(self._waited / seconds, 5),
            "bytes_per_image": round((sent - self._lap_bytes) / images, 1),
        }
        if self._world.device.type == "cuda":
            found["peak_memory"] = torch.cuda.max_memory_allocated(self._world.device)
        self._lap_start, self._lap_images, self._waited = now, images_seen, 0.0
        self._lap_bytes = sent
        return found
