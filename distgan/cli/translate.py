"""`distgan translate`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from distgan.cli.files import stem, write_file
from distgan.cli.parser import Parser, Verbs, whole
from distgan.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from distgan.config.shape import ImageShape
    from distgan.data.inputs import Input, NamedInputs
    from distgan.runs.translator import LoadedTranslator

_TRANSLATE = """\
For instance:

  distgan translate runs/one                        held-out images of its set
  distgan translate runs/one photo.jpg sketches/    your files
  distgan translate runs/one zebras/ --reverse      of a model of both ways
  distgan translate runs/one photo.jpg --full-size  as large as it is

One PNG is written for each input, by its name, and beside the folder a picture
of inputs and outputs side by side. Nothing is written over.

Of models that make their inputs from images (--task edges, gray or small):

  --as image   a picture is what the model learned to make, and its outlines, its
               gray or a smaller copy is translated; usual for edges and gray (a
               gray picture stays as it is)
  --as input   a picture is translated as it is; usual for small, which enlarges
               what you have

Sets of pairs are taken on the side that the model translates, and the other side
is the target. Pictures of another size are cropped and resized as `distgan data
prepare` does; with --full-size they are not, and sides that do not fit are filled
up at the edge and cut off again.

Batch norm takes the statistics of the training and nothing is dropped, so that an
output depends on its input alone. --dropout SEED drops as in training, as the
published pix2pix does.
"""
_OF_THE_RUN = 32
"""Images without INPUT."""
_CHUNK = 64
"""Images that are translated, and written, at a time."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "translate",
        help="make images of images with a trained model",
        epilog=_TRANSLATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        gathers="input",
    )
    parser.set_defaults(execute=run)
    parser.add_argument("run", metavar="RUN", help="folder or URI of a run, such as of pix2pix")
    parser.add_argument(
        "input",
        metavar="INPUT",
        nargs="*",
        help="image files, folders, archives, or sets such as mnist [held-out images]",
    )
    parser.add_argument("--reverse", action="store_true", help="from outputs to inputs")
    parser.add_argument("--out", metavar="DIR", help="an empty folder [RUN's name-translated]")
    parser.add_argument(
        "--num",
        type=whole("--num", 1),
        metavar="N",
        help=f"images at most, evenly among them [all; {_OF_THE_RUN} without INPUT]",
    )
    parser.add_argument(
        "--as",
        dest="kind",
        choices=["image", "input"],
        help="what pictures are taken for; see below",
    )
    parser.add_argument(
        "--full-size", action="store_true", help="translate pictures as large as they are"
    )
    parser.add_argument(
        "--dropout",
        type=whole("--dropout", 0, 2**63 - 1),
        metavar="SEED",
        help="drop as in training",
    )
    parser.add_argument(
        "--weights", choices=["ema", "generator"], default="ema", help="moving average or last"
    )


def run(options: argparse.Namespace) -> int:
    """Translate images, and write them and a picture of them."""
    from distgan.cli.console import say, screen
    from distgan.cli.progress import Preparation
    from distgan.data.inputs import NamedInputs
    from distgan.runs.comparison import comparison_png
    from distgan.runs.grid import single_png
    from distgan.storage.storage import Storage

    out = options.out or f"{stem(options.run)}-{'reversed' if options.reverse else 'translated'}"
    sheet = f"{out.rstrip('/')}.png"
    _refuse_existing(out, sheet)
    model = _load(options)
    names, remark = (options.input, "") if options.input else _own(model, options.reverse)
    work = _Work(model, NamedInputs(names), options)
    place = Storage(out)
    with Preparation(screen()) as shown:
        for done, (name, pixels) in enumerate(work.outputs(), 1):
            place.write(f"{name}.png", single_png(pixels))
            shown.update("images", done, work.count)
    write_file(sheet, comparison_png(work.shown, work.kinds))
    for line in filter(None, (remark, *work.remarks())):
        say(line)
    say(f"{work.count:,} images after {model.images_seen:,} training images: {out}")
    say(f"{' beside '.join(work.kinds)}: {sheet}")
    return 0


def _refuse_existing(out: str, sheet: str) -> None:
    from distgan.storage.storage import Storage, split

    if Storage(out).names():
        raise UserError(f"--out {out}: is not empty; name another folder")
    place, name = split(sheet)
    if place.exists(name):
        raise UserError(
            f"--out {out}: {sheet}, where inputs and outputs would be shown, is there already; "
            "name another folder"
        )


def _load(options: argparse.Namespace) -> LoadedTranslator:
    from distgan.runs.export import load_generator
    from distgan.runs.translator import LoadedTranslator

    model = load_generator(options.run, options.weights)
    if not isinstance(model, LoadedTranslator):
        raise UserError(
            f"RUN {options.run}: a model of the family {model.family.config.family} makes no "
            "images of images; use `distgan sample`"
        )
    return model


