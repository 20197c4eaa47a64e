"""Clips learned from few frames each, and made at any times.

After Skorokhodov et al., "StyleGAN-V: A Continuous Video Generator with the Price, Image Quality
and Perks of StyleGAN2" (CVPR 2022), on networks of the project; Yu et al., "Generating Videos with
Dynamics-aware Implicit Generative Adversarial Networks" (ICLR 2022), learn from two frames. The
generator makes a frame of one content vector and the motion of its time, `MotionCodes`. The
discriminator is shown k frames of a clip and the differences of their times. In a step the
discriminator is updated, and then the generator against the updated one, on other clips.

The differences are whole numbers of stored frames for reals and fakes alike, drawn by one rule.
The first time of a fake is any real number. As motion is made in the same way between any two
knots, it is uniform from one knot to the next, which stands for all times of a clip of any length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from distgan.config.clip import FrameRule
from distgan.config.shape import ImageShape
from distgan.families.adversarial import STATISTICS, AdversarialTerms, Fakes
from distgan.families.base import Network
from distgan.families.clip_family import ClipFamily
from distgan.families.data import Batch, Draw
from distgan.families.terms import Phase, Step, Terms
from distgan.families.video_config import VideoConfig
from distgan.health.diagnosis import Rule, advising
from distgan.networks.video import ClipGenerator


class Video(ClipFamily):
    """Sparse frames, continuous times; the losses, penalties and networks of `VideoConfig`."""

    statistics: ClassVar[tuple[str, ...]] = tuple(n for n in STATISTICS if "class" not in n)
    continuous: ClassVar[bool] = True
    config: VideoConfig

    @property
    def frame_rule(self) -> FrameRule:
        """Few frames, at different distances."""
        return self.config.sparse.rule

    @property
    def rule_option(self) -> str:
        """``--sparse.span``."""
        return f"--sparse.span {self.config.sparse.span}"

    @property
    def judged(self) -> Mapping[str, ImageShape]:
        """One discriminator, with the shape of a frame."""
        return {"discriminator": self.data.image}

    def new_game(self, judge: str) -> AdversarialTerms:
        """The terms of the discriminator, which is given times and labels besides frames."""
        return replace(super().new_game(judge), given=self._given)

    def draws(self) -> dict[str, Draw]:
        """Content, noise at knots and times of the clips of each update; what a penalty and
        augmentation use up."""
        motion, found = self.config.generator.motion, {}
        knots = motion.knots(motion.knot_distance + self.frame_rule.shortest - 1)
        for update in ("discriminator", "generator"):
            found[f"{update}-content"] = Draw("normal", self.config.latent)
            found[f"{update}-motion"] = Draw("normal", knots * motion.size)
            found[f"{update}-times"] = Draw("uniform", self.frame_rule.numbers)
        return {**found, **super().draws()}

    def networks(self) -> dict[str, Network]:
        """The generator, of which an average is kept, and the discriminator."""
        config, image, rule = self.config, self.data.image, self.frame_rule
        g, d = config.generator, config.discriminator
        frame = g.network.build(image, config.latent + g.motion.width, self.labels)
        discriminator = d.network.build(image, rule.frames, rule.shortest - 1, self.labels)
        label = torch.zeros(1, dtype=torch.int64) if self.labels else None
        times = torch.arange(rule.frames, dtype=torch.float32).unsqueeze(0)
        noise = torch.zeros(1, g.motion.knots(rule.frames - 1), g.motion.size)
        example = (torch.zeros(1, config.latent), noise, times, label)
        frames = torch.zeros(1, rule.frames, *image)
        generator = ClipGenerator(frame, g.motion)
        return {
            "generator": Network(generator, example, g.optimizer, g.clip_norm, average=g.ema),
            "discriminator": Network(
                discriminator, (frames, times, label), d.optimizer, d.clip_norm
            ),
        }

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The discriminator's update, then the generator's against the updated one."""
        loss = self.loss
        discriminator = Phase(
            "discriminator",
            ("discriminator",),
            self._discriminator_terms,
            self._make_fakes,
            coupled=loss.couples,
        )
        generator = Phase(
            "generator",
            ("generator",),
            self._generator_terms,
            self._judge_reals if loss.relative else None,
            through=("discriminator",),
            coupled=loss.couples,
        )
        return discriminator, generator

    def batch_of(self, batch: Batch, reals: Tensor, judge: str = "discriminator") -> Batch:
        """As of every family, and with the times of the reals, and labels."""
        found = super().batch_of(batch, reals, judge)
        labels = {} if batch.labels is None else {"label": batch.labels}
        return replace(found, columns={**found.columns, "times": batch.columns["times"], **labels})

    def _given(self, batch: Batch, place: str) -> tuple[Tensor | None, ...]:
        """Times of the reals, or of the fakes of an update, float (n, k), and labels."""
        if place == "real":
            return batch.columns["times"], batch.labels
        return self.times(batch, "discriminator" if place == "fake" else place), batch.labels

    def times(self, batch: Batch, update: str) -> Tensor:
        """When the frames of an update's fakes are, in stored frames: float (n, k)."""
        numbers = batch.draws[f"{update}-times"]
        start = (1 - numbers[:, :1]) * self.config.generator.motion.knot_distance
        return start + differences(self.frame_rule, numbers).to(start.dtype)

    def _fakes(self, step: Step, batch: Batch, update: str) -> Tensor:
        """Clips of few frames, float (n, k, c, h, w)."""
        noise = batch.draws[f"{update}-motion"]
        noise = noise.view(len(noise), -1, self.config.generator.motion.size)
        content, times = batch.draws[f"{update}-content"], self.times(batch, update)
        with step.autocast():
            made: Tensor = step["generator"](content, noise, times, batch.labels)
        return made.to(batch.columns["frames"].dtype)

    def _reals(self, batch: Batch) -> Batch:
        return self.batch_of(batch, batch.columns["frames"])

    @torch.no_grad()
    def _make_fakes(self, step: Step, batch: Batch) -> Fakes:
        return {"fake": self._fakes(step, batch, "discriminator")}

    def _discriminator_terms(self, step: Step, batch: Batch, fakes: Fakes) -> Terms:
        game = self.games["discriminator"]
        return game.discriminator_terms(step, self._reals(batch), fakes)

    def _judge_reals(self, step: Step, batch: Batch) -> Tensor:
        return self.judge_reals(step, self._reals(batch))

    def _generator_terms(self, step: Step, batch: Batch, real: Tensor | None) -> Terms:
        made = self._fakes(step, batch, "generator")
        return self.generator_terms(step, self._reals(batch), made, real)

    def health_rules(self) -> tuple[Rule, ...]:
        """As of every family of clips, with the settings that this one has."""
        return tuple(advising(rule, _REMEDIES) for rule in super().health_rules())

    def inputs_of(self, frames: int, spacing: float) -> dict[str, Draw]:
        """Content, and noise at each knot."""
        motion = self.config.generator.motion
        knots = range(motion.knots((frames - 1) * spacing))
        noise = {f"motion-{knot}": Draw("normal", motion.size) for knot in knots}
        return {"content": Draw("normal", self.config.latent), **noise}

    def make(
        self, networks: Mapping[str, nn.Module], batch: Batch, frames: int, spacing: float
    ) -> Tensor:
        """Clips from time 0 on, float (n, frames, c, h, w) in [-1, 1]."""
        content = batch.draws["content"]
        knots = range(len(batch.draws) - 1)
        noise = torch.stack([batch.draws[f"motion-{knot}"] for knot in knots], 1)
        times = torch.arange(frames, dtype=torch.float64) * spacing
        times = times.to(content).expand(len(content), -1)
        made: Tensor = networks["generator"](content, noise, times, batch.labels)
        return made


