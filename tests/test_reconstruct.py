"""A loaded VAE: the same bits beside any other images; `distgan reconstruct`; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from distgan.cli import main
from distgan.config.settings import override
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.prepare import PrepareSettings, prepare
from distgan.errors import UserError
from distgan.families import Batch, DataSpec, build
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.runs import folder as run
from distgan.runs.autoencoder import LoadedAutoencoder
from distgan.runs.export import export, load_generator
from distgan.storage.storage import Storage

from .test_families import BATCH, IMAGE, config_of, new

SMALL = {"encoder.widths": "8", "decoder.widths": "8", "latent": 4}


def exported(folder: Path, base: str, **changes: Any) -> LoadedAutoencoder:
    """A run of random weights, on a set of 8x8 digits that are made beside it."""
    if not (folder / "set").exists():
        digits = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
        np.savez(folder / "a.npz", images=digits, labels=np.arange(40) % 3)
        prepare(str(folder / "a.npz"), str(folder / "set"), PrepareSettings(validation=10))
    config = override(recipe(base), {"data": str(folder / "set"), **changes})
    images = open_images(config.data)
    family = build(config, DataSpec(images.shape, images.classes))
    torch.manual_seed(0)
    networks = {role: net.module for role, net in family.networks().items()}
    for network in networks.values():
        for weight in network.parameters():
            weight.data += 0.3 * torch.randn_like(weight)
    storage = Storage(folder / "run")
    run.create(storage, config)
    averages = {role: networks[role] for role in family.averaged}
    export(storage, config, family, networks, averages, 640)
    found = load_generator(str(folder / "run"))
    assert isinstance(found, LoadedAutoencoder) == family.encodes
    return found  # type: ignore[return-value]


def images_of(count: int) -> Tensor:
    return 2 * torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1)) - 1


@pytest.mark.parametrize("base", ["mnist-vae", "mnist-vae-conv"])
def test_every_image_gives_the_same_bits_beside_any_others(base: str, tmp_path: Path) -> None:
    small = SMALL if base == "mnist-vae" else {"encoder.width": 4, "decoder.width": 4, "latent": 4}
    model, images = exported(tmp_path, base, **small), images_of(150)
    mean, log_variance = model.encode(images)
    made = model.reconstruct(images)
    assert mean.shape == log_variance.shape == (150, 4)
    assert (made.shape, made.dtype) == (images.shape, torch.float32)
    shuffled = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    for chosen in (torch.arange(1), torch.arange(63, 66), shuffled):
        again = model.encode(images[chosen])
        assert torch.equal(again.mean, mean[chosen])
        assert torch.equal(again.log_variance, log_variance[chosen])
        assert torch.equal(model.decode(mean[chosen]), made[chosen])
    drawn = model.reconstruct(images, sample=True, seed=2)
    assert torch.equal(model.reconstruct(images[:70], sample=True, seed=2), drawn[:70])
    assert not torch.equal(model.reconstruct(images, sample=True, seed=3), drawn)


def test_the_networks_are_those_that_were_trained(tmp_path: Path) -> None:
    model, images = exported(tmp_path, "mnist-vae", **SMALL, conditional=True), images_of(5)
    labels = torch.tensor([0, 1, 2, 1, 0])
    network = model.networks["autoencoder"]
    with torch.no_grad():
        (mean, log_variance), decoded = network(images, torch.ones(5, 4), labels)
    found = model.encode(images, labels)
    assert torch.allclose(found.mean, mean, atol=1e-6)
    z = mean + (log_variance / 2).exp()
    assert torch.allclose(model.decode(z, labels), 2 * decoded.images.sigmoid() - 1, atol=1e-5)
    z = model.latents(7, seed=1)["z"]
    sampled = model.sample(7, seed=1)
    assert torch.equal(model.decode(z, torch.arange(7) % 3), sampled)


def test_no_images_are_none(tmp_path: Path) -> None:
    model = exported(tmp_path, "mnist-vae", **SMALL)
    assert model.encode(images_of(0)).mean.shape == (0, 4)
    assert model.reconstruct(images_of(0)).shape == (0, 1, 8, 8)


def test_other_images_are_refused(tmp_path: Path) -> None:
    model = exported(tmp_path, "mnist-vae", **SMALL)
    for images, said in (
        (images_of(2)[:, :, :4], "float (n, 1, 8, 8), and is float32 (2, 1, 4, 8)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "and is uint8 (2, 1, 8, 8)"),
        (images_of(2) * 2, "should be within [-1, 1]"),
        (torch.full((2, 1, 8, 8), torch.nan), "should be within [-1, 1]"),
    ):
        with pytest.raises(UserError) as caught:
            model.encode(images)
        assert said in str(caught.value)
    with pytest.raises(UserError, match=r"z: should be float \(n, 4\)"):
        model.decode(torch.zeros(2, 5))
    with pytest.raises(UserError, match="labels: this model takes none"):
        model.encode(images_of(2), torch.zeros(2, dtype=torch.int64))


def test_a_conditional_model_wants_labels(tmp_path: Path) -> None:
    model = exported(tmp_path, "mnist-vae", **SMALL, conditional=True)
    with pytest.raises(UserError, match="takes one of 3 labels for each"):
        model.encode(images_of(2))
    with pytest.raises(UserError, match=r"should be int64 \(2,\), each from 0 to 2"):
        model.encode(images_of(2), torch.tensor([0, 3]))


def test_a_grid_of_pairs_and_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = exported(tmp_path, "mnist-vae", **SMALL, conditional=True)
    line = ["reconstruct", str(tmp_path / "run"), str(tmp_path / "set/validation")]
    assert main([*line, "--out", str(tmp_path / "pairs.png")]) == 0
    said = capsys.readouterr().out
    pixels = read_resident(open_images(str(tmp_path / "set/validation")))
    assert pixels.labels is not None
    images = torch.from_numpy(pixels.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    made = model.reconstruct(images, torch.tensor(pixels.labels))
    error = (((made + 1) / 2 - (images + 1) / 2) ** 2).mean().item()
    assert f"mean squared error {error:.5g}, of pixels in [0, 1]" in said
    assert "resized" not in said
    grid = np.asarray(Image.open(tmp_path / "pairs.png"))
    factor = grid.shape[1] // 89
    grid = grid[::factor, ::factor]
    assert grid.shape == (17, 89)
    for number in range(10):
        left = 9 * number
        assert (grid[:8, left : left + 8] == pixels.images[number, ..., 0]).all()
        below = ((made[number, 0] + 1) * 127.5).round().numpy()
        assert (grid[9:17, left : left + 8] == below).all()
    assert main([*line, "--out", str(tmp_path / "one.png"), "--label", "2", "--num", "1"]) == 0


def test_images_of_other_sizes_are_resized_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, "mnist-vae", **SMALL)
    draw = np.random.default_rng(0)
    for name, shape in (("a.png", (20, 30, 3)), ("b.png", (8, 8, 3))):
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(tmp_path / name)
    line = ["reconstruct", str(tmp_path / "run"), str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert main([*line, "--out", str(tmp_path / "pairs.png")]) == 0
    assert "1 of 2 images were cropped and resized to 8x8" in capsys.readouterr().out
    # As a set of it is made.
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "folder" / "a.png")
    options = PrepareSettings(size=(8, 8), channels="gray")
    prepare(str(tmp_path / "folder"), str(tmp_path / "made"), options)
    pixels = read_resident(open_images(str(tmp_path / "made"))).images[0, ..., 0]
    grid = np.asarray(Image.open(tmp_path / "pairs.png"))
    factor = grid.shape[1] // 17
    assert (grid[::factor, ::factor][:8, :8] == pixels).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "INPUT nowhere: no such file or folder"),
        (["fashion-mnist"], "INPUT fashion-mnist: is not here yet; make it with `distgan data"),
        (["{run}/config.yaml"], "INPUT {run}/config.yaml: no images of a known kind"),
        (["{run}", "--out", "{run}"], "--out {run}: is a folder"),
        (["{bad}"], "INPUT {bad}: "),
        (["{set}", "--num", "0"], "--num 0: should be at least 1"),
        (["{set}", "--num", "10000000"], "would be a picture of"),
        (["{set}", "--label", "1"], "--label 1: this model takes no labels"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, "mnist-vae", **SMALL)
    (tmp_path / "bad.png").write_bytes(b"no image")
    places = {"run": tmp_path / "run", "bad": tmp_path / "bad.png", "set": tmp_path / "set"}
    words = [option.format(**places) for option in options]
    assert main(["reconstruct", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err
    assert said.format(**places) in error
    assert error.count("\n") == 1


def test_a_gan_encodes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(tmp_path, "mnist-mlp", **{"generator.network.widths": "8", "latent": 4})
    line = ["reconstruct", str(tmp_path / "run"), "mnist", "--out", str(tmp_path / "a.png")]
    assert main(line) == 2
    assert "a model of the family gan has no encoder" in capsys.readouterr().err
    for metric in ("elbo", "frechet,iwae", "reconstruction-frechet"):
        assert main(["evaluate", str(tmp_path / "run"), "--metrics", metric]) == 2
        error = capsys.readouterr().err
        assert f"--metrics {metric.split(',')[-1]}: a model of the family gan cannot" in error
        assert error.count("\n") == 1
    train = ["train", "mnist-mlp", "--workers", "0", "--evaluate.every", "1k"]
    assert main([*train, "--evaluate.metrics", "elbo", "--out", str(tmp_path / "other")]) == 2
    assert "--evaluate.metrics elbo: a model of the family gan cannot" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_evaluate_measures_a_vae(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(tmp_path, "mnist-vae", **SMALL)
    line = ["evaluate", str(tmp_path / "run"), "--metrics"]
    assert main([*line, "bits-per-dimension"]) == 2
    assert "bounds no probability of an image; train with" in capsys.readouterr().err
    assert main([*line, "elbo,iwae", "--iwae-k", "0"]) == 2
    assert "--iwae-k" in capsys.readouterr().err
    assert main([*line, "elbo,iwae", "--iwae-k", "3"]) == 0
    said = capsys.readouterr().out
    assert {"encoded_split", "validation", "importance_samples"} <= set(said.split())
    (tmp_path / "set/validation/manifest.json").unlink()
    assert main([*line, "elbo"]) == 0
    assert "measured by training images, as the set holds none out" in capsys.readouterr().out


def test_another_set_may_be_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(tmp_path, "mnist-vae", **SMALL, conditional=True)
    draw = np.random.default_rng(1)
    for name, size, classes in (("test", 8, 3), ("large", 9, 3), ("other", 8, 4)):
        levels = draw.integers(0, 256, (60, size, size), np.uint8)
        np.savez(tmp_path / "b.npz", images=levels, labels=np.arange(60) % classes)
        prepare(str(tmp_path / "b.npz"), str(tmp_path / name))
    line = ["evaluate", str(tmp_path / "run"), "--metrics", "elbo", "--held-out"]
    monkeypatch.chdir(tmp_path)
    for name, said in (
        ("set", "set: is the set that was trained on"),
        ("large", "large: holds images of 9x9"),
        ("other", "other: has other classes than the run's set"),
        ("nowhere", "nowhere: no such set"),
    ):
        assert main([*line, name]) == 2
        error = capsys.readouterr().err
        assert f"--held-out {tmp_path / said}" in error
        assert error.count("\n") == 1
    assert main([*line, "test"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "encoded 60 encoded_split held out" in said


@pytest.mark.parametrize("family", ["vae", "vae-gan"])
def test_a_grid_shows_images_above_what_the_model_makes_of_them(family: str) -> None:
    config = config_of(family, images=BATCH, batch=BATCH)
    state = new(config, World())
    images = 2 * torch.rand(10, *IMAGE, dtype=torch.float64) - 1
    networks = {role: each.network.eval() for role, each in state.networks.items()}
    plain, columns = state.family.sheet(networks, 0)
    found, _ = state.family.sheet(networks, 0, Batch({"image": images}, {}))
    assert columns == 10
    assert torch.equal(found[: len(plain)], plain)
    assert torch.equal(found[-20:-10], images.to(plain))
    model = state.family.autoencoder(networks)
    assert model is not None
    torch.testing.assert_close(found[-10:], model.decode(model.encode(images).mean).to(plain))
