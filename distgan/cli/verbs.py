"""What each verb does; every one is a few lines over the Python that does it."""

from __future__ import annotations

import argparse

from distgan.errors import UserError

_SHORT = {
    **{name: name for name in ("data", "images", "batch", "seed")},
    "skip_bad": "feed.skip_bad",
}
"""Options of `train` that are settings, and which."""


def train(options: argparse.Namespace) -> int:
    """`distgan train`."""
    from distgan import launch, recipes, settings
    from distgan.launch.signals import EXIT_CODES
    from distgan.terminal import Terminal

    changes = dict(options.overrides)
    for option, setting in _SHORT.items():
        value = getattr(options, option)
        if value is not None:
            changes[setting] = value
    common = {
        "workers": options.workers,
        "address": options.address,
        "device": options.device,
        "verbose": options.verbose,
    }
    with Terminal() as terminal:
        if options.resume is not None:
            if options.recipe or options.out:
                given = options.recipe or "--out"
                raise UserError(f"{given}: a resumed run keeps its recipe and folder; leave it out")
            result = launch.resume(options.resume, changes, display=terminal, **common)
        else:
            config = recipes.recipe(options.recipe or next(iter(recipes.RECIPES)))
            config = settings.override(config, changes)
            result = launch.train(config, out=options.out, display=terminal, **common)
        terminal.finish(result)
    return EXIT_CODES[result.stopped] if result.stopped else 0


def sample(options: argparse.Namespace) -> int:
    """`distgan sample`."""
    from distgan.export import load_generator
    from distgan.grid import grid_png, to_uint8

    if options.num < 1:
        raise UserError(f"--num {options.num}: should be at least 1")
    generator = load_generator(options.run, options.weights)
    images = generator.sample(options.num, seed=options.seed, label=options.label)
    labels = len(generator.classes)
    columns = labels if labels and options.label is None else round(options.num**0.5)
    out = options.out or f"{_stem(options.run)}-samples.png"
    _write_file(out, grid_png(to_uint8(images), columns))
    print(f"{options.num} images after {generator.images_seen:,} training images: {out}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """`distgan evaluate`."""
    from rich.console import Console
    from rich.table import Table

    from distgan.evaluate.command import evaluate as measure

    names = ("metrics", "num", "features", "weights", "seed")
    given = {name: getattr(options, name) for name in names}
    console = Console(highlight=False)
    with console.status("[dim]measuring[/dim]"):
        found = measure(options.run, {n: v for n, v in given.items() if v is not None})
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in found.values.items():
        known = value.low is not None and value.high is not None
        spread = f"{value.low:.4g} to {value.high:.4g}" if known else ""
        table.add_row(f"[bold]{name}[/bold]", f"{value.value:.4g}", spread)
    console.print(f"{options.run} after {found.images:,} images, in {found.seconds:.1f} s")
    console.print(table)
    console.print()
    for name, text in found.card.to_dict().items():
        console.print(f"[cyan]{name:<15}[/cyan] {text}", soft_wrap=True)
    return 0


def report(options: argparse.Namespace) -> int:
    """`distgan report`."""
    from distgan.report import write_report

    print(f"the report: {write_report(options.runs, options.out)}")
    return 0


def recipes(options: argparse.Namespace) -> int:
    """`distgan recipes`."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from distgan.recipes import RECIPES

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "data", "images", "batch", ""):
        table.add_column(heading)
    for name, function in RECIPES.items():
        config = function()
        about = (function.__doc__ or "").splitlines()[0]
        table.add_row(
            f"[bold]{name}[/bold]",
            config.data,
            f"{config.images:,}",
            str(config.batch),
            escape(about),
        )
    Console(highlight=False).print(table)
    return 0


def show(options: argparse.Namespace) -> int:
    """`distgan show`."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from distgan import recipes, settings
    from distgan.config import to_yaml

    config = settings.override(recipes.recipe(options.recipe), options.overrides)
    if options.yaml:
        print(to_yaml(config), end="")
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for setting in settings.leaves(config):
        if setting.name == "recipe":
            continue
        value = setting.value
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        table.add_row(f"--{setting.name}", f"[bold]{text}[/bold]", escape(setting.help))
    Console(highlight=False).print(table)
    return 0


def data_prepare(options: argparse.Namespace) -> int:
    """`distgan data prepare`."""
    import signal
    import sys
    from dataclasses import fields

    from rich.console import Console

    from distgan import settings
    from distgan.cli.progress import Preparation
    from distgan.data.prepare import PrepareSettings, prepare

    given = {field.name: getattr(options, field.name) for field in fields(PrepareSettings)}
    chosen = {name: value for name, value in given.items() if value is not None}
    console = Console(highlight=False)
    # As an exception, SIGTERM too finds its way past everything that has to be put away.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        with Preparation(console) as shown:
            made = prepare(
                options.source,
                options.out,
                settings.from_dict(PrepareSettings, chosen),
                workers=options.workers,
                address=options.address,
                progress=shown.update,
            )
    except KeyboardInterrupt:
        console.print("stopped; nothing was kept, the same command begins again", soft_wrap=True)
        return 130
    size = f"{made.height}x{made.width}x{made.channels}"
    lines = [f"[bold]{made.count:,}[/bold] images of {size} in {options.out}"]
    if made.skipped:
        lines.append(f"  left out      {made.skipped} bad images, see bad-images.txt")
    if options.validation:
        lines.append(f"  validation    {options.out}/validation")
    lines.append(f"  look at it    distgan data info {options.out}")
    lines.append(f"  train on it   distgan train --data {options.out}")
    for line in lines:
        console.print(line, soft_wrap=True)
    return 0


def data_info(options: argparse.Namespace) -> int:
    """`distgan data info`."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from distgan.cli.progress import Preparation
    from distgan.data.info import inform

    console = Console(highlight=False)
    with Preparation(console) as shown:
        found = inform(options.uri, shown.update)
    out = options.picture or f"{_stem(options.uri)}-info.png"
    _write_file(out, found.picture)
    for name, text in {**found.lines, "picture": out}.items():
        console.print(f"[cyan]{name:<11}[/cyan] {escape(text)}", soft_wrap=True)
    if found.counts:
        table = Table(box=None, pad_edge=False)
        table.add_column("label", justify="right")
        table.add_column("class")
        table.add_column("images", justify="right")
        for label, (name, count) in enumerate(zip(found.classes, found.counts, strict=True)):
            table.add_row(str(label), escape(name), f"{count:,}")
        console.print()
        console.print(table)
    return 0


def _write_file(path: str, content: bytes) -> None:
    from distgan.storage import Storage

    folder, _, name = path.rpartition("/")
    Storage(folder or ("/" if path.startswith("/") else ".")).write(name, content)


def _stem(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 1)[-1].removesuffix(".parquet") or "run"
