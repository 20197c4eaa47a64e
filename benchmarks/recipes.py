"""How good generators are after so many images: mean and deviation over seeds, with the card.

    python -m benchmarks.recipes mnist-mlp mnist-mlp-conditional --images 500k --out quality
    python -m benchmarks.recipes mnist-dcgan --images 100k --out quality

Runs lie in OUT and are not trained again; the same line goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

import distgan
from distgan.config.settings import parse_count
from distgan.evaluate import evaluation
from distgan.launch.evaluation import evaluate
from distgan.storage.storage import Storage

METRICS = "frechet,kernel,manifold,modes"


def measured(recipe: str, images: int, seed: int, folder: Path) -> dict[str, float]:
    """Train one run, or take it up, and measure it."""
    run = folder / f"{recipe}-{images}-{seed}"
    if not (run / "generator.json").exists():
        if run.exists():
            distgan.resume(str(run), workers=0)
        else:
            changes = {"seed": seed, "images": images}
            config = distgan.override(distgan.recipe(recipe), changes)
            distgan.train(config, out=str(run), workers=0)
    metrics = METRICS + (",intra-class" if distgan.recipe(recipe).conditional else "")
    found = evaluate(str(run), {"metrics": metrics, "num": 10_000}, workers=0)
    return {name: value.value for name, value in found.values.items()}


def main() -> None:
    """Train, measure, print a table, and keep every value in OUT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", help="names of recipes")
    parser.add_argument("--images", type=parse_count, required=True, help="to train on")
    parser.add_argument("--seeds", type=int, default=3, help="how many [3]")
    parser.add_argument("--threads", type=int, help="of torch [all]")
    parser.add_argument("--out", type=Path, default=Path("quality"), help="folder [quality]")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for recipe in options.recipes:
        rows = []
        for seed in range(options.seeds):
            rows.append(measured(recipe, options.images, seed, options.out))
            print(f"{recipe}, seed {seed}: frechet {rows[-1]['frechet']:.3f}", flush=True)
        print(f"\n{recipe} after {options.images:,} images, {options.seeds} seeds")
        for name in rows[0]:
            values = [row[name] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"  {name:<20} {statistics.fmean(values):9.4g} +- {spread:.2g}")
        run = Storage(options.out / f"{recipe}-{options.images}-0")
        card = evaluation.read(run)[-1]["card"]
        print("  " + ", ".join(f"{name} {value}" for name, value in card.items()) + "\n")
        Storage(options.out).write(
            f"{recipe}.json", json.dumps({"values": rows, "card": card}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
