"""Batches of random values, for counting and timing steps."""

from __future__ import annotations

import torch

from distgan.config.run import RunConfig
from distgan.families import Batch, Column, Draw, Family


def random_batches(
    config: RunConfig, family: Family, images: int, device: torch.device
) -> list[Batch]:
    """The micro-batches of a step, of ``images`` images each."""
    with device:
        return [_random_batch(config, family, images) for _ in range(config.accumulate)]


def _random_batch(config: RunConfig, family: Family, images: int) -> Batch:
    def column(wanted: Column) -> torch.Tensor:
        if wanted.kind == "label":
            return torch.zeros(images, dtype=torch.long)
        rule = family.frame_rule
        if wanted.kind == "times":
            assert rule is not None, "only families with a rule have this column"
            return torch.arange(rule.shown, dtype=config.dtype).repeat(images, 1)
        shape = family.data.shape_of(wanted)
        if wanted.kind == "frames":
            assert rule is not None, "only families with a rule have this column"
            return torch.rand(images, rule.shown, *shape, dtype=config.dtype).mul_(2).sub_(1)
        values = torch.rand(images, *shape, dtype=config.dtype).mul_(2).sub_(1)
        return values.contiguous(memory_format=torch.channels_last)

    def numbers(wanted: Draw) -> torch.Tensor:
        make = torch.randn if wanted.kind == "normal" else torch.rand
        return make(images, wanted.size, dtype=config.dtype)

    return Batch(
        {name: column(wanted) for name, wanted in family.columns().items()},
        {name: numbers(wanted) for name, wanted in family.draws().items()},
        numbers=torch.arange(images),
    )
