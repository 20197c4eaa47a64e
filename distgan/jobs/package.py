"""What travels to a cluster with a job: distgan as it is here, and the user's folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import distgan
from distgan.errors import UserError

LIMIT = 100 * 2**20
"""Bytes; more belongs on storage that every node reads."""

EXCLUDED = (
    ".*", "__pycache__", "*.pyc", "runs", "build", "dist", "node_modules", "venv", "*.egg-info",
)  # fmt: skip
"""Names of files and folders that stay here."""


def files_of(folder: Path) -> Iterator[Path]:
    """The files of a folder that travel."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _stays(name))
        for name in sorted(names):
            path = Path(where, name)
            if not _stays(name) and path.is_file():
                yield path


def _stays(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in EXCLUDED)


def copy_package(to: Path) -> tuple[Path, int]:
    """Copy the package distgan as installed here, without leftovers, and its size in bytes."""
    return copy_folder(Path(distgan.__file__).parent, to / "distgan")


def copy_folder(folder: Path, to: Path, limit: int = LIMIT) -> tuple[Path, int]:
    """Copy what travels of a folder, and its size in bytes.

    Raises:
        UserError: when there is no such folder, or it holds more than ``limit`` bytes.
    """
    if not folder.is_dir():
        raise UserError(f"--working-dir {folder}: no such folder")
    files = [(path, path.stat().st_size) for path in files_of(folder)]
    size = sum(each for _, each in files)
    if size > limit:
        path, largest = max(files, key=lambda file: file[1])
        raise UserError(
            f"--working-dir {folder}: {size / 2**20:.1f} MiB would travel, more than the "
            f"{limit / 2**20:.0f} MiB allowed; largest is {path.relative_to(folder)} "
            f"({largest / 2**20:.1f} MiB): put data on storage that every node reads, such as "
            "s3://bucket/set, and name it with --data"
        )
    for path, _ in files:
        copy = to / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    to.mkdir(parents=True, exist_ok=True)
    return to, size
