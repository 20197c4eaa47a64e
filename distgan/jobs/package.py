"""The files that are sent to a cluster with a job: this distgan, and the user's folder."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import distgan
from distgan.errors import UserError, printable
from distgan.jobs.ignored import Ignored, ignored_in

LIMIT = 100 * 2**20
"""Bytes of a sent folder at most; larger data belongs on storage that every node reads."""
_MOST_FILES = 100_000

EXCLUDED = (
    ".*", "__pycache__", "*.pyc", "runs", "build", "dist", "node_modules", "venv", "*.egg-info",
)  # fmt: skip
"""Names of files and folders that are not sent."""


@dataclass
class Chosen:
    """Which files of a folder are sent.

    Attributes:
        folder: the folder.
        files: the file and its size in bytes, by its path inside the folder.
        excluded: how many files and folders are not sent because of their names, or because git
            ignores them.
        left_out: why a file cannot be sent, by its path inside the folder.
    """

    folder: Path
    files: dict[Path, tuple[Path, int]] = field(default_factory=dict)
    excluded: int = 0
    left_out: dict[Path, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files that are sent."""
        return sum(size for _, size in self.files.values())


def choose(folder: Path, *, by_git: bool = True) -> Chosen:
    """Find the files of a folder to send: regular files inside it, also through links.

    Args:
        by_git: whether to exclude what git ignores.

    Raises:
        UserError: when there is no such folder, it cannot be read, or it holds too many files.
    """
    if not folder.is_dir():
        raise UserError(f"--working-dir {folder}: no such folder")
    root = Path(os.path.realpath(folder))
    found = Chosen(folder)
    try:
        _Walk(root, ignored_in(root) if by_git else _nothing, found).enter(Path(), root, ())
    except OSError as error:
        raise UserError(
            f"--working-dir {folder}: {error.filename or ''}: cannot be read ({error.strerror}); "
            "a line in .gitignore leaves it here"
        ) from None
    return found


def _nothing(path: Path, is_folder: bool) -> bool:
    return False


@dataclass(frozen=True)
class _Walk:
    root: Path
    ignored: Ignored
    found: Chosen

    def enter(self, name: Path, real: Path, above: tuple[Path, ...]) -> None:
        """Choose among the entries of the folder ``real``, sent as ``name``.

        ``above`` are the real paths of the folders that led to it, which detect loops of links.
        """
        for entry in sorted(os.listdir(real)):
            self._choose(name / entry, real / entry, (*above, real))

    def _choose(self, name: Path, path: Path, above: tuple[Path, ...]) -> None:
        is_link = path.is_symlink()
        if self._stays(path, not is_link and path.is_dir()):
            self.found.excluded += 1
            return
        real = Path(os.path.realpath(path))
        reason = self._refusal(path, real, above) if is_link else ""
        mode = 0 if reason else os.stat(real).st_mode
        if not reason and not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            reason = "is no regular file"
        if printable(str(name)) != str(name) and not _is_utf8(name):
            reason = "has a name that is not UTF-8"
        if reason:
            self.found.left_out[name] = reason
        elif stat.S_ISDIR(mode):
            self.enter(name, real, above)
        else:
            self.found.files[name] = (real, os.stat(real).st_size)
            if len(self.found.files) > _MOST_FILES:
                raise UserError(
                    f"--working-dir {self.found.folder}: holds more than {_MOST_FILES:,} files; "
                    "put data on storage that every node reads, and name it with --data"
                )

    def _refusal(self, path: Path, real: Path, above: tuple[Path, ...]) -> str:
        """Why a link cannot be sent, or an empty text; a link is sent as its target."""
        if not real.is_relative_to(self.root):
            return "is a link that leads out of the folder"
        # A link to itself, or to nothing.
        if not os.path.exists(path):
            return "is a link that leads nowhere"
        if real in above:
            return "is a link that leads back to a folder above it"
        return "is a link to what stays here" if self._stays(real, real.is_dir()) else ""

    def _stays(self, path: Path, is_folder: bool) -> bool:
        inside = path.relative_to(self.root)
        if any(fnmatch(part, pattern) for part in inside.parts for pattern in EXCLUDED):
            return True
        return inside != Path() and self.ignored(inside, is_folder)


def _is_utf8(name: Path) -> bool:
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def copy_package(to: Path) -> tuple[Path, int]:
    """Copy the installed package distgan without caches; returns the copy and its bytes."""
    # The package may lie in an environment below a folder that git ignores.
    folder = choose(Path(distgan.__file__).parent, by_git=False)
    return copy(folder, to / "distgan"), folder.size


def copy_folder(folder: Path, to: Path, limit: int = LIMIT) -> tuple[Path, int]:
    """Copy the files of a folder to send; returns the copy and its size in bytes.

    Raises:
        UserError: as `choose` and `copy`.
    """
    chosen = choose(folder)
    return copy(chosen, to, limit), chosen.size


def copy(chosen: Chosen, to: Path, limit: int = LIMIT) -> Path:
    """Copy the chosen files, links as their targets, to a folder, which is returned.

    Raises:
        UserError: when it is more than ``limit`` bytes, or a file cannot be read.
    """
    folder = chosen.folder
    if chosen.size > limit:
        name, (_, largest) = max(chosen.files.items(), key=lambda file: file[1][1])
        raise UserError(
            f"--working-dir {folder}: {chosen.size / 2**20:.1f} MiB would travel, more than the "
            f"{limit / 2**20:.0f} MiB allowed; largest is {name} "
            f"({largest / 2**20:.1f} MiB): put data on storage that every node reads, such as "
            "s3://bucket/set, and name it with --data"
        )
    to.mkdir(parents=True, exist_ok=True)
    for name, (file, _) in chosen.files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, to / name, follow_symlinks=False)
        except PermissionError:
            raise UserError(
                f"--working-dir {folder}: {name}: cannot be read; a line in .gitignore leaves it "
                "here"
            ) from None
    return to
