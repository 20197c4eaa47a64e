"""Whether the networks of a run fit its images, before there is anything to fill."""

from __future__ import annotations

from torch import nn

from distgan.config.run import RunConfig
from distgan.families.data import DataSpec
from distgan.families.registry import build
from distgan.networks.unfilled import check_size, unfilled


def shapes(config: RunConfig, data: DataSpec) -> dict[str, nn.Module]:
    """The networks of a run by role, without memory.

    Raises:
        UserError: when they do not fit the images.
    """
    family = build(config, data)
    if data.clips is not None or family.makes_clips:
        # Their networks are built of what the data has to be.
        family.check_data()
    with unfilled():
        return {role: network.module for role, network in family.networks().items()}


def weights(config: RunConfig, data: DataSpec) -> dict[str, int]:
    """How many weights each network of a run has, by role.

    Raises:
        UserError: when they do not fit the images.
    """
    found = shapes(config, data).items()
    return {role: sum(p.numel() for p in network.parameters()) for role, network in found}


def check_networks(config: RunConfig, data: DataSpec) -> None:
    """Build the networks of a run without memory, to hear now whether they fit the images.

    Raises:
        UserError: when they do not, or are too large.
    """
    for role, network in shapes(config, data).items():
        check_size(network, role)
