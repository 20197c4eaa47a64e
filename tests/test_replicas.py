"""A rank whose networks drift from the others' is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from distgan.families import Batch
from distgan.parallel import World
from distgan.training.replicas import checksum, describe, differing
from distgan.training.state import TrainingState

from . import ranks
from .test_health import run_here, settings


def test_one_bit_of_one_number_changes_a_checksum() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        tensors = [torch.randn(7, 3).to(dtype), torch.arange(5)]
        same = [t.clone() for t in tensors]
        assert checksum(same) == checksum(tensors)
        integers = same[0].view({2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize])
        integers[3, 1] ^= 1
        assert checksum(same) != checksum(tensors)
    # The sum over integers, by Python's own of any size.
    (values,) = [torch.randn(1000)]
    expected = sum(int(v) for v in values.view(torch.int32)) & (2**64 - 1)
    assert int(checksum([values])) & (2**64 - 1) == expected


def test_a_checksum_does_not_depend_on_how_weights_lie_in_memory() -> None:
    weight = torch.randn(4, 3, 5, 5)
    apart = weight.to(memory_format=torch.channels_last)
    assert checksum([weight]) == checksum([apart])


def test_who_differs_from_most() -> None:
    assert differing([[1, 2], [1, 2], [1, 2]], ["G", "D"]) == {}
    assert differing([[1, 2], [1, 3], [1, 2]], ["G", "D"]) == {1: ["D"]}
    assert differing([[5, 3], [1, 2], [1, 2]], ["G", "D"]) == {0: ["G", "D"]}
    assert differing([[1], [2]], ["G"]) == {1: ["G"]}
    line = describe({1: ["D"]}, ["here", "there"])
    assert line.startswith("worker 1 on there has another D than worker 0; see whether")
    assert "than the others" in describe({1: ["G", "D"]}, ["a", "b", "c"])


def _drifting(world: World, folder: Path, who: int) -> list[str]:
    """What a rank tells of a run in which a bit of one rank's weights flips after some steps."""
    step = TrainingState.step

    def flipping(self: TrainingState, batches: Sequence[Batch]) -> None:
        step(self, batches)
        if self.images_seen == 1_920 and world.rank == who:
            with torch.no_grad():
                weights = self.networks["discriminator"].parameters[0]
                weights.view(torch.int32).view(-1)[0] ^= 1 << 20

    TrainingState.step = flipping  # type: ignore[method-assign]
    return run_here(world, settings(images=3_840, output__log_every=640), folder)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "who"), [(2, 1), (3, 0)])
def test_a_flipped_bit_is_told_once_with_rank_and_network(
    tmp_path: Path, size: int, who: int
) -> None:
    for notes in ranks.on_ranks(size, _drifting, tmp_path, tmp_path / "run", who):
        (told,) = [note for note in notes if note.startswith("worker")]
        # Gradients are averaged, so that the generator stays the same everywhere.
        others = "worker 0" if size == 2 else "the others"
        assert re.match(rf"worker {who} on \S+ has another discriminator than {others}; ", told)
        assert "--resume the run" in told
