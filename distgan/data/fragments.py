"""Reads parts of a set: consecutive rows of one Parquet row group."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate, chain
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.fs import FileType

from distgan.config.clip import FrameRule
from distgan.data.clips.decode import decode_clips
from distgan.data.clips.schema import FRAMES
from distgan.data.clips.view import View
from distgan.data.columns import plain_table
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels, decode
from distgan.errors import UserError, first_line
from distgan.storage import machine
from distgan.storage.retrying import RetryingStorage
from distgan.storage.storage import Storage

T = TypeVar("T")

_FAR_STORAGE = ("AWS Error", "google::cloud", "HDFS")
"""Parts of Arrow's messages for failures of network storage, which may be temporary."""


@dataclass(frozen=True)
class Fragment:
    """Rows ``start`` to ``stop - 1`` of row group ``group`` of file number ``file``.

    ``draws`` are the numbers that a `FrameRule` chooses frames of each row by, as the bytes of
    float32 (rows, numbers of the rule): the length of a clip is known to who reads it only. Empty
    for images. Zeros are of a row that nobody asks for.
    """

    file: int
    group: int
    start: int
    stop: int
    draws: bytes = b""


def whole_set(images: ImageSet) -> list[Fragment]:
    """Every row group of a set, in the order in which its images are numbered."""
    return [
        Fragment(file, group, 0, rows)
        for file, groups in enumerate(images.groups)
        for group, rows in enumerate(groups)
    ]


def read_fragment(
    images: ImageSet,
    fragment: Fragment,
    replace: bool,
    pairs: bool = False,
    rule: FrameRule | None = None,
) -> Pixels:
    """Read and decode some rows.

    Args:
        replace: replace a damaged row by the next undamaged one of its row group.
        pairs: read the column of pairs too, which the set must have.
        rule: which frames of a set of clips are decoded; no clip may be too short for it.

    Raises:
        UserError: for a missing or damaged file, and for damaged rows.
    """
    rows, table = slice(fragment.start, fragment.stop), row_group(images, fragment, pairs)
    if rule is None:
        return _decode(images, fragment, table, rows, replace)
    numbers = np.frombuffer(fragment.draws, np.float32).reshape(-1, rule.numbers)
    return _decode_clips(images, fragment, table, rows, replace, rule, numbers)


def _decode_clips(
    images: ImageSet,
    fragment: Fragment,
    table: pa.Table,
    rows: slice,
    replace: bool,
    rule: FrameRule,
    numbers: NDArray[np.float32],
) -> Pixels:
    return decode_clips(
        table,
        rows,
        images,
        rule,
        numbers,
        source=images.files[fragment.file],
        first_row=first_row(images, fragment),
        replace=replace,
    )


def _decode(
    images: ImageSet, fragment: Fragment, table: pa.Table, rows: slice, replace: bool
) -> Pixels:
    return decode(
        table,
        rows,
        images.shape,
        len(images.classes),
        pair=images.pair if "pair" in table.column_names else None,
        source=images.files[fragment.file],
        first_row=first_row(images, fragment),
        replace=replace,
    )


def first_row(images: ImageSet, fragment: Fragment) -> int:
    """The number of the first row of a fragment's row group in its file."""
    return sum(images.groups[fragment.file][: fragment.group])


def row_group(images: ImageSet, fragment: Fragment, pairs: bool = False) -> pa.Table:
    """The whole row group of a fragment: columns of images or frames, labels, and pairs.

    Raises:
        UserError: for a missing or damaged file.
    """
    file = images.files[fragment.file]
    content = "image" if images.clips is None else FRAMES
    named = {content: content, **({"label": images.label} if images.classes else {})}
    named |= {"pair": "pair"} if pairs else {}
    columns = list(named.values())
    try:
        table = _storage(images.uri).attempt(
            lambda: _row_group(images.uri, file, fragment.group, columns)
        )
        return plain_table(table.select(columns)).rename_columns(list(named))
    except OSError as error:
        reason = first_line(error)
        raise UserError(
            f"--data {file}: cannot be read ({reason}), and trying again was no use; see to the "
            "storage and its permissions, then go on with --resume"
        ) from None


def _row_group(uri: str, file: str, group: int, columns: list[str]) -> pa.Table:
    try:
        with _open(uri, file) as parquet:
            return parquet.read_row_group(group, columns=columns)
    except FileNotFoundError:
        raise UserError(f"--data {file}: is missing; bring it back or make the set again") from None
    except (pa.ArrowException, OSError) as error:
        # Arrow also raises OSError for invalid bytes; failures of storage have an errno or one of
        # these names in the message.
        if getattr(error, "errno", None) or any(name in str(error) for name in _FAR_STORAGE):
            raise
        reason = first_line(error)
        raise UserError(
            f"--data {file}: row group {group} is damaged ({reason}); copy or make the set again"
        ) from None
    except Exception as error:
        # Arrow and its codecs may raise any exception for damaged bytes.
        raise UserError(
            f"--data {file}: row group {group} is damaged ({first_line(error)}); copy or make the "
            "set again"
        ) from None


def read_in_order(
    images: ImageSet,
    fragments: Iterable[Fragment],
    replace: bool,
    pairs: bool = False,
    rule: FrameRule | None = None,
) -> Iterator[Pixels]:
    """Fragments in their order; threads decode some of them ahead."""
    return ahead(
        partial(read_fragment, images, fragment, replace, pairs, rule) for fragment in fragments
    )


