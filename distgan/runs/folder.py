"""The folder of a run: what lies in it, and under which names.

::

    config.yaml            the resolved configuration
    data.json              which set it is trained on; data_b.json: which second one
    owner.json             who trains it, and how many did before
    environment.json       versions, hardware and workers of every start
    metrics.jsonl          one record an interval
    events.jsonl           what befell it: workers lost, restarts, storage that failed
    tensorboard/           the same as TensorBoard events
    train.log              what the terminal showed, with the time of every line
    samples/               grids from a fixed z, named by images seen; of clips they also play
    profile/               traces of a few steps, where they were asked for
    checkpoints/           the newest few, and index.json that vouches for them
    generator.safetensors, generator_ema.safetensors, generator.json
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from typing import Any

import torch

from distgan.config.run import RunConfig
from distgan.data import identity
from distgan.errors import UserError
from distgan.families.registry import from_yaml, to_yaml
from distgan.runs.log import LOG
from distgan.storage import machine
from distgan.storage.machine import processor, version
from distgan.storage.ownership import (
    check_empty,
    reachable,
    refuse_occupied,
    withdraw_files,
)
from distgan.storage.storage import OWNER, Storage
from distgan.storage.textfiles import Shape, read_json, read_text

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"

CONFIG_REMEDY = "put back the file that `distgan train` wrote"


def create(storage: Storage, config: RunConfig) -> None:
    """Start a run in an empty or missing folder.

    Raises:
        UserError: when the folder holds a run or anything else.
    """
    _refuse_run(storage)
    refuse_occupied(storage, CONFIG)
    storage.write(CONFIG, to_yaml(config))


def check_free(storage: Storage) -> None:
    """See that a run could start in a folder, without writing there or owning it.

    Raises:
        UserError: as `create`.
    """
    with reachable("--out", storage):
        _refuse_run(storage)
        check_empty(storage)


def _refuse_run(storage: Storage) -> None:
    if storage.exists(CONFIG):
        raise UserError(
            f"--out {storage.uri}: holds another run; "
            f"go on with it by --resume {storage.uri}, or choose another --out"
        )


def withdraw(storage: Storage) -> None:
    """Remove what a start has written, if nothing has happened in the run."""
    # Last the owner: as long as it is there, everything is compared with it.
    withdraw_files(storage, CONFIG, identity.FILE, identity.OTHER_FILE, LOG, OWNER)


def update(storage: Storage, config: RunConfig) -> None:
    """Keep the configuration with which a run goes on."""
    storage.write(CONFIG, to_yaml(config))


def require(storage: Storage, option: str) -> None:
    """See that there is a run.

    Raises:
        UserError: when there is none, naming the ``option`` that pointed to it.
    """
    with reachable(option, storage):
        there = storage.exists(CONFIG)
    if not there:
        raise UserError(
            f"{option} {storage.uri}: holds no run (no {CONFIG}); give a folder that "
            "`distgan train` wrote"
        )


def load_config(storage: Storage, option: str) -> RunConfig:
    """The configuration of an existing run.

    Raises:
        UserError: when there is no run, as `require`, or its configuration does not fit.
    """
    require(storage, option)
    return from_yaml(read_text(storage, CONFIG, CONFIG_REMEDY), storage.show(CONFIG))


class _Environment(Shape):
    starts: list[dict[str, Any]]


def starts(storage: Storage) -> list[dict[str, Any]]:
    """Every start of the run in ``environment.json``, oldest first; none without the file.

    Raises:
        UserError: for a file that is damaged.
    """
    if not storage.exists(ENVIRONMENT):
        return []
    remedy = "delete it, and hardware and versions of earlier starts are left out"
    found: list[dict[str, Any]] = read_json(storage, ENVIRONMENT, _Environment, remedy)["starts"]
    return found


def record_environment(
    storage: Storage,
    workers: int,
    device: str,
    images_seen: int,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Add this start of the run to ``environment.json``.

    Args:
        facts: more of it.
    """
    begun = [
        *starts(storage),
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "images_seen": images_seen,
            "workers": workers,
            "device": device,
            "threads": torch.get_num_threads(),
            "cores": machine.cores(),
            "machine": platform.platform(),
            "processor": processor(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in _PACKAGES},
            **(facts or {}),
        },
    ]
    storage.write(ENVIRONMENT, json.dumps({"starts": begun}, indent=2) + "\n")


_PACKAGES = ("distgan", "torch", "ray", "pyarrow", "numpy", "pydantic", "safetensors")
