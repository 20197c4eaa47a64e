"""How many workers, and how they fit on the nodes."""

from __future__ import annotations

import pytest

from distgan.errors import UserError
from distgan.launch.ray.workers import Node, Workers, check_asked, decide


def cores(*counts: int) -> list[Node]:
    return [Node(count) for count in counts]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (cores(1), Workers(1, False, 1)),
        (cores(2), Workers(1, False, 2)),
        (cores(16), Workers(1, False, 16)),
        (cores(4, 4), Workers(2, False, 4)),
        # Most threads where both find room, here on the larger node.
        (cores(3, 16), Workers(2, False, 8)),
        # A head without cores of its own runs nothing.
        (cores(0, 4), Workers(1, False, 4)),
        ([Node(64, 8)], Workers(8, True, 8)),
        ([Node(16, 1)], Workers(1, True, 16)),
        # A head without GPUs has no room for a worker, however many cores it has.
        ([Node(16), Node(16, 2)], Workers(2, True, 8)),
        ([Node(32), Node(96, 8)], Workers(8, True, 12)),
        ([Node(8, 1), Node(32, 1)], Workers(2, True, 8)),
    ],
)
def test_default(nodes: list[Node], expected: Workers) -> None:
    assert decide(None, "auto", nodes, batch=128) == expected


def test_threads_leave_room_for_all_on_uneven_nodes() -> None:
    assert decide(3, "auto", cores(5, 3), 128) == Workers(3, False, 2)


def test_a_small_batch_limits_the_default() -> None:
    assert decide(None, "auto", cores(4, 4, 4, 4), batch=3).count == 3


def test_cpu_may_be_chosen_beside_gpus() -> None:
    assert decide(4, "cpu", [Node(8, 2)], 128) == Workers(4, False, 2)


@pytest.mark.parametrize(
    ("asked", "device", "gpus", "said"),
    [
        (3, "auto", 2, "--workers 3: more than the 2 GPUs there are; use --workers 2 or fewer"),
        (None, "gpu", 0, "--device gpu: there is no GPU here"),
        (9, "auto", 0, "--workers 9: more than the 8 CPUs"),
        (None, "auto", 9, "--workers 9: the nodes with GPUs have fewer CPUs than that"),
    ],
)
def test_more_than_there_is(asked: int, device: str, gpus: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        decide(asked, device, [Node(8, gpus)], 128)  # type: ignore[arg-type]


def test_who_follows_the_cluster_waits_for_nodes_that_may_come() -> None:
    asked = (2, 8)
    for nodes in ([], cores(1), cores(0)):
        found = decide(asked, "auto", nodes, 128, grows=True)
        assert found == Workers(sum(n.cores for n in nodes), False, 1, asked)
    assert (
        "has room for 1, waiting for nodes"
        in decide(asked, "auto", cores(1), 128, grows=True).describe()
    )
    assert decide(asked, "gpu", cores(4), 128, grows=True) == Workers(0, True, 1, asked)
    one_gpu = [Node(4, 1)]
    assert decide(asked, "auto", one_gpu, 128, grows=True) == Workers(1, True, 1, asked)
    # Neither a cluster of our own nor a fixed number has anything to wait for.
    with pytest.raises(UserError, match="--workers 2:8: more than the 1 CPUs"):
        decide(asked, "auto", cores(1), 128)
    with pytest.raises(UserError, match="--workers 2: more than the 1 CPUs"):
        decide(2, "auto", cores(1), 128, grows=True)


def test_every_worker_needs_an_image_of_every_micro_batch() -> None:
    check_asked(32, 128, 4)
    with pytest.raises(UserError, match=r"a micro-batch \(32, with --accumulate 4\)"):
        check_asked(33, 128, 4)
