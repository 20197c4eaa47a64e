"""Training, readable top to bottom: every process of a run executes `train`."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from distgan import checkpoint, export, records, run
from distgan.config import Config
from distgan.data.feed import Feed, Rows
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.parallel import World
from distgan.player import Player
from distgan.samples import SampleSheet
from distgan.state import TrainingState
from distgan.storage import Storage

_SECONDS_BETWEEN_TICKS = 0.25


@dataclass(frozen=True)
class Status:
    """How far a run has come; ``record`` holds the newest record's values."""

    images_seen: int
    record: records.Record = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``stopped`` names the signal that asked for it, or is empty."""

    images_seen: int
    stopped: str = ""


class Control(Protocol):
    """Rank 0's wire to whoever started the run. Calls must return at once."""

    def report(self, status: Status) -> None:
        """Take note of progress."""

    def note(self, text: str) -> None:
        """Pass on something that deserves a line of its own."""

    def stop_signal(self) -> str:
        """The name of the signal that asks the run to stop, or an empty string."""
        ...


class NoControl:
    """Tells nobody and is told nothing: for the ranks that do not lead."""

    def report(self, status: Status) -> None: ...  # noqa: D102
    def note(self, text: str) -> None: ...  # noqa: D102
    def stop_signal(self) -> str:  # noqa: D102
        return ""


def train(
    config: Config,
    storage: Storage,
    images: ImageSet,
    rows: Rows,
    world: World,
    control: Control,
) -> Outcome:
    """Train until ``config.images`` are seen or a stop is asked for, from the newest checkpoint.

    Args:
        storage: the run's folder, which holds its configuration already.
        rows: the images of the set, resident or streamed.

    Raises:
        UserError: when training diverged, or the run's folder cannot be written.
    """
    # Entered here, so that a checkpoint in flight is written whatever ends the training.
    with checkpoint.Writer(storage, config.output.keep_checkpoints, control.note) as writer:
        return _train(config, storage, images, rows, world, control, writer)


def _train(
    config: Config,
    storage: Storage,
    images: ImageSet,
    rows: Rows,
    world: World,
    control: Control,
    writer: checkpoint.Writer,
) -> Outcome:
    # Build networks and optimizers, or take them up where a checkpoint left them.
    state = TrainingState(config, images.shape, len(images.classes), world)
    saved = checkpoint.load_newest(storage, control.note)
    if saved is not None:
        _check_same_set(saved, config.data, images)
        state.load_state_dict(saved, storage.uri)
    feed = Feed(rows, config, images.shape, world)
    micro_batches = range(0, config.batch, config.micro_batch)
    clock = _Clock(state.images_seen, world)
    ticker = _Ticker(world, control)
    journal = _Journal(config, storage, images, state, writer) if world.leads else None
    record: records.Record = {}
    control.report(Status(state.images_seen))
    stopped = ""

    while state.images_seen < config.images and not stopped:
        # Fetch this rank's part of the global batch.
        clock.start_wait()
        batches = [feed.batch(state.images_seen + first) for first in micro_batches]
        clock.end_wait()

        # Update the discriminator, the generator in its turn, and all that follows them.
        state.step(batches)

        # Record, sample and save whenever a multiple of the interval has been passed.
        if _passed(state.images_seen, config.output.log_every, config.batch):
            record = _record(state, clock)
            if journal is not None:
                journal.recorder.add(record)
        if _passed(state.images_seen, config.output.sample_every, config.batch):
            state.agree_on_buffers()
            if journal is not None:
                journal.sample(state)
        # Hear what the outside wants; all ranks agree on the answer.
        writer.check()
        stopped = ticker.tick(Status(state.images_seen, record))
        if stopped or _passed(state.images_seen, config.output.checkpoint_every, config.batch):
            _save(state, images, journal)

    if not stopped:
        _save(state, images, journal)
        if journal is not None:
            journal.finish(state)
    if journal is not None:
        journal.close()
    return Outcome(state.images_seen, stopped)


def _passed(images_seen: int, every: int, batch: int) -> bool:
    return images_seen // every > (images_seen - batch) // every


def _check_same_set(saved: dict[str, Any], data: str, images: ImageSet) -> None:
    if (saved["set_count"], saved["set_shape"]) != (images.count, list(images.shape)):
        raise UserError(
            f"--data {data}: has {images.count:,} images of shape {tuple(images.shape)}, but the "
            f"run saw {saved['set_count']:,} of {tuple(saved['set_shape'])}; put that set back"
        )


