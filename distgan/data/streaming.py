"""Streaming mode: windows of a large set, loaded in the background."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan.config.feed import FeedSettings
from distgan.data.clips.view import View
from distgan.data.damage import Damage
from distgan.data.feed import Rows
from distgan.data.fragments import Fragment, numbered
from distgan.data.images import ImageSet
from distgan.data.order import StreamedOrder, Window
from distgan.data.pixels import Pixels, array_shape
from distgan.data.resident import borrow
from distgan.data.sides import Side
from distgan.parallel import World

Reader = Callable[[Iterable[Fragment]], Iterator[Pixels]]
"""Reads fragments in order, some ahead; the pieces' boundaries may differ from the fragments'."""


@dataclass
class _Loaded:
    window: Window
    images: Tensor
    labels: Tensor
    pairs: Tensor
    times: Tensor


class Streamed:
    """This rank's part of any global micro-batch, from a window that moves over the set.

    A thread fills the next window while the current one is used, so it takes the memory of two
    windows of this rank's lanes, and of the fragments read ahead. The order is that of whole
    global batches, of which micro-batches are slices.

    Args:
        batch: images in a global batch.
        micro_batch: images in a global micro-batch, which divide it.
        end: the first sample after the end of the run.
        damage: counts damaged images.
        pairs: whether the reader reads the column of pairs.
        side: which images of the set, and in which order; None for all, in that of a run's set.
        view: which frames of a set of clips a sample sees; the reader reads by its rule.
    """

    def __init__(
        self,
        images: ImageSet,
        feed: FeedSettings,
        seed: int,
        batch: int,
        micro_batch: int,
        end: int,
        world: World,
        reader: Reader,
        damage: Damage,
        pairs: bool = False,
        side: Side | None = None,
        view: View | None = None,
    ) -> None:
        self._images, self._reader, self._damage = images, reader, damage
        self._feed, self._seed, self._batch, self._end = feed, seed, batch, end
        self._micro_batch, self._part = micro_batch, world.share(micro_batch)
        self._parts = [
            slice(first + self._part.start, first + self._part.stop)
            for first in range(0, batch, micro_batch)
        ]
        self._side = side or Side(range(images.count))
        self._places, firsts = numbered(images, self._side.numbers)
        self._first_rows = np.array(firsts, np.int64)
        self._pair = images.pair if pairs else None
        self._view, self._frames = view, 0 if view is None else view.rule.shown
        self._loading: _Loading | None = None
        self._now: _Loaded | None = None
        self._next_sample = -1

    def batch(self, images_seen: int) -> Rows:
        """This rank's part of the global micro-batch from sample ``images_seen``.

        Raises:
            UserError: an error of the reader.
        """
        first, stop = images_seen + self._part.start, images_seen + self._part.stop
        if self._loading is None or images_seen != self._next_sample:
            self._start(images_seen)
        self._next_sample = images_seen + self._micro_batch
        images, labels, pairs, times = [], [], [], []
        while first < stop:
            now = self._window_of(first)
            low, high = np.searchsorted(now.window.samples, [first, stop])
            rows = torch.from_numpy(now.window.rows[low:high])
            images.append(now.images.index_select(0, rows))
            labels.append(now.labels.index_select(0, rows))
            if self._pair is not None:
                pairs.append(now.pairs.index_select(0, rows))
            if self._frames:
                times.append(now.times.index_select(0, rows))
            first = min(stop, now.window.stop)
        of_clip = (self._frames,) if self._frames else ()
        return Rows(
            _shaped(images, (*of_clip, *array_shape(self._images.shape))),
            torch.cat(labels) if self._images.classes else None,
            None if self._pair is None else _shaped(pairs, array_shape(self._pair)),
            torch.cat(times) if times else None,
        )

    def close(self) -> None:
        """Stop loading."""
        if self._loading is not None:
            self._loading.stop()
        self._loading = self._now = None

    def _window_of(self, sample: int) -> _Loaded:
        assert self._loading is not None
        while self._now is None or sample >= self._now.window.stop:
            self._now = self._loading.take(self._now)
        return self._now

    def _start(self, images_seen: int) -> None:
        self.close()
        fragments = (fragment for w in self._windows(images_seen) for fragment in self._read(w))
        pieces = self._reader(fragments)
        pair_bytes = 0 if self._pair is None else self._images.pair_bytes
        image_bytes = self._images.image_bytes * (self._frames or 1)
        sizes = image_bytes, pair_bytes, self._frames
        self._loading = _Loading(self._windows(images_seen), pieces, sizes, self._note)

    def _windows(self, images_seen: int) -> Iterator[Window]:
        groups = tuple(place.stop - place.start for place in self._places)
        feed, suffix = self._feed, self._side.suffix
        order = StreamedOrder(self._seed, groups, self._batch, feed.window, feed.lanes, suffix)
        sample = images_seen
        while sample < self._end:
            window = order.window(sample, self._parts)
            yield window
            sample = window.stop

    def _read(self, window: Window) -> Iterator[Fragment]:
        drawn = None if self._view is None else _drawn(window, self._view)
        row = 0
        for place, start, stop in window.places:
            whole, end = self._places[place], row + stop - start
            draws = b"" if drawn is None else drawn[row:end].tobytes()
            yield Fragment(whole.file, whole.group, whole.start + start, whole.start + stop, draws)
            row = end

    def _note(self, window: Window, replaced: NDArray[np.bool_]) -> None:
        if not replaced.any():
            return
        numbers = np.concatenate(
            [self._first_rows[place] + np.arange(low, high) for place, low, high in window.places]
        )
        self._damage.add(numbers[replaced], self._side.second)


def _drawn(window: Window, view: View) -> NDArray[np.float32]:
    """The numbers of each row of a window: those of its sample, and zeros where it has none."""
    drawn = np.zeros((window.size, view.rule.numbers), np.float32)
    # Those of all ranks are drawn faster than many short ranges.
    numbers = view.numbers([range(window.start, window.stop)])
    drawn[window.rows] = numbers[window.samples - window.start]
    return drawn


def _shaped(parts: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    return torch.cat(parts).view(-1, *shape)


class _Loading:
    """A thread that fills one window while another is in use.

    Args:
        sizes: bytes of an image, or of all frames of a clip that are seen; bytes of its pair or 0;
            and the number of those frames, 0 for images.
    """

    def __init__(
        self,
        windows: Iterator[Window],
        pieces: Iterator[Pixels],
        sizes: tuple[int, int, int],
        note: Callable[[Window, NDArray[np.bool_]], None],
    ) -> None:
        self._windows, self._pieces, self._sizes = windows, pieces, sizes
        self._note = note
        self._loaded: queue.Queue[_Loaded | BaseException] = queue.Queue()
        self._free: queue.Queue[_Loaded | None] = queue.Queue()
        for _ in range(2):
            images, pairs, times = (torch.empty(0, size) for size in sizes)
            self._free.put(_Loaded(_NO_WINDOW, images, torch.empty(0), pairs, times))
        self._thread = threading.Thread(target=self._run, name="distgan-feed", daemon=True)
        self._thread.start()

    def take(self, done: _Loaded | None) -> _Loaded:
        """The next window; the memory of ``done``, which is no longer needed, is reused."""
        if done is not None:
            self._free.put(done)
        found = self._loaded.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def stop(self) -> None:
        """End the thread."""
        self._free.put(None)
        self._free.put(None)

    def _run(self) -> None:
        try:
            rest: Pixels | None = None
            for window in self._windows:
                room = self._free.get()
                if room is None:
                    return
                rest = self._fill(room, window, rest)
                self._loaded.put(room)
            raise RuntimeError("asked for samples after the end of the run")
        except BaseException as error:
            self._loaded.put(error)
        finally:
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()

    def _fill(self, room: _Loaded, window: Window, rest: Pixels | None) -> Pixels | None:
        if len(room.images) < window.size:
            *sizes, frames = self._sizes
            room.images, room.pairs = (
                torch.empty((window.size, size), dtype=torch.uint8) for size in sizes
            )
            room.times = torch.empty((window.size, frames), dtype=torch.int64)
            room.labels = torch.zeros(window.size, dtype=torch.int64)
        replaced = np.zeros(window.size, np.bool_)
        at = 0
        while at < window.size:
            piece = rest or next(self._pieces)
            count = min(len(piece.images), window.size - at)
            room.images[at : at + count] = borrow(piece.images[:count]).flatten(1)
            if piece.labels is not None:
                room.labels[at : at + count] = borrow(piece.labels[:count])
            if piece.pairs is not None:
                room.pairs[at : at + count] = borrow(piece.pairs[:count]).flatten(1)
            if piece.times is not None:
                room.times[at : at + count] = borrow(piece.times[:count])
            replaced[at : at + count] = piece.replaced[:count]
            at += count
            rest = piece.take(slice(count, None)) if count < len(piece.images) else None
        room.window = window
        self._note(window, replaced)
        return rest


_NO_WINDOW = Window(0, 0, (), np.empty(0, np.int64), np.empty(0, np.int64))
