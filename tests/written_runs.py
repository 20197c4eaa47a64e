"""Folders as `distgan train` leaves them, written in a moment and with whatever is wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from distgan import recipes
from distgan.config import settings
from distgan.runs import folder as run
from distgan.runs.grid import grid_png
from distgan.storage.storage import Storage

STEP = 2_000
"""Images between records."""
UNHEALTHY = {
    "evidence": "D ranks 99.8% of pairs rightly, and its loss is 0.004",
    "remedy": "lower --discriminator.optimizer.lr, or set --discriminator.penalty.r1 10",
}


def write_run(
    folder: Path,
    count: int = 30,
    samples: int = 4,
    health: bool = True,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """A run of ``count`` records and ``samples`` grids, each of another grey."""
    storage = Storage(folder)
    run.create(storage, settings.override(recipes.recipe("mnist-mlp-tutorial"), changes))
    run.record_environment(storage, 2, "cpu", 0)
    lines = [json.dumps(record(number, count, health, seed)) for number in range(count)]
    storage.write("metrics.jsonl", "\n".join(lines) + "\n")
    for number in range(samples):
        grey = np.full((16, 8, 8, 1), 40 + 40 * number, np.uint8)
        grey[:, 2:6, 2:6] = 200
        storage.write(f"samples/images-{number * 10_000:012d}.png", grid_png(grey, 4))
    return folder


def write_translations(folder: Path, samples: int = 3, side: int = 16) -> Path:
    """A run of pix2pix: grids of ten inputs, outputs and targets, outputs lighter each time."""
    storage = Storage(folder)
    run.create(storage, settings.override(recipes.recipe("edges2digits-pix2pix"), {"images": 64}))
    run.record_environment(storage, 1, "cpu", 0)
    for number in range(samples):
        greys = np.repeat([20, 80 + 40 * number, 240], 10)[:, None, None, None]
        images = np.broadcast_to(greys, (30, side, side, 1)).astype(np.uint8)
        storage.write(f"samples/images-{number * 32:012d}.png", grid_png(images, 10))
    return folder


def record(number: int, count: int, health: bool, seed: int) -> dict[str, Any]:
    """One line of ``metrics.jsonl``; the middle third of a run is unhealthy."""
    draw = np.random.default_rng([seed, number])
    noise = draw.normal(size=12)
    found = {
        "images": (number + 1) * STEP,
        "d_loss": 1.2 + 0.2 * noise[0],
        "g_loss": 0.9 + 0.2 * noise[1],
        "d_real": 0.6 + 0.05 * noise[2],
        "d_fake": 0.4 + 0.05 * noise[3],
        "d_accuracy": 0.75 + 0.03 * noise[4],
        "d_grad_norm": float(np.exp(1 + noise[5])),
        "g_grad_norm": float(np.exp(noise[6])),
        "d_update_ratio": 0.003 * float(np.exp(0.3 * noise[7])),
        "g_update_ratio": 0.002 * float(np.exp(0.3 * noise[8])),
        "diversity": 0.6 + 0.05 * noise[9],
        "images_per_second": 1000 + 50 * noise[10],
        "data_wait": abs(0.03 * noise[11]),
        "bytes_per_image": 0.0,
    }
    if health:
        bad = count // 3 <= number < 2 * count // 3
        found["health"] = "discriminator wins" if bad else "healthy"
        found |= UNHEALTHY if bad else {}
        if number == count // 3:
            found["action"] = "halved both learning rates"
    return found


def write_evaluations(folder: Path, key: str, frechet: list[float], **card: Any) -> None:
    """Add evaluations, 20,000 images apart, by the card of that key."""
    whole = {
        **{"key": key, "extractor": "inception", "extractor_hash": "0" * 64, "data": "mnist"},
        **{"data_checksum": "1" * 64, "split": "train", "real": 60_000, "fake": 50_000},
        **{"weights": "ema", "seed": 0, "quantised": True, "resize": "bicubic to 299"},
        **card,
    }
    path = folder / "evaluations.jsonl"
    with open(path, "a") as file:
        for number, value in enumerate(frechet, 1):
            values = {
                "frechet": {"value": value, "low": 0.9 * value, "high": 1.1 * value},
                "precision": {"value": 1 / value, "low": None, "high": None},
            }
            line = {"images": number * 20_000, "seconds": 9.5, "card": whole, "values": values}
            file.write(json.dumps(line) + "\n")
