"""Penalties against finite differences and formulas written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distgan import draws
from distgan.augment import ADASettings, AugmentationSettings, Augmenter
from distgan.families import Batch
from distgan.families.adversarial import AdversarialTerms, DiscriminatorPass
from distgan.networks import DISCRIMINATORS, ImageShape
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import (
    GRADIENT_PENALTIES,
    Penalty,
    PenaltySettings,
    around,
    between,
    squared_gradient_norms,
)
from distgan.parallel import World
from distgan.training.update import TrainingStep

SHAPE = ImageShape(1, 2, 3)
CPU = torch.device("cpu")


def discriminator() -> nn.Module:
    torch.manual_seed(0)
    # Smooth, so that differences of finite width mean something.
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    return nn.Sequential(network, nn.Flatten(0)).double()


def images(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(4, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1


def differences(network: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """The norm of the gradient at each image, by central differences: (n,)."""
    width, slopes = 1e-5, []
    with torch.no_grad():
        for pixel in torch.eye(6, dtype=torch.float64).view(6, 1, *SHAPE):
            up, down = network(points + width * pixel), network(points - width * pixel)
            slopes.append((up - down) / (2 * width))
    return torch.stack(slopes, 1).norm(dim=1)


WRITTEN_OUT = {
    "r1": lambda norms: (norms["real"] ** 2).mean() / 2,
    "r2": lambda norms: (norms["fake"] ** 2).mean() / 2,
    "wgan_gp": lambda norms: ((norms["between"] - 1) ** 2).mean(),
    "dragan": lambda norms: ((norms["around"] - 1) ** 2).mean(),
}


def points(numbers: Tensor, noise: Tensor) -> dict[str, Tensor]:
    real, fake = images(1), images(2)
    return {
        "real": real,
        "fake": fake,
        "between": numbers.view(-1, 1, 1, 1) * real + (1 - numbers.view(-1, 1, 1, 1)) * fake,
        # As in the authors' code: alpha of the way to an image with noise, one alpha an image.
        "around": real
        + noise[:, :1].view(-1, 1, 1, 1)
        * (0.5 * real.flatten(1).std(1).view(-1, 1, 1, 1) * noise[:, 1:].reshape(real.shape)),
    }


@pytest.mark.parametrize("name", GRADIENT_PENALTIES)
def test_value_and_gradient_against_finite_differences(name: str) -> None:
    network = discriminator()
    numbers, noise = torch.rand(4, 1).double(), torch.rand(4, 7).double()
    where = points(numbers, noise)
    torch.testing.assert_close(between(images(1), images(2), numbers), where["between"])
    torch.testing.assert_close(around(images(1), images(2), noise), where["around"])
    at, charge, _ = GRADIENT_PENALTIES[name]
    place = at if isinstance(at, str) else at.__name__

    def value() -> Tensor:
        leaf = where[place].clone().requires_grad_()
        return charge(squared_gradient_norms(network(leaf), [leaf])[0]).mean()

    def written_out() -> Tensor:
        return WRITTEN_OUT[name]({key: differences(network, x) for key, x in where.items()})

    torch.testing.assert_close(value(), written_out(), rtol=1e-7, atol=1e-9)
    weight = network[0][1].weight
    (gradient,) = torch.autograd.grad(value(), weight)
    with torch.no_grad():
        for row, column in ((0, 0), (3, 2), (7, 5)):
            kept = weight[row, column].item()
            weight[row, column] = kept + 1e-4
            up = written_out()
            weight[row, column] = kept - 1e-4
            down = written_out()
            weight[row, column] = kept
            assert gradient[row, column].item() == pytest.approx(
                ((up - down) / 2e-4).item(), rel=1e-4, abs=1e-7
            )


class _Twice(AugmentationSettings):
    """Everything times 2."""

    name, numbers = "twice", 1

    def apply(self, images: Tensor, numbers: Tensor, probability: Tensor) -> Tensor:
        return 2 * images


def judged(
    network: nn.Module, augment: AugmentationSettings, numbers: Tensor, **settings: Any
) -> DiscriminatorPass:
    """Reals and fakes under one augmentation, with R1 and R2 due."""
    penalty = Penalty(PenaltySettings(r1=1, r2=1, **settings), 4, CPU)
    terms = AdversarialTerms(LOSSES["relativistic"], penalty, Augmenter(augment, CPU))
    player: Any = SimpleNamespace(network=lambda x, labels: network(x), joint=True)
    batch = Batch({"image": images(1)}, {"augment-real": numbers, "augment-fake": numbers.flip(0)})
    step = TrainingStep({"discriminator": player})
    return DiscriminatorPass(terms, step, batch, {"fake": images(2)}, ("r1", "r2"))


@pytest.mark.parametrize(("at", "factor"), [("raw", 4), ("augmented", 1)])
def test_the_augmentations_slope_counts_at_raw_images_only(at: str, factor: float) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 1), nn.Flatten(0)).double()
    found = judged(network, _Twice(), torch.zeros(4, 1), at=at)
    expected = factor * network[1].weight.square().sum() / 2
    for name in ("r1", "r2"):
        torch.testing.assert_close(found.gradient_penalty(name), expected)


def test_penalties_at_raw_images_against_finite_differences() -> None:
    network = discriminator()
    settings = ADASettings(groups=("blit", "geometric", "color:0.5", "cutout"), probability=1)
    numbers = torch.from_numpy(draws.uniforms(0, "raw", [range(4)], settings.numbers)).double()
    found = judged(network, settings, numbers, at="raw")
    one = torch.ones((), dtype=torch.float64)
    for name, seed, table in (("r1", 1, numbers), ("r2", 2, numbers.flip(0))):

        def of_raw(points: Tensor, table: Tensor = table) -> Tensor:
            return network(settings.apply(points, table, one))

        expected = (differences(of_raw, images(seed)) ** 2).mean() / 2
        value = found.gradient_penalty(name)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)
        # The penalty is in the graph, and the weights that it moves are found in it.
        (slope,) = torch.autograd.grad(value, network[0][1].weight, retain_graph=True)
        assert slope.norm() > 1e-3


def test_dragans_noise_is_as_large_as_its_authors() -> None:
    draw = torch.Generator().manual_seed(0)
    real = torch.randn(2_000, 1, 8, 8, generator=draw, dtype=torch.float64)
    size = GRADIENT_PENALTIES["dragan"].numbers(ImageShape(1, 8, 8))
    apart = around(real, real, torch.rand(2_000, size, generator=draw, dtype=torch.float64)) - real
    # alpha U / 2, both uniform: the root of 1/3 * 1/3 / 4.
    assert apart.square().mean().sqrt().item() == pytest.approx(1 / 6, rel=0.03)


def test_lecam_draws_the_logits_of_a_discriminator_that_is_fooled() -> None:
    # The paper's formula, where its authors' code has a relu and 0; guides and docstrings say so.
    penalty = Penalty(PenaltySettings(lecam=0.3), 10, CPU)
    penalty.load_state_dict({"means": torch.tensor([1.0, -1.0])}, World())
    found = penalty.on_logits(torch.tensor([-3.0]), torch.tensor([4.0]), 0)
    assert found is not None
    assert found.item() == pytest.approx(0.3 * ((-3 + 1) ** 2 + (4 - 1) ** 2))
    assert "relu" in (Penalty.on_logits.__doc__ or "")


def test_a_flat_discriminator_costs_one_and_teaches_no_nan() -> None:
    squares = torch.zeros(3, requires_grad=True)
    cost = GRADIENT_PENALTIES["wgan_gp"].charge(squares).sum()
    assert cost.item() == pytest.approx(3)
    (gradient,) = torch.autograd.grad(cost, squares)
    assert torch.isfinite(gradient).all()


def test_settings_have_a_field_for_every_penalty() -> None:
    assert GRADIENT_PENALTIES.keys() <= {f.name for f in dataclasses.fields(PenaltySettings)}


@pytest.mark.parametrize(("every", "batch"), [(512, 100), (100, 64), (64, 100), (96, 32)])
def test_a_lazy_penalty_weighs_as_much_over_time_with_any_batch(every: int, batch: int) -> None:
    lazy = Penalty(PenaltySettings(r1=10, every=every), batch, CPU)
    always = Penalty(PenaltySettings(r1=10), batch, CPU)
    # Both divide as many images.
    starts = range(0, every * batch, batch)
    paid = [sum(p.weight(n, s) for s in starts for n in p.due(s)) for p in (lazy, always)]
    assert paid[0] == pytest.approx(paid[1])
    assert lazy.due(0)


def test_a_lazy_penalty_is_due_rarely_and_weighs_as_much_over_time() -> None:
    lazy = Penalty(PenaltySettings(r1=10, every=64), 16, CPU)
    always = Penalty(PenaltySettings(r1=10), 16, CPU)
    starts = range(0, 640, 16)
    paid = [sum(p.weight(n, s) for s in starts for n in p.due(s)) for p in (lazy, always)]
    assert paid[0] == pytest.approx(paid[1])
    assert [s for s in starts if lazy.due(s)] == list(range(0, 640, 64))


def test_a_scheduled_penalty_moves_and_ends() -> None:
    penalty = Penalty(PenaltySettings(r1="0.5:0:100"), 10, CPU)
    assert penalty.weight("r1", 50) == pytest.approx(0.25)
    assert penalty.due(0) == ("r1",)
    assert penalty.due(100) == ()


def test_lecam_follows_its_formula() -> None:
    penalty = Penalty(PenaltySettings(lecam=0.3, lecam_half_life=20), 10, CPU)
    real, fake = torch.tensor([1.0, 3.0]).double(), torch.tensor([-1.0, 0.0]).double()
    mean_real = mean_fake = 0.0
    for _ in range(4):
        expected = ((real - mean_fake) ** 2).mean() + ((fake - mean_real) ** 2).mean()
        found = penalty.on_logits(real, fake, 0)
        assert found is not None
        assert found.item() == pytest.approx(0.3 * expected.item(), rel=1e-12)
        penalty.observe(real, fake, 1.0)
        penalty.after_update(nn.Identity(), World())
        keep = 0.5**0.5
        mean_real = keep * mean_real + (1 - keep) * 2.0
        mean_fake = keep * mean_fake + (1 - keep) * -0.5
    restored = Penalty(PenaltySettings(lecam=0.3, lecam_half_life=20), 10, CPU)
    restored.load_state_dict(penalty.state_dict(World()), World())
    again = restored.on_logits(real, fake, 0), penalty.on_logits(real, fake, 0)
    assert again[0] == again[1]


def test_clipping_bounds_every_weight() -> None:
    network = DISCRIMINATORS["mlp"]().build(SHAPE, 0)
    before = [p.detach().clone() for p in network.parameters()]
    Penalty(PenaltySettings(clip=0.02), 8, CPU).after_update(network, World())
    for parameter, old in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old.clamp(-0.02, 0.02))
