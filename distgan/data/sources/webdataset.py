"""WebDataset: tars in which files of one name with several extensions are one sample.

For ``NAME.png`` (or another image), ``NAME.cls`` is the label, as is ``"label"`` or ``"cls"`` in
``NAME.json``; ``NAME.txt`` is the caption and ``NAME.pair.png`` the paired image.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.decoder import ENDINGS
from distgan.data.sources.base import (
    LARGEST_FILE,
    TOO_LARGE,
    Item,
    Unreadable,
    left_alone,
    numbered_classes,
    open_regular,
)
from distgan.data.sources.listing import is_clutter, relative_name
from distgan.data.sources.splits import files_of_split
from distgan.data.sources.tars import BLOCK, Bounded, is_tar
from distgan.errors import UserError, brief, first_line, printable

ABOUT = "WebDataset .tar files"

_TARS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_LARGEST_TEXT = 1 << 20
_TEXTS = ("cls", "json", "txt")


@dataclass(frozen=True)
class _Member:
    """A file in a tar: its name, and the position of its content."""

    name: str
    offset: int
    size: int


@dataclass
class _Sample:
    """The parts of a sample."""

    name: str
    image: _Member
    label: int | None = None
    caption: _Member | None = None
    pair: _Member | None = None


def looks_like(path: Path) -> bool:
    """Whether this is a tar, or a folder of them."""
    if path.is_dir():
        return any(path.glob("*.tar"))
    # Compressed tars are recognised by name, not unpacked, and refused with a reason.
    return path.name.lower().endswith(_TARS) or is_tar(path)


def open_split(path: Path, split: str) -> WebDatasetSource:
    """The samples of a tar, or of a folder's tars of the split, in order.

    Raises:
        UserError: when a tar is damaged, compressed, or holds no images.
    """
    where = printable(str(path))
    tars = sorted(map(str, path.glob("*.tar"))) if path.is_dir() else [str(path)]
    files, notes = files_of_split(tars, split, where)
    samples: list[tuple[int, _Sample]] = []
    rest: list[str] = []
    if path.is_dir():
        rest += [
            entry.name
            for entry in sorted(path.iterdir())
            if str(entry) not in tars and not entry.name.startswith(".")
        ]
    for number, file in enumerate(files):
        found, others = _samples(file)
        samples += [(number, sample) for sample in found]
        rest += others
    if not samples:
        raise UserError(f"{where}: holds no images named as WebDataset does, such as 000000.jpg")
    notes += left_alone(rest, "files that belong to no image")
    source = WebDatasetSource(files, samples, where)
    folders = {sample.image.name.rpartition("/")[0] for _, sample in samples}
    if not source.classes and len(folders) > 1:
        notes += ("read as WebDataset: folders inside tars are no classes, NAME.cls gives those",)
    source.notes = notes
    return source


class WebDatasetSource:
    """Samples of several tars, read by position.

    Args:
        files: the tars.
        samples: the tar of each sample, and its position there.
    """

    kind = "webdataset"
    notes: tuple[str, ...] = ()

    def __init__(self, files: list[str], samples: list[tuple[int, _Sample]], where: str) -> None:
        self._files, self._samples = [os.path.abspath(file) for file in files], samples
        self._shown = [printable(file) for file in files]
        self.count = len(samples)
        labels = [sample.label for _, sample in samples if sample.label is not None]
        # At least one class even if all labels are negative, so that these are reported as bad.
        self.classes = numbered_classes(max(0, max(labels)), where) if labels else ()
        self.captions = any(sample.caption for _, sample in samples)
        self.pairs = any(sample.pair for _, sample in samples)

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers."""
        chosen = [self._samples[number] for number in numbers.tolist()]
        items = []
        for file in sorted({file for file, _ in chosen}):
            mine = [sample for owner, sample in chosen if owner == file]
            shown = self._shown[file]
            try:
                with open_regular(Path(self._files[file])) as stream:
                    items += [self._item(stream, shown, sample) for sample in mine]
            except OSError as error:
                gone = Unreadable(f"cannot be read ({error.strerror or first_line(error)})")
                items += [
                    Item(gone, f"{shown}: {printable(sample.name)}", sample.label)
                    for sample in mine
                ]
        return items

    @staticmethod
    def _item(stream: IO[bytes], file: str, sample: _Sample) -> Item:
        caption = None
        if sample.caption is not None:
            content = _part(stream, sample.caption)
            caption = content.decode("utf-8-sig", "replace") if isinstance(content, bytes) else ""
        return Item(
            _part(stream, sample.image),
            f"{file}: {printable(sample.name)}",
            sample.label,
            None if caption is None else caption.strip(),
            None if sample.pair is None else _part(stream, sample.pair),
        )


def _part(stream: IO[bytes], member: _Member) -> bytes | Unreadable:
    if member.size > LARGEST_FILE:
        return TOO_LARGE
    stream.seek(member.offset)
    return stream.read(member.size)


def _samples(file: str) -> tuple[list[_Sample], list[str]]:
    """The samples of a tar, and the names of its files that belong to no sample."""
    where = printable(file)
    samples: list[_Sample] = []
    rest: list[str] = []
    try:
        with open_regular(Path(file)) as stream:
            for members, others in _archives(stream):
                found, unused = _assemble(_parts(members, where, others), stream, where)
                samples += found
                rest += others + unused
    except UserError:
        raise
    except Exception as error:
        # Python's reader may raise any exception for damaged bytes.
        raise UserError(
            f"{where}: not a whole, uncompressed tar ({first_line(error)}); copy or unpack it again"
        ) from None
    return samples, rest


