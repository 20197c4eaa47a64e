"""The generator's update on the reals of the next batch: fed, judged, and exact."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import softplus

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.damage import Damage
from distgan.data.feed import Feed, Rows
from distgan.data.fragments import read_in_order, read_resident
from distgan.data.images import open_images
from distgan.data.rows import open_rows
from distgan.errors import UserError
from distgan.families import Batch, DataSpec
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from . import ranks
from .steps import feed_of
from .test_exactness import distance
from .test_order import BATCH, COUNT, FILES, WAYS, configure, write_numbered

FRESH = {
    "generator.fresh_reals": True,
    "loss": "relativistic",
    "conditional": True,
    "feed.mirror": True,
    "precision": "float64",
    "discriminator.augment.name": "ada",
    "discriminator.augment.groups": "blit,color:0.5",
    "discriminator.augment.probability": 0.6,
}


def feed(config: RunConfig, world: World) -> Feed:
    images = open_images(config.data)
    if config.feed.way == "auto":
        config = override(config, {"feed.way": "resident"})
    rows = open_rows(
        config,
        images,
        world,
        resident=partial(read_resident, images),
        reader=lambda fragments: read_in_order(images, fragments, False),
        damage=Damage(images, 0),
    )
    return feed_of(rows, config, images.shape, world)


@pytest.fixture(autouse=True)
def _few_numbers_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    # Thousands of batches of so few images would be drawn at once.
    monkeypatch.setattr("distgan.data.feed._NUMBERS_AT_ONCE", 2**12)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_the_next_batchs_reals_are_those_that_it_will_have(
    tmp_path: Path, way: str, accumulate: int
) -> None:
    config = configure(way, write_numbered(tmp_path / "set", FILES))
    config = override(config, {**FRESH, "accumulate": accumulate, "latent": 2})
    size, epochs = config.micro_batch, 2 * COUNT // BATCH

    def all_of(world: World, first: int, last: int) -> dict[int, Batch]:
        one = feed(config, world)
        found = {seen: one.batch(seen) for seen in range(first, last, size)}
        one.close()
        return found

    whole = all_of(World(), 0, epochs * BATCH)
    for seen, batch in whole.items():
        if seen + BATCH in whole:
            later = whole[seen + BATCH].columns
            for name in ("image", "label"):
                assert torch.equal(batch.columns[f"next-{name}"], later[name])
    # On other processes, and gone on with from the middle.
    parts = [all_of(World(rank, 3), 5 * BATCH, epochs * BATCH) for rank in range(3)]
    for seen, first in parts[0].items():
        for name in first.columns:
            together = torch.cat([part[seen].columns[name] for part in parts])
            assert torch.equal(together, whole[seen].columns[name]), name


def test_every_sample_is_read_once() -> None:
    asked = []

    class Source:
        def batch(self, images_seen: int) -> Rows:
            asked.append(images_seen)
            return Rows(torch.zeros(3, 4, 4, 1).byte(), torch.zeros(3, dtype=torch.int64))

        def close(self) -> None:
            pass

    from distgan.networks import ImageShape

    config = override(recipe("mnist-mlp-tutorial"), {**FRESH, "batch": 6, "accumulate": 2})
    one = feed_of(Source(), config, ImageShape(1, 4, 4), World())
    for seen in range(0, 30, 3):
        one.batch(seen)
    assert asked == list(range(0, 36, 3))


def small(**changes: Any) -> RunConfig:
    roles = ("generator", "discriminator")
    narrow = {f"{role}.network.widths": "6,5" for role in roles}
    # The last bias of D has no gradient but rounding, which Adam would make a step of.
    narrow |= {f"{role}.optimizer.eps": 1e-3 for role in roles}
    named = {"data": "mnist", "batch": 14, "latent": 4, **narrow, **FRESH, **changes}
    return override(recipe("mnist-mlp-tutorial"), named)


def steps(config: RunConfig, world: World, stop: int, saved: Any = None) -> TrainingState:
    images = open_images(config.data)
    state = TrainingState(config, DataSpec.numbered(images.shape, 10), world)
    if saved is not None:
        state.load_state_dict(saved, "here")
    one = feed(config, world)
    while state.images_seen < stop:
        starts = range(0, config.batch, config.micro_batch)
        state.step([one.batch(state.images_seen + start) for start in starts])
    return state


def test_the_generators_loss_is_that_of_the_next_batch() -> None:
    config = small()
    state = steps(config, World(), 28)
    batch = feed(config, World()).batch(28)
    generator_phase = state.family.phases(28)[1]
    g, d = (state.networks[role].network for role in ("generator", "discriminator"))
    augment, one = config.discriminator.augment, torch.tensor(0.6).double()  # type: ignore[attr-defined]
    labels, numbers = batch.columns["next-label"], batch.draws
    assert not torch.equal(labels, batch.columns["label"])
    with torch.no_grad():
        fake = augment.apply(g(numbers["generator"], labels), numbers["augment-generator"], one)
        real = augment.apply(batch.columns["next-image"], numbers["augment-next"], one)
        expected = softplus(d(real, labels) - d(fake, labels)).mean()
    state.family.before_step(28)
    found = state.training_step().run([generator_phase], [batch])["g_loss"]
    torch.testing.assert_close(found, expected)


def test_a_run_goes_on_to_the_bit() -> None:
    config = small(accumulate=2)
    saved = steps(config, World(), 28).state_dict()
    whole, resumed = (steps(config, World(), 70, start) for start in (None, saved))
    for role, trained in whole.networks.items():
        other = resumed.networks[role].network.state_dict()
        for name, tensor in trained.network.state_dict().items():
            assert torch.equal(tensor, other[name])


def on_a_rank(world: World, configs: list[RunConfig]) -> list[ranks.Weights]:
    return [
        {role: dict(net.network.state_dict()) for role, net in steps(c, world, 42).networks.items()}
        for c in configs
    ]


@pytest.mark.slow
def test_processes_and_micro_batches_change_nothing(tmp_path: Path) -> None:
    penalty = {
        "discriminator.penalty.r1": 0.5,
        "discriminator.penalty.r2": 0.5,
        "discriminator.penalty.at": "raw",
    }
    configs = [
        small(loss=loss, accumulate=parts, **penalty)
        for loss in ("relativistic", "relativistic-average")
        for parts in (1, 2)
    ]
    alone = on_a_rank(World(), configs[::2])
    for size in (2, 3):
        for found in ranks.on_ranks(size, on_a_rank, tmp_path, configs):
            for number, each in enumerate(found):
                assert distance(each, alone[number // 2]) < 1e-9
    old = [override(c, {"generator.fresh_reals": False}) for c in configs[:1]]
    assert distance(on_a_rank(World(), old)[0], alone[0]) > 1e-6


def test_fakes_cannot_be_shared() -> None:
    with pytest.raises(UserError, match=r"--share_fakes true.*leave one of them out"):
        small(share_fakes=True)
