"""Whether torch can use the GPUs of a cluster, and whether all its nodes have the same."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distgan.errors import UserError
from distgan.launch import gpus
from distgan.launch.ray.environment import SHOW_ALL_OF_ROCM

_SECONDS = 60
"""For all nodes together. A node whose GPUs are all taken does not answer: the workers, which
need them too, wait with a line of their own."""
_LITTLE = 0.5
"""Of the middle node's free memory; one with less is told."""


@dataclass(frozen=True)
class GpuFacts:
    """What a node says of the first GPU that a process of one GPU gets there."""

    torch: str
    cuda: str | None
    """The release of CUDA that torch was built for; None for a build without."""
    hip: str | None
    nccl: str
    count: int
    """GPUs that torch sees."""
    name: str = ""
    free: int = 0
    """Bytes of its memory."""
    hidden: bool = False
    """Whether Ray shows a worker there only one of AMD's GPUs."""


def probe_gpus(workers: int, note: Callable[[str], object]) -> None:
    """Have every node with GPUs look at one of them, and compare what they say.

    Args:
        workers: how many there are to be, each with a GPU.
        note: takes a line for the user, of what makes a run slower but not wrong.

    Raises:
        UserError: naming the first node on which training would fail, and the remedy.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0)]
    tasks = {
        _name(node): _look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    }
    if not tasks:
        return
    ready, waiting = ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=_SECONDS)
    for task in waiting:
        ray.cancel(task)
    found = {}
    for name, task in tasks.items():
        if task in ready:
            found[name] = _answer(name, task)
    for line in compare(found, workers):
        note(line)


def _name(node: Mapping[str, Any]) -> str:
    # Several nodes of a cluster may have one address.
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _answer(name: str, task: Any) -> GpuFacts:
    try:
        facts: GpuFacts = ray.get(task)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"node {name}: cannot look at its GPU ({reason}); see whether its driver works "
            "(nvidia-smi), or use --device cpu"
        ) from None
    return facts


@ray.remote(num_gpus=1, num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _look() -> GpuFacts:
    return look()


def look() -> GpuFacts:
    """What this process sees."""
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    nccl = ""
    if seen and torch.distributed.is_nccl_available():
        release: Any = torch.cuda.nccl
        nccl = ".".join(map(str, release.version()))
    facts = (torch.__version__, torch.version.cuda, torch.version.hip, nccl, seen)
    if not seen:
        return GpuFacts(*facts)
    hidden = bool(torch.version.hip) and SHOW_ALL_OF_ROCM not in os.environ
    name, free = torch.cuda.get_device_name(0), torch.cuda.mem_get_info(0)[0]
    return GpuFacts(*facts, name, free, hidden)


def compare(found: Mapping[str, GpuFacts], workers: int) -> list[str]:
    """Lines on what differs between nodes and makes a run slower.

    Args:
        found: by the node's name.

    Raises:
        UserError: for what makes it fail.
    """
    for name, facts in found.items():
        if not facts.count:
            build = facts.cuda or facts.hip
            raise UserError(
                f"node {name}: its torch {facts.torch} cannot use the GPU that Ray counts there "
                f"({gpus.why(build)}); install another torch there, or use --device cpu"
            )
        if workers > 1 and "MIG" in facts.name:
            raise UserError(
                f"node {name}: has a slice of a GPU ({facts.name}), between which NCCL sends "
                "nothing; use --workers 1, or whole GPUs"
            )
        if workers > 1 and not facts.nccl:
            raise UserError(
                f"node {name}: its torch {facts.torch} has no NCCL, by which GPUs are joined; "
                "install another torch there, or use --workers 1"
            )
    for what in ("torch", "cuda", "hip", "nccl"):
        values = {name: getattr(facts, what) or "none" for name, facts in found.items()}
        for name, value, others in _odd(values):
            raise UserError(
                f"node {name}: has {what} {value}, where {others}; install the same on every node"
            )
    return [*_mixed(found), *_short_of_memory(found), *_hidden(found, workers)]


def _hidden(found: Mapping[str, GpuFacts], workers: int) -> list[str]:
    return [
        f"node {node}: several workers on AMD's GPUs may end in 'invalid device ordinal'; if so, "
        f"start Ray there with {SHOW_ALL_OF_ROCM}=1"
        for node, facts in found.items()
        if facts.hidden and workers > len(found)
    ]


def _mixed(found: Mapping[str, GpuFacts]) -> list[str]:
    names = {node: facts.name for node, facts in found.items()}
    return [
        f"node {node} has {name}, where {others}; all go at the pace of the slowest"
        for node, name, others in _odd(names)
    ]


def _short_of_memory(found: Mapping[str, GpuFacts]) -> list[str]:
    middle = median([facts.free for facts in found.values()]) if found else 0
    return [
        f"node {node} has only {facts.free / 1e9:,.1f} GB of its GPU's memory free, where others "
        f"have {middle / 1e9:,.1f}; see who else uses it (nvidia-smi)"
        for node, facts in found.items()
        if facts.free < _LITTLE * middle
    ]


def _odd(values: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Nodes whose value is not the most frequent, that value, and what the others have."""
    if len(set(values.values())) < 2:
        return []
    usual, _ = Counter(values.values()).most_common(1)[0]
    return [
        (node, value, f"{sum(v == usual for v in values.values())} have {usual}")
        for node, value in values.items()
        if value != usual
    ]