_REMEDIES = {
    "frozen": "raise --discriminator.optimizer.lr, or --sparse.span, so that frames differ more",
    "flickering": "lower --generator.optimizer.lr, or raise --discriminator.penalty.r1; a smaller "
    "--sparse.span shows the discriminator more frames that are near each other",
    "motion collapse": "raise --discriminator.penalty.r1, or lower --discriminator.optimizer.lr",
    "drift": "raise --sparse.span, so that the discriminator sees frames that are far from each "
    "other, or lower --generator.optimizer.lr",
}
"""Where training does not see the frames that --clip asks for."""


def differences(rule: FrameRule, numbers: Tensor) -> Tensor:
    """`FrameRule.differences` of numbers on a device, without a copy of them: int64 (n, frames)."""
    rows, frames = len(numbers), rule.frames
    first, options = rule.distances[0], len(rule.distances)
    whole = first << _below(numbers[:, 1], options)
    found = [torch.zeros_like(whole)]
    for place in range(1, frames - 1):
        rank = 1 + _below(numbers[:, 1 + place], whole - place)
        # The r-th of those that are left, counted past the ones that are taken already.
        for taken in torch.stack(found[1:]).sort(0).values if place > 1 else ():
            rank = rank + (rank >= taken)
        found.append(rank)
    inner = torch.stack(found, 1).sort(1).values
    assert inner.shape == (rows, frames - 1)
    return torch.cat([inner, whole.unsqueeze(1)], 1)


def _below(numbers: Tensor, ends: Tensor | int) -> Tensor:
    """As `distgan.config.clip.below`."""
    found = (numbers.double() * ends).long()
    return torch.minimum(found, torch.zeros_like(found) + ends - 1)
