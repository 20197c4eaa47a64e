"""Benchmarks that take no turns in the frame: each runs as it is by `distgan bench NAME`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

APART = {
    "quality": "the GAN speedrun: seconds to a Frechet distance, about half an hour",
    "recipes": "how good every recipe is after so many images",
    "learning": "whether generated images come closer to real ones, and all modes are found",
    "sense": "what metrics make of known damage to images",
    "tuning": "a search's wall time beside the same trials by hand",
    "beyond_memory": "how a set larger than memory streams",
    "published": "what `distgan plan`'s model makes of published figures",
    "curve": "that model up to 1,024 workers, from `scale`'s results",
}
"""By module in benchmarks/, what each answers."""
_CHECKOUT = Path(__file__).parents[2]


def run(name: str, words: Sequence[str]) -> int:
    """Run it in a process of its own, in the current folder; its exit status."""
    path = os.pathsep.join(filter(None, (str(_CHECKOUT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *words], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal's Ctrl-C has reached it too.
        return process.wait() or 130
