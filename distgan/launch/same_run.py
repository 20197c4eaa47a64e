"""What of a run may be other when it is resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from distgan.config.run import RunConfig
from distgan.config.settings import leaves
from distgan.errors import UserError


def check_same_run(path: str, saved: RunConfig, config: RunConfig) -> None:
    """See that a configuration goes on with a run, and does not make another one of it.

    Args:
        path: of the run, for errors.
        saved: the run's own configuration.

    Raises:
        UserError: naming the first setting that would.
    """
    # Passing over damage changes neither order nor the images that are whole.
    feed = replace(config.feed, skip_bad=saved.feed.skip_bad)
    # The images themselves are compared, wherever they lie now.
    second: dict[str, Any] = {}
    if config.second_set and saved.second_set:
        second = {"data_b": saved.second_set}
    free = replace(
        config,
        data=saved.data,
        images=saved.images,
        output=saved.output,
        feed=feed,
        health=saved.health,
        evaluate=saved.evaluate,
        **second,
    )
    old = {setting.name: setting.value for setting in leaves(saved)}
    for setting in leaves(free):
        if old.get(setting.name) != setting.value:
            raise UserError(
                f"--{setting.name} {setting.value}: the run {path} has "
                f"{old.get(setting.name, 'no such setting')}, and changing it would make "
                "another run; leave it out, or start a new run with --out"
            )
