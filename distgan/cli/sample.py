"""`distgan sample`."""

from __future__ import annotations

import argparse

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import Parser, Verbs, whole
from distgan.errors import UserError

_MOST_VALUES = 2**28
"""Of all pixels and channels of a picture; a gigabyte while they are floats."""


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
    from distgan.console import say
    from distgan.export import load_generator
    from distgan.grid import grid_png, to_uint8

    out = f"{stem(options.run)}-samples.png" if options.out is None else options.out
    check_writable(out, "--out", "samples.png")
    generator = load_generator(options.run, options.weights)
    one = generator.sample(1, seed=options.seed, label=options.label)
    if options.num > _MOST_VALUES // one.numel():
        raise UserError(
            f"--num {options.num}: more than a picture holds; at most "
            f"{_MOST_VALUES // one.numel():,} of these images"
        )
    images = generator.sample(options.num, seed=options.seed, label=options.label)
    labels = len(generator.classes)
    columns = labels if labels and options.label is None else round(options.num**0.5)
    write_file(out, grid_png(to_uint8(images), columns))
    say(f"{options.num} images after {generator.images_seen:,} training images: {out}")
    return 0
