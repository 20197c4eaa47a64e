"""`distgan reconstruct`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from distgan.cli.files import check_writable, stem, write_file
from distgan.cli.parser import Parser, Verbs, whole
from distgan.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from distgan.data.inputs import Inputs
    from distgan.runs.autoencoder import LoadedAutoencoder

_RECONSTRUCT = """\
Encodes images and decodes the mean of their latent vectors: a grid of images, each above its
reconstruction. For instance:

  distgan reconstruct runs/vae sets/faces/validation
  distgan reconstruct runs/vae one.png two.png folder/ --out pairs.png
"""
_ACROSS = 16
"""Images side by side."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "reconstruct",
        help="send images through a trained autoencoder",
        epilog=_RECONSTRUCT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=run)
    parser.add_argument("run", metavar="RUN", help="folder or URI of a run of a VAE")
    parser.add_argument(
        "input", metavar="INPUT", nargs="+", help="image files, folders, or sets such as mnist"
    )
    parser.add_argument(
        "--num", type=whole("--num", 1), default=32, metavar="N", help="images at most [32]"
    )
    parser.add_argument(
        "--label", type=whole("--label"), metavar="K", help="of all images [the set's]"
    )
    parser.add_argument("--out", metavar="FILE.png", help="[RUN's name-reconstructions.png]")
    parser.add_argument(
        "--weights", choices=["ema", "generator"], default="ema", help="moving average or last"
    )


def run(options: argparse.Namespace) -> int:
    """Draw a grid, and say how large the error is."""
    import numpy as np
    import torch

    from distgan.cli.console import say
    from distgan.data.inputs import read_inputs
    from distgan.runs.autoencoder import LoadedAutoencoder
    from distgan.runs.export import load_generator
    from distgan.runs.grid import check_grid, grid_png, to_uint8

    out = f"{stem(options.run)}-reconstructions.png" if options.out is None else options.out
    check_writable(out, "--out", "reconstructions.png")
    model = load_generator(options.run, options.weights)
    if not isinstance(model, LoadedAutoencoder):
        raise UserError(
            f"RUN {options.run}: a model of the family {model.family.config.family} has no "
            "encoder; give a run of a VAE"
        )
    columns = min(_ACROSS, options.num)
    check_grid(2 * options.num, model.image, columns)
    found = read_inputs(options.input, model.image, options.num)
    images = torch.from_numpy(found.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    made = model.reconstruct(images, _labels(model, found, options.label))
    error = ((made - images) / 2).square().mean().item()
    columns = min(columns, len(images))
    rows = []
    for start in range(0, len(images), columns):
        pair = found.pixels[start : start + columns], to_uint8(made[start : start + columns])
        rows += [np.pad(part, ((0, columns - len(part)), *[(0, 0)] * 3)) for part in pair]
    write_file(out, grid_png(np.concatenate(rows), columns))
    if found.changed:
        shape = model.image
        say(
            f"{found.changed} of {len(images)} images were cropped and resized to "
            f"{shape.height}x{shape.width}, as `distgan data prepare` does"
        )
    say(
        f"{len(images)} images, each above its reconstruction, after {model.images_seen:,} "
        f"training images: {out}"
    )
    say(f"mean squared error {error:.5g}, of pixels in [0, 1]")
    return 0


def _labels(model: LoadedAutoencoder, found: Inputs, given: int | None) -> Tensor | None:
    import torch

    if not model.classes:
        if given is not None:
            raise UserError(f"--label {given}: this model takes no labels; leave it out")
        return None
    if given is not None:
        if given >= len(model.classes):
            raise UserError(f"--label {given}: this model has labels 0 to {len(model.classes) - 1}")
        return torch.full((len(found.labels),), given)
    known = [label for label in found.labels if label is not None and label >= 0]
    if found.classes != model.classes or len(known) < len(found.labels):
        raise UserError(
            "INPUT: this model takes labels, and not all images have one of its own; name a "
            "labelled set of the same classes, or give --label K"
        )
    return torch.tensor(known)
