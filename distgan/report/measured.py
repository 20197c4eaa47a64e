"""Evaluations, grouped by the card that says how they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distgan.metrics.names import better as better_of
from distgan.report.curves import Chart, Series
from distgan.report.reading import RunFolder, finite

_TITLES = {
    "frechet": "Fréchet distance",
    "frechet-infinity": "Fréchet distance, extrapolated",
    "kernel": "Kernel distance",
    "sliced": "Sliced Wasserstein",
    "classifier-score": "Classifier score",
    "elbo": "ELBO (nats)",
    "iwae": "Importance-weighted bound (nats)",
    "reconstruction-term": "Reconstruction term (nats)",
    "kl": "KL divergence (nats)",
    "reconstruction-frechet": "Fréchet distance of reconstructions",
    "l1": "Mean absolute error (pixels in [0, 1])",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "feature-distance": "Distance in features",
    "cycle-error": "Cycle error (pixels in [0, 1])",
    "label-score": "Labels recognised",
    "frame-frechet": "Fréchet distance of frames",
    "clip-frechet": "Fréchet distance of clips",
    "difference-distance": "Distance of frame differences (pixels in [0, 1])",
    "speed-distance": "Distance of speeds (pixels a frame)",
    "frame-difference": "Difference of frames (pixels in [0, 1])",
    "speed": "Speed (pixels a frame)",
    "digits-kept": "Clips that keep their digits",
}


@dataclass(frozen=True)
class Row:
    """One metric of the newest evaluation of every run, or an empty text."""

    title: str
    better: str
    """``lower``, ``higher`` or empty."""
    cells: list[Cell]


@dataclass(frozen=True)
class Cell:
    """A value as text, and its interval."""

    value: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Group:
    """All values with the same card; values with different cards are not comparable."""

    key: str
    card: list[tuple[str, str]]
    """The card as pairs of texts: field and value."""
    runs: list[str]
    """Names of the runs with such values."""
    numbers: list[int]
    """Their indices among the runs of the report."""
    at: list[str]
    """For each of them, the images seen at the newest evaluation, as text."""
    rows: list[Row]
    charts: list[Chart]
    """Curves over images; empty where every run has only one evaluation, which the rows show."""


@dataclass(frozen=True)
class Headline:
    """The first metric of a run's newest evaluation that has a direction."""

    title: str
    value: str
    interval: str
    better: str
    """``lower`` or ``higher``."""
    images: int
    """Seen when it was measured."""
    before: str = ""
    """The value of the evaluation before, of the same card."""


def headline(run: RunFolder) -> Headline | None:
    """What says how good a run's newest generator is; None for one that was not measured."""
    if not run.evaluations:
        return None
    newest = run.evaluations[-1]
    for name in newest["values"]:
        value = _part(newest, name, "value")
        if value is None or not better_of(name):
            continue
        key = newest["card"].get("key")
        past = [e for e in run.evaluations[:-1] if e["card"].get("key") == key]
        return Headline(
            title(name),
            _text(value),
            _interval(newest, name),
            better_of(name),
            int(newest["images"]),
            _text(_part(past[-1], name, "value")) if past else "",
        )
    return None


def groups(runs: Sequence[RunFolder]) -> list[Group]:
    """One group for each card, in the order of their first occurrence."""
    entries: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for number, run in enumerate(runs):
        for entry in run.evaluations:
            key = str(entry["card"].get("key", ""))
            entries.setdefault(key, {}).setdefault(number, []).append(entry)
    return [_group(key, mine, runs) for key, mine in entries.items()]


def _group(key: str, mine: dict[int, list[dict[str, Any]]], runs: Sequence[RunFolder]) -> Group:
    names: dict[str, None] = {}
    for found in mine.values():
        for entry in found:
            names.update(dict.fromkeys(entry["values"]))
    newest = [found[-1] for found in mine.values()]
    several = any(len(found) > 1 for found in mine.values())
    return Group(
        key,
        _describe(newest[0]["card"]),
        [runs[number].name for number in mine],
        list(mine),
        [f"{int(entry['images']):,}" for entry in newest],
        [_row(name, newest) for name in names],
        [_chart(key, name, mine, runs) for name in names] if several else [],
    )


