"""All trials of a search as a table of typed columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from distgan.config.run import RunConfig
from distgan.config.settings import leaves
from distgan.tune.record import Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space, plain


def trial_table(
    trials: Sequence[Trial], base: RunConfig, space: Space, settings: TuneSettings
) -> pa.Table:
    """One row a trial: what it was, what became of it, and the settings of the space.

    A setting's column holds booleans, integers, floats, or text where a value is neither, such as
    a schedule; null where a trial's networks or augmentation have no such setting.
    """
    own = {setting.name: setting.value for setting in leaves(base)}
    columns: dict[str, pa.Array] = {}

    def add(name: str, kind: pa.DataType, values: list[Any]) -> None:
        columns[name] = pa.array(values, kind)

    finals = [trial.final for trial in trials]
    lasts = [t.final or (t.history[-1] if t.history else None) for t in trials]
    add("trial", pa.int64(), [t.number for t in trials])
    add("state", pa.string(), [t.state for t in trials])
    add("seed", pa.int64(), [t.seed for t in trials])
    add("confirms", pa.int64(), [t.confirms for t in trials])
    add("images", pa.int64(), [t.images for t in trials])
    add("seconds", pa.float64(), [t.seconds for t in trials])
    add(settings.metric, pa.float64(), [m.value if m else None for m in finals])
    add("low", pa.float64(), [m.low if m else None for m in finals])
    add("high", pa.float64(), [m.high if m else None for m in finals])
    add("last_measured", pa.float64(), [m.value if m else None for m in lasts])
    add("why", pa.string(), [t.why for t in trials])
    changes = [space.changes(t.point) for t in trials]
    for name in space.texts:
        values = [plain(one.get(name, own.get(name))) for one in changes]
        kind = _kind(values)
        add(name, kind, [str(v) if v is not None and kind == pa.string() else v for v in values])
    return pa.table(columns)


def _kind(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.string()
