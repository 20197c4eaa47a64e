"""`distgan tune`."""

from __future__ import annotations

import argparse

from distgan.cli.files import read_file
from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError

_TUNE = """\
Without --space, a space that knows GANs: both learning rates (D's as a multiple of G's), Adam's
decays, R1, D's updates, the EMA, the batch and augmentation. Trial 0 is the recipe as it is.

  distgan tune mnist-mlp --max-images 150k --confirm 3
  distgan tune mnist-mlp --space 'generator.optimizer.lr=loguniform(1e-5,1e-3)' \\
      --space 'batch=choice(64,128)' --scheduler none --search grid
  distgan tune cifar10-sngan-tiny --data my/set --search optuna --samples 40
  distgan tune mnist-dcgan --scheduler pbt --samples 4
  distgan tune --resume searches/mnist-mlp-...

A range is one of
  uniform(LOW, HIGH)   loguniform(LOW, HIGH)   randint(LOW, HIGH)   choice(A, B, ...)
  scale(LOW, HIGH)            times the recipe's own value, which may be a schedule
  ratio(SETTING, LOW, HIGH)   times what the trial has for another setting
  same(SETTING)               what the trial has for another setting
A setting that one variant alone has, as augment.target of ada, counts where a trial has that one.
and a file for --space holds lines such as `batch: choice(64, 128)`.

Any other setting can be fixed for all trials by its dotted name, as in --loss hinge.
Ctrl-C finishes the steps, writes checkpoints and says how to go on.
"""

_SETTINGS = (
    ("--metric", "NAME", "frechet, fid, kernel, recall, coverage, ... [frechet]"),
    ("--samples", "N", "trials, or members of a population [12]"),
    ("--scheduler", "WHICH", "asha, pbt, median or none [asha]"),
    ("--search", "WHICH", "random, grid or optuna [random]"),
    ("--max-images", "N", "images of a whole trial, such as 150k [the recipe's]"),
    ("--rung", "N", "images between measurements [a ninth of a trial]"),
    ("--reduction", "N", "asha lets one in N go on [3]"),
    ("--num", "N", "generated images in a trial's last measurement [5000]"),
    ("--rung-num", "N", "generated images in those before [2000]"),
    ("--features", "NAME", "what sees the images [auto]"),
    ("--concurrent", "N", "trials at a time [as many as there is room for]"),
    ("--workers-per-trial", "N", "data-parallel workers of each [0: one process, its own]"),
    ("--time-limit", "MINUTES", "then stop, to be resumed [none]"),
    ("--confirm", "K", "train the best and the recipe again with K fresh seeds [0]"),
    ("--confirm-top", "N", "how many of the best [1]"),
    ("--retries", "N", "times that a trial whose process dies goes on by itself [3]"),
)


_MORE_THAN_ZERO = ("max_images", "rung", "concurrent", "time_limit")
"""Options that may not be 0; without them a default from the recipe or the machine applies."""


_DECIDED = {
    "evaluate.every": "use --rung",
    "evaluate.metrics": "use --metric",
    "evaluate.num": "use --num and --rung-num",
    "evaluate.features": "use --features",
    "health.action": "leave it out",
    "output.log_every": "use --rung",
    "output.sample_every": "use --rung",
    "output.checkpoint_every": "use --rung",
}
"""Settings that a search decides for its trials, so that the recipe's values do not apply."""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "tune",
        help="search for better hyperparameters",
        epilog=_TUNE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
    )
    parser.set_defaults(execute=run)
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="[mnist-mlp]")
    parser.add_argument("--data", metavar="NAME|PATH", help="mnist, a Parquet file, folder or URI")
    for name, value, text in _SETTINGS:
        parser.add_argument(name, metavar=value, help=text)
    parser.add_argument("--seed", metavar="S", help="of the points and of all trials' runs [0]")
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="FILE|SETTING=RANGE",
        help="what to vary; may be given again [a space for the recipe]",
    )
    parser.add_argument("--out", metavar="DIR", help="folder or URI [searches/RECIPE-DATE]")
    parser.add_argument("--resume", metavar="DIR", help="go on with this search")
    parser.add_argument("--address", metavar="ADDR", help="a running Ray cluster [RAY_ADDRESS]")
    parser.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto", help="[auto]")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what Ray says")


def run(options: argparse.Namespace) -> int:
    """Start a search, or resume one."""
    from distgan import recipes
    from distgan.cli.tune_table import Table
    from distgan.config import settings
    from distgan.launch.signals import EXIT_CODES, StopRequest
    from distgan.tune import results, search
    from distgan.tune.settings import TuneSettings

    names = [name[2:].replace("-", "_") for name, *_ in _SETTINGS]
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    common = {
        "address": options.address,
        "device": options.device,
        "verbose": options.verbose,
        "stop": StopRequest(ends_process=True),
    }
    for name, value in given.items():
        if name in _MORE_THAN_ZERO and str(value).strip() in ("0", "0.0"):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} {value}: should be more than 0, or be left out")
    with Table() as board:
        if options.resume is not None:
            _only(options)
            found = search.resume(options.resume, given, board=board, **common)
        else:
            changes = dict(options.overrides)
            for name in changes:
                if name in _DECIDED:
                    raise UserError(
                        f"--{name}: a search decides that for its trials; {_DECIDED[name]}"
                    )
            for name in ("data", "seed"):
                if getattr(options, name) is not None:
                    changes[name] = getattr(options, name)
            if options.seed is not None:
                given["seed"] = options.seed
            base = recipes.recipe(options.recipe or next(iter(recipes.RECIPES)))
            found = search.tune(
                settings.override(base, changes),
                _space(options.space),
                settings.from_dict(TuneSettings, given),
                out=options.out,
                board=board,
                **common,
            )
        board.finish(found)
    if (error := results.failure(found)) is not None:
        raise error
    return EXIT_CODES.get(found.stopped, 0)


def _space(words: list[str]) -> dict[str, str] | None:
    from distgan.tune.space import EXAMPLE, read_space

    remedy = f"name a YAML file, or give SETTING=RANGE, such as {EXAMPLE}"
    return read_space(words, lambda path: read_file(path, "--space", remedy)) if words else None


def _only(options: argparse.Namespace) -> None:
    changed = next(iter(options.overrides), None)
    given = {
        options.recipe: options.recipe,
        "--space": options.space,
        "--out": options.out,
        "--data": options.data,
        "--seed": options.seed,
        f"--{changed}": changed,
    }
    for name, value in given.items():
        if value:
            raise UserError(
                f"{name}: a resumed search keeps its recipe, space and folder; leave it out"
            )
