"""MoCoGAN: clips of a content that stays and of motion, judged as frames and as clips.

Tulyakov et al., "MoCoGAN: Decomposing Motion and Content for Video Generation" (CVPR 2018),
section 3. The generator makes each frame of a clip from one content code, one category where there
are labels, and a motion code for the frame that a recurrent cell makes of noise. In a step

- the discriminator of images tells single frames of real clips from single frames of made ones,
- the discriminator of clips tells real clips from made ones and, where there are labels, learns the
  categories of the real ones,
- the generator minimises the sum of its adversarial losses in both games and the cross entropy of
  its clips' categories,

each with codes of its own. A real frame is any of its clip, also one that is outside the frames
that the other discriminator sees. A made one is of a uniformly drawn time of a clip that no other
frame is taken from. Categories of made clips are the labels of the batch, so that they are as
frequent as in the data; the paper draws each as often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from distgan.config.clip import FrameRule
from distgan.families.adversarial import STATISTICS as OF_GAME
from distgan.families.adversarial import AdversarialTerms, Fakes
from distgan.families.base import Interface, Network
from distgan.families.clip_family import ClipFamily
from distgan.families.data import Batch, Draw
from distgan.families.mocogan_config import JUDGES, MoCoGANConfig
from distgan.families.terms import Phase, Step, Terms, combined, named
from distgan.health.diagnosis import ADVERSARIAL, Rule, advising, of_names

_IMAGE, _VIDEO = "image", "video"
STATISTICS = (
    *(f"{name}_{_IMAGE}" for name in OF_GAME if not name.endswith("_class")),
    *(f"{name}_{_VIDEO}" for name in OF_GAME),
)
"""What is recorded: of each discriminator and the generator's game with it what a GAN's records
have, and for clips the weighted cross entropies of categories."""


class MoCoGAN(ClipFamily):
    """Tulyakov et al. 2018, with the losses, penalties, networks and aids of `MoCoGANConfig`."""

    statistics: ClassVar[tuple[str, ...]] = STATISTICS
    signs: ClassVar[Mapping[str, str]] = {
        "generator": "g",
        "discriminator_image": "d_image",
        "discriminator_video": "d_video",
    }
    config: MoCoGANConfig

    @property
    def averaged(self) -> tuple[str, ...]:  # type: ignore[override]
        """The generator, where an average is kept."""
        return () if self.config.generator.ema.half_life.is_zero else ("generator",)

    @property
    def frame_rule(self) -> FrameRule:
        """The frames of a clip, and one of all for the discriminator of images."""
        return replace(self.shown_rule, extra=True)

    @property
    def judged(self) -> Mapping[str, Sequence[int]]:
        """Of frames, and of clips."""
        clip = (self.config.clip.frames, *self.data.image)
        return dict(zip(JUDGES, (self.data.image, clip), strict=True))

    def settings_of(self, judge: str) -> Any:
        """The discriminators have settings of their own."""
        return getattr(self.config, judge)

    def new_game(self, judge: str) -> AdversarialTerms:
        """The terms of a discriminator, which is not told labels; that of clips learns those of the
        real ones."""
        weight = self.config.category if judge == "discriminator_video" and self.labels else 0.0
        return replace(
            super().new_game(judge),
            given=lambda batch, place: (),
            auxiliary=weight,
            classes_of_fakes=False,
        )

    def draws(self) -> dict[str, Draw]:
        """Codes of the fakes of each update, and when single frames are; and what augmentations and
        penalties use up."""
        net = self.config.generator.network
        found = {}
        for use in (_IMAGE, _VIDEO, f"generator-{_VIDEO}", f"generator-{_IMAGE}"):
            found[f"{use}-content"] = Draw("normal", net.content)
            found[f"{use}-start"] = Draw("normal", net.motion)
            found[f"{use}-motion"] = Draw("normal", self.config.clip.frames * net.motion)
            if use.endswith(_IMAGE):
                found[f"{use}-time"] = Draw("uniform", 1)
        return {**found, **super().draws()}

    def networks(self) -> dict[str, Network]:
        """The generator, and the discriminators in the order of their updates."""
        config, image, frames = self.config, self.data.image, self.config.clip.frames
        g, net = config.generator, config.generator.network
        label = torch.zeros(1, dtype=torch.int64) if self.labels else None
        codes = (net.content, net.motion, frames * net.motion)
        example = (*(torch.zeros(1, size) for size in codes), label, None)
        average = g.ema if self.averaged else None
        modules = (
            config.discriminator_image.network.build(image),
            config.discriminator_video.network.build(image, frames, self.labels),
        )
        found = {
            "generator": Network(
                net.build(image, self.labels), example, g.optimizer, g.clip_norm, average=average
            )
        }
        for (judge, shape), module in zip(self.judged.items(), modules, strict=True):
            d = self.settings_of(judge)
            found[judge] = Network(module, (torch.zeros(1, *shape),), d.optimizer, d.clip_norm)
        return found

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """An update of each discriminator, then the generator's against the updated ones."""
        couples = self.loss.couples
        discriminators = [
            Phase(
                judge,
                (judge,),
                partial(self._discriminator_terms, judge),
                partial(self._fakes, judge),
                coupled=couples,
            )
            for judge in JUDGES
        ]
        generator = Phase(
            "generator",
            ("generator",),
            self._generator_terms,
            self._judge_both if self.loss.relative else None,
            through=JUDGES,
            coupled=couples,
        )
        return (*discriminators, generator)

    def _game(self, batch: Batch, judge: str) -> Batch:
        """What a discriminator is shown of a batch: its reals, their labels, and its draws."""
        frames = batch.columns["frames"]
        reals = frames[:, -1] if judge == "discriminator_image" else frames[:, :-1]
        found = self.batch_of(batch, reals, judge)
        labels = {} if batch.labels is None else {"label": batch.labels}
        return replace(found, columns={**found.columns, **labels})

    def _made(self, step: Step, batch: Batch, use: str) -> Tensor:
        """Clips of the codes for a use, or for one of images a frame of each."""
        draws, times = batch.draws, None
        if use.endswith(_IMAGE):
            frames = self.config.clip.frames
            times = (draws[f"{use}-time"] * frames).long().clamp_max(frames - 1)
        codes = [draws[f"{use}-{part}"] for part in ("content", "start", "motion")]
        with step.autocast():
            made: Tensor = step["generator"](*codes, batch.labels, times)
        made = made.to(batch.columns["frames"].dtype)
        return made if times is None else made.squeeze(1)

    @torch.no_grad()
    def _fakes(self, judge: str, step: Step, batch: Batch) -> Fakes:
        return {"fake": self._made(step, batch, judge.removeprefix("discriminator_"))}

    def _discriminator_terms(self, judge: str, step: Step, batch: Batch, fakes: Fakes) -> Terms:
        terms = self.games[judge].discriminator_terms(step, self._game(batch, judge), fakes)
        return named(terms, judge.removeprefix("discriminator"))

    def _judge_both(self, step: Step, batch: Batch) -> dict[str, Tensor]:
        return {judge: self.judge_reals(step, self._game(batch, judge), judge) for judge in JUDGES}

    def _generator_terms(
        self, step: Step, batch: Batch, judged: Mapping[str, Tensor] | None
    ) -> Terms:
        found = []
        # Clips first, as in the published code: averages of batch statistics move in this order.
        for judge in reversed(JUDGES):
            made = self._made(step, batch, judge.replace("discriminator_", "generator-"))
            real = None if judged is None else judged[judge]
            terms = self.generator_terms(step, self._game(batch, judge), made, real, judge)
            found.append(named(terms, judge.removeprefix("discriminator")))
        return combined(found)

    def inputs_of(self, frames: int, spacing: float) -> dict[str, Draw]:
        """Content, the state before the first step, and noise of each step, which is a frame."""
        net = self.config.generator.network
        noise = {f"motion-{step}": Draw("normal", net.motion) for step in range(frames)}
        start = Draw("normal", net.motion)
        return {"content": Draw("normal", net.content), "start": start, **noise}

    def make(
        self, networks: Mapping[str, nn.Module], batch: Batch, frames: int, spacing: float
    ) -> Tensor:
        """Clips, float (n, frames, c, h, w) in [-1, 1]."""
        draws = batch.draws
        noise = torch.cat([draws[f"motion-{step}"] for step in range(frames)], 1)
        made: Tensor = networks["generator"](draws["content"], draws["start"], noise, batch.labels)
        return made

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """The adversarial losses of both games together."""
        return {
            name: means[f"{name}_{_IMAGE}"] + means[f"{name}_{_VIDEO}"]
            for name in ("d_loss", "g_loss")
        }

    def interfaces(self) -> dict[str, Interface]:
        """The generator of clips, and the discriminators, which are not told labels."""
        seen = {
            judge: Interface({"frames": list(shape)}, "logits")
            for judge, shape in self.judged.items()
        }
        return {"generator": super().interfaces()["generator"], **seen}

    def health_rules(self) -> tuple[Rule, ...]:
        """As of every family, and for each discriminator those of an adversarial game."""
        usual = (advising(rule, _REMEDIES) for rule in super().health_rules())
        games = []
        for judge in JUDGES:
            ending = judge.removeprefix("discriminator")
            names = {name: f"{name}{ending}" for name in ("d_accuracy", "d_real", "d_fake")}
            remedies = _remedies_of_game(judge)
            games += [advising(of_names(rule, names), remedies) for rule in ADVERSARIAL]
        return (*usual, *games)


