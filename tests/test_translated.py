"""Metrics of translations beside straight lines, baselines, ranks, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from distgan.config.evaluate import EvaluateSettings
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.prepare import PrepareSettings, prepare
from distgan.data.sides import Sets
from distgan.data.spec import data_spec
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.evaluate.evaluation import Evaluation, Evaluator
from distgan.evaluate.reals import mixed, read_images
from distgan.evaluate.rows import shown_rows
from distgan.families import build
from distgan.families.registry import from_yaml
from distgan.families.tasks import as_output, edges, gray, small
from distgan.families.translation import Translation
from distgan.features import load
from distgan.metrics import frechet, paired
from distgan.metrics.moments import Moments
from distgan.parallel import World
from distgan.recipes import recipe

from . import ranks

SIDE, HELD_OUT = 12, 130
"""The held-out images fill a block, and part of another."""


class Stub(nn.Module):
    """A generator whose outputs are known: a multiple of the input, in any shape."""

    def __init__(self, output: ImageShape, gain: float = 0.5, shift: float = 0.1) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.tensor(gain)), shift
        self._output = output

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.gain * as_output(images, self._output) + self.shift
        return made


def made(folder: Path, channels: int, train: int = 40, seed: int = 0) -> str:
    """A set of smooth images with labels, and `HELD_OUT` held-out ones."""
    draw = np.random.default_rng(seed)
    count = train + HELD_OUT
    rough = draw.uniform(0, 256, (count, 4, 4, channels)).astype(np.uint8)
    levels = [np.kron(image, np.ones((3, 3, 1))) for image in rough]
    images = (np.stack(levels) + draw.uniform(0, 9, (count, SIDE, SIDE, channels))).clip(0, 255)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "a.npz", images=images.astype(np.uint8), labels=np.arange(count) % 10)
    prepare(str(folder / "a.npz"), str(folder / "set"), PrepareSettings(validation=HELD_OUT))
    return str(folder / "set")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("colours"), 3)


@pytest.fixture(scope="module")
def gray_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("grays"), 1, seed=1)


def read(data: str) -> tuple[Tensor, NDArray[np.int64]]:
    """All images of a set, float32 (n, c, h, w) in [-1, 1], and labels."""
    pixels = read_resident(open_images(data))
    assert pixels.labels is not None
    return torch.from_numpy(pixels.images.copy()).permute(0, 3, 1, 2) / 127.5 - 1, pixels.labels


def config_of(data: str, **changes: Any) -> RunConfig:
    return override(recipe("cifar10-colorize"), {"data": data, **changes})


def family_of(config: RunConfig, sets: Sets) -> Translation:
    family = build(config, data_spec(*sets))
    assert isinstance(family, Translation)
    return family


def measured(
    world: World, data: str, metrics: str, changes: dict[str, Any], **settings: Any
) -> Evaluation:
    torch.set_num_threads(1)
    sets = Sets(open_images(data))
    family = family_of(config_of(data, **changes), sets)
    chosen = override(EvaluateSettings(), {"metrics": metrics, **settings})
    evaluator = Evaluator(chosen, sets.images, "few", family, world)
    return evaluator.evaluate({"generator": Stub(family.output_shape)}, 0)


def levels(images: Tensor) -> NDArray[np.float64]:
    """Rounded to 8 bits, in [0, 1]."""
    rounded = ((images.float() + 1) * 127.5).round().clamp(0, 255)
    found: NDArray[np.float64] = rounded.double().numpy() / 255
    return found


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("task", ["gray", "edges", "small"])
def test_pairs_are_compared_in_8_bits(data: str, task: str, direction: str) -> None:
    images, _ = read(f"{data}/validation")
    inputs = {"gray": gray, "edges": edges, "small": lambda x: small(x, 2)}[task](images)
    given, targets = (inputs, images) if direction == "AtoB" else (images, inputs)
    output = ImageShape(*targets.shape[1:])
    with torch.no_grad():
        made, wanted = levels(Stub(output)(given)), levels(targets)
    changes = {"task": task, "direction": direction, "scale": 2}
    found = measured(World(), data, "l1,psnr", changes).values
    apart = np.abs(made - wanted)
    assert found["l1"].value == pytest.approx(apart.mean(), rel=1e-6)
    ratios = -10 * np.log10((apart**2).mean((1, 2, 3)))
    assert found["psnr"].value == pytest.approx(ratios.mean(), rel=1e-6)
    half = 1.9785 * ratios.std(ddof=1) / HELD_OUT**0.5
    assert found["psnr"].high == pytest.approx(ratios.mean() + half, rel=1e-5)
    baseline = direction == "AtoB" and task in ("gray", "small")
    assert ("l1-of-input" in found) == ("psnr-of-input" in found) == baseline
    if baseline:
        plain = levels(as_output(given, output))
        assert found["l1-of-input"].value == pytest.approx(np.abs(plain - wanted).mean(), rel=1e-6)


def test_the_first_value_is_the_metrics_own(data: str) -> None:
    found = measured(World(), data, "ssim,l1", {})
    assert list(found.values) == ["ssim", "ssim-of-input", "l1", "l1-of-input"]
    images, _ = read(f"{data}/validation")
    plain = torch.from_numpy(levels(gray(images).expand(-1, 3, -1, -1)))
    expected = paired.ssim(plain, torch.from_numpy(levels(images))).mean().item()
    assert found.values["ssim-of-input"].value == pytest.approx(expected, rel=1e-6)


def test_the_card_says_which_images_were_translated(data: str) -> None:
    card = measured(World(), data, "l1", {"task": "small", "scale": 2}).card.to_dict()
    assert (card["translated"], card["translated_split"]) == (HELD_OUT, "validation")
    assert (card["direction"], card["task"]) == ("AtoB", "small, 1/2")
    assert card["translated_checksum"] != card["data_checksum"]
    assert (card["real"], card["fake"], card["extractor"]) == (0, 0, "")
    other = measured(World(), data, "l1", {"direction": "BtoA"}).card
    assert other.key != card["key"]
    whole = measured(World(), data, "l1", {}, held_out=f"{data}/validation", num=100).card
    assert (whole.translated, whole.translated_split) == (100, "held out")


def test_without_held_out_images_training_images_are_translated_and_the_card_says_so(
    data: str,
) -> None:
    card = measured(World(), f"{data}/validation", "l1", {}).card
    assert (card.translated, card.translated_split) == (HELD_OUT, "train")


def test_distances_are_to_the_side_of_the_outputs(data: str) -> None:
    """Of gray images from colour: not to the images of the set, which are in colour."""
    changes = {"direction": "BtoA"}
    found = measured(World(), data, "frechet,sliced", changes, features="mnist")
    images, _ = read(f"{data}/validation")
    extractor = load("mnist")
    output = ImageShape(1, SIDE, SIDE)
    with torch.no_grad():
        pictures = [gray(images), Stub(output)(images)]
    real, fake = (
        extractor(torch.from_numpy(levels(each) * 255).round().byte()).features for each in pictures
    )
    expected = frechet.distance(Moments.of(real), Moments.of(fake))
    assert found.values["frechet"].value == pytest.approx(expected, rel=1e-5)
    card = found.card
    assert (card.real, card.fake, card.split) == (HELD_OUT, HELD_OUT, "validation")
    assert card.used == f"frechet {HELD_OUT} and {HELD_OUT}, sliced {HELD_OUT} and {HELD_OUT}"


@pytest.mark.slow
def test_labels_of_outputs_are_those_that_a_classifier_sees() -> None:
    changes = {"task": "edges", "direction": "AtoB"}
    found = measured(World(), "mnist", "label-score,feature-distance", changes, num=250)
    images = open_images("mnist")
    pixels, labels = read_images(images, mixed(images, 250))
    assert labels is not None
    inputs = edges(pixels / 127.5 - 1)
    extractor = load("mnist")
    with torch.no_grad():
        output = Stub(images.shape)(inputs)
    shares = {}
    for name, each in (("", output), ("-of-input", inputs), ("-of-targets", pixels / 127.5 - 1)):
        seen = extractor(torch.from_numpy(levels(each) * 255).round().byte()).probabilities
        assert seen is not None
        right = (seen.argmax(1) == labels).double()
        shares[name] = right.mean().item()
        assert found.values[f"label-score{name}"].value == pytest.approx(shares[name], abs=1e-12)
    assert shares["-of-targets"] > 0.9 > shares[""]
    least, most = found.values["label-score-of-targets"][1:]
    share, error = (
        shares["-of-targets"],
        (shares["-of-targets"] * (1 - shares["-of-targets"])) ** 0.5,
    )
    assert least == pytest.approx(share - 1.9695 * error / 249**0.5, rel=1e-4)
    assert most == pytest.approx(min(1, share + 1.9695 * error / 249**0.5), rel=1e-4)
    both = [torch.from_numpy(levels(x) * 255).round().byte() for x in (output, pixels / 127.5 - 1)]
    expected = paired.feature_distance(*map(extractor.seen_by_stages, both)).mean().item()
    assert found.values["feature-distance"].value == pytest.approx(expected, rel=1e-4)


def on_a_rank(world: World, data: str) -> dict[str, float]:
    metrics = "l1,psnr,ssim,feature-distance,kernel,modes"
    found = measured(world, data, metrics, {}, features="cifar10")
    return {name: value.value for name, value in found.values.items()}


@pytest.mark.slow
def test_one_two_and_three_ranks_measure_the_same(tmp_path: Path, data: str) -> None:
    alone = on_a_rank(World(), data)
    assert len(alone) == 8 + 1 + 5
    for size in (2, 3):
        for found in ranks.on_ranks(size, on_a_rank, tmp_path, data):
            assert found == pytest.approx(alone, rel=1e-10, abs=1e-10)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Stored pairs: in colour, and their gray partners, which are no function of these."""
    folder = tmp_path_factory.mktemp("pairs")
    draw = np.random.default_rng(2)
    (folder / "both").mkdir()
    for number in range(40):
        sides = draw.integers(0, 256, (SIDE, 2 * SIDE, 3)).astype(np.uint8)
        sides[:, SIDE:] = sides[:, SIDE:, :1]
        Image.fromarray(sides).save(folder / "both" / f"{number:02d}.png")
    settings = PrepareSettings(pairs="side-by-side", pair_channels="gray", validation=25)
    prepare(str(folder / "both"), str(folder / "set"), settings)
    return str(folder / "set")


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_stored_pairs_are_inputs_and_targets(pairs: str, direction: str) -> None:
    changes = {"task": "pairs", "direction": direction}
    found = measured(World(), pairs, "l1,sliced", changes, features="mnist")
    pixels = read_resident(open_images(f"{pairs}/validation"), pairs=True)
    assert pixels.pairs is not None
    a, b = (
        torch.from_numpy(each.copy()).permute(0, 3, 1, 2) / 127.5 - 1
        for each in (pixels.images, pixels.pairs)
    )
    given, targets = (a, b) if direction == "AtoB" else (b, a)
    with torch.no_grad():
        made = levels(Stub(ImageShape(*targets.shape[1:]))(given))
    expected = np.abs(made - levels(targets)).mean()
    assert found.values["l1"].value == pytest.approx(expected, rel=1e-6)
    assert "l1-of-input" not in found.values
    assert (found.card.real, found.card.translated, found.card.task) == (25, 25, "")


