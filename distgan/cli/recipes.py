"""`distgan recipes`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError

if TYPE_CHECKING:
    from distgan.config.run import RunConfig

_HEADINGS = ("recipe", "image", "images", "G + D", "2 cores", "Frechet")
_LEGEND = """\
images: to train on. G + D: weights of generator and discriminator, and of \
what else there is. 2 cores: time for all images at the step's speed, measured {speed_date} \
({speed_source}). \
Frechet: distance to the training images (after so many), mean over seeds, measured {quality_date} \
({quality_source}); lower is better. Blank: not measured."""

_OWN = """\
Of your own images, by their shorter side in pixels; `distgan train FOLDER` chooses one. -few: for \
fewer than {few:,} images, with augmentation. -r3gan: for GPUs; the others are small DCGANs."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("recipes", help="list the recipes")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Print the recipes with their sizes, and what was measured of them."""
    from distgan.cli.console import WIDEST, screen, text, wrapped
    from distgan.recipes import known, measured, photos

    functions = known()
    rows = {name: (name, *_row(function())) for name, function in functions.items()}
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows.values(), strict=True)]
    console = screen()
    width = min(console.width, WIDEST)
    console.print(text((_line(_HEADINGS, widths), "dim")), soft_wrap=True)
    own = False
    for name, row in rows.items():
        if not own and name in photos.RECIPES:
            own = True
            for part in wrapped(_OWN.format(few=photos.FEW), width):
                console.print(text((part, "dim")), soft_wrap=True)
        line = _line(row, widths)
        console.print(text((name, "bold"), line[len(name) :]), soft_wrap=True)
        if name in photos.RECIPES:
            continue
        for part in wrapped((functions[name].__doc__ or "").partition("\n")[0], width, "  "):
            console.print(text((part, "dim")), soft_wrap=True)
    legend = _LEGEND.format(
        speed_date=measured.SPEED_DATE,
        speed_source=measured.SPEED_SOURCE,
        quality_date=measured.QUALITY_DATE,
        quality_source=measured.QUALITY_SOURCE,
    )
    for part in ("", *wrapped(legend, width)):
        console.print(text((part, "dim")), soft_wrap=True)
    return 0


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    # A single space: what is widest in two columns seldom meets in one row.
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _weights(counts: Iterable[int]) -> str:
    """How many weights the networks have, such as 2x270k+2x43k for two of each kind."""
    from distgan.cli.units import short_count

    kinds = [(short_count(count), len(list(same))) for count, same in groupby(counts)]
    return "+".join(f"{number}x{count}" if number > 1 else count for count, number in kinds)


def _row(config: RunConfig) -> tuple[str, ...]:
    """Image, images to train on, weights, time, quality; blank where not known."""
    from distgan.cli.units import short_count, span
    from distgan.config.shape import ImageShape
    from distgan.families import DataSpec
    from distgan.families.check import weights as weights_of
    from distgan.plan.planner import known_data
    from distgan.recipes import measured, photos

    image = weights = ""
    try:
        if side := photos.SIZE_OF.get(config.recipe):
            data = DataSpec(ImageShape(3, side, side))
        else:
            data = known_data(config)
        counts = weights_of(config, data)
    except UserError:
        pass  # A recipe of another family, whose set is not here.
    else:
        image = f"{data.image.height}x{data.image.width}x{data.image.channels}"
        weights = _weights(counts.values())
    speed, quality = measured.SPEED.get(config.recipe), measured.QUALITY.get(config.recipe)
    time = span(config.images / speed) if speed else ""
    good = ""
    if quality:
        good = f"{quality.frechet:.1f} ({short_count(quality.images)})"
    return image, short_count(config.images), weights, time, good
