"""Which files of a folder git ignores: asked of git, or determined without it.

Where git is not installed, or the folder is in no work tree, `Patterns` applies the
``.gitignore`` files by git's rules (gitignore(5)), but not the user's global patterns.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SECONDS = 60
_LARGEST = 2**20
"""Bytes of a ``.gitignore`` that are read."""


class Ignored(Protocol):
    """A predicate for ignored paths, which are relative to a folder."""

    def __call__(self, path: Path, is_folder: bool) -> bool:
        """Whether a file, or a folder with all that is in it, is ignored."""


def ignored_in(folder: Path) -> Ignored:
    """The predicate of a folder: from git where possible, else from ``.gitignore`` files."""
    listed = _listed(folder)
    # For a folder that is itself ignored git lists nothing; its files are still wanted.
    if not listed:
        return Patterns(folder)
    return _Listed(listed)


class _Listed:
    def __init__(self, files: set[Path]) -> None:
        self._files = files
        self._folders = {above for file in files for above in file.parents}

    def __call__(self, path: Path, is_folder: bool) -> bool:
        return path not in (self._folders if is_folder else self._files)


def _listed(folder: Path) -> set[Path]:
    """Files of a folder that git tracks or would add; empty where git fails."""
    # A foreign repository's configuration may name a program for git to run; this disables it.
    git = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), "ls-files"]
    options = ["--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run([*git, *options], capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    if done.returncode:
        return set()
    found = set()
    for name in done.stdout.split(b"\0"):
        path = Path(os.fsdecode(name))
        inner = folder / path
        if name and inner.is_dir() and not inner.is_symlink():
            # A nested repository: git lists only its folder.
            found |= {path / file for file in _listed(inner)}
        elif name:
            found.add(path)
    return found


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[bytes]
    whole_path: bool
    """Whether it is matched against the path relative to its ``.gitignore``, not the base name."""
    folders_only: bool
    taken_back: bool
    """Begins with ``!``."""


class Patterns:
    """The patterns of the ``.gitignore`` files in a folder and above it in its work tree."""

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        above = [each for each in (folder, *folder.parents) if (each / ".git").exists()]
        self._top = above[0] if above else folder
        self._inside = folder.relative_to(self._top)
        self._files: dict[Path, list[_Pattern]] = {}
        self._known: dict[Path, bool] = {Path(): False}
        # The folder itself was requested, so it counts as not ignored.
        self._known[self._inside] = False

    def __call__(self, path: Path, is_folder: bool) -> bool:
        """See `Ignored`."""
        path = self._inside / path
        if path not in self._known:
            above = path.parent.relative_to(self._inside)
            # A file below an ignored folder cannot be re-included (gitignore(5)).
            self._known[path] = self(above, True) or self._matches(path, is_folder)
        return self._known[path]

    def _matches(self, path: Path, is_folder: bool) -> bool:
        for folder in path.parents:
            name, whole = os.fsencode(path.name), os.fsencode(path.relative_to(folder))
            for pattern in reversed(self._of(folder)):
                if pattern.folders_only and not is_folder:
                    continue
                if pattern.expression.fullmatch(whole if pattern.whole_path else name):
                    return not pattern.taken_back
        return False

    def _of(self, folder: Path) -> list[_Pattern]:
        if folder not in self._files:
            names = [".gitignore"] if folder != Path() else [".git/info/exclude", ".gitignore"]
            lines = [line for name in names for line in _lines(self._top / folder / name)]
            found = (_pattern(line) for line in lines)
            self._files[folder] = [pattern for pattern in found if pattern is not None]
        return self._files[folder]


def _lines(file: Path) -> list[bytes]:
    if not file.is_file():
        return []
    with open(file, "rb") as stream:
        content = stream.read(_LARGEST)
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line.removesuffix(b"\r") for line in lines]


def _pattern(line: bytes) -> _Pattern | None:
    """A line of a ``.gitignore``, or None for one that ignores nothing."""
    if line.startswith(b"#"):
        return None
    line = _without_last_spaces(line)
    taken_back = line.startswith(b"!")
    line = line[taken_back:]
    folders_only = line.endswith(b"/")
    line = line[:-1] if folders_only else line
    if not line:
        return None
    whole_path = b"/" in line
    expression = _expression(line.removeprefix(b"/"))
    if expression is None:
        return None
    return _Pattern(re.compile(expression, re.DOTALL), whole_path, folders_only, taken_back)


def _without_last_spaces(line: bytes) -> bytes:
    at = end = 0
    while at < len(line):
        if line[at : at + 1] == b"\\":  # An escaped trailing space is part of the pattern.
            at = end = at + 2
        else:
            at += 1
            end = end if line[at - 1 : at] == b" " else at
    return line[:end]


def _expression(glob: bytes) -> bytes | None:
    """A glob as a regular expression, or None for one that cannot match anything."""
    found, at = b"", 0
    while at < len(glob):
        char = glob[at : at + 1]
        if char == b"*":
            stars = re.compile(rb"\*+").match(glob, at)
            assert stars is not None
            starts = at == 0 or glob[at - 1 : at] == b"/"
            at = stars.end()
            if len(stars[0]) > 1 and starts and glob[at : at + 1] == b"/":
                found, at = found + b"(?:.*/)?", at + 1
            elif len(stars[0]) > 1 and starts and at == len(glob):
                found += b".*"
            else:
                found += b"[^/]*"
            continue
        if char == b"[":
            group = _group(glob, at)
            if group is None:
                return None
            expression, at = group
            found += expression
            continue
        if char == b"\\":
            at += 1
            char = glob[at : at + 1]
            if not char:
                return None
            found += re.escape(char)
        else:
            found += b"[^/]" if char == b"?" else re.escape(char)
        at += 1
    return found


_CLASSES = {
    b"alpha": b"a-zA-Z", b"digit": b"0-9", b"alnum": b"a-zA-Z0-9", b"upper": b"A-Z",
    b"lower": b"a-z", b"space": rb"\x20\t\n\r\f\v", b"blank": rb"\x20\t", b"xdigit": b"0-9a-fA-F",
    b"punct": rb"!-/:-@\[-`{-~", b"cntrl": rb"\x00-\x1f\x7f", b"print": rb"\x20-~",
    b"graph": b"!-~",
}  # fmt: skip
_MEMBER = re.compile(rb"\[:([a-z]*):\]|(?:\\(.)|(.))(?:-(?:\\(.)|([^\]\\])))?", re.DOTALL)


def _group(glob: bytes, at: int) -> tuple[bytes, int] | None:
    """``[...]`` as a regular expression and its end, or None where the bracket is not closed."""
    at += 1
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    members, first = b"", True
    while first or glob[at : at + 1] != b"]":
        found = _MEMBER.match(glob, at)
        if found is None:
            return None
        first, at = False, found.end()
        if found[1] is not None:
            if found[1] not in _CLASSES:
                return None
            members += _CLASSES[found[1]]
            continue
        low, high = found[2] or found[3], found[4] or found[5]
        # For a reversed range such as z-a git matches the first character only.
        members += re.escape(low)
        if high is not None and low <= high:
            members += b"-" + re.escape(high)
    return (b"[^/" if negated else b"(?!/)[") + members + b"]", at + 1
