"""One's own images by one command: what is chosen for them, prepared once, and said."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distgan.cli.main import main
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data import manifest, raw
from distgan.data.images import open_images
from distgan.data.prepare import PrepareSettings
from distgan.errors import UserError
from distgan.families import DataSpec
from distgan.families.check import check_networks
from distgan.launch import ready
from distgan.networks.r3gan import plan
from distgan.recipes import photos, recipe
from distgan.storage import clean
from distgan.storage.storage import Storage

from .test_data import broken


def folder_of(folder: Path, sizes: list[tuple[int, int]], mode: str = "RGB") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(len(sizes))
    for number, (height, width) in enumerate(sizes):
        pixels = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03d}.png")
    return folder


def made_of(source: Path, skip_bad: int = 0, size: int | None = None) -> Path:
    """As `distgan train SOURCE` makes it."""
    survey = raw.survey(str(source), lambda *_: None, "WHAT")
    return Path(ready.ready(str(source), survey, ready.sized(survey, size, skip_bad)))


CHOICES = {
    # Height and width, channels, images, GPU.
    ((28, 28), 1, 60_000, False): "photos-32",
    ((32, 32), 3, 1_999, False): "photos-32-few",
    ((32, 32), 3, 2_000, False): "photos-32",
    ((48, 48), 3, 2_000, False): "photos-32",
    ((64, 64), 3, 600, False): "photos-64-few",
    ((64, 64), 1, 600, False): "photos-64-few",
    ((96, 128), 3, 20_000, False): "photos-64",
    ((128, 128), 3, 100, False): "photos-128-few",
    ((256, 256), 3, 10_000, False): "photos-256",
    ((512, 512), 3, 10_000, False): "photos-256",
    ((32, 32), 1, 50_000, True): "photos-32-r3gan",
    ((64, 64), 3, 100, True): "photos-64-r3gan-few",
    ((128, 128), 3, 30_000, True): "photos-128-r3gan",
    ((256, 256), 3, 1_000, True): "photos-256-r3gan-few",
}


@pytest.mark.parametrize("of", CHOICES, ids=CHOICES.values())
def test_what_is_chosen_for_images_exists_and_can_make_them(
    of: tuple[tuple[int, int], int, int, bool],
) -> None:
    (height, width), channels, count, gpu = of
    image = ImageShape(channels, height, width)
    choice = photos.choose(image, count, gpu, "photos")
    assert choice.recipe == CHOICES[of]
    assert recipe(choice.recipe).recipe == choice.recipe
    assert recipe(choice.recipe).discriminator.augment.name == (  # type: ignore[attr-defined]
        "ada" if gpu else "diffaugment" if count < 2_000 else "none"
    )
    assert f"{count:,}" in choice.reason
    check_networks(recipe(choice.recipe), DataSpec(image))
    check_networks(recipe(choice.other), DataSpec(image))


@pytest.mark.parametrize("side", range(32, 257))
def test_sides_that_do_not_halve_are_refused_with_those_that_do(side: int) -> None:
    rest = side
    while rest % 2 == 0 and rest > 7:
        rest //= 2
    if rest <= 7:
        assert photos.choose(ImageShape(3, side, side), 9, False, "p").recipe
        return
    with pytest.raises(UserError) as caught:
        photos.choose(ImageShape(3, side, side), 9, False, "WHAT p")
    said = str(caught.value)
    assert said.startswith(f"WHAT p: images of {side}x{side} ")
    best = int(said.partition("--size ")[2].split()[0])
    assert best == max(s for s in (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224) if s < side)


def test_the_large_r3gan_is_the_published_one() -> None:
    # WidthPerStage and CardinalityPerStage of the authors' preset FFHQ-256.
    stages = plan(ImageShape(3, 256, 256), recipe("photos-256-r3gan").generator.network)  # type: ignore[attr-defined]
    assert [s.width for s in stages] == [3 * w // 4 for w in (1024,) * 4 + (512, 256, 128)]
    assert [s.groups for s in stages] == [3 * x for x in (32,) * 4 + (16, 8, 4)]


@pytest.mark.parametrize(
    ("sizes", "made"),
    [
        ([(70, 64)] * 10, (64, 64)),
        ([(500, 300)] * 5 + [(260, 900)] * 5, (256, 256)),
        # One of ten may be smaller.
        ([(20, 20)] + [(130, 140)] * 19, (128, 128)),
        ([(63, 100)] * 5 + [(100, 100)] * 5, (32, 32)),
        ([(20, 24)] * 4, (20, 24)),
        ([(28, 28)] * 4, (28, 28)),
        ([(27, 27)] * 4, (32, 32)),
    ],
)
def test_the_size_is_that_of_nearly_all_images(
    tmp_path: Path, sizes: list[tuple[int, int]], made: tuple[int, int]
) -> None:
    survey = raw.survey(str(folder_of(tmp_path / "p", sizes)), lambda *_: None, "WHAT")
    assert survey.count == len(sizes)
    assert ready.shape_of(survey, ready.sized(survey, None, 0)) == ImageShape(3, *made)
    assert ready.sized(survey, 48, 0).size == (48, 48)


def test_a_set_is_gray_only_if_all_images_are(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "p", [(32, 32)] * 5, "L")
    assert open_images(str(made_of(folder))).shape == ImageShape(1, 32, 32)
    folder_of(folder, [(32, 32)] * 2)
    Image.new("L", (32, 32)).save(folder / "000.png")
    assert open_images(str(made_of(folder))).shape == ImageShape(3, 32, 32)


def test_a_set_is_prepared_once_and_anew_after_a_change(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "my photos", [(40, 50), (64, 33), (33, 33)])
    first = made_of(source)
    assert first.parent == raw.sets_folder()
    before = (first / "manifest.json").stat().st_mtime_ns
    assert made_of(source) == first
    source = source.rename(tmp_path / "elsewhere")
    assert made_of(source).name.rpartition("-")[2] == first.name.rpartition("-")[2]
    assert (first / "manifest.json").stat().st_mtime_ns == before
    assert made_of(source, size=48) != made_of(source)
    Image.new("RGB", (50, 50)).save(source / "001.png")
    again = made_of(source)
    assert again.name.rpartition("-")[2] != first.name.rpartition("-")[2]
    known = [manifest.read(Storage(str(folder))) for folder in (first, again)]
    assert [each.count for each in known if each] == [3, 3]
    assert known[0] != known[1]


def test_a_zip_is_a_source_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "p", [(32, 32)] * 3)
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    assert raw.is_raw(str(tmp_path / "p.zip"), "WHAT")
    sets = [made_of(each) for each in (tmp_path / "p.zip", folder)]
    assert (sets[0] / "train.parquet").read_bytes() == (sets[1] / "train.parquet").read_bytes()


def test_what_is_a_set_already_is_left_as_it_is(tmp_path: Path) -> None:
    whole = made_of(folder_of(tmp_path / "p", [(32, 32)] * 3))
    for data in ("mnist", str(whole), str(whole / "train.parquet"), "s3://bucket/set", "nowhere"):
        assert not raw.is_raw(data, "--data")
    assert raw.is_raw(str(whole / "train.parquet"), "--data", resize=True)


@pytest.mark.parametrize("how", ["mixed shapes", "labels of text"])
def test_parquet_that_cannot_be_trained_on_as_it_is_is_prepared(tmp_path: Path, how: str) -> None:
    data = broken(tmp_path, how)
    assert raw.is_raw(data, "--data")
    assert open_images(str(made_of(Path(data)))).shape == ImageShape(1, 32, 32)


def test_damaged_images_go_through_skip_bad(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "p", [(32, 32)] * 4)
    (source / "002.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"002\.png.*--skip-bad"):
        made_of(source)
    how = PrepareSettings(size=(32, 32), channels="rgb")
    assert not raw.set_folder(str(source), how, "WHAT").exists()
    made = made_of(source, skip_bad=1)
    assert open_images(str(made)).count == 3
    assert "002.png" in (made / "bad-images.txt").read_text()
    with pytest.raises(UserError, match=r"002\.png"):
        made_of(source)


def test_a_set_is_listed_to_be_cleaned_unless_a_run_reads_it(tmp_path: Path) -> None:
    made = made_of(folder_of(tmp_path / "p", [(32, 32)] * 2))
    assert made in [leftover.path for leftover in clean.find()]
    with raw.in_use_if_kept(str(made)):
        assert made not in [leftover.path for leftover in clean.find()]
    for leftover in clean.find():
        if leftover.path == made:
            clean.remove(leftover)
    assert not made.exists()


def test_a_recipe_has_the_size_that_its_networks_want(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "p", [(70, 90)] * 3)
    survey = raw.survey(str(folder), lambda *_: None, "--data")
    assert ready.fitting(recipe("photos-128"), survey) == 128
    assert ready.fitting(recipe("mnist-dcgan"), survey) is None
    deep = override(recipe("cifar10-r3gan-tiny"), {"generator.network.widths": "8,8,8,8,8,8,8,8"})
    with pytest.raises(UserError, match="8 stages need sides"):
        ready.fitting(deep, survey)


MISTAKES = {
    "photos-46": "'photos-46': no such recipe, did you mean photos-64?",
    "nowhere/photos": "nowhere/photos: no such file or folder; give your images, or a recipe's",
    "photos.zip": "photos.zip: no such file or folder",
    "p --data q": "p: --data q names images too; leave one out",
    "p --size 100": "WHAT p: images of 100x100 do not halve evenly",
    "p --size big": "--size 'big': should be a number",
    "p --skip-bad x": "--skip-bad 'x'",
    "p --generator.network.widht 3": "no such setting, did you mean --generator.network.width?",
    "mnist-mlp --size 32": "--size 32: mnist is no source of images but a set",
    "photos-64 --data texts": "--data texts: no images of a known kind",
    "texts": "WHAT texts: no images of a known kind",
    "run": "run: is a run, not images; go on with `distgan train --resume run`",
    "--resume run --size 32": "--size 32: goes with --data",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_said_before_anything_is_prepared(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder_of(tmp_path / "p", [(32, 32)] * 2)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/readme.txt").write_text("no image")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("")
    assert main(["train", "--workers", "0", *line.split()]) == 2
    assert MISTAKES[line] in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_folder_is_trained_on_by_one_command_and_again_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # A folder named like a recipe is not what the recipe's name means.
    folder_of(tmp_path / "mnist-mlp", [(32, 32)] * 2)
    folder_of(tmp_path / "p", [(33, 40)] * 70)
    small = ("--workers", "0", "--images", "64", "--generator.network.width", "4")
    assert main(["train", "p", *small, "--out", "one"]) == 0
    said = capsys.readouterr().out
    assert "p: 70 images, all of 33x40; preparing them at 32x32, once, in " in said
    assert "photos-32-few: for 70 images, fewer than 2,000, of 32x32x3: a small DCGAN" in said
    assert "images/s here, a minute for all 64; finer on a GPU with photos-32-r3gan-few" in said
    (made,) = (tmp_path / "cache/distgan/sets").iterdir()
    assert main(["train", "--data", "p", *small, "--out", "two"]) == 0
    assert "prepared at 32x32 before" in capsys.readouterr().out
    assert [*made.parent.iterdir()] == [made]
    config = (tmp_path / "two/config.yaml").read_text()
    assert "recipe: photos-32-few" in config
    assert f"data: {made}" in config
    again = ("train", "--resume", "two", "--data", "p", "--images", "128", "--workers", "0")
    assert main([*again]) == 0
    assert main(["train", "mnist-mlp", "--workers", "0", "--images", "128", "--out", "three"]) == 0
    assert "data: mnist" in (tmp_path / "three/config.yaml").read_text()
    # The hint of `data prepare` names the recipe that was chosen.
    capsys.readouterr()
    options = ("--size", "32", "--out", "set", "--workers", "0")
    assert main(["data", "prepare", "p", *options]) == 0
    assert "train on it   distgan train photos-32-few --data set" in capsys.readouterr().out
    made_so = PrepareSettings(size=(32, 32)).size
    assert open_images("set").shape[1:] == made_so
