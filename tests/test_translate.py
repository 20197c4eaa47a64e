"""A loaded translation model: the same bits beside any other images; `distgan translate`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from distgan.cli import main
from distgan.config.settings import override
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.inputs import NamedInputs
from distgan.data.prepare import PrepareSettings, prepare
from distgan.data.sides import open_sets
from distgan.data.spec import data_spec
from distgan.data.transform import Transform
from distgan.errors import UserError
from distgan.families import build, tasks
from distgan.launch.evaluation import evaluate
from distgan.recipes import recipe
from distgan.recipes.translation import pix2pix_256
from distgan.runs import folder as run
from distgan.runs.comparison import comparison_png, shrunk
from distgan.runs.export import export, load_generator
from distgan.runs.translator import LoadedTranslator
from distgan.storage.storage import Storage

RESNET = {"generator.network.name": "resnet", "generator.network.width": 4}
UNET = {"generator.network.name": "unet", "generator.network.width": 4}
SRRESNET = {"generator.network.name": "srresnet", "generator.network.width": 4}
EDGES = {"task": "edges", "generator.network.norm": "batch"}


def exported(folder: Path, base: str = "edges2digits-l1", **changes: Any) -> LoadedTranslator:
    """A run with random weights and statistics, on a set of 16x16 images."""
    if not (folder / "set").exists():
        images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
        np.savez(folder / "a.npz", images=images)
        prepare(str(folder / "a.npz"), str(folder / "set"), PrepareSettings(validation=5))
    small = {"data": str(folder / "set"), "generator.ema.half_life": 0, **changes}
    config = override(recipe(base), small)
    family = build(config, data_spec(*open_sets(config)))
    torch.manual_seed(0)
    networks = {role: network.module for role, network in family.networks().items()}
    for module in (part for network in networks.values() for part in network.modules()):
        for weight in module.parameters(recurse=False):
            weight.data += 0.2 * torch.randn_like(weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    storage = Storage(folder / "run")
    run.create(storage, config)
    export(storage, config, family, networks, {}, 640)
    found = load_generator(str(folder / "run"))
    assert isinstance(found, LoadedTranslator)
    return found


def random_images(count: int, *shape: int) -> Tensor:
    return 2 * torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)) - 1


def pixels_of(path: Path) -> NDArray[np.uint8]:
    found = np.array(Image.open(path))
    return found[..., None] if found.ndim == 2 else found


def as_pixels(images: Tensor) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return levels


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({**RESNET, **EDGES}, (1, 16, 16)),
        ({**UNET, **EDGES}, (1, 16, 16)),
        ({**SRRESNET, "task": "small", "scale": 2, "generator.network.norm": "batch"}, (3, 8, 8)),
    ],
    ids=["resnet", "unet", "srresnet"],
)
def test_every_image_gives_the_same_bits_beside_any_others(
    settings: dict[str, Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    model, images = exported(tmp_path, **settings), random_images(150, *shape)
    assert (model.input_shape, model.output_shape) == (shape, (3, 16, 16))
    made = model.translate(images)
    assert (made.shape, made.dtype) == ((150, 3, 16, 16), torch.float32)
    for chosen in (torch.arange(1), torch.arange(63, 66), torch.randperm(150)):
        assert torch.equal(model.translate(images[chosen]), made[chosen])
    assert model.translate(images[:0]).shape == (0, 3, 16, 16)
    # By running statistics: alone in its batch an image gives the same as among others.
    with torch.no_grad():
        alone = torch.cat([model.networks["generator"](image[None]) for image in images[:5]])
    torch.testing.assert_close(made[:5], alone, rtol=0, atol=2e-3)


def test_dropout_is_by_seed_and_number_where_it_is_asked_for(tmp_path: Path) -> None:
    model = exported(tmp_path, **RESNET, **EDGES, **{"generator.network.dropout": 0.5})
    images = random_images(70, 1, 16, 16)
    plain, dropped = model.translate(images), model.translate(images, dropout=3)
    assert not torch.equal(plain, dropped)
    assert torch.equal(model.translate(images, dropout=3), dropped)
    assert torch.equal(model.translate(images[65:], dropout=3, numbers=range(65, 70)), dropped[65:])
    assert not torch.equal(model.translate(images[65:], dropout=3), dropped[65:])
    assert not torch.equal(model.translate(images, dropout=4), dropped)
    assert torch.equal(model.translate(images), plain)
    assert not any(layer.training for layer in model.networks["generator"].modules())


def test_a_model_without_dropout_says_so(tmp_path: Path) -> None:
    model = exported(tmp_path, **RESNET, **EDGES)
    with pytest.raises(UserError, match="--dropout 1: this model drops nothing"):
        model.translate(random_images(1, 1, 16, 16), dropout=1)


@pytest.mark.parametrize(("settings", "multiple"), [(RESNET, 4), (UNET, 16)])
def test_images_of_any_size_are_filled_up_and_cut(
    settings: dict[str, Any], multiple: int, tmp_path: Path
) -> None:
    model = exported(tmp_path, **settings, **EDGES)
    assert model.multiple == multiple
    images = random_images(2, 1, 18, 33)
    high, wide = (-(-side // multiple) * multiple for side in (18, 33))
    padding = ((0, 0), (0, 0), (0, high - 18), (0, wide - 33))
    filled = torch.from_numpy(np.pad(images.numpy(), padding, mode="edge"))
    wanted = model.translate(filled)[:, :, :18, :33]
    assert torch.equal(model.translate_any(images), wanted)
    assert model.translate_any(random_images(1, 1, 3, 5)).shape == (1, 3, 3, 5)
    with pytest.raises(UserError, match=f"16x16 or other multiples of {multiple}"):
        model.translate(images)


def test_an_enlarged_image_of_any_size_is_cut_to_its_own(tmp_path: Path) -> None:
    model = exported(tmp_path, **SRRESNET, task="small", scale=2)
    assert model.translate_any(random_images(1, 3, 9, 11)).shape == (1, 3, 18, 22)


def test_other_images_and_ways_are_refused(tmp_path: Path) -> None:
    model = exported(tmp_path, **RESNET, **EDGES)
    images = random_images(2, 1, 16, 16)
    for wrong, said in (
        (images.expand(-1, 3, -1, -1), r"should be float \(n, 1, 16, 16\), are float32 \(2, 3,"),
        (images.to(torch.uint8), "are uint8"),
        (images[0], r"are float32 \(1, 16, 16\)"),
        (images * 2, r"should be within \[-1, 1\]"),
    ):
        with pytest.raises(UserError, match=said):
            model.translate(wrong)
    with pytest.raises(UserError, match="--reverse: a model of the family pix2pix translates one"):
        model.translate(random_images(1, 3, 16, 16), reverse=True)
    for refused in (
        lambda: model.sample(3),
        lambda: model.sample_seeds([1]),
        lambda: model.latents(1),
        lambda: model.images({}),
    ):
        with pytest.raises(UserError, match="makes images of images, not of latent vectors; use"):
            refused()


def test_files_become_files_of_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported(tmp_path, **RESNET, **EDGES)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    (tmp_path / "more" / "deep").mkdir(parents=True)
    sizes = {"a.png": (16, 16), "more/deep/a.jpg": (16, 16), "more/deep/B.png": (40, 30)}
    for name, size in sizes.items():
        Image.fromarray(draw.integers(0, 256, (*size, 3), np.uint8)).save(name, quality=100)
    line = ["translate", "run", "a.png", "more"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "1 of 3 images were cropped and resized to 16x16" in said
    assert "inputs were made from the images by the task edges" in said
    assert "3 images after 640 training images: run-translated" in said
    written = sorted(path.name for path in (tmp_path / "run-translated").iterdir())
    assert written == ["B.png", "a-2.png", "a.png"]
    photo = torch.from_numpy(pixels_of(tmp_path / "a.png")).permute(2, 0, 1)[None] / 127.5 - 1
    made = model.translate(tasks.edges(photo))
    assert (pixels_of(tmp_path / "run-translated/a.png") == as_pixels(made)[0]).all()
    # Nothing is written over.
    for clash in ([], ["--out", "more"]):
        assert main([*line, *clash]) == 2
        assert "is not empty; name another folder" in capsys.readouterr().err
    (tmp_path / "new.png").write_bytes(b"mine")
    assert main([*line, "--out", "new"]) == 2
    assert "new.png, where inputs and outputs would be shown, is there" in capsys.readouterr().err


def test_pictures_are_taken_as_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = np.random.default_rng(2).integers(0, 2, (16, 16), np.uint8) * 255
    Image.fromarray(drawing).save(tmp_path / "a.png")
    line = ["translate", str(tmp_path / "run"), str(tmp_path / "a.png"), "--out"]
    image = torch.from_numpy(drawing)[None, None] / 127.5 - 1
    model = exported(tmp_path, **RESNET, **EDGES)
    colour = image.expand(-1, 3, -1, -1)
    for kind, given in ((["--as", "input"], image), ([], tasks.edges(colour))):
        out = tmp_path / f"edges{len(kind)}"
        assert main([*line, str(out), *kind]) == 0
        assert (pixels_of(out / "a.png") == as_pixels(model.translate(given))[0]).all()


def test_a_model_that_enlarges_takes_pictures_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = exported(tmp_path, **SRRESNET, task="small", scale=2)
    picture = np.random.default_rng(2).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    line = ["translate", str(tmp_path / "run"), str(tmp_path / "a.png"), "--full-size", "--out"]
    assert main([*line, str(tmp_path / "large")]) == 0
    assert "resized" not in capsys.readouterr().out
    image = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    made = pixels_of(tmp_path / "large/a.png")
    assert made.shape == (18, 22, 3)
    assert (made == as_pixels(model.translate_any(image))[0]).all()
    assert main([*line, str(tmp_path / "same"), "--as", "image"]) == 0
    made = pixels_of(tmp_path / "same/a.png")
    # What does not divide by the scale is cut off.
    half = tasks.small(image[:, :, :8, :10], 2)
    assert (made == as_pixels(model.translate_any(half))[0]).all()


def test_without_input_the_runs_held_out_images_are_translated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported(tmp_path, **RESNET, **EDGES)
    monkeypatch.chdir(tmp_path)
    assert main(["translate", "run"]) == 0
    said = capsys.readouterr().out
    assert "trained on" not in said
    found = list(NamedInputs(["set/validation"]).read(np.arange(5), Transform()))
    images = torch.from_numpy(np.stack([each.pixels for each in found]))
    images = images.permute(0, 3, 1, 2) / 127.5 - 1
    made = model.translate(tasks.edges(images))
    for number in range(5):
        assert (
            pixels_of(Path(f"run-translated/{number:06d}.png")) == as_pixels(made)[number]
        ).all()
    error = ((made - images) / 2).abs().mean().item()
    assert f"mean absolute difference to the targets {error:.4g}, of pixels in [0, 1]" in said
    assert "input beside output beside target: run-translated.png" in said
    assert main(["translate", "run", "--num", "2", "--out", "two"]) == 0
    assert len(list(Path("two").iterdir())) == 2


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_sets_the_runs_own_images_are_those_of_the_side_to_translate(
    direction: str, reverse: bool, tmp_path: Path
) -> None:
    levels = {"a": 40, "b": 200}
    for name, level in levels.items():
        np.savez(tmp_path / f"{name}.npz", images=np.full((4, 16, 16, 3), level, np.uint8))
        prepare(str(tmp_path / f"{name}.npz"), str(tmp_path / name), PrepareSettings(validation=2))
    sets = {"data": str(tmp_path / "a"), "data_b": str(tmp_path / "b"), "task": "sets"}
    model = exported(tmp_path, "edges2digits-cyclegan", **RESNET, **sets, direction=direction)
    line = ["translate", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert main([*line, *(["--reverse"] if reverse else [])]) == 0
    level = levels["a" if (direction == "AtoB") != reverse else "b"]
    made = model.translate(torch.full((1, 3, 16, 16), level / 127.5 - 1), reverse)
    assert (pixels_of(tmp_path / "out/000000.png") == as_pixels(made)[0]).all()
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_sets_of_pairs_are_taken_on_the_side_that_is_translated(
    direction: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    sides = {"A": (8, 8), "B": (8, 8, 3)}
    for side, shape in sides.items():
        (tmp_path / f"pairs/{side}/train").mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, shape, np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"pairs/{side}/train/{number}.png")
    prepare(str(tmp_path / "pairs"), str(tmp_path / "set"), PrepareSettings(pairs="folders"))
    model = exported(tmp_path, **RESNET, task="pairs", direction=direction)
    given, known = ("A", "B") if direction == "AtoB" else ("B", "A")
    assert (model.input_shape[0], model.output_shape[0]) == (
        (1, 3) if direction == "AtoB" else (3, 1)
    )
    line = ["translate", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert main([*line, str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    inputs = [pixels_of(tmp_path / f"pairs/{given}/train/{n}.png") for n in range(6)]
    targets = [pixels_of(tmp_path / f"pairs/{known}/train/{n}.png") for n in range(6)]
    images = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2) / 127.5 - 1
    outputs = model.translate(images)
    wanted = torch.from_numpy(np.stack(targets)).permute(0, 3, 1, 2) / 127.5 - 1
    error = ((outputs - wanted) / 2).abs().mean().item()
    assert f"mean absolute difference to the targets {error:.4g}" in said
    for number in range(6):
        made = pixels_of(tmp_path / f"out/{number:06d}.png")
        assert (made == as_pixels(outputs)[number]).all()


def test_a_model_of_both_ways_goes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = exported(tmp_path, "edges2digits-cyclegan", **RESNET)
    images = random_images(3, 3, 16, 16)
    there, back = model.translate(tasks.edges(images)), model.translate(images, reverse=True)
    assert (there.shape, back.shape) == ((3, 3, 16, 16), (3, 1, 16, 16))
    with torch.no_grad():
        wanted = model.networks["generator_ba"](images)
    torch.testing.assert_close(back, wanted, rtol=0, atol=2e-3)
    picture = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    line = ["translate", str(tmp_path / "run"), str(tmp_path / "a.png"), "--reverse", "--out"]
    assert main([*line, str(tmp_path / "out")]) == 0
    image = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    made = model.translate(image, reverse=True)
    assert (pixels_of(tmp_path / "out/a.png") == as_pixels(made)[0]).all()
    error = ((made - tasks.edges(image)) / 2).abs().mean().item()
    said = capsys.readouterr().out
    assert f"mean absolute difference to the targets {error:.4g}" in said
    assert "were made from" not in said


def test_the_way_back_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = exported(tmp_path, "edges2digits-cyclegan", **RESNET)
    folder = str(tmp_path / "run")
    chosen = {"metrics": "l1,cycle", "num": 10}
    found = {reverse: evaluate(folder, chosen, reverse=reverse) for reverse in (False, True)}
    assert [found[reverse].card.direction for reverse in (False, True)] == ["AtoB", "BtoA"]
    assert found[False].card.key != found[True].card.key
    held_out = read_resident(open_images(str(tmp_path / "set/validation"))).images
    images = torch.from_numpy(held_out).permute(0, 3, 1, 2) / 127.5 - 1
    outlines = tasks.edges(images)
    for reverse, given, target in ((False, outlines, images), (True, images, outlines)):
        made = torch.from_numpy(as_pixels(model.translate(given, reverse))).permute(0, 3, 1, 2)
        expected = (made / 127.5 - 1 - target).abs().mean().item() / 2
        assert found[reverse].values["l1"].value == pytest.approx(expected, abs=1e-3)
    assert main(["evaluate", folder, "--metrics", "cycle", "--num", "10", "--reverse"]) == 0
    assert "BtoA" in capsys.readouterr().out


def test_there_is_a_way_back_only_of_both_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, **RESNET, **EDGES)
    assert main(["evaluate", str(tmp_path / "run"), "--metrics", "l1", "--reverse"]) == 2
    error = capsys.readouterr().err
    assert "--reverse: a model of the family pix2pix translates one way only" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "INPUT nowhere: no such file or folder"),
        (["{bad}"], "INPUT {bad}: not an image"),
        (["{set}", "--num", "0"], "--num 0: should be at least 1"),
        (["{set}", "--reverse"], "--reverse: a model of the family pix2pix translates one way"),
        (["{set}", "--dropout", "1"], "--dropout 1: this model drops nothing"),
        (["{set}", "--dropout", "-1"], "--dropout -1: should be at least 0"),
        (["{set}", "--as", "outline"], "--as 'outline': no such choice"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, **RESNET, **EDGES)
    (tmp_path / "bad.png").write_bytes(b"no image")
    places = {"bad": tmp_path / "bad.png", "set": tmp_path / "set"}
    words = [option.format(**places) for option in options]
    out = tmp_path / "out"
    assert main(["translate", str(tmp_path / "run"), *words, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said.format(**places) in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_other_verbs_name_translate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(tmp_path, **RESNET, **EDGES)
    for words in ([], ["--seeds", "1-3"], ["--npz", "a.npz"], ["--film", "walk"], ["--label", "1"]):
        assert main(["sample", str(tmp_path / "run"), *words]) == 2
        error = capsys.readouterr().err
        assert "makes images of images, not of latent vectors; use `distgan translate" in error
        assert error.count("\n") == 1


def test_images_of_a_group_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    groups = [
        [rng.integers(0, 256, (28, 28, 1), np.uint8), rng.integers(0, 256, (56, 56, 3), np.uint8)]
        for _ in range(5)
    ]
    whole = np.asarray(Image.open(io.BytesIO(comparison_png(groups, ("input", "output")))))
    # All five fit into one row, of boxes of 2 x 56 pixels, the names above.
    assert whole.shape[1] == 5 * (2 * 112 + 1) + 4 * 10
    for number, (small, large) in enumerate(groups):
        left = number * (2 * 112 + 1 + 10)
        box = whole[-112:, left : left + 112]
        assert (box == small.repeat(4, 0).repeat(4, 1)).all()
        box = whole[-112:, left + 113 : left + 225]
        assert (box == large.repeat(2, 0).repeat(2, 1)).all()
    assert shrunk(np.zeros((1000, 500, 3), np.uint8)).shape == (384, 192, 3)
    assert shrunk(groups[0][0]) is groups[0][0]


def test_pix2pix_is_as_published() -> None:
    config = pix2pix_256()
    lr = config.generator.optimizer.lr
    assert config.images == config.total == 200 * 400
    assert [lr.at(n) for n in (0, 40_000, 60_000, 80_000)] == [2e-4, 2e-4, 1e-4, 0]
    assert (config.batch, config.feed.load_size, config.feed.mirror) == (1, 286, True)
    assert config.l1.at(0) == 100
