"""From where Ray's workers import this package."""

from __future__ import annotations

import os
import sys

from distgan.errors import UserError, printable

_PACKAGE = __name__.partition(".")[0]
_HERE = os.path.abspath(__file__).rpartition(f"{os.sep}{_PACKAGE}{os.sep}")[0]
"""The folder that holds the package which this process runs."""


def import_paths(folders: list[str]) -> list[str]:
    """Folders to put before all others, the last of them first, so that ours is found.

    Ray puts the driver's working directory before all else that its workers import from. A
    folder there that is called as the package, such as a clone of its repository, would be
    imported in its place.

    Args:
        folders: what Ray would put there.
    """
    others = [folder for folder in folders if os.path.realpath(folder) != os.path.realpath(_HERE)]
    hidden = any(os.path.exists(os.path.join(folder, _PACKAGE)) for folder in others)
    return [*folders, _HERE] if hidden else folders


def refuse_hidden() -> None:
    """See that Ray, left to itself, has its workers import the package that this process runs.

    Raises:
        UserError: naming the folder that would come before it.
    """
    for folder in dict.fromkeys((os.getcwd(), sys.path[0] if sys.path else "")):
        if import_paths([folder]) != [folder]:
            raise UserError(
                f"{printable(folder)}: holds something called {_PACKAGE}, which Ray's workers "
                "would import in place of the package; start from another folder, or use "
                "--workers 0"
            )
