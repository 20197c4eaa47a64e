"""The recipe for a set of clips, where none is named."""

from __future__ import annotations

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.errors import UserError, printable
from distgan.families import DataSpec, registry
from distgan.families.check import check_networks
from distgan.recipes import known


def of_clips() -> list[str]:
    """The names of the recipes whose models make clips."""
    return [name for name, make in known().items() if registry.makes_clips(make().family)]


def choose(data: str, spec: DataSpec | None = None) -> RunConfig:
    """The first recipe of clips that is for this set, or whose networks can make such clips.

    Args:
        data: the set.
        spec: what networks have to know of it; None for a set that is only made on the way.

    Raises:
        UserError: when there is none, with what the first lacks.
    """
    first: UserError | None = None
    found = [known()[name]() for name in of_clips()]
    for config in sorted(found, key=lambda each: each.data != data):
        config = override(config, {"data": data})
        try:
            if spec is not None:
                check_networks(config, spec)
        except UserError as error:
            first = first or error
        else:
            return config
    raise first or UserError(f"{printable(data)}: holds clips, and no recipe is for clips")
