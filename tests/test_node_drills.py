"""Runs on a cluster of nodes that die, are cut off, taken away and given back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .drill_nodes import Nodes, may_have_nodes
from .drills import drill, undisturbed_run
from .ranks import network_distance
from .test_resume import final_state

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.drill]

IMAGES = ("--images", "60000", "--workers", "2")


@pytest.fixture
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    """A cluster of as many nodes as the test's parameter says, or two, and a head."""
    if not may_have_nodes():
        pytest.skip("may not make network namespaces")
    with Nodes(getattr(request, "param", 2)) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last checkpoint of a run that nothing happens to, on this machine alone."""
    return undisturbed_run(tmp_path_factory.mktemp("undisturbed"), *IMAGES)


def node_of(nodes: Nodes, rank: int) -> int:
    """A node that has a worker; with one CPU each, the ranks have different ones."""
    return [n for n in (1, 2, 3) if nodes.processes(n, "RayTrainWorker")][rank]


@pytest.mark.parametrize("rank", [0, 1])
def test_kill_a_node(tmp_path: Path, nodes: Nodes, undisturbed: dict[str, Any], rank: int) -> None:
    with drill(tmp_path, "run", *IMAGES, nodes=nodes) as run:
        run.wait_for(30_000)
        node = node_of(nodes, rank)
        nodes.kill_node(node)
        run.wait_for_line("starting again")
        nodes.start(node)
        run.finish()
        run.report(f"SIGKILL raylet of node {node}", undisturbed, time.monotonic() - run.before)


def test_cut_the_network_for_20_seconds(
    tmp_path: Path, nodes: Nodes, undisturbed: dict[str, Any]
) -> None:
    with drill(tmp_path, "run", *IMAGES, nodes=nodes) as run:
        run.wait_for(30_000)
        nodes.connect(2, False)
        time.sleep(20)
        nodes.connect(2, True)
        run.finish()
        run.report("network cut for 20 s", undisturbed, time.monotonic() - run.before)


@pytest.mark.parametrize("nodes", [3], indirect=True)
def test_notice_of_preemption(tmp_path: Path, nodes: Nodes, undisturbed: dict[str, Any]) -> None:
    with drill(tmp_path, "run", *IMAGES, nodes=nodes) as run:
        run.wait_for(30_000)
        nodes.drain(node_of(nodes, 1), seconds=60)
        run.wait_for_line("restarted from")
        run.finish()
        assert run.events("restarted")[0]["images_repeated"] == 0
        run.report("preemption notice", undisturbed, time.monotonic() - run.before)


@pytest.mark.parametrize("nodes", [3], indirect=True)
def test_a_node_is_taken_away_and_given_back(tmp_path: Path, nodes: Nodes) -> None:
    # Enough for the node to come back while it trains, in few updates: each is what rounding
    # grows by, and after thousands of them two runs of a GAN are two runs.
    options = ("--images", "200000", "--batch", "1536", "--precision", "float64")
    options += ("--output.checkpoint_every", "15000")
    expected = undisturbed_run(tmp_path, *options, "--workers", "1")
    with drill(tmp_path, "run", *options, "--workers", "1:3", nodes=nodes) as run:
        run.wait_for(10_000)
        nodes.kill_node(3)
        run.wait_for_line("now 2 workers, from")
        nodes.start(3)
        run.wait_for_line("now 3 workers, from")
        run.finish()
        assert [event["workers"] for event in run.events("restarted", "resized")] == [2, 3]
        apart = network_distance(final_state(run.run), expected)
        assert apart < 1e-6
        run.add_row(f"3, 2, 3 workers ({apart:.0e} apart)", time.monotonic() - run.before)
