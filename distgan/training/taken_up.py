"""Whether a checkpoint is one that a run can go on from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from distgan.config.run import RunConfig
from distgan.data.images import ImageSet
from distgan.errors import UserError, first_line


@contextlib.contextmanager
def whole(source: str) -> Iterator[None]:
    """A checkpoint that anybody may have written, whose parts fit the run or are an error."""
    try:
        yield
    except torch.OutOfMemoryError:
        # That is told elsewhere, and no fault of the checkpoint.
        raise
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise UserError(
            f"--resume {source}: its checkpoint has not what this run needs "
            f"({type(error).__name__}: {first_line(error)}); put back the one that the run wrote"
        ) from None


def of_sets(images: ImageSet, other: ImageSet | None) -> dict[str, Any]:
    """What a checkpoint keeps of the sets that its run was trained on.

    Shapes are lists of channels, height and width; ``clips`` are the fields of
    `distgan.config.clip.Clips`. What a run has not is left out.

    Args:
        other: the second set of a run that has one.
    """
    found: dict[str, Any] = {"set_count": images.count, "set_shape": list(images.shape)}
    if images.pair is not None:
        found["pair_shape"] = list(images.pair)
    if images.clips is not None:
        found["clips"] = list(images.clips)
    if other is not None:
        found |= {"other_count": other.count, "other_shape": list(other.shape)}
    return found


def check_same_sets(
    saved: dict[str, Any], config: RunConfig, images: ImageSet, other: ImageSet | None
) -> None:
    """See that a checkpoint is of a run on these sets, as far as counts and shapes tell.

    Raises:
        UserError: when it is not.
    """
    _check_same(saved, "set", f"--data {config.data}", images)
    # A checkpoint may be older than what it could say of pairs.
    pair = None if images.pair is None else list(images.pair)
    if saved.get("pair_shape", pair) != pair:
        has = "no pairs" if pair is None else f"pairs of shape {tuple(pair)}"
        raise UserError(
            f"--data {config.data}: has {has}, but the run saw some of "
            f"{tuple(saved['pair_shape'])}; put that set back"
        )
    clips = None if images.clips is None else list(images.clips)
    if saved.get("clips") != clips:
        raise UserError(
            f"--data {config.data}: holds {_described(clips)}, but the run saw "
            f"{_described(saved.get('clips'))}; put that set back"
        )
    if other is not None:
        _check_same(saved, "other", f"--data_b {config.second_set}", other)


def _described(clips: Sequence[Any] | None) -> str:
    if clips is None:
        return "images"
    shortest, longest, frames, fps = clips
    return f"clips of {shortest} to {longest} frames, {frames:,} in all, at {fps:g} fps"


def _check_same(saved: dict[str, Any], name: str, where: str, images: ImageSet) -> None:
    count, shape = saved[f"{name}_count"], saved[f"{name}_shape"]
    if (count, shape) != (images.count, list(images.shape)):
        raise UserError(
            f"{where}: has {images.count:,} images of shape {tuple(images.shape)}, but the "
            f"run saw {count:,} of {tuple(shape)}; put that set back"
        )
