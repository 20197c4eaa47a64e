"""Whether a checkpoint is one that a run can go on from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

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


def check_same_set(saved: dict[str, Any], data: str, images: ImageSet) -> None:
    """See that a checkpoint is of a run on this set, as far as count and shape tell.

    Raises:
        UserError: when it is not.
    """
    if (saved["set_count"], saved["set_shape"]) != (images.count, list(images.shape)):
        raise UserError(
            f"--data {data}: has {images.count:,} images of shape {tuple(images.shape)}, but the "
            f"run saw {saved['set_count']:,} of {tuple(saved['set_shape'])}; put that set back"
        )
