"""What every configuration of a family that makes clips has to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from distgan.config.clip import ClipSettings
from distgan.config.evaluate import EvaluateSettings
from distgan.config.run import RunConfig
from distgan.config.settings import SETTINGS
from distgan.families.adversarial_config import known_loss


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ClipConfig(RunConfig):
    """What clips add to every run."""

    evaluate: EvaluateSettings = field(
        default_factory=lambda: EvaluateSettings(
            metrics=("frame-frechet", "clip-frechet"), num=1_000
        )
    )
    clip: ClipSettings = field(default_factory=ClipSettings)
    """The clips that are made, unless another length is asked for, and measured."""
    conditional: bool = False
    """Give the networks the labels."""
    loss: Annotated[str, AfterValidator(known_loss)] = "non-saturating"
    """Adversarial loss: non-saturating, minimax, least-squares, hinge, wasserstein,
    relativistic or relativistic-average."""

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from RunConfig.contradictions(self)
        if self.feed.load_size:
            yield (
                f"--feed.load_size {self.feed.load_size}: images can be enlarged and cut at "
                "random, clips cannot; leave it out"
            )
