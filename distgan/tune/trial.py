"""One trial: a run of distgan, trained in a process of Ray Tune's and measured at every rung."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from distgan import launch
from distgan.config.run import RunConfig
from distgan.config.settings import leaves, override
from distgan.errors import IllHealthError, UserError
from distgan.evaluate import evaluation
from distgan.health import recovery
from distgan.health.diagnosis import Verdict
from distgan.launch.evaluation import evaluate
from distgan.launch.ray.messages import cluster_mailbox
from distgan.launch.ray.workers import Device
from distgan.launch.signals import StopRequest
from distgan.launch.start import Plan, Result
from distgan.metrics.names import metric_of
from distgan.runs import checkpoint, records
from distgan.runs import folder as run
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage
from distgan.training.control import Status
from distgan.tune import population, record
from distgan.tune.disk import COPIES, HANDED_ON
from distgan.tune.record import Adoption, Measured, Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

_ILL = ("non-finite", "exploding", "collapsed")
_SECONDS_BETWEEN_POSTS = 0.5
_SECONDS_TO_LEAVE = 45.0
"""How long the process that trained a trial before, and was given up, may take to end."""


@dataclass(frozen=True)
class Job:
    """What all trials of a search share; travels to their processes by pickle."""

    out: str
    """Where the search lies, for any process."""
    settings: TuneSettings
    space: Space
    base: RunConfig
    mailbox: str
    members: int
    """Of a population; 0 where trials know nothing of each other."""
    threads: int
    device: Device
    owner: str | None = None
    """Whom the search belongs to, see `distgan.storage.ownership`; None writes for whoever."""

    def storage(self) -> Storage:
        """The folder of the search, written to for its owner."""
        return Storage(self.out, owner=self.owner)

    def config(self, trial: Trial) -> RunConfig:
        """What a trial trains."""
        shared = self.settings.trial(self.base, trial.seed)
        if trial.confirms is not None:
            shared = override(shared, {"evaluate.every": 0})
        return override(shared, self.space.changes(trial.point))


def run_trial(config: dict[str, Any], job: Job) -> None:
    """The function that Ray Tune runs; ``config["trial"]`` says which trial it is."""
    _Runner(job, config["trial"]).run()


class _Runner:
    """Trains a trial from wherever it stands, and keeps its record."""

    def __init__(self, job: Job, given: dict[str, Any]) -> None:
        self._job, self._given, self._search = job, given, job.storage()
        known = record.load(self._search, given["number"])
        self._trial = known or Trial(**given)
        self._trial.state, self._trial.why = "running", ""
        self._run = self._search.child(f"{record.FOLDER}/{self._trial.name}")
        self._mailbox = cluster_mailbox(job.mailbox)
        self._started = time.monotonic()
        self._spent = self._trial.seconds
        self._reported = self._trial.rung
        self._watch = _TrialObserver(self)

    def run(self) -> None:
        """Until the trial is over, is told to end, or its process dies."""
        try:
            if not self._take_up():
                return
            result = self._train()
            self._watch.look()
            if self._watch.why:
                self._end_ill(self._watch.why)
            elif result is not None and result.stopped:
                self._keep("stopped")
            else:
                self.measured()
                self._finish()
        except SystemExit:
            # Ray Tune ends a trial that waits in `report` this way, or has it wait for others.
            if self._trial.state == "running":
                waits = self._job.settings.scheduler == "pbt"
                if waits or self._watch.stop.name or self.asked_to_stop():
                    self._keep("stopped")
                else:
                    self._keep("ended early", "its measurements were among the worse")
            raise
        except IllHealthError as error:
            self._end_ill(str(error))
        except UserError as error:
            self._keep("failed", str(error))
            self._tell(self._reported + 1, self._job.settings.worst, over=True)

    def post(self, status: Status) -> None:
        """Let whoever watches the search know how far this is."""
        speed = status.record.get("images_per_second", 0.0)
        # The head of the cluster may be away for a moment; the next news says it all.
        with contextlib.suppress(Exception):
            self._mailbox.put(
                self._trial.name, {"images": status.images_seen, "images_per_second": speed}
            )

    def seen(self, images: int) -> None:
        """Remember how far the run has come."""
        self._trial.images = images

    def asked_to_stop(self) -> bool:
        """Whether the whole search is to stop."""
        with contextlib.suppress(Exception):
            return bool(self._mailbox.get("stop"))
        return False

    def illness(self) -> tuple[int, str] | None:
        """Images at the first record of an illness that ends a trial, and what it was.

        By the records, and not by the progress of the run, which is told a few times a second: a
        search that is repeated, or resumed, has to end the same trials.
        """
        adoptions = self._trial.adoptions
        since = adoptions[-1].images if adoptions else 0
        for found in records.read(self._run):
            images, state = found["images"], str(found.get("health", ""))
            if images > since and state in _ILL:
                verdict = Verdict(state, found.get("evidence", ""), found.get("remedy", ""))
                # Without the word that begins every line on health.
                return images, recovery.state_message(verdict, images).partition(" ")[2]
        return None

    def measured(self, images: int | None = None, before: float = math.inf) -> None:
        """Report measurements of the run that Ray Tune has not heard of; may not return.

        Args:
            images: seen by now, None for all of a run that is over.
            before: images at which the run fell ill; what was measured since does not count.
        """
        settings = self._job.settings
        if images is not None and images // settings.rung <= self._reported:
            return
        kept = [e["images_seen"] for e in checkpoint.index(self._run)]
        for entry in evaluation.read(self._run):
            # Somebody may have evaluated it by hand, otherwise than the search does.
            if settings.value not in entry["values"]:
                continue
            # Of an encoder's metrics the set may hold fewer images than were asked for.
            if entry["card"]["fake"] not in (settings.rung_num, 0):
                continue
            found = _measured(entry, settings)
            fresh = self._reported < found.rung and found.images < settings.max_images
            fresh = fresh and found.images < before
            # A population passes checkpoints on, which are written a moment later.
            if fresh and (settings.scheduler != "pbt" or found.images in kept):
                if settings.scheduler == "pbt":
                    self._hand_on(found.images)
                self._trial.history.append(found)
                self._keep("running")
                self._tell(found.rung, found.value)

    def _train(self) -> Result | None:
        job, trial, watch = self._job, self._trial, self._watch
        if self.asked_to_stop():
            watch.stop.name = "SIGTERM"
        options: dict[str, Any] = {
            "workers": job.settings.workers_per_trial,
            "threads": job.threads,
            "device": job.device,
            "display": watch,
            "stop": watch.stop,
            "wait": _SECONDS_TO_LEAVE,
        }
        if not self._run.exists(run.CONFIG):
            trial.changes = self._changes()
            self._keep("running")
            return launch.train(job.config(trial), out=self._run.uri, **options)
        entries = checkpoint.index(self._run)
        self._keep("running")
        if entries and entries[-1]["images_seen"] >= job.settings.max_images:
            return None
        return launch.resume(self._run.uri, **options)

    def _finish(self) -> None:
        settings = self._job.settings
        wanted = {"metrics": (metric_of(settings.metric),), "num": settings.num}
        # By the workers that trained, where there are: this process holds no room for it.
        made = evaluate(
            self._run.uri,
            wanted,
            workers=settings.workers_per_trial,
            threads=self._job.threads,
            device=self._job.device,
        )
        found = _measured(made.to_dict(), settings)
        self._trial.final, self._trial.images = found, found.images
        self._keep("finished")
        self._tell(max(found.rung, self._reported + 1), found.value, over=True)

    def _end_ill(self, why: str) -> None:
        if self._job.settings.scheduler == "pbt":
            # Whoever is ill takes over a better one's state, and does not come back here.
            self._trial.fell_ill.append(self._reported + 1)
            self._keep("running", why)
            self._tell(self._reported + 1, self._job.settings.worst)
        self._keep("ill", why)
        self._tell(self._reported + 1, self._job.settings.worst, over=True)

    def _keep(self, state: record.State, why: str = "") -> None:
        self._trial.state, self._trial.why = state, why or self._trial.why
        self._trial.seconds = round(self._spent + time.monotonic() - self._started, 1)
        self._trial.save(self._search)

    def _tell(self, rung: int, value: float, over: bool = False) -> None:
        """Report to Ray Tune, which may end this process instead of returning."""
        metrics = {"rung": rung, "value": value, "over": over}
        self._reported = rung
        if self._job.settings.scheduler != "pbt":
            tune.report(metrics)
            return
        # Ray Tune lets nothing wait that leaves no checkpoint; ours are in the search's folder.
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "rung").write_text(str(rung))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))

    def _changes(self) -> dict[str, Any]:
        own = {setting.name: setting.value for setting in leaves(self._job.base)}
        changes = self._job.space.changes(self._trial.point)
        return {
            name: value if isinstance(value, (int, float)) else str(value)
            for name, value in changes.items()
            if own.get(name) != value
        }

    def _hand_on(self, images: int) -> None:
        """Keep a copy of a checkpoint, which others may take over when this run has gone on."""
        entry = next(e for e in checkpoint.index(self._run) if e["images_seen"] == images)
        name = _copy(self._trial.number, images)
        self._search.write(f"{name}.pt", self._run.read(entry["file"]))
        self._search.write(f"{name}.json", json.dumps(entry))
        names = self._search.names(HANDED_ON)
        mine = [n for n in names if n.startswith(f"{self._trial.name}-") and n.endswith(".json")]
        for old in sorted(mine)[:-COPIES]:
            self._search.delete(f"{HANDED_ON}/{old}")
            self._search.delete(f"{HANDED_ON}/{old.removesuffix('.json')}.pt")

    def _take_up(self) -> bool:
        """Go on after the last rung; false for who is over then.

        Ray Tune may not have heard of that rung, when the process was killed before it could be
        told. It ends this process here where there are others to wait for.
        """
        trial, rung = self._trial, self._trial.rung
        if not rung:
            return True
        members = self._job.members
        known = [t for t in record.load_all(self._search) if t.confirms is None] if members else []
        if not members or not population.complete(known, rung, members):
            self._keep("running")
            ill = rung in trial.fell_ill
            self._tell(rung, self._job.settings.worst if ill else trial.history[-1].value)
            return True
        if trial.adoptions and trial.adoptions[-1].rung == rung:
            return True
        settings = self._job.settings
        found = population.takeover(trial.number, known, rung, self._job.space, settings)
        if found is not None and self._search.exists(f"{_copy(found.donor, found.images)}.json"):
            self._adopt(found, rung)
        elif rung in trial.fell_ill:
            self._keep("ill")
            self._tell(rung + 1, self._job.settings.worst, over=True)
            return False
        return True

    def _adopt(self, found: population.Takeover, rung: int) -> None:
        """Take over another member's state."""
        trial, name = self._trial, _copy(found.donor, found.images)
        entry = json.loads(self._search.read_text(f"{name}.json"))
        with Ownership(self._run, "training", wait=_SECONDS_TO_LEAVE) as owner:
            owned = owner.claim()
            trial.first = trial.first or trial.point
            trial.point, trial.why = found.point, ""
            trial.changes = self._changes()
            checkpoint.adopt(owned, entry, self._search.read(f"{name}.pt"))
            run.update(owned, self._job.config(trial))
        taken = Adoption(found.donor, found.images, rung, entry["sha256"], trial.point)
        trial.adoptions.append(taken)
        self._keep("running")