def _save(state: TrainingState, images: ImageSet, journal: _Journal | None) -> None:
    state.agree_on_buffers()
    contents = state.state_dict()
    contents |= {"set_count": images.count, "set_shape": list(images.shape)}
    if journal is not None:
        # Records first: a checkpoint must not be ahead of them.
        journal.writer.save(contents, first=journal.recorder.publish)


def _record(state: TrainingState, clock: _Clock) -> records.Record:
    found = state.statistics.means(state.world)
    found["d_grad_norm"] = _gradient_norm(state.discriminator)
    found["g_grad_norm"] = _gradient_norm(state.generator)
    for name, value in found.items():
        if not math.isfinite(value):
            raise UserError(
                f"training diverged: {name} is {value} after {state.images_seen:,} images; "
                "start a new run with lower --generator.optimizer.lr and "
                "--discriminator.optimizer.lr"
            )
    if state.augment.adaptation is not None:
        found["augment_p"] = state.augment.adaptation.probability.item()
    return {"images": state.images_seen, **found, **clock.lap(state.images_seen)}


def _gradient_norm(player: Player) -> float:
    gradients = [p.grad for p in player.network.parameters() if p.grad is not None]
    norm: Tensor = get_total_norm(gradients, foreach=True)
    return norm.item()


class _Clock:
    """Speed, share of time spent waiting for data, and traffic, between two records."""

    def __init__(self, images_seen: int, world: World) -> None:
        self._world = world
        self._lap_start = time.perf_counter()
        self._lap_images, self._lap_bytes = images_seen, world.bytes_sent
        self._waited = self._wait_start = 0.0

    def start_wait(self) -> None:
        self._wait_start = time.perf_counter()

    def end_wait(self) -> None:
        self._waited += time.perf_counter() - self._wait_start

    def lap(self, images_seen: int) -> records.Record:
        now = time.perf_counter()
        seconds = now - self._lap_start
        images, sent = images_seen - self._lap_images, self._world.bytes_sent
        found = {
            "images_per_second": round(images / seconds, 1),
            "data_wait": round(self._waited / seconds, 5),
            "bytes_per_image": round((sent - self._lap_bytes) / images, 1),
        }
        self._lap_start, self._lap_images, self._waited = now, images_seen, 0.0
        self._lap_bytes = sent
        return found


class _Ticker:
    """A few times a second: report progress, and agree on whether to stop.

    Ranks may only agree at a step they all reach, so rank 0 announces, each time, after
    how many steps the next tick is due.
    """

    def __init__(self, world: World, control: Control) -> None:
        self._world, self._control = world, control
        self._steps = self._due = 1
        self._last = time.perf_counter()

    def tick(self, status: Status) -> str:
        """The signal to stop for, the same on all ranks, or an empty string."""
        self._due -= 1
        if self._due > 0:
            return ""
        now = time.perf_counter()
        pace = _SECONDS_BETWEEN_TICKS / max(now - self._last, 1e-6) * self._steps
        self._last = now
        signal = _SIGNALS.index(self._control.stop_signal()) if self._world.leads else 0
        plan = torch.tensor([signal, max(1, min(round(pace), 2 * self._steps, 1000))])
        signal, self._steps = self._world.broadcast(plan).tolist()
        self._due = self._steps
        if self._world.leads:
            self._control.report(status)
        return _SIGNALS[signal]


_SIGNALS = ("", "SIGINT", "SIGTERM")


class _Journal:
    """What rank 0 writes besides checkpoints: records, grids, and the result."""

    def __init__(
        self,
        config: Config,
        storage: Storage,
        images: ImageSet,
        state: TrainingState,
        writer: checkpoint.Writer,
    ) -> None:
        self.writer = writer
        self.recorder = records.Recorder(storage, state.images_seen)
        self._config, self._storage, self._images = config, storage, images
        classes = images.classes if config.conditional else ()
        self._sheet = SampleSheet(config.seed, config.latent, len(classes))
        run.record_environment(
            storage, state.world.size, _device_name(state.world.device), state.images_seen
        )
        if state.images_seen == 0:
            self.sample(state)

    def sample(self, state: TrainingState) -> None:
        picture = self._sheet.draw(state.ema.average)
        self._storage.write(f"samples/images-{state.images_seen:012d}.png", picture)

    def finish(self, state: TrainingState) -> None:
        # A complete run has its last checkpoint; only then is there a result.
        self.writer.wait()
        self.sample(state)
        networks = {"ema": state.ema.average, "generator": state.generator.network}
        export.export(
            self._storage,
            self._config,
            self._images.shape,
            self._images.classes,
            networks,
            state.images_seen,
        )

    def close(self) -> None:
        self.writer.wait()
        self.recorder.close()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
