"""`distgan data prepare` and `distgan data info`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import MOST_WORKERS, Parser, Verbs, whole

if TYPE_CHECKING:
    from rich.console import Console

    from distgan.config.clip import Clips
    from distgan.data.manifest import Manifest

_PREPARE = """\
SOURCE is one of these; which, it sees for itself:

  mnist, fashion-mnist, cifar10, cifar100    downloaded, and checked
  stacked-mnist                              made of the digits in the package
  a folder with MNIST's IDX files or either CIFAR's, gzipped or not
  a folder or zip of images; its sub-folders are the classes, or dataset.json says;
    NAME.pair.png is the pair of NAME.png
  WebDataset .tar files: NAME.jpg, NAME.cls (or .json), NAME.txt, NAME.pair.jpg
  Parquet with a column image, also Hugging Face's
  a .npz (images, labels) or .npy of uint8

moving-mnist and moving-mnist-small are clips of digits, also made of those in the package. With
--clips SOURCE holds clips of yours, and KIND says how:

  frames     a folder of images for each clip; folders of such folders are the classes
  files      videos, GIF, APNG or animated WebP, in a folder of each class
  strips     images, in each of which the frames of a clip lie side by side
  stack      one .npy of all clips: (frames, clips, height, width), or clips first
  panning    images of any kind above: a window of --size moves over each

For instance:

  distgan data prepare fashion-mnist --out sets/fashion
  distgan data prepare photos/ --size 64 --out sets/photos
  distgan data prepare faces.zip --size 128 --validation 1000 --out sets/faces
  distgan data prepare scans/ --channels gray --size 48x64 --crop none --out sets/scans
  distgan data prepare facades/ --pairs side-by-side --size 256 --out sets/facades
  distgan data prepare horse2zebra/ --pairs unpaired --size 256 --out sets/horse2zebra
  distgan data prepare moving-mnist-small --out sets/digits
  distgan data prepare films/ --clips files --size 64 --fps 12 --cut 32 --out sets/films
  distgan data prepare crawl/ --size 256 --skip-bad 100 --store png --out s3://bucket/crawl

Stopped, it leaves nothing; repeated, it makes the same bytes, on any number of cores.
"""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb and its actions."""
    data = verbs.add_parser("data", help="prepare and inspect sets of images and clips")
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_prepare(actions)
    info = actions.add_parser("info", help="describe a set and draw its images or clips")
    info.add_argument("uri", metavar="URI", help="name, path or URI of a set")
    info.add_argument("--picture", metavar="FILE.png", help="the drawing [SET's name-info.png]")
    info.set_defaults(execute=run_info)


