"""`distgan sample` of a model that makes clips: clips that play side by side, and film strips."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import Parser, whole
from distgan.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from distgan.runs.clips import LoadedClips

_CLIPS = 9
_MOST_NAMED = 10
"""Labels that each get a column of their own where nobody says how many clips."""
_OPTIONS = ("frames", "strips", "quality")
"""What only a model of clips, or what it makes, has a use for."""


def add(parser: Parser) -> None:
    """Declare the options of clips."""
    parser.add_argument(
        "--frames",
        type=whole("--frames", 1),
        metavar="N",
        help="of a clip, fewer or more than it was trained with [as many]",
    )
    parser.add_argument(
        "--strips",
        metavar="FILE.png",
        help="of clips: a film strip of each, up to 16 of its frames [RUN's name-strips.png]",
    )
    parser.add_argument(
        "--quality",
        type=whole("--quality", 1, 100),
        metavar="Q",
        help="of clips in a .webp: 1 to 100, which keeps every pixel [100 of small frames, which "
        "are enlarged; else 90]. A .png keeps them too, a .gif has 256 colours",
    )


def makes_clips(run: str) -> bool:
    """Whether a run's model makes clips.

    Raises:
        UserError: for a folder that is not a run.
    """
    from distgan.families import registry
    from distgan.runs import folder
    from distgan.storage.storage import Storage

    return registry.makes_clips(folder.load_config(Storage(run), "RUN").family)


def refuse(options: argparse.Namespace) -> None:
    """See that no option of clips is given for a model of images.

    Raises:
        UserError: for one that is.
    """
    for name in _OPTIONS:
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: is for a model that makes clips; leave it out")


def check(options: argparse.Namespace, given: list[str]) -> None:
    """See that the options go together, of a model that makes clips.

    Args:
        given: which of ``--each``, ``--npz`` and ``--film`` are.

    Raises:
        UserError: naming one that does not fit.
    """
    if options.film == "walk":
        raise UserError(
            "--film walk: is for models of images, and this one makes clips, which move by "
            "themselves; leave it out, or see how it learned with --film training"
        )
    if options.film is not None:
        return refuse(options)
    if options.frames is not None and options.seconds is not None:
        raise UserError("--seconds: --frames says how long clips are; leave one out")
    for name in ("strips", "quality"):
        if given and getattr(options, name) is not None:
            raise UserError(f"--{name}: not together with {given[0]}; leave one out")
    return None


def asked(options: argparse.Namespace, model: LoadedClips) -> LoadedClips:
    """The model for clips of the length and rate that the options ask for.

    Raises:
        UserError: for ones that cannot be.
    """
    if model.any_rate:
        model = model.at(fps=options.fps or 0.0)
    elif options.fps is not None and options.seconds is None and not _plays(options):
        raise UserError(
            f"--fps {options.fps:g}: this model makes {model.fps:g} frames a second and no others, "
            "and nothing plays here; leave it out"
        )
    if options.seconds is not None:
        return model.at(max(1, round(options.seconds * playing(options, model))))
    return model.at(options.frames or 0)


def _plays(options: argparse.Namespace) -> bool:
    """Whether anything is made that plays: a film, or single clips."""
    still = options.npz is not None or options.strips is not None
    return options.out is not None or options.each is not None or not still


def playing(options: argparse.Namespace, model: LoadedClips) -> float:
    """Frames a second that are shown."""
    return float(options.fps or model.fps)


def single(clip: NDArray[np.uint8], fps: float) -> bytes:
    """A lossless animated WEBP of one uint8 clip (frames, h, w, c), as it is."""
    from distgan.runs.animation import side_by_side
    from distgan.runs.film import encode

    return encode(side_by_side(clip[None], 1, smallest=1), "webp", fps, quality=100)


def run(options: argparse.Namespace, num: int | None, seeds: list[int] | None) -> int:
    """Make clips that play, film strips, or both."""
    from distgan.cli.console import say
    from distgan.cli.sample import load
    from distgan.families.clip_family import SHEET_FRAMES
    from distgan.runs.clips import LoadedClips
    from distgan.runs.film import check_speed
    from distgan.runs.grid import check_grid

    plays, strips = options.out, options.strips
    if plays is None and strips is None:
        plays, strips = f"{stem(options.run)}-samples.webp", f"{stem(options.run)}-strips.png"
    kind = "" if plays is None else _kind(plays, options)
    if strips is not None:
        _check_strips(strips)
    model, labels, total = load(options, num or 0, seeds)
    assert isinstance(model, LoadedClips), "makes_clips"
    if num is None and seeds is None:
        total = 2 * len(labels) if 0 < len(labels) <= _MOST_NAMED else _CLIPS
    fps = playing(options, model)
    columns, names = _columns(options, model, labels, total)
    if plays is not None:
        check_speed(kind, fps)
        check_grid(total, model.image, columns)
    if strips is not None:
        shape = model.image
        strip = shape._replace(width=min(model.length, SHEET_FRAMES) * (shape.width + 1) - 1)
        check_grid(total, strip, 1)
    _check_memory(total, model)
    clips = _made(options, model, labels, total, seeds)
    seen = f"after {model.images_seen:,} training clips"
    if plays is not None:
        _play(clips, plays, columns, names, fps, options)
        say(f"{_counted(model, total, fps)} {seen}: {plays}")
        if abs(fps / model.fps - 1) > 1e-6:
            say(
                f"  this model makes {model.fps:g} frames a second, so {fps:g} a second play "
                f"{fps / model.fps:.3g} times as fast as its data"
            )
    if strips is not None:
        say(f"{_write_strips(clips, strips)} {seen}: {strips}")
    return 0


def _kind(out: str, options: argparse.Namespace) -> str:
    from distgan.runs.film import kind_of

    kind = kind_of(out, "--out")
    check_writable(out, "--out", "clips.webp")
    if options.quality is not None and kind != "webp":
        raise UserError(f"--quality {options.quality}: is for a .webp; leave it out")
    return kind


def _check_strips(path: str) -> None:
    check_writable(path, "--strips", "strips.png")
    if not path.lower().endswith(".png"):
        raise UserError(f"--strips {path}: its name should end in .png")


def _columns(
    options: argparse.Namespace, model: LoadedClips, labels: list[int], total: int
) -> tuple[int, list[str]]:
    """How many clips play beside each other, and names of the columns where labels have some."""
    from distgan.cli.sample import names_of

    square = max(1, -(-round(total**0.5 * 1e6) // 10**6))
    if not labels or len(labels) > total or total % len(labels):
        return square, []
    turns = 1 if options.label is None else max(1, round(square / len(labels)))
    return min(total, len(labels) * turns), names_of(model, labels)


def _check_memory(total: int, model: LoadedClips) -> None:
    from distgan.storage import machine

    pixels = model.image.height * model.image.width * model.image.channels
    # As uint8 once as clips, and once more enlarged as frames of a film.
    size = 2 * total * model.length * pixels
    if size > machine.available_memory():
        raise UserError(
            f"--frames {model.length:,}: {total:,} clips of so many would be "
            f"{size / 2**30:,.1f} GiB, more than the memory that is free; make fewer or shorter"
        )


def _made(
    options: argparse.Namespace,
    model: LoadedClips,
    labels: list[int],
    total: int,
    seeds: list[int] | None,
) -> NDArray[np.uint8]:
    """All clips, uint8 (n, frames, h, w, c)."""
    import numpy as np

    from distgan.cli.sample import chunks

    parts = [made for _, made, _ in chunks(options, model, labels, total, seeds)]
    found: NDArray[np.uint8] = np.concatenate(parts)
    return found


def _play(
    clips: NDArray[np.uint8],
    out: str,
    columns: int,
    names: list[str],
    fps: float,
    options: argparse.Namespace,
) -> None:
    from distgan.runs.animation import enlarged, side_by_side
    from distgan.runs.film import QUALITY, encode, kind_of

    # Enlarged pixels are smaller without loss than as waves.
    usual = 100 if enlarged(clips.shape[3], columns) else QUALITY
    quality = usual if options.quality is None else options.quality
    frames = side_by_side(clips, columns, names)
    write_file(out, encode(frames, kind_of(out, "--out"), fps, quality=quality))


def _write_strips(clips: NDArray[np.uint8], out: str) -> str:
    """Write them, and say what they are."""
    import torch

    from distgan.families.clip_family import strips
    from distgan.runs.grid import grid_png

    frames, columns = strips(torch.from_numpy(clips))
    write_file(out, grid_png(frames.numpy(), columns))
    of = (
        f"{columns} of {clips.shape[1]} frames" if columns < clips.shape[1] else f"{columns} frames"
    )
    return f"film strips of {_clips(len(clips))}, {of} each,"


def _counted(model: LoadedClips, total: int, fps: float) -> str:
    seconds = model.length / fps
    return f"{_clips(total)} of {model.length:,} frames, {fps:g} a second ({seconds:.3g} s),"


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count:,} clips"