def _own(model: LoadedTranslator, reverse: bool) -> tuple[list[str], str]:
    """The set that a run's own images of the side to translate are taken from, and a remark."""
    from distgan.data.sides import open_sets
    from distgan.evaluate.rows import shown_sets

    family = model.translation
    first, second = shown_sets(*open_sets(family.config), family.config.evaluate, family)
    shown = first if second is None or (family.config.direction == "AtoB") != reverse else second
    if shown.split != "train":
        return [shown.images.uri], ""
    return [shown.images.uri], "images that the model was trained on, as the set holds none out"


class _Work:
    """What is translated, how its pictures are understood, and what is to be said of it.

    Attributes:
        count: how many images.
        kinds: what is shown side by side: input, output, and the target where it is known.
        shown: some of the images, for each what ``kinds`` says.
    """

    def __init__(
        self, model: LoadedTranslator, named: NamedInputs, options: argparse.Namespace
    ) -> None:
        from distgan.data.transform import Transform
        from distgan.families.tasks import TASKS
        from distgan.runs.comparison import MOST

        config, data = model.translation.config, model.translation.data
        self._model, self._named, self._options = model, named, options
        self._task = task = getattr(config, "task", "")
        self._scale = model.translation.scale
        if options.kind is not None and task not in TASKS:
            raise UserError(
                f"--as {options.kind}: is for models of a task such as edges; this one translates "
                "images as they are, so leave it out"
            )
        self._derives = task in TASKS and self._takes_images()
        paired = not self._derives and data.pair is not None and named.pairs
        wanted = model.output_shape if options.reverse else model.input_shape
        if self._derives or paired:
            wanted = data.image

        def of(shape: ImageShape) -> Transform:
            size = None if options.full_size else (shape.height, shape.width)
            return Transform(size, gray=shape.channels == 1)

        self._wanted, self._transform = wanted, of(wanted)
        self._of_pair = of(data.pair) if paired and data.pair is not None else None
        self._known = self._derives or paired
        num = options.num or (named.count if options.input else _OF_THE_RUN)
        self._numbers = named.evenly(num)
        self.count = len(self._numbers)
        self._every = -(-self.count // MOST)
        self.kinds = ("input", "output", "target") if self._known else ("input", "output")
        self.shown: list[list[NDArray[np.uint8]]] = []
        self._changed, self._error = 0, 0.0

    def _takes_images(self) -> bool:
        """Whether inputs are made from the pictures, of a model with a task."""
        options, config = self._options, self._model.translation.config
        if options.kind is not None:
            return bool(options.kind == "image")
        # Who has a model that enlarges wants to see his own pictures larger.
        enlarges = self._task == "small" and config.direction == "AtoB" and not options.reverse
        return not (enlarges and options.input)

    def outputs(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """The name of each input, and what it becomes: uint8 (h, w, c)."""
        found = self._named.read(self._numbers, self._transform, self._of_pair)
        first = 0
        while some := list(islice(found, 1 if self._options.full_size else _CHUNK)):
            self._changed += sum(each.changed for each in some)
            for each, pixels in zip(some, self._translated(some, first), strict=True):
                yield each.name, pixels
            first += len(some)

    def _translated(self, some: Sequence[Input], first: int) -> NDArray[np.uint8]:
        import torch

        from distgan.runs.comparison import shrunk
        from distgan.runs.grid import to_uint8

        images = _tensor([each.pixels for each in some])
        pairs = [each.pair for each in some if each.pair is not None]
        given, target = images, None
        if self._known:
            given, target = self._sides(images, _tensor(pairs) if pairs else None)
        options = self._options
        translate = self._model.translate_any if options.full_size else self._model.translate
        numbers = range(first, first + len(some))
        made = translate(given, options.reverse, dropout=options.dropout, numbers=numbers)
        if target is not None:
            self._error += torch.sum((made - target).abs().mean((1, 2, 3)) / 2).item()
        parts = [to_uint8(each) for each in (given, made, target) if each is not None]
        for place in range(-first % self._every, len(some), self._every):
            self.shown.append([shrunk(part[place]) for part in parts])
        return parts[1]

    def _sides(self, images: Tensor, pairs: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Inputs and targets of the images of a set."""
        height, width = (side - side % self._scale for side in images.shape[2:])
        given, target = self._model.example(images[:, :, :height, :width], pairs)
        if not self._options.reverse or target is None:
            return given, target
        return target, given

    def remarks(self) -> Iterator[str]:
        """What is to be known of the pictures, when they are made."""
        wanted = self._wanted
        if self._changed:
            whole_size = "; --full-size leaves their sizes" if self._model.multiple else ""
            yield (
                f"{self._changed:,} of {self.count:,} images were cropped and resized to "
                f"{wanted.height}x{wanted.width}, as `distgan data prepare` does{whole_size}"
            )
        of_task = (self._model.translation.config.direction == "AtoB") != self._options.reverse
        if self._derives and of_task and self._options.input and not self._options.kind:
            yield (
                f"inputs were made from the images by the task {self._task}; --as input takes "
                "images as they are"
            )
        if self._known and self.count:
            error = self._error / self.count
            yield f"mean absolute difference to the targets {error:.4g}, of pixels in [0, 1]"


def _tensor(pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
    """uint8 (h, w, c) images as float (n, c, h, w) in [-1, 1]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