def _add_prepare(actions: Verbs[Parser]) -> None:
    prepare = actions.add_parser(
        "prepare",
        help="turn images or clips of any kind into Parquet and a manifest",
        epilog=_PREPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prepare.set_defaults(execute=run_prepare)
    prepare.add_argument("source", metavar="SOURCE", help="file, folder, or name (see below)")
    prepare.add_argument("--out", required=True, metavar="URI", help="folder to write")
    prepare.add_argument("--split", metavar="NAME", help="train or test [train]")
    prepare.add_argument("--size", metavar="N|HxW", help="resize; without it all must be of a size")
    prepare.add_argument(
        "--crop", metavar="HOW", help="of other proportions: center, or none to distort [center]"
    )
    prepare.add_argument(
        "--filter",
        metavar="NAME",
        help="lanczos, bicubic, bilinear, box: Pillow's, all antialiased [lanczos]",
    )
    prepare.add_argument(
        "--channels", metavar="WHICH", help="gray, rgb, or auto: as the first image [auto]"
    )
    prepare.add_argument(
        "--pairs",
        metavar="HOW",
        help="side-by-side: images A|B, cut in the middle; folders: A and B, of equal names; "
        "unpaired: trainA, trainB and so on, of which two sets are made [NAME.pair.png]",
    )
    prepare.add_argument("--pair-size", metavar="N|HxW", help="of the pairs [as --size]")
    prepare.add_argument(
        "--pair-channels", metavar="WHICH", help="gray, rgb or auto, of the pairs [as --channels]"
    )
    _add_clips(prepare)
    prepare.add_argument(
        "--subset", metavar="N", help="take N images, drawn by --seed [all; stacked-mnist 128000]"
    )
    prepare.add_argument(
        "--validation", metavar="N", help="hold out N of them, as a set in URI/validation [0]"
    )
    prepare.add_argument(
        "--seed", metavar="S", help="of --subset, --validation and sets that are made [0]"
    )
    prepare.add_argument("--shard-size", metavar="MB", help="of decoded pixels in a shard [64]")
    prepare.add_argument(
        "--store",
        metavar="AS",
        help="raw pixels, png, or original: the source's bytes where unchanged [raw]",
    )
    prepare.add_argument(
        "--skip-bad", metavar="N", help="leave out up to N bad images or clips [0]"
    )
    prepare.add_argument(
        "--workers",
        type=whole("--workers", 0, MOST_WORKERS),
        metavar="N",
        help="tasks at a time [one per core]; 0: in this process, without Ray",
    )
    prepare.add_argument("--address", metavar="ADDR", help="a running Ray cluster [RAY_ADDRESS]")


def _add_clips(prepare: Parser) -> None:
    prepare.add_argument(
        "--clips",
        metavar="KIND",
        help="SOURCE holds clips: frames, files, strips, stack or panning (see below)",
    )
    prepare.add_argument(
        "--frames", metavar="N", help="that a clip must have [2, or --cut; panning 16]"
    )
    prepare.add_argument(
        "--short",
        metavar="HOW",
        help="with fewer --frames: drop, or loop: begin again until there are so many [drop]",
    )
    prepare.add_argument(
        "--cut", metavar="N", help="cut longer clips into some of N frames [left whole]"
    )
    prepare.add_argument(
        "--fps", metavar="F", help="take frames at this rate [all, which must be of one rate]"
    )


def run_prepare(options: argparse.Namespace) -> int:
    """`distgan data prepare`."""
    import signal
    import sys
    from dataclasses import fields

    from distgan.cli.console import screen
    from distgan.cli.progress import Preparation
    from distgan.config import settings
    from distgan.data.prepare import PrepareSettings
    from distgan.launch.prepare import prepare, prepare_sides
    from distgan.launch.signals import StopRequest

    given = {field.name: getattr(options, field.name) for field in fields(PrepareSettings)}
    given = {name: value for name, value in given.items() if value is not None}
    chosen = settings.from_dict(PrepareSettings, given)
    console = screen()
    # As an exception, SIGTERM too runs the clean-up of every open block.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        with Preparation(console) as shown:
            how = {
                "workers": options.workers,
                "address": options.address,
                "progress": shown.update,
                "note": shown.note,
                "stop": StopRequest(ends_process=True),
            }
            if chosen.pairs == "unpaired":
                made = prepare_sides(options.source, options.out, chosen, **how)
            else:
                made = {"": prepare(options.source, options.out, chosen, **how)}
    except KeyboardInterrupt:
        console.print("stopped; nothing was kept, the same command begins again", soft_wrap=True)
        return 130
    _show_made(console, made, options)
    return 0


def _show_made(console: Console, made: dict[str, Manifest], options: argparse.Namespace) -> None:
    """What was made, and what to do next.

    Args:
        made: manifests by the side of each set, which is empty for the only one.
    """
    from distgan.cli.console import command, text

    out = options.out.rstrip("/")
    places = {side: f"{out}/{side}" if side else options.out for side in made}
    for side, one in made.items():
        size, rows = f"{one.height}x{one.width}x{one.channels}", "images"
        if one.clips is not None:
            size, rows = f"{_length(one.clips)} of {size}", "clips"
        if one.pair_shape is not None:
            size += f", with pairs of {one.pair_shape},"
        console.print(
            text((f"{one.count:,}", "bold"), f" {rows} of {size} in {places[side]}"),
            soft_wrap=True,
        )
        if one.skipped:
            console.print(f"  left out      {one.skipped} bad {rows}, see bad-images.txt")
        if options.validation:
            console.print(f"  validation    {places[side]}/validation", soft_wrap=True)
    lines = [("look at it", command("data", "info", place)) for place in places.values()]
    if len(places) > 1:
        train = command("train", "RECIPE", "--data", places["A"], "--data-b", places["B"])
        lines.append(("train on both", f"{train}   (RECIPE: of unpaired images)"))
    else:
        recipe = _recipe(made[""])
        lines.append(("train on it", command("train", recipe, "--data", options.out)))
    for what, line in lines:
        console.print(f"  {what:<13} {line}", soft_wrap=True)


def _length(clips: Clips) -> str:
    same = clips.shortest == clips.longest
    return f"{clips.shortest} frames" if same else f"{clips.shortest} to {clips.longest} frames"


def _recipe(made: Manifest) -> str:
    """The recipe that `distgan train` chooses for a set; mnist-mlp where convolutions fit none, and
    RECIPE for clips that none fits."""
    import torch

    from distgan.config.shape import ImageShape
    from distgan.errors import UserError
    from distgan.families import DataSpec
    from distgan.recipes import clips, photos

    image = ImageShape(made.channels, made.height, made.width)
    if made.clips is not None:
        try:
            spec = DataSpec(image, made.classes, clips=made.clips)
            return clips.choose(made.source["kind"], spec).recipe
        except UserError:
            return "RECIPE"
    if not photos.halves(image):
        return "mnist-mlp"
    return photos.choose(image, made.count, torch.cuda.is_available(), "").recipe


def run_info(options: argparse.Namespace) -> int:
    """`distgan data info`."""
    from rich.table import Table

    from distgan.cli.console import screen, text
    from distgan.cli.progress import Preparation
    from distgan.data.info import inform
    from distgan.data.picture import MOST_ROWS

    console = screen()
    out = f"{stem(options.uri)}-info.png" if options.picture is None else options.picture
    check_writable(out, "--picture", "info.png")
    with Preparation(console) as shown:
        found = inform(options.uri, shown.update)
    write_file(out, found.picture)
    for name, said in {**found.lines, "picture": out}.items():
        console.print(text((f"{name:<11}", "cyan"), f" {said}"), soft_wrap=True)
    if found.counts:
        table = Table(box=None, pad_edge=False)
        table.add_column("label", justify="right")
        table.add_column("class")
        table.add_column(found.rows, justify="right")
        known = list(zip(found.classes, found.counts, strict=True))
        for label, (name, count) in enumerate(known[:MOST_ROWS]):
            table.add_row(str(label), name, f"{count:,}")
        console.print()
        console.print(table)
        if len(known) > MOST_ROWS:
            console.print(f"and {len(known) - MOST_ROWS:,} more classes")
    return 0
