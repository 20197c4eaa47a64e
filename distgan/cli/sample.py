"""`distgan sample`."""

from __future__ import annotations

import argparse

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import Parser, Verbs, whole
from distgan.errors import UserError, brief


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("sample", help="make images with a trained generator")
    parser.set_defaults(execute=run)
    parser.add_argument("run", metavar="RUN", help="folder or URI of a run")
    parser.add_argument(
        "--num", type=whole("--num", 1), default=64, metavar="N", help="how many images [64]"
    )
    parser.add_argument(
        "--label", type=whole("--label"), metavar="K", help="of a conditional generator [all]"
    )
    parser.add_argument(
        "--seed", type=whole("--seed"), default=0, metavar="S", help="of the latents [0]"
    )
    parser.add_argument("--out", metavar="FILE.png", help="the grid [RUN's name-samples.png]")
    parser.add_argument(
        "--weights", choices=["ema", "generator"], default="ema", help="moving average or last"
    )


def run(options: argparse.Namespace) -> int:
    """Draw a grid."""
    from distgan.cli.console import say
    from distgan.families.base import MOST_ROWS
    from distgan.runs.export import load_generator
    from distgan.runs.grid import check_grid, grid_png, to_uint8

    if options.num < 1:
        raise UserError(f"--num {brief(options.num)}: should be at least 1")
    out = f"{stem(options.run)}-samples.png" if options.out is None else options.out
    check_writable(out, "--out", "samples.png")
    generator = load_generator(options.run, options.weights)
    labels = len(generator.classes)
    by_label = options.label is None and 0 < labels <= MOST_ROWS
    columns = labels if by_label else round(min(options.num, 2**32) ** 0.5)
    check_grid(options.num, generator.image, columns)
    images = generator.sample(options.num, seed=options.seed, label=options.label)
    write_file(out, grid_png(to_uint8(images), columns))
    say(f"{options.num} images after {generator.images_seen:,} training images: {out}")
    return 0
