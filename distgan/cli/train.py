"""`distgan train`."""

from __future__ import annotations

import argparse

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError

_TRAIN = """\
Any setting can be changed by its dotted name, as `distgan show RECIPE` lists them:

  distgan train                                     mnist-mlp: digits, in about a minute
  distgan train photos/                             your own images, a recipe that suits them
  distgan train mnist-dcgan --images 300k --seed 1
  distgan train mnist-mlp --generator.optimizer.lr 1e-4 --loss minimax
  distgan train mnist-mlp --data my/images --out s3://bucket/runs/one
  distgan train --config best.yaml --seed 2         a configuration from a file
  distgan train mnist-dcgan --dry-run               what it would be; nothing is written
  distgan train --resume runs/one --images 3M       go on, also on other workers

Ctrl-C finishes the step, writes a checkpoint and says how to go on.
"""

_SHORT = {
    **{name: name for name in ("data", "images", "batch", "seed")},
    "skip_bad": "feed.skip_bad",
    "profile": "output.profile",
}
"""Options of `train` that are short for a setting, and its dotted name."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "train",
        help="train a recipe, or go on with a run",
        epilog=_TRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
    )
    parser.set_defaults(execute=run)
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="WHAT",
        help="a recipe, as `distgan recipes` lists them, or your images: a folder, zip, .tar, "
        "Parquet, .npy, .npz or prepared set, for which a recipe is chosen [mnist-mlp]",
    )
    parser.add_argument(
        "--config", metavar="FILE.yaml", help="start from this configuration, not from a recipe"
    )
    parser.add_argument("--data", metavar="NAME|PATH", help="mnist, images as above, or a URI")
    parser.add_argument(
        "--size",
        metavar="N|HxW",
        help="of images that are no prepared set [by the recipe, or by their own sizes]",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        help="processes [one per GPU; without GPUs one per machine, with all its cores]; "
        "MIN:MAX: as many as the cluster has room for, also when it grows or shrinks; 0: in this "
        "process, without Ray",
    )
    parser.add_argument("--images", metavar="N", help="images to train on, such as 300k or 1.5M")
    parser.add_argument("--batch", metavar="N", help="images in a global batch, over all workers")
    parser.add_argument("--seed", metavar="S", help="of weights, data order and latents [0]")
    parser.add_argument(
        "--skip-bad", metavar="N", help="damaged images to pass over before it is an error [0]"
    )
    parser.add_argument(
        "--profile", metavar="N", help="write a trace of N steps to profile/ in the run [0]"
    )
    parser.add_argument("--out", metavar="DIR", help="path or URI [runs/RECIPE-DATE-TIME]")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("--address", metavar="ADDR", help="a running Ray cluster [RAY_ADDRESS]")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "gpu"], default="auto", help="where to train [auto]"
    )
    parser.add_argument(
        "--max-failures",
        type=int,
        metavar="N",
        help="restarts of lost workers without a new checkpoint between [3]",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, write nothing"
    )
    parser.add_argument("--no-pictures", action="store_true", help="no samples in the terminal")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what Ray says")


def run(options: argparse.Namespace) -> int:
    """Start a run, or resume one."""
    from distgan import launch
    from distgan.cli import dry_run
    from distgan.cli.own_images import OwnImages
    from distgan.cli.terminal import Terminal
    from distgan.data.identity import remembered_size
    from distgan.launch.ray.workers import parse_workers
    from distgan.launch.signals import EXIT_CODES, StopRequest

    changes = dict(options.overrides)
    for option, setting in _SHORT.items():
        value = getattr(options, option)
        if value is not None:
            changes[setting] = value
    stop = StopRequest(ends_process=True)
    common = {
        "workers": None if options.workers is None else parse_workers(options.workers),
        "address": options.address,
        "device": options.device,
        "verbose": options.verbose,
        "stop": stop,
    }
    if options.max_failures is not None:
        common["max_failures"] = options.max_failures
    if options.dry_run and options.resume is not None:
        raise UserError("--dry-run: is of new runs; leave out --resume, or leave this out")
    with Terminal(pictures=not options.no_pictures) as terminal:
        images = OwnImages(options, terminal, stop)
        if options.dry_run:
            return dry_run.show(images.configuration(changes), options.out, common)
        if options.resume is not None:
            given = options.recipe or (options.config and "--config") or (options.out and "--out")
            if given:
                raise UserError(f"{given}: a resumed run keeps its recipe and folder; leave it out")
            if "data" in changes:
                size = remembered_size(options.resume)
                changes["data"] = images.prepared(changes["data"], "--data", size=size)
            elif options.size is not None:
                raise UserError(f"--size {options.size}: goes with --data, whose images it is of")
            result = launch.resume(options.resume, changes, display=terminal, **common)
        else:
            config = images.configuration(changes)
            result = launch.train(config, out=options.out, display=terminal, **common)
        terminal.finish(result)
    return EXIT_CODES[result.stopped] if result.stopped else 0
