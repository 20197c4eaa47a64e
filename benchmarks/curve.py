"""The model's efficiency up to 1,024 workers, from what `benchmarks.scale` measured.

Compute, links and the share of processors that exchanges take are the medians of a run of
`benchmarks.scale`; every worker is a node of its own and keeps the batch that one has (weak
scaling). Beside it, what others published: StyleGAN3 on 1 to 8 GPUs, and ParaGAN.

    python -m benchmarks.curve bench-results/scale-... --plot scale.html
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.crew import DATA
from benchmarks.published import GPU_COUNTS, PARAGAN, STYLEGAN3, check_paragan
from benchmarks.scale import OPTIONS
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.plan import Compute, Link, Network, Work, predict, trace
from distgan.plan.devices import DEVIATION
from distgan.recipes import recipe

WORKERS = tuple(2**n for n in range(11))


@dataclass(frozen=True)
class Curve:
    """Efficiency by workers; ``dots`` are measured, and the rest expected."""

    name: str
    points: dict[int, float]
    dots: dict[int, float] = field(default_factory=dict)


def measured(results: dict[str, Any]) -> Iterator[Curve]:
    """A curve for each comparison in which ranks of the full batch, or of half, were measured."""
    for comparison in results["comparisons"]:
        rounds = [r for r in comparison["rounds"] if "ranks" in r]
        if not rounds:
            continue
        name, option, link, mode, *more = comparison["name"].split(", ")
        if more:
            continue  # Of more than two ranks.
        terms = _medians([r["the model"]["values"] for r in rounds])
        ranks = _medians([r["ranks"]["values"] for r in rounds])
        config = override(recipe(name), OPTIONS[option])
        compute = Compute(
            terms["fixed ms"] / 1e3,
            terms["ms/image"] / 1e3,
            after=terms["after ms"] / 1e3,
            deviation=terms["deviation %"] / 100,
        )
        wire = Link(terms["Mbit/s"] / 8e-6, terms["latency us"] / 1e6)
        network = Network(wire, wire, terms["busy %"] / 100)
        work, batch = trace(config, DATA), config.batch
        points = {n: weak_efficiency(work, compute, network, batch, n) for n in WORKERS}
        dots = {2: ranks["efficiency %"] / 100} if mode == "weak" else {}
        yield Curve(f"{name}, {option}, {link}", points, dots)


def weak_efficiency(
    work: Work, compute: Compute, network: Network, share: int, workers: int
) -> float:
    """Images a second of ``workers`` with ``share`` images each, over as many times one's."""
    found = predict(work, compute, network, share * workers, workers, workers)
    return found.images_per_second * compute.seconds(share) / (work.batches * share * workers)


def published() -> Iterator[Curve]:
    """What others found, on other machines and networks."""
    for config, resolution in (("T", 128), ("T", 1024)):
        steps = STYLEGAN3[config, "a100"][resolution][0]
        dots = {n: steps[0] / n / step for n, step in zip(GPU_COUNTS, steps, strict=True)}
        yield Curve(f"StyleGAN3-{config}, {resolution} px, A100, same batch", {}, dots)
    yield Curve("ParaGAN, TPU v3", {1024: check_paragan(DEVIATION).predicted}, {1024: PARAGAN})


def _medians(values: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(v[name] for v in values) for name in values[0]}


def draw(curves: list[Curve], title: str, path: Path) -> None:
    """Write the chart as HTML that needs no network."""
    try:
        import plotly.graph_objects as go
        from plotly.colors import qualitative
    except ImportError:
        raise UserError("--plot: needs plotly; pip install 'distgan[report]'") from None
    figure = go.Figure()
    for number, curve in enumerate(curves):
        color = qualitative.Dark24[number % 24]
        for points, mode, what in (
            (curve.points, "lines", "expected"),
            (curve.dots, "markers", "measured"),
        ):
            if points:
                figure.add_scatter(
                    x=list(points),
                    y=list(points.values()),
                    mode=mode if len(points) > 1 else "markers",
                    name=f"{curve.name}, {what}",
                    marker={"symbol": "circle" if mode == "markers" else "circle-open", "size": 9},
                    line={"color": color},
                    marker_color=color,
                )
    figure.update_layout(
        title=title,
        xaxis={"type": "log", "title": "workers", "tickvals": WORKERS},
        yaxis={"title": "efficiency beside one worker", "tickformat": ".0%", "range": [0, 1.05]},
        template="plotly_white",
        height=700,
    )
    figure.write_html(path, include_plotlyjs=True)


def main() -> int:
    """Print the curves, and draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="of a run of benchmarks.scale")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw them, as HTML")
    options = parser.parse_args()
    try:
        results = json.loads((options.folder / "results.json").read_text())
        curves = [*measured(results), *published()]
        for curve in curves:
            expected = "  ".join(f"{n}: {y:.0%}" for n, y in curve.points.items())
            found = "  ".join(f"{n}: {y:.0%}" for n, y in curve.dots.items())
            print(f"{curve.name}\n  expected  {expected}\n  measured  {found}")
        if options.plot is not None:
            draw(curves, f"scaling, {results['date'][:10]}: {results['command']}", options.plot)
    except OSError as error:
        print(f"curve: {options.folder}: holds no results ({error})", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"curve: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
