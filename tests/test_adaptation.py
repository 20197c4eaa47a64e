"""ADA's probability, and training with augmentations: on any ranks, stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import distgan
from distgan.augment import AUGMENTATIONS, Augmenter
from distgan.augment.ada import ADASettings
from distgan.augment.adaptation import Adaptation
from distgan.config.run import RunConfig
from distgan.errors import UserError
from distgan.families.adversarial import AdversarialTerms
from distgan.launch.start import resume
from distgan.objectives.adversarial import LOSSES
from distgan.parallel import World
from distgan.runs import records
from distgan.storage.storage import Storage
from distgan.training.network import TrainableNetwork

from . import ranks
from .augmenting import drawn, images
from .steps import adversarial_step, batch_of
from .test_resume import assert_identical, final_state

CPU = torch.device("cpu")
ACTIVE = [name for name in AUGMENTATIONS if name != "none"]
FAST_ADA = {"target": -0.5, "interval": 70, "speed": 2_000}


def config(name: str, **changes: Any) -> RunConfig:
    named = {"discriminator.augment.name": name, "precision": "float64"}
    if name == "ada":
        named |= {f"discriminator.augment.{key}": value for key, value in FAST_ADA.items()}
    small = {"generator.network.widths": "32", "discriminator.network.widths": "32"}
    return distgan.override(distgan.recipe("mnist-mlp-tutorial"), {**small, **named, **changes})


def logits(step: int, batch: int) -> Tensor:
    """Mostly positive first, mostly negative later."""
    draw = torch.Generator().manual_seed(step)
    return torch.randn(batch, generator=draw) + (2.0 if step < 40 else -0.5)


def simulated(steps: int, batch: int, target: float, interval: int, speed: int) -> list[float]:
    p, signs, found = 0.0, [], []
    for step in range(steps):
        signs += [(x > 0) - (x < 0) for x in logits(step, batch).tolist()]
        if len(signs) >= interval:
            r = sum(signs) / len(signs)
            p += (1 if r > target else -1 if r < target else 0) * len(signs) / speed
            p, signs = min(1.0, max(0.0, p)), []
        found.append(p)
    return found


@pytest.mark.parametrize(("batch", "interval", "speed"), [(8, 32, 400), (7, 30, 900), (16, 5, 200)])
def test_the_probability_follows_the_papers_rule(batch: int, interval: int, speed: int) -> None:
    adaptation = Adaptation(0.6, interval, speed, CPU)
    found = []
    for step in range(100):
        adaptation.observe(logits(step, batch))
        adaptation.move(batch, World())
        found.append(adaptation.probability.item())
    expected = simulated(100, batch, 0.6, interval, speed)
    assert found == pytest.approx(expected, abs=1e-12)
    assert max(found) > 0.3
    assert found[-1] < max(found), "up while reals are known, then down"
    assert min(found) == 0
    assert max(found) <= 1


def test_patches_of_an_image_count_as_their_mean() -> None:
    """Of nine patches six are believed real: r_t is 1/3, and above 0.3 but not above 0.4."""
    signs = torch.tensor([1.0] * 6 + [-1.0] * 3).expand(8, 9)
    for target, end in [(0.3, 8 / 100), (0.4, 0.0)]:
        adaptation = Adaptation(target, 8, 100, CPU)
        adaptation.observe(signs)
        adaptation.move(8, World())
        assert adaptation.probability.item() == pytest.approx(end, abs=1e-12)


def test_the_probability_stays_between_0_and_1() -> None:
    for sign, end in [(1.0, 1.0), (-1.0, 0.0)]:
        adaptation = Adaptation(0.6, 8, 30, CPU)
        for _ in range(10):
            adaptation.observe(torch.full((8,), sign))
            adaptation.move(8, World())
        assert adaptation.probability.item() == end


def _adapt(world: World, steps: range, state: dict[str, Any] | None) -> dict[str, Any]:
    adaptation = Adaptation(0.6, 100, 2_000, CPU)
    if state is not None:
        adaptation.load_state_dict(state, world)
    for step in steps:
        adaptation.observe(logits(step, 31)[world.share(31)])
        adaptation.move(31, world)
    return adaptation.state_dict(world)


def _augmented(
    world: World, configs: list[RunConfig], steps: range, state: dict[str, Any] | None
) -> tuple[list[ranks.Weights], dict[str, Any]]:
    return ranks.train_all(world, configs, 12), _adapt(world, steps, state)


@pytest.mark.slow
def test_numbers_and_probability_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    configs = [config(name, batch=31) for name in ACTIVE]
    alone = ranks.train_all(World(), configs, 12)
    assert alone[-1]["augment"]["p"] > 0.1
    plain = ranks.train_steps(World(), config("none", batch=31), 12)
    assert all(ranks.distance(weights, plain) > 1e-3 for weights in alone)
    # 22 batches of 31 images are 5 intervals and two batches more.
    expected = _adapt(World(), range(53), None)
    middle = _adapt(World(), range(22), None)
    assert middle["counted"] == 62
    assert_identical(_adapt(World(), range(22, 53), middle), expected)
    two = ranks.on_ranks(2, _augmented, tmp_path, configs, range(22), None)
    three = ranks.on_ranks(3, _augmented, tmp_path, configs, range(22, 53), two[0][1])
    for found, wanted in [(two, middle), (three, expected)]:
        for trained, state in found:
            assert_identical(state, wanted)
            for name, ours, theirs in zip(ACTIVE, trained, alone, strict=True):
                assert ranks.distance(ours, theirs) < 1e-10, name
                assert torch.equal(ours["augment"]["p"], theirs["augment"]["p"])


class Seen(nn.Module):
    """A discriminator that keeps what it was shown."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.layer, self.shown = nn.Linear(pixels, 1).double(), []

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        self.shown.append(x)
        return self.layer(x.flatten(1))[:, 0]


