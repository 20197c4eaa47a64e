"""What rank 0 writes of a run besides checkpoints: records, grids, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distgan.config.run import RunConfig
from distgan.data.images import ImageSet
from distgan.evaluate import evaluation
from distgan.evaluate.evaluation import Evaluation
from distgan.evaluate.rows import shown_rows
from distgan.families import Batch
from distgan.families.base import SHEET_WIDTH
from distgan.families.registry import to_yaml
from distgan.runs import checkpoint, export, records, samples
from distgan.runs import folder as run
from distgan.storage.storage import Storage
from distgan.training.arithmetic import described
from distgan.training.state import TrainingState


class RunRecorder:
    """What rank 0 writes besides checkpoints: records, grids, and the result.

    Attributes:
        measured: `distgan.evaluate.evaluation.standing` of the newest evaluation, or empty.
        sampled: images seen at the newest grid, or None.
    """

    def __init__(
        self,
        config: RunConfig,
        storage: Storage,
        images: ImageSet,
        state: TrainingState,
        writer: checkpoint.Writer,
        facts: Mapping[str, Any],
        other: ImageSet | None = None,
    ) -> None:
        self._writer = writer
        self.measured: dict[str, Any] = {}
        self.sampled: int | None = None
        self._data: Batch | None = None
        self.recorder = records.Recorder(storage, state.images_seen)
        self._config, self._storage = config, storage
        self._images, self._other = images, other
        device = state.world.device
        run.record_environment(
            storage,
            state.world.size,
            state.world.describe()["device"],
            state.images_seen,
            {"arithmetic": described(device), **(facts or {})},
        )
        self.recorder.add_text(state.images_seen, "config", to_yaml(config))
        if state.images_seen == 0:
            self.sample(state)

    def evaluated(self, found: Evaluation, seconds: float) -> None:
        """Write an evaluation, for which training stood still for some seconds."""
        entries = evaluation.remember(self._storage, found)
        self.measured = evaluation.standing(entries, found)
        values = {name: value.value for name, value in found.values.items()}
        self.recorder.add_scalars(found.images, {**values, "evaluation_seconds": seconds})

    def _shown(self, state: TrainingState) -> Batch | None:
        """Data that the grid shows, read once: held out where the set has such."""
        names = state.family.sheet_columns
        if names and self._data is None:
            own, other, settings = self._images, self._other, self._config.evaluate
            found = shown_rows(own, other, settings, state.family, names, SHEET_WIDTH)
            device = state.world.device
            columns = {name: each.to(device) for name, each in found.columns.items()}
            self._data = Batch(columns, {})
        return self._data

    def sample(self, state: TrainingState) -> None:
        """Write a grid of samples, and of clips an animation beside it."""
        seed, seen = self._config.seed, state.images_seen
        with state.generating() as networks:
            sheet = samples.sample_sheet(state.family, networks, seed, self._shown(state))
        self._storage.write(samples.name(seen), sheet.picture)
        if sheet.animation:
            self._storage.write(samples.name(seen, "webp"), sheet.animation)
        self.recorder.add_picture(seen, "samples", sheet.picture)
        self.sampled = seen

    def finish(self, state: TrainingState) -> None:
        """Write the result of a complete run."""
        # A complete run has its last checkpoint; only then is there a result.
        self._writer.wait()
        self.sample(state)
        export.export(
            self._storage,
            self._config,
            state.family,
            {role: trained.network for role, trained in state.networks.items()},
            {role: ema.average for role, ema in state.averages.items()},
            state.images_seen,
        )

    def close(self) -> None:
        """Wait for what is being written, and let go of the files."""
        self._writer.wait()
        self.recorder.close()
