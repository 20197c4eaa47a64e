"""The pool of earlier fakes against a loop over single images, and saved half-way."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from distgan import draws
from distgan.families.image_pool import ImagePool
from distgan.parallel import World


def loop_over(numbers: range, size: int, seed: int, stream: str) -> list[int]:
    """Which sample's fake is shown for each sample: the rule, one after another."""
    stored: list[int] = []
    shown = []
    for number in numbers:
        chance, place = draws.uniforms(seed, stream, [range(number, number + 1)], 2)[0].tolist()
        if len(stored) < size:
            stored.append(number)
            shown.append(number)
        elif chance <= 0.5:
            index = math.floor((1 - place) * size)
            shown.append(stored[index])
            stored[index] = number
        else:
            shown.append(number)
    return shown


def numbered(samples: range) -> Tensor:
    """An image a sample that says its number."""
    return torch.tensor(samples, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 2, 2, 2).clone()


def exchanged(pool: ImagePool, samples: range, part: int) -> list[int]:
    """The numbers of the samples whose fakes are shown, for so many at a time."""
    shown = []
    for first in samples[::part]:
        numbers = range(first, min(first + part, samples.stop))
        fakes = numbered(numbers)
        found = pool.exchange(first, fakes, lambda values: values, World())
        assert torch.equal(fakes, numbered(numbers))
        assert (found == found[:, :1, :1, :1]).all()
        shown += found[:, 0, 0, 0].int().tolist()
    return shown


@pytest.mark.parametrize("size", [1, 3, 50])
@pytest.mark.parametrize("part", [1, 7, 120])
def test_the_pool_follows_the_rule_image_by_image(size: int, part: int) -> None:
    """In batches that are smaller and larger than it, of which some fill it only in part."""
    numbers = range(240)
    expected = loop_over(numbers, size, 3, "pool")
    assert exchanged(ImagePool(size, 3, "pool"), numbers, part) == expected
    assert expected != loop_over(numbers, size, 3, "other")


def test_half_of_the_fakes_are_earlier_ones_and_any_of_them() -> None:
    """Each lies there for 2 x 50 samples in the mean, geometrically."""
    numbers = range(20_000)
    shown = exchanged(ImagePool(50, 1, "pool"), numbers, 100)
    ages = [number - each for number, each in zip(numbers, shown, strict=True)][50:]
    waited = [age for age in ages if age]
    assert abs(len(waited) / len(ages) - 0.5) < 4 * 0.5 / math.sqrt(len(ages))
    mean = sum(waited) / len(waited)
    assert abs(mean - 100) < 4 * 100 / math.sqrt(len(waited))
    assert min(waited) < 5
    assert max(waited) > 400


def test_a_pool_goes_on_where_it_was_saved() -> None:
    straight = exchanged(ImagePool(5, 1, "pool"), range(60), 6)
    for stop in (0, 3, 30):
        pool, again = ImagePool(5, 1, "pool"), ImagePool(5, 1, "pool")
        before = exchanged(pool, range(stop), 3)
        state = copy.deepcopy(pool.state_dict(World()))
        assert len(state["images"]) == min(stop, 5)
        exchanged(pool, range(stop, 60), 6)
        again.load_state_dict(state, World())
        assert before + exchanged(again, range(stop, 60), 6) == straight
    full = ImagePool(5, 1, "pool")
    exchanged(full, range(9), 3)
    with pytest.raises(ValueError, match="5 images do not fit in a pool of 4"):
        ImagePool(4, 1, "pool").load_state_dict(full.state_dict(World()), World())


def test_a_pool_reads_nothing_that_lies_on_a_device() -> None:
    """On `meta`, where tensors have no values; to read one would wait for a GPU."""
    pool = ImagePool(5, 1, "pool")
    for first in range(0, 40, 8):
        fakes = torch.empty(8, 3, 4, 4, device="meta")
        assert pool.exchange(first, fakes, lambda values: values, World()).is_meta
