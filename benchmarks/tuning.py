"""Wall time of a search beside the same trials trained one after another by hand.

By hand means this process: no Ray, nothing to start, all cores for one trial at a time, each
for as many images as it saw in the search, measured as often. The search is the whole command,
from Ray's start to its end.

    python -m benchmarks.tuning --max-images 60k --samples 6
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from distgan import launch
from distgan.config.settings import override
from distgan.launch.evaluation import evaluate
from distgan.metrics.names import metric_of
from distgan.recipes import recipe
from distgan.storage.storage import Storage
from distgan.tune import search
from distgan.tune.folder import read
from distgan.tune.record import Trial, load_all
from distgan.tune.settings import TuneSettings


def searched(name: str, settings: TuneSettings, out: str) -> float:
    """Seconds of a search."""
    start = time.perf_counter()
    search.tune(recipe(name), None, settings, out=out)
    return time.perf_counter() - start


def by_hand(folder: str, out: str) -> float:
    """Seconds of a search's trials, one after another."""
    storage = Storage(folder)
    base, space, settings = read(storage, "SEARCH")
    start = time.perf_counter()
    for trial in load_all(storage):
        path = f"{out}/{trial.name}"
        config = override(settings.trial(base, trial.seed), space.changes(trial.point))
        launch.train(override(config, {"images": _images(trial, settings)}), out=path, workers=0)
        if trial.final is not None:
            metrics = (metric_of(settings.metric),)
            evaluate(path, {"metrics": metrics, "num": settings.num}, workers=0)
    return time.perf_counter() - start


def _images(trial: Trial, settings: TuneSettings) -> int:
    return min(trial.images, settings.max_images)


def main() -> None:
    """Search, repeat by hand, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--recipe", default="mnist-mlp", help="[mnist-mlp]")
    parser.add_argument("--samples", default="6", help="trials [6]")
    parser.add_argument("--max-images", default="60k", help="of a whole trial [60k]")
    parser.add_argument("--json", metavar="FILE", help="the seconds")
    options = parser.parse_args()
    changes = {"samples": options.samples, "max_images": options.max_images}
    settings = override(TuneSettings(), changes)
    with tempfile.TemporaryDirectory() as folder:
        found = f"{folder}/search"
        seconds = {"search": searched(options.recipe, settings, found)}
        trials = load_all(Storage(found))
        seconds["by hand"] = by_hand(found, f"{folder}/by-hand")
    images = sum(trial.images for trial in trials)
    print(f"{len(trials)} trials of {options.recipe}, {images:,} images in all")
    for side, took in seconds.items():
        print(f"  {side:<8} {took:7.1f} s   {images / took:8,.0f} images/s")
    print(f"  search / by hand {seconds['search'] / seconds['by hand']:.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps({"images": images, **seconds}) + "\n")


if __name__ == "__main__":
    main()
