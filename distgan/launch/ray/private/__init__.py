"""All that distgan uses of Ray beyond its documented interface, and whether it is used.

Every module in this package names the release it was written against; outside the window of
tested releases, or with ``DISTGAN_PUBLIC_RAY=1``, none of them is imported. Then

- `ray.train.torch.TorchTrainer` runs as it is, with its controller in an actor, and the driver
  itself counts failures and starts the workers again (`distgan.launch.ray.fit.Fit`);
- messages on a cluster that was joined go through a named actor;
- a change in the number of workers, or the loss of a node that was announced, costs the images
  since the last checkpoint, because only Ray's controller hears of either beforehand;
- what Ray prints of its own is not held back, and its helper processes stay.

The weights are the same either way.
"""

from __future__ import annotations

import os
from importlib.metadata import version

WINDOW = ((2, 60), (2, 61))
"""From this release of Ray on, and before that one, the modules of this package are tested."""
VARIABLE = "DISTGAN_PUBLIC_RAY"
"""Environment variable with which any release is used by its documented interface only."""


def usable(release: str | None = None) -> bool:
    """Whether the modules of this package fit the Ray that is installed.

    Args:
        release: such as ``2.60.0``; None for the installed one. Does not import Ray.
    """
    if os.environ.get(VARIABLE, "0").lower() in ("1", "true"):
        return False
    least, beyond = WINDOW
    numbers = (release or version("ray")).split(".")[:2]
    if not all(number.isdecimal() for number in numbers):
        return False
    return least <= tuple(map(int, numbers)) < beyond