def _describe(card: dict[str, Any]) -> list[tuple[str, str]]:
    def say(name: str) -> str:
        value = card.get(name)
        return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)

    clips = "clip_frames" in card
    rows = "clips" if clips else "images"
    pairs = [
        ("extractor", f"{say('extractor')} {say('extractor_hash')[:12]}".strip()),
        ("data", f"{say('data')} {say('split')} {say('data_checksum')[:12]}".strip()),
        (f"real {rows}", say("real") if card.get("real") else ""),
        (f"generated {rows}", say("fake") if card.get("fake") else ""),
        ("labels", say("labels")),
        ("encoded images", f"{say('encoded')} of {say('encoded_split')}" * ("encoded" in card)),
        ("of a clip", f"{say('clip_frames')} frames, {say('clip_stride')} apart" * clips),
        ("their start", say("clip_start")),
        ("frame of each", say("clip_frame")),
        ("motion seen by", f"{say('motion')} {say('motion_hash')[:12]}".strip()),
        ("digits read by", say("digits")),
        ("likelihood", say("likelihood")),
        ("importance samples", say("importance_samples")),
        ("real and generated used", say("used")),
        ("depend on the number", say("bias")),
        ("weights", {"ema": "moving average", "generator": "last"}.get(say("weights"), "")),
        ("resize", say("resize")),
        ("8 bits", {True: "yes", False: "no"}.get(card.get("quantised") is True, "")),
        ("seed", str(card.get("seed", ""))),
    ]
    return [(label, text) for label, text in pairs if text]


def _row(name: str, newest: list[dict[str, Any]]) -> Row:
    better = better_of(name)
    values = [_part(entry, name, "value") for entry in newest]
    known = [value for value in values if value is not None]
    best = None
    if len(known) > 1 and better:
        best = min(known) if better == "lower" else max(known)
    cells = []
    for entry, value in zip(newest, values, strict=True):
        is_best = value is not None and value == best
        cells.append(Cell(_text(value), _interval(entry, name), is_best))
    return Row(title(name), better, cells)


def _chart(
    key: str, name: str, mine: dict[int, list[dict[str, Any]]], runs: Sequence[RunFolder]
) -> Chart:
    series = []
    for number, found in mine.items():
        parts = {p: [_part(entry, name, p) for entry in found] for p in ("value", "low", "high")}
        whole = all(None not in (low, high) for low, high in zip(*_ends(parts), strict=True))
        series.append(
            Series(
                number,
                runs[number].name,
                number,
                "solid",
                [float(entry["images"]) for entry in found],
                parts["value"],
                *(_ends(parts) if whole else ()),
            )
        )
    better = better_of(name)
    about = f"{better} is better" if better else ""
    return Chart(f"{key}-{name}", title(name), about, "linear", series)


def _ends(parts: dict[str, list[float | None]]) -> tuple[list[float | None], list[float | None]]:
    return parts["low"], parts["high"]


def title(name: str) -> str:
    """A metric's title on the page."""
    if name.startswith("kl-"):
        return f"KL of dimension {name.removeprefix('kl-')} (nats)"
    return _TITLES.get(name, name.replace("-", " ").replace("_", " ").capitalize())


def _part(entry: dict[str, Any], name: str, part: str) -> float | None:
    value = entry["values"].get(name)
    return finite(value.get(part)) if isinstance(value, dict) else finite(None)


def _interval(entry: dict[str, Any], name: str) -> str:
    low, high = _part(entry, name, "low"), _part(entry, name, "high")
    return "" if low is None or high is None else f"{_text(low)} to {_text(high)}"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