_RATES = "--discriminator_image.optimizer.lr and --discriminator_video.optimizer.lr"
_REMEDIES = {
    "non-finite": "lower all learning rates, or set --generator.clip_norm, "
    "--discriminator_image.clip_norm and --discriminator_video.clip_norm to 1",
    "collapsed": f"go back to an earlier checkpoint with lower {_RATES}, or with "
    "--discriminator_video.penalty.r1 1 or more",
    "collapsing": f"lower --generator.optimizer.lr, or {_RATES}, or raise "
    "--discriminator_video.penalty.r1 and --discriminator_image.penalty.r1",
    "frozen": "raise --discriminator_video.optimizer.lr, or --clip.stride, so that frames differ "
    "more",
    "flickering": "lower --generator.optimizer.lr, or raise --discriminator_video.penalty.r1; with "
    "--clip.stride 1 frames follow each other most closely",
    "motion collapse": "raise --discriminator_video.penalty.r1, or lower "
    "--discriminator_video.optimizer.lr",
}


def _remedies_of_game(judge: str) -> dict[str, str]:
    return {
        "discriminator wins": f"lower --{judge}.optimizer.lr, raise --{judge}.penalty.r1, or use "
        f"--{judge}.augment.name diffaugment",
        "generator wins": f"raise --{judge}.optimizer.lr; or a penalty on it is too strong",
    }
