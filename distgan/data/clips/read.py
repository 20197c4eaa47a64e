"""Reads any clips of a set, for evaluation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan.data.clips.view import View
from distgan.data.fragments import read_numbered
from distgan.data.images import ImageSet
from distgan.errors import UserError


def read_clips(
    images: ImageSet, numbers: NDArray[np.int64], view: View
) -> tuple[Tensor, Tensor | None]:
    """Some clips, in any order: the frames that a rule chooses by the clips' numbers in the set.

    A damaged clip is replaced by the next whole one of its row group.

    Returns:
        uint8 (n, frames, c, h, w), and labels, int64 (n,), or None where the set has none.

    Raises:
        UserError: for a set that cannot be read, or whose clips are too short.
    """
    assert images.clips is not None
    if images.clips.shortest < view.rule.shortest:
        raise UserError(
            f"--data {images.uri}: its shortest clip has {images.clips.shortest} frames, and "
            f"{view.rule.shortest} are wanted here; make it with "
            f"`distgan data prepare --frames {view.rule.shortest}`"
        )
    order = torch.from_numpy(np.argsort(numbers, kind="stable"))
    found = torch.empty((len(numbers), view.rule.shown, *images.shape), dtype=torch.uint8)
    labels = torch.empty(len(numbers), dtype=torch.int64) if images.classes else None
    at = 0
    for piece in read_numbered(images, numbers[order.numpy()], view=view):
        here = order[at : at + len(piece.images)]
        found[here] = torch.from_numpy(piece.images).movedim(-1, 2)
        if labels is not None and piece.labels is not None:
            labels[here] = torch.from_numpy(piece.labels)
        at += len(piece.images)
    return found, labels