def read_numbered(
    images: ImageSet, numbers: NDArray[np.int64], pairs: bool = False, view: View | None = None
) -> Iterator[Pixels]:
    """Some images, one piece for each row group with any of them; other groups are not read.

    A damaged image is replaced by the next undamaged one of its row group.

    Args:
        numbers: of the images in the set, ascending: (n,).
        pairs: read the column of pairs too, which the set must have.
        view: which frames of a set of clips, by the numbers of the clips in the set.

    Raises:
        UserError: for a missing or damaged file, or a row group without an undamaged image.
    """
    fragments, first = whole_set(images), np.array(first_rows(images), np.int64)
    groups = np.searchsorted(first, numbers, "right") - 1

    def piece(group: int) -> Callable[[], Pixels]:
        mine, fragment = numbers[groups == group], fragments[group]
        rows = mine - first[group]
        if view is None:
            return partial(_read_rows, images, fragment, rows, pairs)
        drawn = view.numbers([range(number, number + 1) for number in mine.tolist()])
        return partial(_read_clips, images, fragment, rows, view.rule, drawn)

    return ahead(piece(group) for group in np.unique(groups))


def _read_clips(
    images: ImageSet,
    fragment: Fragment,
    rows: NDArray[np.int64],
    rule: FrameRule,
    numbers: NDArray[np.float32],
) -> Pixels:
    table = row_group(images, fragment)
    drawn = np.zeros((len(table), rule.numbers), np.float32)
    drawn[rows] = numbers
    whole = slice(0, len(table))
    return _decode_clips(images, fragment, table, whole, True, rule, drawn).take(rows)


def _read_rows(
    images: ImageSet, fragment: Fragment, rows: NDArray[np.int64], pairs: bool
) -> Pixels:
    table = row_group(images, fragment, pairs)
    with contextlib.suppress(UserError):
        return _decode(images, fragment, table.take(rows), slice(0, len(rows)), replace=False)
    # The replacement of a damaged image may be one that was not requested, so all are decoded.
    return _decode(images, fragment, table, slice(0, len(table)), replace=True).take(rows)


def ahead(pieces: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Results of functions in their order; threads call some of them ahead."""
    threads = machine.cores()
    with ThreadPoolExecutor(threads, "distgan-decode") as pool:
        waiting: deque[Future[T]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(piece))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_resident(images: ImageSet, replace: bool = False, pairs: bool = False) -> Pixels:
    """Read and decode a whole set into this process's memory, without Ray."""
    return fill(images.count, read_in_order(images, whole_set(images), replace, pairs))


def fill(count: int, pieces: Iterable[Pixels]) -> Pixels:
    """Concatenate pieces to one `Pixels` of ``count`` images, without holding all of them twice."""
    remaining = iter(pieces)
    first = next(remaining)

    def room(part: NDArray[Any]) -> NDArray[Any]:
        return np.empty((count, *part.shape[1:]), part.dtype)

    whole = Pixels(
        room(first.images),
        None if first.labels is None else room(first.labels),
        room(first.replaced),
        None if first.pairs is None else room(first.pairs),
    )
    at = 0
    for piece in chain([first], remaining):
        here = whole.take(slice(at, at + len(piece.images)))
        here.images[:], here.replaced[:] = piece.images, piece.replaced
        if here.labels is not None and piece.labels is not None:
            here.labels[:] = piece.labels
        if here.pairs is not None and piece.pairs is not None:
            here.pairs[:] = piece.pairs
        at += len(piece.images)
    return whole


def numbered(images: ImageSet, numbers: range) -> tuple[list[Fragment], list[int]]:
    """Fragments that hold some consecutive images of a set, and the number of each one's first.

    One for each row group, of which the first and the last may be parts.
    """
    found, firsts = [], []
    for whole, first in zip(whole_set(images), first_rows(images), strict=True):
        start = max(0, numbers.start - first)
        stop = min(whole.stop, numbers.stop - first)
        # Of row groups without rows there may be some, too, which count in the order of a set.
        if start < stop or (whole.stop == 0 and numbers.start <= first <= numbers.stop):
            found.append(Fragment(whole.file, whole.group, start, stop))
            firsts.append(first + start)
    return found, firsts


def first_rows(images: ImageSet) -> list[int]:
    """The number of the first image of every row group, through all files."""
    counts = [rows for groups in images.groups for rows in groups]
    return [0, *accumulate(counts)][:-1]


@lru_cache(maxsize=8)
def _storage(uri: str) -> RetryingStorage:
    return RetryingStorage(uri, lambda text, kind="": None)


@lru_cache(maxsize=512)
def _footer(uri: str, file: str, size: int, changed: int) -> pq.FileMetaData:
    with pq.ParquetFile(file, filesystem=Storage(uri).filesystem) as parquet:
        return parquet.metadata


def _open(uri: str, file: str) -> pq.ParquetFile:
    filesystem = Storage(uri).filesystem
    info = filesystem.get_file_info(file)
    if info.type == FileType.NotFound:
        raise FileNotFoundError(file)
    # Footers are cached, as reading one from remote storage for every row group is slow. Size and
    # time are part of the key, as a set may be rewritten at the same path during the process.
    return pq.ParquetFile(
        file,
        filesystem=filesystem,
        metadata=_footer(uri, file, info.size or 0, info.mtime_ns or 0),
        page_checksum_verification=True,
    )
