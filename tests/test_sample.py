"""`distgan sample`: grids with names, seeds, single files, an array, films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import distgan
from distgan.cli import main
from distgan.cli.sample import chosen_labels, parse_seeds
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families import Batch, DataSpec, build
from distgan.runs import captions, film
from distgan.runs.export import load_generator
from distgan.runs.generator import LoadedGenerator
from distgan.runs.grid import grid, to_uint8
from distgan.runs.walk import closed_walk, great_circle

NAMES = ("airplane", "automobile", "cat", "7")
SMALL = {
    # A layer of up to 8 outputs may round by the row: MKL on AMD processors does.
    **{"images": 128, "batch": 64, "latent": 4, "output.sample_every": 64},
    **{f"{side}.network.widths": "16" for side in ("generator", "discriminator")},
}
VAE = {"images": 128, "batch": 64, "latent": 4, "encoder.widths": "8"}
VAE |= {"decoder.widths": "8"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A conditional run of two steps."""
    folder = str(tmp_path_factory.mktemp("sample") / "run")
    config = distgan.override(distgan.recipe("mnist-mlp-conditional"), SMALL)
    distgan.train(config, out=folder, workers=0)
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def untrained(classes: tuple[str, ...] = NAMES, recipe: str = "mnist-mlp-conditional") -> Any:
    settings = SMALL if "vae" not in recipe else VAE
    config = distgan.override(distgan.recipe(recipe), settings)
    torch.manual_seed(0)
    family = build(config, DataSpec(ImageShape(1, 8, 8), classes))
    made = {role: net.module.eval() for role, net in family.networks().items()}
    wanted = {role: made[role] for role, seen in family.interfaces().items() if seen.generates}
    return LoadedGenerator(family, wanted, 64)


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["sample", *words]) == 2
    return capsys.readouterr().err


