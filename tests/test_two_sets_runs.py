"""Runs of two sets from the command line to the checkpoint, and what is refused before that."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distgan import launch
from distgan.cli import main
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.damage import Damage
from distgan.data.images import open_images
from distgan.data.prepare import PrepareSettings
from distgan.data.two_sets import prepare_sides
from distgan.errors import UserError
from distgan.launch.dry_run import dry_run
from distgan.plan.planner import known_data
from distgan.recipes import recipe
from distgan.runs import checkpoint
from distgan.runs import folder as run
from distgan.runs.export import CARD, load_generator
from distgan.storage.storage import Storage

from .numbered import write_numbered
from .test_two_sets import write_pixels
from .two_sets import two_sets

__all__ = ["two_sets"]
pytestmark = pytest.mark.usefixtures("two_sets")

BATCH = 8


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """Two sets of different sizes and shapes."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 3), np.uint8)
    return write_numbered(tmp_path / "A", [[30, 7]]), write_pixels(tmp_path / "B.parquet", pixels)


def configure(places: tuple[str, str], **changes: Any) -> RunConfig:
    sets = {"data": places[0], "data_b": places[1]}
    sizes = {"batch": BATCH, "images": 10 * BATCH, "feed.way": "resident"}
    return override(recipe("two-sets"), {**sets, **sizes, **changes})


def train(config: RunConfig, out: Path) -> dict[str, Any]:
    """The newest checkpoint of a run in this process."""
    launch.train(config, out=str(out), workers=0, device="cpu")
    return newest(out)


def newest(out: Path) -> dict[str, Any]:
    found = checkpoint.load_newest(Storage(str(out)))
    assert found is not None
    return found


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    weights, others = found["networks"]["map"], expected["networks"]["map"]
    return all(torch.equal(weights[name], others[name]) for name in others)


@pytest.mark.parametrize("way", ["resident", "streaming", "halves"])
def test_a_stopped_run_goes_on_to_the_bit(
    places: tuple[str, str], tmp_path: Path, way: str
) -> None:
    changes: dict[str, Any] = {"feed.way": "streaming", "feed.window": 20}
    if way != "streaming":
        changes = {"data_b": "", "in_halves": True} if way == "halves" else {}
    config = configure(places, **changes)
    whole = train(config, tmp_path / "whole")
    # In the middle of an epoch of either set.
    part = train(replace(config, images=4 * BATCH), tmp_path / "part")
    assert not same(part, whole)
    launch.resume(str(tmp_path / "part"), {"images": 10 * BATCH}, workers=0, device="cpu")
    assert same(newest(tmp_path / "part"), whole)


