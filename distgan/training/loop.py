"""Training, readable top to bottom: every process of a run executes `train_loop`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from distgan.config.run import RunConfig
from distgan.data.feed import Feed, SampleSource
from distgan.data.images import ImageSet
from distgan.data.sides import Sets
from distgan.data.spec import data_spec
from distgan.errors import IllHealthError, UserError
from distgan.evaluate.evaluation import Evaluation, Evaluator
from distgan.families import Batch, build
from distgan.health import recovery
from distgan.health.diagnosis import HEALTHY, Verdict
from distgan.metrics.names import cost
from distgan.parallel import World
from distgan.runs import checkpoint, records
from distgan.runs import folder as run
from distgan.storage.storage import Storage
from distgan.training import out_of_memory, replicas
from distgan.training.arithmetic import arithmetic
from distgan.training.clock import Clock
from distgan.training.control import PREEMPTION, RESIZE, Control, Outcome, Status, Ticker
from distgan.training.health_monitor import Monitor
from distgan.training.profile import StepProfile
from distgan.training.recorder import RunRecorder
from distgan.training.state import TrainingState
from distgan.training.taken_up import check_same_sets, of_sets, whole


def train_loop(
    config: RunConfig,
    storage: Storage,
    images: ImageSet,
    rows: SampleSource,
    world: World,
    control: Control,
    facts: Mapping[str, Any] | None = None,
    other: ImageSet | None = None,
    other_rows: SampleSource | None = None,
) -> Outcome:
    """Train until ``config.images`` are seen or a stop is asked for, from the newest checkpoint.

    Args:
        storage: the run's folder, which holds its configuration already.
        rows: the images of the set, resident or streamed.
        facts: of this start, for ``environment.json``.
        other: the second set, of a run that has one.
        other_rows: the images of the second set, or of the second half of a halved one.

    Raises:
        IllHealthError: when training diverged, or was to stop for its health.
        UserError: when the run's folder cannot be written, or a device's memory does not suffice.
    """
    # Entered here, so that a checkpoint in flight is written whatever ends the training.
    with (
        arithmetic(config.deterministic, world.device),
        checkpoint.Writer(storage, config.output.keep_checkpoints, control.note) as writer,
        out_of_memory.told(config, world),
    ):
        sets, sources = Sets(images, other), (rows, other_rows)
        training = _Training(config, storage, sets, sources, world, control, writer, facts or {})
        with training.kept():
            return training.run()


class _Training:
    """A run while it trains; all ranks do the same, and rank 0 writes besides."""

    def __init__(
        self,
        config: RunConfig,
        storage: Storage,
        sets: Sets,
        sources: tuple[SampleSource, SampleSource | None],
        world: World,
        control: Control,
        writer: checkpoint.Writer,
        facts: Mapping[str, Any],
    ) -> None:
        self._config, self._storage = config, storage
        self._images, self._other = sets
        self._world, self._control, self._writer = world, control, writer
        self._facts = {"ranks": world.gather(world.describe()), **facts}
        self._data = data_spec(*sets)
        family = build(config, self._data, world)
        rows, other_rows = sources
        self._feed = Feed(rows, family.columns(), family.draws(), config, world, other_rows)
        self._recorder: RunRecorder | None = None
        self._record: records.Record = {}
        self._evaluator: Evaluator | None = None
        self._score: tuple[int, float, str] | None = None
        self._saved: tuple[int, tuple[int, float, str] | None] | None = None
        self._action = ""
        self._updates = 0
        output = config.output
        intervals = (output.log_every, output.sample_every, output.checkpoint_every)
        self._intervals = tuple(filter(None, (*intervals, config.evaluate.every)))
        self._profile = StepProfile(storage, config.output.profile if world.leads else 0)
        if world.leads:
            for folder in (checkpoint.FOLDER, "samples"):
                storage.clear_unfinished(folder)
        self._begin(checkpoint.load_together(storage, world, self._note_damage))

    def _begin(self, saved: dict[str, Any] | None) -> None:
        # Build networks and optimizers, or take them up where a checkpoint left them.
        config, images, world = self._config, self._images, self._world
        self._saved = None
        self._state = TrainingState(config, self._data, world)
        if saved is not None:
            with whole(self._storage.uri):
                check_same_sets(saved, config, images, self._other)
                self._state.load_state_dict(saved, self._storage.uri)
        self._clock = Clock(self._state.images_seen, world)
        self._ticker = Ticker(world, self._control)
        self._monitor = Monitor(config, self._state, self._feed, images, self._other)
        if saved is not None:
            with whole(self._storage.uri):
                self._monitor.load_state_dict(saved["health"])
        if world.leads:
            self._recorder = RunRecorder(
                config,
                self._storage,
                images,
                self._state,
                self._writer,
                self._facts,
                self._other,
            )
        furthest = self._recorder.recorder.furthest if self._recorder is not None else 0
        self._control.report(Status(self._state.images_seen, furthest=furthest))
        world.meet()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """However it ends, what was recorded gets to where the run lies."""
        try:
            yield
        except BaseException:
            # That error is the news, not that the records could not be moved either.
            with contextlib.suppress(Exception):
                self._profile.close()
            if self._recorder is not None:
                with contextlib.suppress(Exception):
                    self._recorder.close()
            raise
        self._profile.close()
        if self._recorder is not None:
            self._recorder.close()

    def run(self) -> Outcome:
        """Until the end, or a signal."""
        config, output = self._config, self._config.output
        micro_batches = range(0, config.batch, config.micro_batch)
        stopped = ""
        while self._state.images_seen < config.images and not stopped:
            # Fetch this rank's part of the global batch.
            self._clock.start_wait()
            seen = self._state.images_seen
            batches = [self._feed.batch(seen + first) for first in micro_batches]
            self._clock.end_wait()

            # Update the discriminator, the generator in its turn, and all that follows them.
            self._state.step(batches)
            self._updates += 1
            self._profile.after_step(self._state.images_seen)

            # Record, sample and save whenever a multiple of the interval has been passed.
            if self._passed(output.log_every) and self._judge(batches[0]) != "go on":
                continue
            self._look_before_the_first_record()
            if config.evaluate.every and self._passed(config.evaluate.every):
                failure = self._evaluate()
                if failure is not None:
                    raise failure
            if self._passed(output.sample_every):
                self._sample()
            # Hear what the outside wants; all ranks agree on the answer.
            self._writer.check()
            stopped = self._ticker.tick(self._status())
            if stopped or self._passed(output.checkpoint_every):
                self._save()
            if any(map(self._passed, self._intervals)):
                # The limit of a step's exchanges is short, and rank 0 may have met slow storage.
                self._world.meet()

        complete = self._state.images_seen >= config.images
        if complete:
            # Whoever asked for a stop with the last step has nothing left to stop.
            stopped = ""
        if complete or stopped not in (PREEMPTION, RESIZE):
            self._conclude(complete)
        return Outcome(self._state.images_seen, stopped)

    def _conclude(self, complete: bool) -> None:
        """What is due only at intervals, once more where a run ends or stops between two."""
        # First of all: neither a failure nor the end of patience in what follows may cost it.
        self._save()
        if not self._passed(self._config.output.log_every):
            # Beside the records proper: the statistics go on, and with them a resumed run.
            means = self._state.statistics.means(self._world, keep=True)
            lap = self._clock.lap(self._state.images_seen)
            self._record = {"images": self._state.images_seen, **means, **lap}
            self._record |= {"health": self._monitor.state, "interim": True}
            if self._recorder is not None:
                self._recorder.recorder.add(self._record)
            self._control.report(self._status())
        every, failure = self._config.evaluate.every, None
        if every and not self._passed(every):
            failure = self._evaluate()
        # With its score.
        self._save()
        if not complete:
            self._sample()
            if failure is not None:
                self._control.note(f"no last evaluation: {failure}")
            self._control.report(self._status())
            return
        if self._recorder is not None:
            self._recorder.finish(self._state)
        self._control.report(self._status())
        if failure is not None:
            raise failure

    def _status(self) -> Status:
        seen, recorder = self._state.images_seen, self._recorder
        if recorder is None:
            return Status(seen, self._record)
        return Status(seen, self._record, measured=recorder.measured, sampled=recorder.sampled)

    def _look_before_the_first_record(self) -> None:
        """After 1, 2, 4, 8, ... updates, until there is a record: show the means so far.

        To read them waits for the device, and all ranks must do it at the same step. By the
        count of updates they agree without a word, and it is done a few times a start only.
        Neither the means nor the weights change by it.
        """
        shown = self._record and "interim" not in self._record
        if shown or self._updates & (self._updates - 1):
            return
        family = self._state.family
        means = self._state.statistics.means(self._world, keep=True)
        # A network whose turn has not come has no values yet.
        means |= family.derived({name: means.get(name, 0.0) for name in family.statistics})
        self._record = {"images": self._state.images_seen, **means, "interim": True}

    def _sample(self) -> None:
        self._state.agree_on_buffers()
        if self._recorder is not None:
            self._recorder.sample(self._state)

    def _note_damage(self, text: str) -> None:
        self._control.note(text, "checkpoint damaged")

    def _passed(self, every: int) -> bool:
        seen = self._state.images_seen
        return seen // every > (seen - self._config.batch) // every

    def _save(self) -> None:
        """Write a checkpoint, unless this very state has been written already."""
        if self._saved == (self._state.images_seen, self._score):
            return
        self._saved = (self._state.images_seen, self._score)
        self._state.agree_on_buffers()
        contents = self._state.state_dict()
        contents |= of_sets(self._images, self._other)
        contents |= {"family": self._config.family, "classes": list(self._images.classes)}
        # Weights may have turned into nan since the last record was judged.
        healthy = self._monitor.healthy and self._state.finite()
        contents |= {"health": self._monitor.state_dict(), "healthy": healthy}
        if self._score is not None and self._score[0] == self._state.images_seen:
            contents["score"], contents["score_of"] = self._score[1:]
        if self._recorder is not None:
            # Records first: a checkpoint must not be ahead of them.
            self._writer.save(contents, first=self._recorder.recorder.publish)

    def _evaluate(self) -> Exception | None:
        """Measure the generator on all ranks, while training stands still.

        Returns:
            why it could not be measured, or on rank 0 why that could not be written down; the
            ranks go on together either way.
        """
        start = time.perf_counter()
        try:
            found = self._measure()
        except (UserError, OSError) as error:
            return error
        name, first = next(iter(found.values.items()))
        kind = f"{name} of card {found.card.key}"
        self._score = (self._state.images_seen, cost(name, first.value), kind)
        failure: Exception | None = None
        if self._recorder is not None:
            try:
                self._recorder.evaluated(found, time.perf_counter() - start)
            except (UserError, OSError) as error:
                failure = error
        # The checkpoint in flight may be the best so far.
        self._writer.wait()
        best = checkpoint.best_score(self._storage, kind) if self._world.leads else 0.0
        best = self._world.broadcast(torch.tensor(best, dtype=torch.float64)).item()
        if self._score[1] < best:
            self._save()
        return failure

    def _measure(self) -> Evaluation:
        config, state = self._config, self._state
        if self._evaluator is None:
            self._evaluator = Evaluator(
                config.evaluate, self._images, config.data, state.family, self._world, self._other
            )
        state.agree_on_buffers()
        with state.generating(config.evaluate.weights) as networks:
            return self._evaluator.evaluate(networks, state.images_seen)

    def _judge(self, batch: Batch) -> str:
        """Write a record and act on what it says of the run's health: "go on", or "again"."""
        state = self._state
        means = state.statistics.means(self._world)
        before = self._monitor.state
        signs, verdict = self._monitor.examine(state, means, batch)
        means |= state.family.gauges()
        lap = self._clock.lap(state.images_seen)
        self._record = {"images": state.images_seen, **means, **signs, **lap}
        if self._action:
            self._record["action"], self._action = self._action, ""
        action = recovery.choose(self._config.health, verdict)
        if self._monitor.drift:
            self._control.note(self._monitor.drift, replicas.KIND)
        if self._recorder is not None:
            self._recorder.recorder.add(self._record)
            if verdict.state != before and action != "give up":
                ill = verdict.state != HEALTHY
                text = recovery.state_message(verdict, state.images_seen)
                self._control.note(text, recovery.ILL if ill else recovery.HEALTHY_AGAIN)
        if action == "roll back":
            self._roll_back(verdict)
            return "again"
        if action in ("stop", "give up"):
            if verdict.state != "non-finite":
                self._save()
                self._sample()
            raise IllHealthError(
                recovery.stop_message(verdict, state.images_seen, self._storage.uri)
            )
        return "go on"

    def _roll_back(self, verdict: Verdict) -> None:
        """Return to the last healthy checkpoint, on all ranks, with one setting changed."""
        ill_at = self._state.images_seen
        # As rank 0 sees them: a shared filesystem may show another rank fewer.
        known = len(recovery.interventions(self._storage)) if self._world.leads else 0
        past = int(self._world.broadcast(torch.tensor(known)))
        if past >= self._config.health.rollbacks:
            raise IllHealthError(
                recovery.exhausted_message(verdict, ill_at, past, self._storage.uri)
            )
        self._config, change = recovery.changed(self._config)
        if self._recorder is not None:
            self._recorder.close()
        # Nobody reads before the checkpoint in flight is written, nor does anything change
        # before everybody has read.
        self._world.gather(ill_at)
        saved = checkpoint.load_together(
            self._storage, self._world, self._note_damage, healthy=True
        )
        back_to = 0 if saved is None else saved["images_seen"]
        self._action = f"back from {ill_at:,} images ({verdict.state}), with {change}"
        if self._world.leads:
            checkpoint.forget_after(self._storage, back_to if saved is not None else -1)
            run.update(self._storage, self._config)
            recovery.record_intervention(self._storage, verdict, ill_at, back_to, change)
            self._control.note(f"back to {back_to:,} images, with {change}")
        self._begin(saved)