class Painter(nn.Module):
    """A generator whose image is its weight plus z."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = nn.Parameter(image)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.image + z[:, :, None, None]


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", ACTIVE)
def test_all_that_the_discriminator_sees_is_augmented(name: str, share: bool) -> None:
    settings, x = AUGMENTATIONS[name](), images(6, 3, 8, 8)
    discriminator, generator = Seen(192), Painter(images(1, 3, 8, 8))
    players = [
        TrainableNetwork(n, n, torch.optim.SGD(n.parameters(), 0.1))
        for n in (generator, discriminator)
    ]
    numbers = drawn(3 * settings.numbers, 6).chunk(3, 1)
    z = images(2, 6, 3, 1)[..., 0]
    before = generator.image.detach().clone()
    augment = Augmenter(settings, CPU)
    if augment.adaptation is not None:
        augment.adaptation.probability.fill_(0.7)
    batch = batch_of(x, None, z[0], z[1], augment=numbers)
    rule = AdversarialTerms(LOSSES["minimax"], augment=augment, share_fakes=share)
    adversarial_step(*players, rule, [batch])
    fakes = [before + latent[:, :, None, None] for latent in (z[1] if share else z[0], z[1])]
    p = torch.tensor(0.7, dtype=torch.float64)
    expected = [
        settings.apply(x, numbers[0], p),
        settings.apply(fakes[0], numbers[1], p),
        settings.apply(fakes[1], numbers[2], p),
    ]
    for found, wanted in zip(discriminator.shown, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert not torch.equal(generator.image, before), "gradients reach the generator"


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", ACTIVE)
def test_bfloat16_networks_are_shown_what_float32_ones_are(name: str, share: bool) -> None:
    settings, x = AUGMENTATIONS[name](), images(6, 3, 8, 8).float()
    discriminator, generator = Seen(192).float(), Painter(images(1, 3, 8, 8).float())
    # At rest, so that both updates' fakes are known.
    players = [
        TrainableNetwork(n, n, torch.optim.SGD(n.parameters(), 0.0))
        for n in (generator, discriminator)
    ]
    numbers = drawn(3 * settings.numbers, 6).float().chunk(3, 1)
    z = images(2, 6, 3, 1)[..., 0].float()
    augment = Augmenter(settings, CPU)
    if augment.adaptation is not None:
        augment.adaptation.probability.fill_(0.7)
    # A relative loss asks the discriminator of the reals in the generator's update too.
    rule = AdversarialTerms(LOSSES["relativistic"], augment=augment, share_fakes=share)
    adversarial_step(*players, rule, [batch_of(x, None, z[0], z[1], augment=numbers)], half=True)
    p = torch.tensor(0.7)
    fakes = [(generator.image + latent[:, :, None, None]).detach() for latent in z]
    expected = [
        settings.apply(x, numbers[0], p),
        settings.apply(fakes[1 if share else 0], numbers[1], p),
        settings.apply(x, numbers[0], p),
        settings.apply(fakes[1], numbers[2], p),
    ]
    for found, wanted in zip(discriminator.shown, expected, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_scheduled_probability_is_followed_and_not_adapted() -> None:
    augment = Augmenter(ADASettings(probability="0:1:100:linear"), CPU)
    assert augment.adaptation is None
    x = images(4, 3, 8, 8)
    numbers = drawn(ADASettings().numbers, 4)
    augment.follow_schedule(0)
    torch.testing.assert_close(augment(x, numbers), x)
    augment.follow_schedule(50)
    half = ADASettings().apply(x, numbers, torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(augment(x, numbers), half)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVE)
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, name: str) -> None:
    run = {"batch": 32, "precision": "float32", "output.log_every": 320}
    half, whole = str(tmp_path / "half"), str(tmp_path / "whole")
    distgan.train(config(name, images=960, **run), out=half, workers=0, device="cpu")
    # 960 images are 10 intervals of 3 batches; 1,280 stop one short of an interval's end.
    resume(half, {"images": 1_280}, workers=0, device="cpu")
    resume(half, {"images": 1_920}, workers=0, device="cpu")
    distgan.train(config(name, images=1_920, **run), out=whole, workers=0, device="cpu")
    assert_identical(final_state(tmp_path / "half"), final_state(tmp_path / "whole"))
    found, expected = (
        [r.get("augment_p") for r in records.read(Storage(run))] for run in (half, whole)
    )
    assert found == expected
    assert len(found) == 6
    assert (name == "ada") == (expected[-1] is not None)
    assert name != "ada" or 0 < expected[0] < expected[-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "cutmix"}, "no such choice; have none, flip, diffaugment, ada"),
        ({"name": "diffaugment", "policy": "colour"}, "--discriminator.augment.policy.0 'colour'"),
        ({"name": "ada", "groups": ""}, "--discriminator.augment.groups"),
        ({"name": "ada", "groups": "colour"}, "no such group, did you mean color?"),
        ({"name": "ada", "groups": "blit,color:2"}, "should be above 0 and at most 1"),
        ({"name": "ada", "groups": "color:"}, "should be above 0 and at most 1"),
        ({"name": "ada", "target": "1.5"}, "--discriminator.augment.target '1.5': should be less"),
        ({"name": "none", "policy": "color"}, "--discriminator.augment.policy: no such setting"),
    ],
)
def test_what_is_said_of_a_mistake(changes: dict[str, str], said: str) -> None:
    named = {f"discriminator.augment.{key}": value for key, value in changes.items()}
    with pytest.raises(UserError) as caught:
        distgan.override(distgan.recipe("mnist-mlp-tutorial"), named)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_groups_are_chosen_by_name() -> None:
    changes = {"discriminator.augment.name": "ada", "discriminator.augment.groups": "color,blit"}
    chosen = distgan.override(distgan.recipe("mnist-mlp-tutorial"), changes).discriminator.augment
    assert chosen == ADASettings(groups=("color", "blit"))
    assert chosen.numbers == 17
    changes["discriminator.augment.groups"] = "color:0.5,cutout"
    chosen = distgan.override(distgan.recipe("mnist-mlp-tutorial"), changes).discriminator.augment
    assert chosen == ADASettings(groups=("color:0.5", "cutout"))
