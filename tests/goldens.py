"""What runs of fifty updates end in, to the bit: written by one version, held by the next.

``python -m tests.goldens`` computes every run anew and writes ``goldens.json``, for a change
that is meant to change numbers, or for another processor or release of torch.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import distgan
from distgan.runs.checkpoint import load_newest
from distgan.storage.storage import Storage

UPDATES, BATCH, THREADS = 50, 16, 1
FILE = Path(__file__).with_name("goldens.json")

_TINY = {
    "dcgan": {"generator.network.width": 8, "discriminator.network.width": 8},
    "sngan": {"generator.network.width": 8, "discriminator.network.width": 8},
    "r3gan": {"generator.network.widths": "16,12,8", "discriminator.network.widths": "8,12,16"},
}
_NARROW = {f"{side}.network.widths": "64,96" for side in ("generator", "discriminator")}
_R1 = {"discriminator.penalty.r1": 0.5, "discriminator.penalty.every": 4 * BATCH}


def _networks(name: str) -> dict[str, Any]:
    both = {f"{side}.network.name": name for side in ("generator", "discriminator")}
    return {**both, **_TINY.get(name, {}), "latent": 16}


NETWORKS = {
    "mlp": ("mnist-mlp-tutorial", _NARROW),
    "mlp, conditional": ("mnist-mlp-tutorial", {**_NARROW, "conditional": True}),
    "dcgan": ("mnist-dcgan", _networks("dcgan")),
    "sngan": ("mnist-dcgan", {**_networks("sngan"), "loss": "hinge", "discriminator.updates": 2}),
    "r3gan": ("mnist-dcgan", {**_networks("r3gan"), "loss": "relativistic", **_R1}),
}
WAYS = {
    "": {},
    "float64": {"precision": "float64"},
    "accumulate": {"accumulate": 2},
    "streaming": {"feed.way": "streaming", "feed.window": 512},
}
OTHERS = {
    "coupled, accumulate": (
        "mnist-dcgan",
        {
            **_networks("dcgan"),
            "loss": "relativistic-average",
            "accumulate": 2,
            "generator.top_k": 0.5,
        },
    ),
    "shared fakes, ada": (
        "mnist-dcgan",
        {
            **_networks("dcgan"),
            "share_fakes": True,
            "discriminator.augment.name": "ada",
            "feed.mirror": True,
        },
    ),
    "auxiliary, penalties, bf16": (
        "mnist-dcgan",
        {
            **_networks("dcgan"),
            "conditional": True,
            "discriminator.network.conditioning": "auxiliary",
            "discriminator.penalty.wgan_gp": 0.5,
            "discriminator.penalty.lecam": 0.3,
            "precision": "bf16",
        },
    ),
}


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """Recipe and settings of every run in this process, by name."""
    found = {}
    for network, (recipe, settings) in NETWORKS.items():
        for way, more in WAYS.items():
            found[", ".join(filter(None, (network, way)))] = (recipe, {**settings, **more})
    return {**found, **OTHERS}


def machine() -> str:
    """What the last bits depend on besides distgan: torch, and the processor's instructions."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines()[:40]
        if Path("/proc/cpuinfo").exists()
        else []
    )
    kinds = ("model name", "model\t", "cpu family", "stepping", "flags")
    processor = "\n".join(line for line in lines if line.startswith(kinds))
    digest = hashlib.sha256(processor.encode()).hexdigest()[:12]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {capability}, processor {digest}, {THREADS} thread"


def configure(case: str, updates: int = UPDATES) -> Any:
    recipe, settings = cases()[case]
    fixed = {"batch": BATCH, "images": updates * BATCH, "output.log_every": 20 * BATCH}
    return distgan.override(distgan.recipe(recipe), {**fixed, **settings})


def run(case: str, folder: Path, stop: bool = False, workers: int = 0) -> str:
    """The digest of a run's networks and average; ``stop``: ended half way and resumed."""
    torch.set_num_threads(THREADS)
    if stop:
        distgan.train(configure(case, UPDATES // 2), out=folder, workers=workers, threads=THREADS)
        distgan.resume(folder, {"images": UPDATES * BATCH}, workers=workers, threads=THREADS)
    else:
        distgan.train(configure(case), out=folder, workers=workers, threads=THREADS)
    return digest(folder)


def digest(folder: Path) -> str:
    """Of all weights and buffers in a run's last checkpoint."""
    state = load_newest(Storage(str(folder)))
    assert state is not None
    found = hashlib.sha256()
    networks, averages = state["networks"], state["averages"]
    for part in (networks["generator"], networks["discriminator"], averages["generator"]):
        for name, tensor in sorted(part.items()):
            found.update(name.encode())
            found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in enumerate(cases()):
            found[case] = run(case, Path(scratch, str(number)))
            print(f"{case}: {found[case]}", flush=True)
        found["mlp, 2 workers"] = run("mlp", Path(scratch, "two"), workers=2)
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[machine()] = found
    FILE.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
