"""The trained generator as files that anyone can load safely."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

import distgan
from distgan import checkpoint, draws, run
from distgan.config import Config, GeneratorConfig
from distgan.errors import UserError
from distgan.networks import ImageShape
from distgan.settings import from_dict, to_dict
from distgan.storage import Storage

CARD = "generator.json"
WEIGHTS = {"ema": "generator_ema.safetensors", "generator": "generator.safetensors"}
"""File of each kind of weights: the moving average, and the last generator itself."""


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator ready to sample from, on the CPU and in eval mode.

    ``classes`` names its labels; empty when it is unconditional.
    """

    network: nn.Module
    latent: int
    classes: tuple[str, ...]
    images_seen: int

    @torch.no_grad()
    def sample(self, num: int, *, seed: int = 0, label: int | None = None) -> Tensor:
        """Generate images.

        Without ``label``, a conditional generator cycles through its labels. The z of
        image i is the same for any ``num``.

        Returns:
            float32 (num, channels, height, width) in [-1, 1].

        Raises:
            UserError: for a label that the generator does not have.
        """
        labels = self._labels(num, label)
        z = torch.from_numpy(draws.normals(seed, "sample", [range(num)], self.latent))
        parts = [
            self.network(z[start : start + 256], None if labels is None else labels[start:][:256])
            for start in range(0, num, 256)
        ]
        return torch.cat(parts).float()

    def _labels(self, num: int, label: int | None) -> Tensor | None:
        if not self.classes:
            if label is not None:
                raise UserError(f"--label {label}: this generator takes no labels; leave it out")
            return None
        if label is None:
            return torch.arange(num) % len(self.classes)
        if not 0 <= label < len(self.classes):
            raise UserError(
                f"--label {label}: this generator has labels 0 to {len(self.classes) - 1}"
            )
        return torch.full((num,), label)


def export(
    storage: Storage,
    config: Config,
    image: ImageShape,
    classes: tuple[str, ...],
    networks: dict[str, nn.Module],
    images_seen: int,
) -> None:
    """Write the weights as safetensors and the card that says how to rebuild them.

    Args:
        networks: a module for each key of `WEIGHTS`.
    """
    for kind, file in WEIGHTS.items():
        tensors = {name: t.contiguous().cpu() for name, t in networks[kind].state_dict().items()}
        storage.write(file, save_tensors(tensors))
    card = {
        "format": 1,
        "distgan": distgan.__version__,
        "recipe": config.recipe,
        "images_seen": images_seen,
        "network": to_dict(config.generator)["network"],
        "latent": config.latent,
        "image": image._asdict(),
        "classes": list(classes) if config.conditional else [],
        "weights": WEIGHTS,
    }
    storage.write(CARD, json.dumps(card, indent=2) + "\n")


def exported(storage: Storage) -> int:
    """Images that the generator had seen which a run has exported; -1 without one."""
    if not storage.exists(CARD):
        return -1
    return int(json.loads(storage.read_text(CARD))["images_seen"])


def load_generator(uri: str, weights: str = "ema") -> LoadedGenerator:
    """The generator of a run: the exported one, or the newest checkpoint's before the end.

    Args:
        uri: path or URI of the run.
        weights: ``ema`` or ``generator``.

    Raises:
        UserError: when the folder holds no run, or one without weights yet.
    """
    storage = Storage(uri)
    config = run.load_config(storage, "RUN")
    newest = checkpoint.index(storage)
    # A run that went on after it was complete has gone beyond what was exported.
    if not storage.exists(CARD) or (newest and newest[-1]["images_seen"] > exported(storage)):
        return _from_checkpoint(storage, config, weights)
    card: dict[str, Any] = json.loads(storage.read_text(CARD))
    tensors = load_tensors(storage.read(card["weights"][weights]))
    network = from_dict(GeneratorConfig, {"network": card["network"]}, CARD).network
    return _rebuild(
        network.build(ImageShape(**card["image"]), card["latent"], len(card["classes"])),
        tensors,
        card["latent"],
        tuple(card["classes"]),
        card["images_seen"],
    )


def _from_checkpoint(storage: Storage, config: Config, weights: str) -> LoadedGenerator:
    from distgan.data.images import open_images

    state = checkpoint.load_newest(storage)
    if state is None:
        raise UserError(f"RUN {storage.uri}: holds no weights yet; train it further first")
    images = open_images(config.data)
    classes = images.classes if config.conditional else ()
    network = config.generator.network.build(images.shape, config.latent, len(classes))
    return _rebuild(network, state[weights], config.latent, classes, state["images_seen"])


def _rebuild(
    network: nn.Module,
    tensors: dict[str, Tensor],
    latent: int,
    classes: tuple[str, ...],
    images_seen: int,
) -> LoadedGenerator:
    network.load_state_dict(tensors)
    return LoadedGenerator(network.float().eval(), latent, classes, images_seen)
