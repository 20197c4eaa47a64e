"""The exported generator: its card vouches for the weights, and leads nowhere else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from distgan.config.settings import override
from distgan.errors import UserError
from distgan.families import DataSpec, build
from distgan.networks import ImageShape
from distgan.recipes import recipe
from distgan.runs import checkpoint
from distgan.runs import folder as run
from distgan.runs.export import export, exported, load_discriminator, load_generator
from distgan.storage.storage import Storage

EMA = "generator_ema.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's export, without the run."""
    config = override(
        recipe("mnist-mlp-tutorial"), {"generator.network.widths": "8", "latent": "4"}
    )
    image = ImageShape(1, 4, 4)
    storage = Storage(tmp_path / "run")
    run.create(storage, config)
    family = build(config, DataSpec(image))
    networks = {role: net.module for role, net in family.networks().items()}
    export(storage, config, family, networks, {"generator": networks["generator"]}, 640)
    return tmp_path / "run"


def change(folder: Path, **values: Any) -> None:
    """Of the card, by dotted names whose dots are written ``__``."""
    card = json.loads((folder / "generator.json").read_text())
    for name, value in values.items():
        *path, last = name.split("__")
        group = card
        for part in path:
            group = group[part]
        group[last] = value
    (folder / "generator.json").write_text(json.dumps(card))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_generator(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_card_holds_what_sha256sum_says(folder: Path) -> None:
    card = json.loads((folder / "generator.json").read_text())
    content = (folder / EMA).read_bytes()
    assert (
        card["roles"]["generator"]["weights"]["ema"]["sha256"]
        == hashlib.sha256(content).hexdigest()
    )
    found = load_generator(str(folder))
    assert (found.images_seen, found.image, exported(Storage(folder))) == (640, (1, 4, 4), 640)
    for name, tensor in load_file(folder / EMA).items():
        assert torch.equal(found.network.state_dict()[name], tensor)


def test_other_weights_of_the_same_shapes_are_refused(folder: Path) -> None:
    tensors = load_file(folder / EMA)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / EMA)
    assert f"{EMA}: is damaged (not what generator.json has the sha256 of)" in refused(folder)


def test_a_card_without_what_is_asked_for(folder: Path) -> None:
    whole = (folder / "generator.json").read_text()
    change(folder, roles__generator__weights={})
    assert "names no ema weights" in refused(folder)
    (folder / "generator.json").write_text(whole)
    change(folder, roles={})
    assert "names no generator" in refused(folder)
    (folder / "generator.json").write_text(whole)
    for content in (b"", b"\xff" * 40, (folder / EMA).read_bytes()[:-9]):
        (folder / EMA).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        change(folder, roles__generator__weights__ema__sha256=digest)
        assert f"{EMA}: is damaged (no safetensors" in refused(folder)


def test_the_discriminator_is_exported_too(folder: Path) -> None:
    network = load_discriminator(str(folder))
    assert network(torch.zeros(3, 1, 4, 4), None).shape == (3,)
    for name, tensor in load_file(folder / "discriminator.safetensors").items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_an_image_is_the_same_bits_beside_any_others(folder: Path) -> None:
    generator = load_generator(str(folder))
    many = generator.sample(150, seed=4)
    for few in (1, 63, 64, 65, 130):
        assert torch.equal(generator.sample(few, seed=4), many[:few])
    z = generator.latents(150, seed=4)
    shuffled = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    again = generator.images({name: values[shuffled] for name, values in z.items()})
    assert torch.equal(again, many[shuffled])


def test_truncated_latents_have_the_published_deviations(folder: Path) -> None:
    # Of a normal distribution cut off at c: sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1)).
    generator = load_generator(str(folder))
    (z,) = generator.latents(20_000).values()
    order = z[:, 0].argsort()
    for most, deviation in ((2.0, 0.8796), (1.0, 0.5396), (0.5, 0.2839)):
        (cut,) = generator.latents(20_000, truncation=most).values()
        assert cut.abs().max() <= most
        assert cut.std().item() == pytest.approx(deviation, abs=0.004)
        assert bool((cut[order, 0].diff() >= 0).all()), "the order of samples stays"
    (same,) = generator.latents(20_000, truncation=8.0).values()
    torch.testing.assert_close(same, z, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="--truncation 0"):
        generator.latents(1, truncation=0)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "a/b", "s3://x", "a\\b", "", "x\n"])
def test_weights_lie_in_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "x").write_bytes((folder / EMA).read_bytes())
    change(folder, roles__generator__weights__ema__file=name)
    assert "generator.json: is damaged (roles.generator.weights.ema.file" in refused(folder)


def test_a_newer_format_is_named(folder: Path) -> None:
    change(folder, format=99)
    assert "generator.json: is of format 99, of a newer distgan, and this one reads 3" in refused(
        folder
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"config__generator__network": {"name": "mlp", "widths": [10**9]}},
            "network.mlp.widths.0 1000000000",
        ),
        (
            {"config__generator__network": {"name": "mlp", "widths": [60_000] * 9}},
            "weights, and 2,000,000,000",
        ),
        ({"config__generator__network": {"name": "mlp", "widths": [9]}}, "should have the shape"),
        (
            {"config__generator__network": {"name": "mlp", "widths": [8, 8]}},
            "other tensors than the network has",
        ),
        ({"config__generator__network": {"name": "mpl"}}, "did you mean mlp?"),
        (
            {"config__generator__network": {"name": "dcgan"}},
            "generator.json: --generator.network.name dcgan",
        ),
        ({"config__latent": 10**9}, "latent 1000000000"),
        ({"image": {"channels": 1, "height": 4}}, "has no image.width"),
        (
            {"config__conditional": True, "classes": ["a"] * 10**5},
            "generator.json: does not fit its weights",
        ),
        ({"images_seen": 0}, "images_seen 0"),
    ],
)
def test_a_card_that_does_not_fit(folder: Path, values: dict[str, Any], said: str) -> None:
    change(folder, **values)
    assert said in refused(folder)


@pytest.mark.parametrize(
    "name", ["../x.pt", "checkpoints/../../x.pt", "/x.pt", "checkpoints/a/x.pt", "checkpoints/x"]
)
def test_the_index_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    storage = Storage(tmp_path / "run")
    outside = tmp_path / "x.pt"
    torch.save({"images_seen": 1}, outside)
    digest = hashlib.sha256(outside.read_bytes()).hexdigest()
    entry = {"file": name, "images_seen": 1, "sha256": digest}
    storage.write(checkpoint.INDEX, json.dumps([entry]))
    calls: tuple[Callable[[], Any], ...] = (
        lambda: checkpoint.load_newest(storage),
        lambda: checkpoint.forget_after(storage, 0),
        lambda: checkpoint.save(storage, {"images_seen": 2}, 1),
    )
    for call in calls:
        with pytest.raises(UserError, match=r"index\.json: is damaged \(0\.file"):
            call()
    assert outside.exists()


def test_a_checkpoint_that_is_a_folder_is_passed_over(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for images in (1, 2):
        checkpoint.save(storage, {"images_seen": images}, 2)
    newest = tmp_path / checkpoint.index(storage)[-1]["file"]
    newest.unlink()
    newest.mkdir()
    with pytest.warns(UserWarning, match="is damaged or missing"):
        found = checkpoint.load_newest(storage)
    assert found is not None
    assert found["images_seen"] == 1
