"""`distgan sample`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import Parser, Verbs, whole
from distgan.errors import UserError, brief

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from distgan.runs.generator import LoadedGenerator

_SAMPLE = """\
For instance:

  distgan sample runs/one                           a grid of 64 images
  distgan sample runs/one --label cat,dog           of these classes only
  distgan sample runs/one --seeds 0-35              one image for each seed
  distgan sample runs/one --num 10k --each my/fakes single files
  distgan sample runs/one --num 50k --npz fakes.npz one array, as evaluators read it
  distgan sample runs/one --film training           how it learned
  distgan sample runs/one --film walk --out a.gif   from seed to seed, and back

Of a model that makes clips:

  distgan sample runs/two                           clips that play, and film strips
  distgan sample runs/two --num 9 --frames 32 --out x.webp    or .gif, .png, .mp4
  distgan sample runs/two --frames 64 --fps 20 --out x.mp4    20 frames a second
  distgan sample runs/two --strips x.png            each clip as a row of its frames
  distgan sample runs/two --num 1k --each clips     one lossless WEBP for each clip

Image or clip i of a seed is always the same, to the bit, whatever else is asked for.
"""

_MOST_SEEDS = 10**6
_CHUNK, _BLOCKS = 256, 4
"""Images that are made, and written, at a time: 256, or so many blocks if that is less."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    from distgan.cli import clips, films

    parser = verbs.add_parser(
        "sample",
        help="make images with a trained generator",
        epilog=_SAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=run)
    parser.add_argument("run", metavar="RUN", help="folder or URI of a run")
    parser.add_argument("--num", metavar="N", help="how many images [64; 16 in a walk; 9 clips]")
    parser.add_argument(
        "--label",
        metavar="NAMES",
        help="of a conditional generator, by name or number, separated by commas [all]",
    )
    parser.add_argument("--seed", type=whole("--seed"), metavar="S", help="of the latents [0]")
    parser.add_argument(
        "--seeds",
        metavar="0-35",
        help="the first image of each seed, such as of 0-35 or 3,7",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the grid [RUN's name-samples.png]; or a film, or clips that play: .webp, .gif, .png "
        "(animated) or .mp4",
    )
    parser.add_argument(
        "--each",
        metavar="DIR",
        help="a PNG for every image, a WEBP for every clip, in an empty folder",
    )
    parser.add_argument("--npz", metavar="FILE.npz", help="one array of all images, or clips")
    films.add(parser)
    clips.add(parser)
    parser.add_argument(
        "--weights", choices=["ema", "generator"], default="ema", help="moving average or last"
    )


def run(options: argparse.Namespace) -> int:
    """Make a grid, clips that play, single files, an array or a film."""
    from distgan.cli import clips, films

    kinds = {name: getattr(options, name) for name in ("each", "npz", "film")}
    given = [f"--{name}" for name, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"{given[1]}: not together with {given[0]}; leave one out")
    if options.out is not None and given and options.film is None:
        raise UserError(f"--out {brief(options.out)}: {given[0]} says where to; leave it out")
    if options.seeds is not None and options.seed is not None:
        raise UserError(f"--seed {options.seed}: --seeds names the seeds; leave one out")
    num = _num(options.num)
    seeds = None if options.seeds is None else parse_seeds(options.seeds)
    moving = clips.makes_clips(options.run)
    if moving:
        clips.check(options, given)
    else:
        clips.refuse(options)
    if options.film is None:
        if not moving:
            films.refuse(options)
        if seeds is not None and num is not None:
            raise UserError(f"--num {num}: --seeds says how many; leave one out")
    if options.film is not None:
        return films.run(options, num, seeds)
    if options.each is not None:
        return _each(options, num or 64, seeds)
    if options.npz is not None:
        return _array(options, num or 64, seeds)
    if moving:
        return clips.run(options, num, seeds)
    return _grid(options, num or 64, seeds)


def _num(text: str | None) -> int | None:
    from distgan.config.settings import parse_count

    if text is None:
        return None
    count = parse_count(text)
    return whole("--num", 1)(str(count))


def parse_seeds(text: str) -> list[int]:
    """The seeds that ``0-35``, ``3,7`` or ``0-3,9`` names, in this order.

    Raises:
        UserError: for anything else, and for more than a million.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = whole("--seeds", 0, 2**63 - 1)(first)
        high = whole("--seeds", 0, 2**63 - 1)(last) if dash else low
        if high < low:
            raise UserError(f"--seeds {brief(part)}: ends before it begins; write {high}-{low}")
        if len(found) + high - low >= _MOST_SEEDS:
            raise UserError(f"--seeds {brief(text)}: are more than {_MOST_SEEDS:,}; name fewer")
        found += range(low, high + 1)
    return found


def chosen_labels(generator: LoadedGenerator, text: str | None) -> list[int]:
    """The labels that ``--label`` names; all without it, and none where there are none.

    Raises:
        UserError: for one that the generator does not have.
    """
    if text is None or text in generator.classes:
        return generator.label_numbers(text)
    parts = [part.strip() for part in text.split(",")]
    return generator.label_numbers([part for part in parts if part] or [text])


def names_of(generator: LoadedGenerator, labels: list[int]) -> list[str]:
    """What to write on a picture for labels: their names, or numbers where letters lack."""
    from distgan.runs.captions import drawable

    return [
        generator.classes[label] if drawable(generator.classes[label]) else str(label)
        for label in labels
    ]


def _grid(options: argparse.Namespace, num: int, seeds: list[int] | None) -> int:
    from distgan.cli.console import say
    from distgan.families.base import MOST_ROWS
    from distgan.runs.export import load_generator
    from distgan.runs.grid import check_grid, grid_png, to_uint8

    out = f"{stem(options.run)}-samples.png" if options.out is None else options.out
    check_writable(out, "--out", "samples.png")
    generator = load_generator(options.run, options.weights)
    labels = chosen_labels(generator, options.label)
    num = num if seeds is None else len(seeds) * max(1, len(labels))
    square = round(min(num, 2**32) ** 0.5)
    columns = square
    if by_label := 0 < len(labels) <= MOST_ROWS:
        # Whole turns of the labels, so that a column is of one of them.
        turns = 1 if options.label is None else max(1, round(square / len(labels)))
        columns = len(labels) * turns
    check_grid(num, generator.image, columns)
    if seeds is None:
        images = generator.sample(num, seed=options.seed or 0, label=labels or None)
    else:
        images = generator.sample_seeds(seeds, label=labels or None)
    names = names_of(generator, labels) if by_label else ()
    write_file(out, grid_png(to_uint8(images), columns, names))
    say(f"{num} images after {generator.images_seen:,} training images: {out}")
    return 0


def _each(options: argparse.Namespace, num: int, seeds: list[int] | None) -> int:
    import re

    from distgan.cli import clips
    from distgan.runs.clips import LoadedClips
    from distgan.runs.film import check_speed
    from distgan.runs.grid import single_png
    from distgan.storage.storage import Storage

    place = Storage(options.each)
    if place.names():
        raise UserError(f"--each {options.each}: is not empty; name another folder")
    generator, labels, total = load(options, num, seeds)
    fps = clips.playing(options, generator) if isinstance(generator, LoadedClips) else 0.0
    if fps:
        check_speed("webp", fps)
    ending = "webp" if fps else "png"
    width = max(6, len(str(max(seeds) if seeds else total)))

    # Other letters may mean something in a path, or not be allowed in one.
    plain = re.compile(r"[\w-]{1,80}")

    def name(first: int, label: int | None) -> str:
        number = f"{first:0{width}d}"
        if label is None:
            return f"{number}.{ending}"
        word = generator.classes[label]
        return f"{number}-{word if plain.fullmatch(word) else label}.{ending}"

    for first, made, mine in chunks(options, generator, labels, total, seeds):
        for place_in, pixels in enumerate(made):
            number = first + place_in
            if seeds is not None:
                number = seeds[number // max(1, len(labels))]
            label = int(mine[place_in]) if mine is not None else None
            content = clips.single(pixels, fps) if fps else single_png(pixels)
            place.write(name(number, label), content)
    return say_made(total, generator, options.each)


def _array(options: argparse.Namespace, num: int, seeds: list[int] | None) -> int:
    import numpy as np

    from distgan.storage import machine
    from distgan.storage.storage import last_name, split

    check_writable(options.npz, "--npz", "samples.npz")
    if not options.npz.endswith(".npz"):
        raise UserError(f"--npz {options.npz}: its name should end in .npz")
    generator, labels, total = load(options, num, seeds)
    *lead, channels, height, width = generator.shape
    shape = (total, *lead, height, width, channels)
    size = int(np.prod(shape, dtype=np.float64))
    if size > machine.available_memory():
        raise UserError(
            f"--num {total:,}: are {size / 2**30:,.0f} GiB of {generator.noun}, more than the "
            "memory that is free; make fewer, or single files with --each"
        )
    images = np.empty(shape, np.uint8)
    numbers = np.empty(total, np.int64)
    for first, made, mine in chunks(options, generator, labels, total, seeds):
        images[first : first + len(made)] = made
        if mine is not None:
            numbers[first : first + len(made)] = mine
    # Named arr_0 and arr_1, as ADM's evaluator and sampler have them (Dhariwal and Nichol 2021).
    arrays: list[NDArray[Any]] = [images, numbers] if labels else [images]
    storage, name = split(options.npz)
    storage.write(name or last_name(options.npz), lambda stream: np.savez(stream, *arrays))
    return say_made(total, generator, options.npz)


def load(
    options: argparse.Namespace, num: int, seeds: list[int] | None
) -> tuple[LoadedGenerator, list[int], int]:
    """The generator, its labels that are wanted, and how many images or clips there will be."""
    from distgan.cli import clips
    from distgan.runs.clips import LoadedClips
    from distgan.runs.export import load_generator

    generator = load_generator(options.run, options.weights)
    if isinstance(generator, LoadedClips):
        generator = clips.asked(options, generator)
    labels = chosen_labels(generator, options.label)
    return generator, labels, num if seeds is None else len(seeds) * max(1, len(labels))


def chunks(
    options: argparse.Namespace,
    generator: LoadedGenerator,
    labels: list[int],
    total: int,
    seeds: list[int] | None,
) -> Iterator[tuple[int, NDArray[np.uint8], Tensor | None]]:
    """Some images at a time: the place of the first, the images (n, h, w, c), their labels.

    Of clips (n, frames, h, w, c).
    """
    import torch

    from distgan.cli.console import screen
    from distgan.cli.progress import Preparation
    from distgan.runs.grid import to_uint8

    each = max(1, len(labels))
    most = min(_CHUNK, _BLOCKS * generator.block)
    step = most if seeds is None else max(1, most // each) * each
    with Preparation(screen()) as shown:
        for first in range(0, total, step):
            stop = min(first + step, total)
            how: dict[str, Any] = {"label": labels or None}
            if seeds is None:
                made = generator.sample(range(first, stop), seed=options.seed or 0, **how)
            else:
                made = generator.sample_seeds(seeds[first // each : stop // each], **how)
            mine = torch.tensor(labels)[torch.arange(first, stop) % each] if labels else None
            yield first, to_uint8(made), mine
            shown.update(generator.noun, stop, total)


def say_made(total: int, generator: LoadedGenerator, place: str) -> int:
    """Tell what was made; the exit status."""
    from distgan.cli.console import say

    say(
        f"{total:,} {generator.noun} after {generator.images_seen:,} training {generator.noun}: "
        f"{place}"
    )
    return 0
