"""`distgan plan`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from distgan.cli.parser import Parser, Verbs

if TYPE_CHECKING:
    from distgan.config.run import RunConfig
    from distgan.plan.planner import Plan

_PLAN = """\
Nothing is trained. For --gpu cpu the step is timed here for a few seconds; for others compute
comes from data sheets and published shares of them, within a factor of two at best. Any
setting of the recipe may be changed by its dotted name:

  distgan plan cifar10-sngan --gpu h100 --workers 64 --nodes 8 --price 2.5
  distgan plan mnist-dcgan --workers 4 --nodes 4 --bandwidth 1Gbit --parallel.compress true
"""


_ROOM = 0.9
"""Share of a GPU's memory that a step may take; the rest is for CUDA itself: assumed."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "plan",
        help="how fast a recipe would train on so many workers, and what holds it back",
        epilog=_PLAN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
    )
    parser.set_defaults(execute=run)
    parser.add_argument("recipe", metavar="RECIPE", help="`distgan recipes` lists them")
    parser.add_argument(
        "--gpu", default="cpu", metavar="NAME", help="h100, a100 or other, or cpu [cpu]"
    )
    parser.add_argument("--workers", default="1", metavar="N", help="processes, a GPU each [1]")
    parser.add_argument("--nodes", default="1", metavar="N", help="that they are spread over [1]")
    parser.add_argument(
        "--bandwidth", default="100Gbit", metavar="RATE", help="of a node, each way [100Gbit]"
    )
    parser.add_argument(
        "--latency", default="20us", metavar="TIME", help="of a message between nodes [20us]"
    )
    parser.add_argument("--price", metavar="P", help="of a GPU, or CPU worker, for an hour")
    parser.add_argument(
        "--image", metavar="CxHxW", help="shape of the images [that of the recipe's set]"
    )


def run(options: argparse.Namespace) -> int:
    """Predict and print."""
    from distgan import recipes
    from distgan.cli import units
    from distgan.config import settings
    from distgan.plan.model import Link
    from distgan.plan.planner import Place, plan

    config = settings.override_typed(recipes.recipe(options.recipe), options.overrides)
    place = Place(
        options.gpu,
        units.parse_positive("--workers", options.workers),
        units.parse_positive("--nodes", options.nodes),
        Link(units.parse_bandwidth(options.bandwidth), units.parse_latency(options.latency)),
    )
    price = None if options.price is None else units.parse_price(options.price)
    image = None if options.image is None else units.parse_shape(options.image)
    found = plan(config, place, image)
    _print_summary(config, found, price)
    _print_memory(found)
    _print_terms(found)
    _print_advice(found)
    return 0


def _print_summary(config: RunConfig, plan: Plan, price: float | None) -> None:
    from distgan.cli.console import say
    from distgan.cli.units import significant, span
    from distgan.families.registry import counted
    from distgan.plan.devices import GPUS

    place, expected = plan.place, plan.prediction
    each = "two CPU cores, measured here" if place.gpu == "cpu" else GPUS[place.gpu].about
    workers = f"{place.workers} worker{'s' if place.workers > 1 else ''}"
    nodes = f"{place.nodes} node{'s' if place.nodes > 1 else ''}"
    say(f"{config.recipe} on {workers} ({each}) on {nodes}")
    rows = counted(config.family)
    say(f"  {significant(expected.images_per_second)} {rows}/s")
    say(f"  {span(3600 * plan.hours)} for {config.images:,} {rows}")
    if price is not None:
        cost = plan.hours * place.workers * price
        say(f"  {significant(cost)} at {price:g} per worker and hour")
    if place.workers > 1:
        say(f"  {expected.efficiency:.0%} of {place.workers} times one worker, with the same batch")


def _print_memory(plan: Plan) -> None:
    from distgan.cli.console import say
    from distgan.cli.units import size
    from distgan.plan.devices import GPUS

    held, name = plan.memory, plan.place.gpu
    parts = {
        "weights": held.weights,
        "averages": held.averages,
        "optimizers": held.optimizers,
        "activations and gradients": held.step,
    }
    each = ", ".join(f"{what} {size(many)}" for what, many in parts.items() if many)
    say(f"  {size(held.total)} of memory on each worker: {each}")
    if name == "cpu":
        return
    room = GPUS[name].size
    fits = (
        "fits"
        if held.total < _ROOM * room
        else ("does not fit; more --accumulate, more workers or a smaller --batch holds less")
    )
    say(f"  {size(room)} on each GPU: {fits} (counted, not measured on any GPU)")


def _print_terms(plan: Plan) -> None:
    from rich.table import Table

    from distgan.cli.console import say, screen
    from distgan.plan.planner import BOTTLENECKS

    expected, batches = plan.prediction, plan.work.batches
    table = Table(box=None, pad_edge=False)
    for heading in ("of a step", "ms", "share"):
        table.add_column(heading, justify="left" if heading == "of a step" else "right")
    for name, seconds in expected.terms.items():
        if seconds > 0:
            share = seconds / expected.seconds
            table.add_row(BOTTLENECKS[name], f"{1e3 * seconds / batches:.3f}", f"{share:.0%}")
    table.add_row("in all", f"{1e3 * expected.seconds / batches:.3f}", "100%")
    say("")
    screen().print(table)
    megabytes = expected.sent / batches / 1e6
    if plan.place.workers > 1:
        say(f"each worker sends {megabytes:,.2f} MB a step")


def _print_advice(plan: Plan) -> None:
    from distgan.cli.console import say
    from distgan.plan.planner import BOTTLENECKS, bottleneck

    say(f"\nthe bottleneck: {BOTTLENECKS[bottleneck(plan.prediction)]}")
    for remedy in plan.remedies:
        say(f"  {remedy.change}: {remedy.gain:.2f} times as fast ({remedy.cost})")
    if plan.place.gpu != "cpu":
        say("\nexpected from data sheets and assumptions; measure before you rely on it")
