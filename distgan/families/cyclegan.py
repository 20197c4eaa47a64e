"""CycleGAN: two domains of images and no pairs, each translated into the other and back.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks"
(ICCV 2017). Write G for the generator from A to B and F for the one from B to A. In a step both
generators together minimise

    adversarial losses of G(a) and F(b) + 10 (mean |F(G(a)) - a| + mean |G(F(b)) - b|)
    + 5 (mean |G(b) - b| + mean |F(a) - a|),

and then both discriminators learn to tell images from fakes that were made before that update and
went through a pool of earlier ones. A fake is made once a step, whatever its micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families.adversarial import STATISTICS as OF_GAME
from distgan.families.base import Interface, Network, Stateful
from distgan.families.cyclegan_config import CycleGANConfig
from distgan.families.data import Batch, DataSpec
from distgan.families.image_pool import ImagePool
from distgan.families.terms import Phase, Step, Terms, combined, named
from distgan.families.translation import Sides, Translation
from distgan.health import translation
from distgan.health.diagnosis import ADVERSARIAL, Rule, collapse, exploding, non_finite, of_names
from distgan.parallel import World

_OF_DISCRIMINATOR = tuple(
    name for name in OF_GAME if name.startswith("d_") and not name.endswith("_class")
)
STATISTICS = (
    *(f"{name}_{side}" for side in "ab" for name in _OF_DISCRIMINATOR),
    *("g_loss_ab", "g_loss_ba", "g_cycle_a", "g_cycle_b", "g_identity_a", "g_identity_b"),
)
"""What is recorded: of the discriminator of each side what a GAN's records have; the adversarial
losses of both generators; and weighted, how far images of each side are from what they are after
both translations, and from what the generator towards their own side makes of them."""

_FAKES, _SHOWN = "fakes of micro-batches", "micro-batches that went through the pools"
_PHASE = "generators"
_OWN, _IDENTITY, _CYCLE = "", "identity", "cycle"
"""What a generator is given: images of its input side, of its output side, and fakes."""

Fakes = Mapping[str, Tensor]
"""Made images by the side that they should be of, float (n, c, h, w) without a graph."""


class CycleGAN(Translation):
    """Zhu et al. 2017, with the losses, penalties, networks and aids of `CycleGANConfig`.

    Networks are called by the sides of the data, A and B, whatever the direction: this says which
    side is the input of what is sampled and measured.
    """

    paired: ClassVar[bool] = False
    statistics = STATISTICS
    signs: ClassVar[Mapping[str, str]] = {
        "generator_ab": "g_ab",
        "generator_ba": "g_ba",
        "discriminator_a": "d_a",
        "discriminator_b": "d_b",
    }
    config: CycleGANConfig

    def __init__(self, config: CycleGANConfig, data: DataSpec, world: World) -> None:
        super().__init__(config, data, world)
        self._pools = {
            side: ImagePool(config.pool, config.seed, f"pool_{side}")
            for side in ("a", "b")
            if config.pool
        }

    @property
    def generators(self) -> tuple[str, ...]:  # type: ignore[override]
        """The one that makes outputs, then the one that makes inputs."""
        there, back = "generator_ab", "generator_ba"
        return (there, back) if self.config.direction == "AtoB" else (back, there)

    @property
    def judged(self) -> dict[str, ImageShape]:
        """A discriminator of each side."""
        a, b = self._sides
        return {"discriminator_a": a, "discriminator_b": b}

    def check_data(self) -> None:
        """See that there are two sides, of equal shapes where a generator is given both.

        Raises:
            UserError: naming the setting that wants what the data has not.
        """
        super().check_data()
        a, b = self._sides
        if a != b and not self.config.identity.is_zero:
            raise UserError(
                f"--identity {self.config.identity}: gives each generator images of both sides, "
                f"which are of {a} and {b}; use --identity 0, or two sides of equal shape"
            )

    def networks(self) -> dict[str, Network]:
        """Both generators, then both discriminators."""
        a, b = self._sides
        return {
            "generator_ab": self.new_generator(a, b),
            "generator_ba": self.new_generator(b, a),
            **{judge: self.new_discriminator(judge) for judge in self.judged},
        }

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """One update of both generators, then one of both discriminators."""
        loss = self.games["discriminator_a"].loss
        judges = tuple(self.judged)
        return (
            Phase(
                _PHASE,
                ("generator_ab", "generator_ba"),
                self._generator_terms,
                self._judge_both if loss.relative else None,
                through=judges,
                coupled=loss.couples,
            ),
            Phase(
                "discriminators",
                judges,
                self._discriminator_terms,
                self._shown,
                coupled=loss.couples,
            ),
        )

    def _domains(self, batch: Batch) -> Sides:
        """The images of A and of B."""
        sides = self.sides(batch)
        return sides if self.config.direction == "AtoB" else Sides(sides.target, sides.input)

    def _games(self, batch: Batch) -> dict[str, Batch]:
        """By side what its game is played with: its images, and the draws of its discriminator."""
        reals = zip("ab", self._domains(batch), strict=True)
        return {side: self.batch_of(batch, real, f"discriminator_{side}") for side, real in reals}

    def _judge_both(self, step: Step, batch: Batch) -> dict[str, Tensor]:
        return {
            side: self.judge_reals(step, game, f"discriminator_{side}")
            for side, game in self._games(batch).items()
        }

    def _run(self, step: Step, role: str, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a generator makes of several batches, in one pass where that changes nothing."""
        like = next(iter(given.values()))
        if len(given) > 1 and not step.independent(role):
            apart = [self._run(step, role, {name: images}) for name, images in given.items()]
            return {name: made for each in apart for name, made in each.items()}
        images = torch.cat(list(given.values())) if len(given) > 1 else like
        with step.autocast(), step.samples(*given, phase=_PHASE):
            made: Tensor = step[role](images)
        return dict(zip(given, made.to(like.dtype).chunk(len(given)), strict=True))

    def _generator_terms(
        self, step: Step, batch: Batch, judged: Mapping[str, Tensor] | None
    ) -> Terms:
        a, b = self._domains(batch)
        cycle = 0.0 if step.only_coupled else self.config.cycle.at(step.images_seen)
        identity = cycle * self.config.identity.at(step.images_seen)
        made_ab = self._run(step, "generator_ab", {_OWN: a, **({_IDENTITY: b} if identity else {})})
        fake_b = made_ab[_OWN]
        given = {_OWN: b, **({_IDENTITY: a} if identity else {})}
        made_ba = self._run(step, "generator_ba", {**given, **({_CYCLE: fake_b} if cycle else {})})
        fake_a = made_ba[_OWN]
        terms = self._adversarial(step, batch, {"a": fake_a, "b": fake_b}, judged)
        if step.only_coupled:
            return terms
        fakes = {"a": fake_a.detach(), "b": fake_b.detach()}
        step.kept.setdefault(_FAKES, []).append(fakes)
        means = dict(terms.means)
        if cycle:
            again_b = self._run(step, "generator_ab", {_CYCLE: fake_a})[_CYCLE]
            means["g_cycle_a"] = cycle * (made_ba[_CYCLE] - a).abs().mean()
            means["g_cycle_b"] = cycle * (again_b - b).abs().mean()
        if identity:
            means["g_identity_a"] = identity * (made_ba[_IDENTITY] - a).abs().mean()
            means["g_identity_b"] = identity * (made_ab[_IDENTITY] - b).abs().mean()
        return replace(terms, means=means)

    def _adversarial(
        self,
        step: Step,
        batch: Batch,
        fakes: Mapping[str, Tensor],
        judged: Mapping[str, Tensor] | None,
    ) -> Terms:
        found = []
        for side, game in self._games(batch).items():
            real = None if judged is None else judged[side]
            judge, way = f"discriminator_{side}", "ba" if side == "a" else "ab"
            terms = self.generator_terms(step, game, fakes[side], real, judge)
            found.append(named(terms, f"_{way}"))
        return combined(found)

    @torch.no_grad()
    def _shown(self, step: Step, batch: Batch) -> Fakes:
        """The fakes of this micro-batch, some of them changed for earlier ones."""
        fakes: Fakes = step.kept[_FAKES].pop(0)
        done = step.kept[_SHOWN] = step.kept.get(_SHOWN, 0) + 1
        first = step.images_seen + (done - 1) * self.config.micro_batch
        exchanged = {
            side: pool.exchange(first, fakes[side], step.gather_global, self.world)
            for side, pool in self._pools.items()
        }
        return {**fakes, **exchanged}

    def _discriminator_terms(self, step: Step, batch: Batch, shown: Fakes) -> Terms:
        found = []
        for side, game in self._games(batch).items():
            terms = self.games[f"discriminator_{side}"]
            of_side = terms.discriminator_terms(step, game, {"fake": shown[side]})
            found.append(named(of_side, f"_{side}"))
        return combined(found)

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """The adversarial losses of both sides together."""
        return {
            "d_loss": means["d_loss_a"] + means["d_loss_b"],
            "g_loss": means["g_loss_ab"] + means["g_loss_ba"],
        }

    def extra_state(self) -> dict[str, Stateful]:
        """As of every translation, and both pools."""
        return {
            **super().extra_state(),
            **{f"pool_{side}": pool for side, pool in self._pools.items()},
        }

    def interfaces(self) -> dict[str, Interface]:
        """Both generators, that of outputs first, and both discriminators."""
        found, back = super().interfaces(), self.generators[1]
        reverse = Interface({"images": list(self.output_shape)}, "images", generates=True)
        first = found.pop(self.generators[0])
        return {self.generators[0]: first, back: reverse, **found}

    def image_signs(
        self, networks: Mapping[str, nn.Module], made: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """As of every translation, and how much of the way back depends on what nobody sees."""
        inputs = self.example(batch)[0]

        def back(outputs: Tensor) -> Tensor:
            return self.translate(networks, outputs, reverse=True)

        found = super().image_signs(networks, made, batch)
        return {**found, **translation.cycle_signs(made, inputs, back)}

    def health_rules(self) -> tuple[Rule, ...]:
        """Those of translations, of hidden inputs, and for each side of an adversarial game."""
        of_networks = [
            exploding(prefix, role.partition("_")[0]) for role, prefix in self.signs.items()
        ]
        games = [
            of_names(rule, _SIGNS_OF_GAME[side]) for side in ("a", "b") for rule in ADVERSARIAL
        ]
        usual = (non_finite, *of_networks, collapse, *games)
        return (*self.of_translation(usual), translation.hides_input)


_SIGNS_OF_GAME = {
    side: {
        **{name: f"{name}_{side}" for name in ("d_accuracy", "d_real", "d_fake")},
        **{f"g_{sign}": f"g_{way}_{sign}" for sign in ("grad_norm", "update_ratio")},
    }
    for side, way in (("a", "ba"), ("b", "ab"))
}
"""By side, what the signs of its game are called, by what the rules of one game call them."""
