"""The trained networks as files that anyone can load safely."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

import distgan
from distgan.config.clip import Clips
from distgan.config.run import RunConfig
from distgan.config.settings import PositiveCount, Width, from_dict, to_dict
from distgan.config.shape import ImageShape
from distgan.errors import UserError, brief, first_line
from distgan.families import DataSpec, Family, build, config_class
from distgan.families.translation import Translation
from distgan.networks.random import number_layers
from distgan.networks.unfilled import check_size, unfilled
from distgan.runs import checkpoint
from distgan.runs import folder as run
from distgan.runs.autoencoder import LoadedAutoencoder
from distgan.runs.generator import LoadedGenerator
from distgan.runs.translator import LoadedTranslator
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, convert, read_bytes, read_json

CARD = "generator.json"
"""In a run's folder: what the weights beside it are, and how to rebuild their networks."""

_FORMAT = 3
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


class _Clips(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    shortest: PositiveCount
    longest: PositiveCount
    frames: PositiveCount
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Weights(Shape):
    file: _FileName
    sha256: str


class _Role(Shape):
    """One network: its weights by kind, ``ema`` for a moving average and ``last``."""

    input: dict[str, Any]
    output: str
    weights: dict[str, _Weights]


class _Card(Shape):
    format: int
    images_seen: PositiveCount
    config: dict[str, Any]
    image: _Image
    pair: _Image | None = None
    other: _Image | None = None
    clips: _Clips | None = None
    classes: list[str]
    roles: dict[str, _Role]

    @property
    def data(self) -> DataSpec:
        """The shapes and labels of the data."""
        image, pair, other = (
            None if shape is None else ImageShape(**shape.model_dump())
            for shape in (self.image, self.pair, self.other)
        )
        assert image is not None
        clips = None if self.clips is None else Clips(**self.clips.model_dump())
        return DataSpec(image, tuple(self.classes), pair, other, clips)


def export(
    storage: Storage,
    config: RunConfig,
    family: Family,
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, nn.Module],
    images_seen: int,
) -> None:
    """Write the weights as safetensors and the card that says how to rebuild their networks.

    Args:
        networks: by role, as they were last updated.
        averages: moving averages, by the roles that have one.
    """
    kinds = {"last": networks, "ema": averages}
    roles: dict[str, Any] = {}
    for role, interface in family.interfaces().items():
        weights = {}
        for kind, of_kind in kinds.items():
            if role in of_kind:
                file = f"{role}_ema.safetensors" if kind == "ema" else f"{role}.safetensors"
                state = of_kind[role].state_dict()
                content = save_tensors({n: t.contiguous().cpu() for n, t in state.items()})
                storage.write(file, content)
                weights[kind] = {"file": file, "sha256": hashlib.sha256(content).hexdigest()}
        roles[role] = {"input": interface.input, "output": interface.output, "weights": weights}
    card = {
        "format": _FORMAT,
        "distgan": distgan.__version__,
        "images_seen": images_seen,
        "config": to_dict(config),
        **_shapes(family.data),
        "classes": list(family.data.classes),
        "roles": roles,
    }
    storage.write(CARD, json.dumps(card, indent=2) + "\n")


def _shapes(data: DataSpec) -> dict[str, dict[str, Any]]:
    # Pairs, a second set and clips are named where there are some, so that other cards stay as
    # they were.
    shapes = {"image": data.image, "pair": data.pair, "other": data.other, "clips": data.clips}
    return {name: shape._asdict() for name, shape in shapes.items() if shape is not None}


def exported(storage: Storage) -> int:
    """Images that the networks had seen which a run has exported; -1 without any.

    Raises:
        UserError: for a card that is damaged or of another format.
    """
    return _read_card(storage).images_seen if storage.exists(CARD) else -1


def _read_card(storage: Storage) -> _Card:
    source = storage.show(CARD)
    written = read_json(storage, CARD, dict[str, Any], _REMEDY)
    version = written.get("format")
    if type(version) is int and version != _FORMAT:
        other = "an older" if version < _FORMAT else "a newer"
        raise UserError(
            f"{source}: is of format {brief(version)}, of {other} distgan, and this one reads "
            f"{_FORMAT}; use the distgan that exported it"
        )
    return convert(_Card, written, source, _REMEDY)


def load_generator(uri: str, weights: str = "ema") -> LoadedGenerator:
    """The generator of a run: the exported one, or the newest checkpoint's before the end.

    Args:
        uri: path or URI of the run.
        weights: ``ema`` for moving averages where there are any, or ``generator`` for all
            networks as they were last updated.

    Returns:
        a `LoadedAutoencoder` for a model with an encoder, such as a VAE; a `LoadedTranslator`
        for one that makes images of images, such as pix2pix.

    Raises:
        UserError: when the folder holds no run, one without weights yet, or files that are
            damaged or do not belong together.
    """
    return _load(uri, weights, only=None)


def load_discriminator(uri: str) -> nn.Module:
    """The discriminator of a run, as last updated, on the CPU and in eval mode.

    It maps images, float32 (n, channels, height, width) in [-1, 1], and labels, int64 (n,) or
    None, to logits, float32 (n,).

    Raises:
        UserError: as `load_generator`, and for a run whose model has no discriminator.
    """
    found = _load(uri, "generator", only="discriminator")
    return found.networks["discriminator"]


