"""Configuration and environment of runs, as short texts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distgan.report.reading import RunFolder, finite
from distgan.runs import events

MAIN = (
    *("recipe", "data", "images", "batch", "seed", "loss", "precision", "conditional"),
    *("generator.network.name", "generator.optimizer.lr", "generator.optimizer.beta1"),
    *("generator.optimizer.beta2", "generator.ema.half_life", "discriminator.network.name"),
    *("discriminator.optimizer.lr", "discriminator.updates", "discriminator.augment.name"),
    *("discriminator.penalty.r1", "discriminator.penalty.r2", "discriminator.penalty.wgan_gp"),
    *("encoder.network.name", "encoder.optimizer.lr", "gamma", "feature_layer", "rest_margin"),
    *("latent", "encoder.name", "decoder.name", "likelihood.name", "likelihood.variance"),
    *("likelihood.binarise", "beta", "free_bits", "optimizer.lr", "ema.half_life"),
)
"""Settings that are shown first."""


@dataclass(frozen=True)
class Table:
    """Rows with a title and a cell for every run."""

    rows: list[tuple[str, list[str]]]


def summary(run: RunFolder) -> list[tuple[str, str]]:
    """The facts at the top of a run's report; unknown ones are left out."""
    start = run.starts[-1] if run.starts else {}
    target = finite(run.settings.get("images"))
    seen = f"{run.images_seen:,}"
    if target and run.images_seen < target:
        seen += f" of {int(target):,}"
    seconds = _seconds(run)
    speeds = _known(run, "images_per_second")
    waits = _known(run, "data_wait")
    pairs = [
        ("recipe", _text(run.settings.get("recipe"))),
        ("dataset", _text(run.settings.get("data"))),
        ("second set", _text(run.settings.get("data_b"))),
        ("task", _text(run.settings.get("task"))),
        (run.counted, seen),
        ("loss", _text(run.settings.get("loss"))),
        ("likelihood", _text(run.settings.get("likelihood.name"))),
        ("batch", _text(run.settings.get("batch"))),
        ("workers", _workers(start)),
        ("hardware", _hardware(start)),
        ("started", _text(run.starts[0].get("time")).replace("T", " ")[:16] if run.starts else ""),
        ("time", _duration(seconds) if seconds else ""),
        ("speed", f"{statistics.median(speeds):,.0f} {run.counted}/s" if speeds else ""),
        ("data wait", f"{statistics.median(waits):.1%}" if waits else ""),
        ("events", _befell(run)),
    ]
    return [(label, text) for label, text in pairs if text]


def differing(runs: Sequence[RunFolder]) -> Table:
    """Settings in which the runs differ; empty for one run."""
    return Table([row for row in _settings(runs, _all(runs)).rows if len(set(row[1])) > 1])


def main_settings(runs: Sequence[RunFolder]) -> Table:
    """The settings of `MAIN` that the runs have."""
    have = _all(runs)
    return _settings(runs, [name for name in MAIN if name in have])


def all_settings(runs: Sequence[RunFolder]) -> Table:
    """Every setting of every run."""
    return _settings(runs, _all(runs))


def environment(runs: Sequence[RunFolder]) -> Table:
    """Hardware and versions at the newest start of every run, and how often it was started."""
    starts = [run.starts[-1] if run.starts else {} for run in runs]
    rows = [
        ("starts", [str(len(run.starts)) if run.starts else "" for run in runs]),
        ("workers", [_text(start.get("workers")) for start in starts]),
        *((name, [_text(start.get(name)) for start in starts]) for name in _HARDWARE),
    ]
    versions = [_mapping(start.get("versions")) for start in starts]
    names = dict.fromkeys(name for version in versions for name in version)
    rows += [(name, [_text(version.get(name)) for version in versions]) for name in names]
    return Table([row for row in rows if any(row[1])])


_HARDWARE = ("device", "processor", "cores", "threads", "machine", "python")


def event_lines(run: RunFolder) -> list[tuple[str, str, str]]:
    """Time, images seen and text of every event of a run."""
    return [
        (
            _text(event.get("time")).replace("T", " ")[:19],
            _text(event.get("images")),
            _text(event.get("text")),
        )
        for event in run.events
    ]


def _befell(run: RunFolder) -> str:
    parts = [f"{number} {kind}" for kind, number in events.count(run.events).items()]
    for name, unit in (("images_repeated", " images repeated"), ("seconds", " s lost")):
        found = [value for event in run.events if (value := finite(event.get(name))) is not None]
        parts += [f"{sum(found):,.0f}{unit}"] if found else []
    return ", ".join(parts)


def _all(runs: Sequence[RunFolder]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.settings))


def _settings(runs: Sequence[RunFolder], names: list[str]) -> Table:
    return Table([(name, [_text(run.settings.get(name)) for run in runs]) for name in names])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _workers(start: dict[str, Any]) -> str:
    threads = finite(start.get("threads"))
    text = _text(start.get("workers"))
    unit = "thread" if threads == 1 else "threads"
    return f"{text}, {threads:.0f} {unit} each" if text and threads else text


def _hardware(start: dict[str, Any]) -> str:
    device, cores = _text(start.get("device")), _text(start.get("cores"))
    processor = " ".join(_text(start.get("processor")).split())
    if device and device != "cpu":
        return device
    return ", ".join(filter(None, (processor or device, f"{cores} cores" if cores else "")))


def _known(run: RunFolder, name: str) -> list[float]:
    values = (finite(record.get(name)) for record in run.records)
    return [value for value in values if value is not None]


def _seconds(run: RunFolder) -> float:
    """Seconds of training, from the speed in each record."""
    total, before = 0.0, 0.0
    for record in run.records:
        speed, images = finite(record.get("images_per_second")), float(record["images"])
        if speed:
            total += (images - before) / speed
        before = images
    return total


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min"]
    return " ".join(filter(None, parts))
