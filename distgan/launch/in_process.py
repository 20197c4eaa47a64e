"""``--workers 0``: the same loop in this process, for debuggers and profilers."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import cache

import torch

from distgan.data.clips.decode import WholeClips
from distgan.data.clips.whole import read_whole_clips
from distgan.data.damage import Damage
from distgan.data.fragments import read_in_order, read_resident
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels
from distgan.data.rows import Access, open_sides
from distgan.data.spec import frame_rule, reads_pairs
from distgan.launch.signals import StopRequest
from distgan.launch.start import Display, Plan
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory, return_freed_memory
from distgan.runs.events import NOT_LOGGED, PREPARING, EventLog
from distgan.storage import machine
from distgan.storage.retrying import RetryingStorage
from distgan.training.control import Outcome, Status
from distgan.training.loop import train_loop


class _Direct:
    def __init__(self, display: Display, stop: StopRequest, events: EventLog) -> None:
        self._display, self._stop, self._events = display, stop, events
        self._seen = 0

    def report(self, status: Status) -> None:
        self._seen = status.images_seen
        self._display.progress(status)

    def note(self, text: str, kind: str = "") -> None:
        self._display.note(text, kind)
        if kind and kind not in NOT_LOGGED:
            self._events.add(kind, text, self._seen)

    def stop_signal(self) -> str:
        return self._stop.name


def run_in_process(plan: Plan, display: Display, stop: StopRequest) -> Outcome:
    """Train in this process, on the GPU if there is one, with the given number of threads or
    else as many as the process has cores."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    # torch respects the process's CPU affinity, but not the quota of its cgroup.
    torch.set_num_threads(plan.threads or min(threads, machine.cores()))
    gpu = torch.cuda.is_available() and plan.device != "cpu"
    device = torch.device("cuda" if gpu else "cpu")
    config, images, world = plan.config, plan.images, World(device=device)
    replace, pairs = config.feed.skip_bad > 0, reads_pairs(config, images)
    rule = frame_rule(config, images)
    events = EventLog(plan.storage)
    control = _Direct(display, stop, events)
    storage = RetryingStorage(plan.storage.anywhere(), control.note, owner=plan.storage.owner)
    display.note("loading the data", PREPARING)
    damage = Damage(images, config.feed.skip_bad, storage, note=display.note, other=plan.other)

    # Once in memory where both sides are halves of it.
    @cache
    def whole(of: ImageSet, pairs: bool) -> Pixels | WholeClips:
        if of.clips is not None:
            return read_whole_clips(of, replace)
        return read_resident(of, replace, pairs)

    def access(of: ImageSet, pairs: bool) -> Access:
        return Access(
            lambda: whole(of, pairs),
            lambda fragments: read_in_order(of, fragments, replace, pairs, rule),
        )

    rows, others = open_sides(config, images, plan.other, world, access, damage, pairs, rule)
    try:
        with ExitStack() as stack:
            for source in filter(None, (rows, others)):
                stack.enter_context(closing(source))
            return train_loop(
                config,
                storage,
                images,
                rows,
                world,
                control,
                other=plan.other,
                other_rows=others,
            )
    finally:
        events.flush()
        torch.set_num_threads(threads)
        return_freed_memory()
