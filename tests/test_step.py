"""The step against a loop written out with autograd and Adam's formula."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from distgan.config.optimizer import AdamSettings
from distgan.families import Batch
from distgan.families.adversarial import AdversarialTerms
from distgan.networks import GENERATORS, ImageShape
from distgan.networks.spectral import spectral_norms
from distgan.objectives.adversarial import LOSSES, Loss
from distgan.training.network import TrainableNetwork
from distgan.training.optimizer import build

from .kept_quick import slow_but
from .small import small_discriminator, small_generator
from .steps import adversarial_step, batch_of

SHAPE = ImageShape(1, 8, 8)
ADAM = AdamSettings(lr=1e-2, beta1=0.3, beta2=0.9, eps=1e-3)


class ReferenceAdam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters, self.t = parameters, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def step(self, gradients: tuple[Tensor, ...]) -> None:
        self.t += 1
        with torch.no_grad():
            for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
                m.mul_(0.3).add_(g, alpha=1 - 0.3)
                v.mul_(0.9).add_(g * g, alpha=1 - 0.9)
                m_hat, v_hat = m / (1 - 0.3**self.t), v / (1 - 0.9**self.t)
                p -= 1e-2 * m_hat / (v_hat.sqrt() + ADAM.eps)


def pair(name: str, classes: int = 0) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = small_generator(name).build(SHAPE, 4, classes).double()
    return generator, small_discriminator(name).build(SHAPE, classes).double()


def player(network: nn.Module) -> TrainableNetwork:
    return TrainableNetwork(network, network, build(ADAM, network))


def batch(classes: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(1)
    normal = [torch.randn(6, 4, generator=draw, dtype=torch.float64) for _ in range(2)]
    real = torch.rand(6, *SHAPE, generator=draw, dtype=torch.float64) * 2 - 1
    return batch_of(real, torch.arange(6) % classes if classes else None, *normal)


def reference(g: nn.Module, d: nn.Module, loss: Loss, batches: list[Batch], share: bool) -> None:
    g_adam, d_adam = ReferenceAdam(list(g.parameters())), ReferenceAdam(list(d.parameters()))
    for b in batches:
        for norm in (*spectral_norms(g), *spectral_norms(d)):
            norm.advance()
        fake = g(b.draws["generator"] if share else b.draws["discriminator"], b.labels)
        value = loss.discriminator(d(b.columns["image"], b.labels), d(fake.detach(), b.labels))
        d_adam.step(torch.autograd.grad(value, d_adam.parameters))
        fake = fake if share else g(b.draws["generator"], b.labels)
        logits = d(fake, b.labels)
        value = loss.generator(
            logits, *([d(b.columns["image"], b.labels)] if loss.relative else [])
        )
        g_adam.step(torch.autograd.grad(value, g_adam.parameters))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", slow_but(GENERATORS, "mlp", "sngan"))
def test_three_steps_equal_the_written_out_ones(
    name: str, loss: str, classes: int, share: bool
) -> None:
    generator, discriminator = pair(name, classes)
    expected = copy.deepcopy((generator, discriminator))
    players = player(generator), player(discriminator)
    batches = [batch(classes)] * 3
    for b in batches:
        adversarial_step(*players, AdversarialTerms(LOSSES[loss], share_fakes=share), [b])
    reference(*expected, LOSSES[loss], batches, share)
    for ours, theirs in zip((generator, discriminator), expected, strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_the_generators_update_leaves_the_discriminator_alone() -> None:
    generator, discriminator = pair("mlp")
    players = player(generator), player(discriminator)
    gradients: list[Tensor] = []
    step = players[1].optimizer.step

    def watch() -> None:
        gradients.extend(p.grad.clone() for p in discriminator.parameters())
        step()

    players[1].optimizer.step = watch  # type: ignore[method-assign]
    adversarial_step(*players, AdversarialTerms(LOSSES["minimax"]), [batch()])
    for parameter, gradient in zip(discriminator.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        assert torch.equal(parameter.grad, gradient)


def test_statistics_are_those_of_the_networks_before_their_updates() -> None:
    generator, discriminator = pair("mlp")
    before = copy.deepcopy((generator, discriminator))
    b = batch()
    rule = AdversarialTerms(LOSSES["minimax"])
    found = adversarial_step(player(generator), player(discriminator), rule, [b])
    real, fake = before[1](b.columns["image"]), before[1](before[0](b.draws["discriminator"]))
    assert found["d_loss"].item() == pytest.approx(
        LOSSES["minimax"].discriminator(real, fake).item()
    )
    assert found["d_real"].item() == pytest.approx(torch.sigmoid(real).mean().item())
    assert found["d_fake"].item() == pytest.approx(torch.sigmoid(fake).mean().item())
    against_updated = discriminator(before[0](b.draws["generator"]))
    assert found["g_loss"].item() == pytest.approx(
        LOSSES["minimax"].generator(against_updated).item()
    )
