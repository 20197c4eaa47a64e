"""Taking up the parts of a checkpoint, whose optimizers' options are checked before any step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from distgan.errors import brief, one_line

_SCHEDULED = {"lr", "betas"}
"""Options that are set anew before each update, by the run's schedules."""


class Part(Protocol):
    """A network, an optimizer or another part of the training state."""

    def load_state_dict(self, state: Any) -> Any:
        """Take a state up."""


def load(part: Part, state: Any) -> None:
    """Have a part go on from its state in a checkpoint.

    Args:
        state: as the part's ``state_dict`` gave it; of a file that anybody may have written.

    Raises:
        ValueError: when it does not fit the part: another network's, or an optimizer's options or
            moments that are none.
    """
    if isinstance(part, torch.optim.Optimizer):
        _check_options(part, state)
        _check_kinds(state)
    try:
        part.load_state_dict(state)
    except Exception as error:
        # Whatever the library raises for a state of another shape.
        raise ValueError(one_line(error)) from None
    if isinstance(part, torch.optim.Optimizer):
        _check_moments(part)


def _check_options(optimizer: torch.optim.Optimizer, state: Any) -> None:
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ValueError("has no groups of parameters")
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(f"has {len(groups)} groups of parameters")
    for ours, saved in zip(optimizer.param_groups, groups, strict=True):
        # An option that another version of torch has, and this one has not, decides nothing.
        for name in (set(ours) & set(saved)) - {"params"}:
            value = saved[name]
            fits = _is_scheduled(name, value) if name in _SCHEDULED else _same(ours[name], value)
            if not fits:
                raise ValueError(f"its option {name} is {brief(value)}, not {brief(ours[name])}")


def _check_kinds(state: Mapping[str, Any]) -> None:
    saved = state.get("state")
    if not isinstance(saved, Mapping):
        raise ValueError("has no state of parameters")
    for number, moments in saved.items():
        if not isinstance(moments, Mapping):
            raise ValueError(f"has no state of parameter {brief(number)}")
        for name, value in moments.items():
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"its {brief(name)} of parameter {brief(number)} is {brief(value)}, "
                    "not a tensor"
                )


def _is_scheduled(name: str, value: Any) -> bool:
    values = [value] if name == "lr" else value
    if not isinstance(values, (list, tuple)) or len(values) != (1 if name == "lr" else 2):
        return False
    return all(type(each) in (int, float) and math.isfinite(each) for each in values)


def _same(ours: Any, value: Any) -> bool:
    numbers = all(type(each) in (int, float) for each in (ours, value))
    return bool((numbers or type(ours) is type(value)) and ours == value)


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for number, weight in enumerate(group["params"]):
            for name, value in optimizer.state.get(weight, {}).items():
                shape = () if name == "step" else tuple(weight.shape)
                if tuple(value.shape) != shape:
                    raise ValueError(
                        f"its {brief(name)} of parameter {number} has the shape "
                        f"{tuple(value.shape)}, not {shape}"
                    )
                if not value.is_floating_point():
                    raise ValueError(f"its {brief(name)} of parameter {number} is {value.dtype}")
            missing = {"step", "exp_avg", "exp_avg_sq"} - set(optimizer.state.get(weight, {}))
            if isinstance(optimizer, torch.optim.Adam) and optimizer.state.get(weight) and missing:
                raise ValueError(f"has no {sorted(missing)[0]} of parameter {number}")
