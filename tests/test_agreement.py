"""What a run on a cluster decides once for all of its machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

import distgan
from distgan.data import feed_mode as ways
from distgan.data.images import open_images
from distgan.launch.ray.cluster import Cluster
from distgan.launch.ray.run import _agreed_config, _settle_by_nodes
from distgan.launch.start import Plan
from distgan.parallel import World
from distgan.runs import folder as run
from distgan.storage.storage import Storage


class Notes:
    """A display that keeps lines."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def start(self, plan: Plan) -> None: ...
    def progress(self, status: object) -> None: ...
    def note(self, text: str, kind: str = "") -> None:
        self.texts.append(text)


class Pair(World):
    """One of two ranks, whose gathering ends with what rank 0 gave."""

    given: Any = None

    def gather(self, value: Any) -> list[Any]:
        if self.leads:
            type(self).given = value
        return [self.given, value]


def test_ranks_train_with_the_configuration_that_rank_0_read(tmp_path: Path) -> None:
    """Another machine may go on seeing the file of before a rollback."""
    old = distgan.recipe("mnist-mlp-tutorial")
    new = distgan.override(old, {"generator.optimizer.lr": 1e-5})
    folders = [Storage(tmp_path / name) for name in ("fresh", "stale")]
    for storage, config in zip(folders, (new, old), strict=True):
        run.create(storage, config)
    assert [_agreed_config(folders[rank], Pair(rank, 2)) for rank in (0, 1)] == [new, new]


def plan(folder: Path, memory: int, **feed: Any) -> Plan:
    """A new run of MNIST, planned on a driver of so much memory."""
    images = open_images("mnist")
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), feed)
    settled = ways.settle(config.feed, images, config.batch, memory)
    storage = Storage(folder)
    run.create(storage, replace(config, feed=settled))
    return Plan(
        replace(config, feed=settled),
        storage,
        images,
        2,
        "head:6379",
        "auto",
        asked_feed=config.feed,
    )


def test_small_nodes_under_a_large_driver_stream(tmp_path: Path) -> None:
    display, planned = Notes(), plan(tmp_path / "run", 10**12)
    assert planned.config.feed.way == "resident"
    settled = _settle_by_nodes(planned, 10**8, display)
    assert settled.config.feed.way == "streaming"
    assert run.load_config(settled.storage, "--resume") == settled.config
    assert display.texts[0].startswith("by the nodes' memory: 60,000 images streamed")


def test_what_was_asked_for_stays_and_what_fits_too(tmp_path: Path) -> None:
    display = Notes()
    asked = plan(tmp_path / "asked", 10**12, **{"feed.way": "resident"})
    assert _settle_by_nodes(asked, 10**8, display) is asked
    fits = plan(tmp_path / "fits", 10**12)
    assert _settle_by_nodes(fits, 10**10, display) is fits
    resumed = replace(fits, asked_feed=None)
    assert _settle_by_nodes(resumed, 10**8, display) is resumed
    assert display.texts == []


def test_a_clusters_memory_is_that_of_its_smallest_node(monkeypatch: pytest.MonkeyPatch) -> None:
    giga = 2**30
    nodes = [
        {"CPU": 8, "memory": 70 * giga, "object_store_memory": 30 * giga},
        {"CPU": 8, "memory": 7 * giga, "object_store_memory": 3 * giga},
        # Of a head that takes no workers nothing depends, nor of nodes that are gone.
        {"memory": giga, "object_store_memory": giga},
        {"CPU": 8, "memory": giga, "object_store_memory": giga},
    ]
    alive = [True, True, True, False]
    known = [{"Alive": a, "Resources": n} for a, n in zip(alive, nodes, strict=True)]
    monkeypatch.setattr(ray, "nodes", lambda: known)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    cluster = Cluster("auto", 2, verbose=False)
    assert cluster.memory() == pytest.approx(10 * giga)
    # A store that was made small holds no more than fits.
    nodes[0]["object_store_memory"] = giga
    assert cluster.memory() == pytest.approx(giga / 0.3)
    nodes[:] = []
    known[:] = []
    assert cluster.memory() is None
