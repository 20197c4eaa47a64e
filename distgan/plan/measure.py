"""Measures the time of a cycle of updates on this machine's processor."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

from distgan.config.run import RunConfig
from distgan.families import DataSpec
from distgan.parallel import World
from distgan.plan.batches import random_batches
from distgan.plan.model import Compute
from distgan.training.state import TrainingState

_LONGEST = 0.5
"""Upper bound of a measured cycle's seconds; larger batches are replaced by smaller ones."""
_LEAST, _TURNS = 4, 3
"""Images of the smallest micro-batch; the least number of cycles of each size."""


class Cycles:
    """Cycles of a configuration's updates in this process, with torch's number of threads."""

    def __init__(self, config: RunConfig, data: DataSpec, world: World | None = None) -> None:
        self._config = config
        self.state = TrainingState(config, data, world or World())

    def seconds(self, images: int) -> float:
        """Time one cycle with ``images`` images of each batch in this process."""
        part = max(1, images // self._config.accumulate)
        batches = random_batches(self._config, self.state.family, part, self.state.world.device)
        start = time.perf_counter()
        for _ in range(self.state.cycle):
            self.state.step(batches)
        return time.perf_counter() - start

    def images_per_second(self, seconds: float) -> float:
        """Real images a second of whole batches, by the median of cycles of about ``seconds``."""
        self.seconds(self._config.batch)  # The first is slower.
        times: list[float] = []
        while not times or sum(times) < seconds:
            times.append(self.seconds(self._config.batch))
        return self.state.cycle * self._config.batch / statistics.median(times)

    def after(self) -> float:
        """Median seconds of a cycle's optimizer steps and moving average."""
        state = self.state

        def work() -> None:
            for role, network in state.networks.items():
                for _ in range(state.cycle // state.every(role)):
                    network.end_update()
            for average in state.averages.values():
                average.update(state.images_seen, self._config.batch)

        return statistics.median(_timed(work) for _ in range(5))


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(config: RunConfig, data: DataSpec, share: int, seconds: float = 3.0) -> Compute:
    """Time cycles on the whole batch and on one worker's share of it, alternately.

    Time is assumed linear in the number of images, so a prediction for one of the two measured
    numbers is the measurement. Where a cycle would take too long, smaller numbers are used.

    Args:
        share: images of the batch on one worker.
        seconds: approximate duration of the measurement.
    """
    cycles = Cycles(config, data)
    least = _LEAST * config.accumulate
    cycles.seconds(least)
    most = max(2 * least, int(_LONGEST / cycles.seconds(least) * least))
    sizes = {min(most, max(least, size)) for size in (share, config.batch)}
    if len(sizes) == 1:
        sizes.add(max(sizes) // 2)
    times: dict[int, list[float]] = {size: [] for size in sizes}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times[max(sizes)]) < _TURNS:
        for size, found in times.items():
            found.append(cycles.seconds(size))
    return fit(times, cycles.after())


def fit(times: dict[int, list[float]], after: float) -> Compute:
    """The line through the median seconds at two numbers of images.

    The deviation is estimated at the larger number from differences of successive cycles (von
    Neumann 1941), by their median: it is affected neither by drift of the machine nor by outliers.

    Args:
        after: seconds of a cycle once gradients have arrived.
    """
    (few, short), (many, long) = sorted(times.items())
    low, high = statistics.median(short), statistics.median(long)
    per_image = max(0.0, (high - low) / (many - few))
    fixed = max(0.0, high - per_image * many)
    steps = [abs(b - a) for a, b in itertools.pairwise(long)]
    # The median of |a - b| of two normal numbers is 0.954 standard deviations.
    deviation = statistics.median(steps) / 0.954 / high
    return Compute(fixed, per_image, after=min(after, low), deviation=deviation)
