"""The trained generator as files that anyone can load safely."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

import distgan
from distgan import draws
from distgan.config.run import Config, GeneratorConfig
from distgan.config.settings import PositiveCount, Width, from_dict, to_dict
from distgan.errors import UserError, brief, first_line
from distgan.networks import GeneratorNetwork, ImageShape
from distgan.networks.unfilled import check_size, unfilled
from distgan.runs import checkpoint
from distgan.runs import folder as run
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, convert, read_bytes, read_json

CARD = "generator.json"
WEIGHTS = {"ema": "generator_ema.safetensors", "generator": "generator.safetensors"}
"""File of each kind of weights: the moving average, and the last generator itself."""

_FORMAT = 2
"""Of the card. The first had no ``sha256`` of the weights, and is read still."""
_REMEDY = (
    "put back the files that the run exported, or delete this one, and the newest checkpoint is "
    "taken"
)

_FileName = Annotated[str, Field(pattern=r"^\w[\w.-]{0,99}$")]
"""Of a file directly in the run's folder: nothing that leads anywhere else."""


class _Image(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    channels: Annotated[int, Field(gt=0, le=2**10)]
    height: Width
    width: Width


class _Card(Shape):
    """What rebuilds the generator."""

    format: Annotated[int, Field(ge=1, le=_FORMAT)]
    images_seen: PositiveCount
    network: dict[str, Any]
    latent: Width
    image: _Image
    classes: list[str]
    weights: dict[str, _FileName]
    sha256: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator ready to sample from, on the CPU and in eval mode.

    ``classes`` names its labels; empty when it is unconditional.
    """

    network: nn.Module
    latent: int
    classes: tuple[str, ...]
    images_seen: int
    image: ImageShape

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
        if not -(2**63) <= seed < 2**63:
            raise UserError(f"--seed {brief(seed)}: should be a number of up to 18 digits")
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
                raise UserError(
                    f"--label {brief(label)}: this generator takes no labels; leave it out"
                )
            return None
        if label is None:
            return torch.arange(num) % len(self.classes)
        if not 0 <= label < len(self.classes):
            raise UserError(
                f"--label {brief(label)}: this generator has labels 0 to {len(self.classes) - 1}"
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
    digests = {}
    for kind, file in WEIGHTS.items():
        tensors = {name: t.contiguous().cpu() for name, t in networks[kind].state_dict().items()}
        content = save_tensors(tensors)
        digests[kind] = hashlib.sha256(content).hexdigest()
        storage.write(file, content)
    card = {
        "format": _FORMAT,
        "distgan": distgan.__version__,
        "recipe": config.recipe,
        "images_seen": images_seen,
        "network": to_dict(config.generator)["network"],
        "latent": config.latent,
        "image": image._asdict(),
        "classes": list(classes) if config.conditional else [],
        "weights": WEIGHTS,
        "sha256": digests,
    }
    storage.write(CARD, json.dumps(card, indent=2) + "\n")


def exported(storage: Storage) -> int:
    """Images that the generator had seen which a run has exported; -1 without one.

    Raises:
        UserError: for a card that is damaged or of a newer distgan.
    """
    return _read_card(storage).images_seen if storage.exists(CARD) else -1


def _read_card(storage: Storage) -> _Card:
    source = storage.show(CARD)
    written = read_json(storage, CARD, dict[str, Any], _REMEDY)
    version = written.get("format")
    if type(version) is int and version > _FORMAT:
        raise UserError(
            f"{source}: is of format {brief(version)}, and this distgan reads up to {_FORMAT}; "
            "use the distgan that exported it, or a newer one"
        )
    return convert(_Card, written, source, _REMEDY)


def load_generator(uri: str, weights: str = "ema") -> LoadedGenerator:
    """The generator of a run: the exported one, or the newest checkpoint's before the end.

    Args:
        uri: path or URI of the run.
        weights: ``ema`` or ``generator``.

    Raises:
        UserError: when the folder holds no run, one without weights yet, or files that are
            damaged or do not belong together.
    """
    storage = Storage(uri)
    config = run.load_config(storage, "RUN")
    newest = checkpoint.index(storage)
    # A run that went on after it was complete has gone beyond what was exported.
    if not storage.exists(CARD) or (newest and newest[-1]["images_seen"] > exported(storage)):
        return _from_checkpoint(storage, config, weights)
    card = _read_card(storage)
    source = storage.show(CARD)
    return _rebuild(
        from_dict(GeneratorConfig, {"network": card.network}, source).network,
        ImageShape(**card.image.model_dump()),
        _read_weights(storage, card, weights),
        card.latent,
        tuple(card.classes),
        card.images_seen,
        source,
    )


def _read_weights(storage: Storage, card: _Card, weights: str) -> dict[str, Tensor]:
    if weights not in card.weights or (card.format > 1 and weights not in card.sha256):
        raise UserError(f"{storage.show(CARD)}: is damaged (names no {weights} weights); {_REMEDY}")
    name = card.weights[weights]
    remedy = (
        f"put back the file that the run exported, or delete {CARD}, and the newest "
        "checkpoint is taken"
    )
    content = read_bytes(storage, name, remedy)
    if card.format > 1 and hashlib.sha256(content).hexdigest() != card.sha256[weights]:
        raise UserError(
            f"{storage.show(name)}: is damaged (not what {CARD} has the sha256 of); {remedy}"
        )
    try:
        return load_tensors(content)
    except Exception as error:
        # Whatever the library raises while it reads a foreign file: a header of any content.
        raise UserError(
            f"{storage.show(name)}: is damaged (no safetensors: {first_line(error)}); {remedy}"
        ) from None


def _from_checkpoint(storage: Storage, config: Config, weights: str) -> LoadedGenerator:
    from distgan.data.images import open_images

    state = checkpoint.load_newest(storage)
    if state is None:
        raise UserError(f"RUN {storage.uri}: holds no weights yet; train it further first")
    images = open_images(config.data)
    classes = images.classes if config.conditional else ()
    return _rebuild(
        config.generator.network,
        images.shape,
        state.get(weights),
        config.latent,
        classes,
        state["images_seen"],
        f"{storage.show()}: its newest checkpoint",
    )


def _rebuild(
    settings: GeneratorNetwork,
    image: ImageShape,
    tensors: Any,
    latent: int,
    classes: tuple[str, ...],
    images_seen: int,
    source: str,
) -> LoadedGenerator:
    """The network with its weights, which may be anything that a file held.

    Raises:
        UserError: naming the ``source`` when they do not fit each other.
    """
    try:
        # Without memory first: what a card asks for may be more than there is.
        with unfilled():
            expected = settings.build(image, latent, len(classes))
        check_size(expected, "generator")
        _compare(expected.state_dict(), tensors)
        network = settings.build(image, latent, len(classes))
        network.load_state_dict(tensors)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{source}: does not fit its weights ({first_line(error)}); put back the files "
            "as the run wrote them"
        ) from None
    return LoadedGenerator(network.float().eval(), latent, classes, images_seen, image)


def _compare(expected: Mapping[str, Tensor], tensors: Any) -> None:
    if not isinstance(tensors, dict) or set(tensors) != set(expected):
        raise ValueError("there are other tensors than the network has")
    for name, tensor in expected.items():
        found = tensors[name]
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            raise ValueError(f"{name} should have the shape {tuple(tensor.shape)}")