def _parts(members: list[_Member], where: str, others: list[str]) -> dict[str, dict[str, _Member]]:
    """Files by the name of their sample and their part in it."""
    parts: dict[str, dict[str, _Member]] = defaultdict(dict)
    for member in members:
        key, ending = _split_name(member.name)
        if not ending:
            others.append(member.name)
        elif ending in parts[key]:
            raise UserError(
                f"{where}: holds {printable(member.name)} more than once; pack it again"
            )
        else:
            parts[key][ending] = member
    return parts


def _assemble(
    parts: dict[str, dict[str, _Member]], stream: IO[bytes], where: str
) -> tuple[list[_Sample], list[str]]:
    samples, rest = [], []
    for key, members in parts.items():
        images = [ending for ending in members if ending in ENDINGS]
        # NAME.mask.png beside NAME.png is an unsupported part of that sample, not a sample.
        outer, _, _ = key.rpartition(".")
        if not images or any(ending in ENDINGS for ending in parts.get(outer, ())):
            rest += [member.name for member in members.values()]
            continue
        image, pair = images[0], next((e for e in members if e.startswith("pair.")), None)
        sample = _Sample(members[image].name, members[image])
        sample.label = _label(members, stream, where)
        sample.caption = members.get("txt")
        sample.pair = members.pop(pair) if pair else None
        samples.append(sample)
        used = {image, "txt", "cls"}
        if "cls" not in members and sample.label is not None:
            used.add("json")
        rest += [member.name for ending, member in members.items() if ending not in used]
    return samples, rest


def _split_name(path: str) -> tuple[str, str]:
    """The name of a file's sample, and the file's part in it."""
    folder, slash, last = path.rpartition("/")
    name, _, ending = last.rpartition(".")
    ending = ending.lower()
    if not name or (ending not in ENDINGS and ending not in _TEXTS):
        return path, ""
    if ending in ENDINGS and name.lower().endswith(".pair"):
        name, ending = name[: -len(".pair")], f"pair.{ending}"
    return f"{folder}{slash}{name}", ending


def _label(members: dict[str, _Member], stream: IO[bytes], where: str) -> int | None:
    """The label of a sample, if it has one.

    Raises:
        UserError: when it is not a whole number.
    """
    member = members.get("cls") or members.get("json")
    if member is None:
        return None
    shown = f"{where}: {printable(member.name)}"
    content = _part(stream, _Member(member.name, member.offset, min(member.size, _LARGEST_TEXT)))
    assert isinstance(content, bytes)
    # Some Windows editors write a byte-order mark before the text.
    text = content.decode("utf-8-sig", "replace").strip()
    if "cls" in members:
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise UserError(f"{shown}: label {brief(text)}; a .cls file holds one whole number")
        return int(text)
    try:
        about: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{shown}: not JSON; mend or remove it") from None
    label = about.get("label", about.get("cls")) if isinstance(about, dict) else None
    if label is not None and type(label) is not int:
        raise UserError(f"{shown}: label {brief(label)}; labels are whole numbers from 0")
    return label


def _archives(stream: IO[bytes]) -> Iterator[tuple[list[_Member], list[str]]]:
    """The files of a tar, and names of other members; then those of tars appended to it.

    A link to a file of the tar counts as that file; other links do not count as files.

    Raises:
        tarfile.TarError: for a damaged or truncated tar.
    """
    size = os.fstat(stream.fileno()).st_size
    start = 0
    while start < size or start == 0:
        stream.seek(start)
        end = start
        members: dict[str, list[_Member]] = defaultdict(list)
        others: list[str] = []
        with tarfile.TarFile(fileobj=Bounded(stream)) as archive:
            for member in archive:
                end = max(end, member.offset_data + (member.size if member.isreg() else 0))
                name = relative_name(member.name)
                parts = name.split("/")
                if member.isdir() or any(is_clutter(part) for part in parts):
                    continue
                found = None if any(p.startswith(".") for p in parts) else _file(member, members)
                if found is None:
                    others.append(name)
                else:
                    members[name].append(found)
        yield [found for same in members.values() for found in same], others
        start = _next_archive(stream, end, size)


def _file(member: tarfile.TarInfo, before: dict[str, list[_Member]]) -> _Member | None:
    """The position of a member's content; None if it is neither a file nor a link to one."""
    name = relative_name(member.name)
    if member.isreg() and not member.issparse():
        return _Member(name, member.offset_data, member.size)
    if not member.issym() and not member.islnk():
        return None
    # The target of a hard link is relative to the root of the tar, that of a symbolic link to the
    # link's folder.
    base = name.rpartition("/")[0] if member.issym() else ""
    target = before.get(_target(base, member.linkname))
    return _Member(name, target[-1].offset, target[-1].size) if target else None


def _target(base: str, link: str) -> str:
    return relative_name(os.path.normpath(f"{base}/{link}"))


def _next_archive(stream: IO[bytes], end: int, size: int) -> int:
    """Where an appended tar begins after the last member's end at ``end``; else ``size``."""
    start = -(-end // BLOCK) * BLOCK
    if size < start + BLOCK:
        raise tarfile.ReadError("truncated: it has no end mark")
    stream.seek(start)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError("damaged behind its last member")
    stream.seek(start)
    while block := stream.read(1 << 20):
        filled = block.lstrip(b"\0")
        if filled:
            return start + (len(block) - len(filled)) // BLOCK * BLOCK
        start += len(block)
    return size