def test_a_held_out_set_without_pairs_is_refused(pairs: str, data: str) -> None:
    sets = Sets(open_images(pairs))
    family = family_of(config_of(pairs, task="pairs"), sets)
    chosen = EvaluateSettings(metrics=("l1",), held_out=f"{data}/validation")
    with pytest.raises(UserError, match="has no pairs, and the run's set has pairs of 12x12"):
        evaluation.check(chosen, family, *sets)


def test_rows_are_shown_as_they_are_stored(pairs: str, data: str, gray_data: str) -> None:
    sets = Sets(open_images(pairs))
    family = family_of(config_of(pairs, task="pairs"), sets)
    found = shown_rows(*sets, EvaluateSettings(), family, family.input_columns, 30).columns
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        "image": (30, 3, SIDE, SIDE),
        "pair": (30, 1, SIDE, SIDE),
    }
    stored = read_resident(open_images(f"{pairs}/validation"), pairs=True)
    numbers = np.resize(mixed(open_images(f"{pairs}/validation"), 25), 30)
    assert stored.pairs is not None
    for name, each in (("image", stored.images), ("pair", stored.pairs)):
        expected = each[numbers].transpose(0, 3, 1, 2) / 127.5 - 1
        assert found[name].numpy() == pytest.approx(expected, abs=1e-6)
    two, cycle = cycle_of(data, gray_data, identity=0)
    rows = shown_rows(*two, EvaluateSettings(), cycle, cycle.input_columns, 10).columns
    for name, each in (("image", data), ("other", gray_data)):
        images = read(f"{each}/validation")[0]
        assert torch.equal(rows[name], images[mixed(open_images(f"{each}/validation"), 10)])


