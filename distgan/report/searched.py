"""The contents of a search's page: result, trials, and the effect of each setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from distgan.config.schedule import Schedule
from distgan.config.settings import leaves
from distgan.report.curves import Chart, Series
from distgan.report.pictures import read_samples
from distgan.storage.storage import Storage
from distgan.tune import folder, record, results
from distgan.tune.record import Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space
from distgan.tune.summary_text import brief, conclusion, short, value_of

_MOST_CURVES = 40
_CHANCE = 1.96
"""A rank correlation is marked when it exceeds this many of the standard deviations that it has
for independent columns, about 1 / sqrt(n - 1): a two-sided test at 5%."""


@dataclass(frozen=True)
class Plot:
    """A chart that is not a curve over images; drawn by ``assets/plots.js``."""

    key: str
    title: str
    about: str
    kind: str
    data: dict[str, Any]
    scale: str = "linear"
    series: list[Series] = field(default_factory=list)
    health: bool = False


def is_search(uri: str) -> bool:
    """Whether `distgan tune` wrote this folder."""
    return Storage(uri).exists(folder.FILE)


def content(uri: str) -> dict[str, Any]:
    """The values that the page's template takes.

    Raises:
        UserError: for a search whose files are damaged.
    """
    storage = Storage(uri)
    base, space, settings = folder.read(storage, "RUN")
    trials = record.load_all(storage)
    record.check_points(storage, trials, space)
    found = results.sum_up(uri, trials, settings)
    plots = _plots(trials, space, settings) if settings.scheduler != "pbt" else []
    lines = curves(trials, settings)
    steps = schedule(trials, space, settings) if settings.scheduler == "pbt" else []
    pictures = []
    if found.best is not None:
        pictures = read_samples(storage.child(f"{record.FOLDER}/{found.best.name}"), 2)
    return {
        "title": f"A search for {base.recipe}",
        "sentences": [
            *conclusion(found, settings, seconds=False),
            *([str(error)] if (error := results.failure(found)) is not None else []),
        ],
        "facts": _facts(space, settings, base.data),
        "sample": pictures[-1] if pictures else None,
        "best": found.best.number if found.best else None,
        "metric": settings.metric,
        "rows": _rows(trials, settings),
        "plots": plots,
        "curves": lines,
        "schedule": steps,
        "drawn": {
            "charts": [*map(asdict, plots), *map(asdict, (*lines, *steps))],
            "bands": [],
        },
    }


def _facts(space: Space, settings: TuneSettings, data: str) -> list[tuple[str, str]]:
    return [
        ("dataset", data),
        ("trials", f"{settings.samples} of {settings.max_images:,} images, {settings.search}"),
        ("scheduler", settings.scheduler),
        (
            "measured",
            f"{settings.metric} of {settings.num:,} images at the end, of "
            f"{settings.rung_num:,} every {settings.rung:,} images before",
        ),
        *((short(name), text) for name, text in space.texts.items()),
    ]


def _rows(trials: Sequence[Trial], settings: TuneSettings) -> list[dict[str, str]]:
    order = results.ranked(trials, settings)
    rest = [t for t in trials if t not in order]
    rows = []
    for trial in (*order, *rest):
        name = str(trial.number)
        if trial.confirms is not None:
            name = f"{trial.confirms} again, seed {trial.seed}"
        why = trial.why if trial.state in ("ill", "failed") else brief(trial)
        rows.append(
            {
                "name": name,
                "state": trial.state,
                "images": f"{trial.images:,}",
                "value": value_of(trial),
                "text": why or "the recipe as it is",
            }
        )
    return rows


def curves(trials: Sequence[Trial], settings: TuneSettings) -> list[Chart]:
    """The objective over images, one line per trial."""
    series = []
    for trial in trials[:_MOST_CURVES]:
        if trial.history:
            # A member that copied another's state continues at the images of that state, so its
            # history may go back: the later value at a number of images is kept.
            points = sorted({m.images: m for m in trial.history}.values(), key=lambda m: m.images)
            series.append(
                Series(
                    0,
                    f"trial {trial.number}",
                    trial.number,
                    "solid",
                    [float(m.images) for m in points],
                    [m.value for m in points],
                )
            )
    if not series:
        return []
    about = f"of {settings.rung_num:,} generated images each time, one line a trial"
    positive = all(y and y > 0 for one in series for y in one.y)
    return [Chart("objective", settings.metric, about, "log" if positive else "linear", series)]


def schedule(trials: Sequence[Trial], space: Space, settings: TuneSettings) -> list[Chart]:
    """Each setting of a population over images, one line per member."""
    own = {setting.name: setting.value for setting in leaves(space.base)}
    charts = []
    for name in space.free:
        series = []
        for trial in trials:
            points = [trial.first or trial.point, *(a.point for a in trial.adoptions)]
            at = [0.0, *(float(a.images) for a in trial.adoptions)]
            y = [_plain(space.changes(point).get(name, own.get(name))) for point in points]
            if all(isinstance(value, float) for value in y):
                series.append(
                    Series(
                        0,
                        f"member {trial.number}",
                        trial.number,
                        "solid",
                        [*at, float(settings.max_images)],
                        [*y, y[-1]],
                        shape="hv",
                    )
                )
        if series:
            charts.append(Chart(f"schedule-{name}", short(name), name, "linear", series))
    return charts


def _plots(trials: Sequence[Trial], space: Space, settings: TuneSettings) -> list[Plot]:
    own = {setting.name: setting.value for setting in leaves(space.base)}
    healthy = [t for t in trials if t.confirms is None and t.history and t.history[0].rung == 1]
    if len(healthy) < 3:
        return []
    values = [t.history[0].value for t in healthy]
    columns = {
        name: [_plain(space.changes(t.point).get(name, own.get(name))) for t in healthy]
        for name in space.free
    }
    columns = {name: column for name, column in columns.items() if len(set(column)) > 1}
    if not columns:
        return []
    better = "lower" if settings.lower_is_better else "higher"
    drawn = [_axis(short(name), column) for name, column in columns.items()]
    drawn.append(_axis(settings.metric, values))
    found = {
        label: spearman(column, values)
        for name, own_column in columns.items()
        for label, column in _numbers(short(name), own_column)
    }
    order = sorted(found, key=lambda label: -abs(found[label]))
    chance = min(_CHANCE / math.sqrt(len(healthy) - 1), 1.0)
    return [
        Plot(
            "importance",
            f"What goes with a higher {settings.metric}",
            "Spearman's rank correlation after the first rung, which all trials reached; between "
            f"the dotted lines it may well be chance. {better.capitalize()} values are better.",
            "bars",
            {
                "names": order,
                "values": [round(found[label], 3) for label in order],
                "chance": round(chance, 3),
            },
        ),
        Plot(
            "parallel",
            "Settings and what they led to",
            f"a line for each trial, the bluer the better its {settings.metric} after the first "
            "rung, on the right",
            "parallel",
            {"axes": [axis for axis, *_ in drawn], "trials": _threads(healthy, drawn, better)},
        ),
    ]


def _threads(trials: Sequence[Trial], drawn: Sequence[Any], better: str) -> list[dict[str, Any]]:
    ranks = _ranks(drawn[-1][1])
    span = max(len(trials) - 1, 1)
    return [
        {
            "name": f"trial {trial.number}",
            "heights": [round(heights[place], 4) for _, heights, _ in drawn],
            "texts": [f"{axis['label']} {texts[place]}" for axis, _, texts in drawn],
            "shade": round(rank / span if better == "lower" else 1 - rank / span, 3),
        }
        for place, (trial, rank) in enumerate(zip(trials, ranks, strict=True))
    ]


def _axis(label: str, column: Sequence[Any]) -> tuple[dict[str, Any], list[float], list[str]]:
    """An axis with its ticks, and the position of each value on it, 0 to 1."""
    known = sorted(set(column), key=_order)
    texts = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in column]
    if any(isinstance(value, str) for value in known) or len(known) <= 5:
        span = max(len(known) - 1, 1)
        heights = [known.index(value) / span for value in column]
    else:
        logarithmic = known[0] > 0 and known[-1] / known[0] > 10
        scaled = [math.log(value) if logarithmic else value for value in column]
        low, high = min(scaled), max(scaled)
        heights = [(value - low) / (high - low) for value in scaled]
    ticks = dict(zip(texts, heights, strict=True))
    if len(ticks) > 5:
        ends = (heights.index(min(heights)), heights.index(max(heights)))
        ticks = {texts[end]: heights[end] for end in ends}
    marks = [{"text": text, "at": round(height, 4)} for text, height in ticks.items()]
    return {"label": label, "ticks": marks}, heights, texts


def _numbers(label: str, column: Sequence[Any]) -> list[tuple[str, Sequence[float]]]:
    # Names have no order, so each becomes an indicator column.
    if not any(isinstance(value, str) for value in column):
        return [(label, column)]
    names = sorted(set(map(str, column)))
    wanted = names[1:] if len(names) == 2 else names
    return [(f"{label}={name}", [float(str(v) == name) for v in column]) for name in wanted]


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Rank correlation of two columns, -1 to 1; ties share the mean of their ranks."""
    a, b = (np.asarray(_ranks(column)) for column in (one, other))
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(column: Sequence[Any]) -> list[float]:
    order = sorted(column, key=_order)
    first = {value: order.index(value) for value in set(column)}
    return [first[value] + (order.count(value) - 1) / 2 for value in column]


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return float(value.start)
    return (
        float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value)
    )
