"""What the passes of a step leave behind, and what they may not rely on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from distgan.config.optimizer import AdamSettings
from distgan.config.schedule import Schedule
from distgan.families import Batch
from distgan.families.adversarial import AdversarialTerms
from distgan.networks import ImageShape
from distgan.networks.dcgan import DCGANDiscriminatorSettings, DCGANGeneratorSettings
from distgan.objectives.adversarial import LOSSES
from distgan.parallel import has_batch_norm
from distgan.parallel.batchnorm import GlobalBatchNorm, kept_statistics
from distgan.training.network import TrainableNetwork
from distgan.training.optimizer import build

from .steps import adversarial_step, batch_of

SHAPE = ImageShape(1, 16, 16)


def networks() -> tuple[nn.Module, nn.Module]:
    """Both with batch norm."""
    torch.manual_seed(0)
    generator = DCGANGeneratorSettings(width=4).build(SHAPE, 4, 0).double()
    discriminator = DCGANDiscriminatorSettings(width=4).build(SHAPE, 0).double()
    for network in (generator, discriminator):
        assert has_batch_norm(network)
    return generator, discriminator


def batches(count: int) -> list[Batch]:
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    return [batch_of(normal(6, *SHAPE), None, normal(6, 4), normal(6, 4)) for _ in range(count)]


def step(pair: tuple[nn.Module, nn.Module], rule: AdversarialTerms, parts: list[Batch]) -> None:
    players = [
        TrainableNetwork(
            network, network, build(AdamSettings(), network), joint=not has_batch_norm(network)
        )
        for network in pair
    ]
    adversarial_step(players[0], players[1], rule, parts)


def moves(network: nn.Module) -> set[int]:
    return {int(b) for name, b in network.named_buffers() if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("top_k", [1.0, 0.5])
@pytest.mark.parametrize("loss", ["hinge", "relativistic", "relativistic-average"])
def test_running_statistics_move_once_for_every_batch_that_is_learnt_from(
    loss: str, top_k: float, parts: int
) -> None:
    pair, rule = networks(), AdversarialTerms(LOSSES[loss], top_k=Schedule(top_k))
    step(pair, rule, batches(parts))
    # The generator makes fakes for both updates. The discriminator sees reals and fakes, then
    # the generator's fakes and, where these are compared with reals, the reals once more.
    assert moves(pair[0]) == {2 * parts}
    assert moves(pair[1]) == {(4 if LOSSES[loss].relative else 3) * parts}


def test_a_global_batch_norm_keeps_its_statistics_when_asked_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distgan.parallel.batchnorm.all_gather", lambda values: values[None])
    norm = GlobalBatchNorm(3)
    images = torch.randn(4, 3, 2, 2)
    with kept_statistics(norm):
        kept = norm(images)
    assert moves(norm) == {0}
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm(images), kept)
    assert moves(norm) == {1}
    with pytest.raises(KeyError), kept_statistics(norm):
        raise KeyError
    assert norm.track_running_stats
