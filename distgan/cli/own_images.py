"""`distgan train WHAT`: a recipe, or images, of which a set is made and for which one is chosen."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from distgan.cli.files import read_file
from distgan.errors import UserError

if TYPE_CHECKING:
    from distgan.cli.progress import Preparation
    from distgan.cli.terminal import Terminal
    from distgan.config.run import RunConfig
    from distgan.config.shape import ImageShape
    from distgan.launch.signals import StopRequest
    from distgan.recipes.photos import Choice

_ENDINGS = (".zip", ".tar", ".gz", ".parquet", ".npy", ".npz")
"""Of files of images; no recipe's name has one."""


class OwnImages:
    """What `distgan train` does about images before a run begins.

    Args:
        options: of the command.
        terminal: shows what is done.
        stop: what asks to stop a preparation on Ray.
    """

    def __init__(self, options: argparse.Namespace, terminal: Terminal, stop: StopRequest) -> None:
        self._options, self._terminal, self._stop = options, terminal, stop

    def configuration(self, changes: Mapping[str, Any]) -> RunConfig:
        """That of a new run: of the recipe or file named, or of a recipe that suits the images.

        Raises:
            KeyboardInterrupt, SystemExit: when a stop was asked for while preparing.
            UserError: for what cannot be trained.
        """
        from distgan import recipes
        from distgan.config import settings
        from distgan.data.images import PACKAGED

        changes, what, option = dict(changes), self._options.recipe, "--data"
        named = what in recipes.known()
        if what is not None and not named:
            _check_place(what)
            if "data" in changes:
                raise UserError(f"{what}: --data {changes['data']} names images too; leave one out")
            changes["data"], option = what, "WHAT"
        if self._options.config is not None:
            if named:
                raise UserError(f"{what}: --config names a configuration already; leave one out")
            base = _from_file(self._options.config)
        elif named:
            base = recipes.recipe(what)
        elif changes.get("data", next(iter(PACKAGED))) in PACKAGED:
            base = recipes.recipe(next(iter(recipes.RECIPES)))
        else:
            return self._of_chosen(changes, option)
        # A wrong setting is to be heard of before a set is prepared.
        config = settings.override_typed(base, changes)
        return settings.override(config, {"data": self.prepared(config.data, option, config)})

    def _of_chosen(self, changes: dict[str, Any], option: str) -> RunConfig:
        from distgan import recipes
        from distgan.config import settings
        from distgan.data.clips.open import is_made_clips
        from distgan.data.images import open_images
        from distgan.data.spec import data_spec
        from distgan.recipes import clips, photos

        if is_made_clips(changes["data"]):
            config = settings.override_typed(clips.choose(changes["data"]), changes)
            return settings.override(config, {"data": self.prepared(config.data, option, config)})
        where, gpu = f"{option} {changes['data']}", self._has_gpu()

        def chosen(image: ImageShape, count: int) -> tuple[RunConfig, Choice]:
            choice = photos.choose(image, count, gpu, where)
            return settings.override_typed(recipes.recipe(choice.recipe), changes), choice

        # Called with the sizes to come, so that a wrong one or a wrong setting is heard of first.
        changes["data"] = self.prepared(changes["data"], option, check=chosen)
        images = open_images(changes["data"], option)
        if images.clips is not None:
            base = clips.choose(changes["data"], data_spec(images))
            self._terminal.note(f"{base.recipe}: the first recipe that can make such clips")
            return settings.override_typed(base, changes)
        config, choice = chosen(images.shape, images.count)
        self._terminal.note(f"{choice.recipe}: {choice.reason}")
        if not gpu:
            self._terminal.note(_expectation(config, images.shape, len(images.classes), choice))
        return config

    def prepared(
        self,
        data: str,
        option: str,
        config: RunConfig | None = None,
        *,
        size: tuple[int, int] | None = None,
        check: Callable[[ImageShape, int], object] | None = None,
    ) -> str:
        """What ``data`` is to be in a configuration: the set that is made of it, or itself.

        Args:
            option: the option or argument that named the data, for errors.
            config: the configuration, if it is known; its networks may want a certain size.
            size: height and width, unless the command gives them.
            check: called with the shape and the number of the images before they are prepared.

        Raises:
            KeyboardInterrupt, SystemExit: when a stop was asked for.
            UserError: when they cannot be prepared, or ``--size`` is for a set that is one.
        """
        from distgan.cli.console import command
        from distgan.cli.progress import Preparation
        from distgan.config.settings import from_dict
        from distgan.data import raw
        from distgan.data.clips.open import is_made_clips
        from distgan.data.prepare import PrepareSettings
        from distgan.families.check import check_networks
        from distgan.launch import ready

        asked = self._options.size
        given = {"size": asked} if asked else {}
        given |= {"skip_bad": self._options.skip_bad} if self._options.skip_bad else {}
        told = from_dict(PrepareSettings, given)
        if not raw.is_raw(data, option, resize=asked is not None):
            if asked is not None:
                raise UserError(
                    f"--size {asked}: {data} is no source of images but a set, of a size of its "
                    "own; leave --size out, or give the images that the set was made of"
                )
            return data
        if self._options.dry_run:
            words = ["data", "prepare", data, "--out", "SET"]
            if asked is not None or not raw.is_computed(data):
                words[3:3] = ["--size", asked or "64"]
            make = command(*words)
            raise UserError(
                f"--dry-run: writes nothing, and {data} is no prepared set yet; "
                f"make one with `{make}`, or leave --dry-run out"
            )
        with Preparation(self._terminal.console) as shown, _interruptible(shown):
            how = {
                "option": option,
                "address": self._options.address,
                "progress": shown.update,
                "note": shown.note,
                "stop": self._stop,
            }
            if is_made_clips(data):
                fits = None if config is None else partial(check_networks, config)
                return ready.ready_clips(data, told, check=fits, **how)
            survey = raw.survey(data, shown.update, option)
            side: tuple[int, int] | int | None = told.size or size
            if side is None and config is not None:
                side = ready.fitting(config, survey)
            sized = ready.sized(survey, side, told.skip_bad)
            if check is not None:
                check(ready.shape_of(survey, sized), survey.count)
            return ready.ready(data, survey, sized, **how)

    def _has_gpu(self) -> bool:
        import torch

        return self._options.device != "cpu" and torch.cuda.is_available()


