"""Lists the files of a folder or a zip, with names that are safe to sort and compare."""

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
"""Folders that are visited at most, as links can make the number unbounded."""

_MOST_VISITS = 8
"""Visits of one folder at most, as k folders that link to each other have k! paths."""

_CLUTTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "__pycache__"))
"""Files and folders that operating systems create, in lower case; ignored without a remark."""


ABOUT_DATA = frozenset(
    ("readme.md", "readme.txt", "readme", "license", "license.txt", "license.md")
)
"""Files that describe a set; not counted among the files that were not used."""


@dataclass
class Listing:
    """Relative names with slashes, and where each file is.

    ``names`` maps a name to the index of a zip's member, or to -1 in a folder.
    """

    names: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def list_folder(folder: Path) -> Listing:
    """All files below a folder, also through links.

    Raises:
        UserError: when a folder below it cannot be read.
    """
    listing = Listing()
    hidden: list[str] = []
    loops: list[str] = []
    again: list[str] = []
    visits: Counter[tuple[int, int]] = Counter()
    # Each folder with its ancestors, as (device, inode): a link to an ancestor is not followed.
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

    Members may have names with drives, absolute paths, "..", or backslashes. As nothing is
    unpacked to disk, names only identify members and their classes.

    Raises:
        UserError: when it is not a complete zip.
    """
    where = printable(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:
        # Python's reader may raise any exception for damaged bytes.
        raise UserError(f"{where}: not a whole zip ({first_line(error)}); copy it again") from None
    _refuse_unlisted(path, members, where)
    listing = Listing()
    hidden: list[str] = []
    twice: list[str] = []
    for number, member in enumerate(members):
        # A backslash at the end, as some Windows tools write, also means a folder.
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
    """A line that counts files and folders directly in a folder that a source does not use.

    Args:
        taken: names of those that it uses.
        what: description of the others, such as "files beside the tars".
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
    """A member's name as a relative path with slashes: no drive, no root, no ".."."""
    parts = re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _refuse_unlisted(path: Path, members: list[zipfile.ZipInfo], where: str) -> None:
    # A zip's directory is at its end: of two concatenated zips only the last is listed.
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
        # For instance a link to itself; reported when the file is read.
        return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name was created by an operating system."""
    # In "._name" macOS stores a file's attributes on foreign filesystems.
    return name.startswith("._") or name.lower() in _CLUTTER or name == ".DS_Store"
