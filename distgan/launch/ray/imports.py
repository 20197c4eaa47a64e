"""From where Ray's workers import this package."""

from __future__ import annotations

import os

from ray.job_config import JobConfig

_PACKAGE = __name__.partition(".")[0]
_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder that holds the package which this process runs."""


class SamePackage(JobConfig):  # type: ignore[misc]
    """A job whose workers import the package that the driver runs.

    Ray puts the driver's working directory before all else that they import from. A folder
    there that is called as the package, such as a clone of its repository, would be imported
    in its place.
    """

    def _serialize(self) -> str:
        self._py_driver_sys_path: list[str] = import_paths(self._py_driver_sys_path)
        text: str = super()._serialize()
        return text


def import_paths(folders: list[str]) -> list[str]:
    """Folders to put before all others, the last of them first, so that ours is found.

    Args:
        folders: what Ray would put there.
    """
    others = [folder for folder in folders if os.path.realpath(folder) != os.path.realpath(_HERE)]
    hidden = any(os.path.exists(os.path.join(folder, _PACKAGE)) for folder in others)
    return [*folders, _HERE] if hidden else folders
