"""A trace of some steps, for people who look for what holds a step up."""

from __future__ import annotations

from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule, supported_activities

from distgan.storage.scratch import Scratch
from distgan.storage.storage import Storage

FOLDER = "profile"
_BEFORE, _WARM_UP = 2, 1
"""Steps that are not in the trace: the first allocate memory and choose algorithms; then one
while the profiler gets ready."""


class StepProfile:
    """Traces steps soon after a start and writes them as a Chrome trace, which Perfetto reads.

    Args:
        steps: how many; 0 for none, at no cost.
    """

    def __init__(self, storage: Storage, steps: int) -> None:
        self._storage, self._images_seen = storage, 0
        self._profile: profile | None = None
        if steps:
            found = supported_activities()  # type: ignore[no-untyped-call]
            known = found & {ProfilerActivity.CPU, ProfilerActivity.CUDA}
            self._profile = profile(
                activities=known,
                schedule=schedule(wait=_BEFORE, warmup=_WARM_UP, active=steps, repeat=1),
                on_trace_ready=self._write,
            )
            self._profile.start()

    def after_step(self, images_seen: int) -> None:
        """A step is over; the last of those to trace writes the file."""
        if self._profile is not None:
            self._images_seen = images_seen
            self._profile.step()

    def close(self) -> None:
        """Write what there is of a run that was shorter."""
        traced, self._profile = self._profile, None
        if traced is not None:
            traced.stop()

    def _write(self, traced: profile) -> None:
        # A run may lie where only whole files can be put.
        with Scratch("distgan-profile-") as folder:
            file = Path(folder) / "trace.json"
            traced.export_chrome_trace(str(file))
            self._storage.write(f"{FOLDER}/images-{self._images_seen:012d}.json", file.read_bytes())