def _load(uri: str, weights: str, only: str | None) -> LoadedGenerator:
    storage = Storage(uri)
    config = run.load_config(storage, "RUN")
    newest = checkpoint.index(storage)
    # A run that went on after it was complete has gone beyond what was exported.
    if not storage.exists(CARD) or (newest and newest[-1]["images_seen"] > exported(storage)):
        return _from_checkpoint(storage, config, weights, only)
    card = _read_card(storage)
    source = storage.show(CARD)
    config = from_dict(config_class(card.config.get("family", "gan"), source), card.config, source)
    family = build(config, card.data)
    tensors = {}
    for role in _roles(family, only, uri):
        if role not in card.roles:
            raise UserError(f"{source}: is damaged (names no {role}); {_REMEDY}")
        kinds = card.roles[role].weights
        kind = "ema" if weights == "ema" and role in family.averaged else "last"
        if kind not in kinds:
            raise UserError(f"{source}: is damaged (names no {kind} weights); {_REMEDY}")
        tensors[role] = _read_weights(storage, kinds[kind])
    return _rebuild(family, tensors, card.images_seen, source)


def _roles(family: Family, only: str | None, uri: str) -> list[str]:
    """The networks to load: those that generate or encode, or the one that is asked for."""
    interfaces = family.interfaces()
    if only is None:
        used = {role for role, its in interfaces.items() if its.generates or its.output == "code"}
        if isinstance(family, Translation):
            # Also the generator of the way back.
            used |= set(family.generators)
        return [role for role in interfaces if role in used]
    if only not in interfaces:
        raise UserError(
            f"RUN {uri}: a model of the family {family.config.family} has no {only}; it has "
            f"{', '.join(interfaces)}"
        )
    return [only]


def _read_weights(storage: Storage, weights: _Weights) -> dict[str, Tensor]:
    remedy = (
        f"put back the file that the run exported, or delete {CARD}, and the newest "
        "checkpoint is taken"
    )
    content = read_bytes(storage, weights.file, remedy)
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise UserError(
            f"{storage.show(weights.file)}: is damaged (not what {CARD} has the sha256 of); "
            f"{remedy}"
        )
    try:
        return load_tensors(content)
    except Exception as error:
        # Whatever the library raises while it reads a foreign file: a header of any content.
        raise UserError(
            f"{storage.show(weights.file)}: is damaged (no safetensors: {first_line(error)}); "
            f"{remedy}"
        ) from None


def _from_checkpoint(
    storage: Storage, config: RunConfig, weights: str, only: str | None
) -> LoadedGenerator:
    state = checkpoint.load_newest(storage)
    if state is None:
        raise UserError(f"RUN {storage.uri}: holds no weights yet; train it further first")
    source = f"{storage.show()}: its newest checkpoint"
    try:
        pair, other = (
            ImageShape(*state[name]) if name in state else None
            for name in ("pair_shape", "other_shape")
        )
        shape = ImageShape(*state["set_shape"])
        clips = Clips(*state["clips"]) if "clips" in state else None
        data = DataSpec(shape, tuple(map(str, state["classes"])), pair, other, clips)
        averages = state["averages"] if weights == "ema" else {}
        family = build(config, data)
        roles = _roles(family, only, storage.uri)
        tensors = {role: averages.get(role, state["networks"].get(role)) for role in roles}
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{source}: has not what a generator needs ({type(error).__name__}: "
            f"{first_line(error)}); put back the one that the run wrote"
        ) from None
    return _rebuild(family, tensors, state["images_seen"], source)


def _rebuild(
    family: Family, tensors: Mapping[str, Any], images_seen: int, source: str
) -> LoadedGenerator:
    """The networks with their weights, which may be anything that a file held.

    Raises:
        UserError: naming the ``source`` when they do not fit each other.
    """
    try:
        # Without memory first: what a card asks for may be more than there is.
        with unfilled():
            expected = family.networks()
        for role in tensors:
            check_size(expected[role].module, role)
            _compare(expected[role].module.state_dict(), tensors[role])
        built, first = family.networks(), 0
        for network in built.values():
            # As in training, so that they draw the same.
            first = number_layers(network.module, first)
        networks = {role: built[role].module for role in tensors}
        for role, module in networks.items():
            module.load_state_dict(tensors[role])
            module.float().eval()
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{source}: does not fit its weights ({first_line(error)}); put back the files "
            "as the run wrote them"
        ) from None
    kind = LoadedAutoencoder if family.encodes else LoadedGenerator
    if isinstance(family, Translation):
        kind = LoadedTranslator
    return kind(family, networks, images_seen)


def _compare(expected: Mapping[str, Tensor], tensors: Any) -> None:
    if not isinstance(tensors, dict) or set(tensors) != set(expected):
        raise ValueError("there are other tensors than the network has")
    for name, tensor in expected.items():
        found = tensors[name]
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            raise ValueError(f"{name} should have the shape {tuple(tensor.shape)}")
