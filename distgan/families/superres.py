"""Images made larger, by distances to the large ones and by a discriminator.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
Network" (CVPR 2017). Write y for an image, x for the small one and G(x) for the output. The
discriminator learns to tell y from G(x); the generator minimises a sum, by weights, of

    mean |y - G(x)|,  mean (y - G(x))^2,  the adversarial loss of G(x),  and
    sum over the discriminator's hidden layers i of mean |D_i(y) - D_i(G(x))|.

The last is the feature matching of Wang et al., "High-Resolution Image Synthesis and Semantic
Manipulation with Conditional GANs" (CVPR 2018), equation 3. SRGAN compares features of a VGG
network instead, which was trained on ImageNet; its weights come with no package that may be
installed here, and a distance in features that a run learns itself suits any data.

Without the last two it is SRResNet, the baseline of the paper. What both have to surpass is the
input enlarged bicubically, `distgan.families.tasks.as_output`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from distgan.families.adversarial import Judgement
from distgan.families.data import Batch
from distgan.families.paired import PairedTranslation
from distgan.families.superres_config import SuperResConfig
from distgan.families.tasks import as_output
from distgan.families.terms import Step, Terms
from distgan.networks.translation import MapDiscriminator


class SuperRes(PairedTranslation):
    """Ledig et al. 2017, with features of the discriminator in the place of VGG's."""

    config: SuperResConfig

    @property
    def distances(self) -> tuple[str, ...]:
        """Names of the distances that have a weight."""
        weights = {
            "g_l1": self.config.l1,
            "g_l2": self.config.l2,
            "g_features": self.config.features,
        }
        return tuple(name for name, weight in weights.items() if not weight.is_zero)

    def apart(self, images_seen: int, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The mean absolute and squared differences of pixels, weighted."""
        difference, found = made - target, {}
        if not self.config.l1.is_zero:
            found["g_l1"] = self.config.l1.at(images_seen) * difference.abs().mean()
        if not self.config.l2.is_zero:
            found["g_l2"] = self.config.l2.at(images_seen) * difference.square().mean()
        return found

    def judged_terms(self, step: Step, batch: Batch, made: Tensor, real: Tensor | None) -> Terms:
        """Of the discriminator's judgement, ``g_loss``, and of its features, ``g_features``."""
        if self.config.features.is_zero:
            return super().judged_terms(step, batch, made, real)
        given, target = self.sides(batch)
        logits, features = self._looked_at(step, batch, self.seen(given, made))
        game = self.games["discriminator"]
        judged = Judgement.of_outputs(logits)
        terms = self.weighed(step, game.terms_of_judged(step, None, [judged], real))
        if step.only_coupled:
            return terms
        with torch.no_grad():
            wanted = self._looked_at(step, batch, self.seen(given, target))[1]
        apart = [
            (one.to(made.dtype) - other.to(made.dtype)).abs().mean()
            for one, other in zip(features, wanted, strict=True)
        ]
        distance = self.config.features.at(step.images_seen) * torch.stack(apart).sum()
        return replace(terms, means={**terms.means, "g_features": distance})

    def _looked_at(self, step: Step, batch: Batch, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and hidden features; outputs and targets are augmented alike."""
        numbers = batch.draws.get("augment-generator")
        seen = self.games["discriminator"].augment(images, numbers)
        with step.autocast():
            return cast(MapDiscriminator, step["discriminator"]).with_features(seen)

    @property
    def sheet_rows(self) -> tuple[str, ...]:
        """What the rows of the sheet are, which repeat in this order."""
        return ("input", "bicubic", "output", "target")

    def shown(
        self, networks: Mapping[str, nn.Module], given: Tensor, target: Tensor | None
    ) -> list[Tensor]:
        """Images by kind, and what bicubic interpolation makes of the inputs."""
        first, *others = super().shown(networks, given, target)
        return [first, as_output(given, self.output_shape), *others]
