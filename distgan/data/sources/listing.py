"""What files a folder or a zip holds, under names that are safe to sort and compare."""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from distgan.data.sources.base import left_alone
from distgan.errors import UserError, first_line, printable

_MOST_FOLDERS = 1 << 20
"""Folders that are looked into; links can lead on without end."""

_MOST_VISITS = 8
"""How often one folder is looked into; k folders that link to each other make k! paths."""

_CLUTTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "__pycache__"))
"""Files and folders that systems leave behind, in lower case; nobody misses them."""


ABOUT_DATA = frozenset(
    ("readme.md", "readme.txt", "readme", "license", "license.txt", "license.md")
)
"""Files about a set, in which nobody expects images."""


@dataclass
class Listing:
    """Names, relative and with slashes, and where each is to be found.

    ``names`` gives the number of a zip's member, -1 in a folder.
    """

    names: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def list_folder(folder: Path) -> Listing:
    """All files below a folder, through links too.

    Raises:
        UserError: when a folder below it cannot be read.
    """
    listing = Listing()
    hidden: list[str] = []
    loops: list[str] = []
    again: list[str] = []
    visits: Counter[tuple[int, int]] = Counter()
    # A folder and those that it is in, as device and inode: a link back to one is no new folder.
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(folder),))]
    looked_into = 0
    while waiting:
        inside, above = waiting.pop()
        looked_into += 1
        if looked_into > _MOST_FOLDERS:
            raise UserError(
                f"{printable(str(folder))}: more than {_MOST_FOLDERS:,} folders, counted through "
                "links; remove links that lead in circles"
            )
        for entry in _entries(folder, inside):
            name = f"{inside}{entry.name}"
            if is_clutter(entry.name):
                continue
            if entry.name.startswith("."):
                hidden.append(name)
            elif _is_folder(entry):
                identity = _identity(Path(entry.path))
                visits[identity] += 1
                if identity in above:
                    loops.append(name)
                elif visits[identity] > _MOST_VISITS:
                    again.append(name)
                else:
                    waiting.append((f"{name}/", (*above, identity)))
            else:
                listing.names[name] = -1
    listing.notes = (
        *left_alone(sorted(loops), "links that lead back to a folder they lie in"),
        *left_alone(sorted(again), f"links to a folder that is read {_MOST_VISITS} times already"),
        *left_alone(sorted(hidden), "hidden files and folders"),
    )
    return listing


def list_zip(path: Path) -> Listing:
    """All files in a zip.

    Members may be named with a drive, from the root, upwards, or with backslashes; as nothing
    is unpacked to disk, their names only tell them apart and name their classes.

    Raises:
        UserError: when it is no whole zip.
    """
    where = printable(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:
        # Python's reader raises what the damaged bytes led it to.
        raise UserError(f"{where}: not a whole zip ({first_line(error)}); copy it again") from None
    _refuse_unlisted(path, members, where)
    listing = Listing()
    hidden: list[str] = []
    twice: list[str] = []
    for number, member in enumerate(members):
        # Windows' slash at the end means a folder, too.
        if member.filename.endswith(("/", "\\")):
            continue
        name = relative_name(member.filename)
        parts = name.split("/")
        if any(is_clutter(part) for part in parts):
            continue
        if any(part.startswith(".") for part in parts):
            hidden.append(name)
        elif name in listing.names:
            twice.append(name)
        elif name:
            listing.names[name] = number
    if twice:
        raise UserError(
            f"{where}: holds {printable(twice[0])} more than once ({len(twice)} such members); "
            "pack it again"
        )
    listing.notes = left_alone(sorted(hidden), "hidden files")
    return listing


def beside(folder: Path, taken: Container[str], what: str) -> tuple[str, ...]:
    """The line that counts a folder's own files and folders that a source does not take.

    Args:
        taken: names of those that it does.
        what: what the others are, such as "files beside the tars".
    """
    names = (entry.name for entry in folder.iterdir())
    others = sorted(
        name
        for name in names
        if name not in taken
        and not is_clutter(name)
        and not name.startswith(".")
        and name.lower() not in ABOUT_DATA
    )
    return left_alone(others, what)


def relative_name(name: str) -> str:
    """A member's name with slashes, below the archive: no drive, no root, no way upwards."""
    parts = re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _refuse_unlisted(path: Path, members: list[zipfile.ZipInfo], where: str) -> None:
    # A zip's list is at its end: of two files one behind the other, only the last is seen.
    first = min((member.header_offset for member in members), default=0)
    if not first:
        return
    with open(path, "rb") as stream:
        if stream.read(4) == b"PK\x03\x04":
            raise UserError(
                f"{where}: holds files before the first that its list names (two zips one after "
                "the other?); pack it again"
            )


def _entries(folder: Path, inside: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder / inside) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        place = printable(f"{folder}/{inside}".rstrip("/"))
        raise UserError(
            f"{place}: cannot be read ({error.strerror}); give permission, or move it elsewhere"
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself is found out when it is read.
        return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name was left by a system and is missed by nobody."""
    # "._name" is how macOS keeps a file's attributes on other systems' disks.
    return name.startswith("._") or name.lower() in _CLUTTER or name == ".DS_Store"
