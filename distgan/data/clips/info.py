"""What `distgan data info` says of a set of clips: lengths, rate, labels, and film strips."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distgan.data import columns, picture
from distgan.data.clips.schema import FRAMES
from distgan.data.decoder import BadImageError, Decoded
from distgan.data.images import ImageSet
from distgan.data.transform import Transform
from distgan.errors import UserError, first_line

_STRIPS = 10
"""Clips that are drawn of a set without labels."""


class ClipRows:
    """The rows of a set of clips, of which labels or a few clips are read."""

    def __init__(self, images: ImageSet) -> None:
        assert images.clips is not None
        self._images, self._clips, self.classes = images, images.clips, images.classes

    def lines(self) -> dict[str, str]:
        """Heading and text of what is known of the clips."""
        shortest, longest, frames, fps = self._clips
        shape = self._images.shape
        if shortest == longest:
            lengths = f"{shortest} frames each, {shortest / fps:.1f} s"
        else:
            lengths = (
                f"{shortest} to {longest} frames, {frames / self._images.count:.1f} on average"
            )
        return {
            "clips": f"{self._images.count:,}",
            "lengths": lengths,
            "frames": f"{frames:,} of {shape} (height, width, channels)",
            "rate": f"{fps:g} frames a second",
        }

    def labels(self) -> NDArray[np.int64]:
        """The labels of all clips: int64 (count,), with -1 for missing ones.

        Raises:
            UserError: when they cannot be read.
        """
        name = self._images.label
        return np.concatenate(
            [columns.whole_numbers(self._read(file, [name])[name]) for file in self._images.files]
        )

    def picture(
        self, title: str, counts: tuple[int, ...], hear: Callable[[Decoded], object]
    ) -> bytes:
        """A PNG of film strips: the first clip of each class; without labels the first ten.

        Frames of clips that are too long for a strip are evenly spaced from the first to the last.
        """
        chosen = np.arange(min(self._images.count, _STRIPS))
        shown = min(len(counts), picture.MOST_ROWS)
        if counts:
            labels = self.labels()
            chosen = np.array([_first(labels, label) for label in range(shown)])
        if shown < len(counts):
            title += f", the first {shown} drawn"
        most, cell = picture.columns_and_cell(self._images.shape[1:], len(chosen))
        known = dict(self._strips(np.unique(chosen[chosen >= 0]), most, hear))
        rows = [known.get(number, []) for number in chosen.tolist()]
        return picture.draw(title, rows, cell, self.classes[:shown], counts[:shown])

    def _strips(
        self, numbers: NDArray[np.int64], most: int, hear: Callable[[Decoded], object]
    ) -> Iterator[tuple[int, list[NDArray[np.uint8]]]]:
        """Up to ``most`` frames of each of these clips."""
        first = 0
        for file, groups in zip(self._images.files, self._images.groups, strict=True):
            for group, rows in enumerate(groups):
                here = numbers[(numbers >= first) & (numbers < first + rows)]
                if len(here):
                    clips = self._read(file, [FRAMES], group)[FRAMES]
                    for number in here.tolist():
                        where = self._images.locate(number)
                        yield number, self._strip(clips[number - first], most, where, hear)
                first += rows

    def _strip(
        self, clip: pa.ListScalar, most: int, where: str, hear: Callable[[Decoded], object]
    ) -> list[NDArray[np.uint8]]:
        frames = () if clip.values is None else clip.values
        count = len(frames)
        found = []
        for number in np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)):
            content = frames[number].as_py()
            try:
                if content is None:
                    raise BadImageError("is missing (null)")
                if self._images.encoded:
                    found.append(Transform().pixels(content, hear))
                else:
                    channels, height, width = self._images.shape
                    found.append(np.frombuffer(content, np.uint8).reshape(height, width, channels))
            except BadImageError as error:
                raise UserError(
                    f"{where}, frame {number}: {error}; mend or remove that row"
                ) from None
        return found

    def _read(self, file: str, names: list[str], group: int | None = None) -> pa.Table:
        try:
            with pq.ParquetFile(file, filesystem=self._images.filesystem) as parquet:
                if group is None:
                    return parquet.read(columns=names)
                return parquet.read_row_group(group, columns=names)
        except Exception as error:
            # Arrow may raise any exception for damaged bytes.
            raise UserError(
                f"{file}: cannot be read ({first_line(error)}); copy or make it again"
            ) from None


def _first(labels: NDArray[np.int64], label: int) -> int:
    """The number of the first clip of a class; -1 without one."""
    found = np.flatnonzero(labels == label)
    return int(found[0]) if len(found) else -1
