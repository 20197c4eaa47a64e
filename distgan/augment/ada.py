"""ADA: Karras et al., "Training Generative Adversarial Networks with Limited Data"
(NeurIPS 2020), appendix B.

Every change happens to an image with probability p, which adapts to how much the
discriminator overfits. Here are the paper's pixel blitting, general geometric and colour
transformations, which are the configuration that it recommends, and of its corruptions the
cutout, which R3GAN adds; image-space filtering and noise are left out. Pixels from beyond the edge
are reflections.

One simplification: the geometric group interpolates bicubically where the paper filters
with a sym6 wavelet at twice the resolution. Nothing is smoothed before it shrinks; scale
factors lie within 2**+-0.6 in 95% of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from distgan.augment.adaptation import Adaptation
from distgan.augment.base import AugmentationSettings, Numbers, per_image
from distgan.augment.sampling import bicubic, reflect
from distgan.config.schedule import Share
from distgan.config.settings import SETTINGS, PositiveCount, nearest, split_commas


def blit(images: Tensor, numbers: Numbers, p: Tensor) -> Tensor:
    """Pixel blitting: mirror, rotate by multiples of 90 degrees, and shift by whole pixels.

    A shift is at most an eighth of the size. Images that are not square are rotated by 180
    degrees only.
    """
    n, channels, height, width = images.shape
    mirror = numbers.event(p) & (numbers.integer(2) == 1)
    quarters = numbers.event(p) * numbers.integer(4)
    moved = numbers.event(p)
    right = moved * (numbers.uniform(-1 / 8, 1 / 8) * width).round().long()
    down = moved * (numbers.uniform(-1 / 8, 1 / 8) * height).round().long()
    # For each pixel of the result, the pixel of the image that it shows: the inverse of each
    # change, applied in reverse order.
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device),
        torch.arange(width, device=images.device),
        indexing="ij",
    )
    y = reflect(y - down.view(-1, 1, 1), height)
    x = reflect(x - right.view(-1, 1, 1), width)
    if height == width:
        odd = (quarters % 2 == 1).view(-1, 1, 1)
        y, x = torch.where(odd, x, y), torch.where(odd, height - 1 - y, x)
    half = (quarters >= 2).view(-1, 1, 1)
    y, x = torch.where(half, height - 1 - y, y), torch.where(half, width - 1 - x, x)
    x = torch.where(mirror.view(-1, 1, 1), width - 1 - x, x)
    index = (y * width + x).view(n, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, index).view(images.shape)


def geometric(images: Tensor, numbers: Numbers, p: Tensor) -> Tensor:
    """Scale, rotate by any angle, stretch, rotate again, and shift by a fraction of a pixel.

    Log2 of both scales is normal with deviation 0.2, a move normal with deviation 1/8 of
    the size. Each of the two rotations happens with probability 1 - sqrt(1 - p), so that at
    least one happens with probability p.
    """
    turning = 1 - (1 - p).sqrt()
    scaled, scale = numbers.event(p), numbers.normal() * 0.2
    turned, angle = numbers.event(turning), numbers.uniform(-math.pi, math.pi)
    stretched, stretch = numbers.event(p), numbers.normal() * 0.2
    turned_again, angle_again = numbers.event(turning), numbers.uniform(-math.pi, math.pi)
    moved, right, down = numbers.event(p), numbers.normal() / 8, numbers.normal() / 8
    # The map from a pixel of the result to its place in the image, in pixels from the centre,
    # as (x, y).
    stretch = stretch * stretched
    back = (
        _turn(-angle * turned)
        @ torch.diag_embed(torch.stack([-stretch, stretch], 1).exp2())
        @ _turn(-angle_again * turned_again)
        * (-scale * scaled).exp2().view(-1, 1, 1)
    )
    height, width = images.shape[2:]
    warped = _warp(images, back, right * moved * width, down * moved * height)
    # Resampling rounds, so images for which no change was drawn are copied unchanged.
    changed = scaled | turned | stretched | turned_again | moved
    return torch.where(per_image(changed), warped, images)


def _turn(angle: Tensor) -> Tensor:
    rows = [angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
    return torch.stack(rows, 1).view(-1, 2, 2)


def _warp(images: Tensor, back: Tensor, right: Tensor, down: Tensor) -> Tensor:
    (x, half_width), (y, half_height) = (_from_middle(size, back) for size in images.shape[:1:-1])
    x, y = x - right.view(-1, 1, 1), y[:, None] - down.view(-1, 1, 1)
    xx, xy, yx, yy = back.view(-1, 4, 1, 1).unbind(1)
    # Places count from -1, the middle of the first pixel, to 1, that of the last.
    grid = torch.stack([(xx * x + xy * y) / half_width, (yx * x + yy * y) / half_height], 3)
    return bicubic(images, grid)


def _from_middle(size: int, like: Tensor) -> tuple[Tensor, float]:
    # Where each pixel of a row lies, counted from the middle, and how far the last one does.
    last = (size - 1) / 2
    return torch.arange(size, dtype=like.dtype, device=like.device) - last, max(last, 0.5)


def color(images: Tensor, numbers: Numbers, p: Tensor) -> Tensor:
    """Brightness, contrast, luma flip, hue rotation and saturation, as one affine map.

    With v the grey axis: x + b, b normal with deviation 0.2; times 2**(0.5 N(0, 1)); half
    of the time reflected at the plane perpendicular to v; rotated about v; distance from v
    times 2**N(0, 1). Grey images are changed by the first three only; hue needs three channels.
    """
    channels = images.shape[1]
    brightness = numbers.event(p) * numbers.normal() * 0.2
    contrast = (numbers.event(p) * numbers.normal() * 0.5).exp2().view(-1, 1, 1)
    flip = (numbers.event(p) * numbers.integer(2)).view(-1, 1, 1)
    hue = (numbers.event(p) * numbers.uniform(-math.pi, math.pi)).view(-1, 1, 1)
    saturation = (numbers.event(p) * numbers.normal()).exp2().view(-1, 1, 1)
    same = torch.eye(channels, dtype=images.dtype, device=images.device)
    along = torch.full_like(same, 1 / channels)
    # The matrix is exactly the identity for images for which no change was drawn.
    matrix = (same + (saturation - 1) * (same - along)) @ (same - 2 * flip * along)
    if channels == 3:
        # Rodrigues' rotation about v; this is the cross product with v.
        cross = (same.roll(1, 0) - same.roll(1, 1)) / math.sqrt(3)
        matrix = matrix @ (same + hue.sin() * cross + (hue.cos() - 1) * (same - along))
    mapped = contrast * matrix @ (images + per_image(brightness)).flatten(2)
    return mapped.view(images.shape)


def cutout(images: Tensor, numbers: Numbers, p: Tensor) -> Tensor:
    """Set a rectangle of half the height and half the width to 0, mid grey.

    Its centre is uniform over the image, so that it may extend beyond the edge.
    """
    height, width = images.shape[2:]
    cut = numbers.event(p)
    columns = _near(numbers.uniform(0, 1), width)[:, None, None, :]
    rows = _near(numbers.uniform(0, 1), height)[:, None, :, None]
    return images * ~(rows & columns & cut.view(-1, 1, 1, 1))


def _near(centre: Tensor, size: int) -> Tensor:
    # bool (n, size): pixels whose middle is less than a quarter of the size from the centre.
    middle = (torch.arange(size, dtype=centre.dtype, device=centre.device) + 0.5) / size
    return (middle - centre[:, None]).abs() < 1 / 4


GROUPS: dict[str, tuple[Callable[[Tensor, Numbers, Tensor], Tensor], int]] = {
    "blit": (blit, 7),
    "geometric": (geometric, 11),
    "color": (color, 10),
    "cutout": (cutout, 3),
}
"""The function of every group, and how many numbers it uses."""


def _parsed(group: str) -> tuple[str, float]:
    # "color:0.5" -> ("color", 0.5).
    name, colon, share = group.partition(":")
    return name, float(share) if colon else 1.0


def _known(group: str) -> str:
    name = group.partition(":")[0]
    if name not in GROUPS:
        near = nearest(name[:80], list(GROUPS))
        raise ValueError(f"no such group{near}; have {', '.join(GROUPS)}")
    try:
        share = _parsed(group)[1]
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"the share after {name}: should be above 0 and at most 1, as {name}:0.5")
    return group


Groups = Annotated[
    tuple[Annotated[str, AfterValidator(_known)], ...],
    BeforeValidator(split_commas),
    Field(min_length=1, max_length=20),
]
"""Names of groups in their order, each with the share of the probability that its events have."""


def _none(value: Any) -> Any:
    # As a command line says it.
    return None if isinstance(value, str) and value.lower() == "none" else value


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ADASettings(AugmentationSettings):
    """Adaptive discriminator augmentation (Karras et al. 2020)."""

    name: Literal["ada"] = "ada"
    """What the discriminator's images go through: none, flip, diffaugment or ada."""
    groups: Groups = ("blit", "geometric", "color")
    """Which of blit, geometric, color and cutout, in the order in which they are applied; with
    color:0.5 the changes of colour have half of the probability."""
    probability: Annotated[Share | None, BeforeValidator(_none)] = None
    """Change with this probability, such as 0:0.55:20M; none for an adaptive one."""
    target: Annotated[float, Field(gt=-1, lt=1)] = 0.6
    """E[sign(D(real))] above which the probability of every change grows."""
    interval: PositiveCount = 512
    """Images between two adjustments of the probability."""
    speed: PositiveCount = 500_000
    """Images in which the probability can go from 0 to 1."""

    @property
    def numbers(self) -> int:
        """See `AugmentationSettings.numbers`."""
        return sum(GROUPS[_parsed(group)[0]][1] for group in self.groups)

    def apply(self, images: Tensor, numbers: Tensor, probability: Tensor) -> Tensor:
        """See `AugmentationSettings.apply`."""
        columns, p = Numbers(numbers), probability.to(images.dtype)
        for group in self.groups:
            name, share = _parsed(group)
            images = GROUPS[name][0](images, columns, p if share == 1 else p * share)
        return images

    def probability_at(self, images_seen: int) -> float | None:
        """See `AugmentationSettings.probability_at`."""
        return None if self.probability is None else self.probability.at(images_seen)

    def adaptation(self, device: torch.device) -> Adaptation | None:
        """See `AugmentationSettings.adaptation`."""
        if self.probability is not None:
            return None
        return Adaptation(self.target, self.interval, self.speed, device)
