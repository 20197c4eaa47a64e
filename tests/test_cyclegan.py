"""CycleGAN against the published algorithm in plain PyTorch; its settings, errors and health."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distgan import UserError, draws
from distgan.config.optimizer import AdamSettings
from distgan.config.schedule import Schedule
from distgan.config.settings import from_dict, override, to_dict
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec, build
from distgan.families.check import weights as family_weights
from distgan.families.cyclegan_config import CycleGANConfig
from distgan.families.translation_config import PatchDiscriminatorConfig, TranslatorConfig
from distgan.health.diagnosis import suspect
from distgan.health.translation import NOISE, cycle_signs, hides_input
from distgan.networks.patchgan import PatchGANSettings
from distgan.networks.random import SampleDropout, number_layers, sample_numbers
from distgan.networks.resnet_generator import ResNetGeneratorSettings
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

SHAPE, BATCH, SEED = ImageShape(3, 12, 12), 4, 5
SETS = DataSpec(SHAPE, other=SHAPE)


EPS = 1e-5
"""Of Adam. The gradients of biases in front of an instance norm are nothing but rounding, which
the usual 1e-8 would enlarge to 1e-10 in a weight."""


def config_of(**changes: Any) -> CycleGANConfig:
    adam = AdamSettings(lr=Schedule(2e-3), beta1=Schedule(0.5), beta2=Schedule(0.999), eps=EPS)
    config = CycleGANConfig(
        recipe="test",
        data="a",
        data_b="b",
        seed=SEED,
        precision="float64",
        batch=BATCH,
        images=100,
        pool=3,
        generator=TranslatorConfig(
            network=ResNetGeneratorSettings(width=2, blocks=1, dropout=0.5), optimizer=adam
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(width=4, layers=1, norm="instance"), optimizer=adam
        ),
    )
    found = override(config, changes)
    assert isinstance(found, CycleGANConfig)
    return found


def images(name: str, number: int, shape: ImageShape = SHAPE) -> Tensor:
    """The step's images of a column: float64 (BATCH, c, h, w)."""
    samples = range(number * BATCH, (number + 1) * BATCH)
    found = draws.normals(1, name, [samples], math.prod(shape))
    return torch.from_numpy(found).double().tanh().view(-1, *shape)


def batch_of(state: TrainingState, config: CycleGANConfig, number: int) -> Batch:
    samples = range(number * BATCH, (number + 1) * BATCH)
    columns = {
        name: images(name, number, state.family.data.shape_of(column))
        for name, column in state.family.columns().items()
    }
    numbers = {
        name: torch.from_numpy(draws.uniforms(1, name, [samples], draw.size)).double()
        for name, draw in state.family.draws().items()
    }
    return Batch(columns, numbers, 1.0, torch.tensor(samples))


def train(config: CycleGANConfig, steps: int, data: DataSpec = SETS) -> TrainingState:
    state = TrainingState(config, data, World())
    for number in range(steps):
        state.step([batch_of(state, config, number)])
    return state


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            SampleDropout(0.5),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def plain_generator(width: int = 2) -> nn.Module:
    """The published one with one block: Zhu et al. 2017, section 7.2."""
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, width, 7),
        nn.InstanceNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1),
        nn.InstanceNorm2d(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
        nn.InstanceNorm2d(4 * width),
        nn.ReLU(),
        Residual(4 * width),
        nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, 1),
        nn.InstanceNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1),
        nn.InstanceNorm2d(width),
        nn.ReLU(),
        nn.ReflectionPad2d(3),
        nn.Conv2d(width, 3, 7),
        nn.Tanh(),
    ).double()


