"""What is trained, on which clips, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distgan.config.settings import override
from distgan.data.prepare import PrepareSettings
from distgan.families.clip_config import ClipConfig
from distgan.launch.prepare import prepare
from distgan.recipes import recipe

NEVER = 10**9
"""More images than any run here comes to."""
SET, HELD_OUT = "moving-mnist-small", 1000
METRICS = ("clip-frechet", "frame-frechet", "motion", "digits-kept")


@dataclass(frozen=True)
class Side:
    """A recipe, and what of it is changed.

    Args:
        name: of its records, and for ``--only``.
        title: in the table.
        own: changes that make it what it is, recorded as settings.
    """

    name: str
    title: str
    recipe: str
    own: dict[str, Any] = field(default_factory=dict)

    def config(self, data: str, seed: int) -> ClipConfig:
        """What a run of it computes, without pictures and evaluations on the way."""
        quiet = {"output.sample_every": NEVER, "output.checkpoint_every": NEVER}
        changes = {**self.own, **quiet, "evaluate.every": 0, "data": data, "seed": seed}
        found = override(recipe(self.recipe), {**changes, "images": NEVER})
        assert isinstance(found, ClipConfig)
        return found


SIDES = {
    side.name: side
    for side in (
        Side("moving-mnist-mocogan", "MoCoGAN", "moving-mnist-mocogan"),
        Side("moving-mnist-video", "sparse video", "moving-mnist-video"),
    )
}


def prepared(folder: Path) -> str:
    """The set of clips, made in ``folder`` where it is not there yet, with some held out."""
    out = folder / SET
    if not out.exists():
        prepare(SET, str(out), PrepareSettings(validation=HELD_OUT), workers=0)
    return str(out)