def opened(path: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def test_names_leave_the_images_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    bare, with_names = (np.asarray(grid(images, 4, names)) for names in ((), NAMES))
    assert with_names.shape[1:] == bare.shape[1:]
    band = len(with_names) - len(bare)
    assert 10 < band < 40
    np.testing.assert_array_equal(with_names[band:], bare)
    # Something dark is written above every column, and nothing on the edges between them.
    dark = (with_names[:band] < 128).any((0, 2))
    step = (bare.shape[1] + 1) // 4
    assert all(dark[column * step : (column + 1) * step].any() for column in range(4))
    assert not dark[::step].any()


def test_names_that_are_wider_than_a_column_stand_upright() -> None:
    images = np.zeros((10, 28, 28, 1), np.uint8)
    names = ["automobile", *"abcdefghi"]
    upright = np.asarray(grid(images, 10, names))
    flat = np.asarray(grid(images, 10, list("abcdefghij")))
    dark = upright[: len(upright) - 56] < 128
    first = dark[:, :58]
    # The long one is taller than wide, within its column.
    rows, columns = np.flatnonzero(first.any(1)), np.flatnonzero(first.any(0))
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert len(upright) > len(flat) + 30
    longest = np.asarray(grid(images, 10, ["x" * 10_000]))
    assert longest.shape[0] < flat.shape[0] + 160


@pytest.mark.parametrize(
    ("name", "can"),
    [("cat", True), ("Old 7!", True), ("Käse", False), ("фото", False), ("", False), ("猫", False)],
)
def test_names_that_the_font_lacks_are_known(name: str, can: bool) -> None:
    assert captions.drawable(name) == can


def test_a_line_below_leaves_the_picture_as_it_is() -> None:
    picture = Image.fromarray(np.full((40, 200), 7, np.uint8))
    below = np.asarray(captions.underlined(picture, "1,234 images"))
    np.testing.assert_array_equal(below[:40], np.asarray(picture))
    assert (below[40:] < 128).any()


def test_labels_by_name_and_number() -> None:
    generator = untrained()
    assert generator.label_numbers() == [0, 1, 2, 3]
    assert generator.label_numbers(["cat", 0]) == [2, 0]
    # A name comes before a number.
    assert generator.label_numbers("7") == [3]
    assert chosen_labels(generator, "cat, 1") == [2, 1]
    assert chosen_labels(untrained(("a,b", "c")), "a,b") == [0]
    for wrong in ("dog", "4", "-1", "9" * 30, "cat,dog"):
        with pytest.raises(UserError, match=r"--label .*: this generator has labels 0 to 3: air"):
            chosen_labels(generator, wrong)
    with pytest.raises(UserError, match="takes no labels"):
        chosen_labels(untrained(recipe="mnist-mlp"), "cat")
    named = generator.sample(5, seed=3, label=["cat", "airplane"])
    for number, label in enumerate([2, 0, 2, 0, 2]):
        alone = generator.sample(range(number, number + 1), seed=3, label=label)
        assert torch.equal(named[number], alone[0])


@pytest.mark.parametrize("recipe", ["mnist-mlp", "mnist-mlp-conditional", "mnist-vae"])
def test_an_image_of_a_seed_is_always_the_same(recipe: str) -> None:
    generator = untrained(recipe=recipe)
    labels = generator.label_numbers() or [None]
    made = generator.sample_seeds([5, 0, 9])
    assert len(made) == 3 * len(labels)
    place = 0
    for seed in (5, 0, 9):
        for label in labels:
            assert torch.equal(made[place], generator.sample(1, seed=seed, label=label)[0])
            place += 1
    several = generator.sample(range(70, 75), seed=2)
    assert torch.equal(several, generator.sample(75, seed=2)[70:])


def test_noise_of_layers_goes_by_the_seed() -> None:
    generator = untrained(recipe="mnist-mlp")
    family, seeds = generator.family, []

    def noisy(networks: Any, batch: Batch, seed: int = 0, purpose: str = "") -> torch.Tensor:
        seeds.append(seed)
        return torch.full((len(batch.numbers), 1, 8, 8), float(seed))

    object.__setattr__(family, "images", noisy)
    import distgan.runs.generator as module

    before = module.has_random_layers
    try:
        module.has_random_layers = lambda network: True  # type: ignore[assignment]
        made = generator.sample_seeds([4, 8])
    finally:
        module.has_random_layers = before
    assert made[:, 0, 0, 0].tolist() == [4.0, 8.0]


def test_seeds_are_read_in_their_order() -> None:
    assert parse_seeds("0-3,9, 2") == [0, 1, 2, 3, 9, 2]
    for wrong in ("", "a", "3-", "-3", "5-3", "0-9999999", "1-" + "9" * 40):
        with pytest.raises(UserError, match="--seeds "):
            parse_seeds(wrong)


def test_grids(run: str) -> None:
    generator = load_generator(run)
    assert main(["sample", run, "--label", "3,7", "--num", "16", "--out", "two.png"]) == 0
    names = ["3", "7"]
    expected = grid(to_uint8(generator.sample(16, label=[3, 7])), 4, names)
    np.testing.assert_array_equal(opened("two.png"), np.asarray(expected))
    assert main(["sample", run, "--seeds", "4-5", "--out", "seeds.png"]) == 0
    expected = grid(to_uint8(generator.sample_seeds([4, 5])), 10, list("0123456789"))
    np.testing.assert_array_equal(opened("seeds.png"), np.asarray(expected))


def test_single_files(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", run, "--num", "300", "--each", "many"]) == 0
    assert "300 images after 128 training images: many" in capsys.readouterr().out
    files = sorted(Path("many").iterdir())
    assert [files[0].name, files[299].name] == ["000000-0.png", "000299-9.png"]
    expected = to_uint8(load_generator(run).sample(300))[..., 0]
    found = np.stack([opened(str(path)) for path in files])
    np.testing.assert_array_equal(found, expected)
    assert "--each many: is not empty" in mistake(capsys, run, "--each", "many")
    assert main(["sample", run, "--seeds", "7-8", "--label", "1,2", "--each", "few"]) == 0
    names = [path.name for path in sorted(Path("few").iterdir())]
    assert names == ["000007-1.png", "000007-2.png", "000008-1.png", "000008-2.png"]
    np.testing.assert_array_equal(
        opened("few/000008-2.png"),
        to_uint8(load_generator(run).sample(1, seed=8, label=2))[0, ..., 0],
    )


def test_an_array(run: str) -> None:
    assert main(["sample", run, "--num", "300", "--npz", "a.npz", "--seed", "5"]) == 0
    with np.load("a.npz") as found:
        assert sorted(found) == ["arr_0", "arr_1"]
        assert (found["arr_0"].shape, found["arr_0"].dtype) == ((300, 28, 28, 1), np.uint8)
        expected = to_uint8(load_generator(run).sample(300, seed=5))
        np.testing.assert_array_equal(found["arr_0"], expected)
        np.testing.assert_array_equal(found["arr_1"], np.arange(300) % 10)


def test_what_does_not_go_together(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in {
        "--each a --npz b.npz": "--npz: not together with --each",
        "--each a --out b.png": "--out 'b.png': --each says where to",
        "--npz a.png": "--npz a.png: its name should end in .npz",
        "--seeds 0-3 --seed 4": "--seed 4: --seeds names the seeds",
        "--seeds 0-3 --num 4": "--num 4: --seeds says how many",
        "--fps 3": "--fps: is for a film",
        "--film walk --seeds 4": "--seeds 4: a walk needs two seeds",
        "--film walk --out a.avi": "--out a.avi: a film is a .webp, .gif, .png or .mp4",
        "--film walk --fps 99 --out a.gif": "--fps 99: should be 0.01 to 50 for a GIF",
        "--film walk --seconds 1e5 --fps 200": "100,000 are the most",
        "--film training --num 4": "--num: a film of the training shows the run's grids",
        "--num 1e13 --npz a.npz": "more than the memory that is free",
    }.items():
        said = mistake(capsys, run, *words.split())
        assert expected in said
        assert said.count("\n") == 1
    assert not list(Path().iterdir())


def test_great_circles_stay_on_the_sphere() -> None:
    draw = torch.Generator().manual_seed(0)
    start, end = (torch.randn(5, 64, generator=draw) for _ in range(2))
    start, end = (8 * each / each.norm(dim=1, keepdim=True) for each in (start, end))
    angle = torch.arccos((start * end).sum(1) / 64)
    for share in (0.1, 0.5, 0.9):
        between = great_circle(start, end, share)
        torch.testing.assert_close(between.norm(dim=1), torch.full((5,), 8.0))
        # At a constant speed, by the angle from the start.
        torch.testing.assert_close(torch.arccos((start * between).sum(1) / 64), share * angle)
    assert torch.allclose(great_circle(start, start, 0.3), start)


@pytest.mark.parametrize("recipe", ["mnist-mlp", "mnist-mlp-conditional", "mnist-vae"])
def test_walks_are_closed(recipe: str) -> None:
    generator = untrained(recipe=recipe)
    (name,) = generator.latents(1)
    frames = [each[name] for each in closed_walk(generator, [3, 8], 4, 40)]
    assert torch.equal(frames[0], generator.latents(4, 3)[name])
    assert torch.equal(frames[20], generator.latents(4, 8)[name])
    steps = [(b - a).norm() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    # From the last to the first it is a step like the others.
    assert steps[-1] <= 1.01 * max(steps[:-1])
    assert steps[-1] < 0.2 * (frames[20] - frames[0]).norm()


def moved(path: str) -> tuple[list[Image.Image], list[int]]:
    found = Image.open(path)
    frames, times = [], []
    for number in range(found.n_frames):
        found.seek(number)
        found.load()
        frames.append(found.convert("RGB"))
        times.append(round(found.info["duration"]))
    return frames, times


@pytest.mark.parametrize("kind", ["webp", "gif", "png"])
def test_films_of_walks(run: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--seeds", "0,1", "--num", "20", "--seconds", "1.2", "--out", f"w.{kind}"]
    assert main(["sample", run, "--film", "walk", *words]) == 0
    assert f"24 frames, 1.2 s: w.{kind}" in capsys.readouterr().out
    frames, times = moved(f"w.{kind}")
    assert (len(frames), sum(times)) == (24, 1200)
    assert Image.open(f"w.{kind}").info["loop"] == 0
    generator = load_generator(run)
    names = list("0123456789")
    first = grid(to_uint8(generator.sample(20)), 10, names).convert("RGB")
    difference = np.abs(np.asarray(frames[0], int) - np.asarray(first, int))
    assert difference.mean() < {"webp": 6, "gif": 1, "png": 1e-9}[kind]


def test_a_film_of_the_training(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", run, "--film", "training", "--out", "t.png"]) == 0
    frames, times = moved("t.png")
    grids = sorted(Path(run, "samples").iterdir())
    # Six a second, and the last for two seconds more.
    assert (len(frames), sum(times)) == (len(grids), 500 + 2000)
    for frame, path in zip(frames, grids, strict=True):
        still = np.asarray(Image.open(path).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(frame)[: len(still)], still)
    assert main(["sample", run, "--film", "training", "--seconds", "6"]) == 0
    assert sum(moved("run-training.webp")[1]) == 6000


@pytest.mark.parametrize("fps", [3, 7, 30, 33.3])
def test_times_add_up_in_hundredths_too(fps: float) -> None:
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(0, 255, (9, 9), dtype=np.uint8)) for _ in range(31)]
    content = film.encode(iter(pictures), "gif", fps)
    Path("a.gif").write_bytes(content)
    frames, times = moved("a.gif")
    assert len(frames) == 31
    assert abs(sum(times) - 31_000 / fps) <= 5


def _program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_mp4_goes_through_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 5, 7, 3), dtype=np.uint8)
    pictures = [Image.fromarray(each) for each in pixels]
    # A program that keeps what it is given and how it was called.
    _program(tmp_path, 'echo "$@" > called; for last; do :; done; cat > "$last"', monkeypatch)
    raw = film.encode(iter(pictures), "mp4", 25, hold=0.08)
    found = np.frombuffer(raw, np.uint8).reshape(5, 5, 7, 3)
    np.testing.assert_array_equal(found, pixels[[0, 1, 2, 2, 2]])
    assert "-pix_fmt rgb24 -s 7x5 -r 25 -i -" in Path("called").read_text()
    _program(tmp_path, "echo 'no such codec' >&2; exit 1", monkeypatch)
    with pytest.raises(UserError, match=r"ffmpeg cannot write the film \(no such codec\)"):
        film.encode(pictures * 1000, "mp4", 25)


def test_without_ffmpeg(
    run: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = mistake(capsys, run, "--film", "walk", "--out", "a.mp4")
    assert "the program ffmpeg, which is not on the PATH" in said


def test_a_damaged_grid_is_named(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    extra = Path(run, "samples", "images-000000999999.png")
    extra.write_bytes(b"no picture")
    try:
        said = mistake(capsys, run, "--film", "training", "--out", "x.gif")
    finally:
        extra.unlink()
    assert "samples/images-000000999999.png: is damaged" in said
