"""What a set is made of: its source, and what becomes of it. That of images; see
`distgan.data.clips.work` for clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distgan.config.clip import Clips
from distgan.config.shape import ImageShape
from distgan.data.decoder import BadImageError, range_note
from distgan.data.prepare_settings import PrepareSettings
from distgan.data.shards import Form, Job, Layout, Made, check, make_shard, too_many
from distgan.data.sources import Source
from distgan.errors import UserError

Report = Callable[[int], None]
"""Called with the number of items of the source that were processed since the last call."""


class Work(Protocol):
    """Makes the shards of a set, in any process: sent to Ray tasks by pickle.

    ``rows`` are what the rows of the set are, ``images`` or ``clips``. ``pair`` is the shape of
    the images' pairs, or None.
    """

    rows: str

    @property
    def kind(self) -> str:
        """The source's kind."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        ...

    @property
    def skip_bad(self) -> int:
        """Bad items that may be left out."""
        ...

    @property
    def shape(self) -> ImageShape:
        """That of every image, or of every frame."""
        ...

    @property
    def pair(self) -> ImageShape | None:
        """That of the pairs."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every shard."""
        ...

    def items(self, size: int) -> int:
        """Items of the source for a shard of about ``size`` bytes of pixels."""
        ...

    def make(self, job: Job, report: Report = lambda done: None) -> Made:
        """Make a shard and write it, unless nothing is left for it.

        Raises:
            UserError: for the first bad item beyond ``skip_bad``; when another process makes the
                set by now.
        """
        ...

    def remarks(self, made: Sequence[Made]) -> Iterator[str]:
        """Remarks for the user about all shards."""
        ...

    def images(self, made: Sequence[Made]) -> int:
        """Images in these shards: rows, or frames of clips."""
        ...

    def clips(self, made: Sequence[Made]) -> Clips | None:
        """Lengths of the clips in these shards, which have some; None of images."""
        ...

    def told(self, made: Sequence[Made]) -> dict[str, Any]:
        """What else the manifest says of how these shards were made."""
        ...


@dataclass(frozen=True)
class ImageWork:
    """A set of images, of whose source every item becomes a row."""

    source: Source
    layout: Layout
    rows = "images"

    @staticmethod
    def of(source: Source, numbers: NDArray[np.int64], options: PrepareSettings) -> ImageWork:
        """Shape and channels are those of the first undamaged of these images.

        Raises:
            UserError: when more images at the beginning are damaged than may be left out.
        """
        transform, other = options.transforms
        bad: list[str] = []
        for number in numbers[: options.skip_bad + 1]:
            item = source.read(np.array([number]))[0]
            try:
                image = Form.of(item.image, transform)
                check(item, len(source.classes), source.pairs)
                pair = None if item.pair is None else Form.of(item.pair, other, pair=True)
            except BadImageError as error:
                bad.append(f"{item.where}: {error}")
                continue
            layout = Layout(
                image=image,
                pair=pair if source.pairs else None,
                store=options.store,
                classes=len(source.classes),
                captions=source.captions,
                skip_bad=options.skip_bad,
            )
            return ImageWork(source, layout)
        raise UserError(too_many(bad, options.skip_bad))

    @property
    def kind(self) -> str:
        """The source's kind."""
        return self.source.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.source.classes

    @property
    def skip_bad(self) -> int:
        """Bad images that may be left out."""
        return self.layout.skip_bad

    @property
    def shape(self) -> ImageShape:
        """That of every image."""
        return self.layout.image.shape

    @property
    def pair(self) -> ImageShape | None:
        """That of the pairs."""
        return None if self.layout.pair is None else self.layout.pair.shape

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every shard."""
        return self.layout.schema

    def items(self, size: int) -> int:
        """Images of a shard: complete row groups, so that only a set's last one is shorter."""
        groups = size // self.layout.image_bytes // self.layout.rows_per_group
        return max(1, groups) * self.layout.rows_per_group

    def make(self, job: Job, report: Report = lambda done: None) -> Made:
        """See `make_shard`."""
        return make_shard(job, self.source, self.layout, report)

    def remarks(self, made: Sequence[Made]) -> Iterator[str]:
        """About values of 16-bit images, and files of several images."""
        yield from remarks(made)

    def images(self, made: Sequence[Made]) -> int:
        """Rows of these shards."""
        return sum(one.count for one in made)

    def clips(self, made: Sequence[Made]) -> None:
        """None."""

    def told(self, made: Sequence[Made]) -> dict[str, Any]:
        """Nothing."""
        return {}


def remarks(made: Sequence[Made]) -> Iterator[str]:
    """Remarks for the user about the images of a set."""
    low = [one.darkest for one in made if one.darkest is not None]
    high = [one.brightest for one in made if one.brightest is not None]
    if low and (line := range_note(min(low), max(high))):
        yield line
    if several := sum(one.frames for one in made):
        yield f"left alone: all but the first frame or page of {several:,} images"
