"""How many workers, and how they fit on the nodes."""

from __future__ import annotations

import pytest

from distgan.errors import UserError
from distgan.launch.workers import Workers, decide


@pytest.mark.parametrize(
    ("gpus", "nodes", "expected"),
    [
        (0, [1], Workers(1, False, 1)),
        (0, [2], Workers(2, False, 1)),
        (0, [3], Workers(2, False, 1)),
        (0, [4], Workers(2, False, 2)),
        (0, [16], Workers(8, False, 2)),
        (0, [4, 4], Workers(4, False, 2)),
        (8, [64], Workers(8, True, 8)),
        (1, [16], Workers(1, True, 16)),
    ],
)
def test_default(gpus: int, nodes: list[int], expected: Workers) -> None:
    assert decide(None, "auto", gpus, nodes, batch=128) == expected


def test_threads_leave_room_for_all_on_uneven_nodes() -> None:
    assert decide(3, "auto", 0, [5, 3], 128) == Workers(3, False, 2)


def test_a_small_batch_limits_the_default() -> None:
    assert decide(None, "auto", 0, [16], batch=3).count == 3


def test_cpu_may_be_chosen_beside_gpus() -> None:
    assert decide(4, "cpu", 2, [8], 128) == Workers(4, False, 2)


@pytest.mark.parametrize(
    ("asked", "device", "gpus", "said"),
    [
        (3, "auto", 2, "--workers 3: more than the 2 GPUs there are; use --workers 2 or fewer"),
        (None, "gpu", 0, "--device gpu: there is no GPU here"),
        (9, "auto", 0, "--workers 9: more than the 8 CPUs"),
    ],
)
def test_more_than_there_is(asked: int, device: str, gpus: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        decide(asked, device, gpus, [8], 128)  # type: ignore[arg-type]
