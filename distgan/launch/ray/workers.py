"""How many workers a run gets, and what each of them holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from distgan.errors import UserError

Asked = int | tuple[int, int] | None
"""Workers asked for: so many, at least and at most so many, or None for the default."""
Device = Literal["auto", "cpu", "gpu"]
"""Where to train: ``auto`` takes GPUs where there are any."""


@dataclass(frozen=True)
class Workers:
    """``count`` processes of ``threads`` CPU threads, and a GPU, each.

    With ``between``, the least and the most of them, their number follows the cluster, and
    ``count`` is how many it holds now, which may be fewer than will do.
    """

    count: int
    gpu: bool
    threads: int
    between: tuple[int, int] | None = None

    @property
    def resources(self) -> dict[str, float]:
        """Ray's name for what each worker holds."""
        return {"CPU": self.threads, **({"GPU": 1} if self.gpu else {})}

    def describe(self) -> str:
        """One line for the user."""
        threads = f"{self.threads} CPU thread{'s' if self.threads > 1 else ''}"
        holds = f"one GPU and {threads}" if self.gpu else threads
        if self.between:
            least, most = self.between
            workers = f"{least} to {most} workers of {holds} each"
            if self.count < least:
                return f"{workers}; the cluster has room for {self.count}, waiting for nodes"
            return f"{workers}, {self.count} of them now"
        return (
            f"1 worker of {holds}" if self.count == 1 else f"{self.count} workers of {holds} each"
        )


def parse_workers(text: str) -> int | tuple[int, int]:
    """What ``--workers`` takes: ``4``, or ``2:8`` for at least 2 and at most 8.

    Raises:
        UserError: for anything else.
    """
    parts = text.split(":")
    # Python reads no number of thousands of digits.
    if len(text) > 40 or not (
        len(parts) <= 2 and all(part.strip().removeprefix("-").isdecimal() for part in parts)
    ):
        raise UserError(
            f"--workers {text[:40]}: should be a number, such as 4, or MIN:MAX, such as 2:8, to "
            "follow the size of the cluster"
        )
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def check_asked(asked: Asked, batch: int, parts: int = 1) -> None:
    """See that a number of workers makes sense for a batch.

    Args:
        batch: images in a global batch.
        parts: micro-batches of it, of each of which every worker needs an image.

    Raises:
        UserError: when it does not.
    """
    if isinstance(asked, tuple):
        least, most = asked
        if not 1 <= least <= most:
            raise UserError(
                f"--workers {least}:{most}: should be MIN:MAX with 1 or more in MIN and no less "
                "in MAX"
            )
    elif asked is not None and asked < 0:
        raise UserError(f"--workers {asked}: should be 0 or more")
    if most_of(asked) > batch // parts:
        where = f"a batch ({batch})"
        if parts > 1:
            where = f"a micro-batch ({batch // parts}, with --accumulate {parts})"
        raise UserError(
            f"--workers {_show(asked)}: more workers than images in {where}; "
            "use fewer, or a larger --batch"
        )


def most_of(asked: Asked) -> int:
    """The largest number of workers that was asked for; 0 for the default."""
    return asked[1] if isinstance(asked, tuple) else asked or 0


def least_of(asked: Asked) -> int:
    """The smallest number of workers that will do; 0 for the default."""
    return asked[0] if isinstance(asked, tuple) else asked or 0


MOST_PER_CORE = 4
"""Workers on one core of this machine; more of them only stand in each other's way."""


def cores_for(asked: Asked, cores: int) -> int:
    """How many CPUs a cluster of our own is told that it has, so that the workers find room.

    Args:
        asked: what the user wants; where that is a range, as much of it as is sensible here.
        cores: that this process may use.

    Raises:
        UserError: when even the fewest workers are more than `MOST_PER_CORE` on each.
    """
    limit = MOST_PER_CORE * cores
    least = least_of(asked)
    if least > limit:
        each = -(-least // cores)
        there = "1 core" if cores == 1 else f"{cores} cores"
        raise UserError(
            f"--workers {_show(asked)}: this machine lets distgan use {there}, which is {each} "
            f"workers on a core, and each takes its own memory for Python, torch and the networks; "
            f"at most {MOST_PER_CORE} x {cores} = {limit} run here: use {cores} or fewer, or a "
            "cluster (--address)"
        )
    return max(cores, least, min(most_of(asked), limit))


def _show(asked: Asked) -> str:
    return f"{asked[0]}:{asked[1]}" if isinstance(asked, tuple) else str(asked)


class Node(NamedTuple):
    """What a machine of a cluster has."""

    cores: int
    gpus: int = 0


def decide(
    asked: Asked,
    device: Device,
    nodes: Sequence[Node],
    batch: int,
    threads: int | None = None,
    grows: bool = False,
) -> Workers:
    """One worker per GPU; without GPUs one per node, with all its cores.

    Args:
        asked: what the user wants, or None for the default.
        batch: images in a global micro-batch, more than which no workers can share.
        threads: CPUs for each worker, of a run that has not all there are; None for as many
            as there is room for.
        grows: nodes may come later, so that a number that follows the cluster may be met then.

    Raises:
        UserError: when there is less than what was asked for.
    """
    gpus, cores = sum(node.gpus for node in nodes), sum(node.cores for node in nodes)
    waits = grows and isinstance(asked, tuple)
    if not waits:
        check_gpus(asked, device, gpus)
    gpu = device == "gpu" or (gpus > 0 and device == "auto")
    room = gpus if gpu else cores
    between = asked if isinstance(asked, tuple) else None
    if between:
        count = max(between[0], min(between[1], room))
    else:
        nodes_with_cores = sum(node.cores > 0 for node in nodes)
        count = most_of(asked) or min(gpus if gpu else max(nodes_with_cores, 1), batch)
    if threads is not None:
        return Workers(count, gpu, threads, between)
    # The most threads with which all workers still find room on the nodes.
    for threads in range(max((node.cores for node in nodes), default=0), 0, -1):
        rooms = (min(n.cores // threads, n.gpus if gpu else n.cores) for n in nodes)
        if sum(rooms) >= count:
            return Workers(count, gpu, threads, between)
    if waits:
        # As many threads as there will be is not known; one finds room on any node.
        return Workers(
            sum(min(n.cores, n.gpus if gpu else n.cores) for n in nodes), gpu, 1, between
        )
    if gpu:
        raise UserError(
            f"--workers {_show(asked or count)}: the nodes with GPUs have fewer CPUs than that; "
            "use fewer, or --device cpu"
        )
    raise UserError(
        f"--workers {_show(asked or count)}: more than the {cores} CPUs of the cluster; use "
        f"{cores} or fewer"
    )


def check_gpus(asked: Asked, device: Device, gpus: int, unseen: str = "") -> None:
    """Compare what was asked for with the GPUs there are.

    Args:
        unseen: why those that there are cannot be used; see `distgan.launch.gpus.unseen`.

    Raises:
        UserError: when there are fewer.
    """
    if device == "gpu" and gpus == 0:
        why = unseen or "there is no GPU here"
        raise UserError(f"--device gpu: {why}; use --device cpu or auto")
    if device != "cpu" and gpus and least_of(asked) > gpus:
        raise UserError(
            f"--workers {_show(asked)}: more than the {gpus} GPU{'s' if gpus > 1 else ''} there "
            f"are; use --workers {gpus} or fewer, or --device cpu"
        )
