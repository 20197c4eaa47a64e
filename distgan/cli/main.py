"""Parsing the verbs. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from distgan import __version__
from distgan.errors import UserError


class _Parser(argparse.ArgumentParser):
    """Says a mistake in one line, as `UserError`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


_TRAIN = """\
Any setting can be changed by its dotted name, as `distgan show RECIPE` lists them:

  distgan train                                     the tutorial's GAN on MNIST
  distgan train mnist-dcgan --images 300k --seed 1
  distgan train mnist-mlp --generator.optimizer.lr 1e-4 --loss minimax
  distgan train mnist-mlp --data my/images --out s3://bucket/runs/one
  distgan train --resume runs/one --images 3M       go on, also on other workers

Ctrl-C finishes the step, writes a checkpoint and says how to go on.
"""

_PREPARE = """\
SOURCE is one of these; which, it sees for itself:

  mnist, fashion-mnist, cifar10, cifar100    downloaded, and checked
  a folder with MNIST's IDX files or either CIFAR's, gzipped or not
  a folder or zip of images; its sub-folders are the classes, or dataset.json says
  WebDataset .tar files: NAME.jpg, NAME.cls, NAME.txt, NAME.pair.jpg
  Parquet with a column image, also Hugging Face's
  a .npz (images, labels) or .npy of uint8

For instance:

  distgan data prepare fashion-mnist --out sets/fashion
  distgan data prepare photos/ --size 64 --out sets/photos
  distgan data prepare faces.zip --size 128 --validation 1000 --out sets/faces
  distgan data prepare scans/ --channels gray --size 48x64 --crop none --out sets/scans
  distgan data prepare crawl/ --size 256 --skip-bad 100 --store png --out s3://bucket/crawl

Stopped, it leaves nothing; repeated, it makes the same bytes, on any number of cores.
"""

_EVALUATE = """\
Metrics, of which several may be asked for:

  frechet            distance of Gaussians fitted to features; with Inception's, the FID
  kernel             distance of the features' distributions; with Inception's, the KID
  manifold           precision and recall, density and coverage
  classifier-score   with Inception, the Inception score
  modes              which classes there are, and which are missing
  sliced             sliced Wasserstein distance of pixels

For instance:

  distgan evaluate runs/one --metrics frechet,manifold,modes --num 10k

The values and their card, without which no two may be compared, are added to the run's
evaluations.jsonl. During training: distgan train --evaluate.every 100k
"""

_TOP = """\
start here:
  distgan train            train a GAN on MNIST; everything it needs is inside
  distgan sample runs/...  make images with what was trained
  distgan report runs/...  see how it went, in a browser
"""


def _build() -> _Parser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="distgan",
        description="Train generative adversarial networks, from a laptop to a Ray cluster.",
        epilog=_TOP,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"distgan {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    train = verbs.add_parser(
        "train", help="train a recipe, or go on with a run", epilog=_TRAIN, formatter_class=raw
    )
    train.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="`distgan recipes` lists them [mnist-mlp]"
    )
    train.add_argument("--data", metavar="NAME|PATH", help="mnist, a Parquet file, folder or URI")
    train.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes [one per GPU, else one per two cores]; 0: in this process, without Ray",
    )
    train.add_argument("--images", metavar="N", help="images to train on, such as 300k or 1.5M")
    train.add_argument("--batch", metavar="N", help="images in a global batch, over all workers")
    train.add_argument("--seed", metavar="S", help="of weights, data order and latents [0]")
    train.add_argument(
        "--skip-bad", metavar="N", help="damaged images to pass over before it is an error [0]"
    )
    train.add_argument("--out", metavar="DIR", help="path or URI [runs/RECIPE-DATE-TIME]")
    train.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    train.add_argument("--address", metavar="ADDR", help="a running Ray cluster [RAY_ADDRESS]")
    train.add_argument(
        "--device", choices=["auto", "cpu", "gpu"], default="auto", help="where to train [auto]"
    )
    train.add_argument("-v", "--verbose", action="store_true", help="show what Ray says")

    sample = verbs.add_parser("sample", help="make images with a trained generator")
    sample.add_argument("run", metavar="RUN", help="folder or URI of a run")
    sample.add_argument("--num", type=int, default=64, metavar="N", help="how many images [64]")
    sample.add_argument("--label", type=int, metavar="K", help="of a conditional generator [all]")
    sample.add_argument("--seed", type=int, default=0, metavar="S", help="of the latents [0]")
    sample.add_argument("--out", metavar="FILE.png", help="the grid [RUN's name-samples.png]")
    sample.add_argument(
        "--weights", choices=["ema", "generator"], default="ema", help="moving average or last"
    )

    report = verbs.add_parser("report", help="show what runs did, as one HTML file")
    report.add_argument("runs", nargs="+", metavar="RUN", help="folders or URIs of runs")
    report.add_argument(
        "--out", metavar="FILE.html", help="[report.html in RUN; of several runs, here]"
    )

    _add_evaluate(verbs)
    verbs.add_parser("recipes", help="list the recipes")
    show = verbs.add_parser("show", help="print a recipe's settings, with any overrides")
    show.add_argument("recipe", metavar="RECIPE")
    show.add_argument("--yaml", action="store_true", help="as the config.yaml of a run")

    data = verbs.add_parser("data", help="prepare and inspect sets of images")
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_prepare(actions)
    info = actions.add_parser("info", help="describe a set and draw a grid of its images")
    info.add_argument("uri", metavar="URI", help="name, path or URI of a set")
    info.add_argument("--picture", metavar="FILE.png", help="the grid [SET's name-info.png]")
    return parser