def _copy(number: int, images: int) -> str:
    return f"{HANDED_ON}/{number:04d}-{images:012d}"


class _TrialObserver:
    """The display of a trial's run: it hears of progress, and may end the run."""

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner
        self.stop = StopRequest()
        self.why, self._ill_at = "", math.inf
        self._looked_at: object = None
        self._posted = 0.0

    def start(self, plan: Plan) -> None:
        """Nothing to say before the first update."""

    def note(self, text: str, kind: str = "") -> None:
        """The run's own log has it."""

    def look(self) -> None:
        """Find out whether the run has fallen ill."""
        if not self.why and (found := self._runner.illness()) is not None:
            self._ill_at, self.why = found

    def progress(self, status: Status) -> None:
        """Post it; end what is ill; report what was measured."""
        self._runner.seen(status.images_seen)
        now = time.monotonic()
        if now - self._posted >= _SECONDS_BETWEEN_POSTS:
            self._posted = now
            self._runner.post(status)
            if self._runner.asked_to_stop():
                self.stop.name = self.stop.name or "SIGTERM"
        if status.record.get("images") != self._looked_at:
            self._looked_at = status.record.get("images")
            self.look()
        self._runner.measured(status.images_seen, self._ill_at)
        if self.why:
            self.stop.name = self.stop.name or "SIGTERM"


def _measured(entry: dict[str, Any], settings: TuneSettings) -> Measured:
    found = entry["values"][settings.value]
    images = entry["images"]
    rung = images // settings.rung
    card = entry["card"]
    # Metrics of generated images, of an encoder and of translations count theirs in these fields.
    count = next(n for n in map(card.get, ("fake", "encoded", "translated")) if n)
    return Measured(rung, images, count, **found)