def _check_place(what: str) -> None:
    """Check that a word that is no recipe is a place of images.

    Raises:
        UserError: when there is nothing there, or a run.
    """
    from distgan import recipes
    from distgan.cli.console import command
    from distgan.data.clips.open import is_made_clips
    from distgan.runs.folder import CONFIG

    if "://" in what:
        return
    place = os.path.expanduser(what)
    if os.path.isfile(os.path.join(place, CONFIG)):
        raise UserError(
            f"{what}: is a run, not images; go on with `{command('train', '--resume', what)}`"
        )
    if os.path.exists(place) or is_made_clips(what):
        return
    if os.sep in what or what.lower().endswith(_ENDINGS):
        raise UserError(f"{what}: no such file or folder; give your images, or a recipe's name")
    recipes.recipe(what)


def _from_file(path: str) -> RunConfig:
    from distgan.families.registry import from_yaml

    return from_yaml(
        read_file(path, "--config", "write one with `distgan show RECIPE --yaml`"), path
    )


@contextlib.contextmanager
def _interruptible(shown: Preparation) -> Iterator[None]:
    # As an exception, SIGTERM too runs the clean-up of every open block.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        yield
    except KeyboardInterrupt:
        shown.note("stopped; nothing was kept of the set, the same command begins again")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _expectation(config: RunConfig, image: ImageShape, classes: int, choice: Choice) -> str:
    """How long it takes on this machine's cores, timed for a second."""
    from distgan.cli.console import command
    from distgan.plan.planner import speed_here
    from distgan.recipes import photos

    speed = speed_here(config, image, classes)
    first = photos.RECOGNISABLE.get(choice.recipe, 0)
    parts = [f"about {speed:,.0f} images/s here"]
    if 0 < first < config.images:
        parts.append(f"{_time(first / speed)} until the first can be recognised ({first:,} images)")
    parts.append(f"{_time(config.images / speed)} for all {config.images:,}")
    asked = command("plan", choice.other, "--gpu", "h100", "--image", "x".join(map(str, image)))
    return f"{', '.join(parts)}; finer on a GPU with {choice.other}: `{asked}` says how long"


def _time(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{minutes / 60:.1f} hours"
