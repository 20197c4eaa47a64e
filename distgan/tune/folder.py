"""``search.yaml``: what a search is, which no later command and no editor may change."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import yaml

from distgan import __version__
from distgan.config.run import RunConfig
from distgan.config.settings import from_dict, to_dict
from distgan.errors import UserError
from distgan.families.registry import config_class, to_yaml
from distgan.storage.ownership import refuse_occupied, withdraw_files
from distgan.storage.storage import OWNER, Storage
from distgan.storage.textfiles import Shape, check, parse_yaml, read_text
from distgan.tune.disk import HANDED_ON
from distgan.tune.given import given
from distgan.tune.record import FOLDER as TRIALS
from distgan.tune.record import Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

FILE = "search.yaml"

_REMEDY = "put back the file that the search wrote, or start anew with another --out"
_SECTIONS = ("config", "space", "settings")


def create(storage: Storage, base: RunConfig, space: Space, settings: TuneSettings) -> None:
    """Make the folder of a new search.

    Raises:
        UserError: when there is something in it, or it cannot be written.
    """
    if storage.exists(FILE):
        raise UserError(
            f"--out {storage.uri}: holds another search; go on with it by "
            f"--resume {storage.uri}, or choose another --out"
        )
    refuse_occupied(storage, FILE)
    write(storage, base, space, settings)


def withdraw(storage: Storage) -> None:
    """Remove what `create` has written, if nothing has happened in the search."""
    # Last the owner: as long as it is there, everything is compared with it.
    withdraw_files(storage, FILE, OWNER)


def clear_unfinished(storage: Storage) -> None:
    """Remove the files of a search that killed trials were writing; their runs clear their own."""
    for place in ("", TRIALS, HANDED_ON):
        with contextlib.suppress(OSError, UserError):
            storage.clear_unfinished(place)


def write(storage: Storage, base: RunConfig, space: Space, settings: TuneSettings) -> None:
    """Write down what a search is.

    Raises:
        UserError: when it cannot be written.
    """
    content = {
        "distgan": __version__,
        "settings": to_dict(settings),
        "space": space.texts,
        "config": yaml.safe_load(to_yaml(base)),
    }
    content["checksums"] = _checksums(yaml.safe_load(yaml.safe_dump(content)))
    storage.write(FILE, yaml.safe_dump(content, sort_keys=False))


def read(storage: Storage, option: str) -> tuple[RunConfig, Space, TuneSettings]:
    """A search from its folder.

    Raises:
        UserError: when there is none, naming the ``option`` that pointed to it.
    """
    found, source = _content(storage, option), storage.show(FILE)
    kind = config_class(found["config"].get("family", "gan"), source)
    base = from_dict(kind, found["config"], source)
    settings = from_dict(TuneSettings, found["settings"], source)
    return base, Space(base, found["space"], source), settings


def require(storage: Storage, option: str) -> None:
    """See that there is a search.

    Raises:
        UserError: when there is none, naming the ``option`` that pointed to it.
    """
    if not storage.exists(FILE):
        raise UserError(
            f"{option} {storage.uri}: holds no search (no {FILE}); give a folder that "
            "`distgan tune` wrote"
        )


def _content(storage: Storage, option: str) -> dict[str, Any]:
    require(storage, option)
    found = parse_yaml(read_text(storage, FILE, _REMEDY), storage.show(FILE), _REMEDY)
    whole: dict[str, Any] = check(_File, found, storage.show(FILE), _REMEDY)
    return whole


class _File(Shape):
    config: dict[str, Any]
    space: dict[str, str]
    settings: dict[str, Any]
    checksums: dict[str, str] | None = None


def check_unedited(storage: Storage, option: str) -> None:
    """See that nobody has edited the file since distgan wrote it.

    Raises:
        UserError: naming the section that was, or whose checksum is gone.
    """
    found = _content(storage, option)
    kept = found.get("checksums") or {}
    for section, checksum in _checksums(found).items():
        if section not in kept:
            raise UserError(
                f"{storage.show(FILE)}: the checksum of its {section} is gone, without which "
                f"nobody knows whether it was edited since the search began; {_REMEDY}"
            )
        if kept[section] != checksum:
            raise UserError(
                f"{storage.show(FILE)}: its {section} was edited since the search began, and "
                "trials of two searches cannot be compared; undo that, give what may change as "
                "an option, or start anew with another --out"
            )


def _checksums(content: dict[str, Any]) -> dict[str, str]:
    parts = {name: json.dumps(content[name], sort_keys=True) for name in _SECTIONS}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in parts.items()}


def check_trials(
    storage: Storage, trials: list[Trial], space: Space, settings: TuneSettings
) -> None:
    """See that trials are of this search.

    Raises:
        UserError: for one whose point is none of the search's.
    """
    points = dict(enumerate(given(space, settings)))
    for trial in trials:
        start = trial.first or trial.point
        known = points.get(trial.number, start)
        if trial.confirms is None and (start != known or set(start) - set(space.free)):
            raise UserError(
                f"{storage.show(f'trials/{trial.name}.json')}: its point is not the one that the "
                "search gave it; undo the edit, or start anew with another --out"
            )
    begun = sum(trial.confirms is None for trial in trials)
    if begun > settings.samples and settings.search != "grid":
        raise UserError(
            f"--samples {settings.samples}: {begun} trials have begun already; give that many or "
            "more"
        )