def test_what_is_kept_of_both_sets(places: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    saved = train(configure(places), out)
    assert (saved["set_count"], saved["set_shape"]) == (37, [1, 2, 2])
    assert (saved["other_count"], saved["other_shape"]) == (50, [3, 4, 6])
    card = json.loads((out / CARD).read_text())
    assert card["other"] == {"channels": 3, "height": 4, "width": 6}
    assert "pair" not in card
    assert json.loads((out / "data_b.json").read_text())["count"] == 50
    # By the card, and without it by the checkpoint, the networks are those of both shapes.
    for _ in range(2):
        loaded = load_generator(str(out))
        assert loaded.family.data.other == (3, 4, 6)
        weight = loaded.networks["map"].state_dict()["1.weight"]
        assert weight.shape == (4, 72)
        (out / CARD).unlink(missing_ok=True)


def test_a_resumed_run_goes_on_with_its_own_second_set(
    places: tuple[str, str], tmp_path: Path
) -> None:
    out, moved = tmp_path / "run", tmp_path / "moved.parquet"
    train(configure(places, images=4 * BATCH), out)
    other = write_pixels(tmp_path / "C.parquet", np.zeros((50, 4, 6, 3), np.uint8))
    with pytest.raises(UserError, match=r"^--data_b .*C.parquet: holds other images than the run"):
        launch.resume(str(out), {"images": 100, "data_b": other}, workers=0, device="cpu")
    shutil.move(places[1], moved)
    with pytest.raises(UserError, match=r"^--data_b .*B.parquet: no such set, file or folder"):
        launch.resume(str(out), {"images": 100}, workers=0, device="cpu")
    launch.resume(str(out), {"images": 100, "data_b": str(moved)}, workers=0, device="cpu")
    assert run.load_config(Storage(str(out)), "RUN").second_set == str(moved)
    # Not known by its fingerprint, it is by what the checkpoint says.
    (out / "data_b.json").unlink()
    fewer = write_pixels(tmp_path / "D.parquet", np.zeros((49, 4, 6, 3), np.uint8))
    with pytest.raises(UserError, match=r"^--data_b .*D.parquet: has 49 images .* saw 50 of"):
        launch.resume(str(out), {"images": 200, "data_b": fewer}, workers=0, device="cpu")


def test_what_is_refused_before_a_run_and_what_is_said(
    places: tuple[str, str], tmp_path: Path
) -> None:
    wanted = {
        r"^--data_b .*A: is the set that --data names too": {"data_b": places[0]},
        r"^--data_b: names no set": {"data_b": ""},
        r"^--feed.load_size 1: is smaller than the images, which are 2x2": {"feed.load_size": 1},
        r"^--feed.window 4: smaller than a batch": {"feed.way": "streaming", "feed.window": 4},
    }
    for message, changes in wanted.items():
        with pytest.raises(UserError, match=message):
            dry_run(configure(places, **changes), workers=0)
        with pytest.raises(UserError, match=message):
            launch.train(configure(places, **changes), out=str(tmp_path / "run"), workers=0)
        assert not (tmp_path / "run").exists()
    planned = dry_run(configure(places), workers=0)
    assert planned.feed.startswith("37 and 50 images resident in memory")
    assert planned.weights == {"map": 72 * 4 + 4}
    halved = dry_run(configure((places[0], ""), in_halves=True), workers=0)
    assert halved.feed.startswith("37 images in two halves, resident")
    assert known_data(configure(places)).other == (3, 4, 6)


def test_a_folder_of_two_sets_is_no_set_and_what_to_give_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for side, colour in (("A", 10), ("B", 200)):
        (tmp_path / "photos" / side).mkdir(parents=True)
        for number in range(3):
            image = Image.new("L", (8, 8), colour + number)
            image.save(tmp_path / "photos" / side / f"{number}.png")
    out = tmp_path / "sets"
    settings = PrepareSettings(pairs="unpaired", validation=0)
    prepare_sides(str(tmp_path / "photos"), str(out), settings)
    named = f"--data {out}/A --data_b {out}/B"
    with pytest.raises(UserError, match=rf"^--data {out}: holds two sets; .*{named}$"):
        open_images(str(out))
    command = ["train", "two-sets", "--data", str(out), "--workers", "0", "--dry-run"]
    assert main(command) == 2
    assert named in capsys.readouterr().err
    # As it is typed, with a hyphen or as the setting is spelled.
    for option in ("--data-b", "--data_b"):
        both = ["--data", f"{out}/A", option, f"{out}/B", "--feed.way", "resident"]
        assert main(["train", "two-sets", *both, "--workers", "0", "--dry-run"]) == 0
        assert "3 and 3 images" in capsys.readouterr().out


def test_damage_of_both_sets_is_counted_together(places: tuple[str, str], tmp_path: Path) -> None:
    images, other = map(open_images, places)
    storage, said = Storage(str(tmp_path / "run")), list[str]()
    damage = Damage(images, 2, storage, note=said.append, other=other)
    damage.add(np.array([3]))
    damage.add(np.array([3]), second=True)
    assert [line.rpartition("/")[2] for line in said] == [
        "part-0.parquet, row 3",
        "B.parquet, row 3 of --data_b",
    ]
    # A resumed run knows them, of either set.
    again = Damage(images, 2, storage, note=said.append, other=other)
    again.add(np.array([3]))
    again.add(np.array([3]), second=True)
    assert len(said) == 2
    with pytest.raises(UserError, match=r"^--skip-bad 2: 3 damaged images so far"):
        again.add(np.array([4]), second=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("way", ["resident", "streaming"])
@pytest.mark.parametrize("task", ["sets", "edges"])
def test_on_ray_it_is_what_one_process_computes(
    tmp_path: Path, cluster: str, way: str, task: str
) -> None:
    rng = np.random.default_rng(1)
    paths = {"data": tmp_path / "A.parquet", "data_b": tmp_path / "B.parquet"}
    sets = {
        name: write_pixels(path, rng.integers(0, 256, (count, 16, 16, 1), np.uint8))
        for (name, path), count in zip(paths.items(), (45, 37), strict=True)
    }
    sets["data_b"] = sets["data_b"] if task == "sets" else ""
    small = {"generator.network.width": 4, "generator.network.blocks": 1}
    small |= {"discriminator.network.width": 4, "discriminator.network.layers": 1}
    feed = {"feed.way": way, "feed.window": 30, "feed.mirror": True, "feed.load_size": 18}
    sizes = {"batch": 6, "images": 48, "precision": "float64", "task": task}
    config = override(recipe("edges2digits-cyclegan"), {**sets, **small, **feed, **sizes})
    alone = train(config, tmp_path / "alone")
    launch.train(config, out=str(tmp_path / "two"), workers=2, address=cluster)
    two = newest(tmp_path / "two")
    # Adam makes much of the rounding in gradients of biases that a norm takes out again, which
    # would be 0: up to 1e-8 here. Other images would move weights by the rate, 1e-4, a step.
    torch.testing.assert_close(two["networks"], alone["networks"], rtol=0, atol=1e-6)
