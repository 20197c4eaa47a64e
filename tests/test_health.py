"""The monitor on real runs: named, stopped, rolled back on three ranks, and never out of step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.damage import Damage
from distgan.data.feed import Feed, scale_pixels
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.errors import UserError
from distgan.families import Batch, DataSpec
from distgan.features import small_classifier_for
from distgan.health import recovery
from distgan.health.signs import distances, network_signs, weight_norm
from distgan.launch import start as launch
from distgan.launch.prepare import prepare
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.runs import checkpoint, export, records
from distgan.runs import folder as run
from distgan.runs.export import load_generator
from distgan.storage.storage import Storage
from distgan.training.control import NoControl, Status
from distgan.training.health_monitor import class_counts
from distgan.training.loop import train_loop
from distgan.training.state import TrainingState

from . import ranks
from .steps import batch_of

SMALL = {
    "generator.network.widths": "32,32",
    "discriminator.network.widths": "32,16",
    "batch": 64,
    "images": 12_800,
    "output.log_every": 1_280,
    "output.checkpoint_every": 2_560,
    "output.sample_every": 1_000_000,
}


def settings(**changes: Any) -> RunConfig:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return override(recipe("mnist-mlp-tutorial"), SMALL | named)


class Listener(NoControl):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, kind: str = "") -> None:
        self.notes.append(text)


def run_here(world: World, config: RunConfig, folder: Path) -> list[str]:
    torch.set_num_threads(1)
    storage, images = Storage(folder), open_images(config.data)
    if world.leads:
        (run.update if storage.exists(run.CONFIG) else run.create)(storage, config)
    rows = Resident(
        read_resident(images), config.seed, config.batch, world, Damage(images, 0, storage)
    )
    listener = Listener()
    train_loop(config, storage, images, rows, world, listener)
    return listener.notes


def spoil(world: World, config: RunConfig, folder: Path, at: int, times: int) -> list[str]:
    """A run in which an image of the last rank is not a number, some times, at that place."""
    whole, left = Feed.batch, times

    def batch(self: Feed, images_seen: int) -> Batch:
        nonlocal left
        found = whole(self, images_seen)
        if images_seen == at and left and world.rank == world.size - 1:
            left -= 1
            found.columns["image"][0, 0, 0, 0] = torch.nan
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "batch", batch)
        return run_here(world, config, folder)


def test_a_checkpoint_of_weights_that_are_no_numbers_is_not_healthy(tmp_path: Path) -> None:
    # Saved after the weights were spoilt and before a record could name it.
    often = {"output__checkpoint_every": 1_280, "output__log_every": 2_560}
    config = settings(health__action="rollback", output__keep_checkpoints=9, **often)
    told = spoil(World(), config, tmp_path / "run", 6_016, 1)
    storage = Storage(tmp_path / "run")
    (entry,) = recovery.interventions(storage)
    assert (entry["back_to"], entry["images"]) == (5_120, 7_680)
    assert any("back to 5,120 images" in note for note in told)
    last = checkpoint.load_newest(storage)
    assert last is not None
    assert last["images_seen"] == 12_800
    assert last["networks"]["generator"]["layers.0.weight"].isfinite().all()


class _Stopping(NoControl):
    """Asks for a stop once a run has seen so many images."""

    def __init__(self, at: int) -> None:
        self._at, self._seen = at, 0

    def report(self, status: Status) -> None:
        self._seen = status.images_seen

    def stop_signal(self) -> str:
        return "SIGINT" if self._seen >= self._at else ""


def test_a_stop_with_the_last_step_leaves_a_complete_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distgan.training.control._SECONDS_BETWEEN_TICKS", 0.0)
    config = settings(images=1_280)
    storage, images = Storage(tmp_path / "run"), open_images("mnist")
    run.create(storage, config)
    damage = Damage(images, 0)
    rows = Resident(read_resident(images), config.seed, config.batch, World(), damage)
    outcome = train_loop(config, storage, images, rows, World(), _Stopping(1_280))
    assert (outcome.images_seen, outcome.stopped) == (1_280, "")
    assert load_generator(storage.uri).images_seen == 1_280
    assert export.exported(storage) == 1_280


def test_a_set_of_one_image_again_and_again_is_watched_too(tmp_path: Path) -> None:
    np.save(tmp_path / "same.npy", np.full((128, 8, 8), 200, np.uint8))
    data, path = str(tmp_path / "set"), str(tmp_path / "run")
    prepare(str(tmp_path / "same.npy"), data, workers=0)
    launch.train(settings(data=data, images=256, output__log_every=128), out=path, workers=0)
    assert [record["diversity"] for record in records.read(Storage(path))] == [1, 1]


def test_what_was_cut_off_before_its_export_is_exported_and_the_newest_is_taken(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "run")
    launch.train(settings(images=1_280), out=path, workers=0)
    storage = Storage(path)
    with pytest.raises(UserError, match="is complete at 1,280 images"):
        launch.resume(path, workers=0)
    storage.delete(export.CARD)
    assert launch.resume(path, workers=0).images_seen == 1_280
    assert export.exported(storage) == 1_280
    # Gone on, and stopped before its end: what was exported is no longer the newest.
    card = storage.read_text(export.CARD)
    launch.resume(path, {"images": 2_560}, workers=0)
    storage.write(export.CARD, card)
    assert load_generator(path).images_seen == 2_560


@pytest.mark.slow
def test_a_rolled_back_run_recovers_on_three_ranks(tmp_path: Path) -> None:
    config = settings(health__action="rollback")
    out = tmp_path / "run"
    # With two, a sum has one order only.
    told, *_ = ranks.on_ranks(3, spoil, tmp_path, config, out, 6_400, 1)
    storage = Storage(out)
    (entry,) = recovery.interventions(storage)
    # The checkpoint before the spoilt step; the record after it names what happened.
    assert (entry["back_to"], entry["images"], entry["state"]) == (5_120, 7_680, "non-finite")
    assert any(note.startswith("health: non-finite at 7,680 images") for note in told)
    assert any("back to 5,120 images" in note for note in told)
    changed = run.load_config(storage, "RUN")
    for player in (changed.generator, changed.discriminator):
        assert player.optimizer.lr.at(0) == pytest.approx(1e-4)
    found = records.read(storage)
    assert [record["images"] for record in found] == list(range(1_280, 12_801, 1_280))
    assert {record["health"] for record in found} == {"healthy"}
    (acted,) = [record for record in found if "action" in record]
    assert acted["images"] == 6_400
    assert acted["action"].startswith("back from 7,680 images (non-finite), with --generator")
    last = checkpoint.load_newest(storage)
    assert last is not None
    assert last["images_seen"] == 12_800
    assert all(torch.isfinite(t).all() for t in last["networks"]["generator"].values())
    assert last["optimizers"]["generator"]["param_groups"][0]["lr"] == pytest.approx(1e-4)
    # It is the run that was changed there without ever having been ill.
    straight = tmp_path / "straight"
    straight.mkdir()
    ranks.on_ranks(3, changed_at, straight, config, straight / "run", 5_120)
    expected = checkpoint.load_newest(Storage(straight / "run"))
    assert expected is not None
    for name, tensor in expected["networks"]["generator"].items():
        assert torch.equal(tensor, last["networks"]["generator"][name]), name


def changed_at(world: World, config: RunConfig, folder: Path, images: int) -> None:
    run_here(world, override(config, {"images": images}), folder)
    run_here(world, recovery.changed(config)[0], folder)


def test_rollbacks_end(tmp_path: Path) -> None:
    config = settings(health__action="rollback", health__rollbacks=2)
    with pytest.raises(UserError, match=r"non-finite .* also after 2 rollbacks .*rollbacks"):
        spoil(World(), config, tmp_path / "run", 6_400, 9)
    assert len(recovery.interventions(Storage(tmp_path / "run"))) == 2


def test_without_a_healthy_checkpoint_it_begins_anew(tmp_path: Path) -> None:
    config = settings(health__action="rollback", health__change="double-r1")
    spoil(World(), config, tmp_path / "run", 640, 1)
    storage = Storage(tmp_path / "run")
    assert recovery.interventions(storage)[0]["back_to"] == 0
    assert run.load_config(storage, "RUN").discriminator.penalty.r1.at(0) == 0.1
    assert len(records.read(storage)) == 10


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_what_is_not_finite_always_ends_a_run_that_may_not_roll_back(
    tmp_path: Path, action: str
) -> None:
    config = settings(health__action=action)
    with pytest.raises(UserError, match=r"training diverged: .* after 7,680 images; .*rollback"):
        spoil(World(), config, tmp_path / "run", 6_400, 1)
    # The last line of the records holds it, as JSON can: null.
    assert records.read(Storage(tmp_path / "run"))[-1]["health"] == "non-finite"
    assert [e["images_seen"] for e in checkpoint.index(Storage(tmp_path / "run"))] == [2560, 5120]


def test_stop_keeps_a_checkpoint_that_is_marked_ill(tmp_path: Path) -> None:
    config = settings(health__action="stop", generator__optimizer__lr=1e-12)
    with pytest.raises(UserError, match=r"stopped after 3,840 images.*stalled.*--resume"):
        run_here(World(), config, tmp_path / "run")
    entries = checkpoint.index(Storage(tmp_path / "run"))
    assert [(e["images_seen"], e["healthy"]) for e in entries] == [(2560, False), (3840, False)]


@pytest.fixture
def state() -> Callable[..., TrainingState]:
    def build(**changes: Any) -> TrainingState:
        return TrainingState(
            settings(precision="float64", **changes),
            DataSpec.numbered(ImageShape(channels=1, height=28, width=28), 10),
            World(),
        )

    return build


def a_batch(seed: int, size: int = 16) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(2, size, 100, generator=draw, dtype=torch.float64)
    real = torch.rand(size, 1, 28, 28, generator=draw, dtype=torch.float64) * 2 - 1
    return batch_of(real, None, z[0], z[1])


def test_signs_of_a_player_are_those_of_its_weights_before_and_after(
    state: Callable[..., TrainingState],
) -> None:
    trained = state(**{"generator.optimizer.beta1": 0.5})
    generator = trained.networks["generator"]
    assert network_signs(generator.network, generator.optimizer) is None
    for seed in range(3):
        before = [p.detach().clone() for p in generator.network.parameters()]
        trained.step([a_batch(seed)])
    signs = network_signs(generator.network, generator.optimizer)
    assert signs is not None
    named = dict(generator.network.named_parameters())
    moved = {n: (p - b).norm() for (n, p), b in zip(named.items(), before, strict=True)}
    matrices = [name for name, p in named.items() if p.ndim > 1]
    assert list(signs.layers) == matrices
    for name in matrices:
        layer, weight = signs.layers[name], named[name]
        assert layer.update_ratio == pytest.approx((moved[name] / weight.norm()).item(), rel=1e-6)
        assert weight.grad is not None
        assert layer.grad_norm == pytest.approx(weight.grad.norm().item(), rel=1e-12)
    together = torch.cat([named[name].flatten() for name in matrices]).norm().item()
    step = torch.stack([moved[name] for name in matrices]).norm().item()
    assert signs.update_ratio == pytest.approx(step / together, rel=1e-6)
    assert weight_norm(generator.network) == pytest.approx(together, rel=1e-12)
    gradients = torch.cat([p.grad.flatten() for p in named.values() if p.grad is not None])
    assert signs.grad_norm == pytest.approx(gradients.norm().item(), rel=1e-12)


def test_diversity_is_the_mean_distance_and_leaves_the_generator_alone(
    state: Callable[..., TrainingState],
) -> None:
    trained = state()
    trained.step([a_batch(0)])
    network, batch = trained.networks["generator"].network, a_batch(1)
    z = batch.draws["generator"]
    before = {name: t.clone() for name, t in network.state_dict().items()}
    with torch.no_grad(), trained.generating("last") as networks:
        total, pairs = distances(trained.family.generate(networks, batch)).tolist()
    assert network.training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    with torch.no_grad():
        images = network.eval()(z, None).flatten(1)
    apart = [(images[i] - images[j]).norm().item() for i in range(16) for j in range(i)]
    assert (total / pairs, pairs) == (pytest.approx(sum(apart) / len(apart)), len(apart))


def test_real_digits_are_counted_as_the_classes_they_are() -> None:
    pixels = read_resident(open_images("mnist"))
    classifier = small_classifier_for(open_images("mnist"))
    assert classifier is not None
    assert pixels.labels is not None
    images = scale_pixels(torch.from_numpy(pixels.images[:200]), torch.float32)
    expected = torch.bincount(torch.from_numpy(pixels.labels[:200]), minlength=10)
    found = class_counts(images, classifier)
    assert found.sum() == 200
    assert (found - expected).abs().sum() <= 4
