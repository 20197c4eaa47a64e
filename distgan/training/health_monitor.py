"""Reads the signs of a run once a record, the same on all ranks, and names its health."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from distgan.config.run import RunConfig
from distgan.data.feed import Feed
from distgan.data.images import ImageSet
from distgan.evaluate.rows import shown_rows
from distgan.families import Batch
from distgan.families.base import Family
from distgan.families.data import drawn
from distgan.features import small_classifier_for
from distgan.features.base import Extractor
from distgan.health.diagnosis import HEALTHY, HealthTracker, Verdict
from distgan.health.signs import SAMPLES, distances, network_signs, weight_norm
from distgan.training.replicas import Replicas
from distgan.training.state import TrainingState

_RECORDS_BETWEEN_CLASSES = 5
"""Classifying the samples costs a few times what the other signs do."""
_MOST_VALUES, _FEWEST_CLIPS = 1 << 26, 8
"""Of the clips that a run is judged by: 64 of 16 frames of 64x64x3 have 13 million values."""

Fields = dict[str, Any]


class Monitor:
    """Judges a run at every record; all ranks must call its methods alike.

    Samples are made of the random numbers of the run's first images, where the family generates
    from such as it trains with, or of others that are the same at every start.

    Args:
        state: at the start of the run; one that goes on is given to `load_state_dict` after.
        images: the data. Where the package has a classifier of them, samples are classified.
        other: the second set, where the run has one.
    """

    def __init__(
        self,
        config: RunConfig,
        state: TrainingState,
        feed: Feed,
        images: ImageSet,
        other: ImageSet | None = None,
    ) -> None:
        self._config = config
        family = state.family
        # Clips are trained on by draws that may be of other sizes.
        numbers = {} if family.makes_clips else feed.numbers(0)
        count = _samples(family)
        own = drawn(family.inputs(), config.seed, "health", range(count))
        device, dtype = state.world.device, config.dtype
        draws = {
            name: numbers[name][:count].clone() if name in numbers else values.to(device, dtype)
            for name, values in own.items()
        }
        labels = {}
        if family.labels:
            count = len(next(iter(draws.values())))
            labels = {"label": torch.arange(count, device=state.world.device) % family.labels}
        self._rows = _rows(config, state, images, other, _samples(family))
        self._inputs = Batch({**labels, **self._rows}, draws)
        classifier = None if family.makes_clips else small_classifier_for(images)
        self._classifier = None if classifier is None else classifier.to(state.world.device)
        self._class_entropy = 0.0
        self._real_distance = 0.0
        self._start = {role: weight_norm(state.networks[role].network) for role in family.signs}
        self._tracker = HealthTracker(family.health_rules(), config.health.patience)
        self.state = HEALTHY
        self._replicas = Replicas(
            _copies(state), state.world, buffers=config.parallel.sync_batch_norm
        )
        self.drift = ""
        """A line on ranks whose networks have come to differ, at the last record."""

    def examine(
        self, state: TrainingState, means: dict[str, float], batch: Batch
    ) -> tuple[Fields, Verdict]:
        """What to add to the record of a step that is done, and what it all comes to.

        Args:
            means: of the step's statistics since the last record.
            batch: of the data; the images of the first that is given are what samples are compared
                with for the whole run, unless the family has rows to be compared with.
        """
        family = state.family
        real = family.reals(self._inputs if self._rows else batch)
        # Read where the device has been waited for anyhow.
        sums = self._replicas.sums()
        if not self._real_distance:
            self._real_distance = _mean(state.world.sum(distances(real)))
        signs = {
            "images": float(state.images_seen),
            # Where D is updated more often, an interval may go by without the generator.
            **{name: means.get(name, 0.0) for name in family.statistics},
            **family.health_signs(state.images_seen),
        }
        known = {*signs, *means}
        layers = {}
        for role, prefix in family.signs.items():
            network = state.networks[role]
            found = network_signs(network.network, network.optimizer)
            if found is None:
                return {}, Verdict(self.state)
            signs[f"{prefix}_grad_norm"] = found.grad_norm
            signs[f"{prefix}_update_ratio"] = found.update_ratio
            signs[f"{prefix}_weight_growth"] = found.weight_norm / max(self._start[role], 1e-30)
            layers[f"{prefix}_layers"] = _plain(found.layers)
        with torch.no_grad(), state.generating("last") as networks:
            samples = family.generate(networks, self._inputs)
            signs_of_images = (
                family.image_signs(networks, samples, self._inputs) if self._rows else {}
            )
        apart = _mean(state.world.sum(distances(samples)))
        self.drift = self._replicas.compare(sums)
        # Of images that are all the same, nothing can be less diverse.
        signs["diversity"] = apart / self._real_distance if self._real_distance else 1.0
        signs |= {name: value.item() for name, value in signs_of_images.items()}
        self._classify(samples, state)
        signs["class_entropy"] = self._class_entropy
        if not self._class_entropy:
            known.add("class_entropy")
        # A last bit that differs between machines must not divide the ranks.
        values = torch.tensor(list(signs.values()), dtype=torch.float64)
        agreed = state.world.broadcast(values).tolist()
        signs = dict(zip(signs, agreed, strict=True))
        verdict = self._tracker.observe(signs)
        self.state = verdict.state
        fields: Fields = {name: value for name, value in signs.items() if name not in known}
        fields |= {**family.derived(signs), **layers}
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
    def healthy(self) -> bool:
        """Whether nothing is suspected, which is more than that nothing has been named."""
        return self._tracker.healthy

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        own = {
            "real_distance": self._real_distance,
            "start": dict(self._start),
            "class_entropy": self._class_entropy,
        }
        return {**self._tracker.state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._tracker.load_state_dict(state)
        self._real_distance, self._start = state["real_distance"], dict(state["start"])
        self._class_entropy = state["class_entropy"]


def _samples(family: Family) -> int:
    """How many samples a run is judged by: fewer clips where their frames are large."""
    rule = family.shown_rule
    if not family.makes_clips or rule is None:
        return SAMPLES
    values: int = rule.shown * math.prod(family.data.image)
    return max(_FEWEST_CLIPS, min(SAMPLES, _MOST_VALUES // values))


def _rows(
    config: RunConfig,
    state: TrainingState,
    images: ImageSet,
    other: ImageSet | None,
    count: int,
) -> dict[str, Tensor]:
    """Rows that samples are made of or compared with, the same on all ranks; rank 0 reads them."""
    family, world = state.family, state.world
    if not family.compared_columns:
        return {}
    found = None
    if world.leads:
        names = family.compared_columns
        found = shown_rows(images, other, config.evaluate, family, names, count).columns
    told = world.gather(found)[0]
    return {name: rows.to(world.device, config.dtype) for name, rows in told.items()}


def _copies(state: TrainingState) -> dict[str, nn.Module]:
    """What every rank has a copy of, by how it is told."""
    return {
        **{role: trained.network for role, trained in state.networks.items()},
        **{f"average of the {role}": ema.average for role, ema in state.averages.items()},
    }


def class_counts(images: Tensor, classifier: Extractor) -> Tensor:
    """How many of the images, float (n, c, h, w) in [-1, 1], look like each class.

    Returns:
        float64 (classes,), on the images' device.
    """
    pixels = (images.float() + 1).mul_(127.5).round_().clamp_(0, 255).byte()
    believed = classifier(pixels).probabilities
    assert believed is not None
    return torch.bincount(believed.argmax(1), minlength=len(classifier.classes)).double()


def _mean(sum_and_count: Tensor) -> float:
    total, count = sum_and_count.tolist()
    # Without a pair of images there is no distance.
    return total / count if count else 1.0


def _plain(layers: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {name: signs._asdict() for name, signs in layers.items()}
