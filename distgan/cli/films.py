"""`distgan sample --film`: how a run learned, and walks from seed to seed."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import Parser
from distgan.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from distgan.runs.generator import LoadedGenerator

_TRAINING_FPS, _WALK_FPS = 6.0, 20.0
_HOLD = 2.0
"""Seconds for which the last grid of a training stays."""
_SECONDS_A_SEED = 2.0
_WALK_SEEDS, _WALK_IMAGES = 6, 16


def add(parser: Parser) -> None:
    """Declare the options of films."""
    parser.add_argument(
        "--film",
        choices=["training", "walk"],
        help="the run's grids over time, or a closed walk through the latents; a .webp, .gif, "
        ".png or .mp4 at --out [RUN's name-FILM.webp]",
    )
    parser.add_argument(
        "--fps",
        type=positive("--fps"),
        metavar="F",
        help="frames a second, of a film or of clips. A model of the family video makes frames at "
        "any times, and things move as fast as in its data; others have one rate, and what is "
        "played at another is faster or slower",
    )
    parser.add_argument(
        "--seconds", type=positive("--seconds"), metavar="T", help="of the film, or of a clip"
    )


def positive(option: str) -> Callable[[str], float]:
    """A reader of numbers above 0, for an option."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < 1e6:
            raise UserError(f"{option} {text[:40]}: should be a number above 0")
        return value

    return parse


def refuse(options: argparse.Namespace) -> None:
    """See that no option of a film is given without one.

    Raises:
        UserError: for one that is.
    """
    for name in ("fps", "seconds"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: is for a film; add --film walk, or leave it out")


def run(options: argparse.Namespace, num: int | None, seeds: list[int] | None) -> int:
    """Make a film."""
    from distgan.cli.console import say
    from distgan.runs.film import check_speed, encode, kind_of

    out = f"{stem(options.run)}-{options.film}.webp" if options.out is None else options.out
    kind = kind_of(out, "--out")
    check_writable(out, "--out", "film.webp")
    if options.film == "training":
        count, frames = _training(options, num, seeds)
        fps = options.fps or (count / options.seconds if options.seconds else _TRAINING_FPS)
        if options.fps and options.seconds:
            raise UserError("--seconds: --fps decides already how long grids are shown; leave one")
        hold = 0.0 if options.seconds else _HOLD
    else:
        fps, hold = options.fps or _WALK_FPS, 0.0
        count, frames = _walk(options, num, seeds, fps)
    check_speed(kind, fps)
    write_file(out, encode(frames, kind, fps, hold))
    say(f"{count} frames, {count / fps + hold:.3g} s: {out}")
    return 0


def _training(
    options: argparse.Namespace, num: int | None, seeds: list[int] | None
) -> tuple[int, Iterator[Image.Image]]:
    from distgan.families import registry
    from distgan.runs import folder
    from distgan.runs.samples import FOLDER
    from distgan.storage.storage import Storage

    asked = {"--num": num, "--seeds": seeds, "--seed": options.seed, "--label": options.label}
    for option, value in asked.items():
        if value is not None:
            raise UserError(f"{option}: a film of the training shows the run's grids; leave it out")
    storage = Storage(options.run)
    counted = registry.counted(folder.load_config(storage, "RUN").family)
    names = [n for n in storage.names(FOLDER) if re.fullmatch(r"images-\d{12}\.png", n)]
    if not names:
        raise UserError(f"RUN {options.run}: has no grids in samples/; train it first")
    return len(names), (
        _still(storage.read(f"{FOLDER}/{n}"), n, options.run, counted) for n in names
    )


def _still(png: bytes, name: str, run: str, counted: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    from distgan.runs.captions import underlined

    try:
        picture = Image.open(io.BytesIO(png))
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise UserError(f"{run}/samples/{name}: is damaged; delete it to go without") from None
    plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    return underlined(plain, f"{int(name[7:19]):,} {counted}")


def _walk(
    options: argparse.Namespace, num: int | None, seeds: list[int] | None, fps: float
) -> tuple[int, Iterator[Image.Image]]:
    from distgan.cli.sample import chosen_labels
    from distgan.families.base import MOST_ROWS
    from distgan.runs.export import load_generator
    from distgan.runs.film import MOST_FRAMES
    from distgan.runs.grid import check_grid

    first = options.seed or 0
    corners = list(range(first, first + _WALK_SEEDS)) if seeds is None else seeds
    if len(corners) < 2:
        raise UserError(f"--seeds {corners[0]}: a walk needs two seeds or more, such as 0-5")
    frames = max(1, round((options.seconds or _SECONDS_A_SEED * len(corners)) * fps))
    if frames > MOST_FRAMES:
        raise UserError(f"--seconds: would be {frames:,} frames; {MOST_FRAMES:,} are the most")
    generator = load_generator(options.run, options.weights)
    labels = chosen_labels(generator, options.label)
    by_label = 0 < len(labels) <= MOST_ROWS
    if num is None:
        num = len(labels) * -(-_WALK_IMAGES // len(labels)) if by_label else _WALK_IMAGES
    square = max(1, round(num**0.5))
    columns = min(num, len(labels) * max(1, square // len(labels))) if by_label else square
    check_grid(num, generator.image, columns)
    pictures = _grids(generator, corners, num, frames, labels, columns, by_label)
    return frames, pictures


def _grids(
    generator: LoadedGenerator,
    seeds: list[int],
    num: int,
    frames: int,
    labels: list[int],
    columns: int,
    by_label: bool,
) -> Iterator[Image.Image]:
    import torch

    from distgan.cli.console import screen
    from distgan.cli.progress import Preparation
    from distgan.cli.sample import names_of
    from distgan.runs.grid import grid, to_uint8
    from distgan.runs.walk import closed_walk

    # Noise of the layers stays the same on the way: only the latents move.
    numbers = torch.arange(num)
    of = torch.tensor(labels)[numbers % len(labels)] if labels else None
    names = names_of(generator, labels) if by_label else ()
    with Preparation(screen()) as shown:
        for frame, latents in enumerate(closed_walk(generator, seeds, num, frames), 1):
            images = generator.images(latents, of, seed=seeds[0], numbers=numbers)
            yield grid(to_uint8(images), columns, names)
            shown.update("frames", frame, frames)
