"""What an extractor computes in, and what its card says of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from distgan.config.evaluate import EvaluateSettings
from distgan.data.images import open_images
from distgan.evaluate.evaluation import Evaluator
from distgan.features.base import Extractor
from distgan.parallel import World

from .steps import family_of


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def set_tf32(convolutions: bool, products: bool) -> None:
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products


@pytest.fixture(params=[(True, False), (False, True)])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[bool, bool]]:
    """What training has chosen."""
    found = tf32()
    set_tf32(*request.param)
    yield request.param
    set_tf32(*found)


class Watcher(nn.Module):
    """Notes under which precision it is called."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []
        self._fails = fails

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tf32())
        if self._fails:
            raise MemoryError
        return images.flatten(1).float()


@pytest.mark.parametrize("fails", [False, True])
def test_extractors_do_without_tf32_and_leave_training_its_own(
    before: tuple[bool, bool], fails: bool
) -> None:
    network, prepare = Watcher(fails), Watcher(fails=False)
    extractor = Extractor(network, "watcher", 4, preprocessing="none", prepare=prepare)
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    if fails:
        with pytest.raises(MemoryError):
            extractor(images)
    else:
        assert extractor(images).features.shape == (2, 4)
    assert network.seen == prepare.seen == [(False, False)]
    assert tf32() == before


def test_the_card_says_in_what_it_was_computed_and_stays_comparable() -> None:
    images = open_images("mnist")
    card = Evaluator(EvaluateSettings(num=100), images, "mnist", family_of(images), World())._card
    assert card.arithmetic == "float32 without TF32, cpu"
    assert card.to_dict()["arithmetic"] == card.arithmetic
    for other in ("float32 without TF32, cuda", ""):
        assert replace(card, arithmetic=other).key == card.key
