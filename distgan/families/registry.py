"""The families by name, and configurations of whichever family as YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from distgan.config.run import RunConfig
from distgan.config.settings import from_dict, nearest, to_dict
from distgan.errors import UserError, brief
from distgan.families.base import Family
from distgan.families.cut import CUT
from distgan.families.cut_config import CUTConfig
from distgan.families.cyclegan import CycleGAN
from distgan.families.cyclegan_config import CycleGANConfig
from distgan.families.data import DataSpec
from distgan.families.gan import GAN
from distgan.families.gan_config import GANConfig
from distgan.families.mocogan import MoCoGAN
from distgan.families.mocogan_config import MoCoGANConfig
from distgan.families.pix2pix import Pix2Pix
from distgan.families.pix2pix_config import Pix2PixConfig
from distgan.families.superres import SuperRes
from distgan.families.superres_config import SuperResConfig
from distgan.families.vae import VAE
from distgan.families.vae_config import VAEConfig
from distgan.families.vae_gan import VAEGAN
from distgan.families.vae_gan_config import VAEGANConfig
from distgan.families.video import Video
from distgan.families.video_config import VideoConfig
from distgan.parallel import World
from distgan.storage.textfiles import parse_yaml

FAMILIES: dict[str, tuple[type[RunConfig], type[Family]]] = {
    "cut": (CUTConfig, CUT),
    "cyclegan": (CycleGANConfig, CycleGAN),
    "gan": (GANConfig, GAN),
    "mocogan": (MoCoGANConfig, MoCoGAN),
    "pix2pix": (Pix2PixConfig, Pix2Pix),
    "superres": (SuperResConfig, SuperRes),
    "vae": (VAEConfig, VAE),
    "vae-gan": (VAEGANConfig, VAEGAN),
    "video": (VideoConfig, Video),
}
"""By name: the class of its configurations, and what it computes."""


RECIPES: dict[str, Callable[[], RunConfig]] = {}
"""Recipes of families that were registered besides those of the package."""


def register(
    name: str,
    config: type[RunConfig],
    family: type[Family],
    recipes: Mapping[str, Callable[[], RunConfig]] | None = None,
) -> None:
    """Add a family, whose configurations have ``family`` set to ``name``, and recipes of it.

    Raises:
        ValueError: for a name that another family has.
    """
    if FAMILIES.get(name, (config, family)) != (config, family):
        raise ValueError(f"there is a family {name!r} already; choose another name")
    FAMILIES[name] = (config, family)
    RECIPES.update(recipes or {})


def build(config: RunConfig, data: DataSpec, world: World | None = None) -> Family:
    """The family of a configuration, ready to say what a run of it computes."""
    return FAMILIES[config.family][1](config, data, World() if world is None else world)


def translates(family: str) -> bool:
    """Whether models of a family, by its name, make images of images; no for an unknown one."""
    return family in FAMILIES and FAMILIES[family][1].translates


def makes_clips(family: str) -> bool:
    """Whether models of a family, by its name, make clips; no for an unknown one."""
    return family in FAMILIES and FAMILIES[family][1].makes_clips


def counted(family: str) -> str:
    """What runs of a family, by its name, count as they go: clips, or images."""
    return "clips" if makes_clips(family) else "images"


def config_class(name: Any, source: str) -> type[RunConfig]:
    """The class of a family's configurations.

    Raises:
        UserError: for a name that no family has, naming the ``source``.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        near = nearest(name[:80], list(FAMILIES)) if isinstance(name, str) else ""
        raise UserError(
            f"{source}: family {brief(name)}: no such family{near}; have {', '.join(FAMILIES)}"
        )
    return FAMILIES[name][0]


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML, in the order in which it is declared."""
    return str(yaml.safe_dump(to_dict(config), sort_keys=False))


def from_yaml(text: str, source: str) -> RunConfig:
    """Read what `to_yaml` wrote; without ``family`` it is a GAN's.

    Raises:
        UserError: naming ``source`` and the first field that does not fit.
    """
    values = parse_yaml(text, source, "mend it, or write one with `distgan show --yaml`")
    return from_dict(config_class(values.get("family", "gan"), source), values, source)
