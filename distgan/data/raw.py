"""Images that no set has been prepared of yet: how large they are, and where their set is kept.

`distgan train` prepares such images on the way, and sets that are made by name, also of clips. The
set lies in `sets_folder`, under a name made of the source's file names, sizes and times of change
and of the options, so that it is found the next time, and not after a change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distgan.config.shape import ImageShape
from distgan.data import manifest
from distgan.data.clips.open import is_made_clips
from distgan.data.decoder import BadImageError, shape_of
from distgan.data.images import PACKAGED, open_images, refuse_two_sets
from distgan.data.prepare import PrepareSettings
from distgan.data.sources import is_made, open_source, source_path
from distgan.data.sources.base import ImageData, Unreadable
from distgan.data.sources.listing import list_folder
from distgan.data.sources.named import Progress
from distgan.data.unfinished import UNFINISHED
from distgan.errors import UserError, first_line
from distgan.storage.in_use import in_use
from distgan.storage.scratch import sets_folder
from distgan.storage.storage import Storage, last_name

_LOOKED_AT = 256
"""Images whose own size is read, evenly spaced."""
_SMALL_SHARE = 0.1
"""Share of the images that may be smaller than the size that is chosen."""


@dataclass(frozen=True)
class Survey:
    """What is known of a source before it is prepared.

    ``count`` includes damaged images. ``sizes`` are heights and widths in pixels of some of the
    images, ascending by the shorter side; ``channels`` is 3 where any of these is in colour.
    """

    count: int
    classes: int
    channels: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def shorter(self) -> int:
        """The shorter side that nine of ten images reach."""
        return min(self.sizes[int(_SMALL_SHARE * len(self.sizes))])

    @property
    def uniform(self) -> bool:
        """Whether all images looked at are of one size."""
        return len(set(self.sizes)) == 1

    def at(self, size: tuple[int, int]) -> ImageShape:
        """The shape of these images, resized."""
        return ImageShape(self.channels, *size)


def survey(data: str, progress: Progress, option: str) -> Survey:
    """Look at a source.

    Args:
        progress: called with the progress of a download.
        option: the option or argument that named it, for errors.

    Raises:
        UserError: when it is none, or none of the images that were looked at can be read.
    """
    with _named(data, option):
        source = open_source(data, PrepareSettings().split, progress)
    numbers = np.unique(np.linspace(0, source.count - 1, _LOOKED_AT).astype(np.int64))
    found: list[ImageShape] = []
    bad = ""
    for number in numbers:
        item = source.read(number[None])[0]
        try:
            found.append(_own_shape(item.image))
        except BadImageError as error:
            bad = bad or f"{item.where}: {error}"
    if not found:
        raise UserError(f"{option} {data}: none of {len(numbers)} images can be read ({bad})")
    sizes = sorted(((s.height, s.width) for s in found), key=lambda size: (min(size), size))
    channels = 1 if all(shape.channels == 1 for shape in found) else 3
    return Survey(source.count, len(source.classes), channels, tuple(sizes))


def _own_shape(image: ImageData) -> ImageShape:
    if isinstance(image, Unreadable):
        raise BadImageError(image.reason)
    if isinstance(image, bytes):
        return shape_of(image)
    return ImageShape(image.shape[2], *image.shape[:2])


def is_computed(data: str) -> bool:
    """Whether this names a set of images or clips that is made without files, and no place."""
    return is_made(data) or is_made_clips(data)


def is_raw(data: str, option: str, *, resize: bool = False) -> bool:
    """Whether images have to be prepared before they can be trained on.

    Not a packaged set, a prepared one, or Parquet whose images are of one size; nor what does not
    exist and cannot be made, of which `open_images` says so.

    Args:
        option: the option or argument that named them, for errors.
        resize: whether they are to have another size; then Parquet has to be prepared, too.

    Raises:
        UserError: when it cannot be read.
    """
    if data in PACKAGED or "://" in data:
        return False
    if is_computed(data):
        return True
    path = Path(os.path.expanduser(data))
    try:
        if not path.exists():
            return False
        if path.is_dir() and {manifest.MANIFEST, UNFINISHED} & set(os.listdir(path)):
            return False
        refuse_two_sets(Storage(data), f"{option} {data}")
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {data}: cannot be reached ({first_line(error)})") from None
    if path.is_dir() and not any(path.glob("*.parquet")):
        return True
    if path.is_file() and path.suffix != ".parquet":
        return True
    if resize:
        return True
    try:
        images = open_images(data, option)
    except UserError:
        # Other layouts and columns can be prepared. If not even that, this is what is wrong.
        with contextlib.suppress(UserError):
            open_source(data, PrepareSettings().split)
            return True
        raise
    return images.encoded and not survey(data, _unheard, option).uniform


def _unheard(what: str, done: int, total: int) -> None: ...


def set_folder(data: str, options: PrepareSettings, option: str) -> Path:
    """The folder for the set that is made of a source with these options, there or not.

    Raises:
        UserError: when the source cannot be read.
    """
    path = source_path(data)
    try:
        files = sorted(list_folder(path).names) if path.is_dir() else [""]
        if is_computed(data):
            files = []
        stats = [_stat(path / name) for name in files]
    except OSError as error:
        raise UserError(f"{option} {data}: cannot be read ({first_line(error)})") from None
    known = {
        "format": manifest.FORMAT,
        "options": options.told(),
        "files": [
            (os.fsencode(name).hex(), stat.st_size, stat.st_mtime_ns)
            for name, stat in zip(files, stats, strict=True)
        ],
    }
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w-]+", "-", last_name(str(path.absolute())), flags=re.ASCII)[:40]
    return sets_folder() / f"{name}-{digest}"


def _stat(path: Path) -> os.stat_result:
    # A link to nothing counts as it is; `prepare` says which image is missing.
    return path.stat() if path.exists() else path.lstat()


def is_whole(folder: Path) -> bool:
    """Whether a set is in its folder, complete."""
    return manifest.read(Storage(str(folder))) is not None


@contextlib.contextmanager
def in_use_if_kept(uri: str) -> Iterator[None]:
    """While a run reads a set that was prepared on the way, `distgan clean` leaves it alone."""
    with contextlib.ExitStack() as stack:
        if Path(uri).parent == sets_folder():
            stack.enter_context(in_use(Path(uri)))
        yield


@contextlib.contextmanager
def _named(data: str, option: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(
            f"{option} {error}" if str(error).startswith(data) else str(error)
        ) from None
