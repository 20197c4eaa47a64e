"""Which way a set is fed, and what is said of it."""

from __future__ import annotations

import dataclasses

import pytest

from distgan.config.feed import FeedSettings
from distgan.data import feed_mode as ways
from distgan.data.images import ImageSet, open_images
from distgan.errors import UserError


@pytest.fixture
def mnist() -> ImageSet:
    return open_images("mnist")


def test_what_fits_into_a_tenth_of_memory_is_resident(
    mnist: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MNIST is 60,000 x 784 = 47,040,000 bytes.
    for memory, way in [(470_400_000, "resident"), (470_399_000, "streaming")]:
        monkeypatch.setattr(ways, "_memory", lambda memory=memory: memory)
        assert ways.settle(FeedSettings(), mnist, 128).way == way


def test_a_choice_is_made_once(mnist: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    settled = ways.settle(FeedSettings(way="streaming"), mnist, 128)
    assert settled.window == 60_000, "256 MB hold the whole set"
    monkeypatch.setattr(ways, "_memory", lambda: 1)
    assert ways.settle(settled, mnist, 128) == settled
    resident = ways.settle(FeedSettings(way="resident"), mnist, 128)
    assert ways.settle(resident, mnist, 128).way == "resident"


def test_a_window_holds_at_least_a_batch(mnist: ImageSet) -> None:
    settled = ways.settle(FeedSettings(way="streaming", window=128), mnist, 128)
    assert settled.window == 128
    with pytest.raises(UserError, match=r"--feed.window 127: smaller than a batch \(128\)"):
        ways.settle(FeedSettings(way="streaming", window=127), mnist, 128)


def test_the_memory_is_said(mnist: ImageSet) -> None:
    assert "47 MB once for each node" in ways.describe(FeedSettings(way="resident"), mnist)
    feed = dataclasses.replace(FeedSettings(way="streaming"), window=10_000)
    assert "two windows take 16 MB" in ways.describe(feed, mnist)


def test_this_machine_has_memory() -> None:
    assert 2**28 < ways._memory() < 2**46
