"""`distgan train --dry-run`: what a run would be, printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distgan.cli.files import check_writable

if TYPE_CHECKING:
    from distgan.config.run import RunConfig
    from distgan.launch.dry_run import DryRun


def show(config: RunConfig, out: str | None, common: dict[str, Any]) -> int:
    """Check the run and print it.

    Args:
        common: the other arguments of `distgan.launch.train`.

    Raises:
        UserError: for what training would refuse before it starts anything.
    """
    from distgan.cli.console import screen, text
    from distgan.launch.dry_run import dry_run

    known = ("workers", "address", "device", "max_failures")
    found = dry_run(config, out=out, **{n: common[n] for n in known if n in common})
    check_writable(f"{out or 'runs'}/config.yaml", "--out", "runs/one")
    console = screen()
    for name, said in _facts(found).items():
        console.print(text((f"{name:<12}", "cyan"), f" {said}"), soft_wrap=True)
    console.print("\nEverything was checked that can be without training; nothing was written.")
    return 0


def _facts(found: DryRun) -> dict[str, str]:
    config, shape, noun = found.config, found.images.shape, found.images.noun
    size = f"{shape.height}x{shape.width}x{shape.channels}"
    classes = f", {len(found.images.classes)} classes" if found.images.classes else ""
    epochs = config.total / max(found.images.count, 1)
    weights = (f"{role} of {count:,} weights" for role, count in found.weights.items())
    return {
        "recipe": f"{config.recipe}, a {config.family}",
        "data": f"{config.data}: {found.images.count:,} {noun}s of {size}{classes}",
        "feed": found.feed,
        "networks": ", ".join(weights),
        "workers": found.workers,
        "updates": f"{found.updates:,} of {config.batch:,} {noun}s each: {config.total:,} {noun}s, "
        f"each {noun} of the set {epochs:.3g} times",
        "writes to": found.out,
        **_written(config, f"{noun}s"),
    }


def _written(config: RunConfig, rows: str) -> dict[str, str]:
    output, kept = config.output, config.output.keep_checkpoints
    last = "the last" if kept == 1 else f"the last {kept}"
    said = {
        "records": _often(config.total, output.log_every, rows),
        "samples": f"{_often(config.total, output.sample_every, rows)}, and at the start and the "
        "end",
        "checkpoints": f"{_often(config.total, output.checkpoint_every, rows)}, and at the end; "
        f"{last} stay",
    }
    if config.evaluate.every:
        often = _often(config.total, config.evaluate.every, rows)
        said["evaluations"] = f"{often}: {', '.join(config.evaluate.metrics)}"
    else:
        said["evaluations"] = f"none; --evaluate.every 100k for one every 100,000 {rows}"
    return said


def _often(images: int, every: int, rows: str) -> str:
    return f"{images // every:,}, one every {every:,} {rows}"