CYCLE = """
family: cyclegan
recipe: test
data: {data}
data_b: "{data_b}"
images: 100
batch: 10
generator: {{network: {{name: resnet, width: 4, blocks: 1}}}}
discriminator: {{network: {{name: patchgan, layers: 1, width: 4}}}}
"""


def cycle_of(data: str, data_b: str, **changes: Any) -> tuple[Sets, Translation]:
    config = from_yaml(CYCLE.format(data=data, data_b=data_b), "test")
    sets = Sets(open_images(data), open_images(data_b) if data_b else None)
    return sets, family_of(override(config, changes), sets)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_two_sets_are_told_apart(data: str, gray_data: str, direction: str) -> None:
    sets, family = cycle_of(data, gray_data, direction=direction, identity=0)
    chosen = EvaluateSettings(metrics=("cycle", "frechet"), features="mnist")
    evaluator = Evaluator(chosen, sets.images, "two", family, World(), sets.other)
    there, back = (
        Stub(shape, gain) for shape, gain in ((family.output_shape, 0.4), (family.input_shape, 2.0))
    )
    networks = dict(zip(family.generators, (there, back), strict=True))
    found = evaluator.evaluate(networks, 0)
    colours, grays = (read(f"{each}/validation")[0] for each in (data, gray_data))
    inputs, reals = (colours, grays) if direction == "AtoB" else (grays, colours)
    with torch.no_grad():
        output = there(inputs)
        rounded = torch.from_numpy(levels(output) * 2 - 1).float()
        for name, each in (("cycle-error", output), ("cycle-error-of-8-bits", rounded)):
            expected = (back(each) - inputs).abs().mean().item() / 2
            assert found.values[name].value == pytest.approx(expected, rel=1e-5)
    extractor = load("mnist")
    real, fake = (
        Moments.of(extractor(torch.from_numpy(levels(each) * 255).round().byte()).features)
        for each in (reals, output)
    )
    expected = frechet.distance(real, fake)
    assert found.values["frechet"].value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("metric", ["l1", "psnr", "ssim", "feature-distance"])