def _add_evaluate(verbs: argparse._SubParsersAction[_Parser]) -> None:
    evaluate = verbs.add_parser(
        "evaluate",
        help="measure a run's generator against its data",
        epilog=_EVALUATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("run", metavar="RUN", help="folder or URI of a run")
    evaluate.add_argument("--metrics", metavar="NAMES", help="separated by commas [the run's]")
    evaluate.add_argument("--num", metavar="N", help="generated images [the run's, 5000]")
    evaluate.add_argument("--features", metavar="NAME", help="what sees the images [auto]")
    evaluate.add_argument("--weights", metavar="WHICH", help="ema or generator [ema]")
    evaluate.add_argument("--seed", metavar="S", help="of latents and subsets [0]")


def _add_prepare(actions: argparse._SubParsersAction[_Parser]) -> None:
    prepare = actions.add_parser(
        "prepare",
        help="turn images of any kind into Parquet and a manifest",
        epilog=_PREPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    prepare.add_argument("--subset", metavar="N", help="take N images, drawn by --seed [all]")
    prepare.add_argument(
        "--validation", metavar="N", help="hold out N of them, as a set in URI/validation [0]"
    )
    prepare.add_argument("--seed", metavar="S", help="of --subset and --validation [0]")
    prepare.add_argument("--shard-size", metavar="MB", help="of decoded pixels in a shard [64]")
    prepare.add_argument(
        "--store",
        metavar="AS",
        help="raw pixels, png, or original: the source's bytes where unchanged [raw]",
    )
    prepare.add_argument("--skip-bad", metavar="N", help="leave out up to N bad images [0]")
    prepare.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="tasks at a time [one per core]; 0: in this process, without Ray",
    )
    prepare.add_argument("--address", metavar="ADDR", help="a running Ray cluster [RAY_ADDRESS]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for a user's mistake, 130, 143."""
    try:
        parser = _build()
        words, overrides = _split_overrides(sys.argv[1:] if arguments is None else arguments)
        options = parser.parse_args(words, argparse.Namespace(overrides=overrides))
        from distgan.cli import verbs

        name = f"{options.verb}_{options.action}" if "action" in options else options.verb
        status: int = getattr(verbs, name)(options)
        return status
    except UserError as error:
        print(f"distgan: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130


def _split_overrides(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Separate ``--setting VALUE`` and ``--setting=VALUE`` from the options of the verb."""
    kept: list[str] = []
    found: dict[str, str] = {}
    words = list(arguments)
    if not words or words[0] not in _KNOWN:
        return words, found
    known = _KNOWN[words[0]]
    while words:
        word = words.pop(0)
        name, given, value = word.partition("=")
        if not word.startswith("--") or name in known:
            kept.append(word)
            continue
        if not given:
            if not words or words[0].startswith("--"):
                raise UserError(f"{name}: needs a value, as in {name} VALUE")
            value = words.pop(0)
        found[name[2:].replace("-", "_")] = value
    return kept, found


_KNOWN = {
    "train": (
        *("-h", "--help", "--data", "--workers", "--images", "--batch", "--seed", "--out"),
        *("--skip-bad", "--resume", "--address", "--device", "-v", "--verbose"),
    ),
    "show": ("-h", "--help", "--yaml"),
}
"""The options proper of each verb that takes any setting as an option too."""