def plain_discriminator(width: int = 4) -> nn.Module:
    """Patches of 16x16."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 1, 1),
        nn.InstanceNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 4, 1, 1),
    ).double()


class PlainPool:
    """The published rule for one image after another."""

    def __init__(self, stream: str) -> None:
        self.images: list[Tensor] = []
        self.swaps, self.stream = 0, stream

    def query(self, fakes: Tensor, number: int) -> Tensor:
        samples = range(number * BATCH, (number + 1) * BATCH)
        numbers = draws.uniforms(SEED, self.stream, [samples], 2).astype("float64")
        found = []
        for fake, (chance, place) in zip(fakes, numbers, strict=True):
            if len(self.images) < 3:
                self.images.append(fake)
                found.append(fake)
            elif chance > 0.5:
                found.append(fake)
            else:
                index = math.floor(3 * (1 - place))
                found.append(self.images[index])
                self.images[index] = fake
                self.swaps += 1
        return torch.stack(found)


def plain_training(starts: Mapping[str, nn.Module], steps: int) -> tuple[dict[str, nn.Module], int]:
    """Weights after some updates, and how often the pools swapped."""
    g_ab, g_ba, d_a, d_b = nets = (
        plain_generator(),
        plain_generator(),
        plain_discriminator(),
        plain_discriminator(),
    )
    for net, start in zip(nets, starts.values(), strict=True):
        for mine, theirs in zip(net.parameters(), start.parameters(), strict=True):
            mine.data.copy_(theirs.data)
    number_layers(g_ba, number_layers(g_ab))
    of_g = torch.optim.Adam([*g_ab.parameters(), *g_ba.parameters()], 2e-3, (0.5, 0.999), EPS)
    of_d = torch.optim.Adam([*d_a.parameters(), *d_b.parameters()], 2e-3, (0.5, 0.999), EPS)
    pool_a, pool_b = PlainPool("pool_a"), PlainPool("pool_b")
    mse, l1 = nn.MSELoss(), nn.L1Loss()
    for number in range(steps):
        a, b = images("image", number), images("other", number)
        samples = torch.arange(number * BATCH, (number + 1) * BATCH)

        def run(net: nn.Module, x: Tensor, use: str, samples: Tensor = samples) -> Tensor:
            with sample_numbers(SEED, f"generators{use}", samples):
                return net(x)

        fake_b, fake_a = run(g_ab, a, ""), run(g_ba, b, "")
        again_a, again_b = run(g_ba, fake_b, "/cycle"), run(g_ab, fake_a, "/cycle")
        same_a, same_b = run(g_ba, a, "/identity"), run(g_ab, b, "/identity")
        ones = torch.ones_like(d_a(a))
        loss = mse(d_b(fake_b), ones) + mse(d_a(fake_a), ones)
        loss = loss + 10 * l1(again_a, a) + 10 * l1(again_b, b)
        loss = loss + 10 * 0.5 * l1(same_a, a) + 10 * 0.5 * l1(same_b, b)
        of_g.zero_grad()
        loss.backward()
        of_g.step()
        of_d.zero_grad()
        for net, real, fake, pool in ((d_a, a, fake_a, pool_a), (d_b, b, fake_b, pool_b)):
            shown = pool.query(fake.detach(), number)
            (0.5 * (mse(net(real), ones) + mse(net(shown), 0 * ones))).backward()
        of_d.step()
    return dict(zip(starts, nets, strict=True)), pool_a.swaps + pool_b.swaps


def test_three_updates_are_those_of_the_published_algorithm() -> None:
    """With pools that swap, identity terms and dropout."""
    config = config_of()
    starts = {role: net.network for role, net in train(config, 0).networks.items()}
    expected, swaps = plain_training(starts, 3)
    assert swaps >= 4
    found = train(config, 3)
    for role, net in found.networks.items():
        wanted = list(expected[role].parameters())
        for one, other in zip(net.parameters, wanted, strict=True):
            assert (one - other).norm() <= 1e-10 * max(other.norm().item(), 1e-2), role
        moved = starts[role].parameters()
        assert all((a - b).norm() > 1e-3 for a, b in zip(moved, wanted, strict=True) if b.dim() > 1)


def test_without_a_pool_the_discriminators_see_the_fakes_of_the_step() -> None:
    state = train(config_of(pool=0), 1)
    assert not [name for name in state.family.extra_state() if name.startswith("pool")]
    # As with one that is not full yet.
    other = train(config_of(pool=BATCH), 1)
    for role, net in state.networks.items():
        for one, same in zip(net.parameters, other.networks[role].parameters, strict=True):
            assert torch.equal(one, same)
    assert set(other.state_dict()["extra"]) >= {"pool_a", "pool_b"}
    with pytest.raises(UserError, match=r"--pool"):
        config_of(pool=-1)


def losses_of(config: CycleGANConfig, data: DataSpec = SETS) -> dict[str, float]:
    return train(config, 1, data).statistics.means(World())


def test_terms_count_as_they_are_weighted() -> None:
    first = losses_of(config_of())
    heavy = losses_of(config_of(cycle=20, identity=2))
    for side in "ab":
        assert heavy[f"g_cycle_{side}"] == pytest.approx(2 * first[f"g_cycle_{side}"])
        assert heavy[f"g_identity_{side}"] == pytest.approx(8 * first[f"g_identity_{side}"])
        assert heavy[f"d_real_{side}"] == first[f"d_real_{side}"]
    bare = losses_of(config_of(cycle=0, identity=0))
    assert not [name for name in bare if "cycle" in name or "identity" in name]
    assert bare["g_loss_ab"] == first["g_loss_ab"]
    family = build(config_of(), SETS)
    assert family.derived(first)["g_loss"] == first["g_loss_ab"] + first["g_loss_ba"]


def test_batches_that_a_batch_norm_sees_are_those_of_the_paper() -> None:
    """One for each image that a generator is given: inputs are normalised among themselves."""
    norm = {"generator.network.norm": "batch"}
    first = losses_of(config_of(**norm))
    assert losses_of(config_of(**norm, identity=0))["g_loss_ab"] == first["g_loss_ab"]
    state = train(config_of(**norm), 0)
    generator, judge = (
        state.networks[role].network for role in ("generator_ab", "discriminator_b")
    )
    with torch.no_grad(), sample_numbers(SEED, "generators", torch.arange(BATCH)):
        wanted = (judge(generator(images("image", 0))) - 1).square().mean().item()
    assert first["g_loss_ab"] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("loss", ["non-saturating", "hinge", "relativistic"])
def test_other_losses_and_aids_reach_both_discriminators(loss: str) -> None:
    """R1 and augmentations draw for each discriminator apart."""
    aids = {"discriminator.augment.name": "ada", "discriminator.augment.probability": 1}
    config = config_of(loss=loss, **{"discriminator.penalty.r1": 1}, **aids)
    plain, aided = losses_of(config_of(loss=loss)), losses_of(config)
    numbers = build(config, SETS).draws()
    for side in "ab":
        assert aided[f"d_penalty_{side}"] > 0
        assert aided[f"d_real_{side}"] != plain[f"d_real_{side}"]
        uses = {f"augment-{use}_{side}" for use in ("real", "fake", "generator")}
        assert uses <= set(numbers)
    assert aided["g_loss_ab"] != plain["g_loss_ab"]


def test_sides_may_differ_in_shape_without_identity_terms() -> None:
    data = DataSpec(SHAPE, other=SHAPE._replace(channels=1))
    with pytest.raises(UserError, match=r"^--identity 0\.5: .* 12x12x3 and 12x12x1; .*0"):
        build(config_of(), data).check_data()
    with pytest.raises(UserError, match=r"^--data_b: names no set"):
        build(config_of(), DataSpec(SHAPE)).check_data()
    config = config_of(identity=0)
    state = train(config, 2, data)
    state.family.check_data()
    with state.generating() as networks:
        a, b = images("image", 0), images("other", 0, data.other or SHAPE)
        assert state.family.translate(networks, a).shape == b.shape
        assert state.family.translate(networks, b, reverse=True).shape == a.shape


def test_the_direction_says_what_is_shown_and_changes_no_training() -> None:
    there, back = (train(config_of(direction=way), 2) for way in ("AtoB", "BtoA"))
    for role, net in there.networks.items():
        for one, same in zip(net.parameters, back.networks[role].parameters, strict=True):
            assert torch.equal(one, same)
    a = images("image", 0)
    with there.generating() as networks:
        of_ab, of_ba = networks["generator_ab"](a), networks["generator_ba"](a)
        for state, forward, reverse in ((there, of_ab, of_ba), (back, of_ba, of_ab)):
            assert torch.equal(state.family.translate(networks, a), forward)
            assert torch.equal(state.family.translate(networks, a, reverse=True), reverse)
    interfaces = back.family.interfaces()
    generating = [role for role, each in interfaces.items() if each.generates]
    assert generating == ["generator_ba", "generator_ab"]
    assert set(interfaces) == set(there.networks)


def test_settings_that_contradict_each_other_are_named() -> None:
    config = config_of()
    assert from_dict(CycleGANConfig, to_dict(config), "test") == config
    for changes, message in (
        ({"cycle": 0}, r"^--identity 0\.5: is a multiple of --cycle"),
        ({"task": "edges"}, r"^--data_b b: goes with --task sets"),
        ({"identity": -1}, r"--identity"),
    ):
        with pytest.raises(UserError, match=message):
            config_of(**changes)


def test_a_way_back_that_reads_what_nobody_sees_is_named() -> None:
    """An output that holds its input in a hundredth of the range, and one that is its negative."""
    x = images("image", 0)
    hiding = cycle_signs(0.5 + x / 100, x, lambda made: 100 * (made - 0.5))
    honest = cycle_signs(-x, x, lambda made: -made)
    # The mean of |e| of normal e is sqrt(2 / pi) of its deviation.
    size = NOISE * math.sqrt(2 / math.pi)
    assert honest["noisy_cycle"].item() == pytest.approx(size, rel=0.1)
    assert hiding["noisy_cycle"].item() == pytest.approx(100 * size, rel=0.1)
    for signs, states in ((hiding, ["input hidden"]), (honest, [])):
        assert signs["cycle_error"] < 1e-12
        now = {name: value.item() for name, value in signs.items()}
        assert [verdict.state for verdict in hides_input([now] * 5, now)] == states
        assert not list(hides_input([now] * 4, now))


def test_every_game_is_watched_by_the_rules_of_one() -> None:
    state = train(config_of(), 1)
    rules, names = state.family.health_rules(), [*state.family.signs.values()]
    with state.generating() as networks, torch.no_grad():
        batch = batch_of(state, config_of(), 0)
        made = state.family.generate(networks, batch)
        of_images = state.family.image_signs(networks, made, batch)
    assert {"cycle_error", "noisy_cycle"} <= set(of_images)
    well = {
        **state.statistics.means(World()),
        **state.family.health_signs(0),
        **{f"{name}_{sign}": 1e-3 for name in names for sign in ("grad_norm", "update_ratio")},
        **{f"{name}_weight_growth": 1.0 for name in names},
        **{"diversity": 1.0, "class_entropy": 0.0, "images": 4.0},
        **dict.fromkeys(of_images, 0.5),
        **{f"d_{name}_{side}": 0.5 for side in "ab" for name in ("accuracy", "real", "fake")},
    }
    assert suspect([well] * 9, well, rules).state == "healthy"
    for changes, state_of_health, evidence in (
        ({"d_accuracy_b": 0.1, "d_fake_b": 0.9}, "generator wins", "10% of pairs"),
        ({"d_accuracy_a": 0.1, "d_fake_a": 0.9}, "generator wins", "10% of pairs"),
        ({"d_accuracy_a": 1.0, "g_ba_grad_norm": 1e-9}, "discriminator wins", "1e-09"),
        ({"g_ab_update_ratio": 1e-12}, "stalled", "generator"),
        ({"d_b_update_ratio": 1.0}, "exploding", "an update of the discriminator"),
        ({"cycle_error": 0.01, "noisy_cycle": 0.4}, "input hidden", "0.4"),
    ):
        verdict = suspect([well] * 9, {**well, **changes}, rules)
        assert verdict.state == state_of_health, changes
        assert evidence in verdict.evidence


def test_recipes_are_those_of_the_paper() -> None:
    config = recipe("cyclegan-256")
    assert isinstance(config, CycleGANConfig)
    assert (config.batch, config.loss, config.pool) == (1, "least-squares", 50)
    assert (config.cycle, config.identity) == (Schedule(10), Schedule(0.5))
    assert (config.feed.load_size, config.feed.mirror) == (286, True)
    side = ImageShape(3, 256, 256)
    counts = family_weights(config, DataSpec(side, other=side))
    assert counts == {
        **dict.fromkeys(("generator_ab", "generator_ba"), 11_378_179),
        **dict.fromkeys(("discriminator_a", "discriminator_b"), 2_764_737),
    }
    for trained in (config.generator, config.discriminator):
        rate = trained.optimizer.lr
        assert [rate.at(share * config.images) for share in (0, 0.5, 0.75, 1)] == pytest.approx(
            [2e-4, 2e-4, 1e-4, 0]
        )
