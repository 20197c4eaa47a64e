"""Copies of a run's state in the CPU's memory, taken while training goes on."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def begin_snapshot(value: Any) -> tuple[Any, Callable[[], object]]:
    """A copy of nested dicts, lists and tuples of tensors, and what waits until it is whole.

    Of tensors on a CPU it is whole at once. Those on a GPU are on their way to pinned memory: the
    copies stand in the queue of the current stream, behind the last update and before the next
    one, so the processor need not wait for them, and nothing overwrites what they read.

    Equal texts become one object, as pickle writes an object once and refers to it from then on:
    the bytes of a checkpoint are not to depend on whether the run was resumed before it.
    """
    copied = _copied(value)
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return copied, _whole
    # Not spinning: the thread that waits is beside the one that starts kernels.
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    arrived.record()
    return copied, arrived.synchronize


def snapshot(value: Any) -> Any:
    """The copy of `begin_snapshot`, whole."""
    copied, wait = begin_snapshot(value)
    wait()
    return copied


def _whole() -> None:
    pass


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.device.type == "cuda":
            # Of the same layout; torch keeps pinned memory for the next checkpoint.
            pinned = torch.empty_like(value.detach(), device="cpu", pin_memory=True)
            return pinned.copy_(value.detach(), non_blocking=True)
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        # A copy of the mapping itself keeps the attribute _metadata of a module's state_dict().
        copied = copy.copy(value)
        copied.clear()
        copied.update((_copied(name), _copied(part)) for name, part in value.items())
        return copied
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(part) for part in value)
    return sys.intern(value) if type(value) is str else value
