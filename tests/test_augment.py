"""Every augmentation of the registry, and each operation against its closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from distgan import draws
from distgan.augment import AUGMENTATIONS, ada, diffaugment
from distgan.augment.base import Numbers

from .augmenting import NORMAL_ZERO, drawn, images, table

ONE = torch.ones((), dtype=torch.float64)
SHAPES = [(1, 8, 8), (3, 8, 8), (2, 6, 9)]
ACTIVE = [name for name in AUGMENTATIONS if name != "none"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_batch_is_augmented_as_its_parts_are(name: str, shape: tuple[int, ...]) -> None:
    settings, x = AUGMENTATIONS[name](), images(7, *shape)
    numbers = drawn(settings.numbers, 7)
    whole = settings.apply(x, numbers, 0.7 * ONE)
    assert whole.shape == x.shape
    assert whole.dtype == x.dtype
    for part in (slice(0, 2), slice(2, 3), slice(3, 7)):
        torch.testing.assert_close(settings.apply(x[part], numbers[part], 0.7 * ONE), whole[part])


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 4, 6)], ids=str)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_with_respect_to_the_images(name: str, shape: tuple[int, ...]) -> None:
    settings, x = AUGMENTATIONS[name](), images(3, *shape).requires_grad_()
    numbers = drawn(settings.numbers, 3)
    assert torch.autograd.gradcheck(lambda x: settings.apply(x, numbers, ONE), x)


@pytest.mark.parametrize("name", ACTIVE)
def test_second_derivatives_with_respect_to_the_images(name: str) -> None:
    # Those of a penalty on the slope of what judges augmented images.
    settings, x = AUGMENTATIONS[name](), images(2, 3, 3, 3).requires_grad_()
    numbers = drawn(settings.numbers, 2)
    judged = lambda x: settings.apply(x, numbers, ONE).tanh().sum((1, 2, 3))  # noqa: E731
    assert torch.autograd.gradgradcheck(judged, x)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_float32_and_channels_last_change_only_the_rounding(name: str) -> None:
    settings, x = AUGMENTATIONS[name](), images(6, 3, 8, 8)
    numbers = drawn(settings.numbers, 6)
    expected = settings.apply(x, numbers, 0.5 * ONE)
    single = x.float().contiguous(memory_format=torch.channels_last)
    found = settings.apply(single, numbers.float(), 0.5 * ONE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_image_uses_the_numbers_that_are_drawn_for_it(name: str) -> None:
    settings, x = AUGMENTATIONS[name](), images(2, 3, 8, 8)
    if settings.numbers:
        with pytest.raises(StopIteration):
            settings.apply(x, drawn(settings.numbers - 1, 2), ONE)
    for column in range(settings.numbers):
        # Each number matters, to some image, at some setting of the others.
        numbers = drawn(settings.numbers, 64)
        batch = x[:1].expand(64, -1, -1, -1)
        before = settings.apply(batch, numbers, 0.5 * ONE)
        numbers[:, column] = 1.0001 - numbers[:, column]
        assert not torch.allclose(settings.apply(batch, numbers, 0.5 * ONE), before), column


def test_numbers_at_the_ends_of_their_range_stay_in_range() -> None:
    ends = torch.tensor([2.0**-25, 0.5, 1.0], dtype=torch.float32)
    for count in (1, 3, 4, 7):
        found = Numbers(ends[:, None]).integer(count)
        assert found.tolist() == [0, math.ceil(count / 2) - 1, count - 1]
    assert Numbers(ends[:, None]).normal().tolist() == pytest.approx([-5.42, 0.0, 5.29], abs=0.01)
    assert not Numbers(ends[:, None]).event(0.0).any()
    assert Numbers(ends[:, None]).event(1.0).all()


def test_the_normal_numbers_are_normal() -> None:
    uniform = torch.from_numpy(draws.uniforms(0, "test", [range(100_000)], 1)).double()
    z = Numbers(uniform).normal().numpy()
    for power, expected, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((z**power).mean() - expected) < 5 * (variance / len(z)) ** 0.5


def test_flip_is_a_mirror_for_half_of_the_images() -> None:
    x = images(400, 3, 4, 5)
    found = AUGMENTATIONS["flip"]().apply(x, drawn(1, 400), ONE)
    flipped = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(found, x, strict=True)])
    assert torch.equal(found[~flipped], x[~flipped])
    assert abs(int(flipped.sum()) - 200) < 50


def test_diffaugment_color_pixel_by_pixel() -> None:
    x, u = images(3, 3, 4, 5), drawn(3, 3)
    found = diffaugment.color(x, Numbers(u)).numpy()
    for image, (brightness, saturation, contrast), result in zip(
        x.numpy(), u.numpy(), found, strict=True
    ):
        expected = image + (brightness - 0.5)
        grey = expected.mean(0)
        expected = np.stack([grey + (c - grey) * 2 * saturation for c in expected])
        expected = expected.mean() + (expected - expected.mean()) * (contrast + 0.5)
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
        # Saturation and contrast keep the mean, brightness shifts it.
        assert result.mean() == pytest.approx(image.mean() + brightness - 0.5, abs=1e-12)


def test_diffaugment_translation_is_a_roll_that_leaves_zeros() -> None:
    x = images(50, 3, 16, 24)
    u = drawn(2, 50)
    found = diffaugment.translation(x, Numbers(u)).numpy()
    shifts = set()
    for image, (a, b), result in zip(x.numpy(), u.numpy(), found, strict=True):
        down, right = math.ceil(a * 5) - 3, math.ceil(b * 7) - 4
        padded = np.pad(image, ((0, 0), (2, 2), (3, 3)))
        rolled = np.roll(padded, (down, right), (1, 2))[:, 2:-2, 3:-3]
        np.testing.assert_array_equal(result, rolled)
        shifts |= {(down, 0), (0, right)}
    assert shifts == {(d, 0) for d in range(-2, 3)} | {(0, r) for r in range(-3, 4)}


@pytest.mark.parametrize("size", [15, 16])
def test_diffaugment_cutout_removes_half_of_each_side(size: int) -> None:
    x = torch.ones(300, 1, size, size, dtype=torch.float64)
    found = diffaugment.cutout(x, Numbers(drawn(2, 300)))
    holes = found == 0
    assert torch.equal(found, (~holes).double())
    rows, columns = holes.any(3).sum(2), holes.any(2).sum(2)
    assert torch.equal(holes.sum((1, 2, 3)), (rows * columns)[:, 0]), "a rectangle"
    assert rows.max() == columns.max() == 8
    assert rows.min() >= 3, "at least the half below its middle is inside"
    middle = diffaugment.cutout(x[:1], Numbers(torch.full((1, 2), 0.5)))
    assert (middle == 0).sum() == 64


@pytest.mark.parametrize("part", ["color", "translation"])
def test_diffaugment_at_neutral_numbers_is_the_identity(part: str) -> None:
    function, size = diffaugment.PARTS[part]
    x = images(2, 3, 16, 16)
    torch.testing.assert_close(function(x, Numbers(torch.full((2, size), 0.5))), x)


@pytest.mark.parametrize("policy", ["color", "translation,cutout"])
def test_a_policy_is_its_parts_in_order(policy: str) -> None:
    settings = diffaugment.DiffAugmentSettings(policy=policy)
    x, u = images(4, 3, 8, 8), drawn(settings.numbers, 4)
    columns, expected = Numbers(u), x
    for part in policy.split(","):
        expected = diffaugment.PARTS[part][0](expected, columns)
    assert torch.equal(settings.apply(x, u, ONE), expected)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("group", ada.GROUPS)
def test_ada_at_probability_0_is_the_identity_to_the_last_bit(group: str, channels: int) -> None:
    x, settings = images(5, channels, 8, 7), ada.ADASettings(groups=group)
    assert torch.equal(settings.apply(x, drawn(settings.numbers, 5), 0 * ONE), x)


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_ada_leaves_each_image_alone_as_often_as_it_should(p: float) -> None:
    # Half of the flips and a quarter of the turns do nothing; 1/64 of the moves, too.
    alone = {
        "geometric": (1 - p) ** 4,  # two turns share one factor
        "color": (1 - p) ** 4 * (1 - p / 2),
    }
    x = images(1, 3, 6, 6).expand(4_000, -1, -1, -1)
    for group, expected in alone.items():
        settings = ada.ADASettings(groups=group)
        found = settings.apply(x, drawn(settings.numbers, 4_000), p * ONE)
        share = (found == x).flatten(1).all(1).double().mean().item()
        assert abs(share - expected) < 5 * (expected * (1 - expected) / 4_000) ** 0.5, group


# In the tables below a number of 2.0 is above every probability: that change does not happen.


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_ada_blit_turns_as_rot90_does(mirror: bool, quarters: int) -> None:
    x = images(2, 3, 6, 6)
    row = [0.5, 1.0 if mirror else 0.5, 0.5, (quarters + 1) / 4, 2.0, 0.5, 0.5]
    found = ada.blit(x, Numbers(table(row, 2)), ONE)
    expected = torch.rot90(x.flip(3) if mirror else x, quarters, (2, 3))
    assert torch.equal(found, expected)


def test_ada_blit_moves_by_whole_pixels_over_reflections() -> None:
    x = images(1, 3, 16, 24)
    for a, b in [(1.0, 1.0), (0.01, 0.9), (0.3, 0.01)]:
        found = ada.blit(x, Numbers(table([2.0, 1.0, 2.0, 1.0, 0.5, a, b], 1)), ONE)
        right, down = round((a - 0.5) / 4 * 24), round((b - 0.5) / 4 * 16)
        padded = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (3, 3)), mode="reflect")
        expected = padded[:, :, 2 - down : 18 - down, 3 - right : 27 - right]
        np.testing.assert_array_equal(found, expected)


def test_ada_blit_turns_oblong_images_by_halves_only() -> None:
    x = images(1, 1, 4, 6)
    for quarters in range(4):
        row = [2.0, 1.0, 0.5, (quarters + 1) / 4, 2.0, 0.5, 0.5]
        expected = torch.rot90(x, 2, (2, 3)) if quarters >= 2 else x
        assert torch.equal(ada.blit(x, Numbers(table(row, 1)), ONE), expected)


def geometric(x: Tensor, **changes: float) -> Tensor:
    names = ("scale", "angle", "stretch", "angle_again")
    row = [number for name in names for number in _event(name, changes)]
    moved = "right" in changes or "down" in changes
    row += [0.5 if moved else 2.0, changes.get("right", 0.5), changes.get("down", 0.5)]
    return ada.geometric(x, Numbers(table(row, len(x))), ONE)


def _event(name: str, changes: dict[str, float]) -> list[float]:
    return [0.5, changes[name]] if name in changes else [2.0, 0.9]


def _normal(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_ada_geometric_at_neutral_numbers_is_the_identity() -> None:
    x = images(2, 3, 8, 6)
    found = geometric(x, scale=0.5, angle=0.5, stretch=0.5, angle_again=0.5, right=0.5, down=0.5)
    torch.testing.assert_close(found, x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("name", ["angle", "angle_again"])
def test_ada_geometric_turns_by_quarters_as_rot90_does(name: str, size: int) -> None:
    x = images(2, 3, size, size)
    for quarters, number in [(1, 0.25), (2, 1.0), (3, 0.75)]:
        found = geometric(x, **{name: number})
        expected = torch.rot90(x, quarters, (2, 3))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_ada_geometric_moves_by_a_normal_share_of_the_size() -> None:
    x = images(1, 3, 16, 24)
    # 2 of 24 pixels are 2/3 deviations of 1/8, -3 of 16 are -1.5.
    found = geometric(x, right=_normal(2 / 3), down=_normal(-1.5))
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (2, 2)), mode="reflect")
    np.testing.assert_allclose(found, padded[:, :, 6:22, 0:24], rtol=1e-9, atol=1e-9)


def test_ada_geometric_scales_and_stretches_about_the_middle() -> None:
    # A ramp shows the map itself, but for what bicubic interpolation does to straight lines.
    size = 64
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    ramps = torch.stack([place.expand(size, size), place[:, None].expand(size, size)])[None]
    inner = slice(size // 2 - 8, size // 2 + 8)
    # Five deviations of 0.2 are a factor of 2; stretching doubles the width and halves the height.
    for changes, wide, high in [({"scale": 5.0}, 2, 2), ({"stretch": 5.0}, 2, 0.5)]:
        found = geometric(ramps, **{name: _normal(z) for name, z in changes.items()})
        x, y = found[0, :, inner, inner]
        torch.testing.assert_close(x, ramps[0, 0, inner, inner] / wide, rtol=0, atol=0.05)
        torch.testing.assert_close(y, ramps[0, 1, inner, inner] / high, rtol=0, atol=0.05)


COLOR = {"brightness": 0.8, "contrast": 0.7, "flip": 1.0, "hue": 0.6, "saturation": 0.3}


def _numpy_color(image: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    # Homogeneous 4 x 4 matrices, one after another, as the paper's appendix writes them.
    z = {
        name: torch.special.ndtri(torch.tensor(u, dtype=torch.float64)).item()
        for name, u in COLOR.items()
    }
    v = np.array([1, 1, 1, 0]) / np.sqrt(3)
    matrices = {name: np.eye(4) for name in COLOR}
    matrices["brightness"][:3, 3] = 0.2 * z["brightness"]
    matrices["contrast"][:3, :3] *= 2 ** (0.5 * z["contrast"])
    matrices["flip"] -= 2 * np.outer(v, v)
    angle = (2 * COLOR["hue"] - 1) * math.pi
    cross = np.stack([np.cross(v[:3], axis) for axis in np.eye(3)], axis=1)
    turn = math.cos(angle) * np.eye(3) + (1 - math.cos(angle)) * np.outer(v, v)[:3, :3]
    matrices["hue"][:3, :3] = turn + math.sin(angle) * cross
    matrices["saturation"] = np.outer(v, v) + (np.eye(4) - np.outer(v, v)) * 2 ** z["saturation"]
    matrices["saturation"][3] = [0, 0, 0, 1]
    points = np.concatenate([image.reshape(3, -1), np.ones((1, image[0].size))])
    for name in COLOR:
        points = matrices[name] @ points if name in names else points
    return points[:3].reshape(image.shape)


@pytest.mark.parametrize("names", [*((name,) for name in COLOR), tuple(COLOR)], ids="+".join)
def test_ada_color_against_matrices_in_numpy(names: tuple[str, ...]) -> None:
    x = images(2, 3, 4, 5)
    row = [n for name, u in COLOR.items() for n in (0.5 if name in names else 2.0, u)]
    found = ada.color(x, Numbers(table(row, 2)), ONE)
    expected = np.stack([_numpy_color(image, names) for image in x.numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(16, 16), (12, 20)])
def test_ada_cutout_removes_a_quarter_of_the_image(shape: tuple[int, int]) -> None:
    height, width = shape
    x, u = torch.ones(400, 2, height, width, dtype=torch.float64), drawn(3, 400)
    holes = ada.cutout(x, Numbers(u), ONE) == 0
    inside = ((u[:, 1:] > 1 / 4) & (u[:, 1:] < 3 / 4)).all(1)
    share = holes.double().mean((1, 2, 3))
    assert inside.sum() > 50
    assert torch.equal(share[inside], torch.full_like(share[inside], 1 / 4))
    # As published: pixel middles nearer to the centre than a quarter of the side, in each axis.
    for hole, (_, right, down) in zip(holes, u.tolist(), strict=True):
        rows = np.abs((np.arange(height) + 0.5) / height - down) < 0.25
        columns = np.abs((np.arange(width) + 0.5) / width - right) < 0.25
        np.testing.assert_array_equal(hole[0].numpy(), np.outer(rows, columns))
        assert torch.equal(hole[0], hole[1])
    cut = (ada.cutout(x, Numbers(u), 0.3 * ONE) == 0).flatten(1).any(1)
    assert torch.equal(cut, u[:, 0] <= 0.3)


def test_a_groups_share_is_that_of_its_events_probability() -> None:
    p, count = 0.6, 100_000
    settings = ada.ADASettings(groups="color:0.5,cutout")
    assert settings.numbers == ada.GROUPS["color"][1] + ada.GROUPS["cutout"][1]
    x = images(1, 3, 1, 1).expand(count, -1, -1, -1)
    uniform = drawn(settings.numbers, count)
    for event, name in enumerate(COLOR):
        numbers = uniform.clone()
        # All events of colour but one are out of reach, and so is the cutout.
        others = [2 * n for n in range(5) if n != event] + [10]
        numbers[:, others] = 2.0
        numbers[:, 5] = 1.0  # an event of the luma flip always flips
        found = settings.apply(x, numbers, p * ONE)
        share = (found != x).flatten(1).any(1).double().mean().item()
        assert abs(share - p / 2) < 5 * (p / 2 * (1 - p / 2) / count) ** 0.5, name


def test_ada_color_of_grey_images_is_brightness_contrast_and_luma_flip() -> None:
    x = images(2, 1, 4, 5)
    row = [0.5, 0.8, 0.5, 0.7, 0.5, 1.0, 0.5, 0.6, 0.5, 0.3]
    found = ada.color(x, Numbers(table(row, 2)), ONE)
    grey = _numpy_color(x[0].expand(3, -1, -1).numpy(), tuple(COLOR))
    np.testing.assert_allclose(found[0].expand(3, -1, -1), grey, rtol=1e-9, atol=1e-9)
    row[1] = row[3] = NORMAL_ZERO
    torch.testing.assert_close(ada.color(x, Numbers(table(row, 2)), ONE), -x)
