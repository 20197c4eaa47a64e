"""Random jitter of images: against a straight program, and no matter what batch a sample is in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from distgan.config.shape import ImageShape
from distgan.data.jitter import Jitter, check_load_size
from distgan.errors import UserError
from distgan.families import DataSpec


def images(height: int, width: int, channels: int = 3, count: int = 9) -> Tensor:
    found = torch.randn(count, height, width, channels, dtype=torch.float64)
    return found.permute(0, 3, 1, 2)


def chances(count: int = 9) -> Tensor:
    found = torch.rand(count, 2, dtype=torch.float64)
    # The ends of the range: the least number there is, and 1.
    found[0], found[1] = 2.0**-25, 1.0
    return found


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (11, 7)])
@pytest.mark.parametrize("load_size", [12, 17])
def test_enlarges_as_torch_does_and_cuts_at_the_place_of_the_numbers(
    size: tuple[int, int], load_size: int
) -> None:
    torch.manual_seed(0)
    (height, width), whole, numbers = size, images(*size), chances()
    found = Jitter(load_size, min(size), [size])(whole, numbers)
    factor = load_size / min(size)
    larger = [math.floor(side * factor + 0.5) for side in size]
    starts = set()
    for image, (down, across), window in zip(whole, numbers.tolist(), found, strict=True):
        enlarged = interpolate(image[None], larger, mode="bilinear", align_corners=False)[0]
        top = math.ceil(down * (larger[0] - height + 1)) - 1
        left = math.ceil(across * (larger[1] - width + 1)) - 1
        starts.add((top, left))
        expected = enlarged[:, top : top + height, left : left + width]
        torch.testing.assert_close(window, expected, rtol=0, atol=1e-13)
    assert (0, 0) in starts
    assert len(starts) > 4
    assert (larger[0] - height, larger[1] - width) in starts


def test_a_pair_is_cut_at_the_same_place() -> None:
    """Small images whose enlargements are the large ones, pixel for pixel, stay so."""
    torch.manual_seed(1)
    small, numbers = images(8, 12), chances()
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    # As if every image were as large already as it is to be, and only cut.
    sizes = [(32, 48), (8, 12)]
    cut_large = Jitter(40, 32, sizes)
    cut_small = Jitter(40, 32, sizes)
    tops = _starts(cut_large, large, numbers), _starts(cut_small, small, numbers)
    assert torch.equal(tops[0], 4 * tops[1])
    assert len(tops[1].unique(dim=0)) > 3
    # Of the same size, the very same window.
    both = [(8, 12), (8, 12)]
    assert torch.equal(Jitter(10, 8, both)(small, numbers), Jitter(10, 8, both[:1])(small, numbers))


def _starts(cut: Jitter, like: Tensor, numbers: Tensor) -> Tensor:
    """Where the windows begin in what is enlarged, read off pictures of their own coordinates."""
    height, width = like.shape[2:]
    down = (
        torch.arange(height, dtype=torch.float64).view(1, 1, -1, 1).expand(len(like), 1, -1, width)
    )
    across = torch.arange(width, dtype=torch.float64).expand(len(like), 1, height, width)
    middle = (height // 2, width // 2)
    found = []
    for axis, picture in enumerate((down, across)):
        length = like.shape[2 + axis]
        seen = cut(picture, numbers)[:, 0, middle[0], middle[1]]
        larger = math.floor(length * cut.load_size / cut.side + 0.5)
        found.append(((seen + 0.5) * larger / length - 0.5 - middle[axis]).round())
    return torch.stack(found, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_is_the_same_to_the_bit_in_any_batch(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    for channels in (1, 3):
        whole, numbers = images(13, 9, channels, 37).to(dtype), chances(37).to(dtype)
        cut = Jitter(15, 9, [(13, 9)])
        together = cut(whole, numbers)
        for parts in (1, 3, 5):
            alone = [
                cut(part, n)
                for part, n in zip(whole.split(parts), numbers.split(parts), strict=True)
            ]
            assert torch.equal(torch.cat(alone), together)


def test_the_size_of_the_images_is_no_jitter_and_less_is_an_error() -> None:
    whole = images(8, 10)
    assert torch.equal(Jitter(8, 8, [(8, 10)])(whole, chances()), whole)
    data = DataSpec(ImageShape(3, 64, 48))
    check_load_size(0, data)
    check_load_size(48, data)
    with pytest.raises(UserError, match=r"^--feed.load_size 47: is smaller .* 64x48; .* 48, or 0"):
        check_load_size(47, data)