def test_targets_of_two_sets_are_unknown(data: str, gray_data: str, metric: str) -> None:
    sets, family = cycle_of(data, gray_data, identity=0)
    with pytest.raises(UserError, match=rf"metrics {metric}: nobody knows what .* should become"):
        evaluation.check(EvaluateSettings(metrics=(metric,)), family, *sets)
    sets, family = cycle_of(data, "", task="gray", identity=0)
    assert family.knows_targets
    evaluation.check(EvaluateSettings(metrics=(metric,), features="cifar10"), family, *sets)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "one way": ({}, {"metrics": "cycle"}, "metrics cycle: a model of the family pix2pix"),
    "no noise": ({}, {"metrics": "memorisation"}, "metrics memorisation: .* cannot be measured"),
    "small": (
        {"task": "small", "scale": 2, "direction": "BtoA"},
        {"metrics": "ssim"},
        "metrics ssim: its windows are 11x11 pixels, and images are 6x6; measure psnr",
    ),
    "few": (
        {},
        {"metrics": "classifier-score", "num": 12},
        "needs at least 20 images of each side",
    ),
    "other classes": (
        {},
        {"metrics": "label-score", "features": "cifar10"},
        "label-score: cifar10 does not tell the classes .*; use --evaluate.features mnist",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused_in_one_line(name: str, data: str) -> None:
    changes, settings, said = REFUSED[name]
    sets = Sets(open_images(data))
    chosen = override(EvaluateSettings(), settings)
    with pytest.raises(UserError, match=said) as caught:
        evaluation.check(chosen, family_of(config_of(data, **changes), sets), *sets)
    assert "\n" not in str(caught.value)


def test_inputs_are_enlarged_as_pillow_does() -> None:
    draw = np.random.default_rng(3)
    images = draw.uniform(-0.5, 0.5, (1, 1, 6, 5)).astype(np.float32)
    found = as_output(torch.from_numpy(images), ImageShape(3, 24, 20))
    picture = Image.fromarray(images[0, 0], mode="F")
    expected = np.asarray(picture.resize((20, 24), Image.Resampling.BICUBIC))
    assert found.shape == (1, 3, 24, 20)
    for channel in found[0]:
        assert channel.numpy() == pytest.approx(expected, abs=1e-5)
    colours = torch.rand(2, 3, 8, 8) * 2 - 1
    assert torch.equal(as_output(colours, ImageShape(1, 8, 8)), gray(colours))
