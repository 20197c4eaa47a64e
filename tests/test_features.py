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
from distgan.features import EXTRACTORS
from distgan.features.base import Extractor
from distgan.features.classifier import trained
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


@pytest.mark.parametrize("name", ["mnist", "cifar10", "efficientnet"])
def test_stages_are_what_a_forward_meets_from_size_to_size(name: str) -> None:
    if name == "efficientnet":
        pytest.importorskip("efficientnet_lite_pytorch")
    extractor = EXTRACTORS[name]()
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=draw, dtype=torch.uint8)
    stages = extractor.seen_by_stages(images)
    assert len(stages) == extractor.stages == 5
    sides = [maps.shape[2] for maps in stages]
    expected = [28, 14, 14, 7, 4] if name == "mnist" else [32, 16, 16, 8, 4]
    assert sides == ([112, 56, 28, 14, 7] if name == "efficientnet" else expected)
    if name != "efficientnet":
        # From the last stage the features follow.
        network = trained(name)
        flat = network.body[-3](stages[-1])
        features = torch.relu(network.body[-2](flat)) / network.deviation
        assert torch.allclose(features, extractor(images).features, atol=1e-5)
    again = extractor.seen_by_stages(images[:1])
    assert all(torch.allclose(a, b[:1], atol=1e-4) for a, b in zip(again, stages, strict=True))


def test_without_stages_there_are_features_alone() -> None:
    extractor = Extractor(Watcher(fails=False), "w", 4, preprocessing="", prepare=nn.Identity())
    images = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2)
    (found,) = extractor.seen_by_stages(images)
    assert extractor.stages == 0
    assert torch.equal(found, images.flatten(1).float())
