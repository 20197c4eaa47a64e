"""Reads the signs of a run once a record, the same on all ranks, and names its health."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from distgan.config.run import Config
from distgan.data.images import ImageSet
from distgan.features import small_classifier_for
from distgan.health.diagnosis import HEALTHY, HealthTracker, Signs, Verdict
from distgan.health.signs import (
    FixedSamples,
    class_counts,
    distances,
    network_signs,
    weight_norm,
)
from distgan.objectives.adversarial import LOSSES
from distgan.training.state import TrainingState

_PLAYERS = ("discriminator", "generator")
_RECORDS_BETWEEN_CLASSES = 5
"""Classifying the samples costs a few times what the other signs do."""

Fields = dict[str, Any]


class Monitor:
    """Judges a run at every record; all ranks must call its methods alike.

    Args:
        state: at the start of the run; one that goes on is given to `load_state_dict` after.
        latents: float (n, latent), the same at every start of the run, as training feeds them.
        images: the data. Where the package has a classifier of them, samples are classified.
    """

    def __init__(
        self, config: Config, state: TrainingState, latents: Tensor, images: ImageSet
    ) -> None:
        self._config = config
        self._samples = FixedSamples(latents, len(images.classes) if config.conditional else 0)
        classifier = small_classifier_for(images)
        self._classifier = None if classifier is None else classifier.to(state.world.device)
        self._class_entropy = 0.0
        self._real_distance = 0.0
        self._start = {n: weight_norm(getattr(state, n).network) for n in _PLAYERS}
        self._watch = HealthTracker(config.health.patience)
        self.state = HEALTHY

    def examine(
        self, state: TrainingState, means: dict[str, float], real: Tensor
    ) -> tuple[Fields, Verdict]:
        """What to add to the record of a step that is done, and what it all comes to.

        Args:
            means: of the step's statistics since the last record.
            real: float (n, c, h, w), images of the data; the first that are given are what
                samples are compared with for the whole run.
        """
        if not self._real_distance:
            self._real_distance = _mean(state.world.sum(distances(real)))
        d, g = network_signs(state.discriminator), network_signs(state.generator)
        if d is None or g is None:
            return {}, Verdict(self.state)
        samples = self._samples.draw(state.generator.network)
        apart = _mean(state.world.sum(distances(samples)))
        self._classify(samples, state)
        rate = self._config.generator.optimizer.lr
        signs = Signs(
            images=state.images_seen,
            **{n: means[n] for n in ("d_accuracy", "d_real", "d_fake", "d_loss")},
            # Where D is updated more often, an interval may go by without the generator.
            g_loss=means.get("g_loss", 0.0),
            d_grad_norm=d.grad_norm,
            g_grad_norm=g.grad_norm,
            d_update_ratio=d.update_ratio,
            g_update_ratio=g.update_ratio,
            d_weight_growth=d.weight_norm / max(self._start["discriminator"], 1e-30),
            g_weight_growth=g.weight_norm / max(self._start["generator"], 1e-30),
            g_rate=rate.at(state.images_seen) / max(rate.start, rate.end, 1e-30),
            probability=float(LOSSES[self._config.loss].probability),
            diversity=apart / self._real_distance,
            class_entropy=self._class_entropy,
        )
        # A last bit that differs between machines must not divide the ranks.
        agreed = state.world.broadcast(torch.tensor(list(signs), dtype=torch.float64)).tolist()
        verdict = self._watch.observe(Signs(int(agreed[0]), *agreed[1:]))
        self.state = verdict.state
        known = {"images", "g_rate", "probability", *means, "g_loss"}
        if not self._class_entropy:
            known.add("class_entropy")
        fields = {n: v for n, v in signs._asdict().items() if n not in known}
        fields["d_calibration"] = (signs.d_real + signs.d_fake) / 2 - 0.5
        fields |= {"d_layers": _plain(d.layers), "g_layers": _plain(g.layers)}
        ill = {"evidence": verdict.evidence, "remedy": verdict.remedy} if verdict.evidence else {}
        return {**fields, "health": verdict.state, **ill}, verdict

    def _classify(self, samples: Tensor, state: TrainingState) -> None:
        number = state.images_seen // self._config.output.log_every
        if self._classifier is not None and number % _RECORDS_BETWEEN_CLASSES == 0:
            counts = state.world.sum(class_counts(samples, self._classifier))
            entropy = torch.special.entr(counts / counts.sum()).sum() / math.log(len(counts))
            # Above 0, which stands for not known.
            self._class_entropy = max(entropy.item(), 1e-3)

    @property
    def sound(self) -> bool:
        """Whether nothing is suspected, which is more than that nothing has been named."""
        return self._watch.sound

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        own = {
            "real_distance": self._real_distance,
            "start": dict(self._start),
            "class_entropy": self._class_entropy,
        }
        return {**self._watch.state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._watch.load_state_dict(state)
        self._real_distance, self._start = state["real_distance"], dict(state["start"])
        self._class_entropy = state["class_entropy"]


def _mean(sum_and_count: Tensor) -> float:
    total, count = sum_and_count.tolist()
    # One image has nothing to be like.
    return total / count if count else 1.0


def _plain(layers: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {name: signs._asdict() for name, signs in layers.items()}
