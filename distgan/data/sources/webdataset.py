"""WebDataset: tars whose files of one name and several endings are one sample.

Of ``NAME.png`` (or another image), ``NAME.cls`` is the label, ``NAME.txt`` the caption and
``NAME.pair.png`` the paired image.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import (
    IMAGE_ENDINGS,
    LARGEST_FILE,
    Item,
    numbered_classes,
    of_split,
)
from distgan.errors import UserError

ABOUT = "WebDataset .tar files"

_BLOCK = 512
_Span = tuple[int, int]


@dataclass
class _Sample:
    """Where in its tar the parts of a sample lie: offset and bytes."""

    name: str
    image: _Span | None = None
    label: int | None = None
    caption: _Span | None = None
    pair: _Span | None = None


def looks_like(path: Path) -> bool:
    """Whether this is a tar, or a folder of them."""
    if path.is_dir():
        return any(path.glob("*.tar"))
    return path.suffix == ".tar" or tarfile.is_tarfile(path)


def open_split(path: Path, split: str) -> WebDatasetSource:
    """The samples of a tar, or of those tars of a folder that are of the split, in order.

    Raises:
        UserError: when a tar is damaged, compressed, or holds no images.
    """
    tars = sorted(map(str, path.glob("*.tar"))) if path.is_dir() else [str(path)]
    files = of_split(tars, split, str(path))
    samples: list[tuple[int, _Sample]] = []
    for number, file in enumerate(files):
        samples += [(number, sample) for sample in _index(file)]
    if not samples:
        raise UserError(f"{path}: holds no images named as WebDataset does, such as 000000.jpg")
    return WebDatasetSource(files, samples, str(path))


class WebDatasetSource:
    """Samples of several tars, each read from its place.

    Args:
        files: the tars.
        samples: which tar each sample is in, and where there.
    """

    kind = "webdataset"

    def __init__(self, files: list[str], samples: list[tuple[int, _Sample]], where: str) -> None:
        self._files, self._samples = files, samples
        self.count = len(samples)
        labels = [sample.label for _, sample in samples if sample.label is not None]
        self.classes = numbered_classes(max(labels), where) if labels else ()
        self.captions = any(sample.caption for _, sample in samples)
        self.pairs = any(sample.pair for _, sample in samples)

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers."""
        chosen = [self._samples[number] for number in numbers.tolist()]
        items = []
        for file in sorted({file for file, _ in chosen}):
            with open(self._files[file], "rb") as stream:
                items += [
                    _item(stream, self._files[file], sample)
                    for owner, sample in chosen
                    if owner == file
                ]
        return items


def _item(stream: IO[bytes], file: str, sample: _Sample) -> Item:
    caption = _part(stream, sample.caption)
    return Item(
        _part(stream, sample.image) or b"",
        f"{file}: {sample.name}",
        sample.label,
        None if caption is None else caption.decode("utf-8", "replace").strip(),
        _part(stream, sample.pair),
    )


def _part(stream: IO[bytes], span: _Span | None) -> bytes | None:
    if span is None:
        return None
    stream.seek(span[0])
    # Too large for an image, it is not read, and refused like an empty one.
    return stream.read(span[1]) if span[1] <= LARGEST_FILE else b""


def _index(file: str) -> list[_Sample]:
    samples: dict[str, _Sample] = {}
    end = 0
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                end = member.offset_data + member.size
                name, _, ending = _split_name(member.name)
                if not member.isfile() or not ending:
                    continue
                sample = samples.setdefault(name, _Sample(member.name))
                _place(sample, archive, member, ending, file)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"{file}: not a whole, uncompressed tar ({error}); copy or unpack it again"
        ) from None
    if not _is_closed(file, end):
        raise UserError(f"{file}: a truncated tar (it has no end mark); copy it again")
    return [sample for sample in samples.values() if sample.image is not None]


def _split_name(path: str) -> tuple[str, str, str]:
    # WebDataset's rule: the ending begins at the first dot of the last part of the path.
    folder, slash, last = path.rpartition("/")
    name, dot, ending = last.partition(".")
    return f"{folder}{slash}{name}", dot, ending.lower() if name else ""


def _place(
    sample: _Sample, archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, file: str
) -> None:
    span = (member.offset_data, member.size)
    if ending in IMAGE_ENDINGS:
        sample.image, sample.name = sample.image or span, member.name
    elif ending.startswith("pair.") and ending.removeprefix("pair.") in IMAGE_ENDINGS:
        sample.pair = span
    elif ending == "txt":
        sample.caption = span
    elif ending == "cls":
        stream = archive.extractfile(member)
        text = stream.read(64) if stream else b""
        try:
            sample.label = int(text)
        except ValueError:
            raise UserError(
                f"{file}: {member.name}: label {text.decode('utf-8', 'replace')!r}; "
                "a .cls file holds one whole number"
            ) from None


def _is_closed(file: str, end: int) -> bool:
    """Whether a block of zeros follows the last member, as tar has it."""
    if os.path.getsize(file) < end + _BLOCK:
        return False
    with open(file, "rb") as stream:
        stream.seek(-_BLOCK, os.SEEK_END)
        return stream.read() == bytes(_BLOCK)
